"""What specs need that a host may lack, and where they run instead.

A spec may be skipped only for one of these, and only on a host that really lacks it;
`tests/critest/run --require NAME` insists that the host has it and that its specs pass.
"""

import dataclasses
import os
import re
import subprocess

SELINUX = 'SELinux runtime should support selinux '
SELINUX_OF_A_POD = (
    'should create containers with the same process label',
    'should error on create with wrong options',
    'should work with just selinux level set',
    'should work with selinux set',
    'mount label should have category',
    'mount label should have correct role and type',
    'process label should have category',
    'process label should have correct role and type')
SELINUX_SPECS = (
    *(f'{SELINUX}when single pod sandbox is {kind} {name}'
      for kind in ('not privileged', 'privileged') for name in SELINUX_OF_A_POD),
    SELINUX + 'when multiple pod sandboxes are not privileged '
    'should create containers with different process labels')


@dataclasses.dataclass
class Host:
    """A host with a runtime on it, as far as features are concerned."""
    folder: str     # where the runtime keeps its files
    handlers: list  # of Status: [{'features': {...}}]

    def handlers_have(self, feature):
        return any(h.get('features', {}).get(feature) for h in self.handlers)


def kernel():
    return tuple(int(n) for n in re.findall(r'\d+', os.uname().release)[:2])


def has_apparmor(_):
    try:
        with open('/sys/module/apparmor/parameters/enabled', encoding='utf-8') as f:
            return f.read(1) == 'Y'
    except OSError:
        return False


def has_selinux(_):
    return os.path.exists('/sys/fs/selinux/enforce')


def has_idmapped_mounts(host):
    kind = subprocess.run(['stat', '-f', '-c', '%T', host.folder], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    return kernel() >= ((6, 3) if kind == 'tmpfs' else (5, 19))


@dataclasses.dataclass(frozen=True)
class Feature:
    name: str
    specs: str        # a regular expression that finds the specs that need it
    says: str         # how the suite's reason for skipping them begins
    present: object   # Host -> bool
    where: str        # the command that runs them
    unlisted: tuple = ()  # specs that the suite does not even list without it


FEATURES = (
    Feature('AppArmor', '^AppArmor ', 'AppArmor is disabled on this host', has_apparmor, 'tests/vm/critest'),
    Feature('SELinux', '^SELinux ', '', has_selinux, 'tests/vm/selinux', SELINUX_SPECS),
    Feature('user namespaces', '^Security Context UserNamespaces ',
            'no runtime handler found which supports user namespaces',
            lambda host: kernel() >= (6, 3) or host.handlers_have('user_namespaces'), 'tests/vm/critest'),
    Feature('idmapped mounts', '^Security Context UserNamespaces when Host idmap mount support is needed',
            'ID mapping is not supported', has_idmapped_mounts, 'tests/vm/critest'),
    Feature('recursive read-only mounts', 'recursive readonly mount',
            'runtime does not implement recursive readonly mounts',
            lambda host: kernel() >= (5, 12), 'a kernel from 5.12 on'),
    Feature('NRI', '^NRI ', 'NRI socket not configured', lambda _: False,
            'nothing yet: NRI is no part of CRI, and this runtime has none'),
)


def find(name):
    return next(f for f in FEATURES if f.name == name)


def excuse(spec, reason):
    """The feature for whose sake the suite may have skipped the spec, or None."""
    return next((f for f in FEATURES if f.says and re.search(f.specs, spec) and reason.startswith(f.says)), None)
