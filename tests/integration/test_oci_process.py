"""Each property of `process` of a bundle, from inside the container and from /proc on the host."""

import os
import re
import resource
import socket
import subprocess
import threading

import pytest

from bundle import ConsoleSocket, Refused, can, find_mount, kernel, program, until

LAST_CAP = int(open('/proc/sys/kernel/cap_last_cap', encoding='ascii').read())
KILL, CHOWN, NET_RAW = 1 << 5, 1 << 0, 1 << 13


def test_args_env_and_cwd(oci):
    box = oci.container('sh', '-c', 'echo "$0|$1|$EMPTY|$GREETING|$PWD"', 'zero', 'a  b')
    box.process['env'] += ['GREETING=hi = there', 'EMPTY=']
    box.process['cwd'] = '/home'
    assert box.run() == 'zero|a  b||hi = there|/home\n'


def test_env_is_all_of_the_environment(oci):
    box = oci.container('env')
    box.process['env'] = ['PATH=/bin', 'A=1', 'A=2']
    names = dict(line.split('=', 1) for line in box.run(env={**os.environ, 'FROM_THE_HOST': '1'}).splitlines())
    assert 'FROM_THE_HOST' not in names
    assert names['A'] == '2'
    assert set(names) <= {'PATH', 'A', 'HOME'}


def test_the_program_is_found_by_the_containers_path(oci):
    box = oci.container('mine')
    box.file('opt/mine', '#!/bin/sh\necho found\n', 0o755)
    box.process['env'] = ['PATH=/bin:/opt']
    assert box.run() == 'found\n'


@pytest.mark.parametrize('field,value,word', [('cwd', 'relative', 'cwd'), ('args', [], 'args')])
@pytest.mark.not_by('crun', 'is silent about it')
def test_what_is_malformed_is_refused(oci, field, value, word):
    box = oci.container()
    box.process[field] = value
    with pytest.raises(Refused) as caught:
        box.create()
        box.start()
    assert word in caught.value.text.lower()


def test_a_missing_cwd_is_made(oci):
    box = oci.container('pwd')
    box.process['cwd'] = '/not/there/yet'
    assert box.run() == '/not/there/yet\n'


def test_user(oci):
    box = oci.container().sh('id -u; id -g; id -G; exec sleep 1000')
    box.process['user'] = {'uid': 1234, 'gid': 5678, 'additionalGids': [7, 50000]}
    box.up()
    box.expect('50000')
    assert box.output_text().split('\n')[:3] == ['1234', '5678', '5678 7 50000']
    assert box.status_field('Uid').split() == ['1234'] * 4
    assert box.status_field('Gid').split() == ['5678'] * 4
    assert set(box.status_field('Groups').split()) - {'5678'} == {'7', '50000'}


def test_no_groups_of_the_caller_remain(oci):
    box = oci.container().sh('grep Groups: /proc/self/status')
    box.process['user'] = {'uid': 1, 'gid': 1}
    assert box.run(extra_groups=[4242], user=0).split()[1:] in ([], ['1'])


def test_umask(oci):
    box = oci.container().sh('umask; exec sleep 1000')
    box.process['user']['umask'] = 0o027
    box.up(umask=0o022)
    box.expect('0027')
    assert box.status_field('Umask') == '0027'


CAP_SETS = {'bounding': ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_RAW'], 'effective': ['CAP_CHOWN'],
            'permitted': ['CAP_CHOWN', 'CAP_KILL'], 'inheritable': ['CAP_KILL'], 'ambient': []}


def bits(names):
    number = {'CAP_CHOWN': CHOWN, 'CAP_KILL': KILL, 'CAP_NET_RAW': NET_RAW}
    return sum(number[name] for name in names)


def test_the_capabilities_of_a_user(oci):
    """Of one who is not root, exec leaves ambient ones as permitted and effective, and the others as they were set."""
    box = oci.container()
    box.process['user'] = {'uid': 1000, 'gid': 1000}
    box.process['capabilities'] = {**{name: ['CAP_CHOWN', 'CAP_KILL'] for name in ('bounding', 'permitted', 'effective')},
                                   'inheritable': ['CAP_KILL'], 'ambient': ['CAP_KILL']}
    box.up()
    got = {name: int(box.status_field(name), 16) for name in ('CapBnd', 'CapPrm', 'CapEff', 'CapInh', 'CapAmb')}
    assert got == {'CapBnd': CHOWN | KILL, 'CapPrm': KILL, 'CapEff': KILL, 'CapInh': KILL, 'CapAmb': KILL}


def test_the_capabilities_of_root(oci):
    box = oci.container().sh('grep Cap /proc/self/status')
    box.process['noNewPrivileges'] = False
    box.process['capabilities'] = {**CAP_SETS, 'effective': CAP_SETS['permitted']}
    lines = dict(re.findall(r'(Cap\w+):\s*(\w+)', box.run()))
    assert int(lines['CapBnd'], 16) == bits(CAP_SETS['bounding'])
    assert int(lines['CapInh'], 16) == KILL
    # For root, exec gives all of the bounding set.
    assert int(lines['CapPrm'], 16) == bits(CAP_SETS['bounding'])
    assert int(lines['CapAmb'], 16) == 0


def test_no_capabilities(oci):
    box = oci.container().sh('grep Cap /proc/self/status')
    box.process.pop('capabilities')
    values = {int(value, 16) for _, value in re.findall(r'(Cap\w+):\s*(\w+)', box.run())}
    assert values == {0}


def test_all_capabilities_there_are(oci):
    """Those that the caller has can be given, to the last."""
    with open('/proc/self/status', encoding='ascii') as f:
        own = int(re.search(r'CapBnd:\s*(\w+)', f.read())[1], 16)
    names = [name for n, name in enumerate(ALL_CAPS) if own >> n & 1]
    box = oci.container()
    box.process['capabilities'] = {kind: names for kind in ('bounding', 'effective', 'permitted')}
    box.up()
    assert int(box.status_field('CapBnd'), 16) == own & (1 << len(ALL_CAPS)) - 1


ALL_CAPS = ['CAP_' + name for name in (
    'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE '
    'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN '
    'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE '
    'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE').split()]


def test_an_unknown_capability_is_no_error(oci):
    """The specification wants a warning."""
    box = oci.container('true')
    box.process['capabilities']['bounding'].append('CAP_NOT_YET_THERE')
    box.run()


@pytest.mark.parametrize('on', [True, False])
def test_no_new_privileges(oci, on):
    box = oci.container()
    box.process['noNewPrivileges'] = on
    box.up()
    assert box.status_field('NoNewPrivs') == str(int(on))


# What is below the limits of any host.
RLIMITS = {'AS': ('Max address space', 1 << 40), 'CORE': ('Max core file size', 4096), 'CPU': ('Max cpu time', 7777),
           'DATA': ('Max data size', 1 << 39), 'FSIZE': ('Max file size', 1 << 38), 'LOCKS': ('Max file locks', 44),
           'MEMLOCK': ('Max locked memory', 8192), 'MSGQUEUE': ('Max msgqueue size', 8193),
           'NICE': ('Max nice priority', 10), 'NOFILE': ('Max open files', 300), 'NPROC': ('Max processes', 5000),
           'RSS': ('Max resident set', 1 << 37), 'RTPRIO': ('Max realtime priority', 5),
           'RTTIME': ('Max realtime timeout', 70000), 'SIGPENDING': ('Max pending signals', 99),
           'STACK': ('Max stack size', 1 << 22)}


def test_rlimits(oci):
    box = oci.container()
    limits = {name: what for name, what in RLIMITS.items() if name not in ('NICE', 'RTPRIO') or can('CAP_SYS_RESOURCE')}
    box.process['rlimits'] = [{'type': 'RLIMIT_' + name, 'soft': value - 1, 'hard': value}
                              for name, (_, value) in limits.items()]
    box.up()
    lines = box.proc('limits').splitlines()
    for label, value in limits.values():
        line = next(line for line in lines if line.startswith(label))
        assert line[len(label):].split()[:2] == [str(value - 1), str(value)], line


def test_an_unlimited_rlimit(oci):
    box = oci.container()
    box.process['rlimits'] = [{'type': 'RLIMIT_CORE', 'soft': 2**64 - 1, 'hard': 2**64 - 1}]
    box.up(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY)))
    line = next(line for line in box.proc('limits').splitlines() if line.startswith('Max core'))
    assert line.split()[4:6] == ['unlimited', 'unlimited']


@pytest.mark.parametrize('limits', [[{'type': 'RLIMIT_NOSUCH', 'soft': 1, 'hard': 1}],
                                    [{'type': 'RLIMIT_CORE', 'soft': 2, 'hard': 1}],
                                    [{'type': 'RLIMIT_CORE', 'soft': 1, 'hard': 1}] * 2])
@pytest.mark.not_by('runc', '1.1 takes two of a kind')
@pytest.mark.not_by('crun', '1.8 takes two of a kind')
def test_bad_rlimits(oci, limits):
    box = oci.container()
    box.process['rlimits'] = limits
    box.refused('rlimit')


def set_own_oom_score_adj(value):
    with open('/proc/self/oom_score_adj', 'w', encoding='ascii') as f:
        f.write(str(value))


@pytest.mark.parametrize('value', [-500, 0, 777])
def test_oom_score_adj(oci, value):
    if value < 0 and not can('CAP_SYS_RESOURCE'):
        pytest.skip('this root may not')
    box = oci.container().sh('cat /proc/self/oom_score_adj; exec sleep 1000')
    box.process['oomScoreAdj'] = value
    box.up(preexec_fn=lambda: set_own_oom_score_adj(321))
    box.expect(f'{value}\n')
    assert box.proc('oom_score_adj') == f'{value}\n'


def test_oom_score_adj_is_left_alone_when_not_given(oci):
    box = oci.container()
    box.up(preexec_fn=lambda: set_own_oom_score_adj(321))
    assert box.proc('oom_score_adj') == '321\n'


@pytest.mark.ours
@pytest.mark.parametrize('scheduler,expected', [
    ({'policy': 'SCHED_BATCH', 'nice': 7}, 'policy=3 nice=7 priority=0'),
    ({'policy': 'SCHED_IDLE'}, 'policy=5'),
    ({'policy': 'SCHED_OTHER', 'nice': 3, 'flags': ['SCHED_FLAG_RESET_ON_FORK']}, 'policy=0 nice=3 priority=0 flags=1'),
    ({'policy': 'SCHED_FIFO', 'priority': 11}, 'policy=1 nice=0 priority=11'),
    ({'policy': 'SCHED_RR', 'priority': 12}, 'policy=2 nice=0 priority=12'),
    ({'policy': 'SCHED_DEADLINE', 'runtime': 10000000, 'deadline': 20000000, 'period': 40000000},
     'policy=6 nice=0 priority=0 flags=0 runtime=10000000 deadline=20000000 period=40000000')],
                         ids=['batch', 'idle', 'other', 'fifo', 'rr', 'deadline'])
def test_scheduler(oci, scheduler, expected):
    box = oci.container('probe', 'scheduler')
    box.process['scheduler'] = scheduler
    try:
        text = box.run()
    except Refused as error:
        # A hierarchy of cpu without time for real time refuses such; that must be said.
        assert scheduler['policy'] in ('SCHED_FIFO', 'SCHED_RR', 'SCHED_DEADLINE') and 'sched' in error.text.lower(), error
        pytest.skip('this host gives cgroups no time for real time')
    assert expected in text


@pytest.mark.ours
@pytest.mark.parametrize('scheduler', [{'policy': 'SCHED_NOSUCH'}, {'policy': 'SCHED_OTHER', 'nice': 77},
                                       {'policy': 'SCHED_FIFO', 'priority': 4711}])
def test_a_bad_scheduler(oci, scheduler):
    box = oci.container()
    box.process['scheduler'] = scheduler
    box.refused('scheduler')


@pytest.mark.ours
@pytest.mark.parametrize('name,number', [('IOPRIO_CLASS_RT', 1), ('IOPRIO_CLASS_BE', 2), ('IOPRIO_CLASS_IDLE', 3)])
def test_io_priority(oci, name, number):
    box = oci.container('probe', 'ioprio')
    box.process['ioPriority'] = {'class': name, 'priority': 6}
    assert box.run().split() == [f'class={number}', 'level=6']


@pytest.mark.ours
def test_a_bad_io_priority(oci):
    box = oci.container()
    box.process['ioPriority'] = {'class': 'IOPRIO_CLASS_NOSUCH', 'priority': 1}
    box.refused('ioPriority')


@pytest.mark.ours
def test_cpu_affinity_of_an_exec(oci):
    """Of the container's process it says how an exec into it runs."""
    if os.cpu_count() < 2:
        pytest.skip('one processor')
    box = oci.container()
    box.process['execCPUAffinity'] = {'initial': '0', 'final': '1'}
    box.up()
    assert box.exec('sh', '-c', 'grep Cpus_allowed_list /proc/self/status').split()[-1] == '1'


@pytest.mark.skipif(kernel() < (6, 2), reason='the kernel forgets it in the control group of the container, until Linux 6.2')
@pytest.mark.ours
def test_cpu_affinity_stays_as_it_was_at_first(oci):
    if os.cpu_count() < 2:
        pytest.skip('one processor')
    box = oci.container()
    box.process['execCPUAffinity'] = {'initial': '1'}
    box.up()
    assert box.exec('sh', '-c', 'grep Cpus_allowed_list /proc/self/status').split()[-1] == '1'


@pytest.mark.ours
def test_a_bad_cpu_affinity(oci):
    box = oci.container()
    box.process['execCPUAffinity'] = {'final': '1-'}
    box.refused('execCPUAffinity')


def test_no_descriptors_but_the_three(oci):
    box = oci.container('probe', 'fds')
    read, write = os.pipe()
    os.set_inheritable(write, True)
    done = box.run(close_fds=False)
    os.close(read)
    os.close(write)
    assert [int(line.split()[0]) for line in done.splitlines()] == [0, 1, 2]


def test_preserve_fds(oci):
    box = oci.container('sh', '-c', 'probe fds; echo through >&4')
    read, write = os.pipe()
    other, _ = os.pipe()

    def place():
        os.dup2(write, 20), os.dup2(other, 21)
        os.dup2(21, 3), os.dup2(20, 4), os.dup2(21, 5)
    text = box.run('--preserve-fds', '2', close_fds=False, preexec_fn=place)
    os.close(write)
    assert [int(line.split()[0]) for line in text.splitlines()] == [0, 1, 2, 3, 4]
    with os.fdopen(read) as f:
        assert f.read() == 'through\n'


@pytest.mark.not_by('crun', '1.8 passes no LISTEN_FDS')
def test_listen_fds(oci):
    box = oci.container('sh', '-c', 'probe fds; echo $LISTEN_FDS; echo pid=$LISTEN_PID $$')
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()

        def place():
            os.dup2(listener.fileno(), 3)
        box.write()
        oci.note(box)
        text = subprocess.run(
            ['sh', '-c', 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', 'sh', *oci.command('run', '--bundle', box.bundle, box.id)],
            close_fds=False, preexec_fn=place, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=True).stdout
    assert re.search(r'^3 socket:', text, re.M), text
    assert '\n1\n' in text
    assert 'pid=1 1' in text or 'pid= 1' in text


def test_notify_socket(oci):
    """READY=1 of the container reaches the socket that the runtime was told."""
    path = os.path.join(oci.folder, 'notify.sock')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.settimeout(60)
        box = oci.container('sh', '-c', 'echo "socket $NOTIFY_SOCKET"; probe tell "$NOTIFY_SOCKET" READY=1; exec sleep 1000')
        got = []
        reader = threading.Thread(target=lambda: got.append(receiver.recv(4096)), daemon=True)
        reader.start()
        box.create(env={**os.environ, 'NOTIFY_SOCKET': path})
        oci.call('start', box.id, env={**os.environ, 'NOTIFY_SOCKET': path})
        reader.join(15)
        assert got and b'READY=1' in got[0], box.output_text()


def test_terminal(oci):
    box = oci.container().sh('test -t 0 && test -t 1 && test -t 2 && echo all; stty size; tty; read line; echo "got $line"')
    box.process['terminal'] = True
    box.process['consoleSize'] = {'height': 33, 'width': 123}
    console = ConsoleSocket(oci.folder)
    box.create('--console-socket', console.path)
    console.accept()
    assert console.name
    box.start()
    console.read_until('33 123')
    assert 'all' in console.text
    console.read_until('/dev/')
    console.type('hello\n')
    console.read_until('got hello')
    assert box.wait() == 0
    console.close()


def test_console_is_the_terminal(oci):
    box = oci.container().sh('ls -l /dev/console; echo to-console >/dev/console; cat /proc/self/mountinfo; echo THE END')
    box.process['terminal'] = True
    console = ConsoleSocket(oci.folder)
    box.create('--console-socket', console.path)
    console.accept()
    box.start()
    text = console.read_until('THE END').replace('\r', '')
    assert '\nto-console' in '\n' + text
    found = find_mount('\n'.join(line for line in text.splitlines() if re.match(r'\d+ \d+ \d+:\d+ ', line)), '/dev/console')
    assert found and found[2] == 'devpts'
    box.wait()
    console.close()


def test_a_controlling_terminal(oci):
    """Control-C ends what is in the foreground."""
    box = oci.container().sh('trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done')
    box.process['terminal'] = True
    console = ConsoleSocket(oci.folder)
    box.create('--console-socket', console.path)
    console.accept()
    box.start()
    console.read_until('ready')
    console.type('\x03')
    console.read_until('caught')
    assert box.wait() == 9
    console.close()


def test_a_terminal_needs_a_console_socket(oci):
    box = oci.container()
    box.process['terminal'] = True
    box.refused('console')


@pytest.mark.not_by('crun', 'ignores it')
def test_a_console_socket_needs_a_terminal(oci):
    box = oci.container()
    box.write()
    console = ConsoleSocket(oci.folder)
    done = oci.result('create', '--bundle', box.bundle, '--console-socket', console.path, box.id)
    console.close()
    assert done.returncode and 'console' in done.stderr.lower()


def test_a_terminal_of_a_user(oci):
    """It belongs to who runs."""
    box = oci.container().sh('stat -c %u $(tty); echo x >/dev/tty; echo well')
    box.process['terminal'] = True
    box.process['user'] = {'uid': 1000, 'gid': 1000}
    console = ConsoleSocket(oci.folder)
    box.create('--console-socket', console.path)
    console.accept()
    box.start()
    assert '1000' in console.read_until('well')
    box.wait()
    console.close()


def test_a_session_keyring_of_its_own(oci):
    with_one = oci.container('probe', 'keyring')
    without = oci.container('probe', 'keyring')
    assert with_one.id in with_one.run()
    assert without.id not in without.run('--no-new-keyring')


def test_the_first_process_is_the_program(oci):
    box = oci.container()
    box.up()
    until(lambda: box.proc('comm') == 'sleep\n')
    assert os.readlink(f'/proc/{box.pid}/exe').endswith('/bin/busybox')
    assert box.status_field('NSpid').split()[-1] == '1'


@pytest.mark.ours
def test_capabilities_that_are_left_out_are_told_of(oci):
    """In the log, or with the messages where there is none."""
    box = oci.container('true').caps('CAP_OF_ANOTHER_KERNEL')
    box.run()
    assert any('CAP_OF_ANOTHER_KERNEL' in line['msg'] and line['level'] == 'warning' for line in oci.log_lines())
    other = oci.container('true').caps('CAP_OF_ANOTHER_KERNEL')
    other.write()
    oci.note(other)
    done = subprocess.run([program(), '--root', oci.root, 'run', '--bundle', other.bundle, other.id], check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert 'level=warning' in done.stderr and 'CAP_OF_ANOTHER_KERNEL' in done.stderr
