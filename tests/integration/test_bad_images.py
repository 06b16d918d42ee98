"""Registries that fail or lie, hostile archives, full and read-only disks: a clear error with the
right code, and nothing left."""

import json
import os
import socket
import subprocess
import tarfile
import threading
import time

import pytest

import images as recipes
from cri import SLOW
from fake_registry import Fake, slowly
from helpers import CODE, refused
from oci import Image, Layer, digest
from registry import free_port

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere, pytest.mark.usefixtures('clean')]


@pytest.fixture
def fake():
    server = Fake()
    yield server
    server.stop()


def no_image(daemon, ref):
    assert not daemon.cri.ImageStatus(image=daemon.pb.ImageSpec(image=ref)).image.id


def remove(daemon, ref):
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=ref))


@pytest.mark.parametrize('ref', ['', 'UPPER/case', 'a//b', '127.0.0.1:1/x:bad tag', 'x@sha256:12',
                                 '-x', 'a' * 300, 'x:' + 't' * 200, '../../etc/passwd', 'x\0y'])
def test_bad_names(daemon, ref):
    with refused(CODE.INVALID_ARGUMENT, CODE.INTERNAL if '\0' in ref else CODE.INVALID_ARGUMENT):
        daemon.pull(ref)


def test_nobody_listens(daemon):
    ref = f'127.0.0.1:{free_port()}/x:1'
    with refused(CODE.UNKNOWN, words=['RegistryUnavailable', ref.split('/')[0]]):
        daemon.pull(ref)


def test_name_does_not_resolve(daemon):
    with refused(CODE.UNKNOWN, words=['RegistryUnavailable', 'no-such-host.invalid']):
        daemon.pull('no-such-host.invalid/x:1')


def test_silent_server_and_deadline(daemon):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        began = time.monotonic()
        with refused(CODE.DEADLINE_EXCEEDED):
            daemon.cri.PullImage(deadline=1, image=daemon.pb.ImageSpec(
                image=f'127.0.0.1:{s.getsockname()[1]}/x:1'))
        assert time.monotonic() - began < 30 * SLOW


def test_not_there(daemon, registry, fake):
    for address in (registry.address, fake.address):
        with refused(CODE.NOT_FOUND, words=['absent']):
            daemon.pull(f'{address}/absent:1')


@pytest.mark.parametrize('status,codes', [
    (403, [CODE.PERMISSION_DENIED, CODE.UNAUTHENTICATED]), (500, [CODE.UNKNOWN]),
    (418, [CODE.UNKNOWN, CODE.INTERNAL, CODE.UNAVAILABLE, CODE.FAILED_PRECONDITION])])
def test_http_errors(daemon, fake, status, codes):
    fake.when('/manifests/', lambda r: r.answer(status, 'a page') or True)
    with refused(*codes, words=[str(status)]):
        daemon.pull(fake.add(recipes.fixed()))


def test_errors_that_pass_are_tried_again(daemon, fake):
    seen = []

    def rule(request):
        seen.append(request.path)
        if len(seen) < 3:
            request.answer(503, 'busy', Retry_After='0')
            return True
        return False
    fake.when('/blobs/', rule)
    ref = fake.add(recipes.marked('patience'))
    daemon.pull(ref)
    remove(daemon, ref)


def test_resumed_after_a_cut(daemon, fake):
    """The connection breaks in the middle of a layer; the rest is fetched, not all again."""
    image = recipes.busybox(Layer().file('large', os.urandom(4 << 20)))
    large = digest(image.layers[1].blob())

    def rule(request):
        if 'Range' in request.headers:
            return False
        data = fake.blobs[large]
        request.send_response(200)
        request.send_header('Content-Length', str(len(data)))
        request.end_headers()
        request.wfile.write(data[:len(data) // 2])
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True
        return True
    fake.when(large, rule)
    ref = fake.add(image)
    daemon.pull(ref)
    assert any('Range' in headers for _, path, headers in fake.requests if large in path)
    remove(daemon, ref)


def test_wrong_blob(daemon, fake):
    image = recipes.marked('wrong-blob')
    ref = fake.add(image)
    name = digest(image.layers[1].blob())
    fake.blobs[name] = bytes(len(fake.blobs[name]))
    with refused(CODE.DATA_LOSS, CODE.FAILED_PRECONDITION, words=['digest']):
        daemon.pull(ref)
    no_image(daemon, ref)


@pytest.mark.parametrize('change', [lambda b: b[:-10], lambda b: b + b'more'])
def test_wrong_size(daemon, fake, change):
    image = recipes.marked('wrong-size')
    ref = fake.add(image)
    name = digest(image.layers[1].blob())
    fake.blobs[name] = change(fake.blobs[name])
    with refused(CODE.DATA_LOSS, CODE.FAILED_PRECONDITION, CODE.UNKNOWN):
        daemon.pull(ref)


def test_wrong_config_and_manifest(daemon, fake):
    image = recipes.marked('wrong-config')
    ref = fake.add(image)
    fake.blobs[image.id()] = fake.blobs[image.id()].replace(b'linux', b'LINUX')
    with refused(CODE.DATA_LOSS, CODE.FAILED_PRECONDITION, words=['digest']):
        daemon.pull(ref)
    by_digest = f'{fake.address}/fake@sha256:{"0" * 64}'
    fake.manifests['sha256:' + '0' * 64] = image.media_type(), image.manifest
    with refused(CODE.DATA_LOSS, CODE.FAILED_PRECONDITION, words=['digest']):
        daemon.pull(by_digest)


def manifest_of(image, **changes):
    return json.dumps({**json.loads(image.manifest), **changes}).encode()


@pytest.mark.parametrize('data', [
    b'', b'{', b'[]', b'null', b'{}', b'{"schemaVersion":1}', b'\xff\xfe', b'{"layers":7}',
    b'[' * 100000, b'{"schemaVersion":2,"config":{},"layers":[{}]}',
    b'{"schemaVersion":2,"mediaType":"application/x-tar"}'], ids=range(11))
def test_bad_manifests(daemon, fake, data):
    fake.manifests['1'] = 'application/vnd.oci.image.manifest.v1+json', data
    with refused(CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION, CODE.DATA_LOSS, CODE.UNKNOWN,
                 CODE.UNIMPLEMENTED, CODE.RESOURCE_EXHAUSTED, words=[fake.address]):
        daemon.pull(f'{fake.address}/fake:1')


def test_digests_that_are_paths(daemon, fake):
    image = recipes.marked('paths')
    ref = fake.add(image)
    config = dict(json.loads(image.manifest)['config'], digest='sha256:../../../../etc/passwd')
    fake.manifests['1'] = image.media_type(), manifest_of(image, config=config)
    with refused(CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION, CODE.DATA_LOSS):
        daemon.pull(ref)


def test_manifest_without_end(daemon, fake):
    """A manifest of 100 MB is not read into memory."""
    fake.when('/manifests/', lambda r: r.answer(200, b' ' * (100 << 20)) or True)
    with refused(CODE.RESOURCE_EXHAUSTED, CODE.FAILED_PRECONDITION, CODE.INVALID_ARGUMENT):
        daemon.pull(f'{fake.address}/fake:1')


def test_diff_id_that_does_not_match(daemon, fake):
    image = recipes.marked('diffid')
    config = json.loads(image.config)
    config['rootfs']['diff_ids'][1] = 'sha256:' + '1' * 64
    image.config = json.dumps(config).encode()
    image.manifest = manifest_of(image, config={
        'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': digest(image.config),
        'size': len(image.config)})
    with refused(CODE.DATA_LOSS, CODE.FAILED_PRECONDITION, CODE.INVALID_ARGUMENT):
        daemon.pull(fake.add(image))


def test_redirects_keep_credentials_at_home(daemon, fake, pb):
    other = Fake()
    try:
        image = recipes.marked('redirect')
        ref = fake.add(image)
        other.add(image)

        def login(request):
            if request.headers.get('Authorization'):
                return False
            request.answer(401, '', WWW_Authenticate='Basic realm="x"')
            return True
        fake.when('/v2/', login)
        fake.when('/blobs/', lambda r: r.answer(
            307, '', Location=f'http://{other.address}{r.path}') or True)
        daemon.cri.PullImage(image=pb.ImageSpec(image=ref),
                             auth=pb.AuthConfig(username='u', password='p'))
        assert other.requests
        assert not [h for _, _, h in other.requests if 'Authorization' in h]
        remove(daemon, ref)
    finally:
        other.stop()


def test_redirects_without_end(daemon, fake):
    fake.when('/blobs/', lambda r: r.answer(307, '', Location=r.path) or True)
    with refused(CODE.UNAVAILABLE, CODE.UNKNOWN, CODE.FAILED_PRECONDITION):
        daemon.pull(fake.add(recipes.fixed()))


def test_redirects_to_files_are_not_followed(daemon, fake):
    fake.when('/blobs/', lambda r: r.answer(307, '', Location='file:///etc/passwd') or True)
    with refused(CODE.UNAVAILABLE, CODE.UNKNOWN, CODE.FAILED_PRECONDITION, CODE.INVALID_ARGUMENT):
        daemon.pull(fake.add(recipes.fixed()))


def test_token_protocol(daemon, fake, pb):
    """401 with a Bearer challenge: the token is fetched with the password and then used."""
    def login(request):
        if request.headers.get('Authorization') == 'Bearer the-token':
            return False
        request.answer(401, '', WWW_Authenticate=f'Bearer realm="http://{fake.address}/token",'
                                                 'service="s",scope="repository:fake:pull"')
        return True

    def token(request):
        basic = 'Basic dTpw'
        ok = request.headers.get('Authorization') == basic and 'service=s' in request.path
        request.answer(200 if ok else 401, json.dumps({'token': 'the-token'}))
        return True
    fake.when('/v2/', login)
    fake.when('/token', token)
    ref = fake.add(recipes.fixed())
    with refused(CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED):
        daemon.pull(ref)
    daemon.cri.PullImage(image=pb.ImageSpec(image=ref),
                         auth=pb.AuthConfig(username='u', password='p'))
    remove(daemon, ref)


def test_cancelled_pull_leaves_nothing(daemon, fake):
    fake.when('/blobs/', slowly(1))
    ref = fake.add(recipes.marked('cancelled'))
    with refused(CODE.DEADLINE_EXCEEDED):
        daemon.cri.PullImage(deadline=0.5, image=daemon.pb.ImageSpec(image=ref))
    no_image(daemon, ref)
    begun = daemon.cri.future('PullImage', image=daemon.pb.ImageSpec(image=ref))
    time.sleep(0.3)
    begun.cancel()
    time.sleep(1.2)
    no_image(daemon, ref)


def test_two_pulls_of_one_image_at_once(daemon, fake):
    fake.when('/blobs/', slowly(0.3))
    image = recipes.marked('together')
    ref = fake.add(image)
    ids = []
    threads = [threading.Thread(target=lambda: ids.extend(daemon.pull(ref))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4 and len(set(ids)) == 1
    remove(daemon, ref)


# ---------------------------------------------------------------- hostile archives

def entry(name, kind=tarfile.REGTYPE, link='', size=0, mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, size, mode
    return info


def outside():
    return {path for path in ('/tmp/escaped', '/escaped', '/etc/escaped') if os.path.lexists(path)}


HOSTILE = {
    'dots': [entry('../../../../tmp/escaped')],
    'dots inside': [entry('a/../../../../../tmp/escaped')],
    'absolute': [entry('/tmp/escaped')],
    'through a link': [entry('l', tarfile.SYMTYPE, '/tmp'), entry('l/escaped')],
    'through a relative link': [entry('l', tarfile.SYMTYPE, '../../../../../../tmp'),
                                entry('l/escaped')],
    'through two links': [entry('a', tarfile.SYMTYPE, 'b'), entry('b', tarfile.SYMTYPE, '/tmp'),
                          entry('a/escaped')],
    'hardlink out': [entry('h', tarfile.LNKTYPE, '../../../../../etc/passwd')],
    'hardlink by link': [entry('l', tarfile.SYMTYPE, '/etc'),
                         entry('h', tarfile.LNKTYPE, 'l/passwd')],
    'hardlink absolute': [entry('h', tarfile.LNKTYPE, '/etc/passwd')],
    'whiteout with dots': [entry('.wh...')],
    'whiteout of dot': [entry('.wh..')],
    'whiteout out': [entry('../../.wh.escaped')],
    'file over directory link': [entry('d', tarfile.SYMTYPE, '/tmp'), entry('d', tarfile.DIRTYPE),
                                 entry('d/escaped')],
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_archives_stay_inside(daemon, fake, name):
    """Either refused, or unpacked below the root, as if that were all there is."""
    before = outside()
    layer = Layer()
    for info in HOSTILE[name]:
        layer.raw(info)
    with open('/etc/passwd', encoding='utf-8') as f:
        passwd = f.read()
    ref = fake.add(recipes.busybox(layer))
    try:
        daemon.pull(ref)
    except Exception as error:  # pylint: disable=broad-except
        assert error.code() in (CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION, CODE.DATA_LOSS), error
        assert error.details()
    else:
        with daemon.pod() as pod:
            container = pod.run(ref, ['sleep', '100'])
            host = container.exec('cat', '/h').stdout.decode()
            assert host == '' or 'default-user' in host, 'a file of the host'
        remove(daemon, ref)
    assert outside() == before
    with open('/etc/passwd', encoding='utf-8') as f:
        assert f.read() == passwd


def test_duplicate_entries_last_one_wins(daemon, fake):
    layer = Layer().file('f', 'first').file('f', 'second').dir('d').file('d', 'file now')
    ref = fake.add(recipes.busybox(layer))
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        assert container.output('cat', '/f') == 'second'
        assert container.output('cat', '/d') == 'file now'
    remove(daemon, ref)


@pytest.mark.parametrize('data', [b'', b'not a tar at all', b'\0' * 100,
                                  recipes.busybox_layer().diff()[:100000]],
                         ids=['empty', 'text', 'zeros', 'cut off'])
def test_archives_that_are_none(daemon, fake, data):
    class Raw:
        """A layer of any bytes."""
        def diff(self):
            return data

        def blob(self):
            return data

        def media_type(self):
            return 'application/vnd.oci.image.layer.v1.tar'
    ref = fake.add(Image([Raw()], {}))
    try:
        daemon.pull(ref)
        remove(daemon, ref)  # an empty archive may pass for an empty layer
        assert len(data) <= 100
    except Exception as error:  # pylint: disable=broad-except
        assert error.code() in (CODE.INVALID_ARGUMENT, CODE.DATA_LOSS, CODE.FAILED_PRECONDITION)


def test_gzip_that_breaks_off(daemon, fake):
    class Raw(Layer):
        """Half of a compressed layer, under its right digest."""
        def blob(self):
            return Layer.blob(self)[:5000]
    layer = Raw('gzip').file('f', os.urandom(20000))
    with refused(CODE.DATA_LOSS, CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION):
        daemon.pull(fake.add(Image([layer], {})))


# ---------------------------------------------------------------- disks

def mounted(size_kib, directory, options=''):
    os.makedirs(directory, exist_ok=True)
    image = directory + '.img'
    subprocess.run(['truncate', '-s', f'{size_kib}K', image], check=True)
    subprocess.run(['mkfs.ext4', '-q', '-F', image], check=True)
    subprocess.run(['mount', '-o', 'loop' + options, image, directory], check=True)


@pytest.mark.not_by_engine('crun', 'on cgroup v1 it leaves parents in hierarchies that we do not use')
@pytest.mark.parametrize('kind', ['full', 'read-only'])
def test_disks(top, pb, registry, fake, images, kind):
    """A disk that fills up while an image is unpacked, or that can't be written at all."""
    from conftest import Daemon, make_daemon  # pylint: disable=import-outside-toplevel
    name = 'disk-' + kind
    root = os.path.join(top, name, 'root')
    mounted(24 << 10, root)
    daemon = Daemon(make_daemon(top, name, registry, config='snapshotter: overlay\n', bridge='lxcridisk',
                                cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-{name}'), pb)
    try:
        daemon.pull(images.ref('busybox'))
        big = recipes.busybox(Layer('gzip').file('big', os.urandom(1 << 20) * 64))
        ref = fake.add(big)
        if kind == 'read-only':
            subprocess.run(['mount', '-o', 'remount,abort', root], check=True)
        before = daemon.snapshot()
        free = os.statvfs(root).f_bavail
        codes = [CODE.RESOURCE_EXHAUSTED] if kind == 'full' else [
            CODE.FAILED_PRECONDITION, CODE.INTERNAL, CODE.UNKNOWN, CODE.RESOURCE_EXHAUSTED]
        with refused(*codes, words=['space' if kind == 'full' else 'read-only']):
            daemon.pull(ref)
        no_image(daemon, ref)
        assert not before.new_in(daemon.snapshot())
        assert free - os.statvfs(root).f_bavail < 256
        assert daemon.cri.Status().status
        if kind == 'read-only':
            return  # this disk stays as it is
        with daemon.pod() as pod:
            assert pod.run(images.ref('busybox'), ['sleep', '100']).output('echo', 'ok') == 'ok'
    finally:
        if kind == 'full':
            daemon.stop()
        else:
            daemon.runtime.stop()
        subprocess.run(['umount', '-l', root], check=True)
        subprocess.run(['ip', 'link', 'delete', 'lxcridisk'], check=False)  # of a pod with a network


def test_sparse_files_stay_sparse(daemon, fake):
    size = 1 << 30
    subprocess.run(['sh', '-c', f'cd "$0" && truncate -s {size} hole && printf end >>hole && '
                    'tar --sparse --format=posix -cf hole.tar hole', '/tmp'], check=True)
    with open('/tmp/hole.tar', 'rb') as f:
        data = f.read()
    os.unlink('/tmp/hole.tar')
    os.unlink('/tmp/hole')

    class Raw(Layer):
        """The archive that tar made."""
        def diff(self):
            return data
    ref = fake.add(Image([recipes.busybox_layer(), Raw()], {'Cmd': ['sh']}))
    daemon.pull(ref)
    with daemon.pod() as pod:
        container = pod.run(ref, ['sleep', '100'])
        assert container.sh('stat -c %s /hole') == str(size + 3)
        assert int(container.sh('stat -c %b /hole')) < 10000
        assert container.sh('tail -c 3 /hole') == 'end'
    remove(daemon, ref)
