"""GetContainerEvents: what kubelet's evented PLEG listens to."""

import contextlib
import queue
import threading
import time

import grpc
import pytest

from cri import EXITED, NOTREADY, PATIENCE, READY, RUNNING, SLOW, Cri, eventually
from helpers import CODE, refused

pytestmark = pytest.mark.ours

MAX_LISTENERS = 32


class Listener:
    """A stream of events, read by a thread of its own unless told not to."""

    def __init__(self, cri, read=True):
        self.pb = cri.pb
        self.call = cri.GetContainerEvents(deadline=None)
        self.call.initial_metadata()  # sent when the daemon has it on its list
        self.events = queue.Queue()
        self.error = None
        self.thread = threading.Thread(target=self.read, daemon=True)
        if read:
            self.thread.start()

    def read(self):
        try:
            for event in self.call:
                self.events.put(event)
        except grpc.RpcError as error:
            self.error = error

    def next(self, seconds=PATIENCE * SLOW):
        return self.events.get(timeout=seconds)

    def kinds(self, n):
        """[(id, 'CREATED')] of the next n events."""
        names = self.pb.ContainerEventType.Name
        return [(e.container_id, names(e.container_event_type).split('_')[1])
                for e in (self.next() for _ in range(n))]

    def ended(self, seconds=PATIENCE * SLOW):
        """The code that it ended with."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), 'the stream goes on'
        return self.error.code() if self.error else CODE.OK

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call.cancel()
        if self.thread.ident:
            self.thread.join(10)


@contextlib.contextmanager
def listeners(daemon, n, **args):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Listener(daemon.cri, **args)) for _ in range(n)]


def test_a_life_in_events(daemon, busybox):
    with listeners(daemon, 2) as two:
        before = time.time_ns()
        pod = daemon.pod(labels={'app': 'events'}, annotations={'note': 'x'})
        container = pod.run(busybox, ['sleep', '100'])
        container.stop()
        container.remove()
        pod.stop()
        pod.remove()
        expected = [(pod.id, 'CREATED'), (pod.id, 'STARTED'),
                    (container.id, 'CREATED'), (container.id, 'STARTED'),
                    (container.id, 'STOPPED'), (container.id, 'DELETED'),
                    (pod.id, 'STOPPED'), (pod.id, 'DELETED')]
        seen = [[listener.next() for _ in expected] for listener in two]
        for events in seen:
            names = two[0].pb.ContainerEventType.Name
            assert [(e.container_id, names(e.container_event_type).split('_')[1])
                    for e in events] == expected
            times = [e.created_at for e in events]
            assert times == sorted(times) and before <= times[0] and times[-1] <= time.time_ns()
            for e in events:
                status = e.pod_sandbox_status
                assert status.id == pod.id and status.metadata == pod.config.metadata
                assert status.labels == {'app': 'events'} and status.annotations == {'note': 'x'}
                assert status.created_at > 0 and status.HasField('network')
            assert [e.pod_sandbox_status.state for e in events] == [READY] * 6 + [NOTREADY] * 2
            assert [[c.state for c in e.containers_statuses] for e in events] == [
                [], [], [0], [RUNNING], [EXITED], [], [], []]
            stopped = events[4].containers_statuses[0]
            assert stopped.exit_code == 137 and stopped.finished_at > stopped.started_at > 0
            assert stopped.metadata == container.config.metadata
        assert all(listener.events.empty() for listener in two)


def test_an_end_by_itself_is_told(daemon, busybox):
    with daemon.pod() as pod, listeners(daemon, 1) as (listener,):
        other = pod.run(busybox, ['sleep', '100'])
        short = pod.sh(busybox, 'exit 3')
        assert listener.kinds(5) == [(other.id, 'CREATED'), (other.id, 'STARTED'), (short.id, 'CREATED'),
                                     (short.id, 'STARTED'), (short.id, 'STOPPED')]
        # A later event has all of the pod's containers.
        short.remove()
        other.stop()
        gone, stopped = listener.next(), listener.next()
        assert [c.id for c in gone.containers_statuses] == [other.id]
        assert [(c.id, c.state) for c in stopped.containers_statuses] == [(other.id, EXITED)]


@pytest.mark.not_by_engine('crun', 'creating it fails, not only starting it')
def test_a_start_that_fails_is_an_end(daemon, busybox):
    with daemon.pod() as pod, listeners(daemon, 1) as (listener,):
        container = pod.create(busybox, ['/not/there'])
        with refused(CODE.UNKNOWN, CODE.INTERNAL, CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION):
            container.start()
        assert listener.kinds(2) == [(container.id, 'CREATED'), (container.id, 'STOPPED')]


def test_a_create_that_fails_is_no_event(daemon, busybox):
    with daemon.pod() as pod, listeners(daemon, 1) as (listener,):
        with refused(*CODE):
            pod.create(busybox, ['true'], mounts=[daemon.pb.Mount(host_path='/not/there', container_path='/x')])
        made = pod.create(busybox, ['true'])
        assert listener.kinds(1) == [(made.id, 'CREATED')]


def test_a_slow_reader_is_cut_off_and_nobody_waits(daemon, busybox):
    """Events that he doesn't take are bounded; others get all of theirs, and operations take no longer."""
    big = {'blob': 'x' * 100000}
    slow_cri = Cri(daemon.runtime.endpoint, daemon.pb,
                   [('grpc.http2.lookahead_bytes', 65536), ('grpc.http2.bdp_probe', 0)])
    try:
        with daemon.pod(annotations=big) as pod, listeners(daemon, 1) as (quick,), \
                Listener(slow_cri, read=False) as slow:
            n = 0
            slowest = 0
            for _ in range(60):
                start = time.monotonic()
                pod.create(busybox, ['true']).remove()
                slowest = max(slowest, time.monotonic() - start)
                n += 2
            assert slowest < 20 * SLOW
            assert len(quick.kinds(n)) == n, 'the quick one gets all'
            slow.thread.start()
            assert slow.ended() == CODE.RESOURCE_EXHAUSTED
            assert 'slow' in slow.error.details()
            assert 0 < slow.events.qsize() < n, 'what was queued still came'
            with Listener(slow_cri) as again:
                pod.create(busybox, ['true'])
                assert again.next()
    finally:
        slow_cri.close()


def test_listeners_are_bounded_and_leave_at_once(daemon, busybox):
    with listeners(daemon, MAX_LISTENERS, read=False) as them:
        with refused(CODE.RESOURCE_EXHAUSTED, words=['listen']):
            next(daemon.cri.GetContainerEvents())
        them[0].call.cancel()

        def one_more():
            try:
                return Listener(daemon.cri)
            except grpc.RpcError:
                return None
        # They hold no worker, so that others are served meanwhile.
        with eventually(one_more) as listener, daemon.pod() as pod:
            pod.run(busybox, ['sleep', '100'])
            assert len(listener.kinds(4)) == 4


def test_a_deadline_ends_it(daemon):
    with refused(CODE.DEADLINE_EXCEEDED):
        list(daemon.cri.GetContainerEvents(deadline=0.5))


def test_stopping_the_daemon_ends_it_at_once(own_daemon, busybox):
    daemon = own_daemon
    with Listener(daemon.cri) as listener:
        start = time.monotonic()
        daemon.runtime.stop()
        assert listener.ended() == CODE.UNAVAILABLE
        assert time.monotonic() - start < 20 * SLOW
    daemon.start()


def test_after_a_crash_the_next_one_listens_anew(own_daemon, busybox):
    daemon = own_daemon
    daemon.pull(busybox)
    pod = daemon.pod()
    container = pod.run(busybox, ['sleep', '100'])
    with Listener(daemon.cri) as listener:
        daemon.runtime.kill()
        assert listener.ended() == CODE.UNAVAILABLE
    daemon.start()
    with Listener(daemon.cri) as listener:
        daemon.cri.StopContainer(container_id=container.id)
        event = listener.next()
        assert event.container_id == container.id and event.pod_sandbox_status.metadata == pod.config.metadata
        assert [c.state for c in event.containers_statuses] == [EXITED]
        daemon.cri.StopPodSandbox(pod_sandbox_id=pod.id)
        daemon.cri.RemovePodSandbox(pod_sandbox_id=pod.id)
        assert listener.kinds(3) == [(pod.id, 'STOPPED'), (container.id, 'DELETED'), (pod.id, 'DELETED')]
