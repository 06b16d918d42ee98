"""A Proxmox VE cluster for tests (tests/pve-server), and the configuration of daemons on its first node.

Run inside `LXCRI_TEST_NODE=1 tests/lib/isolated`.
"""

import json
import os
import subprocess
import sys

LIB = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.join(os.path.dirname(LIB), 'pve-server')
sys.path.append(SERVER)
ENVIRONMENT = 'LXCRI_TEST_PROXMOX'  # names a file that tells processes below of the cluster; see describe()
MORE = 'LXCRI_TEST_PROXMOX_MORE'  # keys of `proxmox` for the next daemons, as JSON
WARM_POOL = 'LXCRI_TEST_WARM_POOL'  # size of the next daemons' warm pools
PREPARED = '- prepared from: '  # in the description of a container that waits for a pod
RANGE = 100  # numbers of containers that each daemon has for itself


class Cluster:
    """One that runs: .control for what only a test can do to it, .client for what an administrator does."""

    def __init__(self, nodes, token, control_path):
        from client import Client, Control  # pylint: disable=import-outside-toplevel
        self.nodes, self.node = nodes, next(iter(nodes))
        self.control = Control(control_path)
        self.client = Client(type('Node', (), nodes[self.node]), token=token)

    def made(self):
        """The containers that daemons made: number -> node, configuration, whether it runs."""
        return {int(vmid): guest for vmid, guest in self.control.do('guests').items()
                if 'proxmox-lxcri' in guest['config'].get('tags', '')}

    def ours(self):
        """Those of them that are pods'."""
        return {vmid: guest for vmid, guest in self.made().items() if PREPARED not in guest['config'].get('description', '')}

    def prepared(self):
        """And those that wait for pods."""
        return {vmid: guest for vmid, guest in self.made().items() if PREPARED in guest['config'].get('description', '')}

    def of(self, pod):
        """A pod's container: number and the rest."""
        found = [(vmid, guest) for vmid, guest in self.ours().items() if pod.id in guest['config']['description']]
        assert len(found) == 1, found
        return found[0]

    def administrator(self, method, vmid, path='', **parameters):
        """The exit status of the task that it starts."""
        made = self.made()
        node = made[vmid]['node'] if vmid in made else self.node
        return self.client.task(method, f'/nodes/{node}/lxc/{vmid}{path}', **parameters)

    def close(self):
        self.control.close()


class Proxmox(Cluster):
    """Starts it. Each of `nodes` is an address and port of its own."""

    def __init__(self, directory, nodes=('pve1', 'pve2'), pace=0.1):
        self.directory = directory
        os.makedirs(directory)
        self.log_path = os.path.join(directory, 'server.log')
        self.secret_file = os.path.join(directory, 'secret')
        where = [word for i, name in enumerate(nodes) for word in ('--node', f'{name}=127.0.0.1:{18006 + i}')]
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                [os.path.join(SERVER, 'serve'), '--folder', directory, '--token-file', self.secret_file, '--pace', str(pace), *where],
                stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f'the Proxmox VE server did not start:\n{self.log_tail()}')
        said = json.loads(line)
        with open(self.secret_file, encoding='utf-8') as f:
            self.token_id, self.token = said['token'], f'{said["token"]}={f.read().strip()}'
        super().__init__(said['nodes'], self.token, said['control'])
        self.control_path = said['control']

    def log_tail(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()[-8000:]

    def describe(self):
        """Writes down for ENVIRONMENT what processes below need to know."""
        path = os.path.join(self.directory, 'describe.json')
        keys = {'hosts': [f'{one["address"]}:{one["port"]}' for one in self.nodes.values()],
                'fingerprints': [one['fingerprint'] for one in self.nodes.values()],
                'node': self.node, 'token-id': self.token_id, 'token-file': self.secret_file,
                'storage': 'btr', 'rootfs-size': '0'}
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'keys': keys, 'nodes': self.nodes, 'token': self.token, 'control': self.control_path}, f)
        return path

    def stop(self):
        """Ends it. Tracebacks of its own mistakes."""
        mistakes = self.control.do('mistakes')
        self.control.close()
        self.process.terminate()
        self.process.wait(30)
        return mistakes


def described():
    with open(os.environ[ENVIRONMENT], encoding='utf-8') as f:
        return json.load(f)


def attach():
    """The cluster that with-proxmox has started."""
    said = described()
    return Cluster(said['nodes'], said['token'], said['control'])


def daemon_config(build):
    """Text for the configuration of a daemon, where there is a cluster: pods that name no handler go there."""
    if ENVIRONMENT not in os.environ:
        return ''
    keys = described()['keys']
    first = 5000 + RANGE * daemon_config.count
    daemon_config.count += 1
    keys.update({'vmid-range': f'{first}-{first + RANGE - 1}',
                 'template-file': os.path.join(build, 'src', 'init', 'proxmox-lxcri-sandbox.tar.gz'),
                 **json.loads(os.environ.get(MORE, '{}'))})
    keys['warm-pool'] = 0 if 'network' in keys else int(os.environ.get(WARM_POOL, '0'))
    keys = {key: value for key, value in keys.items() if value is not None}
    return f'proxmox: {json.dumps(keys)}\ndefault-runtime-handler: proxmox\n'


daemon_config.count = 0
