"""Namespaces of a bundle: each kind, new or by path; ids, time, names, sysctl, network devices."""

import os
import re
import subprocess
import time

import pytest

from bundle import Refused, until

KINDS = {'pid': 'pid', 'network': 'net', 'ipc': 'ipc', 'uts': 'uts', 'mount': 'mnt', 'cgroup': 'cgroup', 'user': 'user',
         'time': 'time'}


def ns(pid, name):
    return os.readlink(f'/proc/{pid}/ns/{name}')


@pytest.mark.parametrize('kind', KINDS)
def test_a_new_one(oci, kind):
    if kind == 'time' and os.environ.get('LXCRI_OCI_RUNTIME'):
        pytest.skip('runc 1.1 and crun 1.8 know no time namespace')
    box = oci.container()
    if kind == 'user':
        box.user_namespace()
    else:
        box.namespace(kind)
    box.up()
    for other, name in KINDS.items():
        listed = any(entry['type'] == other for entry in box.linux['namespaces'])
        assert (ns(box.pid, name) != ns('self', name)) == listed, other


@pytest.mark.parametrize('kind', ['pid', 'network', 'ipc', 'uts', 'cgroup'])
def test_one_that_is_not_listed_is_the_callers(oci, kind):
    box = oci.container().without_namespace(kind)
    if kind == 'uts':
        box.config.pop('hostname')
    if kind == 'network':
        box.without_mount('/sys')
    box.up()
    assert ns(box.pid, KINDS[kind]) == ns('self', KINDS[kind])


@pytest.mark.parametrize('kind', ['pid', 'network', 'ipc', 'uts', 'cgroup', 'user', 'time'])
def test_joined_by_path(oci, kind):
    if kind == 'time' and os.environ.get('LXCRI_OCI_RUNTIME'):
        pytest.skip('runc 1.1 and crun 1.8 know no time namespace')
    one, two = oci.container(), oci.container()
    if kind == 'user':
        one.user_namespace()
        two.user_namespace()
        if os.environ.get('LXCRI_OCI_RUNTIME') == 'crun':
            two.linux.pop('uidMappings')
            two.linux.pop('gidMappings')
    elif kind in ('cgroup', 'time'):
        one.namespace(kind)
    one.up()
    two.namespace(kind, f'/proc/{one.pid}/ns/{KINDS[kind]}')
    if kind == 'uts':
        two.config.pop('hostname')
    two.up()
    assert ns(one.pid, KINDS[kind]) == ns(two.pid, KINDS[kind])
    for other in {'ipc', 'uts', 'network'} - {kind}:
        assert ns(one.pid, KINDS[other]) != ns(two.pid, KINDS[other])


@pytest.mark.parametrize('user', [False, True])
def test_a_new_network_has_its_loopback_up(oci, user):
    box = oci.container('ip', 'addr', 'show', 'lo')
    if user:
        box.user_namespace()
    assert 'UP' in box.run().split('>')[0] and ' 127.0.0.1/8 ' in box.run()


def test_a_joined_network_is_seen(oci):
    one, two = oci.container(), oci.container('ip', 'link')
    one.up()
    subprocess.run(['nsenter', '-t', str(one.pid), '-n', 'ip', 'link', 'add', 'mark0', 'type', 'bridge'], check=True)
    two.namespace('network', f'/proc/{one.pid}/ns/net')
    assert 'mark0' in two.run()


def test_a_joined_network_by_a_bound_file(oci):
    """As `ip netns` makes them."""
    subprocess.run(['ip', 'netns', 'add', 'oci-test'], check=True)
    try:
        subprocess.run(['ip', '-n', 'oci-test', 'link', 'add', 'mark1', 'type', 'bridge'], check=True)
        box = oci.container('ip', 'link').namespace('network', '/run/netns/oci-test')
        assert 'mark1' in box.run()
    finally:
        subprocess.run(['ip', 'netns', 'del', 'oci-test'], check=True)


@pytest.mark.not_by('crun', 'does not say what is wrong')
@pytest.mark.parametrize('path', ['/no/such/thing', '/proc/1/ns/uts', '/etc/passwd'])
def test_a_path_that_is_no_such_namespace(oci, path):
    oci.container().namespace('network', path).refused('namespace')


@pytest.mark.not_by('crun', 'says less')
def test_a_kind_twice(oci):
    box = oci.container()
    box.linux['namespaces'].append({'type': 'ipc'})
    box.refused('ipc')


def test_an_unknown_kind(oci):
    oci.container().namespace('nosuch').refused('namespace')


def test_hostname_and_domainname(oci):
    box = oci.container().sh('hostname; cat /proc/sys/kernel/domainname')
    box.config['hostname'] = 'a-name'
    before = os.uname().nodename
    assert box.run().split()[0] == 'a-name'
    assert os.uname().nodename == before


@pytest.mark.not_by('runc', '1.1 has no such')
def test_domainname(oci):
    box = oci.container().sh('cat /proc/sys/kernel/domainname')
    box.config['domainname'] = 'example.org'
    assert box.run() == 'example.org\n'


@pytest.mark.not_by('crun', 'is silent')
def test_hostname_without_a_namespace(oci):
    """It would rename the host."""
    before = os.uname().nodename
    box = oci.container().without_namespace('uts')
    box.config['hostname'] = 'renamed'
    box.refused('hostname')
    assert os.uname().nodename == before


def test_sysctl(oci):
    box = oci.container().sh('cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni '
                             '/proc/sys/net/ipv4/conf/lo/forwarding')
    box.linux['sysctl'] = {'net.ipv4.ip_unprivileged_port_start': '77', 'kernel.shmmni': '4097',
                           'net/ipv4/conf/lo/forwarding': '0'}
    assert box.run().split() == ['77', '4097', '0']


@pytest.mark.parametrize('name', ['kernel.panic', 'vm.swappiness', 'fs.file-max', 'kernel.no_such', '../../etc/x'])
@pytest.mark.not_by('crun', 'leaves it to the kernel')
def test_a_sysctl_of_the_host(oci, name):
    box = oci.container()
    box.linux['sysctl'] = {name: '1'}
    box.refused('sysctl')


@pytest.mark.parametrize('kind,name', [('network', 'net.ipv4.ip_forward'), ('ipc', 'kernel.msgmax')])
@pytest.mark.not_by('crun', 'leaves it to the kernel')
def test_a_sysctl_without_its_namespace(oci, kind, name):
    box = oci.container().without_namespace(kind).without_mount('/sys')
    box.linux['sysctl'] = {name: '1'}
    box.refused(name)


@pytest.mark.ours
def test_time_offsets(oci):
    box = oci.container().sh('cat /proc/uptime; cat /proc/self/timens_offsets; exec sleep 1000')
    box.namespace('time')
    box.linux['timeOffsets'] = {'boottime': {'secs': 1000000, 'nanosecs': 5}, 'monotonic': {'secs': 500000}}
    box.up()
    box.expect('boottime')
    text = box.output_text()
    assert float(text.split()[0]) - time.clock_gettime(time.CLOCK_BOOTTIME) > 999000
    assert re.search(r'monotonic\s+500000\s+0', text)
    assert re.search(r'boottime\s+1000000\s+5', text)
    assert '1000000' in box.proc('timens_offsets')


@pytest.mark.ours
def test_time_offsets_of_a_user_namespace(oci):
    box = oci.container().user_namespace().namespace('time')
    box.linux['timeOffsets'] = {'monotonic': {'secs': 500000}}
    box.up()
    assert '500000' in box.proc('timens_offsets')


@pytest.mark.ours
def test_time_offsets_without_a_namespace(oci):
    box = oci.container()
    box.linux['timeOffsets'] = {'boottime': {'secs': 1}}
    box.refused('timeOffsets')


def test_mappings_of_ids(oci):
    box = oci.container().sh('id -u; cat /proc/self/uid_map; touch /made; stat -c %u /made; exec sleep 1000')
    box.user_namespace(200000, 5000)
    box.up()
    box.expect('5000')
    until(lambda: os.path.exists(os.path.join(box.rootfs, 'made')))
    lines = until(lambda: box.output_text().split('\n') if box.output_text().count('\n') >= 3 else None)
    assert lines[0] == '0' and lines[1].split() == ['0', '200000', '5000'] and lines[2] == '0'
    assert os.stat(os.path.join(box.rootfs, 'made')).st_uid == 200000
    assert box.status_field('Uid').split()[0] == '200000'
    assert box.proc('gid_map').split() == ['0', '200000', '5000']


def test_several_mappings(oci):
    box = oci.container()
    box.user_namespace()
    box.linux['uidMappings'] = [{'containerID': 0, 'hostID': 100000, 'size': 10},
                                {'containerID': 10, 'hostID': 300000, 'size': 20}]
    box.process['user'] = {'uid': 15, 'gid': 3}
    box.up()
    assert box.proc('uid_map').split() == ['0', '100000', '10', '10', '300000', '20']
    assert box.status_field('Uid').split()[0] == '300005'
    assert box.status_field('Gid').split()[0] == '100003'


@pytest.mark.not_by('runc', 'says so in other words')
@pytest.mark.not_by('crun', 'maps it by itself')
def test_a_user_namespace_without_mappings(oci):
    oci.container().namespace('user').refused('mappings')


def test_a_user_that_is_not_mapped(oci):
    box = oci.container()
    box.user_namespace(100000, 10)
    box.process['user'] = {'uid': 1000, 'gid': 0}
    with pytest.raises(Refused):
        box.up()


@pytest.mark.not_by('runc', '1.1 ignores such')
@pytest.mark.not_by('crun', 'ignores such')
def test_mappings_without_a_user_namespace(oci):
    box = oci.container()
    box.linux['uidMappings'] = [{'containerID': 0, 'hostID': 100000, 'size': 10}]
    box.refused('uidMappings')


def test_life_in_a_user_namespace(oci):
    """The whole life with ids of its own: its root owns what engines give it, and nothing of the host."""
    box = oci.container().sh('echo up; touch /root/file && mkdir /dir && chown 5:6 /dir && mount -t tmpfs none /tmp && echo well; '
                             'cat /dev/null; echo x >/dev/null; head -c 4 /dev/urandom | wc -c; exec sleep 1000')
    box.user_namespace()
    box.process['capabilities'] = {name: ['CAP_SYS_ADMIN', 'CAP_CHOWN', 'CAP_DAC_OVERRIDE']
                                   for name in ('bounding', 'effective', 'permitted')}
    pid = box.create()
    assert box.status() == 'created'
    box.start()
    box.expect('well')
    box.expect('4\n')
    assert os.stat(os.path.join(box.rootfs, 'dir')).st_uid == 100005
    assert box.exec('id', '-u') == '0\n'
    assert box.state()['pid'] == pid
    assert box.stop() == -9
    box.delete()
    oci.expect_nothing()


def test_a_terminal_in_a_user_namespace(oci):
    from bundle import ConsoleSocket  # pylint: disable=import-outside-toplevel
    box = oci.container().sh('tty && echo well')
    box.user_namespace()
    box.process['terminal'] = True
    console = ConsoleSocket(oci.folder)
    box.create('--console-socket', console.path)
    console.accept()
    box.start()
    console.read_until('well')
    box.wait()
    console.close()


def test_pods_share_namespaces(oci):
    """As an engine makes a pod: an infra container, and two that join network, ipc, uts and user namespace."""
    infra = oci.container()
    infra.up()
    for _ in range(2):
        box = oci.container('hostname')
        box.config.pop('hostname')
        for kind in ('network', 'ipc', 'uts'):
            box.namespace(kind, f'/proc/{infra.pid}/ns/{KINDS[kind]}')
        assert box.run() == 'box\n'


def test_a_joined_pid_namespace_outlives_the_joiner(oci):
    infra, box = oci.container(), oci.container('ps')
    infra.up()
    box.namespace('pid', f'/proc/{infra.pid}/ns/pid')
    assert 'sleep 1000' in box.run()
    assert infra.status() == 'running'


@pytest.mark.ours
def test_net_devices(oci):
    def ip(*args):
        subprocess.run(['ip', *args], check=True)
    ip('link', 'add', 'octest0', 'type', 'veth', 'peer', 'name', 'octest1')
    try:
        ip('addr', 'add', '10.99.1.2/24', 'dev', 'octest0')
        ip('link', 'set', 'octest0', 'up')
        box = oci.container().sh('ip addr; exec sleep 1000')
        box.linux['netDevices'] = {'octest0': {'name': 'ctr0'}, 'octest1': {}}
        box.up()
        box.expect('octest1')
        text = box.expect('ctr0')
        assert '10.99.1.2/24' in text and 'octest0' not in text
        assert re.search(r'ctr0[^\n]*[<,]UP[,>]', text)
        links = subprocess.run(['ip', '-o', 'link'], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert 'octest0' not in links and 'octest1' not in links
    finally:
        subprocess.run(['ip', 'link', 'del', 'octest0'], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.ours
@pytest.mark.parametrize('devices', [{'no-such-dev': {}}, {'lo': {'name': 'a/b'}}, {'lo': {'name': 'much-too-long-a-name'}}])
def test_bad_net_devices(oci, devices):
    box = oci.container()
    box.linux['netDevices'] = devices
    box.refused('netDevices')


@pytest.mark.ours
def test_net_devices_without_a_network_namespace(oci):
    box = oci.container().without_namespace('network').without_mount('/sys')
    box.linux['netDevices'] = {'lo': {}}
    box.refused('netDevices')


@pytest.mark.parametrize('mapping', ['dummy', 'none'])
@pytest.mark.not_by('runc', 'it believes the bundle')
@pytest.mark.not_by('crun', 'it believes the bundle')
def test_a_joined_user_namespace_has_its_own_maps(oci, mapping):
    """Podman gives a map that only stands for one when a container joins a pod's user namespace."""
    one = oci.container()
    one.user_namespace(100000, 5000)
    one.up()
    two = oci.container()
    two.user_namespace(100000, 5000)
    two.namespace('user', f'/proc/{one.pid}/ns/user')
    for key in ('uidMappings', 'gidMappings'):
        two.linux[key] = [{'containerID': 0, 'hostID': 0, 'size': 1}]
        if mapping == 'none':
            del two.linux[key]
    two.config['process']['user'] = {'uid': 7, 'gid': 8}
    two.up()
    assert os.stat(f'/proc/{two.pid}').st_uid == 100007
    assert os.readlink(f'/proc/{two.pid}/ns/user') == os.readlink(f'/proc/{one.pid}/ns/user')
    with open(f'/proc/{two.pid}/uid_map') as f:
        assert f.read().split() == ['0', '100000', '5000']
