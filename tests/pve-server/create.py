"""New containers: from a template, from a backup, from another container; and backups. Functions run in tasks."""

import os
import random
import re
import time

import actions
import archives
from containers import ContainerError
from cluster import FAILURES
from errors import failed, reason
from guest import MOUNT_KEY, config_of, lines_of

DEFAULT_GIB = 4
DEFAULTS = {'memory': 512, 'swap': 512}


def new_mac():
    return 'BC:24:11:' + ':'.join(f'{random.randrange(256):02X}' for _ in range(3))


def card_value(guest, key, text, host_managed=False):
    """A network card as Proxmox keeps it."""
    values = guest.parse(key, text)
    values.setdefault('hwaddr', new_mac())
    values.setdefault('type', 'veth')
    if host_managed:
        values.setdefault('host-managed', '1')
    if values.get('host-managed') == '1' and values.get('ip6') == 'auto':
        raise failed(f'{key}: a network that the host manages has no ip6=auto')
    return guest.show(key, values)


def undo(guest, task):
    """A container that did not come to be: its volumes and configuration go."""
    actions.free_all(guest, task)
    try:
        guest.container.destroy()
    except ContainerError as e:
        task.log(str(e))
    guest.cluster.forget(guest)


def create(guest, task, archive, options):
    """Fills the reserved configuration: `options` are the parameters that are configuration, with typed values."""
    try:
        fill(guest, task, archive, options)
    except FAILURES as e:
        undo(guest, task)
        prefix = f'unable to create CT {guest.vmid} - '
        raise failed(prefix + reason(e).removeprefix(prefix)) from None
    except Exception:
        undo(guest, task)
        raise


def fill(guest, task, archive, options):
    path = guest.node.storage_of(archive).path(archive)
    config = {**DEFAULTS, 'hostname': f'CT{guest.vmid}', **options}
    mounts = {key: config.pop(key) for key in list(config) if MOUNT_KEY.fullmatch(key)}
    guest.config.update(config)
    make_volumes(guest, task, mounts)
    task.step()
    found = guest.container.unpack(path, guest.paths()['rootfs'], True)
    if found['oci']:
        task.log('Detected OCI archive')
    for key in [key for key in guest.config if re.fullmatch(r'net\d+', key)]:
        if found['oci']:
            task.log(f'Auto-Enabling host-managed network for network device {key}.')
        guest.config[key] = card_value(guest, key, guest.config[key], found['oci'])
    guest.config.setdefault('ostype', found['ostype'])
    arch = found.get('arch', 'amd64')
    task.log(f'Detected container architecture: {arch}')
    guest.config['arch'] = config.get('arch', arch)
    # What the image says replaces what was asked for at creation.
    guest.config.update({key: found[key] for key in ('entrypoint', 'env', 'cmode', 'lxc') if key in found})
    task.step()
    guest.write()
    guest.drop_lock()


def make_volumes(guest, task, mounts):
    """Each mount point as soon as it is there, so that undo() finds all."""
    for key in sorted(mounts, key=lambda key: key != 'rootfs'):
        guest.config[key] = actions.with_volume(guest, key, mounts[key])
        values = guest.parse(key)
        if values['volume'].endswith('.raw'):
            path, size = guest.paths()[key], actions.bytes_of(values['size'])
            task.log(f"Formatting '{path}', fmt=raw size={size} preallocation=off")


# Backups.

def backup(guest, task, storage, mode, suffix, notes):
    """One container into a storage; its volume id."""
    began = time.time()
    stamp = time.strftime('%Y_%m_%d-%H_%M_%S')
    task.log(f'INFO: Starting Backup of VM {guest.vmid} (lxc)')
    task.log(f'INFO: Backup started at {time.strftime("%Y-%m-%d %H:%M:%S")}')
    running = guest.running
    task.log(f'INFO: status = {"running" if running else "stopped"}')
    mode = mode if running else 'stop'
    with guest.held('backup', task):
        task.log(f'INFO: CT Name: {guest.name}')
        volumes = included(guest, task)
        task.log(f'INFO: backup mode: {mode}')
        if mode == 'snapshot':
            mode = snapshot_mode(guest, task, volumes)
        if mode == 'stop' and running and not guest.container.shutdown(60 * guest.cluster.pace):
            guest.container.stop()
        volid, path = storage.new_path('backup', f'vzdump-lxc-{guest.vmid}-{stamp}.{suffix}')
        task.log(f"INFO: creating vzdump archive '{path}'")
        config = {key: value for key, value in guest.config.items() if key != 'lock'}
        with guest.container.frozen():
            guest.container.dump(path, volumes, lines_of(config))
        task.log(f'INFO: archive file size: {os.path.getsize(path) // 1024}KB')
        guest.cluster.notes[volid] = notes
    if mode == 'stop' and running:
        actions.start(guest, task)
    seconds = time.strftime('%H:%M:%S', time.gmtime(time.time() - began))
    task.log(f'INFO: Finished Backup of VM {guest.vmid} ({seconds})')
    return volid


def included(guest, task):
    """{path in the container: path of the volume} of what goes into a backup."""
    found = {}
    for key, volume in sorted(guest.volumes().items()):
        values = guest.parse(key)
        where = '/' if key == 'rootfs' else values['mp']
        if key == 'rootfs' or values.get('backup') == '1':
            task.log(f"INFO: including mount point {key} ('{where}') in backup")
            found[where] = guest.node.storage_of(volume).path(volume)
        else:
            task.log(f"INFO: excluding volume mount point {key} ('{where}') from backup")
    return found


def snapshot_mode(guest, task, volumes):
    """Proxmox can't for a tree on btrfs, and takes another mode where storage has no snapshots."""
    if not actions.can_snapshot(guest):
        task.log("INFO: mode failure - some volumes do not support snapshots")
        task.log("INFO: trying 'suspend' mode instead")
        return 'suspend'
    if any(os.path.isdir(path) for path in volumes.values()):
        task.log("INFO: create storage snapshot 'vzdump'")
        raise failed("cannot mount subvol snapshots for storage type 'btrfs'")
    return 'snapshot'


def prune(task, node, storage, vmid, keep, notes):
    """Removes the oldest unprotected backups of a container beyond `keep`."""
    if keep is None:
        return
    found = [entry for entry in storage.content('backup', vmid) if not notes.get(entry['volid'], {}).get('protected')]
    for entry in sorted(found, key=lambda one: one['volid'], reverse=True)[keep:]:
        task.log(f"INFO: removing backup '{entry['volid']}' of node {node.name}")
        storage.remove(entry['volid'])
        notes.pop(entry['volid'], None)


def restore(guest, task, archive, options, storage_name, unique, keep_raw):
    """Like create(), from a backup: its configuration, replaced where options say so."""
    try:
        refill(guest, task, archive, options, storage_name, unique, keep_raw)
    except FAILURES as e:
        undo(guest, task)
        raise failed(f'unable to restore CT {guest.vmid} - {reason(e)}') from None
    except Exception:
        undo(guest, task)
        raise


def refill(guest, task, archive, options, storage_name, unique, keep_raw):
    path = guest.node.storage_of(archive).path(archive)
    task.log(f"recovering backed-up configuration from '{archive}'")
    saved = config_of(guest.cluster, archives.backup_config(path))
    if 'lxc' in saved and not keep_raw:
        task.warn('skipping custom lxc options, restore manually as root: '
                  + ', '.join(key for key, _ in saved.pop('lxc')))
    mounts = {key: value for key, value in saved.items() if MOUNT_KEY.fullmatch(key)}
    asked = {key: value for key, value in options.items() if MOUNT_KEY.fullmatch(key)}
    config = {**DEFAULTS, **{key: value for key, value in saved.items() if key not in mounts
                             and not key.startswith('unused')},
              **{key: value for key, value in options.items() if key not in asked}}
    guest.config.update(config)
    if not asked:
        asked = {key: again(guest, key, value, storage_name) for key, value in mounts.items()
                 if key == 'rootfs' or guest.parse(key, value).get('backup') == '1'}
    make_volumes(guest, task, asked)
    for key in [key for key in guest.config if re.fullmatch(r'net\d+', key)]:
        values = guest.parse(key)
        if unique or 'hwaddr' not in values:
            values['hwaddr'] = new_mac()
        guest.config[key] = guest.show(key, values)
    task.step()
    task.log(f"restoring '{archive}' now..")
    paths = guest.paths()
    guest.container.unpack(path, paths['rootfs'], True,
                           mounts={guest.parse(key)['mp']: paths[key] for key in paths if key != 'rootfs'})
    guest.write()
    guest.drop_lock()


def again(guest, key, value, storage_name):
    """A mount point of a backup with a new volume of the same size."""
    values = guest.parse(key, value)
    size = values.pop('size', '0T')
    gib = 0 if size == '0T' else actions.bytes_of(size) / 1024 ** 3
    storage = storage_name or values['volume'].partition(':')[0]
    return guest.show(key, {**values, 'volume': f'{storage}:{gib:g}'})


# Clones.

def clone(source, guest, task, storage, snapname, hostname, description):
    """A full copy into the reserved configuration."""
    task.log(f'creating a clone of container {source.vmid} with ID {guest.vmid}')
    try:
        with source.held('disk', task):
            origin = source.snapshots[snapname]['config'] if snapname else source.config
            config = {key: value for key, value in origin.items()
                      if key not in ('lock', 'template') and not key.startswith('unused')}
            mounts = {key: config.pop(key) for key in list(config) if MOUNT_KEY.fullmatch(key)}
            guest.config.update(config)
            for key, value in mounts.items():
                values = source.parse(key, value)
                task.log(f"create full clone of mountpoint {key} ({values['volume']})")
                task.step()
                held = source.node.storage_of(values['volume'])
                values['volume'] = held.copy_to(values['volume'], guest.node.storage(storage) if storage else held,
                                                guest.vmid, snapname)
                guest.config[key] = guest.show(key, values)
            for key in [key for key in config if re.fullmatch(r'net\d+', key)]:
                guest.config[key] = guest.show(key, {**guest.parse(key), 'hwaddr': new_mac()})
            guest.config['hostname'] = hostname or f'CT{guest.vmid}'
            if description is not None:
                guest.config['description'] = description
            guest.write()
    except FAILURES as e:
        undo(guest, task)
        raise failed(f'clone failed: {reason(e)}') from None
    except Exception:
        undo(guest, task)
        raise
    guest.drop_lock()
