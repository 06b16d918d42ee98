#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same image unpacked by umoci and by us, compared file by file: what a container sees through a mount of our layers must
be what umoci writes into one folder. Usage: test-layer.py PROGRAM (build/src/test-image-layer-umoci)"""

import ctypes
import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tests', 'lib'))
import oci  # noqa: E402

PROGRAM = sys.argv[1]
SKIPPED = 77
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 16384, 1 << 18
CAP = b'\x01\0\0\x02\0\x04\0\0' + bytes(12)


class GnuLayer(oci.Layer):
    """A folder packed by GNU tar: its sparse format 1.0, and what other writers do not do."""

    def __init__(self, folder, *options, compression='gzip'):
        super().__init__(compression)
        self.tar = subprocess.run(['tar', '--numeric-owner', '-C', folder, '--sort=name', *options, '-c', '.'],
                                  stdout=subprocess.PIPE, check=True).stdout

    def diff(self):
        return self.tar


def xattrs(**named):
    return {k.replace('__', '.'): v if isinstance(v, str) else v.decode('latin1') for k, v in named.items()}


def special_layers():
    a = oci.Layer('gzip')
    a.dir('./', mode=0o755, mtime=1500000000)
    a.dir('etc', mode=0o750, uid=1, gid=2, mtime=1500000001)
    a.file('etc/passwd', 'root:x:0:0', mode=0o640, uid=3, gid=4, mtime=1500000002)
    a.dir('usr').dir('usr/bin', mtime=1500000003)
    a.file('usr/bin/su', 'su', mode=0o4755).file('usr/bin/wall', 'wall', mode=0o2755, gid=5)
    a.file('usr/bin/ping', 'ping', mode=0o755, xattrs=xattrs(security__capability=CAP))
    a.file('usr/bin/owned', 'x', mode=0o6755, uid=1000, gid=1000, mtime=1500000000.123456789)
    a.symlink('bin', 'usr/bin').symlink('dangling', '/nowhere/at/all').symlink('up', '../../../etc')
    a.hardlink('usr/bin/su2', 'usr/bin/su').hardlink('etc/passwd-', './etc/passwd')
    a.dir('dev').device('dev/null', 'c', 1, 3).device('dev/loop', 'b', 7, 300, mode=0o660, gid=6)
    a.fifo('dev/pipe', mode=0o622)
    a.dir('tmp', mode=0o1777).dir('var').dir('var/mail', mode=0o2775, gid=8).file('var/mail/root', 'm', uid=9)
    a.dir('many')
    for i in range(200):
        a.file('many/%03d' % i, 'x' * i, uid=i, mtime=1400000000 + i)
    a.file('many/' + 'n' * 240, 'long').dir('p' * 150).dir('p' * 150 + '/' + 'q' * 150)
    a.file('p' * 150 + '/' + 'q' * 150 + '/' + 'r' * 200, 'deep')
    a.dir('gone').file('gone/1', '1').file('gone/2', '2').dir('gone/d').file('gone/d/3', '3')
    a.dir('opaque', mode=0o711).file('opaque/1', '1').file('opaque/2', '2')
    a.file('was-file', 'x').dir('was-dir').file('was-dir/1', '1').symlink('was-link', 'etc')

    b = oci.Layer('zstd')
    b.file('gone/.wh.1').file('.wh.up').file('many/.wh.007').file('many/.wh.nothing')
    b.file('opaque/.wh..wh..opq').file('opaque/new', 'new')
    b.dir('was-file', mode=0o700).file('was-file/now', 'x')
    b.file('was-dir', 'now a file', mode=0o600)
    b.dir('was-link', mode=0o711).file('was-link/now', 'x')
    b.file('etc/passwd', 'root:x:0:1', mode=0o600, uid=7)
    b.dir('var/mail', mode=0o2770, gid=12, mtime=1600000000)

    c = oci.Layer()
    c.dir('gone', mode=0o700, uid=77).file('gone/4', '4').file('.wh.many')
    c.dir('usr', mode=0o711, mtime=1600000001).dir('usr/bin', mtime=1600000002)
    c.file('usr/bin/.wh.wall').file('usr/bin/tool', 'tool', mode=0o555)
    c.hardlink('usr/bin/tool2', 'usr/bin/tool')
    return [a, b, c]


def host_layers(work):
    """Real trees: time zones have many links; and a folder with holes."""
    tree = os.path.join(work, 'tree')
    os.makedirs(os.path.join(tree, 'usr/share'))
    for path in ('/usr/share/zoneinfo', '/usr/share/perl5', '/etc'):
        if os.path.isdir(path):
            subprocess.run(['cp', '-a', path, os.path.join(tree, 'usr/share')], check=True)
    for name, size in (('start', 100000), ('big', 64 << 20)):
        with open(os.path.join(tree, name), 'wb') as f:
            f.write(b'x' * 5000)
            f.seek(size - 10)
            f.write(b'end')
            f.truncate(size)
    tree2 = os.path.join(work, 'tree2')
    os.makedirs(tree2)
    rng = random.Random(1)
    for i in range(300):
        with open(os.path.join(tree2, 'f%d' % i), 'wb') as f:
            f.write(rng.randbytes(rng.choice((0, 1, 511, 512, 513, 4096, 70000))))
    return [GnuLayer(tree, '--format=pax', '--sparse', '--xattrs'),
            GnuLayer(tree2, '--format=gnu', compression='zstd'), oci.Layer('gzip').file('usr/share/.wh.perl5')]


def walk(root):
    """path -> what is to be compared"""
    found, inodes = {}, {}
    for base, dirs, files in os.walk(root):
        for name in dirs + files + (['.'] if base == root else []):
            path = os.path.join(base, name)
            st = os.lstat(path)
            rel = os.path.normpath(os.path.relpath(path, root))
            what = {'mode': oct(st.st_mode), 'owner': (st.st_uid, st.st_gid), 'mtime': st.st_mtime_ns}
            if stat.S_ISLNK(st.st_mode):
                what['target'] = os.readlink(path)
            if stat.S_ISREG(st.st_mode):
                with open(path, 'rb') as f:
                    what['content'] = (st.st_size, hashlib.file_digest(f, 'sha256').hexdigest()
                                       if hasattr(hashlib, 'file_digest') else hashlib.sha256(f.read()).hexdigest())
            if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                what['device'] = st.st_rdev
            if not stat.S_ISDIR(st.st_mode):
                what['links'] = st.st_nlink
                inodes.setdefault(st.st_ino, []).append(rel)
            what['xattrs'] = {k: os.getxattr(path, k, follow_symlinks=False)
                              for k in os.listxattr(path, follow_symlinks=False) if not k.startswith('trusted.overlay')}
            found[rel] = what
    for names in inodes.values():
        for name in names:
            found[name]['same'] = sorted(names)
    return found


def unpack(image, work, threads=4, chunk=65536):
    """By us; the mountpoint."""
    root, mountpoint = os.path.join(work, 'ours'), os.path.join(work, 'mnt')
    os.makedirs(root)
    os.makedirs(mountpoint, exist_ok=True)
    args = []
    for i, layer in enumerate(image.layers):
        blob = os.path.join(work, 'blob%d' % i)
        with open(blob, 'wb') as f:
            f.write(layer.blob())
        args += [blob, layer.media_type(), oci.digest(layer.diff())]
    subprocess.run([PROGRAM, root, mountpoint, str(chunk), str(threads), *args], check=True)
    return mountpoint


def all_gzip(image):
    """As umoci wants it: older ones do not know zstd."""
    class Gzip(oci.Layer):
        def diff(self):
            return self.tar
    layers = []
    for layer in image.layers:
        layers.append(Gzip('gzip'))
        layers[-1].tar = layer.diff()
    return oci.Image(layers)


def compare(name, image, work, ignore):
    work = os.path.join(work, name)
    layout = os.path.join(work, 'layout')
    os.makedirs(layout)
    oci.write_layout(all_gzip(image), layout)
    subprocess.run(['umoci', 'unpack', '--image', layout + ':latest', os.path.join(work, 'bundle')], check=True,
                   stdout=subprocess.DEVNULL)
    theirs = walk(os.path.join(work, 'bundle/rootfs'))
    mountpoint = unpack(image, work)
    ours = walk(mountpoint)
    wrong = []
    for path in sorted(set(theirs) | set(ours)):
        a, b = theirs.get(path), ours.get(path)
        if a is None or b is None:
            wrong.append('%s: only %s has it' % (path, 'umoci' if b is None else 'we'))
            continue
        for key in a:
            if a[key] != b.get(key) and (path, key) not in ignore:
                wrong.append('%s: %s: umoci %s, we %s' % (path, key, a[key], b.get(key)))
    if wrong:
        sys.exit('%s:\n%s' % (name, '\n'.join(wrong[:40])))
    print('%s: %d files are alike' % (name, len(ours)))
    return mountpoint


def main():
    if os.geteuid() != 0 or not shutil.which('umoci'):
        return SKIPPED
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b'/', None, MS_REC | MS_PRIVATE, None) != 0:
        return SKIPPED
    os.umask(0o022)
    work = tempfile.mkdtemp(prefix='test-layer.')
    try:
        # With room for inodes and files of every kind, whatever /tmp is.
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=3g', 'tmpfs', work], check=True)
        # A lower layer's file counts its links there, of which an upper layer may have replaced one.
        for n in 1, 2, 3:
            compare('special%d' % n, oci.Image(special_layers()[:n]), work, {('etc/passwd-', 'links')})
        mountpoint = compare('host', oci.Image(host_layers(work)), work, set())
        assert os.stat(os.path.join(mountpoint, 'big')).st_blocks < 100, 'holes were filled'
    finally:
        subprocess.run(['umount', '-l', work], check=False)
        os.rmdir(work)
    return 0


if __name__ == '__main__':
    sys.exit(main())
