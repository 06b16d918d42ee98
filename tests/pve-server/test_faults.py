"""Faults on demand and at random, and the journal."""

import os
import time

import pytest

from client import SLOW, Client
from proxmox import Proxmox
from templates import layer, oci_archive

LXC = '/nodes/pve1/lxc'
TEMPLATE = 'local:vztmpl/oci-mini.tar'


@pytest.fixture
def one(server, control):
    """A client of its own connection; the rules are gone afterwards."""
    yield Client(server.cluster.nodes['pve1'], server.token)
    control.do('clear-faults')


def pools(client):
    return [pool['poolid'] for pool in client.get('/pools').data]


@pytest.mark.parametrize('fault, done', [('reset', False), ('reset-after', True)])
def test_reset(one, client, control, fault, done):
    control.do('fault', fault=fault, method='POST', path='^/pools$', count=1)
    with pytest.raises(OSError):  # ECONNRESET, or TLS' word for it when the body is still being sent
        one.post('/pools', poolid='a')
    assert ('a' in pools(client)) is done
    one.connection.close()
    assert one.get('/version').status == 200
    if done:
        assert one.delete('/pools', poolid='a').status == 200


@pytest.mark.parametrize('fault, done', [('status', False), ('status-after', True)])
def test_status(one, client, control, fault, done):
    control.do('fault', fault=fault, path='^/pools$', method='POST', count=1, status=503, reason='Service Unavailable')
    assert one.post('/pools', poolid='b').line == '503 Service Unavailable'
    assert ('b' in pools(client)) is done
    if done:
        assert one.delete('/pools', poolid='b').status == 200


@pytest.mark.parametrize('fault, done', [('hang', False), ('hang-after', True)])
def test_hang(server, client, control, fault, done):
    control.do('fault', fault=fault, method='POST', path='^/pools$', count=1)
    one = Client(server.cluster.nodes['pve1'], server.token, timeout=2 * SLOW)
    with pytest.raises(TimeoutError):
        one.post('/pools', poolid='c')
    one.connection.close()
    # The server is rid of it as soon as the client is.
    end = time.monotonic() + 60 * SLOW
    while not any(entry['fault'] == fault for entry in control.do('journal')):
        assert time.monotonic() < end
        time.sleep(0.02)
    control.do('clear-faults')
    assert ('c' in pools(client)) is done
    if done:
        assert client.delete('/pools', poolid='c').status == 200


def test_slow(one, control):
    control.do('fault', fault='slow', seconds=0.3, count=1)
    began = time.monotonic()
    assert one.get('/version').status == 200
    assert time.monotonic() - began >= 0.3
    assert one.get('/version').status == 200


def test_only_a_node(one, server, control):
    control.do('fault', fault='status', node='pve2')
    assert one.get('/version').status == 200
    assert Client(server.cluster.nodes['pve2'], server.token).get('/version').line == '502 Bad Gateway'


def test_random_repeats_itself(one, control):
    def strikes():
        control.do('seed', seed=7)
        return [one.get('/version').status for _ in range(50)]
    control.do('fault', fault='status', probability=0.3)
    first = strikes()
    assert first == strikes() and 5 < first.count(502) < 30


def test_quorum(one, control):
    control.do('quorum', quorate=False)
    try:
        assert one.post(LXC, vmid=110, ostemplate=TEMPLATE,
                        rootfs='local:0').line == '500 cluster not ready - no quorum?'
        assert one.get('/nodes').status == 200
        assert one.get('/cluster/status').data[0]['quorate'] == 0
    finally:
        control.do('quorum', quorate=True)


def test_killed_task_leaves_its_lock(client, control, one):
    control.do('fault', fault='kill', method='POST', path='/lxc$', count=1, steps=1)
    assert client.task('POST', LXC, vmid=111, ostemplate=TEMPLATE, rootfs='local:0') == 'unexpected status'
    assert client.get(LXC + '/111/config').data['lock'] == 'create'
    assert client.task('POST', LXC + '/111/status/start') == 'CT is locked (create)'
    assert client.task('DELETE', LXC + '/111') == 'CT is locked (create)'
    control.do('unlock', vmid=111)
    assert client.task('DELETE', LXC + '/111') == 'OK'
    assert not client.get('/nodes/pve1/storage/local/content', vmid=111).data
    del one


def test_disk_full(client, control):
    control.do('disk-full', storage='local')
    try:
        exit_status = client.task('POST', LXC, vmid=112, ostemplate=TEMPLATE, rootfs='local:0')
        assert exit_status == "unable to create CT 112 - unable to create image on 'local' - No space left on device"
    finally:
        control.do('disk-full', storage='local', full=False)
    assert client.get(LXC + '/112/config').status == 500


def test_lock_at_once(client, control, one):
    assert client.task('POST', LXC, vmid=113, ostemplate=TEMPLATE, rootfs='local:0') == 'OK'
    control.do('fault', fault='lock', method='PUT', count=1)
    assert one.put(LXC + '/113/config', memory=64).line == \
        "500 can't lock file '/run/lock/lxc/pve-config-113.lock' - got timeout"
    assert one.put(LXC + '/113/config', memory=64).status == 200
    assert client.task('DELETE', LXC + '/113') == 'OK'


def test_journal_counts_and_keeps_secrets(client, control):
    control.do('journal', clear=True)
    client.post('/access/users', userid='j@pve', password='not for the journal')
    client.put(LXC + '/999/config', env='PASSWORD=secret', memory=64)
    entries = control.do('journal')
    assert [(entry['method'], entry['path'], entry['status']) for entry in entries] == [
        ('POST', '/access/users', 200), ('PUT', LXC + '/999/config', 500)]
    assert entries[0]['parameters'] == {'userid': 'j@pve',
                                        'password': '***'} and entries[0]['caller'] == 'root@pam!test'
    assert entries[1]['parameters']['env'] == '***' and entries[1]['parameters']['memory'] == '64'


def test_unknown_fault(control):
    with pytest.raises(RuntimeError, match='no fault'):
        control.do('fault', fault='earthquake')
    with pytest.raises(RuntimeError, match='there is no'):
        control.do('explode')


def test_serve(tmp_path, bridge):
    """The program by itself: a line of JSON once it serves, its containers' end with its own."""
    del bridge
    cluster = Proxmox(str(tmp_path / 'cluster'))
    assert os.stat(cluster.secret_file).st_mode & 0o777 == 0o600
    client, archive = cluster.client, oci_archive(str(tmp_path / 'mini.tar'), layer(), Entrypoint=['/sbin/init'])
    assert {node['ssl_fingerprint'] for node in client.get('/nodes').data} == {
        node['fingerprint'] for node in cluster.nodes.values()}
    with open(archive, 'rb') as file:
        upid = client.upload('/nodes/pve1/storage/local/upload', 'mini.tar', file.read(), content='vztmpl').data
    assert client.wait(upid)['exitstatus'] == 'OK'
    assert client.task('POST', LXC, vmid=110, ostemplate='local:vztmpl/mini.tar', rootfs='local:0') == 'OK'
    assert client.task('POST', LXC + '/110/status/start') == 'OK'
    pid = client.get(LXC + '/110/status/current').data['pid']
    assert cluster.stop() == [] and cluster.process.returncode == 0
    assert not os.path.exists(f'/proc/{pid}')


@pytest.mark.parametrize('version, message', [('9.2.11', True), ('8.4.14', False), ('7.4-19', False)])
def test_older_releases(client, control, version, message):
    """The reason is in the status line of all; only 9 has it in the body, too."""
    control.do('release', version=version)
    try:
        found = client.get('/version').data
        assert found['version'] == version and found['release'] == version[:3]
        answer = client.get(LXC + '/999/config')
        assert answer.line == "500 Configuration file 'nodes/pve1/lxc/999.conf' does not exist"
        assert ('message' in answer.body) is message
    finally:
        control.do('release', version='9.2.11')
