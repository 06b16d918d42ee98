"""Container logs in the CRI format."""

import datetime
import os
import time

import pytest

from cri import eventually
from helpers import CODE, refused


def test_streams_and_lines(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'echo one; echo two >&2; printf "no end"')
        container.wait()
        lines = container.log_lines()
        assert ('stdout', 'F', 'one') in lines and ('stderr', 'F', 'two') in lines
        assert [text for stream, _, text in lines if stream == 'stdout'] == ['one', 'no end']
        path = container.status().log_path
        assert path == os.path.join(pod.config.log_directory, container.config.log_path)


def test_time_stamps(daemon, busybox):
    with daemon.logged_pod() as pod:
        before = datetime.datetime.now(datetime.timezone.utc)
        container = pod.sh(busybox, 'echo a; sleep 0.3; echo b')
        container.wait()
        with open(container.status().log_path, encoding='utf-8') as f:
            stamps = [line.split()[0] for line in f]
        for stamp in stamps:
            fraction = stamp.split('.')[1]
            assert len(fraction.rstrip('Z').split('+')[0].split('-')[0]) >= 1
        first, second = (datetime.datetime.fromisoformat(s[:26].rstrip('Z') + '+00:00')
                         for s in stamps)
        assert abs((first - before).total_seconds()) < 10
        assert 0.2 < (second - first).total_seconds() < 2


def test_long_lines_are_cut_in_partial_ones(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'head -c 100000 /dev/zero | tr "\\0" x; echo; echo short')
        container.wait()
        lines = container.log_lines()
        assert lines[0][1] == 'P'
        assert container.log_text() == 'x' * 100000 + '\nshort\n'


def test_odd_bytes_are_kept(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, r'printf "a\377b\tc\r\n\n  lead\n"')
        container.wait()
        with open(container.status().log_path, 'rb') as f:
            texts = [line.split(b' ', 3)[3] for line in f.read().split(b'\n')[:-1]]
        assert [t.rstrip(b'\r') for t in texts] == [b'a\xffb\tc', b'', b'  lead']


@pytest.mark.ours  # containerd 1.6 loses what is not read when the program ends
def test_much_output_is_complete(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'seq 1 50000')
        container.wait()
        eventually(lambda: container.log_text().endswith('\n50000\n'))
        assert container.log_text() == ''.join(f'{n}\n' for n in range(1, 50001))


def test_reopen_after_rotation(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done')
        path = container.status().log_path
        eventually(lambda: os.path.exists(path) and os.path.getsize(path))
        os.rename(path, path + '.1')
        daemon.cri.ReopenContainerLog(container_id=container.id)
        assert os.path.exists(path)
        eventually(lambda: os.path.getsize(path))
        time.sleep(0.1)
        container.stop()
        numbers = []
        for name in (path + '.1', path):
            with open(name, encoding='utf-8') as f:
                numbers += [int(line.split()[3]) for line in f]
        assert numbers == list(range(1, len(numbers) + 1)), 'lines lost or out of order'


@pytest.mark.ours
def test_reopen_of_what_does_not_run(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.run(busybox, ['true'])
        container.wait()
        with refused(CODE.FAILED_PRECONDITION):
            daemon.cri.ReopenContainerLog(container_id=container.id)
    with refused(CODE.NOT_FOUND):
        daemon.cri.ReopenContainerLog(container_id='nothing-with-this-id')


def test_removing_the_container_keeps_its_log(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.run(busybox, ['echo', 'stays'])
        container.wait()
        path = container.status().log_path
        container.remove()
        with open(path, encoding='utf-8') as f:
            assert f.read().endswith('stays\n')


def test_without_a_log(daemon, busybox):
    with daemon.pod() as pod:
        assert pod.sh(busybox, 'seq 1 100000').wait().exit_code == 0


@pytest.mark.ours
def test_a_full_log_disk_does_not_stop_the_container(daemon, busybox, tmp_path):
    """A writer that can't write its log must not make the program hang."""
    os.system(f'mount -t tmpfs -o size=64k tmpfs {tmp_path}')
    try:
        with daemon.pod(log_directory=str(tmp_path)) as pod:
            container = pod.sh(busybox, 'seq 1 100000')
            assert container.wait().exit_code == 0
    finally:
        os.system(f'umount -l {tmp_path}')
