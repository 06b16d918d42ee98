"""The disk is full at any step of what brings images: RESOURCE_EXHAUSTED, nothing left, and it works once there is room."""

import gzip
import os
import subprocess

import pytest

import image_archives as archives
import images as recipes
import imagestore
from conftest import AS_PROXMOX
from helpers import overlay_alone
from oci import Layer, digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere,
              pytest.mark.skipif(AS_PROXMOX, reason='the container must not depend on the daemon'),
              overlay_alone("with the others a layer takes its whole image's room, on a disk that is more than a tmpfs")]

KIB = 1 << 10
# From nothing at all to all that is wanted, in steps: where the disk is full next.
FREE = [0, 40, 1400, 2100, 2600, 4200]


def image_of(name):
    return recipes.busybox(Layer('gzip').file(f'big-{name}', os.urandom(2 << 20)), Layer().file(f'small-{name}', name))


@pytest.fixture
def small(own_daemon):
    """small(free): how many KiB are free on the daemon's disk; None: enough."""
    root, runtime = own_daemon.runtime.root, own_daemon.runtime
    runtime.stop()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64M,mode=0711', 'small', root], check=True)
    own_daemon.start()
    own_daemon.connect()

    def make(free):
        st = os.statvfs(root)
        size = 64 << 20 if free is None else (st.f_blocks - st.f_bfree) * st.f_frsize + free * KIB
        subprocess.run(['mount', '-o', f'remount,size={max(size, 4096)}', root], check=True)
    yield make
    make(None)
    own_daemon.remove_all()
    runtime.stop()
    subprocess.run(['umount', '-l', root], check=True)
    own_daemon.start()


def test_at_each_step(own_daemon, images, small, tmp_path):
    daemon, root, known = own_daemon, own_daemon.runtime.root, {}
    busybox = images.ref('busybox')
    pulled = images.push(image_of('pulled'), 'pulled')
    loaded = image_of('loaded')
    (tmp_path / 'loaded').write_bytes(archives.tar(archives.oci([loaded], [archives.entry(loaded, 'loads.example/it:1')])))
    daemon.pull(busybox)
    pod = daemon.pod()
    container = pod.run(busybox, ['sleep', '100000'])
    container.output('sh', '-c', 'head -c 1500000 /dev/urandom >/written')
    actions = {
        'pull': ['pull', '-q', pulled],
        'load': ['load', '-q', '-i', str(tmp_path / 'loaded')],
        'commit': ['commit', '-q', container.id, 'localhost/committed:1'],
        'edit': ['edit', '-q', busybox, '-t', 'localhost/edited:1', '--label', 'a=b'],
        'verify': ['verify', busybox],
        'tag': ['tag', busybox, 'localhost/tagged:1'],
        'prune': ['prune', '--all', '--force'],
    }
    before = imagestore.walk(root, known)['image']
    for name, args in actions.items():
        failed = 0
        for free in FREE:
            small(free)
            done = daemon.runtime.cli('image', *args, check=False)
            small(None)
            if done.returncode == 0:
                break
            failed += 1
            # The command line's words for RESOURCE_EXHAUSTED.
            assert ('No space left' in done.stdout if name == 'verify' else 'something is full' in done.stderr), (name, free, done)
            assert set(imagestore.walk(root, known)['image']) == set(before), (name, free)
        assert done.returncode == 0, (name, done)
        assert failed > 0 or name in ('prune', 'verify', 'tag', 'edit'), name
        made = set(imagestore.walk(root, known)['image']) - set(before)
        assert len(made) == (name in ('pull', 'load', 'commit', 'edit')), name
        if made:
            daemon.runtime.cli('image', 'verify', *made)
            daemon.runtime.cli('image', 'rm', '-f', *made)
        if name == 'tag':
            daemon.runtime.cli('image', 'untag', 'localhost/tagged:1')
        assert set(imagestore.walk(root, known)['image']) == set(before), name
    # A start on a full disk, too, says what is wrong or works; and with room it works.
    assert daemon.runtime.cli('image', 'verify').returncode == 0


def test_whatever_is_made_here_makes_room(own_daemon, images, small, tmp_path):
    """The disk is full under the blob, or under what is unpacked of it: a blob that can be fetched again goes, as in a pull."""
    daemon, size, cli = own_daemon, 6 << 20, own_daemon.runtime.cli
    kept = Layer().file('kept', os.urandom(20 << 20))
    spare = images.push(recipes.busybox(kept), 'spare')
    blob = f'{daemon.runtime.root}/blobs/sha256/{digest(kept.blob())[7:]}'
    loaded = recipes.busybox(Layer().file('loaded', os.urandom(size)))
    (tmp_path / 'loaded').write_bytes(archives.tar(archives.oci([loaded], [archives.entry(loaded, 'loads.example/it:1')])))
    (tmp_path / 'loaded.gz').write_bytes(gzip.compress((tmp_path / 'loaded').read_bytes(), 1))
    (tmp_path / 'rootfs').mkdir()
    (tmp_path / 'rootfs/file').write_bytes(os.urandom(size))
    busybox = images.ref('busybox')
    daemon.pull(busybox)
    container = daemon.pod().run(busybox, ['sleep', '100000'])
    container.output('sh', '-c', f'head -c {size} /dev/urandom >/written')
    half, whole = size // 2 // KIB, size // KIB
    for args, frees in ((['load', '-q', '-i', str(tmp_path / 'loaded')], (half, whole + half)),
                        (['load', '-q', '-i', str(tmp_path / 'loaded.gz')], (half, whole + half, 2 * whole + half)),
                        (['from-rootfs', '-q', str(tmp_path / 'rootfs'), 'localhost/files:1'], (half, whole + half)),
                        (['commit', '-q', container.id, 'localhost/committed:1'], (half, whole + half)),
                        (['edit', '-q', busybox, '-t', 'localhost/edited:1', '--label', 'a=b'], (0,))):
        for free in frees:
            daemon.pull(spare)
            before = {image.id for image in daemon.cri.ListImages().images}
            assert os.path.exists(blob)
            small(free)
            done = cli('image', *args, check=False)
            small(None)
            assert done.returncode == 0, (args, free, done)
            [made] = {image.id for image in daemon.cri.ListImages().images} - before
            assert not os.path.exists(blob), (args, free)
            cli('image', 'verify', made)
            cli('image', 'rm', made, spare)
