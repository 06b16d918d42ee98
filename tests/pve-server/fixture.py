"""The server as a program of its own, for tests elsewhere:

    with fixture.Cluster(folder, ['pve1', 'pve2']) as cluster:
        cluster.client('pve1').get('/version')
        cluster.control.do('fault', fault='reset', count=1)

They must run where the server can (README.md), and a test that ends with `mistakes` has found one of the server's own.
"""

import json
import os
import signal
import subprocess
import sys

from client import SLOW, Client, Control

HERE = os.path.dirname(os.path.abspath(__file__))
END_SECONDS = 60 * SLOW


class Node:
    """Where a node answers: address, port, fingerprint, certificate (a file)."""

    def __init__(self, name, address, port, fingerprint, certificate):
        self.name, self.address, self.port = name, address, port
        self.fingerprint, self.certificate = fingerprint, certificate

    @property
    def url(self):
        return f'https://{self.address}:{self.port}'


class Cluster:
    """A running server, over when its `with` is.

    nodes: {name: Node}; token_id, token_file: a token of root@pam and the file with its secret; token: both, as in
    the header; control: the control socket
    """

    def __init__(self, folder, names=('pve1',), pace=0.05):
        self.folder = str(folder)
        self.token_file = self.folder + '.token'
        nodes = [word for name in names for word in ('--node', f'{name}=127.0.0.1:0')]
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [sys.executable, os.path.join(HERE, 'serve'), '--folder', self.folder, '--token-file', self.token_file,
             '--pace', str(pace), *nodes], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f'the test server ended with {self.process.wait()} before it was ready')
        ready = json.loads(line)
        self.nodes = {name: Node(name, **where) for name, where in ready['nodes'].items()}
        self.control = Control(ready['control'])
        self.token_id = ready['token']
        with open(self.token_file, encoding='utf-8') as file:
            self.token = f'{self.token_id}={file.read().strip()}'

    def client(self, node, token=None):
        return Client(self.nodes[node], token or self.token)

    def mistakes(self):
        """Tracebacks of the server's own mistakes."""
        return self.control.do('mistakes')

    def end(self):
        """Its exit status."""
        self.control.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
