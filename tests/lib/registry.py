"""Debian's docker-registry on a loopback port: plain, with a password, with tokens (token_server.py), or with TLS."""

import ctypes
import http.client
import os
import socket
import ssl
import subprocess
import time

REGISTRY = '/usr/bin/docker-registry'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def make_certificate(directory, name='localhost', ip='127.0.0.1'):
    """A self-signed certificate for an address, which is its own CA: (certificate, key)."""
    cert, key = os.path.join(directory, 'registry.crt'), os.path.join(directory, 'registry.key')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=' + name,
                    '-addext', f'subjectAltName=DNS:{name},IP:{ip}', '-keyout', key,
                    '-out', cert], check=True, stderr=subprocess.DEVNULL)
    return cert, key


class Registry:
    """A running registry; `auth` is a part of its configuration in place of `user`; `clients` is the certificate authority of those who may ask it. `address` is host:port. Stop it with stop() or use it in `with`."""

    def __init__(self, directory, user=None, password=None, tls=False, clients=None, host='127.0.0.1', auth=''):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.tls = directory, tls
        self.address = f'{host}:{free_port()}'
        self.ca_file = self.client = None
        http_part = f'http:\n  addr: {self.address}\n  secret: tests\n'
        if tls:
            self.ca_file, key = make_certificate(directory, ip=host)
            http_part += f'  tls:\n    certificate: {self.ca_file}\n    key: {key}\n'
            if clients:
                http_part += f'    clientcas: [{clients}]\n'
                self.client = (clients, clients.replace('.crt', '.key'))
        if user:
            auth = f'auth:\n  htpasswd:\n    realm: tests\n    path: {self._htpasswd(user, password)}\n'
        config = os.path.join(directory, 'config.yml')
        with open(config, 'w', encoding='utf-8') as f:
            f.write('version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n'
                    f'storage:\n  filesystem:\n    rootdirectory: {directory}/data\n'
                    '  delete:\n    enabled: true\n' + http_part + auth)
        self.log = open(os.path.join(directory, 'log'), 'ab')
        self.process = subprocess.Popen([REGISTRY, 'serve', config], stdout=self.log,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        env={**os.environ, 'OTEL_TRACES_EXPORTER': 'none'})
        self._wait()

    def _htpasswd(self, user, password):
        # bcrypt is the only form that the registry takes; crypt(3) has it.
        library = ctypes.CDLL('libcrypt.so.1')
        library.crypt.restype = library.crypt_gensalt.restype = ctypes.c_char_p
        entry = library.crypt(password.encode(), library.crypt_gensalt(b'$2b$', 5, None, 0))
        path = os.path.join(self.directory, 'htpasswd')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'{user}:{entry.decode()}\n')
        return path

    def connection(self):
        host, port = self.address.split(':')
        if self.tls:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.client:
                context.load_cert_chain(*self.client)
            return http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
        return http.client.HTTPConnection(host, int(port), timeout=10)

    def _wait(self):
        for _ in range(200):
            if self.process.poll() is not None:
                break
            try:
                conn = self.connection()
                conn.request('GET', '/v2/')
                conn.getresponse().read()
                return
            except OSError:
                time.sleep(0.05)
        with open(self.log.name, encoding='utf-8') as f:
            raise RuntimeError('docker-registry did not start: ' + f.read()[-2000:])

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
