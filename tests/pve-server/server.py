"""The whole server: a cluster of nodes that answer on their addresses, and the socket by which tests control it."""

import json
import os
import socket
import threading

import api_access
import api_cluster
import api_copies
import api_firewall
import api_ha
import api_lxc
import api_nodes
import api_storage
from api import HANDLERS, Api
from cluster import Cluster
from containers import ContainerError
from faults import Faults
from ha import Manager
from journal import Journal
from schema import Schema
from web import NodeServer

AREAS = (api_access, api_cluster, api_copies, api_firewall, api_ha, api_lxc, api_nodes, api_storage)
TOKEN = 'root@pam!test'


class Server:
    """nodes: [(name, address, port)], port 0 for any; pace: multiplies Proxmox' waits (a lock's 10 s ...)."""

    def __init__(self, folder, nodes=(('pve1', '127.0.0.1', 0),), pace=1.0):
        schema = Schema()
        without = {repr(operation) for operation in schema.operations} - set(HANDLERS)
        if without:
            raise RuntimeError(f'operations without a handler: {", ".join(sorted(without))}')
        self.folder, self.faults = folder, Faults()
        self.cluster = Cluster(schema, self.faults, folder, pace=pace)
        self.journal = Journal(os.path.join(folder, 'journal.jsonl'))
        self.api = Api(self.cluster, schema, self.faults, self.journal)
        self.cluster.ha = Manager(self.cluster)
        for name, address, port in nodes:
            self.cluster.add_node(name, address, port)
        self.cluster.add_storage('local')
        self.cluster.add_storage('btr', snapshots=True)
        self.cluster.add_storage('shared', shared=True)
        user, _, token = TOKEN.partition('!')
        self.secret = self.cluster.access.add_token(user, token, privsep=False)
        self.servers = {}
        for node in self.cluster.nodes.values():
            self.serve(node)
        self.control = Control(self, os.path.join(folder, 'control'))

    def serve(self, node):
        self.servers[node.name] = NodeServer(self.api, node, node.certificate, node.key)

    @property
    def token(self):
        """What stands behind `PVEAPIToken=`."""
        return f'{TOKEN}={self.secret}'

    # Nodes that go and come.

    def stop_node(self, name):
        """As when it loses its power: nobody answers, its containers are gone."""
        node = self.cluster.nodes[name]
        node.online = False
        self.servers.pop(name).end()
        for guest in self.cluster.list_guests():
            if guest.node is node:
                try:
                    if guest.running:
                        guest.container.stop()
                except ContainerError:
                    pass  # it ended by itself; a key `lock` stays until `unlock`

    def start_node(self, name):
        node = self.cluster.nodes[name]
        node.online = True
        self.serve(node)

    def end(self):
        self.control.end()
        for server in self.servers.values():
            server.end()
        self.cluster.ha.end()
        self.cluster.end()
        self.journal.close()


class Control:
    """A unix socket that takes JSON lines {"do": NAME, ...} and answers each with {"ok": RESULT} or {"error": TEXT}."""

    def __init__(self, server, path):
        self.server, self.path, self.held = server, path, {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(8)
        threading.Thread(target=self.accept, daemon=True, name='control').start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True, name='control of one').start()

    def serve(self, connection):
        with connection, connection.makefile('rw', encoding='utf-8') as lines:
            for line in lines:
                try:
                    asked = json.loads(line)
                    answer = {'ok': self.do(asked.pop('do'), asked)}
                except Exception as e:  # pylint: disable=broad-except  # whatever it is, the test is to see it
                    answer = {'error': f'{type(e).__name__}: {e}'}
                lines.write(json.dumps(answer) + '\n')
                lines.flush()

    def do(self, name, given):
        function = getattr(self, 'do_' + name.replace('-', '_'), None)
        if not function:
            raise ValueError(f'there is no {name!r}')
        return function(**given)

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.unlink(self.path)
        for flock in self.held.values():
            flock.release()

    # Faults of requests, see faults.py.

    def do_fault(self, **rule):
        self.server.faults.add(**rule)

    def do_seed(self, seed):
        self.server.faults.seed(seed)

    def do_clear_faults(self):
        self.server.faults.clear()

    # States that the cluster is in until told otherwise.

    def do_quorum(self, quorate):
        self.server.cluster.quorate = bool(quorate)

    def do_disk_full(self, storage, full=True, node=None):
        for one in self.server.cluster.nodes.values():
            if node in (None, one.name):
                one.storages[storage].full = full

    def do_release(self, version):
        """Says it is another release; before 9 the body of a refusal has no message. Operations stay those of 9.2."""
        self.server.cluster.release(version)

    def do_stop_node(self, node):
        self.server.stop_node(node)

    def do_start_node(self, node):
        self.server.start_node(node)

    def guest(self, vmid):
        if vmid not in self.server.cluster.guests:
            raise ValueError(f'there is no CT {vmid}')
        return self.server.cluster.guests[vmid]

    def do_hold_lock(self, vmid):
        """Somebody holds the file lock of the configuration until release-lock."""
        flock = self.guest(vmid).flock
        flock.acquire()  # pylint: disable=consider-using-with
        self.held[vmid] = flock

    def do_release_lock(self, vmid):
        self.held.pop(vmid).release()

    def do_lock(self, vmid, lock):
        """The key `lock`, as an administrator's action or a killed task leaves it."""
        self.guest(vmid).config['lock'] = lock

    def do_unlock(self, vmid):
        """pct unlock."""
        self.guest(vmid).config.pop('lock', None)

    def do_kill_task(self, upid):
        self.server.cluster.tasks.find(upid.split(':')[1], upid).kill_after = 0

    # What was and is.

    def do_journal(self, clear=False):
        return self.server.journal.take(clear)

    def do_mistakes(self):
        """Tracebacks of the server's own mistakes: a test that ends with any has failed."""
        return self.server.api.errors

    def do_tasks(self):
        return [task.status() for task in self.server.cluster.tasks.list()]

    def do_guests(self):
        return {guest.vmid: {'node': guest.node.name, 'config': guest.config, 'running': guest.running}
                for guest in self.server.cluster.list_guests()}

    def do_user(self, user, password):
        """Gives a user a password, making it if need be."""
        access = self.server.cluster.access
        access.users.setdefault(user, {'enable': 1, 'tokens': {}})
        access.set_password(user, password)

    def do_registry(self, reference, tag, path):
        """What oci-registry-pull finds: an OCI archive at a path here."""
        self.server.cluster.registry.setdefault(reference, {})[tag] = path
