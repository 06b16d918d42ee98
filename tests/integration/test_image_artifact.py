"""image artifact push and pull: files in registries, as ORAS and podman artifact keep them."""

import json
import os
import subprocess

import pytest

import images as recipes
import oci
from conftest import Daemon, make_daemon
from fake_registry import Fake

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

EMPTY = {'mediaType': 'application/vnd.oci.empty.v1+json', 'digest': oci.digest(b'{}'), 'size': 2, 'data': 'e30='}
SBOM = 'application/spdx+json'
TITLE = 'org.opencontainers.image.title'


def tree(folder):
    return {os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names}


@pytest.fixture
def work(tmp_path):
    """A folder with files, where the command line is."""
    (tmp_path / 'in/sub').mkdir(parents=True)
    (tmp_path / 'in/a.json').write_text('{"a": 1}\n', encoding='ascii')
    (tmp_path / 'in/sub/big').write_bytes(os.urandom(3 << 20))
    (tmp_path / 'in/empty').touch()
    (tmp_path / 'out').mkdir()
    return tmp_path


@pytest.fixture
def artifact(daemon, work):
    """artifact('push', ...), in the folder of files."""
    def call(*args, check=True):
        return daemon.runtime.cli('image', 'artifact', args[0], '-q', *args[1:], check=check, cwd=work / 'in')
    return call


def raw(reference):
    return subprocess.run(['skopeo', 'inspect', '--raw', '--tls-verify=false', 'docker://' + reference],
                          capture_output=True, check=True).stdout


def test_there_and_back(artifact, images, work):
    """What others read of it, and what comes back."""
    ref = images.ref('files', 'one')
    push = ['push', '--artifact-type', SBOM, '-a', 'k=v=w', '--annotation', 'empty=', ref, './a.json:application/json',
            'sub//big', 'empty']
    digest = artifact(*push).stdout.strip()
    assert artifact(*push).stdout.strip() == digest
    data = raw(ref)
    manifest = json.loads(data)
    assert oci.digest(data) == digest and manifest['schemaVersion'] == 2 and manifest['mediaType'] == oci.MANIFEST
    assert manifest['artifactType'] == SBOM and manifest['config'] == EMPTY and 'subject' not in manifest
    assert manifest['annotations'] == {'k': 'v=w', 'empty': ''}
    contents = {name: (work / 'in' / name).read_bytes() for name in ('a.json', 'sub/big', 'empty')}
    assert [(d['annotations'], d['mediaType'], d['digest'], d['size']) for d in manifest['layers']] == [
        ({TITLE: name}, 'application/json' if name == 'a.json' else 'application/octet-stream', oci.digest(content), len(content))
        for name, content in contents.items()]
    subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', '--src-tls-verify=false', 'docker://' + ref,
                    f'dir:{work}/skopeo'], check=True)
    assert (work / 'skopeo' / oci.digest(contents['sub/big'])[7:]).read_bytes() == contents['sub/big']

    told = json.loads(artifact('pull', '-o', work / 'out', '--output', 'json', ref).stdout)
    assert told['digest'] == digest and [f['title'] for f in told['files']] == list(contents)
    assert tree(work / 'out') == set(contents)
    assert all((work / 'out' / name).read_bytes() == content for name, content in contents.items())


def test_what_is_there_stays(artifact, images, work):
    ref = images.ref('files', 'stays')
    artifact('push', ref, 'a.json', 'sub/big')
    (work / 'out/a.json').write_text('mine', encoding='ascii')
    done = artifact('pull', '-o', work / 'out', ref, check=False)
    assert done.returncode == 1 and 'a.json' in done.stderr and '--force' in done.stderr
    assert tree(work / 'out') == {'a.json'} and (work / 'out/a.json').read_text(encoding='ascii') == 'mine'
    artifact('pull', '--force', '-o', work / 'out', ref)
    assert tree(work / 'out') == {'a.json', 'sub/big'}
    assert (work / 'out/a.json').read_bytes() == (work / 'in/a.json').read_bytes()
    # A folder is never replaced, and a symlink itself, not what it leads to.
    os.unlink(work / 'out/a.json')
    os.symlink(work / 'target', work / 'out/a.json')
    artifact('pull', '-f', '-o', work / 'out', ref)
    assert not os.path.lexists(work / 'target') and not os.path.islink(work / 'out/a.json')
    os.unlink(work / 'out/a.json')
    (work / 'out/a.json').mkdir()
    assert 'folder' in artifact('pull', '-f', '-o', work / 'out', ref, check=False).stderr


def test_subject(artifact, daemon, images, work):
    """By the tag of referrers, which this registry needs."""
    image = recipes.marked('subject')
    ref = images.push(image, 'subject')
    repository = ref.rsplit(':', 1)[0]
    first = artifact('push', '--artifact-type', SBOM, '--subject', ref, '-a', 'n=1', repository, 'a.json').stdout.strip()
    second = artifact('push', '--artifact-type', 'a/b', '--subject', image.digest(), repository + ':second').stdout.strip()
    listed = json.loads(daemon.runtime.cli('image', 'referrers', '-o', 'json', ref).stdout)
    assert [(r['digest'], r['artifact_type'], r['annotations']) for r in listed] == [(first, SBOM, {'n': '1'}), (second, 'a/b', {})]
    manifest = json.loads(raw(f'{repository}@{first}'))
    assert manifest['subject'] == oci.descriptor(oci.MANIFEST, image.manifest)
    assert json.loads(raw(repository + ':second'))['layers'] == [EMPTY]
    tags = daemon.runtime.cli('image', 'tags', repository).stdout.split()
    assert 'second' in tags and 'latest' not in tags, tags
    artifact('pull', '-o', work / 'out', f'{repository}@{first}')
    assert tree(work / 'out') == {'a.json'}
    artifact('pull', '-o', work / 'out', repository + ':second')
    for subject, word in ((images.ref('busybox'), 'another repository'), (repository + ':absent', 'absent'),
                          ('sha256:' + '0' * 64, 'subject'), ('X', 'X')):
        done = artifact('push', '--subject', subject, repository + ':no', check=False)
        assert done.returncode == 1 and word in done.stderr, done
    assert 'no' not in daemon.runtime.cli('image', 'tags', repository).stdout.split()


@pytest.mark.parametrize('args, word', [
    (['absent'], 'absent'), (['sub'], 'pack'), (['/dev/null'], 'plain file'), (['a.json', '../in/a.json'], 'two files'),
    (['a.json:nonsense'], 'media type'), (['--artifact-type', 'x', 'a.json'], 'media type'), (['-a', 'novalue', 'a.json'], 'KEY=VALUE'),
    (['-a', '=x', 'a.json'], 'KEY=VALUE')], ids=lambda x: '' if isinstance(x, list) else x.replace(' ', '-'))
def test_bad_pushes(artifact, images, args, word):
    done = artifact('push', images.ref('bad', 'x'), *args, check=False)
    assert done.returncode in (1, 2) and word in done.stderr, done
    assert subprocess.run(['skopeo', 'inspect', '--raw', '--tls-verify=false', 'docker://' + images.ref('bad', 'x')],
                          capture_output=True, check=False).returncode != 0


@pytest.fixture
def fake():
    server = Fake()
    yield server
    server.stop()


def serve(fake, *layers, **more):
    """An artifact with such layers: (title, content) or whole descriptors."""
    found = []
    for layer in layers:
        if isinstance(layer, tuple):
            title, content = layer
            fake.blobs[oci.digest(content)] = content
            layer = oci.descriptor('a/b', content, **({'annotations': {TITLE: title}} if title is not None else {}))
        found.append(layer)
    data = oci.canonical({'schemaVersion': 2, 'mediaType': oci.MANIFEST, 'artifactType': SBOM, 'config': EMPTY, 'layers': found, **more})
    fake.manifests['x'] = oci.MANIFEST, data
    return f'{fake.address}/fake:x'


@pytest.mark.parametrize('title', ['../up', '/abs', 'a/../../up', '.', '..', '', 'a//b', 'a/', 'x' * 300, 'a\x1b[2J', 'a/' * 40 + 'b', 5], ids=range(12))
def test_titles_that_lead_away(artifact, fake, work, title):
    done = artifact('pull', '-f', '-o', work / 'out', serve(fake, ('good', b'1'), (title, b'2')), check=False)
    if title == 5:  # no title: it is called by its digest
        assert tree(work / 'out') == {'good', 'sha256-' + oci.digest(b'2')[7:]}
        return
    assert done.returncode == 1 and 'name' in done.stderr and '\x1b' not in done.stderr, done
    assert not tree(work / 'out') and not os.path.exists(work / 'up')


def test_a_mirror_that_lies(top, pb, registry, fake, work):
    """What it serves is thrown away, and the registry asked."""
    mirror = Fake()
    daemon = Daemon(make_daemon(top, 'artifact-mirror', registry, cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-artifact', bridge='lxcriam',
                                registries=[{'host': fake.address, 'mirrors': [mirror.address]}]), pb)
    try:
        for lie in (b'worb', b'wo', b'word and more'):
            ref = serve(fake, ('file', b'word'))
            mirror.manifests, mirror.blobs = fake.manifests, {oci.digest(b'word'): lie}
            mirror.requests.clear()
            daemon.runtime.cli('image', 'artifact', 'pull', '-q', '-f', '-o', work / 'out', ref)
            assert (work / 'out/file').read_bytes() == b'word', lie
            assert any('/blobs/' in path for _, path, _ in mirror.requests), lie
    finally:
        daemon.stop()
        mirror.stop()


def test_symlinks_on_the_way(artifact, fake, work):
    os.symlink(work, work / 'out/link')
    for title in ('link/up', 'link'):
        done = artifact('pull', '-o', work / 'out', serve(fake, (title, b'2')), check=False)
        assert done.returncode == 1 and 'link' in done.stderr, done
    assert os.listdir(work / 'out') == ['link'] and not os.path.exists(work / 'up')
    artifact('pull', '-o', work / 'out', serve(fake, (None, b'1')))
    assert tree(work / 'out') == {'sha256-' + oci.digest(b'1')[7:]}


def test_bad_artifacts(artifact, fake, work):
    """A clear word each, and nothing is there."""
    good = ('good', b'good')
    wrong = oci.descriptor('a/b', b'other', annotations={TITLE: 'wrong'})
    bad = {
        'fetch': lambda: serve(fake, good, wrong),
        'larger': lambda: serve(fake, good, {**wrong, 'digest': oci.digest(b'good'), 'size': 1}),
        'what came is': lambda: fake.blobs.update({oci.digest(b'other'): b'0ther'}) or serve(fake, good, wrong),
        'two files': lambda: serve(fake, good, ('good', b'again')),
        'digest': lambda: serve(fake, good, {**wrong, 'digest': 'sha256:../../x'}),
        'index': lambda: fake.manifests.update(x=(oci.INDEX, oci.index([]))) or f'{fake.address}/fake:x',
        'HTTP 404': lambda: f'{fake.address}/fake:absent',
        'good': lambda: serve(fake, good, ('good/below', b'1')),
    }
    for word, make in bad.items():
        done = artifact('pull', '-o', work / 'out', make(), check=False)
        assert done.returncode == 1 and word in done.stderr, (word, done)
        if word != 'good':
            assert not tree(work / 'out'), word
