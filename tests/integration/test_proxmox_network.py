"""Pods in Proxmox containers whose network is Proxmox' own: addresses from a range, from DHCP, of the pod's choice; VLANs.

`tests/integration/run --proxmox`. The bridge is vmbr0 with 10.99.0.1/24 and fd00:99::1/64.
"""

import contextlib
import itertools
import json
import os
import random
import subprocess
import threading
import time
import urllib.request

import grpc
import pytest

import proxmox
from conftest import AS_PROXMOX, Daemon, make_daemon
from cri import NOTREADY, READY, SLOW, Pod, eventually
from helpers import CODE, refused
from test_proxmox import settled

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]

STATIC = {'bridge': 'vmbr0', 'address': 'static', 'addresses': ['10.99.0.100-10.99.0.119/24'], 'gateways': ['10.99.0.1']}
DUAL = {**STATIC, 'addresses': [*STATIC['addresses'], 'fd00:99::100-fd00:99::119/64'], 'gateways': ['10.99.0.1', 'fd00:99::1']}
DHCP = {'bridge': 'vmbr0', 'address': 'dhcp'}
numbers = itertools.count()


def ip(*args, check=True):
    return subprocess.run(['ip', *args], check=check, capture_output=True, text=True).stdout


@pytest.fixture(name='bridge', scope='module', autouse=True)
def fixture_bridge():
    for name, addresses in (('vmbr0', ('10.99.0.1/24', 'fd00:99::1/64')), ('vmbr1', ('10.98.0.1/24',))):
        ip('link', 'add', name, 'type', 'bridge')
        for address in addresses:
            ip('addr', 'add', address, 'dev', name, *(['nodad'] if ':' in address else []))
        ip('link', 'set', name, 'up')
    yield
    for name in ('vmbr0', 'vmbr1', 'vmbr0v20', 'vmbr0v30'):
        ip('link', 'del', name, check=False)


@pytest.fixture(name='cluster')
def fixture_cluster():
    cluster = proxmox.attach()
    yield cluster
    cluster.control.do('clear-faults')
    cluster.control.do('release', version='9.2.11')
    cluster.close()


@pytest.fixture(name='start')
def fixture_start(top, pb, registry, busybox):
    """start(network): a daemon whose pods have such networks."""
    with contextlib.ExitStack() as stack:
        def start(network, pull=True, **keys):
            name = f'net{next(numbers)}'
            os.environ[proxmox.MORE] = json.dumps({'network': network, **keys})
            try:
                daemon = Daemon(make_daemon(top, name, registry, bridge=f'lxcri{name}', subnet='10.92.0.0/24',
                                            cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-{name}'), pb)
            finally:
                del os.environ[proxmox.MORE]
            stack.callback(end, daemon)
            if pull:
                daemon.pull(busybox)
            daemon.cni_bridge = f'lxcri{name}'
            return daemon
        yield start


def end(daemon):
    try:
        if daemon.runtime.process.poll() is not None:
            daemon.start()
        daemon.stop()
    finally:
        if daemon.runtime.process.poll() is None:
            daemon.runtime.kill()


def addresses(pod):
    network = pod.status().network
    return [network.ip, *(more.ip for more in network.additional_ips)] if network.ip else []


def card(cluster, pod):
    """The properties of its net0."""
    return dict(part.partition('=')[::2] for part in cluster.of(pod)[1]['config']['net0'].split(','))


def fetch(address, seconds=10):
    """What the web server of a pod says; from here, over the bridge."""
    host = f'[{address}]' if ':' in address else address

    def answer():
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f'http://{host}/hello', timeout=2) as reply:
                return reply.read().decode()
        return None
    return eventually(answer, seconds)


def serve(pod, busybox, text='hi'):
    return pod.sh(busybox, f'mkdir -p /tmp/www && echo {text} >/tmp/www/hello && exec httpd -f -p [::]:80 -h /tmp/www')


def test_addresses_of_a_range(start, busybox, cluster):
    daemon = start({**DUAL, 'mtu': 1400, 'rate': 2, 'firewall': True})
    with daemon.logged_pod(dns_config=daemon.pb.DNSConfig(servers=['10.99.0.53'])) as pod:
        v4, v6 = addresses(pod)
        assert v4.startswith('10.99.0.1') and v6.startswith('fd00:99::1')
        said = card(cluster, pod)
        assert said['bridge'] == 'vmbr0' and said['host-managed'] == '1' and said['firewall'] == '1' and said['mtu'] == '1400'
        assert said['ip'] == f'{v4}/24' and said['gw'] == '10.99.0.1' and said['ip6'] == f'{v6}/64' and said['gw6'] == 'fd00:99::1'
        assert float(said['rate']) == 2
        container = serve(pod, busybox)
        assert fetch(v4) == 'hi\n' and fetch(v6) == 'hi\n'
        assert container.output('cat', '/sys/class/net/eth0/mtu') == '1400'
        assert 'default via 10.99.0.1' in container.output('ip', 'route')
        assert '127.0.0.1/8' in container.output('ip', 'addr', 'show', 'lo') and 'UP' in container.output('ip', 'link', 'show', 'lo')
        assert f'{v4}\t' in container.output('cat', '/etc/hosts') and f'{v6}\t' in container.output('cat', '/etc/hosts')
        assert 'nameserver 10.99.0.53' in container.output('cat', '/etc/resolv.conf')
        vmid, _ = cluster.of(pod)
        assert 'tbf' in subprocess.run(['tc', 'qdisc', 'show', 'dev', f'veth{vmid}i0'], capture_output=True, text=True, check=True).stdout
        assert ip('link', 'show', f'fwbr{vmid}i0')
        # Counted, and reached from inside.
        stats = daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux.network.default_interface
        assert stats.name == 'eth0' and stats.rx_bytes.value > 500 and stats.tx_bytes.value > 500
        # CNI has no part in it.
        assert not ip('link', 'show', daemon.cni_bridge, check=False)
    assert not ip('link', 'show', f'veth{vmid}i0', check=False)


def test_port_forward(start, busybox):
    daemon = start(STATIC)
    with daemon.pod() as pod:
        serve(pod, busybox)
        command = [daemon.runtime.program(), '--socket', daemon.runtime.socket, 'pod', 'port-forward', pod.id, '18480:80']
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as forward:
            try:
                assert eventually(lambda: reply('http://127.0.0.1:18480/hello')) == 'hi\n'
            finally:
                forward.terminate()


def reply(url):
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    return None


def test_only_one_family(start, busybox, cluster):
    daemon = start({**STATIC, 'addresses': 'fd00:99::200-fd00:99::201/64', 'gateways': []})
    with daemon.pod() as pod:
        only, = addresses(pod)
        assert only in ('fd00:99::200', 'fd00:99::201') and 'ip' not in card(cluster, pod)
        serve(pod, busybox)
        assert fetch(only) == 'hi\n'


def test_each_address_is_given_once(start, cluster):
    daemon = start({**STATIC, 'addresses': '10.99.0.120-10.99.0.122/24'}, pull=False)
    before = cluster.ours()
    pods = [daemon.pod() for _ in range(3)]
    assert sorted(addresses(pod)[0] for pod in pods) == ['10.99.0.120', '10.99.0.121', '10.99.0.122']
    with refused(CODE.RESOURCE_EXHAUSTED, words=['10.99.0.120 to 10.99.0.122', 'proxmox.network.addresses']):
        daemon.pod()
    taken = addresses(pods[1])[0]
    with refused(CODE.ALREADY_EXISTS, words=[taken, pods[1].id]):
        daemon.pod(annotations={'proxmox-lxcri.io/address': f'{taken}/24'})
    pods[1].remove()
    with daemon.pod() as pod:
        assert addresses(pod) == [taken]
    for pod in (pods[0], pods[2]):
        pod.remove()
    assert cluster.ours() == before


def test_addresses_outlive_the_daemon(start, cluster):
    daemon = start({**STATIC, 'addresses': '10.99.0.123-10.99.0.125/24'}, pull=False)
    alive, gone = daemon.pod(), daemon.pod()
    had = {pod: addresses(pod) for pod in (alive, gone)}
    daemon.runtime.kill()
    vmid, _ = cluster.of(gone)
    assert cluster.administrator('DELETE', vmid, force=1) == 'OK'
    daemon.start()
    alive.cri = gone.cri = daemon.cri
    assert addresses(alive) == had[alive] and gone.status().state == NOTREADY
    # The one whose container is gone keeps its address until it is removed, as others may still send to it.
    with daemon.pod() as third:
        assert addresses(third)[0] not in (had[alive] + had[gone])
        with refused(CODE.RESOURCE_EXHAUSTED):
            daemon.pod()
        gone.remove()
        with daemon.pod() as fourth:
            assert addresses(fourth) == had[gone]
    alive.remove()


def test_what_pods_choose(start, busybox, cluster):
    daemon = start({**STATIC, 'pods-may-choose': {'addresses': ['10.98.0.0/24', '10.99.0.64/26'], 'bridges': ['vmbr1'], 'vlans': ['30-31']}})

    def asked(**wish):
        return daemon.pod(annotations={f'proxmox-lxcri.io/{key}': value for key, value in wish.items()})
    with asked(address='10.99.0.77/24') as pod:
        assert addresses(pod) == ['10.99.0.77'] and card(cluster, pod)['gw'] == '10.99.0.1'
        serve(pod, busybox)
        assert fetch('10.99.0.77') == 'hi\n'
    with asked(address='10.98.0.5/24', gateway='10.98.0.1', bridge='vmbr1') as pod:
        said = card(cluster, pod)
        assert addresses(pod) == ['10.98.0.5'] and said['bridge'] == 'vmbr1' and said['gw'] == '10.98.0.1'
        serve(pod, busybox)
        assert fetch('10.98.0.5') == 'hi\n'
    with asked(vlan='31') as pod:
        assert card(cluster, pod)['tag'] == '31'
        vmid, _ = cluster.of(pod)
        assert f'veth{vmid}i0' in ip('link', 'show', 'master', 'vmbr0v31')
    ip('link', 'del', 'vmbr0v31')
    before = cluster.ours()
    for wish, code in (({'address': '10.97.0.5/24'}, CODE.PERMISSION_DENIED), ({'address': '10.99.0.1/24'}, CODE.PERMISSION_DENIED),
                       ({'address': 'dhcp'}, CODE.INVALID_ARGUMENT), ({'bridge': 'vmbr2'}, CODE.PERMISSION_DENIED),
                       ({'vlan': '20'}, CODE.PERMISSION_DENIED), ({'vlan': '31,firewall=0'}, CODE.INVALID_ARGUMENT),
                       ({'gateway': '10.1.1.1'}, CODE.INVALID_ARGUMENT)):
        with refused(code, words=[f'proxmox-lxcri.io/{next(iter(wish))}']):
            asked(**wish)
    assert cluster.ours() == before and not daemon.cri.ListPodSandbox().items


def test_bandwidth(start, cluster):
    daemon = start({**STATIC, 'rate': 10}, pull=False)
    way = 'kubernetes.io/{}-bandwidth'.format
    with daemon.pod(annotations={way('ingress'): '16Mi', way('egress'): '16Mi'}) as pod:
        assert float(card(cluster, pod)['rate']) == 2
    with refused(CODE.UNIMPLEMENTED, words=['one limit for both ways']):
        daemon.pod(annotations={way('ingress'): '16Mi'})


def test_a_vlan(start, busybox, cluster):
    """Pods of one VLAN reach each other; who is outside of it does not reach them."""
    daemon = start({**STATIC, 'vlan': 20})
    with daemon.pod() as one, daemon.pod() as other:
        assert card(cluster, one)['tag'] == '20'
        vmid, _ = cluster.of(one)
        assert f'veth{vmid}i0' in ip('link', 'show', 'master', 'vmbr0v20')
        serve(one, busybox, 'tagged')
        client = other.sh(busybox, 'exec sleep 1000')
        address, = addresses(one)
        assert eventually(lambda: 'tagged' in client.exec('wget', '-q', '-O', '-', f'http://{address}/hello').stdout.decode())
        assert reply(f'http://{address}/hello') is None


@contextlib.contextmanager
def dhcp_server(folder, first, last):
    leases, conf = os.path.join(folder, 'leases'), os.path.join(folder, 'udhcpd.conf')
    os.makedirs(folder, exist_ok=True)
    for path, text in ((leases, ''), (conf, f'start {first}\nend {last}\ninterface vmbr0\nlease_file {leases}\npidfile {folder}/pid\n'
                                            'option subnet 255.255.255.0\noption router 10.99.0.1\n')):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
    with subprocess.Popen(['busybox', 'udhcpd', '-f', conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


def test_dhcp(start, busybox, cluster, top):
    daemon = start(DHCP)
    with dhcp_server(os.path.join(top, 'dhcp'), '10.99.0.200', '10.99.0.209'):
        with daemon.pod() as pod, daemon.pod() as other:
            assert card(cluster, pod)['ip'] == 'dhcp'
            both = addresses(pod) + addresses(other)
            assert len(set(both)) == 2 and all(address.startswith('10.99.0.20') for address in both)
            serve(pod, busybox)
            assert fetch(both[0]) == 'hi\n'


def test_dhcp_without_a_server(start, cluster):
    daemon = start(DHCP, pull=False)
    before = cluster.ours()
    with refused(CODE.UNAVAILABLE, words=['no address on eth0', 'DHCP server']):
        daemon.pod()
    eventually(lambda: cluster.ours() == before and not daemon.cri.ListPodSandbox().items)


def test_ports_of_the_host(start, cluster, pb):
    daemon = start(STATIC, pull=False)
    before = cluster.ours()
    with refused(CODE.UNIMPLEMENTED, words=['hostPort', '18081', 'address of its own', 'Service']):
        daemon.pod(port_mappings=[pb.PortMapping(container_port=80, host_port=18081)])
    assert cluster.ours() == before
    with daemon.pod(port_mappings=[pb.PortMapping(container_port=80)]) as pod:
        assert addresses(pod)


def test_an_older_proxmox(start, cluster):
    daemon = start(STATIC, pull=False)
    before = cluster.ours()
    cluster.control.do('release', version='8.4.1')
    with refused(CODE.UNIMPLEMENTED, words=['8.4', '9.1', 'proxmox.network.address']):
        daemon.pod()
    cluster.control.do('release', version='9.1.2')  # upgraded meanwhile
    with daemon.pod() as pod:
        assert addresses(pod)
    assert cluster.ours() == before


def test_a_bridge_that_is_not_there(start, cluster):
    daemon = start({**STATIC, 'bridge': 'vmbr9'}, pull=False)
    before = cluster.ours()
    with refused(CODE.UNKNOWN, CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION, words=['vmbr9']):
        daemon.pod()
    eventually(lambda: cluster.ours() == before)


def test_the_node_is_ready_without_cni(start):
    daemon = start(STATIC, pull=False)
    for name in os.listdir(daemon.runtime.cni_conf):
        os.unlink(os.path.join(daemon.runtime.cni_conf, name))
    conditions = {one.type: one.status for one in daemon.cri.Status().status.conditions}
    assert conditions['NetworkReady'] is True
    with daemon.pod() as pod:
        assert pod.status().state == READY and addresses(pod)


def test_annotations_without_such_networks(daemon):
    with refused(CODE.FAILED_PRECONDITION, words=['proxmox-lxcri.io/address', 'proxmox.network']):
        daemon.pod(annotations={'proxmox-lxcri.io/address': '10.99.0.5/24'})


def test_calls_of_a_pods_life(start, busybox, cluster):
    daemon = start(STATIC)
    daemon.pod().remove()  # template and version are known
    cluster.control.do('journal', clear=True)
    with daemon.pod() as pod:
        pod.sh(busybox, 'exec sleep 1000')
    calls = [(entry['method'], entry['path']) for entry in cluster.control.do('journal') if '/tasks/' not in entry['path']]
    assert len(calls) == 5, calls


def test_killed_at_any_moment(start, cluster):
    """Of making and removing pods: no address is lost, none is given twice."""
    daemon, rng, before = start({**STATIC, 'addresses': '10.99.0.130-10.99.0.133/24'}, pull=False), random.Random(9), set(cluster.ours())
    for _ in range(int(os.environ.get('LXCRI_CRASHES', '6'))):
        stop = threading.Event()

        def churn(stop=stop):
            with contextlib.suppress(grpc.RpcError):
                while not stop.is_set():
                    Pod(daemon.cri).remove()
        workers = [threading.Thread(target=churn) for _ in range(2)]
        for worker in workers:
            worker.start()
        time.sleep(rng.uniform(0.05, 0.8) * SLOW)
        daemon.runtime.kill()
        stop.set()
        for worker in workers:
            worker.join()
        daemon.start()
    settled(daemon, cluster, before)
    pods = [daemon.pod() for _ in range(4)]
    assert len({addresses(pod)[0] for pod in pods}) == 4
    for pod in pods:
        pod.remove()
