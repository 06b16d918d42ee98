"""kill -9 of each of our programs at any point: nothing that lives is lost, nothing stays behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from cri import EXITED, NOTREADY, RUNNING, SLOW, eventually, is_monitor, processes_in_cgroup
from leftovers import processes
from helpers import CODE, cgroup_folder, refused

pytestmark = pytest.mark.ours


def keeper_pid(daemon):
    """0: it has none at the moment."""
    return int(daemon.cri.Status(verbose=True).info.get('keeper_pid') or 0)


def kill_keeper(daemon):
    """And wait for the next one."""
    old = keeper_pid(daemon)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: keeper_pid(daemon) not in (0, old))


def parent(pid):
    with open(f'/proc/{pid}/stat', encoding='utf-8') as f:
        return int(f.read().rsplit(')', 1)[1].split()[1])


def monitor_pid(container):
    """The monitor is the parent of the container's first process."""
    return parent(container.pid())


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def crash(daemon):
    """kill -9 of the daemon, and a new one; its client."""
    daemon.runtime.kill()
    daemon.start()


COUNT = 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done'


def numbers(container):
    return [int(text) for _, tag, text in container.log_lines() if tag == 'F']


def gapless(found):
    return found == list(range(1, len(found) + 1))


def complete(found):
    """No number is missing; what was written in the moment of a kill may be there twice."""
    return sorted(set(found)) == list(range(1, max(found) + 1)) and len(found) < max(found) + 20


def reconnect(daemon, *things):
    for thing in things:
        thing.cri = daemon.cri


def test_daemon_killed(own_daemon, busybox):
    daemon = own_daemon
    before = daemon.snapshot()
    pod = daemon.logged_pod(host_network=False)
    counter = pod.sh(busybox, COUNT)
    ends = pod.sh(busybox, 'sleep 0.5; echo bye; exit 3')
    created = pod.create(busybox, ['sleep', '100'])
    pid, address = counter.pid(), pod.status().network.ip
    daemon.runtime.kill()
    time.sleep(1)
    assert alive(pid)
    daemon.start()
    reconnect(daemon, pod, counter, ends, created)
    assert pod.status().network.ip == address
    assert counter.status().state == RUNNING and counter.pid() == pid
    status = ends.status()
    assert (status.state, status.exit_code, status.reason) == (EXITED, 3, 'Error')
    assert status.finished_at > status.started_at > 0
    assert ends.log_text() == 'bye\n'
    assert counter.output('echo', 'exec') == 'exec'
    created.start()
    assert created.status().state == RUNNING
    counter.stop()
    assert gapless(numbers(counter)) and len(numbers(counter)) > 20
    pod.remove()
    left = new_things(before, daemon)
    assert not left, left


def allowed(thing, daemon):
    """What a network and a restart may leave: the bridge with its rules, the new processes."""
    kind, name = thing.split(' ', 1)
    if kind in ('iptables', 'file') and ('CNI' in name or '/ipam' in name):
        return True
    if kind == 'interface':
        return name.startswith('lxcri')
    if kind == 'process':
        return daemon.directory in name and 'proxmox-lxcri' in name
    return kind == 'mount' and name.split(' ')[-1] not in current_namespaces(daemon)


def new_things(before, daemon):
    """Not the mounts of a new keeper, which has a namespace for them."""
    keeper = os.readlink(f'/proc/{keeper_pid(daemon)}/ns/mnt')
    is_new = not any(mount.endswith(keeper) for mount in before.parts['mount'])
    return [x for x in before.new_in(daemon.snapshot())
            if not allowed(x, daemon) and not (is_new and x.startswith('mount') and x.endswith(keeper))]


def current_namespaces(_):
    found = set()
    for pid in processes():
        try:
            found.add(os.readlink(f'/proc/{pid}/ns/mnt'))
        except OSError:
            pass
    return found


def test_keeper_killed(own_daemon, busybox):
    daemon = own_daemon
    pod = daemon.logged_pod()
    counter = pod.sh(busybox, COUNT)
    short = pod.sh(busybox, 'sleep 1; echo end; exit 4')
    pid = counter.pid()
    kill_keeper(daemon)
    assert alive(pid)
    status = short.wait()
    assert (status.exit_code, status.reason) == (4, 'Error')
    assert short.log_text() == 'end\n'
    assert counter.output('echo', 'exec') == 'exec'
    time.sleep(0.5)
    counter.stop()
    assert counter.status().exit_code == 137
    assert complete(numbers(counter)) and len(numbers(counter)) > 20
    pod.run(busybox, ['true']).wait()
    pod.remove()


def test_keeper_and_daemon_killed(own_daemon, busybox):
    daemon = own_daemon
    pod = daemon.logged_pod()
    counter = pod.sh(busybox, COUNT)
    ends = pod.sh(busybox, 'sleep 0.5; echo out; exit 6')
    keeper = keeper_pid(daemon)
    daemon.runtime.kill()
    os.kill(keeper, signal.SIGKILL)
    time.sleep(1.5)
    daemon.start()
    reconnect(daemon, pod, counter, ends)
    assert counter.status().state == RUNNING
    assert ends.wait().exit_code == 6
    assert ends.log_text() == 'out\n'
    counter.stop()
    assert complete(numbers(counter)) and len(numbers(counter)) > 20
    pod.remove()


def test_keeper_killed_while_containers_start(own_daemon, busybox):
    """Each start is made good with the next keeper."""
    daemon = own_daemon
    pod = daemon.logged_pod()
    for pause in range(12):
        container = pod.create(busybox, ['echo', 'started'])
        keeper = keeper_pid(daemon)
        killer = threading.Timer(pause / 2000, os.kill, (keeper, signal.SIGKILL))
        killer.start()
        container.start()
        killer.join()
        assert container.wait().exit_code == 0
        # Written, and the keeper killed before it was out of the pipe: the next one writes it again (decision 0003).
        assert container.log_text() in ('started\n', 2 * 'started\n')
        eventually(lambda old=keeper: keeper_pid(daemon) not in (0, old))
    pod.remove()


@pytest.mark.parametrize('user', [0, 1000])
def test_monitor_killed(own_daemon, busybox, pb, user):
    """Also for a program that is not root, which gets no death signal from its parent."""
    daemon = own_daemon
    pod = daemon.pod()
    container = pod.sh(busybox, 'trap "" TERM HUP; sleep 1000 & sleep 1000',
                       security={'run_as_user': pb.Int64Value(value=user)})
    eventually(lambda: len(processes_in_cgroup(container.id)) >= 2)
    os.kill(monitor_pid(container), signal.SIGKILL)
    status = container.wait()
    assert status.exit_code != 0 and status.reason not in ('Completed', '')
    assert status.finished_at > 0
    eventually(lambda: not processes_in_cgroup(container.id))
    with pytest.raises(Exception) as error:
        container.exec('true')
    assert error.value.code() == CODE.FAILED_PRECONDITION
    container.remove()
    pod.remove()


def in_cgroups_of(container):
    return [pid for pid in processes_in_cgroup(container.id) if is_monitor(pid)]


@pytest.mark.parametrize('killed', [False, True])
def test_monitor_leaves_the_cgroup_of_its_container(own_daemon, busybox, killed):
    """Where its memory would be the container's, and its life at stake when that has too little."""
    daemon = own_daemon
    pod = daemon.pod()
    for _ in range(5):
        container = pod.create(busybox, ['sleep', '1000'])
        if killed:
            kill_keeper(daemon)
        eventually(lambda c=container: not in_cgroups_of(c))
        container.start()
        assert container.output('echo', 'exec') == 'exec'
        assert alive(monitor_pid(container))
    pod.remove()


@pytest.mark.skipif(not os.path.exists('/sys/fs/cgroup/cgroup.controllers'),
                    reason='the unified map is for cgroup v2; tests/vm/integration has it')
def test_single_process(daemon, busybox):
    """Nothing of ours counts."""
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '1000'], resources={'unified': {'pids.max': '1'}})
        assert container.status().state == RUNNING


def test_init_killed(own_daemon, busybox):
    daemon = own_daemon
    before = daemon.snapshot()
    pod = daemon.pod()
    container = pod.sh(busybox, 'sleep 1000 & sleep 1000')
    os.kill(container.pid(), signal.SIGKILL)
    status = container.wait()
    assert (status.exit_code, status.reason) == (137, 'Error')
    eventually(lambda: not processes_in_cgroup(container.id))
    pod.remove()
    left = new_things(before, daemon)
    assert not left, left


def test_monitor_killed_while_the_daemon_is_away(own_daemon, busybox):
    daemon = own_daemon
    pod = daemon.pod()
    container = pod.run(busybox, ['sleep', '1000'])
    monitor = monitor_pid(container)
    daemon.runtime.kill()
    os.kill(monitor, signal.SIGKILL)
    time.sleep(0.2)
    daemon.start()
    reconnect(daemon, pod, container)
    status = container.wait()
    assert status.exit_code != 0 and status.reason not in ('Completed', '')
    eventually(lambda: not processes_in_cgroup(container.id))
    pod.remove()


def test_daemon_killed_in_the_middle_of_anything(own_daemon, busybox, images):
    """At random moments of pod starts, stops and pulls; in the end all can be removed."""
    daemon = own_daemon
    before = daemon.snapshot()
    crashes = int(os.environ.get('LXCRI_CRASHES', '6'))
    for number in range(crashes):
        begun = []
        for n in range(4):
            config = daemon.pb.PodSandboxConfig(metadata=daemon.pb.PodSandboxMetadata(
                name=f'crash{number}-{n}', namespace='n', uid=f'u{number}-{n}'))
            begun.append(daemon.cri.future('RunPodSandbox', config=config))
        begun.append(daemon.cri.future('PullImage',
                                       image=daemon.pb.ImageSpec(image=images.ref('configured'))))
        time.sleep(random.uniform(0, 0.15))
        daemon.runtime.kill()
        for future in begun:
            future.exception()
        daemon.start()
        for sandbox in daemon.cri.ListPodSandbox().items:
            status = daemon.cri.PodSandboxStatus(pod_sandbox_id=sandbox.id).status
            assert status.metadata.name
        if number % 2:
            stops = [daemon.cri.future('StopPodSandbox', pod_sandbox_id=s.id)
                     for s in daemon.cri.ListPodSandbox().items]
            time.sleep(random.uniform(0, 0.1))
            daemon.runtime.kill()
            for future in stops:
                future.exception()
            daemon.start()
    with daemon.pod(host_network=False) as pod:
        assert pod.run(busybox, ['sleep', '100']).output('echo', 'fine') == 'fine'
    daemon.remove_all()
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=images.ref('configured')))
    # Pods that failed are removed one after the other, each with the network's plug-ins.
    deadline = time.monotonic() + (20 + crashes) * SLOW
    while (things := new_things(before, daemon)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not things, things


PLUGIN = """#!/bin/sh
# A plug-in that takes its time to give out an address, and whose first DELs fail.
cat >/dev/null
case $CNI_COMMAND in
ADD)
	: >adding
	sleep 1
	echo "$CNI_CONTAINERID" >address
	[ ! -e add-fails ] || exit 1
	echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "x"}],'
	echo '"ips": [{"address": "10.9.9.9/24", "interface": 0}]}'
	;;
DEL)
	echo x >>dels
	[ "$(wc -l <dels)" -gt 3 ] || { echo '{"code": 11, "msg": "not now"}'; exit 1; }
	rm -f address
	;;
esac
"""


@pytest.fixture
def slow_network(own_daemon):
    """A daemon whose only plug-in is that one; the folder that the plug-in works in."""
    runtime = own_daemon.runtime
    folder = os.path.join(own_daemon.directory, 'slow')
    os.mkdir(folder)
    for name, text in [('slow', PLUGIN.replace('# A', f'cd {folder} || exit 9\n# A'))]:
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(f.name, 0o755)
    with open(os.path.join(runtime.cni_conf, '10-test.conflist'), 'w', encoding='utf-8') as f:
        json.dump({'cniVersion': '1.0.0', 'name': 'slow', 'plugins': [{'type': 'slow'}]}, f)
    runtime.stop()
    runtime.args += ['--cni-bin-dir', folder]
    own_daemon.start()
    return folder


def freed(daemon, folder):
    dels = os.path.join(folder, 'dels')
    if not os.path.exists(dels):
        return False
    with open(dels, encoding='utf-8') as f:
        enough = len(f.readlines()) == 4
    return enough and not os.path.exists(os.path.join(folder, 'address')) and \
        not os.listdir(os.path.join(daemon.runtime.state, 'ns'))


def test_daemon_killed_while_a_plugin_runs(own_daemon, slow_network):
    """The next one waits for the plug-in, and asks for its DEL until that works."""
    daemon = own_daemon
    config = daemon.pb.PodSandboxConfig(metadata=daemon.pb.PodSandboxMetadata(name='a', namespace='n', uid='u'))
    begun = daemon.cri.future('RunPodSandbox', config=config)
    eventually(lambda: os.path.exists(os.path.join(slow_network, 'adding')))
    daemon.runtime.kill()
    begun.exception()
    daemon.start()
    assert not daemon.cri.ListPodSandbox().items
    eventually(lambda: freed(daemon, slow_network))


def test_a_pod_that_cannot_be_undone_is_tried_again(own_daemon, slow_network):
    daemon = own_daemon
    with open(os.path.join(slow_network, 'add-fails'), 'w', encoding='utf-8'):
        pass
    with refused(CODE.INTERNAL, words=['slow', 'not now']):
        daemon.pod(host_network=False)
    assert os.path.exists(os.path.join(slow_network, 'address'))
    eventually(lambda: freed(daemon, slow_network))


def test_store_survives(own_daemon, busybox):
    """Images and pods are the same after a kill, as often as one likes."""
    daemon = own_daemon
    with_labels = daemon.pod(labels={'k': 'v'}, annotations={'a': 'b'})
    container = with_labels.run(busybox, ['sleep', '1000'])
    images = daemon.cri.ListImages()
    for _ in range(3):
        crash(daemon)
        reconnect(daemon, with_labels, container)
        assert daemon.cri.ListImages() == images
        status = with_labels.status()
        assert dict(status.labels) == {'k': 'v'} and dict(status.annotations) == {'a': 'b'}
        assert container.status().state == RUNNING
    with_labels.remove()


def power_off(daemon, *containers):
    """What a reboot leaves: the root folder. No process, mount, control group, or file of the state folder."""
    groups = [cgroup_folder(c.pid(), controller)[0] for c in containers for controller in ('memory', 'pids', 'devices')]
    victims = [keeper_pid(daemon), *(pid for c in containers for pid in [monitor_pid(c), *processes_in_cgroup(c.id)])]
    pauses = [processes_in_cgroup(pod.id) for pod in daemon.cri.ListPodSandbox().items]
    victims += [pid for pids in pauses for pid in pids]
    daemon.runtime.kill()
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    eventually(lambda: not any(alive(pid) for pid in victims))
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        mounts = [line.split()[4] for line in f]
    for path in reversed(mounts):
        if path.startswith(daemon.runtime.state + '/'):
            subprocess.run(['umount', '-l', path], check=True)
    shutil.rmtree(daemon.runtime.state)
    os.mkdir(daemon.runtime.state)
    for group in groups:
        if os.path.isdir(group):
            eventually(lambda path=group: not read_pids(path))
            os.rmdir(group)


def read_pids(group):
    with open(f'{group}/cgroup.procs', encoding='utf-8') as f:
        return f.read()


def test_after_a_reboot(own_daemon, busybox):
    """The kubelet finds its pods not ready and their containers ended, so that it makes them anew."""
    daemon = own_daemon
    pod, other = daemon.pod(pid=0, host_network=False, name='rebooted'), daemon.pod()
    address = pod.status().network.ip
    running, second, created = (pod.run(busybox, ['sleep', '1000']), other.run(busybox, ['sleep', '1000']),
                                pod.create(busybox, ['true']))
    running.sh('echo kept >/file')
    power_off(daemon, running, second, created)
    daemon.start()
    reconnect(daemon, pod, other, running, second, created)
    for each in (pod, other):
        assert each.status().state == NOTREADY and each.status().network.ip == ''
    assert {item.state for item in daemon.cri.ListPodSandbox().items} == {NOTREADY}
    for container in (running, second, created):
        status = container.status()
        assert (status.state, status.exit_code, status.reason) == (EXITED, 137, 'ContainerStatusUnknown')
    again = daemon.pod(host_network=False, name='rebooted', attempt=1)
    assert again.run(busybox, ['sleep', '1000']).output('echo', 'up') == 'up'
    for each in (pod, other, again):
        each.remove()
    leases = os.path.join(daemon.directory, 'ipam', 'test')
    assert address not in os.listdir(leases), 'an address was not given back'


def test_two_daemons_side_by_side(own_daemon, daemon, busybox):
    with own_daemon.pod(name='same') as one, daemon.pod(name='same') as two:
        assert one.run(busybox, ['sleep', '9']).output('echo', 'x') == 'x'
        assert two.run(busybox, ['sleep', '9']).output('echo', 'x') == 'x'
        assert len(own_daemon.cri.ListPodSandbox().items) == 1


def test_a_second_daemon_on_the_same_folders_is_refused(own_daemon):
    second = subprocess.run(own_daemon.runtime.command(), check=False, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=60)
    assert second.returncode != 0 and second.stdout.strip()
    assert own_daemon.cri.Version().version
