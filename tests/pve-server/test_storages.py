"""Storages: names, volumes, snapshots, copies, a full disk."""

import os
import subprocess

import pytest

from storages import ROOT_OF_CT, Storage, StorageError

ALL = {'vztmpl', 'backup', 'iso', 'rootdir'}


@pytest.fixture
def local(tmp_path):
    return Storage('local', str(tmp_path / 'local'), ALL, snapshots=False, shared=False)


@pytest.fixture
def btr(tmp_path):
    return Storage('btr', str(tmp_path / 'btr'), {'rootdir'}, snapshots=True, shared=False)


@pytest.fixture
def small(tmp_path):
    """A storage on a file system of 2 MiB."""
    folder = tmp_path / 'small'
    folder.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'small', folder], check=True)
    yield Storage('small', str(folder), ALL, snapshots=True, shared=False)
    subprocess.run(['umount', folder], check=True)


def put(storage, volid, text, name='file'):
    with open(os.path.join(storage.path(volid), name), 'w', encoding='utf-8') as f:
        f.write(text)


def get(storage, volid, name='file'):
    with open(os.path.join(storage.path(volid), name), encoding='utf-8') as f:
        return f.read()


def test_stored_file_is_listed_found_and_removed(local, tmp_path):
    source = tmp_path / 'source'
    source.write_bytes(b'x' * 1000)
    assert local.store('vztmpl', 'a.tar.zst', str(source)) == 'local:vztmpl/a.tar.zst'
    local.store('backup', 'vzdump-lxc-110-2026_11_24-21_59_55.tar.zst', str(source))
    entry, = local.content('vztmpl')
    assert (entry['volid'], entry['format'], entry['size']) == ('local:vztmpl/a.tar.zst', 'tzst', 1000)
    backup, = local.content('backup', 110)
    assert (backup['subtype'], backup['vmid'], backup['format']) == ('lxc', 110, 'tar.zst')
    assert local.content('backup', 111) == []
    assert os.path.getsize(local.path('local:vztmpl/a.tar.zst')) == 1000
    local.remove('local:vztmpl/a.tar.zst')
    assert local.content('vztmpl') == []


def test_existing_file_is_only_replaced_when_asked(local, tmp_path):
    source = tmp_path / 'source'
    source.write_text('old')
    local.store('vztmpl', 'a.tar', str(source))
    source.write_text('newer')
    with pytest.raises(StorageError, match='refusing to override existing file'):
        local.store('vztmpl', 'a.tar', str(source))
    assert local.content()[0]['size'] == 3
    local.store('vztmpl', 'a.tar', str(source), overwrite=True)
    assert local.content()[0]['size'] == 5


@pytest.mark.parametrize('volid, text', [
    ('local:vztmpl/none.tar', "volume 'local:vztmpl/none.tar' does not exist"),
    ('local', "unable to parse volume ID 'local'"),
    ('other:vztmpl/a.tar', "storage 'other' does not exist"),
    ('local:vztmpl/../../etc/passwd', "unable to parse directory volume name 'vztmpl/../../etc/passwd'"),
    ('local:vztmpl/..tar', "unable to parse directory volume name 'vztmpl/..tar'"),
    ('local:110/../111/vm-111-disk-0.raw', 'unable to parse directory volume name'),
    ('local:vztmpl/a.zip', 'unable to parse directory volume name'),
    ('local:110/subvol-110-disk-0.raw@s1', 'unable to parse directory volume name'),
])
def test_wrong_volids_are_refused(local, volid, text):
    with pytest.raises(StorageError) as error:
        local.path(volid)
    assert text in str(error.value)


def test_content_that_a_storage_is_not_for_is_refused(btr, tmp_path):
    (tmp_path / 'source').touch()
    with pytest.raises(StorageError, match="storage 'btr' does not support 'vztmpl' content"):
        btr.store('vztmpl', 'a.tar', str(tmp_path / 'source'))


def test_volumes_are_numbered_and_typed_by_their_size(local, btr):
    assert local.allocate(110, 1 << 24) == 'local:110/vm-110-disk-0.raw'
    assert local.allocate(110, 0) == 'local:110/subvol-110-disk-1.subvol'
    assert btr.allocate(110, None) == 'btr:110/subvol-110-disk-0.subvol'
    local.free('local:110/vm-110-disk-0.raw')
    assert local.allocate(110, 1 << 24) == 'local:110/vm-110-disk-0.raw'
    raw, tree = local.content('rootdir', 110)[::-1]
    assert (raw['format'], raw['size'], tree['format'], tree['size']) == ('raw', 1 << 24, 'subvol', 0)
    assert os.stat(local.path(tree['volid'])).st_uid == ROOT_OF_CT
    with open(local.path(raw['volid']), 'rb') as f:
        assert f.read(1082)[1080:] == b'\x53\xef'  # ext4's magic number


def test_full_disk_fails_and_leaves_nothing(small):
    small.allocate(110, 1 << 20)
    with pytest.raises(StorageError, match="^unable to create image '.*/vm-110-disk-1.raw'"):
        small.allocate(110, 1 << 33)
    tree = small.allocate(111, 0)
    with open(os.path.join(small.path(tree), 'big'), 'wb') as f:
        f.write(b'x' * (1 << 20))
    with pytest.raises(StorageError, match='No space left on device'):
        small.snapshot(tree, 'snap')
    with pytest.raises(StorageError, match='No space left on device'):
        small.copy_to(tree, small, 112)
    assert [entry['volid'] for entry in small.content()] == ['small:110/vm-110-disk-0.raw', tree]
    assert small.status()['used'] <= small.status()['total'] == 2 << 20


def test_snapshots_keep_and_give_back(btr):
    tree = btr.allocate(110, 0)
    put(btr, tree, 'first')
    btr.snapshot(tree, 'one')
    put(btr, tree, 'second')
    put(btr, tree, 'new', 'other')
    btr.snapshot(tree, 'two')
    btr.rollback(tree, 'one')
    assert get(btr, tree) == 'first' and os.listdir(btr.path(tree)) == ['file']
    btr.rollback(tree, 'two')
    assert get(btr, tree) == 'second' and get(btr, tree, 'other') == 'new'
    with pytest.raises(StorageError, match="snapshot name 'two' already used"):
        btr.snapshot(tree, 'two')
    btr.drop_snapshot(tree, 'one')
    with pytest.raises(StorageError, match="snapshot 'one' does not exist"):
        btr.rollback(tree, 'one')
    assert len(btr.content()) == 1
    btr.free(tree)
    assert os.listdir(os.path.join(btr.folder, 'images')) == []


def test_snapshots_need_a_storage_for_them(local):
    volume = local.allocate(110, 1 << 24)
    with pytest.raises(StorageError, match='snapshot feature for volume .* is not available'):
        local.snapshot(volume, 'one')


def test_copies_keep_content_owners_and_where_free_the_name(btr, local):
    tree = btr.allocate(110, 0)
    put(btr, tree, 'content')
    os.chown(os.path.join(btr.path(tree), 'file'), ROOT_OF_CT + 7, ROOT_OF_CT + 8)
    btr.snapshot(tree, 'one')
    put(btr, tree, 'later')
    assert btr.copy_to(tree, local, 110) == 'local:110/subvol-110-disk-0.subvol'
    assert get(local, 'local:110/subvol-110-disk-0.subvol') == 'later'
    clone = btr.copy_to(tree, btr, 120, snapshot='one')
    assert clone == 'btr:120/subvol-120-disk-0.subvol' and get(btr, clone) == 'content'
    info = os.stat(os.path.join(btr.path(clone), 'file'))
    assert (info.st_uid, info.st_gid) == (ROOT_OF_CT + 7, ROOT_OF_CT + 8)
    assert btr.copy_to(tree, btr, 110) == 'btr:110/subvol-110-disk-1.subvol'


def test_resize_only_grows_images(local):
    volume, tree = local.allocate(110, 16 << 20), local.allocate(110, 0)
    local.resize(volume, 32 << 20)
    assert local.size(volume) == 32 << 20
    said = subprocess.run(['dumpe2fs', '-h', local.path(volume)], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(':', 1) for line in said.splitlines() if ':' in line)
    assert int(fields['Block count']) * int(fields['Block size']) == 32 << 20
    with pytest.raises(StorageError, match='unable to shrink disk size'):
        local.resize(volume, 16 << 20)
    with pytest.raises(StorageError, match="can't resize this image format 'subvol'"):
        local.resize(tree, 1 << 30)


def test_a_shared_storage_shows_the_same_on_each_node(tmp_path):
    here, there = (Storage('nfs', str(tmp_path / 'nfs'), ALL, snapshots=False, shared=True) for _ in range(2))
    volume = here.allocate(110, 1 << 24)
    assert there.content() == here.content() and there.allocate(110, 1 << 24) != volume
