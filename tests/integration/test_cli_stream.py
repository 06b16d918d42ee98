"""pod exec, attach, port-forward and run with the user's input and terminal."""

import os
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

from cri import eventually, processes_in_cgroup
from registry import free_port
from terminal import Terminal, resize

pytestmark = pytest.mark.ours


@pytest.fixture
def command(daemon):
    def words(*args):
        return [daemon.runtime.program(), '--socket', daemon.runtime.socket, *args]
    return words


def run(words, **more):
    return subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **more)


@pytest.fixture
def container(daemon, busybox):
    with daemon.logged_pod() as pod:
        yield pod.run(busybox, ['sleep', '1000'])


def test_exec_passes_streams_and_status(container, command):
    done = run(command('pod', 'exec', '-i', container.id, 'sh', '-c', 'cat; echo errs >&2; exit 7'), input=b'hello')
    assert (done.returncode, done.stdout, done.stderr) == (7, b'hello', b'errs\n')
    data = os.urandom(5 << 20)
    done = run(command('pod', 'exec', '-i', container.id, 'cat'), input=data)
    assert done.returncode == 0 and done.stdout == data
    # The end of its input is all that it waits for, and it has not ended then.
    done = run(command('pod', 'exec', '-i', container.id, 'sh', '-c', 'wc -c; sleep 0.5; echo late'), input=data)
    assert done.stdout == b'%d\nlate\n' % len(data), done
    # One that does not read its input.
    done = run(command('pod', 'exec', '-i', container.id, 'echo', 'deaf'), input=data)
    assert (done.returncode, done.stdout) == (0, b'deaf\n')
    done = run(command('pod', 'exec', '-i', container.id, '/no/such'), input=b'')
    assert done.returncode == 125 and b'/no/such' in done.stderr, done
    assert run(command('pod', 'exec', '-i', container.id, 'sh', '-c', 'kill -9 $$'), input=b'').returncode == 137


def test_exec_on_a_terminal(container, command):
    shell = Terminal(command('pod', 'exec', '-it', container.id, 'sh'))
    shell.expect(r'# ')
    cooked = termios.tcgetattr(shell.fd)
    assert not cooked[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
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
    shell.type('exit 9\n')
    assert shell.wait() == 9


def test_the_terminal_is_put_back(container, command):
    words = ' '.join(command('pod', 'exec', '-it', container.id, 'sh'))
    outer = Terminal(['/bin/sh', '-c', f'stty -a; {words}; echo status $?; stty -a; kill -TERM $$'])
    before = outer.expect(r'-?iexten.*\n')
    outer.expect(r'# ')
    outer.type('exit 4\n')
    outer.expect('status 4')
    outer.expect(r'iexten.*\n')
    assert ' icanon' in before
    outer.wait()


def test_exec_ends_with_its_client(container, command):
    client = subprocess.Popen(command('pod', 'exec', '-i', container.id, 'sleep', '7777'), stdin=subprocess.PIPE)
    eventually(lambda: len(processes_in_cgroup(container.id)) == 2)
    client.terminate()
    client.wait()
    eventually(lambda: len(processes_in_cgroup(container.id)) == 1)


def test_attach(daemon, busybox, command):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'while read line; do echo "got $line"; done; echo end >&2; exit 3',
                           stdin=True, stdin_once=True)
        done = run(command('pod', 'attach', '-i', container.id), input=b'one\ntwo\n')
        assert (done.returncode, done.stdout, done.stderr) == (3, b'got one\ngot two\n', b'end\n')
        other = pod.run(busybox, ['sh'], stdin=True, tty=True)
        terminal = Terminal(command('pod', 'attach', '-it', other.id))
        time.sleep(0.5)
        terminal.type('stty size; exit 5\n')
        terminal.expect(r'50 132\r\n')
        assert terminal.wait() == 5
        done = run(command('pod', 'attach', other.id))
        assert done.returncode == 125 and b'does not run' in done.stderr


def test_port_forward(daemon, busybox, command):
    # An echo that ends when its client has said all: who sends must be able to say that he has.
    script = 'while :; do nc -l -p 8080 -e cat; done'
    with daemon.logged_pod(host_network=False) as pod:
        pod.sh(busybox, script)
        client = subprocess.Popen(command('pod', 'port-forward', pod.id, ':8080', f'{free_port()}:9'),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            local = int(client.stdout.readline().split(' ')[0].split(':')[1])

            def count(n):
                try:
                    return count_once(n)
                except ConnectionResetError:
                    return None  # nobody listens yet

            def count_once(n):
                with socket.create_connection(('127.0.0.1', local), 60) as s:
                    s.sendall(bytes(n))
                    s.shutdown(socket.SHUT_WR)
                    answer = b''
                    while data := s.recv(65536):
                        answer += data
                    return len(answer) == n
            eventually(lambda: count(3))
            for n in (1, 100000):
                eventually(lambda n=n: count(n))
            with socket.create_connection(('127.0.0.1', local), 60) as idle:
                eventually(lambda: children(client.pid))
                client.send_signal(signal.SIGINT)
                assert client.wait(60) == 0
                assert idle.recv(1) == b''  # goes with it
        finally:
            client.kill()
            client.wait()


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as f:
        return f.read().split()


def test_port_forward_of_both_directions_at_once(daemon, busybox, command):
    with daemon.logged_pod(host_network=False) as pod:
        pod.sh(busybox, 'while :; do nc -l -p 8080 -e cat; done').until_listens(8080)
        client = subprocess.Popen(command('pod', 'port-forward', pod.id, ':8080'), stdout=subprocess.PIPE, text=True)
        data, got = os.urandom(8 << 20), b''
        try:
            local = int(client.stdout.readline().split(' ')[0].split(':')[1])
            with socket.create_connection(('127.0.0.1', local), 60) as s:
                sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
                sender.start()
                while piece := s.recv(65536):
                    got += piece
                sender.join()
            assert got == data
        finally:
            client.terminate()
            client.wait()


def test_wrong_ports(daemon, command):
    with daemon.pod() as pod:
        for ports in ('x', '0', '70000', '1:', 'a:80', '99999:80', '1:2:3', ''):
            done = run(command('pod', 'port-forward', pod.id, ports))
            assert done.returncode == 1 and b'PORT' in done.stderr, (ports, done)


def test_pod_run_interactive(daemon, command, busybox, clean):
    done = run(command('pod', 'run', '--rm', '-i', busybox, 'sh', '-c', 'echo first; cat; echo errs >&2; exit 6'),
               input=b'typed')
    assert (done.returncode, done.stdout, done.stderr) == (6, b'first\ntyped', b'errs\n')
    for _ in range(5):  # nothing of a short program is missed
        shell = Terminal(command('pod', 'run', '--rm', '-it', busybox, 'sh', '-c', 'stty size; echo at once; exit 8'))
        shell.expect('at once')
        assert shell.wait() == 8
    shell = Terminal(command('pod', 'run', '--rm', '-it', busybox, 'sh'))
    shell.expect('# ')
    shell.type('echo $((6 * 7))\n')
    shell.expect(r'42\r\n')
    shell.type('exit 2\n')
    assert shell.wait() == 2
    done = run(command('pod', 'run', '--rm', '-i', busybox, '/no/such'), input=b'')
    assert done.returncode == 125 and b'/no/such' in done.stderr
    assert not daemon.cri.ListPodSandbox().items
