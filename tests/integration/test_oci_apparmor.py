"""AppArmor profiles of bundles and of exec. Only on hosts that have AppArmor (tests/vm/oci)."""

import os
import subprocess

import pytest

from bundle import Refused, until
from test_oci_exec import detached, failed, process_file

pytestmark = pytest.mark.apparmor

OWN, OTHER = 'lxcri-oci-test', 'lxcri-oci-other'
TEXT = """
profile %s flags=(attach_disconnected,mediate_deleted) {
  file,
  network,
  capability,
  signal,
  ptrace,
  umount,
  mount,
  deny %s rw,
}
"""
SHOW = 'cat /proc/self/attr/current'
# What it may read of two files, and its label.
TRIES = f'for f in secret other; do cat /$f 2>&1; done; {SHOW}'


@pytest.fixture(scope='module', autouse=True)
def profiles():
    """Two profiles of the host's, each of which refuses one file."""
    text = TEXT % (OWN, '/secret') + TEXT % (OTHER, '/other')
    subprocess.run(['apparmor_parser', '-r', '-K'], input=text, text=True, check=True)
    yield
    subprocess.run(['apparmor_parser', '-R'], input=text, text=True, check=True)


def label_of(pid):
    with open(f'/proc/{pid}/attr/current', encoding='utf-8') as f:
        return f.read().strip()


def enforced(name):
    return f'{name} (enforce)'


@pytest.fixture(name='box')
def box_fixture(oci):
    box = oci.container()
    box.file('secret', 'gold\n')
    box.file('other', 'silver\n')
    return box


def confined(box, profile=OWN):
    box.process['apparmorProfile'] = profile
    return box


def test_profile_is_enforced(box):
    assert box.says(TRIES).split('\n') == ['gold', 'silver', 'unconfined']
    text = confined(box).says(TRIES)
    assert 'Permission denied' in text and 'gold' not in text and 'silver' in text and text.endswith(enforced(OWN))


def test_label_seen_from_the_host(box):
    confined(box).up()
    until(lambda: label_of(box.pid) == enforced(OWN), 5, lambda: label_of(box.pid))


def test_kernel_names_the_profile_of_a_denied_access(box):
    """What an administrator looks for: a line of the kernel's log with the profile and the path."""
    name = f'denied-{os.getpid()}'
    box.file(name, 'x')
    text = (TEXT % ('lxcri-oci-audit', f'/{name}')).replace('deny ', 'audit deny ')
    subprocess.run(['apparmor_parser', '-r', '-K'], input=text, text=True, check=True)
    try:
        confined(box, 'lxcri-oci-audit').says(f'cat /{name}; true')
        said = [line for line in subprocess.run(['dmesg'], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
                if f'name="/{name}"' in line]
        assert said and 'apparmor="DENIED"' in said[0] and 'profile="lxcri-oci-audit"' in said[0], said
    finally:
        subprocess.run(['apparmor_parser', '-R'], input=text, text=True, check=True)


@pytest.mark.parametrize('privileged', [False, True])
def test_with_and_without_no_new_privileges(box, privileged):
    """It comes before noNewPrivileges, which would forbid the change of label."""
    box.process['noNewPrivileges'] = not privileged
    assert confined(box).says(TRIES).endswith(enforced(OWN))


def test_in_a_user_namespace(box):
    box.user_namespace()
    text = confined(box).says(TRIES)
    assert 'Permission denied' in text and text.endswith(enforced(OWN))


def test_as_another_user(box):
    box.process['user'] = {'uid': 1000, 'gid': 1000}
    assert confined(box).says(TRIES).endswith(enforced(OWN))


def test_unconfined(box):
    assert confined(box, 'unconfined').says(SHOW) == 'unconfined'


def test_unknown_profile(box):
    """The container is not started without it."""
    box.args('sh', '-c', 'echo ran')
    error = ''
    try:
        confined(box, 'lxcri-no-such').up()
    except Refused as refused:
        error = refused.text
    assert 'lxcri-no-such' in error and 'apparmor' in error.lower(), error
    assert 'ran' not in box.output_text()


@pytest.mark.not_by('runc', 'takes the profile of the container alone')
@pytest.mark.not_by('crun', 'takes the profile of the container alone')
def test_of_exec(box):
    confined(box).up()
    assert box.exec('sh', '-c', TRIES).endswith(enforced(OWN) + '\n')
    text = box.exec('sh', '-c', TRIES, options=('--apparmor', OTHER))
    assert 'gold' in text and 'silver' not in text and text.endswith(enforced(OTHER) + '\n')
    path = process_file(box, args=['sh', '-c', TRIES], apparmorProfile=OTHER)
    assert box.exec(options=('--process', path)).endswith(enforced(OTHER) + '\n')
    assert box.exec('sh', '-c', SHOW, options=('--apparmor', 'unconfined')) == 'unconfined\n'


def test_of_a_detached_exec(box):
    confined(box).up()
    pid = detached(box, 'sleep', '1000')
    until(lambda: label_of(pid) == enforced(OWN), 5, lambda: label_of(pid))


def test_of_exec_that_is_unknown(box):
    confined(box).up()
    said = failed(box, 'true', options=('--apparmor', 'lxcri-no-such'))
    assert 'lxcri-no-such' in said and 'apparmor' in said


def test_a_container_can_not_choose_its_own(box):
    """Confined, it leaves for no other profile, not even with all that root has in it."""
    box.caps('CAP_MAC_ADMIN', 'CAP_SYS_ADMIN')
    box.process['noNewPrivileges'] = False
    text = confined(box).says(
        f'echo "changeprofile {OTHER}" >/proc/self/attr/current; echo "exec unconfined" >/proc/self/attr/exec; {SHOW}')
    assert text.endswith(enforced(OWN)), text


def test_signals_reach_who_is_confined(box):
    confined(box).args('probe', 'signals').up()
    box.expect('ready')
    box.kill('TERM')
    assert box.wait() == 7


def test_hooks_run_as_we_do(box):
    """A hook is the host's program: the profile is the container's."""
    path = os.path.join(box.bundle, 'labels')
    for kind in ('createRuntime', 'createContainer', 'poststart'):
        box.hook(kind, f'{SHOW} >>{path}')
    confined(box).up()
    with open(path, encoding='utf-8') as f:
        assert f.read().split() == ['unconfined'] * 3
