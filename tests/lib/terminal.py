"""A program on a pseudo terminal, to type into and to read from."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from patience import PATIENCE, SLOW


class Terminal:
    """A program on a pseudo terminal, to type into and to read from."""

    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 132, 0, 0))
            os.execv(command[0], command)
        self.text = ''

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=PATIENCE * SLOW):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            left = deadline - time.monotonic()
            assert left > 0, f'no {pattern!r} in {self.text!r}'
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError:
                    data = b''
                assert data, f'ended without {pattern!r}: {self.text!r}'
                self.text += data.decode(errors='replace')
        found, self.text = self.text, re.split(pattern, self.text, maxsplit=1)[-1]
        return found

    def wait(self, seconds=PATIENCE * SLOW):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
            if select.select([self.fd], [], [], 0)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError('the program does not end')


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
