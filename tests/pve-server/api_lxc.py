"""/nodes/N/lxc: containers."""

import json
import re
import subprocess

import actions
import api_ha
import configure
import create as creation
from api import operation
from configure import Permissions, options_of
from errors import failed, forbidden, refused
from guest import MOUNT_KEY

CRIU_MISSING = ('lxc-checkpoint: {vmid}: ../src/lxc/criu.c: criu_version_ok: 762 No such file or directory - execing '
                'criu failed, is it installed?\nlxc-checkpoint: {vmid}: ../src/lxc/tools/lxc_checkpoint.c: checkpoint: '
                '182 Checkpointing {vmid} failed')


@operation('GET /nodes/{node}/lxc')
def guests(call):
    return [{**guest.status(), 'vmid': guest.vmid} for guest in call.cluster.list_guests()
            if guest.node is call.node and call.may(f'/vms/{guest.vmid}', 'VM.Audit')]


@operation('GET /nodes/{node}/lxc/{vmid}')
def index(call):
    call.guest()
    return [{'subdir': name} for name in ('config', 'pending', 'status', 'migrate', 'clone', 'snapshot', 'resize',
                                          'interfaces', 'firewall', 'feature')]


# Making one.

@operation('POST /nodes/{node}/lxc')
def create(call):
    cluster, vmid, archive = call.cluster, int(call['vmid']), call['ostemplate']
    restore, pool, force = call.flag('restore'), call.get('pool'), call.flag('force')
    cluster.check_quorum()
    old = cluster.guests.get(vmid)
    overwrite = bool(restore and force and old and old.node is call.node)
    if not overwrite:
        cluster.check_unused(vmid)
    elif old.running:
        raise failed("can't overwrite running container")
    if pool:
        cluster.pool(pool)
    may_create(call, vmid, pool, overwrite)
    unprivileged = call.flag('unprivileged', True)
    if not unprivileged:
        call.require('/', 'Sys.Modify')
    options = options_of(call)
    Permissions(call, vmid, pool).check({}, options, (), call.node, unprivileged)
    check_archive(call, archive)
    options.update(mount_points(call, options, restore))
    options.pop('lock', None)
    if not restore:
        options['unprivileged'] = int(unprivileged)
    if overwrite:
        old.check_lock()
        for volume in old.owned_volumes():
            old.node.storage_of(volume).free(volume)
        cluster.forget(old)
    guest = cluster.reserve(call.node, vmid,
                            {'lock': call.get('lock', 'create'), **creation.DEFAULTS, 'hostname': f'CT{vmid}'})

    def work(task):
        if restore:
            creation.restore(guest, task, archive, options, call.get('storage'), call.flag('unique'),
                             call.caller.is_root)
        else:
            creation.create(guest, task, archive, options)
        if pool:
            with cluster.lock:
                cluster.pool(pool)['vms'].add(vmid)
        if call.flag('ha-managed'):
            api_ha.add_resource(cluster, vmid)
        if call.flag('start'):
            # A task of its own: this one is fine however that ends.
            call.task('vzstart', vmid, lambda starting: actions.start(guest, starting))
    return call.task('vzrestore' if restore else 'vzcreate', vmid, work)


def may_create(call, vmid, pool, overwrite):
    if call.may(f'/vms/{vmid}', 'VM.Allocate') or (pool and call.may(f'/pool/{pool}', 'VM.Allocate')):
        return
    if overwrite and call.may(f'/vms/{vmid}', 'VM.Backup'):
        return
    raise forbidden()


def check_archive(call, archive):
    """Who may use a template or backup."""
    if ':' not in archive:
        raise failed(f"unable to parse volume ID '{archive}'")
    storage = call.node.storage_of(archive)
    kind = archive.partition(':')[2].partition('/')[0]
    if kind == 'backup':
        if not call.may(f'/storage/{storage.name}', 'Datastore.Allocate'):
            vmid = re.search(r'vzdump-lxc-(\d+)-', archive)
            call.require(f'/storage/{storage.name}', 'Datastore.AllocateSpace')
            call.require(f'/vms/{vmid[1] if vmid else ""}', 'VM.Backup')
    else:
        call.require(f'/storage/{storage.name}', 'Datastore.Audit', 'Datastore.AllocateSpace', any_of=True)


def mount_points(call, options, restore):
    """The root file system, where none is named; all storages must be there and fit."""
    mounts = {key: value for key, value in options.items() if MOUNT_KEY.fullmatch(key)}
    if mounts and 'rootfs' not in mounts:
        raise refused({'rootfs': 'missing root mount point, but other mount points are given'})
    for value in mounts.values():
        match = actions.NEW_VOLUME.fullmatch(configure.first_word(value))
        if match and 'rootdir' not in call.node.storage(match[1]).kinds:
            raise failed(f"storage '{match[1]}' does not support container directories")
    if mounts or restore:
        return {}
    storage = call.get('storage', 'local')
    call.node.storage(storage)
    if not call.caller.is_root:
        call.require(f'/storage/{storage}', 'Datastore.AllocateSpace')
    return {'rootfs': f'{storage}:{creation.DEFAULT_GIB}'}


@operation('DELETE /nodes/{node}/lxc/{vmid}')
def destroy(call):
    guest = call.guest()
    if guest.config.get('protection'):
        raise failed(f"can't remove CT {guest.vmid} - protection mode enabled")
    if call.cluster.ha.managed(guest.vmid) and not call.flag('purge'):
        raise failed(f'unable to remove CT {guest.vmid} - used in HA resources and purge parameter not set.')
    if guest.running and not call.flag('force'):
        raise failed(f'unable to destroy CT {guest.vmid} - container is running')
    return call.task('vzdestroy', guest.vmid,
                     lambda task: actions.destroy(guest_then(call), task, call.flag('force'), call.flag('purge')))


def guest_then(call):
    """The container as it is when the task gets to it."""
    return call.cluster.guest(call.node, int(call['vmid']))


# Configuration.

@operation('GET /nodes/{node}/lxc/{vmid}/config')
def config(call):
    guest = call.guest()
    if call.get('snapshot'):
        if call.flag('current'):
            raise refused({'snapshot': "cannot use 'snapshot' parameter with 'current'"})
        entry = actions.snapshot_of(guest, call['snapshot'])
        return {**entry['config'], 'digest': guest.digest(), 'snaptime': entry['snaptime']}
    return guest.shown(pending=not call.flag('current'))


@operation('PUT /nodes/{node}/lxc/{vmid}/config')
def update_config(call):
    configure.update(call, call.guest())


@operation('GET /nodes/{node}/lxc/{vmid}/pending')
def pending(call):
    guest, found = call.guest(), []
    current = {key: value for key, value in guest.shown().items() if key not in ('lxc', 'parent')}
    for key, value in current.items():
        entry = {'key': key, 'value': value}
        if key in guest.pending:
            entry['pending'] = guest.pending[key]
        if key in guest.deleted:
            entry['delete'] = 1
        found.append(entry)
    return found + [{'key': key, 'pending': value} for key, value in guest.pending.items() if key not in current]


# Status.

@operation('GET /nodes/{node}/lxc/{vmid}/status/current')
def current(call):
    guest = call.guest()
    managed = call.cluster.ha.managed(guest.vmid)
    return {**guest.status(), 'ha': {'managed': 1, 'state': managed['state']} if managed else {'managed': 0}}


def running(call):
    """Whether it runs; one that isn't there doesn't."""
    guest = call.cluster.guests.get(int(call['vmid']))
    return guest is not None and guest.node is call.node and guest.running


def root_only(call, *names):
    for name in names:
        if call.get(name) is not None and not call.caller.is_root:
            raise refused({name: 'Only root may use this option.'})


def must_run(call):
    if not running(call):
        raise failed(f"CT {call['vmid']} not running")


def by_ha(call, kind, state):
    """With HA, the API only changes what state is asked for."""
    resource = call.cluster.ha.managed(int(call['vmid']))
    if not resource:
        return None

    def work(task):
        task.log(f"Requesting HA {kind.removeprefix('ha')} for CT {call['vmid']}")
        resource.update(state=state, failures=0)
        call.cluster.ha.wake.set()
    return call.task(kind, call['vmid'], work)


@operation('POST /nodes/{node}/lxc/{vmid}/status/start')
def start(call):
    root_only(call, 'skiplock')
    if running(call):
        raise failed(f"CT {call['vmid']} already running")
    call.cluster.check_quorum()
    return by_ha(call, 'hastart', 'started') or call.task(
        'vzstart', call['vmid'], lambda task: actions.start(guest_then(call), task, call.flag('skiplock')))


@operation('POST /nodes/{node}/lxc/{vmid}/status/stop')
def stop(call):
    root_only(call, 'skiplock')
    must_run(call)
    if call.flag('overrule-shutdown'):
        for task in call.cluster.tasks.list():
            if task.type == 'vzshutdown' and task.ident == call['vmid'] and not task.ended:
                task.stop = True
    return by_ha(call, 'hastop', 'stopped') or call.task(
        'vzstop', call['vmid'], lambda task: actions.stop(guest_then(call), task, call.flag('skiplock')))


@operation('POST /nodes/{node}/lxc/{vmid}/status/shutdown')
def shutdown(call):
    must_run(call)
    timeout = call.int('timeout', 60 * call.cluster.pace)
    return by_ha(call, 'hashutdown', 'stopped') or call.task(
        'vzshutdown', call['vmid'],
        lambda task: actions.shutdown(guest_then(call), task, timeout, call.flag('forceStop')))


@operation('POST /nodes/{node}/lxc/{vmid}/status/reboot')
def reboot(call):
    must_run(call)
    timeout = call.int('timeout', 60 * call.cluster.pace)
    return call.task('vzreboot', call['vmid'], lambda task: actions.reboot(guest_then(call), task, timeout))


@operation('POST /nodes/{node}/lxc/{vmid}/status/suspend')
def suspend(call):
    must_run(call)

    def work(task):
        task.log(CRIU_MISSING.format(vmid=call['vmid']))
        raise failed(f"command 'lxc-checkpoint -n {call['vmid']} -s -D /var/lib/vz/dump' failed: exit code 1")
    return call.task('vzsuspend', call['vmid'], work)


@operation('POST /nodes/{node}/lxc/{vmid}/status/resume')
def resume(call):
    if running(call):
        raise failed(f"CT {call['vmid']} already running")

    def work(task):
        guest_then(call)
        task.log(CRIU_MISSING.format(vmid=call['vmid']))
        command = f'lxc-checkpoint -n {call["vmid"]} -r --foreground -D /var/lib/vz/dump'
        raise failed(f"command '{command}' failed: exit code 1")
    return call.task('vzresume', call['vmid'], work)


@operation('GET /nodes/{node}/lxc/{vmid}/interfaces')
def interfaces(call):
    pid = call.guest().container.pid()
    if not pid:
        return []
    said = subprocess.run(['nsenter', '--net', '--target', str(pid), 'ip', '-json', 'address'],
                          capture_output=True, timeout=30, check=False).stdout
    found = []
    for card in json.loads(said or '[]'):
        entry = {'name': card['ifname'], 'hwaddr': card.get('address', ''), 'hardware-address': card.get('address', ''),
                 'ip-addresses': [{'ip-address': one['local'], 'ip-address-type': one['family'],
                                   'prefix': str(one['prefixlen'])} for one in card.get('addr_info', [])]}
        for one in reversed(card.get('addr_info', [])):
            entry[one['family']] = f'{one["local"]}/{one["prefixlen"]}'
        found.append(entry)
    return found
