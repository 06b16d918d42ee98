"""The six kinds of hooks: order, namespace, state, environment, timeout, and what a failure does."""

import json
import os
import time

import pytest

from bundle import NAME, Refused, alive, reap, until
from patience import SLOW

KINDS = ('prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop')
AT_CREATE = KINDS[:3]
IN_CONTAINER = ('createContainer', 'startContainer')  # their namespaces


class Notes:
    """A folder that hooks write to; it is mounted at /notes for the one that runs inside."""

    def __init__(self, box):
        self.path = box.folder('notes')
        os.chmod(self.path, 0o777)
        box.mount(self.path, '/notes', 'bind', 'rw')

    def folder(self, kind):
        return '/notes' if kind == 'startContainer' else self.path

    def read(self, name):
        with open(os.path.join(self.path, name), encoding='utf-8') as f:
            return f.read()

    def has(self, name):
        return os.path.exists(os.path.join(self.path, name))


@pytest.mark.not_by('runc', '1.1 does not wait for startContainer')
def test_order(oci):
    box = oci.container().sh('echo process >>/notes/order; exec sleep 1000')
    notes = Notes(box)
    for number in (1, 2):
        for kind in KINDS:
            box.hook(kind, f'echo {kind}{number} >>{notes.folder(kind)}/order')
    box.create()
    expected = [f'{kind}{n}' for kind in AT_CREATE for n in (1, 2)]
    assert notes.read('order').split() == expected
    box.start()
    until(lambda: 'process' in notes.read('order') and 'poststart2' in notes.read('order'))
    got = notes.read('order').split()
    assert got[:8] == expected + ['startContainer1', 'startContainer2']
    assert [word for word in got[8:] if word != 'process'] == ['poststart1', 'poststart2']
    box.stop()
    assert 'poststop' not in notes.read('order')
    box.delete('--force')
    assert notes.read('order').split()[11:] == ['poststop1', 'poststop2']


def test_state_on_standard_input(oci):
    box = oci.container()
    box.config['annotations'] = {'org.example': 'yes'}
    notes = Notes(box)
    for kind in KINDS:
        box.hook(kind, f'cat >{notes.folder(kind)}/{kind}')
    box.up()
    version = box.state()['ociVersion']
    box.stop()
    box.delete('--force')
    statuses = {}
    for kind in KINDS:
        state = json.loads(notes.read(kind))
        assert state['id'] == box.id and state['bundle'] == box.bundle, kind
        assert state['annotations'] == {'org.example': 'yes'}, kind
        assert state['ociVersion'] == version, kind
        statuses[kind] = state['status']
        if kind in AT_CREATE + ('poststart',):
            assert state['pid'] == box.pid or (kind == 'createContainer' and state['pid'] == 1), kind  # as it sees it
    assert statuses['poststart'] == 'running' and statuses['poststop'] == 'stopped'
    if NAME == 'lxcri':
        assert {statuses[kind] for kind in AT_CREATE} == {'creating'} and statuses['startContainer'] == 'created'


@pytest.mark.parametrize('kind', KINDS)
def test_namespaces(oci, kind):
    if kind == 'createContainer' and NAME == 'crun':
        pytest.skip('crun 1.8 does otherwise')
    box = oci.container()
    notes = Notes(box)
    # Without /proc of the namespace it is in, a hook is told apart by its mounts and its network.
    box.hook(kind, f'cat /proc/self/mountinfo >{notes.folder(kind)}/mounts 2>/dev/null; '
                   f'readlink /proc/self/ns/net >{notes.folder(kind)}/net; readlink /proc/self/ns/mnt >{notes.folder(kind)}/mnt')
    box.up()
    inside = {name: os.readlink(f'/proc/{box.pid}/ns/{name}') for name in ('net', 'mnt')}
    host = {name: os.readlink(f'/proc/self/ns/{name}') for name in ('net', 'mnt')}
    box.delete('--force')
    box.wait()
    expected = inside if kind in IN_CONTAINER else host
    assert notes.read('net').strip() == expected['net']
    if notes.read('mnt').strip():
        assert notes.read('mnt').strip() == expected['mnt']


def test_start_container_sees_the_containers_files(oci):
    box = oci.container().sh('cat /made')
    box.file('/etc/mark', 'inside\n')
    box.hook('startContainer', 'cat /etc/mark >/made')
    assert box.run() == 'inside\n'


def test_create_container_sees_the_hosts_files(oci):
    """It is found on the host, in the container's mount namespace before the root is changed."""
    box = oci.container()
    notes = Notes(box)
    box.hook('createContainer', f'cat {notes.path}/../rootfs/etc/mark >{notes.path}/got')
    box.file('/etc/mark', 'inside\n')
    box.create()
    assert notes.read('got') == 'inside\n'


def test_environment_and_arguments(oci):
    box = oci.container()
    notes = Notes(box)
    box.config['hooks'] = {'createRuntime': [
        {'path': '/bin/sh', 'args': ['zero', '-c', f'env >{notes.path}/env; echo "$0 $1" >{notes.path}/args', 'a', 'b c'],
         'env': ['ONE=1', 'TWO=two words']}]}
    box.create(env={**os.environ, 'FROM_THE_CALLER': '1'})
    env = dict(line.split('=', 1) for line in notes.read('env').splitlines())
    assert env['ONE'] == '1' and env['TWO'] == 'two words'
    assert 'FROM_THE_CALLER' not in env
    assert notes.read('args') == 'a b c\n'


@pytest.mark.parametrize('kind', KINDS[:4])
def test_a_failure_ends_it(oci, kind):
    """The container is stopped and gone, as if never made, and poststop hooks run."""
    if kind == 'startContainer' and NAME == 'runc':
        pytest.skip('runc 1.1 does not wait for it')
    box = oci.container().sh('echo ran >/notes/process; exec sleep 1000')
    notes = Notes(box)
    box.hook(kind, 'echo what went wrong >&2; exit 3')
    box.hook(kind, f'echo >{notes.folder(kind)}/second')
    box.hook('poststop', f'echo >{notes.path}/poststop')
    with pytest.raises(Refused) as caught:
        box.create()
        box.start()
    assert 'hook' in caught.value.text.lower() or kind in AT_CREATE + ('startContainer',)
    time.sleep(0.05)
    assert not notes.has('process') and not notes.has('second')
    if box.pid:
        reap(box.pid)
        until(lambda: not oci.knows(box.id) or box.status() == 'stopped')
    if NAME == 'lxcri':
        assert kind in caught.value.text and '3' in caught.value.text
    oci.result('delete', '--force', box.id)
    assert NAME != 'lxcri' or notes.has('poststop')
    oci.expect_nothing()


@pytest.mark.ours
def test_a_failure_of_poststart_ends_it(oci):
    box = oci.container()
    notes = Notes(box)
    box.hook('poststart', 'exit 3')
    box.hook('poststop', f'echo >{notes.path}/poststop')
    with pytest.raises(Refused) as caught:
        box.up()
    assert 'poststart' in caught.value.text
    until(lambda: not alive(box.pid))
    oci.result('delete', '--force', box.id)
    assert notes.has('poststop')
    oci.expect_nothing()


def test_a_failure_of_poststop_is_a_warning(oci):
    box = oci.container()
    notes = Notes(box)
    box.hook('poststop', 'exit 3')
    box.hook('poststop', f'echo >{notes.path}/second')
    box.up()
    box.stop()
    until(lambda: box.status() == 'stopped')
    box.delete()
    assert not oci.knows(box.id)
    if NAME == 'lxcri':
        assert notes.has('second')
        assert any('poststop' in line['msg'] or 'hook' in line['msg'] for line in oci.log_lines())


@pytest.mark.parametrize('kind', ['createRuntime', 'createContainer'])
def test_timeout(oci, kind):
    """A hook that takes longer is killed, with all it has started, and has failed."""
    if NAME == 'runc' and kind == 'createContainer':
        pytest.skip('runc 1.1 does not wait for it with a timeout')
    box = oci.container().hook(kind, 'exec sleep 900', timeout=1)
    before = time.monotonic()
    with pytest.raises(Refused):
        box.create()
    assert time.monotonic() - before < 60 * SLOW
    oci.result('delete', '--force', box.id)
    oci.expect_nothing()


def test_a_hook_within_its_time(oci):
    box = oci.container('true').hook('createRuntime', 'sleep 0.2', timeout=30)
    box.run()


@pytest.mark.parametrize('hook,word', [({'path': 'relative'}, 'path'), ({'path': '/bin/true', 'timeout': 0}, 'timeout'),
                                       ({'path': '/bin/true', 'timeout': -1}, 'timeout')])
@pytest.mark.ours
def test_malformed(oci, hook, word):
    box = oci.container()
    box.config['hooks'] = {'createRuntime': [hook]}
    box.refused('hooks', word)


def test_a_missing_program(oci):
    box = oci.container()
    box.config['hooks'] = {'createRuntime': [{'path': '/no/such/hook'}]}
    box.refused('no such file')


def test_big_state_does_not_hang(oci):
    """A hook that does not read, and a state that is more than a pipe takes."""
    box = oci.container('true')
    box.config['annotations'] = {f'key{n}': 'x' * 1000 for n in range(300)}
    box.hook('createRuntime', 'exec true')
    box.hook('createContainer', 'exec true')
    box.hook('startContainer', 'exec true')
    box.run()


def test_a_hook_may_configure_the_network(oci):
    """What CNI hooks do: by the pid in the state, before the program runs."""
    box = oci.container().sh('ip link')
    box.hook('createRuntime', 'pid=$(sed -n \'s/.*"pid": *\\([0-9]*\\).*/\\1/p\'); '
                              'nsenter -t "$pid" -n ip link add hook0 type bridge')
    assert 'hook0' in box.run()
