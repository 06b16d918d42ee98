"""Writable layers on the root file systems of pods' Proxmox containers: quotas, snapshots, backups of what pods wrote.

`tests/integration/run --proxmox`. The volumes are ext4 images of tests/pve-server's storages.
"""

import contextlib
import glob
import json
import os
import random
import re
import subprocess
import threading
import time

import grpc
import pytest

import images as recipes
import proxmox
from conftest import AS_PROXMOX, WARM_POOL, Daemon, make_daemon
from cri import NOTREADY, READY, RUNNING, SLOW, eventually
from helpers import CODE, refused

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]

SIZE = 'proxmox-lxcri.io/ephemeral-storage'
MIB = 1 << 20
RESTORED = 990  # the number of a container that no daemon may take for its own
FOR_EVER = 'trap "exit 0" TERM; while :; do sleep 0.05; done'


def started(top, pb, registry, name, number, **layers):
    os.environ[proxmox.MORE] = json.dumps({'rootfs-size': None, 'writable-layers': {'size': 0.25, 'max-size': 1, **layers}})
    try:
        return Daemon(make_daemon(top, name, registry, bridge=f'lxcrivol{number}', subnet=f'10.92.{number}.0/24',
                                  cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-{name}'), pb)
    finally:
        del os.environ[proxmox.MORE]


def loops(top):
    """Loop devices of volumes."""
    said = subprocess.run(['losetup', '--noheadings', '--output', 'BACK-FILE'], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {line.strip() for line in said.splitlines() if top in line}


@pytest.fixture(name='daemon', scope='module')
def fixture_daemon(top, pb, registry, busybox):
    daemon = started(top, pb, registry, 'volumes', 1)
    daemon.pull(busybox)
    yield daemon
    daemon.stop()
    subprocess.run(['ip', 'link', 'delete', 'lxcrivol1'], check=False, stderr=subprocess.DEVNULL)
    eventually(lambda: WARM_POOL or not loops(top))


@pytest.fixture(autouse=True)
def nothing_stays(top, request):
    """No volume, no loop device, no snapshot outlives its pod."""
    cluster = proxmox.attach()
    before = volumes(cluster), loops(top)
    yield
    if 'daemon' in request.fixturenames:
        daemon = request.getfixturevalue('daemon')
        daemon.connect()
        daemon.remove_all()
        assert not os.listdir(os.path.join(daemon.runtime.root, 'snapshots'))
    if not WARM_POOL:  # which has volumes, too
        assert volumes(cluster) == before[0]
        eventually(lambda: loops(top) == before[1])
    cluster.close()


def volumes(cluster, vmid=None):
    asked = {'content': 'rootdir', **({'vmid': vmid} if vmid else {})}
    return {one['volid'] for storage in ('btr', 'local', 'shared')
            for one in cluster.client.get(f'/nodes/{cluster.node}/storage/{storage}/content', **asked).data}


def root_of(cluster, vmid):
    """The root folder of a container that runs."""
    pid = cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/status/current').data['pid']
    return f'/proc/{pid}/root'


def layer_of(cluster, container):
    vmid, _ = cluster.of(container.pod)
    return f'{root_of(cluster, vmid)}/containers/{container.id}/upper'


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def test_what_is_written_is_on_the_volume(daemon, busybox, cluster):
    with daemon.pod() as pod:
        vmid, guest = cluster.of(pod)
        assert guest['config']['rootfs'].startswith('btr:') and guest['config']['rootfs'].endswith('size=256M')
        container = pod.sh(busybox, FOR_EVER)
        container.sh('echo text > /new && ln -s /new /link && mkdir -p /etc/more && rm /bin/vi && mv /home /house')
        container.sh('chown 1:2 /new; chmod 4755 /new; : > /etc/passwd')
        upper = layer_of(cluster, container)
        status = os.lstat(f'{upper}/new')
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (100001, 100002, 0o4755)
        assert read(f'{upper}/new') == 'text\n' and os.readlink(f'{upper}/link') == '/new'
        assert container.sh('cat /link; test ! -e /bin/vi; ls -d /house') == 'text\n/house'
        # Nothing of it is on the node, nor does the app see where it is.
        assert os.listdir(os.path.join(daemon.runtime.root, 'snapshots', container.id)) == []
        assert container.sh('ls -d /containers 2>&1 || :') == 'ls: /containers: No such file or directory'
        other = pod.create(busybox)
        folder = os.path.dirname(os.path.dirname(upper))
        assert sorted(os.listdir(folder)) == sorted([container.id, other.id])
        assert {os.lstat(one).st_uid for one in (folder, os.path.dirname(upper), f'{upper}/../work/work')} == {100000}
        assert os.lstat(folder).st_mode & 0o7777 == 0o700
        other.remove()
        assert os.listdir(folder) == [container.id]
        container.remove()
        assert os.listdir(folder) == []
        assert len(volumes(cluster, vmid)) == 1
    assert not volumes(cluster, vmid)


def test_stats_are_of_the_volume(daemon, busybox, cluster):
    with daemon.pod() as pod:
        container = pod.sh(busybox, f'head -c {3 * MIB} /dev/zero > /data; {FOR_EVER}')
        node = daemon.cri.ImageFsInfo().image_filesystems[0].used_bytes.value

        def used():
            layer = daemon.cri.ContainerStats(container_id=container.id).stats.writable_layer
            return layer if layer.used_bytes.value >= 3 * MIB else None
        layer = eventually(used, 40)
        assert layer.used_bytes.value < 4 * MIB and layer.inodes_used.value >= 2
        assert os.path.samefile(layer.fs_id.mountpoint, root_of(cluster, cluster.of(pod)[0]))
        assert daemon.cri.ImageFsInfo().image_filesystems[0].used_bytes.value == node
        listed = next(pod_metrics for pod_metrics in daemon.cri.ListPodSandboxMetrics().pod_metrics if pod_metrics.pod_sandbox_id == pod.id)
        limit = next(one.value.value for one in listed.container_metrics[0].metrics if one.name == 'container_fs_limit_bytes')
        assert 200 * MIB < limit < 256 * MIB


def test_the_storage_limits_what_is_written(daemon, busybox, cluster):
    with daemon.pod(annotations={SIZE: '96Mi'}) as pod, daemon.pod() as neighbour:
        assert cluster.of(pod)[1]['config']['rootfs'].endswith('size=96M')
        first, second = pod.sh(busybox, FOR_EVER), pod.sh(busybox, FOR_EVER)
        said = first.exec('dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=120')
        assert said.exit_code == 1 and b'No space left on device' in said.stderr
        assert 60 * MIB < int(first.sh('stat -c %s /big')) < 96 * MIB
        # Of the whole pod, and of no other.
        assert second.exec('dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=1').exit_code == 1
        assert neighbour.sh(busybox, FOR_EVER).output('dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=120') == ''
        first.sh('rm /big && dd if=/dev/zero of=/big bs=1M count=10')


@pytest.mark.parametrize('size', ['', '0', '-1Gi', '1GB', '10 Gi', '63Mi', '1025Mi', '9Ei', '0x10', 'nan', '1e400'])
def test_sizes_that_are_none(daemon, cluster, size):
    before = cluster.ours()
    with refused(CODE.INVALID_ARGUMENT, words=[SIZE]):
        daemon.pod(annotations={SIZE: size})
    assert cluster.ours() == before


def test_a_size_where_layers_are_on_the_node(shared_daemon, cluster):
    before = cluster.ours()
    with refused(CODE.FAILED_PRECONDITION, words=[SIZE, 'writable-layers']):
        shared_daemon.pod(annotations={SIZE: '1Gi'})
    assert cluster.ours() == before


def test_rollback(daemon, busybox, cluster):
    """What the pod wrote is as it was. Proxmox stops the container for it, so the pod ends."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        container.sh('echo before > /kept; echo before > /changed')
        assert cluster.administrator('POST', vmid, '/snapshot', snapname='first') == 'OK'
        container.sh('echo after > /changed; echo after > /new; rm /kept /bin/vi')
        assert cluster.administrator('POST', vmid, '/snapshot/first/rollback', start=1) == 'OK'
        assert container.wait().exit_code == 137
        eventually(lambda: pod.status().state == NOTREADY)
        upper = layer_of(cluster, container)
        assert read(f'{upper}/kept') == 'before\n' and read(f'{upper}/changed') == 'before\n'
        assert not os.path.lexists(f'{upper}/new') and not os.path.lexists(f'{upper}/bin/vi')
        assert cluster.administrator('DELETE', vmid, '/snapshot/first') == 'OK'


def paused(daemon, *words):
    said = daemon.runtime.cli('proxmox', *words)
    assert "the pod's containers start again" in said.stderr, said


def rolled_back(daemon, pod, name):
    paused(daemon, 'snapshot', 'rollback', pod.id, name)


def test_rollback_of_a_pod_that_goes_on(daemon, busybox, cluster, pb):
    """By our own verb: the same containers run again on what they had written then; CRI shows nothing of it."""
    script = 'echo begun $(cat /state 2>/dev/null); trap "" TERM; while :; do sleep 0.05; done'
    with daemon.logged_pod(host_network=False) as pod:
        vmid, _ = cluster.of(pod)
        container, ended, removed = pod.sh(busybox, script), pod.sh(busybox, 'echo x > /x; exit 3'), pod.create(busybox)
        waiting = pod.create(busybox, ['sh', '-c', 'cat /x; echo here > /x; exec sleep 1000'])
        assert ended.wait().exit_code == 3
        container.sh('echo before > /state')
        daemon.cri.UpdatePodSandboxResources(pod_sandbox_id=pod.id, resources=pb.LinuxContainerResources(memory_limit_in_bytes=96 << 20))
        assert cluster.administrator('POST', vmid, '/snapshot', snapname='first') == 'OK'
        daemon.cri.UpdatePodSandboxResources(pod_sandbox_id=pod.id, resources=pb.LinuxContainerResources(memory_limit_in_bytes=128 << 20))
        removed.remove()
        container.sh('echo after > /state; echo after > /new')
        later = pod.sh(busybox, 'echo begun > /later; exec sleep 1000')
        eventually(lambda: later.exec('cat', '/later').stdout == b'begun\n')
        later.sh('echo more >> /later')
        before = {one.id: (one.state, one.created_at) for one in daemon.cri.ListContainers().containers}
        started, pid = container.status().started_at, container.pid()
        rolled_back(daemon, pod, 'first')

        assert pod.status().state == READY and cluster.of(pod)[0] == vmid
        assert {one.id: (one.state, one.created_at) for one in daemon.cri.ListContainers().containers} == before
        assert container.status().started_at == started and container.pid() != pid
        assert container.sh('cat /state; test ! -e /new && echo gone') == 'before\ngone'
        # Its log goes on, and so does all else.
        eventually(lambda: container.log_text() == 'begun\nbegun before\n')
        eventually(lambda: later.exec('cat', '/later').stdout == b'begun\n')  # it was not there then: begins anew
        folder = os.path.dirname(os.path.dirname(layer_of(cluster, container)))
        assert sorted(os.listdir(folder)) == sorted(one.id for one in (container, ended, waiting, later))
        assert cluster.of(pod)[1]['config']['memory'] == 128
        address = pod.status().network.ip
        assert address and address in container.output('ip', 'addr') and address in container.output('cat', '/etc/hosts')
        waiting.start()
        eventually(lambda: waiting.exec('cat', '/x').stdout == b'here\n')
        assert pod.sh(busybox, FOR_EVER).output('echo', 'ok') == 'ok'
        # Once more, after another daemon has taken it up.
        daemon.runtime.kill()
        daemon.start()
        pod.cri = container.cri = daemon.cri
        rolled_back(daemon, pod, 'first')
        assert container.sh('cat /state') == 'before' and pod.status().state == READY
        container.stop()
        assert container.status().exit_code == 137
    assert vmid not in cluster.ours()


def test_move_of_a_pod_that_goes_on(daemon, busybox, cluster):
    """Its programs may end in peace."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, 'trap "echo ended >> /data; exit 0" TERM; while :; do sleep 0.05; done')
        container.sh('echo text > /data')
        paused(daemon, 'move-volume', pod.id, 'rootfs', 'local', '--delete')
        assert cluster.of(pod)[1]['config']['rootfs'].startswith('local:')
        assert pod.status().state == READY and container.status().state == RUNNING
        assert container.output('cat', '/data') == 'text\nended'
        # One that fails when it is stopped already leaves it as it was.
        done = daemon.runtime.cli('proxmox', 'move-volume', pod.id, 'mp7', 'btr', check=False)
        assert done.returncode == 1 and 'mp7' in done.stderr
        assert pod.status().state == READY and container.output('cat', '/data') == 'text\nended\nended'
    assert vmid not in cluster.ours()


def test_rollback_that_fails(daemon, busybox, cluster):
    """Before the container was stopped the pod does not notice; after that it ends as by any other stop."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        pid = container.pid()
        done = daemon.runtime.cli('proxmox', 'snapshot', 'rollback', pod.id, 'nope', check=False)
        assert done.returncode == 1 and "snapshot 'nope' does not exist" in done.stderr
        assert container.pid() == pid and container.output('echo', 'ok') == 'ok' and pod.status().state == READY
        assert cluster.administrator('POST', vmid, '/snapshot', snapname='first') == 'OK'
        cluster.control.do('fault', fault='status', method='POST', path='/status/start$', status=403, reason='Permission check failed (/vms/1, VM.PowerMgmt)')
        done = daemon.runtime.cli('proxmox', 'snapshot', 'rollback', pod.id, 'first', check=False)
        cluster.control.do('clear-faults')
        assert done.returncode == 1 and 'VM.PowerMgmt' in done.stderr, done
        assert pod.status().state == NOTREADY and container.wait().exit_code == 137
    assert vmid not in cluster.ours()


def test_the_daemon_is_killed_in_a_rollback(daemon, busybox, cluster):
    """The pod is not ready any more, or it is whole."""
    rng, seen = random.Random(3), set()
    for _ in range(int(os.environ.get('LXCRI_CRASHES', '4'))):
        pod = daemon.pod()
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        assert cluster.administrator('POST', vmid, '/snapshot', snapname='first') == 'OK'
        with subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'proxmox', 'snapshot', 'rollback', pod.id, 'first'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as verb:
            time.sleep(rng.uniform(0.05, 0.8) * SLOW)
            daemon.runtime.kill()
            verb.wait()
        daemon.start()
        pod.cri = container.cri = daemon.cri

        def settled(pod=pod, container=container):
            if pod.status().state == NOTREADY:
                return 'ended'
            with contextlib.suppress(grpc.RpcError):
                return container.status().state == RUNNING and container.exec('true').exit_code == 0 and 'whole'
        seen.add(eventually(settled, 20))
        pod.remove()
        assert vmid not in cluster.ours()
    assert seen <= {'ended', 'whole'}


def test_backup_and_restore(daemon, busybox, cluster):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        container.sh('echo precious > /data; chown 7:8 /data; mkdir -p -m 700 /deep/er; ln /data /deep/er/hard; rm /bin/vi')
        task = cluster.client.post(f'/nodes/{cluster.node}/vzdump', vmid=vmid, storage='local', mode='suspend', compress='zstd').data
        assert cluster.client.wait(task)['exitstatus'] == 'OK', cluster.client.log(task)
        assert container.output('cat', '/data') == 'precious'  # it went on
    backup = next(one['volid'] for one in cluster.client.get(f'/nodes/{cluster.node}/storage/local/content', content='backup').data
                  if one['vmid'] == vmid)
    nodes_lxc = f'/nodes/{cluster.node}/lxc'
    try:
        assert cluster.client.task('POST', nodes_lxc, vmid=RESTORED, ostemplate=backup, restore=1, storage='btr') == 'OK'
        assert cluster.client.task('POST', f'{nodes_lxc}/{RESTORED}/status/start') == 'OK'
        upper = f'{root_of(cluster, RESTORED)}/containers/{container.id}/upper'
        status = os.lstat(f'{upper}/data')
        assert read(f'{upper}/data') == 'precious\n' and (status.st_uid, status.st_gid) == (100007, 100008)
        assert os.path.samefile(f'{upper}/data', f'{upper}/deep/er/hard')
        assert os.lstat(f'{upper}/bin/vi').st_rdev == 0 and not os.path.isfile(f'{upper}/bin/vi')
    finally:
        assert cluster.client.task('DELETE', f'{nodes_lxc}/{RESTORED}', force=1) == 'OK'
        assert cluster.client.task('DELETE', f'/nodes/{cluster.node}/storage/local/content/{backup}') == 'OK'


def test_moved_to_another_storage(daemon, busybox, cluster):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        container.sh('echo text > /data')
        assert cluster.administrator('POST', vmid, '/status/shutdown', timeout=20) == 'OK'
        assert cluster.administrator('POST', vmid, '/move_volume', volume='rootfs', storage='local', delete=1) == 'OK'
        assert cluster.of(pod)[1]['config']['rootfs'].startswith('local:')
        assert cluster.administrator('POST', vmid, '/status/start') == 'OK'
        assert read(f'{layer_of(cluster, container)}/data') == 'text\n'
        eventually(lambda: pod.status().state == NOTREADY)


def resize(cluster, vmid):
    task = cluster.client.put(f'/nodes/{cluster.node}/lxc/{vmid}/resize', disk='rootfs', size='+96M').data
    assert cluster.client.wait(task)['exitstatus'] == 'OK'
    assert cluster.ours()[vmid]['config']['rootfs'].endswith('size=192M')
    return cluster.client.log(task)


def may_resize_what_is_mounted():
    """ext4 asks for CAP_SYS_RESOURCE, which root of some build machines has not."""
    with open('/proc/self/status', encoding='utf-8') as f:
        return int(re.search(r'^CapEff:\s*(\S+)', f.read(), re.M)[1], 16) >> 24 & 1


@pytest.mark.skipif(not may_resize_what_is_mounted(), reason='root has no CAP_SYS_RESOURCE here; such hosts run it by tests/vm/integration')
def test_grows_while_it_is_in_use(daemon, busybox, cluster):
    with daemon.pod(annotations={SIZE: '96Mi'}) as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        fill = ('dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=120')
        assert container.exec(*fill).exit_code == 1
        log = resize(cluster, vmid)
        assert container.exec(*fill).exit_code == 0, log


def test_grows_while_it_is_stopped(daemon, busybox, cluster):
    with daemon.pod(annotations={SIZE: '96Mi'}) as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        container.sh('echo text > /data')
        assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
        log = resize(cluster, vmid)
        assert cluster.administrator('POST', vmid, '/status/start') == 'OK'
        assert read(f'{layer_of(cluster, container)}/data') == 'text\n'
        size = os.statvfs(root_of(cluster, vmid))
        assert size.f_blocks * size.f_frsize > 150 * MIB, log


@pytest.mark.parametrize('way', ['stop', 'delete'])
def test_removed_after_the_container_is_gone(daemon, busybox, cluster, way):
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, FOR_EVER)
        container.sh('echo text > /data')
        method, path, more = {'stop': ('POST', '/status/stop', {}), 'delete': ('DELETE', '', {'force': 1})}[way]
        assert cluster.administrator(method, vmid, path, **more) == 'OK'
        assert container.wait().exit_code == 137
        container.remove()
        with refused(CODE.FAILED_PRECONDITION):
            pod.create(busybox)


def test_links_lead_nowhere(daemon, busybox, cluster):
    """Whoever has got to the root of the Proxmox container can't make the daemon go elsewhere."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        pod.create(busybox).remove()
        root, outside = root_of(cluster, vmid), os.path.join(daemon.directory, 'outside')
        os.makedirs(outside)
        for target in (outside, '/etc', '..'):
            os.rename(f'{root}/containers', f'{root}/real')
            os.symlink(target, f'{root}/containers')
            with refused(CODE.INTERNAL, words=['/containers']):
                pod.create(busybox)
            os.unlink(f'{root}/containers')
            os.rename(f'{root}/real', f'{root}/containers')
        assert not os.listdir(outside) and not [name for name in os.listdir('/etc') if len(name) == 64]
        container = pod.create(busybox)
        os.rename(f'{root}/containers/{container.id}', f'{root}/taken')
        os.symlink(outside, f'{root}/containers/{container.id}')
        with open(os.path.join(outside, 'file'), 'w', encoding='utf-8') as f:
            f.write('mine')
        container.remove()
        assert os.listdir(outside) == ['file'] and not os.listdir(f'{root}/containers')


def test_the_daemon_starts_anew(daemon, busybox, cluster):
    pod = daemon.pod()
    container, ended = pod.sh(busybox, FOR_EVER), pod.sh(busybox, 'echo text > /data')
    ended.wait()
    container.sh('echo text > /data')
    daemon.runtime.kill()
    daemon.start()
    pod.cri = container.cri = ended.cri = daemon.cri
    assert pod.status().state == READY and container.status().state == RUNNING
    assert container.sh('cat /data; echo more >> /data; cat /data') == 'text\ntext\nmore'
    eventually(lambda: daemon.cri.ContainerStats(container_id=container.id).stats.writable_layer.used_bytes.value > 0)
    folder = os.path.dirname(os.path.dirname(layer_of(cluster, container)))
    ended.remove()
    assert os.listdir(folder) == [container.id]
    assert pod.sh(busybox, FOR_EVER).output('echo', 'ok') == 'ok'
    pod.remove()


def test_killed_at_any_moment(daemon, busybox, cluster):
    """Of making and removing containers: no folder stays on the volume, none on the node. LXCRI_CRASHES says how often."""
    rng = random.Random(11)
    pod = daemon.pod()
    vmid, _ = cluster.of(pod)
    for _ in range(int(os.environ.get('LXCRI_CRASHES', '8'))):
        stop = threading.Event()

        def churn(name, stop=stop):
            with contextlib.suppress(grpc.RpcError):
                for attempt in range(1000):
                    if stop.is_set():
                        break
                    container = pod.create(busybox, ['sh', '-c', 'echo > /x; exec sleep 100'], name=name, attempt=attempt)
                    container.start()
                    container.remove()
        workers = [threading.Thread(target=churn, args=(f'churn{i}',)) for i in range(2)]
        for worker in workers:
            worker.start()
        time.sleep(rng.uniform(0.02, 0.5) * SLOW)
        daemon.runtime.kill()
        stop.set()
        for worker in workers:
            worker.join()
        daemon.start()
        pod.cri = daemon.cri
        for item in daemon.cri.ListContainers().containers:
            daemon.cri.RemoveContainer(container_id=item.id)
        assert os.listdir(f'{root_of(cluster, vmid)}/containers') == []
        assert not glob.glob(os.path.join(daemon.runtime.root, 'snapshots', '*'))
    assert pod.status().state == READY
    pod.remove()


def test_many_writers_while_it_is_measured_and_stopped(daemon, busybox, cluster):
    """Measuring a large layer does not keep Proxmox from the volume."""
    with daemon.pod() as pod:
        vmid, _ = cluster.of(pod)
        container = pod.sh(busybox, 'for i in $(seq 1 4000); do mkdir -p /many/$((i % 50)); : > /many/$((i % 50))/$i; done; '
                                    f'echo ready > /ready; {FOR_EVER}')
        eventually(lambda: container.exec('test', '-e', '/ready').exit_code == 0, 60)
        daemon.cri.ContainerStats(container_id=container.id)
        assert cluster.administrator('POST', vmid, '/status/stop') == 'OK'
        assert cluster.administrator('POST', vmid, '/move_volume', volume='rootfs', storage='local', delete=1) == 'OK'


def test_another_storage_and_no_limit(top, pb, registry, busybox, cluster):
    """The storage of writable layers may be another than that of other root file systems; a folder has no quota."""
    daemon = started(top, pb, registry, 'volumes2', 2, storage='local', size=0)
    try:
        daemon.pull(busybox)
        with daemon.pod() as pod, daemon.pod(annotations={SIZE: '128Mi'}) as limited:
            container = pod.sh(busybox, FOR_EVER)
            container.sh('echo text > /data')
            assert cluster.of(pod)[1]['config']['rootfs'].split(',')[0].endswith('.subvol')
            assert cluster.of(limited)[1]['config']['rootfs'].endswith('size=128M')
            assert cluster.of(pod)[1]['config']['rootfs'].startswith('local:')
            assert read(f'{layer_of(cluster, container)}/data') == 'text\n'
    finally:
        daemon.stop()
        subprocess.run(['ip', 'link', 'delete', 'lxcrivol2'], check=False, stderr=subprocess.DEVNULL)


def test_pods_that_began_before_it_was_configured(own_daemon, busybox, cluster):
    """Those keep their layers on the node, the next ones have them on their volumes."""
    before = own_daemon.pod()
    first = before.sh(busybox, FOR_EVER)
    first.sh('echo text > /data')
    own_daemon.runtime.stop()
    with open(own_daemon.runtime.config, encoding='utf-8') as f:
        text = f.read()
    with open(own_daemon.runtime.config, 'w', encoding='utf-8') as f:
        f.write(text.replace('"rootfs-size": "0"', '"writable-layers": {"size": 0.25}'))
    own_daemon.start()
    before.cri = first.cri = own_daemon.cri
    assert first.output('cat', '/data') == 'text'
    second = before.sh(busybox, FOR_EVER)
    with own_daemon.pod() as after:
        third = after.sh(busybox, 'echo text > /data; exec sleep 1000')
        eventually(lambda: os.path.exists(f'{layer_of(cluster, third)}/data'))
        assert os.path.exists(os.path.join(own_daemon.runtime.root, 'snapshots', second.id, 'upper'))
    before.remove()


def test_reconciled_while_gone(daemon, busybox, cluster):
    """The Proxmox container went while the daemon was dead: its layers with it."""
    pod = daemon.pod()
    container = pod.sh(busybox, FOR_EVER)
    vmid, _ = cluster.of(pod)
    daemon.runtime.kill()
    assert cluster.administrator('DELETE', vmid, force=1) == 'OK'
    daemon.start()
    pod.cri = container.cri = daemon.cri
    assert pod.status().state == NOTREADY
    container.remove()
    pod.remove()


def test_commit_and_another_image(daemon, busybox, images):
    """Of a layer that is on the Proxmox container's volume: its files are read from there, and stay there."""
    ref = images.push(recipes.marked('below'), 'below')
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'echo mine >/mine; chown 5:6 /mine; rm /bin/env; ' + FOR_EVER)
        eventually(lambda: container.exec('sh', '-c', '[ $(stat -c %u /mine) = 5 ]').exit_code == 0)
        daemon.runtime.cli('image', 'commit', '-q', container.id, 'localhost/committed:1')
        other = pod.sh('localhost/committed:1', FOR_EVER)
        for one in (container, other):
            assert one.output('stat', '-c', '%u:%g %s', '/mine') == '5:6 5' and one.exec('ls', '/bin/env').exit_code != 0
        container.stop()
        daemon.runtime.cli('container', 'set-image', container.id, ref)
        daemon.runtime.cli('container', 'start', container.id)
        assert container.output('cat', '/below', '/mine') == 'below\nmine' and container.exec('ls', '/bin/env').exit_code != 0
        assert container.output('stat', '-c', '%u:%g', '/mine') == '5:6'
    for name in ('localhost/committed:1', ref):
        daemon.runtime.cli('image', 'rm', '-f', name)
