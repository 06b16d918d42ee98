"""Pods with a user namespace of their own: ids, owners of files, mounts, exec, crashes, what is refused."""

import contextlib
import os
import socket
import stat
import subprocess

import pytest

from cri import CONTAINER, NODE, POD, SLOW, eventually
from helpers import CODE, refused
from test_crash import crash, keeper_pid, reconnect

pytestmark = pytest.mark.ours
FIRST, LENGTH = 200000, 65536


def mapping(pb, first=FIRST, length=LENGTH, inside=0):
    return pb.IDMapping(container_id=inside, host_id=first, length=length)


def user_ns(pb, first=FIRST, length=LENGTH):
    one = [mapping(pb, first, length)]
    return pb.UserNamespace(mode=POD, uids=one, gids=one)


def userns_pod(daemon, first=FIRST, length=LENGTH, *, pid=CONTAINER, **config):
    pb = daemon.pb
    options = pb.NamespaceOption(network=POD, pid=pid, ipc=POD,
                                 userns_options=user_ns(pb, first, length))
    security = {'namespace_options': options, **config.pop('security', {})}
    return PodInUserns(daemon, options, security=security, **config)


class PodInUserns:
    """Pod of cri.py makes its options itself; this one gives it ours."""

    def __new__(cls, daemon, options, **config):
        from cri import Pod  # pylint: disable=import-outside-toplevel

        class Mine(Pod):
            def __init__(self):
                pb = self.pb = daemon.pb
                Pod.count += 1
                self.cri = daemon.cri
                name = f'userns{Pod.count}-{os.getpid()}'
                security = config.pop('security')
                linux = config.pop('linux', {})
                self.config = pb.PodSandboxConfig(
                    metadata=pb.PodSandboxMetadata(name=name, namespace='tests', uid=f'uid-{name}'),
                    hostname='pod', linux=pb.LinuxPodSandboxConfig(
                        security_context=pb.LinuxSandboxSecurityContext(**security), **linux),
                    **config)
                self.options = options
                self.id = self.cri.RunPodSandbox(config=self.config).pod_sandbox_id
        return Mine()


def test_ids(daemon, busybox, clean):
    with userns_pod(daemon) as pod:
        c = pod.run(busybox, ['sleep', '1000'])
        assert c.sh('cat /proc/self/uid_map').split() == ['0', str(FIRST), str(LENGTH)]
        assert c.sh('cat /proc/self/gid_map').split() == ['0', str(FIRST), str(LENGTH)]
        assert c.sh('cat /proc/1/uid_map').split() == ['0', str(FIRST), str(LENGTH)]
        assert c.sh('id -u; id -g') == '0\n0'
        assert c.sh('hostname') == 'pod'
