"""RuntimeClass handlers from the configuration."""

import json
import os
import subprocess

import grpc
import pytest

from cri import NOTREADY, EXITED
from helpers import CODE, refused

pytestmark = pytest.mark.ours

NO_MKDIR = {'defaultAction': 'SCMP_ACT_ALLOW',
            'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 95}]}


def reconfigure(daemon, **keys):
    """The daemon, restarted with this configuration (JSON is YAML)."""
    daemon.runtime.kill()
    with open(daemon.runtime.config, 'w', encoding='utf-8') as f:
        json.dump(keys, f)
    daemon.start()


@pytest.fixture
def handlers(own_daemon):
    """A daemon with the handlers `plain`, `builder` (no devices of the host) and `strict` (a seccomp profile)."""
    profile = os.path.join(own_daemon.directory, 'strict.json')
    with open(profile, 'w', encoding='utf-8') as f:
        json.dump(NO_MKDIR, f)
    reconfigure(own_daemon, **{'runtime-handlers': {
        'plain': {'engine': 'lxc'},
        'builder': {'engine': 'lxc', 'privileged-without-host-devices': True},
        'strict': {'engine': 'lxc', 'seccomp-profile': profile}}})
    return own_daemon


def privileged(daemon, busybox, handler):
    pod = daemon.pod(handler=handler, security={'privileged': True})
    return pod, pod.run(busybox, ['sleep', '100'], security={'privileged': True})


def default_seccomp(daemon, pod, busybox):
    return pod.run(busybox, ['sleep', '100'], security={'seccomp': daemon.pb.SecurityProfile(profile_type=0)})


def test_handlers_are_offered_and_told(handlers):
    listed = handlers.cri.Status().runtime_handlers
    assert [h.name for h in listed] == ['', 'plain', 'builder', 'strict', 'lxc']
    assert len({h.features.SerializeToString() for h in listed}) == 1  # one engine: the same for all
    with handlers.pod(handler='builder') as pod, handlers.pod() as other:
        assert pod.status().runtime_handler == 'builder' and other.status().runtime_handler == ''
        handlers.runtime.kill()
        handlers.start()
        pod.cri = other.cri = handlers.cri
        asked = {item.id: item.runtime_handler for item in handlers.cri.ListPodSandbox().items}
        assert asked == {pod.id: 'builder', other.id: ''}
        assert pod.status().runtime_handler == 'builder' and other.status().runtime_handler == ''
        info = json.loads(other.status(verbose=True).info['info'])
        assert info['runtimeHandler'] == 'lxc'
    with refused(CODE.INVALID_ARGUMENT, words=['"fast"', 'plain, builder, strict, lxc']):
        handlers.pod(handler='fast')
    assert not handlers.cri.ListPodSandbox().items


def test_privileged_without_host_devices(handlers, busybox):
    """The container is privileged but for the devices: nodes and the device filter are those of any other."""
    pod, usual = privileged(handlers, busybox, 'plain')
    other, without = privileged(handlers, busybox, 'builder')
    with pod, other:
        devices = 'find /dev -type b -o -type c'
        kept = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx'}
        found = {os.path.basename(d) for d in without.sh(devices).split() if not d.startswith('/dev/pts/')}
        assert found - {'console'} <= kept, found
        assert '/dev/kmsg' in usual.sh(devices).split() or not os.path.exists('/dev/kmsg')
        assert without.sh('grep CapBnd /proc/self/status') == usual.sh('grep CapBnd /proc/self/status')
        # /dev/kmsg's number, made by hand: the filter of a privileged container lets it be opened, the other one's not.
        opened = 'mkdir -p /tmp; mknod /tmp/node c 1 11 && : </tmp/node'
        assert usual.exec('sh', '-c', opened).exit_code == 0
        assert 'Operation not permitted' in without.exec('sh', '-c', opened).stderr.decode()


def test_seccomp_profile_of_a_handler_is_its_runtime_default(handlers, busybox):
    def mkdir(container):
        return container.exec('mkdir', '/made').stderr.decode()
    with handlers.pod(handler='strict') as pod, handlers.pod(handler='plain') as other:
        strict = default_seccomp(handlers, pod, busybox)
        assert 'not supported' in mkdir(strict)
        unconfined = pod.run(busybox, ['sleep', '100'])
        assert mkdir(unconfined) == ''
        assert mkdir(default_seccomp(handlers, other, busybox)) == ''
        # Joining processes get it, too, from a daemon that was restarted.
        handlers.runtime.kill()
        handlers.start()
        pod.cri = other.cri = strict.cri = handlers.cri
        assert 'not supported' in mkdir(strict)


def test_a_pod_outlives_its_handler(handlers, busybox):
    """Kept what its handler said; then it is stopped and removed as any other."""
    pod, first = privileged(handlers, busybox, 'builder')
    reconfigure(handlers)
    assert [h.name for h in handlers.cri.Status().runtime_handlers] == ['', 'lxc']
    pod.cri = first.cri = handlers.cri
    assert pod.status().runtime_handler == 'builder'
    assert [item.runtime_handler for item in handlers.cri.ListPodSandbox().items] == ['builder']
    again = pod.run(busybox, ['sleep', '100'], security={'privileged': True})
    assert again.sh('ls /dev') == first.sh('ls /dev')
    with refused(CODE.INVALID_ARGUMENT, words=['"builder"', 'there are: lxc']):
        handlers.pod(handler='builder')
    pod.stop()
    assert pod.status().state == NOTREADY and again.status().state == EXITED
    pod.remove()
    with pytest.raises(grpc.RpcError):
        pod.status()


def test_default_handler(handlers, busybox):
    reconfigure(handlers, **{'default-runtime-handler': 'builder', 'runtime-handlers': {
        'builder': {'engine': 'lxc', 'privileged-without-host-devices': True}}})
    pod, container = privileged(handlers, busybox, '')
    with pod:
        assert pod.status().runtime_handler == ''
        assert '/dev/kmsg' not in container.sh('find /dev -type c').split()
    pod, container = privileged(handlers, busybox, 'lxc')
    with pod:
        assert '/dev/kmsg' in container.sh('find /dev -type c').split() or not os.path.exists('/dev/kmsg')


@pytest.mark.parametrize('keys,words', [
    ({'runtime-handlers': {'a': {'engine': 'crux'}}}, ['runtime-handlers.a.engine', "'crux'", 'lxc']),
    ({'runtime-handlers': {'a': {'engine': 'lxc', 'seccomp-profile': '/no/such.json'}}},
     ['runtime handler \\"a\\"', '/no/such.json', 'does not exist']),
    ({'default-runtime-handler': 'b'}, ["'b'", 'runtime-handlers'])])
def test_a_bad_handler_fails_the_start(own_daemon, keys, words):
    own_daemon.runtime.kill()
    with open(own_daemon.runtime.config, encoding='utf-8') as f:
        good = f.read()
    with open(own_daemon.runtime.config, 'w', encoding='utf-8') as f:
        json.dump(keys, f)
    done = subprocess.run(own_daemon.runtime.command(), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    for word in words:
        assert word in done.stderr, done.stderr
    with open(own_daemon.runtime.config, 'w', encoding='utf-8') as f:
        f.write(good)
