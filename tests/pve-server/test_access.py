"""Who may what: roles, paths, propagation, tokens with and without privilege separation, root's own options."""

import pytest

from access import Access, Caller
from client import Client
from errors import ApiError
from schema import Schema

LXC = '/nodes/pve1/lxc'


@pytest.fixture
def access():
    access = Access(Schema().privileges)
    access.users['a@pve'] = {'enable': 1, 'tokens': {}}
    access.roles['Reader'] = {'VM.Audit'}
    access.roles['Writer'] = {'VM.Audit', 'VM.Allocate'}
    access.add_token('a@pve', 'all', privsep=False)
    access.add_token('a@pve', 'own')
    return access


def may(access, name, path, *privileges):
    return access.may(Caller(*name.split('!')), path, privileges)


def test_deeper_replaces(access):
    access.grant('/', 'user', 'a@pve', 'Writer')
    assert may(access, 'a@pve', '/vms/100', 'VM.Allocate')
    access.grant('/vms/100', 'user', 'a@pve', 'Reader')
    assert may(access, 'a@pve', '/vms/100', 'VM.Audit') and not may(access, 'a@pve', '/vms/100', 'VM.Allocate')
    access.grant('/vms/100', 'user', 'a@pve', 'NoAccess')
    assert not may(access, 'a@pve', '/vms/100', 'VM.Audit') and may(access, 'a@pve', '/vms/101', 'VM.Allocate')


def test_without_propagation(access):
    access.grant('/vms', 'user', 'a@pve', 'Reader', propagate=0)
    assert may(access, 'a@pve', '/vms', 'VM.Audit') and not may(access, 'a@pve', '/vms/100', 'VM.Audit')


def test_pool(access):
    access.pool_of = {100: 'pods'}.get
    access.grant('/pool/pods', 'user', 'a@pve', 'Reader')
    assert may(access, 'a@pve', '/vms/100', 'VM.Audit') and not may(access, 'a@pve', '/vms/101', 'VM.Audit')


def test_tokens(access):
    access.grant('/vms', 'user', 'a@pve', 'Reader')
    assert may(access, 'a@pve!all', '/vms/100', 'VM.Audit') and not may(access, 'a@pve!own', '/vms/100', 'VM.Audit')
    # No more than its user has.
    access.grant('/', 'token', 'a@pve!own', 'Writer')
    assert may(access, 'a@pve!own', '/vms/100', 'VM.Audit') and not may(access, 'a@pve!own', '/vms/100', 'VM.Allocate')


def test_the_checks_of_the_schema(access):
    clone, _ = Schema().match('POST', LXC + '/100/clone')
    user = Caller('a@pve')
    access.roles['Cloner'] = {'VM.Clone'}
    access.grant('/vms/100', 'user', 'a@pve', 'Cloner')
    given = {'vmid': '100', 'newid': '101'}
    with pytest.raises(ApiError) as e:
        access.check(clone.check, user, given)
    assert e.value.status == 403
    access.grant('/pool/pods', 'user', 'a@pve', 'Writer')
    access.check(clone.check, user, {**given, 'pool': 'pods'})
    access.grant('/vms/101', 'user', 'a@pve', 'Writer')
    access.check(clone.check, user, given)


# Over HTTP.

@pytest.fixture(scope='module')
def user(server, client):
    """A client of the token cri@pve!t1, whose user has no rights yet."""
    assert client.post('/access/users', userid='cri@pve').data is None
    assert client.post('/access/roles', roleid='Cri', privs='VM.Allocate VM.Audit Datastore.Audit').data is None
    answer = client.post('/access/users/cri@pve/token/t1', privsep=0).data
    assert answer['full-tokenid'] == 'cri@pve!t1' and answer['info'] == {'privsep': '0'}
    return Client(server.cluster.nodes['pve1'], f'cri@pve!t1={answer["value"]}')


def test_rights_come_before_existence_and_sense(user, client):
    assert user.get(LXC).data == []
    assert user.get(LXC + '/999/config').line == '403 Permission check failed (/vms/999, VM.Audit)'
    assert user.get('/nodes/pve9/lxc/999/config').status == 403
    assert user.put(LXC + '/999/config', bogus=1).line == (
        '403 Permission check failed (/vms/999, '
        'VM.Config.Disk|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.Options)')
    assert user.post(LXC, vmid=160, ostemplate='local:vztmpl/oci-mini.tar').line == '403 Permission check failed'
    assert user.post('/cluster/ha/resources', sid='ct:160').line == '403 Permission check failed (/, Sys.Console)'
    assert user.get('/nodes/pve1/query-oci-repo-tags', reference='docker.io/library/nginx').line == \
        '403 Permission check failed (/nodes/pve1, Sys.AccessNetwork)'
    assert client.put('/access/acl', path='/', users='cri@pve', roles='Cri').status == 200
    assert user.get(LXC + '/999/config').line == "500 Configuration file 'nodes/pve1/lxc/999.conf' does not exist"
    assert user.post(LXC, vmid=160, ostemplate='local:vztmpl/oci-mini.tar', rootfs='local:0', unprivileged=0).line == \
        '403 Permission check failed (/, Sys.Modify)'
    assert user.post(LXC, vmid=160, ostemplate='local:vztmpl/oci-mini.tar', memory=64).line == \
        '403 Permission check failed (/vms/160, VM.Config.Memory)'
    assert user.post(LXC, vmid=160, ostemplate='local:vztmpl/oci-mini.tar').line == \
        '403 Permission check failed (/storage/local, Datastore.AllocateSpace)'


@pytest.mark.parametrize('name, value, reason', [
    ('mp0', '/srv,mp=/srv', 'mount point type bind is only allowed for root@pam'),
    ('mp0', '/dev/sda,mp=/srv', 'mount point type device is only allowed for root@pam'),
    ('dev0', '/dev/fuse', 'configuring device passthrough is only allowed for root@pam'),
    ('hookscript', 'local:snippets/x.sh', 'changing the hookscript is only allowed for root@pam'),
    ('features', 'nesting=1,keyctl=1', 'changing feature flags (except nesting) is only allowed for root@pam'),
])
def test_what_no_token_may(client, name, value, reason):
    """root@pam!test is not root@pam."""
    answer = client.post(LXC, vmid=160, ostemplate='local:vztmpl/oci-mini.tar', rootfs='local:0', **{name: value})
    assert answer.line == f'403 Permission check failed ({reason})'


def test_tokens_use_no_ticket(client):
    answer = client.post('/access/users/cri@pve/token/t1')
    assert answer.errors == {'tokenid': 'Token already exists.'}
    entry = client.get('/access/users/cri@pve/token/t1').data
    assert entry == {'privsep': 0, 'expire': 0}


def test_own_permissions(user, client):
    assert user.get('/access/permissions',
                    path='/vms/1').data == {'/vms/1': {'Datastore.Audit': 1, 'VM.Allocate': 1, 'VM.Audit': 1}}
    assert user.get('/access/permissions', userid='root@pam').line == '403 Permission check failed (/access, Sys.Audit)'
    assert '/' in client.get('/access/permissions').data


def test_tasks_of_others(user, client):
    upid = client.post(LXC + '/998/status/start').data
    assert client.wait(upid)['exitstatus'] == "Configuration file 'nodes/pve1/lxc/998.conf' does not exist"
    assert user.get(f'/nodes/pve1/tasks/{upid}/status').line == '403 Permission check failed (/nodes/pve1, Sys.Audit)'
    assert upid not in [entry['upid'] for entry in user.get('/nodes/pve1/tasks').data]
    assert client.get(f'/nodes/pve2/tasks/{upid}/status').errors == {'upid': 'no such task'}
