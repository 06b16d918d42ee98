"""Starting a CRI runtime for tests: our daemon from build/, or Debian's containerd.

Run inside tests/lib/isolated: the processes share its namespaces and end with it.
"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from patience import PATIENCE, SLOW
from proxmox import daemon_config

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CNI_BIN = next((d for d in ('/usr/lib/cni', '/opt/cni/bin') if os.path.exists(d + '/bridge')),
               '/usr/lib/cni')


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def write_cni(directory, name='test', bridge='lxcri0', subnet='10.88.0.0/16', data_dir=None):
    """A network of Debian's plug-ins: bridge, host-local, portmap."""
    write(os.path.join(directory, '10-test.conflist'), json.dumps({
        'cniVersion': '1.0.0', 'name': name, 'plugins': [
            {'type': 'bridge', 'bridge': bridge, 'isGateway': True, 'ipMasq': True,
             'ipam': {'type': 'host-local', 'ranges': [[{'subnet': subnet}]],
                      'routes': [{'dst': '0.0.0.0/0'}],
                      'dataDir': data_dir or os.path.join(directory, 'ipam')}},
            {'type': 'portmap', 'capabilities': {'portMappings': True}, 'snat': True}]}))


class Runtime:
    """What both have in common: folders of their own, a process, a socket."""

    def __init__(self, directory):
        self.directory = directory
        self.root = os.path.join(directory, 'root')
        self.state = os.path.join(directory, 'state')
        self.socket = os.path.join(self.state, 'runtime.sock')
        self.cni_conf = os.path.join(directory, 'cni')
        self.log_path = os.path.join(directory, 'daemon.log')
        self.process = None
        for path in (self.root, self.state, self.cni_conf):
            os.makedirs(path, exist_ok=True)

    @property
    def endpoint(self):
        return 'unix://' + self.socket

    def command(self):
        raise NotImplementedError

    def start(self, timeout=PATIENCE * SLOW):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f'the daemon ended with {self.process.returncode}:\n'
                                   + self.log_tail())
            with socket.socket(socket.AF_UNIX) as s:
                try:
                    s.connect(self.socket)
                    return self
                except OSError:
                    time.sleep(0.01)
        raise RuntimeError('no socket from the daemon:\n' + self.log_tail())

    def log_tail(self, size=8000):
        with open(self.log_path, 'rb') as f:
            f.seek(max(0, os.path.getsize(self.log_path) - size))
            return f.read().decode(errors='replace')

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=PATIENCE * SLOW):
        """Ends the daemon in the orderly way; its exit status."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            where = self.threads()
            self.kill()
            raise RuntimeError(f'the daemon ignored SIGTERM; its threads:\n{where}\n'
                               + self.log_tail()) from None

    def threads(self):
        """What each thread of the daemon waits for, for the message of a test that failed."""
        found = []
        for task in glob.glob(f'/proc/{self.process.pid}/task/*'):
            texts = []
            for name in ('comm', 'wchan', 'syscall'):
                with open(os.path.join(task, name), encoding='utf-8') as f:
                    texts.append(f.read().strip())
            found.append(f'{os.path.basename(task)} ' + ' '.join(texts))
        return '\n'.join(found)


class Lxcri(Runtime):
    """proxmox-lxcrid. `registries` are entries of the configuration's list of that name."""

    def __init__(self, directory, registries=(), config='', build=None, cgroup_parent=None,
                 bridge='lxcri0', subnet='10.88.0.0/16', args=()):
        super().__init__(directory)
        self.build = build or os.environ.get('LXCRI_BUILD') or os.path.join(REPO, 'build')
        self.cgroup_parent = cgroup_parent or os.environ.get('LXCRI_TEST_ID', 'lxcri-test')
        self.config = os.path.join(directory, 'config.yaml')
        self.args = list(args)
        write(self.config, config + engine_config(config) + snapshotter_config(config, directory) + daemon_config(self.build) + registries_yaml(registries))
        write_cni(self.cni_conf, bridge=bridge, subnet=subnet,
                  data_dir=os.path.join(directory, 'ipam'))

    def program(self, name='proxmox-lxcri'):
        return os.path.join(self.build, name)

    def command(self):
        return [self.program('proxmox-lxcrid'), '--config', self.config, '--root', self.root,
                '--state', self.state, '--socket', self.socket,
                '--cni-conf-dir', self.cni_conf, '--cni-bin-dir', CNI_BIN,
                '--keeper-path', self.program('proxmox-lxcri-keeper'),
                '--init-path', self.program('proxmox-lxcri-init'),
                '--cgroup-parent', self.cgroup_parent,
                '--log-level', os.environ.get('LXCRI_LOG_LEVEL', 'debug'), *self.args]

    def cli(self, *args, check=True, **more):
        """proxmox-lxcri, the command line: a CompletedProcess."""
        done = subprocess.run([self.program(), '--socket', self.socket, *args], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE * SLOW, **more)
        if check and done.returncode:
            print(done.stderr)  # the error itself doesn't say what it was
            done.check_returncode()
        return done


def engine_config(own):
    """For tests/integration/run --engine: who makes the containers of daemons that have no handlers of their own."""
    engine = os.environ.get('LXCRI_TEST_ENGINE')
    if not engine or 'runtime-handler' in own:
        return ''
    return f'default-runtime-handler: other\nruntime-handlers: {{other: {{engine: {engine}}}}}\n'


def snapshotter_config(own, directory):
    """For tests/integration/run --snapshotter and --idmap. ZFS' pool is $LXCRI_TEST_ZFS; each store has a dataset of its own there."""
    name, idmap = os.environ.get('LXCRI_TEST_SNAPSHOTTER'), os.environ.get('LXCRI_TEST_IDMAP')
    text = f'idmap: {idmap}\n' if idmap and 'idmap' not in own else ''
    if not name or 'snapshotter' in own:
        return text
    text += f'snapshotter: {name}\n'
    if name == 'zfs':
        text += f'zfs-dataset: {os.environ["LXCRI_TEST_ZFS"]}/{directory.strip("/").replace("/", "-")}\n'
    return text


def registries_yaml(registries):
    """[{'host': ..., 'mirrors': [...], ...}] as the configuration's `registries`."""
    return 'registries: ' + json.dumps(list(registries)) + '\n' if registries else ''


def oci_runtime():
    """The OCI runtime to test, a path: $LXCRI_OCI_RUNTIME, else ours from build/."""
    wanted = os.environ.get('LXCRI_OCI_RUNTIME')
    if wanted:
        return shutil.which(wanted) or wanted
    return os.path.join(os.environ.get('LXCRI_BUILD') or os.path.join(REPO, 'build'), 'proxmox-lxcri')


def has_systemd():
    """Is systemd to make the control groups? Then tests/lib/isolated gives no ids of processes that it doesn't know."""
    return 'LXCRI_OCI_SYSTEMD' in os.environ


class Containerd(Runtime):
    """Debian's containerd. With its own runc it shows that the tests and images are right; @oci_runtime is another one."""

    def __init__(self, directory, mirrors=None, oci_runtime='', systemd=False, **network):
        super().__init__(directory)
        self.config = os.path.join(directory, 'containerd.toml')
        self.oci_root = os.path.join(directory, 'oci')
        lines = [
            'version = 2', f'root = "{self.root}"', f'state = "{self.state}"',
            'disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", '
            '"io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]',
            '[grpc]', f'address = "{self.socket}"',
            '[plugins."io.containerd.grpc.v1.cri"]',
            'restrict_oom_score_adj = true',
            f'disable_apparmor = {str(not os.path.exists("/sys/kernel/security/apparmor/profiles")).lower()}',
            f'sandbox_image = "{(mirrors or {}).get("", "")}"',
            '[plugins."io.containerd.grpc.v1.cri".containerd]', 'default_runtime_name = "oci"',
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci]', 'runtime_type = "io.containerd.runc.v2"',
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci.options]',
            f'BinaryName = "{oci_runtime}"', f'Root = "{self.oci_root}"', f'SystemdCgroup = {str(systemd).lower()}',
            '[plugins."io.containerd.grpc.v1.cri".cni]',
            f'bin_dir = "{CNI_BIN}"', f'conf_dir = "{self.cni_conf}"']
        for host, address in (mirrors or {}).items():
            if host:
                lines += [f'[plugins."io.containerd.grpc.v1.cri".registry.mirrors."{host}"]',
                          f'endpoint = ["http://{address}"]']
        write(self.config, '\n'.join(lines) + '\n')
        write_cni(self.cni_conf, data_dir=os.path.join(directory, 'ipam'), **network)

    def command(self):
        return ['containerd', '-c', self.config]

    def stop(self, timeout=PATIENCE * SLOW):
        status = super().stop(timeout)
        for group in glob.glob('/sys/fs/cgroup/k8s.io') + glob.glob('/sys/fs/cgroup/*/k8s.io'):
            try:
                os.rmdir(group)
            except OSError:
                pass  # of another containerd, and in use
        return status
