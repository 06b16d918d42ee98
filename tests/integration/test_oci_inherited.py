"""What the caller's own process leaves to a container of the OCI runtime: descriptors and sd_notify's socket."""

import os
import socket
import subprocess

import pytest

from bundle import NAME, until
from cri import SLOW

LIKE_RUNC = pytest.mark.skipif(NAME == 'crun', reason='crun has another way')
OURS = pytest.mark.skipif(NAME != 'lxcri', reason='as other runtimes do it, but more')


def pipes(n, first=3):
    """n pipes whose write ends are @first and on in a child: their read ends, and what Popen needs for that."""
    pairs = [os.pipe() for _ in range(n)]
    high = [os.dup2(w, 100 + i) for i, (_, w) in enumerate(pairs)]
    for _, w in pairs:
        os.close(w)

    def place():
        for i, fd in enumerate(high):
            os.dup2(fd, first + i)
        os.closerange(first + n, 4096)
    return [r for r, _ in pairs], high, {'preexec_fn': place, 'close_fds': False}


def read_all(fds, high):
    for fd in high:
        os.close(fd)
    texts = []
    for fd in fds:
        with os.fdopen(fd, encoding='ascii') as f:
            texts.append(f.read())
    return texts


def test_preserved(oci):
    """--preserve-fds: so many from 3 on, no more."""
    box = oci.container('sh', '-c', 'echo three >&3; echo four >&4; echo five 2>/dev/null >&5 || echo closed >&3; ls /proc/self/fd')
    fds, high, popen = pipes(3)
    box.run('--preserve-fds', '2', check=False, **popen)
    assert read_all(fds, high)[:2] == ['three\nclosed\n', 'four\n']


def test_preserved_by_exec(oci):
    box = oci.container()
    box.up()
    fds, high, popen = pipes(2)
    done = box.exec('sh', '-c', 'echo three >&3; echo four 2>/dev/null >&4 || echo closed >&3', options=('--preserve-fds', '1'),
                    check=False, **popen)
    assert read_all(fds, high) == ['three\nclosed\n', ''], done
    box.stop()


@LIKE_RUNC
def test_not_open(oci):
    """One that isn't there is an error, not some other file of the runtime's."""
    box = oci.container()
    box.write()
    fds, high, popen = pipes(1)
    done = box.run('--preserve-fds', '3', check=False, **popen)
    read_all(fds, high)
    assert done.returncode != 0 and 'preserved-fd' in done.stderr + oci.last_log()
    oci.result('delete', '--force', box.id)


def test_nothing_else(oci):
    """What the caller left open beside does not get in, neither by create, nor by exec, nor in a watcher that stays."""
    box = oci.container('probe', 'fds')
    fds, high, popen = pipes(2)
    names = box.run(**popen).split('\n')
    read_all(fds, high)
    assert [line.split()[0] for line in names if line and not line.endswith('/fd')] == ['0', '1', '2'], names
    box = oci.container()
    fds, high, popen = pipes(2)
    box.up(**popen)
    assert read_all(fds, high) == ['', ''], 'somebody holds a descriptor of the caller'
    box.stop()


SCRIPT = 'echo "$LISTEN_FDS $LISTEN_PID $$ $LISTEN_FDNAMES"; echo three >&3; echo four >&4'


@LIKE_RUNC
def test_socket_activation(oci):
    """LISTEN_FDS: sockets that are meant for us are the program's, and come before preserved ones."""
    box = oci.container('sh', '-c', SCRIPT)
    fds, high, popen = pipes(2)
    box.write()
    # LISTEN_PID must be the runtime's own.
    command = ['sh', '-c', 'export LISTEN_PID=$$; exec "$@"', 'sh',
               *oci.command('run', '--bundle', box.bundle, '--preserve-fds', '1', box.id)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=30 * SLOW, env={**os.environ, 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'web'}, **popen)
    assert read_all(fds, high) == ['three\n', 'four\n'], done
    words = done.stdout.split()
    assert words[:3] == ['1', '1', '1'], done
    if NAME == 'lxcri':
        assert words[3] == 'web'


@LIKE_RUNC
def test_sockets_of_another(oci):
    """Meant for another process: nothing of them."""
    box = oci.container('sh', '-c', 'echo "<$LISTEN_FDS>"; echo three 2>/dev/null >&3 || echo closed')
    fds, high, popen = pipes(1)
    out = box.run(env={**os.environ, 'LISTEN_FDS': '1', 'LISTEN_PID': '1'}, **popen)
    read_all(fds, high)
    assert out.split() == ['<>', 'closed']


class Notify:
    """A service manager's socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(20 * SLOW)
        self.env = {**os.environ, 'NOTIFY_SOCKET': path if path[0] != '\0' else '@' + path[1:]}

    def get(self):
        return self.socket.recv(4096).decode()

    def nothing(self):
        self.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            self.socket.recv(4096)


TELL = ('test -S "$NOTIFY_SOCKET" || echo none; probe tell "$NOTIFY_SOCKET" STATUS=soon; '
        'probe tell "$NOTIFY_SOCKET" "MAINPID=1\nREADY=1\nFDSTORE=1"; ')


@pytest.fixture
def notify(tmp_path):
    made = Notify(str(tmp_path / 'notify.sock'))
    yield made
    made.socket.close()


@LIKE_RUNC
@pytest.mark.parametrize('user', [0, 1000])
def test_ready(oci, notify, user):
    """start returns once the container says READY=1, which goes on to our caller with its pid, and nothing else."""
    box = oci.container('sh', '-c', f'sleep 0.3; {TELL} sleep 1000')
    box.process['user'] = {'uid': user, 'gid': user}
    box.create(env=notify.env)
    oci.call('start', box.id, env=notify.env)
    assert notify.get().strip() == 'READY=1'
    assert notify.get().strip() == f'MAINPID={box.pid}'
    notify.nothing()
    assert 'none' not in box.output_text() and box.mountinfo('/run/notify')[0][0] == 'ro'
    box.stop()


@LIKE_RUNC
def test_ready_by_run(oci, notify):
    """run --detach alike; in the foreground it is the runtime whom the caller watches."""
    box = oci.container('sh', '-c', TELL + 'sleep 1000')
    box.write()
    oci.note(box)
    with open(box.out_path, 'wb') as out:
        subprocess.run(oci.command('run', '--detach', '--bundle', box.bundle, '--pid-file', box.pid_file, box.id), check=True,
                       stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60 * SLOW, env=notify.env)
    with open(box.pid_file, encoding='ascii') as f:
        box.pid = int(f.read())
    assert notify.get().strip() == 'READY=1' and notify.get().strip() == f'MAINPID={box.pid}'
    box.stop()
    for _ in range(20):  # what it says at its end, too
        box = oci.container('sh', '-c', TELL)
        box.write()
        oci.note(box)
        with subprocess.Popen(oci.command('run', '--bundle', box.bundle, box.id), stdin=subprocess.DEVNULL,
                              env=notify.env) as run:
            assert notify.get().strip() == 'READY=1' and notify.get().strip() == f'MAINPID={run.pid}'
            assert run.wait(30 * SLOW) == 0


def test_never_ready(oci, notify):
    """start ends with a container that never says so; meanwhile others can see to it."""
    box = oci.container('sh', '-c', 'sleep 0.3')
    box.create(env=notify.env)
    oci.call('start', box.id, env=notify.env)
    box.wait()
    box = oci.container()
    box.create(env=notify.env)
    with subprocess.Popen(oci.command('start', box.id), env=notify.env) as start:
        until(lambda: box.status() == 'running')
        box.stop()
        assert start.wait(20 * SLOW) == 0


@OURS
def test_abstract_socket(oci):
    notify = Notify('\0lxcri-test-notify')
    box = oci.container('sh', '-c', TELL + 'sleep 1000')
    box.create(env=notify.env)
    oci.call('start', box.id, env=notify.env)
    assert notify.get().strip() == 'READY=1' and notify.get().strip() == f'MAINPID={box.pid}'
    notify.socket.close()
    box.stop()


def test_no_notify_socket(oci):
    """Nothing of it where the caller has none."""
    env = {name: value for name, value in os.environ.items() if name != 'NOTIFY_SOCKET'}
    assert oci.container('sh', '-c', 'echo "<$NOTIFY_SOCKET>"; ls -d /run/notify').run(check=False, env=env).stdout.strip() == '<>'
