"""The cluster: nodes, their storages, the containers, and what all nodes share."""

import os
import re
import subprocess
import threading
import time

from access import Access
from archives import ArchiveError
from containers import Container, ContainerError
from errors import ApiError, failed
from guest import Guest
from sdn import Networks
from storages import Storage, StorageError
from tasks import Tasks

# What refuses to do what was asked for, with a text for who asked.
FAILURES = (ApiError, ArchiveError, ContainerError, StorageError)
FIRST_VMID = 100
DISK_FULL = 'No space left on device'


class GatedStorage(Storage):
    """A storage that can be made full on demand."""

    full = False

    def gate(self, what):
        if self.full:
            raise StorageError(f'{what} - {DISK_FULL}')

    def allocate(self, vmid, size_bytes):
        self.gate(f"unable to create image on '{self.name}'")
        return super().allocate(vmid, size_bytes)

    def store(self, kind, filename, source_path, overwrite=False):
        self.gate(f"unable to write '{filename}'")
        return super().store(kind, filename, source_path, overwrite)

    def new_path(self, kind, filename):
        self.gate(f"unable to write '{filename}'")
        return super().new_path(kind, filename)

    def copy_to(self, volid, other, vmid, snapshot=None):
        other.gate(f"unable to copy '{volid}'")
        return super().copy_to(volid, other, vmid, snapshot)

    def snapshot(self, volid, name):
        self.gate(f"unable to make snapshot '{name}' of '{volid}'")
        return super().snapshot(volid, name)


class Node:
    """One node. It has a folder, in which are its containers, local storages, certificate and key."""

    def __init__(self, number, name, address, port, folder):
        self.number, self.name, self.address, self.port, self.folder = number, name, address, port, folder
        os.makedirs(folder, exist_ok=True)
        self.booted = time.time() - 2000  # so that start times in UPIDs have the usual length
        self.online = True
        self.storages = {}
        self.certificate, self.key = os.path.join(folder, 'pve-ssl.pem'), os.path.join(folder, 'pve-ssl.key')
        self.fingerprint = self.make_certificate()

    def make_certificate(self):
        """A self-signed one, as a node has until its owner gives it another. Its SHA-256 fingerprint."""
        name = f'IP:{self.address},DNS:{self.name},DNS:localhost'
        if not os.path.exists(self.certificate):
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                            '-nodes',
                            '-days', '30', '-subj', f'/O=PVE test/CN={self.name}', '-addext', f'subjectAltName={name}',
                            '-keyout', self.key, '-out', self.certificate], check=True, capture_output=True)
        said = subprocess.run(['openssl', 'x509', '-in', self.certificate, '-noout', '-fingerprint', '-sha256'],
                              check=True,
                              capture_output=True, text=True).stdout
        return said.strip().partition('=')[2]

    def uptime(self):
        return int(time.time() - self.booted)

    @staticmethod
    def cpus():
        return os.cpu_count()

    def storage(self, name):
        if name not in self.storages:
            raise failed(f"storage '{name}' does not exist")
        return self.storages[name]

    def storage_of(self, volid):
        if ':' not in volid:
            raise failed(f"unable to parse volume ID '{volid}'")
        return self.storage(volid.partition(':')[0])

    def memory(self):
        """(total, available) bytes."""
        with open('/proc/meminfo', encoding='ascii') as file:
            found = {line.split(':')[0]: int(line.split()[1]) * 1024 for line in file}
        return found['MemTotal'], found['MemAvailable']


class Cluster:
    """What pmxcfs holds, and the tasks."""

    def __init__(self, schema, faults, folder, name='test', pace=1.0):
        self.schema, self.faults, self.folder, self.name = schema, faults, folder, name
        self.pace = pace  # what Proxmox' own waits (10 s for a lock, 3 s after a wrong token ...) are multiplied by
        self.lock = threading.RLock()
        self.nodes, self.guests, self.storage_types = {}, {}, {}
        self.tasks, self.access = Tasks(), Access(schema.privileges)
        self.access.pool_of = self.pool_of
        self.pools, self.firewall_options, self.firewalls = {}, {}, {}
        self.zones, self.vnets, self.subnets = {}, {}, {}
        self.networks = Networks(self, folder)
        self.notes = {}     # volume id of a backup -> {notes, protected}
        self.registry = {}  # reference -> {tag: path of an OCI archive}, for pulls
        self.quorate = True
        self.release('9.2.11')
        self.backend = Container
        os.makedirs(folder, mode=0o711, exist_ok=True)

    def release(self, version):
        """Which Proxmox VE it says it is."""
        self.version = {'version': version, 'release': '.'.join(re.split('[.-]', version)[:2]),
                        'repoid': '0123456789abcdef'}

    # Nodes and storages.

    def add_node(self, name, address, port):
        node = Node(len(self.nodes) + 1, name, address, port, os.path.join(self.folder, name))
        self.nodes[name] = node
        return node

    def add_storage(self, name, content=('vztmpl', 'iso', 'backup', 'rootdir'), snapshots=False, shared=False):
        """A storage of every node: shared, or a folder of its own on each."""
        self.storage_types[name] = 'btrfs' if snapshots else 'dir'
        for node in self.nodes.values():
            folder = os.path.join(self.folder if shared else node.folder, 'storage', name)
            os.makedirs(folder, mode=0o711, exist_ok=True)
            node.storages[name] = GatedStorage(name, folder, set(content), snapshots, shared)
        return self.storage_types[name]

    def cluster_node(self, name):
        """A node that a parameter names."""
        if name not in self.nodes:
            raise failed(f"no such cluster node '{name}'")
        return self.nodes[name]

    def check_quorum(self):
        if not self.quorate:
            raise failed('cluster not ready - no quorum?')

    # Containers.

    def guest(self, node, vmid):
        with self.lock:
            found = self.guests.get(vmid)
        if found is None or found.node is not node:
            raise failed(f"Configuration file 'nodes/{node.name}/lxc/{vmid}.conf' does not exist")
        return found

    def reserve(self, node, vmid, config):
        """A new container's configuration, of a VMID that no other has."""
        with self.lock:
            self.check_unused(vmid)
            self.check_quorum()
            self.guests[vmid] = guest = Guest(self, node, vmid, config)
            return guest

    def check_unused(self, vmid):
        with self.lock:
            if other := self.guests.get(vmid):
                raise failed(f"CT {vmid} already exists on node '{other.node.name}'")

    def forget(self, guest):
        """The configuration is removed, with what other places say of the container."""
        with self.lock:
            self.guests.pop(guest.vmid, None)
            self.firewalls.pop(guest.vmid, None)
            self.networks.release(guest.vmid)
            self.access.acl.pop(f'/vms/{guest.vmid}', None)
            for pool in self.pools.values():
                pool['vms'].discard(guest.vmid)

    def list_guests(self):
        with self.lock:
            return sorted(self.guests.values(), key=lambda guest: guest.vmid)

    def next_id(self):
        with self.lock:
            return next(vmid for vmid in range(FIRST_VMID, 10 ** 9) if vmid not in self.guests)

    def pool_of(self, vmid):
        return next((name for name, pool in self.pools.items() if vmid in pool['vms']), None)

    def pool(self, name):
        if name not in self.pools:
            raise failed(f"pool '{name}' does not exist")
        return self.pools[name]

    # The end.

    def end(self, seconds=30):
        """Stops the containers and waits for the tasks."""
        self.tasks.wait_all(seconds)
        for guest in self.list_guests():
            try:
                if guest.running:
                    guest.container.stop()
            except ContainerError:
                pass
        self.networks.end()
