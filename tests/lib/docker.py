"""Debian's Docker with folders of its own and an OCI runtime of the test's choice.

Run inside tests/lib/isolated: its containerd, shims, containers and bridge end with its namespaces.
"""

import json
import os
import shutil
import signal
import subprocess
import time

from cri import SLOW
from runtime import has_systemd, oci_runtime, write

PATH = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'

TOO_SLOW = 'timeout waiting for containerd to start\n'  # dockerd waits some seconds, which may be too few the first time


def programs():
    """Are Docker's daemon and its command line there?"""
    return all(shutil.which(name, path=PATH) for name in ('dockerd', 'docker'))


class Docker:
    """A running dockerd whose default runtime is ours, called "lxcri"; docker(...) runs a command of docker's."""

    def __init__(self, directory):
        self.directory = directory
        self.endpoint = f'unix://{directory}/docker.sock'
        self.log_path = os.path.join(directory, 'log')
        word = os.environ.get('LXCRI_TEST_ID', 'lxcri-test')
        systemd = has_systemd()
        config = os.path.join(directory, 'daemon.json')
        write(config, json.dumps({
            'runtimes': {'lxcri': {'path': oci_runtime()}}, 'default-runtime': 'lxcri', 'hosts': [self.endpoint],
            'data-root': os.path.join(directory, 'data'), 'exec-root': os.path.join(directory, 'run'),
            'pidfile': os.path.join(directory, 'pid'), 'storage-driver': 'vfs', 'bip': '10.94.0.1/16', 'live-restore': True,
            'cgroup-parent': f'{word.replace("-", "_")}.slice' if systemd else f'/{word}',
            'exec-opts': [f'native.cgroupdriver={"systemd" if systemd else "cgroupfs"}']}))
        self.env = {**os.environ, 'PATH': PATH, 'DOCKER_HOST': self.endpoint, 'DOCKER_CONFIG': directory}
        self.arguments = ['dockerd', '--config-file', config]
        self.process = None
        self.start()

    def launch(self):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)

    def start(self):
        self.launch()
        deadline = time.monotonic() + 60 * SLOW
        while self('version', check=False).returncode:
            if self.process.poll() and self.log().endswith(TOO_SLOW):
                self.launch()
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()[-3000:]
            time.sleep(0.1)

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def command(self, *args):
        return ['docker', *map(str, args)]

    def __call__(self, *args, check=True, timeout=60, **more):
        if 'input' not in more:
            more.setdefault('stdin', subprocess.DEVNULL)
        done = subprocess.run(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=timeout * SLOW, env=self.env, **more)
        if check and done.returncode:
            raise RuntimeError(f'docker {" ".join(map(str, args))}: status {done.returncode}: {done.stdout}{done.stderr}')
        return done

    def out(self, *args, **more):
        """What it prints, stripped."""
        return self(*args, **more).stdout.strip()

    def inspect(self, name):
        return json.loads(self.out('inspect', name))[0]

    def clean(self):
        names = self.out('ps', '-aq').split()
        if names:
            self('rm', '--force', '--volumes', *names)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.clean()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60 * SLOW)
