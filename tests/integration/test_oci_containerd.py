"""containerd with our OCI runtime, driven by ctr: runs, tasks and what survives containerd."""

import json
import os
import re
import time

from cri import SLOW, eventually
from ctr import Ctr
from helpers import cgroup_folder, containerd_has_metrics
from runtime import oci_runtime
from terminal import Terminal


def test_run(ctr, busybox):
    done = ctr.run(busybox, 'sh', '-c', 'echo out; echo err >&2; exit 7', check=False)
    assert (done.returncode, done.stdout) == (7, 'out\n') and 'err' in done.stderr


def test_what_cannot_be_run(ctr, busybox):
    done = ctr.run(busybox, '/no/such', check=False)
    assert done.returncode != 0
    assert 'no such file or directory' in done.stderr.lower(), done.stderr
    assert 'OCI runtime create failed' in done.stderr or 'OCI runtime start failed' in done.stderr or 'failed' in done.stderr
    assert not ctr.tasks()


def test_flags(ctr, busybox, tmp_path):
    (tmp_path / 'file').write_text('mounted\n')
    script = ('cat /m/file; touch /m/x 2>&1; touch /x 2>&1; pwd; echo "$A"; grep NoNewPrivs /proc/self/status; '
              'grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; ls /dev/my')
    mknod = str(tmp_path / 'my')
    os.mknod(mknod, 0o20666, os.makedev(1, 5))
    said = ctr.run(f'--mount=type=bind,src={tmp_path},dst=/m,options=rbind:ro', '--read-only', '--cwd=/tmp', '--env=A=b c',
                   '--cap-add=CAP_NET_ADMIN', '--cap-drop=CAP_CHOWN', '--seccomp', busybox, 'sh', '-c', script, check=False)
    said = said.stdout.splitlines()
    assert said[0] == 'mounted' and 'Read-only' in said[1] and 'Read-only' in said[2], said
    assert said[3:6] == ['/tmp', 'b c', 'NoNewPrivs:\t1'], said
    caps = int(said[6].split()[1], 16)
    assert caps & 1 << 12 and not caps & 1
    assert said[7] == 'Seccomp:\t2'


def test_namespaces(ctr, busybox):
    show = 'for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done'
    host = [os.readlink(f'/proc/self/ns/{n}') for n in ('net', 'ipc', 'uts', 'pid', 'mnt')]
    assert not set(ctr.run(busybox, 'sh', '-c', show).stdout.split()) & set(host)
    assert ctr.run('--net-host', busybox, 'sh', '-c', show).stdout.split()[0] == host[0]
    assert ctr.run(f'--with-ns=network:/proc/{os.getpid()}/ns/net', busybox, 'sh', '-c', show).stdout.split()[0] == host[0]


def test_user_namespace(ctr, busybox):
    done = ctr.run('--uidmap=0:100000:65536', '--gidmap=0:100000:65536', busybox, 'sh', '-c',
                   'cat /proc/self/uid_map; id -u; stat -c %u /bin/busybox')
    assert done.stdout.split() == ['0', '100000', '65536', '0', '0']


def test_on_a_terminal(ctr, busybox):
    _, command = ctr.run_command('--rm', '--tty', busybox, 'sh')
    shell = Terminal(['/usr/bin/env', *ctr.command(*command)])
    shell.expect('# ', 30 * SLOW)
    # ctr gives the size to a program that has started.
    shell.type('tty; while [ "$(stty size 2>/dev/null)" = "" ]; do sleep 0.1; done; stty size\n')
    shell.expect(r'/dev/pts/0\r+\n50 132\r+\n', 10 * SLOW)
    shell.type('exit 5\n')
    assert shell.wait(30 * SLOW) == 5


def test_tasks(ctr, busybox):
    """What ctr tasks does: ls, exec, ps, metrics, pause, resume, kill, rm."""
    name = ctr.start('--memory-limit=67108864', '--cpus=0.5', '--env=OF=container', busybox, 'sleep', '1234')
    pid, status = ctr.tasks()[name]
    assert status == 'RUNNING'
    with open(f'/proc/{pid}/cmdline', encoding='utf-8') as f:
        assert f.read() == 'sleep\x001234\0'
    folder, is_v2 = cgroup_folder(pid, 'memory')
    with open(os.path.join(folder, 'memory.max' if is_v2 else 'memory.limit_in_bytes'), encoding='ascii') as f:
        assert f.read().strip() == '67108864'
    done = ctr.exec(name, 'sh', '-c', 'echo "$OF $(pwd)"; cat; exit 3', input='in\n', check=False)
    assert (done.returncode, done.stdout) == (3, 'container /\nin\n'), done.stderr
    assert ctr.exec(name, '/no/such', check=False).returncode != 0
    assert ctr.exec(name, 'id', '-u', flags=['--user=33']).stdout == '33\n'
    assert str(pid) in ctr('tasks', 'ps', name).stdout
    if containerd_has_metrics():
        metrics = json.loads(ctr('tasks', 'metrics', '--format=json', name).stdout)
        assert int(metrics.get('pids', metrics.get('Pids'))['current']) == 1, metrics
    ctr('tasks', 'pause', name)
    assert ctr.tasks()[name][1] == 'PAUSED'
    ctr('tasks', 'resume', name)
    assert ctr.tasks()[name][1] == 'RUNNING'
    ctr('tasks', 'kill', '--signal=SIGKILL', name)
    eventually(lambda: ctr.tasks()[name][1] == 'STOPPED')
    assert ctr('tasks', 'rm', name, check=False).returncode in (0, 137)
    assert name not in ctr.tasks()
    eventually(lambda: not os.path.exists(folder))
    assert not os.path.exists(os.path.join(ctr.containerd.oci_root, 'tests', name))


def test_exec_on_a_terminal(ctr, busybox):
    name = ctr.start(busybox, 'sleep', '1000')
    shell = Terminal(['/usr/bin/env', *ctr.command('tasks', 'exec', '--tty', '--exec-id=tty', name, 'sh')])
    shell.expect('# ', 30 * SLOW)
    shell.type('tty\n')
    shell.expect(r'/dev/pts/\d+\r+\n', 10 * SLOW)
    shell.type('exit 6\n')
    assert shell.wait(30 * SLOW) == 6


def test_all_of_it_is_killed(ctr, busybox):
    """kill --all reaches what init has left behind, also in the host's PID namespace."""
    name = ctr.start(f'--with-ns=pid:/proc/{os.getpid()}/ns/pid', busybox, 'sh', '-c',
                     'sleep 4321 & sleep 4321 & exec sleep 4321')
    pid = ctr.tasks()[name][0]
    folder, _ = cgroup_folder(pid, 'pids')

    def pids():
        with open(os.path.join(folder, 'cgroup.procs'), encoding='ascii') as f:
            return f.read().split()
    eventually(lambda: len(pids()) == 3)
    ctr('tasks', 'kill', '--all', '--signal=SIGKILL', name)
    eventually(lambda: ctr.tasks()[name][1] == 'STOPPED')
    ctr.remove(name)
    eventually(lambda: not os.path.exists(folder))


def test_containers_survive_containerd(own_containerd, busybox):
    ctr = Ctr(own_containerd, oci_runtime())
    name = ctr.start(busybox, 'sh', '-c', 'trap "exit 8" TERM; while :; do sleep 0.1; done')
    pid = ctr.tasks()[name][0]
    own_containerd.kill()
    time.sleep(0.2)
    assert os.path.exists(f'/proc/{pid}')
    own_containerd.start(20 * SLOW)
    assert ctr.tasks()[name] == (pid, 'RUNNING')
    assert ctr.exec(name, 'echo', 'again').stdout == 'again\n'
    ctr('tasks', 'kill', name)
    eventually(lambda: ctr.tasks()[name][1] == 'STOPPED')
    assert 'exit code 8' in ctr('tasks', 'rm', name, check=False).stderr
    ctr.remove_all()


def test_nothing_stays(ctr, busybox):
    def there():
        with open('/proc/self/mountinfo', encoding='utf-8') as f:
            mounts = [line for line in f if ctr.containerd.directory in line]
        groups = [os.path.join(where, d) for where, folders, _ in os.walk('/sys/fs/cgroup') for d in folders
                  if re.match(r'(ctr-)?c\d+(\.scope)?$', d)]
        return set(mounts + groups + [p for p in os.listdir('/proc') if p.isdigit()] + (
            os.listdir(os.path.join(ctr.containerd.oci_root, 'tests'))))
    ctr.run(busybox, 'true')
    before = there()
    ctr.run(busybox, 'sh', '-c', 'sleep 1000 & true')
    eventually(lambda: not there() - before)
