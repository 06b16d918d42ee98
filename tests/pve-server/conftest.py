"""Fixtures of the test server's own tests. tests/pve-server/run starts pytest in namespaces of their own."""

import os
import pathlib
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'lib')]
sys.dont_write_bytecode = True

import pytest  # noqa: E402

import templates  # noqa: E402
from client import Client, Control  # noqa: E402
from cts import SLOW, Ct  # noqa: E402
from leftovers import Snapshot  # noqa: E402
from oci import Layer  # noqa: E402
from server import Server  # noqa: E402


def pytest_configure():
    if 'LXCRI_TEST_TMP' not in os.environ:
        pytest.exit('run these by tests/pve-server/run', 2)


@pytest.fixture(scope='session')
def top():
    """The folder of this run."""
    return os.environ['LXCRI_TEST_TMP']


@pytest.fixture
def tmp_path(top, request):
    """pytest's, but in the folder of this run, and one that the root of a container may pass."""
    tests = pathlib.Path(top) / 'tests'
    tests.mkdir(exist_ok=True)
    path = tests / f'{len(os.listdir(tests))}-{request.node.name.split("[")[0]}'
    path.mkdir()
    return path


@pytest.fixture(scope='session')
def bridge():
    """The nodes' bridge vmbr0, with an address for the tests: 10.99.0.1/24."""
    for command in ('link add vmbr0 type bridge', 'addr add 10.99.0.1/24 dev vmbr0', 'link set vmbr0 up'):
        subprocess.run(['ip', *command.split()], check=True)
    return 'vmbr0'


@pytest.fixture
def clean(bridge):
    """Fails the test when anything of it stays: processes, mounts, cgroups, interfaces."""
    del bridge
    before = Snapshot('lxc', [])
    yield
    deadline = time.monotonic() + 30 * SLOW
    while True:
        left = [line for line in before.new_in(Snapshot('lxc', []))
                # Of the cgroups those of containers: with v2 the root is the host's, and other runs are in it.
                if not line.startswith('cgroup ') or (re.search(r'/lxc(\.monitor)?/', line) and 'lxcri' not in line)]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert not left, 'left behind: ' + '\n'.join(left)


@pytest.fixture(scope='module')
def server(top, bridge, request):
    """A cluster of pve1 and pve2, with the template local:vztmpl/oci-mini.tar; it makes no mistake of its own."""
    del bridge
    server = Server(os.path.join(top, request.module.__name__), [('pve1', '127.0.0.1', 0), ('pve2', '127.0.0.1', 0)],
                    pace=0.05)
    archive = templates.oci_archive(
        os.path.join(server.folder, 'oci-mini.tar'), templates.layer(os_release='ID=alpine\n'),
        Entrypoint=['/sbin/init'],
        Env=['PATH=/bin', 'FOO=bar baz'], WorkingDir='/tmp')
    for node in server.cluster.nodes.values():
        node.storages['local'].store('vztmpl', 'oci-mini.tar', archive)
    yield server
    mistakes = server.api.errors
    server.end()
    assert not mistakes, '\n'.join(mistakes)


@pytest.fixture(scope='module')
def client(server):
    """Calls pve1 by root@pam's token."""
    return Client(server.cluster.nodes['pve1'], server.token)


@pytest.fixture(scope='module')
def control(server):
    control = Control(server.control.path)
    yield control
    control.close()


@pytest.fixture(scope='session')
def ct_archives(top):
    os.makedirs(top + '/archives')
    return {'orderly': templates.template(top + '/archives/orderly.tar.zst'),
            'stubborn': templates.template(top + '/archives/stubborn.tar', templates.layer(templates.STUBBORN)),
            'not there': templates.template(top + '/archives/without.tar', Layer().dir('sbin'))}


@pytest.fixture
def make_ct(tmp_path, ct_archives, clean):
    """make_ct(vmid, template, ...): a Ct, which is stopped and destroyed afterwards."""
    del clean
    made = []

    def one(vmid=110, name='orderly', **more):
        made.append(Ct(str(tmp_path), vmid, ct_archives.get(name, name), **more))
        return made[-1]
    yield one
    for ct in made:
        if ct.container.pid():
            ct.container.stop()
        ct.container.destroy()
