"""What a container wrote goes where the API takes it: backups, snapshots, clones, other storages, other nodes."""

import os
import signal
import subprocess

import pytest

from cts import SLOW, until_handled

TEMPLATE = 'local:vztmpl/oci-mini.tar'


class Ct:
    """A container that the API made."""

    def __init__(self, server, client, vmid, node='pve1'):
        self.server, self.client, self.vmid, self.node = server, client, vmid, node

    @property
    def path(self):
        return f'/nodes/{self.node}/lxc/{self.vmid}'

    def make(self, **more):
        given = {'rootfs': 'local:0.0625', 'memory': 64, 'start': 0,
                 'net0': f'name=eth0,bridge=vmbr0,ip=10.99.1.{self.vmid % 256}/16', **more}
        return self.client.task('POST', f'/nodes/{self.node}/lxc', vmid=self.vmid, ostemplate=TEMPLATE, **given)

    def task(self, method, what='', /, **given):
        """The exit status of what is done to it; the rest is no concern of most tests."""
        return self.client.task(method, self.path + what, **given)

    def run(self, script):
        """What a shell in it prints."""
        lxcpath = os.path.join(self.server.cluster.nodes[self.node].folder, 'lxc')
        done = subprocess.run(['lxc-attach', '-P', lxcpath, '-n', str(self.vmid), '--', 'sh', '-c', script],
                              capture_output=True, text=True, timeout=30 * SLOW, check=False)
        return (done.stdout + done.stderr).strip()

    def config(self):
        return self.client.get(self.path + '/config').data

    def remove(self):
        assert self.task('DELETE', force=1, purge=1) == 'OK'


@pytest.fixture
def make(server, client):
    """make(vmid, **options): a running container, which goes afterwards."""
    made = []

    def one(vmid, **options):
        made.append(Ct(server, client, vmid))
        assert made[-1].make(**options) == 'OK'
        assert made[-1].task('POST', '/status/start') == 'OK'
        until_handled(client.get(made[-1].path + '/status/current').data['pid'], signal.SIGTERM)
        return made[-1]

    def known(vmid, node='pve1'):
        made.append(Ct(server, client, vmid, node))
        return made[-1]
    one.known = known
    yield one
    for ct in made:
        ct.remove()
    assert not volumes(server), 'volumes were left'


def volumes(server):
    return [entry['volid'] for node in server.cluster.nodes.values() for storage in node.storages.values()
            for entry in storage.content('rootdir')]


@pytest.mark.parametrize('rootfs', ['local:0.0625', 'btr:0'])
def test_backup_of_a_running_one_is_restored_under_another_id(make, client, rootfs):
    ct = make(210, rootfs=rootfs)
    ct.run('echo written >/file; chown 7:8 /file')
    assert client.task('POST', '/nodes/pve1/vzdump', vmid=210, storage='local', mode='suspend', compress='zstd') == 'OK'
    assert ct.run('cat /file') == 'written', 'the backup disturbed it'
    ct.run('echo later >/file')
    backup, = client.get('/nodes/pve1/storage/local/content', content='backup', vmid=210).data
    restored = client.task('POST', '/nodes/pve1/lxc', vmid=211, ostemplate=backup['volid'], restore=1, unique=1,
                           storage='local')
    assert restored in ('OK', 'WARNINGS: 1')
    copy = make.known(211)
    assert client.put(copy.path + '/config', net0='name=eth0,bridge=vmbr0,ip=10.99.1.1/16').data is None
    assert copy.task('POST', '/status/start') == 'OK'
    assert copy.run('cat /file; stat -c %u:%g /file') == 'written\n7:8'
    assert client.task('DELETE', f'/nodes/pve1/storage/local/content/{backup["volid"]}') == 'OK'


def test_rollback_brings_back_files_and_configuration(make, client):
    ct = make(212, rootfs='btr:0')
    ct.run('echo before >/file')
    assert ct.task('POST', '/snapshot', snapname='one') == 'OK'
    ct.run('echo after >/file')
    assert client.put(ct.path + '/config', memory=96).data is None
    assert ct.task('POST', '/snapshot/one/rollback', start=1) == 'OK'
    assert ct.run('cat /file') == 'before' and ct.config()['memory'] == 64


def test_clone_of_a_snapshot_is_of_that_moment_and_its_own(make, client):
    ct = make(213, rootfs='btr:0.0625')  # an image: snapshots of trees are no source
    ct.run('echo then >/file')
    assert ct.task('POST', '/snapshot', snapname='one') == 'OK'
    ct.run('echo now >/file')
    assert ct.task('POST', '/clone', newid=214, full=1, snapname='one', hostname='copy') == 'OK'
    copy = make.known(214)
    assert client.put(copy.path + '/config', net0='name=eth0,bridge=vmbr0,ip=10.99.1.2/16').data is None
    assert copy.task('POST', '/status/start') == 'OK'
    assert copy.run('cat /file; hostname') == 'then\ncopy'
    copy.run('echo copy >/file')
    assert ct.run('cat /file') == 'now'


def test_moved_volume_has_all_and_the_old_one_goes(make, server):
    ct = make(215)
    ct.run('echo written >/file')
    assert ct.task('POST', '/status/shutdown', timeout=20 * SLOW) == 'OK'
    assert ct.task('POST', '/move_volume', volume='rootfs', storage='shared', delete=1) == 'OK'
    assert ct.config()['rootfs'].startswith('shared:215/')
    assert ct.task('POST', '/status/start') == 'OK'
    assert ct.run('cat /file') == 'written'
    assert not server.cluster.nodes['pve1'].storages['local'].content('rootdir', 215)


@pytest.mark.parametrize('storage', ['local', 'shared'])
def test_migration_takes_the_files_along(make, server, storage):
    ct = make(216, rootfs=f'{storage}:0.0625')
    ct.run('echo written >/file')
    assert ct.task('POST', '/migrate', target='pve2', restart=1, timeout=20 * SLOW) == 'OK'
    here, there = (server.cluster.nodes[name].storages['local'] for name in ('pve1', 'pve2'))
    assert not here.content('rootdir', 216) and len(there.content('rootdir', 216)) == (storage == 'local')
    ct.node = 'pve2'
    assert ct.run('cat /file') == 'written'
    assert ct.client.get(ct.path + '/status/current').data['status'] == 'running'


def test_new_volume_is_there_at_once_and_goes_into_backups_when_asked_to(make, client):
    ct = make(217)
    assert client.put(ct.path + '/config', mp0='local:0.0625,mp=/kept,backup=1', mp1='local:0,mp=/not').data is None
    assert ct.run('echo 1 >/kept/file; echo 2 >/not/file; cat /kept/file /not/file') == '1\n2'
    assert client.task('POST', '/nodes/pve1/vzdump', vmid=217, storage='local', mode='suspend') == 'OK'
    backup, = client.get('/nodes/pve1/storage/local/content', content='backup', vmid=217).data
    assert client.task('POST', '/nodes/pve1/lxc', vmid=218, ostemplate=backup['volid'], restore=1,
                       storage='local') in ('OK', 'WARNINGS: 1')
    copy = make.known(218)
    assert client.put(copy.path + '/config', net0='name=eth0,bridge=vmbr0,ip=10.99.1.3/16').data is None
    assert copy.task('POST', '/status/start') == 'OK'
    assert copy.run('cat /kept/file; ls /not') == '1'
    assert client.task('DELETE', f'/nodes/pve1/storage/local/content/{backup["volid"]}') == 'OK'
