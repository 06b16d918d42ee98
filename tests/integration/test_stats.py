"""Statistics of pods, and the Stream* RPCs."""

import json
import os
import subprocess
import time

import pytest

from cri import SLOW, Cri, eventually
from helpers import CODE, refused

pytestmark = pytest.mark.ours


def test_pod_stats_of_a_shared_parent_are_sums(daemon, busybox):
    with daemon.pod(host_network=True, labels={'app': 'stats'}, annotations={'note': 'y'}) as pod:
        for _ in range(2):
            pod.sh(busybox, 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 100')

        def used():
            stats = daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats
            return stats if stats.linux.cpu.usage_core_nano_seconds.value else None
        stats = eventually(used)
        assert stats.attributes.id == pod.id
        assert stats.attributes.metadata == pod.config.metadata
        assert stats.attributes.labels == {'app': 'stats'}
        assert stats.attributes.annotations == {'note': 'y'}
        linux = stats.linux
        assert linux.cpu.timestamp > 0 and linux.memory.timestamp > 0
        assert len(linux.containers) == 2
        assert linux.cpu.usage_core_nano_seconds.value == sum(
            c.cpu.usage_core_nano_seconds.value for c in linux.containers)
        assert linux.memory.working_set_bytes.value == sum(
            c.memory.working_set_bytes.value for c in linux.containers) > 0
        assert linux.process.process_count.value >= 2
        assert not linux.HasField('network'), 'a pod on the host network has none of its own'


def test_pod_stats_of_an_own_parent_are_its_own(daemon, busybox):
    name = 'own-parent'
    parent = f'/{daemon.runtime.cgroup_parent}/poduid-{name}'
    with daemon.pod(name=name, linux={'cgroup_parent': parent}) as pod:
        pod.run(busybox, ['sleep', '100'])
        linux = daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux
        one, = linux.containers
        assert linux.cpu.usage_core_nano_seconds.value >= one.cpu.usage_core_nano_seconds.value > 0
        assert linux.process.process_count.value >= 1


def test_pod_network_is_counted(daemon, busybox):
    with daemon.pod(host_network=False) as pod:
        container = pod.run(busybox, ['sleep', '100'])

        def network():
            return daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux.network
        before = network().default_interface
        assert before.name == 'eth0'
        gateway = container.sh("ip route | awk '/^default/ {print $3}'")
        container.exec('ping', '-c', '3', '-W', '1', gateway)
        assert eventually(lambda: network().default_interface.tx_bytes.value > before.tx_bytes.value)
        seen = int(container.output('cat', '/sys/class/net/eth0/statistics/tx_bytes'))
        assert network().default_interface.tx_bytes.value >= seen
        assert network().timestamp > 0


def test_missing_pod_has_no_stats(daemon):
    with refused(CODE.NOT_FOUND):
        daemon.cri.PodSandboxStats(pod_sandbox_id='nothing-with-this-id')


def test_pod_stats_lists_are_filtered(daemon, pb, busybox):
    with daemon.pod(labels={'app': 'a'}) as a, daemon.pod(labels={'app': 'b'}) as b:
        def ids(**fields):
            reply = daemon.cri.ListPodSandboxStats(filter=pb.PodSandboxStatsFilter(**fields))
            return [s.attributes.id for s in reply.stats]
        assert {a.id, b.id} <= set(ids())
        assert ids(id=a.id) == [a.id]
        assert ids(label_selector={'app': 'b'}) == [b.id]
        assert not ids(id='nothing-with-this-id')
        b.stop()
        assert not ids(id=b.id), 'what is stopped uses nothing'


STREAMS = [('StreamPodSandboxes', 'pod_sandboxes', 'ListPodSandbox', 'items'),
           ('StreamContainers', 'containers', 'ListContainers', 'containers'),
           ('StreamImages', 'images', 'ListImages', 'images'),
           ('StreamContainerStats', 'container_stats', 'ListContainerStats', 'stats'),
           ('StreamPodSandboxStats', 'pod_sandbox_stats', 'ListPodSandboxStats', 'stats')]


def identity(item):
    return item.attributes.id if 'attributes' in item.DESCRIPTOR.fields_by_name else item.id


@pytest.mark.parametrize('stream,field,unary,its_field', STREAMS)
def test_streams_say_what_lists_say(daemon, busybox, stream, field, unary, its_field):
    with daemon.pod() as one, daemon.pod() as two:
        for pod in (one, two):
            pod.run(busybox, ['sleep', '100'])
        chunks = list(getattr(daemon.cri, stream)())
        assert all(len(getattr(chunk, field)) for chunk in chunks)
        streamed = [identity(item) for chunk in chunks for item in getattr(chunk, field)]
        listed = [identity(item) for item in getattr(getattr(daemon.cri, unary)(), its_field)]
        assert streamed and sorted(streamed) == sorted(listed)


def test_streams_are_filtered_and_may_be_empty(daemon, pb, busybox):
    with daemon.pod() as pod, daemon.pod():
        chunk, = daemon.cri.StreamPodSandboxes(filter=pb.PodSandboxFilter(id=pod.id))
        assert [p.id for p in chunk.pod_sandboxes] == [pod.id]
        assert not list(daemon.cri.StreamContainers(filter=pb.ContainerFilter(id='f' * 64)))
        assert not list(daemon.cri.StreamContainerStats(filter=pb.ContainerStatsFilter(id='f' * 64)))
        assert not list(daemon.cri.StreamPodSandboxStats(filter=pb.PodSandboxStatsFilter(id='f' * 64)))
        missing = pb.ImageFilter(image=pb.ImageSpec(image='localhost/not/there:1'))
        assert not list(daemon.cri.StreamImages(filter=missing))


def test_a_long_list_comes_in_chunks(daemon, pb, busybox):
    with daemon.pod() as pod:
        made = {pod.create(busybox, ['true']).id for _ in range(130)}
        chunks = list(daemon.cri.StreamContainers(filter=pb.ContainerFilter(pod_sandbox_id=pod.id)))
        assert len(chunks) > 1
        streamed = [c.id for chunk in chunks for c in chunk.containers]
        assert len(streamed) == len(made) and set(streamed) == made


def test_stats_of_many_pods(daemon, busybox):
    pods = [daemon.pod(host_network=False) for _ in range(20)]
    try:
        made = {pod.run(busybox, ['sleep', '100']).id: pod.id for pod in pods}
        of_pods = {item.attributes.id: item for item in daemon.cri.ListPodSandboxStats().stats}
        of_containers = {item.attributes.id for item in daemon.cri.ListContainerStats().stats}
        assert set(made) <= of_containers
        for container, pod in made.items():
            assert [c.attributes.id for c in of_pods[pod].linux.containers] == [container]
            assert of_pods[pod].linux.process.process_count.value >= 1
    finally:
        for pod in pods:
            pod.remove()


def test_slow_readers_of_streams_hold_no_worker(daemon, pb, busybox):
    """More of them than there are workers, each with far more unread than a socket takes; others are served."""
    with daemon.pod() as pod:
        for _ in range(12):
            pod.create(busybox, ['true'], annotations={'blob': 'x' * 200000})
        narrow = [('grpc.http2.lookahead_bytes', 65536), ('grpc.http2.bdp_probe', 0)]
        clients = [Cri(daemon.runtime.endpoint, pb, narrow) for _ in range(5)]
        try:
            calls = [client.StreamContainers(deadline=120) for client in clients for _ in range(8)]
            for call in calls:
                call.initial_metadata()
            start = time.monotonic()
            daemon.cri.Status()
            daemon.cri.ListContainerStats()
            assert time.monotonic() - start < 20 * SLOW
            # Who reads after all gets everything.
            assert sum(len(chunk.containers) for chunk in calls[0]) >= 12
            for call in calls:
                call.cancel()
        finally:
            for client in clients:
                client.close()


HAS_PSI = os.path.exists('/proc/pressure/cpu') and any(
    os.path.exists(f'{root}/cgroup.controllers') for root in ('/sys/fs/cgroup', '/sys/fs/cgroup/unified'))


def cgroup_file(container, name):
    """A file of a container's v2 group: where its first process is."""
    with open(f'/proc/{container.pid()}/cgroup', encoding='utf-8') as f:
        path, = [line.rstrip('\n')[3:] for line in f if line.startswith('0::')]
    for root in ('/sys/fs/cgroup/unified', '/sys/fs/cgroup'):
        if os.path.exists(f'{root}{path}/{name}'):
            with open(f'{root}{path}/{name}', encoding='utf-8') as f:
                return f.read()
    raise AssertionError(f'no {name} of {path}')


@pytest.mark.skipif(not HAS_PSI, reason='no PSI, or no v2 hierarchy on this host')
def test_pressure(daemon, busybox):
    """Two that want one CPU wait for each other: their time is the kernel's, in nanoseconds."""
    name = 'pressure'
    parent = f'/{daemon.runtime.cgroup_parent}/poduid-{name}'
    with daemon.pod(name=name, linux={'cgroup_parent': parent}) as pod:
        container = pod.sh(busybox, 'for i in 1 2 3 4 5 6; do while :; do :; done & done; wait')

        def total():
            return int(cgroup_file(container, 'cpu.pressure').split('\n')[0].rsplit('=', 1)[1]) * 1000
        eventually(lambda: total() > 100_000_000)
        low = total()
        stats = daemon.cri.ContainerStats(container_id=container.id).stats
        high = total()
        assert low <= stats.cpu.psi.Some.Total <= high
        assert stats.cpu.psi.HasField('Full') and stats.memory.psi.HasField('Some') and stats.io.psi.HasField('Full')
        assert stats.io.timestamp > 0
        # The kernel sums a group up every two seconds.
        def of_pod():
            linux = daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux
            return linux if linux.cpu.psi.Some.Total >= low else None
        linux = eventually(of_pod)
        assert linux.memory.psi.HasField('Full') and linux.io.psi.HasField('Some')


@pytest.mark.not_in_ct('their group is theirs alone')
def test_pressure_has_no_sum(daemon, busybox):
    with daemon.pod() as pod:
        pod.run(busybox, ['sleep', '100'])
        linux = daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux
        assert not linux.cpu.HasField('psi') and not linux.HasField('io')


def test_swap(daemon, busybox):
    limits = {'memory_limit_in_bytes': 64 << 20, 'memory_swap_limit_in_bytes': 64 << 20}
    with daemon.pod() as pod:
        none = pod.run(busybox, ['sleep', '100'], resources=limits)
        free = pod.run(busybox, ['sleep', '100'])
        stats = daemon.cri.ContainerStats(container_id=none.id).stats
        if not stats.HasField('swap'):
            pytest.skip('the kernel does not account swap')
        assert stats.swap.swap_usage_bytes.value == 0
        assert stats.swap.HasField('swap_available_bytes') and stats.swap.swap_available_bytes.value == 0
        assert 0 < stats.memory.available_bytes.value < 64 << 20
        # The kernel's counters for a processor come in batches.
        eventually(lambda: daemon.cri.ContainerStats(container_id=none.id).stats.memory.page_faults.value > 0)
        assert stats.memory.usage_bytes.value > 0
        assert not daemon.cri.ContainerStats(container_id=free.id).stats.swap.HasField('swap_available_bytes')


def test_other_interfaces_are_counted(daemon, busybox):
    with daemon.pod(host_network=False) as pod:
        pod.run(busybox, ['sleep', '100'])
        netns = pod.status(verbose=True).info['info']
        path = json.loads(netns)['namespaces']['net']
        subprocess.run(['nsenter', f'--net={path}', 'ip', 'link', 'add', 'other0', 'type', 'veth',
                        'peer', 'name', 'other1'], check=True)
        network = daemon.cri.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux.network
        assert network.default_interface.name == 'eth0'
        assert sorted(i.name for i in network.interfaces) == ['other0', 'other1']


def test_layers_are_measured_in_the_background(daemon, busybox):
    """The first call has the layer as it was made, and none waits for a large one."""
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])

        def layer():
            stats = daemon.cri.ContainerStats(container_id=container.id).stats
            return stats.writable_layer if stats.HasField('writable_layer') else None
        first = eventually(layer)
        assert first.fs_id.mountpoint and first.inodes_used.value > 0
        container.sh('mkdir /many && cd /many && for i in $(seq 200); do mkdir $i; '
                     'dd if=/dev/zero of=$i/file bs=4096 count=1 2>/dev/null; done')
        made = time.time_ns()

        def grown():
            start = time.monotonic()
            now = layer()
            assert time.monotonic() - start < 10 * SLOW
            return now if now.timestamp > made else None
        later = eventually(grown, every=0.5)
        assert later.inodes_used.value >= first.inodes_used.value + 401
        assert later.used_bytes.value >= first.used_bytes.value + 200 * 4096
