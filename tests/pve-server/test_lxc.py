"""Containers over the API: real ones behind it."""

import os
import signal
import subprocess
import threading
import time

import pytest

from client import SLOW, Client
from cts import until_handled
from networks import exists

LXC = '/nodes/pve1/lxc'
TEMPLATE = 'local:vztmpl/oci-mini.tar'


def make(client, vmid, node='pve1', **options):
    """A stopped container."""
    given = {'rootfs': 'local:0', 'memory': 64, 'net0': f'name=eth0,bridge=vmbr0,ip=10.99.0.{vmid - 100}/24', **options}
    assert client.task('POST', f'/nodes/{node}/lxc', vmid=vmid, ostemplate=TEMPLATE, **given) == 'OK'
    return f'/nodes/{node}/lxc/{vmid}'


def start(client, path):
    """Starts it and waits until its first process would hear a halt signal."""
    assert client.task('POST', path + '/status/start') == 'OK'
    until_handled(client.get(path + '/status/current').data['pid'], signal.SIGTERM)


def remove(client, *vmids, node='pve1'):
    for vmid in vmids:
        assert client.task('DELETE', f'/nodes/{node}/lxc/{vmid}', force=1, purge=1) == 'OK'


@pytest.fixture(scope='module')
def ct(client):
    """A container for tests that leave it stopped and as it was."""
    path = make(client, 110, hostname='pod110')
    yield path
    remove(client, 110)


def test_create(client):
    upid = client.post(LXC, vmid=120, ostemplate=TEMPLATE, hostname='pod120', rootfs='local:0', memory=128, cores=1,
                       net0='name=eth0,bridge=vmbr0,ip=10.99.0.120/24,gw=10.99.0.1', features='nesting=1', onboot=0,
                       start=1,
                       env='MY=1', entrypoint='/bin/false', description='a pod', tags='Pod;k8s').data
    assert client.wait(upid)['exitstatus'] == 'OK'
    assert client.log(upid) == ['Detected OCI archive', 'Auto-Enabling host-managed network for network device net0.',
                                'Detected container architecture: amd64', 'TASK OK']
    config = client.get(LXC + '/120/config').data
    # What the image says replaces env and entrypoint that were given.
    assert config['env'] == 'PATH=/bin\0FOO=bar baz' and config['entrypoint'] == '/sbin/init'
    assert config['net0'].startswith('name=eth0,bridge=vmbr0,gw=10.99.0.1,host-managed=1,hwaddr=BC:24:11:')
    assert config['rootfs'] == 'local:120/subvol-120-disk-0.subvol,size=0T'
    assert ['lxc.init.cwd', '/tmp'] in config['lxc'] and config['ostype'] == 'alpine' and config['cmode'] == 'console'
    assert (config['memory'], config['swap'], config['unprivileged'], config['onboot']) == (128, 512, 1, 0)
    assert (config['description'], config['tags'], len(config['digest'])) == ('a pod\n', 'k8s;pod', 40)
    starts = [task for task in client.get('/nodes/pve1/tasks', vmid=120, source='all').data
              if task['type'] == 'vzstart']
    assert client.wait(starts[0]['upid'])['exitstatus'] == 'OK'
    status = client.get(LXC + '/120/status/current').data
    assert status['status'] == 'running' and os.path.exists(f'/proc/{status["pid"]}') and status['ha'] == {'managed': 0}
    assert client.get(LXC, vmid=1).errors and client.get(LXC).data[0]['name'] == 'pod120'
    addresses = {card['name']: card.get('inet') for card in client.get(LXC + '/120/interfaces').data}
    assert addresses['eth0'] == '10.99.0.120/24'
    assert client.post(LXC, vmid=120, ostemplate=TEMPLATE).line == "500 CT 120 already exists on node 'pve1'"
    assert client.delete(LXC + '/120').line == '500 unable to destroy CT 120 - container is running'
    remove(client, 120)
    assert not os.path.exists(f'/proc/{status["pid"]}')
    assert client.get(LXC + '/120/config').line == "500 Configuration file 'nodes/pve1/lxc/120.conf' does not exist"


def test_failed_create_leaves_nothing(client, server):
    assert client.task('POST', LXC, vmid=121, ostemplate='local:vztmpl/none.tar', rootfs='local:0') == \
        "unable to create CT 121 - volume 'local:vztmpl/none.tar' does not exist"
    assert client.post(LXC, vmid=121, ostemplate=TEMPLATE, mp0='local:1,mp=/data').errors.keys() == {'rootfs'}
    assert client.post(LXC, vmid=121, ostemplate=TEMPLATE,
                       rootfs='nowhere:1').line == "500 storage 'nowhere' does not exist"
    assert 121 not in server.cluster.guests
    assert not client.get('/nodes/pve1/storage/local/content', vmid=121).data


def test_create_is_fine_although_the_start_fails(client):
    upid = client.post(LXC, vmid=122, ostemplate=TEMPLATE, rootfs='local:0', net0='name=eth0,bridge=nowhere',
                       start=1).data
    assert client.wait(upid)['exitstatus'] == 'OK'
    starts = [task for task in client.get('/nodes/pve1/tasks', vmid=122, source='all').data
              if task['type'] == 'vzstart']
    assert client.wait(starts[0]['upid'])['exitstatus'] == "bridge 'nowhere' does not exist"
    assert client.get(LXC + '/122/status/current').data['status'] == 'stopped'
    remove(client, 122)


def test_power(client, ct):
    assert client.post(ct + '/status/stop').line == '500 CT 110 not running'
    start(client, ct)
    assert client.post(ct + '/status/start').line == '500 CT 110 already running'
    assert client.post(ct + '/status/start', skiplock=1).errors == {'skiplock': 'Only root may use this option.'}
    pid = client.get(ct + '/status/current').data['pid']
    assert client.task('POST', ct + '/status/reboot', timeout=10) == 'OK'
    again = client.get(ct + '/status/current').data['pid']
    assert again != pid
    until_handled(again, signal.SIGTERM)
    assert client.task('POST', ct + '/status/suspend').startswith("command 'lxc-checkpoint -n 110")
    assert client.post(ct + '/status/resume').line == '500 CT 110 already running'
    assert client.task('POST', ct + '/status/shutdown', timeout=10) == 'OK'
    assert client.post(ct + '/status/shutdown').line == '500 CT 110 not running'
    assert client.task('POST', LXC + '/999/status/start') == \
        "Configuration file 'nodes/pve1/lxc/999.conf' does not exist"


def test_config_of_a_stopped_one(client, ct):
    assert client.put(ct + '/config').line == '500 no options specified'
    assert client.put(ct + '/config', memory=96, env='A=1\0B=2', tags='x').data is None
    config = client.get(ct + '/config').data
    assert (config['memory'], config['env']) == (96, 'A=1\0B=2')
    assert client.put(ct + '/config', memory=64, digest='00').line == \
        '500 detected modified configuration - file changed by other user? Try again.'
    assert client.put(ct + '/config', memory=64, digest=config['digest']).data is None
    assert client.get(ct + '/config').data['digest'] != config['digest']
    assert client.put(ct + '/config', delete='tags,env').data is None
    assert not {'tags', 'env'} & client.get(ct + '/config').data.keys()
    assert client.put(ct + '/config', tags='a', delete='tags').errors.keys() == {'delete'}
    assert client.put(ct + '/config', delete='rootfs').line == "500 unable to delete required option 'rootfs'"
    mac = client.get(ct + '/config').data['net0'].split('hwaddr=')[1][:17]
    assert client.put(ct + '/config', net0='name=eth0,bridge=vmbr0,host-managed=1,ip6=auto').status == 500
    assert client.put(ct + '/config', net0='name=eth0,bridge=vmbr0,ip=10.99.0.10/24').data is None
    assert mac in client.get(ct + '/config').data['net0']


def test_volumes(client, ct, server):
    assert client.put(ct + '/config', mp0='local:0,mp=/data').data is None
    assert client.get(ct + '/config').data['mp0'] == 'local:110/subvol-110-disk-1.subvol,mp=/data,size=0T'
    assert client.put(ct + '/config', delete='mp0').data is None
    assert client.get(ct + '/config').data['unused0'] == 'local:110/subvol-110-disk-1.subvol'
    assert client.put(ct + '/config', delete='unused0').data is None
    assert len(client.get('/nodes/pve1/storage/local/content', vmid=110, content='rootdir').data) == 1
    assert client.task('POST', ct + '/move_volume', volume='rootfs', storage='btr', delete=1) == 'OK'
    assert client.get(ct + '/config').data['rootfs'].startswith('btr:110/')
    assert client.task('POST', ct + '/move_volume', volume='rootfs', storage='local', delete=1) == 'OK'
    assert not server.cluster.nodes['pve1'].storages['btr'].content(vmid=110)


def test_hotplug_and_pending(client, ct):
    start(client, ct)
    assert client.put(ct + '/config', env='MY=2', memory=80).data is None
    pending = {entry['key']: entry for entry in client.get(ct + '/pending').data}
    assert pending['memory'] == {'key': 'memory', 'value': 80} and pending['env'] == {'key': 'env', 'pending': 'MY=2'}
    assert 'env' not in client.get(ct + '/config', current=1).data and client.get(ct + '/config').data['env'] == 'MY=2'
    answer = client.put(ct + '/config', net0='name=eth0,bridge=nope,ip=10.99.0.10/24', description='all the same')
    assert answer.errors == {'net0': "unable to hotplug net0: bridge 'nope' does not exist\n"}
    assert client.get(ct + '/config').data['description'] == 'all the same\n'
    assert 'bridge=vmbr0' in client.get(ct + '/config', current=1).data['net0']
    assert client.put(ct + '/config', revert='net0').data is None
    assert 'bridge=vmbr0' in client.get(ct + '/config').data['net0']
    assert client.put(ct + '/config', net5='name=eth5,bridge=vmbr0,ip=10.99.0.99/24').data is None
    assert 'eth5' in [card['name'] for card in client.get(ct + '/interfaces').data]
    assert client.task('POST', ct + '/status/reboot', timeout=10) == 'OK'
    assert client.get(ct + '/config', current=1).data['env'] == 'MY=2'
    assert client.task('POST', ct + '/status/stop') == 'OK'
    assert client.put(ct + '/config', delete='net5,env,description').data is None


def test_locks(client, ct, control):
    control.do('lock', vmid=110, lock='backup')
    assert client.put(ct + '/resize', disk='rootfs', size='+1G').line == '500 CT is locked (backup)'
    assert client.put(ct + '/config', memory=64).line == '500 CT is locked (backup)'
    assert client.task('POST', ct + '/status/start') == 'CT is locked (backup)'
    assert client.get(ct + '/status/current').data['lock'] == 'backup'
    control.do('unlock', vmid=110)
    control.do('hold-lock', vmid=110)
    began = time.monotonic()
    assert client.put(ct + '/config', memory=64).line == \
        "500 can't lock file '/run/lock/lxc/pve-config-110.lock' - got timeout"
    assert time.monotonic() - began >= 0.4  # 10 s at this pace
    control.do('release-lock', vmid=110)
    # A token may set the key, too, and then nothing removes it by the API.
    assert client.put(ct + '/config', lock='backup').data is None
    assert client.put(ct + '/config', delete='lock').line == '500 CT is locked (backup)'
    control.do('unlock', vmid=110)


def test_lock_is_waited_for(client, ct, control, server, monkeypatch):
    monkeypatch.setattr(server.cluster, 'pace', 1)
    control.do('hold-lock', vmid=110)
    upid = client.post(ct + '/status/start').data
    until(lambda: client.log(upid) == ['trying to acquire lock...'])
    control.do('release-lock', vmid=110)
    assert client.wait(upid)['exitstatus'] == 'OK'
    assert client.log(upid)[:2] == ['trying to acquire lock...', ' OK']
    assert client.task('POST', ct + '/status/stop') == 'OK'


def test_protection_and_purge(client, ct):
    assert client.put(ct + '/config', protection=1).data is None
    assert client.delete(ct).line == "500 can't remove CT 110 - protection mode enabled"
    assert client.put(ct + '/config', protection=0).data is None
    assert client.post('/cluster/ha/resources', sid='ct:110', state='stopped').data is None
    assert client.delete(ct).line == '500 unable to remove CT 110 - used in HA resources and purge parameter not set.'
    assert client.delete('/cluster/ha/resources/ct:110').data is None


def test_snapshots(client):
    path = make(client, 130, rootfs='btr:0')
    assert client.get(path + '/feature', feature='snapshot').data == {'hasFeature': 1}
    assert client.task('POST', path + '/snapshot', snapname='s1', description='first') == 'OK'
    assert client.task('POST', path + '/snapshot', snapname='s1') == "snapshot name 's1' already used"
    first, now = client.get(path + '/snapshot').data
    assert (first['name'], first['description'], now['name'], now['parent']) == ('s1', 'first\n', 'current', 's1')
    assert client.put(path + '/config', memory=80).data is None
    assert client.post(path + '/template').line == '500 unable to create template, because CT contains snapshots'
    assert client.task('POST', path + '/snapshot/s1/rollback', start=1) == 'OK'
    assert client.get(path + '/config').data['memory'] == 64
    assert client.get(path + '/status/current').data['status'] == 'running'
    assert client.task('POST', path + '/snapshot/s2/rollback') == "snapshot 's2' does not exist"
    assert client.get(path + '/snapshot/s1/config').data['description'] == 'first\n'
    assert client.task('DELETE', path + '/snapshot/s1') == 'OK'
    assert client.get(path + '/snapshot').data[0]['name'] == 'current'
    remove(client, 130)


def test_no_snapshots_on_a_plain_folder(client, ct):
    assert client.get(ct + '/feature', feature='snapshot').data == {'hasFeature': 0}
    assert client.task('POST', ct + '/snapshot', snapname='s1') == 'snapshot feature is not available'


def test_clone_and_template(client, ct):
    assert client.task('POST', ct + '/clone', newid=131, hostname='cl', full=1, storage='btr') == 'OK'
    clone = client.get(LXC + '/131/config').data
    assert clone['hostname'] == 'cl' and clone['rootfs'].startswith('btr:131/') and 'lock' not in clone
    assert clone['net0'] != client.get(ct + '/config').data['net0']
    assert client.post(ct + '/clone', newid=131).line == "500 CT 131 already exists on node 'pve1'"
    assert client.post(LXC + '/131/template').data is None
    assert client.task('POST', LXC + '/131/status/start') == "you can't start a CT if it's a template"
    assert client.post(LXC + '/131/clone', newid=132).line == \
        "500 Linked clone feature for 'btr:131/subvol-131-disk-0.subvol' is not available"
    remove(client, 131)
    assert client.task('POST', ct + '/status/start') == 'OK'
    assert client.post(ct + '/clone', newid=133).line == \
        '500 Full clone of a running container is only possible from a snapshot'
    assert client.task('POST', ct + '/status/stop') == 'OK'


def test_backup_and_restore(client, ct):
    backups = '/nodes/pve1/storage/local/content'
    assert client.post('/nodes/pve1/vzdump', vmid=110,
                       tmpdir='/tmp').errors == {'tmpdir': 'Only root may set this option.'}
    assert client.task('POST', '/nodes/pve1/vzdump', vmid=110, storage='local', mode='snapshot', compress='zstd',
                       **{'notes-template': '{{guestname}}'}) == 'OK'
    backup, = client.get(backups, content='backup', vmid=110).data
    assert (backup['subtype'], backup['format'], backup['notes']) == ('lxc', 'tar.zst', 'pod110')
    upid = client.post(LXC, vmid=134, ostemplate=backup['volid'], restore=1, unique=1).data
    assert client.wait(upid)['exitstatus'] == 'WARNINGS: 1'  # a token loses the raw lxc keys
    config, old = client.get(LXC + '/134/config').data, client.get(ct + '/config').data
    assert 'lxc' not in config and config['hostname'] == 'pod110' and config['net0'] != old['net0']
    assert client.task('POST', LXC + '/134/status/start') == 'OK'
    remove(client, 134)
    assert client.put(f'{backups}/{backup["volid"]}', protected=1).data is None
    assert client.delete(f'{backups}/{backup["volid"]}').status == 500
    assert client.put(f'{backups}/{backup["volid"]}', protected=0).data is None
    assert client.task('DELETE', f'{backups}/{backup["volid"]}') == 'OK'
    assert client.task('POST', '/nodes/pve1/vzdump', vmid=999) == 'job errors'


def test_migrate(client, server):
    path = make(client, 140)
    assert client.get(path + '/migrate').data == {'running': 0, 'allowed-nodes': ['pve2'], 'not-allowed-nodes': {}}
    assert client.post(path + '/migrate', target='pve3').line == "500 no such cluster node 'pve3'"
    assert client.post(path + '/migrate', target='pve1').errors == {'target': 'target is local node.'}
    start(client, path)
    assert client.post(path + '/migrate',
                       target='pve2').line == "500 can't migrate running container without --online or --restart"
    assert client.task('POST', path + '/migrate', target='pve2', restart=1, timeout=10) == 'OK'
    assert client.get(path + '/status/current').line == \
        "500 Configuration file 'nodes/pve1/lxc/140.conf' does not exist"
    assert client.get('/nodes/pve2/lxc/140/status/current').data['status'] == 'running'
    assert not server.cluster.nodes['pve1'].storages['local'].content(vmid=140)
    resources = client.get('/cluster/resources', type='vm').data
    assert [entry['node'] for entry in resources if entry['vmid'] == 140] == ['pve2']
    remove(client, 140, node='pve2')


def test_firewall(client, ct):
    firewall = ct + '/firewall'
    assert client.get(firewall + '/options').data == {'digest': 'da39a3ee5e6b4b0d3255bfef95601890afd80709'}
    assert client.put(firewall + '/options', enable=1, policy_in='DROP').data is None
    assert {'enable': 1, 'policy_in': 'DROP'}.items() <= client.get(firewall + '/options').data.items()
    assert client.post(firewall + '/rules', type='in', action='ACCEPT', proto='tcp', dport=80, enable=1).data is None
    assert client.post(firewall + '/rules', type='in', action='DROP').data is None
    rules = client.get(firewall + '/rules').data
    assert [(rule['pos'], rule['action']) for rule in rules] == [(0, 'DROP'), (1, 'ACCEPT')]
    assert client.put(firewall + '/rules/0', moveto=2).data is None
    assert client.delete(firewall + '/rules/1', digest='0' * 40).status == 500
    assert client.delete(firewall + '/rules/1').data is None
    assert client.get(firewall + '/rules/0').data['dport'] == '80'
    assert client.post(firewall + '/ipset', name='pods').data is None
    assert client.post(firewall + '/ipset/pods', cidr='10.0.0.0/8', nomatch=1).data is None
    assert client.get(firewall + '/ipset/pods/10.0.0.0/8').data['nomatch'] == 1
    assert client.delete(firewall + '/ipset/pods').line == "500 IPSet 'pods' is not empty"
    assert client.delete(firewall + '/ipset/pods/10.0.0.0/8').data is None
    assert client.delete(firewall + '/ipset/pods').data is None


def test_firewall_in_force(client):
    """Only where the cluster's firewall, the container's and the card's are on; by addresses, networks and IP sets."""
    def heard():
        return subprocess.run(['busybox', 'ping', '-c', '1', '-W', '1', '10.99.0.52'], capture_output=True, check=False).returncode == 0
    path = make(client, 152, net0='name=eth0,bridge=vmbr0,host-managed=1,ip=10.99.0.52/24,firewall=1')
    try:
        start(client, path)
        assert client.put(path + '/firewall/options', enable=1, policy_in='DROP').data is None
        assert heard()
        assert client.put('/cluster/firewall/options', enable=1).data is None
        assert not heard()
        assert client.post(path + '/firewall/rules', type='in', action='ACCEPT', enable=1, source='10.99.0.0/28').data is None
        assert heard()
        assert client.delete(path + '/firewall/rules/0').data is None
        assert client.post(path + '/firewall/rules', type='in', action='ACCEPT', enable=1, source='+dc/friends').data is None
        assert not heard()  # there is no such set
        assert client.post('/cluster/firewall/ipset', name='friends').data is None
        assert client.post('/cluster/firewall/ipset/friends', cidr='10.99.0.1', comment='us').data is None
        assert client.get('/cluster/firewall/ipset/friends').data[0]['comment'] == 'us'
        assert heard()
        assert client.put(path + '/firewall/options', ipfilter=1).data is None
        assert heard()
        assert client.post(path + '/firewall/ipset', name='ipfilter-net0').data is None
        assert client.delete('/cluster/firewall/ipset/friends/10.99.0.1').data is None
        assert not heard()
        assert client.delete('/cluster/firewall/ipset/friends').data is None
    finally:
        client.put('/cluster/firewall/options', enable=0)
        remove(client, 152)


def test_pools(client, ct):
    assert client.post('/pools', poolid='pods', comment='all pods').data is None
    assert client.put('/pools', poolid='pods', vms='110').data is None
    assert [member['id'] for member in client.get('/pools/pods').data['members']] == ['lxc/110']
    assert client.delete('/pools', poolid='pods').line == "500 delete pool failed: pool 'pods' is not empty"
    assert client.put('/pools', poolid='pods', vms='110', delete=1).data is None
    assert client.delete('/pools', poolid='pods').data is None


def test_ha_starts_stops_and_fails_over(client, server, control):
    make(client, 150, rootfs='shared:0')
    assert client.post('/cluster/ha/resources', sid='ct:150', state='started').data is None
    status = {entry['id']: entry for entry in client.get('/cluster/ha/status/current').data}
    assert status['service:ct:150']['request_state'] == 'started'
    until(lambda: client.get(LXC + '/150/status/current').data['status'] == 'running')
    upid = client.post(LXC + '/150/status/stop').data
    assert upid.split(':')[5] == 'hastop' and client.wait(upid)['exitstatus'] == 'OK'
    until(lambda: client.get(LXC + '/150/status/current').data['status'] == 'stopped')
    assert client.post('/cluster/ha/rules', rule='pods', type='node-affinity', nodes='pve1,pve2',
                       resources='ct:150').data is None
    assert client.put('/cluster/ha/resources/ct:150', state='started').data is None
    until(lambda: client.get(LXC + '/150/status/current').data['status'] == 'running')
    control.do('stop-node', node='pve1')
    other = Client(server.cluster.nodes['pve2'], server.token)
    try:
        with pytest.raises(OSError):
            Client(server.cluster.nodes['pve1'], server.token).get('/version')
        assert other.get(LXC).line == '595 No route to host'
        until(lambda: other.get('/nodes/pve2/lxc/150/status/current').status == 200, 30)
        until(lambda: other.get('/nodes/pve2/lxc/150/status/current').data['status'] == 'running', 30)
        assert {entry['name']: entry['online'] for entry in other.get('/cluster/status').data
                if entry['type'] == 'node'} == {
            'pve1': 0, 'pve2': 1}
    finally:
        control.do('start-node', node='pve1')
    remove(other, 150, node='pve2')
    client.connection.close()  # it ended with the node
    assert client.get('/cluster/ha/resources').data == [] and client.get('/cluster/ha/rules').data == []


def until(true, seconds=60):
    end = time.monotonic() + seconds * SLOW
    while not true():
        assert time.monotonic() < end, 'it did not become so in time'
        time.sleep(0.05)


def test_networks(client):
    assert 'vmbr0' in [entry['iface'] for entry in client.get('/nodes/pve1/network', type='bridge').data]
    assert client.get('/cluster/sdn/zones').data == []
    assert client.post('/cluster/sdn/zones', zone='k8s', type='simple', ipam='pve').data is None
    assert client.post('/cluster/sdn/vnets', vnet='podnet', zone='k8s').data is None
    assert client.post('/cluster/sdn/vnets/podnet/subnets', subnet='10.1.0.0/24', type='subnet',
                       gateway='10.1.0.1').data is None
    assert client.get('/cluster/sdn/zones', running=1).data == []
    assert client.task('PUT', '/cluster/sdn') == 'OK'
    assert client.get('/cluster/sdn/zones', running=1).data[0]['zone'] == 'k8s'
    assert client.get('/cluster/sdn/ipams/pve/status').data[0]['ip'] == '10.1.0.1'
    assert client.delete('/cluster/sdn/zones/k8s').line == '500 zone k8s is used by vnet podnet'
    assert client.delete('/cluster/sdn/vnets/podnet').status == 500
    assert client.delete('/cluster/sdn/vnets/podnet/subnets/k8s-10.1.0.0-24').data is None
    assert client.delete('/cluster/sdn/vnets/podnet').data is None
    assert client.delete('/cluster/sdn/zones/k8s').data is None
    assert client.task('PUT', '/cluster/sdn') == 'OK'
    assert client.get('/cluster/sdn/zones', running=1).data == []


def test_a_vnet_with_dhcp(client):
    client.post('/cluster/sdn/zones', zone='k8s', type='simple', ipam='pve', dhcp='dnsmasq')
    client.post('/cluster/sdn/vnets', vnet='podnet', zone='k8s')
    client.post('/cluster/sdn/vnets/podnet/subnets', **{'subnet': '10.1.0.0/24', 'type': 'subnet', 'gateway': '10.1.0.1',
                'dhcp-range': [f'start-address={one},end-address={one}' for one in ('10.1.0.50', '10.1.0.60')]})
    assert not exists('podnet')  # not before it is applied
    assert client.task('PUT', '/cluster/sdn') == 'OK' and exists('podnet')
    path, card = make(client, 130, net0='name=eth0,bridge=podnet,ip=dhcp,host-managed=1'), 'bridge=podnet,ip=dhcp,host-managed=1'
    start(client, path)
    given = [entry for entry in client.get('/cluster/sdn/ipams/pve/status').data if not entry.get('gateway')]
    assert [(entry['ip'], entry['vmid'], entry['vnet']) for entry in given] == [('10.1.0.50', '130', 'podnet')]
    assert given[0]['mac'] in client.get(path + '/config').data['net0']
    interfaces = client.get(path + '/interfaces').data
    assert [one.get('inet') for one in interfaces if one['name'] == 'eth0'] == ['10.1.0.50/24']
    # It stays the container's; another card gets the other, a third none.
    assert client.task('POST', path + '/status/stop') == 'OK'
    client.put(path + '/config', net1=f'name=eth1,{card}')
    start(client, path)
    assert [entry['ip'] for entry in client.get('/cluster/sdn/ipams/pve/status').data] == ['10.1.0.1', '10.1.0.50', '10.1.0.60']
    assert client.task('POST', path + '/status/stop') == 'OK'
    client.put(path + '/config', net2=f'name=eth2,{card}')
    assert client.task('POST', path + '/status/start') == "can't find any free ip in zone k8s for IPv4"
    remove(client, 130)
    assert [entry['ip'] for entry in client.get('/cluster/sdn/ipams/pve/status').data] == ['10.1.0.1']
    for name in ('vnets/podnet/subnets/k8s-10.1.0.0-24', 'vnets/podnet', 'zones/k8s'):
        assert client.delete(f'/cluster/sdn/{name}').status == 200
    assert client.task('PUT', '/cluster/sdn') == 'OK' and not exists('podnet')


def test_nextid_is_a_hint(client, ct):
    assert client.get('/cluster/nextid').data == '100'
    assert client.get('/cluster/nextid', vmid=110).line == "500 CT 110 already exists on node 'pve1'"


def test_same_vmid_at_once(server):
    """Of many that create one, exactly one does."""
    answers = []

    def ask():
        one = Client(server.cluster.nodes['pve1'], server.token)
        answers.append(one.post(LXC, vmid=160, ostemplate=TEMPLATE, rootfs='local:0'))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = [answer for answer in answers if answer.status == 200]
    assert len(good) == 1 and {answer.line for answer in answers if answer not in good} == {
        "500 CT 160 already exists on node 'pve1'"}
    one = Client(server.cluster.nodes['pve1'], server.token)
    assert one.wait(good[0].data)['exitstatus'] == 'OK'
    remove(one, 160)


def test_pull(client, control, server):
    archive = os.path.join(server.folder, 'oci-mini.tar')
    control.do('registry', reference='docker.io/library/mini', tag='1.0', path=archive)
    assert client.get('/nodes/pve1/query-oci-repo-tags', reference='docker.io/library/mini').data == ['1.0']
    pull = '/nodes/pve1/storage/local/oci-registry-pull'
    assert client.post(pull, reference='docker.io/library/mini').errors.keys() == {'reference'}
    assert client.task('POST', pull, reference='docker.io/library/mini:1.0') == 'OK'
    assert client.post(pull, reference='docker.io/library/mini:1.0').line == \
        "500 refusing to override existing file 'mini_1.0.tar'"
    assert client.task('POST', LXC, vmid=170, ostemplate='local:vztmpl/mini_1.0.tar', rootfs='local:0') == 'OK'
    remove(client, 170)


def test_stop_ends_a_shutdown(client):
    """A first process that ignores its halt signal: the shutdown waits, and a stop that overrules it does not."""
    path = make(client, 171)
    stubborn = "/bin/sh -c 'trap : PWR TERM; while :; do sleep 1; done'"
    assert client.put(path + '/config', entrypoint=stubborn).data is None
    assert client.task('POST', path + '/status/start') == 'OK'
    assert client.task('POST', path + '/status/shutdown', timeout=1).startswith("command 'lxc-stop -n 171 --nokill")
    upid = client.post(path + '/status/shutdown', timeout=60).data
    assert client.task('POST', path + '/status/stop', **{'overrule-shutdown': 1}) == 'OK'
    assert client.wait(upid)['exitstatus'] == 'received interrupt'
    assert client.task('POST', path + '/status/start') == 'OK'
    assert client.task('POST', path + '/migrate', target='pve2', restart=1, timeout=1) == 'migration aborted'
    assert client.get(path + '/status/current').data['status'] == 'running'
    remove(client, 171)
