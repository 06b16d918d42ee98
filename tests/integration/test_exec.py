"""ExecSync."""

import threading
import time

import pytest

from cri import SLOW, eventually
from helpers import CODE, refused


@pytest.fixture
def container(daemon, busybox):
    with daemon.pod() as pod:
        yield pod.run(busybox, ['sleep', '1000'])


def test_output_and_exit_code(container):
    reply = container.exec('sh', '-c', 'echo out; echo err >&2; exit 3')
    assert (reply.stdout, reply.stderr, reply.exit_code) == (b'out\n', b'err\n', 3)
    reply = container.exec('sh', '-c', 'kill -KILL $$')
    assert reply.exit_code == 137


def test_binary_output_of_some_size(container):
    reply = container.exec('sh', '-c', 'dd if=/dev/zero bs=1M count=4 2>/dev/null | tr "\\0" "\\377"')
    assert reply.stdout == b'\xff' * (4 << 20)


@pytest.mark.not_by_engine('crun', 'on cgroup v1 it uses more hierarchies than we, which an exec does not join')
def test_it_joins_all_namespaces(container):
    script = 'for n in mnt pid net ipc uts cgroup; do readlink /proc/{}/ns/$n; done'
    assert container.sh(script.replace('{}', 'self')) == container.sh(script.replace('{}', '1'))
    assert container.sh('cat /proc/self/cgroup') == container.sh('cat /proc/1/cgroup')


def test_standard_input_is_empty(container):
    assert container.output('cat') == ''


def test_a_program_that_is_not_there(container):
    try:
        reply = container.exec('/no/such/program')
        assert reply.exit_code in (126, 127)
    except Exception as error:  # pylint: disable=broad-except
        assert '/no/such/program' in error.details()
        assert error.code() != CODE.NOT_FOUND


@pytest.mark.ours
def test_timeout_kills_the_whole_tree(container):
    began = time.monotonic()
    with refused(CODE.DEADLINE_EXCEEDED):
        container.exec('sh', '-c', 'sleep 4321 & sleep 4321', timeout=1)
    assert time.monotonic() - began < 30 * SLOW
    find = 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; done'
    eventually(lambda: 'sleep 4321' not in container.sh(find))


@pytest.mark.ours
def test_timeout_kills_what_detached_itself(container):
    """Within the control group: a daemon that made a session of its own is found too."""
    with refused(CODE.DEADLINE_EXCEEDED):
        container.exec('sh', '-c', 'setsid sleep 4322 & sleep 4322', timeout=1)
    find = 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; done'
    eventually(lambda: 'sleep 4322' not in container.sh(find))


def test_not_running(daemon, busybox):
    with daemon.pod() as pod:
        created = pod.create(busybox, ['sleep', '100'])
        with refused(CODE.FAILED_PRECONDITION, CODE.UNKNOWN):
            created.exec('true')
        ended = pod.run(busybox, ['true'])
        ended.wait()
        with refused(CODE.FAILED_PRECONDITION, CODE.UNKNOWN):
            ended.exec('true')
    with refused(CODE.NOT_FOUND):
        daemon.cri.ExecSync(container_id='nothing-with-this-id', cmd=['true'])


@pytest.mark.ours
def test_no_command(container):
    with refused(CODE.INVALID_ARGUMENT):
        container.exec()


def test_many_at_once(container):
    failures = []

    def one(n):
        for _ in range(5):
            if container.output('echo', str(n)) != str(n):
                failures.append(n)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.ours
def test_output_is_capped(container):
    """16 MiB are kept, as far as the answer holds them, the rest is dropped without an error."""
    reply = container.exec('sh', '-c', 'dd if=/dev/zero bs=1M count=17 2>/dev/null')
    assert reply.exit_code == 0
    assert (16 << 20) - 1024 <= len(reply.stdout) <= 16 << 20


def test_exec_when_the_container_ends_meanwhile(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '1000'])
        begun = daemon.cri.future('ExecSync', container_id=container.id, cmd=['sleep', '100'])
        time.sleep(0.3)
        container.stop()
        try:
            assert begun.result(60).exit_code == 137
        except Exception as error:  # pylint: disable=broad-except
            assert error.details()
