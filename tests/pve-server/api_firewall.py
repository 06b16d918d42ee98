"""/nodes/N/lxc/ID/firewall and the IP sets of /cluster/firewall; firewall.py puts them into force."""

import functools

import api_cluster
import firewall
from api import operation
from api_cluster import check_digest, digest
from errors import failed
from formats import split_list

FIREWALL = '/nodes/{node}/lxc/{vmid}/firewall'
CLUSTER = '/cluster/firewall'
OPTIONS = ('dhcp', 'enable', 'ipfilter', 'log_level_in', 'log_level_out', 'macfilter', 'ndp', 'policy_in',
           'policy_out', 'radv')
RULE = ('type', 'action', 'enable', 'comment', 'source', 'dest', 'proto', 'dport', 'sport', 'iface', 'log', 'macro',
        'icmp-type')
NUMBERS = {'enable'}


def of(call):
    """A container's, or the cluster's: {options, rules, ipset}."""
    with call.cluster.lock:
        return firewall.of(call.cluster, int(call.get('vmid', firewall.CLUSTER)))


def changes(function):
    """What changes something is in force when the answer comes."""
    @functools.wraps(function)
    def handler(call):
        data = function(call)
        firewall.enforce(call.cluster, call.int('vmid'))
        return data
    return handler


def fields(call, *names):
    return {name: int(call[name]) if name in NUMBERS else call[name] for name in names if call.get(name) is not None}


@operation(f'GET {FIREWALL}/options')
def options(call):
    call.guest()
    # The digest of an empty file until there is one.
    found = of(call)['options']
    return {**found, 'digest': digest(found) if found else 'da39a3ee5e6b4b0d3255bfef95601890afd80709'}


@operation(f'PUT {FIREWALL}/options')
@changes
def set_options(call):
    call.guest()
    api_cluster.change(call, of(call)['options'], OPTIONS)


# Rules: the first is that at position 0.

def shown(rules):
    of_all = digest(rules)
    return [{'pos': position, **rule, 'digest': of_all} for position, rule in enumerate(rules)]


def position_of(call, rules):
    position = call.int('pos')
    if position >= len(rules):
        raise failed(f'no rule at position {position}')
    return position


def checked(rule):
    if rule['type'] == 'group' and any(name in rule for name in ('dport', 'sport', 'proto')):
        raise failed("security groups can't have ports or a protocol")
    if ('dport' in rule or 'sport' in rule) and 'proto' not in rule and 'macro' not in rule:
        raise failed("missing 'proto' parameter for ports")
    return rule


@operation(f'GET {FIREWALL}/rules')
def rules_of(call):
    return shown(of(call)['rules'])


@operation(f'POST {FIREWALL}/rules')
@changes
def create_rule(call):
    rule = checked(fields(call, *RULE))
    with call.cluster.lock:
        call.cluster.check_quorum()
        rules = of(call)['rules']
        check_digest(call, rules)
        rules.insert(min(call.int('pos', 0), len(rules)), rule)


@operation(f'GET {FIREWALL}/rules/{{pos}}')
def read_rule(call):
    rules = of(call)['rules']
    return shown(rules)[position_of(call, rules)]


@operation(f'PUT {FIREWALL}/rules/{{pos}}')
@changes
def update_rule(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        rules = of(call)['rules']
        check_digest(call, rules)
        position = position_of(call, rules)
        if call.get('moveto') is not None:
            rule = rules.pop(position)
            target = call.int('moveto')
            rules.insert(target - 1 if target > position else target, rule)
            return
        gone = split_list(call.get('delete', ''))
        kept = {name: value for name, value in rules[position].items() if name not in gone}
        rules[position] = checked({**kept, **fields(call, *RULE)})


@operation(f'DELETE {FIREWALL}/rules/{{pos}}')
@changes
def delete_rule(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        rules = of(call)['rules']
        check_digest(call, rules)
        del rules[position_of(call, rules)]


# IP sets.

def set_of(call, name):
    sets = of(call)['ipset']
    if name not in sets:
        raise failed(f"no such IPSet '{name}'")
    return sets[name]


def entry_of(call, members):
    if call['cidr'] not in members:
        raise failed(f"no such IP/network entry '{call['cidr']}'")
    return members[call['cidr']]


def entries(members):
    return [{'cidr': cidr, **entry, 'digest': digest(members)} for cidr, entry in sorted(members.items())]


@operation(*(f'GET {where}/ipset' for where in (FIREWALL, CLUSTER)))
def ipsets(call):
    return [{'name': name, 'digest': digest(one['members']), **({'comment': one['comment']} if one['comment'] else {})}
            for name, one in sorted(of(call)['ipset'].items())]


@operation(*(f'POST {where}/ipset' for where in (FIREWALL, CLUSTER)))
@changes
def create_ipset(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        sets, name, old = of(call)['ipset'], call['name'], call.get('rename')
        if old:
            one = set_of(call, old)
            check_digest(call, one['members'])
            if name != old and name in sets:
                raise failed(f"IPSet '{name}' already exists")
            del sets[old]
            sets[name] = {**one, 'comment': call.get('comment', one['comment'])}
        elif name in sets:
            raise failed(f"IPSet '{name}' already exists")
        else:
            sets[name] = {'comment': call.get('comment'), 'members': {}}


@operation(*(f'GET {where}/ipset/{{name}}' for where in (FIREWALL, CLUSTER)))
def read_ipset(call):
    return entries(set_of(call, call['name'])['members'])


@operation(*(f'DELETE {where}/ipset/{{name}}' for where in (FIREWALL, CLUSTER)))
@changes
def delete_ipset(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        if set_of(call, call['name'])['members'] and not call.flag('force'):
            raise failed(f"IPSet '{call['name']}' is not empty")
        del of(call)['ipset'][call['name']]


@operation(*(f'POST {where}/ipset/{{name}}' for where in (FIREWALL, CLUSTER)))
@changes
def add_to_ipset(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        members = set_of(call, call['name'])['members']
        if call['cidr'] in members:
            raise failed(f"address '{call['cidr']}' already exists")
        members[call['cidr']] = {**fields(call, 'comment'), **({'nomatch': 1} if call.flag('nomatch') else {})}


@operation(*(f'GET {where}/ipset/{{name}}/{{cidr}}' for where in (FIREWALL, CLUSTER)))
def read_member(call):
    members = set_of(call, call['name'])['members']
    return {'cidr': call['cidr'], **entry_of(call, members), 'digest': digest(members)}


@operation(*(f'PUT {where}/ipset/{{name}}/{{cidr}}' for where in (FIREWALL, CLUSTER)))
@changes
def update_member(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        members = set_of(call, call['name'])['members']
        check_digest(call, members)
        entry = entry_of(call, members)
        entry.update(fields(call, 'comment'))
        if call.get('nomatch') is not None:
            entry.pop('nomatch', None)
            if call.flag('nomatch'):
                entry['nomatch'] = 1


@operation(*(f'DELETE {where}/ipset/{{name}}/{{cidr}}' for where in (FIREWALL, CLUSTER)))
@changes
def delete_member(call):
    with call.cluster.lock:
        call.cluster.check_quorum()
        members = set_of(call, call['name'])['members']
        check_digest(call, members)
        entry_of(call, members)
        del members[call['cidr']]
