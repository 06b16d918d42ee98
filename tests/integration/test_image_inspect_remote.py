"""image inspect --remote: what a registry has, in agreement with Skopeo."""

import json
import os
import subprocess

import pytest

import images as recipes
import oci
from fake_registry import Fake

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

HOST = {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine]


def skopeo(ref, *flags):
    return subprocess.run(['skopeo', 'inspect', '--tls-verify=false', *flags, 'docker://' + ref], capture_output=True, check=True).stdout


@pytest.fixture
def inspect(daemon):
    def call(*args, check=True):
        return daemon.runtime.cli('image', 'inspect', '--remote', *args, check=check)
    return call


@pytest.fixture(params=['image', 'docker', 'index'])
def ref(request, images):
    """Of each kind one."""
    name = f'remote-{request.param}'
    config = {'Labels': {'a': 'b', 'ü': '"'}, 'Env': ['A=1', 'B='], 'Cmd': ['x']}
    image = oci.Image([oci.Layer().file('f', name), oci.Layer('zstd' if request.param == 'image' else 'gzip').file('g', 'g')], config,
                      arch=HOST, docker=request.param == 'docker')
    images.push(image, name, 'more')
    if request.param == 'index':
        other = oci.Image([oci.Layer().file('f', 'other')], {}, arch='s390x')
        images.push(other, name, 'other')
        images.pusher.manifest(name, '1', oci.index([('s390x', other), (HOST, image)]), oci.INDEX)
    else:
        images.push(image, name, '1')
    return images.ref(name)


def test_as_skopeo(daemon, inspect, ref):
    theirs, ours = json.loads(skopeo(ref)), json.loads(inspect(ref).stdout)
    assert {key: ours.get(key) for key in theirs if key != 'RepoTags'} == {k: v for k, v in theirs.items() if k != 'RepoTags'}
    assert sorted(ours['RepoTags']) == sorted(theirs['RepoTags']) and ours['Labels']['a'] == 'b'
    assert ours == json.loads(inspect('docker://' + ref).stdout)
    raw = skopeo(ref, '--raw')
    assert inspect('--raw', ref).stdout.encode() == raw and ours['Digest'] == oci.digest(raw)
    assert inspect('--raw', '--config', ref).stdout.encode() == skopeo(ref, '--raw', '--config')
    assert json.loads(inspect('--config', ref).stdout) == json.loads(skopeo(ref, '--raw', '--config'))
    assert 'RepoTags' not in json.loads(inspect('-n', ref).stdout)
    assert ('Manifests' in ours) == ('index' in ref)
    if 'Manifests' in ours:
        assert [m['Platform']['architecture'] for m in ours['Manifests']] == ['s390x', HOST]
    assert 'remote-' not in daemon.runtime.cli('image', 'ls').stdout


def test_what_is_no_image(daemon, inspect, images, tmp_path):
    (tmp_path / 'f').write_text('f', encoding='ascii')
    ref = images.ref('remote', 'artifact')
    digest = daemon.runtime.cli('image', 'artifact', 'push', '-q', '--artifact-type', 'a/b', '-a', 'k=v', ref, 'f', cwd=tmp_path).stdout.strip()
    told = json.loads(inspect(ref).stdout)
    assert (told['Digest'], told['ArtifactType'], told['Annotations'], told['Layers']) == (digest, 'a/b', {'k': 'v'}, [oci.digest(b'f')])
    assert 'Architecture' not in told
    assert 'no config' in inspect('--config', ref, check=False).stderr
    # An index without a build for this machine.
    other = oci.Image([oci.Layer().file('f', 'other')], {}, arch='s390x')
    images.push(other, 'remote', 'other')
    images.pusher.manifest('remote', 'index', oci.index([('s390x', other)]), oci.INDEX)
    told = json.loads(inspect(images.ref('remote', 'index')).stdout)
    assert [m['Digest'] for m in told['Manifests']] == [other.digest()] and 'Layers' not in told


def test_errors(inspect, images):
    for args, word in (([images.ref('remote', 'absent')], '404'), (['UPPER'], 'UPPER'), ([images.ref('remote'), 'x'], 'one image')):
        done = inspect(*args, check=False)
        assert done.returncode != 0 and word in done.stderr and not done.stdout, done


def test_damage(inspect):
    fake = Fake()
    try:
        image = recipes.marked('remote')
        ref = fake.add(image)
        assert json.loads(inspect('-n', ref).stdout)['Digest'] == image.digest()
        fake.blobs[image.id()] = image.config.replace(b'linux', b'linuy')
        assert 'digest' in inspect(ref, check=False).stderr
        fake.manifests[image.digest()] = oci.MANIFEST, image.manifest.replace(b'sha256', b'sha255')
        assert inspect(f'{fake.address}/fake@{image.digest()}', check=False).returncode == 1
        fake.manifests['1'] = oci.MANIFEST, b'{"schemaVersion": 2, "layers": 5}'
        assert 'config' in inspect(ref, check=False).stderr
        fake.manifests['1'] = oci.MANIFEST, b'x' * (5 << 20)
        assert 'larger' in inspect(ref, check=False).stderr
    finally:
        fake.stop()
