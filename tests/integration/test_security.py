"""What a hostile image or pod must not be able to do."""

import os
import signal
import time

import pytest

from cri import EXITED, RUNNING, SLOW, eventually
from helpers import CODE
import images as recipes
from oci import Layer


@pytest.fixture
def target(tmp_path):
    """A folder of the host that must not change."""
    folder = tmp_path / 'host'
    folder.mkdir()
    (folder / 'file').write_text('untouched')
    yield folder
    assert sorted(p.name for p in folder.iterdir()) == ['file']
    assert (folder / 'file').read_text() == 'untouched'


@pytest.mark.ours
@pytest.mark.parametrize('kind', ['absolute', 'dots', 'file', 'middle'])
def test_mount_targets_by_symlink_stay_inside(daemon, images, pb, tmp_path, target, kind):
    """An image whose links lead out of its root: the mount lands inside, nothing is made outside."""
    links = {'absolute': ('evil', str(target)), 'dots': ('evil', '../' * 20 + str(target)[1:]),
             'file': ('evil', str(target / 'new')), 'middle': ('var/evil', str(target))}
    name, to = links[kind]
    ref = images.push(recipes.busybox(Layer().symlink(name, to)))
    daemon.pull(ref)
    source = tmp_path / 'source'
    source.mkdir()
    (source / 'inside').write_text('x')
    mounts = [pb.Mount(container_path=f'/{name}/sub/dir', host_path=str(source))]
    with daemon.pod() as pod:
        try:
            container = pod.run(ref, ['sleep', '100'], mounts=mounts)
        except Exception as error:  # pylint: disable=broad-except
            assert error.code() != CODE.NOT_FOUND
        else:
            assert container.output('cat', f'/{name}/sub/dir/inside') == 'x'
    daemon.cri.RemoveImage(image=pb.ImageSpec(image=ref))


@pytest.mark.ours
@pytest.mark.parametrize('path', ['proc', 'sys', 'dev', 'etc', 'etc/resolv.conf', 'etc/hosts',
                                  'dev/shm', 'run', 'tmp'])
def test_our_own_mounts_by_symlink_stay_inside(daemon, images, pb, target, path):
    """The same for what every container gets: /proc, /dev, /etc/hosts ..."""
    layer = Layer().file(os.path.dirname(path) + '/.wh.' + os.path.basename(path)
                         if '/' in path else '.wh.' + path)
    link = Layer().symlink(path, str(target))
    ref = images.push(recipes.busybox(layer, link))
    daemon.pull(ref)
    with daemon.pod() as pod:
        try:
            pod.run(ref, ['sleep', '100'], working_dir='/made/here')
        except Exception as error:  # pylint: disable=broad-except
            assert error.details()
    daemon.cri.RemoveImage(image=pb.ImageSpec(image=ref))


@pytest.mark.ours
def test_working_dir_and_user_files_by_symlink(daemon, images, pb, target):
    ref = images.push(recipes.busybox(
        Layer().symlink('work', str(target)).file('etc/.wh.passwd'),
        Layer().symlink('etc/passwd', '/etc/shadow')))
    daemon.pull(ref)
    with daemon.pod() as pod:
        for more in ({'working_dir': '/work/new'},
                     {'security': {'run_as_username': 'root'}}):
            try:
                pod.run(ref, ['sleep', '100'], **more)
            except Exception as error:  # pylint: disable=broad-except
                assert error.details()
    daemon.cri.RemoveImage(image=pb.ImageSpec(image=ref))


def abstract_sockets():
    with open('/proc/net/unix', encoding='utf-8') as f:
        return {line.split()[-1] for line in f if line.split()[-1].startswith('@')}


@pytest.mark.ours
def test_no_command_socket_in_the_hosts_network(daemon, busybox):
    """LXC's command sockets are abstract, so any root in the same network namespace reaches them.
    A host-network pod sees none of ours."""
    before = abstract_sockets()
    with daemon.pod(host_network=True) as pod:
        victim = pod.run(busybox, ['sleep', '100'])
        spy = pod.run(busybox, ['sleep', '100'])
        new = abstract_sockets() - before
        assert not [s for s in new if 'command' in s or victim.id in s], new
        seen = spy.output('cat', '/proc/net/unix')
        assert victim.id not in seen and '/command' not in seen
        assert victim.status().state == RUNNING


@pytest.mark.ours
@pytest.mark.parametrize('pid', [1, 0, 2])
def test_sighup_ends_and_does_not_run_again(daemon, busybox, pid, tmp_path):
    """LXC takes a first process that dies of SIGHUP for a reboot."""
    with daemon.logged_pod(pid=pid) as pod:
        container = pod.sh(busybox, 'echo run; trap - HUP; sleep 1; kill -HUP $$; sleep 2; exit 9')
        if pid == 1:  # the kernel drops signals without a handler from inside
            container.until_said('run')
            os.kill(container.pid(), signal.SIGHUP)
        status = container.wait()
        # The first process of a PID namespace is immune to it, also from outside.
        assert status.exit_code == (9 if pid == 1 else 129)
        time.sleep(0.3)
        assert container.log_text() == 'run\n'
        assert container.status().state == EXITED


@pytest.mark.ours
def test_reboot_ends_and_does_not_run_again(daemon, busybox, pb):
    with daemon.logged_pod() as pod:
        capabilities = pb.Capability(add_capabilities=['SYS_BOOT'])
        container = pod.sh(busybox, 'echo run; sleep 0.3; reboot -f; sleep 5',
                           security={'capabilities': capabilities,
                                     'seccomp': pb.SecurityProfile(profile_type=1)})
        container.wait()
        time.sleep(0.3)
        assert container.log_text() == 'run\n'


@pytest.mark.ours
def test_init_can_not_be_overwritten(daemon, busybox):
    """/proc/1/exe of a container that is only created is our init: sealed, nothing to write to."""
    with daemon.pod(pid=2, security={'privileged': True}) as pod:
        spy = pod.run(busybox, ['sleep', '100'], security={'privileged': True})
        created = pod.create(busybox, ['sleep', '100'])
        pids = []
        for pid in os.listdir('/proc'):
            if pid.isdigit():
                try:
                    if 'memfd' in os.readlink(f'/proc/{pid}/exe'):
                        pids.append(pid)
                except OSError:
                    pass
        for pid in pids:
            assert spy.exec('sh', '-c', f'echo x >/proc/{pid}/exe').exit_code != 0
        created.start()
        assert created.status().state == RUNNING


def test_environment_of_ours_does_not_reach_a_container(daemon, busybox):
    with daemon.pod() as pod:
        names = {line.split('=')[0] for line in pod.run(busybox, ['sleep', '9'])
                 .sh('tr "\\0" "\\n" </proc/1/environ').split('\n')}
        assert not {n for n in names if n.startswith(('LXC', 'LXCRI', 'LISTEN', 'NOTIFY'))}, names
        assert names <= {'PATH', 'HOSTNAME', 'HOME', 'TERM', 'container', 'PWD', 'SHLVL'}, names


def test_umask_and_signals_are_fresh(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.sh('umask') == '0022'
        for line in container.sh('grep -E "^Sig(Blk|Ign)" /proc/1/status').split('\n'):
            assert int(line.split()[1], 16) == 0, line


def test_keyring_and_session_are_its_own(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        assert container.sh("awk '{print $6}' /proc/1/stat") != '0'


@pytest.mark.ours
@pytest.mark.not_by_engine('crun', 'on cgroup v1 it uses more hierarchies than we, which an exec does not join')
def test_a_pod_can_not_see_the_hosts_cgroups(daemon, busybox):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        for line in container.sh('cat /proc/self/cgroup').split('\n'):
            assert line.split(':', 2)[2] == '/', line


@pytest.mark.ours
def test_fork_bomb_meets_its_limit(own_daemon, busybox):
    """Processes of one container are counted, when the configuration says so, or at least ended."""
    with own_daemon.pod() as pod:
        container = pod.sh(busybox, 'i=0; while [ $i -lt 200 ]; do sleep 100 & i=$((i+1)); done; wait')
        time.sleep(1)
        began = time.monotonic()
        container.stop()
        assert time.monotonic() - began < 30 * SLOW
        eventually(lambda: container.status().state == EXITED)
