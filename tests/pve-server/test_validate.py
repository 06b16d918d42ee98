"""Validation of parameters: the texts that Proxmox gives."""

import pytest

import formats
import validate
from schema import Schema

SCHEMA = Schema()
BAD = 'invalid format - format error\n'
LOOKS = 'invalid format - value does not look like a valid'
LXC = '/nodes/pve1/lxc'


def errors(method, path, **given):
    operation, found = SCHEMA.match(method, path)
    return validate.check(SCHEMA, operation, {**found, **{k.replace('_', '-'): v for k, v in given.items()}})


def create(**given):
    return errors('POST', LXC, **{'vmid': '112', 'ostemplate': 'local:vztmpl/a.tar', **given})


def test_every_format_is_known():
    def look(parameters):
        for parameter in parameters.values():
            assert parameter.format is None or formats.known(parameter.format), parameter.format
            if parameter.keys:
                look(SCHEMA.formats[parameter.keys])
    for operation in SCHEMA.operations:
        look(operation.parameters)
        for variant in operation.variants.values():
            look(variant)


def test_as_proxmox_says_it():
    assert not create(net0='name=eth0,bridge=vmbr0,ip=10.99.0.110/24,gw=10.99.0.1', memory='128', features='nesting=1')
    assert create(vmid='99') == {'vmid': 'invalid format - value does not look like a valid VM ID\n'}
    assert errors('POST', LXC, vmid='112') == {'ostemplate': validate.MISSING}
    assert create(hostname='bad_host', bogus='1', memory='1', net0='bridge=vmbr0') == {
        'net0': 'invalid format - format error\nnet0.name: property is missing and it is not optional\n',
        'bogus': validate.UNKNOWN,
        'memory': 'value must have a minimum value of 16',
        'hostname': 'invalid format - value does not look like a valid DNS name\n'}
    assert errors('POST', LXC + '/170/snapshot', snapname='s') == {
        'snapname': "invalid format - invalid configuration ID 's'\n"}
    assert errors('PUT', LXC + '/170/config', **{'lxc.foo': '1'}) == {'lxc.foo': validate.UNKNOWN}


@pytest.mark.parametrize('name, value, text', [
    ('start', 'yes', "type check ('boolean') failed - got 'yes'"),
    ('start', True, None),
    ('cores', True, "type check ('integer') failed - got JSON::PP::Boolean"),
    ('cores', '1.5', "type check ('integer') failed - got '1.5'"),
    ('cores', 2, None),
    ('cores', ['2'], "type check ('integer') failed - got ARRAY"),
    ('cpulimit', '1.5', None),
    ('cpulimit', 'much', "type check ('number') failed - got 'much'"),
    ('cores', '8193', 'value must have a maximum value of 8192'),
    ('cmode', 'x', "value 'x' does not have a value in the enumeration 'shell, console, tty'"),
    ('description', 'x' * 8193, 'value may only be 8192 characters long'),
    ('password', 'abcd', 'value must be at least 5 characters long'),
    ('env', 'A=1\0B=2', None),
    ('env', 'A=1\nB=2', 'value does not match the regex pattern'),
    ('tags', 'pod;k8s', None),
    ('tags', '+x', 'invalid format - invalid characters in tag\n'),
    ('net0', 'name=eth0,bridge=vmbr0,hwaddr=01:02:03:04:05:06',
     f'{BAD}net0.hwaddr: {LOOKS} unicast MAC address\n\n'),
    ('net0', 'name=eth0,ip=10.0.0.1',
     f'{BAD}net0.ip: {LOOKS} ipv4 network configuration\n\n'),
    ('net0', 'name=eth0,tag=4095', f'{BAD}net0.tag: value must have a maximum value of 4094\n'),
    ('net0', 'name=eth0,name=eth1', 'invalid format - duplicate key in comma-separated list property: name\n'),
    ('net0', 'name=eth0,colour=red', 'invalid format - invalid key in comma-separated list property: colour\n'),
    ('net0', 'eth0', 'invalid format - value without key, but schema does not define a default key\n'),
    ('net0', 'name=', 'invalid format - missing key in comma-separated list property\n'),
    ('mp0', 'local:1,mp=/data,backup=on', None),
    ('mp0', 'local:1,mp=/a/../b',
     f'{BAD}mp0.mp: invalid format - /a/../b contains illegal character sequences\n\n'),
    ('unique', '1', None),
    ('storage', '-', "invalid format - storage ID '-' contains illegal characters\n"),
    ('hookscript', 'x', "invalid format - unable to parse volume ID 'x'\n"),
    ('nameserver', '10.0.0.1 fe80::1%eth0', None),
    ('startup', 'order=1,up=2,down=3', None),
    ('timezone', 'Europe/Nowhere', "invalid format - invalid time zone 'Europe/Nowhere'\n"),
])
def test_values(name, value, text):
    given = {name: value, **({'restore': '1'} if name == 'unique' else {})}
    assert create(**given) == ({name: text} if text else {})


def test_requires():
    assert create(unique='1') == {'restore': "missing property - 'unique' requires this property"}


def test_parameters_of_a_type():
    rule = {'rule': 'pods', 'resources': 'ct:100,ct:101'}
    path = '/cluster/ha/rules'
    assert not errors('POST', path, type='node-affinity', nodes='pve1:2,pve2', **rule)
    assert errors('POST', path, type='resource-affinity', nodes='pve1', affinity='negative',
                  **rule) == {'nodes': validate.UNKNOWN}
    assert errors('POST', path, type='node-affinity', **rule) == {'nodes': validate.MISSING}


def test_firewall_addresses():
    path = LXC + '/100/firewall/rules'
    rule = {'type': 'in', 'action': 'ACCEPT'}
    assert not errors('POST', path, source='10.0.0.1-10.0.0.9,10.1.0.0/16', dest='+pods', dport='80,8000:8080,http',
                      **rule)
    assert set(errors('POST', path, source='10.0.0.1/33', dport='80/tcp', **rule)) == {'source', 'dport'}


def test_what_is_read_is_written():
    net = SCHEMA.formats['net']
    text = 'name=eth0,bridge=vmbr0,gw=10.99.0.1,host-managed=1,hwaddr=BC:24:11:3A:B0:34,ip=10.99.0.110/24,type=veth'
    assert validate.show(net, validate.parse(net, ','.join(reversed(text.split(','))))) == text
    mount = SCHEMA.formats['mp']
    assert validate.show(mount, validate.parse(mount, 'backup=yes,mp=/data,local:1')) == 'local:1,mp=/data,backup=1'
