"""/cluster/ha."""

import formats
from api import operation
from api_cluster import digest, check_digest
from errors import failed

INTEGERS = {'max_restart', 'max_relocate', 'failback'}
OWN = ('service', 'busy', 'failures', 'target')  # the manager's, not part of the configuration


def full_sid(sid):
    return sid if ':' in sid else f'ct:{sid}'


def resource_of(call):
    sid = full_sid(call['sid'])
    if sid not in call.cluster.ha.resources:
        raise failed(f"no such resource '{sid}'")
    return sid, call.cluster.ha.resources[sid]


def shown(sid, resource):
    config = {key: value for key, value in resource.items() if key not in OWN}
    return {'sid': sid, 'type': sid.partition(':')[0], **config, 'digest': digest(config)}


def options(call, *keys):
    return {key: int(call[key]) if key in INTEGERS else call[key] for key in keys if call.get(key) is not None}


KEYS = ('comment', 'failback', 'group', 'max_relocate', 'max_restart', 'state')


@operation('GET /cluster/ha/resources')
def resources(call):
    return [shown(sid, resource) for sid, resource in sorted(call.cluster.ha.resources.items())
            if call.get('type', 'ct') == sid.partition(':')[0]]


def add_resource(cluster, vmid, **config):
    with cluster.lock:
        cluster.ha.resources[f'ct:{vmid}'] = {'state': 'started', 'max_restart': 1, 'max_relocate': 1, 'failback': 1,
                                              **config}


@operation('POST /cluster/ha/resources')
def create_resource(call):
    sid = full_sid(call['sid'])
    kind, _, vmid = sid.partition(':')
    call.cluster.check_quorum()
    if kind != 'ct' or int(vmid) not in call.cluster.guests:
        raise failed(f"unable to find VM/CT '{vmid}' in the cluster" if kind == 'ct' else f"VM {vmid} does not exist")
    if call.get('type', 'ct') != kind:
        raise failed(f"types '{call['type']}' and '{kind}' differ")
    if call.get('group'):
        raise failed('invalid parameter \'group\': ha groups have been migrated to rules')
    if sid in call.cluster.ha.resources:
        raise failed(f"resource ID '{sid}' already defined")
    add_resource(call.cluster, vmid, **options(call, *KEYS))


@operation('GET /cluster/ha/resources/{sid}')
def read_resource(call):
    return shown(*resource_of(call))


@operation('PUT /cluster/ha/resources/{sid}')
def update_resource(call):
    _, resource = resource_of(call)
    with call.cluster.lock:
        call.cluster.check_quorum()
        check_digest(call, {key: value for key, value in resource.items() if key not in OWN})
        for key in formats.split_list(call.get('delete', '')):
            resource.pop(key, None)
            resource.update({'state': 'started', 'max_restart': 1, 'max_relocate': 1, 'failback': 1, **resource})
        resource.update(options(call, *KEYS))
        resource['failures'] = 0  # a new request clears the error state
    call.cluster.ha.wake.set()


@operation('DELETE /cluster/ha/resources/{sid}')
def delete_resource(call):
    sid, _ = resource_of(call)
    call.cluster.check_quorum()
    call.cluster.ha.forget(sid.partition(':')[2], call.flag('purge', True))


@operation('POST /cluster/ha/resources/{sid}/migrate', 'POST /cluster/ha/resources/{sid}/relocate')
def migrate(call):
    sid, resource = resource_of(call)
    target = call.cluster.cluster_node(call['node'])
    guest = call.cluster.guests[int(sid.partition(':')[2])]
    if guest.node is target:
        raise failed(f"service '{sid}' already on node '{target.name}'")
    resource['target'] = target
    call.cluster.ha.wake.set()
    return {'sid': sid, 'requested-node': target.name}


# Rules.

RULE_KEYS = ('type', 'comment', 'disable', 'nodes', 'resources', 'strict', 'affinity')


def rule_of(call):
    if call['rule'] not in call.cluster.ha.rules:
        raise failed(f"no such ha rule '{call['rule']}'")
    return call.cluster.ha.rules[call['rule']]


def shown_rule(name, rule):
    return {'rule': name, **rule, 'digest': digest(rule), 'order': 1}


def checked(call, rule):
    for sid in rule['resources'].split(','):
        if sid not in call.cluster.ha.resources:
            raise failed(f"cannot use unmanaged resource(s) {sid}.")
    for node in filter(None, rule.get('nodes', '').split(',')):
        call.cluster.cluster_node(node.partition(':')[0])
    return rule


def rule_options(call):
    found = {key: int(call[key]) if key in ('disable', 'strict') else call[key] for key in RULE_KEYS
             if call.get(key) is not None}
    found.update({key: ','.join(formats.split_list(found[key])) for key in ('nodes', 'resources') if key in found})
    return found


@operation('GET /cluster/ha/rules')
def rules(call):
    return [shown_rule(name, rule) for name, rule in sorted(call.cluster.ha.rules.items())
            if call.get('type', rule['type']) == rule['type']
            and (not call.get('resource') or call['resource'] in rule['resources'].split(','))]


@operation('POST /cluster/ha/rules')
def create_rule(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        if call['rule'] in call.cluster.ha.rules:
            raise failed(f"HA rule '{call['rule']}' already defined")
        call.cluster.ha.rules[call['rule']] = checked(call, rule_options(call))


@operation('GET /cluster/ha/rules/{rule}')
def read_rule(call):
    return shown_rule(call['rule'], rule_of(call))


@operation('PUT /cluster/ha/rules/{rule}')
def update_rule(call):
    with call.cluster.lock:
        rule = rule_of(call)
        call.cluster.check_quorum()
        check_digest(call, rule)
        if call['type'] != rule['type']:
            raise failed(f"rule '{call['rule']}' is of type '{rule['type']}'")
        new = {key: value for key, value in {**rule, **rule_options(call)}.items()
               if key not in formats.split_list(call.get('delete', ''))}
        call.cluster.ha.rules[call['rule']] = checked(call, new)


@operation('DELETE /cluster/ha/rules/{rule}')
def delete_rule(call):
    with call.cluster.lock:
        rule_of(call)
        call.cluster.check_quorum()
        del call.cluster.ha.rules[call['rule']]


@operation('GET /cluster/ha/status/current')
def status(call):
    cluster, ha = call.cluster, call.cluster.ha
    here = call.here.name
    found = [{'id': 'quorum', 'type': 'quorum', 'node': here, 'quorate': int(cluster.quorate),
              'status': 'OK' if cluster.quorate else 'No quorum on node'},
             {'id': 'fencing', 'type': 'fencing', 'node': here, 'armed-state': 'armed' if ha.active else 'standby',
              'status': 'armed' if ha.active else 'standby (CRM watchdog standby)'}]
    if ha.active:
        found.append({'id': 'master', 'type': 'master', 'node': here, 'status': f'{here} (active)'})
        found += [{'id': f'lrm:{node.name}', 'type': 'lrm', 'node': node.name,
                   'status': f'{node.name} ({"active" if node.online else "old timestamp - dead?"})'}
                  for node in cluster.nodes.values()]
    for sid, resource in sorted(ha.resources.items()):
        guest = cluster.guests.get(int(sid.partition(':')[2]))
        node = guest.node.name if guest else here
        state = resource.get('service', 'queued')
        found.append({'id': f'service:{sid}', 'type': 'service', 'sid': sid, 'node': node, 'state': state,
                      'status': f'{sid} ({node}, {state})', 'request_state': resource['state'],
                      **{key: resource[key] for key in ('failback', 'max_relocate', 'max_restart')}})
    return found
