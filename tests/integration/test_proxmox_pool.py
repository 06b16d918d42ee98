"""The warm pool: pods in Proxmox containers that were made and started before they came. tests/integration/run --proxmox."""

import concurrent.futures
import contextlib
import json
import os
import random
import re
import threading
import time

import grpc
import pytest

import proxmox
from conftest import AS_PROXMOX
from cri import READY, SLOW, Pod, eventually
from helpers import CODE, refused
from test_proxmox import settled

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]

SIZE = 3


class Pool:
    """A daemon with a warm pool, and what of the cluster is its."""

    def __init__(self, daemon, cluster):
        self.daemon, self.cluster = daemon, cluster
        first, last = re.search(r'"vmid-range": "(\d+)-(\d+)"', self.config()).groups()
        self.numbers = range(int(first), int(last) + 1)

    def config(self, **changes):
        """The text of the daemon's configuration, with other values for keys of `proxmox` from its next start on."""
        with open(self.daemon.runtime.config, encoding='utf-8') as f:
            text = f.read()
        for key, value in changes.items():
            text, n = re.subn(rf'("{key.replace("_", "-")}": )("[^"]*"|\d+)', rf'\g<1>{json.dumps(value)}', text)
            assert n == 1, key
        if changes:
            with open(self.daemon.runtime.config, 'w', encoding='utf-8') as f:
                f.write(text)
        return text

    def prepared(self):
        return sorted(set(self.cluster.prepared()) & set(self.numbers))

    def pods(self):
        return sorted(set(self.cluster.ours()) & set(self.numbers))

    def info(self):
        said = json.loads(self.daemon.runtime.cli('-o', 'json', 'info').stdout)
        return int(said.get('warm_pool', 0)), int(said.get('warm_pool_ready', 0))

    def full(self, size=SIZE):
        """So many are ready; their numbers."""
        eventually(lambda: self.info() == (size, size) and len(self.prepared()) == size)
        return self.prepared()

    def restart(self, **changes):
        if self.daemon.runtime.process.poll() is None:
            self.daemon.runtime.kill()
        self.config(**changes)
        self.daemon.start()

    def requests(self, vmid=None):
        """What was asked since the journal was cleared, beside tasks; of one container."""
        def is_of(entry):
            return vmid is None or f'/lxc/{vmid}' in entry['path'] or str(entry['parameters'].get('vmid')) == str(vmid)
        return [(entry['method'], re.sub('^/nodes/[^/]+', '', entry['path']), entry['parameters'], entry['status'])
                for entry in self.cluster.control.do('journal') if '/tasks/' not in entry['path'] and is_of(entry)]

    def administrator(self, method, vmid, path='', **parameters):
        assert self.cluster.administrator(method, vmid, path, **parameters) == 'OK'

    def edit(self, vmid, **parameters):
        assert self.cluster.client.put(f'/nodes/{self.cluster.node}/lxc/{vmid}/config', **parameters).status == 200


@pytest.fixture(name='pool')
def fixture_pool(request, monkeypatch, cluster):
    """Afterwards without a pool: then nothing that was prepared is left, whatever a test did."""
    monkeypatch.setenv(proxmox.WARM_POOL, str(getattr(request, 'param', SIZE)))
    pool = Pool(request.getfixturevalue('own_daemon'), cluster)
    pool.full(getattr(request, 'param', SIZE))
    yield pool
    cluster.control.do('clear-faults')
    pool.restart(warm_pool=0)
    pool.daemon.remove_all()
    eventually(lambda: not pool.prepared() and not pool.pods(), 60)


one = pytest.mark.parametrize('pool', [1], indirect=True)


def test_a_pod_takes_one(pool, busybox, cluster, pb):
    ready = pool.full()
    for vmid in ready:
        guest = cluster.prepared()[vmid]
        config = guest['config']
        assert guest['running'] and config['tags'] == 'proxmox-lxcri' and f'- node: {cluster.node}' in config['description']
        assert config['description'].startswith('Prepared by proxmox-lxcri for a pod of Kubernetes')
    refused_operation = pool.daemon.runtime.cli('proxmox', 'resize', str(ready[0]), 'rootfs', '+1G', check=False)
    assert refused_operation.returncode and 'prepared for one to come' in refused_operation.stderr
    cluster.control.do('journal', clear=True)
    with pool.daemon.pod(name='web-0', hostname='web-0', linux={'resources': pb.LinuxContainerResources(
            memory_limit_in_bytes=64 << 20, cpu_quota=50000, cpu_period=100000)}) as pod:
        vmid, guest = cluster.of(pod)
        asked = pool.requests(vmid)
        assert vmid in ready and [(method, path) for method, path, _, _ in asked] == [('PUT', f'/lxc/{vmid}/config')]
        config = guest['config']
        assert config['hostname'] == 'web-0' and config['memory'] == 64 and float(config['cpulimit']) == 0.5
        assert config['description'].startswith('Pod tests/web-0 of Kubernetes')
        assert cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/status/current').data['maxmem'] == 64 << 20
        assert pod.run(busybox, ['sleep', '1000']).output('hostname') == 'web-0'
        refilled = pool.full()
        assert vmid not in refilled and len(set(refilled) - set(ready)) == 1
    assert vmid not in cluster.made()


def test_calls_of_a_life(pool, busybox, cluster):
    """Of a container that was prepared: its making, taking and removing."""
    pool.daemon.pod().remove()
    pool.full()
    cluster.control.do('journal', clear=True)
    pods = [pool.daemon.pod() for _ in range(2 * SIZE)]
    vmids = [cluster.of(pod)[0] for pod in pods]
    for pod in pods:
        pod.run(busybox, ['sleep', '1000'])
        pod.remove()
    made = [vmid for vmid in vmids if ('POST', '/lxc') in [(m, p) for m, p, _, _ in pool.requests(vmid)]]
    assert made
    for vmid in made:
        calls = [(method, path) for method, path, _, _ in pool.requests(vmid)]
        assert len(calls) <= 6, calls


def spoil_delete(pool, vmid):
    pool.administrator('DELETE', vmid, force=1)


def spoil_stop(pool, vmid):
    pool.administrator('POST', vmid, '/status/stop')


def spoil_reboot(pool, vmid):
    # It may be gone before Proxmox starts it again.
    pool.cluster.administrator('POST', vmid, '/status/reboot', timeout=1)


def spoil_lock(pool, vmid):
    pool.cluster.control.do('lock', vmid=vmid, lock='backup')


def spoil_edit(pool, vmid):
    pool.edit(vmid, mp0='btr:0,mp=/mine')


def spoil_take(pool, vmid):
    pool.edit(vmid, description='mine now')


def spoil_migrate(pool, vmid):
    pool.administrator('POST', vmid, '/migrate', target='pve2', restart=1, timeout=5)


@one
@pytest.mark.parametrize('spoil', [spoil_delete, spoil_stop, spoil_reboot, spoil_lock, spoil_edit, spoil_take, spoil_migrate],
                         ids=lambda spoil: spoil.__name__.partition('_')[2])
def test_what_an_administrator_does_to_one(pool, busybox, cluster, spoil):
    """The next pod comes up without it, and there is another one afterwards."""
    vmid, = pool.full(1)
    spoil(pool, vmid)
    with pool.daemon.pod() as pod:
        assert pod.status().state == READY and cluster.of(pod)[0] != vmid
        assert pod.run(busybox, ['sleep', '1000']).output('echo', 'ok') == 'ok'
    if spoil is spoil_lock:
        time.sleep(1)
        assert vmid in cluster.made()
        cluster.control.do('unlock', vmid=vmid)
    if spoil is spoil_take:
        assert pool.full(1) != [vmid] and cluster.made()[vmid]['running']
        pool.administrator('DELETE', vmid, force=1)
    eventually(lambda: vmid not in cluster.made())
    assert pool.full(1) != [vmid]


@one
def test_removing_them_again_and_again(pool, cluster):
    """Each is replaced, but not at once."""
    cluster.control.do('journal', clear=True)
    until = time.monotonic() + 7
    while time.monotonic() < until:
        for vmid in pool.prepared():
            with contextlib.suppress(AssertionError, KeyError):
                pool.administrator('DELETE', vmid, force=1)
        time.sleep(0.1)
    assert len([1 for method, path, _, _ in pool.requests() if (method, path) == ('POST', '/lxc')]) <= 3
    pool.full(1)


def test_the_daemon_starts_anew(pool, cluster):
    ready = pool.full()
    cluster.control.do('journal', clear=True)
    pool.restart()
    assert pool.full() == ready
    with pool.daemon.pod() as pod:
        assert cluster.of(pod)[0] in ready
        assert [method for method, _, _, _ in pool.requests() if method != 'GET'][:1] == ['PUT']
        ready = pool.full()
        # In the orderly way they stay, too.
        assert pool.daemon.runtime.stop() == 0
        assert pool.prepared() == ready
        pool.daemon.start()
        pod.cri = pool.daemon.cri
        assert pool.full() == ready


def test_what_happened_meanwhile(pool, cluster):
    """While the daemon was dead: stopped, given something, and one that still is as it was."""
    stopped, edited, good = pool.full()
    pool.daemon.runtime.kill()
    pool.administrator('POST', stopped, '/status/stop')
    spoil_edit(pool, edited)
    pool.restart()
    eventually(lambda: good in pool.full() and not {stopped, edited} & set(cluster.made()))


@pytest.mark.parametrize('changes', [{'rootfs_size': '0.25'}, {'warm_pool': 0}], ids=['others', 'none'])
def test_another_configuration(pool, cluster, changes):
    before = pool.full()

    def as_before():  # a number can be taken again; one that is just made or destroyed has no rootfs
        return sorted(n for n, guest in cluster.made().items()
                      if n in pool.numbers and 'size=256M' not in guest['config'].get('rootfs', ''))
    assert as_before() == before
    pool.restart(**changes)
    eventually(lambda: not as_before(), 60)
    pool.full(changes.get('warm_pool', SIZE))
    assert not as_before()


@one
def test_a_lost_answer_and_a_crash(pool, cluster):
    """The container that the pod was to have claims to be the pod's, but it has another: that one goes at the next start."""
    vmid, = pool.full(1)
    cluster.control.do('fault', fault='reset-after', method='PUT', path=f'/{vmid}/config', count=1)
    cluster.control.do('fault', fault='status', method='DELETE', status=503, reason='Service Unavailable')
    pod = pool.daemon.pod()
    own, = [number for number, guest in cluster.ours().items() if pod.id in guest['config']['description'] and number != vmid]
    assert pod.id in cluster.ours()[vmid]['config']['description']
    pool.daemon.runtime.kill()
    cluster.control.do('clear-faults')
    pool.restart()
    pod.cri = pool.daemon.cri
    eventually(lambda: vmid not in cluster.made())
    assert pod.status().state == READY and cluster.of(pod)[0] == own
    # Its end is noticed as before.
    pool.administrator('POST', own, '/status/stop')
    eventually(lambda: pod.status().state != READY)
    pod.remove()


def test_no_quorum(pool, cluster):
    """Pods are refused, as without a pool; what is prepared stays."""
    ready = pool.full()
    cluster.control.do('quorum', quorate=False)
    try:
        for _ in range(2):
            with refused(CODE.UNAVAILABLE, words=['quorum']):
                pool.daemon.pod()
    finally:
        cluster.control.do('quorum', quorate=True)
    assert pool.full() == ready
    with pool.daemon.pod() as pod:
        assert cluster.of(pod)[0] in ready


@one
def test_a_full_storage(pool, cluster):
    """It is said once, and the pool is filled again afterwards."""
    cluster.control.do('disk-full', storage='btr')
    try:
        with pool.daemon.pod() as pod:
            assert pod.status().state == READY
            eventually(lambda: 'cannot prepare' in pool.daemon.runtime.log_tail(100000))
            time.sleep(3)
    finally:
        cluster.control.do('disk-full', storage='btr', full=False)
    assert pool.daemon.runtime.log_tail(1000000).count('cannot prepare') == 1
    pool.full(1)


def used_twice(cluster, numbers):
    """Containers that were given to a second pod after they had been made."""
    found, given = [], set()
    for entry in cluster.control.do('journal'):
        parameters = entry['parameters'] or {}
        vmid = int(parameters.get('vmid', 0)) or int((re.search(r'/lxc/(\d+)', entry['path']) or [0, 0])[1])
        if vmid not in numbers or entry['status'] not in (200, 502, None):  # done, or it may have been
            continue
        if entry['method'] == 'POST' and entry['path'].endswith('/lxc'):
            given.discard(vmid)
        elif entry['method'] == 'PUT' and 'description' in parameters and entry['status'] == 200:
            found += [vmid] if vmid in given else []
            given.add(vmid)
    return found


def test_killed_at_any_moment(pool, cluster):
    """Of making, taking and removing: LXCRI_CRASHES says how often."""
    rng = random.Random(6)
    cluster.control.do('journal', clear=True)
    for _ in range(int(os.environ.get('LXCRI_CRASHES', '30'))):
        stop = threading.Event()

        def churn(stop=stop):
            with contextlib.suppress(grpc.RpcError):
                while not stop.is_set():
                    Pod(pool.daemon.cri).remove()
        workers = [threading.Thread(target=churn) for _ in range(2)]
        for worker in workers:
            worker.start()
        time.sleep(rng.uniform(0.05, 0.8) * SLOW)
        pool.daemon.runtime.kill()
        stop.set()
        for worker in workers:
            worker.join()
        pool.daemon.start()
    settled(pool.daemon, cluster, set(cluster.ours()) - set(pool.numbers))
    pool.full()
    assert not used_twice(cluster, pool.numbers)


def test_many_pods_with_faults(pool, cluster):
    """Lost answers, errors and locks, in the background, too: all pods come up or are refused, none stays."""
    before = set(cluster.ours())
    cluster.control.do('journal', clear=True)
    cluster.control.do('seed', seed=8)
    for fault, part in (('reset', 0.02), ('reset-after', 0.03), ('status', 0.02), ('status-after', 0.02), ('lock', 0.03)):
        cluster.control.do('fault', fault=fault, probability=part)

    def until_done(action):
        while True:
            try:
                return action()
            except grpc.RpcError as error:
                assert error.code() in (CODE.UNAVAILABLE, CODE.ABORTED, CODE.DEADLINE_EXCEEDED, CODE.UNKNOWN), error

    def life(_):
        until_done(until_done(lambda: Pod(pool.daemon.cri)).remove)
    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        list(workers.map(life, range(int(os.environ.get('LXCRI_PODS', '40')))))
    cluster.control.do('clear-faults')
    settled(pool.daemon, cluster, before)
    pool.full()
    assert not used_twice(cluster, pool.numbers)
