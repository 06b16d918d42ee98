"""Hostile images and registries: for each a clear error, nothing written outside the store, nothing left in it, in memory or open."""

import contextlib
import gzip
import io
import json
import os
import re
import socket
import stat
import struct
import subprocess
import tarfile
import threading
import time
import zlib

import grpc
import pytest

from conftest import Daemon, make_daemon
from fake_registry import Fake
from helpers import CODE
from oci import CONFIG, INDEX, LAYER, MANIFEST, Image, Layer, canonical, descriptor, digest
from patience import SLOW

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

INVALID, LOST, FULL, NO, UNKNOWN, ABSENT, LATE, NOT_HERE, LOGIN, DENIED = (
    CODE.INVALID_ARGUMENT, CODE.DATA_LOSS, CODE.RESOURCE_EXHAUSTED, CODE.UNIMPLEMENTED, CODE.UNKNOWN, CODE.NOT_FOUND, CODE.DEADLINE_EXCEEDED,
    CODE.FAILED_PRECONDITION, CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED)
MEMORY_MAX = 96 << 20  # of the daemon at any time, all cases together
LAYER_MAX = 16 << 20
ARCH = {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine]

CASES = {}


def case(name, codes=None, *words, deadline=None):
    """A function (fake) -> reference; `codes` None: the image is pulled, and what it wrote is inside."""
    def add(make):
        assert name not in CASES, name
        if codes is None:
            CASES[name] = make, None, (), deadline
        else:
            CASES[name] = make, codes if isinstance(codes, tuple) else (codes,), words, deadline
        return make
    return add


class Raw:
    """A layer of any bytes, of any type."""

    def __init__(self, blob, diff=b'', media_type=LAYER):
        self._blob, self._diff, self._type = blob, diff, media_type

    def diff(self):
        return self._diff

    def blob(self):
        return self._blob

    def media_type(self):
        return self._type


def image(*layers, config=None, **more):
    return Image(list(layers), config or {'Cmd': ['/x']}, arch=ARCH, **more)


# ---------------------------------------------------------------- archives

CANARY = f'/var/tmp/lxcri-hostile-canary.{time.time_ns()}'  # runs go side by side
UP = '../' * 30


def entry(name, kind=tarfile.REGTYPE, link='', data=b'', mode=0o644, pax=None, dev=(0, 0)):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), mode
    info.pax_headers.update(pax or {})
    info.devmajor, info.devminor = dev
    return info, data


def link(name, target):
    return entry(name, tarfile.SYMTYPE, target)


def hard(name, target):
    return entry(name, tarfile.LNKTYPE, target)


def folder(name):
    return entry(name, tarfile.DIRTYPE, mode=0o755)


C = CANARY.lstrip('/')
ESCAPES = {
    # name: entries, what is to happen (codes or None: it stays inside)
    'dots': [entry(UP + C + '/escaped')], 'dots behind a name': [entry('a/' + UP + C + '/escaped')], 'dot and dots': [entry('./../' + UP + C + '/escaped')],
    'absolute': [entry(CANARY + '/escaped')], 'two slashes': [entry('//' + CANARY + '/escaped')], 'only dots': [entry('..')], 'a dot': [entry('.')], 'a slash': [entry('/')],
    'dots at the end': [folder('a'), entry('a/..')], 'dots as a folder': [folder('..')], 'many dots': [entry('..../' * 3 + 'x')],
    'through a link': [link('l', CANARY), entry('l/escaped')], 'through a relative link': [link('l', UP + C), entry('l/escaped')],
    'through two links': [link('a', 'b'), link('b', CANARY), entry('a/escaped')], 'through a link to a link in a link': [folder('d'), link('d/e', '/'), link('f', 'd/e/d/e' + CANARY), entry('f/escaped')],
    'through a link to the root': [link('l', '/'), entry('l' + CANARY + '/escaped')], 'through a link to its parent': [folder('a'), link('a/l', UP), entry('a/l/' + C + '/escaped')],
    'link over a folder': [folder('d'), link('d', CANARY), entry('d/escaped')], 'link, folder, file': [link('d', CANARY), folder('d'), entry('d/escaped')],
    'file over a link': [link('f', CANARY + '/file'), entry('f', data=b'owned')], 'file over a link to a link': [link('g', CANARY + '/file'), link('f', 'g'), entry('f', data=b'owned')],
    'folder over a link': [link('d', CANARY), folder('d')], 'mode by a link': [link('d', CANARY), entry('d', tarfile.DIRTYPE, mode=0o7777)],
    'hardlink out': [hard('h', UP + C + '/file')], 'hardlink absolute': [hard('h', CANARY + '/file')], 'hardlink through a link': [link('l', CANARY), hard('h', 'l/file')],
    'hardlink to a link, then a file': [link('l', CANARY + '/file'), hard('h', 'l'), entry('h', data=b'owned')], 'hardlink to itself': [hard('h', 'h')], 'hardlink to a folder': [folder('d'), hard('h', 'd')],
    'hardlink to the root': [hard('h', '/')], 'hardlink to nothing': [hard('h', '')], 'hardlink to /proc': [hard('h', '/proc/self/exe')], 'hardlinks in a ring': [hard('a', 'b'), hard('b', 'a')],
    'a link to itself': [link('l', 'l'), entry('l/x')], 'links in a ring': [link('a', 'b'), link('b', 'a'), entry('a/x')], 'links without end': [link(f'l{i}', f'l{i + 1}') for i in range(100)] + [entry('l0/x')],
    'a link to nothing': [entry('l', tarfile.SYMTYPE, '')], 'a long link': [link('l', 'x' * 5000)], 'through /proc/self/root': [link('l', '/proc/self/root'), entry('l' + CANARY + '/escaped')],
    'through /proc/self/cwd': [link('l', '/proc/self/cwd'), entry('l/escaped')], 'through /proc/self/fd': [link('l', '/proc/self/fd/3'), entry('l/escaped')],
    'whiteout with dots': [entry('.wh...')], 'whiteout of a dot': [entry('.wh..')], 'whiteout of nothing': [entry('.wh.')], 'whiteout out': [entry(UP + C + '/.wh.file')],
    'whiteout through a link': [link('l', CANARY), entry('l/.wh.file')], 'opaque through a link': [link('l', CANARY), entry('l/.wh..wh..opq')], 'opaque out': [entry(UP + C + '/.wh..wh..opq')],
    'whiteout that is a folder': [folder('.wh.d'), entry('.wh.d/x')], 'whiteout that is a link': [link('.wh.l', CANARY), entry('.wh.l/escaped')], 'whiteout of a whiteout': [entry('.wh..wh.x')],
    'a file below a file': [entry('f', data=b'x'), entry('f/g')], 'a file below a device': [entry('n', tarfile.CHRTYPE, dev=(1, 3)), entry('n/x')], 'a folder is a file is a folder': [folder('a'), entry('a'), folder('a'), entry('a/b')],
    'a name in two lines': [entry('a\nb')], 'a name with escapes': [entry('\x1b[31mred')], 'a name of 300 bytes': [entry('n' * 300)], 'a path of 5000 bytes': [entry('/'.join(['n' * 200] * 25))],
    'a thousand levels': [entry('d/' * 1000 + 'f')], 'fifty thousand levels': [entry('d/' * 50000 + 'f')], 'a name that is no text': [entry('a\udcff\udcfe')], 'backslashes': [entry('..\\..\\x')], 'a drive': [entry('C:/x')],
    'devices': [entry('sda', tarfile.BLKTYPE, dev=(8, 0)), entry('mem', tarfile.CHRTYPE, dev=(1, 1))], 'a device with a huge number': [entry('d', tarfile.CHRTYPE, dev=(2097151, 2097151))], 'a fifo, then a file': [entry('p', tarfile.FIFOTYPE), entry('p', data=b'x')],
    'set-uid in a link': [link('s', CANARY + '/file'), entry('s', data=b'', mode=0o6755)], 'a sticky everything': [entry('m', mode=0o7777)], 'a socket of the kind': [entry('s', b's')], 'an unknown type': [entry('u', b'Z', data=b'x')],
    'xattr of the kernel': [entry('x', pax={'SCHILY.xattr.trusted.overlay.redirect': CANARY})], 'xattr opaque': [entry('x', tarfile.DIRTYPE, pax={'SCHILY.xattr.trusted.overlay.opaque': 'y'})],
    'xattr of security': [entry('x', pax={'SCHILY.xattr.security.selinux': 'x' * 100})], 'xattr without a name': [entry('x', pax={'SCHILY.xattr.': 'v'})], 'xattr of nowhere': [entry('x', pax={'SCHILY.xattr.nowhere': 'v'})],
    'xattr of 100 KiB': [entry('x', pax={'SCHILY.xattr.user.a': 'v' * 102400})], 'a capability that is none': [entry('x', pax={'SCHILY.xattr.security.capability': 'nonsense'})],
    'pax path out': [entry('x', pax={'path': UP + C + '/escaped'})], 'pax link out': [entry('l', tarfile.LNKTYPE, 'x', pax={'linkpath': CANARY + '/file'})], 'pax size': [entry('x', pax={'size': '99999999999999999999'})],
    'pax size is negative': [entry('x', pax={'size': '-1'})], 'pax time': [entry('x', pax={'mtime': '1e999'})], 'pax time of the end': [entry('x', pax={'mtime': '9' * 30})], 'pax owner': [entry('x', pax={'uid': '4294967296'})],
    'pax owner is negative': [entry('x', pax={'uid': '-1'})], 'pax that is large': [entry('x', pax={'comment': 'c' * (3 << 20)})], 'a sparse map': [entry('x', data=b'1\n0\n4\n', pax={'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '4'})],
    'a sparse hole of an exabyte': [entry('x', data=b'0\n' + bytes(510), pax={'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': str(1 << 60)})],
}
# Those that are refused; all others are unpacked below the root, as if that were all there is.
REFUSED = {name: word for word, names in {
    '".." in it': ['dots', 'dots behind a name', 'dot and dots', 'only dots', 'dots at the end', 'dots as a folder', 'hardlink out', 'whiteout out', 'opaque out', 'pax path out'],
    'its root is no folder': ['a dot', 'a slash'], 'which does not exist': ['hardlink absolute', 'hardlink through a link', 'hardlink to /proc', 'hardlinks in a ring', 'pax link out'],
    'hardlink to itself or to the root': ['hardlink to itself', 'hardlink to the root', 'hardlink to nothing'], 'hardlink to a folder': ['hardlink to a folder'], 'more than 40 symlinks': ['a link to itself', 'links in a ring', 'links without end'],
    'symlink to nothing': ['a link to nothing'], 'name above 4095 bytes': ['a long link', 'a path of 5000 bytes', 'fifty thousand levels'], 'whiteout of nothing': ['whiteout with dots', 'whiteout of a dot', 'whiteout of nothing'],
    'below a whiteout': ['whiteout that is a folder', 'whiteout that is a link'], 'no folder stands in the way': ['a file below a file', 'a file below a device'], 'more than 255 bytes': ['a name of 300 bytes'], 'too long or too deep': ['a thousand levels'],
    'number out of range': ['a device with a huge number'], 'unknown type': ['a socket of the kind', 'an unknown type'], 'bad name or a value above': ['xattr without a name', 'xattr of 100 KiB'], 'impossible extended attribute': ['a capability that is none'],
    'size that is no number': ['pax size', 'pax size is negative'], 'mtime that is no time': ['pax time', 'pax time of the end'], 'impossible user or group id': ['pax owner', 'pax owner is negative'], 'above 1 MiB': ['pax that is large'], 'sparse file without its map': ['a sparse map'],
}.items() for name in names}


def escape(entries):
    def make(fake):
        layer = Layer()
        for info, data in entries:
            layer.raw(info, data)
        return fake.add(image(layer))
    return make


for _name, _entries in ESCAPES.items():
    case('archive: ' + _name, *((INVALID, REFUSED[_name]) if _name in REFUSED else (None,)))(escape(_entries))


def tar(*entries):
    layer = Layer()
    for info, data in entries:
        layer.raw(info, data)
    return layer.diff()


def plain(data, **more):
    return lambda fake: fake.add(image(Raw(data, data, **more)))


def changed(at, what):
    """A tar of one file whose header has other bytes; the checksum is right again."""
    data = bytearray(tar(entry('file', data=b'content')))
    data[at:at + len(what)] = what
    data[148:156] = b' ' * 8
    data[148:156] = b'%06o\0 ' % sum(data[:512])
    return bytes(data)


TARS = {
    'text': (b'no archive at all ' * 100, LOST, INVALID), 'cut in a header': (tar(entry('f'))[:300],), 'cut in a file': (tar(entry('f', data=b'x' * 5000))[:2000],),
    'wrong checksum': (b'g' + tar(entry('f'))[1:],), 'size in letters': (changed(124, b'not a number'),), 'a size of 8 GiB': (changed(124, b'77777777777\0'),),
    'a size in binary': (changed(124, b'\x80' + b'\0' * 3 + b'\x7f' + b'\xff' * 7),), 'a negative size': (changed(124, b'\xff' * 12),), 'a mode in letters': (changed(100, b'rwxrwxr\0'),),
    'an owner in binary': (changed(108, b'\x80' + b'\xff' * 7),), 'a long name without a name': (changed(156, b'L'), None), 'a pax header of nothing': (changed(156, b'x'),),
    'a global pax header': (changed(156, b'g'), None), 'a pax record without end': (tar(entry('f', b'x', data=b'99999999999 path=')),), 'a pax record of no length': (tar(entry('f', b'x', data=b'0 path=x\n')),),
    'a pax record that lies': (tar(entry('f', b'x', data=b'30 path=x\n')),), 'a name of the old GNU kind': (tar(entry('f', b'L', data=(UP + C + '/escaped').encode() + b'\0'), entry('g')),),
    'a long name of 5 MiB': (tar(entry('f', b'L', data=b'n' * (5 << 20)), entry('g')),),
}
STREAMS = {
    'a gzip bomb': (gzip.compress(bytes(LAYER_MAX * 4)), '+gzip', FULL), 'a gzip bomb in members': (gzip.compress(bytes(1 << 20)) * 64, '+gzip', FULL),
    'a gzip bomb of a file': (gzip.compress(tar(entry('big', data=bytes(LAYER_MAX + 1)))), '+gzip', FULL),
    'gzip cut off': (gzip.compress(tar(entry('f', data=os.urandom(4000))))[:2000], '+gzip', (LOST, INVALID)), 'gzip without its sum': (gzip.compress(tar(entry('f')))[:-8], '+gzip', (LOST, INVALID)),
    'gzip with a wrong sum': (gzip.compress(tar(entry('f')))[:-8] + bytes(8), '+gzip', (LOST, INVALID)), 'gzip, then rubbish': (gzip.compress(tar(entry('f'))) + b'rubbish', '+gzip', (LOST, INVALID)),
    'a gzip header alone': (b'\x1f\x8b\x08\0\0\0\0\0\0\3', '+gzip', (LOST, INVALID)), 'gzip of another method': (b'\x1f\x8b\x07' + gzip.compress(b'x')[3:], '+gzip', (LOST, INVALID)),
    'a gzip name without end': (b'\x1f\x8b\x08\x08' + bytes(6) + b'n' * (1 << 20), '+gzip', (LOST, INVALID, FULL)), 'zlib called gzip': (zlib.compress(tar(entry('f'))), '+gzip', (LOST, INVALID)),
    'empty gzip': (b'', '+gzip', (LOST, INVALID)), 'text called gzip': (b'hello', '+gzip', (LOST, INVALID)), 'text called zstd': (b'hello', '+zstd', (LOST, INVALID)),
    'a zstd bomb': ('zstd', '+zstd', FULL), 'a zstd window of 2 GiB': (bytes.fromhex('28b52ffd00f8') + bytes(64), '+zstd', (LOST, INVALID, FULL)), 'a zstd dictionary': (bytes.fromhex('28b52ffd0358') + bytes(64), '+zstd', (LOST, INVALID)),
    'zstd cut off': ('zstd cut', '+zstd', (LOST, INVALID)), 'zstd, a frame to skip without end': (bytes.fromhex('502a4d18ffffffff') + b'x', '+zstd', (LOST, INVALID)), 'xz': (bytes.fromhex('fd377a585a0000') + bytes(64), '+gzip', (LOST, INVALID)),
}


def stream(data, suffix):
    def make(fake):
        blob = data
        if isinstance(data, str):
            blob = subprocess.run(['zstd', '-q', '-c'], input=bytes(LAYER_MAX * 4) if data == 'zstd' else os.urandom(5000), stdout=subprocess.PIPE, check=True).stdout
            blob = blob[:2000] if data != 'zstd' else blob
        return fake.add(image(Raw(blob, b'x', LAYER + suffix)))
    return make


for _name, (_data, *_codes) in TARS.items():
    case('tar: ' + _name, None if _codes == [None] else tuple(_codes) or (INVALID, LOST, FULL))(plain(_data))
for _name, (_data, _suffix, _codes) in STREAMS.items():
    case('stream: ' + _name, _codes)(stream(_data, _suffix))
case('tar: larger than a layer may be', FULL)(plain(tar(entry('big', data=bytes(LAYER_MAX + 1)))))


# ---------------------------------------------------------------- documents

def manifest(change):
    """The manifest of a sound image, changed; under its right digest."""
    def make(fake):
        it = image(Layer().file('f', 'x'))
        ref = fake.add(it)
        doc = json.loads(it.manifest)
        doc = change(doc) or doc
        fake.manifests['1'] = MANIFEST, doc if isinstance(doc, bytes) else canonical(doc)
        return ref
    return make


def config(change):
    def make(fake):
        it = image(Layer().file('f', 'x'))
        doc = json.loads(it.config)
        doc = change(doc) or doc
        it.config = doc if isinstance(doc, bytes) else canonical(doc)
        top = json.loads(it.manifest)
        top['config'] = descriptor(CONFIG, it.config)
        it.manifest = canonical(top)
        return fake.add(it)
    return make


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(doc):
        for step in path:
            doc = doc[step]
        doc[last] = value
    return change


BAD_DIGESTS = {'empty': '', 'a path': 'sha256:../../../../etc/passwd', 'a slash': 'sha256:' + 'a' * 63 + '/', 'in capitals': 'sha256:' + 'A' * 64, 'too short': 'sha256:' + 'a' * 63, 'too long': 'sha256:' + 'a' * 65,
               'of another kind': 'md5:' + 'a' * 32, 'sha512': 'sha512:' + 'a' * 128, 'a number': 7, 'null': None, 'with a query': 'sha256:' + 'a' * 60 + '?x=1', 'with a NUL': 'sha256:' + 'a' * 63 + '\0', 'with lines': 'sha256:\r\nX: y'}
for _name, _value in BAD_DIGESTS.items():
    case('layer digest: ' + _name, (INVALID, NO))(manifest(put('layers', 0, 'digest', _value)))
    case('config digest: ' + _name, (INVALID, NO))(manifest(put('config', 'digest', _value)))
for _name, _value, _codes in (('negative', -1, INVALID), ('a fraction', 1.5, INVALID), ('text', '12', INVALID), ('huge', 1 << 62, (FULL, LOST, INVALID, UNKNOWN)), ('past 64 bits', 1 << 70, INVALID), ('one too small', 1, LOST), ('zero', 0, (LOST, INVALID))):
    case('layer size: ' + _name, _codes)(manifest(put('layers', 0, 'size', _value)))
    case('config size: ' + _name, _codes if _name != 'huge' else (FULL, INVALID))(manifest(put('config', 'size', _value)))
DOCUMENTS = {
    'nothing': b'', 'half': b'{"schemaVersion":2', 'a list': b'[]', 'null': b'null', 'a page': b'<html>not found</html>', 'not UTF-8': b'{"\xff\xfe":1}', 'deep': b'{"a":' * 5000, 'a hundred thousand brackets': b'[' * 100000, 'a million commas': b'{"a":[' + b'1,' * 1000000 + b'1]}',
    'a second document': b'{} {}', 'a NUL': b'{"schemaVersion":2}\0', 'a BOM': b'\xef\xbb\xbf{}',
}
for _name, _value in DOCUMENTS.items():
    case('manifest: ' + _name, (INVALID, FULL, NO))(manifest(lambda doc, value=_value: value or b' '))
    case('config: ' + _name, (INVALID, FULL, LOST))(config(lambda doc, value=_value: value or b' '))
MANIFESTS = {
    'schema 1': (put('schemaVersion', 1), (INVALID, NO)), 'schema 3': (put('schemaVersion', 3), (INVALID, NO)), 'of no type': (put('mediaType', 'text/html'), (INVALID, NO)), 'layers are text': (put('layers', 'x'), INVALID), 'layers are null': (put('layers', None), INVALID),
    'a layer is null': (put('layers', [None]), INVALID), 'no config': (put('config', None), (INVALID, NO)), 'a thousand layers': (lambda d: d.update(layers=d['layers'] * 1000), FULL), 'one layer more': (lambda d: d.update(layers=d['layers'] * 2), INVALID),
    'no layers': (put('layers', []), INVALID), 'a foreign layer': (put('layers', 0, 'mediaType', 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'), NO), 'an encrypted layer': (put('layers', 0, 'mediaType', LAYER + '+gzip+encrypted'), NO),
    'a layer of no type': (put('layers', 0, 'mediaType', 'application/pdf'), (NO, INVALID)), 'a layer without type': (put('layers', 0, 'mediaType', ''), (NO, INVALID)), 'a config that is a layer': (put('config', 'mediaType', LAYER), (NO, INVALID)),
    'an artifact': (put('config', 'mediaType', 'application/vnd.example+json'), NO), 'urls': (put('layers', 0, 'urls', ['file:///etc/passwd']), None), 'a layer called gzip': (put('layers', 0, 'mediaType', LAYER + '+gzip'), (INVALID, LOST)),
}
for _name, (_change, _codes) in MANIFESTS.items():
    case('manifest: ' + _name, _codes)(manifest(_change))
CONFIGS = {
    'no rootfs': (lambda d: d.pop('rootfs') and None, INVALID), 'rootfs is text': (put('rootfs', 'x'), INVALID), 'another diff id': (put('rootfs', 'diff_ids', ['sha256:' + '1' * 64]), LOST), 'a diff id that is a path': (put('rootfs', 'diff_ids', ['sha256:../../x']), INVALID),
    'a diff id too many': (lambda d: d['rootfs']['diff_ids'].append('sha256:' + '1' * 64), INVALID), 'diff ids are numbers': (put('rootfs', 'diff_ids', [1]), INVALID), 'for another machine': (put('architecture', 's390x'), ABSENT), 'for Windows': (put('os', 'windows'), ABSENT),
    'an environment of numbers': (put('config', 'Env', [1, 2]), INVALID), 'an environment of 10000': (put('config', 'Env', ['A=1'] * 10000), FULL), 'an environment of a MiB': (put('config', 'Env', ['A=' + 'x' * (1 << 20)]), FULL), 'a command of text': (put('config', 'Cmd', 'rm -rf /'), INVALID),
    'a user that is a list': (put('config', 'User', ['root']), INVALID), 'labels in a list': (put('config', 'Labels', ['a']), INVALID), 'volumes of text': (put('config', 'Volumes', '/x'), INVALID), 'the config is a list': (put('config', []), INVALID),
    'a command with a NUL': (put('config', 'Cmd', ['a\0b']), INVALID), 'of 5 MiB': (put('comment', 'x' * (5 << 20)), FULL),
}
for _name, (_change, _codes) in CONFIGS.items():
    case('config: ' + _name, _codes)(config(_change))


# ---------------------------------------------------------------- indexes

def index(*entries, **more):
    return canonical({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': list(entries), **more})


def with_index(make):
    def whole(fake):
        it = image(Layer().file('f', 'x'))
        ref = fake.add(it)
        fake.manifests['1'] = INDEX, make(fake, it)
        return ref
    return whole


PLATFORM = {'architecture': ARCH, 'os': 'linux'}


def mine(it, **more):
    return {**descriptor(MANIFEST, it.manifest, platform=PLATFORM), **more}


def nested(fake, it, depth):
    doc = index(mine(it))
    for _ in range(depth):
        fake.manifests[digest(doc)] = INDEX, doc
        doc = index(descriptor(INDEX, doc))
    return doc


def ring(fake, it):
    """Each names the other: only with a lie can that be."""
    del it
    one = index({'mediaType': INDEX, 'digest': 'sha256:' + '1' * 64, 'size': 300})
    fake.manifests['sha256:' + '1' * 64] = INDEX, index({'mediaType': INDEX, 'digest': digest(one), 'size': len(one)})
    return one


INDEXES = {
    'of nothing': (lambda f, it: index(), ABSENT), 'for others': (lambda f, it: index(mine(it, platform={'architecture': 's390x', 'os': 'linux'})), ABSENT), 'a wrong size': (lambda f, it: index(mine(it, size=5)), LOST),
    'of what is not there': (lambda f, it: index(mine(it, digest='sha256:' + '2' * 64)), (ABSENT, LOST)), 'of a path': (lambda f, it: index(mine(it, digest='sha256:../../x')), INVALID), 'nested too deep': (lambda f, it: nested(f, it, 6), FULL), 'nested as far as may be': (lambda f, it: nested(f, it, 2), None),
    'a ring': (ring, LOST), 'itself by a lie': (lambda f, it: index(mine(it, mediaType=INDEX)), None), 'two thousand entries': (lambda f, it: index(*[mine(it)] * 2000), FULL), 'an entry of text': (lambda f, it: index('x'), INVALID),
    'a config as manifest': (lambda f, it: f.manifests.update({digest(it.config): (CONFIG, it.config)}) or index(descriptor(CONFIG, it.config, platform=PLATFORM)), (INVALID, NO, ABSENT)), 'entries in an object': (lambda f, it: index(manifests={}), INVALID),
    'manifest and index at once': (lambda f, it: canonical({**json.loads(it.manifest), 'mediaType': INDEX}), (INVALID, NO, ABSENT)), 'an attestation alone': (lambda f, it: index(mine(it, platform={'architecture': 'unknown', 'os': 'unknown'})), ABSENT), 'a platform of text': (lambda f, it: index(mine(it, platform='linux')), INVALID),
    'huge': (lambda f, it: index(annotations={'a': 'x' * (5 << 20)}), FULL),
}
for _name, (_make, _codes) in INDEXES.items():
    case('index: ' + _name, _codes)(with_index(_make))


# ---------------------------------------------------------------- registries

def when(part, answer):
    def make(fake):
        fake.when(part, lambda r: answer(r) or True)
        return fake.add(image(Layer().file('f', 'x' * 1000)))
    return make


def raw(data, then=None):
    """Bytes in place of an answer."""
    def answer(request):
        request.wfile.write(data)
        request.wfile.flush()
        if then:
            then(request)
        request.close_connection = True
    return answer


def to(location):
    return lambda r: r.answer(307, '', Location=location)


REDIRECTS = {
    'file': ('file:///etc/passwd', INVALID), 'file with a host': ('file://localhost/etc/shadow', INVALID), 'ftp': ('ftp://127.0.0.1/x', INVALID), 'gopher': ('gopher://127.0.0.1:6379/_x', INVALID), 'dict': ('dict://127.0.0.1:11211/x', INVALID),
    'ldap': ('ldap://127.0.0.1/x', INVALID), 'data': ('data:text/plain,x', INVALID), 'javascript': ('javascript:alert(1)', INVALID), 'scp': ('scp://127.0.0.1/x', INVALID), 'unix': ('unix:///run/x.sock', INVALID), 'http in capitals of file': ('FILE:///etc/passwd', INVALID),
    'nowhere': ('http://', INVALID), 'a bad host': ('http://a b/', INVALID), 'a bad port': ('http://127.0.0.1:99999/x', INVALID), 'a closed port': ('http://127.0.0.1:1/x', UNKNOWN), 'no such name': ('http://no-such-host.invalid/x', UNKNOWN),
    'link-local': ('http://169.254.169.254/latest/meta-data/', NOT_HERE), 'link-local over TLS': ('https://169.254.169.254/x', NOT_HERE), 'link-local as a number': ('http://2852039166/', NOT_HERE), 'link-local in hex': ('http://0xa9fea9fe/', NOT_HERE), 'link-local, IPv6': ('http://[fe80::1]/x', NOT_HERE),
    'link-local, mapped': ('http://[::ffff:169.254.169.254]/x', NOT_HERE), 'itself': ('.', UNKNOWN), 'without a target': (None, UNKNOWN), 'empty': ('', (UNKNOWN, INVALID)), 'very long': ('http://127.0.0.1/' + 'x' * 20000, (INVALID, UNKNOWN, FULL)), 'with a password': ('http://user:secret@127.0.0.1:1/x', UNKNOWN),
}
for _name, (_to, _codes) in REDIRECTS.items():
    _answer = (lambda r: r.answer(307, '')) if _to is None else (lambda r: r.answer(307, '', Location=r.path)) if _to == '.' else to(_to)
    case('redirect of a blob: ' + _name, _codes)(when('/blobs/', _answer))
    if _name in ('file', 'link-local', 'itself', 'nowhere', 'ftp', 'link-local, IPv6'):
        case('redirect of a manifest: ' + _name, _codes)(when('/manifests/', _answer))


def challenge(value):
    return lambda r: r.answer(401, '', WWW_Authenticate=value)


CHALLENGES = {
    'a realm in a file': ('Bearer realm="file:///etc/passwd",service="x"', (LOGIN, INVALID)), 'a realm link-local': ('Bearer realm="http://169.254.169.254/token",service="x"', (NOT_HERE, LOGIN)), 'a realm of ftp': ('Bearer realm="ftp://127.0.0.1/",service="x"', (LOGIN, INVALID)),
    'no realm': ('Bearer service="x"', LOGIN), 'an empty realm': ('Bearer realm=""', (LOGIN, INVALID)), 'another scheme': ('Negotiate', LOGIN), 'rubbish': ('=,=,"', LOGIN), 'quotes without end': ('Bearer realm="http://127.0.0.1', (LOGIN, INVALID, UNKNOWN)),
    'a long one': ('Bearer realm="http://127.0.0.1/' + 'x' * 30000 + '"', (LOGIN, INVALID, UNKNOWN, FULL)), 'basic, without credentials': ('Basic realm="x"', LOGIN), 'none at all': ('', LOGIN),
}
for _name, (_value, _codes) in CHALLENGES.items():
    case('challenge: ' + _name, (UNKNOWN, *(_codes if isinstance(_codes, tuple) else (_codes,))))(when('/v2/', challenge(_value)))


def token(answer):
    def make(fake):
        fake.when('/v2/', lambda r: r.answer(401, '', WWW_Authenticate=f'Bearer realm="http://{fake.address}/token",service="s"') or True)
        fake.when('/token', lambda r: answer(r) or True)
        return fake.add(image(Layer().file('f', 'x')))
    return make


for _name, _body, _codes in (('no JSON', 'x', (LOGIN, INVALID)), ('no token', '{}', LOGIN), ('a number', '{"token":1}', (LOGIN, INVALID)), ('in two lines', '{"token":"a\\r\\nX-Injected: 1"}', (LOGIN, INVALID)), ('with a NUL', '{"token":"a\\u0000b"}', (LOGIN, INVALID)),
                             ('empty', '{"token":""}', LOGIN), ('of 5 MiB', '{"token":"' + 'x' * (5 << 20) + '"}', (FULL, LOGIN)), ('of no use', '{"token":"x"}', LOGIN), ('a list', '[]', (LOGIN, INVALID))):
    case('token: ' + _name, (UNKNOWN, *(_codes if isinstance(_codes, tuple) else (_codes,))))(token(lambda r, body=_body: r.answer(200, body)))

ANSWERS = {
    # of the manifest
    'a page': (lambda r: r.answer(200, '<html>login</html>', Content_Type='text/html'), (INVALID, NO)), 'forbidden': (lambda r: r.answer(403, 'x'), DENIED), 'gone': (lambda r: r.answer(410, ''), UNKNOWN), 'a teapot': (lambda r: r.answer(418, '\x1b[31m'), UNKNOWN), 'no content': (lambda r: r.answer(204, ''), UNKNOWN),
    'a part': (lambda r: r.answer(206, '{}'), (LOST, UNKNOWN)), 'not modified': (lambda r: r.answer(304, ''), UNKNOWN), 'many choices': (lambda r: r.answer(300, ''), UNKNOWN), 'status 999': (lambda r: r.answer(999, ''), UNKNOWN), 'status 600 and a bomb': (lambda r: r.answer(600, b'x' * (3 << 20)), UNKNOWN),
    'another digest': (lambda r: r.answer(200, '{}', Docker_Content_Digest='sha256:' + '1' * 64), LOST), 'a digest of rubbish': (lambda r: r.answer(200, '{}', Docker_Content_Digest='x' * 1000), (INVALID, NO)), 'ninety thousand bytes of headers': (lambda r: r.answer(200, '{}', **{f'X_{i}': 'y' * 1000 for i in range(90)}), FULL),
    'one header of 200 KiB': (raw(b'HTTP/1.1 200 OK\r\nX: ' + b'y' * 200000 + b'\r\n\r\n'), (FULL, UNKNOWN)), 'headers without end': (raw(b'HTTP/1.1 200 OK\r\n' + b'A: b\r\n' * 50000), (FULL, UNKNOWN)), 'four thousand headers': (lambda r: r.answer(200, '{}', **{f'X_{i}': 'y' for i in range(4000)}), (FULL, INVALID, NO, UNKNOWN)),
    'rubbish': (raw(b'\x16\x03\x01' * 1000), UNKNOWN), 'HTTP/0.9': (raw(b'{"schemaVersion":2}'), UNKNOWN), 'a version of the future': (raw(b'HTTP/9.9 200 OK\r\n\r\n'), UNKNOWN), 'a status of letters': (raw(b'HTTP/1.1 OK\r\n\r\n'), UNKNOWN), 'two lengths': (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 50\r\n\r\n{}'), (UNKNOWN, INVALID, NO)),
    'a negative length': (raw(b'HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}'), (UNKNOWN, INVALID, NO)), 'a length past 64 bits': (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}'), (UNKNOWN, FULL, INVALID, NO)), 'a length that lies': (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}'), UNKNOWN),
    'a chunk that lies': (raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n{}'), UNKNOWN), 'a chunk in letters': (raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}'), UNKNOWN), 'chunks without end': (raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + b'10000\r\n' + b' ' * 65536 + b'\r\n') if False else raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + (b'10000\r\n' + b' ' * 65536 + b'\r\n') * 100), FULL),
    'an encoding': (lambda r: r.answer(200, gzip.compress(bytes(50 << 20)), Content_Encoding='gzip'), (INVALID, NO, FULL)), 'a thousand answers of 100': (raw(b'HTTP/1.1 100 Continue\r\n\r\n' * 1000), (UNKNOWN, FULL)), 'a switch of protocols': (raw(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'), UNKNOWN),
    'nothing': (raw(b''), UNKNOWN), 'a body without end': (lambda r: r.answer(200, b' ' * (50 << 20)), FULL), 'errors with escapes': (lambda r: r.answer(400, '{"errors":[{"code":"\\u001b[2J","message":"\\n\\u0007"}]}'), UNKNOWN), 'errors of a million': (lambda r: r.answer(400, '{"errors":[' + '{},' * 20000 + '{}]}'), UNKNOWN),
    'a status line of 100 KiB': (raw(b'HTTP/1.1 404 ' + b'x' * 100000 + b'\r\n\r\n'), (UNKNOWN, FULL, ABSENT)),
}
for _name, (_answer, _codes) in ANSWERS.items():
    case('answer: ' + _name, _codes)(when('/manifests/', _answer))


def blob_of(change, which=-1):
    def make(fake):
        it = image(Layer('gzip').file('f', os.urandom(3000)))
        ref = fake.add(it)
        name = digest(it.blobs()[which])
        fake.blobs[name] = change(fake.blobs[name])
        return ref
    return make


BLOBS = {
    'one byte changed': (lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], (LOST, INVALID)), 'zeros': (lambda b: bytes(len(b)), (LOST, INVALID)), 'more behind it': (lambda b: b + b'x', LOST), 'another sound layer': (lambda b: Layer('gzip').file('g', os.urandom(3000)).blob()[:len(b)].ljust(len(b)), (LOST, INVALID)),
    'an endless one': (lambda b: b * 5000, LOST),
}
for _name, (_change, _codes) in BLOBS.items():
    case('layer blob: ' + _name, _codes)(blob_of(_change))
for _name, (_change, _codes) in {k: BLOBS[k] for k in ('zeros', 'more behind it')}.items():
    case('config blob: ' + _name, _codes)(blob_of(_change, 0))
for _name, _answer, _codes in (('absent', lambda r: r.answer(404, ''), LOST), ('forbidden', lambda r: r.answer(403, ''), DENIED), ('wrong part', lambda r: r.answer(206, 'x', Content_Range='bytes 500-500/1000'), LOST), ('part without a range', lambda r: r.answer(206, 'x'), LOST),
                               ('a page', lambda r: r.answer(200, '<html>', Content_Type='text/html'), (LOST, UNKNOWN, INVALID)), ('headers', lambda r: r.answer(200, 'x', **{f'X_{i}': 'y' * 1000 for i in range(90)}), FULL), ('encoded', lambda r: r.answer(200, gzip.compress(b'x' * 3000), Content_Encoding='gzip'), (LOST, UNKNOWN, INVALID))):
    case('blob: ' + _name, _codes)(when('/blobs/', _answer))
NAMES = ['', ' ', 'UPPER/case', 'a//b', '/a', 'a/', 'a:', 'a@', 'a@sha256:12', 'a@md5:' + 'a' * 32, '-x', 'x:bad tag', 'x:' + 't' * 129, 'a' * 300, '../../etc/passwd', 'a/../b', 'http://127.0.0.1/x', 'file:///etc/passwd', '127.0.0.1:99999/x', '127.0.0.1:x/y', '[::1/x', 'a\nb', 'a\x1b[31m', 'ä/x', 'a?x=1', 'a#b', 'a%2f..%2fb', 'f' * 64]
for _name in NAMES:
    case('name: ' + repr(_name[:30]), INVALID)(lambda fake, name=_name: name)


def slowly(fake, part, data=b'', every=0.2):
    def drip(request):
        request.send_response(200)
        request.send_header('Content-Length', '1000000')
        request.end_headers()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            request.wfile.write(data or b'x')
            request.wfile.flush()
            time.sleep(every)
        return True
    fake.when(part, drip)
    return fake.add(image(Layer().file('f', os.urandom(999000))))


case('slow: a manifest that drips', LATE, deadline=1)(lambda fake: slowly(fake, '/manifests/', b' '))
case('slow: a blob that drips', (LATE, LOST, INVALID), deadline=1)(lambda fake: slowly(fake, '/blobs/'))
case('slow: no answer', LATE, deadline=1)(when('/v2/', lambda r: time.sleep(3)))
case('slow: no answer to a blob', LATE, deadline=1)(when('/blobs/', lambda r: time.sleep(3)))
case('slow: headers that drip', LATE, deadline=1)(when('/manifests/', lambda r: [r.wfile.write(b'HTTP/1.1 200 OK\r\n')] + [(r.wfile.write(b'A: b\r\n'), r.wfile.flush(), time.sleep(0.2)) for _ in range(12)]))
case('slow: Retry-After of a year', (LATE, UNKNOWN), deadline=2)(when('/manifests/', lambda r: r.answer(429, '', Retry_After='31536000')))


# ---------------------------------------------------------------- the test

def look(top):
    """{path: what matters} below a folder."""
    found = {}
    for base, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(base, name)
            try:
                it = os.lstat(path)
            except FileNotFoundError:  # gone meanwhile
                continue
            found[path] = (it.st_mode, it.st_uid, it.st_gid, it.st_nlink if stat.S_ISREG(it.st_mode) else 0, it.st_size if stat.S_ISREG(it.st_mode) else 0, it.st_mtime_ns if stat.S_ISREG(it.st_mode) else 0)
    return found


class Victim:
    """A daemon that hostile images come to, and what is to be as it was."""

    def __init__(self, top, pb):
        self.daemon = Daemon(make_daemon(top, 'hostile', None, config=f'max-layer-size: {LAYER_MAX >> 20}M\n', bridge='lxcrihost',
                                         cgroup_parent=os.environ['LXCRI_TEST_ID'] + '-hostile'), pb)
        self.pb, self.pid, self.root = pb, self.daemon.runtime.process.pid, self.daemon.runtime.root
        fake = Fake()
        ref = fake.add(image(Layer().file('kept', 'a sound image\n')))
        self.daemon.pull(ref)
        # A refused one, so that what is made once is there.
        self.outcome(fake.add(image(Raw(b'x', b'x'))), None)
        fake.stop()
        while os.listdir(self.root + '/layers/unsynced'):  # for a second, then it is on disk
            time.sleep(0.05)
        time.sleep(0.5)
        self.before = self.now()
        with open(f'/proc/{self.pid}/clear_refs', 'w', encoding='ascii') as f:
            f.write('5')

    def outcome(self, ref, deadline):
        try:
            self.daemon.cri.PullImage(deadline=deadline or 60 * SLOW, image=self.pb.ImageSpec(image=ref))
        except grpc.RpcError as error:
            return error.code(), error.details()
        return None, ''

    def now(self):
        threads = len(os.listdir(f'/proc/{self.pid}/task'))
        descriptors = []
        for fd in os.listdir(f'/proc/{self.pid}/fd'):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                descriptors.append(os.readlink(f'/proc/{self.pid}/fd/{fd}').split(':')[0])
        store = {path: what for path, what in look(self.root).items() if 'store.db' not in path and not path.endswith('.part')}  # kept for the next try (decision 0022), bounded
        images = sorted(i.id for i in self.daemon.cri.ListImages().images)
        outside = {**look(CANARY), **{p: sorted(os.listdir(p)) for p in ('/etc', '/')}, '/etc/passwd': os.lstat('/etc/passwd').st_mtime_ns}
        outside['escaped'] = [p for p in ('/tmp', '/var/tmp', '/', os.getcwd(), self.daemon.directory) if os.path.lexists(p + '/escaped')]
        return {'threads': threads, 'descriptors': sorted(descriptors), 'store': store, 'images': images, 'outside': outside}

    def differences(self):
        now = self.now()
        found = []
        for part, was in self.before.items():
            is_ = now[part]
            if part == 'threads':
                if is_ > was + 3:  # workers that wait for more; not one for each of hundreds
                    found.append(f'{is_} threads, there were {was}')
            elif part == 'descriptors':
                more = list(is_)
                for d in was:
                    if d in more:
                        more.remove(d)
                if more:
                    found.append(f'open: {more}')
            elif is_ != was:
                found.append(f'{part}: ' + str([name for name in {**was, **is_} if was.get(name) != is_.get(name)][:6] if isinstance(was, dict) else is_))
        return found

    def check(self):
        deadline = time.monotonic() + 5 * SLOW
        while (found := self.differences()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def peak(self):
        with open(f'/proc/{self.pid}/status', encoding='ascii') as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith('VmHWM'))


@pytest.fixture(scope='module')
def victim(top, pb):
    os.makedirs(CANARY)
    with open(CANARY + '/file', 'w', encoding='ascii') as f:
        f.write('the canary lives\n')
    it = Victim(top, pb)
    yield it
    it.daemon.stop()
    os.unlink(CANARY + '/file')
    os.rmdir(CANARY)


def test_there_are_enough():
    assert len(CASES) >= 200


@pytest.mark.parametrize('name', CASES)
def test_hostile(victim, name):
    make, codes, words, deadline = CASES[name]
    fake = Fake()
    try:
        ref = make(fake)
        code, said = victim.outcome(ref, deadline)
        if codes is None:
            assert code is None, said
            victim.daemon.cri.RemoveImage(image=victim.pb.ImageSpec(image=ref))
        else:
            assert code in codes, (code, said)
            assert said and said.isprintable() and len(said) < 1200, said
            for word in words:
                assert word in said, said
            # Odd bytes are not quoted back.
            odd = not re.fullmatch(r'[\x21-\x7e]{1,200}', ref)
            assert deadline or odd or ref[:20] in said or fake.address in said, said
    finally:
        fake.stop()
    assert not victim.check(), name
    assert victim.peak() < MEMORY_MAX, name
    assert victim.daemon.runtime.process.poll() is None
