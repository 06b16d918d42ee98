"""The cgroups of a container: where they are (v1, hybrid, v2), its limits, what it uses.

Limits are on lxc/ID, as Proxmox sets them; the processes are in lxc/ID/ns.
"""

import os
import time

PERIOD = 100000  # of the CPU quota, in microseconds


def _hierarchies():
    """{controller, or '' for v2: the folder of liblxc's root there}. lxc.cgroup.relative=0 has it from process 1."""
    of_first = {}
    with open('/proc/1/cgroup', encoding='utf-8') as f:
        for line in f:
            _, controllers, path = line.rstrip('\n').split(':', 2)
            for name in controllers.split(','):
                of_first[name] = path.removesuffix('/init.scope').rstrip('/')
    found = {}
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        for line in f:
            left, right = line.rstrip('\n').split(' - ', 1)
            point, (kind, _, options) = left.split()[4], right.split(' ', 2)
            if kind == 'cgroup2':
                found[''] = point + of_first.get('', '')
            elif kind == 'cgroup':
                for name in options.split(','):
                    if name in of_first:
                        found[name] = point + of_first[name]
    return found


def _read(path):
    try:
        with open(path, encoding='utf-8') as f:
            return f.read()
    except OSError:
        return ''


def _fields(path):
    """A file of "name number" lines."""
    return {line.split()[0]: int(line.split()[1]) for line in _read(path).splitlines() if len(line.split()) == 2}


def _cpus(text):
    """The CPUs of a list like 0-3,8."""
    found = []
    for part in filter(None, text.strip().split(',')):
        first, _, last = part.partition('-')
        found += range(int(first), int(last or first) + 1)
    return found


class Cgroups:
    """Those of one container."""

    def __init__(self, vmid):
        self.vmid, self.roots = vmid, _hierarchies()

    @property
    def v2(self):
        """Whether the controllers are v2's."""
        return 'memory' not in self.roots

    def root(self, controller):
        return self.roots.get(controller) or self.roots.get('', '/sys/fs/cgroup')

    def path(self, controller, file=''):
        """lxc/ID of a controller, or a file there."""
        return os.path.join(self.root(controller), 'lxc', str(self.vmid), file)

    def limits(self, config):
        """[(file, value)]: the limits of a configuration, in the order that they can be written in."""
        memory = int(config.get('memory', 512)) << 20
        swap = int(config.get('swap', 512)) << 20
        limit, units = float(config.get('cpulimit') or 0), config.get('cpuunits')
        if self.v2:
            found = [('memory.max', memory), ('memory.swap.max', swap),
                     ('cpu.max', f'{int(limit * PERIOD) if limit else "max"} {PERIOD}'),
                     ('cpu.weight', min(int(units or 100), 10000))]
        else:
            found = [('memory.limit_in_bytes', memory)]
            if os.path.exists(self.root('memory') + '/memory.memsw.limit_in_bytes'):
                found.append(('memory.memsw.limit_in_bytes', memory + swap))
            found += [('cpu.cfs_period_us', PERIOD), ('cpu.cfs_quota_us', int(limit * PERIOD) if limit else -1),
                      ('cpu.shares', int(units or 1024))]
        cpus = _cpus(_read(self.root('cpuset') + ('/cpuset.cpus.effective' if self.v2 else '/cpuset.cpus')))
        cores = min(int(config.get('cores') or len(cpus)), len(cpus))
        if cpus:
            first = self.vmid % len(cpus)  # containers are spread
            chosen = sorted((cpus + cpus)[first:first + cores])
            found.append(('cpuset.cpus', ','.join(map(str, chosen))))
        if self.v2:  # not all kernels have all controllers
            there = _read(self.root('') + '/cgroup.controllers').split()
            found = [(file, value) for file, value in found if file.split('.')[0] in there]
        return found

    def change(self, config):
        """Writes the limits of a running container; OSError when the kernel refuses one."""
        limits = dict(self.limits(config))
        both = limits.get('memory.memsw.limit_in_bytes')
        if both and both > int(_read(self.path('memory', 'memory.memsw.limit_in_bytes')) or 0):
            # v1 wants memory <= memory + swap at each moment.
            self._write('memory.memsw.limit_in_bytes', both)
        cpus = limits.pop('cpuset.cpus', None)
        for file, value in limits.items():
            self._write(file, value)
        if cpus:
            self._change_cpus(cpus)

    def _write(self, file, value, below=''):
        with open(os.path.join(self.path(file.split('.')[0]), below, file), 'w', encoding='utf-8') as f:
            f.write(str(value))

    def _change_cpus(self, cpus):
        """v1 wants each child's within its parent's: widened from the top, narrowed from below."""
        top = self.path('cpuset')
        below = [os.path.relpath(folder, top) for folder, _, _ in os.walk(top) if folder != top]
        if not self.v2:
            for folder in ['', *below, *reversed(below)]:
                try:
                    self._write('cpuset.cpus', cpus, folder)
                except OSError:
                    pass  # the other direction, or the last write below, says what is wrong
        self._write('cpuset.cpus', cpus)

    def freeze(self, timeout):
        """Stops all that lives in lxc/ID, also what joined the container there; whether it did in time."""
        file, value = ('cgroup.freeze', '1') if self.freezes_by_v2 else ('freezer.state', 'FROZEN')
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self._write(file, value)  # v1 has to be told again while processes are made
            if self.freezes_by_v2:
                done = _fields(self.path('', 'cgroup.events')).get('frozen') == 1
            else:
                done = _read(self.path('freezer', 'freezer.state')).strip() == 'FROZEN'
            if done:
                return True
            time.sleep(0.01)
        return False

    def thaw(self):
        """Lets it go on; it may be gone."""
        try:
            self._write(*(('cgroup.freeze', '0') if self.freezes_by_v2 else ('freezer.state', 'THAWED')))
        except FileNotFoundError:
            pass

    @property
    def freezes_by_v2(self):
        return 'freezer' not in self.roots

    def remove(self):
        """Removes what an ended container left, as the prestart hook does; False when processes are in it."""
        empty = True
        for root in set(self.roots.values()):
            for top in (os.path.join(root, 'lxc', str(self.vmid)), os.path.join(root, 'lxc.monitor', str(self.vmid))):
                for folder, _, _ in os.walk(top, topdown=False):
                    try:
                        os.rmdir(folder)
                    except FileNotFoundError:
                        pass
                    except OSError:
                        empty = False
        return empty

    def usage(self):
        """mem, swap, diskread, diskwrite in bytes, cpu in seconds of CPU time; pressures where the kernel has them."""
        if self.v2:
            stat = _fields(self.path('memory', 'memory.stat'))
            found = {'mem': int(_read(self.path('memory', 'memory.current')) or 0) - stat.get('inactive_file', 0),
                     'swap': int(_read(self.path('memory', 'memory.swap.current')) or 0),
                     'cpu': _fields(self.path('cpu', 'cpu.stat')).get('usage_usec', 0) / 1e6}
            words = _read(self.path('io', 'io.stat')).split()
            io = [sum(int(w.split('=')[1]) for w in words if w.startswith(key)) for key in ('rbytes=', 'wbytes=')]
        else:
            stat = _fields(self.path('memory', 'memory.stat'))
            found = {'mem': int(_read(self.path('memory', 'memory.usage_in_bytes')) or 0)
                     - stat.get('total_inactive_file', 0),
                     'swap': stat.get('total_swap', 0),
                     'cpu': int(_read(self.path('cpuacct', 'cpuacct.usage')) or 0) / 1e9}
            lines = [line.split() for line in
                     _read(self.path('blkio', 'blkio.throttle.io_service_bytes_recursive')).splitlines()]
            io = [sum(int(line[2]) for line in lines if len(line) == 3 and line[1] == key) for key in ('Read', 'Write')]
        found.update(diskread=io[0], diskwrite=io[1])
        for kind in ('cpu', 'io', 'memory'):
            lines = _read(self.path('', f'{kind}.pressure')).splitlines()
            averages = {line.split()[0]: float(line.split('avg10=')[1].split()[0]) for line in lines}
            found[f'pressure{kind}some'], found[f'pressure{kind}full'] = averages.get('some'), averages.get('full')
        return found
