"""image save: what other tools make of our archives and folders."""

import json
import os
import stat
import subprocess
import tarfile

import pytest

import images as recipes
from cri import eventually
from oci import Layer, digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


@pytest.fixture
def image(daemon, images):
    recipe = recipes.marked('saved')
    ref = images.push(recipe, 'saved')
    id_ = daemon.pull(ref)[0]
    yield ref, recipe
    daemon.runtime.cli('image', 'rm', '-f', id_)


def blobs_of(recipe):
    return {digest(data): data for data in [recipe.manifest, *recipe.blobs()]}


def digest_of(what):
    """Of the manifest that skopeo finds."""
    return digest(subprocess.run(['skopeo', 'inspect', '--raw', what], capture_output=True, check=True).stdout)


def are_in(archive, recipe):
    with tarfile.open(archive) as tar:
        return all(tar.extractfile(f'blobs/sha256/{d[7:]}').read() == data for d, data in blobs_of(recipe).items())


def top_layer(daemon, recipe):
    layer = json.loads(recipe.manifest)['layers'][-1]
    return f'{daemon.runtime.root}/blobs/sha256/{layer["digest"][7:]}', layer


def test_members(daemon, image, tmp_path, clean):
    """Exactly these names: by them Proxmox VE knows an OCI archive."""
    ref, recipe = image
    archive = tmp_path / 'image.tar'
    daemon.runtime.cli('image', 'save', '-q', '-o', archive, ref)
    said = subprocess.run(['tar', '-tf', archive], capture_output=True, check=True, text=True)
    assert said.stderr == '' and os.listdir(tmp_path) == ['image.tar']
    assert sorted(said.stdout.split()) == sorted(['oci-layout', 'index.json'] +
                                                 [f'blobs/sha256/{d[7:]}' for d in blobs_of(recipe)])
    assert are_in(archive, recipe)
    with tarfile.open(archive) as tar:
        [entry] = json.load(tar.extractfile('index.json'))['manifests']
        assert json.load(tar.extractfile('oci-layout')) == {'imageLayoutVersion': '1.0.0'}
    assert entry['digest'] == recipe.digest() and entry['mediaType'] == recipe.media_type()
    assert entry['annotations']['org.opencontainers.image.ref.name'] == ref


def test_skopeo_and_umoci(daemon, image, tmp_path, clean):
    ref, recipe = image
    daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', ref)
    daemon.runtime.cli('image', 'save', '-q', '--format', 'oci-dir', '-o', tmp_path / 'dir', ref)
    for what in (f'oci-archive:{tmp_path}/a.tar', f'oci:{tmp_path}/dir'):
        assert digest_of(what) == recipe.digest()
    subprocess.run(['skopeo', 'copy', '-q', '--preserve-digests', '--insecure-policy', f'oci-archive:{tmp_path}/a.tar',
                    f'oci:{tmp_path}/copy:x'], check=True)
    assert digest_of(f'oci:{tmp_path}/copy:x') == recipe.digest()
    subprocess.run(['umoci', 'unpack', '--image', f'{tmp_path}/copy:x', tmp_path / 'bundle'], check=True, capture_output=True)
    assert (tmp_path / 'bundle/rootfs/saved').read_text(encoding='ascii') == 'saved\n'


def test_podman_loads_it(podman, daemon, image, tmp_path, clean):
    ref, recipe = image
    daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', ref)
    podman('load', '-q', '-i', tmp_path / 'a.tar')
    said = json.loads(podman('image', 'inspect', ref).stdout)[0]
    podman('rmi', ref)
    assert 'sha256:' + said['Id'] == recipe.id() and said['Digest'] == recipe.digest()


def test_as_docker_saves_it(podman, daemon, images, tmp_path, clean):
    """Layers by their diff ids, uncompressed, each once; the same bytes each time; other tools take it, and so do we."""
    recipe, cli = recipes.marked('dockers'), daemon.runtime.cli
    ref = images.push(recipe, 'dockers')
    other = recipes.busybox(Layer('zstd').file('other', 'other\n'), Layer('zstd').file('other', 'other\n'))
    ref2 = images.push(other, 'dockers2')
    daemon.pull(ref, ref2)
    cli('image', 'tag', ref, 'saved.example/it:2')
    for name in ('a.tar', 'b.tar'):
        cli('image', 'save', '-q', '--format', 'docker-archive', '-o', tmp_path / name, ref, 'saved.example/it:2', ref2)
    assert (tmp_path / 'a.tar').read_bytes() == (tmp_path / 'b.tar').read_bytes()
    with tarfile.open(tmp_path / 'a.tar') as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
        assert len(found) == len(tar.getnames())
    listing = json.loads(found.pop('manifest.json'))
    layers = {digest(layer.diff())[7:] + '.tar': layer.diff() for it in (recipe, other) for layer in it.layers}
    assert found == {**layers, **{it.id()[7:] + '.json': it.config for it in (recipe, other)}}
    assert [(it['Config'], it['RepoTags']) for it in listing] == [(recipe.id()[7:] + '.json', [ref, 'saved.example/it:2']), (other.id()[7:] + '.json', [ref2])]
    podman('load', '-q', '-i', tmp_path / 'a.tar')
    assert ['sha256:' + podman.inspect(it)['Id'] for it in (ref, 'saved.example/it:2', ref2)] == [recipe.id(), recipe.id(), other.id()]
    podman('rmi', '-f', ref, 'saved.example/it:2', ref2)
    cli('image', 'rm', ref, ref2)
    cli('image', 'load', '-q', '-i', tmp_path / 'a.tar')
    cli('image', 'save', '-q', '--format', 'docker-archive', '-o', tmp_path / 'c.tar', ref, 'saved.example/it:2', ref2)
    assert (tmp_path / 'c.tar').read_bytes() == (tmp_path / 'a.tar').read_bytes()
    cli('image', 'save', '-q', '--format', 'docker-archive', '-o', tmp_path / 'd.tar', ref)
    cli('image', 'rm', ref, ref2)
    subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', f'docker-archive:{tmp_path}/d.tar:{ref}', f'oci:{tmp_path}/copy:x'], check=True)
    subprocess.run(['umoci', 'unpack', '--image', f'{tmp_path}/copy:x', tmp_path / 'bundle'], check=True, capture_output=True)
    assert (tmp_path / 'bundle/rootfs/dockers').read_text(encoding='ascii') == 'dockers\n'


def test_names(daemon, image, tmp_path, clean):
    """Those that were asked for, once each; by its id all: who loads it may have the others for something else."""
    ref, recipe = image
    daemon.runtime.cli('image', 'tag', ref, 'saved.example/it:2', 'saved.example/it')

    def saved(*args):
        daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', *args)
        with tarfile.open(tmp_path / 'a.tar') as tar:
            entries = json.load(tar.extractfile('index.json'))['manifests']
        assert {it['digest'] for it in entries} == {recipe.digest()}
        return [it['annotations']['org.opencontainers.image.ref.name'] for it in entries]
    assert saved(ref) == [ref] and saved('saved.example/it') == ['saved.example/it:latest']
    assert digest_of(f'oci-archive:{tmp_path}/a.tar') == recipe.digest(), 'one, as skopeo wants it'
    assert saved(ref, 'saved.example/it:2', recipe.id(), ref) == [ref, *sorted(['saved.example/it:2', 'saved.example/it:latest'])]
    assert sorted(saved(recipe.id())) == sorted([ref, 'saved.example/it:2', 'saved.example/it:latest'])


def test_into_what_is_no_file(daemon, image, tmp_path, clean):
    """A pipe, a device: they are written to and stay what they are. What a link leads to gets the archive."""
    ref, _ = image
    save = lambda *args, **more: daemon.runtime.cli('image', 'save', '-q', '-o', *args, ref, **more)
    save(tmp_path / 'a.tar')
    wanted = (tmp_path / 'a.tar').read_bytes()
    os.mkfifo(tmp_path / 'fifo')
    with open(tmp_path / 'out', 'w+b') as out, subprocess.Popen(['timeout', '60', 'cat', tmp_path / 'fifo'], stdout=out) as reader:
        save(tmp_path / 'fifo')
        assert reader.wait(60) == 0 and (tmp_path / 'out').read_bytes() == wanted
    os.mknod(tmp_path / 'null', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    save(tmp_path / 'null')
    os.symlink('there', tmp_path / 'link')
    (tmp_path / 'there').write_text('old', encoding='ascii')
    save(tmp_path / 'link')
    assert (tmp_path / 'there').read_bytes() == wanted
    kinds = {name: stat.S_IFMT(os.lstat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)}
    assert kinds == {'a.tar': stat.S_IFREG, 'out': stat.S_IFREG, 'there': stat.S_IFREG, 'link': stat.S_IFLNK, 'fifo': stat.S_IFIFO, 'null': stat.S_IFCHR}
    done = save(tmp_path, check=False)
    assert done.returncode == 1 and 'is a folder' in done.stderr, done


def test_two_images_through_a_pipe(daemon, image, busybox, tmp_path, clean):
    """What both have is there once."""
    runtime = daemon.runtime
    with open(tmp_path / 'errors', 'w+', encoding='utf-8') as errors, \
            subprocess.Popen([runtime.program(), '--socket', runtime.socket, 'image', 'save', '-q', image[0], busybox],
                             stdout=subprocess.PIPE, stderr=errors) as save:
        said = subprocess.run(['tar', '-t'], stdin=save.stdout, capture_output=True, check=True)
        save.stdout.close()
        assert save.wait(60) == 0
    names = said.stdout.decode().split()
    assert len(names) == len(set(names)) and names[-1] == 'index.json'
    assert {f'blobs/sha256/{d[7:]}' for d in blobs_of(image[1])} < set(names)


def test_refusals_leave_nothing(daemon, image, tmp_path, clean):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    for args, word in ((['-o', tmp_path / 'a.tar', 'absent.example/x'], 'absent.example/x'),
                       (['-o', tmp_path / 'a.tar', image[0], 'absent.example/x'], 'absent.example/x'),
                       (['-o', tmp_path / 'absent/a.tar', image[0]], 'absent'),
                       (['-o', tmp_path / 'full', '--format', 'oci-dir', image[0]], 'not empty')):
        done = daemon.runtime.cli('image', 'save', '-q', *args, check=False)
        assert done.returncode == 1 and word in done.stderr, done
    assert os.listdir(tmp_path) == ['full']


def test_layers_that_are_not_kept_are_fetched(own_daemon, images, tmp_path):
    recipe = recipes.marked('saved')
    ref = images.push(recipe, 'saved')
    own_daemon.pull(ref)
    os.unlink(top_layer(own_daemon, recipe)[0])
    own_daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', ref)
    assert are_in(tmp_path / 'a.tar', recipe)
    own_daemon.runtime.cli('image', 'save', '-q', '--format', 'docker-archive', '-o', tmp_path / 'b.tar', ref)
    with tarfile.open(tmp_path / 'b.tar') as tar:
        assert {digest(layer.diff())[7:] + '.tar' for layer in recipe.layers} < set(tar.getnames())


def test_a_damaged_layer_is_told(own_daemon, images, tmp_path):
    recipe = recipes.marked('saved')
    ref = images.push(recipe, 'saved')
    own_daemon.pull(ref)
    path, layer = top_layer(own_daemon, recipe)
    with open(path, 'r+b') as f:
        data = bytearray(f.read())
        data[-1] ^= 1
        f.seek(0)
        f.write(data)
    os.mkdir(tmp_path / 'empty')
    for format_, name in (('oci-archive', 'a.tar'), ('docker-archive', 'a.tar'), ('oci-dir', 'folder'), ('oci-dir', 'empty')):
        done = own_daemon.runtime.cli('image', 'save', '-q', '--format', format_, '-o', tmp_path / name, ref, check=False)
        assert done.returncode == 1 and 'damaged' in done.stderr and layer['digest'] in done.stderr, done
    assert os.listdir(tmp_path) == ['empty'] and os.listdir(tmp_path / 'empty') == []


def test_a_killed_daemon_leaves_nothing(own_daemon, images, tmp_path):
    """Nothing gets the file's name, and the next save is whole."""
    recipe = recipes.marked('saved')
    ref = images.push(recipe, 'saved')
    own_daemon.pull(ref)
    runtime = own_daemon.runtime
    with open(tmp_path / 'errors', 'w+', encoding='utf-8') as errors, \
            subprocess.Popen([runtime.program(), '--socket', runtime.socket, 'image', 'save', '-q', ref],
                             stdout=subprocess.PIPE, stderr=errors) as save:
        save.stdout.read(512)  # the rest waits in the pipe
        runtime.kill()
        save.stdout.read()
        save.stdout.close()
        assert save.wait(60) == 1
    own_daemon.start()
    runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', ref)
    assert are_in(tmp_path / 'a.tar', recipe) and sorted(os.listdir(tmp_path)) == ['a.tar', 'errors']


def test_a_reader_that_stalls_holds_nothing(own_daemon, images, tmp_path):
    """The caller is gone, the pipe is full and stays open: the daemon gives up, and with it its holds."""
    recipe = recipes.marked('saved')
    ref = images.push(recipe, 'saved')
    own_daemon.pull(ref)
    runtime, (layer, _) = own_daemon.runtime, top_layer(own_daemon, recipe)
    out, into = os.pipe()
    with subprocess.Popen([runtime.program(), '--socket', runtime.socket, 'image', 'save', '-q', ref],
                          stdout=into, stderr=subprocess.DEVNULL) as save:
        os.close(into)
        assert os.read(out, 512)[257:262] == b'ustar'
        save.kill()
    runtime.cli('image', 'rm', ref)
    eventually(lambda: not os.path.exists(layer))
    os.close(out)
