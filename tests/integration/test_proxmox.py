"""Pods as Proxmox containers: what Proxmox shows of them, what an administrator does to them, what may go wrong between.

`tests/integration/run --proxmox`, which runs the other tests in such pods, too.
"""

import concurrent.futures
import contextlib
import json
import os
import random
import re
import subprocess
import threading
import time

import grpc
import pytest

import proxmox
from conftest import AS_PROXMOX, Daemon, make_daemon
from cri import EXITED, NOTREADY, READY, RUNNING, SLOW, Pod, command_of, eventually, processes_in_cgroup
from helpers import CODE, refused
from runtime import REPO
from test_apparmor import profile_of

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]

UNTIL_TERM = 'trap "echo ending; exit 7" TERM; echo ready; while :; do sleep 0.05; done'


def ready(container):
    eventually(lambda: 'ready' in container.log_text())
    return container


def test_what_proxmox_shows(daemon, busybox, cluster, clean):
    with daemon.pod(name='web-0', hostname='web-0', linux=dict(
            resources=daemon.pb.LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_quota=50000, cpu_period=100000,
                                                        cpu_shares=512),
            overhead=daemon.pb.LinuxContainerResources(memory_limit_in_bytes=16 << 20))) as pod:
        vmid, guest = cluster.of(pod)
        config = guest['config']
        assert guest['running'] and guest['node'] == cluster.node
        assert config['hostname'] == 'web-0' and config['tags'] == 'proxmox-lxcri' and config['unprivileged'] == 1
        assert config['description'].startswith('Pod tests/web-0 of Kubernetes')
        assert 'uid: uid-web-0' in config['description'] and f'node: {cluster.node}' in config['description']
        assert config['memory'] == 80 and config['swap'] == 0 and float(config['cpulimit']) == 0.5
        container = pod.sh(busybox, 'head -c 20000000 /dev/zero | tail -c 20000000 | sleep 1000')
        assert container.output('hostname') == 'web-0'

        def use():
            status = cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/status/current').data
            return status if status['mem'] > 20000000 else None
        assert eventually(use)['maxmem'] == 80 << 20
    assert vmid not in cluster.ours()


@contextlib.contextmanager
def configured(daemon, change):
    """The daemon with another configuration: `change` makes its text from the usual one."""
    def restart(text):
        daemon.runtime.kill()
        with open(daemon.runtime.config, 'w', encoding='utf-8') as f:
            f.write(text)
        daemon.start()
    with open(daemon.runtime.config, encoding='utf-8') as f:
        before = f.read()
    try:
        restart(change(before))
        yield
    finally:
        restart(before)


def with_keys(**more):
    """Changes keys of `proxmox`."""
    def change(text):
        line = next(line for line in text.splitlines() if line.startswith('proxmox: '))
        keys = {**json.loads(line.removeprefix('proxmox: ')), **({'warm-pool': 0} if 'network' in more else {}), **more}
        return text.replace(line, f'proxmox: {json.dumps(keys)}')
    return change


def test_both_kinds_by_routes(own_daemon, busybox, cluster):
    with configured(own_daemon, lambda text: text + 'routes: [{namespace: kube-*, handler: lxc}]\n'), \
            own_daemon.pod(namespace='kube-system') as system, own_daemon.pod() as tenant:
        assert cluster.of(tenant)[1]['running']
        assert not [1 for guest in cluster.ours().values() if system.id in guest['config']['description']]
        for pod, handler in ((system, 'lxc'), (tenant, 'proxmox')):
            assert pod.run(busybox, ['sleep', '100']).output('echo', 'ok') == 'ok'
            assert json.loads(pod.status(verbose=True).info['info'])['runtimeHandler'] == handler
        explain = own_daemon.runtime.cli
        assert explain('route', 'explain', system.id).stdout.startswith('lxc (engine lxc), by route 0 of ')
        assert explain('route', 'explain', tenant.id).stdout.startswith('proxmox (engine proxmox), the default')


def findings(daemon):
    said = daemon.runtime.cli('-o', 'json', 'doctor', check=False)
    return {(one['check'], one['level']): one for one in json.loads(said.stdout)}


def test_doctor_is_content(daemon):
    found = findings(daemon)
    for check in ('Proxmox VE', 'node', 'storage', 'template storage', 'permissions'):
        assert (check, 'ok') in found, found
    assert found['node', 'ok']['found'].endswith('is online')


def test_doctor_names_what_is_missing_and_the_command(own_daemon, cluster):
    cluster.client.post('/access/users', userid='poor@pve')
    secret = cluster.client.post('/access/users/poor@pve/token/one', privsep=0).data['value']
    cluster.client.post('/access/roles', roleid='Poor', privs='VM.Audit,VM.Allocate,Sys.Audit,Datastore.Audit')
    cluster.client.put('/access/acl', path='/', roles='Poor', users='poor@pve')
    file = os.path.join(own_daemon.directory, 'poor')
    with open(file, 'w', encoding='utf-8', opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
        f.write(secret)
    with configured(own_daemon, with_keys(**{'token-id': 'poor@pve!one', 'token-file': file, 'node': 'pve9'})):
        found = findings(own_daemon)
        start = found['VM.PowerMgmt', 'fail']
        assert 'poor@pve!one lacks it on /vms, to start and stop containers' in start['found']
        assert 'pveum acl modify /vms' in start['advice'] and "--tokens 'poor@pve!one'" in start['advice']
        assert ('VM.Snapshot', 'warn') in found and ('Sys.Console', 'warn') in found and ('Datastore.AllocateSpace', 'fail') in found
        assert 'there is no node pve9; there are: ' in found['node', 'fail']['found']
        assert own_daemon.runtime.cli('doctor', check=False).returncode == 1
        eventually(lambda: 'VM.PowerMgmt' in own_daemon.runtime.log_tail(20000))  # told at start, too


def test_doctor_looks_at_networks(own_daemon):
    subprocess.run(['ip', 'link', 'add', 'vmbr7', 'type', 'bridge'], check=True)
    try:
        for bridge, level, words in (('vmbr7', 'ok', 'bridge vmbr7'),
                                     ('nowhere', 'fail', 'there is no bridge or vnet nowhere that we may see')):
            with configured(own_daemon, with_keys(network={'bridge': bridge, 'address': 'dhcp'})):
                assert findings(own_daemon)['network', level]['found'] == words
    finally:
        subprocess.run(['ip', 'link', 'del', 'vmbr7'], check=True)


def test_doctor_when_proxmox_does_not_answer(own_daemon):
    with configured(own_daemon, with_keys(hosts=['127.0.0.1:9'])):
        assert '127.0.0.1:9' in findings(own_daemon)['Proxmox VE', 'fail']['found']


def test_limits_change_while_it_runs(daemon, busybox, cluster, pb):
    def limits(mib, quota):
        return pb.LinuxContainerResources(memory_limit_in_bytes=mib << 20, cpu_quota=quota, cpu_period=100000, cpu_shares=256)
    with daemon.pod(linux={'resources': limits(64, 50000)}) as pod:
        container = pod.sh(busybox, 'exec sleep 1000')
        vmid, _ = cluster.of(pod)
        daemon.cri.UpdatePodSandboxResources(pod_sandbox_id=pod.id, resources=limits(128, 25000))
        config = cluster.of(pod)[1]['config']
        assert config['memory'] == 128 and float(config['cpulimit']) == 0.25
        assert cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/status/current').data['maxmem'] == 128 << 20
        assert container.output('echo', 'ok') == 'ok'
        cluster.control.do('fault', fault='status', method='PUT', status=503, reason='Service Unavailable')
        with refused(CODE.UNAVAILABLE):
            daemon.cri.UpdatePodSandboxResources(pod_sandbox_id=pod.id, resources=limits(256, 25000))
        said = json.loads(pod.status(verbose=True).info['info'])['resources']
        assert said['memoryLimitInBytes'] == 128 << 20


@pytest.mark.not_with_pool('the pool asks for things, too')
def test_calls_of_a_pods_life(daemon, busybox, cluster):
    daemon.pod().remove()  # the template is there
    cluster.control.do('journal', clear=True)
    with daemon.pod() as pod:
        pod.sh(busybox, 'exec sleep 1000')
    calls = [(entry['method'], entry['path']) for entry in cluster.control.do('journal') if '/tasks/' not in entry['path']]
    assert len(calls) <= 6, calls


def test_an_administrators_shutdown_lets_apps_end(daemon, busybox, cluster):
    with daemon.logged_pod() as pod:
        containers = [ready(pod.sh(busybox, UNTIL_TERM)) for _ in range(2)]
        vmid, _ = cluster.of(pod)
        assert cluster.administrator('POST', vmid, '/status/shutdown', timeout=20) == 'OK'
        for container in containers:
            status = container.wait()
            assert (status.exit_code, status.reason) == (7, 'Error')
            assert 'ending' in container.log_text()
        eventually(lambda: pod.status().state == NOTREADY)
        with refused(CODE.FAILED_PRECONDITION):
            pod.create(busybox)
    assert vmid not in cluster.ours()


@pytest.mark.parametrize('action', ['stop', 'reboot', 'delete'])
def test_an_administrators_other_ways_to_end_it(daemon, busybox, cluster, clean, action):
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'trap "" TERM; while :; do sleep 1; done')
        vmid, _ = cluster.of(pod)
        ways = {'stop': ('POST', '/status/stop', {}), 'reboot': ('POST', '/status/reboot', {'timeout': 1}),
                'delete': ('DELETE', '', {'force': 1, 'purge': 1})}
        method, path, parameters = ways[action]
        assert cluster.administrator(method, vmid, path, **parameters) == 'OK'
        assert container.wait().exit_code == 137
        eventually(lambda: pod.status().state == NOTREADY)
    assert vmid not in cluster.ours()


def test_moved_to_another_node(daemon, busybox, cluster, clean):
    """The pod does not go along; its container is removed where it is now."""
    with daemon.pod() as pod:
        container = pod.sh(busybox, UNTIL_TERM)
        vmid, _ = cluster.of(pod)
        assert cluster.administrator('POST', vmid, '/migrate', target='pve2', restart=1, timeout=10) == 'OK'
        assert container.wait().exit_code in (7, 143)
        eventually(lambda: pod.status().state == NOTREADY)
        assert cluster.ours()[vmid]['node'] == 'pve2'
    assert vmid not in cluster.ours()


def test_a_number_that_became_somebody_elses(daemon, cluster, clean):
    pod = daemon.pod()
    vmid, guest = cluster.of(pod)
    assert cluster.administrator('DELETE', vmid, force=1) == 'OK'
    template = next(one['volid'] for one in cluster.client.get(f'/nodes/{cluster.node}/storage/local/content').data
                    if 'sandbox' in one['volid'])
    description = guest['config']['description'].replace(pod.id, pod.id[::-1])
    made = dict(vmid=vmid, ostemplate=template, rootfs='btr:0', unprivileged=1, ostype='unmanaged')
    try:
        assert cluster.client.task('POST', f'/nodes/{cluster.node}/lxc', tags='proxmox-lxcri', description=description, **made) == 'OK'
        pod.remove()
        assert vmid in cluster.ours()
    finally:
        assert cluster.client.task('DELETE', f'/nodes/{cluster.node}/lxc/{vmid}') == 'OK'


@pytest.mark.parametrize('asked, words', [
    (dict(host_network=True), 'network'), (dict(ipc=2), 'IPC'), (dict(pid=2), 'PID namespace'),
    (dict(security=dict(privileged=True)), 'privileged')])
def test_what_a_container_cannot_do(daemon, cluster, asked, words):
    before = cluster.ours()
    with refused(CODE.UNIMPLEMENTED, words=[words, 'Proxmox container', 'runtime handler "lxc" can']):
        daemon.pod(**asked)
    assert cluster.ours() == before
    with daemon.pod(handler='lxc', **asked) as pod:
        assert pod.status().state == READY


def test_both_handlers_on_one_node(daemon, busybox, cluster):
    with daemon.pod(host_network=False, handler='lxc') as plain, daemon.pod() as pod:
        assert pod.id in str(cluster.ours()) and plain.id not in str(cluster.ours())
        for one in (plain, pod):
            one.sh(busybox, 'exec httpd -f -p 80 -h /')
        address = plain.status().network.ip
        client = pod.sh(busybox, 'exec sleep 1000')
        assert 'root' in eventually(lambda: client.exec('wget', '-q', '-O', '-', f'http://{address}/etc/passwd').stdout.decode())


def test_the_daemon_starts_anew(own_daemon, busybox, cluster):
    pod = own_daemon.logged_pod()
    container = ready(pod.sh(busybox, UNTIL_TERM))
    other = own_daemon.pod()
    own_daemon.runtime.kill()
    gone, _ = cluster.of(other)
    vmid, _ = cluster.of(pod)
    assert cluster.administrator('POST', gone, '/status/stop') == 'OK'
    own_daemon.start()
    pod.cri = container.cri = other.cri = own_daemon.cri
    assert pod.status().state == READY and container.status().state == RUNNING
    assert other.status().state == NOTREADY
    assert container.output('echo', 'hi') == 'hi'
    # Its end is noticed by the new one, too.
    assert cluster.administrator('POST', vmid, '/status/shutdown', timeout=20) == 'OK'
    assert container.wait().exit_code == 7
    eventually(lambda: pod.status().state == NOTREADY)
    pod.remove()
    other.remove()
    assert not {vmid, gone} & set(cluster.ours())


def test_with_the_daemon_dead(own_daemon, busybox, cluster):
    """Stop, start and destroy by an administrator leave nothing that stands in Proxmox' way."""
    pod = own_daemon.pod()
    container = pod.sh(busybox, 'trap "" TERM; while :; do sleep 1; done')
    vmid, _ = cluster.of(pod)
    own_daemon.runtime.kill()
    for path in ('stop', 'start', 'stop'):
        assert cluster.administrator('POST', vmid, f'/status/{path}') == 'OK', path
    assert cluster.administrator('DELETE', vmid) == 'OK'
    own_daemon.start()
    pod.cri = container.cri = own_daemon.cri
    assert container.status().state == EXITED and pod.status().state == NOTREADY
    pod.remove()


def test_proxmox_is_away(own_daemon, busybox, cluster):
    own_daemon.pod().remove()
    before = cluster.ours()
    cluster.control.do('fault', fault='status', status=503, reason='Service Unavailable')
    with refused(CODE.UNAVAILABLE, words=['Service Unavailable']):
        own_daemon.pod()
    cluster.control.do('clear-faults')
    with own_daemon.pod() as pod:
        pod.sh(busybox, 'exec sleep 1000')
        cluster.control.do('fault', fault='status', status=503, reason='Service Unavailable')
        own_daemon.runtime.kill()
        own_daemon.start()  # does not wait for it
        pod.cri = own_daemon.cri
        assert pod.status().state == READY
        with refused(CODE.UNAVAILABLE, words=['Service Unavailable']):
            pod.stop()
        cluster.control.do('clear-faults')
    eventually(lambda: cluster.ours() == before)


def test_locks_are_waited_for(daemon, cluster):
    pod = daemon.pod()
    vmid, _ = cluster.of(pod)
    cluster.control.do('lock', vmid=vmid, lock='backup')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        removal = pool.submit(pod.remove)
        time.sleep(1)
        assert not removal.done() and vmid in cluster.ours()
        cluster.control.do('unlock', vmid=vmid)
        removal.result(60)
    assert vmid not in cluster.ours()


@pytest.mark.not_with_pool('a pod gets a container that is there already')
def test_a_full_storage(daemon, cluster, clean):
    before = cluster.ours()
    cluster.control.do('disk-full', storage='btr')
    try:
        with refused(CODE.RESOURCE_EXHAUSTED, words=['btr']):
            daemon.pod()
    finally:
        cluster.control.do('disk-full', storage='btr', full=False)
    assert cluster.ours() == before


@pytest.mark.not_with_pool('the pool takes numbers, too')
def test_what_no_pod_knows_of_is_removed(own_daemon, cluster):
    """A container of a daemon that lost its store; another's stays."""
    pod = own_daemon.pod()
    vmid, guest = cluster.of(pod)
    template = next(one['volid'] for one in cluster.client.get(f'/nodes/{cluster.node}/storage/local/content').data
                    if 'sandbox' in one['volid'])
    made = dict(ostemplate=template, rootfs='btr:0', unprivileged=1, ostype='unmanaged', tags='proxmox-lxcri')
    ours = guest['config']['description'].replace(pod.id, 'a' * 64)
    others = ours.replace(f'node: {cluster.node}', 'node: elsewhere')
    for number, description in ((vmid + 1, ours), (vmid + 2, others)):
        assert cluster.client.task('POST', f'/nodes/{cluster.node}/lxc', vmid=number, description=description, **made) == 'OK'
    own_daemon.runtime.kill()
    own_daemon.start()
    pod.cri = own_daemon.cri
    eventually(lambda: vmid + 1 not in cluster.ours())
    assert {vmid, vmid + 2} <= set(cluster.ours())
    pod.remove()
    assert cluster.client.task('DELETE', f'/nodes/{cluster.node}/lxc/{vmid + 2}') == 'OK'


@pytest.mark.apparmor
def test_apps_are_confined_as_their_container(daemon, busybox, cluster, pb):
    """Also what is executed in them later, and what asks for no profile; signals go from the container to them."""
    with daemon.logged_pod() as pod:
        vmid, _ = cluster.of(pod)
        init = cluster.client.get(f'/nodes/{cluster.node}/lxc/{vmid}/status/current').data['pid']
        label = profile_of(init)
        assert label.startswith(f'lxc-{vmid}_') and '//&:' in label and label.endswith(' (enforce)')
        unconfined = pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined)
        for security in ({}, {'apparmor': unconfined}):
            container = ready(pod.sh(busybox, UNTIL_TERM, security=security))
            assert profile_of(container.pid()) == label
            seen = daemon.cri.future('ExecSync', container_id=container.id, cmd=['sleep', '3'], timeout=60)
            labels = eventually(lambda: [profile_of(pid) for pid in processes_in_cgroup(container.id)
                                         if command_of(pid) == ['sleep', '3']])
            assert label in labels, labels
            seen.result()
        assert cluster.administrator('POST', vmid, '/status/shutdown', timeout=30) == 'OK'
        assert container.wait(60).exit_code == 7


@pytest.mark.not_with_pool('a pod gets a container that runs already')
def test_the_role_of_the_guide_is_enough(top, pb, registry, busybox, cluster):
    """docs/proxmox.md's user, role and token, and no more."""
    with open(os.path.join(REPO, 'docs', 'proxmox.md'), encoding='utf-8') as f:
        privileges = re.search(r'--privs "([^"]*)"', f.read()).group(1).replace('\\\n', '').split()
    client = cluster.client
    assert client.post('/access/users', userid='cri@pve').status == 200
    assert client.post('/access/roles', roleid='KubernetesCRI', privs=','.join(privileges)).status == 200
    assert client.put('/access/acl', path='/', users='cri@pve', roles='KubernetesCRI').status == 200
    secret = client.post('/access/users/cri@pve/token/node1', privsep=0).data['value']
    directory = os.path.join(top, 'guide')
    os.makedirs(directory)
    secret_file = os.path.join(directory, 'secret')
    with open(os.open(secret_file, os.O_CREAT | os.O_WRONLY, 0o600), 'w', encoding='utf-8') as f:
        f.write(secret + '\n')
    os.environ[proxmox.MORE] = json.dumps({'token-id': 'cri@pve!node1', 'token-file': secret_file})
    try:
        daemon = Daemon(make_daemon(top, 'guide', registry, bridge='lxcriguide', subnet='10.91.0.0/24'), pb)
    finally:
        del os.environ[proxmox.MORE]
    try:
        daemon.pull(busybox)
        with daemon.pod() as pod:
            vmid, _ = cluster.of(pod)
            assert pod.run(busybox, ['sleep', '100']).output('echo', 'ok') == 'ok'
        assert vmid not in cluster.ours()
        # Without one of them it is said which.
        assert client.put('/access/roles/KubernetesCRI', privs=','.join(set(privileges) - {'VM.PowerMgmt'})).status == 200
        with refused(CODE.PERMISSION_DENIED, words=['VM.PowerMgmt', 'pveum']):
            daemon.pod()
    finally:
        daemon.stop()
        subprocess.run(['ip', 'link', 'delete', 'lxcriguide'], check=False)


def settled(daemon, cluster, before):
    """All pods removed, as kubelet would until it works, and no container is left."""
    def removed():
        for item in daemon.cri.ListPodSandbox().items:
            with contextlib.suppress(grpc.RpcError):
                daemon.cri.StopPodSandbox(pod_sandbox_id=item.id)
                daemon.cri.RemovePodSandbox(pod_sandbox_id=item.id)
        return not daemon.cri.ListPodSandbox().items
    eventually(removed, 120, every=0.2)
    eventually(lambda: set(cluster.ours()) == before, 60, every=0.2)


def test_killed_at_any_moment(own_daemon, cluster):
    """Of making and removing pods: the next start finishes or undoes it. LXCRI_CRASHES says how often."""
    rng, before = random.Random(5), set(cluster.ours())
    own_daemon.pod().remove()
    for _ in range(int(os.environ.get('LXCRI_CRASHES', '12'))):
        stop = threading.Event()

        def churn(stop=stop):
            with contextlib.suppress(grpc.RpcError):
                while not stop.is_set():
                    Pod(own_daemon.cri).remove()
        workers = [threading.Thread(target=churn) for _ in range(2)]
        for worker in workers:
            worker.start()
        time.sleep(rng.uniform(0.05, 0.6) * SLOW)
        own_daemon.runtime.kill()
        stop.set()
        for worker in workers:
            worker.join()
        own_daemon.start()
    settled(own_daemon, cluster, before)


def test_many_pods_with_faults(own_daemon, cluster):
    """LXCRI_PODS pods by 20 workers, with lost answers, errors and locks: all come up or are refused, none stays."""
    before = set(cluster.ours())
    own_daemon.pod().remove()
    cluster.control.do('seed', seed=7)
    for fault, part in (('reset', 0.02), ('reset-after', 0.02), ('status', 0.02), ('status-after', 0.01), ('lock', 0.03)):
        cluster.control.do('fault', fault=fault, probability=part)
    made = []

    def life(_):
        while True:  # as kubelet: again and again
            try:
                pod = Pod(own_daemon.cri)
                break
            except grpc.RpcError as error:
                assert error.code() in (CODE.UNAVAILABLE, CODE.ABORTED, CODE.DEADLINE_EXCEEDED, CODE.UNKNOWN), error
        made.append(pod)
        while True:
            try:
                pod.remove()
                return
            except grpc.RpcError as error:
                assert error.code() in (CODE.UNAVAILABLE, CODE.ABORTED, CODE.DEADLINE_EXCEEDED, CODE.UNKNOWN), error
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(life, range(int(os.environ.get('LXCRI_PODS', '40')))))
    cluster.control.do('clear-faults')
    settled(own_daemon, cluster, before)
