"""Software-defined networks in force: a bridge for each vnet of a simple zone, with its gateways; the built-in IPAM; and
where a zone has dhcp=dnsmasq that program, which gives what the IPAM has assigned. All nodes share this network namespace.
"""

import ipaddress
import os
import signal
import subprocess
import time

from errors import failed
from networks import TIMEOUT, exists, run


class Networks:
    """What PUT /cluster/sdn makes of the cluster's zones, vnets and subnets."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.bridges = set()
        self.servers = {}  # vnet -> its dnsmasq
        self.leases = {}   # (vnet, hardware address) -> (container's number, address)

    def apply(self):
        """Under the cluster's lock."""
        wanted = {vnet for vnet, entry in self.cluster.vnets.items()
                  if entry['running'] and self._zone(entry['running'])['type'] == 'simple'}
        for vnet in self.bridges - wanted:
            self._stop(vnet)
            run('ip', 'link', 'del', vnet, fail=False)
        for vnet in sorted(wanted):
            if not exists(vnet):
                run('ip', 'link', 'add', vnet, 'type', 'bridge')
            for subnet in self._subnets(vnet):
                if subnet.get('gateway'):
                    run('ip', 'addr', 'replace', f'{subnet["gateway"]}/{subnet["mask"]}', 'dev', vnet)
            run('ip', 'link', 'set', vnet, 'up')
            self._stop(vnet)
            if self._ranges(vnet):
                self._serve(vnet)
        self.bridges = wanted

    def assign(self, guest):
        """An address for each card on a vnet with DHCP, which it keeps as long as the container is there."""
        with self.cluster.lock:
            for key in [key for key in guest.config if key.startswith('net')]:
                card = guest.parse(key)
                vnet, mac = card.get('bridge'), card['hwaddr'].lower()
                if vnet not in self.servers or (vnet, mac) in self.leases:
                    continue
                taken = {address for (at, _), (_, address) in self.leases.items() if at == vnet}
                taken |= {subnet.get('gateway') for subnet in self._subnets(vnet)}
                free = next((str(address) for address in self._addresses(vnet) if str(address) not in taken), None)
                if free is None:
                    raise failed(f"can't find any free ip in zone {self._zone(self.cluster.vnets[vnet]['running'])['zone']} for IPv4")
                self.leases[vnet, mac] = guest.vmid, free
                self._tell(vnet)

    def release(self, vmid):
        """Under the cluster's lock: the container is gone."""
        self.leases = {key: lease for key, lease in self.leases.items() if lease[0] != vmid}
        for vnet in self.servers:
            self._tell(vnet)

    def assigned(self, vnet):
        """[(container's number, hardware address, address)]"""
        return [(vmid, mac.upper(), address) for (at, mac), (vmid, address) in self.leases.items() if at == vnet]

    def end(self):
        for vnet in sorted(self.bridges):
            self._stop(vnet)
            run('ip', 'link', 'del', vnet, fail=False)
        self.bridges = set()

    # The tables.

    def _zone(self, vnet):
        return self.cluster.zones[vnet['zone']]['running'] or {'type': ''}

    def _subnets(self, vnet):
        return [entry['running'] for _, entry in sorted(self.cluster.subnets.items())
                if entry['running'] and entry['running']['vnet'] == vnet]

    def _ranges(self, vnet):
        """Of the IPv4 subnets with DHCP: [(subnet, first, last)]."""
        if self._zone(self.cluster.vnets[vnet]['running']).get('dhcp') != 'dnsmasq':
            return []
        found = []
        for subnet in self._subnets(vnet):
            ranges = subnet.get('dhcp-range', [])
            for text in [ranges] if isinstance(ranges, str) else ranges:
                ends = dict(part.split('=') for part in text.split(','))
                first, last = (ipaddress.ip_address(ends[key]) for key in ('start-address', 'end-address'))
                if first.version == 4:
                    found.append((subnet, first, last))
        return found

    def _addresses(self, vnet):
        for _, first, last in self._ranges(vnet):
            yield from (first + i for i in range(int(last) - int(first) + 1))

    # dnsmasq.

    def _path(self, vnet, what):
        return os.path.join(self.folder, f'dnsmasq-{vnet}.{what}')

    def _write_hosts(self, vnet):
        with open(self._path(vnet, 'hosts'), 'w', encoding='ascii') as f:
            f.writelines(f'{mac},{address}\n' for _, mac, address in self.assigned(vnet))

    def _serve(self, vnet):
        self._write_hosts(vnet)
        words = ['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--bind-interfaces', '--no-ping', '--user=root',
                 f'--interface={vnet}', '--except-interface=lo', '--pid-file', '--log-facility=-', '--dhcp-authoritative',
                 f'--dhcp-hostsfile={self._path(vnet, "hosts")}', f'--dhcp-leasefile={self._path(vnet, "leases")}']
        for subnet in {subnet['subnet']: subnet for subnet, _, _ in self._ranges(vnet)}.values():
            words.append(f'--dhcp-range={subnet["network"]},static,{ipaddress.ip_network(subnet["cidr"]).netmask}')
            if subnet.get('gateway'):
                words.append(f'--dhcp-option=option:router,{subnet["gateway"]}')
        with open(self._path(vnet, 'log'), 'wb') as log:
            self.servers[vnet] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # pylint: disable=consider-using-with
        self._await(vnet)

    def _await(self, vnet):
        """Waits until it has started: before, SIGHUP ends it, or is forgotten."""
        deadline, said = time.monotonic() + TIMEOUT, ''
        while 'started, version' not in said:
            time.sleep(0.01)
            with open(self._path(vnet, 'log'), encoding='utf-8', errors='replace') as log:
                said = log.read()
            if self.servers[vnet].poll() is not None or time.monotonic() > deadline:
                self._stop(vnet)
                raise failed(f'dnsmasq for vnet {vnet} did not start: {said.strip()}')

    def _tell(self, vnet):
        self._write_hosts(vnet)
        self.servers[vnet].send_signal(signal.SIGHUP)

    def _stop(self, vnet):
        if server := self.servers.pop(vnet, None):
            server.kill()  # serve blocks SIGTERM, and so do its children
            server.wait()
