"""/nodes without containers: status, network, tasks."""

import json
import os
import platform
import re
import subprocess

import formats
from api import Paged, operation
from api_cluster import disk_of, node_entry
from errors import failed, forbidden


@operation('GET /nodes')
def nodes(call):
    return [{**node_entry(node), 'ssl_fingerprint': node.fingerprint} for node in call.cluster.nodes.values()]


@operation('GET /nodes/{node}/status')
def status(call):
    total, available = call.node.memory()
    disk, kernel, version = disk_of(call.node), os.uname(), call.cluster.version
    return {'uptime': call.node.uptime(), 'cpu': 0.05, 'wait': 0, 'idle': 0,
            'loadavg': [f'{load:.2f}' for load in os.getloadavg()],
            'cpuinfo': {'cpus': call.node.cpus(), 'cores': call.node.cpus(), 'sockets': 1,
                        'model': platform.processor() or 'CPU'},
            'memory': {'total': total, 'available': available, 'free': available, 'used': total - available},
            'swap': {'total': 0, 'free': 0, 'used': 0}, 'ksm': {'shared': 0},
            'rootfs': {'total': disk['total'], 'used': disk['used'], 'avail': disk['avail'], 'free': disk['avail']},
            'boot-info': {'mode': 'efi', 'secureboot': 0},
            'pveversion': f'pve-manager/{version["version"]}/{version["repoid"]}',
            'kversion': f'{kernel.sysname} {kernel.release} {kernel.version}',
            'current-kernel': {'sysname': kernel.sysname, 'release': kernel.release, 'version': kernel.version,
                               'machine': kernel.machine}}


def interfaces(*words):
    """What iproute2 says of interfaces here: this network namespace stands for every node's."""
    said = subprocess.run(['ip', '-json', '-details', *words], capture_output=True, check=True, timeout=30).stdout
    return [one for one in json.loads(said or '[]') if one]


@operation('GET /nodes/{node}/network')
def network(call):
    if call.get('type') not in (None, 'bridge', 'any_bridge', 'any_local_bridge'):
        return []
    found = []
    for bridge in interfaces('address', 'show', 'type', 'bridge'):
        name = bridge['ifname']
        if re.match(r'fwbr|vmbr\d+v', name):
            continue
        ports = [port['ifname'] for port in interfaces('link', 'show', 'master', name)
                 if not port['ifname'].startswith(('veth', 'fwpr'))]
        entry = {'iface': name, 'type': 'bridge', 'autostart': 1, 'active': int(bridge['operstate'] != 'DOWN'),
                 'method': 'manual', 'method6': 'manual', 'bridge_ports': ' '.join(ports), 'bridge_stp': 'off',
                 'bridge_fd': '0', 'families': ['inet'], 'priority': len(found) + 3}
        for address in bridge['addr_info']:
            if address['family'] == 'inet':
                entry.update(method='static', address=address['local'], netmask=str(address['prefixlen']),
                             cidr=f'{address["local"]}/{address["prefixlen"]}')
        found.append(entry)
    return found


@operation('GET /nodes/{node}/qemu')
def virtual_machines(_):
    return []


# Tasks.

def shown(call, task):
    """Own tasks, and others' to who may look at them."""
    own = task.caller.name == call.caller.name or task.caller.user == call.caller.name
    return own or call.may(f'/nodes/{task.node.name}', 'Sys.Audit')


@operation('GET /nodes/{node}/tasks')
def tasks(call):
    def wanted(task):
        source = call.get('source', 'archive')
        return (task.node is call.node and shown(call, task)
                and (source == 'all' or bool(task.ended) == (source == 'archive'))
                and call.get('typefilter') in (None, task.type)
                and call.get('vmid') in (None, task.ident)
                and call.get('userfilter', '') in task.caller.name
                and not (call.flag('errors') and task.ok)
                and call.int('since', 0) <= task.started <= call.int('until', task.started)
                and (not call.get('statusfilter') or state(task) in formats.split_list(call['statusfilter'])))
    found = [{**task.summary(), 'pid': task.pid, 'pstart': task.pstart} for task in call.cluster.tasks.list()
             if wanted(task)]
    start = call.int('start', 0)
    page = Paged(found[start:start + call.int('limit', 50)] if call.int('limit', 50) else found[start:])
    page.total = len(found)
    return page


def state(task):
    if not task.ended or task.exit == 'unexpected status':
        return 'unknown'
    return 'ok' if task.exit == 'OK' else 'warning' if task.ok else 'error'


def task_of(call):
    task = call.cluster.tasks.find(call.node.name, call['upid'])
    if not shown(call, task):
        raise forbidden(f'/nodes/{call.node.name}, Sys.Audit')
    return task


@operation('GET /nodes/{node}/tasks/{upid}/status')
def task_status(call):
    return task_of(call).status()


@operation('GET /nodes/{node}/tasks/{upid}/log')
def task_log(call):
    task = task_of(call)
    start, limit = call.int('start', 0), call.int('limit', 50)
    lines = list(task.lines)
    page = Paged({'n': number, 't': text} for number, text in enumerate(lines, 1))
    page[:] = page[start:start + limit] if limit else page[start:]
    page = page or Paged([{'n': 1, 't': 'no content'}] if not lines else [])
    page.total = len(lines)
    return page


@operation('DELETE /nodes/{node}/tasks/{upid}')
def stop_task(call):
    task = call.cluster.tasks.find(call.node.name, call['upid'])
    if task.caller.name != call.caller.name and task.caller.user != call.caller.name:
        call.require(f'/nodes/{call.node.name}', 'Sys.Modify')
    task.stop = True


@operation('GET /nodes/{node}/query-oci-repo-tags')
def repository_tags(call):
    """The tags of what tests gave the cluster as a registry: {reference: {tag: path of an OCI archive}}."""
    found = call.cluster.registry.get(call['reference'])
    if found is None:
        raise failed(f"error listing tags of '{call['reference']}'")
    return sorted(found)
