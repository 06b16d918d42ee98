"""The firewall of containers in force: iptables in their network namespaces, of what options, rules and IP sets say.

Proxmox has its rules on the host, at the bridges; here they stand behind the card. What gets through is the same, but
root in a container could change it. Macros, security groups, logs and entries with nomatch are kept and given back only.
"""

import ipaddress
import re
import subprocess
import threading

from networks import TIMEOUT, NetworkError, cards

CLUSTER = 0  # the key of the cluster's own among cluster.firewalls
NEIGHBOURS = (133, 134, 135, 136)
_lock = threading.Lock()


def of(cluster, vmid):
    """{options, rules, ipset} of a container, or of the cluster. The caller holds the cluster's lock."""
    return cluster.firewalls.setdefault(vmid, {'options': {}, 'rules': [], 'ipset': {}})


def enforce(cluster, vmid=None):
    """What is configured is so from now on, of one container or of all that run."""
    with _lock:
        for guest in cluster.list_guests():
            if vmid not in (None, CLUSTER, guest.vmid) or not filtered(guest):
                continue
            if pid := guest.container.pid():
                for family in (4, 6):
                    apply(pid, family, text_for(cluster, guest, family))


def filtered(guest):
    """Its cards that the firewall looks at, by number."""
    return {number: card for number, card in cards(guest.config).items() if card.get('firewall') == '1'}


def apply(pid, family, text):
    command = ('nsenter', '-t', str(pid), '-n', 'iptables-restore' if family == 4 else 'ip6tables-restore')
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    # Without any rule there is nothing to put into force, and it may have ended meanwhile.
    if done.returncode and '-A ' in text and subprocess.run(('kill', '-0', str(pid)), check=False).returncode == 0:
        raise NetworkError(f"command '{' '.join(command)}' failed: {done.stderr.strip()}")


def text_for(cluster, guest, family):
    """For iptables-restore."""
    with cluster.lock:
        own, options = of(cluster, guest.vmid), of(cluster, guest.vmid)['options']
        plugs = filtered(guest)
        lines = ['*filter', ':INPUT ACCEPT', ':FORWARD ACCEPT', ':OUTPUT ACCEPT']
        if cluster.firewall_options.get('enable') and int(options.get('enable', 0)) and plugs:
            lines += [f':SOURCE{number} -' for number in plugs]
            for number, card in plugs.items():
                lines += rules_of(cluster, own, number, card, family)
        return '\n'.join([*lines, 'COMMIT', ''])


def rules_of(cluster, own, number, card, family):
    options, name = own['options'], card['name']
    yield f'-A INPUT -i {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
    if family == 6 and int(options.get('ndp', 1)):
        for kind in NEIGHBOURS:
            yield f'-A INPUT -i {name} -p icmpv6 --icmpv6-type {kind} -j ACCEPT'
    if int(options.get('dhcp', 0)):
        yield f'-A INPUT -i {name} -p udp --sport {67 if family == 4 else 547} --dport {68 if family == 4 else 546} -j ACCEPT'
    yield from sources(own, number, card, family)
    for rule in own['rules']:
        if rule.get('enable') and rule['type'] in ('in', 'out') and not rule.get('macro'):
            yield from lines_of(cluster, own, rule, name, family)
    for chain, way, policy in (('INPUT', '-i', options.get('policy_in', 'DROP')), ('OUTPUT', '-o', options.get('policy_out', 'ACCEPT'))):
        yield f'-A {chain} {way} {name} -j {policy}'


def sources(own, number, card, family):
    """What may leave the card: with ipfilter the addresses of its set, and those that it is configured with."""
    held = own['ipset'].get(f'ipfilter-net{number}')
    if held is None and not int(own['options'].get('ipfilter', 0)):
        return
    configured = [card[key].partition('/')[0] for key in ('ip', 'ip6') if '/' in card.get(key, '')]
    allowed = [*configured, *(held['members'] if held else ()), *(['fe80::/10', '::'] if family == 6 else [])]
    for address in of_family(allowed, family):
        yield f'-A SOURCE{number} -s {address} -j RETURN'
    yield f'-A SOURCE{number} -j DROP'
    yield f'-A OUTPUT -o {card["name"]} -j SOURCE{number}'


def of_family(addresses, family):
    found = []
    for one in addresses:
        try:
            network = ipaddress.ip_network(one, strict=False)
        except ValueError:
            continue  # an alias or a range
        if network.version == family:
            found.append(one)
    return found


def members(cluster, own, text, family):
    """The addresses that a source or destination stands for; none: any."""
    if text is None:
        return None
    match = re.fullmatch(r'\+(dc/|guest/)?(.+)', text)
    if not match:
        return of_family(text.split(','), family)
    sets = [one['ipset'] for one, scope in ((own, 'guest/'), (of(cluster, CLUSTER), 'dc/')) if match[1] in (None, scope)]
    found = next((one[match[2]] for one in sets if match[2] in one), None)
    return of_family(found['members'], family) if found else []


def lines_of(cluster, own, rule, name, family):
    chain, way = ('INPUT', '-i') if rule['type'] == 'in' else ('OUTPUT', '-o')
    match = ''
    if proto := rule.get('proto'):
        if (proto == 'icmp') != (family == 4) and proto.startswith(('icmp', 'ipv6-icmp')):
            return
        match += f' -p {proto}'
    for key, option in (('sport', '--sports'), ('dport', '--dports')):
        if rule.get(key):
            match += f' -m multiport {option} {rule[key]}'
    for source in ('',) if (found := members(cluster, own, rule.get('source'), family)) is None else [f' -s {one}' for one in found]:
        for target in ('',) if (found := members(cluster, own, rule.get('dest'), family)) is None else [f' -d {one}' for one in found]:
            yield f'-A {chain} {way} {name}{source}{target}{match} -j {rule["action"]}'
