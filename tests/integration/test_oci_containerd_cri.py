"""containerd's own CRI with our OCI runtime: pods by gRPC and by crictl, and what survives containerd."""

import json
import os
import re
import subprocess
import time

import grpc
import pytest

from cri import SLOW, Cri, Pod, eventually
from helpers import cgroup_file, containerd_has_metrics
from runtime import has_systemd
from terminal import Terminal


def of_the_test(name):
    """A parent for the pod's control groups."""
    word = os.environ['LXCRI_TEST_ID']
    return f'{word.replace("-", "_")}_{name}.slice' if has_systemd() else f'/{word}/{name}'


@pytest.fixture(name='cri')
def fixture_cri(containerd, pb):
    client = Cri(containerd.endpoint, pb)
    yield client
    for sandbox in client.ListPodSandbox().items:
        client.StopPodSandbox(pod_sandbox_id=sandbox.id)
        client.RemovePodSandbox(pod_sandbox_id=sandbox.id)
    client.close()


def ready(cri):
    try:
        return cri.ListPodSandbox().items
    except grpc.RpcError as e:
        assert 'not initialized yet' in e.details()
        return None


def pod(cri, name, directory='', **config):
    config.setdefault('linux', {})['cgroup_parent'] = of_the_test(name)
    return Pod(cri, log_directory=str(directory), **config)


def test_a_pod(cri, pb, busybox, tmp_path):
    resources = {'memory_limit_in_bytes': 64 << 20, 'cpu_quota': 50000, 'cpu_period': 100000}
    with pod(cri, 'a', tmp_path, host_network=False) as sandbox:
        address = sandbox.status().network.ip
        assert address.startswith('10.92.')
        first = sandbox.sh(busybox, 'echo logged; echo page >/index.html; exec httpd -f -p 80 -h /', resources=resources)
        second = sandbox.sh(busybox, 'sleep 1000; exit 3')
        assert second.sh('wget -qO- http://127.0.0.1/') == 'page'
        assert re.search(r'inet ' + re.escape(address), second.sh('ip -4 addr show eth0'))
        assert [os.readlink(f'/proc/{c.pid()}/ns/{n}') for n in ('net', 'ipc', 'uts') for c in (first,)] == [
            os.readlink(f'/proc/{c.pid()}/ns/{n}') for n in ('net', 'ipc', 'uts') for c in (second,)]
        eventually(lambda: first.log_text() == 'logged\n')
        assert cgroup_file(first, 'memory/memory.limit_in_bytes', 'memory.max') == str(64 << 20)
        cri.UpdateContainerResources(container_id=first.id, linux=pb.LinuxContainerResources(memory_limit_in_bytes=96 << 20))
        assert cgroup_file(first, 'memory/memory.limit_in_bytes', 'memory.max') == str(96 << 20)
        if containerd_has_metrics():
            stats = cri.ContainerStats(container_id=first.id).stats
            assert stats.memory.working_set_bytes.value > 0 and stats.cpu.usage_core_nano_seconds.value > 0
        reply = first.exec('sh', '-c', 'echo out; echo err >&2; exit 4')
        assert (reply.stdout, reply.stderr, reply.exit_code) == (b'out\n', b'err\n', 4)
        os.kill(second.pid(), 9)
        assert second.wait(20 * SLOW).exit_code == 137
        first.stop(timeout=0)
        assert first.status().exit_code == 137


def test_security(cri, pb, busybox):
    security = {
        'run_as_user': pb.Int64Value(value=1000), 'run_as_group': pb.Int64Value(value=1000), 'supplemental_groups': [50000],
        'readonly_rootfs': True, 'no_new_privs': True, 'capabilities': pb.Capability(drop_capabilities=['ALL']),
        'seccomp': pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)}
    with pod(cri, 'security') as sandbox:
        container = sandbox.sh(busybox, 'sleep 1000', security=security)
        said = container.sh('id -u; id -g; id -G; touch /x 2>&1; grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/self/status')
        said = said.splitlines()
        assert said[:3] == ['1000', '1000', '1000 50000'] and 'Read-only' in said[3], said
        assert said[4:] == ['CapBnd:\t0000000000000000', 'NoNewPrivs:\t1', 'Seccomp:\t2'], said


def test_pods_survive_containerd(own_containerd, pb, busybox, tmp_path):
    cri = Cri(own_containerd.endpoint, pb)
    sandbox = pod(cri, 'survives', tmp_path)
    container = sandbox.sh(busybox, 'trap "exit 9" TERM; echo began; while :; do sleep 0.1; done')
    ended = sandbox.sh(busybox, 'while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 6')
    pid, root = container.pid(), f'/proc/{ended.pid()}/root/tmp/end'
    own_containerd.kill()
    with open(root, 'w', encoding='ascii'):
        pass
    time.sleep(0.5 * SLOW)
    own_containerd.start(20 * SLOW)
    cri.close()
    cri = Cri(own_containerd.endpoint, pb)
    container.cri = ended.cri = sandbox.cri = cri
    eventually(lambda: ready(cri), 20 * SLOW)
    assert container.pid() == pid
    assert container.sh('echo again') == 'again'
    assert ended.wait(20 * SLOW).exit_code == 6
    container.stop(timeout=int(20 * SLOW))
    assert container.status().exit_code == 9
    assert container.log_text() == 'began\n'
    sandbox.remove()
    cri.close()


def test_crictl(containerd, cri, crictl_program, busybox, tmp_path):
    assert cri

    def command(*args):
        return [crictl_program, '--runtime-endpoint', containerd.endpoint, '--image-endpoint', containerd.endpoint,
                '--timeout', '120s', *args]

    def crictl(*args, check=True):
        done = subprocess.run(command(*args), check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()
    sandbox, config = tmp_path / 'sandbox.json', tmp_path / 'container.json'
    sandbox.write_text(json.dumps({
        'metadata': {'name': 'crictl', 'namespace': 'default', 'uid': 'u1', 'attempt': 1}, 'log_directory': str(tmp_path),
        'linux': {'cgroup_parent': of_the_test('crictl')}}))
    config.write_text(json.dumps({
        'metadata': {'name': 'shell'}, 'image': {'image': busybox}, 'log_path': 'shell.log', 'linux': {},
        'command': ['sh', '-c', 'echo hello; sleep 1000'], 'envs': [{'key': 'A', 'value': 'b'}]}))
    started = crictl('runp', str(sandbox))
    container = crictl('create', started, str(config), str(sandbox))
    crictl('start', container)
    assert container in crictl('ps', '-q')
    assert crictl('exec', '-s', container, 'sh', '-c', 'echo $A') == 'b'
    shell = Terminal(command('exec', '-it', container, 'sh'))
    shell.expect('# ', 30 * SLOW)
    shell.type('tty; exit 0\n')
    shell.expect(r'/dev/pts/\d+\r\n', 20 * SLOW)
    assert shell.wait(30 * SLOW) == 0
    eventually(lambda: crictl('logs', container) == 'hello')
    assert json.loads(crictl('inspect', container))['status']['state'] == 'CONTAINER_RUNNING'
    assert container[:10] in crictl('stats') or not containerd_has_metrics()
    crictl('update', '--memory', str(64 << 20), container)
    crictl('stop', '--timeout', '0', container)
    crictl('rm', container)
    crictl('stopp', started)
    crictl('rmp', started)
    assert started not in crictl('pods', '-q')
