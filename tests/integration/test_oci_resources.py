"""linux.resources of bundles and of update: every field is read back from the host's control groups, v1 or v2."""

import contextlib
import errno
import glob
import json
import os
import subprocess
import threading

import pytest

from bundle import ID, NAME, Refused, alive, cgroup_path, until
from runtime import has_systemd

MIB = 1 << 20


def folder_of(controller, group):
    """Where a controller has the group: v1, the v2 tree of a hybrid host, or v2."""
    if os.path.isdir(f'/sys/fs/cgroup/{controller}'):
        return f'/sys/fs/cgroup/{controller}{group}'
    if os.path.isdir('/sys/fs/cgroup/unified'):
        return f'/sys/fs/cgroup/unified{group}'
    return f'/sys/fs/cgroup{group}'


def is_v2(controller):
    return not os.path.isdir(f'/sys/fs/cgroup/{controller}')


PURE_V2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')


def has(controller):
    if not is_v2(controller):
        return True
    top = '/sys/fs/cgroup' if PURE_V2 else '/sys/fs/cgroup/unified'
    with contextlib.suppress(FileNotFoundError), open(f'{top}/cgroup.controllers', encoding='ascii') as f:
        return {'blkio': 'io'}.get(controller, controller) in f.read().split()
    return False


def read(box, controller, file):
    with open(os.path.join(folder_of(controller, box.cgroup), file), encoding='utf-8') as f:
        return f.read().rstrip('\n')


def disk():
    """MAJOR:MINOR of a whole disk."""
    for path in sorted(glob.glob('/sys/block/*/dev')):
        if not path.startswith(('/sys/block/loop', '/sys/block/zram', '/sys/block/nbd', '/sys/block/ram')):
            with open(path, encoding='ascii') as f:
                return f.read().strip()
    pytest.skip('no disk to limit')


def device(**values):
    major, minor = disk().split(':')
    return [{'major': int(major), 'minor': int(minor), **values}]


def line_of(text, key):
    """The rest of the line that begins with the key."""
    return next((line[len(key) + 1:] for line in text.splitlines() if line.startswith(key + ' ')), None)


class Field:
    """A field, a first and a second value of it, and how the control groups show them. v1, v2: (file, first text, second
    text); an error's word instead where that version has no such thing."""

    def __init__(self, name, controller, first, second, v1, v2):
        self.name, self.controller, self.first, self.second, self.v1, self.v2 = name, controller, first, second, v1, v2

    def __str__(self):
        return self.name

    def resources(self, value):
        """{"a": {"b": value}} of "a.b"."""
        for key in reversed(self.name.split('.')):
            value = {key: value() if callable(value) else value}
        return value

    def expected(self):
        return self.v2 if is_v2(self.controller) else self.v1

    def check(self, box, which):
        file, *texts = self.expected()
        want = texts[which]
        if isinstance(file, tuple):  # the first that is there
            at = next(i for i, name in enumerate(file)
                      if os.path.exists(os.path.join(folder_of(self.controller, box.cgroup), name)))
            file, want = file[at], want[at]
        got = read(box, self.controller, file)
        if callable(want):
            assert want(got), f'{file}: {got!r}'
        else:
            assert got == want, file


def throttle(kind, v1, v2):
    return Field(f'blockIO.throttle{kind}Device', 'blkio', lambda: device(rate=MIB), lambda: device(rate=2 * MIB),
                 (v1, lambda text: line_of(text, disk()) == '1048576', lambda text: line_of(text, disk()) == '2097152'),
                 ('io.max', lambda text: f'{v2}=1048576' in line_of(text, disk()),
                  lambda text: f'{v2}=2097152' in line_of(text, disk())))


FIELDS = [
    Field('memory.limit', 'memory', 64 * MIB, 96 * MIB, ('memory.limit_in_bytes', '67108864', '100663296'),
          ('memory.max', '67108864', '100663296')),
    Field('memory.reservation', 'memory', 16 * MIB, 8 * MIB, ('memory.soft_limit_in_bytes', '16777216', '8388608'),
          ('memory.low', '16777216', '8388608')),
    Field('memory.swappiness', 'memory', 7, 0, ('memory.swappiness', '7', '0'), 'memory.swappiness'),
    Field('memory.disableOOMKiller', 'memory', True, True,
          ('memory.oom_control', *2 * (lambda text: line_of(text, 'oom_kill_disable') == '1',)), 'memory.disableOOMKiller'),
    Field('cpu.shares', 'cpu', 512, 2048, ('cpu.shares', '512', '2048'), ('cpu.weight', '59', '174')),
    Field('cpu.quota', 'cpu', 50000, 20000, ('cpu.cfs_quota_us', '50000', '20000'),
          ('cpu.max', '50000 100000', '20000 100000')),
    Field('cpu.period', 'cpu', 50000, 20000, ('cpu.cfs_period_us', '50000', '20000'),
          ('cpu.max', 'max 50000', 'max 20000')),
    Field('cpu.idle', 'cpu', 1, 0, ('cpu.idle', '1', '0'), ('cpu.idle', '1', '0')),
    Field('cpu.realtimePeriod', 'cpu', 500000, 400000, ('cpu.rt_period_us', '500000', '400000'), 'cpu.realtimePeriod'),
    Field('cpu.realtimeRuntime', 'cpu', 0, 0, ('cpu.rt_runtime_us', '0', '0'), 'cpu.realtimeRuntime'),
    Field('cpu.cpus', 'cpuset', '0', '0-1', ('cpuset.cpus', '0', '0-1'), ('cpuset.cpus', '0', '0-1')),
    Field('cpu.mems', 'cpuset', '0', '0', ('cpuset.mems', '0', '0'), ('cpuset.mems', '0', '0')),
    Field('pids.limit', 'pids', 77, -1, ('pids.max', '77', 'max'), ('pids.max', '77', 'max')),
    Field('blockIO.weight', 'blkio', 500, 1000,
          (('blkio.bfq.weight', 'blkio.weight'), ('500', '500'), ('1000', '1000')),
          (('io.bfq.weight', 'io.weight'), ('default 500', 'default 4950'), ('default 1000', 'default 10000'))),
    throttle('ReadBps', 'blkio.throttle.read_bps_device', 'rbps'),
    throttle('WriteBps', 'blkio.throttle.write_bps_device', 'wbps'),
    throttle('ReadIOPS', 'blkio.throttle.read_iops_device', 'riops'),
    throttle('WriteIOPS', 'blkio.throttle.write_iops_device', 'wiops'),
    Field('hugepageLimits', 'hugetlb', [{'pageSize': '2MB', 'limit': 4 * MIB}], [{'pageSize': '2MB', 'limit': 0}],
          ('hugetlb.2MB.limit_in_bytes', '4194304', '0'), ('hugetlb.2MB.max', '4194304', '0')),
]
# What Debian's runc (1.1.5) and crun (1.8.1) do otherwise, or don't know.
OTHERWISE = {
    'runc': {'cpu.idle', 'cpu.shares' if PURE_V2 else '', 'hugepageLimits' if is_v2('hugetlb') and not PURE_V2 else '',
             'memory.swappiness' if PURE_V2 else '', 'memory.disableOOMKiller' if PURE_V2 else '',
             'cpu.realtimePeriod' if PURE_V2 else '', 'cpu.realtimeRuntime' if PURE_V2 else ''},
    'crun': {'cpu.shares' if PURE_V2 else '', 'hugepageLimits' if is_v2('hugetlb') and not PURE_V2 else '',
             'memory.disableOOMKiller' if PURE_V2 else '', 'cpu.realtimePeriod', 'cpu.realtimeRuntime', 'blockIO.weight'},
}
fields = pytest.mark.parametrize('field', FIELDS, ids=str)


def check_host(field, in_update=False):
    if field.name in OTHERWISE.get(NAME, ()):
        pytest.skip(f'{NAME} does it otherwise')
    if in_update and NAME == 'runc' and field.name.startswith(('hugepageLimits', 'blockIO.throttle', 'memory.swapp',
                                                              'memory.disable')):
        pytest.skip('runc does not take it in updates')
    if in_update and NAME == 'crun' and field.name == 'pids.limit':
        pytest.skip('crun writes -1')
    if not has(field.controller):
        pytest.skip(f'no {field.controller} controller')


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and key in into:
            merge(into[key], value)
        else:
            into[key] = value


def update(oci, box, resources):
    return oci.call('update', '--resources', '-', box.id, stdin=None, input=json.dumps(resources))


@fields
def test_create(oci, field):
    check_host(field)
    box = oci.container()
    merge(box.linux['resources'], field.resources(field.first))
    if isinstance(field.expected(), str):
        box.refused(field.expected())
        return
    box.create()
    field.check(box, 0)


@fields
def test_update(oci, field):
    """It changes, and nothing else does; before start and after it."""
    check_host(field, in_update=True)
    box = oci.container()
    box.linux['resources']['pids'] = {'limit': 55}
    box.create()
    if isinstance(field.expected(), str):
        with pytest.raises(Refused, match=field.expected()):
            update(oci, box, field.resources(field.first))
        return
    update(oci, box, field.resources(field.first))
    field.check(box, 0)
    box.start()
    update(oci, box, field.resources(field.second))
    field.check(box, 1)
    if field.controller != 'pids' and has('pids'):
        assert read(box, 'pids', 'pids.max') == '55'


def test_all_at_once(oci):
    box = oci.container()
    wanted = [f for f in FIELDS if has(f.controller) and not isinstance(f.expected(), str)
              and f.name not in OTHERWISE.get(NAME, ()) and not f.name.startswith(('cpu.idle', 'cpu.realtime'))
              and f.name not in ('cpu.period',)]
    for field in wanted:
        merge(box.linux['resources'], field.resources(field.first))
    box.create()
    for field in wanted:
        field.check(box, 0)


def swap_of(box):
    """Memory and swap together."""
    if is_v2('memory'):
        return int(read(box, 'memory', 'memory.max')) + int(read(box, 'memory', 'memory.swap.max'))
    return int(read(box, 'memory', 'memory.memsw.limit_in_bytes'))


def has_swap():
    return bool(glob.glob('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes') or (PURE_V2 and glob.glob(
        '/sys/fs/cgroup/*/memory.swap.max')))


@pytest.mark.not_by('crun', 'takes no -1 on v1')
@pytest.mark.skipif(not has_swap(), reason='swap is not counted here')
def test_memory_and_swap_in_any_order(oci):
    box = oci.container()
    box.linux['resources']['memory'] = {'limit': 64 * MIB, 'swap': 96 * MIB}
    box.up()
    assert swap_of(box) == 96 * MIB
    for limit, swap in ((128, 128), (32, 48), (256, 512), (64, 64)):
        update(oci, box, {'memory': {'limit': limit * MIB, 'swap': swap * MIB}})
        assert swap_of(box) == swap * MIB
    with pytest.raises(Refused, match='(?i)swap|memsw'):
        update(oci, box, {'memory': {'limit': 64 * MIB, 'swap': 32 * MIB}})
    assert swap_of(box) == 64 * MIB
    oci.call('update', '--memory', '-1', box.id)
    assert read(box, 'memory', 'memory.max' if is_v2('memory') else 'memory.limit_in_bytes') in (
        'max', '9223372036854771712')


def burst_file():
    return 'cpu.max.burst' if is_v2('cpu') else 'cpu.cfs_burst_us'


@pytest.mark.not_by('runc', 'has no burst')
@pytest.mark.not_by('crun', 'has no burst')
def test_burst_goes_with_the_quota(oci):
    box = oci.container()
    box.linux['resources']['cpu'] = {'quota': 50000, 'burst': 20000}
    box.up()
    assert read(box, 'cpu', burst_file()) == '20000'
    for quota, burst in ((90000, 80000), (10000, 5000)):
        update(oci, box, {'cpu': {'quota': quota, 'burst': burst}})
        assert read(box, 'cpu', burst_file()) == str(burst)
    with pytest.raises(Refused, match='cpu.burst'):
        update(oci, box, {'cpu': {'burst': 60000}})
    assert read(box, 'cpu', burst_file()) == '5000'


@pytest.mark.not_by('runc', 'keeps what came before')
@pytest.mark.not_by('crun', 'keeps what came before')
def test_update_is_all_or_nothing(oci):
    box = oci.container()
    box.linux['resources'].update(memory={'limit': 64 * MIB}, pids={'limit': 33})
    box.up()
    for bad in ({'cpu': {'cpus': '4000'}}, {'cpu': {'quota': 1}}):
        with pytest.raises(Refused, match='cpu'):
            update(oci, box, {'memory': {'limit': 32 * MIB}, 'pids': {'limit': 44}, **bad})
        assert read(box, 'pids', 'pids.max') == '33'
        assert read(box, 'memory', 'memory.max' if is_v2('memory') else 'memory.limit_in_bytes') == '67108864'


@pytest.mark.not_by('crun', 'fails with several of them')
def test_update_by_options(oci):
    box = oci.container()
    box.up()
    oci.call('update', '--memory', '64M', '--cpu-quota', '30000', '--cpu-period', '60000', '--cpu-share', '512',
             '--cpuset-cpus', '0', '--cpuset-mems', '0', '--pids-limit', '66', '--memory-reservation', '8388608', box.id)
    for name, text in (('memory.limit', '67108864'), ('pids.limit', '66'), ('memory.reservation', '8388608'),
                       ('cpu.cpus', '0'), ('cpu.mems', '0')):
        field = next(f for f in FIELDS if f.name == name)
        assert read(box, field.controller, field.expected()[0]) == text
    if is_v2('cpu'):
        assert read(box, 'cpu', 'cpu.max') == '30000 60000'
    else:
        assert read(box, 'cpu', 'cpu.cfs_quota_us') == '30000' and read(box, 'cpu', 'cpu.cfs_period_us') == '60000'
        assert read(box, 'cpu', 'cpu.shares') == '512'


@pytest.mark.not_by('runc', 'ignores it')
@pytest.mark.not_by('crun', 'ignores it')
@pytest.mark.skipif(has('net_cls'), reason='this host can')
def test_what_the_host_lacks_is_named(oci):
    for resources, word in (({'network': {'classID': 1}}, 'network.classID'),
                            ({'network': {'priorities': [{'name': 'lo', 'priority': 1}]}}, 'network.priorities'),
                            ({'rdma': {'mlx5_0': {'hcaHandles': 1}}}, 'rdma'),
                            ({'blockIO': {'leafWeight': 100}}, 'blockIO.leafWeight'),
                            ({'hugepageLimits': [{'pageSize': '3MB', 'limit': 1}]}, 'hugepageLimits'),
                            ({'unified': {'memory.nosuch': '1'}}, 'memory.nosuch')):
        box = oci.container()
        merge(box.linux['resources'], resources)
        box.refused(word)
    oci.expect_nothing()


def no_such_disk(**values):
    return [{'major': 4095, 'minor': 1, **values}]


@pytest.mark.parametrize('field, value', [
    ('cpu.mems', '1000'), ('cpu.realtimeRuntime', 10 ** 12), ('blockIO.weightDevice', no_such_disk(weight=100)),
    ('blockIO.weightDevice', no_such_disk(leafWeight=100))], ids=['mems', 'runtime', 'weight', 'leaf-weight'])
@pytest.mark.not_by('runc', 'names the file, or ignores it')
@pytest.mark.not_by('crun', 'names the file, or ignores it')
def test_what_the_kernel_refuses_is_named(oci, field, value):
    """Of these most hosts can show no more: one memory node, no time for real time, no disk that is shared by weight."""
    box = oci.container()
    merge(box.linux['resources'], Field(field, '', value, value, (), ()).resources(value))
    box.refused(field)
    oci.expect_nothing()


def test_a_limit_below_what_is_used(oci):
    """checkBeforeUpdate: it is refused, and costs nobody his life."""
    box = oci.container().sh('head -c 16m /dev/zero >/tmp/file && echo written; exec sleep 1000')
    box.mount('tmpfs', '/tmp', kind='tmpfs').up()
    box.expect('written')
    with pytest.raises(Refused, match='memory'):
        update(oci, box, {'memory': {'limit': 4 * MIB, 'checkBeforeUpdate': True}})
    assert box.status() == 'running'
    assert read(box, 'memory', 'memory.max' if is_v2('memory') else 'memory.limit_in_bytes') in ('max', '9223372036854771712')


@pytest.mark.skipif(not PURE_V2, reason='cgroup v1')
def test_unified(oci):
    box = oci.container()
    box.linux['resources']['unified'] = {'memory.high': '50000000', 'memory.oom.group': '1', 'cpu.weight': '77'}
    box.create()
    assert read(box, 'memory', 'memory.high') == '49999872'
    assert read(box, 'memory', 'memory.oom.group') == '1'
    assert read(box, 'cpu', 'cpu.weight') == '77'
    update(oci, box, {'unified': {'cpu.weight': '78'}})
    assert read(box, 'cpu', 'cpu.weight') == '78'
    assert read(box, 'memory', 'memory.oom.group') == '1'


@pytest.mark.not_by('crun', 'leaves groups behind')
@pytest.mark.skipif(PURE_V2, reason='cgroup v2')
def test_unified_on_v1(oci):
    box = oci.container()
    box.linux['resources']['unified'] = {'memory.high': '50000000'}
    box.refused('unified' if NAME == 'lxcri' else '')


# --- devices

TRY = r'''
try() { if (eval "$2") 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi; }
try null "echo >/dev/null"
try zero "head -c 1 /dev/zero >/dev/null"
try full "head -c 1 /dev/full >/dev/null"
mknod /tmp/kmsg c 1 11 && echo "mknod yes"
try kmsg-read "exec 3</tmp/kmsg"
try kmsg-write "exec 3>>/tmp/kmsg"
'''


def tries(text):
    return dict(line.split() for line in text.splitlines() if line.endswith((' yes', ' no')))


@pytest.mark.parametrize('rules, read_kmsg, write_kmsg', [
    ([], 'no', 'no'),
    ([{'allow': False, 'access': 'rwm'}], 'no', 'no'),
    ([{'allow': False, 'access': 'rwm'}, {'allow': True, 'type': 'c', 'major': 1, 'minor': 11, 'access': 'r'}],
     'yes', 'no'),
    ([{'allow': False, 'access': 'rwm'}, {'allow': True, 'type': 'c', 'major': 1, 'minor': 11, 'access': 'rwm'},
      {'allow': False, 'type': 'c', 'major': 1, 'minor': 11, 'access': 'w'}], 'yes', 'no'),
    ([{'allow': True, 'access': 'rwm'}], 'yes', 'yes'),
    ([{'allow': True, 'type': 'c', 'major': 1, 'minor': 11, 'access': 'rwm'}, {'allow': False, 'access': 'rwm'}],
     'no', 'no'),
], ids=['none', 'deny', 'read', 'taken-back', 'all', 'order'])
def test_device_rules(oci, rules, read_kmsg, write_kmsg):
    if NAME == 'crun' and not rules:
        pytest.skip('crun allows all then')
    box = oci.container().caps('CAP_SYSLOG', 'CAP_SYS_ADMIN')
    box.linux['resources']['devices'] = rules
    assert tries(box.says(TRY)) == {'null': 'yes', 'zero': 'yes', 'full': 'yes', 'mknod': 'yes', 'kmsg-read': read_kmsg,
                                    'kmsg-write': write_kmsg}


@pytest.mark.not_by('runc', 'leaves devices alone in updates')
@pytest.mark.not_by('crun', 'leaves devices alone in updates')
def test_device_rules_are_replaced(oci):
    box = oci.container().caps('CAP_SYSLOG', 'CAP_SYS_ADMIN').sh(
        'while :; do head -c 1 /dev/zero >/dev/null || echo lost; done')
    box.up()
    base = [{'allow': False, 'access': 'rwm'}, {'allow': True, 'type': 'c', 'major': 1, 'minor': -1, 'access': 'rw'}]
    for _ in range(20):
        update(oci, box, {'devices': base})
        update(oci, box, {'devices': base + [{'allow': True, 'type': 'c', 'major': 5, 'minor': 0, 'access': 'rw'}]})
    assert 'lost' not in box.output_text()


# --- groups

BY_PATH = pytest.mark.skipif(has_systemd(), reason='systemd has names, no paths')


@BY_PATH
@pytest.mark.not_by('crun', 'kills all that is in it')
def test_a_group_that_was_there_is_joined(oci):
    """What else is in it is neither killed nor is the group removed."""
    box = oci.container()
    group = f'/{ID}/shared'
    box.linux['cgroupsPath'] = box.cgroup = group
    box.linux['resources']['pids'] = {'limit': 77}
    folders = ['/sys/fs/cgroup' + group] if PURE_V2 else [top + group[1:] for top in glob.glob('/sys/fs/cgroup/*/')]
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    if not is_v2('cpuset'):
        for file in ('cpus', 'mems'):
            for level in (f'/{ID}', group):
                with open(f'/sys/fs/cgroup/cpuset/cpuset.{file}', encoding='ascii') as source:
                    text = source.read()
                with open(f'/sys/fs/cgroup/cpuset{level}/cpuset.{file}', 'w', encoding='ascii') as f:
                    f.write(text)
    with subprocess.Popen(['sleep', '1000']) as stranger:
        try:
            for folder in folders:
                with open(folder + '/cgroup.procs', 'w', encoding='ascii') as f:
                    f.write(str(stranger.pid))
            box.up()
            assert read(box, 'pids', 'pids.max') == '77'
            assert group in box.proc('cgroup')
            box.stop()
            box.delete()
            assert alive(stranger.pid) and all(os.path.isdir(folder) for folder in folders)
        finally:
            stranger.kill()
            stranger.wait()

    def gone():
        for folder in folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not any(os.path.isdir(folder) for folder in folders)
    until(gone)


def own_group():
    with open('/proc/self/cgroup', encoding='ascii') as f:
        return max((line.rstrip('\n').split(':', 2)[2] for line in f), key=len)


@BY_PATH
@pytest.mark.not_by('crun', 'has its own places')
@pytest.mark.parametrize('path', [None, 'some/../where'])
def test_paths_that_are_not_absolute(oci, path):
    """Below the caller's group, on v2 beside it."""
    box = oci.container()
    if path:
        box.linux['cgroupsPath'] = path = f'{ID}/{path}'
    else:
        del box.linux['cgroupsPath']
    base = own_group()
    if PURE_V2:
        base = os.path.dirname(base)
    box.create()
    want = os.path.normpath(base + '/' + (path or box.id))
    assert want in [line.split(':', 2)[2] for line in box.proc('cgroup').splitlines()]
    box.stop()
    box.delete()
    if path:  # the parent is not the runtime's
        for top in {'/sys/fs/cgroup', *glob.glob('/sys/fs/cgroup/*/')}:
            with contextlib.suppress(OSError):
                os.rmdir(top + os.path.dirname(want))


@pytest.mark.not_by('crun', 'pauses twice')
def test_pause(oci):
    box = oci.container().sh('while :; do :; done')
    box.up()

    def used():
        with open(f'/proc/{box.pid}/stat', encoding='ascii') as f:
            return int(f.read().rsplit(')', 1)[1].split()[11])
    until(lambda: used() > 5)
    oci.call('pause', box.id)
    assert box.status() == 'paused'
    before = used()
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(['sleep', '0.3'], check=True)
    assert used() == before
    with pytest.raises(Refused):
        oci.call('pause', box.id)
    oci.call('resume', box.id)
    assert box.status() == 'running'
    until(lambda: used() > before + 5)
    oci.call('pause', box.id)
    box.delete('--force')


def test_kill_all_without_a_pid_namespace(oci):
    """What its first process has started is in the host's namespace, and forks all the time."""
    box = oci.container().without_namespace('pid').sh('for i in 1 2 3; do (while :; do (:); done) & done; echo up; wait')
    box.linux['resources']['pids'] = {'limit': 50}
    box.up()
    box.expect('up')
    folder = folder_of('pids', box.cgroup)
    box.kill('KILL', '--all')
    box.wait()

    def empty():
        oci.reap_all()
        try:
            with open(folder + '/cgroup.procs', encoding='ascii') as f:
                return not f.read()
        except OSError as error:  # systemd has removed its scope, which is empty then: before it was opened, or after
            assert error.errno in (errno.ENOENT, errno.ENODEV)
            return True
    until(empty)


def test_ps(oci):
    box = oci.container().sh('sleep 1000 & sleep 1000 & echo up; wait')
    box.up()
    box.expect('up')
    pids = json.loads(oci.call('ps', '--format', 'json', box.id))

    def in_group():
        with open(os.path.join(folder_of('memory', box.cgroup), 'cgroup.procs'), encoding='ascii') as f:
            return sorted(int(word) for word in f.read().split())
    until(lambda: in_group() == sorted(pids))  # the watcher, which is not listed, leaves the group in its own time
    assert len(pids) == 3 and box.pid in pids


# --- events

@pytest.mark.not_by('crun', 'has no events')
def test_statistics_agree_with_the_group(oci):
    box = oci.container().sh('head -c 50000000 /dev/zero | md5sum; echo up; exec sleep 1000')
    box.linux['resources'].update(memory={'limit': 64 * MIB}, pids={'limit': 77})
    box.up()
    box.expect('up')
    event = json.loads(oci.call('events', '--stats', box.id))
    assert event['type'] == 'stats' and event['id'] == box.id
    data = event['data']
    assert data['memory']['usage']['limit'] == 64 * MIB
    assert data['pids'] == {'current': 1, 'limit': 77}
    assert 10000000 < data['cpu']['usage']['total'] < 10 ** 11
    usage = int(read(box, 'memory', 'memory.current' if is_v2('memory') else 'memory.usage_in_bytes'))
    assert abs(data['memory']['usage']['usage'] - usage) < 4 * MIB


@pytest.mark.not_by('crun', 'has no events')
def test_lack_of_memory_is_told(oci):
    box = oci.container().sh('while [ ! -e /tmp/go ]; do sleep 0.1; done; head -c 60000000 /dev/zero | tail; exec sleep 1000')
    box.linux['resources']['memory'] = {'limit': 20 * MIB, 'swap': 20 * MIB}
    box.up()
    with subprocess.Popen(oci.command('events', '--interval', '1s', box.id), stdout=subprocess.PIPE, text=True) as events:
        timer = threading.Timer(60, events.kill)
        timer.start()
        try:
            assert json.loads(events.stdout.readline())['type'] == 'stats'
            box.file('/tmp/go')
            event = {'type': 'stats'}
            while event['type'] == 'stats':
                event = json.loads(events.stdout.readline())
            assert event == {'type': 'oom', 'id': box.id}
            box.stop()
            assert all(json.loads(line)['type'] in ('oom', 'stats') for line in events.stdout.read().splitlines())
        finally:
            timer.cancel()
            events.kill()


# --- systemd

def unit_is(unit, **properties):
    text = subprocess.run(['systemctl', 'show', unit], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = dict(line.split('=', 1) for line in text.splitlines() if '=' in line)
    assert {name: found.get(name) for name in properties} == properties


@pytest.mark.skipif(has_systemd(), reason='systemd runs here')
@pytest.mark.not_by('crun', 'says it otherwise')
def test_without_systemd(oci):
    box = oci.container()
    box.linux['cgroupsPath'] = 'system.slice:lxcri-test:1'
    box.write()
    oci.note(box)
    with open(box.out_path, 'ab') as out:
        done = subprocess.run(oci.command('create', '--bundle', box.bundle, box.id, options=('--systemd-cgroup',)),
                              check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    assert done.returncode and 'systemd' in box.output_text() + oci.last_log()
    assert not oci.knows(box.id)


@pytest.mark.skipif(not has_systemd(), reason='no systemd here')
def test_scope(oci):
    box = oci.container()
    name = ID.replace('-', '')
    unit = f'{name}-{box.id}.scope'
    box.cgroup = f'/{name}.slice/{name}-sub.slice/{unit}'
    box.linux['cgroupsPath'] = f'{name}-sub.slice:{name}:{box.id}'
    box.linux['resources'].update(memory={'limit': 64 * MIB}, pids={'limit': 77}, cpu={'quota': 50000, 'cpus': '0'})
    box.config['annotations'] = {'org.systemd.property.TimeoutStopSec': '7'}
    box.create()
    assert box.cgroup in box.proc('cgroup')
    unit_is(unit, ActiveState='active', Delegate='yes', MemoryMax='67108864', TasksMax='77', CPUQuotaPerSecUSec='500ms',
            AllowedCPUs='0', TimeoutStopUSec='7s', Slice=f'{name}-sub.slice', ControlGroup=box.cgroup)
    box.start()
    oci.call('update', '--memory', '96M', '--pids-limit', '88', box.id)
    unit_is(unit, MemoryMax='100663296', TasksMax='88')
    subprocess.run(['systemctl', 'daemon-reload'], check=True)
    assert read(box, 'pids', 'pids.max') == '88' and read(box, 'memory', 'memory.max') == '100663296'
    assert read(box, 'cpu', 'cpu.max') == '50000 100000' and read(box, 'cpuset', 'cpuset.cpus') == '0'
    oci.call('pause', box.id)
    assert box.status() == 'paused'
    oci.call('resume', box.id)
    box.stop()
    oci.call('delete', box.id)
    unit_is(unit, ActiveState='inactive')
    assert not os.path.exists(cgroup_path('memory', box.cgroup))
