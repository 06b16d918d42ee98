"""The network cards of containers (netN), on bridges of the network namespace that this runs in.

The host's side of a card is vethIDiN, on the card's bridge, or with firewall=1 on a bridge of its own as Proxmox has
it: vethIDiN - fwbrIDiN - fwlnIDiN - fwprIDpN - bridge.
"""

import json
import os
import random
import re
import socket
import subprocess

SLOW = int(os.environ.get('LXCRI_SLOW', '1'))
TIMEOUT = 30 * SLOW
DHCP_TRIES = 15 * SLOW  # one a second
PREFIX = 'BC:24:11'  # Proxmox's own vendor part
DHCP_SCRIPT = '''#!/bin/sh
# Given to udhcpc, in the network namespace of a container: sets what it was offered.
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
for gateway in $router; do ip route replace default via "$gateway"; break; done
'''


class NetworkError(Exception):
    """str() is Proxmox's text."""


def properties(text, default=None):
    """A property string as a dict; a first part without a key has the key `default`."""
    found = {}
    for part in filter(None, str(text).split(',')):
        key, equals, value = part.partition('=')
        if equals:
            found[key] = value
        elif default:
            found[default] = key
    return found


def cards(config):
    """{N: properties of netN}"""
    return {int(key[3:]): properties(value) for key, value in config.items() if re.fullmatch(r'net\d+', key)}


def hwaddr(seed=None):
    """A new hardware address, as Proxmox makes them up."""
    chosen = random.Random(seed) if seed is not None else random
    return ':'.join([PREFIX, *(f'{chosen.randrange(256):02X}' for _ in range(3))])


def run(*command, fail=True):
    """Runs ip, tc ...; NetworkError with what it says."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise NetworkError(f"command '{' '.join(command)}' failed: got timeout") from None
    if fail and done.returncode:
        raise NetworkError(f"command '{' '.join(command)}' failed: exit code {done.returncode}: {done.stdout.strip()}")
    return done


def exists(name):
    """Whether an interface is here. /sys/class/net may be another namespace's, that of who mounted it."""
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def counters():
    """{interface: (received, sent)} in bytes, of this network namespace."""
    found = {}
    with open('/proc/thread-self/net/dev', encoding='utf-8') as f:
        for line in f:
            name, colon, numbers = line.partition(':')
            if colon:
                found[name.strip()] = (int(numbers.split()[0]), int(numbers.split()[8]))
    return found


def addresses(card):
    """[(family, address with prefix)] that are set from outside."""
    return [(family, card[key]) for family, key in (('ipv4', 'ip'), ('ipv6', 'ip6')) if '/' in card.get(key, '')]


def _link(name):
    """What ip says of an interface; an empty dict when there is none."""
    done = run('ip', '-d', '-j', 'link', 'show', 'dev', name, fail=False)
    return json.loads(done.stdout)[0] if done.returncode == 0 else {}


class Card:
    """The host's side of netN of a container."""

    def __init__(self, vmid, number, card):
        self.card, self.bridge = card, card['bridge']
        self.veth = f'veth{vmid}i{number}'
        self.fwbr, self.fwln, self.fwpr = f'fwbr{vmid}i{number}', f'fwln{vmid}i{number}', f'fwpr{vmid}p{number}'
        self.tag = card.get('tag')
        bridge = _link(self.bridge)
        if bridge.get('linkinfo', {}).get('info_kind') != 'bridge':
            raise NetworkError(f"bridge '{self.bridge}' does not exist")
        self.vlan_aware = bridge['linkinfo']['info_data'].get('vlan_filtering') == 1
        self.mtu = card.get('mtu') or str(bridge['mtu'])

    def prepare(self):
        """Makes the bridges that stand between; the one that the host's side goes on."""
        bridge = self.bridge
        if self.tag and not self.vlan_aware:  # a bridge more, vmbr0v100, which stays for the next container
            bridge = f'{self.bridge}v{self.tag}'
            run('ip', 'link', 'add', bridge, 'type', 'bridge', fail=False)  # another container may make it, too
            run('ip', 'link', 'set', bridge, 'up')
        if self.card.get('firewall') != '1':
            self.remove_firewall()
            return bridge
        if not exists(self.fwbr):
            run('ip', 'link', 'add', self.fwbr, 'type', 'bridge')
            run('ip', 'link', 'add', self.fwln, 'type', 'veth', 'peer', 'name', self.fwpr)
            run('ip', 'link', 'set', self.fwln, 'master', self.fwbr, 'up')
            run('ip', 'link', 'set', self.fwbr, 'up')
        run('ip', 'link', 'set', self.fwpr, 'master', bridge, 'up')
        return self.fwbr

    def finish(self):
        """Gives the host's side, which is on its bridge, the rest: VLAN, rate, link_down."""
        if self.tag and self.vlan_aware:
            port = self.fwpr if self.card.get('firewall') == '1' else self.veth
            run('bridge', 'vlan', 'del', 'dev', port, 'vid', '1', fail=False)
            run('bridge', 'vlan', 'add', 'dev', port, 'vid', self.tag, 'pvid', 'untagged')
        if self.card.get('rate'):
            self._limit(int(float(self.card['rate']) * 1024 * 1024))
        if self.card.get('link_down') == '1':
            run('ip', 'link', 'set', self.veth, 'down')

    def _limit(self, rate):
        """Bytes a second, both ways, as Proxmox does it."""
        run('tc', 'qdisc', 'replace', 'dev', self.veth, 'root', 'tbf', 'rate', f'{rate}bps', 'latency', '100ms',
            'burst', str(rate))
        run('tc', 'qdisc', 'replace', 'dev', self.veth, 'handle', 'ffff:', 'ingress')
        # What the container sends can be limited only by kernels with this classifier; Proxmox' have it.
        run('tc', 'filter', 'add', 'dev', self.veth, 'parent', 'ffff:', 'prio', '50', 'basic', 'police',
            'rate', f'{rate}bps', 'burst', f'{rate}b', 'mtu', '64kb', 'drop', fail=False)

    def remove_firewall(self):
        if exists(self.fwbr):
            run('ip', 'link', 'del', self.fwln, fail=False)
            run('ip', 'link', 'del', self.fwbr, fail=False)

    def remove(self):
        """Takes away what is left on the host when the container ended or lost the card."""
        if exists(self.veth):
            run('ip', 'link', 'del', self.veth, fail=False)
        self.remove_firewall()

    # A running container's side.

    def add(self, pid):
        """Makes the card in the network namespace of `pid`."""
        inner = self.veth + 'p'
        run('ip', 'link', 'add', self.veth, 'mtu', self.mtu, 'type', 'veth', 'peer', 'name', inner, 'mtu', self.mtu,
            'address', self.card.get('hwaddr') or hwaddr(self.veth))
        try:
            run('ip', 'link', 'set', inner, 'netns', str(pid), 'name', self.card['name'])
            run('ip', 'link', 'set', self.veth, 'master', self.prepare(), 'up')
            self.finish()
            self.set_addresses(pid)
        except NetworkError:
            self.remove()
            raise

    def set_addresses(self, pid):
        """What the configuration says, and nothing else."""
        inside, name = ('nsenter', '-t', str(pid), '-n', 'ip'), self.card['name']
        run(*inside, 'addr', 'flush', 'dev', name, 'scope', 'global')
        run(*inside, 'link', 'set', name, 'up')
        for family, address in addresses(self.card):
            run(*inside, '-6' if family == 'ipv6' else '-4', 'addr', 'add', address, 'dev', name,
                *(['nodad'] if family == 'ipv6' else []))
        for option, key in (('-4', 'gw'), ('-6', 'gw6')):
            if self.card.get(key):
                run(*inside, option, 'route', 'replace', 'default', 'via', self.card[key], 'dev', name)

    def dhcp(self, pid, folder):
        """Asks for an address for the container, as Proxmox does for host-managed cards. Warnings, if it got none."""
        script = os.path.join(folder, 'udhcpc-script')
        with open(script, 'w', encoding='utf-8') as f:
            f.write(DHCP_SCRIPT)
        os.chmod(script, 0o755)
        command = ('nsenter', '-t', str(pid), '-n', 'busybox', 'udhcpc', '-f', '-n', '-q', '-t', str(DHCP_TRIES), '-T', '1',
                   '-i', self.card['name'], '-s', script)
        try:
            run(*command)
        except NetworkError as e:
            return [f'DHCP failed - {e}']
        return []
