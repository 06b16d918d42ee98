"""kill -9 of the daemon at any moment of anything that changes images: the next start is consistent."""

import os
import random
import subprocess
import time

import pytest

import image_archives as archives
import images as recipes
import imagestore
from conftest import AS_PROXMOX
from cri import RUNNING
from helpers import SNAPSHOTTER
from oci import Layer

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere,
              pytest.mark.skipif(AS_PROXMOX, reason='the container must not depend on the daemon'),
              pytest.mark.skipif(SNAPSHOTTER == 'zfs', reason='the walk does not know datasets; with overlay, btrfs and plain this runs')]

ROUNDS = int(os.environ.get('LXCRI_IMAGE_CRASHES', '8'))  # 200 for a release
GC = 'image-gc-high-threshold: 1\nimage-gc-low-threshold: 0\nimage-minimum-gc-age: 0s\n'


def image_of(name, base):
    """Two layers of its own, of a hundred files and one big one, on a base that all have."""
    small = Layer('gzip')
    for n in range(100):
        small.file(f'{name}-{n}', f'{name}{n}')
    return recipes.busybox(base, small, Layer('gzip').file(f'big-{name}', os.urandom(3 << 20)))


def start(daemon, period):
    daemon.runtime.args = ['--image-gc-period', period]
    daemon.start()
    daemon.connect()


@pytest.mark.parametrize('own_daemon', [{'config': GC}], indirect=True)
def test_at_any_moment(own_daemon, images, tmp_path):
    daemon, dice, known, done = own_daemon, random.Random(int(os.environ.get('LXCRI_SEED', '11'))), {}, {}
    base = Layer('gzip').file('base', os.urandom(1 << 20))
    refs = [images.push(image_of(name, base), name) for name in ('k1', 'k2', 'k3')]
    for name in ('l1', 'l2'):
        (tmp_path / name).write_bytes(archives.tar(archives.oci(
            [image := image_of(name, base)], [archives.entry(image, f'loads.example/{name}:1')])))
    pod = daemon.pod()
    container = pod.run(images.ref('busybox'), ['sleep', '100000'])
    container.output('sh', '-c', 'head -c 2000000 /dev/urandom >/written; for i in $(seq 100); do echo $i >/n$i; done')
    actions = {
        'pull': lambda: ['pull', '-q', dice.choice(refs)],
        'load': lambda: ['load', '-q', '-i', str(tmp_path / dice.choice(['l1', 'l2']))],
        'commit': lambda: ['commit', '-q', container.id, 'localhost/committed:1'],
        'edit': lambda: ['edit', '-q', images.ref('busybox'), '-t', 'localhost/edited:1', '--label', f'a={dice.random()}'],
        'prune': lambda: ['prune', '--all', '--force'],
        'blobs': lambda: ['prune', '--blobs', '--force'],
        'verify': lambda: ['verify', '--repair'],
    }
    weights = [4, 4, 2, 2, 2, 1, 1]
    for turn in range(ROUNDS):
        chosen = dice.choices(list(actions), weights, k=dice.randint(1, 4))
        if collects := dice.random() < 0.2:  # by the timer, after a second
            daemon.runtime.kill()
            start(daemon, '1s')
            collected = time.monotonic() + 0.95
        running = [(name, subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', *actions[name]()],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) for name in chosen]
        time.sleep(dice.random() ** 2 * 0.6 + (max(0, collected - time.monotonic()) if collects else 0))
        finished = {name for name, process in running if process.poll() is not None}
        daemon.runtime.kill()
        for name, process in running:
            process.wait(60)
            if name not in finished:
                done[name] = done.get(name, 0) + 1
        start(daemon, '1h')
        try:
            imagestore.walk(daemon.runtime.root, known)
        except AssertionError as error:
            raise AssertionError(f'round {turn}, {chosen}, {finished}') from error
        assert daemon.cri.ContainerStatus(container_id=container.id).status.state == RUNNING
    print('killed in the middle of', done)
    # And all goes on: everything comes, is whole, and goes.
    daemon.pull(*refs)
    for name in ('l1', 'l2'):
        daemon.runtime.cli('image', 'load', '-q', '-i', tmp_path / name)
    daemon.runtime.cli('image', 'commit', '-q', container.id, 'localhost/committed:1')
    assert daemon.runtime.cli('image', 'verify').returncode == 0
    daemon.remove_all()
    daemon.runtime.cli('image', 'prune', '--all', '--force')
    daemon.runtime.stop()
    rec = imagestore.records(daemon.runtime.root)
    assert not any(rec.values()), rec
    assert not imagestore.layers(daemon.runtime.root)
    assert all(name.endswith('.part') for name in os.listdir(f'{daemon.runtime.root}/blobs/sha256'))
    if ROUNDS >= 100:
        assert len(done) == len(actions), done
