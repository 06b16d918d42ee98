"""/storage and /nodes/N/storage: what is on the storages, uploads and pulls."""

import hashlib
import os
import re

from api import operation
from errors import failed, forbidden, refused

TEMPLATE = re.compile(r'[^/\s]+\.(?:tar|tar\.gz|tar\.xz|tar\.zst|tgz)')


def may_see(call, name):
    return call.may(f'/storage/{name}', 'Datastore.Audit', 'Datastore.AllocateSpace', any_of=True)


def definition(cluster, name):
    storage = next(node.storages[name] for node in cluster.nodes.values() if name in node.storages)
    return {'storage': name, 'type': cluster.storage_types[name], 'content': ','.join(sorted(storage.kinds)),
            'path': storage.folder, 'shared': int(storage.shared),
            'digest': hashlib.sha1(' '.join(sorted(cluster.storage_types)).encode()).hexdigest()}


@operation('GET /storage')
def definitions(call):
    return [definition(call.cluster, name) for name, kind in call.cluster.storage_types.items()
            if may_see(call, name) and call.get('type', kind) == kind]


@operation('GET /storage/{storage}')
def read_definition(call):
    if call['storage'] not in call.cluster.storage_types:
        raise failed(f"storage '{call['storage']}' does not exist")
    return definition(call.cluster, call['storage'])


def entry(call, storage):
    return {'storage': storage.name, 'type': call.cluster.storage_types[storage.name], 'shared': int(storage.shared),
            'content': ','.join(sorted(storage.kinds)), 'enabled': 1, 'active': 1, **storage.status()}


@operation('GET /nodes/{node}/storage')
def storages(call):
    found = []
    for storage in call.node.storages.values():
        wanted = set(re.split('[,; ]+', call['content'])) if call.get('content') else storage.kinds
        if may_see(call, storage.name) and call.get('storage') in (None, storage.name) and wanted & storage.kinds:
            found.append(entry(call, storage))
    return found


@operation('GET /nodes/{node}/storage/{storage}/status')
def storage_status(call):
    found = entry(call, call.node.storage(call['storage']))
    return {key: value for key, value in found.items() if key not in ('storage', 'used_fraction')}


@operation('GET /nodes/{node}/storage/{storage}/content')
def content(call):
    storage = call.node.storage(call['storage'])
    found = storage.content(call.get('content'), call.int('vmid'))
    return [{**volume, **call.cluster.notes.get(volume['volid'], {})} for volume in found if may_use(call, volume)]


def may_use(call, volume):
    """Templates are for who may see the storage; volumes and backups for who may use the container, or all of it."""
    if volume['content'] in ('vztmpl', 'iso', 'import') or call.may(f'/storage/{call["storage"]}',
                                                                    'Datastore.Allocate'):
        return True
    return call.may(f'/vms/{volume["vmid"]}', 'VM.Backup' if volume['content'] == 'backup' else 'VM.Config.Disk')


def volume_of(call):
    """(storage, volume id, its entry) of a path, where the storage's name may stand in front or not."""
    storage = call.node.storage(call['storage'])
    volid = call['volume'] if call['volume'].startswith(storage.name + ':') else f'{storage.name}:{call["volume"]}'
    if ':' in call['volume'] and not call['volume'].startswith(storage.name + ':'):
        raise refused({'volume': "storage ID mismatch"})
    found = next((volume for volume in storage.content() if volume['volid'] == volid), None)
    if found is None:
        storage.path(volid)
        raise failed(f"volume '{volid}' does not exist")
    return storage, volid, found


@operation('GET /nodes/{node}/storage/{storage}/content/{volume}')
def read_volume(call):
    storage, volid, found = volume_of(call)
    if not may_see(call, storage.name) or not may_use(call, found):
        raise forbidden(f'/storage/{storage.name}, Datastore.Audit|Datastore.AllocateSpace')
    return {'path': storage.path(volid), 'size': found['size'], 'used': found.get('used', found['size']),
            'format': found['format'], **call.cluster.notes.get(volid, {})}


@operation('PUT /nodes/{node}/storage/{storage}/content/{volume}')
def update_volume(call):
    storage, volid, found = volume_of(call)
    call.require(f'/storage/{storage.name}', 'Datastore.Allocate')
    if found['content'] != 'backup':
        raise failed(f"volume '{volid}' is no backup: it has neither notes nor protection")
    notes = call.cluster.notes.setdefault(volid, {})
    if call.get('notes') is not None:
        notes['notes'] = call['notes']
    if call.get('protected') is not None:
        notes['protected'] = int(call['protected'])


@operation('DELETE /nodes/{node}/storage/{storage}/content/{volume}')
def delete_volume(call):
    storage, volid, found = volume_of(call)
    if found['content'] == 'backup' and call.may(f'/storage/{storage.name}', 'Datastore.AllocateSpace') \
            and call.may(f'/vms/{found["vmid"]}', 'VM.Backup'):
        pass  # one's own backups
    else:
        call.require(f'/storage/{storage.name}', 'Datastore.Allocate')
    if call.cluster.notes.get(volid, {}).get('protected'):
        raise failed(f"cannot remove protected volume '{volid}' on '{storage.name}'")
    if any(volid in guest.owned_volumes() for guest in call.cluster.list_guests() if guest.node is call.node):
        raise failed(f"cannot remove volume '{volid}': it is in use by a container")

    def work(task):
        storage.remove(volid)
        call.cluster.notes.pop(volid, None)
        task.log(f"Removed volume '{volid}'")
    owner = f'{found["vmid"]}@' if 'vmid' in found else ''
    return call.task('imgdel', owner + storage.name, work)


@operation('POST /nodes/{node}/storage/{storage}/upload')
def upload(call):
    storage, kind = call.node.storage(call['storage']), call['content']
    if not call.upload or not call.upload.path:
        raise failed('missing temporary file name')
    if kind not in storage.kinds:
        raise failed(f"can't upload to storage type '{call.cluster.storage_types[storage.name]}' - no '{kind}' content")
    filename = re.sub(r'[^-a-zA-Z0-9_.]', '_', os.path.basename(call['filename']))
    if kind == 'vztmpl' and not TEMPLATE.fullmatch(filename):
        raise refused({'filename': 'wrong file extension'})
    if call.get('checksum'):
        with open(call.upload.path, 'rb') as file:
            found = hashlib.file_digest(file, call['checksum-algorithm']).hexdigest()
        if found != call['checksum'].lower():
            raise failed(f"checksum mismatch: got '{found}' != expect '{call['checksum']}'")
    storage.gate(f"unable to write '{filename}'")
    kept = os.path.join(call.cluster.folder, f'upload-{call.upload.folder.rpartition("-")[2]}.part')
    os.rename(call.upload.path, kept)  # the task outlives the request

    def work(task):
        try:
            task.log(f'starting file import from: {kept}')
            task.log(f'target node: {call.node.name}')
            # An existing file is replaced by an upload.
            volid = storage.store(kind, filename, kept, True)
            task.log(f'target file: {storage.path(volid)}')
            task.log('finished file import successfully')
        finally:
            os.unlink(kept)
    return call.task('imgcopy', '', work)


@operation('POST /nodes/{node}/storage/{storage}/oci-registry-pull')
def pull(call):
    storage, reference = call.node.storage(call['storage']), call['reference']
    if 'vztmpl' not in storage.kinds:
        raise failed(f"storage '{storage.name}' is not configured for vztmpl content")
    name, _, tag = reference.rpartition(':')
    filename = re.sub(r'[^-a-zA-Z0-9_.]', '_', call.get('filename') or f'{name.rpartition("/")[2]}_{tag}')
    filename = filename.removesuffix('.tar') + '.tar'
    if os.path.exists(os.path.join(storage.folder, 'template/cache', filename)):
        raise failed(f"refusing to override existing file '{filename}'")

    def work(task):
        source = call.cluster.registry.get(name, {}).get(tag)
        task.log(f'pulling {reference}')
        if not source:
            raise failed(f"command 'skopeo copy docker://{reference}' failed: exit code 1")
        storage.store('vztmpl', filename, source)
    return call.task('ociregistrypull', storage.name, work)
