"""Templates, OCI archives and backups, into volumes and out of them."""

import os
import subprocess

import pytest

from archives import ArchiveError, backup_config, dump, unpack
from oci import Layer
from storages import ROOT_OF_CT, Storage
from templates import layer, oci_archive, template


@pytest.fixture
def storage(tmp_path):
    return Storage('local', str(tmp_path / 'local'), {'vztmpl', 'backup', 'rootdir'}, snapshots=True, shared=False)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'mount'
    path.mkdir()
    return str(path)


@pytest.fixture
def tree(storage):
    """(the path of a volume without limit, what unpack() takes)"""
    path = storage.path(storage.allocate(110, 0))
    return path, [('/', path)]


@pytest.mark.parametrize('name', ['small.tar', 'small.tar.gz', 'small.tar.zst'])
def test_template_is_unpacked_with_the_ids_of_the_container(tmp_path, folder, tree, name):
    source = template(str(tmp_path / name), layer(os_release='NAME=x\nID="alpine"\n'),
                      Layer().file('owned', 'x', 0o640, uid=33, gid=44).device('dev/sda', 'b', 8, 0))
    assert unpack(source, folder, tree[1]) == {'ostype': 'alpine', 'arch': 'amd64', 'oci': False}
    info = os.stat(os.path.join(tree[0], 'owned'))
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (ROOT_OF_CT + 33, ROOT_OF_CT + 44, 0o640)
    assert os.stat(os.path.join(tree[0], 'sbin/init')).st_uid == ROOT_OF_CT
    assert not os.path.exists(os.path.join(tree[0], 'dev/sda')), 'a device of the host was made'


def test_image_volume_is_filled_and_left_unmounted(tmp_path, folder, storage):
    volume = storage.path(storage.allocate(110, 64 << 20))
    unpack(template(str(tmp_path / 'small.tar')), folder, [('/', volume)])
    listed = subprocess.run(['debugfs', '-R', 'stat /sbin/init', volume], capture_output=True, text=True, check=True)
    assert f'User: {ROOT_OF_CT}' in listed.stdout
    assert volume not in subprocess.run(['losetup', '-a'], capture_output=True, text=True, check=True).stdout
    assert os.listdir(folder) == []


def test_too_small_a_volume_and_a_damaged_archive_are_errors(tmp_path, folder, storage, tree):
    volume = storage.path(storage.allocate(111, 1 << 20))
    source = template(str(tmp_path / 'small.tar.zst'))
    with pytest.raises(ArchiveError, match='unable to extract .*'):
        unpack(source, folder, [('/', volume)])
    os.truncate(source, os.path.getsize(source) // 2)
    with pytest.raises(ArchiveError, match='unable to extract .*'):
        unpack(source, folder, tree[1])
    with open(source, 'wb') as f:
        f.write(b'no archive at all')
    with pytest.raises(ArchiveError, match='unable to extract .*'):
        unpack(source, folder, tree[1])


def test_oci_archive_gives_its_configuration(tmp_path, folder, tree):
    source = oci_archive(str(tmp_path / 'image.tar'), layer(), Entrypoint=['/bin/sh', '-c'],
                         Cmd=['echo started; exec sleep 100000'], Env=['PATH=/bin', 'FOO=bar baz'], WorkingDir='/tmp')
    assert unpack(source, folder, tree[1]) == {
        'oci': True, 'ostype': 'debian', 'arch': 'amd64', 'cmode': 'console',
        'entrypoint': "/bin/sh -c 'echo started; exec sleep 100000'", 'env': 'PATH=/bin\0FOO=bar baz',
        'lxc': [['lxc.init.uid', '0'], ['lxc.init.gid', '0'], ['lxc.init.cwd', '/tmp'], ['lxc.signal.halt', 'SIGTERM']]}


@pytest.mark.parametrize('user, expected', [
    ('33', [['lxc.init.uid', '33'], ['lxc.init.gid', '33']]),
    ('4711:5', [['lxc.init.uid', '4711'], ['lxc.init.gid', '5']]),
    ('default-user', [['lxc.init.uid', '1000'], ['lxc.init.gid', '1000'], ['lxc.init.groups', '50000']]),
    ('default-user:daemon', [['lxc.init.uid', '1000'], ['lxc.init.gid', '1']]),
])
def test_oci_user_is_looked_up_in_the_image(tmp_path, folder, tree, user, expected):
    source = oci_archive(str(tmp_path / 'image.tar'), User=user, StopSignal='SIGUSR1')
    assert unpack(source, folder, tree[1])['lxc'] == expected + [['lxc.init.cwd', '/'], ['lxc.signal.halt', 'SIGUSR1']]


def test_oci_user_that_is_not_in_the_image_is_an_error(tmp_path, folder, tree):
    with pytest.raises(ArchiveError, match="the image's user 'nobody-such' is not in its /etc/passwd"):
        unpack(oci_archive(str(tmp_path / 'image.tar'), User='nobody-such'), folder, tree[1])


def test_layers_hide_and_replace_what_is_below(tmp_path, folder, tree):
    below = Layer('gzip').dir('a').file('a/gone', '1').file('a/kept', '1').dir('b').file('b/old', '1')
    below.dir('c').file('c/x')
    above = Layer('zstd').file('a/.wh.gone').dir('b').file('b/.wh..wh..opq').file('b/new', '2').file('c', 'a file now')
    unpack(oci_archive(str(tmp_path / 'image.tar'), below, above), folder, tree[1])
    assert os.listdir(os.path.join(tree[0], 'a')) == ['kept'] and os.listdir(os.path.join(tree[0], 'b')) == ['new']
    with open(os.path.join(tree[0], 'c'), encoding='utf-8') as f:
        assert f.read() == 'a file now'


def test_layers_do_not_reach_out_of_the_volume(tmp_path, folder, tree):
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / 'file').write_text('mine')
    os.chmod(outside, 0o777)
    below = Layer().symlink('out', str(outside))
    above = Layer().file('out/.wh.file').file('out/new', '1')
    try:
        unpack(oci_archive(str(tmp_path / 'image.tar'), below, above), folder, tree[1])
    except ArchiveError:
        pass
    assert os.listdir(outside) == ['file']


def test_only_exact_names_make_an_oci_archive(tmp_path, folder, tree):
    source = oci_archive(str(tmp_path / 'image.tar'))
    layout = tmp_path / 'layout'
    layout.mkdir()
    subprocess.run(['tar', '-xf', source, '-C', layout], check=True)
    subprocess.run(['tar', '-cf', source, '-C', layout, '.'], check=True)  # names begin with ./
    assert unpack(source, folder, tree[1])['oci'] is False
    assert 'oci-layout' in os.listdir(tree[0])


def test_backup_goes_around_with_all_volumes(tmp_path, folder, storage, tree):
    unpack(template(str(tmp_path / 'small.tar')), folder, tree[1])
    data = storage.path(storage.allocate(110, 16 << 20))
    with open(os.path.join(tree[0], 'marker'), 'w', encoding='utf-8') as f:
        f.write('here')
    os.chown(os.path.join(tree[0], 'marker'), ROOT_OF_CT + 5, ROOT_OF_CT + 6)
    target = storage.new_path('backup', 'vzdump-lxc-110-2026_11_24-21_59_55.tar.zst')[1]
    dump(target, folder, [('/', tree[0]), ('/data', data)], 'arch: amd64\nmemory: 64\n')
    assert backup_config(target) == 'arch: amd64\nmemory: 64\n'
    names = subprocess.run(['tar', '-tf', target], capture_output=True, text=True, check=True).stdout.split()
    assert names[0] == './etc/vzdump/pct.conf' and './data/' in names and './sbin/init' in names
    assert './data/lost+found/' not in names

    root, data = storage.path(storage.allocate(111, 64 << 20)), storage.path(storage.allocate(111, 0))
    found = unpack(target, folder, [('/', root), ('/data', data)])
    assert found['config'] == 'arch: amd64\nmemory: 64\n'
    said = subprocess.run(['debugfs', '-R', 'stat /marker', root], capture_output=True, text=True, check=True).stdout
    assert f'User: {ROOT_OF_CT + 5}' in said and f'Group: {ROOT_OF_CT + 6}' in said
    assert 'pct.conf' not in subprocess.run(['debugfs', '-R', 'ls /etc/vzdump', root], capture_output=True, text=True,
                                            check=True).stdout


def test_backup_that_has_no_room_leaves_no_file(tmp_path, folder, tree):
    unpack(template(str(tmp_path / 'small.tar')), folder, tree[1])
    full = tmp_path / 'full'
    full.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'full', full], check=True)
    try:
        with pytest.raises(ArchiveError, match='unable to write .*'):
            dump(str(full / 'vzdump.tar.zst'), folder, tree[1], '')
        assert os.listdir(full) == []
    finally:
        subprocess.run(['umount', full], check=True)
