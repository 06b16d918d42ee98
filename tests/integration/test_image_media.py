"""Layers in forms that lazy stores seek in (eStargz, zstd:chunked), read as the plain archives that they are, too."""

import gzip
import hashlib
import io
import struct
import subprocess
import tarfile

import pytest

import images as recipes
from helpers import CODE, refused
from oci import Layer, canonical, digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere, pytest.mark.usefixtures('clean')]


class Seekable(Layer):
    """A layer whose compressed form is @form: "estargz" or "zstd:chunked"."""

    def __init__(self, form):
        super().__init__('gzip' if form == 'estargz' else 'zstd')
        self.form = form

    def pieces(self):
        """The tar in pieces: each entry's header and content, then the end."""
        data, at = super().diff(), 0
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            entries = tar.getmembers()
        for entry in entries:
            end = entry.offset_data + (entry.size + 511 & ~511 if entry.isreg() else 0)
            yield data[at:end]
            at = end
        yield data[at:]

    def diff(self):
        return super().diff() if self.form != 'estargz' else self._with_index()

    def _with_index(self):
        """eStargz: the table of contents is the archive's last file."""
        if self._buf.getvalue().find(b'stargz.index.json') < 0:
            self.file('stargz.index.json', canonical({'version': 1, 'entries': []}))
        return super().diff()

    def blob(self):
        if self._blob is not None:
            return self._blob
        self.diff()
        if self.form == 'estargz':
            members = [gzip.compress(piece, 6, mtime=0) for piece in self.pieces()]
            offset = sum(len(m) for m in members[:-2])
            extra = b'SG' + struct.pack('<H', 22) + f'{offset:016x}STARGZ'.encode()
            footer = (b'\x1f\x8b\x08\x04' + b'\0' * 5 + b'\xff' + struct.pack('<H', len(extra)) + extra
                      + b'\x01\x00\x00\xff\xff' + b'\0' * 8)
            assert len(footer) == 51
            self._blob = b''.join(members) + footer
        else:
            frames = [subprocess.run(['zstd', '-q', '-c'], input=piece, stdout=subprocess.PIPE, check=True).stdout
                      for piece in self.pieces()]
            index = b'{"version":1,"entries":[]}'
            footer = struct.pack('<7Q', 0, len(index), len(index), 1, 0, 0, 0) + b'GNUlInUx'
            for skipped in (index, footer):
                frames.append(struct.pack('<2I', 0x184d2a50, len(skipped)) + skipped)
            self._blob = b''.join(frames)
        return self._blob


@pytest.mark.parametrize('form', ['estargz', 'zstd:chunked'])
def test_seekable_archives(daemon, images, form):
    layer = Seekable(form).dir('a').file('a/one', 'first').file('two', 'x' * 100000).symlink('three', 'a/one')
    ref = images.push(recipes.busybox(layer))
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        assert container.output('cat', '/three') == 'first'
        assert container.output('sha256sum', '/two').split()[0] == hashlib.sha256(b'x' * 100000).hexdigest()
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=ref))


def test_skippable_frame_without_end(daemon, images):
    """Its length reaches behind the blob."""
    layer = Seekable('zstd:chunked').file('f', 'f')
    layer._blob = layer.blob() + struct.pack('<2I', 0x184d2a50, 0xffffffff)  # pylint: disable=protected-access
    with refused(CODE.INVALID_ARGUMENT, CODE.DATA_LOSS, CODE.UNKNOWN, words=[digest(layer.blob())]):
        daemon.pull(images.push(recipes.busybox(layer)))
