"""operations.txt holds what Proxmox' own dump of its API says of these operations, no more and no less."""

import json
import os

import pytest

from schema import HERE, Schema

API = os.environ.get('LXCRI_PVE_API') or os.path.join(HERE, '../../../shared/pve/api.json')
needs_api = pytest.mark.skipif(not os.path.exists(API), reason='no dump of the API here')


@pytest.fixture(scope='module')
def api():
    with open(API, encoding='utf-8') as file:
        return {(e['method'], e['path']): e for e in json.load(file)['endpoints']}


def facts_of_theirs(name, prop):
    """Tuples of the facts of one property of the dump, those of a property string below it."""
    prop = {**prop, **prop.get('items', {}), 'type': prop['type']}
    keys = isinstance(prop.get('format'), dict)
    facts = {(name, 'type', prop['type']), (name, 'optional', bool(prop.get('optional')))}
    if keys:
        for key, sub in prop['format']['property-string'].items():
            facts |= facts_of_theirs(f'{name}.{key}', sub)
    elif 'format' in prop:
        facts.add((name, 'format', prop['format']))
    facts.add((name, 'keys', keys))
    for fact in ('minimum', 'maximum', 'minLength', 'maxLength', 'pattern', 'requires', 'default'):
        if fact in prop:
            facts.add((name, fact, str(prop[fact])))
    if 'enum' in prop:
        facts.add((name, 'enum', tuple(prop['enum'])))
    if prop.get('default_key'):
        facts.add((name, 'bare', True))
    return facts


def facts_of_ours(schema, name, parameter):
    facts = {(name, 'type', parameter.type), (name, 'optional', parameter.optional),
             (name, 'keys', bool(parameter.keys))}
    if parameter.keys:
        for key, sub in schema.formats[parameter.keys].items():
            facts |= facts_of_ours(schema, f'{name}.{key}', sub)
    for fact, value in (('format', parameter.format), ('minimum', parameter.minimum), ('maximum', parameter.maximum),
                        ('minLength', parameter.min_length), ('maxLength', parameter.max_length),
                        ('pattern', parameter.pattern), ('requires', parameter.requires),
                        ('default', parameter.default)):
        if value is not None:
            facts.add((name, fact, str(value)))
    if parameter.one_of:
        facts.add((name, 'enum', tuple(parameter.one_of)))
    if parameter.bare:
        facts.add((name, 'bare', True))
    return facts


def properties_of_theirs(endpoint):
    """(variant or None, name, property), also where a type decides."""
    for name, prop in endpoint['parameters'].items():
        yield None, name, prop
    for part in endpoint.get('allOf', []):
        for name, prop in part.get('properties', {}).items():
            yield None, name, prop
        if 'oneOf' in part:
            yield None, part['type-property'], part['type-property-schema']
        for one in part.get('oneOf', []):
            for name, prop in one['properties'].items():
                yield one['instance-type'], name, prop


def flat(check):
    """A check with the list of its privileges written out, as operations.txt has it."""
    if not isinstance(check, list):
        return check
    out = []
    for part in check:
        if isinstance(part, list) and check[0] in ('perm', 'userid-group'):
            out += part
        else:
            out.append(flat(part))
    return out[:-1] if out[-2:] == ['any', 1] else out


@needs_api
def test_every_fact(api):
    schema = Schema()
    for operation in schema.operations:
        endpoint = api.get((operation.method, operation.path))
        assert endpoint, f'Proxmox has no {operation}'
        theirs, ours = set(), set()
        for variant, name, prop in properties_of_theirs(endpoint):
            theirs |= {(variant, *fact) for fact in facts_of_theirs(name, prop)}
        for parameter in operation.parameters.values():
            ours |= {(None, *fact) for fact in facts_of_ours(schema, parameter.name, parameter)}
        for variant, parameters in operation.variants.items():
            for parameter in parameters.values():
                ours |= {(variant, *fact) for fact in facts_of_ours(schema, parameter.name, parameter)}
        assert ours == theirs, operation
        permissions = endpoint['permissions']
        # An operation with both is looked at by itself: GET /cluster/options, which anyone may call for a part.
        assert operation.check == (permissions.get('user') or flat(permissions['check'])), operation
        assert operation.token_allowed == bool(endpoint.get('allowtoken')), operation
        assert operation.proxied == (endpoint.get('proxyto') == 'node'), operation


@needs_api
def test_privileges(api):
    theirs = api['GET', '/access/roles/{roleid}']['returns']['properties']
    assert sorted(Schema().privileges) == sorted(theirs)


def test_paths():
    schema = Schema()
    operation, found = schema.match('GET', '/nodes/pve1/storage/local/content/local:vztmpl/a.tar')
    assert operation.path.endswith('{volume}') and found['volume'] == 'local:vztmpl/a.tar'
    operation, found = schema.match('DELETE', '/nodes/pve1/lxc/100/firewall/ipset/pods/10.0.0.0/8')
    assert operation.path.endswith('{cidr}') and found == {'node': 'pve1', 'vmid': '100', 'name': 'pods',
                                                           'cidr': '10.0.0.0/8'}
    assert schema.match('GET', '/nope') == (None, {})
    assert schema.match('PUT', '/nodes/pve1/lxc') == (None, {})


def test_families():
    create, _ = Schema().match('POST', '/nodes/pve1/lxc')
    assert create.find('net31', {}).keys == 'net'
    assert create.find('net32', {}) is None and create.find('net01', {}) is None and create.find('mp[n]',
                                                                                                 {}) is not None
