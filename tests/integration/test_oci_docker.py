"""Docker with our OCI runtime, as docs/oci.md sets it up."""

import json
import os
import shutil
import time

import pytest

import images as recipes
from cri import SLOW
from docker import Docker, programs
from helpers import cgroup_folder
from runtime import oci_runtime
from terminal import Terminal

pytestmark = pytest.mark.skipif(not programs(), reason='no Docker (scripts/install-deps docker)')


@pytest.fixture(scope='module')
def shared_docker(top, images):
    engine = Docker(os.path.join(top, 'docker'))
    engine('pull', '--quiet', images.ref('busybox'))
    yield engine
    engine.close()


@pytest.fixture
def docker(shared_docker):
    yield shared_docker
    shared_docker.clean()


def soon(check, seconds=20):
    deadline = time.monotonic() + seconds * SLOW
    while not (found := check()):
        assert time.monotonic() < deadline, 'it did not become so'
        time.sleep(0.1)
    return found


def start(docker, *args):
    """A container in the background: its id."""
    return docker.out('run', '--detach', *args)


def group_file(docker, name, v1, v2):
    """A value in the container's control group; v1 is controller/file."""
    controller, file = v1.split('/')
    folder, is_v2 = cgroup_folder(docker.inspect(name)['State']['Pid'], controller)
    with open(os.path.join(folder, v2 if is_v2 else file), encoding='ascii') as f:
        return f.read().strip()


def test_it_is_the_runtime_that_is_tested(docker, busybox):
    info = json.loads(docker.out('info', '--format', '{{json .}}'))
    assert info['DefaultRuntime'] == 'lxcri' and info['Runtimes']['lxcri']['path'] == oci_runtime()
    name = start(docker, busybox, 'sleep', '1000')
    assert docker.inspect(name)['HostConfig']['Runtime'] == 'lxcri'
    with open(f'/proc/{docker.inspect(name)["State"]["Pid"]}/cmdline', encoding='ascii') as f:
        assert f.read() == 'sleep\0001000\0'


def test_run(docker, busybox):
    done = docker('run', '--rm', busybox, 'sh', '-c', 'echo out; echo err >&2; exit 7', check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, 'out\n', 'err\n')
    assert docker('run', '--rm', '-i', busybox, 'wc', '-c', input='x' * 300000).stdout == '300000\n'


@pytest.mark.parametrize('command, status, words', [
    (['/no/such'], 127, 'no such file or directory'),
    (['no-such-program'], 127, 'executable file not found in $path'),
    (['/etc/passwd'], 126, 'permission denied'),
])
def test_what_cannot_be_run(docker, busybox, command, status, words):
    done = docker('run', '--rm', busybox, *command, check=False)
    assert done.returncode == status and words in done.stderr.lower(), done.stderr


def test_exec_and_logs(docker, busybox):
    name = start(docker, '--env', 'A=b', '--user', '1000:1000', busybox, 'sh', '-c', 'echo logged; sleep 1000')
    done = docker('exec', '--user', '0', '--env', 'B=c', '--workdir', '/tmp', name, 'sh', '-c',
                  'echo $A $B; id -u; pwd; exit 5', check=False)
    assert (done.returncode, done.stdout) == (5, 'b c\n0\n/tmp\n')
    assert docker.out('exec', name, 'id', '-u') == '1000'
    soon(lambda: docker.out('logs', name) == 'logged')
    assert 'sleep 1000' in docker.out('top', name)


def test_terminals(docker, busybox):
    env = [f'{k}={v}' for k, v in docker.env.items()]
    shell = Terminal(['/usr/bin/env', '-i', *env, *docker.command('run', '--rm', '-it', busybox, 'sh')])
    shell.expect('# ', 30 * SLOW)
    # docker gives the size to a program that has started.
    shell.type('tty; while [ "$(stty size 2>/dev/null)" = "" ]; do sleep 0.1; done; stty size\n')
    shell.expect(r'/dev/pts/0\r\n50 132\r\n', 20 * SLOW)
    shell.type('exit 3\n')
    assert shell.wait(30 * SLOW) == 3


def test_stop_kill_and_restart(docker, busybox):
    name = start(docker, busybox, 'sh', '-c', 'trap "exit 9" TERM; while :; do sleep 0.1; done')
    docker('stop', '--time', int(20 * SLOW), name)
    state = docker.inspect(name)['State']
    assert (state['Status'], state['ExitCode']) == ('exited', 9)
    docker('start', name)
    docker('kill', name)
    soon(lambda: docker.inspect(name)['State']['ExitCode'] == 137)
    docker('restart', '--time', '0', name)
    assert docker.inspect(name)['State']['Running']


def test_restart_policy(docker, busybox):
    name = start(docker, '--restart=on-failure:2', busybox, 'sh', '-c', 'exit 3')
    soon(lambda: docker.inspect(name)['RestartCount'] == 2 and docker.inspect(name)['State']['Status'] == 'exited')
    assert docker.inspect(name)['State']['ExitCode'] == 3


def test_healthcheck(docker, busybox):
    name = start(docker, '--health-cmd=test -e /well', '--health-interval=1s', '--health-retries=1', busybox, 'sleep', '1000')

    def health():
        return docker.inspect(name)['State']['Health']['Status']
    soon(lambda: health() == 'unhealthy')
    docker('exec', name, 'touch', '/well')
    soon(lambda: health() == 'healthy')


def test_limits(docker, busybox):
    name = start(docker, '--memory=64m', '--memory-swap=64m', '--pids-limit=77', '--cpus=0.5', busybox, 'sleep', '1000')
    assert group_file(docker, name, 'memory/memory.limit_in_bytes', 'memory.max') == str(64 << 20)
    assert group_file(docker, name, 'pids/pids.max', 'pids.max') == '77'
    assert group_file(docker, name, 'cpu/cpu.cfs_quota_us', 'cpu.max').split()[0] == '50000'
    docker('update', '--memory=96m', '--memory-swap=96m', name)
    assert group_file(docker, name, 'memory/memory.limit_in_bytes', 'memory.max') == str(96 << 20)
    shown = json.loads(docker.out('stats', '--no-stream', '--format', '{{json .}}', name))
    assert shown['PIDs'] == '1' and '96MiB' in shown['MemUsage']


def test_running_out_of_memory_is_told(docker, busybox):
    """While the shim listens, which is after the start and before the group is gone: what happens else is told to nobody."""
    for runtime in ('lxcri', 'runc'):
        name = start(docker, f'--runtime={runtime}', '--memory=32m', '--memory-swap=32m', busybox, 'sh', '-c',
                     'until [ -e /go ]; do sleep 0.1; done; tail /dev/zero; s=$?; until [ -e /end ]; do sleep 0.1; done; exit $s')
        docker('exec', name, 'touch', '/go')
        soon(lambda name=name: docker.out('events', '--since=10m', '--until=0s', f'--filter=container={name}', '--filter=event=oom'))
        docker('exec', name, 'touch', '/end')
        soon(lambda name=name: not docker.inspect(name)['State']['Running'])
        state = docker.inspect(name)['State']
        assert (state['ExitCode'], state['OOMKilled']) == (137, True), runtime


def test_pause(docker, busybox):
    name = start(docker, busybox, 'sleep', '1000')
    docker('pause', name)
    assert docker.inspect(name)['State']['Status'] == 'paused'
    docker('unpause', name)
    assert docker.out('exec', name, 'echo', 'again') == 'again'


def test_security(docker, busybox):
    script = ('grep -E "^(CapBnd|CapEff|NoNewPrivs|Seccomp):" /proc/self/status; touch /x 2>&1; ulimit -n; '
              'cat /proc/sys/net/ipv4/ip_unprivileged_port_start; touch /t/x && echo written')
    said = docker.out('run', '--rm', '--read-only', '--cap-drop=ALL', '--cap-add=CHOWN', '--security-opt=no-new-privileges',
                      '--ulimit=nofile=123:456', '--sysctl=net.ipv4.ip_unprivileged_port_start=80', '--tmpfs=/t', busybox,
                      'sh', '-c', script).splitlines()
    assert said == ['CapEff:\t0000000000000001', 'CapBnd:\t0000000000000001', 'NoNewPrivs:\t1', 'Seccomp:\t2',
                    'touch: /x: Read-only file system', '123', '80', 'written'], said


def test_volumes_networks_and_devices(docker, busybox, tmp_path):
    (tmp_path / 'file').write_text('of the host\n')
    server = start(docker, '--volume', f'{tmp_path}:/data:ro', '--volume=/kept', '--device=/dev/null:/dev/other', busybox, 'sh',
                   '-c', 'echo page >/index.html; test -c /dev/other && exec httpd -f -p 80 -h /')
    assert docker.out('exec', server, 'cat', '/data/file') == 'of the host'
    assert docker('exec', server, 'touch', '/data/new', check=False).returncode != 0
    address = docker.inspect(server)['NetworkSettings']['IPAddress']
    assert address.startswith('10.94.')
    soon(lambda: docker('run', '--rm', busybox, 'wget', '-qO-', f'http://{address}/', check=False).stdout == 'page\n')
    assert docker.out('run', '--rm', f'--network=container:{server}', f'--pid=container:{server}', busybox, 'sh', '-c',
                      'wget -qO- http://127.0.0.1/; cat /proc/1/comm') == 'page\nhttpd'


def test_containers_survive_docker(docker, busybox):
    name = start(docker, busybox, 'sh', '-c', 'trap "exit 9" TERM; while :; do sleep 0.1; done')
    pid = docker.inspect(name)['State']['Pid']
    docker.kill()
    assert os.path.exists(f'/proc/{pid}/exe')
    docker.start()
    assert docker.inspect(name)['State']['Pid'] == pid
    assert docker.out('exec', name, 'echo', 'again') == 'again'
    docker('stop', '--time', int(20 * SLOW), name)
    assert docker.inspect(name)['State']['ExitCode'] == 9


def test_runc_beside_ours(docker, busybox):
    """Docker makes the same of both: what it says of a program that is not there, too."""
    if not shutil.which('runc', path='/usr/sbin:/usr/bin'):
        pytest.skip('no runc')
    said = {}
    for runtime in ('lxcri', 'runc'):
        name = start(docker, f'--runtime={runtime}', busybox, 'sleep', '1000')
        done = docker('exec', name, 'no-such-program', check=False)
        assert 'executable file not found in $PATH' in done.stderr + done.stdout
        said[runtime] = [done.returncode] + [docker('exec', name, *words, check=False).returncode for words in
                                             (['/etc/passwd'], ['sh', '-c', 'kill -9 $$'], ['false'])]
    assert said['lxcri'] == said['runc'], said


@pytest.mark.ours
@pytest.mark.same_anywhere
def test_images_go_there_and_back(docker, daemon, images, tmp_path, clean):
    """docker load takes what "image save --format docker-archive" writes, and "image load" what docker save writes."""
    cli, recipe = daemon.runtime.cli, recipes.marked('docker-loads')
    ref, other = images.push(recipe, 'docker-loads'), recipes.marked('docker-saves')
    ref2 = images.push(other, 'docker-saves')
    daemon.pull(ref, ref2)
    cli('image', 'save', '-q', '--format', 'docker-archive', '-o', tmp_path / 'ours.tar', ref, ref2)
    cli('image', 'rm', ref, ref2)
    docker('load', '-i', tmp_path / 'ours.tar')
    assert [docker.inspect(it)['Id'] for it in (ref, ref2)] == [recipe.id(), other.id()]
    docker('save', '-o', tmp_path / 'theirs.tar', ref, ref2)
    loaded = json.loads(cli('--output', 'json', 'image', 'load', '-q', '-i', tmp_path / 'theirs.tar').stdout)
    assert {(it['id'], *it['names']) for it in loaded} == {(recipe.id(), ref), (other.id(), ref2)}
    with daemon.pod() as pod:
        assert pod.run(ref2, ['sleep', '1000']).output('cat', '/docker-saves') == 'docker-saves'
    docker('rmi', ref, ref2)
    cli('image', 'rm', ref, ref2)
