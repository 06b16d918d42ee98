"""image push: an image of this node to a registry, byte for byte as it came."""

import json
import os
import subprocess

import pytest

import images as recipes
import oci
from oci import Pusher
from registry import Registry
from terminal import Terminal

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

USER, PASSWORD = 'user', 'secret word:1'


@pytest.fixture(scope='module')
def other(top):
    with Registry(os.path.join(top, 'push')) as registry:
        yield registry


@pytest.fixture(scope='module')
def private(top):
    with Registry(os.path.join(top, 'push-private'), USER, PASSWORD) as registry:
        yield registry


@pytest.fixture
def image(daemon, images):
    """One that is here: (what it was made of, its name)."""
    made = recipes.marked('push')
    ref = images.push(made, 'push/from')
    daemon.pull(ref)
    yield made, ref
    daemon.runtime.cli('image', 'rm', '-f', made.id())


def raw(ref):
    return subprocess.run(['skopeo', 'inspect', '--tls-verify=false', '--raw', 'docker://' + ref], check=True,
                          stdout=subprocess.PIPE, timeout=60).stdout


def test_push_and_skopeo(daemon, image, other, tmp_path):
    made, ref = image
    to = f'{other.address}/team/push:1'
    cli = daemon.runtime.cli
    done = cli('image', 'push', '--digestfile', tmp_path / 'digest', ref, 'docker://' + to)
    assert done.stdout.strip() == made.digest() == (tmp_path / 'digest').read_text()
    assert 'done' in done.stderr or 'uploading' in done.stderr, done.stderr
    assert raw(to) == made.manifest
    subprocess.run(['skopeo', 'copy', '-q', '--src-tls-verify=false', 'docker://' + to, f'dir:{tmp_path}/dir'], check=True, timeout=60)
    assert (tmp_path / 'dir/manifest.json').read_bytes() == made.manifest
    for blob in made.blobs():
        assert (tmp_path / 'dir' / oci.digest(blob)[7:]).read_bytes() == blob
    # By its id; nothing is sent again.
    done = cli('image', 'push', '-o', 'json', made.id()[7:19], f'{other.address}/team/push:2')
    assert json.loads(done.stdout) == {'reference': f'{other.address}/team/push:2', 'digest': made.digest()}
    assert 'uploading' not in done.stderr and 'done' not in done.stderr, done.stderr
    assert cli('image', 'push', '-q', made.id(), f'{other.address}/team/push@{made.digest()}').stderr == ''
    # As what it was pulled by another, it is the same image.
    cli('image', 'rm', made.id())
    cli('image', 'pull', '-q', to)
    assert cli('image', 'inspect', to).returncode == 0
    assert made.digest() in cli('image', 'inspect', to).stdout


def test_within_a_registry(daemon, images, image, clean):
    made, ref = image
    done = daemon.runtime.cli('image', 'push', ref, f'{images.registry.address}/push/mounted:1')
    assert 'mounted' in done.stderr and 'uploading' not in done.stderr, done.stderr
    assert raw(f'{images.registry.address}/push/mounted:1') == made.manifest


def test_to_its_own_name(daemon, image, other, clean):
    made, ref = image
    name = f'{other.address}/push/own'
    daemon.runtime.cli('image', 'tag', ref, name + ':a', name + ':b', name + '-not:c')
    assert daemon.runtime.cli('image', 'push', '-q', name + ':a').stdout.strip() == made.digest()
    done = daemon.runtime.cli('image', 'push', '-q', '--all-tags', name)
    assert sorted(done.stdout.split('\n')) == ['', f'{name}:a {made.digest()}', f'{name}:b {made.digest()}']
    assert raw(name + ':b') == made.manifest
    done = daemon.runtime.cli('image', 'push', '--all-tags', name + '-absent', check=False)
    assert done.returncode == 1 and name + '-absent' in done.stderr


def test_credentials(daemon, image, private, tmp_path, monkeypatch):
    """For the registry, and for the one that an image came from."""
    for name in ('HOME', 'XDG_RUNTIME_DIR'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv('REGISTRY_AUTH_FILE', raising=False)
    made, ref = image
    cli, to = daemon.runtime.cli, private.address + '/x:1'
    done = cli('image', 'push', ref, to, check=False)
    assert done.returncode == 1 and private.address in done.stderr and '401' in done.stderr, done
    cli('image', 'push', '--creds', f'{USER}:{PASSWORD}', ref, to)
    cli('image', 'rm', made.id())
    cli('image', 'login', '-u', USER, '-p', PASSWORD, private.address)
    cli('image', 'pull', '-q', to)
    cli('image', 'push', to, ref.replace('push/from', 'push/back'))
    assert raw(ref.replace('push/from', 'push/back')) == made.manifest


def test_layers_are_kept(own_daemon, other, top):
    """Their registry is gone; what is not kept any more is named, and what is damaged is not sent."""
    made = oci.Image([oci.Layer('gzip').file('f', os.urandom(3 << 20)), oci.Layer().file('g', 'g')], {'Cmd': ['x']})
    cli = own_daemon.runtime.cli
    with Registry(os.path.join(top, 'push-gone')) as gone:
        Pusher(gone.address).push('gone', '1', made)
        ref = f'{gone.address}/gone:1'
        cli('image', 'pull', '-q', ref)
        blob = os.path.join(own_daemon.runtime.directory, 'root/blobs/sha256', oci.digest(made.layers[0].blob())[7:])
        with open(blob, 'r+b') as f:
            f.seek(1 << 20)
            f.write(b'damaged')
        cli('image', 'push', '-q', ref, f'{other.address}/push/damaged:1')  # which comes from there, then
        assert raw(f'{other.address}/push/damaged:1') == made.manifest and not os.path.exists(blob)
        cli('image', 'rm', ref)
        cli('image', 'pull', '-q', ref)
    assert cli('image', 'push', '-q', ref, f'{other.address}/push/kept:1').stdout.strip() == made.digest()
    assert raw(f'{other.address}/push/kept:1') == made.manifest
    os.unlink(blob)
    done = cli('image', 'push', '-q', ref, f'{other.address}/push/not-kept:1', check=False)
    assert done.returncode == 1 and oci.digest(made.layers[0].blob()) in done.stderr and gone.address in done.stderr, done


def test_progress_on_a_terminal(daemon, image, other):
    made, ref = image
    to = f'{other.address}/push/terminal:1'
    shown = Terminal([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'push', ref, to])
    shown.expect(made.digest())
    assert shown.wait() == 0


def test_errors(daemon, images, image, clean):
    made, ref = image
    for args, word in ((['absent.example/x'], 'absent.example/x'), ([ref, '127.0.0.1:1/x:1'], '127.0.0.1:1'), ([ref, 'UPPER'], 'lower case'),
                       ([made.id()], 'say where'), ([made.id()[7:19]], 'say where'), ([ref, f'{images.registry.address}/x@sha256:' + '0' * 64], made.digest())):
        done = daemon.runtime.cli('image', 'push', *args, check=False)
        assert done.returncode == 1 and word in done.stderr, done
    done = daemon.runtime.cli('image', 'push', '-a', ref, 'x.example/y', check=False)
    assert done.returncode == 2 and 'repository alone' in done.stderr, done


def test_a_kill_leaves_nothing(own_daemon, images, other):
    """The daemon's end in the middle of a push: no name there, and the next push succeeds."""
    made = oci.Image([oci.Layer().file('big', os.urandom(20 << 20))], {'Cmd': ['x']})
    ref = images.push(made, 'push/big')
    own_daemon.pull(ref)
    to = f'{other.address}/push/killed:1'
    push = subprocess.Popen([own_daemon.runtime.program(), '--socket', own_daemon.runtime.socket, 'image', 'push', '-q', ref, to],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    own_daemon.runtime.kill()
    assert push.wait(60) in (0, 1)
    push.communicate()
    own_daemon.start()
    assert own_daemon.runtime.cli('image', 'push', '-q', ref, to).stdout.strip() == made.digest()
    assert raw(to) == made.manifest
    assert Pusher(other.address).request('HEAD', f'/v2/push/killed/blobs/{oci.digest(made.layers[0].blob())}')[0].status == 200
