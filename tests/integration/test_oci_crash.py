"""Commands of the OCI runtime that are killed at any moment: what they leave, delete --force takes away."""

import os
import random
import signal
import subprocess
import time

import pytest

from bundle import NAME, Refused, kill_watcher, until
from patience import SLOW

ROUNDS = int(os.environ.get('LXCRI_OCI_CRASHES', '25'))  # of each
SEED = random.Random(20250101)


def killed(command, after):
    """Runs the command and kills it with -9 after so many seconds, unless it has ended; its exit status."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            return process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def time_of(oci, box, *command):
    before = time.monotonic()
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = time.monotonic() - before
    oci.result('delete', '--force', box.id)
    oci.reap_all()
    return took


def check_and_clean(oci, box):
    """No command crashes or hangs on what is there, and delete --force leaves nothing; then the id works again."""
    for verb in ('state', 'list'):
        done = oci.result(verb, *([box.id] if verb == 'state' else []), timeout=60 * SLOW)
        assert 0 <= done.returncode < 128, done
    done = oci.result('delete', '--force', box.id, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    oci.expect_nothing(10)


@pytest.mark.not_by('runc', '1.1 leaves cgroups')
@pytest.mark.not_by('crun', '1.8 leaves cgroups')
def test_create_is_killed(oci):
    box = oci.container()
    box.write()
    oci.note(box)
    command = oci.command('create', '--bundle', box.bundle, box.id)
    took = time_of(oci, box, *command)
    for _ in range(ROUNDS):
        killed(command, SEED.uniform(0, took * 1.1))
        check_and_clean(oci, box)
    assert box.says('echo well') == 'well'


@pytest.mark.not_by('runc', '1.1 leaves cgroups')
@pytest.mark.not_by('crun', '1.8 leaves cgroups')
def test_run_is_killed(oci):
    box = oci.container()
    box.write()
    oci.note(box)
    command = oci.command('run', '--detach', '--bundle', box.bundle, box.id)
    took = time_of(oci, box, *command)
    for _ in range(ROUNDS):
        killed(command, SEED.uniform(0, took * 1.1))
        check_and_clean(oci, box)
    assert box.says('echo well') == 'well'


def test_start_is_killed(oci):
    """Then it runs, or is still created; both can be deleted."""
    for _ in range(ROUNDS):
        box = oci.container()
        box.create()
        killed(oci.command('start', box.id), SEED.uniform(0, 0.02))
        assert box.status() in ('created', 'running', 'stopped')
        box.delete('--force')
        box.wait()
    oci.expect_nothing()


def test_delete_is_killed(oci):
    for _ in range(ROUNDS):
        box = oci.container()
        box.up()
        killed(oci.command('delete', '--force', box.id), SEED.uniform(0, 0.03))
        assert oci.result('delete', '--force', box.id).returncode == 0
        box.wait()
        oci.expect_nothing()


@pytest.mark.ours
def test_the_watcher_is_killed(oci):
    """The container goes on, and every command works without it."""
    box = oci.container().sh('trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done')
    box.up()
    box.expect('ready')
    kill_watcher(box)
    assert box.status() == 'running'
    assert box.exec('echo', 'well') == 'well\n'
    box.kill('TERM')
    assert box.wait() == 5
    until(lambda: box.status() == 'stopped')
    box.delete()
    oci.expect_nothing()


@pytest.mark.ours
def test_the_watcher_is_killed_before_start(oci):
    box = oci.container().sh('echo started; exec sleep 1000')
    box.create()
    kill_watcher(box)
    assert box.status() == 'created'
    box.start()
    box.expect('started')
    box.delete('--force')
    box.wait()
    oci.expect_nothing()


def test_run_in_the_foreground_is_killed(oci):
    """The container is there then, and can be deleted."""
    box = oci.container().sh('echo ready; exec sleep 1000')
    box.write()
    oci.note(box)
    with open(box.out_path, 'wb') as out, \
         subprocess.Popen(oci.command('run', '--bundle', box.bundle, box.id), stdin=subprocess.DEVNULL, stdout=out,
                          stderr=out) as process:
        box.expect('ready')
        process.kill()
    assert box.status() in ('running', 'stopped')
    box.delete('--force')
    oci.expect_nothing()


def test_init_is_killed_while_it_is_created(oci):
    """By anybody: start says so, and delete works."""
    box = oci.container()
    box.create()
    os.kill(box.pid, signal.SIGKILL)
    assert box.wait() == -9
    until(lambda: box.status() == 'stopped')
    with pytest.raises(Refused):
        box.start()
    box.delete()
    assert NAME and not oci.knows(box.id)
    oci.expect_nothing()
