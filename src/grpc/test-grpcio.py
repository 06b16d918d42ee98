#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-grpcio - our server against a gRPC stack that is not ours, and against bytes that no gRPC stack would send.

usage: test-grpcio.py TEST-SERVER CRI.PROTO     (exit 77, "skipped", without python3-grpcio)
"""
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

try:
    import grpc
    from grpc_tools import protoc
except ImportError:
    print("python3-grpcio and python3-grpc-tools are not installed: skipped")
    sys.exit(77)

MIB = 1 << 20
SIZES = [("grpc.max_receive_message_length", 64 * MIB), ("grpc.max_send_message_length", 64 * MIB)]
StatusCode = grpc.StatusCode


class Server:
    """One test server with a socket of its own; a failing exit status (a sanitizer's, say) fails the test."""

    all = []

    def __init__(self, program, folder, *arguments):
        self.path = os.path.join(folder, f"s{random.randrange(1 << 30)}")
        # What ASan keeps of freed memory is not the server's.
        asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"
        self.process = subprocess.Popen([program, self.path, *map(str, arguments)], stdout=subprocess.PIPE,
                                        env={**os.environ, "ASAN_OPTIONS": asan})
        Server.all.append(self)
        assert self.process.stdout.readline() == b"ready\n"
        self.start_kib = self.memory_kib()

    def channel(self, options=(), **more):
        return grpc.insecure_channel("unix:" + self.path, options=[*SIZES, *options], **more)

    def raw(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(self.path)
        return s

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(15)
        self.process.stdout.close()
        assert status == 0, f"the server ended with {status}"


@contextlib.contextmanager
def fails(code, text=None):
    try:
        yield
    except grpc.RpcError as e:
        assert e.code() == code, f"{e.code()} {e.details()}"
        assert text is None or text in e.details(), e.details()
        return
    raise AssertionError(f"expected {code}")


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


class Client:
    def __init__(self, channel):
        self.runtime = pb2_grpc.RuntimeServiceStub(channel)
        self.image = pb2_grpc.ImageServiceStub(channel)

    def exec(self, verb, *cmd, number=0, **more):
        return self.runtime.ExecSync(pb2.ExecSyncRequest(container_id=verb, cmd=cmd, timeout=number), **more)

    def images(self, count, size=1, then="", **more):
        spec = pb2.ImageSpec(image=str(count), runtime_handler=str(size), image_ref=then)
        return self.image.StreamImages(pb2.StreamImagesRequest(filter=pb2.ImageFilter(image=spec)), **more)

    def cancels(self):
        return self.exec("cancels").exit_code


# Tests take (server, client): a server of their own kind is started by those who need it.


def test_unary(server, client):
    answer = client.runtime.Version(pb2.VersionRequest(version="v1"))
    assert (answer.version, answer.runtime_name, answer.runtime_api_version) == ("v1", "test", "v1")
    assert client.runtime.Status(pb2.StatusRequest()) == pb2.StatusResponse()
    assert client.exec("echo", "grüß €").stdout.decode() == "grüß €"


def test_unimplemented(server, client):
    with fails(StatusCode.UNIMPLEMENTED, "unknown method PodSandboxStatus for service runtime.v1.RuntimeService"):
        client.runtime.PodSandboxStatus(pb2.PodSandboxStatusRequest())
    with server.channel() as channel, fails(StatusCode.UNIMPLEMENTED, "unknown service x.Y"):
        channel.unary_unary("/x.Y/Z")(b"")


def test_messages(server, client):
    for text in ["plain", "100% sûr\n\ttab", "€ 😀 %41 %", "x" * 900]:
        for code in range(1, 17):
            with fails(next(c for c in StatusCode if c.value[0] == code), text):
                client.exec("fail", text, number=code)


def test_malformed(server, client):
    with server.channel() as channel:
        call = channel.unary_unary("/runtime.v1.RuntimeService/Version")
        with fails(StatusCode.INTERNAL, "error unmarshalling request"):
            call(b"\x0a\x05ab")
        with fails(StatusCode.INTERNAL, "invalid UTF-8"):
            call(b"\x0a\x01\xff")
        with fails(StatusCode.INTERNAL, "NUL"):
            call(b"\x0a\x03a\0b")


def test_large(server, client):
    size = 16 * MIB - 32
    for inline in (True, False):
        text = "v" * size
        got = client.runtime.Version(pb2.VersionRequest(version=text)).version if inline else None
        assert got == text or client.exec("count", text).exit_code == size
    assert len(client.exec("fill", number=size).stdout) == size
    with fails(StatusCode.RESOURCE_EXHAUSTED, "received message larger than max"):
        client.exec("count", "v" * (16 * MIB))
    with fails(StatusCode.RESOURCE_EXHAUSTED, "trying to send message larger than max"):
        client.exec("fill", number=16 * MIB)


def test_gzip(server, client):
    gzip = grpc.Compression.Gzip
    for size in (0, 1, 1000, MIB, 16 * MIB - 32):
        assert client.exec("count", "z" * size, compression=gzip).exit_code == size
    with fails(StatusCode.RESOURCE_EXHAUSTED, "larger than max"):
        client.exec("count", "z" * (40 * MIB), compression=gzip)
    with fails(StatusCode.UNIMPLEMENTED, "deflate"):
        client.exec("count", "z" * 1000, compression=grpc.Compression.Deflate)
    text = "".join(random.choice("abcdef") for _ in range(10000))
    assert client.runtime.Version(pb2.VersionRequest(version=text), compression=gzip).version == text


def test_metadata(server, client):
    many = [("x-n%d" % i, "v" * 50) for i in range(50)] + [("x-bin", bytes(range(256)))]
    assert client.runtime.Version(pb2.VersionRequest(version="m"), metadata=many).version == "m"
    too_many = [("x-n%d" % i, "v" * 500) for i in range(100)]
    try:
        client.runtime.Version(pb2.VersionRequest(version="m"), metadata=too_many)
        raise AssertionError("50 KiB of headers were taken")
    except grpc.RpcError as e:
        assert e.code() in (StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL), e
    assert client.runtime.Version(pb2.VersionRequest(version="m")).version == "m"


def test_deadline(server, client):
    before, start = client.cancels(), time.monotonic()
    with fails(StatusCode.DEADLINE_EXCEEDED):
        client.exec("sleep", number=10000, timeout=0.1)
    assert time.monotonic() - start < 2
    until(lambda: client.cancels() == before + 1)
    assert client.exec("sleep", number=50, timeout=5).exit_code == 0
    with fails(StatusCode.DEADLINE_EXCEEDED):
        client.exec("stubborn", number=300, timeout=0.05)
    assert client.exec("echo", "x", timeout=100000000).stdout == b"x"


def test_cancel(server, client):
    before = client.cancels()
    request = pb2.ExecSyncRequest(container_id="sleep", timeout=60000)
    future = client.runtime.ExecSync.future(request)
    time.sleep(0.1)
    future.cancel()
    until(lambda: client.cancels() == before + 1)
    events = client.runtime.GetContainerEvents(pb2.GetEventsRequest())
    assert [next(events).created_at for _ in range(3)] == [1, 2, 3]
    events.cancel()
    until(lambda: client.cancels() == before + 2)
    # The client goes away.
    with server.channel() as channel:
        future = Client(channel).runtime.ExecSync.future(request)
        assert Client(channel).exec("echo", "x").stdout == b"x"
        time.sleep(0.1)
    until(lambda: client.cancels() == before + 3)


def test_streaming(server, client):
    assert list(client.images(0)) == []
    assert [r.images[0].size for r in client.images(1000)] == list(range(1000))
    assert sum(len(r.images[0].id) for r in client.images(20, 4 * MIB)) == 80 * MIB
    got = client.images(3, 1, "fail")
    with fails(StatusCode.DATA_LOSS, "after 3"):
        for _ in got:
            pass
    with fails(StatusCode.DATA_LOSS, "after 0"):
        list(client.images(0, 1, "fail"))
    with fails(StatusCode.DEADLINE_EXCEEDED):
        list(client.runtime.GetContainerEvents(pb2.GetEventsRequest(), timeout=0.2))


def test_slow_reader(server, client):
    """A stream that is not read holds its handler back, not the server, and takes no memory to speak of."""
    before = server.memory_kib()
    slow = [client.images(100000, 10000) for _ in range(4)]
    for s in slow:
        next(s)
    time.sleep(0.5)
    assert client.runtime.Version(pb2.VersionRequest(version="v"), timeout=1).version == "v"
    # Four times 256 KiB, and what sanitizers add.
    assert server.memory_kib() - before < 64 * 1024
    for s in slow:
        s.cancel()


def test_kept(server, client):
    """Calls that go on without a handler: more than there are threads, fed by others."""
    before = client.cancels()
    calls = [client.runtime.StreamContainers(pb2.StreamContainersRequest(), timeout=60) for _ in range(40)]
    for call in calls:
        call.initial_metadata()
    client.exec("publish", number=7)
    for call in calls:
        assert next(call).containers[0].id == "c" * 7
    for call in calls[20:]:
        call.cancel()
    until(lambda: client.cancels() == before + 20)
    client.exec("publish", number=8)
    client.exec("end")
    for call in calls[:20]:
        assert [len(m.containers[0].id) for m in call] == [8]
    with fails(StatusCode.DEADLINE_EXCEEDED):
        late = client.runtime.StreamContainers(pb2.StreamContainersRequest(), timeout=1)
        late.initial_metadata()
        list(late)
    until(lambda: client.cancels() == before + 21)
    # Who reads nothing is told so, in the end; what was taken in for him still comes.
    narrow = [("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    with server.channel(narrow) as channel:
        slow = Client(channel).runtime.StreamContainers(pb2.StreamContainersRequest(), timeout=60)
        slow.initial_metadata()
        for _ in range(10):
            client.exec("publish", number=400000)
        got = 0
        with fails(StatusCode.RESOURCE_EXHAUSTED, "reads too slowly"):
            for _ in slow:
                got += 1
        assert 0 < got < 10
    # An event of any size goes to who is up to date.
    call = client.runtime.StreamContainers(pb2.StreamContainersRequest(), timeout=60)
    call.initial_metadata()
    client.exec("publish", number=3 * MIB)
    assert len(next(call).containers[0].id) == 3 * MIB
    client.exec("end")
    assert not list(call)


def test_hundred(server, client):
    requests = [pb2.ExecSyncRequest(container_id="sleep", timeout=100 + i) for i in range(100)]
    start = time.monotonic()
    futures = [client.runtime.ExecSync.future(r, timeout=60) for r in requests]
    # Cheap calls don't wait behind them.
    for _ in range(20):
        assert client.runtime.Version(pb2.VersionRequest(version="v"), timeout=2).version == "v"
    for f in futures:
        assert f.result().exit_code == 0
    assert time.monotonic() - start < 30

    def many():
        with server.channel() as channel:
            c = Client(channel)
            for i in range(50):
                assert c.exec("echo", str(i)).stdout == str(i).encode()

    errors = []

    def guarded():
        try:
            many()
        except BaseException as e:  # pylint: disable=broad-except
            errors.append(e)

    threads = [threading.Thread(target=guarded) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


# Bytes by hand.

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def literal(name, value):
    assert len(name) < 127 and len(value) < 127
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


REQUEST = b"".join(literal(*pair) for pair in [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/runtime.v1.RuntimeService/Version"),
    (b":authority", b"/run/some.sock"), (b"content-type", b"application/grpc")])
BODY = b"\0\0\0\0\x04\x0a\x02v1"
HELLO = PREFACE + frame(SETTINGS, 0, 0)


def talk(server, data, close=True):
    """Send, close our half unless told otherwise, and return all that comes until the server closes."""
    got = b""
    with server.raw() as s:
        with contextlib.suppress(ConnectionError):
            s.sendall(data)
        if close:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
        # The first read may only report that the server left our bytes unread.
        for _ in range(2):
            with contextlib.suppress(ConnectionError):
                while part := s.recv(65536):
                    got += part
    return got


def kinds(data):
    """The types of the frames in what the server sent."""
    found = []
    while len(data) >= 9:
        found.append(data[3])
        data = data[9 + int.from_bytes(data[:3], "big"):]
    return found


def test_raw(server, client):
    rnd = random.Random(7)
    good = HELLO + frame(HEADERS, 4, 1, REQUEST) + frame(DATA, 1, 1, BODY)
    with server.raw() as s:
        s.sendall(good)
        got = b""
        while b"v1\x12\x04test" not in got:
            got += s.recv(65536)
    cases = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03",
        PREFACE,
        PREFACE + frame(PING, 0, 0, b"12345678"),
        HELLO + frame(DATA, 1, 1, BODY),
        HELLO + frame(HEADERS, 5, 0, REQUEST),
        HELLO + frame(HEADERS, 5, 2, REQUEST),
        HELLO + frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
        HELLO + frame(HEADERS, 4, 1, b"\xbe" * 100),
        HELLO + frame(CONTINUATION, 4, 1, REQUEST),
        HELLO + frame(HEADERS, 0, 1, REQUEST) + frame(DATA, 1, 1, BODY),
        HELLO + frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2" + REQUEST),
        HELLO + frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"),
        HELLO + frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1"),
        HELLO + frame(SETTINGS, 1, 0, b"xx"),
        HELLO + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
        HELLO + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
        HELLO + frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
        HELLO + frame(GOAWAY, 0, 0, b"\0" * 8),
        HELLO + struct.pack(">I", 0xffffff)[1:] + b"\0\0\0\0\0\1",
        HELLO + frame(99, 0xff, 77, b"whatever"),
    ]
    for case in cases:
        talk(server, case)
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(rnd.randrange(1, 4)):
            damaged[rnd.randrange(len(damaged))] = rnd.randrange(256)
        talk(server, bytes(damaged[:rnd.randrange(len(damaged) + 1)]))
    assert client.runtime.Version(pb2.VersionRequest(version="v")).version == "v"


def test_floods(server, client):
    reset = b"".join(frame(HEADERS, 4, i, REQUEST) + frame(RST_STREAM, 0, i, b"\0\0\0\x08") for i in range(1, 20001, 2))
    assert GOAWAY in kinds(talk(server, HELLO + reset, close=False))
    for flood in (frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0") * 100000, frame(PING, 0, 0, b"12345678") * 100000,
                  frame(HEADERS, 0, 1, REQUEST) + frame(CONTINUATION, 0, 1) * 100000):
        # Whether it is cut off or held back until we read: it ends, and others are served.
        with server.raw() as s:
            s.settimeout(0.5)
            with contextlib.suppress(OSError):
                s.sendall(HELLO + flood)
            assert client.runtime.Version(pb2.VersionRequest(version="v"), timeout=5).version == "v"


def test_idle_memory(server, client):
    """What a busy time took is given back, descriptors too."""
    client.exec("fill", number=8 * MIB)
    # Sanitizers start large and keep what was freed.
    if server.start_kib < 8 * 1024:
        until(lambda: server.memory_kib() < server.start_kib + 4 * 1024)
    files = server.open_files()
    for _ in range(3):
        sockets = [server.raw() for _ in range(50)]
        for s in sockets:
            s.sendall(HELLO)
        until(lambda: server.open_files() >= files + 50)
        for s in sockets:
            s.close()
        until(lambda: server.open_files() <= files)


def test_limits(server, client):
    own = Server(sys.argv[1], folder, 4, 3, 8)
    idle = [own.raw() for _ in range(3)]
    for s in idle:
        s.sendall(HELLO)
    time.sleep(0.1)
    # A fourth connection takes the place of the one that has been idle longest.
    with own.channel() as channel:
        c = Client(channel)
        assert c.exec("echo", "x", timeout=10).stdout == b"x"
        # Far more calls than streams, threads and queue: all are served in the end.
        futures = [c.runtime.ExecSync.future(pb2.ExecSyncRequest(container_id="sleep", timeout=5)) for _ in range(100)]
        assert all(f.result().exit_code == 0 for f in futures)
    for s in idle:
        s.close()
    own.stop()


def test_shutdown(server, client):
    own = Server(sys.argv[1], folder)
    with own.channel() as channel:
        c = Client(channel)
        c.exec("echo", "x")
        slow = c.runtime.ExecSync.future(pb2.ExecSyncRequest(container_id="sleep", timeout=500))
        quick = c.runtime.ExecSync.future(pb2.ExecSyncRequest(container_id="sleep", timeout=100))
        time.sleep(0.1)
        start = time.monotonic()
        own.stop()
        assert 0.2 < time.monotonic() - start < 3
        assert slow.result().exit_code == 0 and quick.result().exit_code == 0
        with fails(StatusCode.UNAVAILABLE):
            c.exec("echo", "x", timeout=5)
    # An endless stream is cut off when the time is over.
    own = Server(sys.argv[1], folder)
    with own.channel() as channel:
        events = Client(channel).runtime.GetContainerEvents(pb2.GetEventsRequest())
        next(events)
        start = time.monotonic()
        own.stop()
        assert 4 < time.monotonic() - start < 8
        with fails(StatusCode.UNAVAILABLE):
            for _ in events:
                pass


def test_shutdown_of_kept(server, client):
    own = Server(sys.argv[1], folder)
    with own.channel() as channel:
        call = Client(channel).runtime.StreamContainers(pb2.StreamContainersRequest())
        call.initial_metadata()
        start = time.monotonic()
        own.stop()
        assert time.monotonic() - start < 2
        with fails(StatusCode.UNAVAILABLE, "shutting down"):
            list(call)


def main():
    program = sys.argv[1]
    wanted = sys.argv[3:]
    tests = [f for name, f in globals().items() if name.startswith("test_") and (not wanted or name in wanted)]
    server = Server(program, folder, 16)
    try:
        with server.channel() as channel:
            for test in tests:
                start = time.monotonic()
                test(server, Client(channel))
                print(f"ok {test.__name__} ({time.monotonic() - start:.2f} s)", flush=True)
        server.stop()
    finally:
        for s in Server.all:
            s.process.kill()
            s.process.wait()


with tempfile.TemporaryDirectory() as folder:
    source = os.path.abspath(sys.argv[2])
    assert protoc.main(["", "-I" + os.path.dirname(source), "--python_out=" + folder, "--grpc_python_out=" + folder,
                        source]) == 0
    sys.path.insert(0, folder)
    import cri_pb2 as pb2
    import cri_pb2_grpc as pb2_grpc

    main()
