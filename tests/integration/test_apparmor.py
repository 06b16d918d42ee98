"""AppArmor profiles: the default one, those of the host, none. Only on hosts that have AppArmor (tests/vm/integration)."""

import subprocess

import pytest

from helpers import CODE, refused

pytestmark = [pytest.mark.ours, pytest.mark.apparmor]

DEFAULT = 'proxmox-lxcri-default (enforce)'
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = range(3)
SYS_ADMIN = {'add_capabilities': ['SYS_ADMIN']}
OWN = 'lxcri-test-profile'
OWN_TEXT = f"""
profile {OWN} flags=(attach_disconnected,mediate_deleted) {{
  file,
  network,
  capability,
  signal,
  ptrace,
  deny /tmp/secret rw,
}}
"""


@pytest.fixture(scope='module')
def own_profile():
    """A profile of the host's that refuses one file."""
    subprocess.run(['apparmor_parser', '-r', '-K'], input=OWN_TEXT, text=True, check=True)
    yield OWN
    subprocess.run(['apparmor_parser', '-R'], input=OWN_TEXT, text=True, check=True)


def profile_of(pid):
    with open(f'/proc/{pid}/attr/current', encoding='utf-8') as f:
        return f.read().strip()


def profiles_in(container):
    """Of its first process, seen from the host, and of an exec, by itself."""
    return profile_of(container.pid()), container.output('cat', '/proc/self/attr/current')


def asks(pb, kind, ref=''):
    return {'apparmor': pb.SecurityProfile(profile_type=kind, localhost_ref=ref)}


def may_mount(container):
    return container.exec('mount', '-t', 'tmpfs', 'x', '/tmp').exit_code == 0


@pytest.mark.not_in_ct('they have the profile of their container, see test_proxmox.py')
def test_default_profile_is_applied(daemon, busybox, pb):
    with daemon.pod() as pod:
        for security in ({}, asks(pb, RUNTIME_DEFAULT), {'apparmor_profile': 'runtime/default'}):
            assert profiles_in(pod.run(busybox, ['sleep', '100'], security=security)) == (DEFAULT, DEFAULT)


@pytest.mark.not_in_ct('they have the profile of their container, see test_proxmox.py')
def test_default_profile_is_enforced(daemon, busybox, pb):
    """It forbids mounting, also to who has the capability, and who runs without it may."""
    with daemon.pod() as pod:
        security = {'capabilities': pb.Capability(**SYS_ADMIN)}
        assert not may_mount(pod.run(busybox, ['sleep', '100'], security=security))
        security.update(asks(pb, UNCONFINED))
        assert may_mount(pod.run(busybox, ['sleep', '100'], security=security))


def test_unconfined_and_privileged(daemon, busybox, pb):
    with daemon.pod(security={'privileged': True}) as pod:
        for security in (asks(pb, UNCONFINED), {'apparmor_profile': 'unconfined'}, {'privileged': True}):
            assert profiles_in(pod.run(busybox, ['sleep', '100'], security=security)) == ('unconfined',) * 2


@pytest.mark.parametrize('old', [False, True])
def test_profile_of_the_host(daemon, busybox, pb, own_profile, old):
    security = {'apparmor_profile': 'localhost/' + own_profile} if old else asks(pb, LOCALHOST, own_profile)
    with daemon.pod() as pod:
        container = pod.sh(busybox, 'echo x >/tmp/secret; echo $? >/tmp/result; sleep 100', security=security)
        assert profiles_in(container) == (own_profile + ' (enforce)',) * 2
        assert container.sh('while [ ! -s /tmp/result ]; do sleep 0.1; done; cat /tmp/result') != '0'
        assert container.exec('touch', '/tmp/secret').exit_code != 0
        assert container.exec('touch', '/tmp/other').exit_code == 0


def test_missing_profile_is_an_error(daemon, busybox, pb):
    with daemon.pod() as pod:
        with refused(CODE.INVALID_ARGUMENT, words=['no-such-profile', 'not loaded']):
            pod.create(busybox, ['true'], security=asks(pb, LOCALHOST, 'no-such-profile'))


@pytest.mark.not_in_ct('they have the profile of their container, see test_proxmox.py')
def test_exec_is_confined_after_a_restart(own_daemon, busybox):
    with own_daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        own_daemon.runtime.kill()
        own_daemon.start()
        container.cri = own_daemon.cri
        assert profiles_in(container) == (DEFAULT, DEFAULT)
        pod.cri = own_daemon.cri
