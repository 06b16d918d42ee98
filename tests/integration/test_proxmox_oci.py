"""Proxmox containers as the OCI runtime's: `proxmox-lxcri --engine proxmox`.

`tests/integration/run --proxmox -k proxmox_oci`.
"""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from bundle import Refused, alive, until
from conftest import AS_PROXMOX
from proxmox import daemon_config
from runtime import REPO

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]
CONFIG = '/etc/proxmox-lxcri/config.yaml'
TAG = 'proxmox-lxcri-oci'


def templates(cluster):
    """What is on the storage for templates that we put there for a bundle."""
    found = cluster.client.get(f'/nodes/{cluster.node}/storage/local/content', content='vztmpl').data
    return [one['volid'] for one in found if 'proxmox-lxcri-oci' in one['volid']]


def guests(cluster):
    return {int(vmid): guest for vmid, guest in cluster.control.do('guests').items()
            if TAG in guest['config'].get('tags', '').split(';')}


@pytest.fixture(name='pve')
def fixture_pve(oci, cluster):
    """The runtime with Proxmox as its engine for what it makes; nothing of it may stay in Proxmox."""
    build = os.environ.get('LXCRI_BUILD') or os.path.join(REPO, 'build')
    with open(CONFIG, 'w', encoding='utf-8') as f:
        f.write(daemon_config(build).replace('default-runtime-handler: proxmox\n', ''))
    plain = oci.command
    oci.command = lambda *args, options=(): plain(*args, options=(*options, '--engine', 'proxmox'))
    oci.cluster = cluster
    oci.lxc = plain
    yield oci
    for container in oci.containers:
        if os.path.exists(os.path.join(oci.root, container.id)):
            oci.result('delete', '--force', container.id)
    os.unlink(CONFIG)
    assert not guests(cluster) and not templates(cluster)


def only(pve):
    """The one container that there is: number, and what Proxmox has of it."""
    found = guests(pve.cluster)
    assert len(found) == 1, found
    return next(iter(found.items()))


def test_life(pve):
    box = pve.container().sh('trap "echo got; exit 7" TERM; echo running as $(id -u) in $(hostname); while :; do sleep 0.05; done')
    pid = box.create()
    vmid, guest = only(pve)
    assert guest['running'] and guest['config']['hostname'] == 'box' and guest['config']['unprivileged'] == 1
    state = box.state()
    assert state['status'] == 'created' and state['pid'] == pid
    # It is the CT's: in its control group, a child of its first process, which Proxmox knows.
    first = pve.cluster.client.get(f'/nodes/{pve.cluster.node}/lxc/{vmid}/status/current').data['pid']
    assert int(box.status_field('PPid')) == int(first) and f'/lxc/{vmid}/ns' in box.proc('cgroup')
    assert box.output_text() == ''
    box.start()
    box.expect('running as 0 in box')
    assert box.status() == 'running' and box.state()['pid'] == pid
    box.kill('TERM')
    box.expect('got')
    until(lambda: box.status() == 'stopped')
    until(lambda: not only(pve)[1]['running'])
    assert box.state()['exitStatus'] == 7
    box.delete()
    assert not guests(pve.cluster) and not templates(pve.cluster) and not pve.knows(box.id)


@pytest.mark.parametrize('script, status', [('exit 0', 0), ('exit 42', 42), ('kill -9 $$', 137), ('kill -USR1 $$', 138)])
def test_run_ends_as_its_program(pve, script, status):
    done = pve.container().sh(f'echo out; echo err >&2; {script}').run(check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, 'out\n', 'err\n')
    assert not guests(pve.cluster)
