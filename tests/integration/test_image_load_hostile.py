"""Hostile archives for image load: for each a clear error, nothing written outside the store, nothing left in it, in memory or open."""

import gzip
import json
import os
import tarfile

import pytest

import image_archives as archives
from image_archives import blob, link, oci, tar
from oci import INDEX, Image, Layer, canonical, descriptor, digest
from test_image_hostile import ARCH, CANARY, ESCAPES, LAYER_MAX, REFUSED, Raw, Victim, entry

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

MEMORY_MAX = 96 << 20  # of the daemon at any time, all cases together
NAME = 'hostile.example/it:1'
CASES = {}


def image(*layers, arch=ARCH, **more):
    return Image(list(layers) or [Layer().file('x', 'x')], {'Cmd': ['/x']}, arch=arch, **more)


IT = image()
ENTRY = archives.entry(IT, NAME)
SOUND, DOCKER = oci([IT], [ENTRY]), archives.docker((IT, [NAME]))
[LAYER] = [m for m in DOCKER if m[0].endswith('.tar')]


def info(name, **more):
    it = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(it, key, value)
    return it


def without(members, *names):
    return [m for m in members if m[0] not in names]


def index(*entries, **more):
    return 'index.json', canonical({'schemaVersion': 2, 'manifests': list(entries), **more})


def listing(*images):
    return 'manifest.json', json.dumps(images).encode()


def said(**more):
    """Docker's archive whose manifest.json says other things of the one image."""
    it = {**json.loads(DOCKER[-1][1])[0], **more}
    return [*DOCKER[:-1], listing({key: value for key, value in it.items() if value != 'absent'})]


def changed(data):
    return bytes([data[0] ^ 1]) + data[1:]


def nested(depth):
    data, name = IT.manifest, (IT.media_type(), IT.manifest)
    more = []
    for _ in range(depth):
        data = canonical({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': [descriptor(*name, platform={'os': 'linux', 'architecture': ARCH})]})
        name = INDEX, data
        more.append(blob(data))
    return oci([IT], [descriptor(*name)], *more)


def header(name, size):
    """Of a file whose size is what is said, with the right checksum."""
    data = bytearray(info(name).tobuf())
    data[124:136] = size
    data[148:156] = b' ' * 8
    data[148:156] = b'%06o\0 ' % sum(data[:512])
    return bytes(data)


def escape(name):
    layer = Layer()
    for it, data in ESCAPES[name]:
        layer.raw(it, data)
    hostile = image(layer)
    return oci([hostile], [archives.entry(hostile, NAME)])


def with_layer(raw):
    it = image(raw)
    return oci([it], [archives.entry(it, NAME)])


OTHER = {'amd64': 'arm64', 'arm64': 'amd64'}[ARCH]
FOREIGN = image(arch=OTHER)
WORKS = None

for _name, _made, *_words in (
        # what is no archive of images
        ('text', b'no archive at all ' * 100, 'malformed archive'), ('nothing', b'', 'neither an OCI image layout'), ('zeros', bytes(10240), 'neither an OCI image layout'),
        ('an empty archive', tar([]), 'neither an OCI image layout'), ('another archive', [('hello', b'hello')], 'no index.json and no manifest.json'), ('half a block', b'x' * 300, 'malformed archive'),
        ('gzip of text', gzip.compress(b'hello' * 200), 'malformed archive'), ('gzip of nothing', gzip.compress(b''), 'neither an OCI image layout'), ('gzip in gzip', gzip.compress(gzip.compress(tar(SOUND))), 'malformed archive'),
        # cut off, lengths that lie
        ('cut in a header', tar(SOUND)[:300], 'cut off'), ('cut in a blob', tar(SOUND)[:2000], 'cut off'), ('gzip cut off', gzip.compress(tar(SOUND))[:-20], 'cut off'), ('gzip with a wrong sum', gzip.compress(tar(SOUND))[:-8] + bytes(8), 'checksum'),
        ('a size of 8 GiB', header('index.json', b'77777777777\0') + bytes(512), 'cut off'), ('a size beyond all', header('index.json', b'\x80' + b'\0' * 3 + b'\x7f' + b'\xff' * 7), 'cut off'), ('a negative size', header('index.json', b'\xff' * 12), 'malformed archive'),
        ('a size in letters', header('index.json', b'not a number'), 'malformed archive'), ('something behind its end', header('x', b'0' * 11 + b'\0') + bytes(512) + header('y', b'0' * 11 + b'\0'), 'behind its end'), ('an unknown type', [(info('u', type=b'Z'), b'x'), *SOUND], 'unknown type'),
        # names
        ('dots', [*SOUND, ('../escaped', b'x')], 'leads out'), ('dots behind a name', [('a/../../escaped', b'x'), *SOUND], 'leads out'), ('absolute', [(f'{CANARY}/escaped', b'x'), *SOUND], 'leads out'), ('only dots', [('..', b''), *SOUND], 'leads out'),
        ('no name', [('.', b'x'), *SOUND], 'no name'), ('a file twice', [*SOUND, SOUND[0]], 'twice'), ('a file twice by another name', [*SOUND, ('./blobs//../index.json', b'{}')], 'twice'), ('a link and a file', [link('index.json', 'x'), *SOUND], 'twice'),
        ('a link out', [*SOUND, link('l', '../x')], 'leads out'), ('an absolute link', [*SOUND, link('l', '/etc/passwd')], 'leads out'), ('a hardlink out', [*SOUND, link('l', '../x', tarfile.LNKTYPE)], 'leads out'), ('an absolute hardlink', [link('l', '/etc/passwd', tarfile.LNKTYPE)], 'leads out'),
        ('the index is a link to nothing', [*SOUND[:-1], link('index.json', 'x')], 'neither an OCI image layout'), ('the index is a link to itself', [*SOUND[:-1], link('index.json', 'index.json')], 'neither an OCI'),
        ('links in a ring', [*without(DOCKER, LAYER[0]), link(LAYER[0], 'b'), link('b', LAYER[0])], 'no file'), ('links without end', [*without(DOCKER, LAYER[0]), link(LAYER[0], 'l0'), *[link(f'l{i}', f'l{i + 1}') for i in range(100)], ('l100', LAYER[1])], 'no file'),
        ('a link to a folder', [*without(DOCKER, LAYER[0]), (info('d', type=tarfile.DIRTYPE), b''), link(LAYER[0], 'd')], 'no file'), ('a layer is a device', [*without(DOCKER, LAYER[0]), (info(LAYER[0], type=tarfile.CHRTYPE, devmajor=1, devminor=5), b'')], 'no file'),
        ('a layer is sparse', [*without(DOCKER, LAYER[0]), (info(LAYER[0], pax_headers={'GNU.sparse.major': '0', 'GNU.sparse.minor': '1', 'GNU.sparse.map': '0,4', 'GNU.sparse.size': str(1 << 60), 'GNU.sparse.realsize': str(1 << 60)}), b'data')], 'sparse'),
        ('70000 members', info('d/', type=tarfile.DIRTYPE).tobuf() * 70000, 'more than 65536 members'), ('7 MiB of names', [(f'{i}/' + 'n' * 4000, b'') for i in range(1800)], 'bytes of names'), ('a name with escapes', [('\x1b[31m/../../x', b'')], 'leads out'),
        # an OCI layout
        ('the index is no index', [*SOUND[:-1], ('index.json', IT.manifest)], 'no index'), ('the index is no JSON', [*SOUND[:-1], ('index.json', b'{')], 'index.json', 'not valid JSON'), ('the index is a list', [*SOUND[:-1], ('index.json', b'[]')], 'index.json', 'not a JSON object'),
        ('an index of 5 MiB', [*SOUND[:-1], ('index.json', SOUND[-1][1] + b' ' * (5 << 20))], 'index.json', 'larger than'), ('an index of many values', [*SOUND[:-1], ('index.json', b'[' + b'0,' * 300000 + b'0]')], 'index.json'), ('a deep index', [*SOUND[:-1], ('index.json', b'{"a":' * 1000 + b'0' + b'}' * 1000)], 'index.json'),
        ('1001 entries', [*SOUND[:-1], index(*[ENTRY] * 1001)], 'index.json'), ('an empty index', [*SOUND[:-1], index()], 'no image for'), ('indexes in indexes', nested(4), 'nested deeper'), ('both index and image', [*SOUND[:-1], index(ENTRY, layers=[])], 'ambiguous'),
        ('an index without its own', [*SOUND[:-1], index(descriptor(INDEX, b'{"schemaVersion":2,"manifests":[]}'))], 'no file'), ('a digest with dots', [*SOUND[:-1], index({**ENTRY, 'digest': 'sha256:../../index.json'})], 'digest'), ('a digest of sha512', [*SOUND[:-1], index({**ENTRY, 'digest': 'sha512:' + 'a' * 128})], 'digest'),
        ('a manifest of another digest', [(name, changed(data) if data == IT.manifest else data) for name, data in SOUND], 'manifest', 'with the digest'), ('a config of another digest', [(name, changed(data) if data == IT.config else data) for name, data in SOUND], 'config', 'with the digest'),
        ('a layer of another digest', [(name, changed(data) if data == LAYER[1] else data) for name, data in SOUND], 'layer sha256:', "the blob's digest is"), ('a longer manifest', [*SOUND[:-1], index({**ENTRY, 'size': len(IT.manifest) + 1})], 'manifest', 'bytes'), ('a longer layer', [(name, data + b'x' if data == LAYER[1] else data) for name, data in SOUND], 'layer sha256:', 'that its manifest says'),
        ('no manifest', [m for m in SOUND if m[1] != IT.manifest], 'manifest', 'no file'), ('no config', [m for m in SOUND if m[1] != IT.config], 'config', 'no file'), ('no layer', [m for m in SOUND if m[1] != LAYER[1]], 'layer sha256:', 'no file'), ('a layer is a folder', [*[m for m in SOUND if m[1] != LAYER[1]], (info(blob(LAYER[1])[0] + '/x'), b'')], 'no file'),
        ('another machine', oci([FOREIGN], [archives.entry(FOREIGN, NAME)]), 'no image for', OTHER), ('another machine, and says so', oci([FOREIGN], [archives.entry(FOREIGN, NAME, platform={'os': 'linux', 'architecture': OTHER})]), 'no image for'),
        ('a layer with another diff id', with_layer(Raw(tar([('x', b'x')]), b'another')), 'digest of the uncompressed layer'), ('a layer that is no archive', with_layer(Raw(b'text' * 500, b'text' * 500)), 'layer sha256:', 'malformed archive'),
        ('a gzip bomb', with_layer(Raw(gzip.compress(bytes(LAYER_MAX * 4)), bytes(LAYER_MAX * 4), 'application/vnd.oci.image.layer.v1.tar+gzip')), 'more than'), ('a layer beyond the limit', with_layer(Raw(bytes(LAYER_MAX + 512), bytes(LAYER_MAX + 512))), 'more than'),
        ('257 images', oci(many := [image(Layer().file(f'{i}', 'x')) for i in range(257)], [archives.entry(it) for it in many]), 'more than 256 images'), ('1001 names', [*SOUND[:-1], index(*[archives.entry(IT, f'n.example/{i}:1') for i in range(1000)])], WORKS),
        # Docker's
        ('manifest.json is an object', [*DOCKER[:-1], ('manifest.json', b'{}')], 'manifest.json', 'not a JSON array'), ('manifest.json is no JSON', [*DOCKER[:-1], ('manifest.json', b'[')], 'manifest.json', 'not valid JSON'), ('manifest.json is empty', [*DOCKER[:-1], ('manifest.json', b'[]')], 'no image in it'),
        ('manifest.json of 5 MiB', [*DOCKER[:-1], ('manifest.json', DOCKER[-1][1] + b' ' * (5 << 20))], 'manifest.json', 'larger than'), ('manifest.json of numbers', [*DOCKER[:-1], ('manifest.json', b'[1,2]')], 'no file'), ('manifest.json of 300 images', [*DOCKER[:-1], listing(*json.loads(DOCKER[-1][1]) * 300)], 'more than 256 images'),
        ('no config in it', without(DOCKER, DOCKER[1][0]), 'config', 'no file'), ('no layer in it', without(DOCKER, LAYER[0]), 'layer', 'no file'), ('the config leads out', said(Config='../../../../etc/passwd'), 'no file'), ('the config is absolute', said(Config='/etc/passwd'), 'no file'), ('the config is a number', said(Config=7), 'manifest.json'),
        ('the config is the layer', said(Config=LAYER[0]), 'config'), ('a layer leads out', said(Layers=['../../../../etc/passwd']), 'no file'), ('a layer is absolute', said(Layers=['/etc/passwd']), 'no file'), ('a layer too many', said(Layers=[LAYER[0]] * 2), 'layers'), ('no layers at all', said(Layers='absent'), 'layers'), ('501 layers', said(Layers=[LAYER[0]] * 501), 'manifest.json'),
        ('layers of numbers', said(Layers=[1]), 'manifest.json'), ('tags of numbers', said(RepoTags=[1]), 'manifest.json'), ('a tag that is none', said(RepoTags=['UPPER/case:1']), 'UPPER'), ('a tag with escapes', said(RepoTags=['a.example/\x1b[31m:1']), 'image 1'), ('a tag with a digest', said(RepoTags=['a.example/a@sha256:' + 'a' * 64]), 'digest'),
        ('1001 tags', said(RepoTags=[f'n.example/{i}:1' for i in range(1001)]), 'manifest.json'), ('another layer than the config says', [(name, changed(data) if name == LAYER[0] else data) for name, data in DOCKER], 'layer', 'digest'), ('a layer in xz', [(name, b'\xfd7zXZ\0' + bytes(600) if name == LAYER[0] else data) for name, data in DOCKER], 'xz'),
        ('a layer in gzip that is cut off', [(name, gzip.compress(data)[:-10] if name == LAYER[0] else data) for name, data in DOCKER], 'cut off'), ('the second of two is damaged', [*archives.docker((IT, []), (image(Layer().file('y', 'y')), []))[:-1], listing({'Config': DOCKER[1][0], 'Layers': [LAYER[0]]}, {'Config': 'absent', 'Layers': []})], 'image 2'),
        # as a whole
        ('a gzip bomb of an archive', gzip.compress(tar([*SOUND, ('big', bytes(LAYER_MAX))])), 'more than'), ('a gzip bomb of zeros', gzip.compress(bytes(LAYER_MAX * 8)), 'more than'), ('gzip in a thousand members', b''.join(gzip.compress(bytes(64)) for _ in range(1000)), 'neither an OCI'),
        ('pax headers without end', [(info(f'x{i}', pax_headers={'comment': 'c' * 100000}), b'') for i in range(20)] + SOUND, WORKS), ('a pax header of 3 MiB', [(info('x', pax_headers={'comment': 'c' * (3 << 20)}), b''), *SOUND], 'above 1 MiB'),
):
    CASES[_name] = _made, _words
for _name in ('dots', 'absolute', 'through a link', 'hardlink absolute', 'whiteout out', 'link over a folder', 'devices', 'a long link', 'links in a ring', 'pax path out'):
    CASES['a layer: ' + _name] = escape(_name), [REFUSED.get(_name)]


def folder(**files):
    """An OCI layout in a folder, with other things in place of some: a target of a link, a function of a path, bytes."""
    def make(top):
        for name, data in SOUND:
            os.makedirs(os.path.dirname(top / name), exist_ok=True)
            (top / name).write_bytes(data)
        for name, what in files.items():
            path = top / {'index': 'index.json', 'layer': blob(LAYER[1])[0], 'blobs': 'blobs'}[name]
            if path.is_dir():
                os.rename(path, top / 'elsewhere')
            else:
                os.unlink(path)
            if callable(what):
                what(path)
            else:
                os.symlink(what, path)
        return top
    return make


def hole(path):
    with open(path, 'wb') as f:
        os.truncate(f.fileno(), 1 << 43)


for _name, _made, *_words in (
        ('an empty folder', lambda top: top, 'neither an OCI image layout'), ('the index is a link out', folder(index='/etc/passwd'), 'neither an OCI image layout'), ('the index is a fifo', folder(index=os.mkfifo), 'neither an OCI image layout'), ('the index is a folder', folder(index=os.mkdir), 'neither an OCI image layout'),
        ('the index is a hole', folder(index=hole), 'index.json', 'larger than'), ('the index is in /proc', folder(index='/proc/self/environ'), 'neither an OCI image layout'), ('a layer is a link out', folder(layer=CANARY + '/file'), 'layer sha256:'), ('a layer is a fifo', folder(layer=os.mkfifo), 'layer sha256:', 'no file'),
        ('a layer is a device', folder(layer='/dev/zero'), 'layer sha256:'), ('a layer is a hole', folder(layer=hole), 'layer sha256:', 'that its manifest says'), ('blobs lead out', folder(blobs='/'), 'manifest'), ('blobs lead elsewhere inside', folder(blobs='elsewhere'), WORKS),
):
    CASES['folder: ' + _name] = _made, _words


@pytest.fixture(scope='module', name='victim')
def fixture_victim(top, pb):
    os.makedirs(CANARY)
    with open(CANARY + '/file', 'w', encoding='ascii') as f:
        f.write('the canary lives\n')
    it = Victim(os.path.join(top, 'load'), pb)
    yield it
    it.daemon.stop()
    os.unlink(CANARY + '/file')
    os.rmdir(CANARY)


@pytest.mark.parametrize('name', CASES)
def test_hostile(victim, tmp_path, name):
    made, words = CASES[name]
    if callable(made):
        os.mkdir(tmp_path / 'it')
        what = made(tmp_path / 'it')
    else:
        what = tmp_path / 'it.tar'
        what.write_bytes(made if isinstance(made, bytes) else tar(made))
    cli = victim.daemon.runtime.cli
    done = cli('--output', 'json', 'image', 'load', '-q', '-i', what, check=False)
    if words == [WORKS]:
        assert done.returncode == 0, done
        cli('image', 'rm', *{it['id'] for it in json.loads(done.stdout)})
    else:
        assert done.returncode == 1 and done.stdout == '', done
        assert all(line.isprintable() for line in done.stderr.splitlines()) and len(done.stderr) < 1200, done
        assert all(word in done.stderr for word in words), done
    assert victim.check() == []
    assert victim.peak() < MEMORY_MAX, victim.peak()


def test_there_are_enough():
    assert len(CASES) > 100
