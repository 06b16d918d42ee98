"""The same operation several times at once, and operations that meet each other."""

import concurrent.futures
import http.client
import http.server
import json
import os
import threading
import time

import grpc
import pytest

import images as recipes
from cri import EXITED, SLOW, eventually
from helpers import CODE
from oci import Layer


def at_once(cri, calls):
    """The codes of RPCs begun together: calls are (name, fields)."""
    codes = []
    for call in [cri.future(name, **fields) for name, fields in calls]:
        try:
            call.result()
            codes.append(CODE.OK)
        except grpc.RpcError as error:
            codes.append(error.code())
    return codes


def test_the_same_pod_is_made_once(daemon, pb, clean):
    config = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name='once', namespace='tests', uid='once'))
    codes = at_once(daemon.cri, [('RunPodSandbox', {'config': config})] * 6)
    assert codes.count(CODE.OK) == 1, codes
    assert set(codes) <= {CODE.OK, CODE.ALREADY_EXISTS, CODE.UNKNOWN}, codes
    assert len(daemon.cri.ListPodSandbox().items) == 1


def test_the_same_container_is_made_and_started_once(daemon, busybox, clean):
    with daemon.pod() as pod:
        first = pod.create(busybox, ['sleep', '100'], name='first')
        request = {'pod_sandbox_id': pod.id, 'config': first.config, 'sandbox_config': pod.config}
        first.remove()
        codes = at_once(daemon.cri, [('CreateContainer', request)] * 6)
        assert codes.count(CODE.OK) == 1, codes
        container = daemon.cri.ListContainers().containers[0]
        codes = at_once(daemon.cri, [('StartContainer', {'container_id': container.id})] * 6)
        assert codes.count(CODE.OK) == 1, codes
        assert daemon.cri.ContainerStatus(container_id=container.id).status.state == 1


@pytest.mark.not_by_containerd('1.6 does not find what another call removes')
@pytest.mark.parametrize('names', [['StopContainer'], ['RemoveContainer'], ['StopPodSandbox'], ['RemovePodSandbox'],
                                   ['StopContainer', 'RemoveContainer', 'StopPodSandbox', 'RemovePodSandbox']])
def test_ends_may_be_asked_for_many_times_at_once(daemon, busybox, names, clean):
    pod = daemon.pod(host_network=False)
    container = pod.run(busybox, ['sleep', '100'])
    calls = [(name, {'container_id': container.id} if 'Container' in name else {'pod_sandbox_id': pod.id})
             for name in names * 6]
    codes = at_once(daemon.cri, calls)
    assert set(codes) == {CODE.OK}, list(zip(calls, codes))
    pod.remove()


def test_updates_at_once(daemon, busybox, pb):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], resources={'cpu_shares': 100})
        codes = at_once(daemon.cri, [('UpdateContainerResources', {
            'container_id': container.id, 'linux': pb.LinuxContainerResources(cpu_shares=200 + i)}) for i in range(12)])
        assert set(codes) == {CODE.OK}
        assert 200 <= container.status().resources.linux.cpu_shares < 212


@pytest.mark.ours
def test_updates_of_a_pod_at_once(daemon, pb):
    """Each is whole: overhead and limits of the one that came last, not of two."""
    with daemon.pod() as pod:
        codes = at_once(daemon.cri, [('UpdatePodSandboxResources', {
            'pod_sandbox_id': pod.id, 'overhead': pb.LinuxContainerResources(cpu_shares=200 + i),
            'resources': pb.LinuxContainerResources(cpu_shares=200 + i)}) for i in range(12)])
        assert set(codes) == {CODE.OK}
        info = json.loads(pod.status(verbose=True).info['info'])
        assert info['overhead'] == info['resources'] and 200 <= info['resources']['cpuShares'] < 212


def test_an_image_is_removed_many_times_at_once(daemon, images, clean):
    """By its tags and its id; all are gone at the first answer, and all answers are fine."""
    image = recipes.busybox(Layer().file('unique', 'removed at once'))
    refs = [images.push(image, 'removed', tag) for tag in ('a', 'b')]
    ids = set(daemon.pull(*refs))
    assert len(ids) == 1
    codes = at_once(daemon.cri, [('RemoveImage', {'image': daemon.pb.ImageSpec(image=name)})
                                 for name in [*refs, *ids] * 4])
    assert set(codes) == {CODE.OK}, codes
    for name in [*refs, *ids]:
        assert not daemon.cri.ImageStatus(image=daemon.pb.ImageSpec(image=name)).HasField('image')


def test_a_log_is_reopened_many_times_at_once(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); done')
        path = container.status().log_path
        eventually(lambda: os.path.exists(path) and os.path.getsize(path))
        os.rename(path, path + '.1')
        codes = at_once(daemon.cri, [('ReopenContainerLog', {'container_id': container.id})] * 12)
        assert set(codes) == {CODE.OK}
        container.exec('touch', '/stop')  # the container may end before touch does
        container.wait()
        lines = []
        for name in (path + '.1', path):
            with open(name, encoding='utf-8') as f:
                lines += [line.split()[3] for line in f]
        assert lines == [str(i) for i in range(len(lines))] and len(lines) > 10


@pytest.mark.not_by_containerd('1.6 answers UNKNOWN')
def test_the_pod_is_stopped_while_containers_are_made(daemon, busybox, clean):
    """Each is either made, and ends with the pod, or refused; none is left running."""
    pod = daemon.pod()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def make(i):
            try:
                pod.run(busybox, ['sleep', '100'], name=f'made{i}')
                return CODE.OK
            except grpc.RpcError as error:
                return error.code()
        made = [pool.submit(make, i) for i in range(8)]
        time.sleep(0.02)
        pod.stop()
        codes = {m.result() for m in made}
    assert codes <= {CODE.OK, CODE.FAILED_PRECONDITION, CODE.UNKNOWN, CODE.CANCELLED, CODE.ABORTED}, codes
    assert all(c.state != 1 for c in daemon.cri.ListContainers().containers)
    pod.remove()


def test_the_container_is_removed_during_exec(daemon, busybox, clean):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        calls = [daemon.cri.future('ExecSync', container_id=container.id, cmd=['sleep', '50']) for _ in range(4)]
        time.sleep(0.3)
        begun = time.monotonic()
        container.remove()
        for call in calls:
            try:
                assert call.result().exit_code != 0
            except grpc.RpcError as error:
                assert error.code() != CODE.DEADLINE_EXCEEDED
        assert time.monotonic() - begun < 30 * SLOW


def test_a_shorter_grace_shortens_the_longer_one(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'trap "" TERM; echo ready; while :; do sleep 1; done')
        container.until_said('ready')
        slow = daemon.cri.future('StopContainer', container_id=container.id, timeout=60)
        time.sleep(0.3)
        begun = time.monotonic()
        container.stop(timeout=1)
        slow.result()
        assert time.monotonic() - begun < 30 * SLOW
        assert container.status().state == EXITED and container.status().exit_code == 137


class Counting(http.server.BaseHTTPRequestHandler):
    """Hands requests on to the registry and counts those for blobs."""

    registry, blobs, lock = '', [], threading.Lock()

    def do_GET(self):  # pylint: disable=invalid-name
        if self.command == 'GET' and '/blobs/' in self.path:
            with self.lock:
                self.blobs.append(self.path)
        connection = http.client.HTTPConnection(self.registry)
        connection.request(self.command, self.path, headers={k: v for k, v in self.headers.items() if k != 'Host'})
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ('transfer-encoding', 'connection', 'date', 'content-length'):
                self.send_header(key, value)
        self.send_header('Content-Length', answer.getheader('Content-Length') or str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


@pytest.mark.ours
def test_fifty_pulls_of_an_image_are_one_download(own_daemon, images):
    Counting.registry = images.push(recipes.busybox(Layer().file('much', os.urandom(2 << 20).hex())),
                                    'fifty').split('/')[0]
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Counting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ref = f'127.0.0.1:{server.server_port}/fifty:1'
        calls = [own_daemon.cri.future('PullImage', image=own_daemon.pb.ImageSpec(image=ref)) for _ in range(50)]
        assert len({call.result().image_ref for call in calls}) == 1
        server.shutdown()
    # The configuration and what is new in layers, each once.
    assert Counting.blobs and len(Counting.blobs) == len(set(Counting.blobs)), Counting.blobs


@pytest.mark.not_by_containerd('1.6 tears lines')
def test_rotation_at_full_speed_loses_no_line(daemon, busybox):
    with daemon.logged_pod() as pod:
        container = pod.run(busybox, ['awk', 'BEGIN { for (i = 1; i <= 400000; i++) print i }'])
        path = container.status().log_path
        files, stop = [], threading.Event()

        def rotate():
            while not stop.is_set():
                if os.path.exists(path) and os.path.getsize(path):
                    files.append(f'{path}.{len(files)}')
                    os.rename(path, files[-1])
                    try:
                        daemon.cri.ReopenContainerLog(container_id=container.id)
                    except grpc.RpcError as error:
                        assert error.code() in (CODE.FAILED_PRECONDITION, CODE.UNKNOWN), error.details()
                time.sleep(0.02)
        rotator = threading.Thread(target=rotate)
        rotator.start()
        try:
            assert container.wait(60).exit_code == 0
        finally:
            stop.set()
            rotator.join()
        numbers = []
        for name in [*files, path]:
            if os.path.exists(name):
                with open(name, encoding='utf-8') as f:
                    numbers += [int(line.split()[3]) for line in f]
        assert len(files) >= 2
        assert numbers == list(range(1, 400001)), f'{len(numbers)} lines in {len(files)} files'
