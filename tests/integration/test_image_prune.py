"""image prune and df: what goes, what stays, and that nothing goes from under a create or a pull."""

import datetime
import json
import os
import sqlite3
import subprocess
import threading
import time

import grpc
import pytest

import images as recipes
from helpers import CODE
from terminal import Terminal

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

RACE_SECONDS = float(os.environ.get('LXCRI_TEST_RACE_SECONDS', '8'))  # ten minutes for a release


def prune(daemon, *args, check=True, **more):
    return daemon.runtime.cli('image', 'prune', *args, check=check, **more)


def here(daemon):
    """Names, or the id of what has none."""
    return {name for i in daemon.cri.ListImages().images for name in (list(i.repo_tags) or [i.id])}


@pytest.fixture
def daemon(own_daemon):
    return own_daemon


def test_without_a_tag(daemon, images):
    old, new = recipes.marked('old'), recipes.marked('new')
    ref = images.push(old, 'moves')
    daemon.pull(ref)
    images.push(new, 'moves')
    daemon.pull(ref)
    assert old.id() in here(daemon)
    said = prune(daemon, '--dry-run').stdout
    assert 'WOULD REMOVE' in said and old.id()[7:19] in said and old.id() in here(daemon)
    said = prune(daemon, '--force').stdout
    assert old.id()[7:19] in said and 'freed: ' in said, said
    assert here(daemon) == {ref, images.ref('busybox')}
    assert prune(daemon, '--force').stdout.startswith('freed: 0')


def test_all_but_those_in_use(daemon, images):
    used, unused = (images.push(recipes.marked(name), name) for name in ('used', 'unused'))
    daemon.pull(used, unused)
    with daemon.pod() as pod:
        pod.create(used, ['sleep', '100'])  # created, not started
        done = json.loads(prune(daemon, '-a', '-f', '-o', 'json').stdout)
        assert {i['names'][0] for i in done['images']} == {unused, images.ref('busybox')}
        assert done['freed_bytes'] > 0
        assert here(daemon) == {used}
    prune(daemon, '--all', '--force')
    assert here(daemon) == set()


def test_df_tells_what_a_prune_gives_back(daemon, images):
    used, unused = (images.push(recipes.marked(name), name) for name in ('used', 'unused'))
    daemon.pull(used, unused)

    def df():
        return json.loads(daemon.runtime.cli('image', 'df', '-o', 'json').stdout)
    with daemon.pod() as pod:
        container = pod.run(used, ['sleep', '100'])
        assert container.output('dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=3') == ''
        kinds = {k['kind']: k for k in df()['kinds']}
        assert (kinds['images']['total'], kinds['images']['active']) == (3, 1)
        assert (kinds['layers']['total'], kinds['layers']['active']) == (3, 2)
        assert (kinds['blobs']['total'], kinds['blobs']['active']) == (9, 4)  # manifest, config; three layers
        assert kinds['containers']['total'] == 1 and kinds['containers']['bytes'] >= 3 << 20
        assert kinds['images']['bytes'] == daemon.cri.ImageFsInfo().image_filesystems[0].used_bytes.value
        by_name = {i['names'][0]: i for i in df()['images']}
        assert by_name[used]['users'] == 1 and by_name[unused]['users'] == 0
        assert 0 < by_name[used]['shared_bytes'] < by_name[used]['bytes']
        said = daemon.runtime.cli('image', 'df', '-v').stdout
        assert 'RECLAIMABLE' in said and '  layers' in said and unused in said
        freed = json.loads(prune(daemon, '-a', '-f', '-o', 'json').stdout)['freed_bytes']
        assert freed == kinds['images']['reclaimable_bytes'] > 0
        assert {k['kind']: k['reclaimable_bytes'] for k in df()['kinds']}['images'] == 0


def known(daemon, ref):
    said = json.loads(daemon.runtime.cli('image', 'inspect', ref).stdout)[0]['info']['info']
    return {k: datetime.datetime.fromisoformat(v.replace('Z', '+00:00')).timestamp() if isinstance(v, str) else v
            for k, v in said.items()}


def test_when_it_came_and_was_used(daemon, images):
    """Kept over a daemon's end; a record from before there were these fields reads as nobody knows."""
    ref = images.push(recipes.marked('times'), 'times')
    start = int(time.time())
    daemon.pull(ref)
    first = known(daemon, ref)
    assert start <= first['pulled'] <= time.time() and 'lastUsed' not in first and first['made'] is False
    with daemon.pod() as pod:
        pod.create(ref, ['true'])
    after = known(daemon, ref)
    assert start <= after['lastUsed'] <= time.time() and after['pulled'] == first['pulled']
    daemon.runtime.cli('image', 'edit', '-q', ref, '-t', 'localhost/made:1', '--label', 'a=b')
    assert known(daemon, 'localhost/made:1')['made'] is True
    use = {i['names'][0]: i for i in json.loads(daemon.runtime.cli('image', 'df', '-o', 'json').stdout)['images']}
    assert int(use[ref]['used']) == after['lastUsed'] and use['localhost/made:1']['made'] and not use[ref]['made']
    daemon.runtime.stop()
    with sqlite3.connect(os.path.join(daemon.runtime.root, 'store.db')) as store:
        (old,) = store.execute('select value from image where key = ?', (recipes.busybox().id(),)).fetchone()
        old = {k: v for k, v in json.loads(old).items() if k not in ('made', 'pulled', 'used')}
        store.execute('update image set value = ? where key = ?', (json.dumps(old).encode(), recipes.busybox().id()))
    daemon.start()
    daemon.connect()
    assert known(daemon, ref) == after
    old = known(daemon, images.ref('busybox'))
    assert old['made'] is False and not {'pulled', 'lastUsed'} & set(old)


def test_mounted(daemon, images):
    where = daemon.runtime.cli('image', 'mount', images.ref('busybox')).stdout.strip()
    prune(daemon, '--all', '--force')
    assert here(daemon) == {images.ref('busybox')} and os.listdir(where)
    daemon.runtime.cli('image', 'unmount', '--all')
    prune(daemon, '--all', '--force')
    assert here(daemon) == set()


def test_rm_all_is_the_same(daemon, images):
    assert daemon.runtime.cli('image', 'rm', '--all').stdout.startswith('sha256:')
    assert here(daemon) == set()


@pytest.mark.parametrize('own_daemon', [{'config': 'pinned-images: ["*/pinned:*"]\n'}], indirect=True)
def test_pinned(daemon, images):
    ref = images.push(recipes.marked('pinned'), 'pinned')
    daemon.pull(ref)
    prune(daemon, '--all', '--force')
    assert here(daemon) == {ref}


def test_labels(daemon, images):
    refs = {name: images.push(recipes.busybox(Labels=labels), name) for name, labels in
            (('none', {}), ('test', {'stage': 'test'}), ('prod', {'stage': 'prod', 'keep': ''}))}
    daemon.pull(*refs.values())
    prune(daemon, '-a', '-f', '--filter', 'label=stage=test')
    assert refs['test'] not in here(daemon) and refs['prod'] in here(daemon)
    prune(daemon, '-a', '-f', '--filter', 'label!=keep')
    assert here(daemon) == {refs['prod']}
    prune(daemon, '-a', '-f', '--filter', 'label=stage', '--filter', 'label!=keep')
    assert here(daemon) == {refs['prod']}
    for bad in ('stage=test', 'label=', 'until=0'):
        done = prune(daemon, '-f', '--filter', bad, check=False)
        assert done.returncode == 2 and bad in done.stderr, done


def test_asks(daemon, images):
    done = prune(daemon, '--all', check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and '--force' in done.stderr
    command = [daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'prune', '--all']
    for answer, stay in (('n', True), ('y', False)):
        terminal = Terminal(command)
        terminal.expect(r'\[y/N\] ')
        terminal.type(answer + '\n')
        assert (terminal.wait() != 0) == stay
        assert (images.ref('busybox') in here(daemon)) == stay


@pytest.mark.parametrize('own_daemon', [{'config': 'image-gc-high-threshold: 1\nimage-gc-low-threshold: 0\n'
                                                   'image-minimum-gc-age: 0s\nimage-gc-period: 1s\n'}], indirect=True)
def test_races(daemon, images):
    """Containers are made of an image that is pulled, checked, pruned and collected all the time: each that is made works."""
    ref, end = images.push(recipes.marked('raced'), 'raced'), time.monotonic() + RACE_SECONDS
    failures, made = [], 0

    def until_the_end(action):
        while time.monotonic() < end and not failures:
            try:
                action()
            except Exception as error:  # pylint: disable=broad-exception-caught
                failures.append((error, getattr(error, 'stderr', '')))

    threads = [threading.Thread(target=until_the_end, args=(action,)) for action in (
        lambda: prune(daemon, '--all', '--force'), lambda: prune(daemon, '--blobs', '--force'), lambda: daemon.pull(ref),
        lambda: daemon.runtime.cli('image', 'verify'))]
    for thread in threads:
        thread.start()
    with daemon.pod() as pod:
        while time.monotonic() < end and not failures:
            try:
                container = pod.run(ref, ['sleep', '100'])
            except grpc.RpcError as error:
                assert error.code() == CODE.NOT_FOUND, error
                continue
            assert container.output('cat', '/raced') == 'raced'
            container.remove()
            made += 1
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert made > 3
    daemon.pull(ref)
    assert daemon.runtime.cli('image', 'verify').returncode == 0


def test_killed_while_pruning(daemon, images):
    refs = [images.push(recipes.marked(f'k{n}'), f'k{n}') for n in range(6)]
    for wait in (0, 0.005, 0.01, 0.02):
        daemon.pull(*refs)
        with subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'prune', '-a', '-f'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            time.sleep(wait)
            daemon.runtime.kill()
            client.wait()
        daemon.start()
        daemon.connect()
        assert daemon.runtime.cli('image', 'verify').returncode == 0
    prune(daemon, '--all', '--force')
    root = daemon.runtime.root
    assert os.listdir(os.path.join(root, 'blobs', 'sha256')) == []
    assert os.listdir(os.path.join(root, 'layers', 'by-chain')) == []
