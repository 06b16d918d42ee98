"""High availability: the resources and rules, and the manager that brings containers to their wanted state."""

import threading

import actions
from access import ROOT
from containers import ContainerError


class Manager:
    """The CRM and LRMs as one thread. Proxmox' takes a round each 10 seconds, and fences a lost node after about 60."""

    ROUND, FENCING = 10, 60

    def __init__(self, cluster):
        self.cluster = cluster
        self.resources, self.rules = {}, {}
        self.wake, self.ended = threading.Event(), False
        self.active = False  # the CRM only begins once there is something to do
        self.lost = {}  # node -> rounds since it was lost
        self.thread = threading.Thread(target=self.run, daemon=True, name='ha manager')
        self.thread.start()

    def run(self):
        while not self.ended:
            self.wake.wait(max(0.05, self.ROUND * self.cluster.pace))
            self.wake.clear()
            if not self.ended and self.cluster.quorate:
                self.active = self.active or bool(self.resources)
                for sid, resource in list(self.resources.items()):
                    self.look_at(int(sid.partition(':')[2]), resource)

    def end(self):
        self.ended = True
        self.wake.set()
        self.thread.join()

    def look_at(self, vmid, resource):
        """One step of one resource."""
        guest = self.cluster.guests.get(vmid)
        if guest is None:
            return
        if not guest.node.online:
            self.recover(guest, resource)
            return
        self.lost.pop(guest.node.name, None)
        try:
            wanted, runs = resource['state'], guest.running
        except ContainerError:
            return
        resource['service'] = wanted if wanted in ('ignored', 'disabled') else 'started' if runs else 'stopped'
        if guest.config.get('lock') or resource.get('busy') or resource.get('failures', 0) > resource['max_restart']:
            if resource.get('failures', 0) > resource['max_restart']:
                resource['service'] = 'error'
            return
        if target := resource.pop('target', None):
            self.work(guest, resource, 'vzmigrate', lambda task: actions.migrate(guest, target, task, restart=True))
        elif wanted in ('started', 'enabled') and not runs:
            self.work(guest, resource, 'vzstart', lambda task: actions.start(guest, task))
        elif wanted in ('stopped', 'disabled') and runs:
            self.work(guest, resource, 'vzstop', lambda task: actions.stop(guest, task))

    def work(self, guest, resource, kind, function):
        def run(task):
            try:
                function(task)
                resource['failures'] = 0
            except Exception:
                resource['failures'] = resource.get('failures', 0) + 1
                raise
            finally:
                resource['busy'] = False
                self.wake.set()
        resource['busy'] = True
        self.cluster.tasks.start(guest.node, kind, guest.vmid, ROOT, run)

    def recover(self, guest, resource):
        """Its node is lost: once that is fenced, the configuration moves to another one."""
        name = guest.node.name
        resource['service'] = 'fence'
        if self.lost.setdefault(name, 0) * self.ROUND < self.FENCING:
            self.lost[name] += 1
            return
        others = [node for node in self.cluster.nodes.values() if node.online and self.allows(guest.vmid, node.name)]
        if others and resource['state'] in ('started', 'enabled', 'stopped'):
            with self.cluster.lock:
                guest.node = others[0]
            resource['service'] = 'stopped'

    def allows(self, vmid, node):
        """Whether the rules let the container be on a node."""
        sid = f'ct:{vmid}'
        for rule in self.rules.values():
            if rule.get('disable') or sid not in rule['resources'].split(','):
                continue
            if rule['type'] == 'node-affinity' and int(rule.get('strict', 0)):
                if node not in [one.partition(':')[0] for one in rule['nodes'].split(',')]:
                    return False
            if rule['type'] == 'resource-affinity' and rule['affinity'] == 'negative':
                others = [int(one.partition(':')[2]) for one in rule['resources'].split(',') if one != sid]
                if any(other in self.cluster.guests and self.cluster.guests[other].node.name == node
                       for other in others):
                    return False
        return True

    def managed(self, vmid):
        resource = self.resources.get(f'ct:{vmid}')
        return resource if resource and resource['state'] != 'ignored' else None

    def forget(self, vmid, purge=True):
        """A container is out of it; of the rules, too, when `purge` is."""
        sid = f'ct:{vmid}'
        with self.cluster.lock:
            self.resources.pop(sid, None)
            for name, rule in list(self.rules.items()) if purge else []:
                left = [one for one in rule['resources'].split(',') if one != sid]
                if left:
                    rule['resources'] = ','.join(left)
                else:
                    del self.rules[name]
