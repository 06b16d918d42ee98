"""Pods whose containers crun makes: a RuntimeClass handler with `engine: crun`."""

import glob
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from cri import EXITED, RUNNING
from helpers import CODE, refused
from test_handlers import reconfigure

pytestmark = [pytest.mark.ours, pytest.mark.not_in_ct('they are made by liblxc'),
              pytest.mark.skipif(not shutil.which('crun'), reason='crun is not installed')]


@pytest.fixture
def crun(own_daemon):
    reconfigure(own_daemon, **{'runtime-handlers': {'crun': {'engine': 'crun'}}})
    return own_daemon


def crun_state(daemon, container):
    """What crun itself tells of a container."""
    root = os.path.join(daemon.runtime.state, 'crun', 'root')
    result = subprocess.run(['crun', '--root', root, 'state', container.id], check=False, capture_output=True, text=True)
    return json.loads(result.stdout) if result.returncode == 0 else None


def left(daemon):
    return [name for folder in ('crun/root', 'crun/bundles', 'containers')
            for name in os.listdir(os.path.join(daemon.runtime.state, folder))]


def test_life(crun, busybox):
    before = crun.logged_pod(handler='crun')
    with before as pod:
        container = pod.create(busybox, ['sh', '-c', 'trap "echo bye; exit 3" TERM; echo hello; while :; do sleep .1; done'])
        assert crun_state(crun, container)['status'] == 'created'
        container.start()
        state = crun_state(crun, container)
        assert state['status'] == 'running' and state['pid'] == container.pid()
        assert container.output('echo', 'exec') == 'exec'
        root = os.path.join(crun.runtime.state, 'crun', 'root')
        assert subprocess.run(['crun', '--root', root, 'exec', container.id, 'echo', 'its own'], check=True,
                              capture_output=True, text=True).stdout == 'its own\n'
        container.stop(10)
        status = container.status()
        assert status.state == EXITED and status.exit_code == 3
        container.remove()
        assert crun_state(crun, container) is None
    assert left(crun) == []


@pytest.mark.parametrize('whom', ['daemon', 'keeper', 'both', 'monitor'])
def test_kill(crun, busybox, whom):
    """Nothing is lost but, with the monitor, how the container ended."""
    with crun.logged_pod(handler='crun') as pod:
        container = pod.run(busybox, ['sh', '-c', 'while :; do sleep .1; done'])
        if whom == 'monitor':
            os.kill(parent_of(container.pid()), signal.SIGKILL)
            status = container.wait()
            assert status.state == EXITED and status.exit_code == 137
        else:
            if whom != 'daemon':
                os.kill(parent_of(parent_of(container.pid())), signal.SIGKILL)
            if whom != 'keeper':
                crun.runtime.kill()
                crun.start()
                pod.cri = container.cri = crun.cri
            wait_until(lambda: container.exec('true').exit_code == 0)
            assert container.status().state == RUNNING
            os.kill(container.pid(), signal.SIGKILL)
            assert container.wait().exit_code == 137
    assert left(crun) == []


def parent_of(pid):
    with open(f'/proc/{pid}/stat', encoding='utf-8') as f:
        return int(f.read().rpartition(')')[2].split()[1])


def wait_until(done, timeout=10):
    deadline = time.monotonic() + timeout
    while True:
        try:
            if done():
                return
        except Exception:  # pylint: disable=broad-exception-caught # not yet
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_annotations_do_not_steer_it(crun, busybox, tmp_path):
    """A pod's user could have crun, root on the host, write anywhere."""
    target = tmp_path / 'written'
    with crun.pod(handler='crun') as pod:
        container = pod.run(busybox, ['sleep', '100'], annotations={'run.oci.hooks.stdout': str(target), 'mine': 'x'})
        with open(glob.glob(f'{crun.runtime.state}/crun/bundles/{container.id}/config.json')[0], encoding='utf-8') as f:
            assert json.load(f)['annotations'] == {'mine': 'x'}
    assert not target.exists()


def test_a_program_that_is_not_there(crun, busybox):
    with crun.pod(handler='crun') as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['/no/such', 'not found']):
            pod.create(busybox, ['/no/such'])
        assert left(crun) == []


def test_it_is_missing(crun):
    """Told when the daemon starts, with what to do."""
    empty = os.path.join(crun.directory, 'empty')
    os.makedirs(empty)
    mounted = [p for p in ('/usr/bin/crun', '/usr/sbin/crun', '/usr/local/bin/crun') if os.path.exists(p)]
    nothing = os.path.join(empty, 'file')
    with open(nothing, 'w', encoding='utf-8'):
        os.chmod(nothing, 0o644)
    crun.runtime.kill()
    try:
        for path in mounted:
            subprocess.run(['mount', '--bind', nothing, path], check=True)
        with pytest.raises(RuntimeError, match='apt install crun'):
            crun.runtime.start()
    finally:
        for path in mounted:
            subprocess.run(['umount', path], check=False)
    crun.start()
