"""What tasks do with a container that is there: power, snapshots, moves, its end. Each function runs in a task."""

import re
import time

import firewall
from containers import ContainerError
from errors import failed
from guest import VOLUME_KEY, bytes_of, next_key, size_text
from storages import StorageError


# Power.

def start(guest, task, skip_lock=False):
    with guest.locked(task):
        guest.cluster.check_quorum()
        if not skip_lock:
            guest.check_lock()
        if guest.config.get('template'):
            raise failed("you can't start a CT if it's a template")
        if guest.running:
            raise failed(f'CT {guest.vmid} already running')
        apply_pending(guest)
        task.step()
        guest.cluster.networks.assign(guest)
        container = guest.container
        try:
            container.start({**guest.config, 'vmid': guest.vmid}, guest.paths())
        except ContainerError:
            task.lines.extend(container.log)
            raise
        firewall.enforce(guest.cluster, guest.vmid)
        for warning in container.warnings:
            task.warn(warning)


def stop(guest, task, skip_lock=False):
    with guest.locked(task):
        if not skip_lock:
            guest.check_lock()
        guest.container.stop()


def shutdown(guest, task, timeout, force):
    with guest.locked(task):
        guest.check_lock()
        if task.wait_for(guest.container.shutdown, timeout):
            return
        if not force:
            command = f'lxc-stop -n {guest.vmid} --nokill --timeout {round(timeout)}'
            raise failed(f"command '{command}' failed: exit code 1")
        guest.container.stop()


def reboot(guest, task, timeout):
    """Its init is asked to end; when it doesn't in time, it is killed, and started again in any case."""
    shutdown(guest, task, timeout, force=True)
    start(guest, task)


def apply_pending(guest, key_wanted=None):
    """What waited for a start becomes so. The caller holds the lock."""
    for key in list(guest.deleted):
        if key_wanted in (None, key):
            guest.deleted.discard(key)
            drop_key(guest, key)
    for key, value in list(guest.pending.items()):
        if key_wanted in (None, key):
            set_key(guest, key, value)
            del guest.pending[key]


def set_key(guest, key, value):
    """A new value; a mount point that asks for a new volume gets it, and the volume it had becomes unused."""
    if VOLUME_KEY.fullmatch(key) and isinstance(value, str):
        value = with_volume(guest, key, value)
        keep_as_unused(guest, key, value)
    guest.config[key] = value


def drop_key(guest, key):
    if key.startswith('unused'):
        volume = guest.config[key]
        guest.node.storage_of(volume).free(volume)
    elif VOLUME_KEY.fullmatch(key):
        keep_as_unused(guest, key, None)
    guest.config.pop(key, None)


def keep_as_unused(guest, key, new):
    old = guest.volumes().get(key)
    if old and (new is None or guest.parse(key, new)['volume'] != old):
        guest.config[next_key(guest.config, 'unused')] = old


NEW_VOLUME = re.compile(r'([A-Za-z][\w.\-]*[A-Za-z0-9]):(\d+(?:\.\d+)?)')


def with_volume(guest, key, value):
    """The value of a mount point with a volume that is there: STORAGE:GiB makes one."""
    values = guest.parse(key, value)
    match = NEW_VOLUME.fullmatch(values['volume'])
    if not match:
        if not values['volume'].startswith('/'):
            storage = guest.node.storage_of(values['volume'])
            values['size'] = size_text(storage.size(values['volume']))
        return guest.show(key, values)
    size = int(float(match[2]) * 1024 ** 3)
    values['volume'] = guest.node.storage(match[1]).allocate(guest.vmid, size or None)
    values['size'] = size_text(size)
    return guest.show(key, values)


# Snapshots.

def can_snapshot(guest):
    return all(guest.node.storage_of(volume).snapshots for volume in guest.volumes().values())


def snapshot_of(guest, name):
    if name not in guest.snapshots:
        raise failed(f"snapshot '{name}' does not exist")
    return guest.snapshots[name]


def snapshot(guest, task, name, description):
    def check():
        if name in guest.snapshots:
            raise failed(f"snapshot name '{name}' already used")
        if not can_snapshot(guest):
            raise failed('snapshot feature is not available')
    with guest.held('snapshot', task, check):
        task.step()
        taken = []
        try:
            with guest.container.frozen():
                for volume in guest.volumes().values():
                    guest.node.storage_of(volume).snapshot(volume, name)
                    taken.append(volume)
        except Exception:
            for volume in taken:
                guest.node.storage_of(volume).drop_snapshot(volume, name)
            raise
        guest.snapshots[name] = {'snaptime': int(time.time()), 'parent': guest.parent,
                                 'config': {key: value for key, value in guest.config.items() if key != 'lock'}}
        if description is not None:
            guest.snapshots[name]['description'] = description
        guest.parent = name


def delete_snapshot(guest, task, name, force):
    with guest.held('snapshot-delete', task, lambda: snapshot_of(guest, name)):
        task.step()
        entry = guest.snapshots[name]
        for volume in guest.volumes(config=entry['config']).values():
            try:
                guest.node.storage_of(volume).drop_snapshot(volume, name)
            except StorageError as e:
                if not force:
                    raise
                task.warn(str(e))
        for other in guest.snapshots.values():
            if other['parent'] == name:
                other['parent'] = entry['parent']
        if guest.parent == name:
            guest.parent = entry['parent']
        del guest.snapshots[name]


def rollback(guest, task, name, then_start):
    with guest.held('rollback', task, lambda: snapshot_of(guest, name)):
        entry = guest.snapshots[name]
        if guest.running:
            guest.container.stop()
        for volume in guest.volumes(config=entry['config']).values():
            guest.node.storage_of(volume).rollback(volume, name)
        guest.pending.clear()
        guest.deleted.clear()
        guest.config = {**entry['config'], 'lock': 'rollback'}
        guest.parent = name
    if then_start:
        start(guest, task)


# Volumes.

def move_volume(guest, task, key, target, delete):
    with guest.held('disk', task):
        values = guest.parse(key)
        source = guest.node.storage_of(values['volume'])
        task.log(f"create full clone of mountpoint {key} ({values['volume']})")
        new = source.copy_to(values['volume'], target, guest.vmid)
        old, values['volume'] = values['volume'], new
        guest.config[key] = guest.show(key, values)
        if delete:
            source.free(old)
        else:
            guest.config[next_key(guest.config, 'unused')] = old


def resize(guest, task, key, size):
    with guest.locked(task):
        guest.check_lock()
        guest.write()
        values = guest.parse(key)
        for line in guest.node.storage_of(values['volume']).resize(values['volume'], size):
            task.log(line)
        values['size'] = size_text(size)
        guest.config[key] = guest.show(key, values)


# Its end.

def destroy(guest, task, force, purge):
    with guest.locked(task):
        guest.check_lock()
        guest.write()
        if guest.running:
            if not force:
                raise failed(f'unable to destroy CT {guest.vmid} - container is running')
            task.log(f'forced to stop CT {guest.vmid} before destroying!')
            guest.container.stop()
        guest.config['lock'] = 'destroyed'
        task.step()
        free_all(guest, task)
        guest.container.destroy()
        if purge:
            task.log(f'purging CT {guest.vmid} from related configurations..')
            guest.cluster.ha.forget(guest.vmid)
        guest.cluster.forget(guest)


def free_all(guest, task):
    for volume in guest.owned_volumes():
        try:
            guest.node.storage_of(volume).free(volume)
        except StorageError as e:
            task.log(str(e))


# To another node.

def migrate(guest, target, task, restart=False, timeout=180):
    source, was_running = guest.node, guest.running
    began = time.monotonic()

    def say(text):
        task.log(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {text}')
    with guest.held('migrate', task):
        if was_running:
            if not restart:
                raise failed("can't migrate running container without --online or --restart")
            say(f'shutdown CT {guest.vmid}')
            # Asked twice, never killed.
            if not any(task.wait_for(guest.container.shutdown, timeout) for _ in range(2)):
                say(f'ERROR: migration aborted (duration {time.monotonic() - began:.0f}): container did not stop')
                raise failed('migration aborted')
        say(f"starting migration of CT {guest.vmid} to node '{target.name}' ({target.address})")
        copied = copy_volumes(guest, source, target, say)
        task.step()
        guest.container.destroy()
        with guest.cluster.lock:
            guest.node = target
            guest.config.update(copied)
        for volume in {volume for volume in guest.volumes().values() if not source.storage_of(volume).shared}:
            source.storage_of(volume).free(volume)
        say('start final cleanup')
    if was_running:
        say('start container on target node')
        start(guest, task)
    duration = time.strftime('%H:%M:%S', time.gmtime(time.monotonic() - began))
    say(f'migration finished successfully (duration {duration})')


def copy_volumes(guest, source, target, say):
    """Copies what is on local storages; {key: value} of mount points that got another volume there."""
    changed, done = {}, []
    try:
        for key, volume in guest.volumes().items():
            storage = source.storage_of(volume)
            if storage.shared:
                continue
            if guest.snapshots:
                raise failed(f"can't migrate local volume '{volume}': it has snapshots")
            say(f"found local volume '{volume}' (in current VM config)")
            there = target.storage(storage.name)
            new = storage.copy_to(volume, there, guest.vmid)
            done.append((there, new))
            say(f"volume '{volume}' is '{new}' on the target")
            changed[key] = guest.show(key, {**guest.parse(key), 'volume': new})
        return changed
    except Exception:
        for there, new in done:
            there.free(new)
        raise


def wanted_size(guest, key, text):
    """The size in bytes that `+1G` or `2G` asks for."""
    storage = guest.node.storage_of(guest.parse(key)['volume'])
    now = storage.size(guest.parse(key)['volume'])
    size = now + bytes_of(text[1:]) if text.startswith('+') else bytes_of(text)
    if size < now:
        raise failed('unable to shrink disk size')
    return size
