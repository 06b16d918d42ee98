"""A registry that misbehaves on purpose, in this process."""

import http.server
import json
import threading
import time

from oci import digest


class Fake:
    """Serves blobs and manifests from memory. `rules` are (path part, function) pairs: the
    function gets the request handler and answers in its own way; True when it did."""

    def __init__(self, tls=None):
        self.blobs, self.manifests, self.rules, self.requests = {}, {}, [], []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

            def answer(self, status, body=b'', **headers):
                if isinstance(body, str):
                    body = body.encode()
                self.send_response(status)
                headers.setdefault('Content_Length', str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace('_', '-'), value)
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(body)

            def do_GET(self):  # pylint: disable=invalid-name
                fake.requests.append((self.command, self.path, dict(self.headers)))
                try:
                    for part, rule in list(fake.rules):
                        if part in self.path and rule(self):
                            return
                    fake.serve(self)
                except (BrokenPipeError, ConnectionError):
                    self.close_connection = True

            do_HEAD = do_GET

        class Server(http.server.ThreadingHTTPServer):
            """Threads that don't hold up the end."""
            daemon_threads = True

        self.server = Server(('127.0.0.1', 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.address = f'127.0.0.1:{self.server.server_address[1]}'
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def serve(self, request):
        path = request.path.split('?')[0]
        kind, _, name = path.rpartition('/')
        if path == '/v2/':
            request.answer(200, '{}')
        elif kind.endswith('/manifests') and name in self.manifests:
            media_type, data = self.manifests[name]
            request.answer(200, data, Content_Type=media_type, Docker_Content_Digest=digest(data))
        elif kind.endswith('/blobs') and name in self.blobs:
            self.serve_blob(request, self.blobs[name])
        else:
            request.answer(404, json.dumps({'errors': [{'code': 'MANIFEST_UNKNOWN',
                                                        'message': 'no such thing'}]}))

    @staticmethod
    def serve_blob(request, data):
        wanted = request.headers.get('Range', '')
        if wanted.startswith('bytes='):
            first = int(wanted[6:].split('-')[0])
            request.answer(206, data[first:],
                           Content_Range=f'bytes {first}-{len(data) - 1}/{len(data)}')
        else:
            request.answer(200, data, Content_Type='application/octet-stream')

    def add(self, image, tag='1'):
        """Serves the image; what to pull."""
        for blob in image.blobs():
            self.blobs[digest(blob)] = blob
        for name in (tag, image.digest()):
            self.manifests[name] = image.media_type(), image.manifest
        return f'{self.address}/fake:{tag}'

    def when(self, part, rule):
        self.rules.append((part, rule))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def slowly(seconds):
    """A rule that waits, then lets the request be served."""
    def rule(_):
        time.sleep(seconds)
        return False
    return rule
