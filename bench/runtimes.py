"""The runtimes under measurement: ours, and the newest containerd and CRI-O, both with crun, in the chroot of bench/peers.

Each daemon gets a control group of its own below one for it and its pods, so that CPU time can be told apart.
"""

import os
import subprocess

from runtime import CNI_BIN, Containerd, Lxcri, Runtime, write, write_cni

HERE = os.path.dirname(os.path.abspath(__file__))
TMP = os.environ.get('LXCRI_TEST_TMP', '')
ID = os.environ.get('LXCRI_TEST_ID', 'lxcri-bench')


def cgroup_mounts():
    """[(mount point, controllers)] of the hierarchies of v1 that have controllers; of v2 when there are none."""
    v1, v2 = [], []
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        for line in f:
            fields, _, end = line.partition(' - ')
            kind, _, options = end.split()
            if kind == 'cgroup' and 'name=' not in options:
                v1.append((fields.split()[4], options.split(',')))
            elif kind == 'cgroup2':
                v2.append((fields.split()[4], []))
    return v1 or v2[:1]


def first_share():
    """The group that all of this run is in, which goes before whatever else this machine does (v1: cpu.shares; v2 where
    the controller is enabled): as far as that helps, its neighbours' load is not measured."""
    mount = next((m for m, c in cgroup_mounts() if 'cpu' in c), cgroup_mounts()[0][0])
    group = os.path.join(mount, ID)
    os.makedirs(group, exist_ok=True)
    for name, most in (('cpu.shares', '262144'), ('cpu.weight', '10000')):
        if os.path.exists(os.path.join(group, name)):
            with open(os.path.join(group, name), 'w', encoding='ascii') as f:
                f.write(most)
    return group


def join_first_share():
    """This process, the client."""
    folder = os.path.join(first_share(), 'client')
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'cgroup.procs'), 'w', encoding='ascii') as f:
        f.write('0')


class Cpu:
    """CPU time of a daemon (with what stays in its group: shims, keeper) and of all, its pods included."""

    def __init__(self, name):
        mount, self.v1 = next(((m, True) for m, c in cgroup_mounts() if 'cpuacct' in c),
                              (cgroup_mounts()[0][0], False))
        self.all = os.path.join(mount, ID, name)
        self.daemon = os.path.join(self.all, 'daemon')
        folders = {self.daemon, os.path.join(first_share(), name, 'daemon')}
        self.groups = [os.path.join(folder, 'cgroup.procs') for folder in folders]
        for folder in folders:
            os.makedirs(folder, exist_ok=True)

    def _ms(self, folder):
        with open(os.path.join(folder, 'cpuacct.usage' if self.v1 else 'cpu.stat'), encoding='ascii') as f:
            return int(f.read()) / 1e6 if self.v1 else int(f.readline().split()[1]) / 1e3

    def daemon_ms(self):
        return self._ms(self.daemon)

    def all_ms(self):
        return self._ms(self.all)

    def start_in(self, command):
        """The command, begun inside the groups of the daemon."""
        join = ''.join(f'echo $$ >{group} && ' for group in self.groups)
        return ['sh', '-c', join + 'exec "$0" "$@"', *command]


def remove_pod_cgroup(path):
    """What kubelet does with the group it made for a pod."""
    for mount, _ in cgroup_mounts():
        try:
            os.rmdir(mount + path)
        except OSError:
            pass  # another hierarchy, or not empty yet


class Chroot:
    """The folder of bench/peers as a root: our /proc, /dev, temporary folder, network plug-ins, and fresh folders to
    write to. The control groups are this host's, without the v2 one of a hybrid host, which crun refuses to work with."""

    def __init__(self, folder):
        self.root = folder
        # Twice: pivot_root wants the parent of the root it is called in to be private.
        for _ in range(2):
            self.mount('--bind', folder, '/')
            self.mount('--make-private', '/')
        for path in ('/run', '/tmp', '/var/lib', '/etc/containers', '/etc/crio'):
            self.mount('-t', 'tmpfs', 'tmpfs', path)
        for path in ('/proc', '/dev'):
            self.mount('--rbind', path, path)
        self.mount('-t', 'sysfs', 'sysfs', '/sys')
        mounts = cgroup_mounts()
        if len(mounts) > 1:
            self.mount('-t', 'tmpfs', 'tmpfs', '/sys/fs/cgroup')
            for path, _ in mounts:
                self.mount('--bind', path, os.path.join('/sys/fs/cgroup', os.path.basename(path)))
        else:
            self.mount('--bind', mounts[0][0], '/sys/fs/cgroup')
        self.mount('--bind', CNI_BIN, CNI_BIN)
        self.mount('--rbind', TMP, TMP)

    def mount(self, *args):
        *args, target = args
        target = self.root + target.rstrip('/')
        os.makedirs(target, exist_ok=True)
        subprocess.run(['mount', *args, target], check=True)

    def command(self, *command):
        return ['chroot', self.root, '/usr/bin/env', '-i', 'PATH=/usr/local/bin:/usr/sbin:/usr/bin', *command]


class Ours(Lxcri):
    def __init__(self, directory, cpu):
        super().__init__(directory)
        self.cpu = cpu

    def command(self):
        return self.cpu.start_in(super().command())


class DebianContainerd(Containerd):
    """This host's containerd and runc, where the newest can't be fetched."""

    def __init__(self, directory, cpu, sandbox_image):
        super().__init__(directory, {'': sandbox_image})
        self.cpu = cpu
        write_cni(self.cni_conf, bridge='lxcri1', subnet='10.89.0.0/16', data_dir=os.path.join(directory, 'ipam'))

    def command(self):
        return self.cpu.start_in(super().command())


class ContainerdCrun(Runtime):
    def __init__(self, directory, cpu, chroot, sandbox_image):
        super().__init__(directory)
        self.cpu, self.chroot = cpu, chroot
        self.config = os.path.join(directory, 'containerd.toml')
        cri = "plugins.'io.containerd.cri.v1"
        write(self.config, f"""version = 3
root = '{self.root}'
state = '{self.state}'
disabled_plugins = ['io.containerd.nri.v1.nri', 'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.devmapper']
[grpc]
address = '{self.socket}'
[{cri}.images']
snapshotter = 'overlayfs'
[{cri}.images'.pinned_images]
sandbox = '{sandbox_image}'
[{cri}.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
[{cri}.runtime'.containerd]
default_runtime_name = 'crun'
[{cri}.runtime'.containerd.runtimes.crun]
runtime_type = 'io.containerd.runc.v2'
[{cri}.runtime'.containerd.runtimes.crun.options]
BinaryName = '/usr/bin/crun'
[{cri}.runtime'.cni]
bin_dirs = ['{CNI_BIN}']
conf_dir = '{self.cni_conf}'
""")
        write_cni(self.cni_conf, bridge='lxcri1', subnet='10.89.0.0/16', data_dir=os.path.join(directory, 'ipam'))

    def command(self):
        return self.cpu.start_in(self.chroot.command('containerd', '-c', self.config))


class Crio(Runtime):
    """With an OCI runtime: its name and its path in the chroot."""

    def __init__(self, directory, cpu, chroot, sandbox_image, oci=('crun', '/usr/bin/crun')):
        super().__init__(directory)
        self.cpu, self.chroot = cpu, chroot
        self.config = os.path.join(directory, 'crio.conf')
        registry = sandbox_image.partition('/')[0]
        write(os.path.join(chroot.root, 'etc/containers/policy.json'), '{"default": [{"type": "insecureAcceptAnything"}]}')
        write(os.path.join(chroot.root, 'etc/containers/registries.conf'),
              f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
        write(self.config, f"""[crio]
root = "{self.root}"
runroot = "{self.state}/storage"
storage_driver = "overlay"
log_dir = "{directory}/logs"
version_file = "{self.state}/version"
clean_shutdown_file = "{self.state}/clean"
[crio.api]
listen = "{self.socket}"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
default_runtime = "{oci[0]}"
namespaces_dir = "{self.state}/ns"
pinns_path = "/usr/local/bin/pinns"
container_exits_dir = "{self.state}/exits"
container_attach_socket_dir = "{self.state}/attach"
apparmor_profile = "unconfined"
hooks_dir = []
[crio.runtime.runtimes.{oci[0]}]
runtime_path = "{oci[1]}"
runtime_type = "oci"
runtime_root = "{self.state}/{oci[0]}"
monitor_path = "/usr/bin/conmon"
monitor_cgroup = "pod"
[crio.image]
pause_image = "{sandbox_image}"
pause_command = ""
[crio.network]
network_dir = "{self.cni_conf}"
plugin_dirs = ["{CNI_BIN}"]
[crio.nri]
enable_nri = false
""")
        write_cni(self.cni_conf, bridge='lxcri2', subnet='10.95.0.0/16', data_dir=os.path.join(directory, 'ipam'))

    def command(self):
        # Without its drop-in folder: only what this file says.
        command = self.chroot.command('crio', '--config', self.config, '--config-dir', '')
        return self.cpu.start_in(command) if self.cpu else command
