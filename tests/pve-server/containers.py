"""The running side of a container on a node: a real LXC container, started the way that Proxmox does it.

`lxc-start -F -n ID` is a process of its own (as in the unit pve-container@ID), so a container outlives this program. It
gets its volumes in a mount namespace of its own (with-volumes), which Proxmox reaches by lxc.monitor.unshare and a
prestart hook: whatever is killed, mounts and loop devices end with it.

Where this runs must look like a node: the cgroup of process 1 is liblxc's root, lxc/ID is a name for the whole host,
and with v2 only the kernel's root may have both processes and children with limits. So tests run it by
`LXCRI_TEST_NODE=1 tests/lib/isolated`, see as-node there. Folders down to the volumes must let others pass
(mode 0711), for the container's root is nobody on the host.

Every container is treated as ostype=unmanaged: for a distribution that it knows, Proxmox also writes /etc/hostname, the
network's configuration and so on into it.
"""

import collections
import contextlib
import ctypes
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time

import archives
from cgroups import Cgroups
from lxcconfig import ConfigError, generate
from networks import Card, NetworkError, cards, counters, exists, properties

LIBC = ctypes.CDLL(None, use_errno=True)
MOVE_MOUNT = os.path.join(archives.HERE, 'move-mount')
SLOW = int(os.environ.get('LXCRI_SLOW', '1'))
START_TIMEOUT = 30 * SLOW
STOP_TIMEOUT = 20 * SLOW
FREEZE_TIMEOUT = 10 * SLOW
TEXT_LIMIT = 64 * 1024  # of what lxc-start said
MEMORY_KEYS = {'memory', 'swap', 'cores', 'cpulimit', 'cpuunits'}

# lxc-start processes that are our children, so that they are reaped: {(lxcpath, vmid): Popen}.
_children = {}
# The last measure of used CPU: {(lxcpath, vmid): (moment, seconds)}.
_measured = {}
# Held while running.json of a container is changed: {(lxcpath, vmid): Lock}.
_changing = collections.defaultdict(threading.Lock)
_lock = threading.Lock()


class ContainerError(Exception):
    """str() is the text of Proxmox's task or HTTP error."""


def _start_time(pid):
    """When the process began, in clock ticks since boot; none when it is gone or a zombie."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            fields = f.read().rsplit(')', 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in 'ZX' else int(fields[19])


def _sync(path):
    """Writes out the file system that it is on."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if LIBC.syncfs(folder):
            raise ContainerError(f"can't sync '{path}': {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(folder)


def _mount_points(config, volumes):
    """[(path in the container, path of the volume, mount options)], the root first."""
    found = []
    for key in sorted(volumes, key=lambda k: (k != 'rootfs', properties(config.get(k, '')).get('mp', ''))):
        options = properties(config.get(key, ''), 'volume')
        words = [w for w in options.get('mountoptions', '').split(';') if w]
        if options.get('ro') == '1':
            words.append('ro')
        found.append(('/' if key == 'rootfs' else options['mp'], volumes[key], ','.join(words)))
    return found


def _words(entrypoint):
    """The words of a command line: liblxc knows of quotes only since 6.0, so lxc-start gets them one by one."""
    try:
        return shlex.split(entrypoint)
    except ValueError as e:
        raise ContainerError(f"unable to parse entrypoint '{entrypoint}' - {e}") from None


class Container:
    """One container on one node. Its folder is node_folder/lxc/ID, which is there while it was started or unpacked."""

    def __init__(self, node_folder, vmid):
        self.node_folder, self.vmid = node_folder, int(vmid)
        self.lxcpath = os.path.join(node_folder, 'lxc')
        self.folder = os.path.join(self.lxcpath, str(vmid))
        self.rootfs = os.path.join(self.folder, 'rootfs')
        self.key = (self.lxcpath, self.vmid)
        with _lock:
            self._changing = _changing[self.key]
        self.warnings = []  # of the last start, for the exit status "WARNINGS: n"
        self.log = []       # what lxc-start said when it failed

    # Files.

    def _make_folder(self):
        for path, mode in ((self.lxcpath, 0o711), (self.folder, 0o755), (self.rootfs, 0o755)):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)

    def _path(self, name):
        return os.path.join(self.folder, name)

    def unpack(self, archive_path, rootfs_path, unprivileged=True, mounts=None):
        """Unpacks a template, OCI archive or backup into a volume; see archives.unpack() for what it returns.

        mounts: {path in the container: volume}, of a backup with more volumes than the root
        """
        if not unprivileged:
            raise ContainerError(f'unable to create CT {self.vmid} - this server has unprivileged containers only')
        self._make_folder()
        try:
            return archives.unpack(archive_path, self.rootfs,
                                   [('/', rootfs_path), *sorted((mounts or {}).items())])
        except (archives.ArchiveError, OSError) as e:
            raise ContainerError(f'unable to create CT {self.vmid} - {e}') from None

    def dump(self, target, volumes, config_text):
        """Writes a backup of {path in the container: volume}, "/" among them; of a running one as it is now."""
        self._make_folder()
        try:
            archives.dump(target, self.rootfs, sorted(volumes.items()), config_text, self.pid())
        except (archives.ArchiveError, OSError) as e:
            raise ContainerError(str(e)) from None

    # Whether it runs.

    def _command(self, *command, timeout=STOP_TIMEOUT):
        """Runs an lxc-* tool on this container: (exit code, output); none for the code when it took too long."""
        try:
            done = subprocess.run([command[0], '-P', self.lxcpath, '-n', str(self.vmid), *command[1:]],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors='replace', timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return None, ''
        return done.returncode, done.stdout

    def _ask(self):
        """The pid of the first process by lxc-info, none when the container does not run."""
        text = self._command('lxc-info', '-s', '-p')[1]
        found = re.search(r'^PID: +(\d+)$', text, re.M)
        return int(found[1]) if found and re.search(r'^State: +RUNNING$', text, re.M) else None

    def _monitor(self):
        """The monitor if it is our child and lives."""
        with _lock:
            child = _children.get(self.key)
            if child and child.poll() is not None:
                del _children[self.key]
                child = None
        return child

    def _running_file(self):
        try:
            with open(self._path('running.json'), encoding='utf-8') as f:
                return json.load(f)
        except (OSError, ValueError):
            return None

    def _write_running(self, **running):
        with open(self._path('running.json.new'), 'w', encoding='utf-8') as f:
            json.dump(running, f)
        os.rename(self._path('running.json.new'), self._path('running.json'))

    def pid(self):
        """The pid of the container's first process, none when it does not run."""
        self._monitor()
        running = self._running_file()
        if running is None or _start_time(running['pid']) == running['started']:
            return running and running['pid']
        with self._changing:
            running = self._running_file()  # of several threads that see it gone, one tidies
            if running is None or _start_time(running['pid']) == running['started']:
                return running and running['pid']
            pid = self._ask()  # it may have rebooted itself
            started = pid and _start_time(pid)
            if not started:
                self._ended(running)
                return None
            self._write_running(**{**running, 'pid': pid, 'started': started})
            return pid

    def _ended(self, running):
        """What the poststop hook does."""
        for number, card in cards(running['config']).items():
            try:
                Card(self.vmid, number, card).remove()
            except NetworkError:
                pass  # the bridge went, and what was on it
        try:
            os.unlink(self._path('running.json'))
        except FileNotFoundError:
            pass
        _measured.pop(self.key, None)
        Cgroups(self.vmid).remove()

    # Start and stop.

    def start(self, config, volumes):
        """Starts it and waits until its first process runs.

        config: as GET .../config returns it; volumes: {'rootfs' or 'mpN': path of the volume}
        """
        if self.pid() or not self._wait_for_end(STOP_TIMEOUT):
            raise ContainerError(f'CT {self.vmid} already running')
        self._make_folder()
        self.warnings, self.log = [], []
        groups = Cgroups(self.vmid)
        groups.remove()  # if that fails, liblxc's own error comes below, as on Proxmox
        try:
            plugs = {number: Card(self.vmid, number, card) for number, card in cards(config).items()}
            if any(not os.path.exists(f'/sys/class/net/{plug.bridge}') for plug in plugs.values()):
                raise ContainerError('/sys is not of this network namespace, and liblxc looks for bridges there: '
                                     'run this by LXCRI_TEST_NODE=1 tests/lib/isolated')
            text = generate(self.vmid, config, self.rootfs, groups, plugs)
            with open(self._path('config'), 'w', encoding='utf-8') as f:
                f.write(text)
            pid, started = self._launch(_mount_points(config, volumes), _words(config.get('entrypoint', '')))
            with self._changing:
                self._write_running(pid=pid, started=started, config=dict(config), volumes=dict(volumes))
            self._finish_cards(plugs, pid)
        except (NetworkError, ConfigError) as e:
            if self.pid():
                self.stop()
            raise ContainerError(str(e)) from None

    def _finish_cards(self, plugs, pid):
        for plug in plugs.values():
            plug.finish()
            if plug.card.get('host-managed') == '1' and plug.card.get('ip') == 'dhcp':
                self.warnings += plug.dhcp(pid, self.folder)

    def _launch(self, mounts, entrypoint):
        """Runs lxc-start in the volumes; the pid of the first process, and when it began."""
        command = [archives.WITH_VOLUMES, self.rootfs, *(word for mount in mounts for word in mount), '--',
                   'lxc-start', '-F', '-P', self.lxcpath, '-n', str(self.vmid), '--', *entrypoint]
        # A session of its own: it is no part of this program, and outlives it.
        with open(self._path('stderr'), 'wb') as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        with _lock:
            _children[self.key] = child
        deadline, pause = time.monotonic() + START_TIMEOUT, 0.01
        while time.monotonic() < deadline:
            time.sleep(pause)
            pid = self._ask()
            if started := pid and _start_time(pid):
                return pid, started
            if child.poll() is not None:
                break
            pause = min(pause * 1.5, 0.2)
        else:
            child.kill()
            child.wait()
        self._monitor()
        with open(self._path('stderr'), encoding='utf-8', errors='replace') as f:
            self.log = f.read(TEXT_LIMIT).splitlines()
        Cgroups(self.vmid).remove()
        raise ContainerError(f'unable to get PID for CT {self.vmid} (not running?)')

    def _wait_for_end(self, timeout):
        """Whether the container and its monitor ended in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            child = self._monitor()
            if child is None and self.pid() is None:
                return True
            time.sleep(0.02)
        return False

    def stop(self):
        """Kills it."""
        if not self.pid():
            raise ContainerError(f'CT {self.vmid} not running')
        self._command('lxc-stop', '--kill')
        if not self._wait_for_end(STOP_TIMEOUT):
            raise ContainerError(f"command 'lxc-stop -n {self.vmid} --kill' failed: got timeout")

    def shutdown(self, timeout):
        """Sends it its halt signal (SIGPWR when the configuration names none); whether it ended in time."""
        if not self.pid():
            raise ContainerError(f'CT {self.vmid} not running')
        began = time.monotonic()
        self._command('lxc-stop', '--nokill', '--timeout', str(max(1, round(timeout))), timeout=timeout + STOP_TIMEOUT)
        return self._wait_for_end(max(timeout - (time.monotonic() - began), 0.5 * SLOW))

    @contextlib.contextmanager
    def frozen(self):
        """Meanwhile it stands still with all it wrote in its volumes, so that these can be copied; if it runs."""
        pid, running = self.pid(), self._running_file()
        if not pid or not running:
            yield
            return
        groups = Cgroups(self.vmid)
        try:
            self._freeze(groups, pid, running)
            yield
        finally:
            groups.thaw()

    def _freeze(self, groups, pid, running):
        try:
            if not groups.freeze(FREEZE_TIMEOUT):
                raise ContainerError(f"can't freeze CT {self.vmid}: got timeout")
            for where, _, _ in _mount_points(running['config'], running['volumes']):
                _sync(f'/proc/{pid}/root{where}')
        except OSError as e:
            raise ContainerError(f"can't freeze CT {self.vmid}: {e}") from None

    def destroy(self):
        """Forgets it; its volumes are the storage's to free."""
        if self.pid():
            raise ContainerError(f'unable to destroy CT {self.vmid} - container is running')
        if not self._wait_for_end(STOP_TIMEOUT):  # its monitor ends after it, and is ours to reap
            raise ContainerError(f'unable to destroy CT {self.vmid} - its monitor does not end')
        shutil.rmtree(self.folder, ignore_errors=True)

    # What it uses.

    def status(self):
        """What status/current says of the running side; numbers are 0 while it is stopped."""
        running, pid = self._running_file(), self.pid()
        found = {'vmid': self.vmid, 'status': 'stopped', 'uptime': 0, 'mem': 0, 'swap': 0, 'cpu': 0, 'netin': 0,
                 'netout': 0, 'diskread': 0, 'diskwrite': 0, 'disk': 0}
        if not pid or not running:
            return found
        began = running['started'] / os.sysconf('SC_CLK_TCK')
        usage = Cgroups(self.vmid).usage()
        usage['cpu'] = self._cpu(usage['cpu'], running['config'])
        found.update(usage, status='running', pid=pid, uptime=int(time.clock_gettime(time.CLOCK_BOOTTIME) - began))
        seen = counters()
        for number in cards(running['config']):
            out, into = seen.get(f'veth{self.vmid}i{number}', (0, 0))  # the host's side received what it sent
            found['netin'] += into
            found['netout'] += out
        try:
            disk = os.statvfs(f'/proc/{pid}/root')
            found['disk'] = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
            found['maxdisk'] = disk.f_blocks * disk.f_frsize
        except OSError:
            pass
        return found

    def _cpu(self, used, config):
        """The share of its CPUs that it used since the last call."""
        now = time.monotonic()
        with _lock:
            before = _measured.get(self.key)
            if before is None or now - before[0] >= 0.1:
                _measured[self.key] = (now, used)
        if before is None or now <= before[0]:
            return 0
        share = (used - before[1]) / (now - before[0]) / int(config.get('cores') or os.cpu_count())
        return max(0, share)

    # Changes while it runs.

    def hotplug(self, config, changed, volumes=None):
        """Applies what changed in the configuration; {key: "unable to hotplug KEY: why"} of what could not be.

        config: the new one, whole; changed: keys that are new, other or gone
        volumes: {'mpN': path of the volume} of the new mount points
        """
        pid, errors = self.pid(), {}
        if not pid:
            return errors
        running = self._running_file()
        limits = MEMORY_KEYS & set(changed)
        for key in sorted(set(changed) - limits) + sorted(limits)[:1]:
            try:
                if key in limits:
                    Cgroups(self.vmid).change(config)
                elif re.fullmatch(r'net\d+', key):
                    self._hotplug_card(pid, int(key[3:]), running['config'].get(key), config.get(key))
                elif re.fullmatch(r'mp\d+', key):
                    self._hotplug_mount(pid, key, config, volumes or {})
                else:
                    continue
            except (NetworkError, ContainerError, OSError) as e:
                errors.update({k: f'unable to hotplug {k}: {e}\n' for k in (limits if key in limits else [key])})
        now = {key: value for key, value in config.items() if key not in errors}
        now.update({key: running['config'][key] for key in errors if key in running['config']})
        mounted = {**running['volumes'], **{key: path for key, path in (volumes or {}).items() if key in changed}}
        mounted = {key: path for key, path in mounted.items() if key in now}
        with self._changing:
            if self._running_file() == running:  # it may have ended meanwhile
                self._write_running(**{**running, 'config': now, 'volumes': mounted})
        return errors

    def _hotplug_card(self, pid, number, old, new):
        card = properties(new) if new else None
        plug = Card(self.vmid, number, card) if card else None
        if old and exists(f'veth{self.vmid}i{number}'):
            before = properties(old)
            same = card and all(before.get(key) == card.get(key) for key in before.keys() | card.keys()
                                if key not in ('ip', 'ip6', 'gw', 'gw6'))
            if same:
                plug.set_addresses(pid)
                return
            Card(self.vmid, number, before).remove()
        if plug:
            plug.add(pid)

    def _hotplug_mount(self, pid, key, config, volumes):
        """A mount point that is new is mounted now; one that went stays until the container ends."""
        if key not in config or key not in volumes:
            return
        (where, volume, options), = _mount_points(config, {key: volumes[key]})
        staged = self._path('staged')
        os.makedirs(staged, exist_ok=True)
        try:
            done = subprocess.run([archives.WITH_VOLUMES, staged, '/', volume, options, '--', MOVE_MOUNT, staged,
                                   str(pid), where],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=STOP_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise ContainerError(f"mounting '{volume}' took more than {STOP_TIMEOUT} s") from None
        if done.returncode:
            raise ContainerError((done.stdout.strip().splitlines() or ['mount failed'])[-1])
