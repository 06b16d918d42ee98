"""Devices by their CDI names: from /etc/cdi and /var/run/cdi to what is in the container."""

import contextlib
import json
import os
import subprocess

import pytest

from helpers import CODE, refused

pytestmark = pytest.mark.ours


@contextlib.contextmanager
def folder_of_our_own(path):
    """An empty file system on a folder; this runs in a mount namespace of the tests' own."""
    made = not os.path.isdir(path)
    if made:
        os.makedirs(path)
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', path], check=True)
    try:
        yield path
    finally:
        subprocess.run(['umount', path], check=True)
        if made:
            os.rmdir(path)


@pytest.fixture
def folders():
    with folder_of_our_own('/etc/cdi') as etc, folder_of_our_own('/var/run/cdi') as run:
        yield etc, run


def spec(kind, devices, **edits):
    return {'cdiVersion': '0.6.0', 'kind': kind, 'containerEdits': edits,
            'devices': [{'name': name, 'containerEdits': more} for name, more in devices.items()]}


def put(folder, name, value):
    with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
        f.write(value if isinstance(value, str) else json.dumps(value, indent='\t'))


def names(pb, *devices):
    return [pb.CDIDevice(name=name) for name in devices]


def test_device(daemon, busybox, folders, clean):
    etc, run = folders
    put(etc, 'gpu.json', spec('vendor.com/gpu', {
        '0': {'deviceNodes': [{'path': '/dev/gpu0', 'hostPath': '/dev/zero'},
                              {'path': '/dev/gpuctl', 'type': 'c', 'major': 1, 'minor': 3,
                               'fileMode': 0o640, 'uid': 0, 'gid': 44}]},
        '1': {'env': ['NOT=asked-for']}},
        env=['GPU=yes', 'MINE=theirs'], additionalGids=[4444],
        mounts=[{'hostPath': '/etc', 'containerPath': '/opt/gpu', 'options': ['ro', 'rbind']}]))
    put(run, 'net.yaml', 'cdiVersion: 0.5.0\nkind: vendor.com/net\ndevices:\n'
                         '- name: a\n  containerEdits:\n    env:\n    - NET=a\n')
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], env={'MINE': 'mine'},
                            CDI_devices=names(daemon.pb, 'vendor.com/gpu=0', 'vendor.com/net=a'))
        assert container.sh('stat -c "%F %t %T" /dev/gpu0') == 'character special file 1 5'
        assert container.sh('stat -c "%t %T %a %u %g" /dev/gpuctl') == '1 3 640 0 44'
        assert container.sh('head -c 3 /dev/gpu0 | wc -c') == '3'
        assert container.sh('echo $GPU $MINE $NET $NOT') == 'yes theirs a'
        assert '4444' in container.sh('id -G').split()
        assert container.sh('ls /opt/gpu/passwd') == '/opt/gpu/passwd'
        assert container.exec('touch', '/opt/gpu/new').exit_code != 0
        assert not container.status().mounts


def test_environment_outlives_the_daemon(own_daemon, busybox, folders):
    daemon = own_daemon
    put(folders[1], 'x.json', spec('vendor.com/x', {'a': {'env': ['X=1']}}))
    pod = daemon.pod()
    container = pod.run(busybox, ['sleep', '100'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
    os.unlink(os.path.join(folders[1], 'x.json'))
    daemon.runtime.stop()
    daemon.start()
    container.cri = pod.cri = daemon.cri
    assert container.sh('echo $X') == '1'
    pod.remove()


@pytest.mark.parametrize('device', ['vendor.com/x=none', 'vendor.com/y=a', 'nonsense', ''])
def test_unknown_device(daemon, busybox, folders, device, clean):
    put(folders[0], 'x.json', spec('vendor.com/x', {'a': {}}))
    put(folders[0], 'broken.json', '{')
    with daemon.pod() as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['CDI device']):
            pod.create(busybox, ['true'], CDI_devices=names(daemon.pb, device))
        assert not daemon.cri.ListContainers().containers


def test_hooks_are_refused(daemon, busybox, folders, clean):
    hook = {'hookName': 'createContainer', 'path': '/bin/touch', 'args': ['touch', '/tmp/hook-ran']}
    put(folders[0], 'x.json', spec('vendor.com/x', {'a': {'hooks': [hook]}}))
    with daemon.pod() as pod:
        with refused(CODE.UNIMPLEMENTED, words=['hooks']):
            pod.create(busybox, ['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
    assert not os.path.exists('/tmp/hook-ran')
