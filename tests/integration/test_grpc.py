"""The wire: gRPC on HTTP/2 against a stack that is not ours, and bytes that are not gRPC."""

import concurrent.futures
import os
import socket
import struct
import threading
import time

import grpc
import pytest

from cri import PATIENCE, SLOW, Cri, eventually
from helpers import CODE, refused

VERSION = '/runtime.v1.RuntimeService/Version'


def raw_call(daemon, path, **more):
    """A unary call of bytes: bytes."""
    call = daemon.cri.channel.unary_unary(path, request_serializer=None, response_deserializer=None)
    return lambda data: call(data, timeout=PATIENCE * SLOW, **more)


def test_unknown_methods(daemon):
    with refused(CODE.UNIMPLEMENTED):
        raw_call(daemon, '/runtime.v1.RuntimeService/NoSuchMethod')(b'')
    with refused(CODE.UNIMPLEMENTED):
        raw_call(daemon, '/no.such.Service/Version')(b'')


@pytest.mark.ours
@pytest.mark.parametrize('compression', [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_compressed_requests(daemon, compression):
    reply = daemon.cri.Version(version='v1' * 1000, compression=compression)
    assert reply.runtime_api_version == 'v1'


def test_unknown_fields_are_ignored(daemon, pb):
    data = pb.VersionRequest(version='v1').SerializeToString()
    data += bytes([0xfa, 0x7f, 3]) + b'abc' + bytes([0xf8, 0x7f, 1])  # fields 2047
    assert pb.VersionResponse.FromString(raw_call(daemon, VERSION)(data)).version == '0.1.0'


@pytest.mark.parametrize('data', [b'\x0a', b'\x0a\xff\xff\xff\xff\x7f', b'\xff' * 20, b'\x0a\x05ab',
                                  b'\x0b\x0b\x0b'])
def test_malformed_protobuf(daemon, data):
    with refused(CODE.INVALID_ARGUMENT, CODE.INTERNAL):
        raw_call(daemon, VERSION)(data)
    assert daemon.cri.Version().version


@pytest.mark.ours
def test_messages_up_to_16_mib(daemon, pb):
    filling = 'x' * ((16 << 20) - 100)
    assert daemon.cri.Version(version=filling).version == '0.1.0'
    with refused(CODE.RESOURCE_EXHAUSTED):
        daemon.cri.Version(version='x' * ((16 << 20) + 1000))
    with refused(CODE.RESOURCE_EXHAUSTED):
        daemon.cri.Version(version='x' * (40 << 20))
    assert daemon.cri.Version().version


@pytest.mark.ours
def test_a_gzip_bomb_is_refused(daemon):
    """64 MiB of one letter compress to 64 KiB."""
    with refused(CODE.RESOURCE_EXHAUSTED):
        daemon.cri.Version(version='x' * (64 << 20), compression=grpc.Compression.Gzip)
    assert daemon.cri.Version().version


def test_deadline(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        began = time.monotonic()
        with refused(CODE.DEADLINE_EXCEEDED):
            daemon.cri.ExecSync(container_id=container.id, cmd=['sleep', '50'], deadline=0.5)
        assert time.monotonic() - began < 20 * SLOW  # not 50
        assert daemon.cri.Version().version


def test_cancel(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        begun = daemon.cri.future('ExecSync', container_id=container.id, cmd=['sleep', '5432'])
        time.sleep(0.3)
        begun.cancel()
        assert daemon.cri.Version().version
        container.stop()


@pytest.mark.ours
def test_what_is_cancelled_ends(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        begun = daemon.cri.future('ExecSync', container_id=container.id, cmd=['sleep', '5433'])
        time.sleep(0.3)
        begun.cancel()
        deadline = time.monotonic() + PATIENCE * SLOW
        while '5433' in container.sh('for p in /proc/[0-9]*; do cat $p/cmdline; done'):
            assert time.monotonic() < deadline, 'the cancelled command still runs'
            time.sleep(0.1)


@pytest.mark.ours
def test_odd_letters_in_messages(daemon):
    """grpc-message is percent-encoded UTF-8; python's stack decodes it."""
    name = 'größe 100% ☃ \n tab\t'
    with refused(CODE.NOT_FOUND, words=['größe 100% ☃']):
        daemon.cri.ContainerStatus(container_id=name)


def test_many_calls_at_once(daemon):
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        replies = pool.map(lambda _: daemon.cri.Version().version, range(1000))
    assert set(replies) == {'0.1.0'}


def test_many_connections(daemon, pb):
    clients = [Cri(daemon.runtime.endpoint, pb) for _ in range(100)]
    try:
        assert {c.Version().version for c in clients} == {'0.1.0'}
    finally:
        for client in clients:
            client.close()


def open_socket(daemon):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(PATIENCE * SLOW)
    s.connect(daemon.runtime.socket)
    return s


PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'


def frame(kind, flags=0, stream=0, data=b'', length=None):
    size = len(data) if length is None else length
    return struct.pack('>I', size)[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + data


SETTINGS = frame(4)
NOISE = {
    'nothing': b'',
    'http1': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'zeros': b'\0' * 4096,
    'ones': b'\xff' * 4096,
    'half a preface': PREFACE[:10],
    'no settings': PREFACE + frame(6, data=b'12345678'),
    'settings of a wrong size': PREFACE + frame(4, data=b'12345'),
    'a frame too large': PREFACE + SETTINGS + frame(0, stream=1, length=0xffffff),
    'data on an idle stream': PREFACE + SETTINGS + frame(0, stream=1, data=b'x'),
    'headers on stream 0': PREFACE + SETTINGS + frame(1, 4, 0, b'\x82'),
    'headers of noise': PREFACE + SETTINGS + frame(1, 5, 1, b'\xff' * 50),
    'continuation without headers': PREFACE + SETTINGS + frame(9, 4, 1, b'\x82'),
    'headers cut off': PREFACE + SETTINGS + frame(1, 0, 1, b'\x82'),
    'window overflow': PREFACE + SETTINGS + frame(8, data=struct.pack('>I', 0x7fffffff)) * 2,
    'even stream': PREFACE + SETTINGS + frame(1, 5, 2, b'\x82\x84\x86'),
    'push promise': PREFACE + SETTINGS + frame(5, 4, 1, b'\0\0\0\2\x82'),
}


@pytest.mark.parametrize('name', NOISE)
def test_noise_on_the_socket(daemon, name):
    with open_socket(daemon) as s:
        try:
            s.sendall(NOISE[name])
            if name != 'headers cut off':
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
        except (ConnectionError, socket.timeout):
            pass
    assert daemon.cri.Version().version == '0.1.0'


@pytest.mark.ours
def test_http2_floods_do_not_grow_the_daemon(daemon):
    """Pings, settings and resets without end: the daemon closes or survives, and stays small."""
    def size():
        with open(f'/proc/{daemon.runtime.process.pid}/status', encoding='utf-8') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))
    before = size()
    for flood in (frame(6, data=b'12345678'), SETTINGS, frame(8, data=b'\0\0\0\1')):
        with open_socket(daemon) as s:
            s.settimeout(2)
            try:
                s.sendall(PREFACE + SETTINGS)
                for _ in range(200):
                    s.sendall(flood * 1000)
            except (ConnectionError, socket.timeout):
                pass
    assert daemon.cri.Version().version == '0.1.0'
    assert size() - before < 32 << 10, 'kB more than before'


@pytest.mark.ours
def test_huge_metadata_is_refused(daemon):
    with pytest.raises(grpc.RpcError):
        daemon.cri.Version(metadata=[('x-large', 'y' * (1 << 20))])
    assert daemon.cri.Version(metadata=[('x-small', 'y' * 1000), ('x-bin', b'\0\1')]).version


@pytest.mark.ours
def test_idle_connections_do_not_block_others(daemon):
    idle = []
    for _ in range(64):
        s = open_socket(daemon)
        s.sendall(PREFACE)
        idle.append(s)
    try:
        assert daemon.cri.Version().version
    finally:
        for s in idle:
            s.close()


@pytest.mark.ours
def test_an_orderly_stop_finishes_what_runs(own_daemon, busybox):
    daemon = own_daemon
    pod = daemon.pod()
    container = pod.run(busybox, ['sleep', '100'])
    begun = daemon.cri.future('ExecSync', container_id=container.id,
                              cmd=['sh', '-c', 'touch /begun; sleep 1; echo done'])
    eventually(lambda: container.exec('test', '-e', '/begun').exit_code == 0)
    stopped = threading.Thread(target=daemon.runtime.stop)
    stopped.start()
    assert begun.result(PATIENCE).stdout == b'done\n'
    stopped.join()
    assert daemon.runtime.process.returncode == 0
    assert not os.path.exists(daemon.runtime.socket)
    daemon.start()
    assert container.__class__ and daemon.cri.ContainerStatus(container_id=container.id).status.state == 1


@pytest.mark.ours
def test_socket_is_for_root_only(daemon):
    assert os.stat(daemon.runtime.socket).st_mode & 0o007 == 0
