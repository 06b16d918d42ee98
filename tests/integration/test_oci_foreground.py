"""What it is to stay with a container: `run` in the foreground, with a terminal or without."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from bundle import until
from cri import SLOW


class Terminal:
    """A terminal of ours, on which a command runs."""

    def __init__(self, rows=30, columns=100):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.text = ''

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def popen(self, command):
        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        return subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                preexec_fn=take_terminal)

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, text, seconds=15):
        deadline = time.monotonic() + seconds * SLOW
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f'no {text!r} in {self.text!r}'
            if select.select([self.master], [], [], left)[0]:
                self.text += os.read(self.master, 65536).decode(errors='replace')
        return self.text

    def is_as_before(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture(name='terminal')
def terminal_fixture():
    made = Terminal()
    yield made
    made.close()


def run(oci, box, terminal):
    box.process['terminal'] = True
    box.write()
    oci.note(box)
    return terminal.popen(oci.command('run', '--bundle', box.bundle, box.id))


def test_terminal(oci, terminal):
    box = oci.container().sh('tty; stty size; read line; echo "got <$line>"; exit 9')
    with run(oci, box, terminal) as process:
        terminal.read_until('30 100')
        assert not terminal.is_as_before(), 'the terminal is not raw'
        terminal.type('word\r')
        terminal.read_until('got <word>')
        assert process.wait(timeout=20 * SLOW) == 9
    assert terminal.is_as_before()
    assert not oci.knows(box.id)


def test_keys_are_the_containers(oci, terminal):
    box = oci.container().sh('trap "echo interrupted; exit 4" INT; echo ready; while :; do sleep 0.05; done')
    with run(oci, box, terminal) as process:
        terminal.read_until('ready')
        terminal.type('\x03')
        terminal.read_until('interrupted')
        assert process.wait(timeout=20 * SLOW) == 4


def test_size_follows(oci, terminal):
    box = oci.container().sh('trap "stty size" WINCH; echo ready; for i in $(seq 200); do sleep 0.05; done')
    with run(oci, box, terminal) as process:
        terminal.read_until('ready')
        terminal.resize(11, 22)
        terminal.read_until('11 22')
        process.send_signal(signal.SIGKILL)
    oci.call('delete', '--force', box.id)


def test_much_output(oci, terminal):
    box = oci.container().sh('i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; echo the end')
    with run(oci, box, terminal) as process:
        text = terminal.read_until('the end', 60)
        assert process.wait(timeout=20 * SLOW) == 0
    assert all(f'line {i}\r\n' in text for i in (0, 9999, 19999)) and text.count('line ') == 20000


def test_who_does_not_read_can_be_interrupted(oci, terminal):
    """Typing goes on while the program floods a terminal that nobody looks at."""
    box = oci.container().sh('trap "" INT; (trap - INT; exec probe flood); exit 8')
    with run(oci, box, terminal) as process:
        terminal.read_until('xxxx')
        time.sleep(0.5)
        terminal.type('\x03')
        deadline = time.monotonic() + 20 * SLOW
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([terminal.master], [], [], 0.1)[0]:
                os.read(terminal.master, 65536)
        assert process.poll() == 8, 'the key did not get there'


def test_others_can_delete_what_runs_in_the_foreground(oci):
    box = oci.container()
    box.write()
    oci.note(box)
    with subprocess.Popen(oci.command('run', '--bundle', box.bundle, box.id), stdin=subprocess.DEVNULL) as process:
        until(lambda: oci.knows(box.id) and box.status() == 'running')
        oci.call('delete', '--force', box.id, timeout=20 * SLOW)
        assert process.wait(timeout=20 * SLOW) != 0
    assert not oci.knows(box.id)
