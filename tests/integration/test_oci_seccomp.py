"""linux.seccomp of bundles: in force for the container's program and for each exec; filters that ask an agent."""

import array
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import threading

import pytest

from bundle import NAME, until
from cri import SLOW

RECV, SEND = 0xc0502100, 0xc0182101  # SECCOMP_IOCTL_NOTIF_*
SETHOSTNAME, MKDIR, MKDIRAT = 170, 83, 258
OURS = pytest.mark.skipif(NAME != 'lxcri', reason='how this runtime keeps its filters')
CALL = ('probe', 'call', str(SETHOSTNAME), '0', '1')


def profile(box, *rules, default='SCMP_ACT_ALLOW', **more):
    box.linux['seccomp'] = {'defaultAction': default, 'architectures': ['SCMP_ARCH_X86_64'],
                            'syscalls': [{'names': ['sethostname'], **rule} for rule in rules], **more}
    return box


def refuse(number=71, **more):
    return {'action': 'SCMP_ACT_ERRNO', 'errnoRet': number, **more}


class Agent:
    """Listens for filters, and answers each call with an errno."""

    def __init__(self, path, error=93):
        self.path, self.error = path, error
        self.messages, self.calls, self.fds = [], [], []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                fds = array.array('i')
                data, extra, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(fds.itemsize * 4))
                for level, kind, value in extra:
                    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                    fds.frombytes(value)
                while more := connection.recv(65536):  # to the end: it is closed once all is said
                    data += more
            self.fds += fds
            self.messages.append(json.loads(data))
            threading.Thread(target=self.answer, args=(fds[0],), daemon=True).start()

    def answer(self, fd):
        while True:
            buffer = bytearray(80)
            try:
                fcntl.ioctl(fd, RECV, buffer)
                ident, _, _, number = struct.unpack_from('QIIi', buffer)
                self.calls.append(number)
                fcntl.ioctl(fd, SEND, struct.pack('QqiI', ident, 0, -self.error, 0))
            except OSError:
                return

    def close(self):
        self.socket.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def agent(tmp_path):
    made = Agent(str(tmp_path / 'agent.sock'))
    yield made
    made.close()


def asking(box, agent, **more):
    profile(box, {'action': 'SCMP_ACT_NOTIFY'}, listenerPath=agent.path, listenerMetadata='of the test', **more)
    return box


def test_actions(oci):
    """What each action does to a program."""
    for action, expected in (('SCMP_ACT_ERRNO', '1'), ('SCMP_ACT_LOG', '14'), ('SCMP_ACT_ALLOW', '14'), ('SCMP_ACT_TRACE', '38')):
        box = profile(oci.container(*CALL), {'action': action}).caps('CAP_SYS_ADMIN')
        assert box.run().strip() == expected, action
    for action in ('SCMP_ACT_KILL', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_TRAP'):
        box = profile(oci.container(*CALL), {'action': action})
        assert box.run(check=False).returncode == 128 + 31, action


def test_errno(oci):
    assert profile(oci.container(*CALL), refuse()).run().strip() == '71'
    box = profile(oci.container('sh', '-c', f'mkdir /x; echo $?; {" ".join(CALL)}'), default='SCMP_ACT_ERRNO', defaultErrnoRet=38)
    box.linux['seccomp']['syscalls'] = [{'names': ['mkdir', 'mkdirat', 'no_such_call'], **refuse()}, *[
        {'names': ['read', 'write', 'writev', 'open', 'openat', 'close', 'fstat', 'stat', 'lstat', 'newfstatat', 'poll', 'mmap',
                   'munmap', 'mprotect', 'brk', 'rt_sigaction', 'rt_sigprocmask', 'rt_sigreturn', 'ioctl', 'execve',
                   'exit', 'exit_group', 'wait4', 'arch_prctl', 'fcntl', 'clone', 'vfork', 'fork', 'getpid', 'getppid', 'getuid',
                   'geteuid', 'getgid', 'getegid', 'getcwd', 'set_tid_address', 'umask', 'prctl', 'capset', 'capget', 'futex',
                   'set_robust_list', 'readlink', 'prlimit64', 'getrandom', 'rseq', 'sendmsg', 'recvmsg', 'setresuid',
                   'setresgid', 'setgroups', 'chdir', 'fchdir', 'sigaltstack', 'dup2', 'pipe2', 'gettid', 'tgkill', 'uname',
                   'access', 'faccessat2', 'lseek', 'clock_gettime', 'nanosleep', 'setsid', 'getpgrp', 'setpgid',
                   'epoll_ctl', 'epoll_pwait', 'epoll_create1', 'eventfd2', 'getdents64', 'statfs', 'fstatfs', 'keyctl',
                   'unlinkat', 'sched_getaffinity', 'sched_yield', 'madvise', 'pread64', 'tkill', 'nanosleep',
                   'clock_nanosleep', 'openat2', 'close_range', 'sendto', 'recvfrom', 'getsockopt', 'fchown', 'setuid',
                   'setgid', 'seccomp', 'getpeername', 'getsockname', 'socket', 'connect', 'mount_setattr', 'restart_syscall'],
         'action': 'SCMP_ACT_ALLOW'}]]
    done = box.run(check=False)
    assert done.stdout == '1\n38\n' and 'Protocol error' in done.stderr, done


def test_arguments(oci):
    """Only calls whose arguments fit."""
    def outcome(length, **argument):
        box = profile(oci.container('probe', 'call', str(SETHOSTNAME), '0', str(length)), refuse(args=[{'index': 1, **argument}]))
        return box.run().strip() == '71'
    for op, hits, misses, more in (('EQ', 8, 9, {}), ('NE', 9, 8, {}), ('LT', 7, 8, {}), ('LE', 8, 9, {}), ('GE', 8, 7, {}),
                                   ('GT', 9, 8, {}), ('MASKED_EQ', 9, 7, {'valueTwo': 8})):
        assert outcome(hits, op=f'SCMP_CMP_{op}', value=8, **more), op
        assert not outcome(misses, op=f'SCMP_CMP_{op}', value=8, **more), op
    assert outcome(-1, op='SCMP_CMP_EQ', value=2 ** 64 - 1)


def test_architectures(oci):
    """A call by another of the host's system call tables is fatal, or comes under the rules if the profile names that one."""
    if os.uname().machine != 'x86_64':
        pytest.skip('of x86-64')
    call = ('probe', 'call32', '74', '0', '1')  # sethostname there
    assert oci.container(*call).caps('CAP_SYS_ADMIN').run().strip() == '14'
    box = profile(oci.container(*call), refuse())
    box.linux['seccomp']['architectures'] += ['SCMP_ARCH_X86', 'SCMP_ARCH_X32']
    assert box.run().strip() == '71'
    assert profile(oci.container(*call), refuse()).run(check=False).returncode == 128 + 31


def test_no_new_privileges(oci):
    """The filter comes as late as possible with it, and before capabilities go without."""
    for value in (True, False):
        box = profile(oci.container('sh', '-c', 'grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status'), refuse())
        box.process['noNewPrivileges'] = value
        box.process['user'] = {'uid': 1000, 'gid': 1000}
        assert box.run().split() == ['NoNewPrivs:', str(int(value)), 'Seccomp:', '2']


def test_exec(oci):
    """Holds for an exec as well, with a process of its own or without."""
    box = profile(oci.container(), refuse())
    box.up()
    assert box.exec(*CALL).strip() == '71'
    path = os.path.join(box.bundle, 'process.json')
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'args': list(CALL), 'cwd': '/', 'user': {'uid': 0, 'gid': 0}, 'env': ['PATH=/bin']}, f)
    done = subprocess.run(oci.command('exec', '--process', path, box.id), check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == '71'
    box.stop()


@pytest.mark.parametrize('flag', ['LOG', 'SPEC_ALLOW', 'TSYNC'])
def test_flags(oci, flag):
    if NAME == 'runc' and flag == 'TSYNC':
        pytest.skip('runc: 1.1 takes it for unknown in some versions')
    box = profile(oci.container(*CALL), refuse(), flags=[f'SECCOMP_FILTER_FLAG_{flag}'])
    assert box.run().strip() == '71'


def filter_flags(pid):
    """The flags of the youngest filter of a process, as the kernel tells a tracer: of them, that of SECCOMP_FILTER_FLAG_LOG."""
    seize, interrupt, metadata, detach = 0x4206, 0x4207, 0x420d, 17
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    assert libc.ptrace(seize, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    try:
        assert libc.ptrace(interrupt, pid, None, None) == 0
        os.waitpid(pid, 0x40000000)  # __WALL
        told = (ctypes.c_uint64 * 2)(0, 0)
        if libc.ptrace(metadata, pid, ctypes.sizeof(told), ctypes.addressof(told)) < 0:
            pytest.skip(f'this kernel does not tell: {os.strerror(ctypes.get_errno())}')
        return told[1]
    finally:
        libc.ptrace(detach, pid, None, None)


@pytest.mark.parametrize('flags', [[], ['SECCOMP_FILTER_FLAG_LOG']])
def test_log_flag(oci, flags):
    box = profile(oci.container('sleep', '1000'), refuse(), flags=flags)
    box.up()
    assert filter_flags(box.pid) == (2 if flags else 0)


@OURS
@pytest.mark.parametrize('flags', [[], ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV']])
def test_wait_killable_flag(oci, agent, flags):
    """What the agent has been told of is not interrupted by signals."""
    told = []

    def hold(fd):
        buffer = bytearray(80)
        fcntl.ioctl(fd, RECV, buffer)
        told.append(struct.unpack_from('QI', buffer)[1])
    agent.answer = hold
    box = asking(oci.container('sh', '-c', ' '.join(CALL) + '; sleep 1000'), agent, flags=flags)
    box.up()
    until(lambda: told)
    os.kill(told[0], signal.SIGSTOP)

    def state():
        with open(f'/proc/{told[0]}/stat', encoding='ascii') as f:
            return f.read().split(') ')[1][0]
    until(lambda: state() == ('D' if flags else 'T'))


@OURS
@pytest.mark.parametrize('change, word', [
    ({'defaultAction': 'SCMP_ACT_X'}, 'SCMP_ACT_X'), ({'architectures': ['SCMP_ARCH_X']}, 'SCMP_ARCH_X'),
    ({'architectures': ['SCMP_ARCH_SHEB']}, 'SCMP_ARCH_SHEB'), ({'flags': ['X']}, 'X'), ({'defaultErrnoRet': 4}, 'errnoRet'),
    ({'syscalls': [{'names': ['read'], 'action': 'SCMP_ACT_KILL', 'errnoRet': 1}]}, 'errnoRet'),
    ({'syscalls': [{'names': ['read'], 'action': 'SCMP_ACT_NOTIFY'}]}, 'linux.seccomp.listenerPath'),
    ({'syscalls': [{'names': ['read'], **refuse(args=[{'index': 6, 'op': 'SCMP_CMP_EQ', 'value': 1}])}]}, 'index'),
    ({'listenerMetadata': 'x'}, 'listenerMetadata')])
def test_wrong(oci, change, word):
    """An error that names it, when the container is made; nothing stays."""
    box = profile(oci.container())
    box.linux['seccomp'].update(change)
    box.refused('linux.seccomp', word)


@OURS
def test_kept(oci):
    """Filters are compiled once, and what is kept is believed only when nobody else can have written it."""
    folder = os.path.join(oci.root, '@seccomp')
    box = profile(oci.container(*CALL), refuse())
    assert box.run().strip() == '71'
    assert oci.list() == [] and os.stat(folder).st_mode & 0o777 == 0o700
    [name] = os.listdir(folder)
    path = os.path.join(folder, name)
    before = os.stat(path).st_mtime_ns
    assert box.run().strip() == '71' and os.stat(path).st_mtime_ns == before
    with open(path, 'rb') as f:
        data = f.read()
    other = data.replace(struct.pack('I', 0x50000 | 71), struct.pack('I', 0x50000 | 72))
    with open(path, 'wb') as f:
        f.write(other)
    assert box.run().strip() == '72', 'the file is not what is used'
    os.chmod(path, 0o666)
    assert box.run().strip() == '71' and os.stat(path).st_mode & 0o777 == 0o600
    with open(path, 'wb') as f:
        f.write(data[:-1])
    assert box.run().strip() == '71'


def check_message(message, box, pid, status):
    assert message['fds'] == ['seccompFd'] and message['pid'] == pid and message['metadata'] == 'of the test'
    assert message['ociVersion'].startswith('1.') or NAME == 'crun'
    state = message['state']
    assert state['id'] == box.id and state['bundle'] == box.bundle and state['status'] in status


def test_agent(oci, agent):
    """An agent outside decides: about the program, and about each exec, each with a filter of its own."""
    box = asking(oci.container('sh', '-c', ' '.join(CALL) + '; sleep 1000'), agent)
    box.up()
    box.expect('93')
    [message] = agent.messages
    check_message(message, box, box.pid, ('created', 'creating'))
    assert agent.calls == [SETHOSTNAME]
    assert box.exec(*CALL).strip() == '93'
    check_message(agent.messages[1], box, agent.messages[1]['pid'], ('running',))
    assert len(agent.messages) == 2 and agent.messages[1]['pid'] != box.pid
    box.stop()


@OURS
def test_agent_for_any_call(oci, agent):
    """Also those by which the descriptor is handed over, and all that comes after."""
    agent.error = 5
    box = asking(oci.container('probe', 'call', '46', '-1', '0', '0'), agent)
    box.linux['seccomp']['syscalls'][0]['names'] = ['sendmsg', 'recvmsg', 'recvfrom', 'sendto', 'futex']
    assert box.run().strip() == '5' and 46 in agent.calls


def test_no_agent(oci, agent):
    """Nobody there: the container does not start."""
    agent.close()
    agent.fds = []
    os.unlink(agent.path)
    box = asking(oci.container(), agent)
    box.write()
    done = subprocess.run(oci.command('run', '--bundle', box.bundle, box.id), check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30 * SLOW)
    assert done.returncode != 0 and agent.path in done.stderr + oci.last_log()
    oci.result('delete', '--force', box.id)
    oci.expect_nothing()


@OURS
def test_agent_goes_away(oci, agent):
    """One that takes the descriptor and ends: the calls fail, nothing hangs."""
    agent.answer = os.close
    box = asking(oci.container(*CALL), agent)
    done = box.run(check=False)
    agent.fds = []
    assert done.stdout.strip() == '38', done
