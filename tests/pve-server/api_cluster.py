"""/cluster without HA: resources, tasks, status, options and software-defined networks."""

import hashlib
import ipaddress
import json

import firewall
import formats
from api import operation
from errors import failed


def digest(value):
    return hashlib.sha1(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check_digest(call, value):
    if call.get('digest') and call['digest'] != digest(value):
        raise failed('detected modified configuration - file changed by other user? Try again.')


@operation('GET /cluster/resources')
def resources(call):
    wanted, found = call.get('type'), []
    if wanted in (None, 'vm'):
        found += [guest_entry(call.cluster, guest) for guest in call.cluster.list_guests()
                  if call.may(f'/vms/{guest.vmid}', 'VM.Audit')]
    if wanted in (None, 'node'):
        found += [node_entry(node) for node in call.cluster.nodes.values()]
    if wanted in (None, 'storage'):
        found += [storage_entry(call.cluster, node, storage) for node in call.cluster.nodes.values()
                  for storage in node.storages.values()
                  if call.may(f'/storage/{storage.name}', 'Datastore.Audit', 'Datastore.AllocateSpace', any_of=True)]
    if wanted in (None, 'sdn'):
        found += [{'id': f'sdn/{node.name}/{zone}', 'node': node.name, 'sdn': zone, 'type': 'sdn', 'status': 'ok'}
                  for node in call.cluster.nodes.values() for zone in ('localnetwork', *sorted(call.cluster.zones))
                  if call.may(f'/sdn/zones/{zone}', 'SDN.Audit', 'SDN.Use', any_of=True)]
    return found


def guest_entry(cluster, guest):
    if guest.node.online:
        status = guest.status()
    else:
        status = {'name': guest.name, 'status': 'unknown', 'cpus': 0, 'maxmem': 0, 'maxdisk': 0}
    found = {'id': f'lxc/{guest.vmid}', 'type': 'lxc', 'vmid': guest.vmid, 'node': guest.node.name, 'memhost': 0,
             'name': status['name'], 'status': status['status'], 'maxcpu': status['cpus'],
             'template': int(guest.config.get('template', 0)),
             **{key: status.get(key, 0) for key in ('cpu', 'disk', 'diskread', 'diskwrite', 'maxdisk', 'maxmem', 'mem',
                                                    'netin', 'netout', 'uptime')}}
    found.update({key: status[key] for key in ('tags', 'lock') if key in status})
    if pool := cluster.pool_of(guest.vmid):
        found['pool'] = pool
    if resource := cluster.ha.resources.get(f'ct:{guest.vmid}'):
        found['hastate'] = resource['state']
    return found


def node_entry(node):
    total, available = node.memory()
    found = {'id': f'node/{node.name}', 'type': 'node', 'node': node.name, 'level': '',
             'status': 'online' if node.online else 'offline'}
    if node.online:
        found.update(maxcpu=node.cpus(), cpu=0.05, maxmem=total, mem=total - available, maxdisk=disk_of(node)['total'],
                     disk=disk_of(node)['used'], uptime=node.uptime())
    return found


def disk_of(node):
    return next(iter(node.storages.values())).status() if node.storages else {'total': 0, 'used': 0, 'avail': 0}


def storage_entry(cluster, node, storage):
    status = storage.status()
    return {'id': f'storage/{node.name}/{storage.name}', 'type': 'storage', 'node': node.name, 'storage': storage.name,
            'status': 'available' if node.online else 'unknown', 'plugintype': cluster.storage_types[storage.name],
            'content': ','.join(sorted(storage.kinds)), 'shared': int(storage.shared),
            'maxdisk': status['total'], 'disk': status['used']}


@operation('GET /cluster/tasks')
def tasks(call):
    everything = call.may('/', 'Sys.Audit')
    found = [task.summary() for task in call.cluster.tasks.list() if everything or task.caller.name == call.caller.name]
    return [{**entry, 'saved': '1'} if 'endtime' in entry else entry for entry in found]


@operation('GET /cluster/status')
def status(call):
    cluster = call.cluster
    found = [{'id': f'node/{node.name}', 'type': 'node', 'name': node.name, 'ip': node.address, 'level': '',
              'nodeid': node.number if len(cluster.nodes) > 1 else 0, 'online': int(node.online),
              'local': int(node is call.here)} for node in cluster.nodes.values()]
    if len(cluster.nodes) > 1:
        found.insert(0, {'id': 'cluster', 'type': 'cluster', 'name': cluster.name, 'nodes': len(cluster.nodes),
                         'version': len(cluster.nodes), 'quorate': int(cluster.quorate)})
    return found


@operation('GET /cluster/nextid')
def next_id(call):
    if call.get('vmid'):
        call.cluster.check_unused(int(call['vmid']))
        return call['vmid']
    return str(call.cluster.next_id())


@operation('GET /cluster/options')
def options(_):
    return {'keyboard': 'en-us', 'mac_prefix': 'BC:24:11'}


@operation('GET /cluster/firewall/options')
def firewall_options(call):
    return {**call.cluster.firewall_options, 'digest': digest(call.cluster.firewall_options)}


@operation('PUT /cluster/firewall/options')
def set_firewall_options(call):
    change(call, call.cluster.firewall_options,
           ('ebtables', 'enable', 'log_ratelimit', 'policy_forward', 'policy_in', 'policy_out'))
    firewall.enforce(call.cluster)


NUMBERS = {'enable', 'ebtables', 'dhcp', 'ipfilter', 'macfilter', 'ndp', 'radv'}


def change(call, table, keys):
    """Puts what is given of these keys into a table, and deletes what `delete` names."""
    with call.cluster.lock:
        call.cluster.check_quorum()
        check_digest(call, table)
        for key in formats.split_list(call.get('delete', '')):
            table.pop(key, None)
        table.update({key: int(call[key]) if key in NUMBERS else call[key] for key in keys
                      if call.get(key) is not None})


# Software-defined networks: what is configured counts once PUT /cluster/sdn applied it.

def shown(call, table):
    """Objects of a table: as applied, unless `pending` asks for what is to come."""
    found = []
    for name, entry in sorted(table.items()):
        if call.flag('running'):
            if entry['running']:
                found.append({**entry['running'], 'digest': digest(name)})
        elif entry['config']:
            state = {} if entry['running'] == entry['config'] or not call.flag('pending') else {
                'state': 'changed' if entry['running'] else 'new', 'pending': entry['config']}
            found.append({**entry['config'], **state, 'digest': digest(entry['config'])})
    return found


def put(call, table, name, config, what):
    with call.cluster.lock:
        call.cluster.check_quorum()
        if table.get(name, {}).get('config'):
            raise failed(f'{what} already defined')
        table[name] = {'config': config, 'running': table.get(name, {}).get('running')}


def drop(call, table, name, what):
    with call.cluster.lock:
        if not table.get(name, {}).get('config'):
            raise failed(f"{what} '{name}' does not exist")
        call.cluster.check_quorum()
        table[name]['config'] = None


def given(call, *but):
    return {key: value for key, value in call.given.items() if key not in ('lock-token', *but)}


@operation('PUT /cluster/sdn')
def apply(call):
    def work(task):
        with call.cluster.lock:
            for table in (call.cluster.zones, call.cluster.vnets, call.cluster.subnets):
                for name, entry in list(table.items()):
                    entry['running'] = entry['config']
                    if not entry['config']:
                        del table[name]
            call.cluster.networks.apply()
        for node in call.cluster.nodes.values():
            task.log(f'{node.name}: reloading network config')
    call.cluster.check_quorum()
    return call.cluster.tasks.start(call.here, 'reloadnetworkall', '', call.caller, work)


@operation('GET /cluster/sdn/zones')
def zones(call):
    return [zone for zone in shown(call, call.cluster.zones) if call.get('type', zone['type']) == zone['type']
            and call.may(f'/sdn/zones/{zone["zone"]}', 'SDN.Audit', 'SDN.Allocate', any_of=True)]


@operation('POST /cluster/sdn/zones')
def create_zone(call):
    put(call, call.cluster.zones, call['zone'], given(call), f"sdn zone object ID '{call['zone']}'")


def one(call, table, name, what):
    entry = table.get(name)
    if not entry or not entry['config']:
        raise failed(f"{what} '{name}' does not exist")
    return {**entry['config'], 'digest': digest(entry['config'])}


@operation('GET /cluster/sdn/zones/{zone}')
def read_zone(call):
    return one(call, call.cluster.zones, call['zone'], 'sdn zone')


@operation('DELETE /cluster/sdn/zones/{zone}')
def delete_zone(call):
    for vnet, entry in call.cluster.vnets.items():
        if entry['config'] and entry['config']['zone'] == call['zone']:
            raise failed(f"zone {call['zone']} is used by vnet {vnet}")
    drop(call, call.cluster.zones, call['zone'], 'sdn zone')


@operation('GET /cluster/sdn/vnets')
def vnets(call):
    return [vnet for vnet in shown(call, call.cluster.vnets)
            if call.may(f'/sdn/zones/{vnet["zone"]}/{vnet["vnet"]}', 'SDN.Audit', 'SDN.Allocate', any_of=True)]


@operation('POST /cluster/sdn/vnets')
def create_vnet(call):
    zone = one(call, call.cluster.zones, call['zone'], 'sdn zone')
    if zone['type'] in ('vlan', 'vxlan', 'evpn', 'qinq') and call.get('tag') is None:
        raise failed(f"missing {'vlan' if zone['type'] in ('vlan', 'qinq') else 'vxlan'} tag")
    put(call, call.cluster.vnets, call['vnet'], {'type': 'vnet', **given(call)}, f"sdn vnet object ID '{call['vnet']}'")


def vnet_zone(call, *privileges):
    vnet = one(call, call.cluster.vnets, call['vnet'], 'sdn vnet')
    call.require(f'/sdn/zones/{vnet["zone"]}/{vnet["vnet"]}', *privileges, any_of=True)
    return vnet


@operation('GET /cluster/sdn/vnets/{vnet}')
def read_vnet(call):
    return vnet_zone(call, 'SDN.Audit', 'SDN.Allocate')


@operation('DELETE /cluster/sdn/vnets/{vnet}')
def delete_vnet(call):
    vnet_zone(call, 'SDN.Allocate')
    if any(entry['config'] and entry['config']['vnet'] == call['vnet'] for entry in call.cluster.subnets.values()):
        raise failed("Can't delete vnet if subnets exists")
    drop(call, call.cluster.vnets, call['vnet'], 'sdn vnet')


@operation('GET /cluster/sdn/vnets/{vnet}/subnets')
def subnets(call):
    vnet_zone(call, 'SDN.Audit', 'SDN.Allocate')
    return [subnet for subnet in shown(call, call.cluster.subnets) if subnet['vnet'] == call['vnet']]


@operation('POST /cluster/sdn/vnets/{vnet}/subnets')
def create_subnet(call):
    zone = vnet_zone(call, 'SDN.Allocate')['zone']
    network = ipaddress.ip_network(call['subnet'], strict=False)
    name = f'{zone}-{network.network_address}-{network.prefixlen}'
    if call.get('gateway') and ipaddress.ip_address(call['gateway']) not in network:
        raise failed(f"{call['gateway']} is not in subnet {network}")
    put(call, call.cluster.subnets, name, {**given(call), 'subnet': name, 'cidr': str(network), 'zone': zone,
                                           'network': str(network.network_address), 'mask': str(network.prefixlen)},
        f"sdn subnet object ID '{name}'")


@operation('DELETE /cluster/sdn/vnets/{vnet}/subnets/{subnet}')
def delete_subnet(call):
    vnet_zone(call, 'SDN.Allocate')
    drop(call, call.cluster.subnets, call['subnet'], 'subnet')


@operation('GET /cluster/sdn/ipams')
def ipams(call):
    if not call.may('/sdn/ipams/pve', 'SDN.Audit', 'SDN.Allocate', any_of=True) or call.get('type', 'pve') != 'pve':
        return []
    return [{'ipam': 'pve', 'type': 'pve', 'digest': digest('pve')}]


@operation('GET /cluster/sdn/ipams/{ipam}/status')
def ipam_status(call):
    """What the built-in IPAM knows: the gateways, and the addresses of containers in the zones that use it."""
    if call['ipam'] != 'pve':
        raise failed(f"Could not find IPAM with ID '{call['ipam']}'")
    found = []
    for entry in call.cluster.subnets.values():
        subnet = entry['running']
        if not subnet:
            continue
        where = {'zone': subnet['zone'], 'vnet': subnet['vnet'], 'subnet': subnet['subnet']}
        if not call.may(f'/sdn/zones/{where["zone"]}/{where["vnet"]}', 'SDN.Audit', 'SDN.Use', 'SDN.Allocate',
                        any_of=True):
            continue
        if subnet.get('gateway'):
            found.append({**where, 'ip': subnet['gateway'], 'gateway': 1})
        found += [{**where, 'ip': address, 'mac': mac, 'vmid': str(vmid), 'hostname': name}
                  for vmid, name, mac, address in leases(call.cluster, subnet)]
    return found


def leases(cluster, subnet):
    names = {guest.vmid: guest.name for guest in cluster.list_guests()}
    for vmid, mac, address in cluster.networks.assigned(subnet['vnet']):
        if ipaddress.ip_address(address) in ipaddress.ip_network(subnet['cidr']):
            yield vmid, names.get(vmid, ''), mac, address
    for guest in cluster.list_guests():
        for key in guest.config:
            if key.startswith('net') and (card := guest.parse(key)).get('bridge') == subnet['vnet']:
                address = card.get('ip', '').partition('/')[0]
                if address[:1].isdigit() and ipaddress.ip_address(address) in ipaddress.ip_network(subnet['cidr']):
                    yield guest.vmid, guest.name, card['hwaddr'], address
