"""checkpoint and restore: containers go on where they were, by the runtime's own verbs and through Podman."""

import json
import os
import subprocess
import time

import pytest

from bundle import ConsoleSocket, Refused, alive, cgroups, until

COUNTER = 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done'
NULL = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}

pytestmark = pytest.mark.usefixtures('criu')


class Counter:
    """A container that counts, and where its images go."""

    def __init__(self, oci, box=None):
        self.host = oci
        self.box = box or oci.container()
        self.box.sh(COUNTER)
        self.images = os.path.join(oci.folder, 'images')
        self.flags = ['--image-path', self.images, '--work-path', os.path.join(oci.folder, 'work')]

    def up(self, *options, **popen):
        self.box.up(*options, **{**NULL, **popen})
        until(lambda: self.count() > 2)
        return self

    def count(self):
        try:
            with open(os.path.join(self.box.rootfs, 'tmp/count'), encoding='ascii') as f:
                return int(f.read())
        except FileNotFoundError:
            return 0

    def goes_on(self):
        before = self.count()
        until(lambda: self.count() > before)

    def checkpoint(self, *options):
        self.host.call('checkpoint', *self.flags, *options, self.box.id)

    def restore(self, *options):
        before = self.count()
        self.box.write()
        self.host.call('restore', '--detach', '--bundle', self.box.bundle, '--pid-file', self.box.pid_file, *self.flags,
                       *options, self.box.id)
        with open(self.box.pid_file, encoding='ascii') as f:
            self.box.pid = int(f.read())
        until(lambda: self.count() > before)
        return before

    def end(self):
        self.box.kill('KILL')
        assert self.box.wait() == -9
        until(lambda: self.box.status() == 'stopped')
        self.box.delete()


def test_a_counter_goes_on(oci):
    """Saved, it is gone; restored, it goes on counting, and all commands work on it."""
    counter = Counter(oci)
    box = counter.box
    folder = box.folder('data', file='of the host\n')
    box.mount(folder, '/data', 'bind', 'ro')
    box.linux['resources']['pids'] = {'limit': 20}
    counter.up()
    counter.checkpoint()
    assert box.wait() == -9
    assert not oci.knows(box.id)
    assert not os.path.exists(box.cgroup_file('pids', ''))
    before = counter.count()
    time.sleep(0.3)
    assert counter.count() == before
    assert counter.restore() == before
    state = box.state()
    assert (state['status'], state['pid'], state['bundle']) == ('running', box.pid, box.bundle)
    assert box.exec('sh', '-c', 'hostname; cat /data/file; touch /data/x 2>&1 | grep -c Read-only; cat /proc/1/comm'
                    ).splitlines() == ['box', 'of the host', '1', 'sh']
    with open(box.cgroup_file('pids', 'pids.max'), encoding='ascii') as f:
        assert f.read() == '20\n'
    with open(box.cgroup_file('pids', 'cgroup.procs'), encoding='ascii') as f:
        assert str(box.pid) in f.read().split()
    host = {os.readlink(f'/proc/self/ns/{n}') for n in ('pid', 'net', 'ipc', 'uts', 'mnt')}
    assert not host & {os.readlink(f'/proc/{box.pid}/ns/{n}') for n in ('pid', 'net', 'ipc', 'uts', 'mnt')}
    oci.call('pause', box.id)
    assert box.status() == 'paused'
    oci.call('resume', box.id)
    counter.goes_on()
    counter.end()


def test_left_running(oci):
    counter = Counter(oci).up()
    pid = counter.box.pid
    counter.checkpoint('--leave-running')
    counter.goes_on()
    assert (counter.box.status(), counter.box.state()['pid']) == ('running', pid)
    assert os.path.exists(os.path.join(counter.images, 'descriptors.json'))
    counter.end()


def test_what_cannot_be_saved_goes_on(oci):
    """A program of an exec is not below init, so it could not be restored: nothing is done."""
    counter = Counter(oci).up()
    counter.box.exec('sleep', '1000', options=('--detach',))
    with pytest.raises(Refused) as caught:
        counter.checkpoint()
    assert 'criu failed: type DUMP' in caught.value.text and 'dump.log' in caught.value.text
    assert counter.box.status() == 'running' and alive(counter.box.pid)
    counter.goes_on()


def test_what_cannot_be_restored_leaves_nothing(oci):
    counter = Counter(oci).up()
    counter.checkpoint()
    counter.box.wait()
    groups = cgroups()
    os.unlink(os.path.join(counter.images, 'pstree.img'))
    with pytest.raises(Refused) as caught:
        counter.restore()
    assert 'criu failed: type RESTORE' in caught.value.text
    assert not oci.knows(counter.box.id) and cgroups() == groups


def test_created_is_too_early(oci):
    counter = Counter(oci)
    counter.box.create(**NULL)
    with pytest.raises(Refused) as caught:
        counter.checkpoint()
    assert 'cannot be checkpointed in created state' in caught.value.text
    assert counter.box.status() == 'created'


def test_pre_dump(oci):
    """Memory first, while it runs; then the rest, with the first as its parent."""
    counter = Counter(oci).up()
    images = counter.images
    counter.images = os.path.join(images, 'first')
    counter.flags[1] = counter.images
    os.makedirs(images)
    counter.checkpoint('--pre-dump')
    counter.goes_on()
    counter.flags[1] = os.path.join(images, 'second')
    counter.checkpoint('--parent-path', '../first')
    counter.box.wait()
    assert os.path.exists(os.path.join(images, 'second', 'parent'))
    counter.restore()
    counter.end()


def test_a_terminal(oci):
    """Its master comes by the console socket again."""
    counter = Counter(oci)
    box = counter.box
    box.process['terminal'] = True
    console = ConsoleSocket(oci.folder)
    box.sh('i=0; while :; do i=$((i + 1)); echo count $i; read -r word; echo got $word; done')
    box.create('--console-socket', console.path)
    console.accept()
    box.start()
    console.read_until('count 1')
    counter.checkpoint()
    box.wait()
    console.close()
    os.unlink(console.path)
    console = ConsoleSocket(oci.folder)
    oci.call('restore', '--detach', '--bundle', box.bundle, '--pid-file', box.pid_file, '--console-socket', console.path,
             *counter.flags, box.id)
    with open(box.pid_file, encoding='ascii') as f:
        box.pid = int(f.read())
    console.accept()
    console.type('hello\n')
    console.read_until('got hello')
    console.read_until('count 2')
    console.close()
    counter.end()


def test_pipes_and_the_foreground(oci):
    """Its output goes to the streams of `restore`, which stays with it and ends as it does."""
    counter = Counter(oci)
    box = counter.box.sh('i=0; while [ ! -e /tmp/end ]; do i=$((i + 1)); echo $i; sleep 0.05; done; exit 7')
    read, write = os.pipe()
    box.up(stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    assert os.read(read, 100)
    counter.checkpoint()
    box.wait()
    with os.fdopen(read, 'rb') as f:
        last = int(f.read().split()[-1])
    box.file('tmp/end')
    done = oci.result('restore', '--bundle', box.bundle, *counter.flags, box.id)
    assert done.returncode == 7, done.stderr
    assert all(int(n) > last for n in done.stdout.split())
    assert not oci.knows(box.id)


def test_a_network_by_path(oci):
    """It is the bundle's again, not one made from the images."""
    subprocess.run(['ip', 'netns', 'add', 'of-the-test'], check=True)
    try:
        counter = Counter(oci)
        counter.box.namespace('network', '/run/netns/of-the-test')
        counter.up()
        network = os.readlink(f'/proc/{counter.box.pid}/ns/net')
        counter.checkpoint()
        counter.box.wait()
        counter.restore()
        assert os.readlink(f'/proc/{counter.box.pid}/ns/net') == network
        counter.end()
    finally:
        subprocess.run(['ip', 'netns', 'del', 'of-the-test'], check=True)


def test_by_podman(podman, busybox, tmp_path):
    """A counter in the log; then from an archive, under another name."""
    script = 'i=0; while :; do i=$((i + 1)); echo $i >/new; mv /new /count; echo $i; sleep 0.1; done'
    name = podman.start('--network=none', busybox, 'sh', '-c', script)

    def logged(container):
        return [int(line) for line in podman('logs', container).stdout.split()]
    until(lambda: len(logged(name)) > 3)
    podman('container', 'checkpoint', name)
    assert podman.status(name) == 'exited'
    before = logged(name)
    podman('container', 'restore', name)
    until(lambda: len(logged(name)) > len(before))
    after = logged(name)
    assert after == list(range(1, len(after) + 1))
    assert podman('exec', name, 'sh', '-c', 'echo in').stdout == 'in\n'
    podman('container', 'checkpoint', f'--export={tmp_path}/archive.tar.gz', '--compress=gzip', name)
    before = logged(name)[-1]
    podman('rm', name)
    other = podman.out('container', 'restore', f'--import={tmp_path}/archive.tar.gz', '--name=another')
    podman.made.append(other)
    assert other != name
    until(lambda: logged(other))
    assert logged(other)[0] > before
    assert json.loads(podman.out('inspect', other))[0]['State']['Status'] == 'running'
    podman('stop', '--time=0', other)
    assert podman.inspect(other)['State']['ExitCode'] == 137
