"""Images: pull, status, list, remove, and that unpacking is right."""

import os
import re
import shutil
import stat
import struct
import subprocess
import time

import pytest

import images as recipes
from cri import SLOW, eventually
from fake_registry import Fake
from oci import Image, Layer, digest, index, write_layout
from registry import Registry, make_certificate
from helpers import CODE, refused


def spec(pb, ref):
    return pb.ImageSpec(image=ref)


def status(daemon, ref, **more):
    return daemon.cri.ImageStatus(image=spec(daemon.pb, ref), **more).image


def remove(daemon, ref):
    daemon.cri.RemoveImage(image=spec(daemon.pb, ref))


def test_life(daemon, images, clean):
    image = recipes.marked('life', User='1002')
    ref = images.push(image, 'life')
    [image_id] = daemon.pull(ref)
    shown = status(daemon, ref)
    assert shown.id == image_id
    assert list(shown.repo_tags) == [ref]
    assert list(shown.repo_digests) == [ref.rsplit(':', 1)[0] + '@' + image.digest()]
    assert shown.size > 0 and shown.uid.value == 1002 and shown.username == ''
    assert image_id.endswith(image.id()[7:])
    listed = {i.id: i for i in daemon.cri.ListImages().images}
    assert listed[image_id] == shown
    for other in (image_id, shown.repo_digests[0]):
        assert status(daemon, other) == shown, other
    remove(daemon, image_id)
    assert not status(daemon, ref).id
    assert image_id not in {i.id for i in daemon.cri.ListImages().images}
    remove(daemon, ref)


@pytest.mark.ours
def test_filter(daemon, images, busybox, pb):
    images_ = daemon.cri.ListImages(filter=pb.ImageFilter(image=spec(pb, busybox))).images
    assert [busybox in i.repo_tags for i in images_] == [True]
    assert not daemon.cri.ListImages(
        filter=pb.ImageFilter(image=spec(pb, images.ref('absent')))).images


def test_tags_of_one_image(daemon, images, clean):
    image = recipes.marked('tags')
    refs = [images.push(image, 'tags', tag) for tag in '123']
    assert len(set(daemon.pull(*refs))) == 1
    assert sorted(status(daemon, refs[0]).repo_tags) == refs
    remove(daemon, refs[1])
    assert not any(status(daemon, ref).id for ref in refs)


def test_by_digest(daemon, images, clean):
    image = recipes.marked('by-digest')
    ref = images.push(image, 'by-digest').rsplit(':', 1)[0] + '@' + image.digest()
    daemon.pull(ref)
    shown = status(daemon, ref)
    assert list(shown.repo_tags) == [] and list(shown.repo_digests) == [ref]
    remove(daemon, ref)


@pytest.mark.parametrize('compression', ['', 'gzip', 'zstd'])
def test_compressions(daemon, images, compression, clean):
    layer = Layer(compression).file('packed', b'0123456789' * 100000)
    ref = images.push(recipes.busybox(layer))
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        assert container.sh('wc -c </packed') == '1000000'
    remove(daemon, ref)


def test_docker_manifest(daemon, images, clean):
    image = Image([recipes.busybox_layer(), Layer('gzip').file('docker', 'yes')],
                  {'Cmd': ['sh']}, docker=True)
    ref = images.push(image)
    daemon.pull(ref)
    with daemon.pod() as pod:
        assert pod.run(ref, ['sleep', '100']).output('cat', '/docker') == 'yes'
    remove(daemon, ref)


def test_index_chooses_the_platform(daemon, images, clean):
    wrong = Image([Layer().file('wrong')], {}, arch='s390x')
    right = recipes.marked('right')
    images.pusher.push_index('index', '1', [('s390x', wrong), ('amd64', right)])
    ref = images.ref('index')
    [image_id] = daemon.pull(ref)
    assert image_id.endswith(right.id()[7:])
    name = ref.rsplit(':', 1)[0]
    from oci import digest  # pylint: disable=import-outside-toplevel
    both = {f'{name}@{right.digest()}', f'{name}@{digest(index([("s390x", wrong), ("amd64", right)]))}'}
    assert set(status(daemon, ref).repo_digests) <= both
    remove(daemon, ref)


@pytest.mark.ours
def test_index_without_our_platform(daemon, images, clean):
    wrong = Image([Layer().file('wrong')], {}, arch='s390x')
    images.pusher.push_index('no-platform', '1', [('s390x', wrong)])
    with refused(CODE.NOT_FOUND, CODE.FAILED_PRECONDITION, CODE.UNKNOWN, words=['amd64']):
        daemon.pull(images.ref('no-platform'))


def test_short_names_mean_the_same(daemon, images, clean):
    ref = images.push(recipes.marked('untagged'), 'untagged', 'latest')
    name = ref.rsplit(':', 1)[0]
    daemon.pull(name)
    assert list(status(daemon, ref).repo_tags) == [ref]
    assert status(daemon, name).id == status(daemon, ref).id
    remove(daemon, name)


def test_pull_again_is_quick_and_the_same(daemon, images, busybox):
    assert len(set(daemon.pull(busybox, busybox, busybox))) == 1


def test_a_moved_tag(daemon, images, clean):
    ref = images.push(recipes.marked('old'), 'moving')
    [old] = daemon.pull(ref)
    images.push(recipes.marked('new'), 'moving')
    [new] = daemon.pull(ref)
    assert old != new and status(daemon, ref).id == new
    assert ref not in status(daemon, old).repo_tags
    remove(daemon, new)
    remove(daemon, old)


def test_image_fs_info(daemon):
    def counted():
        [fs] = daemon.cri.ImageFsInfo().image_filesystems
        return fs if fs.used_bytes.value > 0 and fs.inodes_used.value > 0 else None
    fs = eventually(counted)
    assert fs.timestamp > 0
    assert os.path.isdir(fs.fs_id.mountpoint)


def test_image_in_use_stays_usable(daemon, images, clean):
    ref = images.push(recipes.marked('in-use'), 'in-use')
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        try:
            remove(daemon, ref)
        except Exception as error:  # pylint: disable=broad-except
            assert error.code() == CODE.FAILED_PRECONDITION
        assert container.output('cat', '/in-use') == 'in-use'
    remove(daemon, ref)


# ---------------------------------------------------------------- credentials, TLS

@pytest.fixture(scope='module')
def private(top):
    with Registry(os.path.join(top, 'private'), 'user', 'secret word') as registry:
        import base64  # pylint: disable=import-outside-toplevel
        from oci import Pusher  # pylint: disable=import-outside-toplevel
        basic = base64.b64encode(b'user:secret word').decode()
        Pusher(registry.address, {'Authorization': 'Basic ' + basic}).push(
            'private', '1', recipes.marked('private'))
        yield f'{registry.address}/private:1', basic


def test_password(daemon, private, pb, clean):
    ref, basic = private
    pull = daemon.cri.PullImage
    for auth in (None, pb.AuthConfig(username='user', password='wrong')):
        with refused(CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED, CODE.UNKNOWN, words=['401']):
            pull(image=spec(pb, ref), auth=auth)
    for auth in (pb.AuthConfig(username='user', password='secret word'),
                 pb.AuthConfig(auth=basic)):
        assert pull(image=spec(pb, ref), auth=auth).image_ref
        remove(daemon, ref)


@pytest.mark.ours
def test_password_is_not_in_the_log(daemon, private, pb):
    ref, _ = private
    daemon.cri.PullImage(image=spec(pb, ref),
                         auth=pb.AuthConfig(username='user', password='secret word'))
    remove(daemon, ref)
    with open(daemon.runtime.log_path, encoding='utf-8') as f:
        assert 'secret word' not in f.read()


@pytest.mark.ours
def test_tls_needs_the_ca_file(top, pb, registry, images):
    from conftest import Daemon, make_daemon  # pylint: disable=import-outside-toplevel
    with Registry(os.path.join(top, 'tls'), tls=True) as secure:
        image = recipes.marked('tls')
        layout = os.path.join(top, 'tls', 'layout')
        write_layout(image, layout)
        subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', '--dest-tls-verify=false',
                        f'oci:{layout}:latest', f'docker://{secure.address}/tls:1'], check=True)
        ref = f'{secure.address}/tls:1'
        for number, ca_file in enumerate((None, secure.ca_file)):
            entry = {'host': secure.address}
            if ca_file:
                entry['ca-file'] = ca_file
            word = f'{os.environ["LXCRI_TEST_ID"]}-tls{number}'
            daemon = Daemon(make_daemon(top, f'tls-daemon{number}', registry, registries=[entry],
                                        cgroup_parent=word, bridge=f'lxcritls{number}'), pb)
            try:
                if ca_file:
                    assert daemon.pull(ref)
                else:
                    with refused(CODE.UNAVAILABLE, CODE.UNKNOWN, words=['certificate']):
                        daemon.pull(ref)
            finally:
                daemon.stop()


@pytest.mark.ours
def test_tls_with_a_certificate_of_ours(top, pb, registry, tmp_path):
    """A registry that wants to know who asks: the right certificate, none, another, and files that are none."""
    from conftest import Daemon, make_daemon  # pylint: disable=import-outside-toplevel
    (tmp_path / 'ours').mkdir()
    (tmp_path / 'other').mkdir()
    cert, key = make_certificate(str(tmp_path / 'ours'), 'node')
    other_cert, other_key = make_certificate(str(tmp_path / 'other'), 'other')
    with Registry(str(tmp_path / 'registry'), tls=True, clients=cert) as secure:
        layout = str(tmp_path / 'layout')
        write_layout(recipes.marked('clients'), layout)
        certs = tmp_path / 'certs.d'
        certs.mkdir()
        for name, file in (('ca.crt', secure.ca_file), ('client.cert', cert), ('client.key', key)):
            shutil.copy(file, certs / name)
        ref = f'{secure.address}/clients:1'
        subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', '--dest-cert-dir', str(certs),
                        f'oci:{layout}:latest', f'docker://{ref}'], check=True)
        for number, (files, words) in enumerate((
                ({'cert-file': cert, 'key-file': key}, None), ({}, [secure.address]),
                ({'cert-file': other_cert, 'key-file': other_key}, [secure.address]),
                ({'cert-file': cert, 'key-file': other_key}, [cert]))):
            word = f'{os.environ["LXCRI_TEST_ID"]}-cert{number}'
            daemon = Daemon(make_daemon(top, f'cert-daemon{number}', registry, cgroup_parent=word, bridge=f'lxcricrt{number}',
                                        registries=[{'host': secure.address, 'ca-file': secure.ca_file, **files}]), pb)
            try:
                if words:
                    with refused(CODE.UNAVAILABLE, CODE.UNKNOWN, CODE.FAILED_PRECONDITION, words=words):
                        daemon.pull(ref)
                else:
                    assert daemon.pull(ref)
            finally:
                daemon.stop()


# ---------------------------------------------------------------- unpacking

# cap_net_bind_service=ep as the kernel stores it.
NET_BIND = struct.pack('<5I', 0x02000001, 1 << 10, 0, 0, 0).decode()


def rich_layers(compression='gzip'):
    """Everything that a layer can hold, and what a second one does to it."""
    first = (Layer('gzip')
             .dir('d', 0o750, uid=5, gid=6).file('d/f', 'one', 0o640, uid=7, gid=8, mtime=1234567890)
             .dir('d/sub').file('d/sub/x', 'x').file('d/gone', 'g').dir('opaque').file('opaque/old', 'o')
             .symlink('link', 'd/f').symlink('up', '../../etc')
             .hardlink('hard', 'd/f', 0o640, uid=7, gid=8, mtime=1234567890)
             .file('suid', 'program', 0o4755).file('sticky', '', 0o1777).fifo('pipe')
             .device('null', 'c', 1, 3).file('filetodir', 'f').dir('dirtofile').file('dirtofile/in', 'i')
             .file('big', b'\0' * 3000000).file('utf8-\u00e9\u2603', 'u').file('long-' + 'n' * 200, 'l')
             .file('xattr', 'x', xattrs={'user.note': 'value'})
             .file('capable', 'program', 0o755, xattrs={'security.capability': NET_BIND})
             .file('same', 'same', mtime=1).file('.wh-not-a-marker', 'kept'))
    second = (Layer(compression)
              .file('d/.wh.gone').dir('opaque').file('opaque/.wh..wh..opq').file('opaque/new', 'n')
              .dir('filetodir').file('filetodir/in', 'i').file('dirtofile', 'f')
              .file('.wh.suid').dir('d', 0o700, uid=9, gid=9).file('added', 'a').file('d/sub/y', 'y'))
    return [first, second]


def tree(top):
    """path -> what it is, for every entry below `top` that is not another mount."""
    found, inodes = {}, {}
    device = os.stat(top).st_dev
    for path, dirs, files in os.walk(top):
        dirs[:] = [d for d in dirs if os.lstat(os.path.join(path, d)).st_dev == device
                   or not os.path.ismount(os.path.join(path, d))]
        for name in dirs + files:
            full = os.path.join(path, name)
            st = os.lstat(full)
            entry = [oct(st.st_mode), st.st_uid, st.st_gid]
            if not stat.S_ISDIR(st.st_mode):
                entry.append(int(st.st_mtime))
            if stat.S_ISREG(st.st_mode):
                with open(full, 'rb') as f:
                    entry.append(hash(f.read()))
                entry.append(sorted((k, os.getxattr(full, k)) for k in os.listxattr(full)
                                    if not k.startswith(('trusted.overlay', 'security.selinux'))))
                inodes.setdefault(st.st_ino, []).append(os.path.relpath(full, top))
            elif stat.S_ISLNK(st.st_mode):
                entry.append(os.readlink(full))
            elif stat.S_ISCHR(st.st_mode):
                entry.append(st.st_rdev)
            found[os.path.relpath(full, top)] = entry
    found['hardlinks'] = sorted(sorted(names) for names in inodes.values() if len(names) > 1)
    return found


RUNTIME_MAKES = ('dev', 'proc', 'sys', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'run', 'etc/mtab')


def without_runtime(entries):
    """Without the mount points that a runtime makes in every container."""
    return {k: v for k, v in entries.items()
            if k.split('/')[0] not in RUNTIME_MAKES and k not in RUNTIME_MAKES and k != 'etc'}


@pytest.fixture(scope='module')
def umoci_tree(top):
    """The rich image as umoci unpacks it (this one knows gzip only)."""
    layout, bundle = os.path.join(top, 'umoci-layout'), os.path.join(top, 'umoci-bundle')
    write_layout(recipes.busybox(*rich_layers()), layout)
    done = subprocess.run(['umoci', 'unpack', '--image', layout + ':latest', bundle], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return without_runtime(tree(os.path.join(bundle, 'rootfs')))


@pytest.mark.parametrize('compression', ['gzip', 'zstd', ''])
@pytest.mark.not_in_ct('owners of their files are others, seen from the host')
def test_unpacked_as_umoci_does(daemon, images, umoci_tree, compression, clean):
    ref = images.push(recipes.busybox(*rich_layers(compression)))
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        ours = without_runtime(tree(f'/proc/{container.pid()}/root'))
    remove(daemon, ref)
    differences = {k: (umoci_tree.get(k), ours.get(k)) for k in umoci_tree.keys() | ours.keys()
                   if umoci_tree.get(k) != ours.get(k)}
    assert not differences


@pytest.mark.same_anywhere
def test_what_waits_for_the_first_layer_takes_no_memory(own_daemon):
    first, small = Layer().file('first', b'1'), [Layer().file(f'file{i}', os.urandom(2 << 20)) for i in range(60)]
    fake = Fake()

    def until_the_others_came(_):
        deadline = time.monotonic() + 60 * SLOW
        while len({path for _, path, _ in fake.requests if '/blobs/' in path}) < len(small) + 2:  # the config
            assert time.monotonic() < deadline
            time.sleep(0.01)

    try:
        fake.when(digest(first.blob()), until_the_others_came)
        own_daemon.pull(fake.add(Image([first, *small])))
    finally:
        fake.stop()
    with open(f'/proc/{own_daemon.runtime.process.pid}/status', encoding='ascii') as f:
        assert int(re.search(r'VmHWM:\s+(\d+) kB', f.read())[1]) < 64 * 1024
