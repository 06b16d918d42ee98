"""Pods with a user namespace where files get their owners on disk (`idmap: chown`), as without idmapped mounts."""

import json
import os

import grpc
import pytest

import images as recipes
from cri import eventually
from helpers import CODE, kills
from oci import Layer
from test_image import NET_BIND
from test_image_commit import NAME, commit, saved
from test_userns import FIRST, LENGTH, OVERFLOW, idmapped, owner, userns_pod

pytestmark = [pytest.mark.ours, pytest.mark.not_in_ct("its ids are Proxmox' choice")]
BOTH = pytest.mark.parametrize('own_daemon', [{'config': 'idmap: chown\n'}, {'config': 'idmap: chown\nsnapshotter: plain\n'}],
                               indirect=True, ids=['own', 'plain'])


def image(images, **config):
    layer = (Layer().dir('data', 0o2755, uid=1000, gid=1001).file('data/f', 'x', 0o600, uid=1000, gid=1001)
             .file('suid', 'x', 0o4755).symlink('link', '/etc/passwd', uid=5, gid=6).hardlink('data/same', 'data/f')
             .file('high', 'x', 0o4711, uid=FIRST + 7, gid=7).device('null', 'c', 1, 3, uid=7))
    with open('/bin/busybox', 'rb') as f:
        more = Layer().file('capable/busybox', f.read(), 0o755, xattrs={'security.capability': NET_BIND})
    return images.push(recipes.busybox(layer, more, **config), 'copies')


def files(daemon, container):
    """Its folder on disk."""
    folder = os.path.join(daemon.runtime.root, 'snapshots', container.id)
    return os.path.join(folder, next(n for n in os.listdir(folder) if n.startswith('upper')))


SEEN = ['0 0 755', '1000 1001 2755', '1000 1001 600', '1000 1001 600', '0 0 4755', '5 6 777',
        f'{OVERFLOW} 7 4711', '7 0 666', '0 0 1777']


@BOTH
def test_owners(own_daemon, images):
    ref = image(images)
    own_daemon.pull(ref)
    assert json.loads(own_daemon.runtime.cli('info', '-o', 'json').stdout)['idmap'] == 'chown'
    assert all(h.features.user_namespaces for h in own_daemon.cri.Status().runtime_handlers if h.name != 'proxmox')
    with userns_pod(own_daemon) as pod, userns_pod(own_daemon, 400000, 70000) as other, own_daemon.pod() as plain:
        for which in (pod, other, plain):
            c = which.run(ref, ['sleep', '1000'])
            seen = c.sh('stat -c "%u %g %a" / /data /data/f /data/same /suid /link /high /null /dev/shm').split('\n')
            assert seen == SEEN if which != plain else seen[1] == '1000 1001 2755'
            assert c.sh('stat -c %h /data/f; [ /data/f -ef /data/same ] && echo same') == '2\nsame'
            # Its root owns all but what nobody has; rights that a file gives are the pod's.
            assert c.exec('chown', '0:0', '/high').exit_code == (1 if which != plain else 0)
            c.sh('echo more >>/data/f; touch /new; chown 5:6 /suid /new')
            user = which.run(ref, ['sleep', '1000'], security={'run_as_user': own_daemon.pb.Int64Value(value=1000)})
            assert user.sh('/capable/busybox grep CapEff /proc/self/status; grep CapEff /proc/self/status').split() == [
                'CapEff:', '0000000000000400', 'CapEff:', '0000000000000000']
            on_disk = files(own_daemon, c)
            if which == pod and os.listdir(on_disk):  # ZFS has an empty folder there
                assert [owner(os.path.join(on_disk, n)) for n in ('', 'data', 'link', 'high', 'new')] == [
                    (FIRST, FIRST), (FIRST + 1000, FIRST + 1001), (FIRST + 5, FIRST + 6), (OVERFLOW, FIRST + 7),
                    (FIRST + 5, FIRST + 6)]
                assert int(c.sh('stat -c %u /bin/busybox')) == 0
        usage = own_daemon.cri.ContainerStats(container_id=c.id)
        assert usage.stats.attributes.id == c.id


@pytest.mark.same_anywhere
@BOTH
def test_commit_and_another_image(own_daemon, images, tmp_path):
    """What a container has written is told apart from its image, with the owners that it sees, and goes with it."""
    ref = image(images)
    other = images.push(recipes.busybox(Layer().file('theirs', 'x', 0o4755, uid=33, gid=44)), 'others')
    own_daemon.pull(ref, other)
    cli = own_daemon.runtime.cli
    with userns_pod(own_daemon) as pod:
        c = pod.sh(ref, 'echo x >/mine; chown 33:44 /mine; rm /suid; chown 8:9 /data; echo x >/ready; exec sleep 1000')
        eventually(lambda: c.exec('test', '-f', '/ready').exit_code == 0)
        done = commit(own_daemon, c, '--pause=false', NAME, check=False)
        assert done.returncode == 1 and 'paused' in done.stderr
        commit(own_daemon, c, NAME)
        members = saved(own_daemon, tmp_path)[2]
        assert set(members) - {'dev', 'etc', 'proc', 'sys', 'tmp', 'etc/resolv.conf'} <= {
            '.', '', 'mine', '.wh.suid', 'data', 'ready'}, set(members)
        assert [(members[n].uid, members[n].gid) for n in ('mine', 'data', 'ready')] == [(33, 44), (8, 9), (0, 0)]
        with own_daemon.pod() as plain:
            again = plain.run(NAME, ['sleep', '1000'])
            assert again.sh('stat -c "%u %g" /mine /data /data/f /high') == f'33 44\n8 9\n1000 1001\n{FIRST + 7} 7'
        for turn, name in enumerate((other, ref, other)):
            c.stop()
            cli('container', 'set-image', c.id, name)
            if turn == 1:
                own_daemon.runtime.kill()
                own_daemon.start()
                c.cri = pod.cri = own_daemon.cri
            cli('container', 'start', c.id)
            c.sh('test -f /mine')
            assert c.sh('stat -c "%u %g" /mine /data') == '33 44\n8 9'
            theirs = c.sh('stat -c "%u %g %a" /theirs 2>/dev/null; stat -c "%u %g" /data/f 2>/dev/null; true')
            assert theirs == ('33 44 4755' if name == other else '1000 1001')
        names = os.listdir(f'{own_daemon.runtime.root}/snapshots/{c.id}')
        assert [n for n in names if n.startswith('upper')] == ['upper.3']
        assert not [n for n in os.listdir(f'{own_daemon.runtime.root}/snapshots') if n.startswith('.')]


@pytest.mark.same_anywhere
@pytest.mark.parametrize('own_daemon', [{'config': 'idmap: chown\n'}], indirect=True)
def test_configured_another_way(own_daemon, images):
    """What is there stays as it was made, whatever the configuration says now."""
    config = own_daemon.runtime.config
    with open(config, encoding='utf-8') as f:
        text = f.read().replace('idmap: chown\n', '')
    ref = image(images)
    own_daemon.pull(ref)
    ways, made = ['mount', 'chown', 'auto', 'chown'], []
    with userns_pod(own_daemon) as pod:
        for way in ways:
            with open(config, 'w', encoding='utf-8') as f:
                f.write(f'{text}idmap: {way}\n')
            own_daemon.runtime.kill()
            own_daemon.start()
            pod.cri = own_daemon.cri
            try:
                made.append(pod.run(ref, ['sleep', '1000']))
            except grpc.RpcError as e:  # ZFS before 2.2
                assert way == 'mount' and os.environ.get('LXCRI_TEST_SNAPSHOTTER') == 'zfs', e.details()
                assert e.code() == CODE.FAILED_PRECONDITION and 'idmapped' in e.details(), e.details()
            for c in made:
                c.cri = own_daemon.cri
                c.stop()
                own_daemon.runtime.cli('container', 'start', c.id)
                assert c.sh('stat -c "%u %g" /data; test -u /suid && echo suid') == '1000 1001\nsuid'
                c.sh('echo x >>/data/f; touch /new')
        copied = [os.path.isdir(os.path.join(files(own_daemon, c), 'usr')) for c in made]
        if os.environ.get('LXCRI_TEST_SNAPSHOTTER', 'overlay') == 'overlay':
            assert copied == [False, True, False, True]


@pytest.mark.same_anywhere
@BOTH
def test_image_volumes(own_daemon, images, pb):
    """They are copies, too: one for each image and container."""
    one = images.push(recipes.Image([Layer().dir('sub').file('sub/f', 'one', 0o600, uid=3, gid=4)], {}), 'volume-1')
    two = images.push(recipes.busybox(Layer().dir('sub').file('sub/f', 'two', 0o600, uid=3, gid=4)), 'volume-2')
    own_daemon.pull(one, two)
    mounts = [pb.Mount(image=pb.ImageSpec(image=ref), container_path=path, readonly=True, image_sub_path=sub)
              for ref, path, sub in ((one, '/one', ''), (two, '/two', ''), (one, '/part1', 'sub'), (two, '/part2', 'sub'))]
    with userns_pod(own_daemon) as pod:
        c = pod.run(images.ref('busybox'), ['sleep', '1000'], mounts=mounts)
        for _ in range(2):
            assert c.sh('stat -c "%u %g" /one/sub/f /two/sub/f /part1/f /part2/f') == '\n'.join(['3 4'] * 4)
            assert c.sh('cat /one/sub/f /part2/f') == 'onetwo'
            assert c.exec('touch', '/one/new').exit_code != 0
            folder = os.path.join(own_daemon.runtime.root, 'snapshots', c.id)
            assert len([n for n in os.listdir(folder) if n.startswith('volume.')]) == 2
            c.stop()
            own_daemon.runtime.cli('container', 'start', c.id)
        c.stop()
        c.remove()
        assert not os.path.exists(folder)


@pytest.mark.parametrize('own_daemon', [{'config': 'idmap: chown\n'}], indirect=True)
def test_volumes_stay_as_they_are(own_daemon, images, top, pb):
    """Folders of the host are mapped by mounts, or not at all: their files are not ours to give away."""
    folder = os.path.join(top, f'volume-{len(os.listdir(top))}')
    os.mkdir(folder)
    with userns_pod(own_daemon) as pod:
        c = pod.run(images.ref('busybox'), ['sleep', '1000'], mounts=[idmapped(pb, folder, '/v', FIRST, LENGTH)])
        c.sh('touch /v/x; chown 3:4 /v/x')
        assert owner(folder) == (0, 0) and owner(f'{folder}/x') == (3, 4)


@pytest.mark.same_anywhere
@BOTH
def test_killed_at_any_moment(own_daemon, images):
    """Nothing of a container whose copy was not complete stays, and its image is not touched."""
    many = Layer()
    for i in range(3000):
        many.file(f'many/{i}', 'x', uid=i % 1000, gid=7)
    ref = images.push(recipes.busybox(many), 'many')
    own_daemon.pull(ref)
    runtime = own_daemon.runtime
    with userns_pod(own_daemon) as pod, own_daemon.pod() as plain:
        def create(_):
            try:
                pod.create(ref, ['sleep', '1000'])
            except grpc.RpcError as e:
                print(e.details())
        for turn in kills(own_daemon, 5, 0.15, create):
            pod.cri = plain.cri = own_daemon.cri
            known = {c.id for c in own_daemon.cri.ListContainers().containers}
            for name in os.listdir(f'{runtime.root}/snapshots'):
                assert name in known, (turn, name)
            c = pod.run(ref, ['sleep', '1000'])
            assert c.sh('stat -c "%u %g" /many/* | sort | uniq | wc -l') == '1000'
            c.stop()
            c.remove()
        c = plain.run(ref, ['sleep', '1000'])
        assert c.sh('stat -c "%u %g" /many/1999 /many') == '999 7\n0 0'
    own_daemon.remove_all()
    assert not os.listdir(f'{runtime.root}/snapshots')
