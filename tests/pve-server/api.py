"""From a request to its handler: in the order in which Proxmox looks at one."""

import sys
import threading
import traceback

import validate
from cluster import FAILURES
from errors import ApiError, failed, forbidden, reason, refused

HANDLERS = {}


def operation(*names):
    """Registers a handler of one or more 'METHOD /path' of operations.txt: function(call) returns the data."""
    def register(function):
        for name in names:
            if name in HANDLERS:
                raise ValueError(f'{name} has two handlers')
            HANDLERS[name] = function
        return function
    return register


class Paged(list):
    """A part of a list, whose whole length is told beside it."""

    total = 0


class Call:
    """One call: `given` has the parameters as strings (lists stay lists), with what stood in the path."""

    def __init__(self, cluster, here, caller, given, upload):
        self.cluster, self.here, self.caller, self.upload = cluster, here, caller, upload
        self.given = given
        self.access = cluster.access
        self.node = None  # the node in the path

    def __getitem__(self, name):
        return self.given[name]

    def get(self, name, default=None):
        return self.given.get(name, default)

    def int(self, name, default=None):
        value = self.given.get(name)
        return default if value is None else int(float(value))

    def flag(self, name, default=False):
        value = self.given.get(name)
        return default if value is None else value == '1'

    def may(self, path, *privileges, any_of=False):
        return self.access.may(self.caller, path, privileges, any_of)

    def require(self, path, *privileges, any_of=False):
        self.access.require(self.caller, path, *privileges, any_of=any_of)

    def guest(self):
        return self.cluster.guest(self.node, int(self['vmid']))

    def task(self, kind, ident, function):
        """Starts a task on the node of the path; its UPID."""
        return self.cluster.tasks.start(self.node, kind, ident, self.caller, function)


def plain(value):
    """A parameter from JSON as the form body would have it."""
    if isinstance(value, bool):
        return '1' if value else '0'
    return str(value) if isinstance(value, (int, float)) else value


class Api:
    """The API of the whole cluster; each node's server gives it what it is asked."""

    def __init__(self, cluster, schema, faults, journal):
        self.cluster, self.schema, self.faults, self.journal = cluster, schema, faults, journal
        self.errors, self.lock = [], threading.Lock()  # tracebacks of mistakes of ours
        cluster.tasks.on_start = faults.task_starts

    def note_error(self):
        with self.lock:
            self.errors.append(traceback.format_exc())
        print(self.errors[-1], file=sys.stderr, flush=True)

    def call(self, here, caller, method, path, given, upload=None):
        """The body of the answer to a call that node `here` got."""
        found, in_path = self.schema.match(method, path)
        if not found:
            raise ApiError(501, f"Method '{method} {path}' not implemented")
        for name, value in in_path.items():
            if name in given and given[name] != value:
                raise refused({name: 'duplicate parameter (already defined in URI) with conflicting values!'})
        given = {**given, **in_path}
        if caller and caller.token and not found.token_allowed:
            raise forbidden(f"URI '{path}' not available with API token, need proper ticket.")
        if found.check != 'world':
            self.cluster.access.check(found.check, caller, given)
        call = Call(self.cluster, here, caller, {}, upload)
        if 'node' in in_path:
            call.node = self.node(here, in_path['node'], found.proxied)
        if errors := validate.check(self.schema, found, given):
            raise refused(errors)
        call.given = {name: plain(value) for name, value in given.items() if value is not None}
        try:
            data = HANDLERS[f'{found.method} {found.path}'](call)
        except FAILURES as e:
            raise e if isinstance(e, ApiError) else failed(reason(e)) from None
        except Exception as e:  # pylint: disable=broad-except  # a mistake of ours must not look like Proxmox' answer
            self.note_error()
            raise failed(f'the test server has a mistake: {type(e).__name__}: {e}') from e
        answer = {'data': data}
        if isinstance(data, Paged):
            answer['total'] = data.total
        return answer

    def node(self, here, name, proxied):
        if name == 'localhost':
            return here
        node = self.cluster.nodes.get(name)
        if node is None:
            raise failed(f"hostname lookup '{name}' failed - failed to get address info for: {name}: "
                         'Temporary failure in name resolution')
        if proxied and not node.online:
            raise ApiError(595, 'No route to host')
        return node
