#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives test-image-push: copies between Debian's docker-registry and servers that spoil uploads.

    src/image/test-push.py BUILD/src/test-image-push [name of a test ...]
"""

import json
import os
import tempfile
import threading
import time

from pulltest import Bad, Images, TokenServer, Uploads, WORK, image, main, oci
import registry

MIB = 1 << 20


def random_image(*sizes):
    return oci.Image([oci.Layer('').file(f'f{i}', os.urandom(size)) for i, size in enumerate(sizes)], config={'Cmd': ['x']})


def expect(uploads, repo, tag, img):
    """It has all of the image, byte for byte."""
    assert uploads.manifests[repo, tag] == (img.manifest, img.media_type())
    for blob in img.blobs():
        assert uploads.blobs[repo, oci.digest(blob)] == blob
    assert not uploads.sessions, uploads.sessions.keys()


# --- Debian's registry ---------------------------------------------------------------------------------------------

def test_registry_to_registry():
    img = image('a', 'b', 'c', size=100000)
    arm = image('arm', arch='arm64')
    with registry.Registry(tempfile.mkdtemp(dir=WORK)) as one, registry.Registry(tempfile.mkdtemp(dir=WORK)) as two, Images() as im:
        oci.Pusher(one.address).push('team/app', '1', img)
        oci.Pusher(one.address).push_index('team/many', '1', [('amd64', img), ('arm64', arm)])
        got = im.ok('copy', f'{one.address}/team/app:1', f'{two.address}/other/name:x')
        assert got['digest'] == img.digest() and got['done'] == 4 and got['mounted'] == got['exists'] == 0, got
        assert manifest(two, 'other/name', 'x') == (img.manifest, img.media_type())
        got = im.ok('copy', f'{one.address}/team/app:1', f'{two.address}/other/name:y')
        assert got['exists'] == 4 and got['done'] == 0, got
        # Of an index the build for this machine, or all of them.
        got = im.ok('copy', f'{one.address}/team/many:1', f'{two.address}/mine:1')
        assert got['digest'] == img.digest() and manifest(two, 'mine', '1')[0] == img.manifest
        got = im.ok('copy', f'{one.address}/team/many:1', f'{two.address}/all:1', 'all')
        index = oci.index([('amd64', img), ('arm64', arm)])
        assert got['digest'] == oci.digest(index) and manifest(two, 'all', '1') == (index, oci.INDEX), got
        assert manifest(two, 'all', arm.digest())[0] == arm.manifest
        got = im.ok('copy', f'{one.address}/team/many:1', f'{two.address}/all:2', 'all')
        assert got['done'] == got['exists'] == 0, got  # builds that are there are not looked into
        # Within a registry blobs are mounted.
        got = im.ok('copy', f'{two.address}/all:1', f'{two.address}/mounted:1', 'all')
        assert got['mounted'] == 4 + 2 and got['done'] == 0, got
        assert manifest(two, 'mounted', arm.digest())[0] == arm.manifest
        # By digest: to that digest alone.
        im.ok('copy', f'{one.address}/team/app@{img.digest()}', f'{two.address}/digest@{img.digest()}')
        im.fails('INVALID_ARGUMENT', 'copy', f'{one.address}/team/app:1', f'{two.address}/digest@{arm.digest()}', text=img.digest())
        im.fails('NOT_FOUND', 'copy', f'{one.address}/team/app:2', f'{two.address}/a:1', text='copy ')
        im.ok('pull', f'{two.address}/mounted:1')


def manifest(reg, repo, reference):
    conn = reg.connection()
    conn.request('GET', f'/v2/{repo}/manifests/{reference}', headers={'Accept': ', '.join((oci.MANIFEST, oci.INDEX))})
    reply = conn.getresponse()
    data = reply.read()
    return data, reply.headers['Content-Type']


def test_broken_off_in_the_real_registry():
    """Docker's registry drops an upload that broke within a request: it begins anew."""
    img = random_image(9 * MIB)
    with Bad() as src, registry.Registry(tempfile.mkdtemp(dir=WORK)) as dst, Cutter(dst.address, [3 * MIB, 5 * MIB]) as cutter, Images() as im:
        got = im.ok('copy', src.add('a', '1', img), f'{cutter.address}/a:1')
        assert got['digest'] == img.digest() and manifest(dst, 'a', '1')[0] == img.manifest
        assert not cutter.cuts


class Cutter:
    """Passes connections on to an address; those that send much are cut after so many bytes, each number once."""

    def __init__(self, to, cuts):
        import socket  # pylint: disable=import-outside-toplevel
        self.to, self.cuts, self.passed = to.split(':'), cuts, 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        self.connect = socket.create_connection
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = self.connect((self.to[0], int(self.to[1])))
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, a, b, counts):
        n = 0
        try:
            while data := a.recv(65536):
                n += len(data)
                if counts:
                    self.passed += len(data)
                    if self.cuts and n >= self.cuts[0]:
                        self.cuts.pop(0)
                        break
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(2)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


# --- uploads that go wrong -----------------------------------------------------------------------------------------

def spoiled(img, **settings):
    """A copy of the image to a registry with these settings, which has to work: the registry."""
    with Bad() as src, Uploads() as dst, Images() as im:
        for name, value in settings.items():
            setattr(dst, name, value)
        got = im.ok('copy', src.add('a', '1', img), f'{dst.address}/b:1')
        assert got['digest'] == img.digest()
        expect(dst, 'b', '1', img)
        return dst


def test_resume():
    img = random_image(6 * MIB)
    dst = spoiled(img, cuts=[2 * MIB, 3 * MIB])
    sizes = [n for what, n in dst.steps if what == 'cut']
    assert len(sizes) == 2 and max(sizes) > 2 * MIB, dst.steps
    assert sum(what == 'PUT' for what, _ in dst.steps) == 2 and ('PATCH', len(img.layers[0].blob())) in dst.steps, dst.steps


def test_nothing_arrived():
    """"0-0" stands for no bytes, and for one: then the next ones don't fit, and the upload begins anew."""
    spoiled(random_image(100000, 200000), cuts=[0, 1])


def test_errors_that_pass():
    dst = spoiled(random_image(MIB, MIB), statuses=[503, 500, 429, 408])
    assert {503, 500, 429, 408} <= {what for what, _ in dst.steps}


def test_too_large():
    """Refused in one piece, taken in smaller ones."""
    dst = spoiled(random_image(6 * MIB), limit=2 * MIB)
    assert (413, 0) in dst.steps and sum(what == 'PATCH' for what, _ in dst.steps) >= 3, dst.steps


def test_min_chunk():
    """Not smaller than the registry wants."""
    with Bad() as src, Uploads() as dst, Images() as im:
        dst.limit, dst.min_chunk = 2 * MIB, 4 * MIB
        message = im.fails('RESOURCE_EXHAUSTED', 'copy', src.add('a', '1', random_image(6 * MIB)), f'{dst.address}/b:1', text='413')
        assert 'limit' in message and dst.address in message and not dst.put_manifests
        dst.limit = 4 * MIB
        img = random_image(6 * MIB)
        im.ok('copy', src.add('a', '2', img), f'{dst.address}/b:2')
        assert sum(what == 'PATCH' for what, _ in dst.steps) == 2, dst.steps


def test_forgotten_uploads():
    spoiled(random_image(MIB), forgets=2)
    spoiled(random_image(MIB), tells=False, cuts=[MIB // 2])
    with Bad() as src, Uploads() as dst, Images() as im:
        dst.forgets = 1000
        im.fails('FAILED_PRECONDITION', 'copy', src.add('a', '1', random_image(MIB)), f'{dst.address}/b:1', text='3 uploads')
        assert not dst.put_manifests


def test_lost_answer():
    """The upload was closed, and nobody heard of it."""
    dst = spoiled(random_image(MIB), lost_answers=2)
    assert sum(what == 'PUT' for what, _ in dst.steps) == 2, dst.steps


def test_early_answer():
    """A registry that says a piece is there before it has read it, and hangs up: then it is not, and the upload goes on."""
    img = random_image(40 * MIB)
    with Bad() as src, Uploads() as dst, Images() as im:
        early = []

        def hook(h):
            if h.command == 'PUT' and int(h.headers['Content-Length']) > 16 * MIB:
                h.send(413, Connection='close')
            elif h.command == 'PATCH' and not early:
                early.append(h.path)
                h.send(202, Location=h.path, Connection='close')
            else:
                return False
            h.wfile.flush()
            time.sleep(0.5)
            h.close_connection = True
            return True
        dst.hook = hook
        im.ok('copy', src.add('a', '1', img), f'{dst.address}/b:1')
        assert early
        expect(dst, 'b', '1', img)


def test_always_broken():
    with Bad() as src, Uploads() as dst, Images() as im:
        dst.cuts = [1000] * 1000
        message = im.fails('UNAVAILABLE', 'copy', src.add('a', '1', random_image(MIB)), f'{dst.address}/b:1')
        assert dst.address in message and 'send bytes' in message, message
        dst.cuts, dst.statuses = [], [500] * 1000
        im.fails('UNAVAILABLE', 'copy', src.add('a', '1', random_image(MIB)), f'{dst.address}/b:1', text='HTTP 500')
        assert len(dst.steps) < 40 and not dst.put_manifests and not dst.sessions


def test_refusals():
    """Each says what to do; nothing is tried twice."""
    img = random_image(1000)
    with Bad() as src, Uploads() as dst, Images() as im:
        ref = src.add('a', '1', img)
        for status, code, word in ((401, 'UNAUTHENTICATED', 'log in'), (403, 'PERMISSION_DENIED', 'image login'), (404, 'FAILED_PRECONDITION', 'repository'),
                                   (405, 'FAILED_PRECONDITION', 'takes no uploads'), (400, 'UNKNOWN', 'HTTP 400')):
            dst.hook = lambda h, status=status: h.command == 'POST' and (h.send(status), True)[1]
            dst.requests.clear()
            message = im.fails(code, 'copy', ref, f'{dst.address}/b:1', text='begin an upload')
            assert word in message and dst.address in message and dst.count('uploads') <= 4, (message, dst.requests)


def test_locations():
    img = random_image(100000)
    with Bad() as src, Images() as im:
        ref = src.add('a', '1', img)
        for make in (lambda dst, path: path + '?_state=a%3Db', lambda dst, path: f'http://{dst.address}{path}', lambda dst, path: path[4:]):
            with Uploads() as dst:
                dst.location = lambda path, dst=dst, make=make: make(dst, path)
                if make(dst, '/v2/b/blobs/uploads/u1').startswith('b/'):
                    dst.location = lambda path: path.rpartition('/')[2] if dst.n else path  # relative to .../uploads/
                im.ok('copy', ref, f'{dst.address}/b:1')
                expect(dst, 'b', '1', img)
        for wrong in ('file:///etc/passwd', '', 'http://'):
            with Uploads() as dst:
                dst.location = lambda path, wrong=wrong: wrong
                im.fails('UNAVAILABLE', 'copy', ref, f'{dst.address}/b:1', text='begin an upload')


def test_credentials_stay():
    """An upload that is sent elsewhere goes there without them."""
    img = random_image(100000)
    with Bad() as src, Uploads() as dst, Uploads() as elsewhere, Images() as im:
        ref = src.add('a', '1', img)

        def hook(h):
            if h.headers.get('Authorization') != 'Basic dTpw':
                h.rfile.read(int(h.headers.get('Content-Length', 0)))
                h.send(401, WWW_Authenticate='Basic realm="x"')
                return True
            if h.command == 'HEAD' and '/blobs/' in h.path:
                digest = h.path.rpartition('/')[2]
                h.send(200 if ('b', digest) in elsewhere.blobs else 404)
                return True
            return False
        dst.hook = hook

        def location(path):
            elsewhere.sessions[path.rpartition('/')[2]] = dst.sessions[path.rpartition('/')[2]]
            return f'http://{elsewhere.address}{path}'
        dst.location = location
        im.ok('copy', ref, f'{dst.address}/b:1', 'user=u', 'password=p', 'server=' + dst.address)
        assert elsewhere.headers and not any('Authorization' in h for h in elsewhere.headers)
        assert not any('Authorization' in h for h in src.headers)
        assert all(elsewhere.blobs['b', oci.digest(blob)] == blob for blob in img.blobs())


def test_tokens():
    """Scopes for both, and a token that runs out in the middle of an upload."""
    img = random_image(6 * MIB, 100000)
    with Uploads() as dst, Images() as im:
        dst.blobs.update({('src', oci.digest(b)): b for b in img.blobs()})
        dst.manifests['src', '1'] = (img.manifest, img.media_type())
        tokens = TokenServer(dst, challenge=f'Bearer realm="http://{dst.address}/token",service="reg",scope="repository:dst:pull"')
        check, dst.mounts = dst.hook, False

        def hook(h):
            if dst.steps and dst.steps[-1][0] == 'PATCH' and len(tokens.valid) == 1 and h.command == 'PATCH':
                tokens.valid.clear()
                h.close_connection = True
            return check(h)
        dst.hook, dst.limit = hook, 2 * MIB
        got = im.ok('copy', f'{dst.address}/src:1', f'{dst.address}/dst:1')
        assert got['digest'] == img.digest()
        expect(dst, 'dst', '1', img)
        scopes = [set(asked['scope']) for asked in tokens.asked]
        assert {'repository:dst:pull', 'repository:dst:pull,push', 'repository:src:pull'} in scopes, scopes


def test_source_lies():
    """Other bytes than the digest says never become a blob there."""
    img = random_image(3 * MIB)
    with Bad() as src, Uploads() as dst, Images() as im:
        ref = src.add('a', '1', img)
        name = oci.digest(img.layers[0].blob())
        src.blobs[name] = src.blobs[name][:-1] + b'\1'
        im.fails('DATA_LOSS', 'copy', ref, f'{dst.address}/b:1', text='digest')
        src.blobs[name] = src.blobs[name][:-1]
        im.fails('DATA_LOSS', 'copy', ref, f'{dst.address}/b:1')
        assert not dst.put_manifests and ('b', name) not in dst.blobs and not dst.sessions
        src.manifests['a', img.digest()] = src.manifests['a', '1'] = (b'{}', img.media_type())
        im.fails('INVALID_ARGUMENT', 'copy', ref, f'{dst.address}/b:1')


def test_source_breaks_off():
    img = random_image(4 * MIB)
    with Bad() as src, Uploads() as dst, Images() as im:
        left = [2]

        def hook(h):
            digest = h.path.rpartition('/')[2]
            if left[0] and '/blobs/' in h.path and len(src.blobs[digest]) > MIB:
                left[0] -= 1
                src.serve_blob(h, src.blobs[digest], MIB)
                return True
            return False
        src.hook = hook
        im.ok('copy', src.add('a', '1', img), f'{dst.address}/b:1')
        expect(dst, 'b', '1', img)
        assert not left[0] and ('PUT', len(img.layers[0].blob())) in dst.steps, dst.steps


def test_cancel():
    img = random_image(MIB)
    with Bad() as src, Uploads() as dst, Images() as im:
        ref = src.add('a', '1', img)

        def hook(h):
            if h.command == 'PUT':
                time.sleep(20)
            return False
        dst.hook = hook
        start = time.monotonic()
        im.fails('CANCELLED', 'copy', ref, f'{dst.address}/b:1', 'cancel_ms=500')
        assert time.monotonic() - start < 10 and not dst.put_manifests


def test_artifacts_and_foreign_layers():
    """What registries hold is copied whatever it is; what they don't hold is left out."""
    foreign = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
    blobs = [b'{}', b'some file']
    document = oci.canonical({'schemaVersion': 2, 'mediaType': oci.MANIFEST, 'artifactType': 'application/x.test',
                              'config': oci.descriptor('application/vnd.oci.empty.v1+json', blobs[0]),
                              'layers': [oci.descriptor('text/plain', blobs[1]), oci.descriptor(foreign, b'not here', urls=['https://x.example'])]})
    with Bad() as src, Uploads() as dst, Images() as im:
        src.blobs.update({oci.digest(b): b for b in blobs})
        got = im.ok('copy', src.add_raw('a', '1', document, oci.MANIFEST), f'{dst.address}/b:1')
        assert got['digest'] == oci.digest(document) and got['done'] == 2, got
        assert dst.manifests['b', '1'] == (document, oci.MANIFEST)


def artifact(subject, n, artifact_type='application/x.test'):
    blobs = [b'{}', b'number %d' % n]
    document = oci.canonical({'schemaVersion': 2, 'mediaType': oci.MANIFEST, 'artifactType': artifact_type,
                              'config': oci.descriptor('application/vnd.oci.empty.v1+json', blobs[0]),
                              'layers': [oci.descriptor('text/plain', blobs[1])], 'annotations': {'n': str(n)},
                              'subject': oci.descriptor(oci.MANIFEST, subject)})
    return blobs, document


def test_subject_is_noted():
    """A registry without the API of referrers: the index under the subject's tag gets them, each once, and none is lost."""
    img = image('x')
    with Bad() as src, registry.Registry(tempfile.mkdtemp(dir=WORK)) as dst, Images() as im:
        im.ok('copy', src.add('a', 'img', img), f'{dst.address}/b:img')
        documents = []
        for n in range(2):
            blobs, document = artifact(img.manifest, n)
            src.blobs.update({oci.digest(b): b for b in blobs})
            documents.append(document)
            for _ in range(2):
                im.ok('copy', src.add_raw('a', str(n), document, oci.MANIFEST), f'{dst.address}/b:{n}')
        index = json.loads(manifest(dst, 'b', img.digest().replace(':', '-'))[0])
        assert index['manifests'] == [oci.descriptor(oci.MANIFEST, d, artifactType='application/x.test', annotations={'n': str(n)})
                                      for n, d in enumerate(documents)], index
        # What is there under that tag is no index: it stays, and the error says so.
        oci.Pusher(dst.address).manifest('b', img.digest().replace(':', '-'), img.manifest, img.media_type())
        im.fails('INVALID_ARGUMENT', 'copy', f'{src.address}/a:1', f'{dst.address}/b:3', text='no index')
        assert manifest(dst, 'b', img.digest().replace(':', '-'))[0] == img.manifest


def test_index_of_subjects_is_the_registrys():
    """A mirror's, which may be older, is not what a new one is made from."""
    img = image('x')
    with Bad() as src, Uploads() as dst, Bad() as mirror, Images(f'{dst.address},mirror={mirror.address}') as im:
        tag, documents = img.digest().replace(':', '-'), []
        for n in range(2):
            blobs, document = artifact(img.manifest, n)
            src.blobs.update({oci.digest(b): b for b in blobs})
            documents.append(document)
            im.ok('copy', src.add_raw('a', str(n), document, oci.MANIFEST), f'{dst.address}/b:{n}')
            mirror.add_raw('b', tag, oci.canonical({'schemaVersion': 2, 'mediaType': oci.INDEX, 'manifests': []}), oci.INDEX)
        index = json.loads(dst.manifests['b', tag][0])
        assert [m['digest'] for m in index['manifests']] == [oci.digest(d) for d in documents], index


def test_subject_is_known():
    img = image('x')
    blobs, document = artifact(img.manifest, 1)
    with Bad() as src, Uploads() as dst, Images() as im:
        src.blobs.update({oci.digest(b): b for b in blobs})
        dst.subjects = True
        im.ok('copy', src.add_raw('a', '1', document, oci.MANIFEST), f'{dst.address}/b:1')
        assert dst.put_manifests == ['1'], dst.put_manifests


def test_indexes_without_end():
    with Bad() as src, Uploads() as dst, Images() as im:
        data, media_type = image('x').manifest, oci.MANIFEST
        src.add('a', 'x', image('x'))
        for _ in range(6):
            data = oci.canonical({'schemaVersion': 2, 'mediaType': oci.INDEX, 'manifests': [
                oci.descriptor(media_type, data, platform={'architecture': 'amd64', 'os': 'linux'})]})
            media_type = oci.INDEX
            ref = src.add_raw('a', '1', data, media_type)
        for more in ([], ['all']):
            im.fails('RESOURCE_EXHAUSTED', 'copy', ref, f'{dst.address}/b:1', *more, text='deeper')
        big = oci.canonical({'schemaVersion': 2, 'mediaType': oci.INDEX, 'manifests': [
            oci.descriptor(oci.MANIFEST, b'%d' % i) for i in range(1001)]})
        im.fails('RESOURCE_EXHAUSTED', 'copy', src.add_raw('a', '2', big, oci.INDEX), f'{dst.address}/b:1', 'all', text='1000')
        assert not dst.put_manifests


if __name__ == '__main__':
    main(globals())
