"""The operations of the API, as operations.txt says them.

An operation there is a line `METHOD PATH [proxied] [no-token]` and indented lines below it: `check` says who may (in
the form of Proxmox' own permission checks, written as s-expressions), `use NAME` takes a group of parameters, and each
other line is a parameter:

    name? TYPE[:FORMAT] [MIN..MAX] [length=MIN..MAX] [one-of=A|B] [default=V] [requires=OTHER] [bare] [~ PATTERN]

`?` is optional; TYPE{NAME} is a property string, whose keys the block `format NAME` has; name[n] is a family (net0,
net1 ...); `when KEY VALUE` has parameters that only an object of that type has; what is in braces in a path is in the
block `path`.
"""

import os
import re
import shlex

HERE = os.path.dirname(os.path.abspath(__file__))
FAMILIES = {'net': 32, 'mp': 256, 'dev': 256, 'unused': 256}  # how many members


class Parameter:
    """One parameter: a plain record of its facts."""

    def __init__(self, line):
        words, _, pattern = line.strip().partition(' ~ ')
        self.pattern = pattern or None
        name, kind, *rest = shlex.split(words)
        self.optional = name.endswith('?')
        self.name = name.removesuffix('?')
        self.type, self.format, self.keys = kind, None, None
        if '{' in kind:
            self.type, self.keys = kind.removesuffix('}').split('{')
        elif ':' in kind:
            self.type, self.format = kind.split(':', 1)
        self.minimum = self.maximum = self.min_length = self.max_length = None
        self.default, self.requires, self.one_of, self.bare = None, None, None, False
        for word in rest:
            self.fact(word)

    def fact(self, word):
        key, equals, value = word.partition('=')
        if not equals and '..' in word:
            self.minimum, self.maximum = (int(v) if v else None for v in word.split('..'))
        elif key == 'length':
            self.min_length, self.max_length = (int(v) if v else None for v in value.split('..'))
        elif key == 'one-of':
            self.one_of = [one for part in value.split('|') for one in spread(part)]
        elif key == 'bare':
            self.bare = True
        elif key in ('default', 'requires'):
            setattr(self, key, value)
        else:
            raise ValueError(f'operations.txt: what is {word!r}?')


def spread(part):
    """mp[0-2] -> mp0, mp1, mp2."""
    match = re.fullmatch(r'(\w+)\[0-(\d+)\]', part)
    return [f'{match[1]}{i}' for i in range(int(match[2]) + 1)] if match else [part]


def s_expression(text):
    """'(perm / Sys.Audit)' -> ['perm', '/', 'Sys.Audit']; a bare word stays one."""
    stack = [[]]
    for token in re.findall(r'[()]|[^\s()]+', text):
        if token == '(':
            stack.append([])
        elif token == ')':
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    return stack[0][0]


class Operation:
    """One method of one path."""

    def __init__(self, method, path, flags):
        self.method, self.path = method, path
        self.proxied, self.token_allowed = 'proxied' in flags, 'no-token' not in flags
        self.check = None
        self.parameters = {}
        self.variants = {}  # type -> parameters, for what `when` says
        self.type_key = None
        # A volume id has slashes, and so has the CIDR of an IP set.
        part = {'volume': '.+', 'cidr': '.+'}
        self.regex = re.compile(''.join(
            f'(?P<{piece[1:-1]}>{part.get(piece[1:-1], "[^/]+")})' if piece.startswith('{') else re.escape(piece)
            for piece in re.split(r'(\{\w+\})', path)))

    def __repr__(self):
        return f'{self.method} {self.path}'

    def add(self, parameter):
        self.parameters[parameter.name] = parameter

    def find(self, name, given):
        """The parameter that `name` is, or None: also of a family, and of the type that is given."""
        found = self.parameters.get(name)
        if found is None and self.type_key:
            found = self.variants.get(given.get(self.type_key), {}).get(name)
        if found is None and (match := re.fullmatch(r'([a-z]+)(0|[1-9]\d*)', name)):
            if int(match[2]) < FAMILIES.get(match[1], 0):
                found = self.parameters.get(match[1] + '[n]')
        return found


class Schema:
    """All of operations.txt."""

    def __init__(self, path=os.path.join(HERE, 'operations.txt')):
        self.operations, self.privileges, self.path_parameters = [], [], {}
        self.formats, self.groups = {}, {}
        with open(path, encoding='utf-8') as file:
            self.read(file)
        for operation in self.operations:
            for name in operation.regex.groupindex:
                if name not in operation.parameters:
                    operation.add(self.path_parameters[name])

    def read(self, lines):
        add, operation = None, None
        for line in lines:
            line = line.rstrip('\n')
            if not line.strip() or line.startswith('#'):
                continue
            if not line.startswith('\t'):
                add, operation = self.block(line.split())
            elif line.startswith('\tcheck ') and operation:
                operation.check = s_expression(line.removeprefix('\tcheck '))
            elif line.startswith('\tuse ') and operation:
                operation.parameters.update(self.groups[line.split()[1]])
            elif line.startswith('\twhen ') and operation:
                _, operation.type_key, variant = line.split()
                operation.variants[variant] = {}
            elif line.startswith('\t\t'):
                parameter = Parameter(line)
                operation.variants[list(operation.variants)[-1]][parameter.name] = parameter
            else:
                add(line)

    def block(self, words):
        """What the lines below this headline are added to, and the operation if it is one."""
        if words[0] == 'privileges':
            return lambda line: self.privileges.extend(line.split()), None
        into = {'path': lambda: self.path_parameters, 'format': lambda: self.formats.setdefault(words[1], {}),
                'parameters': lambda: self.groups.setdefault(words[1], {})}.get(words[0])
        if into:
            table = into()

            def add(line):
                parameter = Parameter(line)
                table[parameter.name] = parameter
            return add, None
        operation = Operation(words[0], words[1], words[2:])
        self.operations.append(operation)
        return lambda line: operation.add(Parameter(line)), operation

    def match(self, method, path):
        """The operation and what stands in its path; (None, {}) when there is none."""
        for operation in self.operations:
            if operation.method == method and (match := operation.regex.fullmatch(path)):
                return operation, match.groupdict()
        return None, {}
