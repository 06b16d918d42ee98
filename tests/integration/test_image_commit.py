"""image commit: a container as an image, and what other tools make of it."""

import json
import os
import subprocess
import tarfile
import threading
import time

import pytest

import images as recipes
from conftest import AS_PROXMOX
from cri import EXITED, RUNNING, eventually
from helpers import kills
from oci import Layer, digest

pytestmark = pytest.mark.ours
NAME = 'localhost/committed:1'


@pytest.fixture
def made(daemon, clean):
    """Images that the test makes go, and nothing is left of them."""
    before = {i.id for i in daemon.cri.ListImages().images}
    yield
    for image in daemon.cri.ListImages().images:
        if image.id not in before:
            daemon.runtime.cli('image', 'rm', '-f', image.id)


def commit(daemon, container, *args, check=True):
    return daemon.runtime.cli('image', 'commit', '-q', *args[:-1], container.id, *args[-1:], check=check)


def saved(daemon, tmp_path, name=NAME):
    """Its config, manifest, and the members of its top layer."""
    folder = tmp_path / f'saved-{time.monotonic_ns()}'
    daemon.runtime.cli('image', 'save', '-q', '--format', 'oci-dir', '-o', folder, name)

    def blob(digest_):
        return folder / 'blobs/sha256' / digest_[7:]
    with open(folder / 'index.json', encoding='utf-8') as f:
        manifest = json.loads(blob(json.load(f)['manifests'][0]['digest']).read_bytes())
    config = json.loads(blob(manifest['config']['digest']).read_bytes())
    with tarfile.open(blob(manifest['layers'][-1]['digest'])) as tar:
        members = {m.name.removeprefix('./').rstrip('/'): m for m in tar}
    return config, manifest, members


def listing(container, folder):
    """What is below it, as the container sees it: names, kinds, modes, owners, sizes, contents."""
    return container.sh(f'cd {folder} && find . | sort | while read -r f; do stat -c "%n %F %a %u:%g %h" "$f"; '
                        '[ -f "$f" ] && md5sum "$f"; [ -L "$f" ] && readlink "$f"; done; true')


CHANGES = '''
mkdir -p /new/deep /opaque && cd /new && echo text >file && ln file link && ln -s ../etc/passwd symlink && mkfifo fifo
chmod 4751 file; chown 5:6 deep; mkdir -m 1777 sticky; touch -d 2001-02-03 deep/old; touch "a name
with a line" .hidden; rm /v/gone /v/folder/x; rmdir /v/folder; mkdir /v/folder; echo y >/v/folder/y; echo changed >/v/changed
mv /v/moved /new/moved; rm -r /v/all; echo file >/v/all; exec sleep 1000
'''


@pytest.fixture
def image(daemon, images):
    layer = Layer().dir('v').dir('v/folder').dir('v/all')
    for name in ('gone', 'folder/x', 'changed', 'moved', 'all/1', 'kept'):
        layer.file(f'v/{name}', f'{name}\n')
    ref = images.push(recipes.busybox(layer, Labels={'of': 'below'}), 'commits')
    [id_] = daemon.pull(ref)
    yield ref
    daemon.runtime.cli('image', 'rm', '-f', id_)


def changed(pod, image):
    container = pod.sh(image, CHANGES)
    eventually(lambda: container.exec('test', '-f', '/v/all').exit_code == 0)
    return container


def test_a_container_of_it_has_the_same(daemon, image, made):
    with daemon.pod() as pod:
        container = changed(pod, image)
        id_ = commit(daemon, container, NAME).stdout.strip()
        assert container.status().state == RUNNING and container.output('echo', 'alive') == 'alive'
        other = pod.run(NAME, ['sleep', '1000'])
        assert other.status().image_id == id_
        for folder in ('/new', '/v', '/etc', '/root'):
            assert listing(container, folder) == listing(other, folder), folder
        assert other.exec('cat', '/v/folder/x').exit_code != 0
        assert other.sh('stat -c %Y /new/deep/old') == container.sh('stat -c %Y /new/deep/old')


def test_umoci_unpacks_the_same(daemon, image, tmp_path, made):
    with daemon.pod() as pod:
        container = changed(pod, image)
        commit(daemon, container, NAME)
        daemon.runtime.cli('image', 'save', '-q', '--format', 'oci-dir', '-o', tmp_path / 'dir', NAME)
        subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', f'oci:{tmp_path}/dir', f'oci:{tmp_path}/copy:x'], check=True)
        subprocess.run(['umoci', 'unpack', '--image', f'{tmp_path}/copy:x', tmp_path / 'bundle'], check=True, capture_output=True)
        rootfs = tmp_path / 'bundle/rootfs'
        where = daemon.runtime.cli('image', 'mount', NAME).stdout.strip()
        try:
            done = subprocess.run(['diff', '-r', '--no-dereference', where, rootfs], capture_output=True, text=True, check=False)
            assert done.stdout.replace(f'File {where}/new/fifo is a fifo while file {rootfs}/new/fifo is a fifo\n', '') == '', done
        finally:
            daemon.runtime.cli('image', 'unmount', where)
        assert (rootfs / 'v/changed').read_text(encoding='ascii') == 'changed\n' and not (rootfs / 'v/gone').exists()
        assert os.listdir(rootfs / 'v/folder') == ['y'] and (rootfs / 'v/all').is_file()
        assert os.stat(rootfs / 'new/file').st_ino == os.stat(rootfs / 'new/link').st_ino


def test_registry_and_podman(podman, daemon, image, images, tmp_path, made):
    to = images.ref('committed')
    with daemon.pod() as pod:
        container = changed(pod, image)
        id_ = commit(daemon, container, '-c', 'CMD ["cat", "/v/changed"]', to).stdout.strip()
    daemon.runtime.cli('image', 'push', '-q', to)
    raw = subprocess.run(['skopeo', 'inspect', '--tls-verify=false', '--config', '--raw', f'docker://{to}'],
                         capture_output=True, check=True).stdout
    assert digest(raw) == id_
    podman('pull', '-q', '--tls-verify=false', to)
    said = json.loads(podman('image', 'inspect', to).stdout)[0]
    where = podman('image', 'mount', to).stdout.strip()
    with open(f'{where}/v/changed', encoding='ascii') as f:
        assert f.read() == 'changed\n'
    assert sorted(os.listdir(f'{where}/v')) == ['all', 'changed', 'folder', 'kept']
    podman('image', 'unmount', to)
    podman('rmi', to)
    assert 'sha256:' + said['Id'] == id_ and said['Config']['Cmd'] == ['cat', '/v/changed']


def test_config(daemon, image, tmp_path, made):
    """The image's, not the pod's, and what -c says; one more entry in the history, of the layer."""
    with daemon.pod() as pod:
        container = pod.run(image, ['sleep', '1000'], env={'SECRET': 'of the pod'})
        commit(daemon, container, '-m', 'a message', '-a', 'A. U. Thor', '-c', 'ENV A=1 B="2 3"', '-c', 'CMD ["a", "b"]', '-c',
               'ENTRYPOINT e f', '-c', 'EXPOSE 80', '-c', 'LABEL x=y', '-c', 'USER 33', '-c', 'VOLUME /data', '-c',
               'WORKDIR /tmp', '-c', 'STOPSIGNAL SIGINT', '-c', 'ONBUILD RUN z', NAME)
        config, manifest, _ = saved(daemon, tmp_path)
    assert config['config'] == {'Env': [recipes.PATH, 'A=1', 'B=2 3'], 'Cmd': ['a', 'b'], 'Entrypoint': ['/bin/sh', '-c', 'e f'],
                                'ExposedPorts': {'80/tcp': {}}, 'Labels': {'of': 'below', 'x': 'y'}, 'User': '33',
                                'Volumes': {'/data': {}}, 'WorkingDir': '/tmp', 'StopSignal': 'SIGINT', 'OnBuild': ['RUN z']}
    last = config['history'][-1]
    assert (last['comment'], last['author'], last['created_by']) == ('a message', 'A. U. Thor', 'sleep 1000')
    assert 'empty_layer' not in last and config['author'] == 'A. U. Thor'
    assert len(config['rootfs']['diff_ids']) == len(manifest['layers']) == len(config['history']) == 3
    assert manifest['layers'][-1]['mediaType'] == 'application/vnd.oci.image.layer.v1.tar+gzip'


def test_compression(daemon, image, tmp_path, made):
    """zstd holds what gzip does, is called so, and is what zstd(1) reads."""
    with daemon.pod() as pod:
        container = changed(pod, image)
        done = commit(daemon, container, '--compression', 'lzma', NAME, check=False)
        assert done.returncode == 2 and 'gzip or zstd, not "lzma"' in done.stderr, done
        commit(daemon, container, NAME)
        plain = saved(daemon, tmp_path)
        commit(daemon, container, '--compression', 'zstd', NAME + '-zstd')
        daemon.runtime.cli('image', 'save', '-q', '--format', 'oci-dir', '-o', tmp_path / 'out', NAME + '-zstd')
        index = json.loads((tmp_path / 'out/index.json').read_text(encoding='ascii'))
        blobs = tmp_path / 'out/blobs/sha256'
        manifest = json.loads((blobs / index['manifests'][0]['digest'][7:]).read_bytes())
        top = manifest['layers'][-1]
        assert top['mediaType'] == 'application/vnd.oci.image.layer.v1.tar+zstd' and plain[1]['layers'][-1]['digest'] != top['digest']
        unpacked = subprocess.run(['zstd', '-dc', blobs / top['digest'][7:]], check=True, capture_output=True).stdout
        assert json.loads((blobs / manifest['config']['digest'][7:]).read_bytes())['rootfs'] == plain[0]['rootfs']
        assert digest(unpacked) == plain[0]['rootfs']['diff_ids'][-1]
        assert listing(pod.run(NAME + '-zstd', ['sleep', '1000']), '/new') == listing(container, '/new')
    daemon.runtime.cli('image', 'verify', NAME + '-zstd')


def test_it_tells_how_far_it_is(daemon, image, made):
    """What it has read by now, of nobody knows how much."""
    with daemon.pod() as pod:
        container = pod.sh(image, 'dd if=/dev/urandom of=/big bs=1M count=64; touch /ready; exec sleep 1000')
        eventually(lambda: container.exec('test', '-f', '/ready').exit_code == 0)
        done = daemon.runtime.cli('image', 'commit', container.id, NAME)
    assert 'layer changes: copying, ' in done.stderr, done


def test_what_is_not_in_it(daemon, images, tmp_path, made):
    """The pod's files, mounts and what is made for them, what is in volumes, sockets."""
    ref = images.push(recipes.busybox(Volumes={'/declared': {}}), 'commits')
    daemon.pull(ref)
    (tmp_path / 'volume').mkdir()
    (tmp_path / 'volume/host').write_text('host', encoding='ascii')
    mounts = [daemon.pb.Mount(host_path=str(tmp_path / 'volume'), container_path=path) for path in ('/vol', '/var/run/below')]
    with daemon.pod() as pod:
        container = pod.sh(ref, 'echo x >/declared/x; echo x >/vol/x; echo x >/dev/shm/x; echo x >/mine; nc -l -s local:/socket & exec sleep 1000',
                           mounts=mounts)
        eventually(lambda: container.exec('test', '-f', '/mine').exit_code == 0)
        commit(daemon, container, NAME)
        running = set(saved(daemon, tmp_path)[2])
        container.stop()
        commit(daemon, container, NAME)
        ended = set(saved(daemon, tmp_path)[2])
        pod.remove()
    for members in (running, ended):
        assert 'mine' in members
        bad = {m for m in members if m.split('/')[0] in ('vol', 'dev', 'proc', 'sys', 'socket') or m.startswith(('declared/', 'etc/', 'run/below'))}
        assert bad <= ({'run/below'} if members is ended else set()), bad


def test_nothing_was_changed(daemon, image, made):
    with daemon.pod() as pod:
        container = pod.create(image, ['true'])
        first, second = (commit(daemon, container, f'localhost/same:{n}').stdout for n in (1, 2))
        assert first != second  # its time is in it
        assert pod.run('localhost/same:1', ['true']).wait().exit_code == 0


def test_without_a_name(daemon, image, made):
    with daemon.pod() as pod:
        container = pod.create(image, ['true'])
        id_ = json.loads(daemon.runtime.cli('image', 'commit', '-q', '-o', 'json', container.id).stdout)['id']
        [listed] = [i for i in daemon.cri.ListImages().images if i.id == id_]
        assert not listed.repo_tags


def test_paused_meanwhile(daemon, image, made):
    """Unless told otherwise: all of it is of one moment."""
    with daemon.pod() as pod:
        container = pod.sh(image, 'mkdir /d; while :; do echo x >>/d/a; echo x >>/d/z; done')
        eventually(lambda: container.exec('test', '-f', '/d/z').exit_code == 0)
        commit(daemon, container, NAME)
        before = container.sh('wc -l </d/a')
        eventually(lambda: container.sh('wc -l </d/a') != before)
        other = pod.run(NAME, ['sleep', '1000'])
        a, z = (int(other.sh(f'wc -l </d/{name}')) for name in 'az')
        assert a - z in (0, 1), (a, z)


def test_refusals(daemon, image, made):
    before = {i.id for i in daemon.cri.ListImages().images}
    with daemon.pod() as pod:
        container = pod.run(image, ['sleep', '1000'])
        for args, status, word in ((['-c', 'RUN x', NAME], 2, 'RUN x'), (['-c', 'VOLUME x', NAME], 1, 'absolute'), (['UPPER'], 1, 'UPPER'),
                                   (['--pause=perhaps', NAME], 2, 'perhaps')):
            done = commit(daemon, container, *args, check=False)
            assert done.returncode == status and word in done.stderr, done
        done = daemon.runtime.cli('image', 'commit', '0123456789ab', NAME, check=False)
        assert done.returncode == 1 and '0123456789ab' in done.stderr
        assert container.output('echo', 'alive') == 'alive'
        daemon.runtime.cli('image', 'rm', '-f', image)
        done = commit(daemon, container, NAME, check=False)
        assert done.returncode == 1 and 'pull it again' in done.stderr
        assert container.output('echo', 'alive') == 'alive'
        daemon.pull(image)
    assert {i.id for i in daemon.cri.ListImages().images} == before


def test_hostile_container(daemon, image, tmp_path, made):
    """Swaps folders for links to the host's while it is read: nothing of the host gets in."""
    secret = tmp_path / 'secret'
    secret.mkdir()
    (secret / 'word').write_text('of the host', encoding='ascii')
    script = f'''
mkdir -p /race/a /race/b; for i in 1 2 3 4 5 6 7 8; do mkdir -p /race/d$i/x; echo mine >/race/d$i/x/word; done
ln -s {secret} /race/link; ln -s /proc/self/root/{secret} /race/link2; echo mine >/race/word; touch /ready
swap() {{ while :; do mv /race/$1/x /race/$1/y; ln -s {secret} /race/$1/x; rm /race/$1/x; mv /race/$1/y /race/$1/x; done; }}
file() {{ while :; do ln -sf {secret}/word /race/f; rm /race/f; echo mine >/race/f; rm /race/f; mkfifo /race/f; rm /race/f; done; }}
for i in 1 2 3 4; do swap d$i & done; file & wait
'''
    with daemon.pod() as pod:
        container = pod.sh(image, script)
        eventually(lambda: container.exec('test', '-f', '/ready').exit_code == 0)
        succeeded = 0
        for turn in range(6):
            done = commit(daemon, container, '--pause=false', f'localhost/race:{turn}', check=False)
            if done.returncode:
                assert 'moved' in done.stderr or 'chang' in done.stderr or 'paused' in done.stderr, done
                continue
            succeeded += 1
            folder = tmp_path / f'oci-{turn}'
            daemon.runtime.cli('image', 'save', '-q', '--format', 'oci-dir', '-o', folder, f'localhost/race:{turn}')
            for blob in os.listdir(folder / 'blobs/sha256'):
                data = (folder / 'blobs/sha256' / blob).read_bytes()
                if data[:2] == b'\x1f\x8b':
                    with tarfile.open(folder / 'blobs/sha256' / blob) as tar:
                        for member in tar:
                            if member.isreg():
                                assert b'of the host' not in tar.extractfile(member).read()
        assert commit(daemon, container, NAME).returncode == 0
        assert 'of the host' not in pod.run(NAME, ['sleep', '1000']).sh('cat /race/*/*/word /race/word 2>/dev/null; true')


def test_user_namespace(daemon, image, tmp_path, made):
    """Owners are told as the container sees them."""
    from test_userns import userns_pod  # pylint: disable=import-outside-toplevel
    if AS_PROXMOX:
        pytest.skip('they have one of their own')
    with userns_pod(daemon) as pod:
        container = pod.sh(image, 'echo x >/root-s; echo x >/other; chown 33:44 /other; exec sleep 1000')
        eventually(lambda: container.exec('sh', '-c', '[ $(stat -c %u /other) = 33 ]').exit_code == 0)
        commit(daemon, container, NAME)
    members = saved(daemon, tmp_path)[2]
    assert [(members[n].uid, members[n].gid) for n in ('root-s', 'other')] == [(0, 0), (33, 44)]


def everything(runtime):
    """Names of blobs, layers and images."""
    return [sorted(os.listdir(f'{runtime.root}/{f}')) for f in ('blobs/sha256', 'layers/by-chain')] + [runtime.cli('image', 'ls', '-q').stdout]


def test_killed_at_any_moment(own_daemon, images):
    """An image that is whole, or nothing; and the container runs on."""
    runtime = own_daemon.runtime
    with own_daemon.pod() as pod:
        container = pod.sh(images.ref('busybox'), 'dd if=/dev/urandom of=/big bs=64k count=32; echo x >/ready; i=0; while :; do i=$((i+1)); echo $i >/count; done')
        eventually(lambda: container.exec('test', '-f', '/ready').exit_code == 0)
        before = everything(runtime)
        for _ in kills(own_daemon, 11, 0.15, lambda _: commit(own_daemon, container, NAME, check=False)):
            container.cri = pod.cri = own_daemon.cri
            count = container.sh('cat /count')
            eventually(lambda count=count: container.sh('cat /count') != count)
            if any(NAME in i.repo_tags for i in own_daemon.cri.ListImages().images):
                other = pod.run(NAME, ['sleep', '1000'])
                assert other.output('md5sum', '/big') == container.output('md5sum', '/big')
                other.remove()
                runtime.cli('image', 'rm', NAME)
            now = everything(runtime)
            now[0] = [b for b in now[0] if not b.endswith('.part')]
            assert now == before


def test_removed_meanwhile(own_daemon, images):
    """No image of half a container."""
    runtime = own_daemon.runtime
    with own_daemon.pod() as pod:
        container = pod.sh(images.ref('busybox'), 'mkdir /many; for i in $(seq 3000); do echo $i >/many/$i; done; echo x >/ready; exec sleep 1000')
        eventually(lambda: container.exec('test', '-f', '/ready').exit_code == 0)
        for pause in (0, 0.01, 0.03):
            done = []
            thread = threading.Thread(target=lambda done=done: done.append(commit(own_daemon, container, NAME, check=False)))
            thread.start()
            time.sleep(pause)
            if pause == 0.03:
                container.remove()
            thread.join()
            if done[0].returncode == 0:
                assert int(pod.run(NAME, ['sleep', '1000']).sh('ls /many | wc -l')) == 3000
        assert container.id not in {c.id for c in own_daemon.cri.ListContainers().containers}


@pytest.mark.parametrize('own_daemon', [{'config': 'snapshotter: plain\n'}], indirect=True)
def test_where_layers_are_copies(own_daemon, images, tmp_path):
    """The same, found by comparing; and what is compared goes."""
    layer = Layer().dir('v').dir('v/folder').dir('v/all')
    for name in ('gone', 'folder/x', 'changed', 'moved', 'all/1', 'kept'):
        layer.file(f'v/{name}', f'{name}\n')
    ref = images.push(recipes.busybox(layer), 'commits')
    own_daemon.pull(ref)
    with own_daemon.pod() as pod:
        container = changed(pod, ref)
        commit(own_daemon, container, NAME)
        other = pod.run(NAME, ['sleep', '1000'])
        for folder in ('/new', '/v', '/etc', '/root'):
            assert listing(container, folder) == listing(other, folder), folder
        members = set(saved(own_daemon, tmp_path)[2])
        assert 'v/kept' not in members and 'bin/busybox' not in members and 'v/.wh.gone' in members
        assert not [n for n in os.listdir(f'{own_daemon.runtime.root}/snapshots') if n.startswith('.')]
        done = commit(own_daemon, container, '--pause=false', NAME, check=False)
        assert done.returncode == 1 and 'paused' in done.stderr
        container.stop()
        assert container.status().state == EXITED
        commit(own_daemon, container, NAME)
