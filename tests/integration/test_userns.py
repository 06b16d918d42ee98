"""Pods with a user namespace of their own: ids, owners of files, mounts, exec, crashes, what is refused."""

import os
import socket
import stat
import subprocess

import grpc
import pytest

import images as recipes
from conftest import AS_PROXMOX
from cri import CONTAINER, NODE, POD, Container, Pod, eventually
from helpers import CODE, overlay_alone, refused
from leftovers import processes
from oci import Layer
from registry import free_port
from test_crash import keeper_pid, monitor_pid, new_things, reconnect
from test_stream import Terminal, crictl  # noqa: F401, a fixture

pytestmark = pytest.mark.ours
FIRST, LENGTH = 200000, 65536
OVERFLOW = 65534


def mappings(pb, *ranges):
    return [pb.IDMapping(container_id=inside, host_id=first, length=length)
            for inside, first, length in ranges]


def user_ns(pb, first=FIRST, length=LENGTH):
    ids = mappings(pb, (0, first, length))
    return pb.UserNamespace(mode=POD, uids=ids, gids=ids)


def userns_pod(daemon, first=FIRST, length=LENGTH, security=None, **config):
    return daemon.pod(host_network=False, hostname='pod',
                      security={'userns': user_ns(daemon.pb, first, length), **(security or {})},
                      **config)


def idmapped(pb, host_path, container_path, first=FIRST, length=LENGTH, **more):
    ids = mappings(pb, (0, first, length))
    return pb.Mount(host_path=host_path, container_path=container_path, uidMappings=ids,
                    gidMappings=ids, **more)


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def status_ids(pid):
    """The real uids of the host that /proc/PID/status tells of, and the groups."""
    with open(f'/proc/{pid}/status', encoding='utf-8') as f:
        lines = dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)
    return ([int(x) for x in lines['Uid'].split()], [int(x) for x in lines['Gid'].split()],
            [int(x) for x in lines['Groups'].split()])


@pytest.fixture
def folder(tmp_path_factory, top):
    path = os.path.join(top, f'volume-{len(os.listdir(top))}')
    os.mkdir(path, 0o755)
    return path


# --- ids ------------------------------------------------------------------------------------------


def test_ids(daemon, busybox, clean):
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'])
        for file in ('/proc/self/uid_map', '/proc/self/gid_map', '/proc/1/uid_map'):
            assert c.sh(f'cat {file}').split() == ['0', str(FIRST), str(LENGTH)]
        assert c.sh('id -u; id -g; hostname') == '0\n0\npod'
        uids, gids, groups = status_ids(c.pid())
        assert set(uids) == set(gids) == {FIRST} and set(groups) <= {FIRST}
        options = pod.status().linux.namespaces.options.userns_options
        assert options == user_ns(daemon.pb)
        user = c.status().user.linux
        assert (user.uid, user.gid) == (0, 0)


def test_all_namespaces_are_the_pods(daemon, busybox):
    """One user namespace for all containers, which owns the others."""
    with userns_pod(daemon) as pod:
        a, b = (pod.run(busybox, ['sleep', '1000']) for _ in range(2))
        links = [[os.readlink(f'/proc/{c.pid()}/ns/{kind}') for kind in ('user', 'net', 'ipc', 'uts')]
                 for c in (a, b)]
        assert links[0] == links[1]
        assert links[0][0] != os.readlink('/proc/self/ns/user')
        # Root has the rights of its capabilities over them, and over nothing else.
        c = pod.run(busybox, ['sleep', '1000'], security={'capabilities': daemon.pb.Capability(
            add_capabilities=['NET_ADMIN', 'SYS_ADMIN'])})
        c.sh('ip addr add 10.99.0.1/32 dev lo; hostname new')
        assert '10.99.0.1' in a.sh('ip addr show lo')
        assert a.sh('hostname') == 'new'
        assert c.exec('sh', '-c', 'echo 1 >/proc/sys/kernel/panic').exit_code != 0


def test_run_as_user(daemon, busybox):
    security = {'run_as_user': daemon.pb.Int64Value(value=1000),
                'run_as_group': daemon.pb.Int64Value(value=1001), 'supplemental_groups': [1234]}
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'], security=security)
        uids, gids, groups = status_ids(c.pid())
        assert set(uids) == {FIRST + 1000} and set(gids) == {FIRST + 1001}
        assert FIRST + 1234 in groups and all(FIRST <= g < FIRST + LENGTH for g in groups)
        assert c.sh('id -u; id -g') == '1000\n1001'


@pytest.mark.not_by_engine('crun', 'it says it in other words')
def test_a_user_that_is_not_mapped(daemon, busybox):
    security = {'run_as_user': daemon.pb.Int64Value(value=70000)}
    with userns_pod(daemon) as pod:
        c = pod.create(busybox, ['true'], security=security)
        with refused(CODE.INVALID_ARGUMENT, CODE.INTERNAL, CODE.UNKNOWN, words=['70000']):
            c.start()


def test_a_short_range(daemon, busybox):
    with userns_pod(daemon, FIRST, 1, pid=POD) as pod:
        c = pod.run(busybox, ['sleep', '1000'], tty=True)
        assert c.sh('cat /proc/self/uid_map').split() == ['0', str(FIRST), '1']


def test_every_process_is_the_pods(daemon, busybox):
    with userns_pod(daemon, pid=POD) as pod:
        a = pod.run(busybox, ['sleep', '1000'])
        b = pod.sh(busybox, 'sleep 500')
        assert 'sleep 500' in a.sh('ps')
        pods_ns = os.readlink(f'/proc/{a.pid()}/ns/user')
        first = [p for p in os.listdir('/proc') if p.isdigit() and same_pid_ns(p, a.pid())]
        assert len(first) >= 3
        for pid in first:
            assert os.readlink(f'/proc/{pid}/ns/user') == pods_ns
            assert all(FIRST <= uid < FIRST + LENGTH for uid in status_ids(pid)[0])
        b.stop()


def same_pid_ns(pid, other):
    try:
        return os.readlink(f'/proc/{pid}/ns/pid') == os.readlink(f'/proc/{other}/ns/pid')
    except OSError:
        return False


# --- files ----------------------------------------------------------------------------------------


def test_owners_of_the_image(daemon, images):
    layer = (Layer().dir('data', 0o755, uid=1000, gid=1001).file('data/f', 'x', 0o600, uid=1000, gid=1001)
             .file('suid', 'x', 0o4755))
    ref = images.push(recipes.busybox(layer))
    daemon.pull(ref)
    script = 'stat -c "%u %g %a" / /etc/passwd /data /data/f /suid /etc/hosts /dev/shm'
    with userns_pod(daemon) as a, userns_pod(daemon, 400000, 70000) as b:
        for pod in (a, b):
            c = pod.run(ref, ['sleep', '1000'])
            assert c.sh(script).split('\n') == [
                '0 0 755', '0 0 644', '1000 1001 755', '1000 1001 600', '0 0 4755', '0 0 644',
                '0 0 1777']
            c.sh('echo more >>/data/f; chown 5:6 /suid; touch /new; echo x >>/etc/hosts; '
                 'ln -s x /link; mkdir -p /deep/er; rm /etc/group')
            assert c.sh('stat -c "%u %g" /data/f /suid /new /link /deep/er; ls /etc').split('\n')[:5] == [
                '1000 1001', '5 6', '0 0', '0 0', '0 0']


def test_another_image_below(daemon, busybox, images, clean):
    """Its owners are the pod's, and so are those of what the container has written before."""
    with userns_pod(daemon) as pod:
        ref = images.push(recipes.busybox(Layer().dir('own').file('own/file', 'x', uid=33, gid=44)), 'owners-below')
        daemon.pull(ref)
        container = pod.run(busybox, ['sh', '-c', 'echo mine >/mine; chown 5:6 /mine; exec sleep 100'])
        eventually(lambda: container.exec('stat', '-c', '%u:%g', '/mine').stdout == b'5:6\n')
        container.stop()
        daemon.runtime.cli('container', 'set-image', container.id, ref)
        daemon.runtime.cli('container', 'start', container.id)
        assert container.output('stat', '-c', '%u:%g', '/own/file', '/mine', '/bin') == '33:44\n5:6\n0:0'
    daemon.runtime.cli('image', 'rm', '-f', ref)


@overlay_alone('it looks into writable layers')
def test_one_image_many_pods(daemon, busybox):
    """Layers are mapped, not copied: what a container adds is all that its layer holds."""
    ranges = [FIRST + i * LENGTH for i in range(4)]
    pods = [userns_pod(daemon, first) for first in ranges]
    try:
        for pod, first in zip(pods, ranges):
            c = pod.run(busybox, ['sleep', '1000'])
            upper = os.path.join(daemon.runtime.root, 'snapshots', c.id, 'upper')
            c.sh('echo >/mine')
            assert {'mine'} <= set(os.listdir(upper)) <= {'dev', 'etc', 'mine', 'proc', 'sys'}
            assert owner(upper) == owner(os.path.join(upper, 'mine')) == (first, first)
            # For the host it is a file of nobody there is: no set-user-id root, and out of reach.
            c.sh('cp /bin/busybox /root-shell; chmod 4755 /root-shell')
            assert owner(os.path.join(upper, 'root-shell')) == (first, first)
            assert not stat.S_IMODE(os.stat(os.path.join(upper, '..')).st_mode) & 0o077
    finally:
        for pod in pods:
            pod.remove()


def test_volumes(daemon, busybox, folder, pb):
    with open(f'{folder}/hers', 'w', encoding='utf-8') as f:
        f.write('hers\n')
    os.chown(f'{folder}/hers', 1000, 1000)
    os.chmod(f'{folder}/hers', 0o600)
    mounts = [idmapped(pb, folder, '/mapped'), pb.Mount(host_path=folder, container_path='/plain'),
              idmapped(pb, folder, '/readonly', readonly=True),
              idmapped(pb, folder, '/other', FIRST + 1000, 10)]
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'], mounts=mounts)
        assert c.sh('stat -c "%u %g" /mapped /mapped/hers') == '0 0\n1000 1000'
        assert c.sh('cat /mapped/hers') == 'hers'
        c.sh('echo ours >/mapped/ours; chown 7:8 /mapped/ours; mkdir /mapped/dir')
        assert owner(f'{folder}/ours') == (7, 8) and owner(f'{folder}/dir') == (0, 0)
        # Without a mapping all belongs to nobody in there, and its root may do what any stranger may.
        assert c.sh('stat -c "%u %g" /plain') == f'{OVERFLOW} {OVERFLOW}'
        for script in ('touch /plain/x', 'cat /plain/hers', 'chown 0:0 /plain', 'touch /readonly/x'):
            assert c.exec('sh', '-c', script).exit_code != 0, script
        # A mapping of its own: the volume's root is the container's user 1000.
        assert c.sh('stat -c "%u" /other') == '1000'


def test_a_volume_that_cannot_be_mapped(daemon, busybox, folder, pb):
    with userns_pod(daemon) as pod:
        with refused(CODE.FAILED_PRECONDITION, words=['/there', '/proc/sys', 'idmapped']):
            pod.create(busybox, ['true'], mounts=[idmapped(pb, '/proc/sys', '/there')])
        for ids in ([(0, FIRST, 0)], [(0, FIRST, 10), (5, FIRST, 10)]):
            mount = pb.Mount(host_path=folder, container_path='/there',
                             uidMappings=mappings(pb, *ids), gidMappings=mappings(pb, *ids))
            with refused(CODE.INVALID_ARGUMENT, words=['/there']):
                pod.create(busybox, ['true'], mounts=[mount])
        with refused(CODE.INVALID_ARGUMENT, words=['/there']):
            pod.create(busybox, ['true'], mounts=[
                pb.Mount(host_path=folder, container_path='/there',
                         uidMappings=mappings(pb, (0, FIRST, 10)))])
        assert pod.run(busybox, ['true']).wait().exit_code == 0


def test_no_mount_of_a_pod_shows_on_the_host(daemon, busybox, folder, pb):
    subprocess.run(['mount', '--bind', folder, folder], check=True)
    subprocess.run(['mount', '--make-rshared', folder], check=True)
    try:
        with userns_pod(daemon, security={'privileged': True}) as pod:
            with refused(CODE.INVALID_ARGUMENT, words=['bidirectional', '/v']):
                pod.create(busybox, ['true'], mounts=[idmapped(pb, folder, '/v', propagation=2)])
            c = pod.run(busybox, ['sleep', '1000'], security={'privileged': True},
                        mounts=[idmapped(pb, folder, '/v', propagation=1)])
            c.sh('mkdir /v/inside && mount -t tmpfs x /v/inside && touch /v/inside/x')
            assert os.listdir(f'{folder}/inside') == []
            # The other way it does.
            os.mkdir(f'{folder}/outside')
            subprocess.run(['mount', '-t', 'tmpfs', 'x', f'{folder}/outside'], check=True)
            assert f'/v/outside' in c.sh('cat /proc/mounts')
            subprocess.run(['umount', f'{folder}/outside'], check=True)
    finally:
        subprocess.run(['umount', folder], check=True)


@pytest.mark.not_in_ct('they have a user namespace')
def test_a_volume_mapped_without_a_user_namespace(daemon, busybox, folder, pb):
    with daemon.pod() as pod:
        c = pod.run(busybox, ['sleep', '1000'], mounts=[idmapped(pb, folder, '/mapped', 5000, 100)])
        assert c.sh('stat -c "%u" /mapped') == '5000'


@pytest.mark.not_by_engine('crun', 'it is refused')
def test_mounts_below_a_volume_are_mapped(daemon, busybox, folder, pb):
    os.makedirs(f'{folder}/sub')
    os.makedirs(f'{folder}/other')
    subprocess.run(['mount', '--bind', f'{folder}/other', f'{folder}/sub'], check=True)
    try:
        with open(f'{folder}/sub/f', 'w', encoding='utf-8'):
            pass
        with userns_pod(daemon) as pod:
            c = pod.run(busybox, ['sleep', '1000'], mounts=[idmapped(pb, folder, '/v')])
            assert c.sh('stat -c "%u" /v/sub /v/sub/f') == '0\n0'
    finally:
        subprocess.run(['umount', f'{folder}/sub'], check=True)


def test_image_volumes(daemon, busybox, images, pb):
    one = images.push(recipes.Image([Layer().dir('sub').file('sub/f', 'one', 0o600, uid=3, gid=4)], {}))
    two = images.push(recipes.busybox(Layer().dir('sub').file('sub/f', 'two', 0o600, uid=3, gid=4)))
    daemon.pull(one, two)
    ids = mappings(pb, (0, FIRST, LENGTH))
    mounts = [pb.Mount(image=pb.ImageSpec(image=ref), container_path=path, readonly=True,
                       image_sub_path=sub, uidMappings=maps, gidMappings=maps)
              for ref, path, sub, maps in ((one, '/one', '', ids), (two, '/two', '', []),
                                           (one, '/part1', 'sub', ids), (two, '/part2', 'sub', ids))]
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'], mounts=mounts)
        assert c.sh('stat -c "%u %g" /one/sub/f /two/sub/f /part1/f /part2/f') == '\n'.join(['3 4'] * 4)
        assert c.sh('cat /one/sub/f /part2/f') == 'onetwo'


def test_declared_volumes(daemon, images):
    ref = images.push(recipes.busybox(Volumes={'/var/data': {}, '/new/one': {}}))
    daemon.pull(ref)
    with userns_pod(daemon) as pod:
        for readonly in (False, True):
            c = pod.run(ref, ['sleep', '1000'], security={'readonly_rootfs': readonly})
            c.sh('touch /var/data/x /new/one/x')
            assert c.sh('stat -c %u /var/data /new/one/x') == '0\n0'
            assert (c.exec('touch', '/x').exit_code != 0) == readonly


def test_what_every_container_has(daemon, busybox):
    """proc, sys, cgroup, dev, mqueue, a terminal: in a user namespace each has its own rules."""
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'], tty=True)
        types = {line.split()[1]: line.split()[2] for line in c.sh('cat /proc/mounts').split('\n')}
        expected = {'/proc': 'proc', '/sys': 'sysfs', '/dev': 'tmpfs', '/dev/pts': 'devpts',
                    '/dev/mqueue': 'mqueue', '/dev/shm': 'tmpfs'}
        assert {path: types.get(path) for path in expected} == expected
        assert any(path.startswith('/sys/fs/cgroup') and kind.startswith('cgroup')
                   for path, kind in types.items())
        c.sh('echo x >/dev/null && head -c 8 /dev/zero /dev/urandom >/dev/null && touch /dev/shm/x')
        assert c.sh('stat -c "%u %g %a" /dev/console; test -c /dev/null && test -c /dev/tty && ls /sys/class/net'
                    ).split('\n')[0].startswith('0 ')
        # Where a pod's root could do harm: not a byte of it is writable.
        for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches',
                     '/sys/kernel/uevent_helper', '/proc/1/oom_score_adj_of_host'):
            assert c.exec('sh', '-c', f'echo 1 >{path}').exit_code != 0, path
        assert c.exec('mknod', '/dev/sda', 'b', '8', '0').exit_code != 0


def test_privileged(daemon, busybox, folder, pb):
    """All capabilities, but only over what the pod owns."""
    with open(f'{folder}/secret', 'w', encoding='utf-8') as f:
        f.write('x')
    os.chmod(f'{folder}/secret', 0o600)
    with userns_pod(daemon, security={'privileged': True}) as pod:
        c = pod.run(busybox, ['sleep', '1000'], security={'privileged': True},
                    mounts=[pb.Mount(host_path=folder, container_path='/host')])
        assert c.sh('grep CapEff /proc/self/status').split()[1].lstrip('0').startswith('1ff')
        c.sh('mkdir /mnt; mount -t tmpfs x /mnt && umount /mnt')
        for script in ('cat /host/secret', 'echo 1 >/host/x', 'mknod /sda b 8 0', 'echo 1 >/proc/sysrq-trigger',
                       'echo 7 >/proc/sys/kernel/panic', 'mount -t ext4 /dev/vda /mnt',
                       'd=$(find /sys/fs/cgroup -name cgroup.procs | head -n 1); mkdir ${d%/*}/own && echo 1 >$d',
                       'nice -n -5 true && chroot /proc/1/root/../.. cat /host/secret',
                       'hwclock -w', 'modprobe dummy', 'dmesg -n 1 && dmesg -c && date -s 12:00'):
            assert c.exec('sh', '-c', script).exit_code != 0, script


def test_host_processes_are_out_of_reach(daemon, busybox):
    """A capability in the pod is none over a process outside: not its files, not its memory."""
    with userns_pod(daemon) as pod, daemon.pod() as other:
        c = pod.run(busybox, ['sleep', '1000'], security={'capabilities': daemon.pb.Capability(
            add_capabilities=['SYS_PTRACE', 'SYS_ADMIN', 'DAC_OVERRIDE', 'KILL'])})
        victim = other.run(busybox, ['sleep', '1000'])
        for pid in (victim.pid(), keeper_pid(daemon), monitor_pid(c)):
            for target in ('ns/user', 'ns/mnt'):
                # From the host's PID namespace, with the pod's identity.
                done = subprocess.run(['nsenter', '-U', '-t', str(c.pid()), '-S', '0', '-G', '0', 'readlink',
                                       f'/proc/{pid}/{target}'], check=False, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
                assert done.returncode != 0, (pid, target, done.stdout)


# --- processes and streams ------------------------------------------------------------------------


def test_exec(daemon, busybox):
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'])
        assert c.sh('id -u; cat /proc/self/uid_map').split() == ['0', '0', str(FIRST), str(LENGTH)]
        assert c.sh('readlink /proc/self/ns/user') == c.sh('readlink /proc/1/ns/user')
        assert c.sh('grep Cap /proc/self/status') == c.sh('grep Cap /proc/1/status')
        assert c.exec('sh', '-c', 'echo err >/dev/stderr; exit 3').exit_code == 3
        # Standard streams are the user's, who can open them again.
        assert c.exec('sh', '-c', 'echo out >/dev/stdout; echo err >/dev/stderr').stdout == b'out\n'
        user = pod.run(busybox, ['sleep', '1000'],
                       security={'run_as_user': daemon.pb.Int64Value(value=1000)})
        assert user.sh('id -u; echo x >/dev/stdout') == '1000\nx'
        assert user.exec('touch', '/x').exit_code != 0


def test_terminal(daemon, busybox, crictl):
    with userns_pod(daemon) as pod:
        user = {'run_as_user': daemon.pb.Int64Value(value=1000)}
        c = pod.run(busybox, ['sh'], stdin=True, tty=True, security=user)
        shell = Terminal(crictl('exec', '-it', c.id, 'sh'))
        shell.type('tty; stat -c "owner %u" $(tty); id -u; stty size\n')
        shell.expect(r'/dev/pts/\d+\r\nowner 1000\r\n1000\r\n50 132')
        shell.type('exit 4\n')
        shell.wait()
        attached = Terminal(crictl('attach', '-i', '-t', c.id))
        attached.type('echo $((6 * 7)); echo x >/dev/tty; exit 5\n')
        attached.expect(r'42\r\n.*x')
        assert c.wait().exit_code == 5
        attached.wait()


def test_port_forward(daemon, busybox, crictl):
    port = free_port()
    with userns_pod(daemon) as pod:
        pod.sh(busybox, 'while :; do echo mapped | nc -l -p 80; done').until_listens(80)
        client = subprocess.Popen(crictl('port-forward', pod.id, f'{port}:80'), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: fetch('127.0.0.1', port) == b'mapped\n')
        finally:
            client.terminate()
            client.wait()


def test_log(daemon, busybox):
    security = {'run_as_user': daemon.pb.Int64Value(value=1000)}
    with userns_pod(daemon, log_directory=os.path.join(daemon.directory, 'userns-logs')) as pod:
        for tty in (False, True):
            c = pod.sh(busybox, 'echo one >/dev/stdout; echo two >/dev/stderr; test -t 0 && tty',
                       security=security, tty=tty)
            c.wait()
            text = [line[2].strip() for line in c.log_lines()]
            assert {'one', 'two'} <= set(text), text
            assert ('/dev/pts/0' in text or '/dev/console' in text) == tty, text


def test_oom_score(daemon, busybox):
    with userns_pod(daemon) as pod, daemon.pod() as other:
        for score in (-500, 0, 900):
            # The host's root may have no right to lower it, either.
            scores = [p.run(busybox, ['sleep', '1000'], resources={'oom_score_adj': score})
                      .sh('cat /proc/1/oom_score_adj /proc/self/oom_score_adj') for p in (pod, other)]
            assert scores[0] == scores[1]


def test_seccomp_and_capabilities(daemon, busybox, pb):
    runtime_default = pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'], security={'seccomp': runtime_default, 'no_new_privs': True,
                                                          'capabilities': pb.Capability(
                                                              drop_capabilities=['ALL'])})
        status = c.sh('cat /proc/1/status')
        assert 'Seccomp:\t2' in status and 'NoNewPrivs:\t1' in status
        assert 'CapEff:\t0000000000000000' in status and 'CapBnd:\t0000000000000000' in status
        assert c.exec('chown', '1:1', '/etc/passwd').exit_code != 0


def test_set_user_id_programs(daemon, images):
    ref = images.push(recipes.nonewprivs())
    daemon.pull(ref)
    user = {'run_as_user': daemon.pb.Int64Value(value=1000)}
    with userns_pod(daemon, log_directory=os.path.join(daemon.directory, 'userns-suid')) as pod:
        c = pod.run(ref, security=user)
        assert c.wait().exit_code == 0
        assert c.log_text() == 'Effective uid: 0\n'


# --- network --------------------------------------------------------------------------------------


def fetch(address, port):
    try:
        with socket.create_connection((address, port), timeout=5) as s:
            return s.recv(100)
    except OSError:
        return None


def test_network(daemon, busybox, pb, clean):
    mapping = pb.PortMapping(container_port=80, host_port=18083)
    sysctls = {'net.ipv4.ping_group_range': '0 65535', 'net.ipv4.ip_unprivileged_port_start': '0',
               'kernel.shm_rmid_forced': '1', 'fs.mqueue.msg_max': '20'}
    with userns_pod(daemon, port_mappings=[mapping], linux={'sysctls': sysctls}) as pod:
        server = pod.sh(busybox, 'while :; do echo mapped | nc -l -p 80; done')
        for key, value in sysctls.items():
            assert server.sh(f'cat /proc/sys/{key.replace(".", "/")}').split() == value.split()
        eventually(lambda: fetch('127.0.0.1', 18083) == b'mapped\n')
        # The route's other end is the bridge.
        gateway = server.sh("ip route | awk '/default/ {print $3}'") or '127.0.0.1'
        assert server.exec('ping', '-c', '1', '-W', '2', gateway).exit_code == 0
        assert 'eth0' in server.sh('ls /sys/class/net')


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.not_by_engine('crun', 'on cgroup v1 it leaves parents in hierarchies that we do not use')
def test_crashes(own_daemon, busybox):
    daemon = own_daemon
    before = daemon.snapshot()
    pod = userns_pod(daemon, pid=POD)
    c = pod.run(busybox, ['sleep', '1000'])
    pid = c.pid()
    for step in range(3):
        if step > 0:
            os.kill(int(eventually(lambda: daemon.cri.Status(verbose=True).info['keeper_pid'])), 9)
        if step != 1:
            daemon.runtime.kill()
            daemon.start()
        reconnect(daemon, pod, c)
        assert eventually(lambda: c.exec('id', '-u').stdout == b'0\n' if ready(c) else None)
        assert c.pid() == pid
        assert c.sh('cat /proc/self/uid_map').split() == ['0', str(FIRST), str(LENGTH)]
        later = pod.run(busybox, ['sleep', '1000'])
        assert os.readlink(f'/proc/{later.pid()}/ns/user') == os.readlink(f'/proc/{pid}/ns/user')
        later.remove()
        assert pod.status().linux.namespaces.options.userns_options == user_ns(daemon.pb)
    pod.remove()
    assert not new_things(before, daemon)


def ready(container):
    try:
        return container.exec('true').exit_code == 0
    except grpc.RpcError as e:
        print(e)
        return False


def test_killed_while_pods_are_made(own_daemon, busybox):
    daemon = own_daemon
    before = daemon.snapshot()
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02):
        pods = [daemon.cri.future('RunPodSandbox', config=pod_config(daemon, f'k{i}-{delay}'))
                for i in range(4)]
        eventually(lambda: True, every=delay)
        subprocess.run(['sleep', str(delay)], check=True)
        daemon.runtime.kill()
        for pod in pods:
            pod.cancel()
        # A plug-in that the daemon left running is in the way of its own undoing.
        eventually(lambda: not any(daemon.runtime.cni_conf in text or '/cni/' in text
                                   for text in processes().values()))
        daemon.start()
        daemon.remove_all()
        assert not new_things(before, daemon)


def pod_config(daemon, name):
    pb = daemon.pb
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, namespace='tests', uid=f'uid-{name}'),
        linux=pb.LinuxPodSandboxConfig(security_context=pb.LinuxSandboxSecurityContext(
            namespace_options=pb.NamespaceOption(network=POD, pid=CONTAINER,
                                                 userns_options=user_ns(pb)))))


# --- what is refused ------------------------------------------------------------------------------


def bad_options(pb):
    one = mappings(pb, (0, FIRST, LENGTH))
    ns = pb.UserNamespace
    return {
        'no mapping': (ns(mode=POD), 'exactly one'),
        'only uids': (ns(mode=POD, uids=one), 'exactly one'),
        'two': (ns(mode=POD, uids=mappings(pb, (0, FIRST, 10), (10, 1000, 10)), gids=one), 'exactly one'),
        'differ': (ns(mode=POD, uids=one, gids=mappings(pb, (0, FIRST + 1, LENGTH))), 'differ'),
        'no root': (ns(mode=POD, uids=mappings(pb, (1, FIRST, 10)), gids=mappings(pb, (1, FIRST, 10))),
                    'container_id 0'),
        'empty': (ns(mode=POD, uids=mappings(pb, (0, FIRST, 0)), gids=mappings(pb, (0, FIRST, 0))), 'length'),
        'host root': (ns(mode=POD, uids=mappings(pb, (0, 0, 10)), gids=mappings(pb, (0, 0, 10))), 'host_id 0'),
        'past the end': (ns(mode=POD, uids=mappings(pb, (0, 2**32 - 5, 10)),
                            gids=mappings(pb, (0, 2**32 - 5, 10))), 'past'),
        'container': (ns(mode=CONTAINER), 'POD or NODE'),
        'target': (ns(mode=3), 'POD or NODE'),
    }


def test_bad_mappings(daemon, pb, clean):
    for name, (options, word) in bad_options(pb).items():
        with refused(CODE.INVALID_ARGUMENT, words=[word]):
            daemon.pod(host_network=False, name=name.replace(' ', '-'), security={'userns': options})
    for more in ({'host_network': True}, {'host_network': False, 'ipc': NODE},
                 {'host_network': False, 'pid': NODE}):
        with refused(CODE.INVALID_ARGUMENT, CODE.UNIMPLEMENTED, words=['user namespace']):
            daemon.pod(**more, security={'userns': user_ns(pb)})
    with daemon.pod(security={'userns': pb.UserNamespace(mode=NODE)}) as pod:
        assert pod.status().linux.namespaces.options.userns_options.mode == NODE


def test_a_container_that_differs_from_its_pod(daemon, busybox, pb):
    def options(userns):
        return {'namespace_options': pb.NamespaceOption(network=POD, pid=CONTAINER, userns_options=userns)}
    with userns_pod(daemon) as pod:
        for other in (None, pb.UserNamespace(mode=NODE), user_ns(pb, FIRST + 1), user_ns(pb, FIRST, 10)):
            with refused(CODE.INVALID_ARGUMENT, words=['user namespace']):
                Container(pod, busybox, ['true'], security=options(other))
    with daemon.pod(host_network=False) as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['user namespace']):
            Container(pod, busybox, ['true'], security=options(user_ns(pb)))


def test_status(daemon):
    for handler in daemon.cri.Status().runtime_handlers:
        in_ct = handler.name == 'proxmox' or AS_PROXMOX and not handler.name  # those have ids of Proxmox' choice
        assert handler.features.user_namespaces == (not in_ct)
    assert not daemon.cri.Status().features.user_namespaces_host_network
