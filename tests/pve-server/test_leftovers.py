"""Whatever is killed, nothing of a container stays on the host."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from cts import SLOW

HERE = os.path.dirname(os.path.abspath(__file__))
ISOLATED = os.path.join(HERE, '..', 'lib', 'isolated')

# A server's worth in a namespace of its own: a container with an image volume and a card behind a firewall bridge.
PROGRAM = f'''
import os, sys, time
sys.path.insert(0, {HERE!r})
import containers, storages, templates
top = os.environ['LXCRI_TEST_TMP']
storage = storages.Storage('local', top + '/local', {{'rootdir'}}, False, False)
path = storage.path(storage.allocate(110, 64 << 20))
container = containers.Container(top + '/pve1', 110)
container.unpack(templates.template(top + '/small.tar'), path, True)
os.system('ip link add vmbr0 type bridge && ip link set vmbr0 up')
container.start({{'net0': 'name=eth0,bridge=vmbr0,firewall=1'}}, {{'rootfs': path}})
print('up', os.environ['LXCRI_TEST_ID'], top, os.getpid(), container.pid(), flush=True)
time.sleep(1000)
'''


def children(pid):
    done = subprocess.run(['pgrep', '-P', str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


def everyone_below(pid):
    return [one for child in children(pid) for one in [child, *everyone_below(child)]]


@contextlib.contextmanager
def started():
    """(the running tests/lib/isolated, its name, its folder, {pid: command line} of all below it)"""
    with subprocess.Popen([ISOLATED, sys.executable, '-B', '-c', PROGRAM], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, 'LXCRI_TEST_NODE': '1'}) as run:
        try:
            words = run.stdout.readline().split()
            assert words and words[0] == 'up'
            commands = {}
            for pid in everyone_below(run.pid):
                with open(f'/proc/{pid}/cmdline', encoding='utf-8') as f:
                    commands[pid] = f.read().split('\0')
            yield run, words[1], words[2], commands
        finally:
            run.kill()


def cgroups_of(name):
    return [path for path, _, _ in os.walk('/sys/fs/cgroup') if name in path or '/110/' in path + '/']


def loop_devices():
    return subprocess.run(['losetup', '-a'], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize('who', ['run', 'first process', 'server', 'monitor'])
def test_nothing_stays(clean, who):
    del clean
    with started() as (run, name, top, commands):
        if who == 'run':
            run.terminate()
        else:
            mark = {'first process': 'isolated', 'server': '-B', 'monitor': 'lxc-start'}[who]
            os.kill(next(pid for pid, command in commands.items() if mark in command), signal.SIGKILL)
        if who == 'monitor':
            time.sleep(0.5)
            run.terminate()
        run.wait(60 * SLOW)
    assert top not in loop_devices()
    assert not os.path.exists(top)
    assert not cgroups_of(name)


def test_all_processes_end_with_a_run_that_is_killed(clean):
    del clean
    with started() as (run, name, top, commands):
        run.kill()
        run.wait(60 * SLOW)
        deadline = time.monotonic() + 60 * SLOW
        while left := [command for pid, command in commands.items() if os.path.exists(f'/proc/{pid}')]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
    assert top not in loop_devices()
    # Nobody else can remove these; the kernel may take a moment to forget who was in them.
    while paths := sorted(cgroups_of(name), reverse=True):
        assert time.monotonic() < deadline, paths
        for path in paths:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        time.sleep(0.05)
    os.rmdir(top)
