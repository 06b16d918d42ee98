"""A look at the store of images from outside: the records as SQLite has them, the files as the disk has them."""

import hashlib
import json
import os
import sqlite3
import stat


def _table(store, name):
    return dict(store.execute(f'select key, value from {name}').fetchall())


def records(root):
    """{table: {key: value}}, the values as they should be."""
    with sqlite3.connect(f'file:{root}/store.db?mode=ro', uri=True) as store:
        tables = {name: _table(store, name) for name in ('image', 'image_name', 'layer', 'snapshot')}
    store.close()
    tables['image_name'] = {key: bytes(value).decode() for key, value in tables['image_name'].items()}
    for name in ('image', 'layer', 'snapshot'):
        tables[name] = {key: json.loads(bytes(value)) for key, value in tables[name].items()}
    return tables


_digests = {}  # of files that have not changed since


def _digest(path):
    st = os.lstat(path)
    key = (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
    if key not in _digests:
        with open(path, 'rb') as f:
            _digests[key] = hashlib.sha256(f.read()).hexdigest()
    return _digests[key]


def fingerprint(folder):
    """Of all that is in it: names, kinds, modes, owners, links, contents."""
    h = hashlib.sha256()
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(where, name)
            st = os.lstat(path)
            h.update(repr((os.path.relpath(path, folder), st.st_mode, st.st_uid, st.st_gid, st.st_nlink)).encode())
            if stat.S_ISREG(st.st_mode):
                h.update(_digest(path).encode())
            elif stat.S_ISLNK(st.st_mode):
                h.update(os.readlink(path).encode())
    return h.hexdigest()


def layers(root):
    """{chain id: its folder}"""
    names = os.listdir(f'{root}/layers/by-chain')
    return {name.replace('sha256-', 'sha256:'): os.path.realpath(f'{root}/layers/by-chain/{name}') for name in names}


def walk(root, known=None):
    """
    Do records and disk agree, of a daemon that has started and does nothing? `known` remembers each layer's
    fingerprint: a layer is whole whenever it is there. Returns the records.
    """
    rec = records(root)
    on_disk = layers(root)
    named = {c for i in rec['image'].values() for c in i['layers']} | {
        c for s in rec['snapshot'].values() for c in s['layers'] + s.get('volumes', [])}
    assert set(on_disk) == named, 'layers on disk, and those that images and snapshots name'
    assert set(rec['layer']) == named, 'records of layers'
    assert set(rec['image_name'].values()) <= set(rec['image']), 'names lead to images'
    assert sorted(os.listdir(f'{root}/layers/tmp')) == [], 'nothing half made'
    numbers = {n for n in os.listdir(f'{root}/layers') if n.isdigit()}
    assert numbers == {os.path.basename(path) for path in on_disk.values()}, 'folders of layers'
    assert len(numbers) == len(on_disk)
    for chain, path in on_disk.items():
        now = fingerprint(path)
        assert known is None or known.setdefault(chain, now) == now, f'layer {chain} is not whole'
    assert set(os.listdir(f'{root}/snapshots') if os.path.isdir(f'{root}/snapshots') else []) == set(rec['snapshot'])
    _walk_blobs(root, rec['image'])
    return rec


def _walk_blobs(root, images):
    folder = f'{root}/blobs/sha256'
    files = {name for name in os.listdir(folder) if not name.endswith('.part')}
    named = {b['digest'][7:] for i in images.values() for b in i['blobs']}
    assert files <= named, f'blobs that nothing names: {files - named}'
    assert len(os.listdir(folder)) - len(files) <= 16, 'parts are bounded'
    for id_, image in images.items():
        assert id_[7:] in files, 'an image has its config'
        for b in image['blobs']:
            assert b['digest'][7:] in files or (b.get('layer') and not image['made']), f'blob {b} of {image} is lost'
    for name in files:
        assert _digest(f'{folder}/{name}') == name, 'a blob is what its name says'
