"""Debian's Podman and Buildah with folders of their own and an OCI runtime of the test's choice.

Run inside tests/lib/isolated: conmon, containers and networks end with its namespaces.
"""

import json
import os
import subprocess
import time

from cri import SLOW, eventually
from leftovers import processes
from patience import PATIENCE
from runtime import has_systemd, oci_runtime, write

POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


class Podman:
    """podman(...) runs a command of podman's and gives a CompletedProcess."""

    def __init__(self, directory, runtime=None, cgroup_manager=None, insecure=()):
        self.directory = directory
        self.runtime = runtime or oci_runtime()
        self.name = os.path.basename(self.runtime)
        self.cgroup_manager = cgroup_manager or ('systemd' if has_systemd() else 'cgroupfs')
        self.cgroup_parent = self._cgroup_parent()
        self.root, self.run_root, self.tmp = (os.path.join(directory, d) for d in ('root', 'run', 'tmp'))
        conf = os.path.join(directory, 'containers.conf')
        known = json.dumps([self.name])
        no_cgroups = json.dumps([name for name in (self.name,) if name != 'runc'])
        write(conf, '\n'.join([
            '[containers]', 'log_driver = "k8s-file"', 'umask = "0022"', 'pids_limit = 0',
            '[network]', 'network_backend = "netavark"', f'network_config_dir = "{directory}/networks"',
            'default_subnet = "10.90.0.0/16"',
            '[engine]', f'cgroup_manager = "{self.cgroup_manager}"', 'events_logger = "file"', 'lock_type = "file"',
            f'tmp_dir = "{self.tmp}"', f'static_dir = "{self.root}/libpod"', f'volume_path = "{self.root}/volumes"',
            f'runtime = "{self.name}"', f'runtime_supports_json = {known}', f'runtime_supports_nocgroup = {no_cgroups}',
            '[engine.runtimes]', f'{self.name} = ["{self.runtime}"]']) + '\n')
        storage = os.path.join(directory, 'storage.conf')
        write(storage, f'[storage]\ndriver = "overlay"\ngraphroot = "{self.root}"\nrunroot = "{self.run_root}"\n')
        registries = os.path.join(directory, 'registries.conf')
        write(registries, 'unqualified-search-registries = []\n' + ''.join(
            f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in insecure))
        write(os.path.join(directory, 'policy.json'), POLICY)
        self.made, self.pods = [], []
        self.env = {**os.environ, 'CONTAINERS_CONF': conf, 'CONTAINERS_STORAGE_CONF': storage,
                    'CONTAINERS_REGISTRIES_CONF': registries, 'XDG_RUNTIME_DIR': os.path.join(directory, 'xdg'),
                    'TMPDIR': os.path.join(directory, 'var'), 'HOME': os.path.join(directory, 'home'),
                    'BUILDAH_ISOLATION': 'oci', 'BUILDAH_RUNTIME': self.runtime}
        for name in ('xdg', 'var', 'home', 'tmp'):
            os.makedirs(os.path.join(directory, name), exist_ok=True)
        write(os.path.join(directory, 'home/.config/containers/policy.json'), POLICY)

    def _cgroup_parent(self):
        word = os.environ.get('LXCRI_TEST_ID', 'lxcri-test')
        return f'{word.replace("-", "_")}.slice' if self.cgroup_manager == 'systemd' else f'/{word}'

    def command(self, *args):
        return ['podman', *map(str, args)]

    def __call__(self, *args, check=True, timeout=60, **more):
        if 'input' not in more:
            more.setdefault('stdin', subprocess.DEVNULL)
        done = subprocess.run(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=timeout * SLOW, **{'env': self.env, 'cwd': self.directory, **more})
        if check and done.returncode:
            raise RuntimeError(f'podman {" ".join(map(str, args))}: status {done.returncode}: {done.stdout}{done.stderr}')
        return done

    def out(self, *args, **more):
        """What it prints, stripped."""
        return self(*args, **more).stdout.strip()

    def run(self, *args, **more):
        return self('run', f'--cgroup-parent={self.cgroup_parent}', *args, **more)

    def ran(self, *args, **more):
        """What a container that is removed afterwards prints."""
        return self.run('--rm', *args, **more).stdout

    def start(self, *args, **more):
        """A container in the background: its id."""
        self.made.append(self.run('-d', *args, **more).stdout.strip())
        return self.made[-1]

    def create(self, *args, **more):
        self.made.append(self.out('create', f'--cgroup-parent={self.cgroup_parent}', *args, **more))
        return self.made[-1]

    def pod(self, *args):
        self.pods.append(self.out('pod', 'create', f'--cgroup-parent={self.cgroup_parent}', *args))
        return self.pods[-1]

    def inspect(self, name):
        return json.loads(self.out('inspect', name))[0]

    def pid(self, name):
        return int(self.out('inspect', '--format', '{{.State.Pid}}', name))

    def status(self, name):
        return self.out('inspect', '--format', '{{.State.Status}}', name)

    def wait_for(self, name, status, seconds=PATIENCE):
        deadline = time.monotonic() + seconds * SLOW
        while (now := self.status(name)) != status:
            assert time.monotonic() < deadline, f'{name} is {now}, not {status}'
            time.sleep(0.1)

    def buildah(self, *args, check=True, timeout=60):
        done = subprocess.run(['buildah', *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=timeout * SLOW,
                              env=self.env, cwd=self.directory)
        if check and done.returncode:
            raise RuntimeError(f'buildah {" ".join(map(str, args))}: status {done.returncode}: {done.stdout}{done.stderr}')
        return done

    def clean(self):
        """Removes what start(), create() and pod() have made."""
        made, pods, self.made, self.pods = self.made, self.pods, [], []
        if made:
            self('rm', '--force', '--ignore', '--time=0', '--volumes', '--depend', *made)
        if pods:
            self('pod', 'rm', '--force', '--ignore', '--time=0', *pods)
        # conmon runs `podman container cleanup` after a container: it is no process of the next test.
        eventually(lambda: not [text for text in processes().values() if self.directory + '/' in text])

    def close(self):
        self.clean()
        self('pod', 'rm', '--all', '--force', '--time=0', check=False)
        self('rm', '--all', '--force', '--time=0', check=False)
        self('umount', '--all', check=False)
