"""The daemon's own service beside the CRI: what the command line asks for."""

import json
import os

import pytest

import images as recipes
from cri import Cri
from helpers import CODE, refused

pytestmark = pytest.mark.ours


@pytest.fixture
def admin(daemon, admin_pb):
    client = Cri(daemon.runtime.endpoint, admin_pb)
    yield client
    client.close()


def test_info(daemon, admin):
    info = admin.Info()
    assert info.version and info.lxc_version
    assert info.pid == daemon.runtime.process.pid
    assert os.path.exists(f'/proc/{info.keeper_pid}')
    assert (info.root, info.state) == (daemon.runtime.root, daemon.runtime.state)
    assert info.cgroup_mode in ('v1', 'hybrid', 'v2')
    assert info.idmap == os.environ.get('LXCRI_TEST_IDMAP', 'mount') or info.snapshotter == 'zfs'  # before 2.2
    assert info.snapshotter == os.environ.get('LXCRI_TEST_SNAPSHOTTER', 'overlay')
    assert json.loads(info.config)['root'] == daemon.runtime.root


def test_log_level_changes_at_run_time(admin):
    before = admin.SetLogLevel(level='error').previous
    assert admin.SetLogLevel(level=before).previous == 'error'
    with refused(CODE.INVALID_ARGUMENT, words=['loud']):
        admin.SetLogLevel(level='loud')
    assert admin.Info().log_level == before


def test_pull_tells_how_far_it_is(daemon, admin, images, clean):
    image = recipes.marked('progress')
    ref = images.push(image)
    messages = list(admin.PullImage(reference=ref))
    assert messages[-1].image_id.endswith(image.id()[7:])
    layers = next(m.layers for m in reversed(messages) if m.layers)
    assert len(layers) == len(image.layers)
    assert all(layer.done_bytes == layer.total_bytes or layer.state == 3 for layer in layers)
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=ref))


def test_pull_of_what_is_not_there(admin, images):
    with refused(CODE.NOT_FOUND, words=['absent']):
        list(admin.PullImage(reference=images.ref('absent')))


def test_cancelled_pull(admin, images):
    call = admin.PullImage(reference=images.ref('busybox'))
    call.cancel()
    assert admin.Info().version
