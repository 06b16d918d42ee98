"""image export and image from-rootfs: files of an image as archives, folders, disk images and templates, and back."""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import tarfile
import time

import pytest

import image_archives as archives
import images as recipes
from cri import eventually
from oci import Image, Layer

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

NAME = 'made.example/it:1'
CAPS = bytes.fromhex('0100000200200000000000000000000000000000').decode()
ACL = bytes.fromhex('02000000' '01000600ffffffff' '0200040007000000' '04000400ffffffff' '10000600ffffffff' '20000000ffffffff').decode(
    errors='surrogateescape')  # user::rw-,user:7:r--,group::r--,mask::rw-,other::---
SECONDS = 1234567890


def tree(path):
    """All that there is below: kind, mode, owner, time, links, attributes, contents."""
    found, links = {}, {}
    for top, folders, files in os.walk(path):
        folders.sort()  # the first name of a file with several is what the others are links to, on any file system
        for name in sorted(['.', *folders, *files] if top == str(path) else [*folders, *files]):
            one = os.path.join(top, name)
            s = os.lstat(one)
            kind = stat.S_IFMT(s.st_mode)
            what = [oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns]
            what.append({a: os.getxattr(one, a, follow_symlinks=False).hex()
                         for a in sorted(os.listxattr(one, follow_symlinks=False)) if a != 'security.selinux'})
            if kind == stat.S_IFLNK:
                what.append(os.readlink(one))
            elif kind == stat.S_IFREG:
                with open(one, 'rb') as f:
                    what.append(f.read())
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                what.append(s.st_rdev)
            relative = os.path.relpath(one, path)
            if kind != stat.S_IFDIR and s.st_nlink > 1:
                what.append(links.setdefault((s.st_dev, s.st_ino), relative))
            found[relative] = what
    return found


def rich(nanoseconds=True):
    """An image with all kinds of files; two layers, the upper one hides a file of the lower."""
    low = (Layer().dir('.', mode=0o711, uid=9, gid=8).dir('etc').file('etc/os-release', 'ID=debian\n').file('etc/gone', 'x').dir('dev')
           .dir('a', mode=0o1777, uid=5, gid=6).file('a/suid', 'text', mode=0o4755, uid=4000000, gid=3)
           .file('a/caps', 'cap', mode=0o755, xattrs={'security.capability': CAPS, 'trusted.note': 'n\0te'})
           .file('a/acl', 'acl', mode=0o660, xattrs={'system.posix_acl_access': ACL})
           .dir('a/default', mode=0o750, xattrs={'system.posix_acl_default': ACL}).file('a/default/none', 'n', mode=0o640)
           .hardlink('a/zlink', 'a/suid').symlink('a/symlink', '../nowhere').device('a/null', 'c', 1, 3).fifo('a/fifo')
           .file('a/' + 'n' * 200, 'long').file('a/umläut', 'utf').file('a/big', random.Random(1).randbytes(2500000))
           .file('a/old', 'o', mtime=SECONDS + (0.5 if nanoseconds else 0)))
    return Image([low, Layer().file('etc/.wh.gone').file('etc/new', 'y')], {'Cmd': ['/a/suid']})


@pytest.fixture(name='rich_image')
def fixture_rich_image(images, daemon):
    ref = images.push(rich(), 'convert-rich')
    daemon.pull(ref)
    return ref


@pytest.fixture(name='made')
def fixture_made(daemon, rich_image, clean):
    """from-rootfs with these words -> id; it goes afterwards."""
    ids = set()

    def make(*args, **more):
        done = daemon.runtime.cli('image', 'from-rootfs', '-q', *args, **more).stdout.strip()
        ids.add(done)
        return done

    yield make
    if ids:
        daemon.runtime.cli('image', 'rm', '-f', *ids)


@pytest.fixture(name='mounted')
def fixture_mounted(daemon, rich_image, clean):
    paths = []

    def mount(image):
        paths.append(daemon.runtime.cli('image', 'mount', image).stdout.strip())
        return paths[-1]

    yield mount
    for path in paths:
        daemon.runtime.cli('image', 'unmount', path)


def layer_of(daemon, image, tmp_path):
    """Digests of its layers."""
    where = tmp_path / f'layout-{time.monotonic_ns()}'
    daemon.runtime.cli('image', 'save', '-q', '--format', 'oci-dir', '-o', where, image)
    read = lambda digest: json.loads((where / 'blobs/sha256' / digest[7:]).read_text())
    manifest = read(json.loads((where / 'index.json').read_text())['manifests'][0]['digest'])
    return [one['digest'] for one in manifest['layers']], read(manifest['config']['digest'])


def without_acls(found):
    return {name: [*what[:4], {a: v for a, v in what[4].items() if not a.startswith('system.posix_acl')}, *what[5:]]
            for name, what in found.items()}


def whole_seconds(found):
    return {name: [*what[:3], what[3] // 10**9, *what[4:]] for name, what in found.items()}


FORMATS = {'tar': 'out.tar', 'tar.gz': 'out.tar.gz', 'tar.zst': 'out.tar.zst', 'rootfs-dir': 'out', 'ext4': 'out.ext4',
           'squashfs': 'out.squashfs', 'proxmox-template': 'out_1_amd64.tar.zst', 'lxc-template': 'out'}


@pytest.mark.parametrize('form', FORMATS)
def test_round_trip(daemon, rich_image, made, mounted, tmp_path, form):
    """Out, back in, and the files are the same; the same again is the same layer."""
    if form in ('ext4', 'squashfs') and not os.path.exists('/dev/loop-control'):
        pytest.skip('there are no loop devices here')
    if form == 'squashfs' and not shutil.which('mksquashfs'):
        pytest.skip('mksquashfs is not installed')
    out = tmp_path / FORMATS[form]
    said = daemon.runtime.cli('image', 'export', '--format', form, '-o', out, rich_image)
    assert said.stdout.strip() == str(out)
    assert os.listdir(tmp_path) == [FORMATS[form]], 'nothing else is left'
    first = made(out, NAME)
    assert made(out, NAME + '-again') != '' and daemon.runtime.cli('image', 'ls').stdout.count('made.example/it') == 2
    assert layer_of(daemon, NAME, tmp_path)[0] == layer_of(daemon, NAME + '-again', tmp_path)[0]
    ours, theirs = tree(mounted(rich_image)), tree(mounted(first))
    if form in ('ext4', 'squashfs'): # what they can't hold, or what makes them doesn't
        ours, theirs = whole_seconds(ours), whole_seconds(theirs)
    if form == 'squashfs':
        ours = without_acls(ours)
    if form == 'proxmox-template': # ours, since the image has no init
        assert {name for name in theirs if name not in ours} == {'sbin', 'sbin/init', 'etc/proxmox-lxcri-app'}
        theirs = {name: what for name, what in theirs.items() if name in ours}
    assert form == 'squashfs' or 'system.posix_acl_access' in theirs['a/acl'][4] and theirs['a/default/none'][4] == {}
    assert theirs == ours and 'etc/gone' not in ours and len(ours) > 15


def test_a_folder_is_an_image_that_runs(daemon, made, tmp_path):
    """With a config of its own; the same folder is the same layer, whatever the order of its names on disk."""
    for at in ('one', 'two'):
        names = ['b', 'a', 'c'] if at == 'one' else ['c', 'b', 'a']
        for name in names:
            os.makedirs(tmp_path / at / 'data' / name)
            os.utime(tmp_path / at / 'data' / name, (SECONDS, SECONDS))
        shutil.copy('/bin/busybox', tmp_path / at)
        for name in ('data', 'busybox', '.'):
            os.utime(tmp_path / at / name, (SECONDS, SECONDS))
    made(tmp_path / 'one', NAME, '--entrypoint', '["/busybox"]', '-c', 'CMD ["sleep", "1000"]', '--env', 'A=b', '-l', 'x=y',
         '--workdir', '/data', '--user', '7:8', '-m', 'of a folder')
    made(tmp_path / 'two', NAME + '-two')
    layers, config = layer_of(daemon, NAME, tmp_path)
    assert layers == layer_of(daemon, NAME + '-two', tmp_path)[0]
    for name in ('-zstd', '-again'):
        made(tmp_path / 'two', NAME + name, '--compression', 'zstd')
    packed, of_packed = layer_of(daemon, NAME + '-zstd', tmp_path)
    assert layers != packed == layer_of(daemon, NAME + '-again', tmp_path)[0] and of_packed['rootfs'] == config['rootfs']
    assert config['config']['Labels'] == {'x': 'y'} and config['history'][-1]['comment'] == 'of a folder'
    with daemon.pod() as pod:
        container = pod.run(NAME)
        said = container.output('/busybox', 'sh', '-c', 'echo $A; pwd; /busybox id -u; /busybox id -g')
        assert said.split() == ['b', '/data', '7', '8']
    daemon.runtime.cli('image', 'verify', NAME)


@pytest.mark.parametrize('program, suffix', [('gzip', 'gz'), ('zstd', 'zst'), ('xz', 'xz'), ('bzip2', 'bz2'), (None, 'tar')])
def test_archives(daemon, made, tmp_path, program, suffix):
    """GNU tar's, compressed by these; one that is cut off makes no image."""
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/file').write_bytes(os.urandom(100000))
    subprocess.run(['tar', '-C', tmp_path / 'in', '-cf', tmp_path / 'a.tar', '.'], check=True)
    whole = tmp_path / ('a.tar' if suffix == 'tar' else f'a.tar.{suffix}')
    if program:
        subprocess.run([program, '-k', '-q', tmp_path / 'a.tar'], check=True)
    image = made(whole, NAME)
    with open(whole, 'rb') as f:
        if suffix in ('tar', 'gz', 'zst'):
            made('-', NAME + '-stdin', stdin=f)
            assert layer_of(daemon, NAME, tmp_path)[0] == layer_of(daemon, NAME + '-stdin', tmp_path)[0]
    before = daemon.runtime.cli('image', 'ls').stdout
    for cut in (whole.stat().st_size - 11000 if suffix == 'tar' else whole.stat().st_size // 2, 51200 if suffix == 'tar' else 100):
        (tmp_path / 'cut').write_bytes(whole.read_bytes()[:cut])
        done = daemon.runtime.cli('image', 'from-rootfs', '-q', tmp_path / 'cut', 'cut.example/it:1', check=False)
        assert done.returncode == 1 and not done.stdout, done
    assert daemon.runtime.cli('image', 'ls').stdout == before and image


def test_nothing_is_said_behind_an_archive(daemon, rich_image, clean):
    command = [daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'export', '--format', 'tar.gz', '--output', 'json', rich_image]
    archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(['gzip', '-t'], input=archive, check=True)


def refused(daemon, *args, words=()):
    done = daemon.runtime.cli('image', *args, check=False)
    assert done.returncode in (1, 2) and all(word in done.stderr for word in words), done


def test_refused(daemon, rich_image, tmp_path, clean):
    """Said clearly, and nothing is left."""
    refused(daemon, 'from-rootfs', tmp_path / 'none', words=['open', 'none'])
    (tmp_path / 'text').write_text('no archive' * 1000)
    refused(daemon, 'from-rootfs', tmp_path / 'text', words=['end mark'])
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder/.wh.name').touch()
    refused(daemon, 'from-rootfs', tmp_path / 'folder', words=['.wh.name'])
    refused(daemon, 'export', rich_image, words=['--format'])
    refused(daemon, 'export', '--format', 'cpio', rich_image, words=['cpio'])
    refused(daemon, 'export', '--format', 'ext4', rich_image, words=['-o'])
    refused(daemon, 'export', '--format', 'tar', '-o', tmp_path / 'no/such', rich_image, words=['no/such'])
    refused(daemon, 'export', '--format', 'tar', '-o', tmp_path / 'x', 'none.example/x:1', words=['none.example/x'])
    refused(daemon, 'export', '--format', 'rootfs-dir', '-o', tmp_path / 'folder', rich_image, words=['not empty'])
    refused(daemon, 'export', '--format', 'ext4', '--size', '1M', '-o', tmp_path / 'small', rich_image, words=['--size'])
    assert sorted(os.listdir(tmp_path)) == ['folder', 'text'] and os.listdir(tmp_path / 'folder') == ['.wh.name']


def test_into_what_is_no_file(daemon, rich_image, tmp_path, clean):
    """An archive goes into a pipe; a disk image does not, and the pipe stays one."""
    os.mkfifo(tmp_path / 'fifo')
    with open(tmp_path / 'out', 'w+b') as out, subprocess.Popen(['timeout', '60', 'cat', tmp_path / 'fifo'], stdout=out) as reader:
        daemon.runtime.cli('image', 'export', '--format', 'tar', '-o', tmp_path / 'fifo', rich_image)
        assert reader.wait(60) == 0
    with tarfile.open(tmp_path / 'out') as tar:
        assert 'a/suid' in tar.getnames()
    with subprocess.Popen(['timeout', '60', 'cat', tmp_path / 'fifo'], stdout=subprocess.DEVNULL):
        refused(daemon, 'export', '--format', 'squashfs', '-o', tmp_path / 'fifo', rich_image, words=['no file'])
    assert stat.S_ISFIFO(os.lstat(tmp_path / 'fifo').st_mode) and sorted(os.listdir(tmp_path)) == ['fifo', 'out']
    refused(daemon, 'export', '--format', 'tar', '-o', tmp_path, rich_image, words=['is a folder'])


def test_left_out(daemon, made, mounted, tmp_path):
    """However the path is written. Nothing is left out of archives, which is said."""
    for name in ('keep', 'cache/deep', 'proc/1', 'a/b/c'):
        (tmp_path / 'in' / name).mkdir(parents=True)
    excluded = [word for path in ('cache/', '/proc//', './a/./b') for word in ('--exclude', path)]
    assert set(tree(mounted(made(tmp_path / 'in', NAME, *excluded)))) == {'.', 'keep', 'a'}
    subprocess.run(['tar', '-C', tmp_path / 'in', '-cf', tmp_path / 'a.tar', '.'], check=True)
    refused(daemon, 'from-rootfs', tmp_path / 'a.tar', 'made.example/no:1', '--exclude', 'cache', words=['archive'])
    for path in ('/', '../a', ''):
        refused(daemon, 'from-rootfs', tmp_path / 'in', 'made.example/no:1', '--exclude', path, words=['leave out'])


def test_a_damaged_end_takes_no_name(daemon, made, tmp_path):
    """All that tar wants has come when xz finds that something is missing: the image that has the name keeps it."""
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/file').write_text('x')
    first = made(tmp_path / 'in', NAME)
    subprocess.run(['tar', '-C', tmp_path / 'in', '-cJf', tmp_path / 'a.tar.xz', '.'], check=True)
    whole = (tmp_path / 'a.tar.xz').read_bytes()
    (tmp_path / 'cut').write_bytes(whole[:-12])
    refused(daemon, 'from-rootfs', '-q', tmp_path / 'cut', NAME, words=['xz failed'])
    listed = lambda: json.loads(daemon.runtime.cli('image', 'inspect', NAME, '-o', 'json').stdout)
    assert first in json.dumps(listed())
    second = made(tmp_path / 'a.tar.xz', NAME)
    assert second in json.dumps(listed()) and first not in json.dumps(listed())
    with open(tmp_path / 'a.tar.xz', 'rb') as f:
        refused_ = daemon.runtime.cli('image', 'from-rootfs', '-', NAME, stdin=f, check=False)
    assert refused_.returncode == 1 and 'xz -dc' in refused_.stderr, refused_


def test_skippable_frames(daemon, made, tmp_path):
    """With one of these pzstd begins."""
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/file').write_text('x')
    packed = subprocess.run(f'tar -C {tmp_path}/in -c . | zstd -q', shell=True, check=True, capture_output=True).stdout
    (tmp_path / 'a.tar.zst').write_bytes(bytes.fromhex('502a4d18 04000000 01020304') + packed)
    (tmp_path / 'b.tar.zst').write_bytes(packed)
    made(tmp_path / 'a.tar.zst', NAME)
    made(tmp_path / 'b.tar.zst', NAME + '-plain')
    assert layer_of(daemon, NAME, tmp_path)[0] == layer_of(daemon, NAME + '-plain', tmp_path)[0]


@pytest.mark.parametrize('form, how', [('tar', signal.SIGINT), ('tar', signal.SIGKILL), ('rootfs-dir', signal.SIGKILL)])
def test_killed(daemon, images, tmp_path, form, how, clean):
    """Neither a mount nor half of anything stays."""
    ref = images.push(Image([Layer().file('random', random.Random(2).randbytes(30 << 20))]), 'convert-big')
    daemon.pull(ref)
    where = ['-o', tmp_path / 'out'] if form == 'rootfs-dir' else []
    export = subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'export', '--format', form,
                               *where, ref], stdout=subprocess.PIPE)
    is_mounted = lambda: 'lxcri-image.' in open('/proc/self/mounts').read()
    eventually(is_mounted)
    if form == 'tar':
        assert export.stdout.read(1) # and no more: it waits
    busy = None
    if (form, how) == ('tar', signal.SIGKILL):  # what is killed lets go of its files one by one
        with open('/proc/self/mounts', encoding='ascii') as f:
            [path] = [line.split()[1] for line in f if 'lxcri-image.' in line]
        busy = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    export.send_signal(how)
    was_killed = export.wait() != 0
    if busy is not None:
        time.sleep(0.2)
        os.close(busy)
    assert was_killed or form == 'rootfs-dir'
    eventually(lambda: not is_mounted())
    eventually(lambda: os.listdir(tmp_path) in ([], ['out']))
    if os.listdir(tmp_path): # it was quicker, but for its end perhaps
        assert form == 'rootfs-dir' and os.stat(tmp_path / 'out/random').st_size == 30 << 20
    else:
        assert was_killed
    export.stdout.close()
    daemon.runtime.cli('image', 'rm', ref)


def test_full_disk(daemon, rich_image, tmp_path, clean):
    """Said, and nothing is left."""
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'small', tmp_path], check=True)
    try:
        for form in ('tar', 'rootfs-dir', 'squashfs', 'ext4'):
            done = daemon.runtime.cli('image', 'export', '--format', form, '-o', tmp_path / 'out', rich_image, check=False)
            assert done.returncode == 1 and 'export' in done.stderr, done
            assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(['umount', tmp_path], check=True)


@pytest.mark.parametrize('stop, number', [('SIGUSR1', signal.SIGUSR1), ('SIGRTMIN+3', 37)])
def test_template_starts_what_the_image_says(daemon, images, tmp_path, clean, stop, number):
    """An image without an init gets ours: user, folder, environment and stop signal are the image's."""
    script = ('exec >/work/said 2>&1; id -u; id -g; pwd; echo $WORD; '
              f'trap "echo bye; exit 7" {int(number)}; echo ready; while :; do sleep 0.05; done')
    ref = images.push(Image([recipes.busybox_layer(), Layer().dir('work', uid=7).file('etc/group', 'crew:x:9:\n')],
                            {'Entrypoint': ['/bin/sh', '-c'], 'Cmd': [script], 'User': '7:crew', 'WorkingDir': '/work',
                             'Env': ['WORD=two words', 'PATH=/bin'], 'StopSignal': stop}), 'convert-app')
    daemon.pull(ref)
    out = daemon.runtime.cli('image', 'export', '--format', 'proxmox-template', '-o', tmp_path, ref)
    assert 'unmanaged' in out.stderr
    root = tmp_path / 'it/rootfs'
    root.mkdir(parents=True)
    # As Proxmox VE does it.
    subprocess.run(['tar', 'xpf', out.stdout.strip(), '--numeric-owner', '--skip-old-files', '--anchored', '--exclude', './dev/*',
                    '-C', root], check=True)
    (tmp_path / 'it/config').write_text(f'lxc.rootfs.path = dir:{root}\nlxc.uts.name = it\nlxc.net.0.type = empty\n'
                                        'lxc.mount.auto = proc:mixed\nlxc.apparmor.profile = unconfined\n')
    started = subprocess.Popen(['lxc-start', '-F', '-P', tmp_path, '-n', 'it', '-l', 'ERROR', '-o', tmp_path / 'log'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = lambda: (root / 'work/said').read_text().split('\n')
    try:
        eventually(lambda: (root / 'work/said').exists() and 'ready' in lines())
        assert lines()[:5] == ['7', '9', '/work', 'two words', 'ready']
        subprocess.run(['lxc-stop', '-P', tmp_path, '-n', 'it'], check=True, timeout=60)
        started.wait(60)
        assert lines()[5] == 'bye'
    finally:
        started.kill()
        started.wait()
    daemon.runtime.cli('image', 'rm', ref)


def test_wherever_temporary_files_are(daemon, images, tmp_path, clean):
    """The image's /sbin is found however $TMPDIR is written."""
    ref = images.push(Image([Layer().dir('usr').dir('usr/sbin').symlink('sbin', 'usr/sbin')], {'Cmd': ['/x']}), 'convert-sbin')
    daemon.pull(ref)
    (tmp_path / 'real').mkdir()
    os.symlink('real', tmp_path / 'link')
    for where in ('link', 'real/'):
        out = tmp_path / 'out'
        done = daemon.runtime.cli('image', 'export', '--format', 'proxmox-template', '-o', out, ref,
                                  env={**os.environ, 'TMPDIR': f'{tmp_path}/{where}'}, check=False)
        assert done.returncode == 0, done
        assert './usr/sbin/init' in subprocess.run(['tar', '-tf', out], check=True, capture_output=True, text=True).stdout.split()
    assert os.listdir(tmp_path / 'real') == []
    daemon.runtime.cli('image', 'rm', ref)


def test_template_for_proxmox(daemon, rich_image, tmp_path, clean):
    """Called as Proxmox VE wants it, with names that it can leave out."""
    out = daemon.runtime.cli('image', 'export', '--format', 'proxmox-template', '-o', tmp_path, rich_image).stdout.strip()
    name = os.path.basename(out)
    assert name.startswith('convert-rich_1_') and name.endswith('.tar.zst')
    plain = subprocess.run(['zstd', '-dc', out], check=True, capture_output=True).stdout
    (tmp_path / 'plain.tar').write_bytes(plain)
    with tarfile.open(tmp_path / 'plain.tar') as archive:
        names = archive.getnames()
    assert './etc/os-release' in names and all(one == '.' or one.startswith('./') for one in names)
    (tmp_path / 'to').mkdir()
    subprocess.run(['tar', 'xpf', out, '--numeric-owner', '--acls', '--xattrs', '--xattrs-include=user.*',
                    '--xattrs-include=security.capability', '--skip-old-files', '--anchored', '--exclude', './dev/*', '-C',
                    tmp_path / 'to'], check=True)
    acl = os.getxattr(tmp_path / 'to/a/acl', 'system.posix_acl_access')
    assert acl == ACL.encode(errors='surrogateescape') and os.getxattr(tmp_path / 'to/a/caps', 'security.capability') == CAPS.encode()
    os.unlink(tmp_path / 'plain.tar')


def test_templates_for_another_machine(daemon, tmp_path, clean):
    """They say for which; what has no init gets none that could not run there."""
    arch, theirs = ('amd64', 'amd64') if os.uname().machine == 'aarch64' else ('arm', 'armhf')
    for ref, layer in (('other.example/init:1', Layer().dir('sbin').file('sbin/init', 'x', mode=0o755)),
                       ('other.example/none:1', Layer().file('x', 'x', mode=0o755))):
        image = Image([layer], {'Cmd': ['/x']}, arch=arch)
        (tmp_path / 'load.tar').write_bytes(archives.tar(archives.docker((image, [ref]))))
        daemon.runtime.cli('image', 'load', '-q', '-i', tmp_path / 'load.tar', '--platform', f'linux/{arch}')
        [shown] = json.loads(daemon.runtime.cli('image', 'inspect', ref).stdout)
        assert (shown['info']['info']['imageSpec']['os'], shown['info']['info']['imageSpec']['architecture']) == ('linux', arch)
    os.unlink(tmp_path / 'load.tar')
    done = daemon.runtime.cli('image', 'export', '--format', 'proxmox-template', '-o', tmp_path, 'other.example/none:1', check=False)
    assert done.returncode == 1 and f'it is for {arch}' in done.stderr and os.listdir(tmp_path) == [], done
    daemon.runtime.cli('image', 'export', '--format', 'proxmox-template', '-o', tmp_path, 'other.example/init:1')
    assert os.listdir(tmp_path) == [f'init_1_{theirs}.tar.zst']
    daemon.runtime.cli('image', 'export', '--format', 'lxc-template', '-o', tmp_path / 'lxc', 'other.example/init:1')
    with tarfile.open(tmp_path / 'lxc/meta.tar.xz') as archive:
        assert f'lxc.arch = {theirs}\n' in archive.extractfile('config').read().decode()
    daemon.runtime.cli('image', 'rm', 'other.example/init:1', 'other.example/none:1')


def test_template_for_lxc(daemon, images, tmp_path, clean):
    """lxc-create makes a container of it."""
    ref = images.push(recipes.marked('convert-lxc'), 'convert-lxc')
    daemon.pull(ref)
    daemon.runtime.cli('image', 'export', '--format', 'lxc-template', '-o', tmp_path / 'template', ref)
    done = subprocess.run(['lxc-create', '-P', tmp_path / 'lxc', '-n', 'it', '-t', 'local', '--', '--metadata',
                           tmp_path / 'template/meta.tar.xz', '--fstree', tmp_path / 'template/rootfs.tar.xz'],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert 'lxc.include' in (tmp_path / 'lxc/it/config').read_text()
    assert (tmp_path / 'lxc/it/rootfs/bin/busybox').exists()
    daemon.runtime.cli('image', 'rm', ref)
