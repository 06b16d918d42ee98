#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives test-pull against registries whose connections are slow, so that big layers come in parts, well and badly.

    src/image/test-parts.py BUILD/src/test-image-parts [name of a test ...]
"""

import os
import re
import threading
import time

from pulltest import Bad, Images, main, oci

MIB = 1 << 20
FIRST = 256 * 1024  # what comes at once; so little that whatever parts bring is more


def big_image(*mib):
    layers = [oci.Layer('').file(f'big{n}', os.urandom(size * MIB)) for n, size in enumerate(mib)]
    return oci.Image(layers, config={'Cmd': ['x']})


class Slow(Bad):
    """What is asked for without an end comes drop by drop once a bit has come, until somebody asks for a part; then,
    after the thousandth drop (the second when there have been parts before), or when `slow` is false, at once. `part(handler, blob, start, end)` answers for parts, or
    returns False."""

    def __init__(self):
        super().__init__()
        self.part, self.slow, self.etag = lambda *_: False, True, '"one"'
        self.wholes, self.parts, self.lock, self.now, self.most = [], [], threading.Lock(), 0, 0

    def send_range(self, h, blob, start, end, **headers):
        """@end: behind the last byte."""
        more = {'Content_Range': f'bytes {start}-{end - 1}/{len(blob)}', 'ETag': self.etag, **headers}
        h.send(206, blob[start:end], **more)

    def serve_blob(self, h, data, limit=None):
        wanted = re.fullmatch(r'bytes=(\d+)-(\d*)', h.headers.get('Range', ''))
        start = int(wanted[1]) if wanted else 0
        if not wanted or not wanted[2]:
            with self.lock:
                self.wholes += [start] * (len(data) > MIB)  # the config is none of these
            self.serve_whole(h, data, start, bool(wanted))
            return
        end = int(wanted[2]) + 1
        with self.lock:
            self.parts.append((start, end))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            if not self.part(h, data, start, end):
                self.send_range(h, data, start, end)
        finally:
            with self.lock:
                self.now -= 1

    def serve_whole(self, h, data, start, is_range):
        h.send_response(206 if is_range else 200)
        if is_range:
            h.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        if self.etag:
            h.send_header('ETag', self.etag)
        h.send_header('Content-Length', len(data) - start)
        h.end_headers()
        seen = len(self.parts)
        if self.slow and len(data) - start > 16 * MIB:
            h.wfile.write(data[start:start + FIRST])
            start += FIRST
            for _ in range(2 if seen else 1000):
                if len(self.parts) > seen:
                    break
                h.wfile.write(data[start:start + 1000])
                start += 1000
                time.sleep(0.05)
        h.wfile.write(data[start:])


def covered(parts):
    """Where the parts begin and end, which have to lie one behind the other."""
    parts = sorted(parts)
    assert all(one[1] == other[0] for one, other in zip(parts, parts[1:])), parts
    return parts[0][0], parts[-1][1]


def test_parts():
    img = big_image(40)
    blob = img.layers[0].blob()
    with Slow() as bad, Images() as im:
        gate = threading.Barrier(3, timeout=30)

        def several_at_once(_h, _blob, _start, _end):
            if not gate.broken and len(bad.parts) < 4:
                gate.wait()
            return False
        bad.part = several_at_once
        ref = bad.add('a', 'x', img)
        im.ok('pull', ref)
        begin, end = covered(bad.parts)
        assert bad.wholes == [0] and begin >= FIRST and end == len(blob), (bad.wholes, begin, end)
        assert all(stop - start <= MIB for start, stop in bad.parts) and 3 <= bad.most <= 6, bad.most
        with open(os.path.join(im.root, 'blobs/sha256', oci.digest(blob)[7:]), 'rb') as f:
            assert f.read() == blob
        im.ok('rm', ref)
        im.expect_empty()
        # A small one comes as a whole.
        bad.parts.clear()
        im.ok('pull', bad.add('b', 'x', big_image(12)))
        assert not bad.parts
        # So does one whose registry says that it has no ranges.
        bad.wholes.clear()
        bad.serve_whole = lambda h, data, *_: (time.sleep(1), h.send(200, data, Accept_Ranges='none'))
        im.ok('pull', ref)
        assert not bad.parts and bad.wholes == [0]


def test_bounds():
    """Of several layers at once, in several pulls."""
    img, other = big_image(24, 24), big_image(24, 24)
    with Slow() as bad, Images() as im:
        bad.part = lambda *_: time.sleep(0.02)
        results = im.pull_all([bad.add('a', 'x', img), bad.add('b', 'x', other)])
        assert all('id' in r for r in results), results
        assert bad.parts and bad.most <= 12, bad.most


def expect_one_stream(im, bad, ref, blob, behind=FIRST):
    """The pull works; behind what came before or in parts all of it comes over one connection."""
    bad.wholes.clear()
    bad.parts.clear()
    im.ok('pull', ref)
    assert bad.parts and len(bad.wholes) == 2 and bad.wholes[1] >= behind, (bad.wholes, len(bad.parts))
    with open(os.path.join(im.root, 'blobs/sha256', oci.digest(blob)[7:]), 'rb') as f:
        assert f.read() == blob
    im.ok('rm', ref)
    im.expect_empty()


def after(n, spoil):
    """Calls @spoil for all parts but the first @n."""
    seen, lock = [], threading.Lock()

    def part(*args):
        with lock:
            seen.append(args)
            mine = len(seen)
        return mine > n and spoil(*args) is not False
    return part


def test_servers_without_parts():
    img = big_image(28)
    blob = img.layers[0].blob()
    with Slow() as bad, Images() as im:
        ref = bad.add('a', 'x', img)
        spoils = {
            'ignores Range': lambda h, data, start, end: h.send(200, data, ETag='"one"'),
            'begins elsewhere': lambda h, data, start, end: bad.send_range(h, data, start - 1, end - 1),
            'says no Content-Range': lambda h, data, start, end: h.send(206, data[start:end], ETag='"one"'),
            'says rubbish': lambda h, data, start, end: bad.send_range(h, data, start, end, Content_Range='bytes x-y/z'),
            'has another size': lambda h, data, start, end: bad.send_range(
                h, data, start, end, Content_Range=f'bytes {start}-{end - 1}/{len(data) + 1}'),
            'sends too much': lambda h, data, start, end: bad.send_range(h, data, start, min(end + 10, len(data)))
            if end < len(data) else False,
            'has changed': lambda h, data, start, end: bad.send_range(h, data, start, end, ETag='"two"'),
            'is tired of us': lambda h, data, start, end: h.send(429, Retry_After='1'),
            'is broken': lambda h, data, start, end: h.send(500),
            'denies it': lambda h, data, start, end: h.send(403),
            'closes': lambda h, data, start, end: h.connection.shutdown(2) or setattr(h, 'close_connection', True),
        }
        for n, (name, spoil) in enumerate(spoils.items()):
            bad.part = after(n % 2 * 5, spoil)
            try:
                expect_one_stream(im, bad, ref, blob)
            except AssertionError as e:
                raise AssertionError(name) from e


def test_broken_part():
    """A part whose connection breaks, or that ends early, goes on where it was."""
    img = big_image(28)
    with Slow() as bad, Images() as im:
        lock, spoiled = threading.Lock(), []

        def spoil(h, data, start, end):
            with lock:
                if len(spoiled) == 2:
                    return False
                spoiled.append(start)
                number = len(spoiled)
            if number == 1:
                bad.send_range(h, data, start, start + 1000)
                return True
            h.send_response(206)
            h.send_header('Content-Range', f'bytes {start}-{end - 1}/{len(data)}')
            h.send_header('ETag', bad.etag)
            h.send_header('Content-Length', end - start)
            h.end_headers()
            h.wfile.write(data[start:start + 1000])
            h.close_connection = True
            return True
        bad.part = spoil
        ref = bad.add('a', 'x', img)
        im.ok('pull', ref)
        starts = {start for start, _ in bad.parts}
        assert bad.wholes == [0] and len(spoiled) == 2 and all(at + 1000 in starts for at in spoiled), spoiled


def test_slow_parts():
    """Parts that bring less than one connection did are given up."""
    img = big_image(28)
    with Slow() as bad, Images() as im:
        def trickle(h, data, start, end):
            h.send_response(206)
            h.send_header('Content-Range', f'bytes {start}-{end - 1}/{len(data)}')
            h.send_header('ETag', bad.etag)
            h.send_header('Content-Length', end - start)
            h.end_headers()
            for _ in range(600):
                h.wfile.write(data[start:start + 10])
                start += 10
                time.sleep(0.05)
            return True
        bad.part = trickle
        expect_one_stream(im, bad, bad.add('a', 'x', img), img.layers[0].blob())


def test_damaged_part():
    """The digest tells; the blob comes anew, over one connection."""
    img = big_image(28)
    with Slow() as bad, Images() as im:
        bad.part = after(3, lambda h, data, start, end: bad.send_range(h, bytes(len(data)), start, end))
        ref = bad.add('a', 'x', img)
        im.ok('pull', ref)
        assert bad.wholes == [0, 0], bad.wholes
        im.ok('rm', ref)
        im.expect_empty()


def test_parts_elsewhere():
    """Parts are asked for where the registry has led to, without asking it each time; credentials stay home."""
    img = big_image(28)
    with Bad() as bad, Slow() as cdn, Images() as im:
        ref = bad.add('a', 'x', img)
        cdn.add('a', 'x', img)
        bad.hook = lambda h: '/blobs/' in h.path and (h.send(307, b'', Location=f'http://localhost:{cdn.server.server_port}'
                                                             + h.path + '?sig=secret') or True)
        im.ok('pull', ref, 'token=letmein')
        covered(cdn.parts)
        assert len(cdn.parts) > 10 and bad.count('/blobs/') == 2, (len(cdn.parts), bad.count('/blobs/'))
        assert all('authorization' not in {k.lower() for k in h} for h in cdn.headers)
        assert cdn.count('sig=secret') == len(cdn.requests)


def test_cancel():
    img = big_image(28)
    with Slow() as bad, Images(discard=True) as im:  # nothing is kept that the next try could go on with
        ended = threading.Event()

        def stuck(*_):
            ended.wait(60)
            return True
        bad.part = after(2, stuck)
        ref = bad.add('a', 'x', img)
        for ms in (1500, 6000, 24000):  # whatever this machine needs to come to the parts
            start = time.monotonic()
            im.fails('CANCELLED', 'pull', ref, f'cancel_ms={ms}')
            assert time.monotonic() - start < ms / 1000 + 20
            if bad.parts:
                break
        assert bad.parts
        ended.set()


def test_kill():
    """What had come in order when the daemon was killed is not asked for again."""
    img = big_image(28)
    blob = img.layers[0].blob()
    name = oci.digest(blob)
    with Slow() as bad:
        killed, ref = threading.Event(), bad.add('a', 'x', img)

        def stuck(_h, _data, start, _end):
            if start > 14 * MIB:
                killed.wait(60)
            return False
        bad.part = stuck
        im = Images()
        im.process.stdin.write(f'pull {ref}\n')
        im.process.stdin.flush()
        part = os.path.join(im.root, 'blobs/sha256', name[7:] + '.part')
        while not os.path.exists(part) or os.path.getsize(part) < 13 * MIB:
            time.sleep(0.01)
        im.kill()
        killed.set()
        have = os.path.getsize(part)
        bad.wholes.clear()
        bad.parts.clear()
        bad.slow = False
        with Images(root=im.root) as again:
            again.ok('pull', ref)
            assert bad.wholes == [have], (bad.wholes, have)
            again.ok('rm', ref)
            again.expect_empty()


if __name__ == '__main__':
    main(globals())
