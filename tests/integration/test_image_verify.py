"""image verify: damage on disk of every kind is found, told and, when nothing uses it, repaired."""

import glob
import os
import subprocess
import time

import pytest

import images as recipes
from conftest import Daemon, make_daemon
from fake_registry import Fake
from helpers import overlay_alone
from oci import Layer, digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


@pytest.fixture
def image(own_daemon, images):
    """(daemon, reference, image): two layers of its own above busybox."""
    made = recipes.busybox(Layer('gzip').dir('v').file('v/one', 'one').file('v/two', 'two' * 50000).symlink('v/link', 'one')
                           .file('v/attr', 'x', xattrs={'user.note': 'value'}),
                           Layer('gzip').dir('v').file('v/three', 'three').file('v/.wh.one'))
    ref = images.push(made, 'verify')
    own_daemon.pull(ref)
    return own_daemon, ref, made


def verify(daemon, *args):
    done = daemon.runtime.cli('image', 'verify', *args, check=False)
    assert done.stderr == '', done.stderr
    return done.returncode, done.stdout


def on_disk(daemon, name):
    """In the topmost layer that has it: but for overlay's they have what is below, too."""
    layers = os.path.join(daemon.runtime.root, 'layers')
    number = max(int(os.path.relpath(path, layers).split('/')[0]) for path in glob.glob(os.path.join(layers, '[0-9]*', name)))
    return os.path.join(layers, str(number), name)


def sound(daemon, ref):
    status, said = verify(daemon, '-v', ref)
    assert status == 0 and 'DAMAGED' not in said, said
    return said


def test_sound(image):
    daemon, ref, made = image
    said = sound(daemon, ref)
    assert said.count('layer ') == 3 and said.count('blob ') == 3 and said.count('config ') == 1, said
    assert '8 checked, 0 damaged, 0 repaired, 0 could not be checked' in said
    assert verify(daemon)[0] == 0
    assert made.id()[:19] in said


def damage_content(path):
    before = os.stat(path)
    with open(path, 'r+b') as f:
        f.seek(1)
        f.write(b'X')
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGE = [
    ('v/two', damage_content, '/v/two: content'),
    ('v/two', lambda p: os.truncate(p, 10), '/v/two: size'),
    ('v/two', lambda p: os.chmod(p, 0o666), '/v/two: mode'),
    ('v/two', lambda p: os.chown(p, 5, 0), '/v/two: owner'),
    ('v/two', os.unlink, '/v/two: it is missing'),
    ('v/two', lambda p: os.utime(p, (1, 1)), '/v/two: time'),
    ('v/two', lambda p: os.link(p, p + '2'), '/v/two: number of hard links'),
    ('v/link', lambda p: (os.unlink(p), os.symlink('two', p)), '/v/link: '),
    ('v/attr', lambda p: os.setxattr(p, 'user.note', b'other'), '/v/attr: extended attributes'),
    ('v/attr', lambda p: os.setxattr(p, 'user.more', b'more'), '/v/attr: extended attributes'),
    ('v/three', lambda p: open(os.path.join(os.path.dirname(p), 'four'), 'x').close(), 'files that do not belong'),
]


@pytest.mark.parametrize('name,damage,words', DAMAGE, ids=[words for _, _, words in DAMAGE])
def test_damaged_layer(image, name, damage, words):
    daemon, ref, _ = image
    damage(on_disk(daemon, name))
    for _ in range(2):  # looking changes nothing
        status, said = verify(daemon, ref)
        assert status == 1 and 'DAMAGED  layer' in said and words in said, said
    status, said = verify(daemon, '--repair', ref)
    assert status == 0 and 'repaired layer' in said and '1 repaired' in said, said
    assert os.listdir(os.path.join(daemon.runtime.root, 'layers', 'unsynced')) == []  # a crash of the machine would cost it
    sound(daemon, ref)
    with daemon.pod() as pod:
        assert pod.run(ref, ['sleep', '100']).output('cat', '/v/three') == 'three'


def test_a_name_that_a_terminal_would_obey(own_daemon, images):
    """Names of files are the image's, and are told where they are damaged."""
    ref = images.push(recipes.busybox(Layer('gzip').file('v\x1b[31m\x9b1m', 'one')), 'verify-names')
    own_daemon.pull(ref)
    os.chmod(on_disk(own_daemon, 'v\x1b[31m\x9b1m'), 0o666)
    said = verify(own_daemon, ref)[1]
    assert '/v?[31m?1m: mode' in said and '\x1b' not in said and '\x9b' not in said, said


@overlay_alone('containers of the others have copies')
def test_layer_in_use(image):
    """What a container has mounted is not taken from under it."""
    daemon, ref, _ = image
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        os.chmod(on_disk(daemon, 'v/two'), 0o666)
        status, said = verify(daemon, '--repair', ref)
        assert status == 1 and 'containers use it' in said, said
        assert container.output('stat', '-c', '%a', '/v/two').strip() == '666'
    assert 'repaired layer' in verify(daemon, '--repair', ref)[1]
    sound(daemon, ref)


def test_layer_gone(image):
    daemon, ref, _ = image
    os.rename(on_disk(daemon, 'v/two').rsplit('/v/', 1)[0], os.path.join(daemon.runtime.directory, 'taken'))
    assert 'folder is missing' in verify(daemon, ref)[1]
    assert 'repaired layer' in verify(daemon, '--repair', ref)[1]
    sound(daemon, ref)


@pytest.mark.parametrize('kind', ['blob', 'config'])
def test_damaged_blob(image, kind):
    daemon, ref, made = image
    name = digest(made.layers[1].blob()) if kind == 'blob' else made.id()
    path = os.path.join(daemon.runtime.root, 'blobs', 'sha256', name[7:])
    with open(path, 'rb') as f:
        right = f.read()
    damage_content(path)
    status, said = verify(daemon, '--repair', ref)
    assert status == 0 and f'repaired {kind}' in said and name in said, said
    with open(path, 'rb') as f:
        assert f.read() == right
    sound(daemon, ref)


def test_damaged_blob_of_nowhere_else(image):
    """What reads as damaged may be whole on the next try, and there is no other."""
    daemon, ref, made = image
    new = ref.replace(':1', ':made')
    daemon.runtime.cli('image', 'edit', '-q', ref, '-t', new, '--label', 'a=b')
    path = os.path.join(daemon.runtime.root, 'blobs', 'sha256', digest(made.layers[1].blob())[7:])
    damage_content(path)
    with open(path, 'rb') as f:
        damaged = f.read()
    for args in ([], ['--repair']):
        status, said = verify(daemon, *args, new)
        assert status == 1 and 'DAMAGED  blob' in said, said
        with open(path, 'rb') as f:
            assert f.read() == damaged
    assert 'repaired blob' in verify(daemon, '--repair', ref)[1]
    sound(daemon, new)


def test_blobs_that_are_not_kept_are_fetched(image):
    """Each layer is compared with what the registry has; one that has not any more is not called sound."""
    daemon, ref, made = image
    for layer in made.layers:
        os.unlink(os.path.join(daemon.runtime.root, 'blobs', 'sha256', digest(layer.blob())[7:]))
    sound(daemon, ref)


def test_a_mirror_that_lies(top, pb, registry):
    """What it serves in a damaged blob's place is none: the registry has it."""
    home, mirror = Fake(), Fake()
    daemon = Daemon(make_daemon(top, 'verify-mirror', registry, cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-verify', bridge='lxcrivm',
                                registries=[{'host': home.address, 'mirrors': [mirror.address]}]), pb)
    try:
        made = recipes.marked('verify-mirror')
        ref = home.add(made)
        daemon.runtime.cli('image', 'pull', '-q', ref)
        name = digest(made.layers[0].blob())
        damage_content(os.path.join(daemon.runtime.root, 'blobs', 'sha256', name[7:]))
        mirror.blobs[name] = made.layers[0].blob()[:-1] + b'?'
        status, said = verify(daemon, '--repair', ref)
        assert status == 0 and 'repaired blob' in said, said
        assert any(name in path for _, path, _ in mirror.requests)
        sound(daemon, ref)
    finally:
        daemon.stop()
        home.stop()
        mirror.stop()


def test_no_such_image(own_daemon):
    done = own_daemon.runtime.cli('image', 'verify', 'no/such:image', check=False)
    assert done.returncode == 1 and 'no/such:image' in done.stderr


def test_killed_while_verifying(image):
    """What was unpacked for the comparison is gone after the next start."""
    daemon, ref, _ = image
    names = sorted(os.listdir(os.path.join(daemon.runtime.root, 'layers', 'by-chain')))
    for wait in (0.01, 0.03, 0.06):
        with subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'verify'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            time.sleep(wait)
            daemon.runtime.kill()
            client.wait()
        daemon.start()
        assert sorted(os.listdir(os.path.join(daemon.runtime.root, 'layers', 'by-chain'))) == names
    sound(daemon, ref)
