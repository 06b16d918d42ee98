"""Pods in Proxmox containers whose network is Proxmox' own: addresses from a range, from DHCP, of the pod's choice; VLANs.

`tests/integration/run --proxmox`. The bridge is vmbr0 with 10.99.0.1/24 and fd00:99::1/64.
"""

import contextlib
import itertools
import json
import os
import random
import re
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
from runtime import REPO
from test_proxmox import findings, settled

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
def fixture_cluster(cluster):
    yield cluster
    cluster.control.do('release', version='9.2.11')


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


@pytest.fixture(name='vnet')
def fixture_vnet(cluster):
    """A vnet of SDN in whose zone Proxmox assigns addresses."""
    client = cluster.client
    client.post('/cluster/sdn/zones', zone='pods', type='simple', ipam='pve', dhcp='dnsmasq')
    client.post('/cluster/sdn/vnets', vnet='podnet', zone='pods')
    client.post('/cluster/sdn/vnets/podnet/subnets', **{'subnet': '10.71.0.0/24', 'type': 'subnet', 'gateway': '10.71.0.1',
                'dhcp-range': [f'start-address=10.71.0.{first},end-address=10.71.0.{first + 9}' for first in (50, 70)]})
    assert client.task('PUT', '/cluster/sdn') == 'OK'
    yield 'podnet'
    for path in ('vnets/podnet/subnets/pods-10.71.0.0-24', 'vnets/podnet', 'zones/pods'):
        assert client.delete(f'/cluster/sdn/{path}').status == 200
    assert client.task('PUT', '/cluster/sdn') == 'OK'


def assigned(cluster):
    """Container's number -> address, as SDN's IPAM has it."""
    return {int(entry['vmid']): entry['ip'] for entry in cluster.client.get('/cluster/sdn/ipams/pve/status').data
            if 'vmid' in entry}


def test_addresses_of_the_ipam_of_sdn(start, busybox, cluster, vnet):
    daemon = start({**DHCP, 'bridge': vnet})
    with daemon.pod() as pod, daemon.pod() as other:
        for one in (pod, other):
            assert addresses(one) == [assigned(cluster)[cluster.of(one)[0]]]
        serve(pod, busybox)
        assert fetch(addresses(pod)[0]) == 'hi\n'
        assert 'default via 10.71.0.1' in pod.sh(busybox, 'ip route; sleep 99').output('ip', 'route')
    assert assigned(cluster) == {}


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
    assert len(calls) == 4, calls


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


# --- the firewall between namespaces ---

ISOLATED = {**STATIC, 'firewall': True, 'isolate-namespaces': True, 'accept-from': ['10.99.0.1/32']}


@pytest.fixture(name='firewall')
def fixture_firewall(cluster):
    """The cluster's firewall is on. Its IP sets by name, with comments of their members by address."""
    assert cluster.client.put('/cluster/firewall/options', enable=1).status == 200

    def sets():
        all_of = {one['name']: cluster.client.get(f'/cluster/firewall/ipset/{one["name"]}')
                  for one in cluster.client.get('/cluster/firewall/ipset').data}
        return {name: {member['cidr']: member.get('comment') for member in members.data} for name, members in all_of.items()
                if members.reason != f"no such IPSet '{name}'"}  # one that went in between
    yield sets
    cluster.client.put('/cluster/firewall/options', enable=0)


class In(Pod):
    """A pod of another namespace."""

    def __init__(self, daemon, namespace, **config):
        self.namespace = namespace
        super().__init__(NamespaceCri(daemon.cri, namespace), **config)
        self.cri = daemon.cri


class NamespaceCri:
    """Puts pods into a namespace."""

    def __init__(self, cri, namespace):
        self.cri, self.namespace, self.pb = cri, namespace, cri.pb

    def RunPodSandbox(self, config, **more):  # pylint: disable=invalid-name
        config.metadata.namespace = self.namespace
        return self.cri.RunPodSandbox(config=config, **more)


def can_reach(client, address):
    """Within a moment; what is dropped takes that long to find out."""
    done = client.exec('timeout', '3', 'wget', '-q', '-O', '-', f'http://{address}/hello')
    return done.exit_code == 0 and done.stdout.decode() == 'hi\n'


def test_namespaces_are_isolated(start, busybox, cluster, firewall):
    daemon = start(ISOLATED)
    with In(daemon, 'shop') as server, In(daemon, 'shop') as friend, In(daemon, 'other') as stranger:
        serve(server, busybox)
        address, = addresses(server)
        assert fetch(address) == 'hi\n'  # from the node
        clients = {pod: pod.sh(busybox, 'exec sleep 1000') for pod in (friend, stranger)}
        assert eventually(lambda: can_reach(clients[friend], address))
        assert not can_reach(clients[stranger], address)
        vmid, _ = cluster.of(server)
        of_ct = f'/nodes/{cluster.node}/lxc/{vmid}/firewall'
        options = cluster.client.get(f'{of_ct}/options').data
        assert options['enable'] == 1 and options['policy_in'] == 'DROP' and int(options['ipfilter']) == 1
        rules = [(rule['type'], rule['action'], rule['source'], rule['enable'], rule['comment'])
                 for rule in cluster.client.get(f'{of_ct}/rules').data]
        assert sorted(rules) == [('in', 'ACCEPT', '+lxcri-shop', 1, 'proxmox-lxcri'), ('in', 'ACCEPT', '10.99.0.1/32', 1, 'proxmox-lxcri')]
        assert firewall() == {'lxcri-shop': {addresses(pod)[0]: f'proxmox-lxcri {cluster.node} {pod.id}' for pod in (server, friend)},
                              'lxcri-other': {addresses(stranger)[0]: f'proxmox-lxcri {cluster.node} {stranger.id}'}}
        # What the stranger has is not what its namespace may reach, but where it comes from.
        serve(stranger, busybox)
        assert not can_reach(clients[friend], addresses(stranger)[0])
    assert not firewall()


def test_isolation_with_dhcp_and_both_families(start, busybox, cluster, firewall, top):
    daemon = start({**DHCP, 'firewall': True, 'isolate-namespaces': True, 'accept-from': ['10.99.0.1/32', 'fd00:99::1/128'],
                    'pods-may-choose': {'addresses': 'fd00:99::/64'}})
    with dhcp_server(os.path.join(top, 'dhcp-isolated'), '10.99.0.210', '10.99.0.219'):
        with In(daemon, 'shop', annotations={'proxmox-lxcri.io/address': 'fd00:99::77/64'}) as pod, In(daemon, 'other') as stranger:
            v4, v6 = addresses(pod)
            assert v6 == 'fd00:99::77' and set(firewall()['lxcri-shop']) == {v4, v6}
            serve(pod, busybox)
            assert fetch(v4) == 'hi\n' and fetch(v6) == 'hi\n'
            assert not can_reach(stranger.sh(busybox, 'exec sleep 1000'), v4)
            vmid, _ = cluster.of(pod)
            held = cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/firewall/ipset/ipfilter-net0').data
            assert [one['cidr'] for one in held] == [v4]
    assert not firewall()


def test_the_clusters_firewall_is_off(start, cluster):
    daemon = start(ISOLATED, pull=False)
    before = cluster.ours()
    with refused(CODE.FAILED_PRECONDITION, words=["the cluster's firewall is off", '--enable 1']):
        daemon.pod()
    eventually(lambda: cluster.ours() == before)
    assert cluster.client.get('/cluster/firewall/ipset').data == []


def test_sets_of_others(start, cluster, firewall):
    """Neither a set with such a name nor members in ours are touched."""
    client = cluster.client
    daemon = start(ISOLATED, pull=False)
    assert client.post('/cluster/firewall/ipset', name='lxcri-shop', comment='mine').status == 200
    with refused(CODE.FAILED_PRECONDITION, words=['lxcri-shop', "is not proxmox-lxcri's"]):
        In(daemon, 'shop')
    eventually(lambda: not cluster.ours())
    assert firewall() == {'lxcri-shop': {}}
    assert client.delete('/cluster/firewall/ipset/lxcri-shop').status == 200
    with In(daemon, 'shop') as pod:
        address, = addresses(pod)
        for cidr, comment in (('10.77.0.0/24', None), ('10.99.0.240', 'proxmox-lxcri elsewhere ' + 'a' * 64)):
            parameters = {'comment': comment} if comment else {}
            assert client.post('/cluster/firewall/ipset/lxcri-shop', cidr=cidr, **parameters).status == 200
    assert set(firewall()['lxcri-shop']) == {'10.77.0.0/24', '10.99.0.240'} and address not in firewall()['lxcri-shop']
    assert client.delete('/cluster/firewall/ipset/lxcri-shop', force=1).status == 200


def test_what_a_lost_store_leaves_in_sets(start, cluster, firewall):
    daemon = start(ISOLATED, pull=False)
    with In(daemon, 'shop') as pod:
        client = cluster.client
        mine = f'proxmox-lxcri {cluster.node} '
        daemon.runtime.kill()  # first: it removes an empty set when it looks at them
        client.post('/cluster/firewall/ipset', name='lxcri-gone', comment='proxmox-lxcri: pods of namespace gone')
        client.post('/cluster/firewall/ipset/lxcri-gone', cidr='10.99.0.150', comment=mine + 'b' * 64)
        client.post('/cluster/firewall/ipset/lxcri-shop', cidr='10.99.0.151', comment=mine + 'c' * 64)
        daemon.start()
        pod.cri = daemon.cri
        eventually(lambda: firewall() == {'lxcri-shop': {addresses(pod)[0]: mine + pod.id}})
    assert not firewall()


def test_an_address_that_a_removed_container_has_left(start, cluster, firewall):
    """Its container was removed by an administrator: the address is out of its namespace's set before another pod has it."""
    daemon = start({**ISOLATED, 'addresses': '10.99.0.140-10.99.0.140/24'}, pull=False)
    pod = In(daemon, 'shop')
    vmid, _ = cluster.of(pod)
    assert cluster.administrator('DELETE', vmid, force=1) == 'OK'
    eventually(lambda: pod.status().state == NOTREADY)
    with refused(CODE.RESOURCE_EXHAUSTED):
        In(daemon, 'other')
    pod.remove()
    with In(daemon, 'other') as other:
        assert addresses(other) == ['10.99.0.140'] and list(firewall()) == ['lxcri-other']


@pytest.mark.parametrize('namespace', ['a' * 63, 'Not_A.label', 'x' * 60])
def test_names_of_namespaces(start, firewall, namespace):
    daemon = start(ISOLATED, pull=False)
    with In(daemon, namespace):
        name, = firewall()
        assert len(name) <= 64 and name.startswith('lxcri') and name == name.lower()
    assert not firewall()


def test_isolation_is_kept_through_kills_and_faults(start, cluster, firewall):
    """Whatever becomes of making and removing, each set has the addresses of the pods that are there, and no other."""
    daemon, rng, before = start({**ISOLATED, 'addresses': '10.99.0.160-10.99.0.179/24'}, pull=False), random.Random(3), set(cluster.ours())
    cluster.control.do('seed', seed=5)
    for fault, part in (('reset', 0.02), ('reset-after', 0.02), ('status', 0.02), ('status-after', 0.02)):
        cluster.control.do('fault', fault=fault, probability=part)
    for _ in range(int(os.environ.get('LXCRI_CRASHES', '5'))):
        stop = threading.Event()

        def churn(namespace, stop=stop):
            with contextlib.suppress(grpc.RpcError):
                while not stop.is_set():
                    In(daemon, namespace).remove()
        workers = [threading.Thread(target=churn, args=[name]) for name in ('one', 'two', 'two')]
        for worker in workers:
            worker.start()
        time.sleep(rng.uniform(0.2, 1.2) * SLOW)
        daemon.runtime.kill()
        stop.set()
        for worker in workers:
            worker.join()
        daemon.start()
    cluster.control.do('clear-faults')
    with In(daemon, 'two') as pod:
        settled_but(daemon, pod, cluster, before)
        assert firewall() == {'lxcri-two': {addresses(pod)[0]: f'proxmox-lxcri {cluster.node} {pod.id}'}}
    assert not firewall()


def settled_but(daemon, kept, cluster, before):
    def removed():
        for item in daemon.cri.ListPodSandbox().items:
            if item.id != kept.id:
                with contextlib.suppress(grpc.RpcError):
                    daemon.cri.StopPodSandbox(pod_sandbox_id=item.id)
                    daemon.cri.RemovePodSandbox(pod_sandbox_id=item.id)
        return len(daemon.cri.ListPodSandbox().items) == 1
    eventually(removed, 120, every=0.2)
    eventually(lambda: set(cluster.ours()) - before == {cluster.of(kept)[0]}, 60, every=0.2)


def test_the_role_of_the_guide_and_sys_modify(start, cluster, firewall, top):
    """docs/proxmox.md's role is enough for networks; isolation needs Sys.Modify beside it."""
    with open(os.path.join(REPO, 'docs', 'proxmox.md'), encoding='utf-8') as f:
        privileges = re.search(r'--privs "([^"]*)"', f.read()).group(1).replace('\\\n', '').split()
    client, secret_file = cluster.client, os.path.join(top, 'network-secret')
    assert client.post('/access/users', userid='net@pve').status == 200
    assert client.post('/access/roles', roleid='Networks', privs=','.join(privileges)).status == 200
    assert client.put('/access/acl', path='/', users='net@pve', roles='Networks').status == 200
    with open(os.open(secret_file, os.O_CREAT | os.O_WRONLY, 0o600), 'w', encoding='utf-8') as f:
        f.write(client.post('/access/users/net@pve/token/node1', privsep=0).data['value'] + '\n')
    token = {'token-id': 'net@pve!node1', 'token-file': secret_file}
    with start({**STATIC, 'firewall': True}, pull=False, **token).pod() as pod:
        assert addresses(pod)
    daemon = start({**ISOLATED, 'addresses': '10.99.0.180-10.99.0.181/24'}, pull=False, **token)
    with refused(CODE.PERMISSION_DENIED, words=['Sys.Modify', 'pveum']):
        daemon.pod()
    found = findings(daemon)
    assert ('Sys.Modify', 'fail') in found and ('firewall', 'ok') in found and ('network', 'ok') in found
    assert 'lacks it on /, to make IP sets' in found['Sys.Modify', 'fail']['found']
    assert client.put('/access/roles/Networks', privs=','.join([*privileges, 'Sys.Modify'])).status == 200
    assert ('Sys.Modify', 'fail') not in findings(daemon)
    client.put('/cluster/firewall/options', enable=0)
    assert '--enable 1' in findings(daemon)['firewall', 'fail']['advice']
    client.put('/cluster/firewall/options', enable=1)
    with In(daemon, 'shop'):
        assert list(firewall()) == ['lxcri-shop']
    assert not firewall()


def test_calls_of_an_isolated_pods_life(start, cluster, firewall):
    daemon = start(ISOLATED, pull=False)
    with In(daemon, 'shop'):  # the set is there
        cluster.control.do('journal', clear=True)
        In(daemon, 'shop').remove()
        calls = [(entry['method'], entry['path']) for entry in cluster.control.do('journal') if '/tasks/' not in entry['path']]
        assert len(calls) == 4 + 6, calls
    assert not firewall()
