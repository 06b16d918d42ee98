"""Many at once, with faults at random: nothing is left, nothing is made twice, and the server makes no mistake."""

import threading
import time

from client import SLOW, Client

TEMPLATE = 'local:vztmpl/oci-mini.tar'
WORKERS, ROUNDS, SECONDS = 8, 4, 100 * SLOW
FAULTS = [{'fault': 'slow', 'seconds': 0.05, 'probability': 0.1}, {'fault': 'reset', 'probability': 0.04},
          {'fault': 'reset-after', 'probability': 0.04}, {'fault': 'status', 'status': 503, 'probability': 0.04},
          {'fault': 'lock', 'method': 'POST', 'probability': 0.05}, {'fault': 'status-after', 'probability': 0.04}]


class Worker:
    """Makes, starts and removes containers, and asks again until it is so: what a client has to do."""

    def __init__(self, server, vmid):
        self.client, self.vmid = Client(server.cluster.nodes['pve1'], server.token, timeout=20), vmid
        self.path = f'/nodes/pve1/lxc/{vmid}'
        self.until = time.monotonic() + SECONDS

    def ask(self, method, path, **given):
        """An answer that is Proxmox' own, be it good or bad."""
        while time.monotonic() < self.until:
            try:
                answer = self.client.call(method, path, given)
            except OSError:
                self.client.connection.close()
                continue
            if answer.status not in (502, 503):
                return answer
        raise AssertionError(f'{method} {path}: no answer in time')

    def ended(self, answer):
        if answer.status == 200 and isinstance(answer.data, str):
            while self.ask('GET', f'/nodes/pve1/tasks/{answer.data}/status').data['status'] != 'stopped':
                time.sleep(0.02)

    def state(self):
        answer = self.ask('GET', self.path + '/status/current')
        if answer.status != 200:
            assert answer.reason.endswith('does not exist'), answer.line
            return None
        return 'locked' if 'lock' in answer.data else answer.data['status']

    def bring_to(self, wanted, method, path, **given):
        while (state := self.state()) != wanted:
            assert time.monotonic() < self.until, f'CT {self.vmid} is {state}, not {wanted}'
            if state == 'locked':
                time.sleep(0.02)
            else:
                self.ended(self.ask(method, path, **given))

    def run(self):
        for _ in range(ROUNDS):
            self.bring_to('stopped', 'POST', '/nodes/pve1/lxc', vmid=self.vmid, ostemplate=TEMPLATE, rootfs='local:0',
                          memory=32, net0=f'name=eth0,bridge=vmbr0,ip=10.99.1.{self.vmid - 200}/16')
            self.bring_to('running', 'POST', self.path + '/status/start')
            self.bring_to('stopped', 'POST', self.path + '/status/stop')
            self.bring_to(None, 'DELETE', self.path, force=1, purge=1)


def test_stress(server, control):
    control.do('seed', seed=1)
    for rule in FAULTS:
        control.do('fault', **rule)
    workers = [Worker(server, 200 + number) for number in range(WORKERS)]
    failures = []

    def run(worker):
        try:
            worker.run()
        except Exception as e:  # pylint: disable=broad-except
            failures.append(f'{worker.vmid}: {e!r}')
    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    control.do('clear-faults')
    assert not failures, failures
    assert control.do('guests') == {} and not server.cluster.nodes['pve1'].storages['local'].content('rootdir')
    assert {entry['fault'] for entry in control.do('journal')} >= {rule['fault'] for rule in FAULTS}
