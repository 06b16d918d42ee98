"""image mount and unmount: an image's files on the host."""

import json
import os
import subprocess

import pytest

import images as recipes

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


@pytest.fixture
def image(daemon, images):
    ref = images.push(recipes.marked('mounted'), 'mounted')
    id_ = daemon.pull(ref)[0]
    yield ref
    daemon.runtime.cli('image', 'unmount', ref, check=False)
    daemon.runtime.cli('image', 'rm', '-f', id_)


def mounts(daemon):
    return json.loads(daemon.runtime.cli('image', 'mount', '-o', 'json').stdout)


def read(*path):
    with open(os.path.join(*path), encoding='ascii') as f:
        return f.read().rstrip('\n')


def test_read_only(daemon, image, clean):
    path = daemon.runtime.cli('image', 'mount', image).stdout.strip()
    assert read(path, 'mounted') == 'mounted'
    assert os.stat(os.path.join(path, 'bin/busybox')).st_mode & 0o111
    with pytest.raises(OSError, match='Read-only'):
        os.mkdir(os.path.join(path, 'new'))
    [mount] = mounts(daemon)
    assert mount['path'] == path and mount['mounted'] and not mount['writable'], mount
    assert path in daemon.runtime.cli('image', 'mount').stdout
    daemon.runtime.cli('image', 'unmount', path)
    assert mounts(daemon) == [] and not os.path.exists(path)


def test_writable_at_a_path(daemon, image, tmp_path, clean):
    one, two = tmp_path / 'one', tmp_path / 'two'
    for folder in (one, two):
        folder.mkdir()
        said = daemon.runtime.cli('image', 'mount', '--rw', image, folder).stdout.strip()
        assert said == str(folder)
    (one / 'mounted').write_text('other', encoding='ascii')
    assert read(one, 'mounted') == 'other' and read(two, 'mounted') == 'mounted'
    # What holds it is told, and nothing is lost.
    with subprocess.Popen(['sleep', '1000'], cwd=one) as holds:
        done = daemon.runtime.cli('image', 'unmount', one, check=False)
        holds.kill()
    assert done.returncode == 1 and 'in use' in done.stderr and read(one, 'mounted') == 'other', done
    daemon.runtime.cli('image', 'unmount', image)
    assert mounts(daemon) == [] and os.listdir(one) == os.listdir(two) == []


def test_a_folder_that_was_renamed(daemon, image, tmp_path, clean):
    """It is unmounted by the path that the list has now, and by the one that it was mounted at."""
    for last in ('new', 'old'):
        (tmp_path / 'old/at').mkdir(parents=True)
        daemon.runtime.cli('image', 'mount', image, tmp_path / 'old/at')
        os.rename(tmp_path / 'old', tmp_path / 'new')
        assert [m['path'] for m in mounts(daemon)] == [str(tmp_path / 'new/at')]
        daemon.runtime.cli('image', 'unmount', tmp_path / last / 'at')
        assert mounts(daemon) == [] and os.listdir(tmp_path / 'new/at') == []
        os.rename(tmp_path / 'new', tmp_path / 'gone')
        os.rmdir(tmp_path / 'gone/at')
        os.rmdir(tmp_path / 'gone')


def test_its_layers_stay_when_the_image_goes(daemon, image, clean):
    path = daemon.runtime.cli('image', 'mount', image).stdout.strip()
    daemon.runtime.cli('image', 'rm', image)
    assert read(path, 'mounted') == 'mounted'
    daemon.runtime.cli('image', 'unmount', path)


def test_a_refused_mount_leaves_nothing(daemon, image, tmp_path, clean):
    file = tmp_path / 'file'
    file.touch()
    for args, word in ((['absent.example/x'], 'absent.example/x'), ([image, tmp_path / 'absent'], 'absent'),
                       ([image, file], 'Not a directory')):
        done = daemon.runtime.cli('image', 'mount', *args, check=False)
        assert done.returncode == 1 and word in done.stderr, done
    for what, word in ((str(tmp_path), 'no image at'), (image, 'nothing of image'), ('absent.example/x', 'absent')):
        done = daemon.runtime.cli('image', 'unmount', what, check=False)
        assert done.returncode == 1 and word in done.stderr, done
    assert mounts(daemon) == []


def test_outlives_a_kill(own_daemon, images, tmp_path):
    """One goes on, one that somebody has unmounted meanwhile is forgotten; holds are right afterwards."""
    ref, cli = images.push(recipes.marked('mounted'), 'mounted'), own_daemon.runtime.cli
    own_daemon.pull(ref)
    kept = cli('image', 'mount', '--rw', ref, tmp_path).stdout.strip()
    gone = cli('image', 'mount', ref).stdout.strip()
    with open(os.path.join(kept, 'new'), 'w', encoding='ascii') as f:
        f.write('new')
    subprocess.run(['umount', gone], check=True)
    assert {m['path']: m['mounted'] for m in mounts(own_daemon)} == {kept: True, gone: False}
    own_daemon.runtime.kill()
    own_daemon.start()
    assert [m['path'] for m in mounts(own_daemon)] == [kept] and not os.path.exists(gone)
    cli('image', 'rm', ref)
    assert read(kept, 'new') == 'new' and read(kept, 'mounted') == 'mounted'
    cli('image', 'unmount', '--all')
    root = own_daemon.runtime.root
    assert os.listdir(f'{root}/snapshots') == os.listdir(tmp_path) == [] and not os.path.exists(f'{root}/mounts')
    assert len(os.listdir(f'{root}/layers/by-chain')) == 1, "busybox's alone"
