"""Exec, Attach and PortForward, by crictl (client-go's SPDY and WebSocket) and a terminal."""

import os
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from cri import SLOW, eventually
from helpers import CODE, refused
from registry import free_port
from terminal import Terminal, resize

TRANSPORTS = ['spdy', pytest.param('websocket', marks=pytest.mark.not_by_containerd('1.6 streams over SPDY alone'))]


@pytest.fixture
def crictl(daemon, crictl_program):
    def command(*args):
        return [crictl_program, '--runtime-endpoint', daemon.runtime.endpoint, '--timeout', '30s', *args]
    return command


def run(command, **more):
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **more)


@pytest.fixture
def container(daemon, busybox):
    with daemon.logged_pod() as pod:
        yield pod.run(busybox, ['sleep', '1000'])


@pytest.mark.parametrize('transport', TRANSPORTS)
def test_exec(container, crictl, transport):
    done = run(crictl('exec', '--transport', transport, container.id, 'sh', '-c', 'echo out; echo errs >&2; exit 7'))
    assert done.stdout == b'out\n' and b'errs\n' in done.stderr
    assert b'exit code 7' in done.stderr or done.returncode == 7
    data = os.urandom(3 << 20)
    done = run(crictl('exec', '--transport', transport, '-i', container.id, 'cat'), input=data)
    assert done.returncode == 0 and done.stdout == data


@pytest.mark.parametrize('transport', TRANSPORTS)
def test_exec_on_a_terminal(container, crictl, transport):
    shell = Terminal(crictl('exec', '--transport', transport, '-it', container.id, 'sh'))
    shell.expect(r'# ')
    shell.type('tty; echo $((40 + 2)); stty size\n')
    shell.expect(r'/dev/pts/\d+')
    shell.expect(r'42\r\n')
    shell.expect(r'50 132\r\n')
    resize(shell, 20, 70)
    time.sleep(0.5)
    shell.type('stty size\n')
    shell.expect(r'20 70\r\n')
    shell.type('sleep 1000\n')
    time.sleep(0.5)
    shell.type('\x03')
    shell.type('echo interrupted $?\n')
    shell.expect(r'interrupted 130')
    shell.type('exit\n')
    assert shell.wait() == 0


@pytest.mark.not_by_containerd('1.6 lets it run on')
@pytest.mark.parametrize('transport', TRANSPORTS)
def test_exec_ends_with_its_client(container, crictl, transport):
    client = subprocess.Popen(crictl('exec', '--transport', transport, container.id, 'sleep', '7777'),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: '7777' in container.sh('ps'))
    finally:
        client.kill()
        client.wait()
    eventually(lambda: 'sleep 7777' not in container.sh('ps'))


@pytest.mark.parametrize('transport', TRANSPORTS)
def test_attach(daemon, busybox, crictl, transport):
    with daemon.logged_pod() as pod:
        reader = pod.run(busybox, ['sh', '-c', 'while read -r line; do echo "got $line"; done; echo bye; exit 3'],
                         stdin=True, stdin_once=True)
        done = run(crictl('attach', '--transport', transport, '-i', reader.id), input=b'one\ntwo\n')
        assert done.stdout == b'got one\ngot two\nbye\n', done.stderr
        assert reader.wait().exit_code == 3
        assert reader.log_text() == 'got one\ngot two\nbye\n'


def test_attach_to_a_terminal(daemon, busybox, crictl):
    with daemon.logged_pod() as pod:
        shell = pod.run(busybox, ['sh'], stdin=True, tty=True)
        client = Terminal(crictl('attach', '-i', '-t', shell.id))
        client.type('echo $((6 * 7))\n')
        client.expect(r'42\r\n')
        client.type('exit 5\n')
        assert shell.wait().exit_code == 5
        client.wait()


@pytest.mark.not_by_containerd('1.6 cuts them off when the container ends')
def test_two_clients_see_the_same(daemon, busybox, crictl):
    with daemon.logged_pod() as pod:
        counter = pod.run(busybox, ['sh', '-c', 'until [ -e /all-here ]; do echo wait; sleep 0.1; done; seq 20000; exit 0'])
        clients = [subprocess.Popen(crictl('attach', counter.id), stdout=subprocess.PIPE, bufsize=0) for _ in range(2)]
        for client in clients:
            assert client.stdout.readline() == b'wait\n'
        counter.sh('touch /all-here')
        outputs = [client.communicate(timeout=60 * SLOW)[0].decode() for client in clients] + [counter.log_text()]
        expected = ''.join(f'{n}\n' for n in range(1, 20001))
        assert [output.replace('wait\n', '') for output in outputs] == [expected] * 3


@pytest.mark.ours
def test_a_client_that_does_not_read_stops_nothing_for_ever(daemon, busybox, crictl):
    with daemon.logged_pod() as pod:
        noisy = pod.run(busybox, ['sh', '-c', 'sleep 2; seq 300000; exit 0'])
        client = subprocess.Popen(crictl('attach', noisy.id), stdout=subprocess.PIPE)
        try:
            time.sleep(3)
            client.send_signal(signal.SIGSTOP)
            assert noisy.wait(90).exit_code == 0
        finally:
            client.kill()
            client.communicate()


@pytest.mark.parametrize('transport', TRANSPORTS)
@pytest.mark.parametrize('address', ['127.0.0.1', pytest.param('::1', marks=pytest.mark.not_by_containerd('1.6 tries IPv4 alone'))])
def test_port_forward(daemon, busybox, crictl, transport, address):
    port = free_port()
    with daemon.logged_pod(host_network=False) as pod:
        server = pod.run(busybox, ['sh', '-c', f'mkdir /www; echo page >/www/index.html; exec httpd -f -p "[{address}]:80" -h /www'
                                   if ':' in address else
                                   f'mkdir /www; echo page >/www/index.html; exec httpd -f -p {address}:80 -h /www'])
        server.until_listens(80)
        client = subprocess.Popen(crictl('port-forward', '--transport', transport, pod.id, f'{port}:80'),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def get():
            try:
                with socket.create_connection(('127.0.0.1', port), 5) as s:
                    s.sendall(b'GET / HTTP/1.0\r\n\r\n')
                    data = b''
                    while chunk := s.recv(4096):
                        data += chunk
                    return data
            except OSError:
                return b''
        try:
            eventually(lambda: get().endswith(b'page\n'))
            for _ in range(20):
                assert get().endswith(b'page\n')
        finally:
            client.terminate()
            client.wait()


@pytest.mark.not_by_containerd('1.6 says UNKNOWN')
def test_what_can_not_be_streamed_is_refused(daemon, busybox, pb):
    with refused(CODE.NOT_FOUND):
        daemon.cri.Exec(container_id='0' * 64, cmd=['sh'], stdout=True)
    with refused(CODE.NOT_FOUND):
        daemon.cri.PortForward(pod_sandbox_id='0' * 64, port=[80])
    with daemon.pod() as pod:
        created = pod.create(busybox, ['sleep', '100'])
        with refused(CODE.FAILED_PRECONDITION):
            daemon.cri.Exec(container_id=created.id, cmd=['sh'], stdout=True)
        assert daemon.cri.Attach(container_id=created.id, stdout=True).url  # to miss nothing of it
        created.start()
        with refused(CODE.INVALID_ARGUMENT):
            daemon.cri.Exec(container_id=created.id, cmd=['sh'], tty=True, stdout=True, stderr=True)
        with refused(CODE.INVALID_ARGUMENT):
            daemon.cri.Exec(container_id=created.id, cmd=['sh'])
        ended = pod.run(busybox, ['true'])
        ended.wait()
        with refused(CODE.FAILED_PRECONDITION):
            daemon.cri.Attach(container_id=ended.id, stdout=True)
        url = daemon.cri.Exec(container_id=created.id, cmd=['true'], stdout=True).url
        assert url.startswith('http://127.0.0.1:')
        assert len({daemon.cri.Exec(container_id=created.id, cmd=['true'], stdout=True).url for _ in range(50)}) == 50


@pytest.fixture(scope='module')
def certificate():
    """(certificate, key) for this host's loopback."""
    with tempfile.TemporaryDirectory() as folder:
        files = os.path.join(folder, 'cert.pem'), os.path.join(folder, 'key.pem')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-out', files[0], '-keyout', files[1], '-days', '2', '-subj', '/CN=localhost',
                        '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], check=True, stderr=subprocess.DEVNULL)
        yield files


@pytest.mark.ours
def test_streaming_over_tls(own_daemon, busybox, certificate, crictl_program):
    runtime = own_daemon.runtime
    with own_daemon.logged_pod(host_network=False) as pod:
        container = pod.sh(busybox, 'while :; do nc -l -p 8081 -e cat; done')
        runtime.stop()
        runtime.args += ['--streaming-address', '0.0.0.0']
        with pytest.raises(RuntimeError, match='streaming-tls-cert'):
            runtime.start()
        runtime.args += ['--streaming-tls-cert', certificate[0], '--streaming-tls-key', certificate[1]]
        own_daemon.start()
        pod.cri = container.cri = own_daemon.cri
        url = own_daemon.cri.Exec(container_id=container.id, cmd=['true'], stdout=True).url
        assert url.startswith('https://127.0.0.1:')

        tls = ['--tls-ca', certificate[0], '--tls-cert', certificate[0], '--tls-key', certificate[1]]

        def crictl(verb, *args):
            return [crictl_program, '--runtime-endpoint', runtime.endpoint, '--timeout', '30s', verb,
                    *tls, *args]
        for transport in ('spdy', 'websocket'):
            done = run(crictl('exec', '--transport', transport, container.id, 'echo', 'hello'))
            assert done.stdout == b'hello\n', done
            done = run(crictl('exec', '--transport', transport, '-i', container.id, 'cat'), input=bytes(3 << 20))
            assert done.stdout == bytes(3 << 20), done.stderr
            local = free_port()
            container.until_listens(8081)
            forward = subprocess.Popen(crictl('port-forward', '--transport', transport, pod.id, f'{local}:8081'),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                eventually(lambda at=local: echoed(at))
            finally:
                forward.kill()
                forward.wait()
        done = run([runtime.program(), '--socket', runtime.socket, 'pod', 'exec', '-i', container.id, 'sh', '-c',
                    'cat; exit 4'], input=bytes(3 << 20))
        assert (done.returncode, done.stdout) == (4, bytes(3 << 20)), done.stderr
        terminal = Terminal(crictl('exec', '-it', container.id, 'sh'))
        terminal.expect('# ')
        terminal.type('exit 5\n')
        assert terminal.wait() != 0


def echoed(port):
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=3) as s:
            s.sendall(b'ping')
            return s.recv(4) == b'ping'
    except OSError:
        return False
