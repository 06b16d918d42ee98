"""Containers for the tests of what is below the API."""

import os
import re
import socket
import subprocess
import time

from cgroups import Cgroups
from containers import Container
from storages import Storage

SLOW = int(os.environ.get('LXCRI_SLOW', '1'))
NET = 'name=eth0,bridge=vmbr0,host-managed=1,hwaddr=BC:24:11:01:02:03,ip=10.99.0.110/24,gw=10.99.0.1,type=veth'


class Ct:
    """A container with volumes and a configuration, as the server would have it."""

    def __init__(self, top, vmid, archive, size=0, storage=None):
        self.storage = storage or Storage('local', os.path.join(top, 'local'), {'rootdir'}, True, False)
        self.node = os.path.join(top, 'pve1')
        self.container = Container(self.node, vmid)
        self.volids = {'rootfs': self.storage.allocate(vmid, size)}
        found = self.container.unpack(archive, self.path('rootfs'), True)
        self.config = {'vmid': vmid, 'hostname': f'ct{vmid}', 'memory': 128, 'swap': 0, 'unprivileged': 1,
                       'rootfs': f'{self.volids["rootfs"]},size=1G', 'net0': NET,
                       **{key: value for key, value in found.items() if key != 'oci'}}

    def path(self, key):
        return self.storage.path(self.volids[key])

    def add_volume(self, key, where, size=0):
        self.volids[key] = self.storage.allocate(self.container.vmid, size)
        self.config[key] = f'{self.volids[key]},mp={where}'

    def start(self):
        self.container.start(self.config, {key: self.path(key) for key in self.volids})
        return self.container.pid()

    def hotplug(self, **changed):
        self.config.update(changed)
        return self.container.hotplug(self.config, set(changed), {key: self.path(key) for key in self.volids})

    def run(self, *command):
        """Runs a program of the container's in it."""
        done = subprocess.run(['lxc-attach', '-P', self.container.lxcpath, '-n', str(self.container.vmid), '--',
                               *command], capture_output=True, text=True, timeout=30 * SLOW, check=False)
        return (done.stdout + done.stderr).strip()

    def cgroup(self, file):
        with open(Cgroups(self.container.vmid).path(file.split('.')[0], file), encoding='utf-8') as f:
            return f.read().strip()


def echo(address, timeout=60 * SLOW):
    """What port 7 answers, tried until it does."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((address, 7), 2) as connection:
                connection.sendall(b'hello\n')
                return connection.recv(100)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def until_handled(pid, number):
    """Waits until the container's first process handles or ignores a signal: before, the kernel drops it."""
    deadline = time.monotonic() + 60 * SLOW
    while True:
        with open(f'/proc/{pid}/status', encoding='utf-8') as f:
            masks = dict(re.findall(r'^(SigCgt|SigIgn):\s*(\w+)', f.read(), re.M))
        if any(int(mask, 16) >> (number - 1) & 1 for mask in masks.values()):
            return
        assert time.monotonic() < deadline, f'signal {number} is not handled'
        time.sleep(0.01)


def inside(pid, *command):
    """Runs a program of this host in the container's network namespace."""
    return subprocess.run(['nsenter', '-t', str(pid), '-n', *command], capture_output=True, text=True,
                          timeout=30 * SLOW, check=False).stdout
