"""ctr, containerd's command line, with an OCI runtime of the test's choice."""

import os
import subprocess

from cri import SLOW
from runtime import has_systemd


class Ctr:
    """On a running Containerd (tests/lib/runtime.py). ctr(...) runs a command and gives a CompletedProcess."""

    def __init__(self, containerd, runtime):
        self.containerd, self.runtime = containerd, runtime
        self.systemd = has_systemd()
        self.count = 0

    def command(self, *args):
        return ['ctr', '--address', self.containerd.socket, '--namespace', 'tests', *map(str, args)]

    def __call__(self, *args, check=True, timeout=60, **more):
        if 'input' not in more:
            more.setdefault('stdin', subprocess.DEVNULL)
        done = subprocess.run(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=timeout * SLOW, **more)
        if check and done.returncode:
            raise RuntimeError(f'ctr {" ".join(map(str, args))}: status {done.returncode}: {done.stdout}{done.stderr}')
        return done

    def cgroup(self, name):
        word = os.environ.get('LXCRI_TEST_ID', 'lxcri-test')
        return f'{word.replace("-", "_")}.slice:ctr:{name}' if self.systemd else f'/{word}/{name}'

    def run_command(self, *args):
        """`run` with the runtime; the arguments are flags, image, command. Also the container's name."""
        self.count += 1
        name = f'c{self.count}'
        flags = [arg for arg in args if arg.startswith('--')]
        image, *command = args[len(flags):]
        ours = ['--runtime=io.containerd.runc.v2', f'--runc-binary={self.runtime}', f'--runc-root={self.containerd.oci_root}']
        if not any(flag.startswith('--cgroup=') for flag in flags):
            ours.append(f'--cgroup={self.cgroup(name)}')
        if self.systemd:
            ours.append('--runc-systemd-cgroup')
        return name, ['run', *ours, *flags, image, name, *command]

    def run(self, *args, **more):
        """A container until it has ended."""
        _, command = self.run_command('--rm', *args)
        return self(*command, **more)

    def start(self, *args):
        """A container in the background: its name."""
        name, command = self.run_command('--detach', *args)
        self(*command)
        return name

    def tasks(self):
        """{name: (pid, status)}"""
        rows = [line.split() for line in self('tasks', 'ls').stdout.splitlines()[1:]]
        return {row[0]: (int(row[1]), row[2]) for row in rows}

    def exec(self, name, *command, flags=(), **more):
        self.count += 1
        return self('tasks', 'exec', f'--exec-id=e{self.count}', *flags, name, *command, **more)

    def remove(self, name):
        self('tasks', 'rm', '--force', name, check=False)
        self('containers', 'rm', name, check=False)

    def remove_all(self):
        for name in self('containers', 'ls', '--quiet').stdout.split():
            self.remove(name)
