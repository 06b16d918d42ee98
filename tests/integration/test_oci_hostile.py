"""Bundles and containers that mean harm: nothing of it reaches the host, and nothing hangs."""

import contextlib
import os
import signal
import stat
import subprocess
import tempfile
import time

import pytest

import images
from bundle import NAME, OTHER_WAIT, Refused, alive, kill_watcher, reap, until
from patience import SLOW
from runtime import has_systemd

ROUNDS = int(os.environ.get('LXCRI_OCI_RACES', '100'))  # of each race


@pytest.fixture
def treasure(oci):
    """A folder of the host that must not change."""
    path = os.path.join(oci.folder, 'treasure')
    os.makedirs(path)
    with open(path + '/gold', 'w', encoding='utf-8') as f:
        f.write('mine\n')
    before = os.stat(path + '/gold')
    yield path
    after = os.stat(path + '/gold')
    assert os.listdir(path) == ['gold'], 'something was made on the host'
    with open(path + '/gold', encoding='utf-8') as f:
        assert f.read() == 'mine\n'
    assert (before.st_mode, before.st_uid, before.st_ino) == (after.st_mode, after.st_uid, after.st_ino)
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        assert path not in f.read(), 'something was mounted on the host'


def attempt(box):
    """Runs it; refusing is as well as running. What it said, if it ran."""
    try:
        return box.run()
    except Refused as error:
        assert error.text.strip()
        return ''


@contextlib.contextmanager
def swapping(*paths):
    """A process that exchanges each two of the paths all the time."""
    probe = os.path.join(os.environ['LXCRI_TEST_TMP'], 'programs', 'probe')
    with subprocess.Popen([probe, 'swap', *paths]) as process:
        try:
            yield
        finally:
            process.kill()


# What a root file system may hold.

def test_mount_targets_that_are_symlinks(oci, treasure):
    """They are followed inside the root file system, never out of it."""
    for target in (treasure, '../' * 30 + treasure.lstrip('/'), '/proc/self/cwd/' + treasure, '/proc/1/root' + treasure):
        box = oci.container().sh('echo x >/mnt/link/file; ls /mnt')
        os.makedirs(box.rootfs + '/mnt')
        os.symlink(target, box.rootfs + '/mnt/link')
        box.mount('tmpfs', '/mnt/link', kind='tmpfs')
        attempt(box)


def test_mount_targets_below_symlinks(oci, treasure):
    box = oci.container().sh('true')
    os.symlink(treasure, box.rootfs + '/data')
    box.mount(box.folder('f', file='x'), '/data/made', 'bind')
    attempt(box)
    box = oci.container().sh('true')
    os.symlink(os.path.dirname(treasure), box.rootfs + '/data')
    box.mount(box.folder('f', file='x') + '/file', '/data/treasure/gold', 'bind')
    attempt(box)


def test_a_mount_target_file_that_is_a_symlink(oci, treasure):
    box = oci.container().sh('cat /etc/resolv.conf')
    os.symlink(treasure + '/gold', box.rootfs + '/etc/resolv.conf')
    box.mount(box.folder('f', file='given\n') + '/file', '/etc/resolv.conf', 'bind')
    attempt(box)


def test_dots_in_mount_targets(oci, treasure):
    for destination in ('/../../../../../../../../..' + treasure, '/mnt/../../../../../../..' + treasure, '../../../..' + treasure):
        box = oci.container().sh('true')
        box.mount('tmpfs', destination, kind='tmpfs')
        attempt(box)
    assert not os.path.ismount(treasure)


@pytest.mark.parametrize('folder', ['dev', 'proc', 'sys', 'etc', 'dev/pts'])
def test_folders_of_the_runtime_that_are_symlinks(oci, treasure, folder):
    if NAME != 'lxcri' and folder == 'dev':
        pytest.skip('runc 1.1.5 is open to it')
    box = oci.container().sh('true')
    path = os.path.join(box.rootfs, folder)
    if os.path.isdir(path):
        subprocess.run(['rm', '-r', path], check=True)
    os.symlink(treasure, path)
    attempt(box)


@pytest.mark.not_by('runc', '1.1.5 is open to it')
@pytest.mark.not_by('crun', '1.8.1 is open to it')
def test_devices_through_symlinks(oci, treasure):
    box = oci.container().without_mount('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue').sh('true')
    os.rmdir(box.rootfs + '/dev')
    os.symlink(treasure, box.rootfs + '/dev')
    box.linux['devices'] = [{'path': '/dev/evil', 'type': 'c', 'major': 1, 'minor': 3, 'fileMode': 0o666}]
    attempt(box)


def test_devices_with_dots(oci, treasure):
    box = oci.container().sh('true')
    box.linux['devices'] = [{'path': '/dev/../../../../../..' + treasure + '/evil', 'type': 'c', 'major': 1, 'minor': 3}]
    attempt(box)


def test_masked_and_readonly_paths_that_are_symlinks(oci, treasure):
    box = oci.container().sh('cat /etc/secret /opt')
    os.symlink(treasure + '/gold', box.rootfs + '/etc/secret')
    os.symlink(treasure, box.rootfs + '/opt')
    box.linux['maskedPaths'] += ['/etc/secret', '/opt']
    box.linux['readonlyPaths'] += ['/opt']
    attempt(box)


def test_a_cwd_that_is_a_symlink(oci, treasure):
    box = oci.container().sh('touch here; pwd')
    os.symlink(treasure, box.rootfs + '/work')
    box.process['cwd'] = '/work'
    attempt(box)
    box = oci.container('true')
    os.symlink(treasure, box.rootfs + '/work')
    box.process['cwd'] = '/work/made'
    attempt(box)


def test_cwd_by_a_leaked_descriptor(oci):
    """CVE-2024-21626: the working directory of the runtime's own descriptors leads to the host."""
    for number in range(3, 16):
        box = oci.container().sh('cat ../../../../../../../etc/hostname-of-host ../../../../../proc/1/comm; pwd; ls')
        box.process['cwd'] = f'/proc/self/fd/{number}'
        text = attempt(box)
        assert 'bin' not in text.split() or 'home' in text, text  # only the container's own root may show
    leak = os.path.join(oci.folder, 'leak')
    os.makedirs(leak)
    fd = os.open(leak, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    box = oci.container().sh('probe fds; exec sleep 1000')
    box.up(close_fds=False)
    os.close(fd)
    for name in os.listdir(f'/proc/{box.pid}/fd'):
        assert int(name) < 3, os.readlink(f'/proc/{box.pid}/fd/{name}')


def test_exec_into_a_cwd_of_descriptors(oci):
    box = oci.container()
    box.up()
    for number in (3, 5, 7, 9):
        done = box.exec('sh', '-c', 'ls ../../../../../..; pwd', options=['--cwd', f'/proc/self/fd/{number}'], check=False)
        assert 'treasure' not in done.stdout and 'boot' not in done.stdout


def test_a_rootfs_that_is_a_symlink(oci, treasure):
    """It is the bundle's word, so it is followed; what is in it is not more than the container's."""
    box = oci.container().sh('cat /etc/mark')
    box.file('/etc/mark', 'linked\n')
    os.rename(box.rootfs, box.rootfs + '-real')
    os.symlink('rootfs-real', box.rootfs)
    try:
        assert box.run() == 'linked\n'
    except Refused:
        pass
    assert os.listdir(treasure) == ['gold']


# Over /proc and /sys.

@pytest.mark.parametrize('destination', ['/proc', '/proc/self', '/proc/sys', '/proc/1', '/proc/self/attr'])
@pytest.mark.not_by('crun', 'takes some of these')
def test_a_mount_over_proc(oci, destination):
    """CVE-2019-16884, CVE-2019-19921: what hides /proc makes the runtime write labels to a file of the image."""
    box = oci.container().sh('cat /proc/self/comm')
    box.mount(box.folder('fake', exec='x'), destination, 'bind')
    box.refused('proc')


def test_lxcfs_may_be_below_proc(oci):
    box = oci.container().sh('cat /proc/uptime /proc/meminfo')
    folder = box.folder('lxcfs', uptime='1 1\n', meminfo='MemTotal: 5 kB\n')
    box.mount(folder + '/uptime', '/proc/uptime', 'bind').mount(folder + '/meminfo', '/proc/meminfo', 'bind')
    assert box.run() == '1 1\nMemTotal: 5 kB\n'


@pytest.mark.not_by('runc', '1.1.5 is open to it')
@pytest.mark.not_by('crun', '1.8.1 is open to it')
def test_proc_that_is_no_proc(oci):
    """CVE-2025-52881: writes that are meant for procfs must go to a procfs."""
    box = oci.container('true')
    box.without_mount('/proc')
    box.process['apparmorProfile'] = ''
    box.linux['sysctl'] = {'net.ipv4.ip_unprivileged_port_start': '1'}
    box.file('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'untouched')
    attempt(box)
    with open(box.rootfs + '/proc/sys/net/ipv4/ip_unprivileged_port_start', encoding='ascii') as f:
        assert f.read() == 'untouched'


def test_a_volume_for_proc_is_not_written(oci, treasure):
    """The same with a tmpfs or a bind for /proc, and links that lead to dangerous files."""
    fake = os.path.join(oci.folder, 'fakeproc')
    os.makedirs(fake + '/sys/net/ipv4')
    os.symlink(treasure + '/gold', fake + '/sys/net/ipv4/ip_unprivileged_port_start')
    box = oci.container('true')
    box.replace_mount('/proc', type='bind', source=fake, options=['bind'])
    box.linux['sysctl'] = {'net.ipv4.ip_unprivileged_port_start': '1'}
    attempt(box)


@pytest.mark.ours
def test_an_exec_where_proc_is_no_proc_any_more(oci):
    """A container may mount over its own /proc: what an exec writes there goes to a procfs, or nowhere."""
    box = oci.container().caps('CAP_SYS_ADMIN', 'CAP_SYS_RESOURCE')
    box.sh('mount -t tmpfs none /proc && mkdir /proc/self && echo untouched >/proc/self/oom_score_adj && echo ready && '
           'while :; do cat /proc/self/oom_score_adj; sleep 0.05; done')
    box.process['oomScoreAdj'] = 100
    box.up()
    box.expect('ready')
    done = box.exec('true', check=False)
    assert done.returncode != 0 and 'oom_score_adj' in done.stderr, done
    time.sleep(0.3)
    assert set(box.output_text().split()) == {'ready', 'untouched'}


def test_sysctl_only_writes_below_proc_sys(oci, treasure):
    for name in ('net/../../../../../../../../../../../..' + treasure + '/gold', 'net.ipv4./../../../sysrq-trigger'):
        box = oci.container('true')
        box.linux['sysctl'] = {name: '1'}
        with pytest.raises(Refused):
            box.run()


# The program of the runtime.

def test_the_runtimes_program_can_not_be_overwritten(oci):
    """CVE-2019-5736: a container whose program is /proc/self/exe writes to what executes it."""
    from bundle import program  # pylint: disable=import-outside-toplevel
    paths = [program()]
    if NAME == 'lxcri':
        paths.append(os.path.join(os.path.dirname(program()), 'proxmox-lxcri-init'))
    before = [os.stat(path) for path in paths]
    for argv in (['/proc/self/exe'], ['/evil']):
        box = oci.container(*argv)
        box.file('/evil', '#!/proc/self/exe\n', 0o755)
        with contextlib.suppress(Refused):
            box.up()  # the runtime's program, inside, may do what it can there
        oci.result('delete', '--force', box.id)
    box = oci.container().sh('for n in $(seq 200); do for p in /proc/[0-9]*/exe; do [ $p = /proc/$$/exe ] || '
                             'echo evil >$p; done 2>/dev/null; done; exec sleep 1000')
    box.up()
    for _ in range(10):
        box.exec('/bin/true', check=False)
    box.stop()
    after = [os.stat(path) for path in paths]
    assert [(info.st_size, info.st_mtime_ns) for info in before] == [(info.st_size, info.st_mtime_ns) for info in after]


@pytest.mark.ours
def test_the_executed_program_of_init_is_no_file_of_the_host(oci):
    """While it waits for start, init is a sealed copy."""
    box = oci.container()
    box.create()
    assert 'memfd:' in os.readlink(f'/proc/{box.pid}/exe')
    with pytest.raises(OSError):
        with open(f'/proc/{box.pid}/exe', 'r+b') as f:
            f.write(b'evil')


def test_init_is_not_to_be_traced_before_start(oci):
    """A container that shares the PID namespace can't reach the descriptors of one that is being made."""
    first = oci.container().sh('while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || ls -l $p/fd $p/root/ $p/cwd/ 2>/dev/null; done; done')
    first.caps('CAP_DAC_READ_SEARCH').up()
    for _ in range(5):
        second = oci.container('true').namespace('pid', f'/proc/{first.pid}/ns/pid')
        second.run()
    text = first.output_text()
    assert 'treasure' not in text and 'config.json' not in text
    assert ' boot' not in text, 'it has seen the root of the host'


@pytest.mark.ours
def test_init_of_a_shared_user_namespace_is_out_of_reach(oci):
    """A neighbour with all rights in the user namespace, who may trace all that is its own, gets at no descriptor of the
    init that waits for start: it is the host's program until then."""
    first = oci.container().user_namespace()
    first.caps('CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH', 'CAP_SYS_ADMIN')
    first.up()
    box = oci.container().user_namespace().namespace('user', f'/proc/{first.pid}/ns/user')
    box.namespace('pid', f'/proc/{first.pid}/ns/pid')
    box.create()
    inside = box.status_field('NSpid').split()[-1]
    listing = first.exec('sh', '-c', f'ls /proc/{inside}/fd && ls -l /proc/{inside}/exe /proc/{inside}/root/; echo end')
    assert listing.split() == ['end'], listing
    box.start()
    until(lambda: 'sleep' in box.proc('comm'))
    assert 'end' in first.exec('sh', '-c', f'ls /proc/{inside}/fd && echo end')  # as soon as it is the container's own


# Exchanges while the container is made. The attacker is a process of the host with a shared folder, the quickest there is.

def racing(oci, prepare, check, rounds=ROUNDS):
    """Runs a container again and again while two paths in its root are exchanged."""
    box = oci.container()
    paths = prepare(box)
    ran = 0
    with swapping(*paths):
        for _ in range(rounds):
            try:
                text = box.run()
                ran += 1
            except Refused as error:
                text = error.text
            check(box, text)
    return ran


def test_race_of_a_mount_target_with_a_symlink(oci, treasure):
    def prepare(box):
        box.args('true')
        volume = box.folder('volume')
        os.makedirs(volume + '/a/target')
        os.symlink(treasure, volume + '/b')
        box.mount(volume, '/vol', 'rbind').mount('tmpfs', '/vol/a/target', kind='tmpfs')
        box.mount(box.folder('f', file='x') + '/file', '/vol/a/file', 'bind')
        return volume + '/a', volume + '/b'

    def check(box, text):
        del box, text
        assert os.listdir(treasure) == ['gold']
    racing(oci, prepare, check)


def test_race_of_a_masked_path(oci, treasure):
    """CVE-2025-31133: what /dev/null is exchanged with must not be bound over a masked path, and the path stays masked."""
    def prepare(box):
        box.sh('cat /etc/secret')
        box.file('/etc/secret', '')
        os.makedirs(box.rootfs + '/devs')
        box.without_mount('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue')
        os.mknod(box.rootfs + '/dev/null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.symlink(treasure + '/gold', box.rootfs + '/dev/other')
        box.linux['maskedPaths'] = ['/etc/secret']
        return box.rootfs + '/dev/null', box.rootfs + '/dev/other'

    def check(box, text):
        del box
        assert 'mine' not in text
    racing(oci, prepare, check)


def test_race_of_a_masked_path_with_a_symlink(oci, treasure):
    def prepare(box):
        box.args('true')
        box.file('/etc/secret', '')
        os.symlink(treasure + '/gold', box.rootfs + '/etc/other')
        box.linux['maskedPaths'] = ['/etc/secret']
        box.linux['readonlyPaths'] = ['/etc/secret', '/etc/other']
        return box.rootfs + '/etc/secret', box.rootfs + '/etc/other'
    racing(oci, prepare, lambda box, text: None)


@pytest.mark.not_by('runc', '1.1.5 is open to it')
@pytest.mark.not_by('crun', '1.8.1 is open to it')
def test_race_of_dev(oci, treasure):
    """The folder where devices are made."""
    def prepare(box):
        box.args('true')
        box.without_mount('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue')
        os.symlink(treasure, box.rootfs + '/other')
        return box.rootfs + '/dev', box.rootfs + '/other'

    def check(box, text):
        del box, text
        assert os.listdir(treasure) == ['gold']
    racing(oci, prepare, check)


def test_race_of_the_console(oci, treasure):
    """CVE-2025-52565: /dev/console is exchanged while the terminal is bound to it."""
    from bundle import ConsoleSocket  # pylint: disable=import-outside-toplevel
    box = oci.container('true')
    box.process['terminal'] = True
    box.without_mount('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue')
    box.mount('devpts', '/dev/pts', 'newinstance', 'ptmxmode=0666', kind='devpts')
    box.file('/dev/console')
    os.symlink(treasure + '/gold', box.rootfs + '/dev/other')
    console = ConsoleSocket(oci.folder)
    with swapping(box.rootfs + '/dev/console', box.rootfs + '/dev/other'):
        for _ in range(ROUNDS // 2):
            try:
                box.create('--console-socket', console.path)
                console.accept()
                os.close(console.fd)
                console.fd = -1
                box.start()
                reap(box.pid)
            except Refused:
                pass
            console.socket.settimeout(0.001)
            with contextlib.suppress(OSError):
                console.socket.accept()[0].close()
            console.socket.settimeout(20)
            oci.result('delete', '--force', box.id)
            oci.reap_all()
            with open('/proc/self/mountinfo', encoding='utf-8') as f:
                assert treasure not in f.read()
    console.close()


def test_race_of_cwd(oci, treasure):
    def prepare(box):
        box.sh('touch made-here')
        os.makedirs(box.rootfs + '/work')
        os.symlink(treasure, box.rootfs + '/other')
        box.process['cwd'] = '/work'
        return box.rootfs + '/work', box.rootfs + '/other'
    racing(oci, prepare, lambda box, text: None)


@pytest.mark.not_by('runc', '1.1.5 is open to it')
@pytest.mark.not_by('crun', '1.8.1 is open to it')
def test_race_by_another_container(oci, treasure):
    """The attacker as it is in life: a container that shares a volume with the one that is made."""
    volume = os.path.join(oci.folder, 'volume')
    os.makedirs(volume + '/a')
    os.symlink(treasure, volume + '/b')
    attacker = oci.container('probe', 'swap', '/vol/a', '/vol/b').mount(volume, '/vol', 'bind')
    attacker.up()
    box = oci.container('true').mount(volume, '/vol', 'bind').mount('tmpfs', '/vol/a/deep/er', kind='tmpfs')
    for _ in range(ROUNDS):
        attempt(box)
        assert os.listdir(treasure) == ['gold']
    assert attacker.status() == 'running'


@pytest.mark.not_by('runc', 'executes its own program by descriptor before, and has other windows')
@pytest.mark.not_by('crun', '1.8.1 is not made for it')
def test_race_of_proc_and_the_program_of_init(oci, treasure):
    """/proc is exchanged, with the mount on it, for a folder that has programs where descriptors are: what init is must
    not be looked for in there."""
    def prepare(box):
        box.args('true')
        box.linux['maskedPaths'] = box.linux['readonlyPaths'] = []
        for number in range(3, 60):
            box.file(f'/other/self/fd/{number}', '#!/bin/sh\n: >/executed\n', 0o755)
        return box.rootfs + '/proc', box.rootfs + '/other'

    def check(box, text):
        assert not os.path.exists(box.rootfs + '/executed'), text
    racing(oci, prepare, check)
    assert os.listdir(treasure) == ['gold']


@pytest.mark.not_by('runc', '1.1.5 is open to it')
@pytest.mark.not_by('crun', '1.8.1 is open to it')
def test_race_of_a_device_with_a_symlink(oci, treasure):
    """What gets the device's mode is the device, whatever has its name by now: not a file of the host's, which a link
    leads to by the processes of a shared PID namespace."""
    def prepare(box):
        box.args('true').without_namespace('pid')
        box.without_mount('/dev', '/dev/pts', '/dev/shm', '/dev/mqueue')
        os.mknod(box.rootfs + '/dev/evil', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.symlink('/proc/1/root' + treasure + '/gold', box.rootfs + '/dev/other')
        # Twice, so that there is always a mode to set.
        box.linux['devices'] = [{'path': '/dev/evil', 'type': 'c', 'major': 1, 'minor': 3, 'fileMode': 0o666},
                                {'path': '/dev/evil', 'type': 'c', 'major': 1, 'minor': 3, 'fileMode': 0o606}]
        return box.rootfs + '/dev/evil', box.rootfs + '/dev/other'

    def check(box, text):
        del box
        assert stat.S_IMODE(os.stat(treasure + '/gold').st_mode) == 0o644, text
    racing(oci, prepare, check)


# Resources.

def test_a_flood_of_output(oci):
    """Whoever reads slowly slows the container, not the runtime."""
    read, write = os.pipe()
    box = oci.container('probe', 'flood')
    box.create(stdout=write, stderr=write)
    os.close(write)
    box.start()
    before = time.monotonic()
    total = 0
    while total < 200 << 20:
        total += len(os.read(read, 1 << 20))
        assert time.monotonic() - before < 120 * SLOW
    time.sleep(0.1)
    assert box.status() == 'running'
    box.delete('--force')
    assert box.wait() == -9
    os.close(read)


def test_output_that_nobody_reads(oci):
    read, write = os.pipe()
    box = oci.container('probe', 'flood')
    box.create(stdout=write, stderr=write)
    box.start()
    time.sleep(0.2)
    assert box.status() == 'running'
    box.delete('--force')
    assert box.wait() == -9
    os.close(read)
    os.close(write)


def test_forks_without_end(oci):
    box = oci.container('probe', 'forks')
    box.linux['resources']['pids'] = {'limit': 50}
    box.up()
    box.expect('refused 11')
    with open(box.cgroup_file('pids', 'pids.current'), encoding='ascii') as f:
        assert int(f.read()) <= 50
    before = time.monotonic()
    assert box.status() == 'running'
    box.delete('--force')
    assert time.monotonic() - before < 60 * SLOW
    box.wait()
    oci.expect_nothing()


def test_forks_without_end_and_without_a_pid_namespace(oci):
    box = oci.container('probe', 'forks').without_namespace('pid')
    box.linux['resources']['pids'] = {'limit': 50}
    box.up()
    box.expect('refused 11')
    box.delete('--force')
    box.wait()
    oci.expect_nothing()


def test_memory_without_end(oci):
    box = oci.container().sh('tail /dev/zero')
    box.linux['resources']['memory'] = {'limit': 32 << 20, 'swap': 32 << 20}
    done = box.run(check=False)
    assert done.returncode != 0


def test_a_container_that_stops_init(oci):
    """SIGSTOP from the host; state and delete go on."""
    box = oci.container()
    box.up()
    os.kill(box.pid, signal.SIGSTOP)
    assert box.status() == 'running'
    box.delete('--force')
    assert box.wait() == -9
    oci.expect_nothing()


def test_a_container_that_ignores_signals(oci):
    box = oci.container().sh('trap "" TERM HUP INT; echo ready; while :; do sleep 0.1; done')
    box.up()
    box.expect('ready')
    box.kill('TERM')
    time.sleep(0.1)
    assert box.status() == 'running'
    box.kill('KILL')
    assert box.wait() == -9


def test_a_container_without_its_own_files(oci):
    """It removes all it can reach; the runtime's commands need none of that."""
    box = oci.container().sh('echo gone; rm -rf /bin /dev/* /etc /home 2>/dev/null; while :; do :; done')
    box.up()
    box.expect('gone')
    until(lambda: not os.path.exists(box.rootfs + '/etc'))
    assert box.status() == 'running'
    assert box.exec('true', check=False).returncode != 0
    box.delete('--force')
    assert box.wait() == -9


def test_a_container_that_replaces_its_programs(oci):
    """What exec runs is the container's, with the container's rights."""
    box = oci.container().sh('rm /bin/ls; cat /bin/id >/dev/null; printf "#!/bin/sh\\nid -u; cat /proc/self/comm\\n" >/bin/ls; chmod +x /bin/ls; '
                             'echo replaced; exec sleep 1000')
    box.user_namespace()
    box.up()
    box.expect('replaced')
    assert box.exec('ls').startswith('0\n')


def test_hostile_answers_to_the_runtime(oci):
    """A container's root can't talk to what start and the watcher listen on."""
    box = oci.container().sh('grep -c "@" /proc/net/unix; find / -xdev -type s -o -xdev -name "*.sock" | head; echo end')
    box.process['noNewPrivileges'] = False
    text = box.run()
    assert text.strip().splitlines()[0] == '0' and text.strip().splitlines()[-1] == 'end', text
    assert '.sock' not in text


@pytest.mark.ours
def test_a_root_that_the_root_of_the_user_namespace_may_not_enter(oci):
    box = oci.container().user_namespace()
    os.chown(box.rootfs, 0, 0)
    os.chmod(box.rootfs, 0o700)
    box.refused('root.path', 'user 100000', 'mode 0700')


@pytest.mark.ours
def test_a_root_that_can_not_be_mounted_on(oci):
    """Each time, whoever is quicker: what the launcher has to say is heard, though it did not read all it was told."""
    box = oci.container()
    os.rmdir(box.rootfs + '/proc')
    box.file('/proc')
    for _ in range(20):
        box.refused("image's /proc")


@pytest.mark.ours
def test_a_null_device_that_is_another(oci):
    box = oci.container()
    box.linux['devices'] = [{'path': '/dev/null', 'type': 'c', 'major': 1, 'minor': 5}]
    box.refused('/dev/null', 'not the null device')


# Configurations that are odd.

def odd(oci, text):
    box = oci.container()
    with open(os.path.join(box.bundle, 'config.json'), 'wb') as f:
        f.write(text)
    oci.note(box)
    done = oci.result('create', '--bundle', box.bundle, box.id)
    assert done.returncode != 0 and done.returncode < 128, done
    assert done.stderr.strip()
    assert not oci.knows(box.id)


@pytest.mark.parametrize('text', [b'', b'{', b'[]', b'null', b'{"ociVersion": 5}', b'\0' * 100, b'{"ociVersion":"9.0.0"}',
                                  b'[' * 100000, b'{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"args":[5]}}'],
                         ids=['empty', 'cut', 'list', 'null', 'number', 'zeros', 'version', 'deep', 'type'])
def test_configurations_that_are_none(oci, text):
    if NAME == 'crun' and text[:1] in (b'n', b'{', b'['):
        pytest.skip('crun crashes on some, and takes others')
    if NAME == 'runc' and text == b'{"ociVersion":"9.0.0"}':
        pytest.skip('runc does not look at it')
    odd(oci, text)


def test_a_huge_configuration(oci):
    odd(oci, b'{"ociVersion":"1.0.2","annotations":{"a":"' + b'x' * (32 << 20))


def test_a_configuration_that_is_no_file(oci):
    box = oci.container()
    os.mkfifo(os.path.join(box.bundle, 'config.json')) if NAME == 'lxcri' else os.mkdir(os.path.join(box.bundle, 'config.json'))
    done = oci.result('create', '--bundle', box.bundle, box.id, timeout=60 * SLOW)
    assert done.returncode != 0


def damage(box, how):
    folder = os.path.join(box.host.root, box.id)
    names = [name for name in os.listdir(folder) if name.endswith('.json') and ('all' in how or name == 'state.json')]
    assert names
    for name in names:
        if 'cut' in how:
            os.truncate(os.path.join(folder, name), 5)
        else:
            os.unlink(os.path.join(folder, name))


@pytest.mark.ours
@pytest.mark.parametrize('how', ['cut', 'gone', 'cut all', 'gone all'])
@pytest.mark.parametrize('kind', ['running', 'created', 'shared', 'unwatched'])
def test_a_state_that_is_damaged(oci, how, kind):
    """Commands say so; delete --force finds the container all the same, and nobody else."""
    other = oci.container()
    other.up()
    box = oci.container().sh('sleep 1000 & exec sleep 1000')
    if kind == 'shared':  # what it leaves behind lives on
        box.namespace('pid', f'/proc/{other.pid}/ns/pid')
    box.create()
    if kind != 'created':
        box.start()
    if kind == 'unwatched':
        kill_watcher(box)
    damage(box, how)
    done = oci.result('state', box.id)
    assert done.returncode < 128 and ('cut' not in how or done.returncode)
    oci.result('list', '-q')
    done = oci.result('delete', box.id)
    assert done.returncode and '--force' in done.stderr
    done = oci.result('delete', '--force', box.id)
    assert done.returncode == 0, done.stderr
    assert any(box.id in line['msg'] and 'without its state' in line['msg'] for line in oci.log_lines())
    if kind == 'unwatched' and 'all' in how:  # there is nothing that leads to it; the caller is told
        assert any('no first process' in line['msg'] for line in oci.log_lines())
        os.kill(box.pid, signal.SIGKILL)
        box.wait()
        oci.sweep_cgroups()
    else:
        assert box.wait() == -9
        if has_systemd():
            shown = subprocess.run(['systemctl', 'show', '--property=LoadState', '--value', os.path.basename(box.cgroup)],
                                   check=True, stdout=subprocess.PIPE, text=True)
            assert shown.stdout == 'not-found\n', 'its scope is still known'
    assert other.status() == 'running'
    other.delete('--force')
    other.wait()
    oci.expect_nothing()


# A liblxc that is not what we know.

@pytest.mark.ours
@pytest.mark.skipif(os.uname().machine != 'x86_64', reason='made of machine code')
def test_a_liblxc_that_waits_otherwise(oci):
    """Nobody takes over its loop then: create says so in the end, and leaves nothing."""
    from bundle import program  # pylint: disable=import-outside-toplevel
    places = [path for path in (os.path.dirname(program()), '/var/tmp') if os.stat(path).st_dev == os.stat('/').st_dev]
    if not places:
        pytest.skip('the launcher sees no more than the root')
    with tempfile.TemporaryDirectory(dir=places[0], prefix='other-liblxc-') as folder:
        with_other_liblxc(oci, folder)


def with_other_liblxc(oci, folder):
    with open('/usr/lib/x86_64-linux-gnu/liblxc.so.1', 'rb') as f:
        library = f.read()
    assert library.count(b'\0epoll_wait\0') == 1
    with open(folder + '/liblxc.so.1', 'wb') as f:
        f.write(library.replace(b'\0epoll_wait\0', b'\0epoll_wai_\0'))
    with open(folder + '/wait.so', 'wb') as f:
        f.write(images.bare_library(OTHER_WAIT))
    box = oci.container()
    before = time.monotonic()
    with pytest.raises(Refused) as caught:
        box.create(env={**os.environ, 'LD_LIBRARY_PATH': folder, 'LD_PRELOAD': folder + '/wait.so'})
    assert 'epoll_wait()' in caught.value.text, caught.value.text
    assert 15 < time.monotonic() - before < 15 + 25 * SLOW
    oci.reap_all()
    oci.expect_nothing()
