"""Metrics of pods: ListMetricDescriptors, ListPodSandboxMetrics and its stream."""

import time

import pytest

from cri import eventually

pytestmark = pytest.mark.ours

BASE = ['id', 'image', 'namespace', 'pod', 'container']
# What a host may lack: huge pages, PSI, devices that count, limits that were not asked for.
MAY_MISS = ('container_hugetlb_', 'container_pressure_', 'container_blkio_', 'container_fs_reads', 'container_fs_writes',
            'container_spec_cpu_quota', 'container_ulimits_soft')
LIMITS = {'cpu_period': 100000, 'cpu_quota': 20000, 'cpu_shares': 512, 'memory_limit_in_bytes': 64 << 20,
          'memory_swap_limit_in_bytes': 64 << 20}


def descriptors(daemon):
    return {d.name: d for d in daemon.cri.ListMetricDescriptors().descriptors}


def metrics_of(daemon, pod):
    found, = [m for m in daemon.cri.ListPodSandboxMetrics().pod_metrics if m.pod_sandbox_id == pod.id]
    return found


def values(metrics, name):
    """{own labels: value} of one metric."""
    return {tuple(m.label_values[len(BASE):]): m.value.value for m in metrics if m.name == name}


def test_descriptors(daemon):
    listed = daemon.cri.ListMetricDescriptors().descriptors
    found = descriptors(daemon)
    assert len(listed) == len(found) == 56
    for d in listed:
        assert d.help and list(d.label_keys[:5]) == BASE
    assert list(found['container_blkio_device_usage_total'].label_keys[5:]) == ['device', 'major', 'minor', 'operation']
    assert list(found['container_memory_failures_total'].label_keys[5:]) == ['failure_type', 'scope']
    assert list(found['container_threads'].label_keys) == BASE


def test_metrics_of_a_container(daemon, busybox):
    known = descriptors(daemon)
    with daemon.pod(host_network=False) as pod:
        before = time.time()
        container = pod.sh(busybox, 'exec 7</dev/null; sleep 1000 & sleep 1000 & wait', resources=LIMITS)
        container.sh('dd if=/dev/zero of=/big bs=65536 count=16 2>/dev/null')

        def whole():
            found = metrics_of(daemon, pod)
            one, = found.container_metrics
            return found if values(one.metrics, 'container_fs_usage_bytes') and \
                all(values(one.metrics, f'container_{what}') == {(): 3} for what in ('processes', 'threads')) else None
        found = eventually(whole)
        one, = found.container_metrics
        assert one.container_id == container.id
        for m in [*found.metrics, *one.metrics]:
            assert len(m.label_values) == len(known[m.name].label_keys), m
            assert m.timestamp > before * 1e9 and m.HasField('value')
            counts = m.name.endswith('_total') and 'inodes' not in m.name
            assert m.metric_type == (0 if counts or m.name == 'container_memory_failcnt' else 1), m
        for m in one.metrics:
            assert list(m.label_values[:5]) == [container.id, busybox, 'tests', pod.config.metadata.name,
                                                container.config.metadata.name]
        names = {m.name for m in [*found.metrics, *one.metrics]}
        assert not [n for n in set(known) - names if not n.startswith(MAY_MISS)]

        def value(name):
            one_value, = values(one.metrics, name).values()
            return one_value
        assert value('container_spec_cpu_shares') == 512 and value('container_spec_cpu_quota') == 20000
        assert value('container_spec_cpu_period') == 100000
        assert value('container_spec_memory_limit_bytes') == value('container_spec_memory_swap_limit_bytes') == 64 << 20
        assert value('container_file_descriptors') >= 10 and value('container_sockets') == 0
        assert before - 1 <= value('container_start_time_seconds') <= value('container_last_seen') <= time.time()
        assert 0 < value('container_memory_working_set_bytes') <= value('container_memory_max_usage_bytes') <= 64 << 20
        assert value('container_fs_limit_bytes') > 0
        assert values(one.metrics, 'container_ulimits_soft').keys() <= {('max_open_files',)}
        assert set(values(one.metrics, 'container_memory_failures_total')) == {
            (kind, scope) for kind in ('pgfault', 'pgmajfault') for scope in ('container', 'hierarchy')}
        assert values(one.metrics, 'container_memory_failures_total')['pgfault', 'hierarchy'] > 0
        assert set(values(one.metrics, 'container_cpu_usage_seconds_total')) == {('total',)}


def test_throttling_and_cpu_time_are_counted(daemon, busybox):
    with daemon.pod() as pod:
        pod.sh(busybox, 'while :; do :; done', resources=LIMITS)

        def throttled():
            one, = metrics_of(daemon, pod).container_metrics
            found = [values(one.metrics, f'container_cpu_{name}').get(()) for name in (
                'cfs_periods_total', 'cfs_throttled_periods_total', 'cfs_throttled_seconds_total', 'user_seconds_total')]
            return found if all(found) else None
        periods, late, _, _ = eventually(throttled, every=0.5)
        assert 0 < late <= periods


def test_network_is_the_pods(daemon, busybox):
    with daemon.pod(host_network=False) as pod, daemon.pod(host_network=True) as on_host:
        container = pod.run(busybox, ['sleep', '100'])
        gateway = container.sh("ip route | awk '/^default/ {print $3}'")
        container.exec('ping', '-c', '3', '-W', '1', gateway)
        found = metrics_of(daemon, pod)
        assert values(found.metrics, 'container_network_transmit_packets_total')['eth0',] >= 3
        assert values(found.metrics, 'container_network_receive_errors_total') == {('eth0',): 0}
        assert list(found.metrics[0].label_values[:5]) == [pod.id, '', 'tests', pod.config.metadata.name, '']
        assert not metrics_of(daemon, on_host).metrics


def test_out_of_memory_is_counted(daemon, busybox):
    limits = {'memory_limit_in_bytes': 20 << 20, 'memory_swap_limit_in_bytes': 20 << 20}
    with daemon.pod() as pod:
        # The shell survives its child.
        pod.sh(busybox, 'dd if=/dev/zero of=/dev/null bs=100M; sleep 1000', resources=limits)

        def killed():
            one, = metrics_of(daemon, pod).container_metrics
            return values(one.metrics, 'container_oom_events_total')[()]
        assert eventually(killed) >= 1


def test_only_what_runs_has_metrics(daemon, busybox):
    with daemon.pod() as pod:
        runs = pod.run(busybox, ['sleep', '100'])
        pod.create(busybox, ['true'])
        pod.run(busybox, ['true']).wait()
        assert [c.container_id for c in metrics_of(daemon, pod).container_metrics] == [runs.id]
        streamed = [m for chunk in daemon.cri.StreamPodSandboxMetrics() for m in chunk.pod_sandbox_metrics]
        one, = [m for m in streamed if m.pod_sandbox_id == pod.id]
        assert [c.container_id for c in one.container_metrics] == [runs.id]
        pod.stop()
        assert pod.id not in [m.pod_sandbox_id for m in daemon.cri.ListPodSandboxMetrics().pod_metrics]


def test_metrics_of_many_pods_are_quick(daemon, busybox):
    pods = [daemon.pod() for _ in range(20)]
    try:
        made = {pod.run(busybox, ['sleep', '100']).id for pod in pods}
        times = []
        for _ in range(5):
            start = time.monotonic()
            reply = daemon.cri.ListPodSandboxMetrics()
            times.append(time.monotonic() - start)
        assert made <= {c.container_id for m in reply.pod_metrics for c in m.container_metrics}
        assert min(times) < 0.2
    finally:
        for pod in pods:
            pod.remove()
