"""SELinux labels of processes, mounts and files. Only on hosts that have SELinux (tests/vm/selinux)."""

import os
import re

import pytest

from helpers import CODE, refused
from oci import Image, Layer

pytestmark = [pytest.mark.ours, pytest.mark.selinux]

PROCESS = re.compile(r'system_u:system_r:container_t:(s0:c\d+,c\d+)$')
FILES = 'system_u:object_r:container_file_t:'


def label_of(pid):
    with open(f'/proc/{pid}/attr/current', encoding='utf-8') as f:
        return f.read().rstrip('\0\n')


def file_label(path):
    return os.getxattr(path, 'security.selinux', follow_symlinks=False).decode().rstrip('\0')


def exec_label(container):
    return container.output('cat', '/proc/self/attr/current').rstrip('\0')


def level_of(container):
    """The categories of its first process and of an exec, which are the same."""
    label = label_of(container.pid())
    assert exec_label(container) == label
    found = PROCESS.match(label)
    assert found, label
    return found[1]


def contexts(container):
    """{mount point: its context}, of those that have one."""
    found = {}
    for line in container.sh('cat /proc/self/mountinfo').split('\n'):
        context = re.search(r'context="?([^",]+(?:,c\d+)*)', line)
        if context:
            found[line.split()[4]] = context[1]
    return found


def asks(pb, **options):
    return {'selinux_options': pb.SELinuxOption(**options)}


def test_default_labels(daemon, busybox):
    with daemon.pod(host_network=False) as pod:
        container = pod.run(busybox, ['sleep', '100'])
        files = FILES + level_of(container)
        mounts = contexts(container)
        for path in ('/', '/dev', '/dev/pts', '/proc/acpi'):
            if path in mounts or path != '/proc/acpi':
                assert mounts[path] == files, mounts
        for name in ('hosts', 'hostname', 'resolv.conf', 'shm'):
            assert file_label(os.path.join(daemon.runtime.state, 'pods', pod.id, name)) == files, name
        assert container.exec('touch', '/new', '/dev/shm/new').exit_code == 0


def test_terminal(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], tty=True)
        assert contexts(container)['/dev/console'] == FILES + level_of(container)


def test_categories_are_a_pods_own(daemon, busybox):
    with daemon.pod() as pod, daemon.pod() as other:
        levels = [level_of(p.run(busybox, ['sleep', '100'])) for p in (pod, pod, other)]
        assert levels[0] == levels[1] != levels[2]


def test_options(daemon, busybox, pb):
    """A container's are put over its pod's, a pod's over the policy's; kubelet sends both merged."""
    with daemon.pod(security=asks(pb, level='s0:c7,c8')) as pod:
        assert level_of(pod.run(busybox, ['sleep', '100'])) == 's0:c7,c8'
        container = pod.run(busybox, ['sleep', '100'], security=asks(pb, level='s0:c4,c5'))
        assert level_of(container) == 's0:c4,c5'
        assert contexts(container)['/'] == FILES + 's0:c4,c5'
        container = pod.run(busybox, ['sleep', '100'], security=asks(pb, type='spc_t'))
        assert label_of(container.pid()) == 'system_u:system_r:spc_t:s0:c7,c8'


@pytest.mark.parametrize('options', [
    {'level': 's0,c4,c5'}, {'type': 'no_such_type_t'}, {'role': 'no_such_role_r'}, {'user': 'nobody_u'},
    {'type': 'container_t:s0'}, {'type': 'x' * 5000}, {'level': 's0:c4096'}], ids=str)
def test_options_that_are_wrong(daemon, busybox, pb, options):
    with refused(CODE.INVALID_ARGUMENT, words=['SELinux']):
        daemon.pod(security=asks(pb, **options))
    with daemon.pod() as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['SELinux']):
            pod.create(busybox, ['true'], security=asks(pb, **options))


def test_privileged(daemon, busybox):
    with daemon.pod(security={'privileged': True}) as pod:
        container = pod.run(busybox, ['sleep', '100'], security={'privileged': True})
        assert label_of(container.pid()) == exec_label(container) == 'system_u:system_r:spc_t:s0'
        assert contexts(container)['/'].startswith(FILES + 's0:c')


def test_first_process_of_the_pod(daemon, busybox):
    with daemon.pod(pid=0) as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.output('cat', '/proc/1/attr/current').rstrip('\0') == label_of(container.pid())
        assert FILES + level_of(container) in container.output('head', '-n', '1', '/proc/1/mountinfo')


def test_relabel(daemon, busybox, pb, tmp_path):
    outside = tmp_path / 'outside'
    outside.write_text('x')
    before = file_label(outside)
    for name in ('asked', 'not-asked'):
        folder = tmp_path / name
        (folder / 'below' / 'deeper').mkdir(parents=True)
        (folder / 'below' / 'file').write_text('x')
        (folder / 'link').symlink_to(outside)
    mounts = [pb.Mount(container_path='/' + name, host_path=str(tmp_path / name),
                       selinux_relabel=name == 'asked') for name in ('asked', 'not-asked')]
    with daemon.pod() as pod:
        files = FILES + level_of(pod.run(busybox, ['sleep', '100'], mounts=mounts))
    for path in ('', 'below', 'below/deeper', 'below/file', 'link'):
        assert file_label(tmp_path / 'asked' / path) == files, path
        assert file_label(tmp_path / 'not-asked' / path) != files
    assert file_label(outside) == before


def test_the_hosts_own_folders_are_not_relabelled(daemon, busybox, pb, tmp_path):
    (tmp_path / 'link').symlink_to('/etc')
    before = file_label('/etc')
    for path in ('/etc', '/etc/', str(tmp_path / 'link')):
        with daemon.pod() as pod:
            with refused(CODE.INVALID_ARGUMENT, words=['not allowed']):
                pod.create(busybox, ['true'], mounts=[
                    pb.Mount(container_path='/x', host_path=path, selinux_relabel=True)])
    assert file_label('/etc') == before


@pytest.mark.parametrize('count', [1, 2])
def test_image_volume(daemon, images, busybox, pb, count):
    layers = [Layer().dir('data').file('data/file', 'yes'), Layer().file('more', 'x')][:count]
    ref = images.push(Image(layers))
    daemon.pull(ref)
    mounts = [pb.Mount(container_path='/volume', image=pb.ImageSpec(image=ref), readonly=True,
                       image_sub_path='data')]
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], mounts=mounts)
        assert container.output('cat', '/volume/file') == 'yes'
        assert container.sh('ls /volume') == 'file'
        assert contexts(container)['/volume'] == FILES + level_of(container)


def test_labels_outlive_the_daemon(own_daemon, busybox):
    with own_daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        level = level_of(container)
        own_daemon.runtime.kill()
        own_daemon.start()
        pod.cri = container.cri = own_daemon.cri
        assert level_of(container) == level
        assert level_of(pod.run(busybox, ['sleep', '100'])) == level


@pytest.mark.parametrize('own_daemon', [{'config': 'selinux: false\n'}], indirect=True)
def test_switched_off(own_daemon, busybox, pb):
    """As containerd: options mean nothing then."""
    with own_daemon.pod(security=asks(pb, level='s0:c7,c8')) as pod:
        container = pod.run(busybox, ['sleep', '100'], security=asks(pb, type='no_such_type_t'))
        assert label_of(container.pid()) == exec_label(container) == label_of('self')
        assert not contexts(container)
