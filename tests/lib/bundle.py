"""Bundles of the OCI runtime specification, and the command of a runtime that makes containers of them.

Run inside tests/lib/isolated. The runtime is ours (build/proxmox-lxcri) or, with LXCRI_OCI_RUNTIME, Debian's runc or
crun: that is how the tests themselves are checked.
"""

import array
import contextlib
import ctypes
import functools
import glob
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import images
import without_fields
from cri import SLOW
from leftovers import mounts, processes
from runtime import REPO, has_systemd

NAME = os.environ.get('LXCRI_OCI_RUNTIME') or 'lxcri'
ID = os.environ.get('LXCRI_TEST_ID', 'lxcri-test')
PATH = images.PATH
CAPS = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID',
        'CAP_SETPCAP', 'CAP_NET_BIND_SERVICE', 'CAP_SYS_CHROOT', 'CAP_MKNOD', 'CAP_AUDIT_WRITE']
PR_SET_CHILD_SUBREAPER = 36
SLICE = ID.replace('-', '_') + '.slice'  # of containers whose groups systemd makes
# Mounts that are no container's: the network namespace of all watchers, which stays; Podman's storage, which comes and goes.
NOBODYS = ('/run/proxmox-lxcri/watchers.net', '/podman/root/overlay')


def program():
    """The path of the runtime's program."""
    if NAME != 'lxcri':
        return shutil.which(NAME, path='/usr/sbin:/usr/bin:/sbin:/bin')
    return os.path.join(os.environ.get('LXCRI_BUILD') or os.path.join(REPO, 'build'), 'proxmox-lxcri')


@functools.lru_cache(None)
def why_not():
    """Why there is nothing to test: '' when there is."""
    done = subprocess.run([program(), '--root', '/no/such/root', 'list', '-q'], check=False, stderr=subprocess.PIPE, text=True)
    return 'the build has no OCI runtime' if 'not there yet' in done.stderr else ''


def kernel():
    """(6, 1) of 6.1.0-40-amd64"""
    return tuple(map(int, re.match(r'(\d+)\.(\d+)', os.uname().release).groups()))


# What busybox can't show of a process, as one static program: `probe WORD ARGS...`.
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct attr { unsigned size, policy; unsigned long long flags; int nice; unsigned priority;
              unsigned long long runtime, deadline, period; unsigned min, max; };

static void on_signal(int sig) {
        char text[] = "got 00\n";
        text[4] += sig / 10;
        text[5] += sig % 10;
        write(1, text, 7);
        if (sig == SIGTERM)
                _exit(7);
}

int main(int argc, char **argv) {
        const char *word = argc > 1 ? argv[1] : "";
        if (!strcmp(word, "scheduler")) {
                struct attr a = { sizeof a };
                if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0)
                        return perror("sched_getattr"), 1;
                printf("policy=%u nice=%d priority=%u flags=%llu runtime=%llu deadline=%llu period=%llu\n", a.policy,
                       a.nice, a.priority, a.flags, a.runtime, a.deadline, a.period);
        } else if (!strcmp(word, "ioprio")) {
                long v = syscall(SYS_ioprio_get, 1, 0);
                printf("class=%ld level=%ld\n", v >> 13, v & 7);
        } else if (!strcmp(word, "mempolicy")) {
                int mode = -1;
                unsigned long nodes[16] = { 0 };
                if (syscall(SYS_get_mempolicy, &mode, nodes, 1024, 0, 0) < 0)
                        return perror("get_mempolicy"), 1;
                printf("mode=%d nodes=%lx\n", mode, nodes[0]);
        } else if (!strcmp(word, "fds")) {
                for (int i = 0; i < 1024; i++) {
                        char path[64], target[512];
                        snprintf(path, sizeof path, "/proc/self/fd/%d", i);
                        ssize_t n = readlink(path, target, sizeof target - 1);
                        if (n >= 0)
                                printf("%d %.*s\n", i, (int)n, target);
                }
        } else if (!strcmp(word, "keyring")) {
                char text[256] = "";
                long id = syscall(SYS_keyctl, 0, -3, 0);
                syscall(SYS_keyctl, 6, id, text, sizeof text);
                printf("%s\n", text);
        } else if (!strcmp(word, "signals")) { /* tells each one it gets; SIGTERM ends it with 7 */
                for (int sig = 1; sig < 32; sig++)
                        if (sig != SIGKILL && sig != SIGSTOP && sig != SIGCHLD)
                                signal(sig, on_signal);
                write(1, "ready\n", 6);
                for (;;)
                        pause();
        } else if (!strcmp(word, "call")) { /* call NUMBER ARGS...: 0, or the errno */
                long v[7] = { 0 };
                for (int i = 0; i < 7 && i + 2 < argc; i++)
                        v[i] = strtol(argv[i + 2], NULL, 0);
                printf("%d\n", syscall(v[0], v[1], v[2], v[3], v[4], v[5], v[6]) < 0 ? errno : 0);
#ifdef __x86_64__
        } else if (!strcmp(word, "call32")) { /* call32 NUMBER A B: of i386, the errno or 0 */
                long v = strtol(argv[2], NULL, 0);
                __asm__ volatile("int $0x80" : "+a"(v) : "b"(strtol(argv[3], NULL, 0)), "c"(strtol(argv[4], NULL, 0)) : "memory");
                printf("%d\n", (int)v < 0 ? -(int)v : 0);
#endif
        } else if (!strcmp(word, "tell")) { /* tell SOCKET TEXT: a datagram */
                struct sockaddr_un un = { AF_UNIX };
                strncpy(un.sun_path, argv[2], sizeof un.sun_path - 1);
                int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
                if (sendto(fd, argv[3], strlen(argv[3]), 0, (void *)&un, sizeof un) < 0)
                        return perror(argv[2]), 1;
        } else if (!strcmp(word, "get")) { /* get SOCKET: what a listener says */
                struct sockaddr_un un = { AF_UNIX };
                char text[256];
                strncpy(un.sun_path, argv[2], sizeof un.sun_path - 1);
                int fd = socket(AF_UNIX, SOCK_STREAM, 0);
                if (connect(fd, (void *)&un, sizeof un) < 0)
                        return perror(argv[2]), 1;
                ssize_t n = read(fd, text, sizeof text);
                write(1, text, n > 0 ? n : 0);
        } else if (!strcmp(word, "swap")) { /* swap A B...: exchanges them, without end */
                for (;;)
                        for (int i = 2; i + 1 < argc; i += 2)
                                syscall(SYS_renameat2, AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1], 2);
        } else if (!strcmp(word, "flood")) {
                static char text[65536];
                for (size_t i = 0; i < sizeof text; i++)
                        text[i] = i % 80 == 79 ? '\n' : 'x';
                for (;;)
                        if (write(1, text, sizeof text) < 0)
                                return 1;
        } else if (!strcmp(word, "forks")) { /* forks without end; says so when it can't */
                for (int said = 0;;) {
                        pid_t pid = fork();
                        if (pid == 0)
                                for (;;)
                                        pause();
                        if (pid < 0 && !said++) {
                                printf("refused %d\n", errno);
                                fflush(stdout);
                        }
                        if (pid < 0)
                                usleep(10000);
                }
        } else if (!strcmp(word, "lock")) { /* lock FILE PROGRAM ARGS...: the program has it locked */
                int fd = open(argv[2], O_RDWR | O_CREAT, 0600);
                if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
                        return perror(argv[2]), 1;
                execvp(argv[3], argv + 3);
                return perror(argv[3]), 1;
        } else if (!strcmp(word, "dumpable")) {
                printf("%d\n", prctl(PR_GET_DUMPABLE));
        } else {
                return 2;
        }
        return 0;
}
"""

# A wait that goes on as liblxc's does, under another name: as a library.
OTHER_WAIT = """
long epoll_wai_(int fd, void *events, int max, int timeout) {
        register long r10 asm("r10") = timeout;
        long r;
        asm volatile("syscall" : "=a"(r) : "0"(232L), "D"((long) fd), "S"(events), "d"((long) max), "r"(r10)
                     : "rcx", "r11", "memory");
        return r;
}
"""


def _link_tree(folder):
    """A root file system of busybox: the program is one file for all, the rest is the bundle's own."""
    masters = os.path.join(os.environ['LXCRI_TEST_TMP'], 'programs')
    busybox, applets = images._busybox()  # pylint: disable=protected-access
    if not os.path.exists(masters):
        os.makedirs(masters + '.new', exist_ok=True)
        shutil.copy(busybox, masters + '.new/busybox')
        with open(masters + '.new/probe', 'wb') as f:
            f.write(images.static_program(PROBE))
        os.chmod(masters + '.new/probe', 0o755)
        os.rename(masters + '.new', masters)
    for name, mode in (('bin', 0o755), ('dev', 0o755), ('etc', 0o755), ('home', 0o755), ('proc', 0o555), ('root', 0o700),
                       ('run', 0o755), ('sys', 0o555), ('tmp', 0o1777), ('usr', 0o755), ('var', 0o755)):
        os.mkdir(os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), mode)
    for name in ('busybox', 'probe'):
        os.link(os.path.join(masters, name), os.path.join(folder, 'bin', name))
    for applet in applets:
        if applet != 'busybox':
            os.symlink('busybox', os.path.join(folder, 'bin', applet))
    for name, text in (('passwd', images.PASSWD), ('group', images.GROUP)):
        with open(os.path.join(folder, 'etc', name), 'w', encoding='utf-8') as f:
            f.write(text)


def default_config():
    """What `runc spec` writes, without a terminal, writable, with the capabilities that engines give."""
    def mount(destination, kind, options, source=None):
        return {'destination': destination, 'type': kind, 'source': source or kind, 'options': options}
    return {
        'ociVersion': '1.0.2',
        'process': {
            'terminal': False, 'user': {'uid': 0, 'gid': 0}, 'args': ['sleep', '1000'], 'cwd': '/', 'env': [PATH],
            'capabilities': {name: list(CAPS) for name in ('bounding', 'effective', 'permitted')},
            'noNewPrivileges': True},
        'root': {'path': 'rootfs', 'readonly': False},
        'hostname': 'box',
        'mounts': [
            mount('/proc', 'proc', []),
            mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
            mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
            mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'], 'shm'),
            mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
            mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro'])],
        'linux': {
            'resources': {'devices': [{'allow': False, 'access': 'rwm'}]},
            'namespaces': [{'type': name} for name in ('pid', 'network', 'ipc', 'uts', 'mount')],
            'maskedPaths': ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
            'readonlyPaths': ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']}}


class Refused(Exception):
    """A command of the runtime failed: what it said, and its status."""

    def __init__(self, args, status, text):
        super().__init__(f'{" ".join(args)}: status {status}: {text}')
        self.status, self.text = status, text


class Container:
    """A bundle with an id, and what can be done with them. `config` is written by create and run."""

    def __init__(self, host, name, id_):
        self.host, self.id = host, id_
        self.bundle = os.path.join(host.folder, name)
        self.rootfs = os.path.join(self.bundle, 'rootfs')
        self.out_path = os.path.join(self.bundle, 'out')
        self.pid_file = os.path.join(self.bundle, 'pid')
        self.config = default_config()
        self.place(id_)
        self.pid = 0
        os.makedirs(self.rootfs)
        _link_tree(self.rootfs)

    # Its configuration.

    def place(self, name):
        """Another group for it: a folder, or a scope of systemd's."""
        if has_systemd():
            self.cgroup, self.linux['cgroupsPath'] = f'/{SLICE}/lxcri-{name}.scope', f'{SLICE}:lxcri:{name}'
        else:
            self.cgroup = self.linux['cgroupsPath'] = f'/{ID}/{name}'
        return self

    @property
    def process(self):
        return self.config['process']

    @property
    def linux(self):
        return self.config['linux']

    def args(self, *argv):
        self.process['args'] = list(argv)
        return self

    def sh(self, script):
        return self.args('sh', '-c', script)

    def namespace(self, kind, path=None):
        """Another namespace, or another path for it."""
        self.without_namespace(kind)
        self.linux['namespaces'].append({'type': kind, **({'path': path} if path else {})})
        return self

    def without_namespace(self, kind):
        self.linux['namespaces'] = [n for n in self.linux['namespaces'] if n['type'] != kind]
        return self

    def mount(self, source, destination, *options, kind='bind', **more):
        self.config['mounts'].append({'destination': destination, 'type': kind, 'source': source,
                                      'options': list(options), **more})
        return self

    def replace_mount(self, destination, **more):
        for mount in self.config['mounts']:
            if mount['destination'] == destination:
                mount.update(more)
        return self

    def without_mount(self, *destinations):
        self.config['mounts'] = [m for m in self.config['mounts'] if m['destination'] not in destinations]
        return self

    def caps(self, *names):
        for kind in ('bounding', 'effective', 'permitted'):
            self.process['capabilities'][kind] += names
        return self

    def user_namespace(self, host_id=100000, size=65536):
        """A user namespace of its own, and the root file system its root's."""
        self.namespace('user')
        self.linux['uidMappings'] = [{'containerID': 0, 'hostID': host_id, 'size': size}]
        self.linux['gidMappings'] = [{'containerID': 0, 'hostID': host_id, 'size': size}]
        for folder, _, files in os.walk(self.rootfs):
            os.chown(folder, host_id, host_id)
            for name in files:
                path = os.path.join(folder, name)
                if os.stat(path, follow_symlinks=False).st_nlink == 1:
                    os.lchown(path, host_id, host_id)
        return self

    def file(self, path, text='', mode=0o644):
        """A file in the root file system; its path on the host."""
        path = os.path.join(self.rootfs, path.lstrip('/'))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def folder(self, name, **files):
        """A folder of the host, beside the root file system, with files."""
        path = os.path.join(self.bundle, name)
        os.makedirs(path, exist_ok=True)
        for file, text in files.items():
            with open(os.path.join(path, file), 'w', encoding='utf-8') as f:
                f.write(text)
        return path

    def hook(self, kind, script, **more):
        """A hook that is a shell script; its output goes where the script says."""
        self.config.setdefault('hooks', {}).setdefault(kind, []).append(
            {'path': '/bin/sh', 'args': ['sh', '-c', script], 'env': [PATH], **more})
        return self

    def write(self):
        with open(os.path.join(self.bundle, 'config.json'), 'w', encoding='utf-8') as f:
            json.dump(without_fields.strip(self.config), f)

    # What the runtime does with it.

    def create(self, *options, write=True, **popen):
        """Creates it with `out` as its output; the pid of init."""
        if write:
            self.write()
        self.host.note(self)
        with open(self.out_path, 'ab') as out:
            before = os.path.getsize(self.out_path)
            done = subprocess.run(self.host.command('create', '--bundle', self.bundle, '--pid-file', self.pid_file,
                                                    *options, self.id),
                                  **{'stdin': subprocess.DEVNULL, 'stdout': out, 'stderr': out, 'timeout': 60 * SLOW,
                                     'check': False, **popen})
        if done.returncode:
            raise Refused(['create'], done.returncode, self.output_text()[before:] + self.host.last_log())
        with open(self.pid_file, encoding='ascii') as f:
            self.pid = int(f.read())
        return self.pid

    def start(self):
        self.host.call('start', self.id)
        return self

    def up(self, *options, **popen):
        """create and start."""
        self.create(*options, **popen)
        self.start()
        if NAME != 'lxcri':  # whose start returns before the program runs
            until(lambda: not alive(self.pid) or self.proc('comm')[:4] not in ('runc', 'crun', '3\n', '4\n', 'exe\n'))
        return self

    def state(self):
        return json.loads(self.host.call('state', self.id))

    def status(self):
        return self.state()['status']

    def kill(self, sig='KILL', *options):
        self.host.call('kill', *options, self.id, str(sig))

    def delete(self, *options):
        self.host.call('delete', *options, self.id)

    def exec(self, *argv, options=(), check=True, **popen):
        done = subprocess.run(self.host.command('exec', *options, self.id, *argv), **{
            'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True,
            'timeout': 60 * SLOW, 'check': False, **popen})
        if check and done.returncode:
            raise Refused(['exec', *argv], done.returncode, (done.stderr or '') + (done.stdout or ''))
        return done.stdout if check else done

    def run(self, *options, check=True, **popen):
        """`run` in the foreground: what the container says, or the whole result without `check`."""
        self.write()
        self.host.note(self)
        done = subprocess.run(self.host.command('run', '--bundle', self.bundle, *options, self.id), **{
            'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True,
            'timeout': 60 * SLOW, 'check': False, **popen})
        if check and done.returncode:
            raise Refused(['run'], done.returncode, (done.stderr or '') + (done.stdout or '') + self.host.last_log())
        return done.stdout if check else done

    def says(self, script):
        """What the shell script prints in a container of its own."""
        return self.sh(script).run().strip()

    def refused(self, *words):
        """create fails with all of the words in its message, and leaves nothing."""
        try:
            self.create()
        except Refused as error:
            for word in words:
                assert word.lower() in error.text.lower(), error.text
            assert not self.host.knows(self.id), 'what failed has left a container'
            return error
        raise AssertionError('create took it')

    def wait(self, seconds=15):
        """Waits for init as its parent does; its exit code, negative for a signal."""
        return reap(self.pid, seconds)

    def stop(self):
        """kill -9, wait."""
        with contextlib.suppress(Refused):
            self.kill('KILL')
        return self.wait()

    # What the host sees of it.

    def output_text(self):
        with open(self.out_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def expect(self, text, seconds=10):
        """Waits until its output has the text."""
        until(lambda: text in self.output_text(), seconds, lambda: f'no {text!r} in {self.output_text()!r}')
        return self.output_text()

    def proc(self, name):
        with open(f'/proc/{self.pid}/{name}', encoding='utf-8') as f:
            return f.read()

    def status_field(self, name):
        """A line of /proc/PID/status."""
        for line in self.proc('status').splitlines():
            if line.startswith(name + ':'):
                return line.split(':', 1)[1].strip()
        raise AssertionError(f'no {name}')

    def mountinfo(self, point):
        """(mount options, optional fields, type, source, super options) of the topmost mount on the point, or None."""
        return find_mount(self.proc('mountinfo'), point)

    def cgroup_file(self, controller, name):
        """The path of a file of its cgroup; controller is of v1, and unused with v2."""
        return cgroup_path(controller, self.cgroup, name)


def find_mount(text, point):
    found = None
    for line in text.splitlines():
        words = line.split()
        if words[4] == point:
            dash = words.index('-')
            found = (words[5].split(','), words[6:dash], words[dash + 1], words[dash + 2], words[dash + 3].split(','))
    return found


def cgroup_path(controller, group, name=''):
    v1 = f'/sys/fs/cgroup/{controller}'
    top = v1 if os.path.isdir(v1) else '/sys/fs/cgroup'
    return os.path.join(top + group, name)


def until(condition, seconds=10, says='it does not come to it'):
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, says() if callable(says) else says
        time.sleep(0.005 * SLOW)


def reap(pid, seconds=15):
    """Waits for a child that was never forked here but left to us; its exit code, negative for a signal."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise AssertionError(f'process {pid} is gone, and was never left to its subreaper') from None
    try:
        assert select.select([fd], [], [], seconds * SLOW)[0], f'process {pid} does not end'
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(fd)


def kill_watcher(box):
    """Ends the process in which liblxc's loop goes on. While the kernel moves it to another group, that takes a while."""
    with open(os.path.join(box.host.root, box.id, 'state.json'), encoding='utf-8') as f:
        pid = json.load(f)['watcherPid']
    with open(f'/proc/{pid}/comm', encoding='utf-8') as f:
        assert f.read() == 'lxcri-watch\n'
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == -9


def alive(pid):
    """Is it there, and no zombie?"""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def can(*names):
    """Has this host's root the capabilities?"""
    with open('/proc/self/status', encoding='ascii') as f:
        own = int(re.search(r'CapEff:\s*(\w+)', f.read())[1], 16)
    return all(own >> {'CAP_SYS_RESOURCE': 24}[name] & 1 for name in names)


def children():
    with open(f'/proc/self/task/{os.getpid()}/children', encoding='ascii') as f:
        return {int(word) for word in f.read().split()}


def cgroups():
    """The cgroups of this run."""
    return {path for top in glob.glob('/sys/fs/cgroup') + glob.glob('/sys/fs/cgroup/*')
            if NAME != 'crun' or not top.endswith('/unified')  # a plain folder then, where crun leaves its own
            for name in (ID, SLICE) for path, _, _ in os.walk(os.path.join(top, name)) if not path.endswith('/' + name)}


def may_be_ours(pid):
    """Not where ids of processes are the whole host's, and this one is in no group of this run."""
    if not has_systemd():
        return True
    try:
        with open(f'/proc/{pid}/cgroup', encoding='ascii') as f:
            return SLICE in f.read()
    except OSError:
        return False


class Host:
    """One runtime with a folder of containers (--root) and of bundles, for one test. This process becomes the
    subreaper, as a containerd-shim is."""

    def __init__(self, folder):
        self.folder = folder
        self.root = os.path.join(folder, 'root')
        self.log = os.path.join(folder, 'log.json')
        self.count = 0
        self.containers = []
        os.chmod(folder, 0o755)  # the root of a user namespace goes through it
        self.before_children = children()
        self.before = self.things()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def container(self, *argv, name=None, id_=None):
        self.count += 1
        name = name or f'b{self.count}'
        made = Container(self, name, id_ or f'{ID}-{self.count}')
        return made.args(*argv) if argv else made

    def note(self, container):
        """This one may be there at the end."""
        if container not in self.containers:
            self.containers.append(container)

    def command(self, *args, options=()):
        driver = ['--systemd-cgroup'] if has_systemd() else []
        return [program(), '--root', self.root, '--log', self.log, '--log-format', 'json', *driver, *options, *args]

    def call(self, *args, **popen):
        """A command of the runtime that must succeed: its output."""
        done = self.result(*args, **popen)
        if done.returncode:
            raise Refused(args, done.returncode, done.stderr + done.stdout)
        return done.stdout

    def result(self, *args, **popen):
        return subprocess.run(self.command(*args), **{
            'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True,
            'timeout': 60 * SLOW, 'check': False, **popen})

    def list(self):
        return json.loads(self.call('list', '--format', 'json')) or []

    def knows(self, id_):
        return id_ in self.call('list', '-q').split()

    def last_log(self):
        try:
            with open(self.log, encoding='utf-8') as f:
                return f.read()[-2000:]
        except FileNotFoundError:
            return ''

    def log_lines(self):
        with open(self.log, encoding='utf-8') as f:
            return [json.loads(line) for line in f if line.strip()]

    # What is left.

    def things(self):
        """What a runtime could leave behind, as a set of words."""
        own = os.readlink('/proc/self/ns/mnt')
        return ({f'process {pid} {text}' for pid, text in processes().items()
                 if alive(pid) and may_be_ours(pid)}
                | {f'mount {point} #{n}' for ns, point, n in mounts()
                   if ns == own and not point.endswith(NOBODYS)}
                | {f'cgroup {path}' for path in cgroups()}
                | {f'state {name}' for name in (os.listdir(self.root) if os.path.isdir(self.root) else ())
                   if not name.startswith('@')})  # no container's: what the runtime keeps for all

    def left(self):
        return sorted(self.things() - self.before)

    def reap_all(self):
        """Takes what was left to us and has ended."""
        for pid in children() - self.before_children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def expect_nothing(self, seconds=5):
        """Nothing of any container is there any more."""
        def check():
            self.reap_all()
            return not self.left()
        until(check, seconds, lambda: 'left behind: ' + '\n'.join(self.left()))

    def close(self, strict=True):
        try:
            for container in reversed(self.containers):  # those that have joined others' namespaces first
                if os.path.exists(os.path.join(self.root, container.id)):
                    self.result('delete', '--force', container.id)
                    self.reap_all()  # a PID namespace does not end before its zombies
            if strict:
                self.expect_nothing()
        finally:
            self.sweep()
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def sweep_cgroups(self):
        """Those without a process; for tests after which no runtime can know of them."""
        for path in sorted(cgroups(), reverse=True):
            with contextlib.suppress(OSError), open(os.path.join(path, 'cgroup.events'), encoding='ascii') as f:
                if 'populated 1' in f.read():
                    continue
            if re.search(r'/lxcri-[^/]*\.scope$', path):  # a container's: this run is in one, too
                subprocess.run(['systemctl', 'stop', os.path.basename(path)], check=False)
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def sweep(self):
        """Ends what is left of a test that failed, so that the next is not blamed for it."""
        for word in self.left():
            if word.startswith('process '):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(word.split()[1]), signal.SIGKILL)
        self.reap_all()
        self.sweep_cgroups()
        subprocess.run(['rm', '-rf', '--one-file-system', self.folder], check=False, stderr=subprocess.DEVNULL)


class ConsoleSocket:
    """Where a runtime sends the master of a container's terminal."""

    def __init__(self, folder):
        self.path = os.path.join(folder, 'console.sock')
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()
        self.socket.settimeout(20 * SLOW)
        self.name = None
        self.fd = -1
        self.text = ''

    def accept(self):
        """Takes the master."""
        connection, _ = self.socket.accept()
        with connection:
            fds = array.array('i')
            data, extra, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize * 4))
            for level, kind, value in extra:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
        assert len(fds) == 1, f'{len(fds)} descriptors'
        self.name, self.fd = data.decode().rstrip('\0'), fds[0]
        return self

    def read_until(self, text, seconds=10):
        """What the terminal shows up to the text; an end without it fails."""
        deadline = time.monotonic() + seconds * SLOW
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f'no {text!r} in {self.text!r}'
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b''
                assert data, f'the terminal ended without {text!r}: {self.text!r}'
                self.text += data.decode(errors='replace')
        return self.text

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        self.socket.close()
        if self.fd >= 0:
            os.close(self.fd)
