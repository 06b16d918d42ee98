"""Ended containers: started again by an administrator, and given another image."""

import json
import os

import grpc
import pytest

import images as recipes
from cri import CREATED, EXITED, RUNNING
from helpers import CODE, kills
from oci import Layer

pytestmark = pytest.mark.ours


def cli(daemon, *args, check=True):
    return daemon.runtime.cli('container', *args, check=check)


def version(number, **config):
    """With files that only it has, that every one has, and that containers change."""
    layer = Layer().dir('v').file('v/which', f'{number}\n').file(f'v/only-{number}', '').file('v/changed', f'{number}\n')
    return recipes.busybox(layer.file('v/removed', f'{number}\n'), Env=[recipes.PATH, f'VERSION={number}'], **config)


@pytest.fixture
def versions(daemon, images):
    said = 'for i in /v/which /v/changed; do cat $i; done; echo $VERSION; ls /v; cat /own; echo own >>/own; echo me >/v/changed; rm /v/removed'
    refs = [images.push(version(n, Cmd=['sh', '-c', f'{{ {said}; }} 2>/dev/null; echo v{n}']), 'versions', tag=str(n)) for n in (1, 2)]
    daemon.pull(*refs)
    yield refs
    for ref in refs:
        daemon.runtime.cli('image', 'rm', '-f', ref)


def image_of(container):
    status = container.status()
    [listed] = [c for c in container.cri.ListContainers().containers if c.id == container.id]
    assert status.image.image == listed.image.image and status.image_id == listed.image_ref
    return status.image.image


def test_started_again(daemon, busybox, clean):
    """What it has written, its id and its log are as they were."""
    with daemon.logged_pod() as pod:
        container = pod.sh(busybox, 'echo x >>/own; wc -l </own; exit 3')
        first = container.wait()
        assert first.exit_code == 3
        with pytest.raises(grpc.RpcError) as error:
            container.start()  # the CRI's end is for ever
        assert error.value.code() == CODE.FAILED_PRECONDITION
        cli(daemon, 'start', container.id[:12])
        again = container.wait()
        assert container.log_text() == '1\n2\n'
        assert (again.exit_code, again.created_at) == (3, first.created_at) and again.started_at > first.finished_at


def test_runs_again(daemon, busybox, clean):
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'])
        cli(daemon, 'stop', '-t', '0', container.id)
        assert container.status().state == EXITED
        cli(daemon, 'start', container.id)
        status = container.status()
        assert (status.state, status.exit_code, status.finished_at, status.reason) == (RUNNING, 0, 0, '')
        assert container.output('echo', 'hi') == 'hi'
        done = cli(daemon, 'start', container.id, check=False)
        assert done.returncode == 1 and 'has not ended' in done.stderr
        cli(daemon, 'stop', '-t', '0', container.id)
        pod.stop()
        done = cli(daemon, 'start', container.id, check=False)
        assert done.returncode == 1 and 'not ready' in done.stderr
        assert container.status().state == EXITED


def test_one_that_was_never_started(daemon, busybox, clean):
    with daemon.pod() as pod:
        container = pod.create(busybox, ['sleep', '100'])
        done = cli(daemon, 'set-image', container.id, busybox, check=False)
        assert done.returncode == 1 and 'never started' in done.stderr
        assert container.status().state == CREATED
        cli(daemon, 'start', container.id)
        assert container.status().state == RUNNING


def test_a_program_that_is_missing(daemon, versions, images, clean):
    """It has ended again, and can be given the image back."""
    with daemon.logged_pod() as pod:
        container = pod.run(versions[0])
        container.wait()
        bad = images.push(recipes.busybox(Cmd=['/absent']), 'versions', tag='bad')
        daemon.pull(bad)
        cli(daemon, 'set-image', container.id, bad)
        done = cli(daemon, 'start', container.id, check=False)
        assert done.returncode == 1 and '/absent' in done.stderr, done
        assert (container.status().state, container.status().reason) == (EXITED, 'StartError')
        cli(daemon, 'set-image', container.id, versions[0])
        cli(daemon, 'start', container.id)
        container.wait()
        assert container.log_text().endswith('own\nv1\n')
        daemon.runtime.cli('image', 'rm', '-f', bad)


def test_another_image(daemon, versions, clean):
    """The new one's files, environment and command; the container's own files, changes and removals stay."""
    with daemon.logged_pod() as pod:
        container = pod.run(versions[0])
        container.wait()
        assert container.log_text() == '1\n1\n1\nchanged\nonly-1\nremoved\nwhich\nv1\n'
        new = json.loads(cli(daemon, 'set-image', container.id, versions[1], '-o', 'json').stdout)['image_id']
        assert container.status().state == EXITED and image_of(container) == versions[1] and container.status().image_id == new
        before = len(container.log_text())
        cli(daemon, 'start', container.id)
        assert container.wait().exit_code == 0
        assert container.log_text()[before:] == '2\nme\n2\nchanged\nonly-2\nwhich\nown\nv2\n'


def test_what_the_container_says_itself_stays(daemon, versions, clean):
    with daemon.logged_pod() as pod:
        container = pod.run(versions[0], ['sh', '-c', 'echo $VERSION $(pwd) $(cat /v/which)'], env={'VERSION': 'mine'},
                            working_dir='/tmp')
        container.wait()
        cli(daemon, 'set-image', container.id, versions[1])
        cli(daemon, 'start', container.id)
        container.wait()
        assert container.log_text() == 'mine /tmp 1\nmine /tmp 2\n'


def test_volumes_stay(daemon, versions, tmp_path, clean):
    (tmp_path / 'data').write_text('', encoding='ascii')
    mount = daemon.pb.Mount(host_path=str(tmp_path), container_path='/vol')
    with daemon.pod() as pod:
        container = pod.run(versions[0], ['sh', '-c', 'cat /v/which >>/vol/data'], mounts=[mount])
        container.wait()
        cli(daemon, 'set-image', container.id, versions[1])
        cli(daemon, 'start', container.id)
        container.wait()
    assert (tmp_path / 'data').read_text(encoding='ascii') == '1\n2\n'


def test_layers_are_held(daemon, versions, clean):
    """The new one's stay as long as the container does; the old one's go."""
    runtime = daemon.runtime
    with daemon.pod() as pod:
        container = pod.run(versions[0])
        container.wait()
        layers = set(os.listdir(f'{runtime.root}/layers'))
        cli(daemon, 'set-image', container.id, versions[1])
        runtime.cli('image', 'rm', '-f', versions[0])
        assert len(layers - set(os.listdir(f'{runtime.root}/layers'))) >= 1
        cli(daemon, 'start', container.id)
        assert container.wait().exit_code == 0


def test_refusals(daemon, versions, clean):
    with daemon.pod() as pod:
        container = pod.run(versions[0], ['sleep', '100'])
        for args, word in (([container.id, versions[1]], 'stop it first'), ([container.id, 'absent.example/x'], 'pull it first'),
                           (['0123456789abcdef', versions[1]], '0123456789abcdef')):
            done = cli(daemon, 'set-image', *args, check=False)
            assert done.returncode == 1 and word in done.stderr, done
        assert image_of(container) == versions[0] and container.output('cat', '/v/which') == '1'


@pytest.mark.parametrize('own_daemon', [{'config': 'snapshotter: plain\n'}], indirect=True)
def test_where_layers_are_copies(own_daemon, images):
    """The same: what was written is told apart by comparing, and put onto a copy of the new image."""
    said = 'cat /v/which /v/changed /v/removed 2>/dev/null; cat /own; ls /v; echo own >>/own; echo me >/v/changed; rm -f /v/removed'
    refs = [images.push(version(n, Cmd=['sh', '-c', said]), 'versions', tag=str(n)) for n in (1, 2)]
    own_daemon.pull(*refs)
    with own_daemon.logged_pod() as pod:
        container = pod.run(refs[0])
        for ref in (refs[1], refs[0], refs[1]):
            container.wait()
            before = len(container.log_text())
            cli(own_daemon, 'set-image', container.id, ref)
            cli(own_daemon, 'start', container.id)
            container.wait()
        assert container.log_text()[before:] == '2\nme\nown\nown\nown\nchanged\nonly-2\nwhich\n'
        snapshots = f'{own_daemon.runtime.root}/snapshots'
        assert os.listdir(snapshots) == [container.id]
        assert [n for n in os.listdir(f'{snapshots}/{container.id}') if n.startswith('upper')] == ['upper.3']


@pytest.mark.parametrize('own_daemon', [{}, {'config': 'snapshotter: plain\n'}], indirect=True, ids=['own', 'plain'])
def test_killed_at_any_moment(own_daemon, images):
    """The old image or the new one: its files, its environment, and its layers are there."""
    refs = [images.push(version(n, Cmd=['sh', '-c', 'echo $VERSION $(cat /v/which) $(cat /own); echo own >/own']), 'versions',
                        tag=str(n)) for n in (1, 2)]
    own_daemon.pull(*refs)
    runtime, seen = own_daemon.runtime, set()
    with own_daemon.logged_pod() as pod:
        container = pod.run(refs[0])
        container.wait()
        for _ in kills(own_daemon, 7, 0.02, lambda turn: cli(own_daemon, 'set-image', container.id, refs[(turn + 1) % 2], check=False)):
            container.cri = pod.cri = own_daemon.cri
            name = image_of(container)
            assert name in refs and container.status().state == EXITED
            before = len(container.log_text())
            cli(own_daemon, 'start', container.id)
            container.wait()
            number = refs.index(name) + 1
            seen.add(number)
            assert container.log_text()[before:] == f'{number} {number} own\n'
    for ref in refs:
        runtime.cli('image', 'rm', '-f', ref)
    runtime.cli('image', 'prune', '-a', '-f')
    assert sorted(os.listdir(f'{runtime.root}/layers/by-chain')) == []
