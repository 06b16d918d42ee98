"""checkpoint and restore: containers go on where they were, by the runtime's own verbs and through Podman."""

import json
import os
import signal
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
    counter.box.exec('sleep', '1000', options=('--detach', '--pid-file', f'{oci.folder}/exec.pid'), **NULL)
    with open(f'{oci.folder}/exec.pid', encoding='ascii') as f:
        pid = int(f.read())
    with pytest.raises(Refused) as caught:
        counter.checkpoint()
    assert f'process {pid} came into the container by exec' in caught.value.text
    assert counter.box.status() == 'running' and alive(counter.box.pid)
    counter.goes_on()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    counter.checkpoint()
    assert counter.box.wait() == -9


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
    path = f'{oci.folder}/network'
    with open(path, 'w', encoding='ascii'):
        pass
    subprocess.run(['unshare', f'--net={path}', 'true'], check=True)
    try:
        counter = Counter(oci)
        counter.box.namespace('network', path)
        counter.up()
        network = os.readlink(f'/proc/{counter.box.pid}/ns/net')
        counter.checkpoint()
        counter.box.wait()
        counter.restore()
        assert os.readlink(f'/proc/{counter.box.pid}/ns/net') == network
        counter.end()
    finally:
        subprocess.run(['umount', path], check=True)


def test_mounts_below_a_recursive_bind(oci):
    """They are the host's again; not so with what the container has as a copy."""
    counter = Counter(oci)
    folder = counter.box.folder('tree')
    os.mkdir(f'{folder}/sub')
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'of-the-host', f'{folder}/sub'], check=True)
    try:
        counter.box.mount(folder, '/tree', 'rbind')
        counter.up()
        counter.checkpoint()
        counter.box.wait()
        counter.restore()
        counter.box.exec('touch', '/tree/sub/from-inside')
        assert os.listdir(f'{folder}/sub') == ['from-inside']
        counter.end()
    finally:
        subprocess.run(['umount', f'{folder}/sub'], check=True)


def test_again_and_again(oci):
    """What was restored is a container as before: state, annotations, hooks; and it can be saved again."""
    counter = Counter(oci)
    box = counter.box
    box.config['annotations'] = {'org.test': 'one'}
    box.hook('prestart', f'cat >>{oci.folder}/hook; echo >>{oci.folder}/hook')
    counter.up()
    before = box.state()
    for _ in range(2):
        counter.checkpoint()
        assert box.wait() == -9
        counter.restore()
        state = box.state()
        assert {k: v for k, v in state.items() if k not in ('pid', 'created')} == {
            k: v for k, v in before.items() if k not in ('pid', 'created')}
    with open(f'{oci.folder}/hook', encoding='utf-8') as f:
        told = [json.loads(line) for line in f if line.strip()]
    assert len(told) == 3 and told[-1]['pid'] == box.pid and told[-1]['annotations'] == {'org.test': 'one'}
    counter.end()


def test_a_user_namespace(oci):
    counter = Counter(oci)
    counter.box.user_namespace()
    counter.up()
    counter.checkpoint()
    counter.box.wait()
    counter.restore()
    assert os.stat(f'/proc/{counter.box.pid}').st_uid == 100000
    assert counter.box.exec('id', '-u') == '0\n'
    counter.end()


def test_locks_and_connections_are_asked_for(oci):
    """Without the flag the checkpoint is refused, and all goes on."""
    counter = Counter(oci)
    until_port = 'until grep -q ":1388 .* {} " /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done'
    counter.box.sh('probe lock /tmp/lock sleep 9999 & sleep 9999 | nc -l -p 5000 >/dev/null & '
                   f'{until_port.format("0A")}; sleep 9999 | nc 127.0.0.1 5000 >/dev/null & {until_port.format("01")}; {COUNTER}')
    counter.up()
    with pytest.raises(Refused) as caught:
        counter.checkpoint()
    assert '--tcp-established' in caught.value.text
    counter.goes_on()
    with pytest.raises(Refused) as caught:
        counter.checkpoint('--tcp-established')
    assert 'lock' in caught.value.text
    counter.goes_on()
    counter.checkpoint('--file-locks', '--tcp-established')
    counter.box.wait()
    counter.restore('--file-locks', '--tcp-established')
    counter.end()


def test_by_podman(podman, busybox, tmp_path):
    """A counter in the log, of one and the same shell; then from an archive, under another name."""
    script = 'me=$(cat /proc/sys/kernel/random/uuid); i=0; while :; do i=$((i + 1)); echo $me $i; sleep 0.1; done'
    name = podman.start('--network=none', busybox, 'sh', '-c', script)

    def logged(container):
        return [line.split() for line in podman('logs', container).stdout.splitlines()]

    def goes_on(container, before):
        until(lambda: len(logged(container)) > len(before))
        assert logged(container)[:len(before)] == before
        assert logged(container)[len(before):][0] == [before[0][0], str(len(before) + 1)]
        assert podman('exec', container, 'echo', 'in').stdout == 'in\n'

    until(lambda: len(logged(name)) > 3)
    podman('container', 'checkpoint', name)
    assert podman.status(name) == 'exited'
    before = logged(name)
    podman('container', 'restore', name)
    goes_on(name, before)
    podman('container', 'checkpoint', f'--export={tmp_path}/archive.tar.gz', '--compress=gzip', name)
    before = logged(name)
    podman('rm', name)
    other = podman.out('container', 'restore', f'--import={tmp_path}/archive.tar.gz', '--name=another')
    podman.made.append(other)
    assert other != name
    goes_on(other, before)
    assert podman.status(other) == 'running'
    podman('stop', '--time=0', other)
    assert podman.inspect(other)['State']['ExitCode'] == 137
