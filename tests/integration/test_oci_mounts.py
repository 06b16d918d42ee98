"""Mounts of a bundle: kinds, each option, propagation, idmapped, the root file system, masked and read-only paths."""

import ctypes
import os
import re
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from bundle import NAME, find_mount, kernel, until
from patience import SLOW


def host_mount(*args):
    subprocess.run(['mount', *args], check=True)


def mount_tmpfs(path):
    host_mount('-t', 'tmpfs', 'none', path)


def mount_idmappable(path):
    """tmpfs has idmapped mounts from Linux 6.3 on; before it, an ext4 in a file that nobody else has."""
    if kernel() >= (6, 3):
        mount_tmpfs(path)
        return
    with tempfile.NamedTemporaryFile(dir=os.environ['LXCRI_TEST_TMP']) as image:
        subprocess.run(['mkfs.ext4', '-q', image.name, '2M'], check=True, stderr=subprocess.DEVNULL)
        host_mount('-o', 'loop', image.name, path)


def made_tree(oci, mount):
    path = os.path.join(oci.folder, 'tree')
    os.makedirs(path)
    mount(path)
    host_mount('--make-private', path)
    os.makedirs(path + '/sub')
    with open(path + '/file', 'w', encoding='utf-8') as f:
        f.write('on the host\n')
    mount(path + '/sub')
    with open(path + '/sub/below', 'w', encoding='utf-8') as f:
        f.write('below\n')
    yield path
    for container in oci.containers:
        oci.result('delete', '--force', container.id)
    subprocess.run(['umount', '-R', path], check=True)


@pytest.fixture
def tree(oci):
    """A folder of the host with a file and a mount below it, `sub`; what the test leaves mounted is unmounted."""
    yield from made_tree(oci, mount_tmpfs)


@pytest.fixture
def idmappable(oci):
    """The same, of a file system whose mounts this kernel can map."""
    yield from made_tree(oci, mount_idmappable)


def options_of(box, point):
    found = box.mountinfo(point)
    assert found, box.proc('mountinfo')
    return found[0]


def test_the_default_file_systems(oci):
    box = oci.container()
    box.up()
    kinds = {point: box.mountinfo(point)[2] for point in
             ('/', '/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue', '/sys')}
    kinds.pop('/')
    assert kinds == {'/proc': 'proc', '/dev': 'tmpfs', '/dev/pts': 'devpts', '/dev/shm': 'tmpfs', '/dev/mqueue': 'mqueue',
                     '/sys': 'sysfs'}
    assert 'ro' in options_of(box, '/sys') and {'nosuid', 'nodev', 'noexec'} <= set(options_of(box, '/sys'))


def test_nothing_of_the_host_is_mounted(oci, tree):
    box = oci.container()
    box.up()
    assert tree not in box.proc('mountinfo') and oci.folder + '/root' not in box.proc('mountinfo')
    points = [line.split()[4] for line in box.proc('mountinfo').splitlines()]
    assert not [point for point in points if point.startswith(('/var', '/run', '/home', '/.', '/usr'))], points


def test_mounts_are_made_in_order(oci):
    box = oci.container().sh('cat /mnt/a/file; ls /mnt')
    first, second = box.folder('first', x='1'), box.folder('second', file='second\n')
    os.makedirs(first + '/a')
    box.mount(first, '/mnt', 'bind').mount(second, '/mnt/a', 'bind')
    assert box.run() == 'second\na\nx\n'


def test_a_missing_target_is_made(oci):
    box = oci.container().sh('cat /not/there/file /a/file; test -d /not/there')
    folder = box.folder('f', file='well\n')
    box.mount(folder, '/not/there', 'bind').mount(folder + '/file', '/a/file', 'bind')
    assert box.run() == 'well\nwell\n'


def test_bind_of_a_file(oci):
    box = oci.container().sh('cat /etc/passwd; echo changed >/etc/passwd')
    path = box.folder('f', passwd='mine\n') + '/passwd'
    box.mount(path, '/etc/passwd', 'bind')
    assert box.run() == 'mine\n'
    with open(path, encoding='utf-8') as f:
        assert f.read() == 'changed\n'


def test_bind_of_a_socket(oci):
    box = oci.container('probe', 'get', '/run/the.sock')
    path = os.path.join(oci.folder, 's')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(60)
        box.mount(path, '/run/the.sock', 'bind')
        box.up()
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b'from the host')
        box.wait()
    assert box.output_text() == 'from the host'


def test_bind_with_a_relative_source(oci):
    """It is relative to the bundle."""
    box = oci.container().sh('cat /mnt/file')
    box.folder('here', file='relative\n')
    box.mount('here', '/mnt', 'bind')
    assert box.run() == 'relative\n'


def test_bind_and_rbind(oci, tree):
    box = oci.container().sh('ls /one/sub; echo --; ls /all/sub')
    box.mount(tree, '/one', 'bind').mount(tree, '/all', 'rbind')
    assert box.run() == '--\nbelow\n'


def test_a_bind_needs_no_type(oci):
    box = oci.container().sh('cat /mnt/file')
    box.mount(box.folder('f', file='well\n'), '/mnt', 'bind', kind='none')
    assert box.run() == 'well\n'


FLAGS = {'ro': 'ro', 'nosuid': 'nosuid', 'nodev': 'nodev', 'noexec': 'noexec', 'noatime': 'noatime',
         'nodiratime': 'nodiratime', 'relatime': 'relatime', 'nosymfollow': 'nosymfollow'}


@pytest.mark.parametrize('option', FLAGS)
@pytest.mark.parametrize('kind', ['bind', 'tmpfs'])
def test_flags(oci, tree, option, kind):
    """Each is there in the container, and nothing of it on the host."""
    if option == 'nosymfollow' and NAME in ('runc', 'crun'):
        pytest.skip(f'{NAME} knows none')
    box = oci.container()
    if kind == 'bind':
        box.mount(tree, '/mnt', 'bind', option)
    else:
        box.mount('tmpfs', '/mnt', option, kind='tmpfs')
    box.up()
    assert FLAGS[option] in options_of(box, '/mnt')


def test_relatime_of_a_bind(oci, tree):
    """Where the host's mount is another."""
    host_mount('-o', 'remount,bind,noatime', tree)
    box = oci.container().mount(tree, '/mnt', 'bind', 'relatime')
    box.up()
    assert 'relatime' in options_of(box, '/mnt') and 'noatime' not in options_of(box, '/mnt')


def test_strictatime(oci):
    box = oci.container().mount('tmpfs', '/mnt', 'strictatime', kind='tmpfs')
    box.up()
    assert not {'noatime', 'relatime'} & set(options_of(box, '/mnt'))


@pytest.mark.parametrize('option,super_option', [('sync', 'sync'), ('dirsync', 'dirsync'), ('lazytime', 'lazytime')])
def test_flags_of_a_file_system(oci, option, super_option):
    if option == 'lazytime' and NAME == 'runc':
        pytest.skip('runc 1.1 takes it for an option of the file system')
    box = oci.container().mount('tmpfs', '/mnt', option, kind='tmpfs')
    box.up()
    assert super_option in box.mountinfo('/mnt')[4]


@pytest.mark.parametrize('first,second,gone', [('ro', 'rw', 'ro'), ('nosuid', 'suid', 'nosuid'), ('nodev', 'dev', 'nodev'),
                                               ('noexec', 'exec', 'noexec'), ('noatime', 'atime', 'noatime'),
                                               ('nodiratime', 'diratime', 'nodiratime')])
@pytest.mark.not_by('crun', 'takes all away')
def test_the_last_of_two_opposites_holds(oci, first, second, gone):
    box = oci.container()
    box.mount('tmpfs', '/one', first, second, kind='tmpfs')
    box.mount('tmpfs', '/two', second, first, kind='tmpfs')
    box.up()
    assert gone not in options_of(box, '/one')
    assert gone in options_of(box, '/two')


@pytest.mark.parametrize('option', ['async', 'defaults', 'norelatime', 'nostrictatime', 'loud', 'silent', 'mand', 'nomand',
                                    'iversion', 'noiversion', 'nolazytime', 'symfollow', 'rbind', 'bind'])
def test_words_that_do_little_are_taken(oci, option):
    if NAME != 'lxcri' and option in ('symfollow', 'iversion', 'noiversion', 'nolazytime', 'loud', 'silent', 'mand', 'nomand',
                                      'nostrictatime'):
        pytest.skip(f'{NAME} does not know all of these')
    box = oci.container('true')
    if option in ('bind', 'rbind', 'defaults', 'norelatime', 'symfollow'):
        box.mount(box.folder('f'), '/mnt', 'rbind', option)
    else:
        box.mount('tmpfs', '/mnt', option, kind='tmpfs')
    box.run()


def test_the_flags_of_a_bind_do_not_touch_the_source(oci, tree):
    box = oci.container().mount(tree, '/mnt', 'bind', 'ro', 'nosuid', 'noexec')
    box.up()
    assert 'ro' in options_of(box, '/mnt')
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        assert not {'ro', 'nosuid', 'noexec'} & set(find_mount(f.read(), tree)[0])
    with open(tree + '/file', 'a', encoding='utf-8') as f:
        f.write('still')


def test_noexec_and_nosymfollow_work(oci):
    box = oci.container().sh('/mnt/run; echo $?')
    folder = box.folder('f', run='#!/bin/sh\necho ran\n')
    os.chmod(folder + '/run', 0o755)
    box.mount(folder, '/mnt', 'bind', 'noexec')
    assert box.run().strip() in ('126',)


def test_ro_of_a_bind_is_not_recursive(oci, tree):
    box = oci.container().sh('echo x >/mnt/file; echo x >/mnt/sub/new && echo written')
    box.mount(tree, '/mnt', 'rbind', 'ro')
    assert box.run() == 'written\n'


RECURSIVE = {'rro': 'ro', 'rnosuid': 'nosuid', 'rnodev': 'nodev', 'rnoexec': 'noexec', 'rnoatime': 'noatime',
             'rnodiratime': 'nodiratime', 'rnosymfollow': 'nosymfollow'}


@pytest.mark.parametrize('option', RECURSIVE)
@pytest.mark.not_by('runc', '1.1.5 has none of these')
def test_recursive_attributes(oci, tree, option):
    if NAME == 'crun' and option in ('rnosymfollow', 'rnoatime', 'rnodiratime'):
        pytest.skip('crun 1.8 has no such')
    box = oci.container().mount(tree, '/mnt', 'rbind', option)
    box.up()
    assert RECURSIVE[option] in options_of(box, '/mnt')
    assert RECURSIVE[option] in options_of(box, '/mnt/sub')


# What the mount below had before, and does not have then.
TAKEN_AWAY = {'rrw': 'ro', 'rsuid': 'nosuid', 'rdev': 'nodev', 'rexec': 'noexec', 'ratime': 'noatime', 'rdiratime': 'nodiratime',
              'rrelatime': 'noatime', 'rstrictatime': 'relatime', 'rsymfollow': 'nosymfollow', 'rnorelatime': 'noatime',
              'rnostrictatime': 'noatime'}


@pytest.mark.parametrize('option', TAKEN_AWAY)
@pytest.mark.ours
def test_recursive_attributes_taken_away(oci, tree, option):
    flag = TAKEN_AWAY[option]
    host_mount('-o', f'remount,bind,{flag}', tree + '/sub')
    box = oci.container().mount(tree, '/mnt', 'rbind', option)
    box.up()
    assert flag not in options_of(box, '/mnt/sub')
    assert flag not in options_of(box, '/mnt')


def test_an_unknown_option_goes_to_the_file_system(oci):
    box = oci.container().mount('tmpfs', '/mnt', 'size=1m', 'mode=0711', 'nr_inodes=99', kind='tmpfs')
    box.up()
    assert {'size=1024k', 'mode=711', 'nr_inodes=99'} <= set(box.mountinfo('/mnt')[4])


@pytest.mark.not_by('crun', 'names it without the slash')
def test_an_option_that_the_file_system_refuses(oci):
    oci.container().mount('tmpfs', '/mnt', 'nosuchoption=1', kind='tmpfs').refused('/mnt')


@pytest.mark.parametrize('option,fields', [('private', []), ('rprivate', []), ('shared', ['shared']), ('rshared', ['shared']),
                                           ('slave', ['master']), ('rslave', ['master']), ('unbindable', ['unbindable']),
                                           ('runbindable', ['unbindable'])])
def test_propagation_of_a_mount(oci, tree, option, fields):
    host_mount('--make-shared', tree)
    box = oci.container().mount(tree, '/mnt', 'rbind', option)
    box.linux['rootfsPropagation'] = 'rshared' if 'shared' in option else 'rslave'
    box.up()
    assert {field.split(':')[0] for field in box.mountinfo('/mnt')[1]} == set(fields)


@pytest.mark.parametrize('value,option,fields', [
    ('rprivate', None, []), ('rslave', None, ['master']), ('rshared', None, ['shared']),
    ('rshared', 'slave', ['master']), ('rshared', 'private', []), ('rslave', 'rshared', ['shared', 'master']),
    ('rprivate', 'shared', ['shared']), ('rprivate', 'rslave', [])])
@pytest.mark.not_by('crun', '1.8 leaves out the root\'s')
def test_a_bind_has_the_roots_propagation_unless_it_says(oci, tree, value, option, fields):
    host_mount('--make-shared', tree)
    box = oci.container().mount(tree, '/mnt', 'rbind', *filter(None, [option]))
    box.linux['rootfsPropagation'] = value
    box.up()
    assert {field.split(':')[0] for field in box.mountinfo('/mnt')[1]} == set(fields)


def test_a_slave_gets_later_mounts(oci, tree):
    host_mount('--make-shared', tree)
    os.makedirs(tree + '/later')
    box = oci.container().mount(tree, '/mnt', 'rbind', 'rslave')
    box.linux['rootfsPropagation'] = 'rslave'
    box.up()
    host_mount('-t', 'tmpfs', 'none', tree + '/later')
    until(lambda: box.mountinfo('/mnt/later'))


def test_a_shared_mount_gives_to_the_host(oci, tree):
    host_mount('--make-shared', tree)
    os.makedirs(tree + '/later')
    box = oci.container().sh('mount -t tmpfs none /mnt/later && echo mounted; exec sleep 1000')
    box.caps('CAP_SYS_ADMIN').mount(tree, '/mnt', 'rbind', 'rshared')
    box.linux['rootfsPropagation'] = 'rshared'
    box.up()
    box.expect('mounted')
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        assert find_mount(f.read(), tree + '/later')


def test_a_private_mount_gives_nothing(oci, tree):
    host_mount('--make-shared', tree)
    os.makedirs(tree + '/later')
    box = oci.container().sh('mount -t tmpfs none /mnt/later && echo mounted; exec sleep 1000')
    box.caps('CAP_SYS_ADMIN').mount(tree, '/mnt', 'rbind', 'rprivate')
    box.up()
    box.expect('mounted')
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        assert not find_mount(f.read(), tree + '/later')


@pytest.mark.parametrize('value,fields', [('private', set()), ('rprivate', set()), ('slave', {'master'}), ('rslave', {'master'}),
                                          ('shared', {'shared'}), ('rshared', {'shared'}), ('unbindable', {'unbindable'}),
                                          ('runbindable', {'unbindable'})])
def test_rootfs_propagation(oci, value, fields):
    if (NAME == 'runc' and fields & {'shared', 'unbindable'}) or (NAME, value) == ('crun', 'runbindable'):
        pytest.skip('runc sets it before it binds the root to itself; crun then fails to mask paths')
    box = oci.container()
    host_mount('--bind', box.rootfs, box.rootfs)
    try:
        host_mount('--make-shared', box.rootfs)
        box.linux['rootfsPropagation'] = value
        box.up()
        got = {field.split(':')[0] for field in box.mountinfo('/')[1]}
        # A slave of what was made private before has no master; shared ones may have one, too.
        assert got == fields or got - {'master'} == fields or (value.endswith('slave') and got <= {'master'}), got
    finally:
        box.delete('--force')
        subprocess.run(['umount', '-R', box.rootfs], check=True)


@pytest.mark.parametrize('value', ['shared', 'rshared'])
def test_a_shared_root_gives_nothing_to_the_host(oci, value):
    """As with runc: its peers are in the container alone. Only binds with their own propagation reach the host."""
    box = oci.container().sh('mkdir /later; mount -t tmpfs none /later && echo mounted; exec sleep 1000').caps('CAP_SYS_ADMIN')
    host_mount('--bind', box.rootfs, box.rootfs)
    try:
        host_mount('--make-shared', box.rootfs)
        box.linux['rootfsPropagation'] = value
        box.up()
        box.expect('mounted')
        with open('/proc/self/mountinfo', encoding='utf-8') as f:
            assert not find_mount(f.read(), box.rootfs + '/later')
    finally:
        box.delete('--force')
        subprocess.run(['umount', '-R', box.rootfs], check=True)


@pytest.mark.not_by('crun', 'takes it')
def test_a_bad_rootfs_propagation(oci):
    box = oci.container()
    box.linux['rootfsPropagation'] = 'nosuch'
    box.refused('propagation')


def test_nothing_that_a_container_mounts_reaches_the_host(oci):
    host_mounts = open('/proc/self/mountinfo', encoding='utf-8').read().count('\n')
    box = oci.container().sh('mount -t tmpfs none /tmp && mount -t tmpfs none /mnt2 && echo mounted; exec sleep 1000')
    os.makedirs(box.rootfs + '/mnt2')
    box.caps('CAP_SYS_ADMIN').up()
    box.expect('mounted')
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        assert len([line for line in f if 'watchers.net' not in line]) <= host_mounts


def test_readonly_root(oci):
    box = oci.container().sh('touch /file 2>&1; touch /tmp/file 2>&1; touch /dev/shm/file && echo writable')
    box.config['root']['readonly'] = True
    text = box.run()
    assert text.count('Read-only file system') == 2 and 'writable' in text
    box = oci.container()
    box.config['root']['readonly'] = True
    box.up()
    assert 'ro' in options_of(box, '/')


def test_a_writable_root(oci):
    box = oci.container().sh('touch /file')
    box.run()
    assert os.path.exists(box.rootfs + '/file')


def test_an_absolute_root(oci):
    box = oci.container().sh('cat /etc/mark')
    box.file('/etc/mark', 'mine\n')
    box.config['root']['path'] = box.rootfs
    assert box.run() == 'mine\n'


@pytest.mark.parametrize('no_pivot', [False, True])
def test_no_pivot(oci, no_pivot):
    box = oci.container().sh('cat /etc/mark; ls /')
    box.file('/etc/mark', 'mine\n')
    text = box.run(*['--no-pivot'] * no_pivot)
    assert text.startswith('mine\n') and 'home' in text


def test_tmpcopyup(oci):
    if NAME == 'crun':
        pytest.skip('crun copies no owners')
    box = oci.container().sh('cat /data/file /data/sub/file; stat -c "%a %u" /data/file; echo new >/data/file; ls -l /data/link')
    box.file('/data/file', 'one\n', 0o640)
    box.file('/data/sub/file', 'two\n')
    os.symlink('file', box.rootfs + '/data/link')
    os.chown(box.rootfs + '/data/file', 77, 77)
    box.mount('tmpfs', '/data', 'tmpcopyup', kind='tmpfs')
    text = box.run()
    assert text.startswith('one\ntwo\n640 77\n') and '-> file' in text
    with open(box.rootfs + '/data/file', encoding='utf-8') as f:
        assert f.read() == 'one\n'


@pytest.mark.ours
def test_copy_symlink(oci):
    box = oci.container().sh('readlink /the/link')
    folder = box.folder('f')
    os.symlink('/some/where', folder + '/link')
    box.mount(folder + '/link', '/the/link', 'bind', 'copy-symlink')
    assert box.run() == '/some/where\n'


def test_a_source_that_is_a_symlink_is_followed(oci):
    box = oci.container().sh('cat /mnt/file')
    folder = box.folder('f', file='followed\n')
    os.symlink(folder, folder + '-link')
    box.mount(folder + '-link', '/mnt', 'bind')
    assert box.run() == 'followed\n'


def mapping(inside, outside, size=65536):
    return [{'containerID': inside, 'hostID': outside, 'size': size}]


@pytest.mark.ours
@pytest.mark.parametrize('option,sub', [('idmap', 0), ('ridmap', 7)])
def test_idmapped_mounts(oci, idmappable, option, sub):
    """The files' owners are seen through the mapping, those of mounts below only with ridmap."""
    os.chown(idmappable + '/file', 0, 0)
    os.chown(idmappable + '/sub/below', 0, 0)
    box = oci.container().sh('stat -c "%u %g" /mnt/file /mnt/sub/below; exec sleep 1000')
    box.mount(idmappable, '/mnt', 'rbind', option, uidMappings=mapping(0, 7), gidMappings=mapping(0, 8))
    box.up()
    until(lambda: box.output_text().count('\n') == 2)
    first, second = box.output_text().splitlines()
    assert first == '7 8'
    assert second == ('7 8' if sub else '0 0')


@pytest.mark.ours
def test_idmapped_mounts_by_an_option(oci, idmappable):
    """As crun has them."""
    box = oci.container().sh('stat -c "%u %g" /mnt/file')
    box.mount(idmappable, '/mnt', 'bind', 'idmap=uids=0-7-1;gids=0-8-1')
    assert box.run() == '7 8\n'


@pytest.mark.ours
def test_idmapped_mounts_in_a_user_namespace(oci, idmappable):
    """Without mappings of its own a mount has the container's: its root owns what root owns."""
    os.chown(idmappable + '/file', 0, 0)
    box = oci.container().sh('stat -c %u /mnt/file; echo x >/mnt/made; stat -c %u /mnt/made')
    box.user_namespace()
    box.mount(idmappable, '/mnt', 'rbind', 'ridmap')
    assert box.run() == '0\n0\n'
    assert os.stat(idmappable + '/made').st_uid == 0


@pytest.mark.ours
@pytest.mark.parametrize('more', [{'uidMappings': mapping(0, 1)}, {'gidMappings': mapping(0, 1)}])
def test_mappings_of_a_mount_come_together(oci, tree, more):
    oci.container().mount(tree, '/mnt', 'bind', 'idmap', **more).refused('mounts')


@pytest.mark.not_by('crun', 'masks /sys/firmware of the host, where that is shared')
def test_sysfs_without_a_network_namespace(oci):
    """A user namespace that does not own the network can't mount sysfs; engines bind it then."""
    box = oci.container().sh('ls /sys/class')
    box.without_mount('/sys').mount('/sys', '/sys', 'rbind', 'ro', 'nosuid', 'noexec', 'nodev')
    box.without_namespace('network').user_namespace()
    assert 'net' in box.run()


def test_mqueue_is_of_the_containers_ipc(oci):
    box = oci.container().sh('ls -d /dev/mqueue/*; cat /proc/mounts')
    assert 'mqueue /dev/mqueue mqueue' in box.run()


def test_cgroup_mount(oci):
    box = oci.container().sh('ls /sys/fs/cgroup; cat /proc/self/cgroup; ls /sys/fs/cgroup/pids /sys/fs/cgroup; '
                             'mkdir /sys/fs/cgroup/pids/x; mkdir /sys/fs/cgroup/x')
    box.namespace('cgroup').mount('cgroup', '/sys/fs/cgroup', 'ro', 'nosuid', 'nodev', 'noexec', kind='cgroup')
    done = box.run(check=False)
    assert 'cgroup.procs' in done.stdout
    assert 'Read-only' in done.stderr
    assert all(line.endswith(':/') for line in done.stdout.splitlines() if re.match(r'\d+:.*:/', line)), done.stdout


def test_the_cgroup_of_the_container_is_what_it_sees(oci):
    """Its own group is the root of what is mounted: with its own pids limit."""
    box = oci.container().sh('cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max')
    box.namespace('cgroup').mount('cgroup', '/sys/fs/cgroup', 'ro', kind='cgroup')
    box.linux['resources']['pids'] = {'limit': 123}
    assert box.run() == '123\n'


def test_masked_paths(oci):
    box = oci.container().sh('cat /etc/secret; echo "[$(ls -A /opt/dir)]"; echo x >/opt/dir/new; echo y >/etc/secret; '
                             'cat /etc/secret; cat /proc/kcore | head -c 1')
    box.file('/etc/secret', 'hidden\n')
    box.file('/opt/dir/file', 'hidden\n')
    box.linux['maskedPaths'] += ['/etc/secret', '/opt/dir', '/no/such/path']
    done = box.run(check=False)
    assert done.stdout == '[]\n' and 'Read-only' in done.stderr, done
    box = oci.container()
    box.file('/etc/secret', 'hidden\n')
    box.file('/opt/dir/file', 'hidden\n')
    box.linux['maskedPaths'] += ['/etc/secret', '/opt/dir']
    box.up()
    info = os.stat(f'/proc/{box.pid}/root/etc/secret')
    assert stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)
    assert 'ro' in options_of(box, '/opt/dir') and box.mountinfo('/opt/dir')[2] == 'tmpfs'


def test_readonly_paths(oci):
    box = oci.container().sh('for i in /etc/file /opt/dir/file /proc/sys/kernel/shmmni; do echo x >$i; done; '
                             'cat /etc/file; touch /etc/other && echo other')
    box.file('/etc/file', 'kept\n')
    box.file('/opt/dir/file', 'kept\n')
    box.linux['readonlyPaths'] += ['/etc/file', '/opt/dir', '/no/such/path']
    done = box.run(check=False)
    assert done.stdout == 'kept\nother\n'
    assert done.stderr.count('Read-only file system') == 3, done.stderr
    with open(box.rootfs + '/opt/dir/file', encoding='utf-8') as f:
        assert f.read() == 'kept\n'


def test_readonly_paths_include_what_is_mounted_below(oci, tree):
    box = oci.container().sh('echo x >/mnt/file; echo x >/mnt/sub/below; cat /mnt/sub/below')
    box.mount(tree, '/mnt', 'rbind')
    box.linux['readonlyPaths'] = ['/mnt', '/mnt/sub']
    assert box.run() == 'below\n'


DEVICES = {'null': (1, 3), 'zero': (1, 5), 'full': (1, 7), 'random': (1, 8), 'urandom': (1, 9), 'tty': (5, 0)}


def test_default_devices(oci):
    box = oci.container()
    box.up()
    dev = f'/proc/{box.pid}/root/dev/'
    for name, numbers in DEVICES.items():
        info = os.lstat(dev + name)
        assert stat.S_ISCHR(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o666, name
        assert (os.major(info.st_rdev), os.minor(info.st_rdev)) == numbers, name
    assert {name: os.readlink(dev + name) for name in ('fd', 'stdin', 'stdout', 'stderr')} == {
        'fd': '/proc/self/fd', 'stdin': '/proc/self/fd/0', 'stdout': '/proc/self/fd/1', 'stderr': '/proc/self/fd/2'}
    assert os.readlink(dev + 'ptmx') in ('pts/ptmx', '/dev/pts/ptmx')


def test_default_devices_work(oci):
    box = oci.container().sh('echo x >/dev/null; head -c 3 /dev/zero | wc -c; echo x >/dev/full; head -c 2 /dev/random | wc -c; '
                             'head -c 2 /dev/urandom | wc -c; echo to-out >/dev/stdout')
    done = box.run(check=False)
    assert done.stdout == '3\n2\n2\nto-out\n'
    assert 'No space left' in done.stderr


def test_devices(oci):
    box = oci.container().sh('head -c 3 /dev/mine | wc -c')
    box.linux['devices'] = [
        {'path': '/dev/mine', 'type': 'c', 'major': 1, 'minor': 5, 'fileMode': 0o640, 'uid': 5, 'gid': 6},
        {'path': '/dev/sub/block', 'type': 'b', 'major': 7, 'minor': 99, 'fileMode': 0o600, 'uid': 0, 'gid': 0},
        {'path': '/dev/pipe', 'type': 'p', 'fileMode': 0o644}]
    box.linux['resources']['devices'].append({'allow': True, 'type': 'c', 'major': 1, 'minor': 5, 'access': 'rwm'})
    box.sh('head -c 3 /dev/mine | wc -c; exec sleep 1000')
    box.up()
    box.expect('3')
    dev = f'/proc/{box.pid}/root/dev/'
    info = os.lstat(dev + 'mine')
    assert (info.st_rdev, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (os.makedev(1, 5), 0o640, 5, 6)
    info = os.lstat(dev + 'sub/block')
    assert stat.S_ISBLK(info.st_mode) and info.st_rdev == os.makedev(7, 99)
    assert stat.S_ISFIFO(os.lstat(dev + 'pipe').st_mode)


def test_devices_in_a_user_namespace(oci):
    """Which can't make any: those of the host are bound."""
    box = oci.container().sh('head -c 3 /dev/zero | wc -c')
    box.user_namespace()
    assert box.run() == '3\n'


def test_device_rules(oci):
    """Deny all, and what comes later holds; default devices stay usable."""
    box = oci.container().sh('for n in 1:11 7:200; do mknod /dev/x$n c ${n%:*} ${n#*:}; done; '
                             'cat /dev/mem1 /dev/major1 /dev/minor1 /dev/fuse1; head -c 1 /dev/zero | wc -c; exec sleep 1000')
    box.linux['devices'] = [{'path': f'/dev/{name}1', 'type': 'c', 'major': major, 'minor': minor, 'fileMode': 0o666, 'uid': 0, 'gid': 0}
                            for name, major, minor in [('mem', 1, 1), ('major', 1, 229), ('minor', 10, 77), ('fuse', 10, 229)]]
    box.linux['resources']['devices'] = [{'allow': False, 'access': 'rwm'},
                                         {'allow': True, 'type': 'c', 'major': 10, 'minor': 229, 'access': 'rwm'}]
    box.up()
    text = box.expect('\n1\n')
    for name in ('mem', 'major', 'minor'):
        assert re.search(name + r"1[^\n]*Operation not permitted", text), text
    assert not re.search(r"fuse1[^\n]*Operation not permitted", text), text
    path = box.cgroup_file('devices', 'devices.list')
    if os.path.exists(path):
        with open(path, encoding='ascii') as f:
            lines = f.read().splitlines()
        assert 'a *:* rwm' not in lines and 'c 10:229 rwm' in lines


def test_device_access(oci):
    """Of a rule: read, without write."""
    box = oci.container().sh('head -c 1 /dev/f >/dev/null; echo read $?; echo x >/dev/f; echo write $?')
    box.linux['devices'] = [{'path': '/dev/f', 'type': 'c', 'major': 1, 'minor': 11, 'fileMode': 0o666, 'uid': 0, 'gid': 0}]
    box.linux['resources']['devices'] = [{'allow': False, 'access': 'rwm'},
                                         {'allow': True, 'type': 'c', 'major': 1, 'minor': 11, 'access': 'w'}]
    done = box.run(check=False)
    assert 'write 0' in done.stdout, done
    assert 'read 1' in done.stdout, done


@pytest.mark.parametrize('field,value,words', [
    ('maskedPaths', ['relative'], ['masked']), ('readonlyPaths', ['relative'], ['readonly']),
    ('intelRdt', {'closID': 'x', 'l3CacheSchema': 'L3:0=f'}, ['intelrdt']),
    ('memoryPolicy', {'mode': 'MPOL_NOSUCH', 'nodes': '0'}, ['memoryPolicy']),
    ('personality', {'domain': 'NOSUCH'}, ['personality'])])
@pytest.mark.ours
def test_refused_values_name_the_property(oci, field, value, words):
    if field == 'intelRdt' and os.path.isdir('/sys/fs/resctrl/schemata'):
        pytest.skip('this host has it')
    box = oci.container()
    box.linux[field] = value
    box.refused(*words)


@pytest.mark.ours
@pytest.mark.parametrize('mode,number', [('MPOL_BIND', 2), ('MPOL_INTERLEAVE', 3), ('MPOL_PREFERRED', 1), ('MPOL_LOCAL', 4)])
def test_memory_policy(oci, mode, number):
    box = oci.container('probe', 'mempolicy')
    box.linux['memoryPolicy'] = {'mode': mode, 'nodes': '' if mode == 'MPOL_LOCAL' else '0'}
    assert f'mode={number} ' in box.run()


@pytest.mark.ours
def test_memory_policy_flags(oci):
    box = oci.container('probe', 'mempolicy')
    box.linux['memoryPolicy'] = {'mode': 'MPOL_BIND', 'nodes': '0', 'flags': ['MPOL_F_STATIC_NODES']}
    assert f'mode={2 | 1 << 15} nodes=1' in box.run()


@pytest.mark.not_by('runc', '1.1 has no such')
@pytest.mark.parametrize('domain,machine', [('LINUX32', 'i686'), ('LINUX', 'x86_64')])
def test_personality(oci, domain, machine):
    box = oci.container().sh('uname -m; exec sleep 1000')
    box.linux['personality'] = {'domain': domain}
    box.up(preexec_fn=lambda: ctypes.CDLL(None).personality(0 if domain == 'LINUX32' else 8))
    box.expect(machine)
    assert int(box.proc('personality'), 16) & 0xff == (8 if domain == 'LINUX32' else 0)


def test_mount_paths_are_normalized(oci):
    box = oci.container().sh('cat /mnt/file')
    box.mount(box.folder('f', file='well\n'), '/tmp/../mnt//./', 'bind')
    assert box.run() == 'well\n'


def test_many_mounts(oci):
    box = oci.container().sh('ls /many | wc -l; wc -l </proc/self/mountinfo')
    folder = box.folder('f', file='x')
    for n in range(200):
        box.mount(folder, f'/many/{n}', 'bind', 'ro')
    before = time.monotonic()
    lines = box.run().split()
    assert lines[0] == '200' and int(lines[1]) >= 208
    assert time.monotonic() - before < 60 * SLOW
