"""Changes of a container's configuration: who may, how values are kept, and what takes effect when."""

import re

import actions
import formats
from cluster import FAILURES
from create import card_value
from errors import failed, forbidden, reason, refused
from guest import MOUNT_KEY, VOLUME_KEY, typed

# What takes effect on a running container at once, beside cards and new mount points.
AT_ONCE = {'description', 'onboot', 'startup', 'protection', 'hostname', 'hookscript', 'cores', 'tags', 'lock',
           'cpulimit',
           'cpuunits', 'memory', 'swap'}
LIMITS = {'cores', 'cpulimit', 'cpuunits', 'memory', 'swap'}
PRIVILEGES = {**dict.fromkeys(('cores', 'cpulimit', 'cpuunits'), 'VM.Config.CPU'),
              **dict.fromkeys(('memory', 'swap'), 'VM.Config.Memory'),
              **dict.fromkeys(('nameserver', 'searchdomain', 'hostname'), 'VM.Config.Network')}


class Permissions:
    """Whether a caller may change these options of a container, old and new values given."""

    def __init__(self, call, vmid, pool=None):
        self.call, self.vmid, self.pool = call, vmid, pool

    def need(self, *privileges):
        if self.pool and self.call.may(f'/pool/{self.pool}', *privileges):
            return
        self.call.require(f'/vms/{self.vmid}', *privileges)

    def check(self, old, new, deleted=(), node=None, unprivileged=True):
        if self.call.caller.is_root:
            return
        for key in [*new, *deleted]:
            self.one(key, old, new.get(key), node, unprivileged)

    def one(self, key, old, value, node, unprivileged):
        if MOUNT_KEY.fullmatch(key):
            self.need('VM.Config.Disk')
            if value is not None:
                self.mount_point(value, node)
        elif re.fullmatch(r'dev\d+', key):
            raise forbidden('configuring device passthrough is only allowed for root@pam')
        elif key == 'hookscript':
            raise forbidden('changing the hookscript is only allowed for root@pam')
        elif key.startswith('unused'):
            self.need('VM.Config.Disk')
        elif re.fullmatch(r'net\d+', key):
            self.need('VM.Config.Network')
            if value is not None:
                self.bridge(value)
        elif key == 'features':
            self.features(old.get('features', ''), value or '', unprivileged)
        else:
            self.need(PRIVILEGES.get(key, 'VM.Config.Options'))

    def mount_point(self, value, node):
        volume = actions.NEW_VOLUME.fullmatch(word := first_word(value))
        if word.startswith('/'):
            kind = 'device' if word.startswith('/dev/') else 'bind'
            raise forbidden(f'mount point type {kind} is only allowed for root@pam')
        if volume:
            self.call.require(f'/storage/{volume[1]}', 'Datastore.AllocateSpace')
        elif f'/{self.vmid}/' not in word.replace(':', '/') and node:
            # Another container's volume.
            self.call.require(f'/storage/{word.partition(":")[0]}', 'Datastore.Allocate')

    def bridge(self, value):
        values = dict(part.partition('=')[::2] for part in value.split(','))
        if bridge := values.get('bridge'):
            vnet = self.call.cluster.vnets.get(bridge)
            zone = vnet['config']['zone'] if vnet and vnet['config'] else 'localnetwork'
            tag = f'/{values["tag"]}' if values.get('tag') else ''
            self.call.require(f'/sdn/zones/{zone}/{bridge}{tag}', 'SDN.Use')

    def features(self, old, new, unprivileged):
        if not unprivileged:
            raise forbidden('changing feature flags for privileged container is only allowed for root@pam')
        old, new = (dict(part.partition('=')[::2] for part in text.split(',') if part) for text in (old, new))
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        if changed - {'nesting'}:
            raise forbidden('changing feature flags (except nesting) is only allowed for root@pam')
        if changed:
            self.need('VM.Allocate')


def first_word(value):
    """The volume of a mount point, whether `volume=` stands before it or not."""
    named = [part.removeprefix('volume=') for part in value.split(',') if part.startswith('volume=') or '=' not in part]
    return named[0] if named else ''


def options_of(call):
    """The parameters of a call that are options of a container, as they are kept."""
    schema, found = call.cluster.schema, {}
    options = schema.groups['ct-options']
    for key, value in call.given.items():
        if key in options or re.sub(r'\d+$', '[n]', key) in options:
            found[key] = kept(schema, key, value)
    return found


def kept(schema, key, value):
    if key == 'tags':
        return ';'.join(sorted({tag.lower() for tag in formats.split_list(value)}))
    if key == 'description' and value and not value.endswith('\n'):
        return value + '\n'
    return typed(schema, key, value)


def update(call, guest):
    """PUT .../config."""
    new = options_of(call)
    deleted = [key for key in formats.split_list(call.get('delete', '')) if key]
    reverted = formats.split_list(call.get('revert', ''))
    if not new and not deleted and not reverted:
        raise failed('no options specified')
    check_keys(call, guest, new, deleted)
    Permissions(call, guest.vmid).check(guest.config, new, deleted, guest.node, guest.config.get('unprivileged'))
    with guest.locked():
        guest.check_lock()
        guest.check_digest(call.get('digest'))
        guest.write()
        new.update({key: card_value(guest, key, keep_mac(guest, key, value)) for key, value in new.items()
                    if key.startswith('net')})
        for key in [*reverted, *deleted]:
            guest.pending.pop(key, None)
        guest.deleted = guest.deleted - set(reverted) - set(new) | {key for key in deleted if key in guest.config}
        guest.pending.update(new)
        errors = hotplug(guest, set(new) | set(deleted)) if guest.running else apply(guest, set(new) | set(deleted))
    if errors:
        raise refused(errors)


def check_keys(call, guest, new, deleted):
    options = call.cluster.schema.groups['ct-options']
    for key in deleted:
        if key in new:
            raise refused({'delete': f"Cannot use both delete and set option '{key}' at the same time."})
        if key in ('rootfs', 'unprivileged'):
            raise failed(f"unable to delete required option '{key}'")
        if key not in options and re.sub(r'\d+$', '[n]', key) not in options:
            raise refused({'delete': f"unknown option '{key}'"})
    for key in ('unprivileged', 'arch'):
        if key in new and new[key] != guest.config.get(key):
            raise failed(f"unable to modify read-only option: '{key}'")
    for key in [*new, *deleted]:
        if VOLUME_KEY.fullmatch(key) and guest.config.get('protection') and key in guest.config:
            raise failed(f"can't update CT {guest.vmid} drive '{key}' - protection mode enabled")


def keep_mac(guest, key, value):
    """A card that is given anew without an address keeps the one it has."""
    values, old = guest.parse(key, value), guest.config.get(key)
    if old and 'hwaddr' not in values:
        values['hwaddr'] = guest.parse(key, old)['hwaddr']
    return guest.show(key, values)


def apply(guest, keys):
    """On a stopped container all is applied; what can't be stays pending."""
    errors = {}
    for key in sorted(keys):
        try:
            actions.apply_pending(guest, key)
        except FAILURES as e:
            errors[key] = f'unable to apply pending change {key} : {reason(e)}\n'
            guest.pending.pop(key, None)
    return errors


def hotplug(guest, keys):
    """On a running one, what can take effect does; the rest waits for its next start."""
    now = {key for key in keys if key in AT_ONCE or key.startswith(('net', 'unused'))
           or (key.startswith('mp') and key not in guest.config and key in guest.pending)}
    old = dict(guest.config)
    errors = {key: text.replace(f'unable to apply pending change {key} : ', f'unable to hotplug {key}: ')
              for key, text in apply(guest, now).items()}
    plugged = {key for key in now - set(errors) if key in LIMITS or key.startswith(('net', 'mp'))}
    if plugged:
        volumes = {key: path for key, path in guest.paths().items() if key in plugged}
        guest.cluster.networks.assign(guest)
        errors.update(guest.container.hotplug(guest.config, plugged, volumes))
    for key in errors.keys() & plugged:
        unplugged(guest, key, old.get(key))
    return errors


def unplugged(guest, key, old):
    """What could not take effect waits, and the old value is the current one again."""
    if key in guest.config:
        guest.pending[key] = guest.config.pop(key)
    else:
        guest.deleted.add(key)
    if old is not None:
        guest.config[key] = old
