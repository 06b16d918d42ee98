"""The lxc configuration that Proxmox generates for a container at each start."""

import os

from networks import addresses, cards, hwaddr, properties

SHARED = '/usr/share/lxc/config'


class ConfigError(Exception):
    """str() says what can't be in a configuration."""


def has_apparmor():
    return os.path.exists('/sys/kernel/security/apparmor/profiles')


def _network(vmid, config, plugs):
    for number, card in sorted(cards(config).items()):
        key = f'lxc.net.{number}.'
        yield key + 'type', 'veth'
        yield key + 'veth.pair', f'veth{vmid}i{number}'
        yield key + 'hwaddr', card.get('hwaddr') or hwaddr(f'{vmid}/{number}')
        yield key + 'name', card['name']
        yield key + 'mtu', plugs[number].mtu
        yield key + 'link', plugs[number].prepare()
        if card.get('host-managed') == '1':
            for family, address in addresses(card):
                yield key + f'{family}.address', address
            for family, gateway in (('ipv4', 'gw'), ('ipv6', 'gw6')):
                if card.get(gateway):
                    yield key + f'{family}.gateway', card[gateway]
            yield key + 'flags', 'up'


def _process(config):
    if config.get('entrypoint'):
        yield 'lxc.init.cmd', config['entrypoint']
    # Newer ones (and Proxmox's) know lxc.environment.runtime, for the container only and not for hooks: none are here.
    for entry in filter(None, str(config.get('env') or '').split('\0')):
        yield 'lxc.environment', entry
    for key, value in config.get('lxc') or []:
        yield key, value


def generate(vmid, config, rootfs, cgroups, plugs):
    """The text of the file.

    config: as GET .../config returns it; rootfs: the folder where the root volume is mounted for the monitor
    cgroups: the Cgroups of this container; plugs: its cards by number, whose bridges are made here
    """
    features = properties(config.get('features', ''))
    lines = [('lxc.cgroup.relative', '0'), ('lxc.cgroup.dir.monitor', f'lxc.monitor/{vmid}'),
             ('lxc.cgroup.dir.container', f'lxc/{vmid}'), ('lxc.cgroup.dir.container.inner', 'ns'),
             ('lxc.arch', config.get('arch', 'amd64'))]
    lines += [('lxc.include', f'{SHARED}/{name}') for name in ('common.conf', 'userns.conf')
              if os.path.exists(f'{SHARED}/{name}')]
    if has_apparmor():
        # Proxmox adds lxc.apparmor.raw rules (mqueue, userns) that the parser before AppArmor 4 refuses.
        lines.append(('lxc.apparmor.profile', 'generated'))
        if features.get('nesting') == '1':
            lines.append(('lxc.apparmor.allow_nesting', '1'))
    lines.append(('lxc.mount.auto', 'sys:mixed'))
    if config.get('entrypoint'):
        lines.append(('lxc.mount.entry', 'shm dev/shm tmpfs rw,nosuid,nodev,create=dir 0 0'))
    lines += [('lxc.monitor.unshare', '1'), ('lxc.idmap', 'u 0 100000 65536'), ('lxc.idmap', 'g 0 100000 65536'),
              ('lxc.tty.max', str(config.get('tty', 2))), ('lxc.environment', 'TERM=linux'),
              ('lxc.uts.name', config.get('hostname') or f'CT{vmid}'), ('lxc.rootfs.path', f'dir:{rootfs}')]
    lines += _network(vmid, config, plugs)
    lines += _process(config)
    prefix = 'lxc.cgroup2.' if cgroups.v2 else 'lxc.cgroup.'
    lines += [(prefix + file, str(value)) for file, value in cgroups.limits(config)]
    for key, value in lines:
        if '\n' in str(value) or '\0' in str(value):
            raise ConfigError(f'{key} can\'t hold a line break or NUL: {value!r}')
    return ''.join(f'{key} = {value}\n' for key, value in lines)
