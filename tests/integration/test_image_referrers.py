"""image referrers: by the API of registries, page by page, and by the tag where there is none."""

import json
from urllib.parse import parse_qs, quote, urlsplit

import pytest

import images as recipes
import oci
from fake_registry import Fake

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

SBOM, SIGNATURE = 'application/spdx+json', 'application/x.signature'


def entry(n, artifact_type=SBOM, **more):
    return oci.descriptor(oci.MANIFEST, b'%d' % n, artifactType=artifact_type, annotations={'n': str(n)}, **more)


def index(entries):
    return oci.canonical({'schemaVersion': 2, 'mediaType': oci.INDEX, 'manifests': entries})


def listed(daemon, ref, *flags):
    return json.loads(daemon.runtime.cli('image', 'referrers', '-o', 'json', *flags, ref).stdout)


@pytest.fixture
def fake():
    server = Fake()
    server.image = recipes.marked('referrers')
    server.ref = server.add(server.image)
    yield server
    server.stop()


def test_pages(daemon, fake):
    """The address of the next page is the registry's own; one elsewhere is not followed."""
    entries = [entry(n, (SBOM, SIGNATURE)[n % 2]) for n in range(25)]

    def page(request):
        url = urlsplit(request.path)
        assert url.path.endswith('/referrers/' + fake.image.digest())
        first = int(parse_qs(url.query).get('from', ['0'])[0])
        more = {'Link': f'</v2/fake/referrers/{fake.image.digest()}?from={first + 10}>; rel="next"'} if first < 20 else {
            'Link': '<http://169.254.169.254/x>; rel="next"'}
        request.answer(200, index(entries[first:first + 10]), Content_Type=oci.INDEX, **more)
        return True

    fake.when('/referrers/', page)
    got = listed(daemon, fake.ref)
    assert [(g['digest'], g['artifact_type'], g['size_bytes'], g['annotations']) for g in got] == [
        (e['digest'], e['artifactType'], e['size'], e['annotations']) for e in entries]
    assert [g['digest'] for g in listed(daemon, fake.ref, '--artifact-type', SBOM)] == [e['digest'] for e in entries[::2]]
    assert any('artifactType=' + quote(SBOM, safe='') in path for _, path, _ in fake.requests)
    table = daemon.runtime.cli('image', 'referrers', fake.ref).stdout.splitlines()
    assert table[0].split() == ['DIGEST', 'ARTIFACT', 'TYPE', 'SIZE'] and len(table) == 26


def test_by_tag(daemon, images):
    """Debian's registry has no such API."""
    image = recipes.marked('referrers')
    images.push(image, 'referrers', '1')
    repository = images.ref('referrers').rsplit(':', 1)[0]
    assert listed(daemon, repository + ':1') == []
    artifact = oci.canonical({'schemaVersion': 2, 'mediaType': oci.MANIFEST, 'artifactType': SBOM,
                              'config': oci.descriptor(oci.CONFIG, image.config), 'layers': [],
                              'subject': oci.descriptor(oci.MANIFEST, image.manifest)})
    images.pusher.manifest('referrers', 'sbom', artifact, oci.MANIFEST)
    assert listed(daemon, repository + ':1') == []
    daemon.runtime.cli('image', 'copy', repository + ':sbom', repository + ':copied')  # puts it into the index
    for ref in (repository + ':1', f'{repository}@{image.digest()}'):
        got = listed(daemon, ref)
        assert [(g['digest'], g['artifact_type']) for g in got] == [(oci.digest(artifact), SBOM)], got
    assert listed(daemon, repository + ':1', '--artifact-type', SIGNATURE) == []
    done = daemon.runtime.cli('image', 'referrers', repository + ':absent', check=False)
    assert done.returncode == 1 and 'absent' in done.stderr


@pytest.mark.parametrize('status, body, word', [
    (200, '{', 'referrers'), (200, '{"manifests": 5}', 'manifests'), (200, index([entry(n) for n in range(2001)]), '2000'),
    (200, b'x' * (5 << 20), 'bytes'), (500, 'no', '500'), (403, '{}', '403')], ids=['cut', 'number', 'many', 'long', '500', '403'])
def test_bad_lists(daemon, fake, status, body, word):
    fake.when('/referrers/', lambda request: request.answer(status, body) or True)
    done = daemon.runtime.cli('image', 'referrers', fake.ref, check=False)
    assert done.returncode == 1 and word in done.stderr, done


def test_odd_entries(daemon, fake):
    """What is no descriptor is left out, what could steer a terminal does nothing, long texts are cut."""
    odd = [1, None, {}, {'digest': 'sha256:x'}, {'digest': fake.image.digest(), 'size': -1}, entry(1, '\x1b[2J' + 'x' * 5000)]
    fake.when('/referrers/', lambda request: request.answer(200, index(odd)) or True)
    got = listed(daemon, fake.ref)
    assert len(got) == 1 and len(got[0]['artifact_type']) == 1024
    assert '\x1b' not in daemon.runtime.cli('image', 'referrers', fake.ref).stdout


def test_lists_without_end(daemon, fake):
    link = f'</v2/fake/referrers/{fake.image.digest()}?again=1>; rel="next"'
    fake.when('/referrers/', lambda request: request.answer(200, index([entry(n) for n in range(100)]), Link=link) or True)
    done = daemon.runtime.cli('image', 'referrers', fake.ref, check=False)
    assert done.returncode == 1 and '2000' in done.stderr and len(fake.requests) < 30
