"""The HTTP side of one node: TLS, bodies, who calls, and answers as Proxmox writes them."""

import email.parser
import email.policy
import functools
import http.server
import json
import os
import re
import select
import shutil
import socket
import ssl
import struct
import tempfile
import threading
import time
import urllib.parse
from email.utils import formatdate

from errors import ApiError

BODY_MAX = 512 * 1024
METHODS = ('GET', 'PUT', 'POST', 'DELETE')
UNAUTHORIZED_SECONDS = 3


class Gone(Exception):
    """The connection is to end without an answer."""


class Plain(ApiError):
    """An answer of pveproxy itself: no JSON."""


def form(text):
    """A form body or query: & and ; separate, a name given twice is a list."""
    found = {}
    for pair in re.split('[&;]', text):
        if not pair:
            continue
        name, _, value = pair.partition('=')
        name, value = (urllib.parse.unquote_plus(part, errors='surrogateescape') for part in (name, value))
        if name in found:
            found[name] = (found[name] if isinstance(found[name], list) else [found[name]]) + [value]
        else:
            found[name] = value
    return found


class Upload:
    """A multipart body: fields, and a file that is kept on disk until close()."""

    def __init__(self, folder):
        self.folder = tempfile.mkdtemp(prefix='upload-', dir=folder)
        self.path, self.fields, self.parts = None, {}, {}

    def read(self, stream, length, boundary):
        """Parts one after another; a file's goes to disk in pieces, for templates are large."""
        edge = b'\r\n--' + boundary
        rest, left, name = b'\r\n', length, None
        while True:
            if left:
                piece = stream.read(min(65536, left))
                if not piece:
                    raise Gone()
                left, rest = left - len(piece), rest + piece
            while (at := rest.find(edge)) >= 0 and (end := rest.find(b'\r\n\r\n', at + len(edge))) >= 0:
                self.put(name, rest[:at])
                name, rest = self.begin(rest[at + len(edge):end]), rest[end + 4:]
            if at >= 0 and rest.startswith(edge + b'--', at):
                self.put(name, rest[:at])
                break
            if not left or len(rest) > BODY_MAX:
                raise Plain(501, 'multipart body is broken')
            if at < 0 and len(rest) > len(edge):
                self.put(name, rest[:-len(edge)])
                rest = rest[-len(edge):]
        while left and (piece := stream.read(min(65536, left))):
            left -= len(piece)
        self.fields.update({key: value.decode(errors='surrogateescape') for key, value in self.parts.items()})

    def begin(self, head):
        """The name of the part that has these headers."""
        where = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head.lstrip()
                                                                              + b'\r\n\r\n')['content-disposition']
        name = where.params.get('name') if where else None
        if name is None or name in self.parts or (self.path and 'filename' in where.params):
            raise Plain(501, 'multipart body has a part without a name, or two of one')
        if 'filename' not in where.params:
            self.parts[name] = b''
            return name
        self.path = os.path.join(self.folder, 'file')
        self.fields['filename'] = os.path.basename(where.params['filename'])
        with open(self.path, 'wb'):
            return None

    def put(self, name, data):
        if name is not None:
            self.parts[name] += data
            if sum(map(len, self.parts.values())) > BODY_MAX:
                raise Plain(501, 'for data too large')
        elif self.path:
            with open(self.path, 'ab') as file:
                file.write(data)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'pve-api-daemon/3.0', ''
    disable_nagle_algorithm = True
    timeout = 120

    def setup(self):
        self.request.settimeout(self.timeout)
        super().setup()

    def handle(self):
        try:
            self.request.do_handshake()
            super().handle()
        except OSError:  # the client went, or trusts us not; SSLError is one, too
            self.close_connection = True

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    def __getattr__(self, name):
        if name.startswith('do_'):
            return self.serve
        raise AttributeError(name)

    # One request.

    def serve(self):
        began, self.seen = time.monotonic(), {'parameters': {}, 'caller': None, 'fault': None}
        path = urllib.parse.unquote(self.path.partition('?')[0], errors='surrogateescape')
        self.upload, self.unread = None, 0
        try:
            answer = functools.partial(self.write, 200, 'OK', self.result(path))
            self.seen.update(status=200, reason='OK')
        except ApiError as e:
            answer = functools.partial(self.fail, e, began)
            self.seen.update(status=e.status, reason=e.reason)
        except Gone:
            answer = self.reset
            self.seen.update(status=None, reason=None)
        finally:
            if self.upload:
                self.upload.close()
        # Before the answer: who has it may look for it at once.
        self.server.api.journal.add(node=self.server.node.name, method=self.command,
                                    path=path.removeprefix('/api2/json'),
                                    seconds=time.monotonic() - began, **self.seen)
        answer()

    def result(self, path):
        """The answer's body as an object."""
        if self.command not in METHODS:
            raise Plain(501, f"method '{self.command}' not available")
        if not path.startswith('/api2/json'):
            raise Plain(404, f"no such file '{path}'")
        path = '/' + path.removeprefix('/api2/json').strip('/')
        api, node = self.server.api, self.server.node
        length = self.length()
        rule = api.faults.here.rule = api.faults.draw(self.command, path, node.name)
        if rule:
            self.seen['fault'] = rule.fault
            self.before(rule)
        caller = self.caller(path, length)
        self.seen['caller'] = caller.name if caller else None
        given = self.parameters(length)
        self.seen['parameters'] = given
        answer = api.call(node, caller, self.command, path, given, self.upload)
        if rule:
            self.after(rule)
        return answer

    def before(self, rule):
        """What a fault does before anything else is done."""
        if rule.fault == 'slow':
            self.server.ended.wait(rule.seconds or 1)
        elif rule.fault in ('hang', 'reset', 'status'):
            self.strike(rule)

    def after(self, rule):
        """What a fault does instead of the answer."""
        if rule.fault in ('hang-after', 'reset-after', 'status-after'):
            self.strike(rule)

    def strike(self, rule):
        if rule.fault.startswith('hang'):
            self.wait_for_client(rule.seconds)
        elif rule.fault.startswith('status'):
            raise Plain(rule.status, rule.reason)
        raise Gone()

    def wait_for_client(self, seconds):
        """Until the client is gone, the server ends or the time is over."""
        until = time.monotonic() + (seconds or 3600)
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLRDHUP)
        while time.monotonic() < until and not self.server.ended.is_set() and not poll.poll(100):
            pass

    def length(self):
        length = self.headers.get('Content-Length') or '0'
        if not length.isdigit() or self.headers.get('Transfer-Encoding'):
            raise Plain(501, "chunked transfer encoding not supported")
        self.unread = int(length)
        if self.unread and self.command not in ('PUT', 'POST'):
            raise Plain(501, f"Unexpected content for method '{self.command}'")
        return self.unread

    def caller(self, path, length):
        """Who calls; None where anyone may."""
        access = self.server.api.cluster.access
        header = self.headers.get('Authorization') or ''
        if path == '/access/ticket':
            return None
        if header.startswith('PVEAPIToken='):
            if caller := access.by_token(urllib.parse.unquote(header.removeprefix('PVEAPIToken='))):
                return caller
            raise Plain(401, 'Authentication failed!')
        cookies = re.findall(r'(?:^|;\s*)PVEAuthCookie=([^;]*)', self.headers.get('Cookie') or '')
        if not cookies or not cookies[0]:
            raise Plain(401, 'No ticket')
        caller = access.by_ticket(urllib.parse.unquote(cookies[0]))
        if not caller:
            raise Plain(401, 'permission denied - invalid PVE ticket')
        upload = length and self.kind()[0] == 'multipart/form-data'
        csrf = self.headers.get('CSRFPreventionToken')
        if self.command != 'GET' and not upload and not access.csrf_is_right(caller, csrf):
            raise Plain(401, 'Permission denied - invalid csrf token')
        return caller

    def kind(self):
        kind, _, rest = (self.headers.get('Content-Type') or '').partition(';')
        boundary = re.search(r'boundary="?([^";]+)"?', rest)
        return kind.strip().lower(), boundary[1].encode() if boundary else None

    def parameters(self, length):
        given = form(self.path.partition('?')[2])
        if not length:
            return given
        kind, boundary = self.kind()
        if kind == 'multipart/form-data' and boundary:
            self.unread = 0
            self.upload = Upload(self.server.api.cluster.folder)
            self.upload.read(self.rfile, length, boundary)
            return {**given, **self.upload.fields}
        if length > BODY_MAX:
            raise Plain(501, 'for data too large')
        body, self.unread = self.rfile.read(length), 0
        if len(body) < length:
            raise Gone()
        if kind == 'application/json':
            try:
                more = json.loads(body)
            except ValueError as e:
                raise Plain(400, f'unable to parse JSON: {e}') from e
            if not isinstance(more, dict):
                raise Plain(400, 'unable to parse JSON: not an object')
        elif kind in ('application/x-www-form-urlencoded', ''):
            more = form(body.decode(errors='surrogateescape'))
        else:
            raise Plain(501, f"unsupported content type '{kind}'")
        return {**given, **more}

    # Answers.

    def fail(self, error, began):
        if error.status == 401:  # guessing is to be slow
            seconds = UNAUTHORIZED_SECONDS * self.server.api.cluster.pace
            self.server.ended.wait(max(0, began + seconds - time.monotonic()))
        if isinstance(error, Plain):
            self.close_connection = True
            text = '' if error.status == 401 else error.reason + ('\n' if error.status != 501 else '')
            self.write(error.status, error.reason, text.encode(errors='surrogateescape'))
            return
        body = {'data': None}
        if int(self.server.api.cluster.version['release'].partition('.')[0]) >= 9:
            body['message'] = error.message
        if error.errors:
            body['errors'] = error.errors
        if self.unread:
            self.close_connection = True
        self.write(error.status, error.reason, body)

    def write(self, status, reason, body):
        if isinstance(body, bytes):
            kind = 'text/plain'
        else:
            kind, body = 'application/json;charset=UTF-8', json.dumps(body).encode()
        now = formatdate(usegmt=True)
        head = [f'HTTP/1.1 {status} {reason}', 'Cache-Control: max-age=0', f'Date: {now}', 'Pragma: no-cache',
                'Server: pve-api-daemon/3.0', f'Content-Length: {len(body)}', f'Expires: {now}',
                'Connection: ' + ('close' if self.close_connection else 'Keep-Alive')]
        if body:
            head.append(f'Content-Type: {kind}')
        self.wfile.write('\r\n'.join(head).encode(errors='surrogateescape') + b'\r\n\r\n' + body)
        # Who still sends would not see the answer: some is read, but not all that somebody may have.
        if self.unread:
            self.rfile.read(min(self.unread, 2 * BODY_MAX))

    def reset(self):
        """RST, as from a machine that lost the connection."""
        self.close_connection = True
        raw = socket.socket(fileno=self.connection.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        raw.close()

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass  # the connection was reset


class NodeServer(http.server.ThreadingHTTPServer):
    """A node's pveproxy."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, api, node, certificate, key):
        self.api, self.node, self.ended = api, node, threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.open, self.open_lock = set(), threading.Lock()
        if ':' in node.address:
            self.address_family = socket.AF_INET6
        super().__init__((node.address, node.port), Handler)
        node.port = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name='node ' + node.name)
        self.thread.start()

    def server_bind(self):
        # Not http.server's own: it would look up the name of the address.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def get_request(self):
        raw, address = super().get_request()
        connection = self.context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        with self.open_lock:
            self.open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        with self.open_lock:
            self.open.discard(request)
        if request.fileno() >= 0:
            super().shutdown_request(request)

    def handle_error(self, request, client_address):
        self.api.note_error()

    def end(self):
        """As when the node loses its power: nobody gets an answer any more."""
        self.ended.set()
        self.shutdown()
        self.server_close()
        with self.open_lock:
            left = list(self.open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()
