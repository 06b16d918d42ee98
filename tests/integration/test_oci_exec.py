"""exec of the OCI runtime: a further program in a running container."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest

from bundle import NAME, ConsoleSocket, alive, cgroup_path, children, reap, until
from cri import SLOW


def failed(box, *argv, options=()):
    """The exec is refused: what is said of it."""
    done = box.exec(*argv, options=options, check=False)
    assert done.returncode not in (0, 2), f'it ended with {done.returncode}'
    assert done.stderr.strip(), 'an error without a message'
    return (done.stderr + done.stdout).lower()


def process_file(box, **changes):
    path = os.path.join(box.bundle, 'process.json')
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'args': ['id'], 'cwd': '/', 'user': {'uid': 0, 'gid': 0}, **changes}, f)
    return path


def namespaces(pid):
    return {name: os.readlink(f'/proc/{pid}/ns/{name}')
            for name in ('cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts')}


def detached(box, *argv, options=(), **popen):
    """An exec that is left to us: its pid."""
    path = os.path.join(box.bundle, 'exec.pid')
    done = box.exec(*argv, options=('--detach', '--pid-file', path, *options), check=False, **{
        'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL, **popen})
    assert done.returncode == 0
    with open(path, encoding='ascii') as f:
        return int(f.read())


@pytest.fixture(name='box')
def box_fixture(oci):
    box = oci.container()
    box.process['env'].append('OF=container')
    box.up()
    return box


def test_output_and_exit_codes(box):
    assert box.exec('echo', 'hello') == 'hello\n'
    assert box.exec('cat', stdin=None, input='typed') == 'typed'
    done = box.exec('sh', '-c', 'echo out; echo err >&2; exit 7', check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, 'out\n', 'err\n')
    assert box.exec('sh', '-c', 'kill -9 $$', check=False).returncode == 128 + 9


def test_it_is_in_the_container(box):
    pid = detached(box, 'sleep', '1000')
    mine, init = namespaces(pid), namespaces(box.pid)
    assert mine == init
    with open(cgroup_path('memory', box.cgroup, 'cgroup.procs'), encoding='ascii') as f:
        assert pid in [int(line) for line in f]
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == -9


def test_user_namespace(oci):
    box = oci.container().user_namespace()
    box.up()
    assert box.exec('id', '-u').strip() == '0'
    pid = detached(box, 'sleep', '1000')
    assert os.stat(f'/proc/{pid}').st_uid == 100000
    assert namespaces(pid) == namespaces(box.pid)
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == -9
    assert box.exec('sh', '-c', 'echo x > /dev/stdout').strip() == 'x'


def test_what_is_the_containers_own_is_kept_and_options_change_it(box):
    assert 'OF=container' in box.exec('env')
    text = box.exec('sh', '-c', 'pwd; id -u; id -g; id -G; echo $NEW $OF', options=(
        '--cwd', '/tmp', '--user', '1000:2000', '--additional-gids', '7', '--additional-gids', '8',
        '--env', 'NEW=value', '--env', 'OF=exec'))
    cwd, uid, gid, groups, env = text.splitlines()
    assert (cwd, uid, gid, env) == ('/tmp', '1000', '2000', 'value exec')
    assert {'7', '8'} <= set(groups.split())
    assert box.exec('sh', '-c', 'pwd; id -u').split() == ['/', '0']


@pytest.mark.parametrize('field', ['CapEff', 'CapPrm', 'CapBnd'])
def test_capabilities_are_the_containers_and_those_added(box, field):
    def caps(*options):
        for line in box.exec('cat', '/proc/self/status', options=options).splitlines():
            if line.startswith(field + ':'):
                return int(line.split()[1], 16)
        raise AssertionError(field)
    own = int(box.status_field(field), 16)
    assert caps() == own
    assert caps('--cap', 'CAP_SYS_PTRACE') == own | 1 << 19


def test_process_file(box):
    path = process_file(box, args=['sh', '-c', 'id -u; pwd; env; ulimit -n; cat /proc/self/status'], cwd='/tmp',
                        user={'uid': 12, 'gid': 34}, env=['PATH=/bin', 'ONLY=this'], noNewPrivileges=True,
                        rlimits=[{'type': 'RLIMIT_NOFILE', 'soft': 99, 'hard': 99}],
                        capabilities={'bounding': ['CAP_KILL']})
    text = box.exec(options=('--process', path))
    lines = text.splitlines()
    assert lines[:2] == ['12', '/tmp']
    assert 'ONLY=this' in lines and 'OF=container' not in lines and '99' in lines
    assert 'CapBnd:\t0000000000000020' in lines and 'NoNewPrivs:\t1' in lines


def test_bad_process_files(box):
    assert 'cwd' in failed(box, options=('--process', process_file(box, cwd='')))
    assert 'args' in failed(box, options=('--process', process_file(box, args=[])))
    assert failed(box, options=('--process', box.bundle + '/missing.json'))


@pytest.mark.parametrize(('program', 'word'), [
    ('nosuch', 'executable file not found in $path'),
    ('/nosuch', 'no such file or directory'),
    ('/etc/passwd', 'permission denied'),
    ('/etc', 'permission denied|is a directory'),
])
def test_programs_that_cannot_be_run(box, program, word):
    text = failed(box, program)
    assert any(part in text for part in word.split('|')), text


def test_containers_that_are_not_there(oci, box):
    assert 'does not exist' in oci.result('exec', 'nosuch', 'true').stderr
    box.stop()
    assert 'stopped' in failed(box, 'true')


def test_a_created_container(oci):
    box = oci.container()
    box.create()
    assert box.exec('echo', 'x') == 'x\n'
    box.start()


def test_a_paused_container(oci, box):
    oci.call('pause', box.id)
    assert 'paused' in failed(box, 'true')
    before = time.monotonic()
    with subprocess.Popen(oci.command('exec', '--ignore-paused', box.id, 'echo', 'late'),
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        time.sleep(0.5)
        assert process.poll() is None
        oci.call('resume', box.id)
        assert process.communicate(timeout=20 * SLOW)[0] == b'late\n'
    assert time.monotonic() - before > 0.5


def test_detached_is_left_to_the_subreaper(box):
    pid = detached(box, 'sh', '-c', 'sleep 0.2; exit 3')
    assert pid in children()
    assert reap(pid) == 3


def test_pid_file_that_cannot_be_written(box):
    before = children()
    assert failed(box, 'sleep', '1000', options=('--detach', '--pid-file', '/nosuch/pid'))
    until(lambda: children() == before)


def test_signals_go_on_to_it(oci, box):
    with subprocess.Popen(oci.command('exec', box.id, 'probe', 'signals'), stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b'ready\n'
        for sig in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
            process.send_signal(sig)
            assert process.stdout.readline() == b'got %02d\n' % sig
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20 * SLOW) == 7


def test_container_ends_while_it_runs(oci, box):
    with subprocess.Popen(oci.command('exec', box.id, 'sh', '-c', 'echo up; exec sleep 1000'),
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b'up\n'
        box.stop()
        assert process.wait(timeout=20 * SLOW) == 128 + 9


def test_nothing_of_the_host_is_open(box):
    inherited = os.open('/', os.O_PATH)
    try:
        os.set_inheritable(inherited, True)
        lines = box.exec('probe', 'fds', close_fds=False).splitlines()
    finally:
        os.close(inherited)
    assert [line.split()[0] for line in lines if not line.endswith('/fd')] == ['0', '1', '2'], lines


@pytest.mark.parametrize('cwd', ['/proc/self/fd/7', '/proc/self/fd/8', '/proc/1/root/..', '/link'])
def test_cwd_stays_inside(box, cwd):
    """CVE-2024-21626: a descriptor of the host's as working folder."""
    os.symlink('/proc/self/fd/7', os.path.join(box.rootfs, 'link'))
    done = box.exec('sh', '-c', 'ls ../../../../..', options=('--cwd', cwd), check=False)
    if done.returncode == 0:
        assert 'lost+found' not in done.stdout and 'boot' not in done.stdout.split(), done.stdout
        assert 'busybox' in box.exec('ls', '/bin')


def test_our_program_cannot_be_reached_from_inside(oci):
    """CVE-2019-5736: an interpreter, or the root of the container looking for our /proc/PID/exe."""
    box = oci.container().caps('CAP_SYS_PTRACE').sh(r'''
        echo ready
        while :; do
            for p in /proc/[0-9]*; do
                t=$(readlink $p/exe 2>/dev/null) || continue
                case $t in
                    */bin/busybox|*/bin/probe|"") ;;
                    *) echo "$t" >> /seen; (echo x >> $p/exe) 2>/dev/null && echo wrote >> /wrote ;;
                esac
            done
        done''')
    box.up()
    box.expect('ready')
    box.file('/evil', '#!/proc/self/exe\n', 0o755)
    for _ in range(30):
        box.exec('true')
        box.exec('/evil', check=False)
    for name in ('seen', 'wrote'):
        path = os.path.join(box.rootfs, name)
        if os.path.exists(path):
            with open(path, encoding='utf-8') as f:
                text = f.read()
            assert name != 'wrote', text
            for line in text.splitlines():
                assert 'memfd' in line or NAME != 'lxcri', f'reachable: {line}'


def test_terminal_by_console_socket(oci, box):
    console = ConsoleSocket(oci.folder)
    try:
        pid = detached(box, 'sh', '-c', 'tty; read line; echo "got $line"; exit 5',
                       options=('--tty', '--console-socket', console.path))
        console.accept()
        console.read_until('/dev/pts/')
        console.type('hello\n')
        console.read_until('got hello')
        assert reap(pid) == 5
    finally:
        console.close()


def test_a_terminal_and_detach_need_a_console_socket(oci, box):
    assert 'console' in failed(box, 'true', options=('--tty', '--detach'))
    assert failed(box, 'true', options=('--tty', '--detach', '--console-socket', oci.folder + '/nosuch'))


def test_terminal_in_the_foreground(oci, box):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    try:
        with subprocess.Popen(oci.command('exec', '--tty', box.id, 'sh', '-c',
                                          'stty size; read a; echo "got $a"; sleep 1000'),
                              stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
            text = b''
            os.write(master, b'word\r')
            while b'got word' not in text:
                text += os.read(master, 4096)
            os.write(master, b'\x03')  # ^C is a key in there, and ends the sleep
            assert process.wait(timeout=20 * SLOW) in (130, 2)
        assert termios.tcgetattr(slave) == before, 'our terminal is not as it was'
    finally:
        os.close(master)
        os.close(slave)


def test_cgroup_below(box):
    for name in os.listdir('/sys/fs/cgroup'):
        top = f'/sys/fs/cgroup/{name}{box.cgroup}'
        if os.path.isdir(top) and not os.path.islink(f'/sys/fs/cgroup/{name}'):
            os.mkdir(os.path.join(top, 'sub'))
            for file in ('cpuset.cpus', 'cpuset.mems'):
                if os.path.exists(f'{top}/sub/{file}'):
                    with open(f'{top}/{file}', encoding='ascii') as f, open(f'{top}/sub/{file}', 'w',
                                                                            encoding='ascii') as to:
                        to.write(f.read())
    if os.path.isdir(f'/sys/fs/cgroup{box.cgroup}'):
        os.mkdir(f'/sys/fs/cgroup{box.cgroup}/sub')
    pid = detached(box, 'sleep', '1000', options=('--cgroup', 'sub'))
    with open(f'/proc/{pid}/cgroup', encoding='ascii') as f:
        assert f'{box.cgroup}/sub\n' in f.read()
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    assert failed(box, 'true', options=('--cgroup', 'nosuch'))
    assert failed(box, 'true', options=('--cgroup', '../../..'))


@pytest.mark.skipif(not os.path.isdir('/sys/fs/cgroup/pids'), reason='cgroup v2 has one hierarchy for all controllers')
@pytest.mark.not_by('crun', '1.8 has no controllers there')
def test_cgroup_of_a_controller(box):
    os.mkdir(f'/sys/fs/cgroup/pids{box.cgroup}/sub')
    os.mkdir(f'/sys/fs/cgroup/memory{box.cgroup}/other')
    for options, subs in (((), {}), (('--cgroup', 'pids:sub'), {'pids': '/sub'}),
                          (('--cgroup', 'pids:/sub', '--cgroup', 'memory:other'), {'pids': '/sub', 'memory': '/other'})):
        pid = detached(box, 'sleep', '1000', options=options)
        with open(f'/proc/{pid}/cgroup', encoding='ascii') as f:
            groups = {name: path for _, names, path in (line.rstrip('\n').split(':', 2) for line in f)
                      for name in names.split(',')}
        for name in ('pids', 'memory', 'cpu'):
            assert groups[name] == box.cgroup + subs.get(name, ''), (options, groups)
        os.kill(pid, signal.SIGKILL)
        reap(pid)
    for wrong in (('pids:nosuch',), ('nosuch:sub',), ('pids:../..',), ('pids:sub', 'sub'), ('pids:sub', 'pids:sub'), ('a:b:c',)):
        assert failed(box, 'true', options=[word for one in wrong for word in ('--cgroup', one)]), wrong


def test_many_at_once(oci, box):
    running = [subprocess.Popen(oci.command('exec', box.id, 'echo', str(n)), stdout=subprocess.PIPE,
                                stdin=subprocess.DEVNULL) for n in range(20)]
    assert [p.communicate(timeout=60 * SLOW)[0] for p in running] == [f'{n}\n'.encode() for n in range(20)]
    assert all(p.returncode == 0 for p in running)
    assert alive(box.pid)


def keyring(oci, box):
    """The session keyring of an exec, whose caller is in one of its own."""
    command = oci.command('exec', box.id, 'probe', 'keyring')
    join = ('import ctypes, os, sys; libc = ctypes.CDLL(None);'
            'libc.syscall(250, 1, b"of-the-caller"); os.execv(sys.argv[1], sys.argv[1:])')
    return subprocess.run([sys.executable, '-c', join, *command], check=True, stdout=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, timeout=60 * SLOW).stdout.strip().rsplit(';', 1)[-1]


@pytest.mark.skipif(not os.path.exists('/proc/keys') or os.uname().machine != 'x86_64', reason='no keyrings here')
@pytest.mark.parametrize('users', [False, True])
def test_session_keyring_is_the_containers(oci, users):
    box = oci.container()
    if users:
        box.user_namespace()
    box.up()
    assert keyring(oci, box) == f'_ses.{box.id}'


@pytest.mark.skipif(not os.path.exists('/proc/keys') or os.uname().machine != 'x86_64', reason='no keyrings here')
def test_session_keyring_of_the_caller(oci):
    box = oci.container()
    box.create('--no-new-keyring')
    box.start()
    assert keyring(oci, box) == 'of-the-caller'
