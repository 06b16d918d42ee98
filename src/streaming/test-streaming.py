#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The streaming server end to end: test-server against sockets of this script's own and, where Go and its module proxy
are there, against client-go's executors (tests/tools/streaming-client), which kubectl, crictl and kubelet are made of.

usage: test-streaming.py TEST-SERVER [STREAMING-CLIENT-FOLDER]

With STREAMING_TLS=1 all of it goes over TLS.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib

SERVER = sys.argv[1]

CLIENT_FOLDER = sys.argv[2] if len(sys.argv) > 2 else None
CLIENT = None  # the built program
PATIENCE = 30
PLAIN_V4 = 'v4.channel.k8s.io'


def sanitized():
    """Built with a sanitizer, whose shadow memory is not ours to count?"""
    with open(SERVER, 'rb') as f:
        program = f.read()
    return b'__asan_init' in program or b'__tsan_init' in program


class Pair:
    """A certificate that signs itself, and its key, in files."""

    def __init__(self, name='localhost'):
        self.folder = tempfile.TemporaryDirectory()
        self.cert, self.key = (os.path.join(self.folder.name, x) for x in ('cert.pem', 'key.pem'))
        self.renew(name)

    def renew(self, name):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-keyout', self.key + '.new', '-out', self.cert + '.new', '-days', '2', '-subj', f'/CN={name}',
                        '-addext', f'subjectAltName=DNS:{name},IP:127.0.0.1,IP:::1'], check=True,
                       stderr=subprocess.DEVNULL)
        for path in (self.cert, self.key):
            os.rename(path + '.new', path)

    def env(self):
        return {'STREAMING_CERT': self.cert, 'STREAMING_KEY': self.key}


TLS = Pair() if os.environ.get('STREAMING_TLS') else None
HTTP = 'https' if TLS else 'http'


def trusting():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Server:
    """test-server; ask() for URLs."""

    def __init__(self, **env):
        env = {**(TLS.env() if TLS else {}), **env}
        self.process = subprocess.Popen([SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **env})
        self.base = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        assert status == 0, f'the server ended with {status}'

    def ask(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def exec(self, flags, *argv):
        return self.ask(f'exec {flags} ' + '\t'.join(argv))

    def fds(self):
        return int(self.ask('fds'))


def eventually(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


class Tls:
    """TLS over a socket, for one thread that reads and one that writes (an SSLSocket breaks when both are at it)."""

    def __init__(self, plain):
        self.plain = plain
        self.lock = threading.Lock()        # of the session's state, never held while waiting
        self.sending = threading.Lock()     # keeps records in order
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = trusting().wrap_bio(self.incoming, self.outgoing, server_hostname='localhost')
        self.settimeout, self.setsockopt, self.close = plain.settimeout, plain.setsockopt, plain.close
        self.done(self.session.do_handshake)

    def flush(self):
        with self.sending:
            with self.lock:
                out = self.outgoing.read()
            self.plain.sendall(out)

    def done(self, action, *arguments, flush=True):
        """What the action gives once the peer has sent all that it needs."""
        while True:
            try:
                with self.lock:
                    result, done = action(*arguments), True
            except ssl.SSLWantReadError:
                result, done = None, False
            if flush:
                self.flush()
            if done:
                return result
            data = self.plain.recv(65536)
            with self.lock:
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def recv(self, n):
        try:
            # Sends nothing: it would wait for the thread that writes, which may wait for the peer, which waits for us.
            return self.done(self.session.read, n, flush=False)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b''

    def sendall(self, data):
        self.done(self.session.write, data)


class Raw:
    """A socket on a URL's host."""

    def __init__(self, url):
        scheme, host, port, self.path = re.match(r'(https?)://\[?([^/\]]+)\]?:(\d+)(/.*)?$', url).groups()
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        if scheme == 'https':
            self.socket = Tls(self.socket)
        self.buffer = b''

    def send(self, data):
        self.socket.sendall(data)

    def read(self, n):
        while len(self.buffer) < n:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def read_head(self):
        while b'\r\n\r\n' not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        head, self.buffer = self.buffer.split(b'\r\n\r\n', 1)
        return head.decode()

    def read_rest(self):
        try:
            while True:
                data = self.socket.recv(65536)
                if not data:
                    break
                self.buffer += data
        except ConnectionResetError:
            pass
        return self.buffer

    def request(self, *headers, method='GET', path=None, more=b''):
        self.send('\r\n'.join([f'{method} {path or self.path} HTTP/1.1', 'Host: x', *headers, '', '']).encode() + more)
        return self.read_head()

    def close(self):
        self.socket.close()


SPDY_HEADERS = ('Connection: Upgrade', 'Upgrade: SPDY/3.1')


def dictionary():
    """Out of the source, so that what is checked is that both directions agree with zlib and the known checksum."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'spdy-dictionary.c'), encoding='ascii') as f:
        source = f.read()
    words = re.findall(r'"([^"]*)"', source.split('words[] = {')[1].split('};')[0])
    text = ''.join(re.findall(r'"([^"]*)"', source.split('text[] =')[1].split(';\n')[0]))
    made = b''.join(struct.pack('>I', len(w)) + w.encode() for w in words) + text.encode()
    assert zlib.adler32(made) == 0xe3c6a7c2
    return made


class Spdy(Raw):
    """A SPDY client, as thin as can be."""

    def __init__(self, url, *protocols, early=b''):
        super().__init__(url)
        self.head = self.request(*SPDY_HEADERS, *[f'X-Stream-Protocol-Version: {p}' for p in protocols], method='POST',
                                 more=early)
        self.deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 8, 0, dictionary())
        self.inflate = zlib.decompressobj(15, dictionary())
        self.next_id = 1
        self.data = {}
        self.finished = set()
        self.resets = {}
        self.replied = set()
        self.goaway = None
        self.pings = []

    def syn(self, flags=0, **headers):
        block = struct.pack('>I', len(headers))
        for name, value in headers.items():
            for s in name.lower(), value:
                block += struct.pack('>I', len(s)) + s.encode()
        packed = self.deflate.compress(block) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        stream, self.next_id = self.next_id, self.next_id + 2
        self.control(1, struct.pack('>II', stream, 0) + b'\0\0' + packed, flags)
        return stream

    def control(self, kind, payload, flags=0):
        self.send(struct.pack('>HHI', 0x8003, kind, flags << 24 | len(payload)) + payload)

    def put(self, stream, data, fin=False):
        self.send(struct.pack('>II', stream, fin << 24 | len(data)) + data)

    def step(self):
        """Take one frame."""
        first, second = struct.unpack('>II', self.read(8))
        payload = self.read(second & 0xffffff)
        if not first >> 31:
            assert first in self.replied, 'data before the reply'
            assert first not in self.finished, 'data after the end'
            self.data[first] = self.data.get(first, b'') + payload
            if second >> 24 & 1:
                self.finished.add(first)
            return
        kind = first & 0xffff
        if kind == 2:
            assert self.inflate.decompress(payload[4:]) == b'\0\0\0\0'
            self.replied.add(struct.unpack('>I', payload[:4])[0])
        elif kind == 3:
            stream, status = struct.unpack('>II', payload)
            self.resets[stream] = status
        elif kind == 6:
            self.pings.append(payload)
        elif kind == 7:
            self.goaway = struct.unpack('>II', payload)

    def run(self):
        """Until the server closes."""
        try:
            while True:
                self.step()
        except (EOFError, ConnectionResetError):
            self.close()

    def until(self, condition):
        while not condition():
            self.step()


class WebSocket(Raw):
    def __init__(self, url, *protocols):
        super().__init__(url)
        key = base64.b64encode(os.urandom(16)).decode()
        headers = ['Connection: Upgrade', 'Upgrade: websocket', f'Sec-WebSocket-Key: {key}', 'Sec-WebSocket-Version: 13']
        if protocols:
            headers.append('Sec-WebSocket-Protocol: ' + ', '.join(protocols))
        self.head = self.request(*headers)
        if self.head.startswith('HTTP/1.1 101'):
            accept = base64.b64encode(hashlib.sha1(key.encode() + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest())
            assert f'Sec-WebSocket-Accept: {accept.decode()}' in self.head

    def put(self, payload, opcode=2):
        mask = os.urandom(4)
        n = len(payload)
        size = bytes([0x80 | n]) if n < 126 else b'\xfe' + struct.pack('>H', n) if n < 65536 else b'\xff' + struct.pack('>Q', n)
        body = bytes(c ^ mask[i & 3] for i, c in enumerate(payload))
        self.send(bytes([0x80 | opcode]) + size + mask + body)

    def get(self):
        """(opcode, payload)"""
        first, n = self.read(2)
        assert first & 0x80 and not n & 0x80
        if n == 126:
            n, = struct.unpack('>H', self.read(2))
            assert n >= 126
        elif n == 127:
            n, = struct.unpack('>Q', self.read(8))
            assert n >= 65536
        return first & 15, self.read(n)

    def run(self):
        """Messages until the server closes: channel -> bytes, and the closing status."""
        got = {}
        while True:
            opcode, payload = self.get()
            if opcode == 8:
                self.put(payload, 8)
                self.read_rest()
                self.close()
                return got, struct.unpack('>H', payload)[0]
            if opcode == 1:
                channel, data = payload[0] - 48, base64.b64decode(payload[1:], validate=True)
            elif opcode == 2:
                channel, data = payload[0], payload[1:]
            else:
                continue
            got[channel] = got.get(channel, b'') + data


def status_of(head):
    return int(head.split()[1])


# ---- the URLs and the handshake ----


def test_urls():
    with Server() as s:
        assert re.match(HTTP + r'://127\.0\.0\.1:\d+/exec/[\w-]{24}$', s.exec('o', 'true'))
        assert re.match(HTTP + r'://127\.0\.0\.1:\d+/attach/[\w-]{24}$', s.ask('attach o true'))
        assert re.match(HTTP + r'://127\.0\.0\.1:\d+/portforward/[\w-]{24}$', s.ask('forward 80'))
        for bad in ('exec - true', 'exec te true', 'attach - true', 'attach ote x', 'forward 0', 'forward 70000'):
            assert s.ask(bad).startswith('error INVALID_ARGUMENT '), bad
        for _ in range(1000 - 3):
            assert s.exec('o', 'true').startswith('http')
        assert s.exec('o', 'true').startswith('error RESOURCE_EXHAUSTED ')
    with Server(STREAMING_ADDRESS='::') as s:
        assert s.base.startswith(HTTP + '://[::1]:')
        assert status_of(Raw(s.base).request(path='/exec/x')) == 404


def test_handshake():
    spdy = ['Connection: Upgrade', 'Upgrade: SPDY/3.1']
    websocket = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
    v13 = 'Sec-WebSocket-Version: 13'
    version = 'X-Stream-Protocol-Version: '
    table = [
        (400, 'exec', []),
        (400, 'exec', spdy),
        (400, 'exec', [*spdy, version]),
        (403, 'exec', [*spdy, version + 'v9.channel.k8s.io']),
        (403, 'forward', [*spdy, version + PLAIN_V4]),
        (101, 'exec', [*spdy, version + f'v9.channel.k8s.io, {PLAIN_V4}']),
        (101, 'forward', [*spdy, version + 'portforward.k8s.io']),
        (426, 'exec', websocket),
        (400, 'exec', [*websocket[:2], v13]),
        (403, 'exec', [*websocket, v13, 'Sec-WebSocket-Protocol: x']),
        (101, 'exec', [*websocket, v13]),
        (403, 'forward', [*websocket, v13]),
        (400, 'forward', [*websocket, v13, 'Sec-WebSocket-Protocol: ' + PLAIN_V4]),
    ]
    with Server() as s:
        for expected, kind, headers in table:
            raw = Raw(s.exec('o', 'true') if kind == 'exec' else s.ask('forward'))
            head = raw.request(*headers)
            assert status_of(head) == expected, (headers, head)
            if expected == 403:
                assert 'X-Accepted-Stream-Protocol-Versions: ' in head
            if expected != 101:
                raw.read_rest()
            raw.close()
        url = s.exec('o', 'true')
        for path, expected in (('/exec/x', 404), (url[url.index('/exec'):].replace('exec', 'attach'), 404), ('/', 404)):
            assert status_of(Raw(url).request(*spdy, version + PLAIN_V4, path=path)) == expected
        url = s.exec('o', 'true')
        assert status_of(Spdy(url, PLAIN_V4).head) == 101
        assert status_of(Spdy(url, PLAIN_V4).head) == 404
        assert status_of(Raw(url).request(method='PUT')) == 405


def test_expiry():
    with Server(STREAMING_TTL_MS='300') as s:
        url = s.exec('o', 'true')
        time.sleep(0.4)
        assert status_of(Spdy(url, PLAIN_V4).head) == 404


# ---- commands ----


def spdy_exec(url, protocol, streams, stdin=None):
    c = Spdy(url, protocol)
    assert status_of(c.head) == 101 and f'X-Stream-Protocol-Version: {protocol}\r\n' in c.head + '\r\n'
    ids = {t: c.syn(streamType=t) for t in streams}
    if stdin is not None:
        c.put(ids['stdin'], stdin, True)
    c.run()
    return c, {t: c.data.get(i, b'') for t, i in ids.items()}, ids


def test_spdy_versions():
    script = ('sh', '-c', 'cat; echo err >&2; exit 3')
    streams = ['error', 'stdin', 'stdout', 'stderr']
    with Server() as s:
        for protocol in (PLAIN_V4, 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'):
            c, got, ids = spdy_exec(s.exec('ioe', *script), protocol, streams, b'hello')
            assert got['stdout'] == b'hello' and got['stderr'] == b'err\n', got
            assert c.goaway == (7, 0)
            assert ids['stdout'] in c.finished and ids['stderr'] in c.finished
            if protocol == PLAIN_V4:
                status = json.loads(got['error'])
                assert status['status'] == 'Failure' and status['reason'] == 'NonZeroExitCode'
                assert status['details']['causes'] == [{'reason': 'ExitCode', 'message': '3'}]
            elif protocol == 'channel.k8s.io':
                assert got['error'] == b'' and ids['error'] in c.resets and ids['stdin'] in c.finished
            else:
                assert b'exit status 3' in got['error'] and not got['error'].startswith(b'{')
        for code, said in (('-1', '255'), ('300', '255'), ('255', '255')):
            _, got, _ = spdy_exec(s.exec('o', 'exit-code', code), PLAIN_V4, ['error', 'stdout'])
            assert json.loads(got['error'])['details']['causes'][0]['message'] == said
        c, got, ids = spdy_exec(s.exec('o', 'true'), PLAIN_V4, ['error', 'stdout'])
        assert json.loads(got['error'])['status'] == 'Success' and ids['error'] in c.finished
        _, got, _ = spdy_exec(s.exec('o', 'true'), 'v2.channel.k8s.io', ['error', 'stdout'])
        assert got['error'] == b''
        _, got, _ = spdy_exec(s.exec('o', '/no/such/program'), PLAIN_V4, ['error', 'stdout'])
        status = json.loads(got['error'])
        assert status['reason'] == 'InternalError' and status['code'] == 500
        assert status['message'].startswith('Internal error occurred: ')


def test_spdy_streams():
    """Streams that are unknown, twice, of bad numbers; data in the first segment; pings while it runs."""
    with Server() as s:
        c = Spdy(s.exec('io', 'cat'), PLAIN_V4, early=struct.pack('>HHI', 0x8003, 6, 4) + b'\0\0\0\1')
        error = c.syn(streamType='error')
        odd = c.syn(streamType='what')
        out = c.syn(streamType='stdout')
        twice = c.syn(streamType='stdout')
        c.put(odd, b'into the void')
        c.until(lambda: twice in c.resets and c.pings)
        assert c.resets[twice] == 1 and odd in c.replied and c.pings == [b'\0\0\0\1']
        stdin = c.syn(streamType='stdin')
        c.put(stdin, b'one ')
        c.until(lambda: c.data.get(out) == b'one ')
        c.control(6, b'\0\0\0\3')
        c.until(lambda: len(c.pings) == 2)
        c.put(stdin, b'two', True)
        c.run()
        assert c.data[out] == b'one two' and json.loads(c.data[error])['status'] == 'Success'
        assert odd in c.resets  # not finished at the end


def test_creation_timeout():
    with Server(STREAMING_CREATION_MS='300') as s:
        c = Spdy(s.exec('io', 'cat'), PLAIN_V4)
        c.syn(streamType='error')
        start = time.monotonic()
        c.run()
        assert 0.2 < time.monotonic() - start < 5 and c.goaway


def test_idle_timeout():
    with Server(STREAMING_IDLE_MS='500') as s:
        c = Spdy(s.exec('io', 'cat'), PLAIN_V4)
        for t in ('error', 'stdin', 'stdout'):
            c.syn(streamType=t)
        for i in range(4):
            time.sleep(0.3)
            c.control(6, struct.pack('>I', 2 * i + 1))
        start = time.monotonic()
        c.run()
        assert len(c.pings) == 4 and 0.3 < time.monotonic() - start < 5


def gone(pattern):
    return subprocess.run(['pgrep', '-f', pattern], stdout=subprocess.DEVNULL, check=False).returncode == 1


def test_client_goes():
    """The process is killed, nothing stays behind."""
    with Server() as s:
        before = s.fds()
        for number, kind in enumerate(('close', 'reset', 'goaway')):
            seconds = str(98760 + number)
            c = Spdy(s.exec('io', 'sleep', seconds), PLAIN_V4)
            ids = [c.syn(streamType=t) for t in ('error', 'stdin', 'stdout')]
            c.until(lambda c=c: len(c.replied) == 3)
            c.put(ids[1], b'x' * 1000)
            eventually(lambda n=seconds: not gone(f'sleep {n}'), 'it never ran')
            if kind == 'goaway':
                c.control(7, b'\0' * 8)
                c.run()
            else:
                if kind == 'reset':
                    c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                c.close()
            eventually(lambda n=seconds: gone(f'sleep {n}'), f'still running after {kind}')
        # Also when so much of its stdin waits that nothing of the client is read any more.
        c = Spdy(s.exec('i', 'sleep', '98770'), PLAIN_V4)
        ids = [c.syn(streamType=t) for t in ('error', 'stdin')]
        c.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 << 20:
                c.put(ids[1], b'x' * 30000)
                sent += 30000
        except TimeoutError:
            pass
        assert sent < 32 << 20, 'no back-pressure'
        c.close()
        eventually(lambda: gone('sleep 98770'), 'still running', 20)
        eventually(lambda: s.fds() == before, f'{s.fds()} descriptors, {before} before')


def test_slow_client():
    """The command waits for the client; nothing is lost."""
    with Server() as s:
        c = Spdy(s.exec('o', 'sh', '-c', 'head -c 20000000 /dev/zero; echo end; touch /tmp/streaming-test.$PPID'),
                 PLAIN_V4)
        mark = f'/tmp/streaming-test.{s.process.pid}'
        error, out = c.syn(streamType='error'), c.syn(streamType='stdout')
        time.sleep(1)
        assert not os.path.exists(mark), 'unbounded buffering'
        with open(f'/proc/{s.process.pid}/status', encoding='ascii') as f:
            peak = int(re.search(r'VmRSS:\s+(\d+) kB', f.read()).group(1))
        assert peak < 20000 or sanitized(), peak
        c.run()
        assert len(c.data[out]) == 20000004 and c.data[out].endswith(b'\0end\n')
        assert json.loads(c.data[error])['status'] == 'Success'
        os.unlink(mark)


def test_left_behind():
    """What a command leaves running is not waited for, though it holds the pipes."""
    with Server() as s:
        start = time.monotonic()
        _, got, _ = spdy_exec(s.exec('o', 'sh', '-c', 'timeout 60 sleep 100 & echo hi'), PLAIN_V4, ['error', 'stdout'])
        assert got['stdout'] == b'hi\n' and time.monotonic() - start < 40
        # Nor is what it goes on saying without end.
        _, got, _ = spdy_exec(s.exec('o', 'sh', '-c', 'timeout 60 yes & echo $!'), PLAIN_V4, ['error', 'stdout'])
        assert time.monotonic() - start < 50 and json.loads(got['error'])['status'] == 'Success'


def test_attach():
    with Server() as s:
        streams = ['error', 'stdin', 'stdout', 'stderr']
        _, got, _ = spdy_exec(s.ask('attach ioe cat; echo bye >&2'), PLAIN_V4, streams, b'hello')
        assert (got['stdout'], got['stderr']) == (b'hello', b'bye\n') and json.loads(got['error'])['status'] == 'Success'
        _, got, _ = spdy_exec(s.ask('attach ioe exec <&-; sleep 0.5; echo end'), PLAIN_V4, streams, b'for nobody')
        assert got['stdout'] == b'end\n'
        _, got, _ = spdy_exec(s.ask('attach i cat'), PLAIN_V4, ['error', 'stdin'], b'all there is')
        assert json.loads(got['error'])['status'] == 'Success'
        _, got, _ = spdy_exec(s.ask('attach ioe missing'), PLAIN_V4, streams, b'')
        assert 'not found' in json.loads(got['error'])['message']
        # Whose last stream is accepted is attached, and may start the program; the other streams do not wait for it.
        c = Spdy(s.ask('attach o slow'), PLAIN_V4)
        error, start = c.syn(streamType='error'), time.monotonic()
        c.until(lambda: error in c.replied)
        out = c.syn(streamType='stdout')
        c.until(lambda: out in c.replied)
        assert time.monotonic() - start > 0.4
        c.run()
        assert c.data[out] == b'attached\n'
        # stdin alone, and the container ends by itself
        _, got, _ = spdy_exec(s.ask('attach i sleep 0.3'), PLAIN_V4, ['error', 'stdin'])
        assert json.loads(got['error'])['status'] == 'Success'


def test_websocket_versions():
    with Server() as s:
        for protocols in ((PLAIN_V4,), ('channel.k8s.io',), (), ('v4.base64.channel.k8s.io',), ('base64.channel.k8s.io',)):
            w = WebSocket(s.exec('ioe', 'sh', '-c', 'read a; echo "<$a>"; echo err >&2; exit 4'), *protocols)
            assert status_of(w.head) == 101
            is_text = 'base64' in ''.join(protocols)
            opcode, first = w.get()
            assert (opcode, first) == ((1, b'1') if is_text else (2, b'\1'))
            w.put(b'0' + base64.b64encode(b'line\n') if is_text else b'\0line\n', 1 if is_text else 2)
            w.put(b'ping', 9)
            got, closing = w.run()
            assert got[1] == b'<line>\n' and got[2] == b'err\n' and closing == 1000, got
            if ''.join(protocols).startswith('v4'):
                assert json.loads(got[3])['details']['causes'][0]['message'] == '4'
            else:
                assert got[3].startswith(b'command terminated')
        w = WebSocket(s.exec('io', 'cat'), 'v5.channel.k8s.io', PLAIN_V4)
        assert 'v5.channel.k8s.io' in w.head
        w.put(b'\0hello')
        w.put(b'\xff\0')
        got, closing = w.run()
        assert got == {1: b'hello', 3: b'{"metadata":{},"status":"Success"}'} and closing == 1000
        w = WebSocket(s.exec('tio', 'sh', '-c', 'read a; stty size'), PLAIN_V4)
        w.put(b'\4{"Width":120,"Hei')
        w.put(b'\4ght":50}')
        time.sleep(0.2)
        w.put(b'\0\n')
        got, closing = w.run()
        assert b'50 120' in got[1]
        w = WebSocket(s.exec('io', 'cat'), PLAIN_V4)
        w.send(b'\x82\1x')  # no mask
        assert w.run()[1] == 1002


def test_websocket_pongs():
    """A client whose stdin nobody takes still hears of us, so that it does not give up."""
    with Server() as s:
        w = WebSocket(s.exec('i', 'sleep', '30'), 'v5.channel.k8s.io')
        w.get()
        w.socket.settimeout(0.5)
        try:
            for _ in range(1000):
                w.put(b'\0' + b'x' * 30000)
        except TimeoutError:
            pass
        w.socket.settimeout(20)
        assert w.get() == (10, b'')
        w.close()


# ---- port forwarding ----


class Target(threading.Thread):
    """A TCP server on loopback; HANDLE gets each connection in a thread of its own."""

    def __init__(self, handle):
        super().__init__(daemon=True)
        self.handle = handle
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            self.handle(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def upper_at_end(connection):
    data = b''
    while more := connection.recv(65536):
        data += more
    connection.sendall(data.upper())


def pair(c, port, request, target='data'):
    headers = {'port': str(port)}
    if request is not None:
        headers['requestID'] = str(request)
    error = c.syn(streamType='error', **headers)
    c.put(error, b'', True)
    return error, c.syn(streamType=target, **headers)


def test_forward():
    with Server() as s, Target(echo) as echoes, Target(upper_at_end) as uppers:
        before = s.fds()
        c = Spdy(s.ask('forward'), 'portforward.k8s.io')
        error, data = pair(c, uppers.port, 0)
        c.put(data, b'half ')
        c.put(data, b'close', True)
        c.until(lambda: data in c.finished and error in c.finished)
        assert c.data[data] == b'HALF CLOSE' and not c.data.get(error)
        # Without a request's name; several at once; the connection stays.
        pairs = [pair(c, echoes.port, None if i % 2 else i + 1) for i in range(20)]
        for error, data in pairs:
            c.put(data, b'%d' % data)
        c.until(lambda: all(c.data.get(data) == b'%d' % data for _, data in pairs))
        for error, data in pairs[:10]:
            c.put(data, b'', True)
        for error, data in pairs[10:]:
            c.control(3, struct.pack('>II', data, 5))
        c.until(lambda: all(data in c.finished and error in c.finished for error, data in pairs[:10]))
        # Nobody listens.
        free = socket.create_server(('127.0.0.1', 0))
        port = free.getsockname()[1]
        free.close()
        error, data = pair(c, port, 'x')
        c.until(lambda: error in c.finished and data in c.resets)
        assert c.data[error].startswith(b'error forwarding port %d to pod sandbox, uid : ' % port)
        # Not a port, not a type.
        for headers in ({'streamType': 'data', 'port': '0'}, {'streamType': 'data'}, {'streamType': 'x', 'port': '1'},
                        {'port': '80'}, {'streamType': 'data', 'port': '65536'}):
            stream = c.syn(**headers)
            c.until(lambda stream=stream: stream in c.resets)
        c.close()
        eventually(lambda: s.fds() == before, f'{s.fds()} descriptors, {before} before')


def test_forward_ends():
    def target_ends(connection):
        connection.sendall(b'bye')
        connection.shutdown(socket.SHUT_WR)
        time.sleep(5)

    def slow_answer(connection):
        while connection.recv(1000):
            pass
        time.sleep(2)
        connection.sendall(b'thought about it')

    with Server(STREAMING_CREATION_MS='500') as s, Target(target_ends) as ending, Target(slow_answer) as slow:
        c = Spdy(s.ask('forward'), 'portforward.k8s.io')
        error, data = pair(c, ending.port, 0)
        start = time.monotonic()
        c.until(lambda: error in c.finished)
        assert c.data[data] == b'bye' and data in c.finished and 0.8 < time.monotonic() - start < 4
        c.until(lambda: data in c.resets)
        error, data = pair(c, slow.port, 1)
        c.put(data, b'?', True)
        c.until(lambda: error in c.finished)
        assert c.data[data] == b'thought about it'
        # Half a pair.
        lonely = c.syn(streamType='error', port='80', requestID='2')
        c.until(lambda: lonely in c.finished)
        assert b'in time' in c.data[lonely]
        c.close()


def test_forward_bulk():
    """More than all buffers hold, both ways, by a client that reads and writes at once."""
    with Server() as s, Target(echo) as echoes:
        c = Spdy(s.ask('forward'), 'portforward.k8s.io')
        _, data = pair(c, echoes.port, 0)
        blob = os.urandom(1 << 20) * 16

        def send():
            for at in range(0, len(blob), 32768):
                c.put(data, blob[at:at + 32768])
            c.put(data, b'', True)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        pieces, got = [], 0
        while got < len(blob):
            first, second = struct.unpack('>II', c.read(8))
            payload = c.read(second & 0xffffff)
            if first == data:
                pieces.append(payload)
                got += len(payload)
        assert b''.join(pieces) == blob
        sender.join()
        c.close()


def test_forward_limits():
    with Server() as s:
        c = Spdy(s.ask('forward'), 'portforward.k8s.io')
        streams = [c.syn(streamType='error', port='1', requestID=str(i)) for i in range(600)]
        c.until(lambda: streams[-1] in c.resets)
        assert len(c.replied) == 512 and len(c.resets) == 88 and set(c.resets.values()) == {3}
        c.close()


def test_forward_websocket():
    with Server() as s, Target(upper_at_end), Target(echo) as echoes:
        closed = socket.create_server(('127.0.0.1', 0))
        port = closed.getsockname()[1]
        closed.close()
        w = WebSocket(s.ask(f'forward {echoes.port} {port}'), PLAIN_V4)
        w.put(b'\0hello')
        got = {}
        while got.get(0, b'')[2:] != b'hello' or len(got.get(3, b'')) < 10:
            _, payload = w.get()
            got[payload[0]] = got.get(payload[0], b'') + payload[1:]
        assert got[0][:2] == got[1] == struct.pack('<H', echoes.port)
        assert got[2] == struct.pack('<H', port) and b'refused' in got[3]
        w.put(b'', 8)
        w.run()
        url = s.ask('forward') + f'?port={echoes.port}'
        w = WebSocket(url, 'v4.base64.channel.k8s.io')
        w.put(b'0' + base64.b64encode(b'hi'), 1)
        seen = b''
        while b'hi' not in seen:
            _, payload = w.get()
            if payload[:1] == b'0':
                seen += base64.b64decode(payload[1:])
        w.close()


# ---- hostile clients ----


def test_hostile():
    with Server() as s:
        before = s.fds()
        for junk in (b'\0' * 100 + b'\r\n\r\n', b'GET / HTTP/1.1\r\n\r\n', b'x' * 20000, b'\r\n\r\n',
                     b'GET /' + b'a' * 20000):
            raw = Raw(s.base)
            raw.send(junk)
            assert raw.read_rest().startswith(b'HTTP/1.1 4'), junk[:40]
            raw.close()
        for junk in (b'\x80\2\0\1\0\0\0\0', b'\x80\3\0\1\0\xff\xff\xff', os.urandom(4000) or b'',
                     b'\x80\3\0\1\0\0\0\x10' + b'\0\0\0\1' + b'\xff' * 12):
            c = Spdy(s.exec('io', 'cat'), PLAIN_V4)
            try:
                c.send(junk)
            except (BrokenPipeError, ConnectionResetError):
                pass
            if junk[0] == 0x80 and len(junk) < 100:
                c.read_rest()
            c.close()
        # Who never reads makes us queue nothing.
        c = Spdy(s.exec('io', 'cat'), PLAIN_V4)
        c.socket.settimeout(1)
        ping = struct.pack('>HHI', 0x8003, 6, 4) + b'\0\0\0\1'
        try:
            for _ in range(400):
                c.send(ping * 5000)
        except TimeoutError:
            pass
        else:
            raise AssertionError('answers are queued without end')
        c.close()
        eventually(lambda: s.fds() == before, f'{s.fds()} descriptors, {before} before', 20)


def test_connections():
    """Those without a token make room for those that have one."""
    with Server(STREAMING_CONNECTIONS='10') as s:
        strangers = [Raw(s.base) for _ in range(30)]
        clients = []
        for _ in range(10):
            c = Spdy(s.exec('io', 'cat'), PLAIN_V4)
            assert status_of(c.head) == 101
            clients.append(c)
        url = s.exec('io', 'cat')
        if TLS:
            try:
                Raw(url)
                raise AssertionError('an eleventh connection was taken')
            except (ssl.SSLError, ConnectionError):
                pass
        else:
            eleventh = Raw(url)
            assert eleventh.read_rest().startswith(b'HTTP/1.1 503 ')
            eleventh.close()
        for c in clients + strangers:
            c.close()


def test_tls_handshake():
    """Who is slow with his handshake waits alone, and not for ever; who speaks no TLS is let go."""
    pair = Pair()
    with Server(**pair.env()) as s:
        assert s.base.startswith('https://127.0.0.1:')
        before = s.fds()
        port = int(s.base.rsplit(':', 1)[1])
        silent = [socket.create_connection(('127.0.0.1', port), PATIENCE) for _ in range(20)]
        for c in silent[10:]:
            c.sendall(b'\x16\x03\x01\x02\x00\x01\x00')  # a hello that never ends
        begun = time.monotonic()
        plain = socket.create_connection(('127.0.0.1', port), PATIENCE)
        plain.sendall(b'GET /exec/x HTTP/1.1\r\nHost: x\r\n\r\n')
        c = Spdy(s.exec('o', 'echo', 'hello'), PLAIN_V4)
        assert status_of(c.head) == 101 and time.monotonic() - begun < 9
        c.close()
        try:
            assert plain.recv(100)[:1] in (b'', b'\x15')  # an alert, perhaps
        except ConnectionResetError:
            pass
        for c in silent:
            c.settimeout(PATIENCE)
            assert c.recv(100) == b''  # closed after ten seconds
            c.close()
        assert 8 < time.monotonic() - begun < 60
        plain.close()
        eventually(lambda: s.fds() == before, 'descriptors stay')


def test_tls_versions():
    pair = Pair()
    with Server(**pair.env()) as s:
        port = int(s.base.rsplit(':', 1)[1])
        trusted = ssl.create_default_context(cafile=pair.cert)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trusted.minimum_version = trusted.maximum_version = version
            with socket.create_connection(('127.0.0.1', port), PATIENCE) as c:
                with trusted.wrap_socket(c, server_hostname='localhost') as t:
                    t.sendall(b'GET /exec/x HTTP/1.1\r\nHost: x\r\n\r\n')
                    assert t.recv(100).startswith(b'HTTP/1.1 404 ')


def test_tls_renewal():
    """A new certificate is used without a restart; a broken one is not, and the old one stays."""
    pair = Pair('first')

    def name(s):
        host, port = s.base[8:].split(':')
        text = ssl.get_server_certificate((host, int(port)))
        shown = subprocess.run(['openssl', 'x509', '-noout', '-subject'], input=text, stdout=subprocess.PIPE, text=True,
                               check=True)
        return shown.stdout.strip().split('=')[-1].strip()
    with Server(**pair.env()) as s:
        assert name(s) == 'first'
        running = Spdy(s.exec('io', 'cat'), PLAIN_V4)
        pair.renew('second')
        eventually(lambda: name(s) == 'second', 'the old certificate stays')
        with open(pair.cert, 'w', encoding='ascii') as f:
            f.write('nothing')
        time.sleep(1.1)
        assert name(s) == 'second' and name(s) == 'second'
        pair.renew('third')
        eventually(lambda: name(s) == 'third', 'the old certificate stays')
        running.close()


def test_tls_bad_files():
    pair, other = Pair(), Pair()
    for env in ({'STREAMING_CERT': '/no/such', 'STREAMING_KEY': pair.key},
                {'STREAMING_CERT': pair.cert, 'STREAMING_KEY': pair.cert},
                {'STREAMING_CERT': pair.cert, 'STREAMING_KEY': other.key}):
        done = subprocess.run([SERVER], env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1 and 'streaming over TLS' in done.stderr, done.stderr


def test_many():
    """Sessions side by side, then the server ends amid some."""
    with Server() as s:
        before = s.fds()

        def one(i):
            _, got, _ = spdy_exec(s_urls[i], PLAIN_V4, ['error', 'stdin', 'stdout'], b'%d' % i * 50000)
            results[i] = got['stdout'] == b'%d' % i * 50000

        s_urls = [s.exec('io', 'cat') for _ in range(40)]
        results = [False] * 40
        threads = [threading.Thread(target=one, args=(i,)) for i in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert all(results)
        eventually(lambda: s.fds() == before, f'{s.fds()} descriptors, {before} before')
        running = []
        for kind in ('sleep 98780', 'attach'):
            url = s.exec('io', *kind.split()) if kind != 'attach' else s.ask('attach io sleep 1')
            c = Spdy(url, PLAIN_V4)
            for t in ('error', 'stdin', 'stdout'):
                c.syn(streamType=t)
            c.until(lambda c=c: len(c.replied) == 3)
            running.append(c)
        eventually(lambda: not gone('sleep 98780'), 'it never ran')
    eventually(lambda: gone('sleep 98780'), 'still running')


# ---- client-go ----


def client_go(*args, stdin=b''):
    """(stdout, stderr, result)"""
    read_end, write_end = os.pipe()
    try:
        p = subprocess.Popen(['sh', '-c', f'exec 3>&{write_end}; exec "$@"', 'sh', CLIENT, *args], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[write_end])
        os.close(write_end)
        out, err = p.communicate(stdin, timeout=60)
        return out, err, json.loads(os.read(read_end, 65536))
    finally:
        os.close(read_end)


def go_test_exec():
    with Server() as s:
        for transport in ('spdy', 'websocket'):
            def run(url, streams, *more, stdin=b'', transport=transport):
                return client_go('exec', '-transport', transport, '-streams', streams, *more, url, stdin=stdin)

            out, err, result = run(s.exec('oe', 'sh', '-c', 'echo out; echo err >&2'), 'oe')
            assert (out, err, result['ok']) == (b'out\n', b'err\n', True), (out, err, result)
            for code in (1, 2, 126, 255):
                _, _, result = run(s.exec('oe', 'sh', '-c', f'exit {code}'), 'oe')
                assert result['code'] == code
            blob = os.urandom(3 << 20)
            out, _, result = run(s.exec('io', 'cat'), 'io', stdin=blob)
            assert out == blob and result['ok'], (len(out), result)
            # The client sends the second size when the first is told of.
            sizes = 'for size in "24 80" "40 100"; do until [ "$(stty size)" = "$size" ]; do sleep 0.02; done; stty size; done; exit 7'
            out, _, result = run(s.exec('tio', 'sh', '-c', sizes), 'tio', '-sizes', '80x24,100x40')
            assert out == b'24 80\r\n40 100\r\n' and result['code'] == 7, (out, result)
            _, _, result = run(s.exec('oe', '/no/such/program'), 'oe')
            assert 'error executing command in container' in result['error'], result
            # A session that ends before its stdin does.
            out, _, result = run(s.exec('io', 'head', '-c', '5'), 'io', stdin=b'x' * 1000000)
            assert out == b'xxxxx' and result['ok'], result
            out, err, result = run(s.ask('attach ioe cat; echo done >&2'), 'ioe', stdin=b'hello')
            assert (out, err, result['ok']) == (b'hello', b'done\n', True), (out, err, result)
        for protocol in ('v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'):
            out, _, result = client_go('exec', '-protocols', protocol, '-streams', 'io', s.exec('io', 'head', '-c', '3'), stdin=b'old')
            assert out == b'old' and result['ok'], (protocol, out, result)
        out, _, result = client_go('exec', '-transport', 'websocket', '-protocols', PLAIN_V4, '-streams', 'o',
                                   s.exec('o', 'echo', 'v4'))
        assert out == b'v4\n' and result['ok']


def go_test_forward():
    with Server() as s, Target(echo) as echoes, Target(upper_at_end) as uppers:
        for transport in ('spdy', 'websocket'):
            p = subprocess.Popen(['sh', '-c', 'exec 3>/dev/null; exec "$@"', 'sh', CLIENT, 'forward', '-transport', transport,
                                  '-ports', f'0:{echoes.port},0:{uppers.port}', s.ask('forward')],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            ports = [int(p.stdout.readline().split()[1]) for _ in range(2)]

            def talk(port, blob, expected):
                with socket.create_connection(('127.0.0.1', port), PATIENCE) as c:
                    sender = threading.Thread(target=lambda: (c.sendall(blob), c.shutdown(socket.SHUT_WR)))
                    sender.start()
                    got = b''
                    while data := c.recv(65536):
                        got += data
                    sender.join()
                    assert got == expected, (len(got), len(expected))

            talk(ports[1], b'hello', b'HELLO')
            blob = os.urandom(4 << 20)
            talk(ports[0], blob, blob)
            failures = []

            def several(port=ports[0]):
                try:
                    for _ in range(5):
                        piece = os.urandom(100000)
                        talk(port, piece, piece)
                except Exception:  # pylint: disable=broad-except
                    failures.append(traceback.format_exc())

            threads = [threading.Thread(target=several) for _ in range(10)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert not failures, failures[0]
            p.stdin.close()
            assert p.wait(PATIENCE) == 0
            p.stdout.close()


def build_client():
    """The program, or why there is none."""
    global CLIENT  # pylint: disable=global-statement
    if not CLIENT_FOLDER or not shutil.which('go'):
        return 'no Go'
    cache = os.environ.get('STREAMING_CLIENT', '')
    if cache:
        CLIENT = cache
        return None
    target = os.path.join(os.path.dirname(os.path.abspath(SERVER)), 'streaming-client')
    with open(target + '.lock', 'wb') as lock:  # the other run of this file wants the same, which takes a minute once
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = subprocess.run(['go', 'build', '-o', target, '.'], cwd=CLIENT_FOLDER, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, check=False)
    if build.returncode:
        return build.stdout[-500:]
    CLIENT = target
    return None


def main():
    passed = failed = skipped = 0
    why_not = build_client()
    for name, test in list(globals().items()):
        if not re.match('(go_)?test_', name) or not callable(test):
            continue
        if os.environ.get('ONLY', name) != name:
            continue
        if name.startswith('test_tls_') and not TLS:
            continue  # these wait for long, and would be the same
        if name.startswith('go_') and why_not:
            print(f'skipped {name}: {why_not}')
            skipped += 1
            continue
        try:
            test()
            passed += 1
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f'FAILED {name}\n{traceback.format_exc()}')
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
