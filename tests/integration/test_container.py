"""The life of a container and what its configuration does."""

import os
import time

import pytest

from cri import CREATED, EXITED, RUNNING, SLOW, eventually
from helpers import CODE, cgroup_file, refused


def test_life(daemon, busybox, clean):
    with daemon.pod() as pod:
        container = pod.create(busybox, ['sleep', '100'], labels={'a': 'b'}, annotations={'c': 'd'})
        status = container.status()
        assert status.state == CREATED
        assert status.metadata.name == container.config.metadata.name
        assert status.image.image and status.image_ref
        assert dict(status.labels) == {'a': 'b'} and dict(status.annotations) == {'c': 'd'}
        assert status.created_at > 0 and status.started_at == 0 and status.finished_at == 0
        container.start()
        status = container.status()
        assert status.state == RUNNING and status.started_at >= status.created_at
        with refused(CODE.FAILED_PRECONDITION, CODE.UNKNOWN, CODE.INTERNAL):
            container.start()
        container.stop(timeout=0)
        container.stop(timeout=0)
        status = container.status()
        assert status.state == EXITED and status.exit_code == 137
        assert status.finished_at >= status.started_at
        container.remove()
        with refused(CODE.NOT_FOUND):
            container.status()


@pytest.mark.ours
def test_stop_and_remove_of_unknown_are_fine(daemon, busybox):
    daemon.cri.StopContainer(container_id='nothing-with-this-id', timeout=0)
    daemon.cri.RemoveContainer(container_id='nothing-with-this-id')
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        container.remove()
        container.remove()


@pytest.mark.parametrize('script,code,reason', [
    ('exit 0', 0, 'Completed'), ('exit 7', 7, 'Error'), ('kill -TERM $$', 143, 'Error'),
    ('kill -SEGV $$', 139, 'Error'), ('exit 255', 255, 'Error')])
def test_exit_codes(daemon, busybox, script, code, reason):
    with daemon.pod(pid=0) as pod:  # not the first process, so that signals kill it
        status = pod.sh(busybox, script).wait()
        assert (status.exit_code, status.reason) == (code, reason)


@pytest.mark.parametrize('after', [0, 0.03, 0.1])
def test_exit_of_one_killed_at_once(daemon, busybox, after):
    with daemon.pod() as pod:
        for _ in range(5):
            container = pod.run(busybox, ['sleep', '100'])
            time.sleep(after)
            container.stop(0)
            status = container.status()
            assert (status.exit_code, status.reason) == (137, 'Error')


def test_stop_sends_the_images_signal_then_kills(daemon, images, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(images.ref('configured'),
                           'trap "echo got it; exit 5" USR1; echo ready; while :; do sleep 0.1; done')
        container.until_said('ready')
        container.stop(timeout=60)
        assert container.status().exit_code == 5
        assert container.log_text() == 'ready\ngot it\n'
        stubborn = pod.sh(busybox, 'trap "" TERM; echo ready; while :; do sleep 0.1; done')
        stubborn.until_said('ready')
        began = time.monotonic()
        stubborn.stop(timeout=1)
        assert 0.8 < time.monotonic() - began < 30 * SLOW  # it would not end by itself
        assert stubborn.status().exit_code == 137


@pytest.mark.not_by_engine('crun', 'creating it fails, not only starting it')
def test_a_program_that_is_not_there(daemon, busybox, clean):
    with daemon.pod() as pod:
        container = pod.create(busybox, ['/no/such/program'])
        with refused(CODE.UNKNOWN, CODE.INTERNAL, CODE.NOT_FOUND, CODE.INVALID_ARGUMENT,
                     CODE.FAILED_PRECONDITION, words=['/no/such/program']) as error:
            container.start()
        assert error.value.code() != CODE.NOT_FOUND, 'kubelet would take it for a missing container'
        status = container.status()
        assert status.state == EXITED and status.exit_code in (127, 128)
        assert status.reason == 'StartError'


def test_lists_are_filtered(daemon, busybox, pb):
    with daemon.pod() as pod, daemon.pod() as other:
        a = pod.run(busybox, ['sleep', '100'], labels={'k': 'a'})
        b = pod.create(busybox, ['sleep', '100'], labels={'k': 'b'})
        other.create(busybox, ['true'])

        def ids(**fields):
            reply = daemon.cri.ListContainers(filter=pb.ContainerFilter(**fields))
            return {item.id for item in reply.containers}
        assert ids(pod_sandbox_id=pod.id) == {a.id, b.id}
        assert ids(id=a.id) == {a.id}
        assert ids(label_selector={'k': 'b'}) == {b.id}
        assert ids(pod_sandbox_id=pod.id, state=pb.ContainerStateValue(state=RUNNING)) == {a.id}
        assert ids(id='nothing-with-this-id') == set()


def test_bad_requests(daemon, busybox, pb, clean):
    with daemon.pod() as pod:
        pod.create(busybox, ['true'], name='once')
        with refused(CODE.ALREADY_EXISTS, CODE.UNKNOWN):
            pod.create(busybox, ['true'], name='once')
        pod.create(busybox, ['true'], name='once', attempt=1)
        with refused(CODE.NOT_FOUND, CODE.UNKNOWN):
            pod.create('127.0.0.1:1/not/pulled:1', ['true'])
        assert len(daemon.cri.ListContainers().containers) == 2


@pytest.mark.ours
def test_bad_requests_say_why(daemon, busybox, pb, clean):
    create = daemon.cri.CreateContainer
    with daemon.pod() as pod:
        with refused(CODE.NOT_FOUND, words=['nothing-here']):
            create(pod_sandbox_id='nothing-here', sandbox_config=pod.config,
                   config=pb.ContainerConfig(metadata=pb.ContainerMetadata(name='x'),
                                             image=pb.ImageSpec(image=busybox)))
        with refused(CODE.INVALID_ARGUMENT):
            create(pod_sandbox_id=pod.id, sandbox_config=pod.config)
        with refused(CODE.INVALID_ARGUMENT, words=['name']):
            create(pod_sandbox_id=pod.id, sandbox_config=pod.config,
                   config=pb.ContainerConfig(image=pb.ImageSpec(image=busybox)))
        with refused(CODE.INVALID_ARGUMENT, words=['image']):
            create(pod_sandbox_id=pod.id, sandbox_config=pod.config,
                   config=pb.ContainerConfig(metadata=pb.ContainerMetadata(name='x')))
        with refused(CODE.NOT_FOUND, words=['127.0.0.1:1/not/pulled']):
            pod.create('127.0.0.1:1/not/pulled:1', ['true'])
        with refused(CODE.INVALID_ARGUMENT, words=['/no/such/source']):
            pod.run(busybox, ['true'], mounts=[pb.Mount(container_path='/x',
                                                        host_path='/no/such/source')])
        with refused(CODE.INVALID_ARGUMENT, words=['CAP_NONSENSE']):
            pod.run(busybox, ['true'], security={
                'capabilities': pb.Capability(add_capabilities=['CAP_NONSENSE'])})
        assert not [c for c in daemon.cri.ListContainers().containers if c.state == RUNNING]


def test_image_config_is_applied(daemon, images):
    with daemon.logged_pod() as pod:
        container = pod.run(images.ref('configured'))
        assert container.wait().exit_code == 0
        lines = container.log_text().splitlines()
        assert lines[0] == 'from image hi /work'
        assert lines[1].startswith('uid=1000(default-user) gid=1000(default-user)')


def test_cri_config_wins_over_the_image(daemon, images):
    with daemon.logged_pod() as pod:
        container = pod.run(images.ref('configured'), args=['other', 'words'], working_dir='/tmp',
                            env={'GREETING': 'bye'})
        assert container.wait().exit_code == 0
        assert container.log_text().splitlines()[0] == 'other words bye /tmp'
        container = pod.run(images.ref('configured'), ['sh', '-c', 'echo $#'])
        assert container.wait().exit_code == 0
        assert container.log_text() == '0\n'


def test_working_dir_is_made(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], working_dir='/made/for/me')
        assert container.output('readlink', '/proc/1/cwd') == '/made/for/me'


def test_users_and_groups(daemon, busybox, pb):
    def run(pod, **security):
        return pod.run(busybox, ['sleep', '100'], security=security)
    with daemon.pod() as pod:
        number = pb.Int64Value
        container = run(pod, run_as_user=number(value=1234), run_as_group=number(value=4321),
                        supplemental_groups=[7, 8])
        assert container.output('id', '-u') == '1234'
        assert container.output('id', '-g') == '4321'
        assert set(container.output('id', '-G').split()) == {'4321', '7', '8'}
        container = run(pod, run_as_username='default-user')
        assert container.output('id', '-u') == '1000'
        assert '50000' in container.output('id', '-G').split()
        with refused(CODE.INVALID_ARGUMENT, CODE.UNKNOWN, CODE.INTERNAL, CODE.NOT_FOUND):
            run(pod, run_as_username='nobody-knows-me')


@pytest.mark.ours
def test_groups_of_the_image_and_names_with_prefix(daemon, images, busybox, pb):
    with daemon.logged_pod() as pod:
        container = pod.run(images.ref('configured'))
        assert container.wait().exit_code == 0
        assert '50000(group-defined-in-image)' in container.log_text()
        capabilities = pb.Capability(drop_capabilities=['CAP_CHOWN'])
        container = pod.run(busybox, ['sleep', '100'], security={'capabilities': capabilities})
        assert caps(container) == DEFAULT_CAPS & ~CHOWN


@pytest.mark.ours
def test_status_shows_the_user(daemon, busybox, pb):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], security={
            'run_as_user': pb.Int64Value(value=1000), 'supplemental_groups': [9]})
        user = container.status().user.linux
        assert user.uid == 1000
        shown = set(container.sh('grep Groups: /proc/1/status').split()[1:])
        assert {str(g) for g in user.supplemental_groups} == shown


def caps(container, which='CapEff'):
    return int(container.sh(f'grep {which}: /proc/1/status').split()[1], 16)


DEFAULT_CAPS = 0xa80425fb  # those that every runtime gives by default
NET_ADMIN, CHOWN = 1 << 12, 1 << 0


def test_capabilities(daemon, busybox, pb):
    def run(pod, add=(), drop=(), **security):
        capabilities = pb.Capability(add_capabilities=add, drop_capabilities=drop)
        return pod.run(busybox, ['sleep', '100'],
                       security={'capabilities': capabilities, **security})
    with daemon.pod() as pod:
        assert caps(run(pod)) == DEFAULT_CAPS
        assert caps(run(pod), 'CapBnd') == DEFAULT_CAPS
        assert caps(run(pod, add=['NET_ADMIN'])) == DEFAULT_CAPS | NET_ADMIN
        assert caps(run(pod, drop=['CHOWN'])) == DEFAULT_CAPS & ~CHOWN
        assert caps(run(pod, drop=['ALL'])) == 0
        assert caps(run(pod, add=['CHOWN'], drop=['ALL'])) == CHOWN
        everything = caps(run(pod, add=['ALL']))
        assert everything & NET_ADMIN and everything > DEFAULT_CAPS
        assert caps(run(pod, run_as_user=pb.Int64Value(value=1000))) == 0


def test_exec_has_the_containers_rights(daemon, busybox, pb):
    security = {'capabilities': pb.Capability(drop_capabilities=['ALL']), 'no_new_privs': True,
                'run_as_user': pb.Int64Value(value=1000),
                'seccomp': pb.SecurityProfile(profile_type=0)}
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], security=security)
        own = container.sh('grep -E "^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)" /proc/self/status')
        init = container.sh('grep -E "^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)" /proc/1/status')
        assert own == init
        assert 'NoNewPrivs:\t1' in own and 'Seccomp:\t2' in own


def test_default_seccomp_profile_denies(daemon, busybox, pb):
    def hostname_settable(pod, kind):
        container = pod.run(busybox, ['sleep', '100'], security={
            'capabilities': pb.Capability(add_capabilities=['SYS_ADMIN', 'SYS_BOOT']),
            'seccomp': pb.SecurityProfile(profile_type=kind)})
        return container.sh('grep Seccomp: /proc/1/status').split()[1], container
    with daemon.pod(host_network=False) as pod:
        assert hostname_settable(pod, pb.SecurityProfile.Unconfined)[0] == '0'
        mode, container = hostname_settable(pod, pb.SecurityProfile.RuntimeDefault)
        assert mode == '2'
        assert container.exec('busybox', 'unshare', '-U', 'true').exit_code is not None


def test_masked_and_read_only_paths(daemon, busybox, pb):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], security={
            'masked_paths': ['/proc/kcore', '/proc/acpi', '/bin/ls', '/etc', '/not/there'],
            'readonly_paths': ['/proc/sys', '/tmp', '/not/there/too']})
        assert container.sh('head -c 1 /proc/kcore | wc -c') == '0'
        assert container.sh('ls /etc | wc -l') == '0'
        assert container.exec('sh', '-c', 'echo x >/tmp/x').exit_code != 0
        assert container.exec('sh', '-c', 'echo 0 >/proc/sys/kernel/panic').exit_code != 0
        assert container.sh('echo x >/root/x && cat /root/x') == 'x'


@pytest.mark.ours
def test_default_masks(daemon, busybox):
    """With no lists given there is nothing to read in kcore, and sysrq can't be triggered."""
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.exec('sh', '-c', 'echo h >/proc/sysrq-trigger').exit_code != 0
        assert container.exec('sh', '-c', 'echo 0 >/proc/sys/kernel/panic').exit_code != 0
        assert container.exec('sh', '-c', 'cd /sys/fs/cgroup/memory || cd /sys/fs/cgroup; mkdir x').exit_code != 0


def test_read_only_rootfs(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], security={'readonly_rootfs': True})
        assert container.exec('touch', '/file').exit_code != 0
        assert container.exec('touch', '/dev/shm/file').exit_code == 0


def test_privileged(daemon, busybox):
    with daemon.pod(security={'privileged': True}) as pod:
        container = pod.run(busybox, ['sleep', '100'], security={'privileged': True})
        with open('/proc/self/status', encoding='utf-8') as f:
            bound = next(int(line.split()[1], 16) for line in f if line.startswith('CapBnd'))
        assert caps(container) == bound
        assert container.exec('test', '-e', '/dev/kmsg').exit_code == 0
        assert container.exec('sh', '-c', 'echo 0 >/proc/sys/kernel/panic').exit_code == 0


def test_mounts(daemon, busybox, pb, tmp_path):
    (tmp_path / 'file').write_text('from the host\n')
    (tmp_path / 'dir').mkdir()
    (tmp_path / 'link').symlink_to('dir')
    mounts = [pb.Mount(container_path='/deep/in/file', host_path=str(tmp_path / 'file'),
                       readonly=True),
              pb.Mount(container_path='/dir', host_path=str(tmp_path / 'dir')),
              pb.Mount(container_path='/by/link', host_path=str(tmp_path / 'link')),
              pb.Mount(container_path='/etc/hosts', host_path=str(tmp_path / 'file'))]
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], mounts=mounts)
        assert container.output('cat', '/deep/in/file') == 'from the host'
        assert container.output('cat', '/etc/hosts') == 'from the host'
        assert container.exec('sh', '-c', 'echo x >/deep/in/file').exit_code != 0
        container.sh('echo back >/dir/new')
        assert (tmp_path / 'dir' / 'new').read_text() == 'back\n'
        assert container.output('cat', '/by/link/new') == 'back'
        shown = {m.container_path: m for m in container.status().mounts}
        assert set(shown) >= {m.container_path for m in mounts}
        assert shown['/deep/in/file'].readonly and not shown['/dir'].readonly


@pytest.mark.parametrize('propagation', ['PRIVATE', 'HOST_TO_CONTAINER', 'BIDIRECTIONAL'])
def test_mount_propagation(daemon, busybox, pb, tmp_path, propagation):
    tree = tmp_path / 'tree'
    (tree / 'a').mkdir(parents=True)
    (tree / 'b').mkdir()
    os.system(f'mount --bind {tree} {tree} && mount --make-rshared {tree}')
    kind = pb.MountPropagation.Value('PROPAGATION_' + propagation)
    try:
        with daemon.pod(security={'privileged': True}) as pod:
            container = pod.run(busybox, ['sleep', '100'], security={'privileged': True},
                                mounts=[pb.Mount(container_path='/tree', host_path=str(tree),
                                                 propagation=kind)])
            os.system(f'mount -t tmpfs host {tree}/a && touch {tree}/a/seen')
            inside = container.exec('test', '-e', '/tree/a/seen').exit_code == 0
            assert inside == (propagation != 'PRIVATE')
            container.sh('mount -t tmpfs inside /tree/b && touch /tree/b/seen')
            assert (tree / 'b' / 'seen').exists() == (propagation == 'BIDIRECTIONAL')
    finally:
        os.system(f'umount {tree}/a; umount {tree}/b 2>/dev/null; umount -l {tree}')


def test_devices(daemon, busybox, pb):
    with daemon.pod() as pod:
        device = pb.Device(host_path='/dev/loop-control', container_path='/dev/mine',
                           permissions='rw')
        container = pod.run(busybox, ['sleep', '100'], devices=[device])
        assert container.sh('stat -c %t:%T /dev/mine') == 'a:ed'
        for name in ('null', 'zero', 'full', 'random', 'urandom', 'tty'):
            assert container.exec('test', '-c', f'/dev/{name}').exit_code == 0, name
        assert container.sh('head -c 3 /dev/zero | wc -c') == '3'
        # Only what was asked for may be opened, also when the node can be made.
        made = container.exec('sh', '-c', 'mknod /disk b 7 0 && head -c 1 /disk')
        assert made.exit_code != 0


def test_default_files_in_dev(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.output('readlink', '/dev/fd') == '/proc/self/fd'
        assert container.output('readlink', '/dev/stdout') == '/proc/self/fd/1'
        assert container.output('readlink', '/dev/ptmx') == 'pts/ptmx'
        assert container.exec('test', '-d', '/dev/mqueue').exit_code == 0
        assert container.sh('echo x >/dev/stdout') == 'x'


def test_limits(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={
            'memory_limit_in_bytes': 64 << 20, 'cpu_quota': 50000, 'cpu_period': 100000,
            'cpu_shares': 512, 'cpuset_cpus': '0'})
        assert cgroup_file(container, 'memory/memory.limit_in_bytes', 'memory.max') == str(64 << 20)
        assert cgroup_file(container, 'cpu/cpu.cfs_quota_us', 'cpu.max') in ('50000',
                                                                             '50000 100000')
        assert cgroup_file(container, 'cpuset/cpuset.cpus', 'cpuset.cpus') == '0'
        shares = cgroup_file(container, 'cpu/cpu.shares', 'cpu.weight')
        assert shares in ('512', '20', '59')


@pytest.mark.ours
def test_update_resources(daemon, busybox, pb):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={
            'memory_limit_in_bytes': 64 << 20, 'cpu_shares': 512})
        daemon.cri.UpdateContainerResources(
            container_id=container.id,
            linux=pb.LinuxContainerResources(memory_limit_in_bytes=96 << 20, cpu_quota=20000,
                                             cpu_period=100000))
        assert cgroup_file(container, 'memory/memory.limit_in_bytes', 'memory.max') == str(96 << 20)
        shown = container.status().resources.linux
        assert shown.memory_limit_in_bytes == 96 << 20
        assert (shown.cpu_quota, shown.cpu_period, shown.cpu_shares) == (20000, 100000, 512)
        container.stop()
        with refused(CODE.FAILED_PRECONDITION):
            daemon.cri.UpdateContainerResources(
                container_id=container.id,
                linux=pb.LinuxContainerResources(memory_limit_in_bytes=32 << 20))
        with refused(CODE.NOT_FOUND):
            daemon.cri.UpdateContainerResources(
                container_id='nothing-with-this-id', linux=pb.LinuxContainerResources())


def test_out_of_memory_is_told(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'sleep 0.2; dd if=/dev/zero of=/dev/null bs=40M count=2',
                           resources={'memory_limit_in_bytes': 15 << 20,
                                      'memory_swap_limit_in_bytes': 15 << 20})
        status = container.wait()
        assert status.reason == 'OOMKilled'
        assert status.exit_code == 137


def test_oom_score(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={'oom_score_adj': 900})
        assert container.output('cat', '/proc/1/oom_score_adj') == '900'


def test_stats(daemon, busybox, pb):
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; '
                                    'dd if=/dev/zero of=/file bs=1M count=2; sleep 100')
        eventually(lambda: container.exec('test', '-s', '/file').exit_code == 0)
        time.sleep(0.2)

        def used():
            stats = daemon.cri.ContainerStats(container_id=container.id).stats
            return stats if stats.cpu.usage_core_nano_seconds.value else None
        stats = eventually(used)
        assert stats.attributes.id == container.id
        assert stats.attributes.metadata == container.config.metadata
        assert stats.cpu.timestamp > 0 and stats.memory.timestamp > 0
        assert stats.memory.working_set_bytes.value > 0
        listed = daemon.cri.ListContainerStats(
            filter=pb.ContainerStatsFilter(pod_sandbox_id=pod.id)).stats
        assert [s.attributes.id for s in listed] == [container.id]


@pytest.mark.ours
def test_stats_show_the_writable_layer(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'dd if=/dev/zero of=/file bs=1M count=3; sleep 100')

        def used():
            layer = daemon.cri.ContainerStats(container_id=container.id).stats.writable_layer
            return layer if layer.used_bytes.value >= 3 << 20 else None
        layer = eventually(used)
        assert os.path.isdir(layer.fs_id.mountpoint)
        assert layer.inodes_used.value >= 1
        with refused(CODE.NOT_FOUND):
            daemon.cri.ContainerStats(container_id='nothing-with-this-id')


def test_containers_do_not_share_their_rootfs(daemon, busybox):
    with daemon.pod() as pod:
        one, two = (pod.run(busybox, ['sleep', '100']) for _ in range(2))
        one.sh('rm /bin/ls; echo x >/file')
        assert two.exec('test', '-e', '/bin/ls').exit_code == 0
        assert two.exec('test', '-e', '/file').exit_code == 1


def test_no_descriptor_of_ours_in_a_container(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert set(container.sh('ls /proc/1/fd').split()) == {'0', '1', '2'}
        listed = set(container.output('sh', '-c', 'ls /proc/$$/fd; :').split())
        assert listed <= {'0', '1', '2', '10', '3'}, listed


def test_tty(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'tty; echo $TERM; test -t 0 && echo terminal; tty </dev/console',
                           tty=True)
        assert container.wait().exit_code == 0
        text = container.log_text().replace('\r', '').split('\n')
        assert text[0].startswith('/dev/') and 'terminal' in text


@pytest.mark.ours
def test_a_container_that_fills_its_shm_harms_nobody(daemon, busybox):
    """Its write fails; a pod beside it and the daemon go on."""
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        result = container.exec('sh', '-c', 'dd if=/dev/zero of=/dev/shm/x bs=1M count=100')
        assert result.exit_code != 0 and b'No space left' in result.stderr
        assert container.output('echo', 'ok') == 'ok'
