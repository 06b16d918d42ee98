"""Docker's token protocol for Debian's docker-registry: a server that gives tokens to who may do what."""

import base64
import http.server
import json
import os
import subprocess
import threading
import time
import uuid
from urllib.parse import parse_qs, urlsplit

from registry import make_certificate


def _text(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


class TokenServer:
    """`rights` are (user or None, prefix of repositories, actions); who has none for a scope gets a token without it, as from real ones.
    `asked` are the scopes of each request. `lasts_s`: how long a token is good."""

    def __init__(self, directory, users, rights, lasts_s=300):
        os.makedirs(directory, exist_ok=True)
        self.users, self.rights, self.lasts_s, self.asked = users, rights, lasts_s, []
        cert = os.path.join(directory, 'token.crt')
        self.key = os.path.join(directory, 'token.key')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=tokens', '-keyout', self.key,
                        '-out', cert], check=True, stderr=subprocess.DEVNULL)
        with open(cert, encoding='ascii') as f:
            self.chain = [''.join(f.read().split('-----')[2].split())]
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request for a token."""

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

            def do_GET(self):  # pylint: disable=invalid-name
                query = parse_qs(urlsplit(self.path).query)
                user = outer.user_of(self.headers.get('Authorization'))
                outer.asked.append(query.get('scope', []))
                if user is False:
                    self.send_response(401)
                    self.end_headers()
                    return
                body = json.dumps({'token': outer.token(user, query.get('scope', [])), 'expires_in': outer.lasts_s}).encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.address = f'127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.auth = (f'auth:\n  token:\n    realm: http://{self.address}/token\n    service: tests\n    issuer: token-tests\n'
                     f'    rootcertbundle: {cert}\n')

    def user_of(self, header):
        """None is nobody, False somebody unknown."""
        if not header:
            return None
        user, _, password = base64.b64decode(header.split()[1]).decode().partition(':')
        return user if self.users.get(user) == password else False

    def granted(self, user, scope):
        kind, name, actions = scope.split(':')
        allowed = {a for who, prefix, what in self.rights if who in (None, user) and name.startswith(prefix) for a in what}
        return {'type': kind, 'name': name, 'actions': sorted(allowed & set(actions.split(',')))}

    def token(self, user, scopes):
        now = int(time.time())
        head = {'typ': 'JWT', 'alg': 'RS256', 'x5c': self.chain}
        claims = {'iss': 'token-tests', 'sub': user or '', 'aud': 'tests', 'exp': now + self.lasts_s, 'nbf': now - 10, 'iat': now,
                  'jti': uuid.uuid4().hex, 'access': [self.granted(user, s) for s in scopes]}
        text = '.'.join(_text(json.dumps(part).encode()) for part in (head, claims))
        signature = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', self.key], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
        return f'{text}.{_text(signature)}'

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
