"""/nodes/N/lxc: snapshots, templates, clones, moves, sizes; and backups, by /nodes/N/vzdump."""

import re

import actions
import create as creation
from api import operation
from api_lxc import guest_then
from errors import failed, reason, refused
from formats import split_list


# Snapshots, templates, clones.

@operation('GET /nodes/{node}/lxc/{vmid}/feature')
def feature(call):
    guest = call.guest()
    if call.get('snapname'):
        actions.snapshot_of(guest, call['snapname'])
    if call['feature'] == 'snapshot':
        able = actions.can_snapshot(guest)
    elif call['feature'] == 'copy':
        able = copyable(guest, call.get('snapname')) is None
    else:  # linked clones: no storage here has them
        able = False
    return {'hasFeature': int(able)}


def copyable(guest, snapname):
    """The volume that can't be copied, or None: a snapshot of a tree can't."""
    if snapname:
        for volume in guest.volumes(config=actions.snapshot_of(guest, snapname)['config']).values():
            if volume.endswith('.subvol'):
                return volume
    return None


@operation('GET /nodes/{node}/lxc/{vmid}/snapshot')
def snapshots(call):
    guest, found = call.guest(), []
    for name, entry in guest.snapshots.items():
        shown = {'name': name, 'snaptime': entry['snaptime'], 'description': entry.get('description', ''),
                 'parent': entry['parent']}
        found.append({key: value for key, value in shown.items() if value is not None})
    now = {'name': 'current', 'description': 'You are here!', 'running': int(guest.running), 'digest': guest.digest()}
    return found + [{**now, 'parent': guest.parent} if guest.parent else now]


@operation('POST /nodes/{node}/lxc/{vmid}/snapshot')
def create_snapshot(call):
    name, description = call['snapname'], call.get('description')
    if name == 'current':
        raise failed("unable to use snapshot name 'current' (reserved name)")
    if name == 'vzdump':
        raise failed("unable to use snapshot name 'vzdump' (reserved name)")
    if description and not description.endswith('\n'):
        description += '\n'
    return call.task('vzsnapshot', call['vmid'],
                     lambda task: actions.snapshot(guest_then(call), task, name, description))


@operation('DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}')
def delete_snapshot(call):
    return call.task('vzdelsnapshot', call['vmid'],
                     lambda task: actions.delete_snapshot(guest_then(call), task, call['snapname'], call.flag('force')))


@operation('GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config')
def snapshot_config(call):
    entry = actions.snapshot_of(call.guest(), call['snapname'])
    return {**entry['config'], **{key: entry[key] for key in ('snaptime', 'description') if key in entry}}


@operation('PUT /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config')
def update_snapshot(call):
    guest = call.guest()
    with guest.locked():
        guest.check_lock()
        entry = actions.snapshot_of(guest, call['snapname'])
        guest.write()
        if call.get('description') is not None:
            entry['description'] = call['description'].rstrip('\n') + '\n'


@operation('POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback')
def rollback(call):
    return call.task('vzrollback', call['vmid'],
                     lambda task: actions.rollback(guest_then(call), task, call['snapname'], call.flag('start')))


@operation('POST /nodes/{node}/lxc/{vmid}/template')
def template(call):
    guest = call.guest()
    with guest.locked():
        guest.check_lock()
        if guest.snapshots:
            raise failed('unable to create template, because CT contains snapshots')
        if guest.config.get('template'):
            raise failed("you can't convert a template to a template")
        if guest.running:
            raise failed("you can't convert a CT to template if the CT is running")
        guest.write()
        guest.config['template'] = 1


@operation('POST /nodes/{node}/lxc/{vmid}/clone')
def clone(call):
    source, newid, snapname = call.guest(), int(call['newid']), call.get('snapname')
    target = call.cluster.cluster_node(call['target']) if call.get('target') else call.node
    call.cluster.check_quorum()
    full = call.flag('full', not source.config.get('template'))
    source.check_lock()
    if snapname:
        actions.snapshot_of(source, snapname)
    elif full and source.running:
        raise failed('Full clone of a running container is only possible from a snapshot')
    call.cluster.check_unused(newid)
    if not full:
        raise failed(f"Linked clone feature for '{source.volumes()['rootfs']}' is not available")
    if volume := copyable(source, snapname):
        raise failed(f"Full clone feature for '{volume}' is not available")
    storage = call.get('storage')
    for name in {storage} if storage else {volume.partition(':')[0] for volume in source.volumes().values()}:
        target.storage(name)
        call.require(f'/storage/{name}', 'Datastore.AllocateSpace')
        if target is not call.node and not target.storage(name).shared:
            raise failed(f"can't clone to non-shared storage '{name}' on node '{target.name}'")
    if call.get('pool'):
        call.cluster.pool(call['pool'])
    guest = call.cluster.reserve(target, newid, {'lock': 'create', **creation.DEFAULTS})

    def work(task):
        creation.clone(source, guest, task, storage, snapname, call.get('hostname'), call.get('description'))
        if call.get('pool'):
            with call.cluster.lock:
                call.cluster.pool(call['pool'])['vms'].add(newid)
    return call.task('vzclone', source.vmid, work)


# Moves and sizes.

@operation('GET /nodes/{node}/lxc/{vmid}/migrate')
def migrate_precondition(call):
    guest = call.guest()
    others = [node for node in call.cluster.nodes.values() if node is not call.node and node.online]
    wanted = [node for node in others if call.get('target') in (None, node.name)]
    return {'running': int(guest.running), 'allowed-nodes': [node.name for node in wanted if fits(guest, node)],
            'not-allowed-nodes': {node.name: {'unavailable-storages': missing(guest, node)}
                                  for node in wanted if not fits(guest, node)}}


def missing(guest, node):
    return sorted({volume.partition(':')[0] for volume in guest.volumes().values()} - set(node.storages))


def fits(guest, node):
    return not missing(guest, node)


@operation('POST /nodes/{node}/lxc/{vmid}/migrate')
def migrate(call):
    target = call.cluster.cluster_node(call['target'])
    guest = call.guest()
    if target is call.node:
        raise refused({'target': 'target is local node.'})
    call.cluster.check_quorum()
    if resource := call.cluster.ha.managed(guest.vmid):
        def request(task):
            task.log(f"Requesting HA migration for CT {guest.vmid} to node {target.name}")
            resource['target'] = target
            call.cluster.ha.wake.set()
        return call.task('hamigrate', guest.vmid, request)
    if guest.running and not call.flag('online') and not call.flag('restart'):
        raise failed("can't migrate running container without --online or --restart")
    if guest.running and not call.flag('restart'):
        raise failed('lxc live migration is currently not implemented')
    timeout = call.int('timeout', 180 * call.cluster.pace)
    return call.task('vzmigrate', guest.vmid,
                     lambda task: actions.migrate(guest_then(call), target, task, call.flag('restart'), timeout))


@operation('POST /nodes/{node}/lxc/{vmid}/move_volume')
def move_volume(call):
    guest, key = call.guest(), call['volume']
    if call.get('target-vmid') or call.get('target-volume'):
        raise failed('the test server does not move volumes to other containers')
    if not call.get('storage'):
        raise refused({'storage': 'property is missing and it is not optional'})
    call.require(f'/storage/{call["storage"]}', 'Datastore.AllocateSpace')
    target = call.node.storage(call['storage'])
    guest.check_lock()
    guest.check_digest(call.get('digest'))
    if key not in guest.volumes():
        raise failed(f"Can't move volume '{key}': it is no volume of CT {guest.vmid}")
    if guest.volumes()[key].startswith(target.name + ':'):
        raise failed("you can't move a volume to the same storage")
    if guest.running:
        raise failed('cannot move volumes of a running container')
    if guest.snapshots and call.flag('delete'):
        raise failed('you can\'t move a volume with snapshots and delete the source')
    return call.task('move_volume', guest.vmid,
                     lambda task: actions.move_volume(guest_then(call), task, key, target, call.flag('delete')))


@operation('PUT /nodes/{node}/lxc/{vmid}/resize')
def resize(call):
    guest, key = call.guest(), call['disk']
    with guest.locked():
        guest.check_lock()
        guest.check_digest(call.get('digest'))
        if key not in guest.volumes():
            raise failed(f"no such mount point '{key}'")
        size = actions.wanted_size(guest, key, call['size'])
    call.require(f'/storage/{guest.volumes()[key].partition(":")[0]}', 'Datastore.AllocateSpace')
    return call.task('resize', guest.vmid, lambda task: actions.resize(guest_then(call), task, key, size))


# Backups.

SUFFIXES = {'0': 'tar', '1': 'tar.lzo', 'lzo': 'tar.lzo', 'gzip': 'tar.gz', 'zstd': 'tar.zst'}


@operation('POST /nodes/{node}/vzdump')
def vzdump(call):
    for name in ('tmpdir', 'dumpdir', 'script', 'job-id'):
        if call.get(name) is not None and not call.caller.is_root:
            raise refused({name: 'Only root may set this option.'})
    vmids = [int(one) for one in split_list(call.get('vmid', ''))]
    if call.flag('all') or call.get('pool'):
        excluded = {int(one) for one in split_list(call.get('exclude', ''))}
        vmids = [guest.vmid for guest in call.cluster.list_guests() if guest.node is call.node
                 and guest.vmid not in excluded and call.get('pool') in (None, call.cluster.pool_of(guest.vmid))
                 and call.may(f'/vms/{guest.vmid}', 'VM.Backup')]
    elif not vmids:
        raise refused({'vmid': 'property is missing and it is not optional'})
    storage = call.node.storage(call.get('storage', 'local'))
    for vmid in vmids:
        call.require(f'/vms/{vmid}', 'VM.Backup')
    call.require(f'/storage/{storage.name}', 'Datastore.AllocateSpace')
    if call.get('prune-backups') is not None:
        call.require(f'/storage/{storage.name}', 'Datastore.Allocate')
    if 'backup' not in storage.kinds:
        raise failed(f"storage '{storage.name}' does not support backups")
    keep = keep_last(call)

    def work(task):
        task.log('INFO: starting new backup job: vzdump ' + ' '.join(map(str, vmids)))
        if SUFFIXES[call.get('compress', '0')] == 'tar.lzo':
            raise failed("unable to find command 'lzop'")
        done = [dump_one(call, task, storage, vmid, keep) for vmid in vmids]
        task.log('INFO: Backup job finished ' + ('successfully' if all(done) else 'with errors'))
        if not all(done):
            raise failed('job errors')
    return call.task('vzdump', vmids[0] if len(vmids) == 1 else '', work)


def keep_last(call):
    """How many backups of a container may stay; None for all."""
    if not call.flag('remove', True) or not call.get('prune-backups'):
        return None
    rules = dict(part.split('=') for part in call['prune-backups'].split(','))
    if set(rules) - {'keep-last', 'keep-all'}:
        raise failed('the test server only knows the pruning rules keep-last and keep-all')
    return None if rules.get('keep-all', '0') != '0' else int(rules['keep-last'])


def dump_one(call, task, storage, vmid, keep):
    """Whether the backup of one container went well."""
    cluster = call.cluster
    try:
        guest = cluster.guest(call.node, vmid)
        fields = {'{{guestname}}': guest.name, '{{vmid}}': str(vmid), '{{node}}': call.node.name,
                  '{{cluster}}': cluster.name}
        text = re.sub(r'\{\{\w+\}\}', lambda match: fields.get(match[0], match[0]), call.get('notes-template', ''))
        notes = {**({'notes': text} if text else {}), **({'protected': 1} if call.flag('protected') else {})}
        creation.backup(guest, task, storage, call.get('mode', 'snapshot'), SUFFIXES[call.get('compress', '0')], notes)
        creation.prune(task, call.node, storage, vmid, keep, cluster.notes)
        return True
    except Exception as e:  # pylint: disable=broad-except  # the job goes on with the next one
        if task.stop:
            raise
        task.log(f'ERROR: Backup of VM {vmid} failed - {reason(e)}')
        return False
