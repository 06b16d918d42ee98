"""What the kubelet sets for pods and containers, seen from inside, from /proc and from /sys/fs/cgroup."""

import json
import os
import socket
import subprocess
import time

import pytest

import images as recipes
from conftest import AS_PROXMOX
from cri import CREATED, NODE, NOTREADY, READY, RUNNING, eventually
from helpers import CODE, cgroup_file, cgroup_folder, cgroup_top, refused

TARGET = 3
V2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
MIB = 1 << 20
NO_V2_ROOT = 'beside v1 the node that tests/lib/as-node makes is no root of cgroup v2; elsewhere, and in the virtual machine, this runs'


# --- limits ------------------------------------------------------------------------------------------------------

def page_sizes():
    """As the kubelet names the sizes of huge pages that the node has: 2MB, 1GB."""
    sizes = []
    for name in os.listdir('/sys/kernel/mm/hugepages'):
        n, unit = int(name.removeprefix('hugepages-').removesuffix('kB')), 0
        while n >= 1024 and n % 1024 == 0:
            n, unit = n // 1024, unit + 1
        sizes.append(f'{n}{"KMGT"[unit]}B')
    return sizes


@pytest.fixture
def hugetlb(daemon):
    top, is_v2 = cgroup_top('hugetlb')
    if is_v2:
        with open(f'{top}/cgroup.controllers', encoding='utf-8') as f:
            if 'hugetlb' not in f.read().split():
                pytest.skip('this host has no hugetlb controller')
    return daemon


@pytest.mark.ours
@pytest.mark.skipif(AS_PROXMOX and not V2, reason=NO_V2_ROOT)
def test_hugepage_limits(daemon, busybox, pb):
    """The kubelet names every size that the node has, with 0 for those that the container doesn't ask for."""
    limits = [pb.HugepageLimit(page_size=size, limit=0) for size in page_sizes()]
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={'hugepage_limits': limits})
        assert list(container.status().resources.linux.hugepage_limits) == limits
        for bad in ('2', 'MB', '2mb', '-2MB', '../2MB', '2 MB'):
            with refused(CODE.INVALID_ARGUMENT, words=['huge page', bad]):
                pod.create(busybox, ['true'], resources={
                    'hugepage_limits': [pb.HugepageLimit(page_size=bad, limit=1)]})


@pytest.mark.ours
@pytest.mark.skipif(AS_PROXMOX and not V2, reason=NO_V2_ROOT)
def test_hugepage_limits_hold(hugetlb, busybox, pb):
    def limits(*bytes_of):
        return [pb.HugepageLimit(page_size=size, limit=limit) for size, limit in zip(sizes, bytes_of)]

    def held():
        return [cgroup_file(container, f'hugetlb/hugetlb.{size}.limit_in_bytes', f'hugetlb.{size}.max')
                for size in sizes]
    sizes = page_sizes()
    given = [n << 31 for n in range(1, len(sizes) + 1)]
    with hugetlb.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={'hugepage_limits': limits(*given)})
        assert held() == [str(n) for n in given]
        hugetlb.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
            hugepage_limits=limits(0)))
        assert held() == ['0', *(str(n) for n in given[1:])]
        assert list(container.status().resources.linux.hugepage_limits) == limits(0, *given[1:])


@pytest.mark.ours
def test_swap_limits(daemon, busybox):
    """None, so much of it, unlimited. memory_swap_limit is of both together, cgroup v2's of swap alone."""
    def run(swap):
        return pod.run(busybox, ['sleep', '100'], resources={
            'memory_limit_in_bytes': 64 * MIB, 'memory_swap_limit_in_bytes': swap})

    def held(container):
        return cgroup_file(container, 'memory/memory.memsw.limit_in_bytes', 'memory.swap.max')
    with daemon.pod() as pod:
        none, unlimited = run(64 * MIB), run(-1)
        assert none.status().resources.linux.memory_swap_limit_in_bytes == 64 * MIB
        folder, is_v2 = cgroup_folder(none.pid(), 'memory')
        name = 'memory.swap.max' if is_v2 else 'memory.memsw.limit_in_bytes'
        if not os.path.exists(os.path.join(folder, name)):  # the kernel does not count swap
            # What is not there can't be used: fine. A part of it can't be kept to: refused.
            with refused(CODE.FAILED_PRECONDITION, words=[name]):
                run(96 * MIB)
            return
        some = run(96 * MIB)
        if V2:
            assert (held(none), held(some), held(unlimited)) == ('0', str(32 * MIB), 'max')
        else:
            assert (held(none), held(some)) == (str(64 * MIB), str(96 * MIB))
            assert int(held(unlimited)) > 1 << 60


@pytest.mark.ours
def test_swap_limit_that_makes_no_sense(daemon, busybox):
    with daemon.pod() as pod, refused(CODE.INVALID_ARGUMENT, words=['swap', 'below']):
        pod.create(busybox, ['true'], resources={
            'memory_limit_in_bytes': 64 * MIB, 'memory_swap_limit_in_bytes': 32 * MIB})


@pytest.mark.ours
@pytest.mark.skipif(not V2, reason='unified settings are for cgroup v2; tests/vm/integration has it')
def test_unified_settings(daemon, busybox, pb):
    """What the kubelet sends on cgroup v2: OOM by group, memory protection and throttling, swap."""
    wanted = {'memory.oom.group': '1', 'memory.min': str(8 * MIB), 'memory.high': str(48 * MIB), 'memory.swap.max': '0'}

    def held():
        return {key: cgroup_file(container, 'memory/none', key) for key in wanted}
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={
            'memory_limit_in_bytes': 64 * MIB, 'unified': wanted})
        assert held() == wanted
        assert dict(container.status().resources.linux.unified) == wanted
        wanted['memory.high'] = str(56 * MIB)
        daemon.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
            unified={'memory.high': str(56 * MIB)}))
        assert held() == wanted
        assert dict(container.status().resources.linux.unified) == wanted


@pytest.mark.ours
@pytest.mark.skipif(AS_PROXMOX and not V2, reason=NO_V2_ROOT)
def test_unified_settings_of_what_is_on_cgroup_v2(hugetlb, busybox, pb):
    """Also on a hybrid host, which has some controllers there."""
    if not cgroup_top('hugetlb')[1]:
        pytest.skip('hugetlb is on cgroup v1 here')
    key = f'hugetlb.{page_sizes()[0]}.max'
    with hugetlb.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={'unified': {key: str(1 << 31)}})
        assert cgroup_file(container, 'hugetlb/none', key) == str(1 << 31)
        hugetlb.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
            unified={key: 'max', 'cgroup.max.depth': '3'}))
        assert cgroup_file(container, 'hugetlb/none', key) == 'max'
        assert cgroup_file(container, 'hugetlb/none', 'cgroup.max.depth') == '3'


@pytest.mark.ours
def test_unified_settings_that_cannot_be(daemon, busybox):
    with daemon.pod() as pod:
        for key in ('cgroup.procs', '../memory.high', 'memory', 'cgroup.subtree_control', 'cgroup.freeze'):
            with refused(CODE.INVALID_ARGUMENT, words=[key]):
                pod.create(busybox, ['true'], resources={'unified': {key: '1'}})
        if not V2:
            with refused(CODE.FAILED_PRECONDITION, words=['memory.high', 'cgroup v2']):
                pod.create(busybox, ['true'], resources={'unified': {'memory.high': '1'}})
        assert not daemon.cri.ListContainers().containers


def hierarchies():
    """The top folders of those hierarchies in which a pod's group counts or limits."""
    return {cgroup_top(controller)[0] for controller in ('memory', 'cpu', 'pids', 'cpuset')}


@pytest.fixture
def pod_group():
    """The pod's control group as the kubelet makes it, with a memory limit: its name, and the limit's file."""
    top = f'{os.environ["LXCRI_TEST_ID"]}-kubepods'
    name = f'/{top}/burstable/podabc-def'
    for root in hierarchies():
        if V2:
            for folder in (root, f'{root}/{top}', f'{root}/{top}/burstable'):
                os.makedirs(folder, exist_ok=True)
                with open(f'{folder}/cgroup.subtree_control', 'w', encoding='utf-8') as f:
                    f.write('+cpu +memory +pids')
        os.makedirs(root + name)
    top_of_memory, is_v2 = cgroup_top('memory')
    limit = top_of_memory + name + ('/memory.max' if is_v2 else '/memory.limit_in_bytes')
    with open(limit, 'w', encoding='utf-8') as f:
        f.write(str(256 * MIB))
    yield name, limit
    for root in hierarchies():
        for folder in (name, f'/{top}/burstable', f'/{top}'):
            os.rmdir(root + folder)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read().strip()


@pytest.mark.ours
@pytest.mark.not_in_ct('it is their container\'s')
def test_the_pods_group_is_the_kubelets(daemon, busybox, pb, pod_group):
    """Containers are below it; overhead and the pod's limits, given and updated, change nothing there; and it stays."""
    name, limit = pod_group
    overhead = pb.LinuxContainerResources(memory_limit_in_bytes=16 * MIB, cpu_shares=51)
    with daemon.pod(pid=0, linux={'cgroup_parent': name, 'overhead': overhead,
                                  'resources': pb.LinuxContainerResources(memory_limit_in_bytes=128 * MIB)}) as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={'memory_limit_in_bytes': 64 * MIB})
        folder, _ = cgroup_folder(container.pid(), 'memory')
        assert folder == os.path.dirname(limit) + '/' + container.id
        assert read(limit) == str(256 * MIB)
        # As the kubelet resizes a pod: its own group first, then this call, then the containers.
        with open(limit, 'w', encoding='utf-8') as f:
            f.write(str(512 * MIB))
        daemon.cri.UpdatePodSandboxResources(
            pod_sandbox_id=pod.id, overhead=overhead, resources=pb.LinuxContainerResources(
                memory_limit_in_bytes=192 * MIB, cpu_shares=100))
        daemon.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
            memory_limit_in_bytes=128 * MIB))
        assert read(limit) == str(512 * MIB)
        assert read(os.path.join(folder, os.path.basename(limit))) == str(128 * MIB)
        info = json.loads(pod.status(verbose=True).info['info'])
        assert info['resources'] == {'memoryLimitInBytes': 192 * MIB, 'cpuShares': 100}
        assert info['overhead'] == {'memoryLimitInBytes': 16 * MIB, 'cpuShares': 51}
    assert read(limit) == str(512 * MIB)
    assert [e for e in os.listdir(os.path.dirname(limit)) if os.path.isdir(os.path.join(os.path.dirname(limit), e))] == []


# --- resize in place ---------------------------------------------------------------------------------------------

def test_resize_in_place(daemon, busybox, pb):
    """Up and down, without a restart; what the kubelet compares is in the status, what holds in the group."""
    def resize(**limits):
        daemon.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(**limits))
        shown = container.status().resources.linux
        assert {key: getattr(shown, key) for key in limits} == limits

    def held():
        quota = cgroup_file(container, 'cpu/cpu.cfs_quota_us', 'cpu.max')
        return cgroup_file(container, 'memory/memory.limit_in_bytes', 'memory.max'), quota.split()[0]
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={
            'memory_limit_in_bytes': 64 * MIB, 'cpu_shares': 102, 'cpu_quota': 10000, 'cpu_period': 100000})
        before, pid = container.status(), container.pid()
        resize(memory_limit_in_bytes=128 * MIB, cpu_shares=512, cpu_quota=50000, cpu_period=100000)
        assert held() == (str(128 * MIB), '50000')
        resize(memory_limit_in_bytes=32 * MIB, cpu_shares=2, cpu_quota=1000)
        assert held() == (str(32 * MIB), '1000')
        resize(cpu_quota=-1)
        assert held() == (str(32 * MIB), 'max' if V2 else '-1')
        after = container.status()
        assert (after.state, after.started_at, container.pid()) == (RUNNING, before.started_at, pid)


@pytest.mark.ours
def test_resize_below_what_is_in_use_is_refused(daemon, busybox, pb):
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'x=$(head -c 20000000 /dev/zero | tr "\\0" x); echo up >/up; sleep 100; echo $x',
                           resources={'memory_limit_in_bytes': 128 * MIB, 'cpu_shares': 100})
        eventually(lambda: container.exec('test', '-s', '/up').exit_code == 0)
        with refused(CODE.FAILED_PRECONDITION, words=['memory']):
            daemon.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
                memory_limit_in_bytes=8 * MIB, cpu_shares=200))
        shown = container.status().resources.linux
        assert (shown.memory_limit_in_bytes, shown.cpu_shares) == (128 * MIB, 100)
        assert cgroup_file(container, 'memory/memory.limit_in_bytes', 'memory.max') == str(128 * MIB)
        assert container.status().state == RUNNING


@pytest.mark.ours
def test_resize_before_the_start(daemon, busybox, pb):
    """The kubelet may resize what it has created and not started yet; also with a daemon that was restarted."""
    with daemon.pod() as pod:
        container = pod.create(busybox, ['sleep', '100'], resources={
            'memory_limit_in_bytes': 64 * MIB, 'oom_score_adj': 900})
        daemon.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
            memory_limit_in_bytes=96 * MIB, oom_score_adj=800))
        assert container.status().state == CREATED
        container.start()
        assert cgroup_file(container, 'memory/memory.limit_in_bytes', 'memory.max') == str(96 * MIB)
        assert container.output('cat', '/proc/1/oom_score_adj') == '800'


@pytest.mark.parametrize('score', [-998, 0, 2, 1000])
def test_oom_score(daemon, busybox, score):
    """Guaranteed, none, and best effort; of all its processes, those that join it, too."""
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'sleep 100 & wait', resources={'oom_score_adj': score})
        eventually(lambda: container.exec('pgrep', 'sleep').stdout)
        scores = container.sh('cat /proc/[0-9]*/oom_score_adj').split()
        may = subprocess.run(['sh', '-c', f'echo {score} >/proc/self/oom_score_adj'], check=False,
                             stderr=subprocess.DEVNULL).returncode == 0  # lowering takes CAP_SYS_RESOURCE
        assert len(scores) >= 3 and set(scores) == {str(score) if may else '0'}


@pytest.mark.ours
def test_oom_score_is_updated(daemon, busybox, pb):
    """It goes by the memory request, so that a resize changes it. A process that has chosen its own keeps that."""
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'sleep 100 & sh -c "echo 950 >/proc/self/oom_score_adj; exec sleep 101" & wait',
                           resources={'oom_score_adj': 900})
        eventually(lambda: len(container.exec('pgrep', 'sleep').stdout.split()) == 2)
        for score in (500, 700):
            daemon.cri.UpdateContainerResources(container_id=container.id, linux=pb.LinuxContainerResources(
                oom_score_adj=score))
            assert container.status().resources.linux.oom_score_adj == score
            scores = container.sh('cat /proc/[0-9]*/oom_score_adj').split()
            assert set(scores) == {str(score), '950'} and scores.count('950') == 1


@pytest.mark.ours
@pytest.mark.parametrize('score', [-1001, 1001])
def test_oom_score_out_of_range(daemon, busybox, score, clean):
    with daemon.pod() as pod, refused(CODE.INVALID_ARGUMENT, words=['oom_score_adj']):
        pod.create(busybox, ['true'], resources={'oom_score_adj': score})


# --- images ------------------------------------------------------------------------------------------------------

@pytest.mark.ours
def test_images_by_prefix_of_the_id_and_with_annotations(daemon, busybox, pb):
    image = daemon.cri.ImageStatus(image=pb.ImageSpec(image=busybox)).image
    digits = image.id.removeprefix('sha256:')
    for name in (digits, digits[:12], image.id):
        assert daemon.cri.ImageStatus(image=pb.ImageSpec(image=name)).image.id == image.id
    assert not daemon.cri.ImageStatus(image=pb.ImageSpec(image='sha256:' + 'f' * 64)).HasField('image')
    asked = pb.ImageSpec(image=busybox, annotations={'note': 'x'})
    assert dict(daemon.cri.ImageStatus(image=asked).image.spec.annotations) == {'note': 'x'}


@pytest.mark.ours
@pytest.mark.parametrize('own_daemon', [{'config': 'pinned-images: ["127.0.0.1:*/busybox:1", "*/kept/*"]\n'}],
                         indirect=True)
def test_pinned_images(own_daemon, images):
    """The kubelet's garbage collection leaves them, as says the image by any of its names; removal is obeyed."""
    def pinned():
        return {tag for image in own_daemon.cri.ListImages().images if image.pinned for tag in image.repo_tags}
    loose = images.push(recipes.marked('loose'), 'loose')
    kept = images.push(recipes.marked('kept'), 'also/kept/here')
    own_daemon.pull(loose, kept)
    assert pinned() == {images.ref('busybox'), kept}
    status = own_daemon.cri.ImageStatus(image=own_daemon.pb.ImageSpec(image=kept)).image
    assert status.pinned
    own_daemon.runtime.cli('image', 'rm', '-a')
    assert {tag for image in own_daemon.cri.ListImages().images for tag in image.repo_tags} == pinned()
    own_daemon.cri.RemoveImage(image=own_daemon.pb.ImageSpec(image=status.id))
    assert pinned() == {images.ref('busybox')}


# --- pods --------------------------------------------------------------------------------------------------------

@pytest.mark.ours
def test_status_of_a_pod_has_its_containers(daemon, busybox):
    """As the kubelet reads it when it follows events: one call, one moment."""
    with daemon.pod() as pod:
        running, ended, created = pod.run(busybox, ['sleep', '100']), pod.run(busybox, ['true']), pod.create(
            busybox, ['true'])
        ended.wait()
        before = time.time_ns()
        reply = daemon.cri.PodSandboxStatus(pod_sandbox_id=pod.id)
        assert before <= reply.timestamp <= time.time_ns()
        assert reply.status == pod.status()
        assert list(reply.containers_statuses) == [c.status() for c in (running, ended, created)]
        ended.remove()
        assert len(daemon.cri.PodSandboxStatus(pod_sandbox_id=pod.id).containers_statuses) == 2


@pytest.mark.ours
def test_features(daemon):
    """What the kubelet lets pods ask for."""
    features = daemon.cri.Status().features
    assert features.supplemental_groups_policy and not features.user_namespaces_host_network


@pytest.mark.ours
def test_groups_merged_or_strict(daemon, busybox, pb):
    """default-user is in a group of the image's; only Merge heeds that."""
    with daemon.pod() as pod:
        for policy, more in ((0, ['50000']), (1, [])):
            container = pod.run(busybox, ['sleep', '100'], security={
                'run_as_user': pb.Int64Value(value=1000), 'supplemental_groups': [7], 'supplemental_groups_policy': policy})
            wanted = sorted(['1000', '7', *more])
            assert sorted(container.output('id', '-G').split()) == wanted
            assert sorted(str(g) for g in container.status().user.linux.supplemental_groups) == wanted


def test_environment_and_names_of_the_node(daemon, busybox):
    """The last of several wins; PATH and HOSTNAME without being asked for; the node's name on its network."""
    with daemon.pod(host_network=True) as pod, daemon.pod(host_network=False, hostname='a-pod') as other:
        config = pod.create(busybox, ['true'], env={'X': 'first'}).config
        config.metadata.name = 'twice'
        config.command[:] = ['sleep', '100']
        config.envs.append(config.envs[0])
        config.envs[1].value = config.envs[1].value.replace(*((b'first', b'last') if isinstance(
            config.envs[1].value, bytes) else ('first', 'last')))
        id_of = daemon.cri.CreateContainer(pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config).container_id
        daemon.cri.StartContainer(container_id=id_of)

        def inside(*command):
            return daemon.cri.ExecSync(container_id=id_of, cmd=command, timeout=20).stdout.decode().rstrip()
        assert inside('sh', '-c', 'echo $X') == 'last'
        assert '/bin' in inside('sh', '-c', 'echo $PATH').split(':')
        assert inside('hostname') == inside('sh', '-c', 'env | grep ^HOSTNAME=')[9:] == socket.gethostname()
        container = other.run(busybox, ['sleep', '100'])
        assert container.output('hostname') == container.sh('env | grep ^HOSTNAME=')[9:] == 'a-pod'


def test_without_dns_the_nodes_resolver_is_used(daemon, busybox):
    with daemon.pod(host_network=False) as pod:
        assert pod.run(busybox, ['sleep', '100']).output('cat', '/etc/resolv.conf') == read('/etc/resolv.conf')


def test_log_directory_is_made(daemon, busybox, tmp_path):
    with daemon.pod(log_directory=str(tmp_path / 'pods' / 'one')) as pod:
        container = pod.create(busybox, ['echo', 'said'], log_path='name/0.log')
        assert container.status().log_path == str(tmp_path / 'pods' / 'one' / 'name' / '0.log')
        container.start()
        container.wait()
        assert container.log_text() == 'said\n'


@pytest.mark.ours
def test_a_pod_whose_first_process_dies_is_not_ready(daemon, busybox, clean):
    """The kubelet makes it anew then."""
    pod = daemon.pod(pid=0)
    container = pod.run(busybox, ['sleep', '100'])
    assert pod.status().state == READY
    os.kill(json.loads(pod.status(verbose=True).info['info'])['pid'], 9)
    eventually(lambda: pod.status().state == NOTREADY)
    container.wait()  # its PID namespace has ended
    with refused(CODE.FAILED_PRECONDITION):
        pod.create(busybox, ['true'])
    pod.remove()


def test_shared_memory(daemon, busybox):
    with daemon.pod() as pod:
        line = pod.run(busybox, ['sleep', '100']).sh('grep " /dev/shm " /proc/mounts').split()
        assert line[2] == 'tmpfs' and {'rw', 'nosuid', 'nodev', 'noexec', 'size=65536k'} <= set(line[3].split(','))


def test_a_debug_container_joins_its_targets_processes(daemon, busybox, pb):
    """As kubectl debug --target has it."""
    with daemon.pod() as pod:
        target = pod.run(busybox, ['sleep', '1234'])
        options = pb.NamespaceOption(network=pod.options.network, pid=TARGET, target_id=target.id)
        container = pod.run(busybox, ['sleep', '100'], security={'namespace_options': options})
        assert container.sh('readlink /proc/self/ns/pid') == target.sh('readlink /proc/self/ns/pid')
        assert '1234' in container.sh('tr "\\0" " " </proc/1/cmdline')
        for bad in ('nothing-with-this-id', ''):
            with refused(CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.UNKNOWN):
                pod.create(busybox, ['true'], security={
                    'namespace_options': pb.NamespaceOption(network=pod.options.network, pid=TARGET, target_id=bad)})


# --- containers --------------------------------------------------------------------------------------------------

@pytest.mark.ours
def test_stop_signal(daemon, images, busybox, pb):
    """The image's, unless the container has one; both are told."""
    with daemon.logged_pod(pid=0) as pod:
        assert pod.create(images.ref('configured')).status().stop_signal == pb.Signal.Value('SIGUSR1')
        container = pod.sh(busybox, 'trap "echo got it; exit 3" USR2; echo ready; while :; do sleep 0.1; done',
                           stop_signal=pb.Signal.Value('SIGUSR2'))
        assert container.status().stop_signal == pb.Signal.Value('SIGUSR2')
        container.until_said('ready')
        container.stop(timeout=60)
        assert (container.status().exit_code, container.log_text()) == (3, 'ready\ngot it\n')


@pytest.mark.ours
def test_what_was_created_can_be_stopped_and_not_started_in_a_stopped_pod(daemon, busybox, clean):
    with daemon.pod() as pod:
        container, other = (pod.create(busybox, ['sleep', '100']) for _ in range(2))
        container.stop(timeout=0)
        assert container.status().started_at == 0
        pod.stop()
        with refused(CODE.FAILED_PRECONDITION):
            other.start()


@pytest.mark.ours
def test_privileged_needs_a_privileged_pod(daemon, busybox):
    with daemon.pod() as pod, refused(CODE.INVALID_ARGUMENT, words=['privileged']):
        pod.create(busybox, ['true'], security={'privileged': True})


@pytest.mark.ours
def test_a_group_needs_a_user(daemon, busybox, pb):
    with daemon.pod() as pod, refused(CODE.INVALID_ARGUMENT, words=['run_as_group']):
        pod.create(busybox, ['true'], security={'run_as_group': pb.Int64Value(value=5)})


@pytest.mark.ours
def test_ambient_capabilities(daemon, busybox, pb):
    """Only those that are asked for, and then a user without rights has them."""
    net_bind = 1 << 10
    with daemon.pod() as pod:
        for ambient in ([], ['NET_BIND_SERVICE']):
            container = pod.run(busybox, ['sleep', '100'], security={
                'run_as_user': pb.Int64Value(value=1000),
                'capabilities': pb.Capability(add_ambient_capabilities=ambient)})
            sets = dict(line.split() for line in container.sh('grep Cap /proc/1/status').splitlines())
            wanted = net_bind if ambient else 0
            assert int(sets['CapAmb:'], 16) == int(sets['CapEff:'], 16) == wanted


@pytest.mark.ours
def test_seccomp_profile_of_the_node(daemon, busybox, pb, tmp_path):
    """By the new field or the deprecated one; one that is missing is an error."""
    profile = tmp_path / 'profile.json'
    profile.write_text(json.dumps({'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [
        {'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 95}]}))
    with daemon.pod() as pod:
        for security in ({'seccomp': pb.SecurityProfile(profile_type=2, localhost_ref=str(profile))},
                         {'seccomp_profile_path': f'localhost/{profile}'}):
            container = pod.run(busybox, ['sleep', '100'], security=security)
            assert 'not supported' in container.exec('mkdir', '/x').stderr.decode()
        with refused(CODE.INVALID_ARGUMENT, words=['/no/such.json', 'does not exist']):
            pod.create(busybox, ['true'], security={
                'seccomp': pb.SecurityProfile(profile_type=2, localhost_ref='/no/such.json')})


def test_a_folder_of_devices(daemon, busybox, pb, tmp_path):
    os.mkdir(tmp_path / 'sub')
    for name, minor in (('one', 3), ('sub/two', 5)):
        os.mknod(tmp_path / name, 0o20600, os.makedev(1, minor))
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], devices=[
            pb.Device(host_path=str(tmp_path), container_path='/dev/many', permissions='rw')])
        assert container.sh('stat -c %t:%T /dev/many/one /dev/many/sub/two').split() == ['1:3', '1:5']
        assert container.sh('head -c 2 /dev/many/sub/two | wc -c') == '2'


@pytest.mark.ours
def test_a_folder_of_devices_that_is_none(daemon, busybox, pb, tmp_path):
    """Not all of a host's files are looked through for a request."""
    for i in range(33):
        os.makedirs(tmp_path / str(i))
        for k in range(1000):
            os.mknod(tmp_path / str(i) / str(k))
    with daemon.pod() as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['more than 32768 files']):
            pod.create(busybox, ['true'], devices=[pb.Device(host_path=str(tmp_path), container_path='/dev/many', permissions='r')])


@pytest.mark.ours
def test_recursively_read_only(daemon, busybox, pb, tmp_path):
    """Needs readonly and private propagation; then what is mounted below is read-only, too, and the status says so."""
    os.mkdir(tmp_path / 'below')
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', tmp_path / 'below'], check=True)

    def mount(**more):
        return pb.Mount(container_path='/data', host_path=str(tmp_path), recursive_read_only=True, **more)
    try:
        with daemon.pod() as pod:
            container = pod.run(busybox, ['sleep', '100'], mounts=[mount(readonly=True)])
            assert 'Read-only' in container.exec('touch', '/data/below/file').stderr.decode()
            shown, = [m for m in container.status().mounts if m.container_path == '/data']
            assert shown.recursive_read_only and shown.readonly
            for bad in (mount(), mount(readonly=True, propagation=1)):
                with refused(CODE.INVALID_ARGUMENT, CODE.UNKNOWN, words=['recursive']):
                    pod.create(busybox, ['true'], mounts=[bad])
    finally:
        subprocess.run(['umount', tmp_path / 'below'], check=True)


@pytest.mark.ours
@pytest.mark.parametrize('propagation,word', [(1, 'slave'), (2, 'shared')])
def test_propagation_of_what_is_private_is_refused(daemon, busybox, pb, tmp_path, propagation, word):
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', tmp_path], check=True)
    try:
        subprocess.run(['mount', '--make-private', tmp_path], check=True)
        with daemon.pod(security={'privileged': True}) as pod:
            with refused(CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION, words=[word]):
                pod.create(busybox, ['true'], security={'privileged': True}, mounts=[
                    pb.Mount(container_path='/data', host_path=str(tmp_path), propagation=propagation)])
    finally:
        subprocess.run(['umount', tmp_path], check=True)


def test_privileged_is_not_filtered(daemon, busybox, pb):
    with daemon.pod(security={'privileged': True}) as pod:
        container = pod.run(busybox, ['sleep', '100'], security={
            'privileged': True, 'seccomp': pb.SecurityProfile(profile_type=0)})
        assert container.sh('grep Seccomp: /proc/1/status').split()[1] == '0'


def test_standard_input_that_nobody_asked_for(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.output('readlink', '/proc/1/fd/0') == '/dev/null'
        terminal = pod.run(busybox, ['sleep', '100'], tty=True)
        assert terminal.sh('tr "\\0" "\\n" </proc/1/environ | grep ^TERM=') == 'TERM=xterm'
        assert terminal.exec('test', '-c', '/dev/console').exit_code == 0


# --- stats -------------------------------------------------------------------------------------------------------

@pytest.mark.ours
def test_cpu_and_memory_as_the_kubelet_reads_them(daemon, busybox):
    """The rate of two calls; what is available of the limit; and no such number where there is no limit."""
    def stats(container):
        return daemon.cri.ContainerStats(container_id=container.id).stats
    with daemon.pod() as pod:
        limited = pod.sh(busybox, 'while :; do :; done', resources={
            'memory_limit_in_bytes': 64 * MIB, 'cpu_quota': 20000, 'cpu_period': 100000})
        free = pod.run(busybox, ['sleep', '100'])
        first = stats(limited)
        time.sleep(2)
        second = stats(limited)
        used = second.cpu.usage_core_nano_seconds.value - first.cpu.usage_core_nano_seconds.value
        rate = used * 10**9 / (second.cpu.timestamp - first.cpu.timestamp)
        assert used > 0 and second.cpu.usage_nano_cores.value == pytest.approx(rate, rel=0.2)
        assert second.cpu.usage_nano_cores.value < 400_000_000  # a fifth of a processor
        memory = second.memory
        assert memory.available_bytes.value == 64 * MIB - memory.working_set_bytes.value
        assert 0 < memory.rss_bytes.value <= memory.usage_bytes.value
        assert memory.page_faults.value > 0 and memory.HasField('major_page_faults')
        assert not stats(free).memory.available_bytes.value
