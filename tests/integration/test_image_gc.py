"""The daemon's own garbage collection, and prune by age and of blobs: what goes, in which order, and what stays."""

import datetime
import json
import os
import re
import subprocess
import time

import grpc
import pytest

import images as recipes
from cri import eventually
from helpers import CODE, SNAPSHOTTER
from oci import Layer, digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

MIB = 1 << 20
ROOM = 'image-gc-high-threshold: 70\nimage-gc-low-threshold: 50\nimage-minimum-gc-age: 0s\nimage-gc-period: 1s\n'
AGE = 'image-maximum-gc-age: 2s\nimage-minimum-gc-age: 0s\nimage-gc-period: 1s\npinned-images: ["*/pinned:*"]\n'


def with_config(text):
    return pytest.mark.parametrize('own_daemon', [{'config': text}], indirect=True)


def here(daemon):
    return {name for i in daemon.cri.ListImages().images for name in (list(i.repo_tags) or [i.id])}


def cli(daemon, *args):
    return json.loads(daemon.runtime.cli('--output', 'json', 'image', *args).stdout)


def df(daemon):
    said = cli(daemon, 'df')
    return {k['kind']: int(k['bytes']) for k in said['kinds']}, {k: int(v) for k, v in said['collected'].items()}


def blobs(daemon):
    folder = os.path.join(daemon.runtime.root, 'blobs', 'sha256')
    return {'sha256:' + name: os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)}


def agree(daemon):
    """What df says of blobs is what is on disk."""
    assert df(daemon)[0]['blobs'] == sum(blobs(daemon).values())


def random_image(images, name, size):
    """What can't be compressed; it takes twice its size: unpacked, and as it came."""
    layer = Layer().file(name, os.urandom(size))
    return images.push(recipes.busybox(layer), name), digest(layer.blob())


@pytest.fixture
def daemon(own_daemon):
    return own_daemon


@pytest.fixture
def small(daemon):
    """small(bytes): the daemon's root becomes a new file system of that size."""
    root = daemon.runtime.root
    if SNAPSHOTTER in ('btrfs', 'zfs'):
        pytest.skip(f'the small disk is a tmpfs, where {SNAPSHOTTER} can not be; with overlay this runs')

    def make(size):
        daemon.runtime.stop()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0711', 'small', root], check=True)
        daemon.start()
        daemon.connect()
    yield make
    daemon.runtime.stop()
    subprocess.run(['umount', '-l', root], check=True)
    daemon.start()


def test_prune_by_age(daemon, images):
    old, new = (images.push(recipes.marked(name), name) for name in ('old', 'new'))
    daemon.pull(old)
    time.sleep(2.1)  # the times are whole seconds
    moment = int(time.time()) - 1
    daemon.pull(new)
    zone = datetime.datetime.fromtimestamp(moment, datetime.timezone(datetime.timedelta(hours=5)))
    local = datetime.datetime.fromtimestamp(moment)
    for text in (str(moment), zone.isoformat(), local.isoformat(), local.astimezone(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')):
        said = cli(daemon, 'prune', '--all', '--dry-run', '--filter', f'until={text}')
        assert {i['names'][0] for i in said['images']} == {old, images.ref('busybox')}, text
    assert not cli(daemon, 'prune', '--all', '-f', '--filter', 'until=1h').get('images')
    cli(daemon, 'prune', '--all', '-f', '--filter', f'until={moment}')
    assert here(daemon) == {new}
    cli(daemon, 'prune', '--all', '-f', '--filter', 'until=0s', '--filter', 'label!=x')
    for bad in ('until=', 'until=soon', 'until=2026-13-01', 'until=1h '):
        done = daemon.runtime.cli('image', 'prune', '-f', '--filter', bad, check=False)
        assert done.returncode == 2 and 'until=' in done.stderr, done


def test_prune_blobs(daemon, images):
    ref, blob = random_image(images, 'pulled', MIB)
    base = digest(recipes.busybox_layer().blob())
    daemon.pull(ref)
    agree(daemon)
    would = cli(daemon, 'prune', '--blobs', '--dry-run')
    assert int(would['blobs']) == 2 and int(would['freed_bytes']) > MIB and {base, blob} <= set(blobs(daemon))
    # An image that is made of busybox needs busybox' layer for ever; the other one's goes.
    daemon.runtime.cli('image', 'edit', '-q', images.ref('busybox'), '-t', 'localhost/made:1', '--label', 'a=b')
    done = cli(daemon, 'prune', '--blobs', '-f')
    assert int(done['blobs']) == 1 and int(done['freed_bytes']) >= MIB
    assert base in blobs(daemon) and blob not in blobs(daemon)
    agree(daemon)
    assert not int(cli(daemon, 'prune', '--blobs', '-f')['blobs'])
    with daemon.pod() as pod:
        assert pod.run(ref, ['sha256sum', '/pulled']).wait(60).exit_code == 0
    # A check of the layer brings it back, counted; so does what is there at a start.
    assert daemon.runtime.cli('image', 'verify', ref).returncode == 0
    assert blob in blobs(daemon)
    agree(daemon)
    daemon.runtime.kill()
    os.unlink(os.path.join(daemon.runtime.root, 'blobs', 'sha256', blob[7:]))
    daemon.start()
    daemon.connect()
    agree(daemon)
    daemon.runtime.cli('image', 'rm', 'localhost/made:1')
    assert int(cli(daemon, 'prune', '--blobs', '-f')['blobs']) == 1 and base not in blobs(daemon)
    for word in (['--all'], ['--filter', 'until=1h']):
        assert daemon.runtime.cli('image', 'prune', '-f', '--blobs', *word, check=False).returncode == 2


@with_config(AGE)
def test_by_age(daemon, images):
    used, unused, pinned = (images.push(recipes.marked(name), name) for name in ('used', 'unused', 'pinned'))
    daemon.pull(used)
    with daemon.pod() as pod:
        container = pod.create(used, ['sleep', '100'])
        daemon.pull(unused, pinned)
        eventually(lambda: here(daemon) == {used, pinned})
        assert df(daemon)[1]['images'] == 2  # busybox, too
        container.remove()
        # It was used until now: it has its time, and only then goes.
        left = time.monotonic()
        eventually(lambda: here(daemon) == {pinned})
        assert time.monotonic() - left > 0.9
    assert re.search(r'image collected .*unused.*why=age', daemon.runtime.log_tail(200000))


@with_config(ROOM)
def test_by_room(daemon, images, small):
    small(64 * MIB)
    first, first_blob = random_image(images, 'first', 8 * MIB)
    second, second_blob = random_image(images, 'second', 8 * MIB)
    third, third_blob = random_image(images, 'third', 8 * MIB)
    daemon.pull(first)
    with daemon.pod() as pod:
        pod.create(first, ['true']).remove()  # used just now, and so younger than the second, which is pulled before
        daemon.pull(second)
        assert df(daemon)[1]['runs'] == 0
        time.sleep(1.1)
        pod.create(first, ['true']).remove()
        daemon.pull(third)  # 48 of 64 MiB: the blob of the second is the oldest, and that of the first the next
        eventually(lambda: df(daemon)[1]['blobs'] >= 2)
        assert second_blob not in blobs(daemon) and here(daemon) == {first, second, third}
        agree(daemon)
        # Now there is no blob left that would do: images go, the one that is used longest ago first.
        with open(os.path.join(daemon.runtime.root, 'others'), 'wb') as f:
            os.posix_fallocate(f.fileno(), 0, 24 * MIB)
        eventually(lambda: second not in here(daemon))
        assert not {first_blob, third_blob} & set(blobs(daemon))
        eventually(lambda: df(daemon)[1]['images'] >= 1)
    assert re.search(r"images' garbage collected .*wanted_bytes=", daemon.runtime.log_tail(200000))
    os.unlink(os.path.join(daemon.runtime.root, 'others'))


def test_full_in_a_pull(daemon, images, small):
    """Without thresholds: blobs make room for layers, images never do."""
    small(48 * MIB)
    first, first_blob = random_image(images, 'first', 14 * MIB)
    second, second_blob = random_image(images, 'second', 25 * MIB)
    third, _ = random_image(images, 'third', 25 * MIB)
    daemon.pull(first)
    daemon.pull(second)
    assert here(daemon) == {first, second}
    assert not {first_blob, second_blob} & set(blobs(daemon))
    agree(daemon)
    with pytest.raises(grpc.RpcError) as error:
        daemon.pull(third)
    assert error.value.code() == CODE.RESOURCE_EXHAUSTED
    assert here(daemon) == {first, second}
    assert daemon.runtime.cli('image', 'verify', first, check=False).returncode in (0, 1)
    daemon.runtime.cli('image', 'rm', second)
    daemon.pull(third)
    assert here(daemon) == {first, third}
