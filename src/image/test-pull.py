#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives test-pull against Debian's docker-registry and against servers that misbehave.

    src/image/test-pull.py BUILD/src/test-image-pull [name of a test ...]
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

from pulltest import Bad, Images, TokenServer, WORK, chain_ids, image, main, oci, slow
import registry


# --- Debian's registry ---------------------------------------------------------------------------------------------

def test_pull_and_names():
    img = image('a', 'b', 'c', config={'Cmd': ['sh'], 'User': '1000', 'Env': ['A=1'], 'Labels': {'k': 'v'},
                                       'Volumes': {'/v': {}}, 'WorkingDir': '/w', 'StopSignal': 'SIGINT',
                                       'Entrypoint': ['/e']})
    with registry.Registry(tempfile.mkdtemp(dir=WORK)) as reg, Images() as im:
        push = oci.Pusher(reg.address)
        for tag in ('1', '2', 'latest'):
            push.push('team/app', tag, img)
        push.push('other', 'latest', img)
        name = f'{reg.address}/team/app'
        answer = im.ok('pull', name + ':1')
        assert answer['id'] == img.id() and answer['done'] == 3, answer
        got = im.ok('get', name + ':1')
        assert got['tags'] == [name + ':1'] and got['digests'] == [f'{name}@{img.digest()}'], got
        assert got['layers'] == chain_ids(img) and got['size'] > 0
        assert (got['user'], got['env'], got['cmd'], got['entrypoint'], got['labels'], got['volumes'],
                got['working_dir'], got['stop_signal']) == (
                    '1000', ['A=1'], ['sh'], ['/e'], ['k', 'v'], ['/v'], '/w', 'SIGINT'), got
        # No tag: latest. The same layers: nothing to download.
        answer = im.ok('pull', name)
        assert answer['exists'] == 3 and answer['done'] == 0, answer
        im.ok('pull', name + ':2')
        im.ok('pull', f'{reg.address}/other@{img.digest()}')
        listed = im.ok('list')['images']
        assert len(listed) == 1
        assert set(listed[0]['tags']) == {name + ':1', name + ':2', name + ':latest'}, listed
        assert set(listed[0]['digests']) == {f'{name}@{img.digest()}', f'{reg.address}/other@{img.digest()}'}
        for ref in (img.id(), img.id()[7:], img.id()[7:13], img.id()[:20], name, name + ':2',
                    f'{name}@{img.digest()}', f'{name}:1@{img.digest()}'):
            assert im.ok('get', ref)['id'] == img.id(), ref
        im.fails('NOT_FOUND', 'get', name + ':3')
        im.fails('NOT_FOUND', 'get', 'f' * 64)
        im.fails('NOT_FOUND', 'get', 'sha256:' + 'f' * 64)
        im.fails('INVALID_ARGUMENT', 'get', 'UPPER/Case')
        im.fails('INVALID_ARGUMENT', 'get', 'sha256:xyz')
        im.fails('NOT_FOUND', 'pull', name + ':3', text='fetch manifest from')
        im.fails('NOT_FOUND', 'pull', f'{reg.address}/nothing')
        assert im.ok('usage')['bytes'] > 0 and os.path.isdir(im.ok('usage')['mountpoint'])
        # Any name removes the image and all its names.
        im.ok('rm', name + ':2')
        im.fails('NOT_FOUND', 'get', name + ':1')
        im.fails('NOT_FOUND', 'get', img.id())
        im.ok('rm', name + ':2')
        im.expect_empty()
        # By digest: no tags, and only that digest.
        im.ok('pull', f'{name}@{img.digest()}')
        got = im.ok('get', f'{name}@{img.digest()}')
        assert got['tags'] == [] and got['digests'] == [f'{name}@{img.digest()}'], got
        im.ok('rm', got['id'])
        im.expect_empty()


def test_shared_layers_and_moved_tags():
    one, two = image('base', 'one'), image('base', 'two')
    with registry.Registry(tempfile.mkdtemp(dir=WORK)) as reg, Images() as im:
        push = oci.Pusher(reg.address)
        push.push('a', 'x', one)
        im.ok('pull', f'{reg.address}/a:x')
        push.push('a', 'x', two)
        answer = im.ok('pull', f'{reg.address}/a:x')
        assert answer['id'] == two.id() and answer['exists'] == 1 and answer['done'] == 1
        assert im.ok('get', one.id())['tags'] == []
        assert im.ok('get', f'{reg.address}/a:x')['id'] == two.id()
        base = im.ok('usage')
        im.ok('rm', one.id())
        assert im.ok('usage')['bytes'] < base['bytes']
        assert im.ok('get', two.id())['layers'] == chain_ids(two)
        # A hold (a snapshot) keeps layers while the image goes.
        held = im.ok('hold', two.id())['layers']
        assert held == chain_ids(two)
        im.ok('rm', two.id())
        assert im.ok('usage')['bytes'] > 0
        im.ok('release', *held)
        im.expect_empty()


def test_forms():
    """Docker and OCI, gzip, zstd and plain, indexes and nested ones."""
    with Bad() as bad, Images() as im:
        for name, img in (('g', image('1')), ('z', image('1', compression='zstd')), ('p', image('1', compression='')),
                          ('d', image('1', docker=True)), ('none', oci.Image([], config={'Cmd': ['x']}))):
            im.ok('pull', bad.add(name, 'latest', img))
        amd, arm = image('amd'), image('arm', arch='arm64')
        host = {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine]
        mine = {'amd64': amd, 'arm64': arm}[host]
        bad.add('i', 'x', amd)
        bad.add('i', 'y', arm)
        index = oci.index([('arm64', arm), ('amd64', amd)])
        ref = bad.add_raw('i', 'latest', index, oci.INDEX)
        assert im.ok('pull', ref)['id'] == mine.id()
        got = im.ok('get', ref)
        assert got['digests'] == [f'{bad.address}/i@{oci.digest(index)}'], got
        outer = oci.canonical({'schemaVersion': 2, 'mediaType': oci.INDEX, 'manifests': [
            oci.descriptor(oci.INDEX, index)]})
        assert im.ok('pull', bad.add_raw('i', 'nested', outer, oci.INDEX))['id'] == mine.id()
        deep = outer
        for _ in range(4):
            deep = oci.canonical({'schemaVersion': 2, 'mediaType': oci.INDEX, 'manifests': [
                oci.descriptor(oci.INDEX, deep)]})
            bad.add_raw('i', 'deep', deep, oci.INDEX)
        im.fails('RESOURCE_EXHAUSTED', 'pull', f'{bad.address}/i:deep', text='nested')
        other = oci.index([('s390x', image('s', arch='s390x'))])
        im.fails('NOT_FOUND', 'pull', bad.add_raw('i', 'other', other, oci.INDEX), text='linux/s390x')
        im.fails('NOT_FOUND', 'pull', bad.add('i', 'wrong', image('s', arch='s390x')), text='linux/s390x')
        v1 = json.dumps({'schemaVersion': 1, 'name': 'i'}).encode()
        im.fails('UNIMPLEMENTED', 'pull',
                 bad.add_raw('i', 'v1', v1, 'application/vnd.docker.distribution.manifest.v1+prettyjws'), text='schema 1')
        for got in im.ok('list')['images']:
            im.ok('rm', got['id'])
        im.expect_empty()


def test_password():
    with registry.Registry(tempfile.mkdtemp(dir=WORK), user='joe', password='s3:cret') as reg, Images() as im:
        basic = base64.b64encode(b'joe:s3:cret').decode()
        oci.Pusher(reg.address, {'Authorization': 'Basic ' + basic}).push('a', 'latest', image('1', 'two'))
        ref = reg.address + '/a'
        im.fails('UNAUTHENTICATED', 'pull', ref)
        message = im.fails('UNAUTHENTICATED', 'pull', ref, 'user=joe', 'password=nope123')
        assert 'nope123' not in message and 'joe' not in message
        im.fails('UNAUTHENTICATED', 'pull', ref, 'user=joe', 'password=s3:cret', 'server=other.example')
        im.expect_empty()
        im.ok('pull', ref, 'user=joe', 'password=s3:cret')
        im.ok('rm', ref)
        im.ok('pull', ref, 'auth=' + basic, f'server=http://{reg.address}/v1/')
        im.fails('INVALID_ARGUMENT', 'pull', ref, 'auth=%%%')
        # What one caller may see another may not, though it is here.
        im.fails('UNAUTHENTICATED', 'pull', ref)


def test_tls():
    with registry.Registry(tempfile.mkdtemp(dir=WORK), tls=True) as reg:
        img = image('1')
        push = oci.Pusher(reg.address)
        push.conn = reg.connection()
        push.push('a', 'latest', img)
        with Images(f'{reg.address},ca={reg.ca_file}') as im:
            im.ok('pull', reg.address + '/a')
        with Images() as im:
            im.fails('UNAVAILABLE', 'pull', reg.address + '/a', text='RegistryUnavailable: pull')
            im.expect_empty()
        with Images(f'{reg.address},ca=/nonexistent') as im:
            im.fails('FAILED_PRECONDITION', 'pull', reg.address + '/a', text='CA file')


def test_skopeo():
    """An image in Docker's format made by another tool."""
    if not shutil.which('skopeo'):
        return
    with registry.Registry(tempfile.mkdtemp(dir=WORK)) as reg, Images() as im:
        layout = tempfile.mkdtemp(dir=WORK)
        oci.write_layout(image('1', '2'), layout)
        subprocess.run(['skopeo', '--insecure-policy', 'copy', '-q', '--format', 'v2s2', '--dest-tls-verify=false',
                        f'oci:{layout}:latest', f'docker://{reg.address}/s:1'], check=True)
        im.ok('pull', f'{reg.address}/s:1')


# --- servers that misbehave -------------------------------------------------------------------------------------------

def test_wrong_digests():
    img = image('1', '2')
    blob = img.layers[1].blob()
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        good = bad.blobs[oci.digest(blob)]
        bad.blobs[oci.digest(blob)] = image('other').layers[0].blob()
        im('pull', ref)
        im.expect_empty()
        # Damaged on the way: gzip's own checksum may tell before the digest does.
        bad.blobs[oci.digest(blob)] = good[:-1] + bytes([good[-1] ^ 1])
        assert im('pull', ref)['error'] in ('DATA_LOSS', 'INVALID_ARGUMENT')
        plain = image('plain', compression='', size=1000)
        tar = plain.layers[0].blob()
        bad.add('p', 'x', plain)
        bad.blobs[oci.digest(tar)] = tar.replace(b'xxx', b'xyx', 1)
        im.fails('DATA_LOSS', 'pull', f'{bad.address}/p:x', text='digest')
        bad.blobs[oci.digest(blob)] = good + b'more'
        im.fails('DATA_LOSS', 'pull', ref, text='larger')
        bad.blobs[oci.digest(blob)] = good[:-5]
        im.fails('DATA_LOSS', 'pull', ref, text='smaller')
        del bad.blobs[oci.digest(blob)]
        im.fails('DATA_LOSS', 'pull', ref, text='HTTP 404')
        bad.blobs[oci.digest(blob)] = good
        config = bad.blobs[img.id()]
        bad.blobs[img.id()] = config.replace(b'true', b'fals')
        im.fails('DATA_LOSS', 'pull', ref, text='config')
        bad.blobs[img.id()] = config
        # A manifest that is not what was asked for, or not what the registry says.
        bad.manifests['a', img.digest()] = (image('9').manifest, oci.MANIFEST)
        im.fails('DATA_LOSS', 'pull', f'{bad.address}/a@{img.digest()}')
        im.expect_empty()
        # Configs and manifests that don't belong together.
        m = json.loads(img.manifest)
        m['layers'].pop()
        im.fails('INVALID_ARGUMENT', 'pull', bad.add_raw('a', 'less', oci.canonical(m), oci.MANIFEST), text='layers')
        # A lie about the uncompressed bytes.
        c = json.loads(img.config)
        c['rootfs']['diff_ids'][1] = 'sha256:' + '0' * 64
        c = oci.canonical(c)
        bad.blobs[oci.digest(c)] = c
        m = json.loads(img.manifest)
        m['config'] = oci.descriptor(oci.CONFIG, c)
        lie = bad.add_raw('a', 'lie', oci.canonical(m), oci.MANIFEST)
        im.fails('DATA_LOSS', 'pull', lie, text='uncompressed')
        im.expect_empty()
        im.ok('pull', ref)


def test_rubbish():
    with Bad() as bad, Images() as im:
        for n, data in enumerate((b'', b'{', b'[]', b'null', b'<html>', b'[' * 100000, b'{"schemaVersion":2}',
                                  b'\xff\xfe', b'{"schemaVersion":2,"config":{},"layers":[]}')):
            im('pull', bad.add_raw('r', f'x{n}', data, oci.MANIFEST))
            im.fails(im('pull', f'{bad.address}/r:x{n}')['error'], 'pull', f'{bad.address}/r:x{n}')
        im.fails('RESOURCE_EXHAUSTED', 'pull', bad.add_raw('r', 'big', b' ' * (5 << 20), oci.MANIFEST), text='larger')
        bad.hook = lambda h: h.send(200, b'{}', **{'X_%d' % i: 'y' * 1000 for i in range(90)}) or True
        im.fails('RESOURCE_EXHAUSTED', 'pull', f'{bad.address}/r:headers', text='headers')
        bad.hook = lambda h: h.send(418, b'{"errors":[{"code":"T\\u001b[31m","message":"\\n\\u0007"}]}') or True
        message = im.fails('UNKNOWN', 'pull', f'{bad.address}/r:teapot', text='HTTP 418')
        assert message.isprintable()
        for ref in ('', 'UPPER', 'a b', 'http://x/y', 'a@sha256:1'):
            if ref:
                im.fails('INVALID_ARGUMENT', 'pull', ref.split()[0] if ' ' not in ref else 'a:b:c')
        im.expect_empty()


def test_resume():
    """A connection that breaks again and again: each byte is asked for once."""
    img = image('r', size=0)
    big = oci.Layer('').file('big', os.urandom(4 << 20))
    img = oci.Image([big], config={'Cmd': ['x']})
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        sent = []

        def hook(h, limit=1500000):
            if oci.digest(big.blob()) in h.path:
                sent.append(h.headers.get('Range'))
                bad.serve_blob(h, big.blob(), limit)
                return True
            return False
        bad.hook = hook
        im.ok('pull', ref)
        assert sent == [None, 'bytes=1500000-', 'bytes=3000000-'], sent
        im.ok('rm', ref)
        # Servers without Range start anew; what is had already is dropped.
        sent.clear()

        def no_range(h):
            if oci.digest(big.blob()) in h.path:
                sent.append(h.headers.get('Range'))
                h.headers.replace_header('Range', '') if 'Range' in h.headers else None
                bad.serve_blob(h, big.blob(), None if len(sent) > 1 else 2000000)
                return True
            return False
        bad.hook = no_range
        im.ok('pull', ref)
        assert len(sent) == 2
        im.ok('rm', ref)
        # A trickle that never gets anywhere ends.
        bad.hook = lambda h: hook(h, 1000)
        sent.clear()
        im.fails('UNAVAILABLE', 'pull', ref, text='broke off too often')
        assert len(sent) <= 6
        im.expect_empty()


def test_retries():
    img = image('1', '2', '3')
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        failed = set()

        def flaky(h):
            if h.path in failed:
                return False
            failed.add(h.path)
            h.send(503 if len(failed) % 2 else 429, b'', Retry_After='0')
            return True
        bad.hook = flaky
        im.ok('pull', ref)
        im.ok('rm', ref)
        bad.hook = lambda h: h.send(500) or True
        start = time.monotonic()
        im.fails('UNAVAILABLE', 'pull', ref, text='HTTP 500')
        assert time.monotonic() - start < 10
        im.expect_empty()
    im2 = Images()
    with im2 as im:
        im.fails('UNAVAILABLE', 'pull', bad.address + '/a', text='RegistryUnavailable: pull ' + bad.address + '/a:latest: ')
        im.fails('UNAVAILABLE', 'pull', 'registry.invalid/a', text='RegistryUnavailable: pull registry.invalid/a:latest: ')
        im.expect_empty()


def test_redirects():
    """Blobs elsewhere: credentials stay home."""
    img = image('1', '2')
    with Bad() as bad, Bad() as cdn, Images() as im:
        ref = bad.add('a', 'x', img)
        bad.hook = lambda h: '/blobs/' in h.path and (h.send(307, b'', Location=f'http://localhost:{cdn.server.server_port}'
                                                             + h.path + '?sig=secret') or True)
        cdn.add('a', 'x', img)
        im.ok('pull', ref, 'token=letmein')
        assert cdn.count('/blobs/') == 3
        assert all('authorization' not in {k.lower() for k in h} for h in cdn.headers)
        assert any(h.get('Authorization') == 'Bearer letmein' for h in bad.headers)
        im.ok('rm', ref)
        cdn.blobs.clear()
        message = im.fails('DATA_LOSS', 'pull', ref)
        assert 'secret' not in message
        for target in ('file:///etc/passwd', 'ftp://127.0.0.1/x', '/v2/loop'):
            bad.hook = lambda h: ('/blobs/' in h.path or 'loop' in h.path) and (h.send(302, b'', Location=target) or True)
            assert 'error' in im('pull', ref), target
        im.expect_empty()


def test_redirect_to_who_asks_for_credentials():
    """They are for the registry: whoever it has led to gets none, nor a token server of theirs."""
    with Bad() as bad, Bad() as cdn, Images() as im:
        ref = bad.add('a', 'x', image('1'))
        there = f'http://localhost:{cdn.server.server_port}'
        bad.hook = lambda h: '/blobs/' in h.path and (h.send(307, b'', Location=there + h.path) or True)
        TokenServer(cdn, challenge=f'Bearer realm="{there}/token",service="cdn"')
        im.fails('UNAUTHENTICATED', 'pull', ref, 'user=joe', 'password=pw', text='HTTP 401 from localhost')
        assert cdn.requests and not cdn.count('/token') and not any('Authorization' in h for h in cdn.headers)
        im.expect_empty()


def test_redirect_downgrade():
    cert = registry.make_certificate(tempfile.mkdtemp(dir=WORK))
    img = image('1')
    with Bad(tls=cert) as bad, Bad() as plain, Images(f'{bad.address},ca={cert[0]}') as im:
        ref = bad.add('a', 'x', img)
        plain.add('a', 'x', img)
        bad.hook = lambda h: '/blobs/' in h.path and (h.send(307, b'', Location=f'http://{plain.address}{h.path}') or True)
        im.fails('FAILED_PRECONDITION', 'pull', ref, text='plain http')
        assert not plain.requests
        bad.hook = lambda h: False
        im.ok('pull', ref)


def test_tokens():
    img = image('1', '2', '3')
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        server = TokenServer(bad)
        im.ok('pull', ref)
        assert server.asked == [{'service': ['reg'], 'scope': ['repository:a:pull']}] and server.basic == [None]
        im.ok('rm', ref)
        im.ok('pull', ref)
        assert len(server.asked) == 1, 'the token is kept'
        im.ok('rm', ref)
        server.valid.clear()
        im.ok('pull', ref)
        assert len(server.asked) == 2, 'a token that is refused is replaced'
        im.ok('rm', ref)
        server = TokenServer(bad, basic='joe:pw')
        im.fails('UNAUTHENTICATED', 'pull', ref, 'user=joe', 'password=no')
        im.ok('pull', ref, 'user=joe', 'password=pw')
        im.ok('rm', ref)
        server = TokenServer(bad)
        im.ok('pull', ref, 'identity=refresh-me')
        assert server.forms[0] == {'grant_type': ['refresh_token'], 'client_id': ['proxmox-lxcri'], 'service': ['reg'],
                                   'scope': ['repository:a:pull'], 'refresh_token': ['refresh-me']}, server.forms
        im.ok('rm', ref)
        server.valid.add('direct')
        im.ok('pull', ref, 'token=direct')
        im.fails('UNAUTHENTICATED', 'pull', ref, 'token=wrong')
        im.ok('rm', ref)
        # Loops and lies end.
        TokenServer(bad, useless=True)
        im.fails('UNAUTHENTICATED', 'pull', ref, 'user=a', 'password=b', text='UNAUTHORIZED: authentication required')
        for n, reply in enumerate(({}, {'token': ''}, {'token': 'a\r\nX: y'}, {'token': 5}, [], {'token': 'x' * 100000},
                                   {'token': 't', 'expires_in': -5})):
            TokenServer(bad, reply=reply)
            im.fails('UNAVAILABLE', 'pull', ref, f'user=u{n}', 'password=b')
        for n, challenge in enumerate(('', 'Digest realm="x"', 'Bearer', 'Bearer realm="file:///etc/passwd"', 'Bearer realm="',
                                       'x' * 9000)):
            TokenServer(bad, challenge=challenge)
            assert 'error' in im('pull', ref, f'user=v{n}', 'password=b'), challenge
        im.expect_empty()


def test_token_expires_on_the_way():
    """The token dies while a blob is broken off: the rest comes with a new one."""
    big = oci.Layer('').file('big', os.urandom(3 << 20))
    img = oci.Image([big], config={'Cmd': ['x']})
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        server = TokenServer(bad)
        broke = []

        def hook(h):
            if server.hook(h):
                return True
            if oci.digest(big.blob()) in h.path and not broke:
                broke.append(1)
                server.valid.clear()
                bad.serve_blob(h, big.blob(), 1 << 20)
                return True
            return False
        bad.hook = hook
        im.ok('pull', ref)
        assert len(server.asked) == 2


def test_mirrors():
    img = image('1', '2')
    with Bad() as origin, Bad() as mirror, Images(f'{origin.address},mirror={mirror.address}') as im:
        ref = origin.add('a', 'x', img)
        mirror.add('a', 'x', img)
        im.ok('pull', ref, 'token=secret')
        assert not origin.requests and all(r.endswith('?ns=' + origin.address) for r in mirror.requests)
        assert all('Authorization' not in h for h in mirror.headers), 'a mirror gets no credentials of another host'
        got = im.ok('get', ref)
        assert got['tags'] == [ref]
        im.ok('rm', ref)
        # A mirror that has nothing, fails, lies or breaks off costs time only.
        blob = img.layers[1].blob()
        mirror.blobs[oci.digest(blob)] = blob[:-1] + bytes([blob[-1] ^ 1])
        im.ok('pull', ref)
        im.ok('rm', ref)
        mirror.blobs[img.id()] = img.config.replace(b'true', b'fals')
        im.ok('pull', ref)
        im.ok('rm', ref)
        mirror.blobs.clear()
        im.ok('pull', ref)
        im.ok('rm', ref)
        mirror.hook = lambda h: h.send(500) or True
        im.ok('pull', ref)
        im.ok('rm', ref)
        mirror.hook = lambda h: h.send(404) or True
        im.ok('pull', ref)
        im.ok('rm', ref)
        im.fails('NOT_FOUND', 'pull', f'{origin.address}/a:nope')
        im.expect_empty()
    with Bad() as mirror, Images(f'*,mirror={mirror.address}/some/where') as im:
        mirror.add('some/where/library/a', 'x', img)
        im.ok('pull', 'a:x')
        assert im.ok('get', 'docker.io/library/a:x')['tags'] == ['docker.io/library/a:x']


# --- together ---------------------------------------------------------------------------------------------------------

def test_one_pull_for_all():
    img = image('1', '2', '3', '4', '5', '6')
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        slow(bad, '/manifests/', 0.3)
        results = im.ok('pulls', 50, ref)['pulls']
        assert all(r.get('id') == img.id() for r in results), results
        assert bad.count('/manifests/') == 1 and bad.count('/blobs/') == 7, bad.requests
        assert all(r['done'] == 6 for r in results), results
        im.ok('rm', ref)
        im.expect_empty()
        # All see the failure, and it leaves nothing.
        del bad.blobs[oci.digest(img.layers[5].blob())]
        results = im.ok('pulls', 20, ref)['pulls']
        assert all(r['error'] == 'DATA_LOSS' for r in results), results
        im.expect_empty()


def test_cancel():
    img = image('1', '2', '3')
    with Bad() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        for part in ('/manifests/', img.id(), oci.digest(img.layers[1].blob())):
            slow(bad, part, 3)
            start = time.monotonic()
            im.fails('CANCELLED', 'pull', ref, 'cancel_ms=300')
            im.fails('DEADLINE_EXCEEDED', 'pull', ref, 'timeout_ms=300')
            assert time.monotonic() - start < 2
            im.expect_empty()
        # One of many leaves: the others get their image.
        slow(bad, '/manifests/', 1)
        results = im.ok('pulls', 5, ref, 'cancel_ms=200')['pulls']
        assert results[0]['error'] == 'CANCELLED' and all(r.get('id') == img.id() for r in results[1:]), results
        im.ok('rm', ref)
        # A body that comes drop by drop.
        blob = img.layers[1].blob()

        def drip(h):
            if oci.digest(blob) not in h.path:
                return False
            h.send_response(200)
            h.send_header('Content-Length', len(blob))
            h.end_headers()
            for byte in blob:
                h.wfile.write(bytes([byte]))
                h.wfile.flush()
                time.sleep(0.05)
            return True
        bad.hook = drip
        im.fails('DEADLINE_EXCEEDED', 'pull', ref, 'timeout_ms=400')
        im.expect_empty()


def test_layer_wanted_by_several():
    """Different images on one base, pulled at once by different references: the base comes once."""
    base = [oci.Layer('gzip').dir('b%d' % i).file('b%d/f' % i, str(i)) for i in range(6)]
    imgs = [oci.Image(base + [oci.Layer('gzip').file('t', str(i))], config={'Cmd': [str(i)]}) for i in range(8)]
    with Bad() as bad, Images() as im:
        refs = [bad.add('a%d' % i, 'x', img) for i, img in enumerate(imgs)]
        slow(bad, '/blobs/', 0.05)
        results = im.pull_all(refs)
        assert [r.get('id') for r in results] == [img.id() for img in imgs], results
        for layer in base:
            assert bad.count(oci.digest(layer.blob())) == 1, bad.requests
        for ref in refs:
            im.ok('rm', ref)
        im.expect_empty()
        # The first to want the base fails in its own top layer: the others lose nothing.
        bad.requests.clear()
        for img in imgs[:4]:
            del bad.blobs[oci.digest(img.layers[-1].blob())]
        results = im.pull_all(refs)
        assert all('error' in r for r in results[:4]) and all(r.get('id') for r in results[4:]), results
        for ref in refs:
            im.ok('rm', ref)
        im.expect_empty()


def test_pull_and_remove_race():
    img, other = image('1', '2', '3'), image('1', '2', 'x')
    with Bad() as bad, Images() as im:
        refs = [bad.add('a', 'x', img), bad.add('b', 'x', other)]
        for n in range(30):
            results = im.pull_all(refs * 4 + ['rm:' + refs[n % 2]] * 2)
            assert all('error' not in r for r in results), results
        for ref in refs:
            im.ok('rm', ref)
        im.expect_empty()


# --- crashes ----------------------------------------------------------------------------------------------------------

def test_kill_and_restart():
    img = image('1', '2', '3')
    with Bad() as bad:
        ref = bad.add('a', 'x', img)
        im = Images()
        im.ok('pull', ref)
        usage = im.ok('usage')
        im.kill()
        with Images(root=im.root) as again:
            assert again.ok('get', ref)['id'] == img.id()
            assert again.ok('usage') == usage
            assert again.ok('pull', ref)['exists'] == 3
            again.ok('rm', ref)
            again.expect_empty()
        # Killed on the way, at many moments.
        slow(bad, '/blobs/', 0.02)
        for n in range(12):
            im = Images(root=im.root)
            im.process.stdin.write(f'pull {ref}\n')
            im.process.stdin.flush()
            time.sleep(0.02 + 0.015 * n)
            im.kill()
            with Images(root=im.root) as again:
                if again.ok('list')['images']:
                    assert again.ok('get', ref)['layers'] == chain_ids(img)
                    again.ok('rm', ref)
                again.expect_empty()


def test_resume_after_a_kill():
    """What had come when the daemon was killed is not asked for again; when it is wrong, all of it is."""
    big = oci.Layer('').file('big', os.urandom(4 << 20))
    img = oci.Image([big], config={'Cmd': ['x']})
    name = oci.digest(big.blob())
    with Bad() as bad:
        ref, asked, killed = bad.add('a', 'x', img), [], threading.Event()

        def stuck(h):
            if name not in h.path:
                return False
            bad.serve_blob(h, big.blob(), 3000000)
            h.wfile.flush()
            killed.wait(60)
            return True
        for damage in (False, True):
            bad.hook = stuck
            killed.clear()
            im = Images()
            im.process.stdin.write(f'pull {ref}\n')
            im.process.stdin.flush()
            part = os.path.join(im.root, 'blobs/sha256', name[7:] + '.part')
            while not os.path.exists(part) or os.path.getsize(part) < 2500000:
                time.sleep(0.01)
            im.kill()
            killed.set()
            have = os.path.getsize(part)
            if damage:
                with open(part, 'r+b') as f:
                    f.seek(2000000)
                    f.write(b'damage')
            asked.clear()

            def watch(h):
                if name in h.path:
                    asked.append(h.headers.get('Range'))
                return False
            bad.hook = watch
            with Images(root=im.root) as again:
                again.ok('pull', ref)
                assert asked == [f'bytes={have}-'] + [None] * damage, asked
                assert not os.path.exists(part)
                with open(part[:-5], 'rb') as f:
                    assert f.read() == big.blob()
                again.ok('rm', ref)
                again.expect_empty()


def test_kept_blobs():
    """They are what the registry has; the same blob on top of other layers is not fetched again, if it is sound."""
    images = {name: image(name, 'shared') for name in 'abc'}
    shared = images['a'].layers[1].blob()
    with Bad() as bad, Images() as im:
        for name, img in images.items():
            ref = bad.add(name, 'x', img)
            im.ok('pull', ref)
            path = os.path.join(im.root, 'blobs/sha256', oci.digest(shared)[7:])
            with open(path, 'rb') as f:
                assert f.read() == shared
            assert bad.count(oci.digest(shared)) == 1 + (name == 'c')
            assert im.ok('get', ref)['size'] >= sum(len(layer.blob()) for layer in img.layers)
            if name == 'b':
                with open(path, 'r+b') as f:
                    f.seek(30)
                    f.write(b'damage')
        for name in images:
            im.ok('rm', f'{bad.address}/{name}:x')
        im.expect_empty()


def test_blobs_are_not_kept():
    """With keep-layer-blobs: false; those that are here stay, and go with their images."""
    img, other = image('1', '2'), image('1', '3')
    with Bad() as bad:
        with Images() as im:
            im.ok('pull', bad.add('a', 'kept', img))
        kept = set(os.listdir(os.path.join(im.root, 'blobs/sha256')))
        assert {oci.digest(layer.blob())[7:] for layer in img.layers} < kept, kept
        with Images(root=im.root, discard=True) as im:
            im.ok('pull', bad.add('a', 'not', other))
            new = set(os.listdir(os.path.join(im.root, 'blobs/sha256'))) - kept
            assert new == {other.digest()[7:], other.id()[7:]}, new
            im.ok('rm', img.id())
            im.ok('rm', other.id())
            im.expect_empty()


def test_parts_are_bounded():
    with Images() as im:
        im.ok('usage')
    blobs = os.path.join(im.root, 'blobs/sha256')
    for n in range(20):
        with open(os.path.join(blobs, f'{n:064x}.part'), 'wb') as f:
            f.truncate((2 << 20) if n else 100)
        os.utime(f.name, (time.time() - 100 + n,) * 2)
    os.utime(f.name, (time.time() - 25 * 3600,) * 2)
    with Images(root=im.root) as im:
        im.ok('usage')
        assert sorted(os.listdir(blobs)) == [f'{n:064x}.part' for n in range(3, 19)]


def stall(bad, data, at, until):
    """A hook: of the blob @data so many bytes come, then nothing until the event."""
    def hook(h):
        if oci.digest(data) in h.path:
            bad.serve_blob(h, data, at)
            h.wfile.flush()
            until.wait(60)
            return True
        return False
    return hook


def start_pull_until(im, ref, part, size):
    im.process.stdin.write(f'pull {ref}\n')
    im.process.stdin.flush()
    while not os.path.exists(part) or os.path.getsize(part) < size:
        time.sleep(0.01)


def test_whole_blobs_of_a_pull_cut_short():
    """Layers that were complete when the daemon was killed, or another one failed, are not asked for again."""
    img = oci.Image([oci.Layer('').file(n, os.urandom(2 << 20)) for n in 'ab'], config={'Cmd': ['x']})
    first, second = (layer.blob() for layer in img.layers)
    with Bad() as bad:
        ref, go_on = bad.add('a', 'x', img), threading.Event()
        for kill in (True, False):
            im = Images()
            blobs = os.path.join(im.root, 'blobs/sha256')
            if kill:
                go_on.clear()
                bad.hook = stall(bad, second, 1500000, go_on)
                start_pull_until(im, ref, os.path.join(blobs, oci.digest(second)[7:] + '.part'), 1400000)
                while not os.path.exists(os.path.join(blobs, oci.digest(first)[7:])):
                    time.sleep(0.01)
                im.kill()
                go_on.set()
                im = Images(root=im.root)
            else:
                def hook(h):
                    if oci.digest(second) not in h.path:
                        return False
                    while not os.path.exists(os.path.join(blobs, oci.digest(first)[7:])):
                        time.sleep(0.01)
                    h.send(403)
                    return True
                bad.hook = hook
                im.fails('PERMISSION_DENIED', 'pull', ref)
                assert os.listdir(blobs) == [oci.digest(first)[7:] + '.part'], os.listdir(blobs)
            bad.hook = lambda h: False
            bad.requests.clear()
            im.ok('pull', ref)
            assert bad.count(oci.digest(first)) == 0 and bad.count(oci.digest(second)) == 1, bad.requests
            im.ok('rm', ref)
            im.expect_empty()
            im.close()


def test_part_of_a_mirror_that_lies():
    """Neither the part that it left nor what it says then costs the pull."""
    img = oci.Image([oci.Layer('').file('big', os.urandom(3 << 20))], config={'Cmd': ['x']})
    data = img.layers[0].blob()
    lie = data[:1000000] + bytes(100) + data[1000100:]
    with Bad() as mirror, Bad() as origin:
        mirror.add('a', 'x', img)
        ref, go_on = origin.add('a', 'x', img), threading.Event()
        conf = f'{origin.address},mirror={mirror.address}'

        def hook(h):
            if oci.digest(data) not in h.path:
                return False
            mirror.serve_blob(h, lie, None if go_on.is_set() else 2500000)
            h.wfile.flush()
            go_on.wait(60)
            return True
        mirror.hook = hook
        im = Images(conf)
        start_pull_until(im, ref, os.path.join(im.root, 'blobs/sha256', oci.digest(data)[7:] + '.part'), 2400000)
        im.kill()
        go_on.set()
        with Images(conf, root=im.root) as im:
            im.ok('pull', ref)
            assert origin.count(oci.digest(data)) == 1
            im.ok('rm', ref)
            im.expect_empty()


def test_parts_are_bounded_while_it_runs():
    """However many pulls are given up."""
    with Bad() as bad, Images() as im:
        blobs, never = os.path.join(im.root, 'blobs/sha256'), threading.Event()
        refs, stuck = [], {}
        for n in range(20):
            img = oci.Image([oci.Layer('').file('big', os.urandom(2 << 20))], config={'Cmd': [str(n)]})
            refs.append(bad.add('a', f'v{n}', img))
            stuck[oci.digest(img.layers[0].blob())] = stall(bad, img.layers[0].blob(), 1500000, never)
        bad.hook = lambda h: stuck.get(h.path.split('/')[-1], lambda _: False)(h)
        answer = im.ok('pulls', len(refs), ','.join(refs), 'timeout_ms=5000')
        assert all('error' in one for one in answer['pulls']), answer
        assert 0 < len(os.listdir(blobs)) <= 16, os.listdir(blobs)
        never.set()


def test_full_disk_costs_the_blobs():
    """What fits without its blobs comes without them."""
    img = oci.Image([oci.Layer('').file(n, os.urandom(1 << 20)) for n in 'abc'], config={'Cmd': ['x']})
    if os.getuid() != 0:
        return
    with Bad() as bad:
        ref = bad.add('a', 'x', img)
        for kib in range(4096, 8192, 64):  # it gets full at each step
            with Images(tmpfs=f'size={kib}k,mode=755') as im:
                im.ok('pull', ref)
                assert im.ok('get', ref)['layers'] == chain_ids(img)
                im.ok('rm', ref)
                im.expect_empty()


def test_no_more_files():
    """As a full disk: kept blobs are files, too, and go for those of an image."""
    if os.getuid() != 0:
        return
    with Bad() as bad:
        refs = [bad.add('a', str(n), image(*(f'{n} {k}' for k in range(12)))) for n in range(2)]

        def pull_both(inodes):
            with Images(tmpfs=f'size=64m,nr_inodes={inodes},mode=755') as im:
                for ref in refs:
                    im.ok('pull', ref)
                st = os.statvfs(im.seen_at)
                return st.f_files - st.f_ffree

        both = pull_both(1000)
        for inodes in range(both - 12, both, 3):  # the first one's have 12
            pull_both(inodes)


def test_many_manifests_of_one_image():
    """What their blobs are is remembered as far as there is room; the image lives on."""
    img = image(*(f'layer {n}' for n in range(30)))
    with Bad() as bad, Images() as im:
        im.ok('pull', bad.add('a', 'x', img))
        for n in range(40):
            manifest = json.loads(img.manifest)
            for k, layer in enumerate(manifest['layers']):
                layer['digest'] = oci.digest(b'%d %d' % (n, k))
            im.ok('pull', bad.add_raw('a', f'v{n}', oci.canonical(manifest), img.media_type()))
        root = im.root
        im.close()
        with Images(root=root) as again:
            assert len(again.ok('get', f'{bad.address}/a:v39')['tags']) == 41
            again.ok('rm', img.id())
            again.expect_empty()


def test_damage():
    """Layers that vanished and blobs that rotted: the image goes, and can be pulled again."""
    img = image('1', '2')
    with Bad() as bad:
        ref = bad.add('a', 'x', img)
        with Images() as im:
            im.ok('pull', ref)
        blobs = os.path.join(im.root, 'blobs/sha256')
        for name in os.listdir(blobs):
            with open(os.path.join(blobs, name), 'r+b') as f:
                f.write(b'X')
        with open(os.path.join(blobs, '0' * 64 + '.abc.tmp'), 'wb') as f:
            f.write(b'half')
        with Images(root=im.root) as im:
            im.ok('usage')
            assert not [f for f in im.files() if f.endswith('.tmp')]
            im.ok('pull', ref)
        layers = os.path.join(im.root, 'layers')
        shutil.rmtree(layers)
        with Images(root=im.root) as im:
            assert not im.ok('list')['images']
            im.ok('pull', ref)
            im.ok('rm', ref)
            im.expect_empty()


def test_snapshots_hold_layers():
    img = image('1', '2')
    with Bad() as bad:
        ref = bad.add('a', 'x', img)
        with Images() as im:
            im.ok('pull', ref)
            im.ok('snapshot', 's1', img.id())
            im.fails('ALREADY_EXISTS', 'snapshot', 's1', img.id())
            im.fails('NOT_FOUND', 'snapshot', 's2', 'sha256:' + '0' * 64)
            im.ok('rm', ref)
            assert im.ok('usage')['bytes'] > 0
        # The hold outlives the program.
        with Images(root=im.root) as im:
            assert im.ok('usage')['bytes'] > 0
            assert im.ok('pull', ref)['exists'] == 2
            im.ok('rm', ref)
            im.ok('unsnapshot', 's1')
            im.expect_empty()
            im.ok('pull', ref)
            im.ok('snapshot', 's1', img.id())
        # Layers that a crash took from under image and snapshot come again with the next pull.
        shutil.rmtree(os.path.join(im.root, 'layers'))
        with Images(root=im.root) as im:
            assert not im.ok('list')['images']
            assert im.ok('pull', ref)['done'] == 2
            im.ok('rm', ref)
            im.ok('unsnapshot', 's1')
            im.expect_empty()


def test_disk_full():
    big = oci.Image([oci.Layer('').file('one', b'1'), oci.Layer('').file('big', os.urandom(6 << 20))], config={'Cmd': ['x']})
    small = image('1', '2')
    if os.getuid() != 0:
        return
    with Bad() as bad, Images(tmpfs='size=4m,mode=755') as im:
        ref = bad.add('a', 'big', big)
        for n in range(3):
            im.fails('RESOURCE_EXHAUSTED', 'pull', ref, text='No space')
            im.expect_empty()
            assert bad.count(oci.digest(big.layers[1].blob())) == n + 1, 'nothing was gained by asking for it again'
        im.ok('pull', bad.add('a', 'small', small))
        im.fails('RESOURCE_EXHAUSTED', 'pull', ref)
        assert im.ok('get', small.id())['layers'] == chain_ids(small)
    im = Images(tmpfs='ro')
    assert im.process.wait(10) != 0


if __name__ == '__main__':
    main(globals())
