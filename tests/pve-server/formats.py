"""The named formats of parameters, with Proxmox' own texts. check(format, value) raises ValueError(text)."""

import ipaddress
import os
import re

NAME = r'[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?'
REALM = r'[A-Za-z][A-Za-z0-9.\-_]+'
PORT = r'(?:\d+(?::\d+)?|[a-z][a-z0-9-]*)'

# format: (what all of the value must match, the text when it doesn't; {} is the value)
SHAPES = {
    'pve-configid': (r'(?i:[a-z][a-z0-9_-]+)', "invalid configuration ID '{}'"),
    'pve-storage-id': (r'(?i:[a-z][a-z0-9\-_.]*[a-z0-9])', "storage ID '{}' contains illegal characters"),
    'pve-vmid': (r'[1-9][0-9]{2,8}', 'value does not look like a valid VM ID'),
    'pve-node': (NAME, 'value does not look like a valid node name'),
    'mac-addr': (r'(?i:[a-f0-9][02468ace](?::[a-f0-9]{2}){5})', 'value does not look like a valid unicast MAC address'),
    'dns-name': (rf'(?:{NAME}\.)*{NAME}', 'value does not look like a valid DNS name'),
    'email-opt': (r'(?:[^@\s]+@[^@\s]+)?', 'value does not look like a valid email address'),
    'email-or-username': (r'[^@\s]+(?:@[^@\s]+)?', 'value does not look like a valid email address or user name'),
    'pve-tag': (r'(?i:[a-z0-9_][a-z0-9_\-+.]*)', 'invalid characters in tag'),
    'disk-size': (r'\d+(?:\.\d+)?[KMGT]?', 'value does not look like a valid disk size: {}'),
    'pve-volume-id': (r'(?i:[a-z][a-z0-9\-_.]*[a-z0-9]):.+', "unable to parse volume ID '{}'"),
    'pve-startup-order': (r'(?:order=)?\d+(?:,(?:up|down)=\d+)*|(?:up|down)=\d+(?:,(?:up|down|order)=\d+)*',
                          'unable to parse startup options'),
    'pve-poolid': (r'[A-Za-z0-9.\-_]+(?:/[A-Za-z0-9.\-_]+){0,2}', "value '{}' does not look like a valid pool name"),
    'pve-userid': (rf'[^\s:/]+@{REALM}', "value '{}' does not look like a valid user name"),
    'pve-tokenid': (rf'[^\s:/]+@{REALM}!{REALM}', "value '{}' does not look like a valid token ID"),
    'pve-groupid': (r'[A-Za-z0-9.\-_]+', "group name '{}' contains invalid characters"),
    'pve-roleid': (r'[A-Za-z0-9.\-_]+', "role name '{}' contains invalid characters"),
    'pve-realm': (REALM, 'value does not look like a valid realm'),
    'pve-priv': (r'[A-Za-z]+(?:\.[A-Za-z]+)+', "invalid privilege '{}'"),
    'pve-ha-resource-id': (r'(?:ct|vm):[1-9][0-9]{2,8}', 'value does not look like a valid ha resource id'),
    'pve-ha-resource-or-vm-id': (r'(?:(?:ct|vm):)?[1-9][0-9]{2,8}',
                                 'value does not look like a valid ha resource or vm id'),
    'pve-ha-node': (rf'{NAME}(?::\d+)?', 'value does not look like a valid ha node'),
    'pve-iface': (r'(?i:[a-z][a-z0-9_.]{1,20}(?:[:.]\d+)?)', "invalid network interface name '{}'"),
    'pve-storage-content': (r'images|rootdir|vztmpl|iso|backup|snippets|import|none', "invalid content type '{}'"),
    'pve-task-status-type': (r'ok|error|warning|unknown', "value '{}' does not look like a valid task status"),
    'pve-sdn-fabric-id': (r'[a-zA-Z0-9][a-zA-Z0-9-]{0,6}[a-zA-Z0-9]?', 'value does not look like a valid fabric ID'),
    'pve-sdn-bgp-rt': (r'\d+:\d+', 'value does not look like a valid route target'),
    'pve-sdn-subnet-id': (r'[a-z0-9]+-[0-9a-fA-F.:]+-\d+|[0-9a-fA-F.:]+/\d+',
                          'value does not look like a valid sdn subnet id'),
    'pve-sdn-dhcp-range': (r'start-address=[0-9a-fA-F.:]+,end-address=[0-9a-fA-F.:]+',
                           'unable to parse the DHCP range'),
    'pve-fw-protocol-spec': (r'[a-z0-9.-]+', 'value does not look like a valid protocol'),
    'pve-fw-icmp-type-spec': (r'[a-z0-9/-]+', 'value does not look like a valid icmp type'),
    'pve-fw-dport-spec': (rf'{PORT}(?:,{PORT})*', "invalid port '{}'"),
    'pve-fw-sport-spec': (rf'{PORT}(?:,{PORT})*', "invalid port '{}'"),
    'storage-pair': (r'(?i:(?:[a-z][a-z0-9\-_.]*[a-z0-9]:)?[a-z][a-z0-9\-_.]*[a-z0-9]|1)',
                     "invalid storage mapping '{}'"),
    'backup-fleecing': (r'\S+', 'unable to parse fleecing options'),
    'backup-performance': (r'\S+', 'unable to parse performance options'),
    'prune-backups': (r'(?:keep-(?:all|last|hourly|daily|weekly|monthly|yearly)=\d+)'
                      r'(?:,keep-(?:all|last|hourly|daily|weekly|monthly|yearly)=\d+)*',
                      'unable to parse prune options'),
}


def an_address(value, *families):
    family = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}
    for one in families:
        try:
            return family[one](value.partition('%')[0] if one == 6 else value)
        except ValueError:
            continue
    raise ValueError('value does not look like a valid ' +
                     (f'IPv{families[0]} address' if len(families) == 1 else 'IP address'))


def a_network(value, *families):
    address, slash, length = value.partition('/')
    try:
        bits = an_address(address, *families).max_prefixlen
        if slash and re.fullmatch(r'\d+', length) and int(length) <= bits:
            return
    except ValueError:
        pass
    raise ValueError('value does not look like a valid ' +
                     (f'IPv{families[0]} network' if len(families) == 1 else 'CIDR network'))


def an_address_or_network(value):
    if '/' in value:
        a_network(value, 4, 6)
    elif not re.fullmatch(r'(?i:(?:dc/|guest/)?[a-z][a-z0-9\-_]+)', value):
        an_address(value, 4, 6)


def configured(family, words):
    """An address with prefix length, or one of the words for where it comes from."""
    def look(value):
        if value in words:
            return
        try:
            a_network(value, family)
        except ValueError:
            raise ValueError(f'value does not look like a valid ipv{family} network configuration') from None
    return look


def a_mount_point(value):
    if re.search(r'/\.\.?/|/\.\.?$|^\.\./', value):
        raise ValueError(f'{value} contains illegal character sequences')


def a_device(value):
    if re.search(r'/\.\.?/|/\.\.?$|^\.\./', value) or not value.startswith('/dev/'):
        raise ValueError(f'{value} is not a valid device path')


def a_time_zone(value):
    if value != 'host' and not (re.fullmatch(r'[A-Za-z0-9_+\-/]+', value)
                                and os.path.isfile('/usr/share/zoneinfo/' + value)):
        raise ValueError(f"invalid time zone '{value}'")


def firewall_addresses(value):
    """Addresses, ranges of them and networks, an alias, or the name of a set."""
    if re.fullmatch(r'\+(?:dc/|guest/|sdn/)?[A-Za-z][A-Za-z0-9\-_]+', value):
        return
    for one in value.split(','):
        first, dash, last = one.partition('-')
        try:
            an_address_or_network(one)
        except ValueError:
            if not dash:
                raise
            an_address(first, 4, 6)
            an_address(last, 4, 6)


LOOKS = {
    'ip': lambda value: an_address(value, 4, 6),
    'ipv4': lambda value: an_address(value, 4),
    'ipv6': lambda value: an_address(value, 6),
    'lxc-ip-with-ll-iface': lambda value: an_address(value, 4, 6),
    'IPorCIDRorAlias': an_address_or_network,
    'pve-ipv4-config': configured(4, ('dhcp', 'manual')),
    'pve-ipv6-config': configured(6, ('auto', 'dhcp', 'manual')),
    'pve-lxc-mp-string': a_mount_point,
    'pve-lxc-dev-string': a_device,
    'pve-ct-timezone': a_time_zone,
    'pve-fw-addr-spec': firewall_addresses,
}


def split_list(text):
    """A list as Proxmox reads one: by NUL if there is any, else by comma, semicolon and space."""
    return text.split('\0') if '\0' in text else re.sub('[,;]', ' ', text).split()


def check(name, value):
    if name in LOOKS:
        LOOKS[name](value)
    elif name in SHAPES:
        shape, text = SHAPES[name]
        if not re.fullmatch(shape, value, re.ASCII):
            raise ValueError(text.format(value))
    elif name.endswith('-list'):
        for one in split_list(value):
            check(name.removesuffix('-list'), one)
    else:
        raise KeyError(f'the format {name} is unknown')


def known(name):
    return name in LOOKS or name in SHAPES or (name.endswith('-list') and known(name.removesuffix('-list')))
