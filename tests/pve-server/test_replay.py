"""replay.txt: our answers are those of a real server, in status, reason, form and exit status."""

import json
import os
import re
import shlex
import signal

import pytest

from client import Client, encoded
from cts import until_handled
from schema import HERE

TYPES = {'int': int, 'str': str, 'number': (int, float), 'null': type(None)}


class Step:
    """One line of the conversation with what stands below it."""

    def __init__(self, number, line):
        self.number, self.words = number, shlex.split(line)
        self.body = self.words[0] == 'with-body' and bool(self.words.pop(0))
        self.answer, self.errors, self.exit = None, {}, None

    def add(self, line):
        if self.answer is None:
            self.answer = line
        elif line.startswith('exit '):
            self.exit = line.removeprefix('exit ')
        else:
            name, _, text = line.partition(': ')
            self.errors[name] = json.loads(text)

    def __str__(self):
        return f'replay.txt:{self.number}: {" ".join(self.words)}'


class Shapes:
    """The shapes by name: {key: (optional, type)}, or a type as text."""

    def __init__(self):
        self.all = {}

    def add(self, name, line):
        if line.startswith('['):
            self.all[name] = line
            return
        keys = self.all.setdefault(name, {})
        for part in line.split(', '):
            if part.startswith('+'):
                keys.update(self.all[part[1:]])
            else:
                key, kind = part.split(' ')
                keys[key.removesuffix('?')] = key.endswith('?'), kind

    def check(self, kind, value, where='data'):
        """Raises AssertionError(what is different)."""
        if kind == '{}':
            assert value == {}, f'{where} is {value!r}'
        elif kind.startswith('['):
            assert isinstance(value, list), f'{where} is no list'
            assert kind != '[]' or not value, f'{where} is {value!r}'
            for index, one in enumerate(value):
                self.check(kind[1:-1], one, f'{where}[{index}]')
        elif isinstance(self.all.get(kind), str):
            self.check(self.all[kind], value, where)
        elif kind in self.all:
            assert isinstance(value, dict), f'{where} is no object'
            keys = self.all[kind]
            assert not set(value) - set(keys), f'{where} has {sorted(set(value) - set(keys))} beside'
            for key, (optional, inner) in keys.items():
                assert optional or key in value, f'{where} has no {key}'
                if key in value:
                    self.check(inner, value[key], f'{where}.{key}')
        else:
            kinds = tuple(TYPES[one] for one in kind.split('|'))
            assert isinstance(value, kinds[0] if len(kinds) == 1 else kinds), f'{where} is {value!r}, not {kind}'


def read():
    shapes, steps, shape = Shapes(), [], None
    with open(os.path.join(HERE, 'replay.txt'), encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip('\n')
            if not line or line.startswith('#'):
                continue
            if line.startswith('shape '):
                shape = line.split()[1]
            elif not line.startswith('\t'):
                shape = None
                steps.append(Step(number, line))
            elif shape:
                shapes.add(shape, line.strip())
            else:
                steps[-1].add(line.strip())
    return shapes, steps


class Replay:
    """Who asks, and what the last task was."""

    def __init__(self, server, client, control, shapes):
        self.server, self.control, self.shapes = server, control, shapes
        self.clients, self.client, self.upid = {'root@pam!test': client}, client, None
        control.do('user', user='root@pam', password='for the ticket')

    def turn(self, name):
        """The client of a token, or of a user's ticket."""
        if name not in self.clients:
            node, access = self.server.cluster.nodes['pve1'], self.server.cluster.access
            user, _, token = name.partition('!')
            if token:
                self.clients[name] = Client(node, f'{name}={access.add_token(user, token, privsep=False)}')
            else:
                got = Client(node).post('/access/ticket', username=user, password='for the ticket').data
                self.clients[name] = Client(node, headers={'Cookie': f'PVEAuthCookie={got["ticket"]}',
                                                           'CSRFPreventionToken': got['CSRFPreventionToken']})
        self.client = self.clients[name]

    def do(self, step):
        if step.words[0] == 'as':
            self.turn(step.words[1])
        elif step.words[0] == 'do':
            given = dict(word.split('=', 1) for word in step.words[2:])
            self.control.do(step.words[1],
                            **{key: int(value) if value.isdigit() else value for key, value in given.items()})
        else:
            self.ask(step)

    def ask(self, step):
        method, path, *words = step.words
        given = dict(word.split('=', 1) for word in words)
        path = path.replace('$upid', self.upid or '')
        if step.body:
            answer = self.client.send(method, '/api2/json' + path, encoded(given))
        else:
            answer = self.client.call(method, path, given)
        status, _, rest = step.answer.partition(' ')
        assert str(answer.status) == status, f'{answer.line}: {answer.text!r}'
        if status == '200':
            self.check_data(step, rest, answer.data)
            return
        assert answer.reason == rest
        if answer.body is None:
            assert status == '501'  # pveproxy itself
            return
        # A path that is not there is the one message without a line's end.
        assert answer.body['message'] == rest + ('' if status == '501' else '\n') and answer.body['data'] is None
        assert answer.errors == step.errors

    def check_data(self, step, expected, data):
        if not expected.startswith('task '):
            self.shapes.check(expected, data)
            return
        _, kind, ident = expected.split(' ')
        match = re.fullmatch(r'UPID:(\w+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:(\w+):(\w*):(\S+@\w+(?:!\w+)?):', data)
        assert match and match.group(2, 3) == (kind, ident), data
        self.upid = data
        status = self.client.wait(data)
        assert status['exitstatus'] == step.exit, self.client.log(data)
        guest = self.server.cluster.guests.get(int(ident))
        if guest and guest.running:
            until_handled(guest.container.pid(), signal.SIGTERM)  # what comes next may be a shutdown
        if step.exit not in ('OK',) and not step.exit.startswith('WARNINGS'):
            assert self.client.log(data)[-1] == f'TASK ERROR: {step.exit}'


def test_replay(server, client, control):
    shapes, steps = read()
    replay = Replay(server, client, control, shapes)
    for step in steps:
        try:
            replay.do(step)
        except AssertionError as e:
            pytest.fail(f'{step}\n{e}', pytrace=False)
    assert len(steps) > 150


def test_a_wrong_shape_is_seen():
    shapes, _ = read()
    good = {'name': 'eth0', 'hwaddr': '', 'hardware-address': '', 'ip-addresses': []}
    shapes.check('[interface]', [good])
    for bad in ({**good, 'name': 1}, {**good, 'more': 1}, {'name': 'eth0'},
                {**good, 'ip-addresses': [{'prefix': '8'}]}):
        with pytest.raises(AssertionError):
            shapes.check('[interface]', [bad])
