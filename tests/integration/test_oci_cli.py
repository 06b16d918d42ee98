"""The OCI runtime's command line: verbs, options, exit statuses, logs and outputs, where it matters beside runc's."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

import bundle
from bundle import ID, Refused, until
from helpers import bash_completes
from patience import SLOW
from runtime import has_systemd

pytestmark = pytest.mark.skipif(bundle.NAME != 'lxcri', reason='this runtime\'s own')

OCI_VERBS = ['create', 'start', 'run', 'exec', 'kill', 'stop', 'delete', 'state', 'list', 'ps', 'mounts', 'pause', 'resume',
             'update', 'events', 'checkpoint', 'restore', 'spec', 'features']
RFC3339 = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ'


def call(*args, of=None, **popen):
    """A command that needs no container: the whole result."""
    return subprocess.run([of or bundle.program(), *args], **{
        'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, 'timeout': 60 * SLOW,
        'check': False, **popen})


def long_options(text):
    return set(re.findall(r'(?:^|\s)--([a-z0-9][a-z0-9-]*)', text, re.M))


@pytest.fixture
def root(tmp_path):
    return ('--root', str(tmp_path / 'root'))


@pytest.fixture
def box(oci):
    """A running container."""
    made = oci.container('sleep', '1000')
    made.up()
    return made


# What it is and has.


def test_version_as_engines_read_it():
    for flag in ('--version', '-v'):
        lines = call(flag).stdout.splitlines()
        assert re.fullmatch(r'proxmox-lxcri version \d+\.\d+\.\d+\S*', lines[0])
        assert re.fullmatch(r'spec: 1\.\d+\.\d+', lines[1])
        assert any(re.fullmatch(r'libseccomp: \d\S+', line) for line in lines)
        assert any(re.fullmatch(r'liblxc: \d\S+', line) for line in lines)


def test_help_has_every_verb_of_both_programs():
    done = call('--help')
    listed = re.findall(r'^  ([a-z]+)(?: [a-z-]+)? {2,}', done.stdout, re.M)
    assert done.returncode == 0 and set(OCI_VERBS) <= set(listed)
    assert {'pod', 'image', 'info', 'doctor', 'lxc', 'completion'} <= set(re.findall(r'^  ([a-z]+)', done.stdout, re.M))
    assert 'proxmox-lxcri-admin' not in done.stdout
    assert call().returncode != 0 or call().stdout == done.stdout


@pytest.mark.parametrize('verb', OCI_VERBS)
def test_help_of_a_verb(verb, root):
    done = call(verb, '--help')
    assert done.returncode == 0 and done.stderr == ''
    assert f'usage: proxmox-lxcri {verb}' in done.stdout
    assert {'root', 'log', 'log-format', 'systemd-cgroup', 'cgroup-manager', 'debug', 'rootless'} <= long_options(done.stdout)
    assert call(*root, verb, 'one', '-h').stdout == done.stdout or verb in ('exec', 'ps')


@pytest.mark.parametrize('name', ['runc', 'crun'])
def test_takes_every_option_of(name):
    """Whatever an engine passes to them can be passed to us."""
    if not shutil.which(name):
        pytest.skip(f'no {name}')
    theirs = {'usage'}  # of GNU's argp, for people
    ours = long_options(call('create', '--help').stdout)
    assert long_options(call('--help', of=name).stdout) - theirs <= ours
    for verb in OCI_VERBS:
        done = call(verb, '--help', of=name)
        if done.returncode or verb not in done.stdout.split('OPTIONS')[0] or 'NAME:\n   runc - ' in done.stdout:
            continue  # it has no such verb
        options = done.stdout.split('OPTIONS:')[-1] if name == 'runc' else done.stdout
        missing = long_options(options) - long_options(call(verb, '--help').stdout) - theirs
        assert not missing, (verb, missing)


def test_no_library_but_the_c_library():
    lines = call('-c', f'ldd {bundle.program()}', of='/bin/sh').stdout.splitlines()
    names = {line.split()[0].split('/')[-1] for line in lines}
    assert names <= {'linux-vdso.so.1', 'libc.so.6', 'ld-linux-x86-64.so.2'}, names


def test_other_verbs_are_the_other_programs(tmp_path):
    """It is looked for beside; without it the error says what is missing."""
    alone = tmp_path / 'proxmox-lxcri'
    shutil.copy(bundle.program(), alone)
    done = call('pod', 'ls', of=str(alone))
    if not os.path.exists('/usr/local/libexec/proxmox-lxcri/proxmox-lxcri-admin'):
        assert done.returncode == 1 and 'proxmox-lxcri-admin' in done.stderr
    (tmp_path / 'proxmox-lxcri-admin').write_text('#!/bin/sh\necho "$@"; exit 9\n')
    (tmp_path / 'proxmox-lxcri-admin').chmod(0o755)
    done = call('pod', 'ls', '-o', 'json', '--', '--x', of=str(alone))
    assert done.stdout == 'pod ls -o json -- --x\n' and done.returncode == 9
    assert call('--socket', '/x', 'pod', 'ls', of=str(alone)).stdout == '--socket /x pod ls\n'
    assert call('list', '--root', str(tmp_path / 'none'), of=str(alone)).stdout.startswith('ID')


# Wrong use.


@pytest.mark.parametrize('words, says', [
    (['create'], r'"create\\?" requires exactly 1 argument'),
    (['create', 'a', 'b'], r'requires exactly 1 argument'),
    (['state'], r'requires exactly 1 argument'),
    (['kill'], r'requires a minimum of 1 argument'),
    (['kill', 'a', 'TERM', 'c'], r'requires a maximum of 2 argument'),
    (['delete'], r'requires a minimum of 1 argument'),
    (['exec'], r'requires a minimum of 1 argument'),
    (['list', 'a'], r'requires exactly 0 argument'),
    (['spec', 'a'], r'requires exactly 0 argument'),
    (['features', 'a'], r'requires exactly 0 argument'),
    (['create', '--nope', 'a'], r'--nope'),
    (['create', '--bundle'], r'--bundle needs a value'),
    (['create', '--no-pivot=x', 'a'], r'--no-pivot takes no value'),
    (['run', '-Z', 'a'], r'-Z'),
    (['list', '--format', 'xml'], r'invalid format'),
    (['ps', '--format', 'xml', 'a'], r'invalid format'),
    (['mounts', '-f', 'xml', 'a'], r'invalid format'),
    (['--log-format', 'xml', 'list'], r'invalid log-format: xml'),
    (['--log-level', 'loud', 'list'], r'invalid log-level: loud'),
    (['--log', '/nonexistent/log', 'list'], r'/nonexistent/log'),
    (['--rootless', 'maybe', 'list'], r'invalid rootless'),
    (['--cgroup-manager', 'mine', 'list'], r'invalid cgroup-manager'),
    (['create', '--preserve-fds', '-1', 'a'], r'preserve-fds'),
    (['create', '--preserve-fds', 'x', 'a'], r'preserve-fds'),
    (['kill', 'a', 'NOPE'], r'unknown signal|does not exist'),
    (['stop', '--timeout', '-1', 'a'], r'invalid timeout'),
    (['stop', '--signal', 'NOPE', 'a'], r'unknown signal'),
    (['events', '--interval', '5', 'a'], r'invalid interval'),
    (['events', '--interval', '0s', 'a'], r'invalid interval'),
    (['update', '--memory', '64x', 'a'], r'invalid value for memory'),
    (['update', '--cpu-quota', '1.5', 'a'], r'invalid value for cpu-quota'),
    (['update', '--l3-cache-schema', 'L3:0=f\nMB:0=1', 'a'], r'l3-cache-schema'),
    (['update', '--mem-bw-schema', 'L3:0=f', 'a'], r'mem-bw-schema'),
    (['update', '--resources', '/nonexistent', 'a'], r'/nonexistent'),
    (['kill', '--regex', '('], r'regular expression'),
    (['delete', '--regex', '('], r'regular expression'),
    (['create', '--bundle', '/nonexistent', 'a'], r'/nonexistent'),
    (['create', '../a'], r'invalid id|container id|config.json|not found'),
])
def test_wrong_use(root, words, says):
    done = call(*root, *words)
    assert done.returncode == 1
    assert re.search(says, done.stderr), done.stderr
    assert re.match(rf'time="{RFC3339}" level=error msg=', done.stderr)


def test_wrong_use_without_a_verb():
    for words in (['no-such-verb'], ['--nope', 'list'], ['--socket', '/x', 'create', 'a']):
        done = call(*words)
        assert done.returncode != 0 and done.stderr and done.stdout == '', words


@pytest.mark.parametrize('words', [['state'], ['start'], ['kill'], ['delete'], ['pause'], ['resume'], ['ps'], ['update'],
                                   ['events'], ['mounts'], ['stop'], ['checkpoint']])
def test_no_such_container(root, words):
    done = call(*root, *words, 'nobody')
    assert done.returncode == 1 and 'container does not exist' in done.stderr
    assert done.stdout == ''


def test_exec_fails_with_255_as_runc_does(root):
    done = call(*root, 'exec', 'nobody', 'true')
    assert done.returncode == 255 and 'exec failed' in done.stderr


def test_deleting_nobody_by_force_is_fine(root):
    assert call(*root, 'delete', '--force', 'nobody').returncode == 0
    assert call(*root, 'delete', '-f', 'nobody', 'neither').returncode == 0
    assert call(*root, 'delete', 'nobody').returncode == 1


@pytest.mark.parametrize('words', [(), ('--rootless=true',), ('--rootless=auto',)])
def test_without_root_it_says_so(words, top):
    """Whatever would be refused first: the folder of states, control groups, mounts."""
    program = os.path.join(top, 'for-anybody')
    shutil.copy(bundle.program(), program)
    for verb in ('create', 'run'):
        done = call('--root', os.path.join(top, 'nobodys'), *words, verb, 'a', of=program, user=65534, group=65534, cwd='/')
        assert done.returncode == 1 and "can't be made by user 65534" in done.stderr and 'as root' in done.stderr
    assert not os.path.exists(os.path.join(top, 'nobodys'))


# Logs.


@pytest.mark.parametrize('how', [(), ('--log-format', 'text'), ('--log-format', 'json')])
def test_log_of_an_error_is_runcs(tmp_path, how):
    """The same keys in the same order, the same text, and the bare text on standard error when there is a file."""
    lines, errors = {}, {}
    for name, program in (('ours', bundle.program()), ('runc', 'runc')):
        if not shutil.which(program):
            pytest.skip('no runc')
        path = tmp_path / name
        done = call('--root', str(tmp_path / f'{name}.root'), '--log', str(path), *how, 'state', 'nobody', of=program)
        assert done.returncode == 1
        lines[name], errors[name] = path.read_text(), done.stderr
        assert path.stat().st_mode & 0o777 == 0o644
    shape = {name: re.sub(RFC3339, 'TIME', text) for name, text in lines.items()}
    assert shape['ours'] == shape['runc']
    assert errors['ours'] == errors['runc'] == 'container does not exist\n'


def test_log_without_a_file_is_standard_error(root):
    done = call(*root, 'state', 'nobody')
    assert re.fullmatch(rf'time="{RFC3339}" level=error msg="container does not exist"\n', done.stderr)
    done = call(*root, '--log-format', 'json', 'state', 'nobody')
    assert json.loads(done.stderr)['msg'] == 'container does not exist'


def test_log_is_appended_to(root, tmp_path):
    log = tmp_path / 'log'
    log.write_text('before\n')
    for _ in range(2):
        call(*root, 'state', '--log', str(log), '--log-format=json', 'nobody')
    lines = log.read_text().splitlines()
    assert lines[0] == 'before' and len(lines) == 3
    assert {json.loads(line)['level'] for line in lines[1:]} == {'error'}


def test_log_takes_any_text(root, tmp_path):
    """What is no UTF-8, and quotes and line breaks, can't break a line of JSON."""
    log = tmp_path / 'log'
    done = subprocess.run([bundle.program(), *root, '--log', str(log), '--log-format', 'json', 'create', '--bundle',
                           b'/no\xff"such\n\\folder', 'a'], check=False, stderr=subprocess.PIPE)
    assert done.returncode == 1
    line, = log.read_bytes().decode().splitlines()
    assert '"such' in json.loads(line)['msg']


def test_wrong_use_is_logged_and_explained(root, tmp_path):
    log = tmp_path / 'log'
    done = call(*root, '--log', str(log), '--log-format', 'json', 'create')
    assert done.returncode == 1 and 'Incorrect Usage' in done.stdout and 'usage: proxmox-lxcri create' in done.stdout
    assert 'requires exactly 1 argument' in json.loads(log.read_text())['msg']


# Options in all their forms.


def test_forms_of_options(oci, box):
    """--name value, --name=value, -name, -n value, before the verb and behind it; what ends them."""
    program, state = bundle.program(), f'--root={oci.root}'
    for words in ([state, 'list', '--quiet'], ['list', state, '-q'], ['list', '-q', '--root', oci.root],
                  ['-root', oci.root, 'list', '-quiet'], [state, 'list', '--quiet=true'], [state, 'list', '-quiet=true'],
                  ['--debug', '--systemd-cgroup', '--rootless=false', state, 'list', '-q', '--'],
                  ['--cgroup-manager=cgroupfs', '--rootless', 'auto', '--criu', 'criu', state, 'list', '-q']):
        assert call(*words, of=program).stdout == box.id + '\n', words
    assert call(state, 'list', '--quiet=false').stdout.startswith('ID')


def test_options_behind_the_command_are_the_commands(oci, box):
    try:
        assert box.exec('echo', '-d', '--tty', '--', '-x') == '-d --tty -- -x\n'
    except Refused as error:
        if 'not there yet' in error.text:
            pytest.skip('no exec')
        raise
    assert oci.call('ps', box.id, '-o', 'pid').split()[0] == 'PID'


# What is shown.


def test_list(oci, box):
    lines = oci.call('list').splitlines()
    assert lines[0].split()[:6] == ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER']
    words = lines[1].split()
    assert words[:4] == [box.id, str(box.pid), 'running', box.bundle] and words[5] == 'root'
    one, = json.loads(oci.call('list', '-f', 'json'))
    assert one['owner'] == 'root'
    assert {k: v for k, v in one.items() if k != 'owner'} == {k: v for k, v in box.state().items() if k != 'owner'}
    assert oci.call('list', '-q') == box.id + '\n'
    box.stop()
    until(lambda: box.status() == 'stopped')
    assert oci.call('list').splitlines()[1].split()[1:3] == ['0', 'stopped']
    box.delete()
    assert json.loads(oci.call('list', '--format', 'json')) == []
    assert len(oci.call('list').splitlines()) == 1


def write_to(path, text):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def listed(oci):
    return {one['id']: one['status'] for one in json.loads(oci.call('list', '-f', 'json'))}


@pytest.mark.ours
def test_list_and_state_agree(oci, box):
    """list looks at a container by other calls than state does, and tells the same."""
    other = oci.container('sleep', '1000')
    other.create()

    def agree(*expected):
        assert [box.status(), other.status()] == list(expected)
        assert listed(oci) == dict(zip([box.id, other.id], expected))

    agree('running', 'created')
    for status in ('paused', 'running', 'paused'):
        oci.call('pause' if status == 'paused' else 'resume', box.id)
        agree(status, 'created')
    oci.call('pause', other.id)
    agree('paused', 'paused')
    for one in (box, other):
        oci.call('resume', one.id)
    other.start()
    agree('running', 'running')
    # Also when another froze it.
    frozen = box.cgroup_file('', 'cgroup.freeze')
    if os.path.exists(frozen):  # on cgroup v1 there is a group for it only while it is paused
        for word, status in (('1', 'paused'), ('0', 'running')):
            write_to(frozen, word)
            until(lambda status=status: box.status() == status)
            agree(status, 'running')
    os.kill(box.pid, signal.SIGKILL)
    until(lambda: box.status() == 'stopped')
    agree('stopped', 'running')


@pytest.mark.ours
@pytest.mark.parametrize('without', [['identity'], ['identity', 'engine', 'vmid', 'volume']])
def test_states_of_older_versions(oci, box, without):
    path = os.path.join(oci.root, box.id, 'state.json')
    with open(path, encoding='utf-8') as f:
        state = json.load(f)
    for key in without:
        del state[key]
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(state, f, indent=2)
    assert box.status() == 'running' and listed(oci) == {box.id: 'running'}
    oci.call('pause', box.id)
    assert box.status() == 'paused' and listed(oci) == {box.id: 'paused'}
    oci.call('resume', box.id)
    assert box.status() == 'running' and listed(oci) == {box.id: 'running'}


@pytest.mark.ours
def test_a_process_with_the_same_number_is_another(oci, box):
    """As after a reboot, where the folder of states was on a disk."""
    path = os.path.join(oci.root, box.id, 'state.json')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    state = json.loads(text)
    for key in ('identity', 'startTime'):
        state[key] += 1
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(state, f, separators=(',', ':'))
    assert box.status() == 'stopped' and listed(oci) == {box.id: 'stopped'}
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    assert box.status() == 'running'


def test_list_of_nothing(root):
    done = call(*root, 'list')
    assert done.returncode == 0 and done.stdout.split()[:6] == ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER']
    assert call(*root, 'list', '-q').stdout == ''


def test_a_broken_state_hides_no_other(oci, box):
    os.mkdir(os.path.join(oci.root, 'broken'))
    with open(os.path.join(oci.root, 'broken', 'state.json'), 'w', encoding='utf-8') as f:
        f.write('{"pid": ')
    done = oci.result('list')
    assert done.returncode == 0 and box.id in done.stdout
    assert any(line['level'] == 'warning' for line in oci.log_lines())
    shutil.rmtree(os.path.join(oci.root, 'broken'))


def test_state_has_what_runc_prints(oci, box):
    state = box.state()
    assert {'ociVersion', 'id', 'pid', 'status', 'bundle', 'rootfs', 'created', 'owner'} <= set(state)
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z', state['created'])
    assert abs(time.time() - time.mktime(time.strptime(state['created'][:19], '%Y-%m-%dT%H:%M:%S'))
               + time.timezone) < 600
    del oci


def test_ps(oci, box):
    assert json.loads(oci.call('ps', '--format', 'json', box.id)) == [box.pid]
    assert json.loads(oci.call('ps', '-f', 'json', box.id)) == [box.pid]
    lines = oci.call('ps', box.id).splitlines()
    assert lines[0].split()[:3] == ['UID', 'PID', 'PPID']
    assert any(line.split()[1] == str(box.pid) and 'sleep 1000' in line for line in lines[1:])
    lines = oci.call('ps', box.id, '-eo', 'comm,pid').splitlines()
    assert lines[0].split() == ['COMMAND', 'PID'] and ['sleep', str(box.pid)] in [line.split() for line in lines]
    assert not any(str(os.getpid()) in line.split() for line in lines), 'a process of the host'
    for words in (['-eo', 'comm'], ['--no-such-option']):
        done = oci.result('ps', box.id, *words)
        assert done.returncode == 1 and 'ps' in done.stderr


def test_mounts(oci, box):
    mounts = {m['target']: m for m in json.loads(oci.call('mounts', '--format', 'json', box.id))}
    assert mounts['/proc']['type'] == 'proc' and mounts['/dev']['type'] == 'tmpfs'
    assert {'target', 'source', 'type', 'root', 'options', 'propagation', 'superOptions'} == set(mounts['/'])
    assert 'ro' in mounts['/sys']['options'].split(',')
    lines = oci.call('mounts', box.id).splitlines()
    assert lines[0].split() == ['TARGET', 'SOURCE', 'TYPE', 'OPTIONS', 'PROPAGATION']
    assert {line.split()[0] for line in lines[1:]} == set(mounts)
    box.stop()
    until(lambda: box.status() == 'stopped')
    assert oci.result('mounts', box.id).returncode == 1


def test_mounts_with_blanks_in_their_names(oci):
    made = oci.container('sleep', '1000')
    made.mount(made.folder('a b'), '/mnt/a b\\c', 'rbind')
    made.up()
    assert any(m['target'] == '/mnt/a b\\c' for m in json.loads(oci.call('mounts', '-f', 'json', made.id)))
    made.stop()


def shape(value):
    """The keys of an object, all the way down; lists and raw counters are leaves."""
    if not isinstance(value, dict):
        return None
    return {key: shape(v) if key not in ('raw', 'hugetlb') else None for key, v in value.items()}


def lacks(theirs, ours, where=''):
    for key, value in theirs.items():
        if key not in ours:
            yield where + key
        elif isinstance(value, dict):
            yield from lacks(value, ours[key] or {}, f'{where}{key}.')


def test_events_have_the_form_of_runcs(oci, box, tmp_path):
    ours = json.loads(oci.call('events', '--stats', box.id))
    assert ours['type'] == 'stats' and ours['id'] == box.id
    data = ours['data']
    assert data['pids']['current'] >= 1 and data['memory']['usage']['usage'] > 0 and data['memory']['raw']
    if not shutil.which('runc'):
        pytest.skip('no runc')
    runc = ('runc', '--root', str(tmp_path / 'runc'), *(['--systemd-cgroup'] if has_systemd() else []))
    subprocess.run([*runc, 'run', '-d', '-b', box.bundle, 'beside'], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        theirs = json.loads(subprocess.run([*runc, 'events', '--stats', 'beside'], check=True, stdout=subprocess.PIPE).stdout)
    finally:
        subprocess.run([*runc, 'delete', '-f', 'beside'], check=True)
    # runc shows these files of cgroup v1's cpuset that nobody sets.
    missing = [m for m in lacks(shape(theirs['data']), shape(data)) if not m.startswith('cpuset.')
               and m not in ('cpu.usage.percpu_kernel', 'cpu.usage.percpu_user')]
    assert not missing


def test_events_again_and_again_until_the_end(oci, box):
    with subprocess.Popen(oci.command('events', '--interval', '100ms', box.id), stdout=subprocess.PIPE, text=True) as run:
        for _ in range(3):
            assert json.loads(run.stdout.readline())['type'] == 'stats'
        box.stop()
        for line in run.stdout:
            json.loads(line)
        assert run.wait(60 * SLOW) in (0, 1)
    done = oci.result('events', box.id)
    assert done.returncode == 1 and 'not running' in done.stderr


def test_update_takes_each_option(oci, box):
    words = ['--memory', '64M', '--memory-reservation', str(32 << 20), '--memory-swap', '-1', '--cpu-period', '50000',
             '--cpu-quota', '20000', '--cpu-share', '512', '--cpuset-cpus', '0', '--cpuset-mems', '0', '--pids-limit', '77']
    oci.call('update', *words, box.id)

    def read(controller, v1, v2):
        path = box.cgroup_file(controller, v1)
        with open(path if os.path.exists(path) else box.cgroup_file(controller, v2), encoding='ascii') as f:
            return f.read().strip()
    assert read('memory', 'memory.limit_in_bytes', 'memory.max') == str(64 << 20)
    assert read('memory', 'memory.soft_limit_in_bytes', 'memory.low') == str(32 << 20)
    assert read('pids', 'pids.max', 'pids.max') == '77'
    assert read('cpuset', 'cpuset.cpus', 'cpuset.cpus') == '0'
    assert read('cpu', 'cpu.cfs_quota_us', 'cpu.max').split()[0] == '20000'
    oci.call('update', '--resources', '-', box.id, input='{"pids": {"limit": 55}}', stdin=None)
    assert read('pids', 'pids.max', 'pids.max') == '55'
    with open(os.path.join(box.bundle, 'resources'), 'w', encoding='utf-8') as f:
        f.write('{"memory": {"limit": 33554432}}')
    oci.call('update', '-r', f.name, '--pids-limit', '11', box.id)
    assert read('memory', 'memory.limit_in_bytes', 'memory.max') == str(32 << 20)
    assert read('pids', 'pids.max', 'pids.max') == '55', 'the options count beside --resources'
    for option in ('--l3-cache-schema=L3:0=f', '--mem-bw-schema=MB:0=20'):
        done = oci.result('update', option, box.id)
        assert done.returncode == 1 and 'linux.intelRdt' in done.stderr, 'there is no group of resctrl to change'
    for text in ('{', '[]', '{"memory": {"limit": "x"}}', '{"pids": 5}'):
        done = oci.result('update', '--resources', '-', box.id, input=text, stdin=None)
        assert done.returncode == 1 and done.stderr, text


# What is done.


@pytest.mark.parametrize('name, number', [('USR1', 10), ('SIGUSR2', 12), ('sighup', 1), ('2', 2), ('CHLD', None),
                                          ('QUIT', 3), (None, 15)])
def test_kill_takes_names_and_numbers(oci, name, number):
    made = oci.container('probe', 'signals')
    made.up()
    made.expect('ready')
    oci.call('kill', made.id, *([name] if name else []))
    if number:
        made.expect(f'got {number:02d}')
    made.stop()


def test_kill_and_delete_by_regular_expression(oci):
    boxes = [oci.container('sleep', '1000', id_=f'{ID}-{word}') for word in ('one', 'two', 'other')]
    for made in boxes:
        made.up()
    oci.call('kill', '--regex', f'^{ID}-(one|two)$', 'KILL')
    for made in boxes[:2]:
        assert made.wait() == -signal.SIGKILL
        until(lambda made=made: made.status() == 'stopped')
    assert boxes[2].status() == 'running'
    oci.call('delete', '--regex', f'^{ID}-(one|two)$')
    assert [one['id'] for one in oci.list()] == [boxes[2].id]
    oci.call('delete', '--regex', '^nobody$')
    boxes[2].stop()


def test_stop_lets_it_end_by_itself(oci):
    made = oci.container().sh('trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.1; done')
    made.up()
    made.expect('up')
    oci.call('stop', made.id)
    assert made.wait() == 3
    made.expect('bye')
    oci.call('stop', made.id)  # has ended: fine


def test_stop_kills_what_does_not_listen(oci):
    made = oci.container().sh('trap "" TERM; echo up; while :; do sleep 0.1; done')
    made.up()
    made.expect('up')
    before = time.monotonic()
    oci.call('stop', '--timeout', '1', made.id)
    assert time.monotonic() - before >= 1
    assert made.wait() == -signal.SIGKILL
    other = oci.container('probe', 'signals')
    other.up()
    other.expect('ready')
    oci.call('stop', '-t', '1', '-s', 'USR1', other.id)
    other.expect('got 10')
    assert other.wait() == -signal.SIGKILL


def test_several_at_once_each_gets_its_turn(oci):
    boxes = [oci.container('sleep', '1000') for _ in range(2)]
    for made in boxes:
        made.up()
    done = oci.result('stop', '-t', '0', boxes[0].id, 'nobody', boxes[1].id)
    assert done.returncode == 1 and 'does not exist' in done.stderr
    for made in boxes:
        assert made.wait() == -signal.SIGKILL
        until(lambda made=made: made.status() == 'stopped')
    done = oci.result('delete', boxes[0].id, 'nobody', boxes[1].id)
    assert done.returncode == 1 and oci.list() == []


def test_another_configuration_of_a_bundle(oci):
    made = oci.container().sh('echo other')
    made.write()
    os.rename(os.path.join(made.bundle, 'config.json'), os.path.join(made.bundle, 'other.json'))
    with pytest.raises(Refused):
        made.create(write=False)
    made.create('--config', 'other.json', write=False)
    made.start()
    made.expect('other')
    made.wait()


def test_exit_status_of_run(oci):
    for status in (0, 7, 255):
        assert oci.container().sh(f'exit {status}').run(check=False).returncode == status
    made = oci.container('sleep', '1000')
    made.write()
    oci.note(made)
    with subprocess.Popen(oci.command('run', '-b', made.bundle, made.id), stdin=subprocess.DEVNULL) as run:
        until(lambda: oci.knows(made.id) and made.status() == 'running')
        made.kill('KILL')
        assert run.wait(60 * SLOW) == 128 + signal.SIGKILL
    done = oci.container('no-such-program').run(check=False)
    assert done.returncode == 1 and 'no-such-program' in done.stderr


@pytest.mark.skipif(SLOW > 1, reason='an emulated processor\'s times say nothing')
def test_time_of_what_engines_ask_for_all_the_time(oci, box):
    """Less than 2 ms of CPU, the kernel's for a fork, an exec and an exit included."""
    for words in (['state', box.id], ['list'], ['kill', box.id, 'CONT']):
        command, best = oci.command(*words), 1e9
        for _ in range(10):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            for _ in range(10):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            best = min(best, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 10)
        assert best < 0.002, (words, best)


# Another engine.


@pytest.mark.skipif(not shutil.which('crun'), reason='no crun')
def test_crun_as_engine(oci):
    """Later verbs find out whose container it is."""
    made = oci.container('sleep', '1000')
    del made.linux['cgroupsPath'], made.linux['resources']
    made.write()
    more = ('--cgroup-manager=disabled',)
    theirs = ('--root', oci.root + '.crun', *more)
    where = []
    if os.path.ismount('/sys/fs/cgroup/unified'):  # crun does v1 or v2, not both
        where = ['unshare', '--mount', 'sh', '-ec', 'mount -t tmpfs none /sys/fs/cgroup/unified; exec "$@"', 'sh']

    def run(*words, program=bundle.program(), check=True, **popen):
        done = subprocess.run([*where, program, *words], **{
            'check': False, 'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **popen})
        assert not check or done.returncode == 0, (done.stderr or b'').decode() + made.output_text()
        return done

    def ours(*words, **more_options):
        return run('--root', oci.root, *more, *words, **more_options).stdout.decode()
    with open(made.out_path, 'wb') as out:
        run('--root', oci.root, *more, '--engine', 'crun', 'create', '-b', made.bundle, '--pid-file', made.pid_file, made.id,
            stdout=out, stderr=out)
    try:
        with open(made.pid_file, encoding='ascii') as f:
            pid = int(f.read())
        assert json.loads(run(*theirs, 'state', made.id, program='crun').stdout)['pid'] == pid
        state = json.loads(ours('state', made.id))
        assert (state['status'], state['pid']) == ('created', pid)
        assert [(one['id'], one['engine']) for one in json.loads(ours('list', '-f', 'json'))] == [(made.id, 'crun')]
        assert made.id in ours('--engine=crun', 'list')
        ours('start', made.id)
        assert json.loads(ours('state', made.id))['status'] == 'running'
        done = run('--root', oci.root, *more, 'exec', '--cwd', '/tmp', made.id, 'sh', '-c', 'pwd; exit 3', check=False)
        assert (done.returncode, done.stdout) == (3, b'/tmp\n')
        done = oci.result('create', '-b', made.bundle, made.id)
        assert done.returncode == 1 and 'exists' in done.stderr
        done = oci.result('mounts', made.id)
        assert done.returncode == 1 and 'crun has no verb' in done.stderr
        ours('kill', made.id, 'KILL')
        assert bundle.reap(pid) == -signal.SIGKILL
    finally:
        run(*theirs, 'delete', '-f', made.id, program='crun', check=False)
    done = oci.result('create', '--engine', 'runc', '-b', made.bundle, made.id)
    assert done.returncode == 1 and 'invalid engine' in done.stderr
    shutil.rmtree(oci.root + '.crun', ignore_errors=True)


# LXC's own tools.


def lxc(oci, *words, check=True):
    done = call('--socket', '/nonexistent', 'lxc', '--root', oci.root, *words)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done


@pytest.mark.skipif(not shutil.which('lxc-ls'), reason='no LXC tools')
def test_lxc_tools_agree_with_our_state(oci, box):
    other = oci.container('sleep', '1000')
    other.up()
    assert set(lxc(oci, 'ls').split()) == {box.id, other.id}
    info = dict(re.findall(r'^(\w+): +(\S+)$', lxc(oci, 'info', box.id), re.M))
    assert (info['Name'], info['State'], info['PID']) == (box.id, 'RUNNING', str(box.pid))
    rows = [line.split() for line in lxc(oci, 'ls', '--fancy', '--fancy-format', 'NAME,STATE,PID').splitlines()]
    assert [box.id, 'RUNNING', str(box.pid)] in rows and [other.id, 'RUNNING', str(other.pid)] in rows
    assert lxc(oci, 'attach', box.id, '--', 'sh', '-c', 'hostname; cat /proc/1/cmdline').replace('\0', ' ') == \
        'box\nsleep 1000 '
    done = lxc(oci, 'console', box.id, check=False)
    assert done.returncode == 1 and 'engine' in done.stderr
    other.stop()
    until(lambda: other.status() == 'stopped')
    until(lambda: lxc(oci, 'ls').split() == [box.id])
    done = lxc(oci, 'info', other.id, check=False)
    assert done.returncode == 1 and 'does not run' in done.stderr
    done = lxc(oci, 'info', 'nobody', check=False)
    assert done.returncode == 1 and '/nonexistent' in done.stderr


# Documents.


def test_spec(oci, tmp_path):
    assert call('spec', cwd=tmp_path).returncode == 0
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['ociVersion'].startswith('1.') and config['process']['args'] == ['sh']
    done = call('spec', cwd=tmp_path)
    assert done.returncode == 1 and 'exists' in done.stderr
    assert call('spec', '-b', str(tmp_path), '-f', 'again.json', '--rootless').returncode == 0
    rootless = json.loads((tmp_path / 'again.json').read_text())
    assert 'user' in [n['type'] for n in rootless['linux']['namespaces']] and rootless['linux']['uidMappings']
    assert call('spec', '-b', '/nonexistent').returncode == 1
    made = oci.container()
    config['process']['terminal'] = False
    config['process']['args'] = ['echo', 'works']
    made.config = config
    assert made.run() == 'works\n'


def test_features():
    done = call('features')
    assert done.returncode == 0
    features = json.loads(done.stdout)
    assert features['ociVersionMin'] and features['ociVersionMax'].startswith('1.')
    assert {'createRuntime', 'poststop', 'prestart'} <= set(features['hooks'])
    assert {'bind', 'rbind', 'ro', 'rro'} <= set(features['mountOptions'])
    assert {'cgroup', 'ipc', 'mount', 'network', 'pid', 'user', 'uts'} <= set(features['linux']['namespaces'])
    assert features['linux']['seccomp']['enabled'] is True
    assert features['linux']['cgroup']['v1'] is True and features['linux']['cgroup']['systemd'] is True


def test_features_names_the_architectures_that_can_be_filtered(oci):
    """No more and no fewer than a profile may name."""
    listed = json.loads(call('features').stdout)['linux']['seccomp']['archs']
    assert 'SCMP_ARCH_X86_64' in listed or os.uname().machine != 'x86_64'
    with open(os.path.join(bundle.REPO, 'src/security/seccomp-words.h'), encoding='utf-8') as f:
        known = re.findall(r'"(SCMP_ARCH_\w+)"', f.read())
    assert len(known) > 20 and set(listed) < set(known)
    box = oci.container()
    box.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': listed}
    assert box.sh('echo well').run() == 'well\n'
    for arch in set(known) - set(listed):
        other = oci.container()
        other.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': [arch]}
        other.refused(arch)


def test_info_without_a_daemon(tmp_path):
    done = call('--socket', str(tmp_path / 'none'), 'info')
    assert done.returncode == 0
    info = json.loads(done.stdout)
    assert info['daemon_running'] is False
    assert info['runtime']['version'] in call('--version').stdout and os.access(info['runtime']['init'], os.X_OK)
    assert info['host']['kernel'] == os.uname().release and info['host']['cpus'] >= 1
    assert info['host']['cgroup']['mode'] in ('v1', 'hybrid', 'v2')
    assert 'memory' in info['host']['cgroup']['controllers']
    assert info['host']['cgroup']['drivers'] == {'cgroupfs': True, 'systemd': os.path.exists('/run/systemd/system')}
    lsm = '/sys/kernel/security/lsm'
    if os.path.exists(lsm):
        with open(lsm, encoding='ascii') as f:
            assert info['host']['security']['modules'] == f.read().strip().split(',')
    assert info['host']['security']['seccomp']['available'] is True
    assert info['engines']['lxc']['available'] is True and re.match(r'\d+\.', info['engines']['lxc']['version'])
    assert info['engines']['crun']['available'] is bool(shutil.which('crun', path='/usr/bin:/usr/sbin:/usr/local/bin'))
    assert {'overlay', 'plain'} <= set(info['snapshotters'])
    done = call('--socket', str(tmp_path / 'none'), 'info', '-o', 'table')
    assert done.returncode == 1 and str(tmp_path) in done.stderr


# Completions and manual page: of the same table.


def test_completion_of_verbs_and_options():
    assert set(OCI_VERBS) <= bash_completes(bundle.program(), '')
    assert bash_completes(bundle.program(), 'che') == {'checkpoint'}
    assert bash_completes(bundle.program(), '--systemd') == {'--systemd-cgroup'}
    for verb in OCI_VERBS:
        offered = bash_completes(bundle.program(), verb, '--')
        assert {f'--{name}' for name in long_options(call(verb, '--help').stdout.split('options:', 1)[1])} <= offered, verb
    assert bash_completes(bundle.program(), '--root', '/x', 'up') == {'update'}
    assert '--detach' in bash_completes(bundle.program(), 'run', '--bundle', 'x', '--')


def test_completion_for_all_shells():
    for shell in ('bash', 'zsh', 'fish'):
        text = call('completion', shell).stdout
        for verb in OCI_VERBS:
            assert re.search(rf'\b{verb}\b', text), (shell, verb)
        for option in ('console-socket', 'preserve-fds', 'memory-swap', 'log-format'):
            assert option in text, (shell, option)
        if shutil.which(shell):
            subprocess.run([shell, '-n'], input=text, check=True, text=True)


def test_manual_page():
    text = call('man').stdout
    plain = text.replace('\\-', '-').replace('\\fB', '').replace('\\fR', '')
    assert '.TH PROXMOX\\-LXCRI 1' in text
    for verb in OCI_VERBS + ['pod run', 'image pull', 'completion']:
        assert f'.SS {verb}' in plain, verb
        for option in long_options(call(*verb.split(), '--help').stdout):
            assert f'--{option}' in plain, (verb, option)
    if shutil.which('man'):
        done = subprocess.run(['man', '--warnings', '-l', '-'], input=text, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, 'MANWIDTH': '100'})
        assert 'warning' not in done.stderr and 'PROXMOX-LXCRI(1)' in done.stdout
