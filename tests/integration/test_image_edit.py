"""image edit: an image with another config, and what other tools make of it."""

import json
import os
import subprocess

import pytest

import images as recipes
from oci import digest

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


@pytest.fixture
def image(daemon, images):
    recipe = recipes.marked('edited', Labels={'old': '1', 'gone': '2'}, ExposedPorts={'80/tcp': {}},
                            Odd=18446744073709551615)
    ref = images.push(recipe, 'edited')
    daemon.pull(ref)
    yield ref, recipe
    daemon.runtime.cli('image', 'rm', '-f', recipe.id())


@pytest.fixture
def tidy(daemon, clean):
    """What the test makes goes, and nothing is left of it."""
    before = set(names(daemon))
    yield
    for id_ in set(names(daemon)) - before:
        daemon.runtime.cli('image', 'rm', '-f', id_)


def edit(daemon, *args, check=True):
    return daemon.runtime.cli('image', 'edit', '-q', *args, check=check)


def names(daemon):
    return {i.id: list(i.repo_tags) for i in daemon.cri.ListImages().images}


def skopeo(*args):
    return subprocess.run(['skopeo', *args], capture_output=True, check=True).stdout


def test_what_it_says_and_skopeo_reads(daemon, image, tmp_path, tidy):
    ref, recipe = image
    new = ref.replace(':1', ':new')
    id_ = edit(daemon, ref, '-t', new, '--label', 'old-', '--label', 'new=a b', '--env', 'A=1', '--entrypoint', '["/bin/sh"]',
               '--cmd', '-c "echo hi"', '--user', '33:33', '--workingdir', '/tmp', '--volume', '/data', '--port', '81/udp',
               '--stop-signal', 'SIGINT', '--author', 'A. U. Thor', '--annotation', 'k=v').stdout.strip()
    assert names(daemon)[id_] == [new] and names(daemon)[recipe.id()] == [ref]
    daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', new)
    raw = skopeo('inspect', '--config', '--raw', f'oci-archive:{tmp_path}/a.tar')
    assert digest(raw) == id_
    config = json.loads(raw)
    assert config['config'] == {**json.loads(recipe.config)['config'], 'Labels': {'gone': '2', 'new': 'a b'},
                                'Env': [recipes.PATH, 'A=1'], 'Entrypoint': ['/bin/sh'], 'Cmd': ['-c', 'echo hi'],
                                'User': '33:33', 'WorkingDir': '/tmp', 'Volumes': {'/data': {}},
                                'ExposedPorts': {'80/tcp': {}, '81/udp': {}}, 'StopSignal': 'SIGINT'}
    assert b'18446744073709551615' in raw and config['author'] == 'A. U. Thor'
    assert config['rootfs'] == json.loads(recipe.config)['rootfs']
    last = config['history'][-1]
    assert last['empty_layer'] and 'label=new=a b' in last['created_by'] and last['created'] == config['created']
    assert sum(not h.get('empty_layer') for h in config['history']) == len(recipe.layers)
    manifest = json.loads(skopeo('inspect', '--raw', f'oci-archive:{tmp_path}/a.tar'))
    assert manifest['layers'] == json.loads(recipe.manifest)['layers'] and manifest['annotations'] == {'k': 'v'}


def test_podman_reads_it(podman, daemon, image, tmp_path, tidy):
    ref, _ = image
    id_ = edit(daemon, ref, '-t', 'localhost/edited:1', '--label', 'new=x').stdout.strip()
    daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', 'localhost/edited:1')
    podman('load', '-q', '-i', tmp_path / 'a.tar')
    said = json.loads(podman('image', 'inspect', 'localhost/edited:1').stdout)[0]
    podman('rmi', 'localhost/edited:1')
    assert 'sha256:' + said['Id'] == id_ and said['Labels']['new'] == 'x'


def test_the_name_moves(daemon, image, tidy):
    """Without -t. The old image stays, without it; what is edited by its id gets no name."""
    ref, recipe = image
    first = edit(daemon, ref, '--env', 'A=1').stdout.strip()
    assert names(daemon)[first] == [ref] and names(daemon)[recipe.id()] == []
    second = edit(daemon, first, '--env', 'A=2', '-o', 'json').stdout
    assert names(daemon)[json.loads(second)['id']] == [] and names(daemon)[first] == [ref]


def test_it_runs(daemon, image, tidy):
    ref, _ = image
    edit(daemon, ref, '--env', 'WORD=said', '--entrypoint', 'echo $WORD in $(pwd)', '--workdir', '/var/www')
    with daemon.logged_pod() as pod:
        container = pod.run(ref)
        container.wait()
        assert container.log_text() == 'said in /var/www\n'


def test_docker_manifests(daemon, images, tmp_path, tidy):
    """Stay Docker's, unless they get annotations, which those have not."""
    ref = images.push(recipes.Image([recipes.busybox_layer()], {'Cmd': ['sh']}, docker=True), 'docker')
    daemon.pull(ref)
    for args, type_ in ((['--label', 'a=b'], 'vnd.docker.distribution.manifest.v2+json'),
                        (['--annotation', 'a=b'], 'vnd.oci.image.manifest.v1+json')):
        edit(daemon, ref, *args)
        daemon.runtime.cli('image', 'push', '-q', ref)
        manifest = json.loads(skopeo('inspect', '--tls-verify=false', '--raw', f'docker://{ref}'))
        assert manifest['mediaType'] == 'application/' + type_, args
        skopeo('copy', '-q', '--insecure-policy', '--src-tls-verify=false', f'docker://{ref}', f'oci:{tmp_path}/{type_[4:7]}:x')


def test_refusals(daemon, image, tidy):
    ref, _ = image
    before = names(daemon)
    for args, status, word in (([ref], 2, 'what is to change'), ([ref, '--label', 'a'], 1, 'KEY=VALUE'),
                               ([ref, '--volume', 'a'], 1, 'absolute'), ([ref, '--cmd', 'a "b'], 2, 'quote'),
                               (['absent.example/x', '--user', '1'], 1, 'not here'), ([ref, '--arch', 'riscv64'], 1, 'riscv64'),
                               ([ref, '--user', '1', '-t', 'UPPER'], 1, 'UPPER')):
        done = edit(daemon, *args, check=False)
        assert done.returncode == status and word in done.stderr, done
    assert names(daemon) == before


def test_layers_that_are_not_kept(own_daemon, images, tmp_path):
    """Come from where the image came from, and then they stay: the new one is from nowhere else."""
    recipe = recipes.marked('edited')
    ref = images.push(recipe, 'edited')
    own_daemon.pull(ref)
    runtime, layers = own_daemon.runtime, [layer['digest'] for layer in json.loads(recipe.manifest)['layers']]
    paths = [f'{runtime.root}/blobs/sha256/{layer[7:]}' for layer in layers]
    os.unlink(paths[0])
    with open(paths[1], 'r+b') as f:
        f.write(b'damaged')
    edit(own_daemon, ref, '-t', 'localhost/edited', '--user', '1')
    runtime.cli('image', 'rm', '-f', recipe.id())
    for path, layer in zip(paths, layers):
        with open(path, 'rb') as f:
            assert digest(f.read()) == layer
    own_daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'a.tar', 'localhost/edited')


def test_layers_that_are_nowhere(own_daemon, images):
    recipe = recipes.marked('edited')
    ref = images.push(recipe, 'edited')
    own_daemon.pull(ref)
    runtime = own_daemon.runtime
    edit(own_daemon, ref, '-t', 'localhost/edited', '--user', '1')
    runtime.cli('image', 'rm', '-f', recipe.id())
    os.unlink(f'{runtime.root}/blobs/sha256/{json.loads(recipe.manifest)["layers"][-1]["digest"][7:]}')
    before = names(own_daemon)
    done = edit(own_daemon, 'localhost/edited', '--user', '2', check=False)
    assert done.returncode == 1 and 'no registry is known' in done.stderr, done
    assert names(own_daemon) == before
