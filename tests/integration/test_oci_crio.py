"""The newest CRI-O with our OCI runtime, in the folder of bench/peers: Debian has none, and to build it takes many minutes."""

import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from cri import SLOW, Cri, Pod, eventually
from runtime import oci_runtime
from terminal import Terminal

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'bench')
PEERS = os.path.join(os.environ.get('LXCRI_BENCH_CACHE', '/var/cache/proxmox-lxcri-bench'), 'peers-*/usr/local/bin/crio')


def program_in(chroot, folder):
    """The OCI runtime to test, with the liblxc of this host; its path in there."""
    program = oci_runtime()
    chroot.mount('--bind', os.path.dirname(program), os.path.dirname(program))
    for name in ('liblxc.so.1', 'libapparmor.so.1'):
        for path in glob.glob('/usr/lib/*/' + name):
            shutil.copy(path, folder)
            os.makedirs(f'{chroot.root}{os.path.dirname(path)}/lxc/rootfs', exist_ok=True)
    path = os.path.join(folder, 'oci-runtime')
    with open(path, 'w', encoding='utf-8') as f:  # loaded at once: where liblxc works later there is no such folder
        f.write(f'#!/bin/sh\nLD_LIBRARY_PATH={folder} LD_PRELOAD=liblxc.so.1 exec {program} "$@"\n')
    os.chmod(path, 0o755)
    return path


@pytest.fixture(name='crio', scope='module')
def fixture_crio(top, registry, images):
    found = sorted(glob.glob(PEERS))
    if not found:
        pytest.skip('no CRI-O: Debian has none; bench/peers builds it')
    sys.path.append(BENCH)  # which the virtual machine has not
    import runtimes  # pylint: disable=import-outside-toplevel
    folder = os.path.join(top, 'crio')
    os.makedirs(folder)
    chroot = runtimes.Chroot(found[0].removesuffix('/usr/local/bin/crio'))
    assert registry and images.ref('busybox')
    server = runtimes.Crio(folder, None, chroot, f'{registry.address}/sandbox:1', ('lxcri', program_in(chroot, folder)))
    server.start()
    yield server
    server.stop()


@pytest.fixture(name='cri')
def fixture_cri(crio, pb, busybox):
    client = Cri(crio.endpoint, pb)
    client.PullImage(image=pb.ImageSpec(image=busybox))
    yield client
    for sandbox in client.ListPodSandbox().items:
        client.StopPodSandbox(pod_sandbox_id=sandbox.id)
        client.RemovePodSandbox(pod_sandbox_id=sandbox.id)
    client.close()


@pytest.fixture(name='logs')
def fixture_logs(crio):
    """A folder that CRI-O sees, too."""
    return pathlib.Path(tempfile.mkdtemp(dir=crio.directory))


def parent(name):
    return f'/{os.environ["LXCRI_TEST_ID"]}/{name}'


def test_a_pod(crio, cri, pb, busybox, logs):
    with Pod(cri, log_directory=str(logs), host_network=False, linux={'cgroup_parent': parent('crio')}) as sandbox:
        assert sandbox.status().network.ip.startswith('10.95.')
        limits = {'memory_limit_in_bytes': 64 << 20, 'cpu_quota': 50000, 'cpu_period': 100000}
        first = sandbox.sh(busybox, 'echo logged; echo page >/index.html; exec httpd -f -p 80 -h /', resources=limits)
        second = sandbox.sh(busybox, 'trap "exit 3" TERM; while :; do sleep 0.1; done')
        assert second.sh('wget -qO- http://127.0.0.1/') == 'page'
        eventually(lambda: first.log_text() == 'logged\n')
        reply = first.exec('sh', '-c', 'echo out; echo err >&2; exit 4')
        assert (reply.stdout, reply.stderr, reply.exit_code) == (b'out\n', b'err\n', 4)
        cri.UpdateContainerResources(container_id=first.id, linux=pb.LinuxContainerResources(memory_limit_in_bytes=96 << 20))
        with open(f'/proc/{pid_of(cri, first)}/root/index.html', encoding='ascii') as f:
            assert f.read() == 'page\n'
        assert cri.ContainerStats(container_id=first.id).stats.memory.working_set_bytes.value > 0
        second.stop(timeout=int(20 * SLOW))
        assert second.status().exit_code == 3
        first.stop(timeout=0)
        assert first.status().exit_code == 137


def test_containers_survive_cri_o(crio, cri, pb, busybox, logs):
    sandbox = Pod(cri, log_directory=str(logs), linux={'cgroup_parent': parent('survives')})
    container = sandbox.sh(busybox, 'echo began; exec sleep 1000')
    pid = pid_of(cri, container)
    crio.kill()
    crio.start()
    again = Cri(crio.endpoint, pb)
    container.cri = sandbox.cri = again
    assert pid_of(again, container) == pid and container.sh('echo again') == 'again'
    container.stop(timeout=0)
    sandbox.remove()
    again.close()


def pid_of(cri, container):
    return json.loads(cri.ContainerStatus(container_id=container.id, verbose=True).info['info'])['pid']


def test_crictl(crio, cri, crictl_program, busybox, logs):
    assert cri

    def command(*args):
        return [crictl_program, '--runtime-endpoint', crio.endpoint, '--image-endpoint', crio.endpoint, '--timeout', '120s', *args]

    def crictl(*args):
        done = subprocess.run(command(*args), check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
    of_its_own = {'security_context': {'namespace_options': {'pid': 1}}}  # or CRI-O waits a minute for its pause container
    sandbox, config = logs / 'sandbox.json', logs / 'container.json'
    sandbox.write_text(json.dumps({
        'metadata': {'name': 'crictl', 'namespace': 'default', 'uid': 'u1', 'attempt': 1}, 'log_directory': str(logs),
        'linux': {'cgroup_parent': parent('crictl'), **of_its_own}}))
    config.write_text(json.dumps({
        'metadata': {'name': 'shell'}, 'image': {'image': busybox}, 'log_path': 'shell.log', 'linux': of_its_own,
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
    assert container[:10] in crictl('stats')
    crictl('update', '--memory', str(64 << 20), container)
    crictl('stop', '--timeout', '0', container)
    crictl('rm', container)
    crictl('stopp', started)
    crictl('rmp', started)
    assert started not in crictl('pods', '-q')
