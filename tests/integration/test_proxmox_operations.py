"""Operations on pods' Proxmox containers: each verb of `proxmox-lxcri proxmox`, and the REST behind them.

`tests/integration/run --proxmox`, beside tests/pve-server.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest

import proxmox
from conftest import AS_PROXMOX, Daemon, make_daemon
from cri import NOTREADY, READY, eventually

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]


class Rest(http.client.HTTPConnection):
    """The daemon's socket."""

    def __init__(self, daemon):
        super().__init__('localhost', timeout=60)
        self.path = os.path.join(daemon.runtime.state, 'api.sock')

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None, **headers):
        """Status, and the lines of JSON of the answer."""
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        self.request(method, path, body, headers)
        answer = self.getresponse()
        return answer.status, [json.loads(line) for line in answer.read().splitlines()]


@pytest.fixture(name='rest')
def fixture_rest(daemon):
    with contextlib.closing(Rest(daemon)) as rest:
        yield rest


@pytest.fixture(name='do')
def fixture_do(daemon):
    """proxmox-lxcri proxmox VERB ...; what it prints."""
    def do(*words):
        return daemon.runtime.cli('proxmox', *words).stdout

    def fails(*words, status=1):
        done = daemon.runtime.cli('proxmox', *words, check=False)
        assert done.returncode == status, done
        return done.stderr
    do.fails = fails
    do.json = lambda *words: json.loads(do(*words, '-o', 'json'))
    do.table = lambda *words: [line.split() for line in do(*words).strip().split('\n')[1:]]
    do.whole = lambda *words: daemon.runtime.cli('proxmox', *words)
    return do


def q(text):
    return urllib.parse.quote(str(text), safe='')


# What there is.

def test_lists(daemon, cluster, do):
    with daemon.pod(name='listed') as pod:
        vmid, _ = cluster.of(pod)
        row = next(row for row in do.table('ls') if row[0] == str(vmid))
        assert row[1:4] == ['tests/listed', cluster.node, 'running']
        one = next(one for one in do.json('ls') if one['vmid'] == vmid)
        assert one['id'] == pod.id and one['state'] == 'running' and one['maxmem'] > 0
    assert vmid not in [one['vmid'] for one in do.json('ls')]
    assert {row[0] for row in do.table('nodes')} == {'pve1', 'pve2'}
    assert {'local', 'btr', 'shared'} <= {row[0] for row in do.table('storages')}
    assert all('used' in one for one in do.json('storages'))


# Snapshots.

def test_snapshots(daemon, cluster, do):
    with daemon.pod(name='snapped') as pod:
        vmid, _ = cluster.of(pod)
        done = do.whole('snapshot', 'create', 'tests/snapped', 'before', '--description', 'two\nlines')
        assert done.stdout == 'before\n'
        assert 'TASK OK' in done.stderr  # the task's log
        do('snapshot', 'create', pod.id[:12], 'after')
        assert [row[0] for row in do.table('snapshot', 'ls', str(vmid))] == ['before', 'after']
        assert do.json('snapshot', 'ls', pod.id)[0]['description'].startswith('two')
        do('snapshot', 'rm', pod.id, 'after')
        assert [row[0] for row in do.table('snapshot', 'ls', pod.id)] == ['before']
        assert pod.status().state == READY
        said = do.whole('snapshot', 'rollback', pod.id, 'before').stderr
        assert 'its pod ends' in said
        eventually(lambda: pod.status().state == NOTREADY)
    assert vmid not in cluster.ours()


def test_retention(daemon, cluster, do):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        for name in ('auto-1', 'kept', 'auto-2', 'auto-3'):
            do('snapshot', 'create', pod.id, name)
            time.sleep(1.1)  # their times are whole seconds
        do('snapshot', 'prune', pod.id, '--keep', '1', '--prefix', 'auto-')
        assert [row[0] for row in do.table('snapshot', 'ls', pod.id)] == ['kept', 'auto-3']
        assert do.json('snapshot', 'prune', pod.id, '--keep', '9')['removed'] == 0
        do('snapshot', 'prune', str(vmid), '--keep', '0')
        assert do('snapshot', 'ls', pod.id).strip().startswith('NAME') and not do.json('snapshot', 'ls', pod.id)


def test_what_is_wrong_with_a_snapshot(daemon, cluster, do, rest):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        assert "snapshot 'nope' does not exist" in do.fails('snapshot', 'rollback', pod.id, 'nope')
        assert rest.ask('DELETE', f'/v1/pods/{pod.id}/snapshots/nope')[1][-1]['error']['kind'] == 'NO_SNAPSHOT'
        do('snapshot', 'create', pod.id, 'twice')
        assert 'already used' in do.fails('snapshot', 'create', pod.id, 'twice')
        assert 'x y' in do.fails('snapshot', 'create', pod.id, 'x y', status=2)
        # A lock is waited for, as long as was asked.
        cluster.control.do('lock', vmid=vmid, lock='backup')
        before = time.monotonic()
        said = do.fails('snapshot', 'create', pod.id, 'locked', '--lock-wait', '1')
        assert 'CT is locked (backup)' in said and time.monotonic() - before < 20
        with concurrent.futures.ThreadPoolExecutor() as pool:
            made = pool.submit(do.whole, 'snapshot', 'create', pod.id, 'waited')
            time.sleep(1)
            assert not made.done()
            cluster.control.do('unlock', vmid=vmid)
            assert 'CT is locked (backup)' in made.result().stderr  # it was told what it waits for
        assert 'waited' in do('snapshot', 'ls', pod.id)


def test_a_task_that_is_killed(daemon, cluster, do, rest):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        cluster.control.do('fault', fault='kill', method='POST', path='/snapshot$', steps=0)
        status, lines = rest.ask('POST', f'/v1/pods/{pod.id}/snapshots', {'name': 'killed'})
        error = lines[-1]['error']
        assert status in (200, 409) and error['kind'] == 'TASK_KILLED' and 'vzsnapshot' in error['message']
        cluster.control.do('clear-faults')
        cluster.control.do('unlock', vmid=vmid)  # what such a task leaves


# Whose it is.

def test_only_ours(daemon, cluster, do, clean):
    with daemon.pod() as pod:
        vmid, guest = cluster.of(pod)
        template = next(one['volid'] for one in cluster.client.get(f'/nodes/{cluster.node}/storage/local/content').data
                        if 'sandbox' in one['volid'])
        made = dict(ostemplate=template, rootfs='btr:0', unprivileged=1, ostype='unmanaged')
        others = guest['config']['description'].replace(f'node: {cluster.node}', 'node: elsewhere')
        for number, more in ((900, {}), (901, {'tags': 'proxmox-lxcri'}), (902, {'tags': 'proxmox-lxcri', 'description': others}),
                             (904, {'tags': 'proxmox-lxcri', 'description': f'- node: {cluster.node}\n- prepared from: x\n'})):
            assert cluster.client.task('POST', f'/nodes/{cluster.node}/lxc', vmid=number, **made, **more) == 'OK'
        try:
            for number, words in ((900, 'lacks the tag'), (901, 'does not say which'), (902, 'node elsewhere'), (904, 'prepared for one to come')):
                for verb in (['snapshot', 'create', str(number), 'mine'], ['migrate', str(number), 'pve2'], ['ha', 'add', str(number)],
                             ['firewall', 'set', str(number), '--enable', 'true'], ['template', str(number)],
                             ['backup', 'create', str(number), '--storage', 'local']):
                    assert words in do.fails(*verb), verb
            assert 'no container 903' in do.fails('snapshot', 'ls', '903')
            assert 'no pod "nobody"' in do.fails('snapshot', 'ls', 'nobody')
            journal = cluster.control.do('guests')
            assert all(str(number) in journal and not journal[str(number)]['config'].get('template') for number in (900, 901, 902, 904))
        finally:
            for number in (900, 901, 902, 904):
                cluster.client.task('DELETE', f'/nodes/{cluster.node}/lxc/{number}')
    with daemon.pod(handler='lxc') as plain:
        assert 'is in a Proxmox container' in do.fails('snapshot', 'ls', plain.id)


def test_a_missing_privilege(top, pb, registry, cluster):
    """What a token may not do is said, with what to do."""
    client = cluster.client
    privileges = ('VM.Allocate VM.Audit VM.PowerMgmt VM.Config.Options VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.Disk '
                  'Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit SDN.Use Sys.Audit')
    assert client.post('/access/users', userid='ops@pve').status == 200
    assert client.post('/access/roles', roleid='NoSnapshots', privs=privileges.replace(' ', ',')).status == 200
    assert client.put('/access/acl', path='/', users='ops@pve', roles='NoSnapshots').status == 200
    secret = client.post('/access/users/ops@pve/token/less', privsep=0).data['value']
    directory = os.path.join(top, 'less')
    os.makedirs(directory)
    secret_file = os.path.join(directory, 'secret')
    with open(os.open(secret_file, os.O_CREAT | os.O_WRONLY, 0o600), 'w', encoding='utf-8') as f:
        f.write(secret + '\n')
    os.environ[proxmox.MORE] = json.dumps({'token-id': 'ops@pve!less', 'token-file': secret_file})
    try:
        daemon = Daemon(make_daemon(top, 'less', registry, bridge='lxcriless', subnet='10.92.0.0/24'), pb)
    finally:
        del os.environ[proxmox.MORE]
    try:
        with daemon.pod() as pod, contextlib.closing(Rest(daemon)) as rest:
            status, lines = rest.ask('POST', f'/v1/pods/{pod.id}/snapshots', {'name': 'denied'})
            assert status == 403 and 'VM.Snapshot' in lines[0]['error']['message'] and 'pveum' in lines[0]['error']['message']
            assert secret not in json.dumps(lines)
            done = daemon.runtime.cli('proxmox', 'ha', 'add', pod.id, check=False)
            assert done.returncode == 1 and 'Sys.Console' in done.stderr
    finally:
        daemon.stop()
        subprocess.run(['ip', 'link', 'delete', 'lxcriless'], check=False)


# The REST itself.

def test_rest(daemon, rest):
    status, lines = rest.ask('GET', '/v1')
    operations = {one['verb']: one for one in lines[0]['operations']}
    assert status == 200 and operations['snapshot create']['path'] == '/v1/pods/{pod}/snapshots'
    for method, path, body, expected in (
            ('GET', '/v2', None, 404), ('GET', '/v1/pods/x/y', None, 404), ('PATCH', '/v1/pods', None, 501),
            ('POST', '/v1/pods/x/snapshots', '{', 400), ('POST', '/v1/pods/x/snapshots', {'nome': 'a'}, 400),
            ('POST', '/v1/pods/x/snapshots', {}, 400), ('POST', '/v1/pods/x/snapshots', {'name': 'a'}, 404),
            ('POST', '/v1/pods/x/snapshots', ['name'], 400), ('GET', '/v1/pods?x=1', None, 400), ('GET', '/v1/pods?%zz=1', None, 400),
            ('DELETE', '/v1/pods/x/snapshots/..%2F..', None, 400)):
        with contextlib.closing(Rest(daemon)) as one:
            status, lines = one.ask(method, path, body)
            assert status == expected and lines[0]['error']['message'], (method, path, lines)
    with contextlib.closing(Rest(daemon)) as one:  # it is refused before it comes
        assert one.ask('POST', '/v1/pods/x/snapshots', **{'Content-Length': '70000'})[0] == 413
    mode = os.stat(rest.path)
    assert mode.st_mode & 0o777 == 0o600 and mode.st_uid == 0


def test_clients_that_are_slow(daemon, rest):
    """They hold up neither each other nor the CRI."""
    half = []
    for _ in range(20):
        s = socket.socket(socket.AF_UNIX)
        s.connect(rest.path)
        s.sendall(b'POST /v1/pods/x/snapshots HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{')
        half.append(s)
    before = time.monotonic()
    assert rest.ask('GET', '/v1/nodes')[0] == 200
    daemon.cri.Version()
    assert time.monotonic() - before < 10
    for s in half:
        s.close()


def test_lines_come_while_it_runs(daemon, cluster, rest):
    """Not at the end."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        cluster.control.do('lock', vmid=vmid, lock='backup')
        rest.request('POST', f'/v1/pods/{pod.id}/snapshots', json.dumps({'name': 'slow'}))
        answer = rest.getresponse()
        assert answer.status == 200 and answer.getheader('Content-Type') == 'application/x-ndjson'
        assert 'CT is locked' in json.loads(answer.readline())['log']  # and it is still
        cluster.control.do('unlock', vmid=vmid)
        rest_of_it = [json.loads(line) for line in answer.read().splitlines()]
        assert rest_of_it[-1] == {'done': True, 'result': {'name': 'slow', 'vmid': vmid}}
        assert any('log' in line for line in rest_of_it)


def test_the_command_is_killed_meanwhile(daemon, cluster, do):
    """What was asked for is done all the same."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        cluster.control.do('lock', vmid=vmid, lock='backup')
        with subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'proxmox', 'snapshot', 'create', pod.id,
                               'alone'], stderr=subprocess.PIPE, text=True) as asking:
            assert 'CT is locked' in asking.stderr.readline()
            asking.kill()
        cluster.control.do('unlock', vmid=vmid)
        eventually(lambda: 'alone' in do('snapshot', 'ls', pod.id))


def test_the_daemon_is_killed_meanwhile(own_daemon, cluster):
    """The task goes on at Proxmox; the next daemon finds what there is, and neither pod nor container is lost."""
    pod = own_daemon.pod()
    vmid, _ = cluster.of(pod)
    cluster.control.do('lock', vmid=vmid, lock='backup')
    failed = []

    def ask():
        try:
            failed.append(own_daemon.runtime.cli('proxmox', 'snapshot', 'create', pod.id, 'cut', check=False))
        except subprocess.SubprocessError as error:
            failed.append(error)
    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    own_daemon.runtime.kill()
    asking.join()
    assert failed[0].returncode == 1
    cluster.control.do('unlock', vmid=vmid)
    own_daemon.start()
    pod.cri = own_daemon.cri
    assert pod.status().state == READY
    own_daemon.runtime.cli('proxmox', 'snapshot', 'create', pod.id, 'next')
    assert 'next' in own_daemon.runtime.cli('proxmox', 'snapshot', 'ls', pod.id).stdout
    pod.remove()
    assert vmid not in cluster.ours()


def test_a_lost_answer(daemon, cluster, do):
    """The snapshot is taken once, whatever became of the answer."""
    with daemon.pod() as pod:
        for number, fault in enumerate(('reset', 'reset-after', 'status-after')):
            cluster.control.do('fault', fault=fault, method='POST', path='/snapshot$', count=1)
            do('snapshot', 'create', pod.id, f'lost-{number}')
        assert [row[0] for row in do.table('snapshot', 'ls', pod.id)] == ['lost-0', 'lost-1', 'lost-2']


def test_the_daemon_ends_meanwhile(own_daemon, cluster):
    """It waits for no operation; its socket goes."""
    pod = own_daemon.pod()
    vmid, _ = cluster.of(pod)
    cluster.control.do('lock', vmid=vmid, lock='backup')
    with contextlib.closing(Rest(own_daemon)) as rest:
        rest.request('POST', f'/v1/pods/{pod.id}/snapshots', json.dumps({'name': 'slow', 'lock-wait': 1000}))
        answer = rest.getresponse()
        answer.readline()
        before = time.monotonic()
        own_daemon.runtime.stop()
        assert time.monotonic() - before < 10 and not os.path.exists(rest.path)
        assert json.loads(answer.read().splitlines()[-1])['error']['code'] == 'CANCELLED'
    cluster.control.do('unlock', vmid=vmid)
    own_daemon.start()
    pod.cri = own_daemon.cri
    pod.remove()


# Backups, copies, moves.

def remove(cluster, vmid):
    """As an administrator does with what is no pod's."""
    guests = cluster.control.do('guests')
    if str(vmid) in guests:
        node = guests[str(vmid)]['node']
        assert cluster.client.task('DELETE', f'/nodes/{node}/lxc/{vmid}', force=1) == 'OK'


def is_nobodys(cluster, vmid):
    """No claim of ours, so that no daemon ever removes it."""
    config = cluster.control.do('guests')[str(vmid)]['config']
    return config['tags'] == 'proxmox-lxcri-copy' and 'sandbox:' not in config['description'] and "no pod's" in config['description']


def test_backup_and_restore(own_daemon, cluster):
    def do(*words, check=True):
        return own_daemon.runtime.cli('proxmox', *words, check=check)
    made = []
    with own_daemon.pod(name='saved') as pod:
        vmid, _ = cluster.of(pod)
        try:
            done = do('backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend')
            volid = done.stdout.strip()
            assert re.fullmatch(rf'local:backup/vzdump-lxc-{vmid}-.*\.tar\.zst', volid)
            assert 'INFO: Starting Backup' in done.stderr
            listed = json.loads(do('backup', 'ls', '--pod', pod.id, '-o', 'json').stdout)
            assert [one['volid'] for one in listed] == [volid] and listed[0]['notes'] == 'pod tests/saved, by proxmox-lxcri'
            assert volid in do('backup', 'ls').stdout
            assert pod.status().state == READY
            # What the task said last is in the error: this storage can't.
            said = do('backup', 'create', pod.id, '--storage', 'local', check=False)
            assert said.returncode == 1 and 'job errors' in said.stderr and 'cannot mount subvol snapshots' in said.stderr
            copy = int(do('backup', 'restore', volid, '--start', '--hostname', 'from-backup').stdout)
            made.append(copy)
            assert is_nobodys(cluster, copy) and cluster.control.do('guests')[str(copy)]['running']
            assert cluster.control.do('guests')[str(copy)]['config']['hostname'] == 'from-backup'
            assert 'one of the pods' in do('backup', 'restore', volid, '--vmid', str(vmid - vmid % 100), check=False).stderr
            assert 'already exists' in do('backup', 'restore', volid, '--vmid', str(copy), check=False).stderr
            # The daemon removes what no pod knows of, but not that.
            own_daemon.runtime.kill()
            own_daemon.start()
            pod.cri = own_daemon.cri
            time.sleep(2)
            assert {str(copy), str(vmid)} <= set(cluster.control.do('guests'))
            time.sleep(1.1)
            second = do('backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend', '--keep', '1').stdout.strip()
            assert second != volid and volid not in do('backup', 'ls').stdout
            assert 'at least 1' in do('backup', 'create', pod.id, '--storage', 'local', '--keep', '0', check=False).stderr
            time.sleep(1.1)
            third = do('backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend', '--protected').stdout.strip()
            assert 'protected' in do('backup', 'rm', third, check=False).stderr
            assert cluster.client.put(f'/nodes/{cluster.node}/storage/local/content/{third}', protected=0).status == 200
            do('backup', 'rm', third)
            assert 'is no backup of a pod' in do('backup', 'rm', volid, check=False).stderr
            do('backup', 'rm', second)
            assert not json.loads(do('backup', 'ls', '-o', 'json').stdout)
        finally:
            for one in made:
                remove(cluster, one)
    assert vmid not in cluster.ours()


def test_backups_of_others(daemon, cluster, do):
    template = next(one['volid'] for one in cluster.client.get(f'/nodes/{cluster.node}/storage/local/content').data
                    if one['content'] == 'vztmpl')
    assert cluster.client.task('POST', f'/nodes/{cluster.node}/lxc', vmid=910, ostemplate=template, rootfs='local:0', unprivileged=1,
                               ostype='unmanaged') == 'OK'
    try:
        assert cluster.client.task('POST', f'/nodes/{cluster.node}/vzdump', vmid=910, storage='local') == 'OK'
        volid = next(one['volid'] for one in cluster.client.get(f'/nodes/{cluster.node}/storage/local/content', content='backup').data
                     if one['vmid'] == 910)
        assert volid not in do('backup', 'ls')
        assert 'is no backup of a pod' in do.fails('backup', 'rm', volid)
        assert 'is no backup of a pod' in do.fails('backup', 'restore', volid)
        assert 'is not STORAGE:backup/FILE' in do.fails('backup', 'rm', '../x:y')
        assert cluster.client.task('DELETE', f'/nodes/{cluster.node}/storage/local/content/{volid}') == 'OK'
    finally:
        remove(cluster, 910)


def test_clone(own_daemon, cluster):
    def do(*words, check=True):
        return own_daemon.runtime.cli('proxmox', *words, check=check)
    made = []
    with own_daemon.pod(name='original') as pod:
        vmid, _ = cluster.of(pod)
        try:
            assert 'only possible from a snapshot' in do('clone', pod.id, check=False).stderr
            assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
            copy = json.loads(do('clone', str(vmid), '--hostname', 'copy', '--vmid', '920', '-o', 'json').stdout)
            made.append(copy['vmid'])
            assert copy == {'vmid': 920, 'node': cluster.node} and is_nobodys(cluster, 920)
            made.append(int(do('clone', str(vmid), '--storage', 'local').stdout))
            assert is_nobodys(cluster, made[-1]) and not set(made) & {one['vmid'] for one in json.loads(do('ls', '-o', 'json').stdout)}
            assert 'lacks the tag' in do('snapshot', 'create', '920', 'mine', check=False).stderr
            own_daemon.runtime.kill()
            own_daemon.start()
            pod.cri = own_daemon.cri
        finally:
            own_daemon.connect()
            pod.cri = own_daemon.cri
            pod.remove()
            guests = cluster.control.do('guests')
            for one in made:
                assert str(one) in guests
                remove(cluster, one)
    assert vmid not in cluster.ours()


def test_clone_killed_meanwhile(own_daemon, cluster):
    """The copy that Proxmox goes on making was never ours to remove."""
    pod = own_daemon.pod()
    vmid, _ = cluster.of(pod)
    assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
    # The change of its tag does not come to be.
    cluster.control.do('fault', fault='hang', method='PUT', path='/lxc/930/config')
    asking = threading.Thread(target=lambda: own_daemon.runtime.cli('proxmox', 'clone', str(vmid), '--vmid', '930', check=False))
    asking.start()
    eventually(lambda: '930' in cluster.control.do('guests') and 'lock' not in cluster.control.do('guests')['930']['config'])
    own_daemon.runtime.kill()
    asking.join()
    cluster.control.do('clear-faults')
    own_daemon.start()
    pod.cri = own_daemon.cri
    pod.remove()
    config = cluster.control.do('guests')['930']['config']
    assert "no pod's" in config['description'] and vmid not in cluster.ours()
    remove(cluster, 930)


def test_killed_at_any_moment(own_daemon, cluster):
    """Of copying and saving: the pod goes as it should, and what Proxmox went on making is nobody's. LXCRI_CRASHES says how often."""
    rng, before = random.Random(6), set(cluster.control.do('guests'))
    own_daemon.pod().remove()
    pod = own_daemon.pod()
    vmid, _ = cluster.of(pod)
    volid = own_daemon.runtime.cli('proxmox', 'backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend').stdout.strip()
    assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
    verbs = [['clone', str(vmid)], ['backup', 'restore', volid, '--start'], ['snapshot', 'create', str(vmid)]]
    for number in range(int(os.environ.get('LXCRI_CRASHES', '9'))):
        verb = verbs[number % 3] + ([f'cut-{number}'] if number % 3 == 2 else [])
        asking = threading.Thread(target=lambda verb=verb: own_daemon.runtime.cli('proxmox', *verb, check=False))
        asking.start()
        time.sleep(rng.uniform(0.02, 0.5))
        own_daemon.runtime.kill()
        asking.join()
        own_daemon.start()
    eventually(lambda: not any('lock' in guest['config'] for guest in cluster.control.do('guests').values()), 60)
    own_daemon.connect()
    pod.cri = own_daemon.cri
    time.sleep(1)  # of the last daemon, which looks for what it may remove
    own_daemon.runtime.cli('proxmox', 'backup', 'rm', volid)
    pod.remove()
    left = set(cluster.control.do('guests')) - before
    assert str(vmid) not in left and left
    for one in left:
        assert "no pod's" in cluster.control.do('guests')[one]['config']['description']
        remove(cluster, one)


def test_template(daemon, cluster, do):
    pod = daemon.pod()
    vmid, _ = cluster.of(pod)
    try:
        assert '--stop stops it' in do.fails('template', pod.id)
        assert do('template', pod.id, '--stop') == f'{vmid}\n'
        eventually(lambda: pod.status().state == NOTREADY)
        pod.remove()
        assert cluster.control.do('guests')[str(vmid)]['config']['template'] == 1 and is_nobodys(cluster, vmid)
    finally:
        remove(cluster, vmid)


def test_migrate(daemon, cluster, do):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        assert '--restart shuts it down' in do.fails('migrate', pod.id, 'pve2')
        assert 'pve7' in do.fails('migrate', pod.id, 'pve7', '--restart')
        done = do.whole('migrate', pod.id, 'pve2', '--restart', '--timeout', '10')
        assert done.stdout == 'pve2\n' and 'its pod ends here' in done.stderr
        eventually(lambda: pod.status().state == NOTREADY)
        # It is still ours, there.
        assert [row[2] for row in do.table('ls') if row[0] == str(vmid)] == ['pve2']
        do('migrate', str(vmid), cluster.node, '--restart', '--timeout', '10')
        assert cluster.ours()[vmid]['node'] == cluster.node
        assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
        do('migrate', str(vmid), 'pve2')
        assert cluster.ours()[vmid]['node'] == 'pve2'
    assert vmid not in cluster.ours()


def test_volumes(daemon, cluster, do):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        assert 'running' in do.fails('move-volume', pod.id, 'rootfs', 'local')
        assert 'mp7' in do.fails('resize', pod.id, 'mp7', '+1G')
        assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
        do('move-volume', str(vmid), 'rootfs', 'local', '--delete')
        assert cluster.ours()[vmid]['config']['rootfs'].startswith('local:')
        assert 'no-such' in do.fails('move-volume', str(vmid), 'rootfs', 'no-such')


def test_copies_where_only_a_pool_is_ours(top, pb, registry, cluster):
    """A token with its privileges on a pool and on storages makes, backs up and copies pods' containers."""
    client = cluster.client
    guests = ('VM.Allocate VM.Audit VM.PowerMgmt VM.Config.Options VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.Disk '
              'VM.Snapshot VM.Backup VM.Clone Pool.Audit')
    storages = 'Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit'
    assert client.post('/pools', poolid='narrow').status == 200
    assert client.post('/access/users', userid='narrow@pve').status == 200
    for role, privileges, path in (('NarrowGuests', guests, '/pool/narrow'), ('NarrowStorage', storages, '/storage'),
                                   ('NarrowNode', 'Sys.Audit', f'/nodes/{cluster.node}')):
        assert client.post('/access/roles', roleid=role, privs=privileges.replace(' ', ',')).status == 200
        assert client.put('/access/acl', path=path, users='narrow@pve', roles=role).status == 200
    secret = client.post('/access/users/narrow@pve/token/narrow', privsep=0).data['value']
    secret_file = os.path.join(top, 'narrow-secret')
    with open(os.open(secret_file, os.O_CREAT | os.O_WRONLY, 0o600), 'w', encoding='utf-8') as f:
        f.write(secret + '\n')
    os.environ[proxmox.MORE] = json.dumps({'token-id': 'narrow@pve!narrow', 'token-file': secret_file, 'pool': 'narrow'})
    try:
        daemon = Daemon(make_daemon(top, 'narrow', registry, bridge='lxcrinarrow', subnet='10.94.0.0/24'), pb)
    finally:
        del os.environ[proxmox.MORE]
    copies = []
    try:
        with daemon.pod() as pod:
            vmid, _ = cluster.of(pod)
            older = daemon.runtime.cli('proxmox', 'backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend').stdout.strip()
            time.sleep(1.1)  # their names have whole seconds
            done = daemon.runtime.cli('proxmox', 'backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend', '--keep', '1')
            volid = done.stdout.strip()
            assert f'remove backup {older}' in done.stderr
            assert [one['volid'] for one in json.loads(daemon.runtime.cli('proxmox', 'backup', 'ls', '-o', 'json').stdout)] == [volid]
            copies.append(int(daemon.runtime.cli('proxmox', 'backup', 'restore', volid).stdout))
            assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
            copies.append(int(daemon.runtime.cli('proxmox', 'clone', str(vmid)).stdout))
            members = {one['vmid'] for one in client.get('/pools', poolid='narrow').data[0]['members']}
            assert {vmid, *copies} == members and all(is_nobodys(cluster, one) for one in copies)
            daemon.runtime.cli('proxmox', 'backup', 'rm', volid)
    finally:
        for one in copies:
            remove(cluster, one)
        daemon.stop()
        subprocess.run(['ip', 'link', 'delete', 'lxcrinarrow'], check=False)
        client.delete('/pools', poolid='narrow')


# HA, pools.

def test_ha(daemon, cluster, do):
    with daemon.pod(name='held') as pod, daemon.pod(name='apart') as other:
        vmid, _ = cluster.of(pod)
        second, _ = cluster.of(other)
        do('ha', 'add', pod.id, '--state', 'started', '--max-restart', '3', '--comment', 'two words')
        do('ha', 'add', 'tests/apart')
        assert 'already defined' in do.fails('ha', 'add', pod.id)
        one = next(one for one in do.json('ha', 'ls') if one['sid'] == f'ct:{vmid}')
        assert one['pod'] == 'tests/held' and one['max_restart'] == 3 and one['comment'] == 'two words'
        do('ha', 'set', pod.id, '--max-restart', '1', '--failback', 'false')
        one = next(one for one in do.json('ha', 'ls') if one['sid'] == f'ct:{vmid}')
        assert one['max_restart'] == 1 and not int(one['failback'])
        assert any(row[0] == 'quorum' for row in do.table('ha', 'status'))
        do('ha', 'rule', 'add', 'apart', 'resource-affinity', f'{pod.id},tests/apart', '--affinity', 'negative')
        do('ha', 'rule', 'add', 'home', 'node-affinity', pod.id, '--nodes', 'pve1:2,pve2', '--strict', 'true')
        rules = {one['rule']: one for one in do.json('ha', 'rule', 'ls')}
        assert rules['apart']['resources'] == f'ct:{vmid},ct:{second}' and rules['home']['strict'] == 1
        assert 'no pod "nobody"' in do.fails('ha', 'rule', 'add', 'x1', 'node-affinity', 'nobody', '--nodes', 'pve1')
        do('ha', 'rule', 'rm', 'apart')
        do('ha', 'rule', 'rm', 'home')
        assert not do.json('ha', 'rule', 'ls')
        assert 'no such ha rule' in do.fails('ha', 'rule', 'rm', 'home')
        do('ha', 'rm', pod.id)
        assert f'ct:{vmid}' not in [one['sid'] for one in do.json('ha', 'ls')]
    # The other went from HA with its pod.
    assert not do.json('ha', 'ls')


def test_pools(daemon, cluster, do):
    assert cluster.client.post('/pools', poolid='others', comment='not ours').status == 200
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        do('pool', 'create', 'made', '--comment', 'for tests')
        assert {'made', 'others'} <= {row[0] for row in do.table('pool', 'ls')}
        do('pool', 'add', 'made', pod.id)
        assert [one['vmid'] for one in cluster.client.get('/pools', poolid='made').data[0]['members']] == [vmid]
        do('pool', 'add', 'others', pod.id)  # from one to the other
        do('pool', 'take', 'others', pod.id)
        assert not cluster.client.get('/pools', poolid='others').data[0]['members']
        assert 'was not made by' in do.fails('pool', 'rm', 'others')
        do('pool', 'rm', 'made')
        assert 'none of that name' in do.fails('pool', 'rm', 'made')
    assert cluster.client.delete('/pools', poolid='others').status == 200


# Firewall.

def test_firewall(daemon, cluster, do, rest):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        do('firewall', 'set', pod.id, '--enable', 'true', '--policy-in', 'DROP')
        shown = do.json('firewall', 'show', pod.id)
        assert shown['enable'] == 1 and shown['policy_in'] == 'DROP'
        assert 'policy-in' in do('firewall', 'show', pod.id)
        assert 'nothing is to be changed' in do.fails('firewall', 'set', pod.id)
        assert 'policy_in' in do.fails('firewall', 'set', pod.id, '--policy-in', 'PERHAPS')
        do('firewall', 'ipset', 'create', pod.id, 'friends', '--comment', 'of ours')
        do('firewall', 'ipset', 'add', pod.id, 'friends', '10.0.0.0/24')
        do('firewall', 'ipset', 'add', pod.id, 'friends', '10.0.0.7', '--nomatch')
        assert [row[:1] for row in do.table('firewall', 'ipset', 'show', pod.id, 'friends')] == [['10.0.0.0/24'], ['10.0.0.7']]
        do('firewall', 'rule', 'add', pod.id, 'in', 'ACCEPT', '--source', '+friends', '--proto', 'tcp', '--dport', '80')
        do('firewall', 'rule', 'add', pod.id, 'in', 'DROP', '--position', '1', '--comment', 'the rest', '--disabled')
        rules = do.json('firewall', 'rule', 'ls', pod.id)
        assert [(one['action'], one['enable']) for one in rules] == [('ACCEPT', 1), ('DROP', 0)]
        # A position that has become another rule's.
        assert 'detected modified' in do.fails('firewall', 'rule', 'rm', pod.id, '0', '--digest', '0' * 40)
        do('firewall', 'rule', 'rm', pod.id, '0')
        assert [row[3] for row in do.table('firewall', 'rule', 'ls', pod.id)] == ['DROP']
        assert 'no rule at position 9' in do.fails('firewall', 'rule', 'rm', pod.id, '9')
        assert 'is not empty' in do.fails('firewall', 'ipset', 'rm', pod.id, 'friends')
        do('firewall', 'ipset', 'take', pod.id, 'friends', '10.0.0.0/24')
        assert 'no such IP' in do.fails('firewall', 'ipset', 'take', pod.id, 'friends', '10.9.9.9')
        do('firewall', 'ipset', 'rm', pod.id, 'friends', '--force')
        assert not do.json('firewall', 'ipset', 'ls', pod.id)
        for address in ('../../../901', 'a/../b', '/etc', '10.0.0.0/24/..'):
            assert rest.ask('DELETE', f'/v1/pods/{vmid}/firewall/ipsets/friends/addresses/{q(address)}')[0] == 400, address


# With writable layers on the containers' own volumes: what pods wrote.

@pytest.fixture(name='layered', scope='module')
def fixture_layered(top, pb, registry, busybox):
    os.environ[proxmox.MORE] = json.dumps({'rootfs-size': None, 'writable-layers': {'size': 0.25, 'max-size': 1}})
    try:
        daemon = Daemon(make_daemon(top, 'layered', registry, bridge='lxcriops', subnet='10.93.0.0/24'), pb)
    finally:
        del os.environ[proxmox.MORE]
    daemon.pull(busybox)
    yield daemon
    daemon.stop()
    subprocess.run(['ip', 'link', 'delete', 'lxcriops'], check=False, stderr=subprocess.DEVNULL)


def wrote(cluster, vmid, container, name):
    """What is in a file of that container's layer, in a Proxmox container that runs."""
    pid = cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/status/current').data['pid']
    with open(f'/proc/{pid}/root/containers/{container.id}/upper/{name}', encoding='utf-8') as f:
        return f.read()


def test_what_a_pod_wrote(layered, busybox, cluster):
    def do(*words):
        return layered.runtime.cli('proxmox', *words).stdout.strip()
    copy = None
    with layered.pod(name='writer') as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, 'trap "exit 0" TERM; while :; do sleep 0.05; done')
        try:
            container.sh('echo first > /data')
            do('snapshot', 'create', 'tests/writer', 'first')
            volid = do('backup', 'create', pod.id, '--storage', 'local', '--mode', 'suspend')
            container.sh('echo second > /data')
            copy = int(do('backup', 'restore', volid, '--start'))
            assert wrote(cluster, copy, container, 'data') == 'first\n' and is_nobodys(cluster, copy)
            assert container.output('cat', '/data') == 'second'
            # Its layer is on what was set back: the pod goes on from there.
            do('snapshot', 'rollback', pod.id, 'first')
            assert pod.status().state == READY and container.output('cat', '/data') == 'first'
            assert wrote(cluster, vmid, container, 'data') == 'first\n'
            do('snapshot', 'rm', str(vmid), 'first')
            do('backup', 'rm', volid)
        finally:
            if copy:
                remove(cluster, copy)
    assert vmid not in cluster.ours()
