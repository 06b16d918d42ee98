# SPDX-License-Identifier: Apache-2.0
"""What test-pull.py needs: the program under test behind a method call, images to pull, and a registry that can be told to
misbehave."""

import base64
import concurrent.futures
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tests', 'lib'))
import oci  # noqa: E402

PROGRAM = sys.argv[1]
WORK = tempfile.mkdtemp(prefix='test-pull.')


class Images:
    """A root folder and the program that serves it."""

    def __init__(self, *registries, root=None, tmpfs=None, discard=False):
        self.root = root or tempfile.mkdtemp(dir=WORK)
        self.seen_at = self.root
        args = [PROGRAM]
        if tmpfs:
            # A small disk, in a mount namespace of the program's own.
            args = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"', 'sh',
                    tmpfs, self.root, PROGRAM]
        args += ['-d'] * discard
        for r in registries:
            args += ['-r', r]
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}
        self.process = subprocess.Popen(args + [self.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=env)
        if tmpfs:
            self.seen_at = f'/proc/{self.process.pid}/root{self.root}'

    def __call__(self, *words):
        self.process.stdin.write(' '.join(str(w) for w in words) + '\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f'the program ended at {words}: {self.process.wait()}'
        return json.loads(line)

    def ok(self, *words):
        answer = self(*words)
        assert 'error' not in answer, (words, answer)
        return answer

    def fails(self, code, *words, text=''):
        answer = self(*words)
        assert answer.get('error') == code and text in answer['message'], (words, answer)
        return answer['message']

    def pull_all(self, refs):
        """Several references at once."""
        return self.ok('pulls', len(refs), ','.join(refs))['pulls']

    def files(self):
        """What lies below the root, but for the store and the folders that are always there."""
        found = []
        for name in ('blobs/sha256', 'layers', 'tmp'):
            path = os.path.join(self.seen_at, name)
            for base, dirs, files in os.walk(path):
                found += [os.path.join(base, f) for f in files]
                # A layer counts as one entry.
                found += [os.path.join(base, d) for d in dirs if len(d) >= 26]
                found += [os.path.join(base, d) for d in dirs if os.path.islink(os.path.join(base, d))]
        return found

    def expect_empty(self):
        # layers/tmp is tidied up in the background after a start.
        for _ in range(100):
            if not self.files():
                break
            time.sleep(0.05)
        assert not self.files(), self.files()
        assert not self.ok('list')['images']
        usage = self.ok('usage')
        assert usage['bytes'] == 0 and usage['inodes'] == 0, usage

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0, self.process.returncode
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        else:
            self.close()


def image(*texts, config=None, compression='gzip', arch='amd64', docker=False, size=0):
    layers = []
    for i, text in enumerate(texts):
        layer = oci.Layer(compression).dir('d%d' % i).file('d%d/f' % i, text + 'x' * size)
        layers.append(layer)
    return oci.Image(layers, config=config or {'Cmd': ['/bin/true'], 'Env': ['A=1']}, arch=arch, docker=docker)


def chain_ids(img):
    ids = []
    for layer in img.layers:
        diff = oci.digest(layer.diff())
        ids.append(diff if not ids else oci.digest((ids[-1] + ' ' + diff).encode()))
    return ids


class Bad:
    """A registry that serves what it is told to and can be told to misbehave: `hook(handler)` returns True when
    it has answered. Counts the requests."""

    def __init__(self, tls=None):
        self.blobs, self.manifests, self.requests, self.headers = {}, {}, [], []
        self.hook = lambda h: False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def send(self, status, body=b'', **headers):
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k.replace('_', '-'), v)
                self.send_header('Content-Length', len(body))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(body)

            def do_POST(self):
                self.form = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
                self.do_GET()

            def do_GET(self):
                outer.requests.append(self.path)
                outer.headers.append(self.headers)
                try:
                    if not outer.hook(self):
                        outer.serve(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_HEAD = do_PUT = do_PATCH = do_DELETE = do_GET

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass
        self.server = Server(('127.0.0.1', 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = '127.0.0.1:%d' % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def add(self, repo, tag, img):
        for blob in img.blobs():
            self.blobs[oci.digest(blob)] = blob
        for name in (tag, img.digest()):
            self.manifests[repo, name] = (img.manifest, img.media_type())
        return f'{self.address}/{repo}:{tag}'

    def add_raw(self, repo, tag, data, media_type):
        for name in (tag, oci.digest(data)):
            self.manifests[repo, name] = (data, media_type)
        return f'{self.address}/{repo}:{tag}'

    def serve(self, h):
        path = urllib.parse.urlsplit(h.path).path
        m = re.fullmatch(r'/v2/(.+)/(manifests|blobs)/([^/]+)', path)
        if m and m[2] == 'manifests' and (m[1], m[3]) in self.manifests:
            data, media_type = self.manifests[m[1], m[3]]
            h.send(200, data, Content_Type=media_type, Docker_Content_Digest=oci.digest(data))
        elif m and m[2] == 'blobs' and m[3] in self.blobs:
            self.serve_blob(h, self.blobs[m[3]])
        else:
            code = 'MANIFEST_UNKNOWN' if m and m[2] == 'manifests' else 'BLOB_UNKNOWN'
            h.send(404, json.dumps({'errors': [{'code': code, 'message': 'not here'}]}).encode())

    def serve_blob(self, h, data, limit=None):
        status, start = 200, 0
        wanted = re.fullmatch(r'bytes=(\d+)-', h.headers.get('Range', ''))
        if wanted and int(wanted[1]) >= len(data):
            h.send(416)
            return
        h.send_response(206 if wanted else 200)
        if wanted:
            start = int(wanted[1])
            h.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        h.send_header('Content-Length', len(data) - start)
        h.end_headers()
        end = len(data) if limit is None else min(len(data), start + limit)
        h.wfile.write(data[start:end])
        if end < len(data):
            h.close_connection = True

    def count(self, part):
        return sum(part in r for r in self.requests)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Uploads(Bad):
    """One that takes uploads, and can be told to spoil them. What it did is in `steps`: (method, bytes it took)."""

    def __init__(self, tls=None):
        self.sessions, self.steps, self.lock, self.n = {}, [], threading.Lock(), 0
        self.limit = self.min_chunk = None  # of a body
        self.cuts = []  # how much of the next bodies arrives before the connection breaks
        self.statuses = []  # of the next bodies, which are not looked at; None: as usual
        self.mounts = True
        self.forgets = 0  # uploads that are gone after their first bytes
        self.tells = True  # how far an upload is
        self.lost_answers = 0  # closed uploads whose answer does not arrive
        self.location = lambda path: path
        self.put_manifests = []
        self.subjects = False  # has the API of referrers
        super().__init__(tls)

    def took(self, what, n):
        with self.lock:
            self.steps.append((what, n))

    def body(self, h, session):
        """Takes the body; False when that has ended the request."""
        size, status = int(h.headers.get('Content-Length', 0)), None
        with self.lock:
            if size and self.statuses:
                status = self.statuses.pop(0)
            cut = self.cuts.pop(0) if self.cuts and size > self.cuts[0] else None
        if self.limit and size > self.limit:
            status = 413
        if status:
            self.took(status, 0)
            h.rfile.read(size)
            h.send(status)
            return False
        start = h.headers.get('Content-Range', '0-').split('-')[0]
        if size and int(start) != len(session):
            h.rfile.read(size)
            self.took(416, 0)
            h.send(416)
            return False
        while size and (cut is None or cut > 0):
            got = h.rfile.read(min(size, 65536 if cut is None else min(cut, 65536)))
            if not got:
                break
            session += got
            size -= len(got)
            if cut is not None:
                cut -= len(got)
        if size:
            self.took('cut', len(session))
            h.close_connection = True
            h.connection.shutdown(2)
            return False
        return True

    def serve(self, h):
        url = urllib.parse.urlsplit(h.path)
        query = urllib.parse.parse_qs(url.query)
        m = re.fullmatch(r'/v2/(.+)/(blobs/uploads|blobs|manifests)/([^/]*)', url.path)
        if not m:
            h.send(404)
        elif m[2] == 'blobs/uploads':
            self.serve_upload(h, m, query)
        elif m[2] == 'manifests' and h.command == 'PUT':
            data = h.rfile.read(int(h.headers['Content-Length']))
            for name in (m[3], oci.digest(data)):
                self.manifests[m[1], name] = (data, h.headers['Content-Type'])
            self.put_manifests.append(m[3])
            subject = json.loads(data).get('subject')
            more = {'OCI_Subject': subject['digest']} if self.subjects and subject else {}
            h.send(201, Docker_Content_Digest=oci.digest(data), **more)
        elif m[2] == 'blobs' and h.command == 'HEAD':
            h.send(200 if (m[1], m[3]) in self.blobs else 404)
        elif m[2] == 'blobs':
            self.serve_blob(h, self.blobs[m[1], m[3]])
        else:
            super().serve(h)

    def serve_upload(self, h, m, query):
        if h.command == 'POST':
            blob = 'mount' in query and self.blobs.get((query['from'][0], query['mount'][0]))
            if blob and self.mounts:
                self.blobs[m[1], query['mount'][0]] = blob
                h.send(201, Location=f'/v2/{m[1]}/blobs/{query["mount"][0]}')
                return
            with self.lock:
                self.n += 1
                name = f'u{self.n}'
            self.sessions[name] = bytearray()
            more = {'OCI_Chunk_Min_Length': self.min_chunk} if self.min_chunk else {}
            h.send(202, Location=self.location(f'/v2/{m[1]}/blobs/uploads/{name}'), **more)
            return
        session = self.sessions.get(m[3])
        if session is None:
            h.rfile.read(int(h.headers.get('Content-Length', 0)))
            h.send(404)
        elif h.command == 'GET':
            h.send(204 if self.tells else 405, Range=f'0-{max(len(session) - 1, 0)}')
        elif h.command == 'DELETE':
            del self.sessions[m[3]]
            h.send(204)
        elif self.body(h, session):
            self.took(h.command, len(session))
            if self.forgets:
                self.forgets -= 1
                del self.sessions[m[3]]
                h.send(404)
            elif h.command == 'PATCH':
                h.send(202, Location=self.location(f'/v2/{m[1]}/blobs/uploads/{m[3]}'))
            elif oci.digest(bytes(session)) != query['digest'][0]:
                h.send(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"not that one"}]}')
            else:
                self.blobs[m[1], query['digest'][0]] = bytes(session)
                del self.sessions[m[3]]
                if self.lost_answers:
                    self.lost_answers -= 1
                    h.close_connection = True
                    h.connection.shutdown(2)
                    return
                h.send(201)


class TokenServer:
    """Registry and token server in one Bad."""

    def __init__(self, bad, **more):
        self.bad, self.asked, self.forms, self.basic = bad, [], [], []
        self.valid, self.n, self.reply = set(), 0, {}
        self.more = more
        bad.hook = self.hook

    def hook(self, h):
        url = urllib.parse.urlsplit(h.path)
        if url.path == '/token':
            self.asked.append(urllib.parse.parse_qs(url.query))
            self.forms.append(urllib.parse.parse_qs(getattr(h, 'form', '')))
            self.basic.append(h.headers.get('Authorization'))
            want = self.more.get('basic')
            if want and h.headers.get('Authorization') != 'Basic ' + base64.b64encode(want.encode()).decode():
                h.send(401)
                return True
            self.n += 1
            token = f'token{self.n}'
            if not self.more.get('useless'):
                self.valid.add(token)
            h.send(200, json.dumps(self.more.get('reply', {'token': token, 'expires_in': 300})).encode())
            return True
        given = h.headers.get('Authorization', '')
        if given.startswith('Bearer ') and given[7:] in self.valid:
            return False
        h.send(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
               WWW_Authenticate=self.more.get('challenge',
               f'Bearer realm="http://{self.bad.address}/token",service="reg",scope="repository:a:pull"'))
        return True


def slow(bad, part, seconds):
    def hook(h):
        if part in h.path:
            time.sleep(seconds)
        return False
    bad.hook = hook


def run(name, test):
    start = time.monotonic()
    try:
        test()
    except Exception:  # pylint: disable=broad-except
        print(traceback.format_exc() + f'FAIL {name}', flush=True)
        return False
    print(f'ok   {name} ({time.monotonic() - start:.1f} s)', flush=True)
    return True


def main(tests):
    """Runs those of the functions @tests that the command line names, else all; four at once."""
    names = sys.argv[2:] or sorted(n for n in tests if n.startswith('test_'))
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            good = list(pool.map(lambda name: run(name, tests[name]), names))
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(0 if all(good) else 1)
