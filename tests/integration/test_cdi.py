"""Devices by their CDI names: from /etc/cdi and /var/run/cdi to what is in the container."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile

import pytest

from conftest import ENGINE
from cri import POD, eventually
from helpers import CODE, refused
from test_crash import keeper_pid

pytestmark = pytest.mark.ours


@contextlib.contextmanager
def folder_of_our_own(path):
    """An empty file system on a folder that tests/lib/isolated has made, in a mount namespace of the tests' own."""
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', path], check=True)
    try:
        yield path
    finally:
        subprocess.run(['umount', path], check=True)


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


# --- hooks ---------------------------------------------------------------------------------------------------------

RECORD = r"""#!/bin/sh
# record NAME: what a hook sees, into files of the host.
cat >"$OUT/$1.state"
echo "$1" >>"$OUT/order"
env >"$OUT/$1.env"
ls -l /proc/self/fd >"$OUT/$1.fds"
for ns in mnt net ipc uts pid cgroup user; do readlink /proc/self/ns/$ns; done >"$OUT/$1.ns"
pwd >"$OUT/$1.pwd"
"""


@pytest.fixture
def hooks():
    """A folder with the program record, for hooks of the host; also those of user namespaces may write there."""
    with tempfile.TemporaryDirectory(prefix='hooks-') as name:
        folder = pathlib.Path(name)
        program = folder / 'record'
        program.write_text(RECORD)
        program.chmod(0o755)
        folder.chmod(0o777)
        yield folder


def hook(kind, *args, path='/bin/sh', **more):
    return {'hookName': kind, 'path': path, 'args': list(args) or [path], **more}


def recorded(hooks, kind):
    return hook(kind, 'record', kind, path=f'{hooks}/record', env=[f'OUT={hooks}', 'PATH=/usr/bin:/bin'])


def put_hooks(folders, *hooks, **edits):
    put(folders[0], 'x.json', spec('vendor.com/x', {'a': {'hooks': list(hooks)}}, **edits))


def exit_code(number, kind='createRuntime'):
    """As whoever runs hooks of that kind says it: of creation, crun itself."""
    return f'exit code{":" if ENGINE == "crun" and kind != "poststart" else ""} {number}'


def namespaces(hooks, kind):
    return (hooks / f'{kind}.ns').read_text().split()


def read(path):
    return path.read_text(encoding='utf-8')


BY_THE_CONTAINER = pytest.param('startContainer', marks=pytest.mark.not_by_engine('crun', 'says that it has started, and the container ends'))
OUTSIDE = ['prestart', 'createRuntime', 'poststart', 'poststop']


@pytest.mark.not_by_engine('crun', '1.8 tells hooks of creation the status created')
def test_hooks_of_each_kind(daemon, busybox, folders, hooks, clean):
    in_container = hook('startContainer', 'sh', '-c',
                        'cat >/started.state; echo $A >/started.env; id -u >/started.id; ls -l /proc/$$/fd >/started.fds',
                        env=['A=b', 'PATH=/bin'])
    put_hooks(folders, *(recorded(hooks, kind) for kind in ['poststop', 'createContainer', *OUTSIDE[:3]]), in_container)
    with daemon.pod() as pod:
        container = pod.create(busybox, ['sleep', '100'], annotations={'note': 'of the pod'},
                               CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
        assert read(hooks / 'order').split() == ['prestart', 'createRuntime', 'createContainer']
        container.start()
        assert read(hooks / 'order').split()[3:] == ['poststart']
        pid = json.loads(read(hooks / 'poststart.state'))['pid']
        # Those outside are in the host's namespaces; createContainer is in all of the container's.
        host = [os.readlink(f'/proc/self/ns/{ns}') for ns in ['net', 'ipc', 'uts', 'pid']]
        theirs = [os.readlink(f'/proc/{pid}/ns/{ns}') for ns in ['mnt', 'net', 'ipc', 'uts', 'pid', 'cgroup']]
        for kind in ['prestart', 'createRuntime', 'poststart']:
            assert namespaces(hooks, kind)[0] != theirs[0]
            assert namespaces(hooks, kind)[1:5] == host
        assert namespaces(hooks, 'createContainer')[:6] == theirs
        for kind, status in [('prestart', 'creating'), ('createRuntime', 'creating'), ('poststart', 'running')]:
            state = json.loads(read(hooks / f'{kind}.state'))
            assert (state['id'], state['status'], state['pid']) == (container.id, status, pid)
            assert state['annotations'] == {'note': 'of the pod'} and state['ociVersion']
        state = json.loads(read(hooks / 'createContainer.state'))
        assert (state['id'], state['status'], state['pid']) == (container.id, 'creating', 1)
        state = json.loads(container.sh('cat /started.state'))
        assert (state['id'], state['status'], state['pid']) == (container.id, 'created', 1)
        assert container.sh('cat /started.env /started.id') == 'b\n0'
        assert container.sh('cat /started.fds').count('->') <= 4  # the script's own included
        for kind in ['prestart', 'createContainer', 'poststart']:
            variables = read(hooks / f'{kind}.env')
            assert f'OUT={hooks}' in variables and 'HOME' not in variables and 'LEAK' not in variables
            assert read(hooks / f'{kind}.pwd').strip() == '/'
            assert read(hooks / f'{kind}.fds').count('->') == 4
        assert not (hooks / 'poststop.state').exists()
        container.stop(0)
        container.remove()
        state = json.loads(read(hooks / 'poststop.state'))
        assert (state['id'], state['status'], state['pid']) == (container.id, 'stopped', 0)
        assert read(hooks / 'order').split()[4:] == ['poststop']
        assert not os.path.exists(state['bundle'])


def test_create_hook_changes_the_root(daemon, busybox, folders, hooks, clean):
    """As NVIDIA's do: the root is found by the bundle's config.json, files and mounts of the hook are there after."""
    program = hooks / 'change'
    program.write_text("""#!/usr/bin/env python3
import json, os, subprocess, sys
state = json.load(sys.stdin)
with open(state['bundle'] + '/config.json') as f:
    config = json.load(f)
root = config['root']['path']
assert 'GPU=yes' in config['process']['env'], config
assert any(m['destination'] == '/opt/gpu' for m in config['mounts']), config
assert os.path.exists(root + '/opt/gpu/passwd')
os.symlink('/opt/gpu/passwd', root + '/link-by-hook')
os.mkdir(root + '/by-hook')
subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', root + '/by-hook'], check=True)
open(root + '/by-hook/file', 'w').close()
""")
    program.chmod(0o755)
    put_hooks(folders, hook('createContainer', 'change', path=str(program), env=['PATH=/usr/bin:/bin:/usr/sbin:/sbin']),
              env=['GPU=yes'], mounts=[{'hostPath': '/etc', 'containerPath': '/opt/gpu', 'options': ['ro', 'rbind']}])
    with daemon.pod() as pod:
        # crun has made it read-only by then.
        container = pod.run(busybox, ['sleep', '100'], security={'readonly_rootfs': ENGINE != 'crun'},
                            CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
        assert container.sh('readlink /link-by-hook; ls /by-hook') == '/opt/gpu/passwd\nfile'
        assert container.sh('stat -f -c %T /by-hook') == 'tmpfs'
        # Nothing of the host's is left: the mounts are those of the container and the hook's.
        before = pod.run(busybox, ['sleep', '100'], security={'readonly_rootfs': ENGINE != 'crun'})
        added = set(container.sh("awk '{print $5}' /proc/self/mountinfo").split()) - \
            set(before.sh("awk '{print $5}' /proc/self/mountinfo").split())
        points = [line.split()[4] for line in read_mounts().splitlines()]
        below_etc = {'/opt/gpu' + point[4:] for point in points if point.startswith('/etc/')}
        assert added == {'/by-hook', '/opt/gpu', *below_etc} and '/opt/gpu/cdi' in below_etc
        assert container.exec('touch', '/new').exit_code != 0 or ENGINE == 'crun'
    assert '/by-hook' not in read_mounts()


def read_mounts():
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        return f.read()


@pytest.mark.parametrize('kind', ['prestart', 'createRuntime', 'createContainer'])
def test_failing_create_hook(daemon, busybox, folders, hooks, kind, clean):
    put_hooks(folders, hook(kind, 'sh', '-c', 'echo driver is not loaded >&2; exit 3'), recorded(hooks, 'poststart'),
              recorded(hooks, 'poststop'))
    with daemon.pod() as pod:
        with refused(CODE.INTERNAL, words=[kind, '/bin/sh', exit_code(3), 'driver is not loaded']):
            pod.create(busybox, ['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
        assert not daemon.cri.ListContainers().containers
        assert read(hooks / 'order').split() == ['poststop']


@pytest.mark.parametrize('kind', [BY_THE_CONTAINER, 'poststart'])
def test_failing_start_hook(daemon, busybox, folders, hooks, kind, clean):
    put_hooks(folders, hook(kind, 'sh', '-c', 'echo no luck >&2; exit 4'), recorded(hooks, 'poststop'))
    with daemon.pod() as pod:
        container = pod.create(busybox, ['sleep', '100'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
        with refused(CODE.INTERNAL, CODE.INVALID_ARGUMENT, words=[kind, exit_code(4, kind), 'no luck']):
            container.start()
        status = container.status()
        assert status.reason == 'StartError' and 'no luck' in status.message and status.exit_code == 128
        assert read(hooks / 'order').split() == ['poststop']


@pytest.mark.parametrize('kind', ['createRuntime', 'createContainer', BY_THE_CONTAINER])
def test_hook_that_takes_too_long(daemon, busybox, folders, kind, clean):
    put_hooks(folders, hook(kind, 'sh', '-c', 'echo working on it; sleep 1000', timeout=1))
    with daemon.pod() as pod:
        with refused(CODE.INTERNAL, CODE.INVALID_ARGUMENT, words=[kind, *(['working on it'] if ENGINE == 'crun' else ['1000 ms', 'killed'])]):
            container = pod.create(busybox, ['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
            container.start()


def test_failing_poststop_hook_is_logged(daemon, busybox, folders, hooks, clean):
    put_hooks(folders, hook('poststop', 'sh', '-c', 'exit 1'), recorded(hooks, 'poststop'))
    with daemon.pod() as pod:
        container = pod.run(busybox, ['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
        container.wait()
        container.remove()
        assert read(hooks / 'order').split() == ['poststop']


def test_start_hook_is_the_user(daemon, busybox, folders, clean):
    put_hooks(folders, hook('startContainer', 'sh', '-c',
                            'grep -E "^(CapEff|Seccomp:|NoNewPrivs|Uid)" /proc/self/status >/tmp/hook', env=['PATH=/bin']))
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], security={'run_as_user': daemon.pb.Int64Value(value=1000)},
                            CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
        assert container.sh('cat /tmp/hook') == \
            container.sh('grep -E "^(CapEff|Seccomp:|NoNewPrivs|Uid)" /proc/self/status')


@pytest.mark.not_by_engine('crun', '1.8 fails to run those of createContainer there')
def test_hooks_in_a_user_namespace(daemon, busybox, folders, hooks, clean):
    pb = daemon.pb
    maps = [pb.IDMapping(host_id=200000, container_id=0, length=65536)]
    security = {'userns': pb.UserNamespace(mode=POD, uids=maps, gids=maps)}
    put_hooks(folders, recorded(hooks, 'createRuntime'), recorded(hooks, 'createContainer'),
              hook('createContainer', 'python3', '-c',
                   'import json, os, sys\n'
                   'bundle = json.load(sys.stdin)["bundle"]\n'
                   'root = json.load(open(bundle + "/config.json"))["root"]["path"]\n'
                   'open(root + "/made", "w").close()\n'
                   f'open("{hooks}/uid", "w").write(str(os.getuid()))', path='/usr/bin/python3'))
    with daemon.pod(host_network=False, hostname='pod', security=dict(security)) as pod:
        container = pod.run(busybox, ['sleep', '100'], CDI_devices=names(pb, 'vendor.com/x=a'))
        assert read(hooks / 'uid').strip() == '0' and os.stat(hooks / 'uid').st_uid == 200000
        assert container.sh('stat -c %u /made') == '0'
        assert namespaces(hooks, 'createContainer')[6] != namespaces(hooks, 'createRuntime')[6]
    with daemon.pod(host_network=False, hostname='pod', security=dict(security), pid=POD) as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['hooks', 'PID namespace']):
            pod.create(busybox, ['true'], CDI_devices=names(pb, 'vendor.com/x=a'))


def test_hooks_outlive_the_daemon(own_daemon, busybox, folders, hooks):
    daemon = own_daemon
    put_hooks(folders, recorded(hooks, 'poststart'), recorded(hooks, 'poststop'))
    pod = daemon.pod()
    container = pod.create(busybox, ['sleep', '100'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
    os.unlink(os.path.join(folders[0], 'x.json'))
    for _ in range(2):
        daemon.runtime.stop()
        daemon.start()
        container.cri = pod.cri = daemon.cri
        if not (hooks / 'order').exists():
            container.start()
            assert read(hooks / 'order').split() == ['poststart']
    pod.remove()
    assert read(hooks / 'order').split() == ['poststart', 'poststop']


def test_hooks_beside_a_held_mount_namespace(daemon, busybox, folders, hooks, clean):
    """As snapd holds them; the kernel lets no younger namespace have such a mount."""
    put_hooks(folders, recorded(hooks, 'createContainer'))
    file = hooks / 'ns'
    file.touch()
    with held_mount_namespace(file):
        with daemon.pod() as pod:
            pod.run(busybox, ['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a')).wait()


@contextlib.contextmanager
def held_mount_namespace(file):
    """A younger one than ours, which is not always so: newer kernels number them by CPU."""
    for _ in range(20):
        with subprocess.Popen(['unshare', '--mount', 'sh', '-c', 'echo; exec sleep 100'],
                              stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            held = subprocess.run(['mount', '--bind', f'/proc/{holder.pid}/ns/mnt', file], check=False,
                                  stderr=subprocess.DEVNULL)
            holder.kill()
        if held.returncode == 0:
            break
    else:
        pytest.skip('no mount namespace can be held here')
    try:
        yield
    finally:
        subprocess.run(['umount', file], check=True)


@pytest.mark.parametrize('whom', ['daemon', 'keeper'])
@pytest.mark.not_in_ct('they have no devices')
def test_killed_while_a_hook_runs(own_daemon, busybox, folders, hooks, whom):
    """The container is undone, with its hook, and its poststop hooks have run."""
    daemon = own_daemon
    put_hooks(folders, hook('createContainer', 'sh', '-c', f': >{hooks}/begun; exec sleep 987654'),
              recorded(hooks, 'poststop'))
    pod = daemon.pod()
    config = daemon.pb.ContainerConfig(
        metadata=daemon.pb.ContainerMetadata(name='a'), image=daemon.pb.ImageSpec(image=busybox),
        command=['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'),
        linux=daemon.pb.LinuxContainerConfig(security_context=daemon.pb.LinuxContainerSecurityContext(
            namespace_options=pod.options)))
    begun = daemon.cri.future('CreateContainer', pod_sandbox_id=pod.id, config=config,
                              sandbox_config=pod.config)
    eventually((hooks / 'begun').exists)
    assert sleepers()
    if whom == 'daemon':
        daemon.runtime.kill()
        assert begun.exception()
        daemon.start()
        pod.cri = daemon.cri
    else:
        os.kill(keeper_pid(daemon), signal.SIGKILL)
        assert begun.exception()
    assert not daemon.cri.ListContainers().containers
    eventually(lambda: not sleepers())
    assert read(hooks / 'order').split() == ['poststop']
    assert not os.listdir(os.path.join(daemon.runtime.state, 'bundles'))
    pod.remove()


def sleepers():
    return subprocess.run(['pgrep', '-f', 'sleep 987654'], check=False, stdout=subprocess.PIPE).stdout.split()


def test_unknown_edits_are_refused(daemon, busybox, folders, clean):
    for key, value in [('intelRdt', {'closID': 'x'}), ('netDevices', [{'hostInterfaceName': 'a', 'name': 'b'}])]:
        put(folders[0], 'x.json', spec('vendor.com/x', {'a': {key: value}}))
        with daemon.pod() as pod:
            with refused(CODE.UNIMPLEMENTED, words=[key]):
                pod.create(busybox, ['true'], CDI_devices=names(daemon.pb, 'vendor.com/x=a'))
