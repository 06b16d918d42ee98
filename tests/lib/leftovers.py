"""What a runtime can leave behind on a host, as sets that two moments are compared by."""

import os
import subprocess


def _lines(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False)
    return done.stdout.splitlines()


def processes():
    """{pid: command line}; zombies count."""
    found = {}
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                with open(f'/proc/{pid}/cmdline', encoding='utf-8', errors='replace') as f:
                    text = f.read().replace('\0', ' ').strip()
                with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
                    name, rest = f.read().split('(', 1)[1].rsplit(')', 1)
                if int(rest.split()[6]) & 0x00200000:  # PF_KTHREAD: the kernel's come and go as they like
                    continue
                found[int(pid)] = text or f'[{name}]'
            except (OSError, IndexError):
                pass
    return found


def mounts():
    """(mount namespace, mount point) for each namespace that some process lives in."""
    seen, found = set(), set()
    for pid in processes():
        try:
            namespace = os.readlink(f'/proc/{pid}/ns/mnt')
            if namespace in seen:
                continue
            seen.add(namespace)
            with open(f'/proc/{pid}/mountinfo', encoding='utf-8') as f:
                # Stacked mounts are told apart by how often a mount point comes.
                count = {}
                for line in f:
                    point = line.split()[4]
                    count[point] = count.get(point, 0) + 1
                    found.add((namespace, point, count[point]))
        except OSError:
            pass
    return found


def cgroups(word):
    """Control groups that have `word` in their path."""
    return {path for path, _, _ in os.walk('/sys/fs/cgroup') if word in path}


def files(*tops, ignore=()):
    """Paths below `tops`, without those that end with one of `ignore`."""
    found = set()
    for top in tops:
        for path, dirs, names in os.walk(top):
            found.update(os.path.join(path, n) for n in dirs + names
                         if not n.endswith(tuple(ignore) or ('\0',)))
    return found


IGNORED_FILES = ('.db-wal', '.db-shm', '.db-journal', '.log')


class Snapshot:
    """What there is now. `word` is in the names of our cgroups, `tops` are our folders."""

    def __init__(self, word, tops):
        self.parts = {
            'process': {f'{pid} {text}' for pid, text in processes().items()
                        if pid != os.getpid() and not text.startswith('ip ')},
            'mount': {f'{point} #{n} in {ns}' for ns, point, n in mounts()},
            'cgroup': cgroups(word),
            'interface': {line.split(':')[1].split('@')[0].strip()
                          for line in _lines('ip', '-o', 'link')},
            'netns': set(_lines('ip', 'netns')),
            # Only rules: a table is made by looking at it.
            'iptables': {line for line in _lines('iptables-save') if line.startswith('-')},
            'file': files(*tops, ignore=IGNORED_FILES),
        }

    def new_in(self, later):
        """What `later` has more: a sorted list of "kind name"."""
        return sorted(f'{kind} {name}' for kind, names in later.parts.items()
                      for name in names - self.parts[kind])
