"""hostPort: by protocol, by address of the node, and by loopback."""

import contextlib
import json
import os
import socket
import struct
import subprocess

import pytest

from cri import eventually
from helpers import CODE, refused

pytestmark = pytest.mark.ours  # asks for the path of the network namespace

TCP, UDP, SCTP = 0, 1, 2


ANSWER = '''
import socket, sys
family, kind, proto, port = map(int, sys.argv[1:5])
s = socket.socket(family, kind, proto)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', port))
if kind == socket.SOCK_STREAM:
    s.listen(8)
print('ready', flush=True)
while True:
    if kind == socket.SOCK_STREAM:
        c, peer = s.accept()
        c.sendall(sys.argv[5].encode())
        c.close()
    else:
        data, peer = s.recvfrom(100)
        s.sendto(sys.argv[5].encode(), peer)
'''
KINDS = {TCP: (socket.SOCK_STREAM, 0), UDP: (socket.SOCK_DGRAM, 0)}


@contextlib.contextmanager
def answering(pod, protocol, port, word, family=socket.AF_INET):
    """In the pod's network namespace somebody answers there with that word."""
    namespace = json.loads(pod.status(verbose=True).info['info'])['namespaces']['net']
    with subprocess.Popen(['nsenter', f'--net={namespace}', '/usr/bin/python3', '-c', ANSWER, str(int(family)),
                           *(str(int(n)) for n in KINDS[protocol]), str(port), word],
                          stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b'ready\n'
            yield
        finally:
            server.kill()


def ask(address, protocol, port):
    """What is answered at the host's port; None: nobody answers."""
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    try:
        with socket.socket(family, *KINDS[protocol]) as s:
            s.settimeout(1)
            s.connect((address, port))
            if protocol == UDP:
                s.send(b'?')
            return s.recv(100).decode()
    except OSError:
        return None


def answered(address, protocol, port, word):
    eventually(lambda: ask(address, protocol, port) == word)


def test_host_port_of_udp(daemon, pb, clean):
    """Reached by loopback and by the node's address; TCP's port of that number is not."""
    mapping = pb.PortMapping(container_port=8080, host_port=18100, protocol=UDP)
    with daemon.pod(host_network=False, port_mappings=[mapping]) as pod:
        node = pod.status().network.ip.rsplit('.', 1)[0] + '.1'
        with answering(pod, UDP, 8080, 'here'), answering(pod, TCP, 8080, 'not here'):
            answered('127.0.0.1', UDP, 18100, 'here')
            answered(node, UDP, 18100, 'here')
            assert ask('127.0.0.1', TCP, 18100) is None
    assert ask('127.0.0.1', UDP, 18100) is None


# Packets by hand: many kernels forward SCTP that don't speak it.
HEAR_SCTP = '''
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
print('ready', flush=True)
while True:
    packet = s.recv(2000)
    print(struct.unpack_from('!H', packet, (packet[0] & 15) * 4 + 2)[0], flush=True)
'''


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def send_sctp(address, port):
    """The first packet of an association: INIT."""
    init = struct.pack('!BBHIIHHI', 1, 0, 20, 77, 65536, 1, 1, 1)
    check = struct.pack('<I', crc32c(struct.pack('!HHII', 4000, port, 0, 0) + init))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 132) as s:
        s.sendto(struct.pack('!HHI', 4000, port, 0) + check + init, (address, 0))


def test_host_port_of_sctp(daemon, pb, clean):
    mapping = pb.PortMapping(container_port=8080, host_port=18108, protocol=SCTP)
    with daemon.pod(host_network=False, port_mappings=[mapping]) as pod:
        namespace = json.loads(pod.status(verbose=True).info['info'])['namespaces']['net']
        node = pod.status().network.ip.rsplit('.', 1)[0] + '.1'
        with subprocess.Popen(['nsenter', f'--net={namespace}', '/usr/bin/python3', '-c', HEAR_SCTP],
                              stdout=subprocess.PIPE) as hearer:
            try:
                assert hearer.stdout.readline() == b'ready\n'
                for address in ('127.0.0.1', node):
                    send_sctp(address, 18109)  # not mapped
                    send_sctp(address, 18108)
                    assert hearer.stdout.readline() == b'8080\n'
            finally:
                hearer.kill()


def test_tcp_and_udp_of_one_host_port(daemon, pb, clean):
    """As a DNS server has it."""
    mappings = [pb.PortMapping(container_port=53, host_port=18101, protocol=p) for p in (TCP, UDP)]
    with daemon.pod(host_network=False, port_mappings=mappings) as pod:
        with answering(pod, TCP, 53, 'by tcp'), answering(pod, UDP, 53, 'by udp'):
            answered('127.0.0.1', TCP, 18101, 'by tcp')
            answered('127.0.0.1', UDP, 18101, 'by udp')


def test_host_port_on_one_address(daemon, pb, clean):
    """Two pods share a port, each on an address of its own."""
    def mapping(address):
        return pb.PortMapping(container_port=8080, host_port=18102, host_ip=address)
    with daemon.pod(host_network=False, port_mappings=[mapping('127.0.0.2')]) as one, \
            daemon.pod(host_network=False, port_mappings=[mapping('127.0.0.3')]) as two:
        with answering(one, TCP, 8080, 'one'), answering(two, TCP, 8080, 'two'):
            answered('127.0.0.2', TCP, 18102, 'one')
            answered('127.0.0.3', TCP, 18102, 'two')
            assert ask('127.0.0.1', TCP, 18102) is None
    with refused(CODE.INVALID_ARGUMENT, words=['host_ip', 'localhost']):
        daemon.pod(host_network=False, port_mappings=[mapping('localhost')])


def test_container_ports_without_host_port_and_on_the_host_network_are_not_mapped(daemon, pb, clean):
    """The kubelet names every containerPort; on the host's network, host_port is the container's own port."""
    with daemon.pod(host_network=False, port_mappings=[pb.PortMapping(container_port=18103)]) as pod:
        with answering(pod, TCP, 18103, 'here'):
            answered(pod.status().network.ip, TCP, 18103, 'here')
            assert ask('127.0.0.1', TCP, 18103) is None
    mappings = [pb.PortMapping(container_port=18104, host_port=18104)]
    with daemon.pod(host_network=True, port_mappings=mappings), socket.create_server(('127.0.0.1', 18104)):
        with socket.create_connection(('127.0.0.1', 18104), timeout=30):
            pass


@pytest.fixture
def dual_stack(own_daemon):
    """A daemon whose pods have an IPv4 and an IPv6 address."""
    path = os.path.join(own_daemon.runtime.cni_conf, '10-test.conflist')
    with open(path, encoding='utf-8') as f:
        config = json.load(f)
    config['plugins'][0]['ipam']['ranges'].append([{'subnet': 'fd89::/64'}])
    config['plugins'][0]['ipam']['routes'].append({'dst': '::/0'})
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(config, f)
    node = 'fd98::1'
    subprocess.run(['ip', 'addr', 'add', f'{node}/128', 'dev', 'lo', 'nodad'], check=True)
    own_daemon.runtime.kill()
    own_daemon.start()
    yield own_daemon, node
    subprocess.run(['ip', 'addr', 'del', f'{node}/128', 'dev', 'lo'], check=True)


@pytest.mark.parametrize('protocol', [TCP, UDP])
def test_host_port_by_ipv6(dual_stack, pb, protocol):
    daemon, node = dual_stack
    mappings = [pb.PortMapping(container_port=8080, host_port=18105, protocol=protocol),
                pb.PortMapping(container_port=8080, host_port=18106, protocol=protocol, host_ip=node),
                pb.PortMapping(container_port=8080, host_port=18107, protocol=protocol, host_ip='::')]
    with daemon.pod(host_network=False, port_mappings=mappings) as pod:
        network = pod.status().network
        assert network.ip.startswith('10.89.') and network.additional_ips[0].ip.startswith('fd89::')
        with answering(pod, protocol, 8080, 'here', socket.AF_INET6):
            answered(node, protocol, 18105, 'here')
            answered('127.0.0.1', protocol, 18105, 'here')
            answered(node, protocol, 18106, 'here')
            assert ask('127.0.0.1', protocol, 18106) is None
            answered(node, protocol, 18107, 'here')
    assert ask(node, protocol, 18105) is None
