"""The life of a pod sandbox."""

import concurrent.futures
import json
import os

import pytest

from cri import NOTREADY, READY, NODE, POD, eventually
from helpers import CODE, refused


def test_life(daemon, clean):
    pod = daemon.pod(labels={'app': 'x'}, annotations={'note': 'y'})
    status = pod.status()
    assert status.state == READY
    assert status.id == pod.id
    assert status.metadata == pod.config.metadata
    assert dict(status.labels) == {'app': 'x'} and dict(status.annotations) == {'note': 'y'}
    assert status.created_at > 1_600_000_000_000_000_000
    assert status.linux.namespaces.options.network == pod.options.network
    pod.stop()
    pod.stop()
    assert pod.status().state == NOTREADY
    pod.remove()
    with refused(CODE.NOT_FOUND):
        pod.status()


@pytest.mark.ours
def test_stop_and_remove_of_unknown_are_fine(daemon):
    daemon.cri.StopPodSandbox(pod_sandbox_id='nothing-with-this-id')
    daemon.cri.RemovePodSandbox(pod_sandbox_id='nothing-with-this-id')
    pod = daemon.pod()
    pod.remove()
    pod.remove()


def test_lists_are_filtered(daemon, pb):
    with daemon.pod(labels={'app': 'a', 'x': '1'}) as a, daemon.pod(labels={'app': 'b'}) as b:
        def ids(**fields):
            reply = daemon.cri.ListPodSandbox(filter=pb.PodSandboxFilter(**fields))
            return {item.id for item in reply.items}
        assert {a.id, b.id} <= ids()
        assert ids(id=a.id) == {a.id}
        assert ids(label_selector={'app': 'a', 'x': '1'}) == {a.id}
        assert ids(label_selector={'app': 'a', 'x': '2'}) == set()
        assert ids(id='nothing-with-this-id') == set()
        b.stop()
        state = pb.PodSandboxStateValue(state=READY)
        assert a.id in ids(state=state) and b.id not in ids(state=state)
        assert ids(id=b.id, state=state) == set()


def test_the_same_name_twice_is_refused(daemon, clean):
    with daemon.pod(name='twice'):
        with refused(CODE.ALREADY_EXISTS, CODE.UNKNOWN, CODE.INTERNAL, CODE.FAILED_PRECONDITION):
            daemon.pod(name='twice')
        assert len(daemon.cri.ListPodSandbox().items) == 1
    daemon.pod(name='twice').remove()


@pytest.mark.ours
def test_the_same_name_twice_says_already_exists(daemon):
    with daemon.pod(name='twice2'):
        with refused(CODE.ALREADY_EXISTS, words=['twice2']):
            daemon.pod(name='twice2')


def test_unknown_handler(daemon, clean):
    with refused(CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.UNKNOWN, words=['nohandler']):
        daemon.pod(handler='nohandler')


@pytest.mark.ours
def test_missing_parts_are_refused(daemon, pb, clean):
    with refused(CODE.INVALID_ARGUMENT):
        daemon.cri.RunPodSandbox()
    with refused(CODE.INVALID_ARGUMENT, words=['metadata']):
        daemon.cri.RunPodSandbox(config=pb.PodSandboxConfig())
    with refused(CODE.INVALID_ARGUMENT, words=['name']):
        daemon.cri.RunPodSandbox(config=pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(namespace='n', uid='u')))
    with refused(CODE.NOT_FOUND, CODE.INVALID_ARGUMENT):
        daemon.cri.PodSandboxStatus(pod_sandbox_id='')


def test_hostname_hosts_and_dns(daemon, pb, busybox):
    dns = pb.DNSConfig(servers=['10.1.2.3', '10.1.2.4'], searches=['a.example', 'b.example'],
                       options=['ndots:3'])
    with daemon.pod(host_network=False, hostname='some-name', dns_config=dns) as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.output('hostname') == 'some-name'
        assert container.output('cat', '/etc/hostname') == 'some-name'
        lines = container.output('cat', '/etc/resolv.conf').split('\n')
        assert 'search a.example b.example' in lines
        assert 'nameserver 10.1.2.3' in lines and 'nameserver 10.1.2.4' in lines
        assert 'options ndots:3' in lines
        assert 'localhost' in container.output('cat', '/etc/hosts')


def test_shared_memory_is_the_pods(daemon, busybox):
    with daemon.pod() as pod:
        one, two = (pod.run(busybox, ['sleep', '100']) for _ in range(2))
        one.sh('echo shared >/dev/shm/file')
        assert two.output('cat', '/dev/shm/file') == 'shared'
        assert one.sh('stat -c %a /dev/shm') == '1777'
        assert one.sh('readlink /proc/self/ns/ipc') == two.sh('readlink /proc/self/ns/ipc')
        assert one.sh('readlink /proc/self/ns/ipc') != os.readlink('/proc/self/ns/ipc')


def test_host_namespaces(daemon, busybox):
    with daemon.pod(host_network=True, pid=NODE, ipc=NODE) as pod:
        container = pod.run(busybox, ['sleep', '100'])
        for kind in ('net', 'pid', 'ipc'):
            assert container.sh(f'readlink /proc/self/ns/{kind}') == os.readlink(
                f'/proc/self/ns/{kind}'), kind


def test_pid_namespace_of_the_container_or_the_pod(daemon, busybox):
    with daemon.pod() as pod:
        one, two = (pod.run(busybox, ['sleep', '100']) for _ in range(2))
        assert one.output('cat', '/proc/1/comm') == 'sleep'
        assert one.sh('readlink /proc/1/ns/pid') != two.sh('readlink /proc/1/ns/pid')
    with daemon.pod(pid=POD) as pod:
        one, two = (pod.run(busybox, ['sleep', '100']) for _ in range(2))
        assert one.sh('readlink /proc/self/ns/pid') == two.sh('readlink /proc/self/ns/pid')
        eventually(lambda: len(one.sh('pgrep sleep').split()) >= 2)  # crun says that it runs before it does


def test_sysctls_apply_in_the_pod_only(daemon, busybox):
    with open('/proc/sys/net/ipv4/ip_forward', encoding='utf-8') as f:
        before = f.read().strip()
    sysctls = {'kernel.shm_rmid_forced': '1', 'net.ipv4.ip_unprivileged_port_start': '77'}
    with daemon.pod(host_network=False, linux={'sysctls': sysctls}) as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.output('cat', '/proc/sys/kernel/shm_rmid_forced') == '1'
        assert container.output('cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start') == '77'
    with open('/proc/sys/net/ipv4/ip_forward', encoding='utf-8') as f:
        assert f.read().strip() == before


@pytest.mark.ours
def test_sysctls_of_the_host_are_refused(daemon, clean):
    with refused(CODE.INVALID_ARGUMENT, words=['net.ipv4.ip_forward']):
        daemon.pod(host_network=True, linux={'sysctls': {'net.ipv4.ip_forward': '1'}})
    with refused(CODE.INVALID_ARGUMENT, words=['vm.swappiness']):
        daemon.pod(linux={'sysctls': {'vm.swappiness': '1'}})


def test_stop_ends_its_containers(daemon, busybox, clean):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        pod.stop()
        status = container.status()
        assert status.state == 2 and status.exit_code == 137
        with refused(CODE.FAILED_PRECONDITION, CODE.UNKNOWN, CODE.NOT_FOUND):
            pod.run(busybox, ['true'])


def test_many_at_once(daemon, busybox, clean):
    """Pods made and removed by several threads."""
    def one(_):
        with daemon.pod(host_network=False) as pod:
            container = pod.run(busybox, ['sleep', '100'])
            return container.output('echo', 'up')
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(16))) == ['up'] * 16


@pytest.mark.ours
def test_limits_of_a_pod_are_noted(own_daemon, pb):
    def info():
        return json.loads(pod.status(verbose=True).info['info'])

    def update(**fields):
        own_daemon.cri.UpdatePodSandboxResources(pod_sandbox_id=pod.id, **fields)
    limits = pb.LinuxContainerResources
    pod = own_daemon.pod(linux={
        'overhead': limits(memory_limit_in_bytes=1 << 20), 'resources': limits(cpu_shares=100)})
    assert info()['overhead'] == {'memoryLimitInBytes': 1 << 20}
    assert info()['resources'] == {'cpuShares': 100}
    update(resources=limits(cpu_quota=5000, cpu_period=100000, cpuset_cpus='0'))
    update()
    own_daemon.runtime.kill()
    own_daemon.start()
    pod.cri = own_daemon.cri
    assert info()['overhead'] == {'memoryLimitInBytes': 1 << 20}
    assert info()['resources'] == {'cpuQuota': 5000, 'cpuPeriod': 100000, 'cpusetCpus': '0'}
    update(overhead=limits(memory_limit_in_bytes=2 << 20))
    assert info()['overhead'] == {'memoryLimitInBytes': 2 << 20}
    with refused(CODE.INVALID_ARGUMENT, words=['cpuset']):
        update(resources=limits(cpuset_cpus='all'))
    with refused(CODE.NOT_FOUND):
        own_daemon.cri.UpdatePodSandboxResources(pod_sandbox_id='0' * 64)
    pod.stop()
    with refused(CODE.FAILED_PRECONDITION):
        update(resources=limits(cpu_shares=5))
