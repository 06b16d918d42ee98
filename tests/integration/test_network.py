"""Pod networks by CNI plug-ins."""

import json
import os
import socket
import time

import pytest

from cri import eventually
from helpers import CODE, refused


def test_address_and_routes(daemon, busybox, clean):
    with daemon.pod(host_network=False) as pod:
        address = pod.status().network.ip
        container = pod.run(busybox, ['sleep', '100'])
        assert address in container.output('ip', 'addr', 'show', 'eth0')
        assert '127.0.0.1' in container.output('ip', 'addr', 'show', 'lo')
        assert 'UP' in container.output('ip', 'link', 'show', 'lo')
        assert 'default via' in container.output('ip', 'route')


def test_pods_reach_each_other(daemon, busybox):
    with daemon.pod(host_network=False) as a, daemon.pod(host_network=False) as b:
        server = a.sh(busybox, 'while :; do echo hello | nc -l -p 8080; done')
        assert server.status().state == 1
        client = b.run(busybox, ['sleep', '100'])
        address = a.status().network.ip
        assert address != b.status().network.ip
        eventually(lambda: client.exec('sh', '-c', f'nc -w 1 {address} 8080 </dev/null')
                   .stdout == b'hello\n')


def test_host_network_has_no_address_of_its_own(daemon):
    with daemon.pod(host_network=True) as pod:
        assert pod.status().network.ip == ''


def fetch(address, port):
    try:
        with socket.create_connection((address, port), timeout=5) as s:
            return s.recv(100)
    except OSError:
        return None


def test_host_port(daemon, busybox, pb, clean):
    mapping = pb.PortMapping(container_port=8080, host_port=18080)
    with daemon.pod(host_network=False, port_mappings=[mapping]) as pod:
        pod.sh(busybox, 'while :; do echo mapped | nc -l -p 8080; done')
        eventually(lambda: fetch('127.0.0.1', 18080) == b'mapped\n')
    assert fetch('127.0.0.1', 18080) is None


def test_addresses_are_given_back(daemon, clean):
    seen = set()
    for _ in range(3):
        with daemon.pod(host_network=False) as pod:
            seen.add(pod.status().network.ip)
            pod.stop()
            assert pod.status().network.ip == ''
    assert len(seen) == 3 or seen


@pytest.mark.ours
def test_a_plugin_that_fails_leaves_nothing(own_daemon):
    daemon = own_daemon
    path = os.path.join(daemon.runtime.cni_conf, '10-test.conflist')
    with open(path, encoding='utf-8') as f:
        config = json.load(f)
    good = json.dumps(config)
    before = daemon.snapshot()
    config['plugins'].append({'type': 'no-such-plugin'})
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(config, f)
    time.sleep(0.3)
    with refused(CODE.INTERNAL, CODE.UNKNOWN, CODE.FAILED_PRECONDITION, CODE.UNAVAILABLE,
                 words=['no-such-plugin']):
        daemon.pod(host_network=False)
    assert not daemon.cri.ListPodSandbox().items
    bridge = {f'interface {config["plugins"][0]["bridge"]}'}
    ours = [x for x in before.new_in(daemon.snapshot()) if x not in bridge
            and not x.startswith(('iptables', 'file'))]
    assert not ours, ours
    with open(path, 'w', encoding='utf-8') as f:
        f.write(good)
    eventually(lambda: daemon.cri.Status().status.conditions[1].status)
    daemon.pod(host_network=False).remove()


@pytest.mark.ours
def test_config_directory_is_read_live(own_daemon, busybox):
    daemon = own_daemon
    path = os.path.join(daemon.runtime.cni_conf, '10-test.conflist')

    def network_ready():
        conditions = {c.type: c for c in daemon.cri.Status().status.conditions}
        return conditions['NetworkReady'].status
    assert network_ready()
    os.rename(path, path + '.away')
    eventually(lambda: not network_ready())
    with refused(CODE.FAILED_PRECONDITION, CODE.UNAVAILABLE, CODE.INTERNAL, words=['cni']):
        daemon.pod(host_network=False)
    with daemon.pod(host_network=True) as pod:
        assert pod.run(busybox, ['true']).wait().exit_code == 0
    os.rename(path + '.away', path)
    eventually(network_ready)
    daemon.pod(host_network=False).remove()


@pytest.mark.ours
def test_a_broken_config_file_is_told(own_daemon):
    path = os.path.join(own_daemon.runtime.cni_conf, '10-test.conflist')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('{"cniVersion": "1.0.0", "name": ')

    def told():
        conditions = {c.type: c for c in own_daemon.cri.Status().status.conditions}
        condition = conditions['NetworkReady']
        return not condition.status and '10-test.conflist' in condition.message
    eventually(told)


TEMPLATE = '''{{- /* as Kubernetes' scripts have it for containerd */ -}}
{"cniVersion": "1.0.0", "name": "templated", "plugins": [
  {"type": "bridge", "bridge": "BRIDGE", "isGateway": true, "ipam": {
    "type": "host-local", "dataDir": "DATA",
    "ranges": [{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$range}}"}]{{end}}],
    "routes": [{{range $i, $route := .Routes}}{{if $i}}, {{end}}{"dst": "{{$route}}"}{{end}}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
'''


@pytest.mark.ours
@pytest.mark.parametrize('own_daemon', [{'config': 'cni-conf-template: /run/lxcri-cni.template\n'}],
                         indirect=True)
def test_network_from_a_template(own_daemon, busybox, pb):
    runtime = own_daemon.runtime
    given = os.path.join(runtime.cni_conf, '10-test.conflist')
    made = os.path.join(runtime.cni_conf, '10-proxmox-lxcri.conflist')

    def tell(cidr):
        own_daemon.cri.UpdateRuntimeConfig(runtime_config=pb.RuntimeConfig(
            network_config=pb.NetworkConfig(pod_cidr=cidr)))

    def network_ready():
        return {c.type: c.status for c in own_daemon.cri.Status().status.conditions}['NetworkReady']
    own_daemon.cri.UpdateRuntimeConfig()
    tell('')
    tell('10.97.0.0/24')
    assert os.listdir(runtime.cni_conf) == ['10-test.conflist']  # somebody else's
    os.unlink(given)
    assert not network_ready()
    for bad in ('10.97.0.0', '10.97.0.0/24,10.98.0.0/24', 'x', '10.97.0.0/24,'):
        with refused(CODE.INVALID_ARGUMENT, words=['pod_cidr']):
            tell(bad)
    with refused(CODE.FAILED_PRECONDITION, words=['/run/lxcri-cni.template']):
        tell('10.97.0.0/24')
    text = TEMPLATE.replace('BRIDGE', f'tmpl{os.getpid() % 100000}').replace(
        'DATA', os.path.join(own_daemon.directory, 'ipam'))
    try:
        with open('/run/lxcri-cni.template', 'w', encoding='utf-8') as f:
            f.write(text)
        calls = [own_daemon.cri.future('UpdateRuntimeConfig', runtime_config=pb.RuntimeConfig(
            network_config=pb.NetworkConfig(pod_cidr='10.97.0.0/24,fd97::/64'))) for _ in range(8)]
        for call in calls:
            call.result()
        tell('10.97.0.0/24,fd97::/64')
    finally:
        os.unlink('/run/lxcri-cni.template')
    assert os.listdir(runtime.cni_conf) == ['10-proxmox-lxcri.conflist']
    assert network_ready()
    with open(made, encoding='utf-8') as f:
        routes = json.load(f)['plugins'][0]['ipam']['routes']
    assert routes == [{'dst': '0.0.0.0/0'}, {'dst': '::/0'}]
    with own_daemon.pod(host_network=False) as pod:
        network = pod.status().network
        assert network.ip.startswith('10.97.0.') and network.additional_ips[0].ip.startswith('fd97::')
        shown = pod.run(busybox, ['sleep', '100']).output('ip', 'addr', 'show', 'eth0')
        assert network.ip in shown and network.additional_ips[0].ip in shown
