"""The daemon's client of Proxmox VE (src/pve), by its driver test-pve, against this server."""

import json
import os
import re
import shlex
import subprocess
import threading
import time
import uuid

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(os.environ.get('LXCRI_BUILD', os.path.join(HERE, '..', '..', 'build')), 'test-pve')
TEMPLATE = 'local:vztmpl/oci-mini.tar'
CARD = 'name=eth0,bridge=vmbr0,ip=manual'
OPTIONS = {'ostemplate': TEMPLATE, 'rootfs': 'local:0', 'memory': 64}


class Failed(Exception):
    """What a command ended with."""

    def __init__(self, answer):
        super().__init__(f'{answer["kind"]}: {answer["message"]}')
        self.kind, self.code, self.message = answer['kind'], answer['error'], answer['message']


class Driver:
    """The program behind a method: driver('status', vmid=110)."""

    def __init__(self, nodes, how, name, secret, folder):
        path = os.path.join(folder, f'secret-{threading.get_ident()}-{time.monotonic_ns()}')
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), 'w', encoding='utf-8') as file:
            file.write(secret + '\n')
        self.process = subprocess.Popen(
            [PROGRAM, ','.join(f'{node.address}:{node.port}' for node in nodes),
             ','.join(node.fingerprint for node in nodes), how, name, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, do, **given):
        self.process.stdin.write(json.dumps({'do': do, **given}) + '\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f'the program ended at {do}: {self.process.wait()}'
        answer = json.loads(line)
        if 'error' in answer:
            raise Failed(answer)
        return answer

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


@pytest.fixture
def make_driver(server, tmp_path):
    """Drivers that end with the test."""
    drivers = []

    def make(how='token', name='root@pam!test', secret=server.secret, nodes=('pve1', 'pve2')):
        drivers.append(Driver([server.cluster.nodes[node] for node in nodes], how, name, secret, tmp_path))
        return drivers[-1]
    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def pve(make_driver, control):
    yield make_driver()
    control.do('clear-faults')


def failure(call, *words, **given):
    with pytest.raises(Failed) as e:
        call(*words, **given)
    return e.value


def pveum(command, client):
    """What the command does, over the API."""
    name, noun, verb, what, *options = shlex.split(command)
    given = dict(zip((word.removeprefix('--') for word in options[::2]), options[1::2]))
    assert name == 'pveum'
    if noun == 'acl':
        return client.put('/access/acl', path=what, **given)
    if verb == 'add':
        return client.post('/access/roles', roleid=what, **given)
    return client.put(f'/access/roles/{what}', **given)


def count_tasks(client, kind, vmid):
    return len([task for task in client.get('/nodes/pve1/tasks', vmid=vmid, source='all').data if task['type'] == kind])


def test_life(clean, pve):
    del clean
    assert pve('version')['version'].startswith('9.')
    assert pve('node', host='pve2.example.org')['node'] == 'pve2'
    pve('create', vmid=210, params={**OPTIONS, 'hostname': 'pod210', 'tags': 'k8s', 'net0': CARD})
    assert failure(pve, 'create', vmid=210, params=OPTIONS).kind == 'EXISTS'
    odd = 'a=1;b&c+d %41\0e=\u00e4'
    pve('set', vmid=210, params={'env': odd, 'description': 'pod; x=y & z\nsecond', 'cores': 1})
    config = pve('config', vmid=210)['config']
    assert config['env'] == odd and config['description'] == 'pod; x=y & z\nsecond\n'
    assert failure(pve, 'set', vmid=210, params={'cores': 2, 'digest': '0' * 40}).kind == 'MODIFIED'
    pve('set', vmid=210, params={'delete': 'cores', 'digest': config['digest']})
    assert 'cores' not in pve('config', vmid=210)['config']
    assert not pve('status', vmid=210)['status']['running']
    assert failure(pve, 'action', action='STOP', vmid=210).kind == 'NOT_RUNNING'
    pve('action', action='START', vmid=210)
    status = pve('status', vmid=210)['status']
    assert status['running'] and os.path.exists(f'/proc/{status["pid"]}')
    assert failure(pve, 'action', action='START', vmid=210).kind == 'ALREADY_RUNNING'
    assert failure(pve, 'action', action='DELETE', vmid=210).kind == 'RUNNING'
    assert pve('list')['cts']['210'] == {**status, 'pid': 0}
    pve('action', action='SHUTDOWN', vmid=210, params={'timeout': 10, 'forceStop': 1})
    pve('action', action='DELETE', vmid=210, params={'purge': 1})
    wrong = failure(pve, 'status', vmid=210)
    assert (wrong.kind, wrong.code) == ('MISSING', 'NOT_FOUND')
    wrong = failure(pve, 'create', vmid=211, params={**OPTIONS, 'ostemplate': 'local:vztmpl/none.tar'})
    assert wrong.kind == 'NO_VOLUME'
    wrong = failure(pve, 'create', vmid=211, params={**OPTIONS, 'memory': 1, 'bogus': 1})
    assert wrong.kind == 'BAD_PARAMETER' and 'memory: ' in wrong.message and 'bogus: ' in wrong.message


def test_snapshots_and_volumes(pve, tmp_path):
    pve('create', vmid=212, params={**OPTIONS, 'rootfs': 'btr:0'})
    pve('action', action='SNAPSHOT', vmid=212, params={'snapname': 's1'})
    assert failure(pve, 'action', action='SNAPSHOT', vmid=212, params={'snapname': 's1'}).kind == 'EXISTS'
    pve('action', action='SNAPSHOT_ROLLBACK', vmid=212, item='s1')
    pve('action', action='SNAPSHOT_DELETE', vmid=212, item='s1')
    pve('backup', vmid=212, params={'storage': 'local', 'mode': 'stop', 'compress': 'zstd'})
    backup = pve('volumes', content='backup')['volumes']['data'][0]['volid']
    pve('create', vmid=213, params={'ostemplate': backup, 'restore': 1, 'rootfs': 'local:0'})
    for vmid in (212, 213):
        pve('action', action='DELETE', vmid=vmid)
    pve('remove-volume', volume=backup)
    file = tmp_path / 'template.tar'
    file.write_bytes(os.urandom(3 << 20))
    pve('upload', file=str(file), filename='pod.tar')
    assert [v['size'] for v in pve('volumes', content='vztmpl')['volumes']['data']
            if v['volid'] == 'local:vztmpl/pod.tar'] == [3 << 20]
    pve('remove-volume', volume='local:vztmpl/pod.tar')
    assert all(v['volid'] != 'local:vztmpl/pod.tar' for v in pve('volumes', content='vztmpl')['volumes']['data'])


@pytest.mark.parametrize('vmid, fault', [(230, 'reset'), (231, 'reset-after'), (232, 'status'), (233, 'status-after')])
def test_lost_answers(pve, client, control, vmid, fault):
    """Whether a request had arrived or not, in the end it was done, and once."""
    control.do('fault', fault=fault, method='POST', path='/lxc$', count=1)
    pve('create', vmid=vmid, params=OPTIONS)
    assert count_tasks(client, 'vzcreate', vmid) == 1
    control.do('fault', fault=fault, method='POST', path=f'/lxc/{vmid}/status/start$', count=1)
    pve('action', action='START', vmid=vmid)
    assert pve('status', vmid=vmid)['status']['running']
    control.do('fault', fault=fault, method='DELETE', path=f'/lxc/{vmid}$', count=1)
    pve('action', action='DELETE', vmid=vmid, params={'force': 1})
    assert failure(pve, 'status', vmid=vmid).kind == 'MISSING'


def test_locks(pve, control):
    pve('create', vmid=221, params=OPTIONS)
    control.do('fault', fault='lock', path='/lxc/221/', count=2)
    pve('set', vmid=221, params={'cores': 1})
    control.do('lock', vmid=221, lock='backup')
    wrong = failure(pve, 'action', action='START', vmid=221, ms=3000)
    assert (wrong.kind, wrong.code) == ('LOCKED', 'DEADLINE_EXCEEDED') and 'CT is locked (backup)' in wrong.message
    threading.Timer(1, lambda: control.do('unlock', vmid=221)).start()
    pve('action', action='START', vmid=221)
    control.do('fault', fault='kill', path='/lxc/221/status/stop', count=1)
    assert failure(pve, 'action', action='STOP', vmid=221).kind == 'TASK_KILLED'
    pve('action', action='DELETE', vmid=221, params={'force': 1})


def test_fail_over(make_driver, control):
    """The first host hangs, resets, is away; the other is asked, and the first not again at once."""
    for fault in ('reset', 'status'):
        pve = make_driver(nodes=('pve2', 'pve1'))
        control.do('fault', fault=fault, node='pve2', method='GET')
        for _ in range(3):
            pve('version')
        control.do('clear-faults')
    control.do('stop-node', node='pve2')
    pve = make_driver(nodes=('pve2', 'pve1'))
    pve('create', vmid=222, params=OPTIONS)
    assert failure(pve, 'status', vmid=222, node='pve2').kind == 'NODE_UNREACHABLE'
    control.do('start-node', node='pve2')
    pve('action', action='DELETE', vmid=222)


def test_tickets_and_wrong_secrets(make_driver, control):
    control.do('user', user='root@pam', password='a;b&c=d+e f%')
    assert make_driver('password', 'root@pam', 'a;b&c=d+e f%')('version')
    pve = make_driver('password', 'root@pam', 'a;b&c=d+e f%')
    pve('create', vmid=223, params=OPTIONS)
    pve('action', action='DELETE', vmid=223)
    for driver in make_driver('password', 'root@pam', 'wrong;one'), make_driver(secret='00000000-0000-0000-0000-0'):
        wrong = failure(driver, 'version')
        assert wrong.kind == 'AUTH' and 'wrong;one' not in wrong.message and '00000000' not in wrong.message


def dumped(pid):
    """The memory of a process that a core dump would have."""
    with open(f'/proc/{pid}/smaps', encoding='utf-8') as maps, open(f'/proc/{pid}/mem', 'rb', 0) as memory:
        for line in maps:
            if found := re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+)', line):
                start, end, access = int(found[1], 16), int(found[2], 16), found[3]
            elif line.startswith('VmFlags:') and access.startswith('rw') and ' dd' not in line:
                memory.seek(start)
                yield memory.read(end - start)


def test_secrets_are_in_no_core_dump(make_driver, server, control):
    """Neither while nothing is under way nor in what was freed."""
    password = 'Pass;' + uuid.uuid4().hex
    control.do('user', user='root@pam', password=password)
    for driver, secrets in ((make_driver(), [server.secret]),
                            (make_driver('password', 'root@pam', password), [password, 'PVE:root@pam:'])):
        driver('create', vmid=226, params=OPTIONS)
        driver('action', action='DELETE', vmid=226)
        memory = b''.join(dumped(driver.process.pid))
        assert b'root@pam' in memory
        for secret in secrets:
            assert secret.encode() not in memory, memory[memory.index(secret.encode()) - 100:][:200]


def test_permissions(make_driver, client):
    """What is said to be missing is granted by the commands that are named."""
    assert client.post('/access/users', userid='cri@pve').status == 200
    secret = client.post('/access/users/cri@pve/token/t1', privsep=1).data['value']
    pve = make_driver(name='cri@pve!t1', secret=secret)
    wrong = failure(pve, 'create', vmid=224, params=OPTIONS)
    assert wrong.kind == 'PERMISSION' and 'pveum acl modify' in wrong.message
    commands = pve('permissions')['commands']
    assert len(commands) >= 15
    for command in sorted(set(commands)):
        roles, grant = command.split(' && ')
        add, change = (pveum(part, client) for part in roles.split(' || '))
        assert add.status == 200 or change.status == 200
        assert pveum(grant, client).status == 200
    assert pve('permissions')['commands'] == []
    pve('create', vmid=224, params={**OPTIONS, 'net0': CARD})
    pve('action', action='START', vmid=224)
    pve('action', action='DELETE', vmid=224, params={'force': 1})


def test_other_releases(pve, control):
    try:
        for version in ('7.4-3', '8.4.1'):
            control.do('release', version=version)
            assert pve('version')['version'] == version[:3]
            # The reason is in the status line alone.
            assert failure(pve, 'status', vmid=225).kind == 'MISSING'
            assert failure(pve, 'create', vmid=225, params={}).kind == 'BAD_PARAMETER'
        for version in ('6.4-15', '10.0.0'):
            control.do('release', version=version)
            wrong = failure(pve, 'version')
            assert wrong.kind == 'UNSUPPORTED' and '7 to 9' in wrong.message
    finally:
        control.do('release', version='9.2.11')


def test_crowd(clean, pve, client, control):
    """Many containers at once, with faults: all are made and removed, and none is left."""
    del clean
    control.do('seed', seed=5)
    for fault in ('lock', 'reset', 'reset-after'):
        control.do('fault', fault=fault, path='/lxc|/tasks', probability=0.03)
    answer = pve('crowd', n=30, threads=10, first=300, last=399, ms=100000, params=OPTIONS)
    assert answer['errors'] == []
    control.do('clear-faults')
    assert [ct['vmid'] for ct in client.get('/nodes/pve1/lxc').data if int(ct['vmid']) >= 300] == []
