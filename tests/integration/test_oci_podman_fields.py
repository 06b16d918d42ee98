"""Podman with our OCI runtime: what its flags become in the container, seen from inside and from the host."""

import json
import os
import socket
import stat
import subprocess
import threading

import pytest

from helpers import cgroup_folder, cgroup_top


def group_value(pid, v1, v2):
    """A file of the control group of that process: v1 is controller/file."""
    controller, name = v1.split('/')
    folder, is_v2 = cgroup_folder(pid, controller)
    with open(os.path.join(folder, v2 if is_v2 else name), encoding='utf-8') as f:
        return f.read().strip()


def lines(podman, busybox, *flags, script, **more):
    """What a script prints in a container with these flags, by line."""
    network = [] if any(f.startswith('--net') for f in flags) else ['--network=none']
    return podman.ran(*network, *flags, busybox, 'sh', '-c', script, **more).splitlines()


def test_identity(podman, busybox):
    said = lines(podman, busybox, '--user=33:1000', '--group-add=50000', '--hostname=box', '--workdir=/var/www', '--env=A=b c',
                 '--umask=0027', '--ulimit=nofile=123:456', '--ulimit=core=0', '--ulimit=nproc=500:600', '--oom-score-adj=123', '--no-hosts',
                 script='id -u; id -g; id -G; hostname; pwd; echo "$A"; umask; ulimit -n; ulimit -Hn; ulimit -c; '
                        'cat /proc/self/oom_score_adj')
    assert said == ['33', '1000', '1000 50000', 'box', '/var/www', 'b c', '0027', '123', '456', '0', '123']


def test_capabilities(podman, busybox):
    show = 'grep ^Cap /proc/self/status; grep NoNewPrivs /proc/self/status'

    def caps(*flags):
        return {line.split(':')[0]: int(line.split(':')[1], 16) for line in lines(podman, busybox, *flags, script=show)}
    chown, net_admin = 1 << 0, 1 << 12
    usual = caps()
    assert usual['CapEff'] == usual['CapBnd'] == usual['CapPrm'] and usual['CapEff'] & chown
    assert not usual['CapEff'] & net_admin and not usual['NoNewPrivs']
    changed = caps('--cap-drop=CHOWN', '--cap-add=NET_ADMIN', '--security-opt=no-new-privileges')
    assert changed['CapEff'] == changed['CapBnd'] == (usual['CapEff'] & ~chown) | net_admin
    assert changed['NoNewPrivs'] == 1
    nothing = caps('--cap-drop=all', '--user=1000')
    assert not any(v for k, v in nothing.items() if k != 'NoNewPrivs')
    ambient = caps('--user=1000', '--cap-add=NET_ADMIN')
    assert ambient['CapEff'] == net_admin


def test_read_only(podman, busybox):
    said = lines(podman, busybox, '--read-only', '--tmpfs=/fast:size=1m,mode=1777,noexec', script='''
        touch /x 2>/dev/null && echo wrote; touch /tmp/x && echo tmp; touch /fast/x && echo fast
        grep " /fast " /proc/mounts; touch /dev/shm/x && echo shm''')
    assert said[0:2] == ['tmp', 'fast'] and said[3:] == ['shm'], said
    assert 'noexec' in said[2] and 'size=1024k' in said[2]
    said = lines(podman, busybox, '--read-only', '--read-only-tmpfs=false', script='touch /tmp/x 2>&1', check=False)
    assert 'Read-only file system' in said[0]


def test_proc_and_sys(podman, busybox):
    said = lines(podman, busybox, script='''
        cat /proc/kcore | head -c1 | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -vc : ; cat /proc/keys | wc -c
        echo 1 2>&1 >/proc/sys/vm/swappiness; d=/sys/fs/cgroup; [ ! -d $d/memory ] || d=$d/memory; mkdir $d/x 2>&1
        cat /proc/1/comm; ls -d /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx /dev/pts /dev/shm
        for f in fd stdin stdout stderr; do readlink /dev/$f; done; stat -f -c %T /dev/shm; ls /proc/self/fd''')
    assert said[0] == '0'
    assert said[2] == '0'
    assert sum('Read-only file system' in line for line in said) == 2, said
    assert said[5:15] == ['sh', '/dev/full', '/dev/null', '/dev/ptmx', '/dev/pts', '/dev/random', '/dev/shm', '/dev/tty',
                          '/dev/urandom', '/dev/zero'], said
    assert said[15:20] == ['/proc/self/fd', '/proc/self/fd/0', '/proc/self/fd/1', '/proc/self/fd/2', 'tmpfs'], said
    assert said[20:] == ['0', '1', '2', '3'], said  # 3: the folder itself


def test_masks_can_be_lifted(podman, busybox):
    assert lines(podman, busybox, '--security-opt=unmask=/proc/keys', '--security-opt=mask=/proc/version',
                 script='wc -c </proc/version; grep -c " /proc/keys " /proc/mounts; true') == ['0', '0']


def test_limits(podman, busybox):
    name = podman.start('--network=none', '--memory=64m', '--memory-swap=96m', '--memory-reservation=32m', '--cpus=0.5',
                        '--cpuset-cpus=1', '--pids-limit=30', '--cpu-shares=512', busybox, 'sleep', '1000')
    pid = podman.pid(name)

    def shows():
        quota = group_value(pid, 'cpu/cpu.cfs_quota_us', 'cpu.max').split()[0]
        return (group_value(pid, 'memory/memory.limit_in_bytes', 'memory.max'), quota,
                group_value(pid, 'pids/pids.max', 'pids.max'), group_value(pid, 'cpuset/cpuset.cpus', 'cpuset.cpus'))
    assert shows() == (str(64 << 20), '50000', '30', '1')
    assert group_value(pid, 'cpu/cpu.shares', 'cpu.weight') in ('512', '20', '59')
    assert group_value(pid, 'memory/memory.soft_limit_in_bytes', 'memory.low') == str(32 << 20)
    folder, is_v2 = cgroup_folder(pid, 'memory')
    if is_v2:
        assert group_value(pid, 'memory/x', 'memory.swap.max') == str(32 << 20)
    assert os.path.basename(folder).startswith('libpod-') or '/libpod-' in folder
    assert podman('exec', name, 'grep', 'Cpus_allowed_list', '/proc/self/status').stdout.split() == ['Cpus_allowed_list:', '1']
    podman('update', '--memory=96m', '--memory-swap=128m', '--cpus=0.25', '--cpuset-cpus=0', name)
    assert shows() == (str(96 << 20), '25000', '30', '0')


def test_the_limit_of_processes_holds(podman, busybox):
    script = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; true'
    done = podman.run('--rm', '--network=none', '--pids-limit=8', busybox, 'sh', '-c', script, check=False)
    assert 'fork' in done.stderr, done.stderr


def test_devices(podman, busybox):
    node = os.path.join(podman.directory, 'node')
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(253, 6))
    said = lines(podman, busybox, f'--device={node}:/dev/mine:r', '--device-cgroup-rule=c 253:7 r', '--cap-add=MKNOD',
                 script='''
        may() { case $( (eval ": $1") 2>&1) in *'not permitted'*) echo no ;; *) echo yes ;; esac; }
        ls -l /dev/mine; may '</dev/mine'; may '>/dev/mine'
        mknod /a c 253 7; may '</a'; mknod /b c 253 8; may '</b'; mknod /d b 253 7; may '</d'; mknod /m c 1 1; may '</m'
        may '>/dev/null' ''')
    assert '253,   6' in said[0] and said[1:] == ['yes', 'no', 'yes', 'no', 'no', 'no', 'yes'], said


def test_privileged(podman, busybox):
    said = lines(podman, busybox, '--privileged', script='''
        grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; ls /dev | wc -l
        touch /sys/fs/cgroup 2>/dev/null; grep -c " /sys ro\\| /proc/sys " /proc/mounts
        mkdir /m; mount -t tmpfs none /m && echo mounted; cat /proc/version | wc -c''')
    with open('/proc/self/status', encoding='utf-8') as f:
        own = next(line.split()[1] for line in f if line.startswith('CapBnd'))
    assert said[0].split()[1] == own
    assert said[1].split()[1] == '0'
    assert int(said[2]) > 16 and said[3] == '0' and said[4] == 'mounted' and said[5] != '0', said


def test_sysctl(podman, busybox):
    assert lines(podman, busybox, '--sysctl=net.ipv4.ip_forward=1', '--sysctl=kernel.msgmax=4096', script='''
        cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax''') == ['1', '4096']


def test_seccomp(podman, busybox, tmp_path):
    """The profile of the engine, one of our own, and none."""
    profile = tmp_path / 'profile.json'
    profile.write_text(json.dumps({
        'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': ['SCMP_ARCH_X86_64'],
        'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 28},
                     {'names': ['kill'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 16,
                      'args': [{'index': 1, 'value': 10, 'op': 'SCMP_CMP_EQ'}]}]}))
    script = 'grep Seccomp: /proc/self/status; trap "echo 1" USR1; trap "echo 2" USR2; mkdir /x 2>&1; kill -10 $$ 2>&1; kill -12 $$'
    assert lines(podman, busybox, script=script) == ['Seccomp:\t2', '1', '2']
    own = lines(podman, busybox, f'--security-opt=seccomp={profile}', script=script)
    assert own[0] == 'Seccomp:\t2' and 'No space left' in own[1] and 'busy' in own[2] and own[3:] == ['2'], own
    assert lines(podman, busybox, '--security-opt=seccomp=unconfined', script=script) == ['Seccomp:\t0', '1', '2']


@pytest.mark.apparmor
def test_apparmor(podman, busybox):
    show = 'cat /proc/self/attr/current'
    usual = lines(podman, busybox, script=show)[0]
    assert usual.startswith('containers-default-') and usual.endswith('(enforce)')
    assert lines(podman, busybox, '--security-opt=apparmor=unconfined', script=show) == ['unconfined']
    name = podman.start('--network=none', busybox, 'sleep', '1000')
    assert podman('exec', name, 'sh', '-c', show).stdout.strip() == usual
    done = podman.run('--rm', '--network=none', '--security-opt=apparmor=no-such', busybox, 'true', check=False)
    assert done.returncode != 0 and 'no-such' in done.stderr


def test_namespaces_of_the_host(podman, busybox):
    show = 'for n in net ipc uts pid cgroup mnt; do readlink /proc/self/ns/$n; done'

    def of(*flags):
        return lines(podman, busybox, *flags, script=show)
    host = [os.readlink(f'/proc/self/ns/{n}') for n in ('net', 'ipc', 'uts', 'pid', 'cgroup', 'mnt')]
    assert not set(of()) & set(host[:4] + host[5:])
    shared = of('--network=host', '--ipc=host', '--uts=host', '--pid=host', '--cgroupns=host')
    assert shared[:5] == host[:5] and shared[5] != host[5]


def test_namespaces_of_another_container(podman, busybox):
    name = podman.start('--ipc=shareable', busybox, 'sleep', '1000')
    of = {n: os.readlink(f'/proc/{podman.pid(name)}/ns/{n}') for n in ('net', 'ipc', 'pid', 'uts')}
    said = lines(podman, busybox, f'--network=container:{name}', f'--ipc=container:{name}', f'--pid=container:{name}',
                 script='for n in net ipc pid uts; do readlink /proc/self/ns/$n; done; cat /proc/1/comm')
    assert said[:3] == [of['net'], of['ipc'], of['pid']] and said[3] != of['uts'] and said[4] == 'sleep'
    assert podman.status(name) == 'running'


def test_a_network_and_its_ports(podman, busybox):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    name = podman.start(f'--publish=127.0.0.1:{port}:80', '--dns=192.0.2.1', '--add-host=other:192.0.2.2', busybox, 'sh', '-c',
                        'echo page >/index.html; exec httpd -f -p 80 -h /')
    address = podman.out('inspect', '--format={{.NetworkSettings.IPAddress}}', name)
    shown = podman('exec', name, 'sh', '-c', 'ip -4 addr show eth0; cat /etc/resolv.conf /etc/hosts').stdout
    assert address in shown and '192.0.2.1' in shown and '192.0.2.2' in shown
    got = podman('exec', name, 'wget', '-qO-', 'http://127.0.0.1/').stdout
    assert got == 'page\n'
    with socket.create_connection((address, 80), 60) as s:
        s.sendall(b'GET / HTTP/1.0\r\n\r\n')
        assert b'page' in s.makefile('rb').read()


def test_volumes(podman, busybox, tmp_path):
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / 'file').write_text('from the host\n')
    (tmp_path / 'alone').write_text('alone\n')
    volume = f'v{os.getpid()}'
    try:
        said = lines(podman, busybox, f'--volume={folder}:/rw', f'--volume={folder}:/ro:ro', f'--volume={volume}:/var/www',
                     f'--mount=type=bind,src={tmp_path / "alone"},dst=/etc/alone,ro=true', script='''
            cat /rw/file /etc/alone; touch /rw/made; touch /ro/made2 2>&1; echo keep >/var/www/kept
            echo x 2>&1 >/etc/alone''', check=False)
        assert said[:2] == ['from the host', 'alone'], said
        assert sum('Read-only file system' in line for line in said) == 2, said
        assert (folder / 'made').exists() and not (folder / 'made2').exists()
        name = podman.start('--network=none', f'--volume={volume}:/data', busybox, 'cat', '/data/kept')
        podman('wait', name)
        assert podman('logs', name).stdout == 'keep\n'
        assert lines(podman, busybox, f'--volumes-from={name}', script='cat /data/kept') == ['keep']
    finally:
        podman.clean()
        podman('volume', 'rm', '--force', volume)


def test_propagation(podman, busybox, tmp_path):
    """A mount in the container arrives at the host through a shared volume, and the other way round."""
    os.makedirs(tmp_path / 'v')
    name = podman.start('--network=none', '--cap-add=SYS_ADMIN', f'--volume={tmp_path / "v"}:/v:rshared',
                        f'--volume={tmp_path / "v"}:/private', '--security-opt=apparmor=unconfined', busybox, 'sleep', '1000')
    podman('exec', name, 'sh', '-c', 'mkdir /v/m && mount -t tmpfs none /v/m && touch /v/m/inside')
    assert (tmp_path / 'v/m/inside').exists()
    assert podman('exec', name, 'ls', '/private/m').stdout == ''
    podman('exec', name, 'umount', '/v/m')
    assert not (tmp_path / 'v/m/inside').exists()


def test_user_namespace(podman, busybox):
    shared = os.path.join(podman.directory, 'shared')  # unlike tmp_path for all to enter
    os.makedirs(shared)
    with open(os.path.join(shared, 'file'), 'w', encoding='utf-8'):
        pass
    os.chown(os.path.join(shared, 'file'), 100033, 100033)
    name = podman.start('--network=none', '--uidmap=0:100000:65536', f'--volume={shared}:/v', busybox, 'sleep', '1000')
    assert os.stat(f'/proc/{podman.pid(name)}').st_uid == 100000
    said = podman('exec', name, 'sh', '-c', '''
        cat /proc/self/uid_map; id -u; stat -c %u /bin/busybox /v/file; touch /made; stat -c %u /made
        grep CapEff /proc/self/status''').stdout.splitlines()
    assert said[0].split() == ['0', '100000', '65536']
    assert said[1:5] == ['0', '0', '33', '0'], said
    assert podman('exec', '--user=33', name, 'id', '-u').stdout == '33\n'


def test_user_namespace_with_a_network(podman, busybox):
    said = lines(podman, busybox, '--uidmap=0:100000:65536', '--network=bridge', '--read-only', '--user=1000', script='''
        ip -4 -o addr show eth0 | wc -l; id -u; touch /x 2>&1''', check=False)
    assert said[:2] == ['1', '1000'] and 'Read-only' in said[2]


def test_shm_and_times(podman, busybox):
    assert lines(podman, busybox, '--shm-size=2m', '--tz=Asia/Tokyo' if os.path.exists('/usr/share/zoneinfo/Asia/Tokyo')
                 else '--env=A=b', script='df -k /dev/shm | tail -n1 | tr -s " " | cut -d" " -f2') == ['2048']


def test_descriptors_are_passed_on(podman, busybox, tmp_path):
    """--preserve-fds, and nothing but those."""
    (tmp_path / 'text').write_text('through\n')
    done = subprocess.run(['bash', '-c', f'exec 3<{tmp_path}/text 5<{tmp_path}/text; "$@"', 'bash', *podman.command(
        'run', '--rm', f'--cgroup-parent={podman.cgroup_parent}', '--network=none', '--preserve-fds=1', busybox, 'sh', '-c',
        'ls /proc/self/fd; cat <&3')], env=podman.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stdout.split() == ['0', '1', '2', '3', '4', 'through'], done  # 4: the folder itself


def test_hooks(podman, busybox, tmp_path):
    """Those of a folder of hooks: they get the state, in order, and one that fails fails the run."""
    log, hooks = tmp_path / 'log', tmp_path / 'hooks'
    hooks.mkdir()
    program = tmp_path / 'hook'
    program.write_text(f'#!/bin/sh\necho "$1 $(tr -d \'\\n\')" >>{log}\n[ "$1" != fail ]\n')
    program.chmod(0o755)

    def use(*stages):
        for stage in stages:
            (hooks / f'{stage}.json').write_text(json.dumps({
                'version': '1.0.0', 'hook': {'path': str(program), 'args': ['hook', stage]}, 'when': {'always': True},
                'stages': [stage]}))
    use('createRuntime', 'poststart', 'poststop')
    podman('--hooks-dir', hooks, 'run', '--rm', f'--cgroup-parent={podman.cgroup_parent}', '--network=none', busybox, 'true')
    said = [line.split(' ', 1) for line in log.read_text().splitlines()]
    assert [stage for stage, _ in said] == ['createRuntime', 'poststart', 'poststop']
    assert [json.loads(state)['status'] for _, state in said][0::2] == ['creating', 'stopped']
    assert json.loads(said[0][1])['pid'] > 0
    (hooks / 'bad.json').write_text(json.dumps({
        'version': '1.0.0', 'hook': {'path': str(program), 'args': ['hook', 'fail']}, 'when': {'always': True},
        'stages': ['createRuntime']}))
    done = podman('--hooks-dir', hooks, 'run', '--rm', '--network=none', busybox, 'true', check=False)
    assert done.returncode != 0 and 'hook' in done.stderr, done.stderr


def test_notify(podman, busybox, tmp_path):
    """--sdnotify=container: NOTIFY_SOCKET reaches the container, and conmon's the host."""
    path = str(tmp_path / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(60)
        got = []

        def read():
            while 'end' not in got:
                got.append(s.recv(4096).decode())
        thread = threading.Thread(target=read)
        thread.start()
        name = podman.start('--network=none', '--sdnotify=conmon', busybox, 'sleep', '1000',
                            env={**podman.env, 'NOTIFY_SOCKET': path})
        assert podman.status(name) == 'running'
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b'end', path)
        thread.join()
    assert any('READY=1' in text for text in got), got


def test_no_control_group(podman, busybox):
    if podman.name == 'runc':
        pytest.skip('runc can\'t')
    with open('/proc/self/cgroup', encoding='utf-8') as f:
        own = f.read()
    done = podman('run', '--rm', '--cgroups=disabled', '--cgroupns=host', '--network=none', busybox, 'cat', '/proc/self/cgroup')
    assert done.stdout == own


def test_split_control_groups(podman, busybox):
    if not cgroup_top('memory')[1]:
        pytest.skip('podman has this mode on cgroup v2 alone')
    done = podman('run', '--rm', '--cgroups=split', '--cgroupns=host', '--network=none', busybox, 'cat', '/proc/self/cgroup')
    assert 'libpod-payload' in done.stdout


def test_a_root_file_system_of_its_own(podman, tmp_path):
    root = tmp_path / 'root'
    for folder in ('bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'run'):
        (root / folder).mkdir(parents=True)
    with open('/bin/busybox', 'rb') as f:
        (root / 'bin/busybox').write_bytes(f.read())
    (root / 'bin/busybox').chmod(0o755)
    done = podman.run('--rm', '--network=none', '--rootfs', root, '/bin/busybox', 'sh', '-c', 'echo /b*')
    assert done.stdout == '/bin\n'
