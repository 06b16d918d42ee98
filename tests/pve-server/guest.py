"""The configuration of one container (/etc/pve/nodes/N/lxc/ID.conf): values, pending changes, snapshots, locks."""

import contextlib
import hashlib
import re
import threading
import urllib.parse

import validate
from errors import failed

VOLUME_KEY = re.compile(r'rootfs|mp\d+|unused\d+')
MOUNT_KEY = re.compile(r'rootfs|mp\d+')
LOCK_SECONDS = 10
GIB = 1024 ** 3
UNITS = {'': 1, 'K': 1024, 'M': 1024 ** 2, 'G': GIB, 'T': 1024 ** 4}


def bytes_of(size):
    """'2G' -> 2147483648."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?)([KMGT]?)', size)
    return int(float(match[1]) * UNITS[match[2]])


def size_text(size):
    """As Proxmox writes it: the largest unit that leaves no rest."""
    if not size:
        return '0T'
    unit = next(unit for unit in 'TGMK ' if size % UNITS[unit.strip()] == 0)
    return f'{size // UNITS[unit.strip()]}{unit.strip()}'


class Guest:
    """One container. Whoever changes it holds locked(); a change is whole after write()."""

    def __init__(self, cluster, node, vmid, config):
        self.cluster, self.node, self.vmid = cluster, node, vmid
        self.config, self.pending, self.deleted = dict(config), {}, set()
        self.snapshots, self.parent = {}, None
        self.flock = threading.Lock()

    @property
    def file(self):
        return f'nodes/{self.node.name}/lxc/{self.vmid}.conf'

    @contextlib.contextmanager
    def locked(self, task=None):
        """The short lock of the configuration. Proxmox waits 10 seconds for it."""
        text = f"can't lock file '/run/lock/lxc/pve-config-{self.vmid}.lock' - got timeout"
        if self.cluster.faults.strikes('lock'):
            raise failed(text)
        if not self.flock.acquire(blocking=False):  # pylint: disable=consider-using-with
            if task:
                task.log('trying to acquire lock...')
            if not self.flock.acquire(timeout=LOCK_SECONDS * self.cluster.pace):  # pylint: disable=consider-using-with
                raise failed(text)
            if task:
                task.log(' OK')
        try:
            # It may have gone while we waited.
            self.cluster.guest(self.node, self.vmid)
            yield self
        finally:
            self.flock.release()

    def check_lock(self):
        if lock := self.config.get('lock'):
            raise failed(f'CT is locked ({lock})')

    def take_lock(self, lock, task=None, check=lambda: None):
        """Sets the key `lock`, which keeps others out for longer than locked() may, unless `check` raises."""
        with self.locked(task):
            self.check_lock()
            check()
            self.write()
            self.config['lock'] = lock

    def drop_lock(self):
        self.config.pop('lock', None)

    @contextlib.contextmanager
    def held(self, lock, task=None, check=lambda: None):
        """take_lock(), and dropped again unless the worker is killed."""
        self.take_lock(lock, task, check)
        try:
            yield self
        except Exception:
            self.drop_lock()
            raise
        self.drop_lock()

    def write(self):
        """The configuration is written: what can fail about that."""
        self.cluster.check_quorum()

    # Values.

    def parse(self, key, text=None):
        """The values of a property string by key."""
        keys = self.cluster.schema.formats[re.sub(r'\d+$', '', key)]
        return validate.parse(keys, self.config[key] if text is None else text)

    def show(self, key, values):
        return validate.show(self.cluster.schema.formats[re.sub(r'\d+$', '', key)], values)

    def volumes(self, pattern=MOUNT_KEY, config=None):
        """{key: volume id} of what is on a storage; bind mounts are not."""
        config = self.config if config is None else config
        found = {key: self.parse(key, config[key])['volume'] for key in config if pattern.fullmatch(key)}
        return {key: volume for key, volume in found.items() if ':' in volume and not volume.startswith('/')}

    def owned_volumes(self):
        """All volume ids that go with it, those of unused keys and snapshots, too."""
        found = set(self.volumes(VOLUME_KEY).values())
        # What waits to be made has no volume yet: STORAGE:SIZE.
        found |= {volume for volume in self.volumes(VOLUME_KEY, self.pending).values() if '/' in volume}
        for snapshot in self.snapshots.values():
            found |= set(self.volumes(VOLUME_KEY, snapshot['config']).values())
        return sorted(found)

    def paths(self):
        """{key: path} of its mount points, for the container."""
        return {key: self.node.storage_of(volume).path(volume) for key, volume in self.volumes().items()}

    def digest(self):
        return hashlib.sha1(self.text().encode(errors='surrogateescape')).hexdigest()

    def check_digest(self, digest):
        if digest and digest != self.digest():
            raise failed('detected modified configuration - file changed by other user? Try again.')

    def shown(self, pending=False):
        """As GET .../config has it; with what is pending unless the current one is asked for."""
        found = dict(self.config)
        if pending:
            for key in self.deleted:
                found.pop(key, None)
            found.update(self.pending)
        if self.parent:
            found['parent'] = self.parent
        return {**found, 'digest': self.digest()}

    @property
    def name(self):
        return self.config.get('hostname') or f'CT{self.vmid}'

    # The container behind it.

    @property
    def container(self):
        return self.cluster.backend(self.node.folder, self.vmid)

    @property
    def running(self):
        return bool(self.container.pid())

    def status(self, with_pid=True):
        """As status/current and the list have it."""
        live, config = self.container.status(), self.config
        running = live['status'] == 'running'
        rootfs = self.parse('rootfs') if 'rootfs' in config else {}
        found = {'vmid': self.vmid, 'type': 'lxc', 'name': self.name, 'status': live['status'],
                 'cpus': config.get('cores') or config.get('cpulimit') or self.node.cpus(),
                 'maxmem': int(config['memory']) * 1024 ** 2, 'maxswap': int(config['swap']) * 1024 ** 2,
                 'maxdisk': live.get('maxdisk') or bytes_of(rootfs.get('size', '0')) or 4 * GIB,
                 **{key: live.get(key, 0) for key in ('cpu', 'mem', 'swap', 'disk', 'diskread', 'diskwrite',
                                                      'netin', 'netout', 'uptime')}}
        if running:
            if with_pid:
                found['pid'] = live['pid']
            found.update({f'pressure{of}{how}': None for of in ('cpu', 'io', 'memory') for how in ('some', 'full')})
        found.update({key: config[key] for key in ('tags', 'lock', 'template') if config.get(key)})
        return found

    # Text, for the digest and for backups.

    def text(self):
        parts = [lines_of(self.config), *(f'[pve:pending] {key}: {value}' for key,
                                          value in sorted(self.pending.items())),
                 *(f'[pve:pending] delete: {key}' for key in sorted(self.deleted))]
        for name, snapshot in sorted(self.snapshots.items()):
            parts += [f'[{name}] {snapshot["snaptime"]} {snapshot.get("description", "")}',
                      lines_of(snapshot['config'])]
        return '\n'.join(parts)


def lines_of(config):
    """A configuration as text, one key a line."""
    lines = [f'{key}: {urllib.parse.quote(str(value), safe=" /:;,=+@()[]")}'
             for key, value in sorted(config.items()) if key != 'lxc']
    return '\n'.join(lines + [f'{key}: {value}' for key, value in config.get('lxc', [])]) + '\n'


def config_of(cluster, text):
    """What lines_of() wrote."""
    config, raw = {}, []
    for line in text.splitlines():
        key, colon, value = line.partition(': ')
        if not colon:
            continue
        if key.startswith('lxc.'):
            raw.append([key, value])
        else:
            config[key] = typed(cluster.schema, key, urllib.parse.unquote(value, errors='surrogateescape'))
    if raw:
        config['lxc'] = raw
    return config


def typed(schema, key, value):
    """A value as JSON has it: whole numbers as such."""
    parameter = schema.groups['ct-options'].get(key)
    if parameter and parameter.type in ('integer', 'boolean'):
        return int(value)
    return value

def next_key(config, family):
    """The first free member of a family of keys."""
    taken = {int(key.removeprefix(family)) for key in config if re.fullmatch(family + r'\d+', key)}
    return f'{family}{next(number for number in range(len(taken) + 1) if number not in taken)}'
