"""Layers' blobs that are kept: pulls of images in Debian's registry, cut short by kill -9 of the daemon."""

import http.client
import http.server
import os
import random
import threading
import time

import grpc
import pytest

import images as recipes
from oci import Layer, digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

SIZE = 12 << 20


class Slow(http.server.BaseHTTPRequestHandler):
    """Hands requests on to the registry, with their Range, and big answers back a piece at a time."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):  # pylint: disable=invalid-name
        connection = http.client.HTTPConnection(self.server.registry)
        connection.request(self.command, self.path, headers={k: v for k, v in self.headers.items() if k != 'Host'})
        answer = connection.getresponse()
        if '/blobs/' in self.path:
            self.server.asked.append((self.path.rsplit('/', 1)[1], self.headers.get('Range')))
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ('transfer-encoding', 'connection', 'date'):
                self.send_header(key, value)
        self.end_headers()
        try:
            while data := answer.read(1 << 18):
                self.wfile.write(data)
                time.sleep(self.server.pause)
        except OSError:
            self.close_connection = True
        connection.close()

    do_HEAD = do_GET

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


@pytest.fixture(name='slow')
def fixture_slow(registry):
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Slow) as server:
        server.daemon_threads = True
        server.registry, server.asked, server.pause = registry.address, [], 0.05
        server.address = f'127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def blobs(daemon):
    return os.path.join(daemon.runtime.root, 'blobs', 'sha256')


def big_image(images, name):
    layers = [Layer().file(f'{name}-{n}', os.urandom(SIZE >> (4 * n))) for n in range(2)]
    image = recipes.busybox(*layers)
    images.push(image, name)
    return [layer.blob() for layer in layers]


def start_pull(daemon, ref):
    return daemon.cri.future('PullImage', image=daemon.pb.ImageSpec(image=ref))


def failed(call):
    with pytest.raises(grpc.RpcError):
        call.result()


def test_a_pull_goes_on_where_a_killed_daemon_stopped(own_daemon, images, slow):
    daemon = own_daemon
    big = big_image(images, 'resumed')[0]
    ref, name = f'{slow.address}/resumed:1', digest(big)
    part = os.path.join(blobs(daemon), name[7:] + '.part')
    call = start_pull(daemon, ref)
    while not os.path.exists(part) or os.path.getsize(part) < SIZE // 2:
        time.sleep(0.01)
    daemon.runtime.kill()
    failed(call)
    have = os.path.getsize(part)
    assert SIZE // 2 <= have < len(big)
    slow.asked.clear()
    slow.pause = 0
    daemon.start()
    daemon.pull(ref)
    assert (name, f'bytes={have}-') in slow.asked, slow.asked
    # What else was complete by then is not asked for again, and nothing is asked for twice.
    assert len({asked for asked, _ in slow.asked}) == len(slow.asked), slow.asked
    with open(part[:-5], 'rb') as f:
        assert f.read() == big
    with daemon.pod() as pod:
        container = pod.run(ref, ['sha256sum', '/resumed-0'])
        assert container.wait(30).exit_code == 0
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=ref))
    assert not os.path.exists(part[:-5])


def test_a_pull_is_killed_at_any_moment(own_daemon, images, slow):
    """However often: the image comes, is whole, and goes without a trace."""
    daemon = own_daemon
    name = 'killed'
    kept = big_image(images, name)
    ref = f'{slow.address}/{name}:1'
    dice = random.Random(1)
    before = set(os.listdir(blobs(daemon)))
    for _ in range(6):
        call = start_pull(daemon, ref)
        time.sleep(dice.random() * 1.5)
        done = call.done()
        daemon.runtime.kill()
        daemon.start()
        if done:
            break
        failed(call)
        parts = set(os.listdir(blobs(daemon))) - before
        assert all(part.endswith('.part') for part in parts), parts
    slow.pause = 0
    daemon.pull(ref)
    for blob in kept:
        with open(os.path.join(blobs(daemon), digest(blob)[7:]), 'rb') as f:
            assert f.read() == blob
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=ref))
    assert set(os.listdir(blobs(daemon))) == before
