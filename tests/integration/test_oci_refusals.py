"""What a bundle wants and can't have is refused at create, by the name of the property; nothing stays."""

import os

import pytest


def process(**keys):
    return lambda box: box.config['process'].update(keys)


def linux(**keys):
    return lambda box: box.linux.update(keys)


def resources(**keys):
    return lambda box: box.linux['resources'].update(keys)


def is_selinux():
    return os.path.exists('/sys/fs/selinux/enforce')


def is_apparmor():
    try:
        with open('/sys/module/apparmor/parameters/enabled') as f:
            return f.read().startswith('Y')
    except OSError:
        return False


def is_rdt():
    with open('/proc/mounts') as f:
        return ' resctrl ' in f.read()


WRONG = {
    'process.selinuxLabel': (process(selinuxLabel='u:r:t:s0'), is_selinux),
    'linux.mountLabel': (linux(mountLabel='u:r:t:s0'), is_selinux),
    'process.apparmorProfile': (process(apparmorProfile='no-such-profile'), is_apparmor),
    'linux.intelRdt': (linux(intelRdt={'closID': 'no-such-class'}), is_rdt),
    'process.rlimits[0].type': (process(rlimits=[{'type': 'RLIMIT_NOPE', 'soft': 1, 'hard': 1}]), None),
    'process.scheduler.policy': (process(scheduler={'policy': 'SCHED_NOPE'}), None),
    'process.ioPriority.priority': (process(ioPriority={'class': 'IOPRIO_CLASS_BE', 'priority': 8}), None),
    'linux.memoryPolicy.nodes': (linux(memoryPolicy={'mode': 'MPOL_BIND'}), None),
    'linux.personality.domain': (linux(personality={'domain': 'BSD'}), None),
    'linux.devices[0].major': (linux(devices=[{'type': 'c', 'path': '/dev/x', 'minor': 1}]), None),
    'linux.resources.memory.limit': (resources(memory={'limit': '1G'}), None),
    'linux.resources.unified': (resources(unified={'../x': '1'}), None),
    'linux.sysctl': (linux(sysctl={'vm.swappiness': '1'}), None),
    'ociVersion': (lambda box: box.config.update(ociVersion='2.0.0'), None),
}


@pytest.mark.parametrize('name', WRONG)
@pytest.mark.not_by('runc', 'it knows fewer of them, and does not name all')
@pytest.mark.not_by('crun', 'it knows fewer of them, and does not name all')
def test_refused_by_name(oci, name):
    change, has = WRONG[name]
    if has and has():
        pytest.skip('this host has it')
    box = oci.container()
    change(box)
    assert name in box.refused().text
    oci.expect_nothing()


@pytest.mark.not_by('runc', 'an error')
@pytest.mark.not_by('crun', 'an error')
def test_unconfined_without_apparmor(oci):
    if is_apparmor():
        pytest.skip('this host has AppArmor')
    box = oci.container()
    box.config['process']['apparmorProfile'] = 'unconfined'
    assert box.sh('echo well').run() == 'well\n'
