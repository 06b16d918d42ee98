"""The OCI runtime's operations on plain bundles: create, start, state, kill, delete, list, run."""

import concurrent.futures
import json
import os
import re
import signal
import stat
import subprocess

import pytest

from bundle import NAME, Refused, alive, cgroups, children, reap, until
from patience import SLOW
from runtime import has_systemd


def refused(call, *words, status=None):
    """The command fails, with one of the words in what it says."""
    try:
        call()
    except Refused as error:
        assert not words or any(word in error.text for word in words), error.text
        assert error.text.strip(), 'an error without a message'
        if status is not None:
            assert error.status == status
        return error
    raise AssertionError('it went well')


def test_whole_life(oci):
    box = oci.container().sh('echo started; exec sleep 1000')
    pid = box.create()
    state = box.state()
    assert state['status'] == 'created' and state['pid'] == pid
    assert box.output_text() == '', 'the program ran before start'
    box.start()
    box.expect('started')
    assert box.status() == 'running'
    until(lambda: box.proc('cmdline') == 'sleep\x001000\x00')
    box.kill('KILL')
    assert box.wait() == -9
    until(lambda: box.status() == 'stopped')
    box.delete()
    assert not oci.knows(box.id)
    oci.expect_nothing()


@pytest.mark.not_by('crun', 'rootfs is as in the bundle, relative')
def test_state_has_the_fields_of_the_specification(oci):
    box = oci.container()
    box.config['annotations'] = {'org.example.one': 'a "quoted" text', 'two': '\u00fc'}
    pid = box.create()
    state = box.state()
    assert state['id'] == box.id
    assert state['bundle'] == box.bundle
    assert state['annotations'] == box.config['annotations']
    assert state['pid'] == pid
    assert re.fullmatch(r'1\.\d+\.\d+(-.*)?', state['ociVersion'])
    assert os.path.realpath(state.get('rootfs', box.rootfs)) == box.rootfs
    box.start()
    assert box.state()['pid'] == pid
    box.stop()
    state = until(lambda: box.state() if box.status() == 'stopped' else None)
    assert state.get('pid', 0) == 0, 'the pid of a process that is gone'
    assert state['annotations'] == box.config['annotations']


def test_pid_file_and_output_of_create(oci):
    box = oci.container()
    box.write()
    done = subprocess.run(oci.command('create', '-b', box.bundle, '--pid-file', box.pid_file, box.id), check=True,
                          stdin=subprocess.DEVNULL, stdout=open(box.out_path, 'w', encoding='utf-8'),
                          stderr=subprocess.STDOUT, timeout=60 * SLOW)
    oci.note(box)
    assert done.returncode == 0 and box.output_text() == ''
    with open(box.pid_file, encoding='ascii') as f:
        text = f.read()
    assert re.fullmatch(r'[1-9]\d*', text), repr(text)
    box.pid = int(text)
    assert box.state()['pid'] == box.pid
    assert os.path.exists(f'/proc/{box.pid}')


def test_init_is_left_to_the_subreaper(oci):
    box = oci.container().sh('exit 42')
    box.create()
    assert box.pid in children()
    box.start()
    assert box.wait() == 42


def test_nothing_of_the_runtime_holds_the_output(oci):
    """A pipe given to create ends with the container: engines wait for that."""
    read, write = os.pipe()
    box = oci.container().sh('echo said; exit 0')
    box.create(stdout=write, stderr=write)
    os.close(write)
    box.start()
    box.wait()
    with os.fdopen(read, 'rb') as f:
        data = b''
        os.set_blocking(read, False)

        def ended():
            nonlocal data
            try:
                more = os.read(read, 100)
            except BlockingIOError:
                return False
            data += more
            return not more
        until(ended, 5, 'somebody keeps the pipe')
        del f
    assert data == b'said\n'


def test_the_bundle_is_the_current_folder_by_default(oci):
    box = oci.container().sh('echo here')
    box.write()
    oci.note(box)
    assert oci.call('run', box.id, cwd=box.bundle) == 'here\n'


def test_later_changes_of_the_configuration_have_no_effect(oci):
    box = oci.container().sh('echo one')
    box.create()
    box.sh('echo two')
    box.write()
    box.start()
    assert box.wait() == 0
    assert box.output_text() == 'one\n'


def test_wrong_order_has_no_effect(oci):
    box = oci.container('probe', 'signals')
    box.create()
    before = box.state()
    refused(box.create)
    assert box.state() == before
    box.start()
    box.expect('ready')
    refused(box.start)
    refused(box.delete, 'running', 'not stopped', 'not in `created` or `stopped`')
    assert box.state()['status'] == 'running' and alive(box.pid)
    refused(lambda: box.create(write=False))
    assert alive(box.pid)
    box.kill('TERM')
    assert box.wait() == 7
    until(lambda: box.status() == 'stopped')
    refused(box.start)
    refused(lambda: box.kill('TERM'))
    refused(lambda: box.kill('KILL'))
    assert box.status() == 'stopped'
    box.delete()
    for call in (box.start, box.state, box.delete, lambda: box.kill('KILL')):
        refused(call, 'not exist', 'not found', 'no such')
    oci.expect_nothing()


def test_kill_before_start_ends_it(oci):
    box = oci.container()
    box.create()
    box.kill('KILL')
    assert box.wait() == -9
    until(lambda: box.status() == 'stopped')
    box.delete()


def test_delete_of_a_created_container_ends_it(oci):
    """As runc and crun do, beyond the specification: engines clean up with it."""
    box = oci.container()
    box.create()
    box.delete()
    assert reap(box.pid) < 0
    oci.expect_nothing()


def test_delete_force(oci):
    box = oci.container().sh('sleep 1000 & sleep 1000 & exec sleep 1000')
    box.up()
    box.delete('--force')
    assert not oci.knows(box.id)
    assert box.wait() == -9
    oci.expect_nothing()


def test_delete_force_of_an_unknown_one_is_no_error(oci):
    oci.call('delete', '--force', 'never-was')


@pytest.mark.parametrize('name', ['TERM', 'SIGTERM', '15', 'term'])
@pytest.mark.not_by('crun', 'knows no names in small letters')
def test_names_of_signals(oci, name):
    box = oci.container('probe', 'signals')
    box.up()
    box.expect('ready')
    box.kill(name)
    assert box.wait() == 7


@pytest.mark.not_by('crun', 'sends what it does not understand')
def test_signals_reach_the_program(oci):
    box = oci.container('probe', 'signals')
    box.up()
    box.expect('ready')
    for name in ('HUP', 'INT', 'QUIT', 'USR1', 'USR2', 'WINCH', 'CONT'):
        box.kill(name)
        box.expect(f'got {getattr(signal, "SIG" + name):02d}')
    error = refused(lambda: box.kill('NOSUCH'))
    assert 'signal' in error.text
    refused(lambda: box.kill('0x'))
    box.kill('TERM')
    assert box.wait() == 7


def test_kill_without_a_signal_is_sigterm(oci):
    box = oci.container('probe', 'signals')
    box.up()
    box.expect('ready')
    oci.call('kill', box.id)
    box.expect('got 15')
    assert box.wait() == 7


def test_kill_all(oci):
    """Without a PID namespace the program's end leaves others, and --all reaches them."""
    box = oci.container().sh('sleep 1000 & sleep 1000 & echo ready; exec sleep 1000')
    box.without_namespace('pid')
    box.up()
    box.expect('ready')
    with open(box.cgroup_file('pids', 'cgroup.procs'), encoding='ascii') as f:
        pids = [int(line) for line in f]
    assert len(pids) == 3 and box.pid in pids
    box.kill('KILL', '--all')
    assert box.wait() == -9
    until(lambda: not any(alive(pid) for pid in pids))
    box.delete()
    oci.expect_nothing()


def test_delete_without_a_pid_namespace_ends_all(oci):
    box = oci.container().sh('sleep 1000 & echo ready; exec sleep 1000')
    box.without_namespace('pid')
    box.up()
    box.expect('ready')
    box.delete('--force')
    box.wait()
    oci.expect_nothing()


@pytest.mark.parametrize('id_', ['a', 'A-Z_0.9+', '0', 'x' * 128])
def test_good_ids(oci, id_):
    box = oci.container(id_=id_)
    if has_systemd():  # whose units have no "+" in their names; the bundle says the name
        box.place('good-id')
    assert box.sh('echo yes').run() == 'yes\n'


@pytest.mark.parametrize('id_', ['', 'a/b', '../x', '.', '..', 'a b', 'ä', 'a:b', '-a\n', 'a%'])
@pytest.mark.not_by('crun', 'takes nearly all')
def test_bad_ids(oci, id_):
    box = oci.container(id_=id_)
    box.write()
    done = oci.result('create', '--bundle', box.bundle, '--', id_)
    assert done.returncode and 'id' in done.stderr.lower()
    assert not os.listdir(oci.root) if os.path.exists(oci.root) else True


def test_an_id_in_use(oci):
    one = oci.container()
    one.up()
    two = oci.container(id_=one.id)
    two.linux['cgroupsPath'] += 'x'
    refused(two.create, 'exist', 'already')
    assert one.status() == 'running' and alive(one.pid)
    one.stop()
    one.delete('--force')
    two.up()
    assert two.status() == 'running'


BREAKERS = {
    'no config': lambda box: box.config.clear(),
    'no rootfs': lambda box: box.config['root'].update(path='missing'),
    'no source': lambda box: box.mount('/no/such/source', '/mnt', 'bind'),
    'bad type': lambda box: box.mount('x', '/mnt', kind='nosuchfs'),
    'namespace': lambda box: box.namespace('ipc', '/no/such/namespace'),
    'of another type': lambda box: box.namespace('ipc', '/proc/1/ns/net'),
    'sysctl': lambda box: box.linux.update(sysctl={'kernel.no_such': '1'}),
    'hook': lambda box: box.hook('createRuntime', 'exit 3'),
    'container hook': lambda box: box.hook('createContainer', 'exit 3'),
    'limit': lambda box: box.linux['resources'].update(pids={'limit': 10}, cpu={'cpus': '4000'}),
}


@pytest.mark.parametrize('what', BREAKERS)
def test_a_failing_create_leaves_nothing(oci, what):
    if what == 'limit' and NAME == 'crun':
        pytest.skip('crun leaves its cgroups')
    box = oci.container()
    BREAKERS[what](box)
    box.refused()
    oci.expect_nothing()
    assert not os.path.exists(box.pid_file), 'a pid file of a container that is none'
    # The id is free again.
    again = oci.container(id_=box.id)
    assert again.sh('echo well').run() == 'well\n'


@pytest.mark.parametrize('argv,words', [(['no-such-program'], ['not found', 'No such file', 'no such file']),
                                        (['/etc/passwd'], ['ermission denied']),
                                        (['/bin/no/such'], ['no such file', 'No such file', 'ot a directory'])])
def test_a_program_that_can_not_run(oci, argv, words):
    """The words are what Podman and Docker make 127 and 126 of."""
    box = oci.container(*argv)
    error = refused(lambda: box.run('--detach'), *words)
    assert error.status in (1, 126, 127)
    if oci.knows(box.id):
        box.delete('--force')
    oci.expect_nothing()


def test_bad_command_lines(oci):
    for line in (['create'], ['state'], ['start'], ['kill'], ['delete'], ['no-such-verb'], ['state', '--no-such-flag', 'x'],
                 ['create', '--bundle', '/no/such/bundle', 'x']):
        done = oci.result(*line)
        assert done.returncode != 0, line
        assert done.stderr or done.stdout


def test_errors_are_in_the_log_as_json(oci):
    oci.result('state', 'never-was')
    line = oci.log_lines()[-1]
    assert line['level'] == 'error'
    assert 'not exist' in line['msg'] or 'not found' in line['msg'] or 'No such file' in line['msg'] or 'never-was' in line['msg']
    assert re.match(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d', line['time'])


def test_the_log_as_text(oci):
    path = os.path.join(oci.folder, 'text.log')
    done = subprocess.run(
        [oci.command()[0], '--root', oci.root, '--log', path, 'state', 'never-was'], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    with open(path, encoding='utf-8') as f:
        text = f.read()
    assert 'never-was' in text or 'not exist' in text or 'No such file' in text
    with pytest.raises(ValueError):
        json.loads(text.splitlines()[0])


def test_list(oci):
    assert oci.call('list', '-q') == ''
    boxes = [oci.container() for _ in range(3)]
    boxes[0].create()
    boxes[1].up()
    boxes[2].up()
    boxes[2].stop()
    until(lambda: boxes[2].status() == 'stopped')
    assert oci.call('list', '-q').split() == sorted(box.id for box in boxes)
    found = {entry['id']: entry for entry in oci.list()}
    assert [found[box.id]['status'] for box in boxes] == ['created', 'running', 'stopped']
    for box in boxes:
        entry = found[box.id]
        assert entry['bundle'] == box.bundle
        assert entry['pid'] == (box.pid if box is not boxes[2] else 0)
        assert re.match(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d', entry['created'])
        assert entry['owner'] == 'root'
    table = oci.call('list').splitlines()
    assert table[0].split()[:4] == ['ID', 'PID', 'STATUS', 'BUNDLE'] or 'ID' in table[0]
    assert len(table) == 4 and boxes[0].id in table[1] and 'created' in table[1]


def test_list_where_nothing_was_ever_made(oci):
    assert oci.list() == []


def test_run_gives_the_exit_code(oci):
    for script, code in (('exit 0', 0), ('exit 3', 3), ('exit 255', 255), ('kill -KILL $$; sleep 9', 137)):
        box = oci.container().sh(script)
        if 'KILL' in script:  # a namespace's first process can't kill itself
            box.without_namespace('pid')
        done = box.run(check=False)
        assert done.returncode == code, done
        assert not oci.knows(box.id)
    oci.expect_nothing()


def test_run_passes_input_and_output(oci):
    done = oci.container().sh('cat; echo error >&2; exit 5').run(check=False, stdin=None, input='given')
    assert (done.returncode, done.stdout, done.stderr) == (5, 'given', 'error\n')


def test_run_detached(oci):
    box = oci.container().sh('echo up; exec sleep 1000')
    box.write()
    oci.note(box)
    with open(box.out_path, 'wb') as out:
        subprocess.run(oci.command('run', '--detach', '--bundle', box.bundle, '--pid-file', box.pid_file, box.id),
                       check=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60 * SLOW)
    assert box.status() == 'running'
    with open(box.pid_file, encoding='ascii') as f:
        box.pid = int(f.read())
    box.expect('up')
    assert box.pid in children()
    assert box.stop() == -9


@pytest.mark.not_by('crun', '1.8 has no --keep that works so')
def test_run_keeps_the_container(oci):
    box = oci.container().sh('exit 4')
    done = box.run('--keep', check=False)
    assert done.returncode == 4
    assert box.status() == 'stopped'
    box.delete()


def test_run_forwards_signals(oci):
    box = oci.container('probe', 'signals')
    box.write()
    oci.note(box)
    with open(box.out_path, 'wb') as out, \
         subprocess.Popen(oci.command('run', '--bundle', box.bundle, box.id), stdin=subprocess.DEVNULL, stdout=out,
                          stderr=out) as process:
        box.expect('ready')
        for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(sig)
            box.expect(f'got {sig:02d}')
        process.send_signal(signal.SIGTERM)
        assert process.wait(60 * SLOW) == 7
    assert not oci.knows(box.id)


def test_concurrent_creates_of_one_id(oci):
    boxes = [oci.container(id_='contested', name=f'same{n}') for n in range(8)]

    def create(box):
        try:
            box.create()
            return box
        except Refused as error:
            assert 'exist' in error.text or 'already' in error.text or 'in use' in error.text, error.text
            return None
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = [box for box in pool.map(create, boxes) if box]
    assert len(made) == 1
    assert made[0].state()['bundle'] == made[0].bundle
    made[0].start()
    assert made[0].status() == 'running'
    made[0].stop()


def test_fifty_at_once(oci):
    boxes = [oci.container().sh(f'echo {n}; exec sleep 1000') for n in range(50)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda box: box.up(), boxes))
        for n, box in enumerate(boxes):
            box.expect(f'{n}\n')
        assert len(oci.list()) == 50
        assert {entry['status'] for entry in oci.list()} == {'running'}
        list(pool.map(lambda box: box.delete('--force'), boxes))
    for box in boxes:
        box.wait()
    assert oci.list() == []
    oci.expect_nothing(10)


def test_delete_while_another_deletes(oci):
    """Each ends well or says that there is no such container; nothing stays."""
    box = oci.container()
    box.up()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: oci.result('delete', '--force', box.id), range(6)))
    assert any(done.returncode == 0 for done in results), results
    box.wait()
    assert oci.call('list', '-q') == ''
    oci.expect_nothing()


@pytest.mark.skipif(has_systemd(), reason='systemd knows each process of its units')
def test_a_cgroup_of_somebody_else_is_not_removed(oci):
    """Joining a group that was there before gives no right to it: the other's process lives on."""
    box = oci.container()
    box.place(box.id + '-other')
    path = os.path.dirname(box.cgroup_file('pids', 'x'))
    with subprocess.Popen(['sleep', '1000']) as other:
        try:
            os.makedirs(path, exist_ok=True)
            with open(os.path.join(path, 'cgroup.procs'), 'w', encoding='ascii') as f:
                f.write(str(other.pid))
            try:
                box.up()
            except Refused:
                pass  # what newer runtimes say to a group that has processes
            else:
                box.delete('--force')
                box.wait()
            assert other.poll() is None, 'killed'
            assert os.path.isdir(path)
        finally:
            other.kill()
    os.rmdir(path)
    for other in cgroups():
        os.rmdir(other)


def test_state_is_private(oci):
    box = oci.container()
    box.create()
    assert stat.S_IMODE(os.stat(os.path.join(oci.root, box.id)).st_mode) & 0o022 == 0
