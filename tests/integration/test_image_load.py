"""image load: archives and folders that other tools make, and our own."""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import random
import signal
import subprocess
import tarfile
import time

import grpc
import pytest

import image_archives as archives
import images as recipes
from image_archives import tar
from conftest import Daemon, make_daemon
from cri import eventually
from fake_registry import Fake
from oci import INDEX, LAYER, Image, Layer, canonical, compress, descriptor, digest, index

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

NAME = 'loads.example/it:1'
ARCH, OTHER = {'x86_64': ('amd64', 'arm64'), 'aarch64': ('arm64', 'amd64')}[os.uname().machine]


class Raw:
    """A layer whose diff id is another's."""

    def __init__(self, blob, diff):
        self.blob, self.diff, self.media_type = lambda: blob, lambda: diff, lambda: LAYER


def small(word='word', *more, **kw):
    return Image([Layer().file(word, word), *more], {'Cmd': ['/' + word]}, **{'arch': ARCH, **kw})


@pytest.fixture(name='load')
def fixture_load(daemon, tmp_path, clean):
    """load(members or bytes or a path, more arguments) -> [{id, digest, names}]; what was loaded goes afterwards."""
    ids = set()

    def load(what, *args):
        if isinstance(what, list):
            what = tar(what)
        if isinstance(what, bytes):
            (tmp_path / 'load.tar').write_bytes(what)
            what = tmp_path / 'load.tar'
        done = daemon.runtime.cli('--output', 'json', 'image', 'load', '-q', '-i', what, *args, check=False)
        assert done.returncode == 0, done.stderr
        loaded = json.loads(done.stdout)
        ids.update(image['id'] for image in loaded)
        return loaded

    yield load
    if ids:
        daemon.runtime.cli('image', 'rm', '-f', *ids)


def refused(daemon, what, *words, args=(), **more):
    done = daemon.runtime.cli('image', 'load', '-q', *args, *(('-i', what) if what else ()), check=False, **more)
    assert done.returncode == 1 and all(word in done.stderr for word in words), done
    return done.stderr


def names_of(daemon, what):
    return set(daemon.cri.ImageStatus(image=daemon.pb.ImageSpec(image=what)).image.repo_tags)


def runs(daemon, name, word):
    with daemon.pod() as pod:
        assert pod.run(name, ['sleep', '1000']).output('cat', '/' + word) == word


# ---------------------------------------------------------------- OCI

def test_there_and_back(daemon, images, load, tmp_path):
    """Byte for byte: the same archive comes out, and the image runs."""
    cli, recipe = daemon.runtime.cli, recipes.marked('loaded')
    ref = images.push(recipe, 'loaded')
    daemon.pull(ref)
    for where, format_ in (('a.tar', 'oci-archive'), ('folder', 'oci-dir')):
        cli('image', 'save', '-q', '--format', format_, '-o', tmp_path / where, ref)
    cli('image', 'rm', ref)
    for where in ('a.tar', 'folder'):
        assert load(tmp_path / where) == [{'id': recipe.id(), 'digest': recipe.digest(), 'names': [ref]}]
        runs(daemon, ref, 'loaded')
        cli('image', 'save', '-q', '-o', tmp_path / 'b.tar', ref)
        assert (tmp_path / 'b.tar').read_bytes() == (tmp_path / 'a.tar').read_bytes()
        cli('image', 'rm', ref)
    said = cli('image', 'load', '-i', tmp_path / 'a.tar')
    assert said.stdout == f'Loaded image: {ref}\n' and ': done, ' in said.stderr


@pytest.mark.parametrize('own_daemon', [{'config': 'keep-layer-blobs: false\n'}], indirect=True)
def test_its_layers_come_from_nowhere_else(own_daemon, tmp_path):
    """They stay, whatever the configuration says of kept blobs; "image rm" takes all."""
    cli, image = own_daemon.runtime.cli, small()
    (tmp_path / 'a.tar').write_bytes(tar(archives.oci([image], [archives.entry(image, NAME)])))
    blobs = f'{own_daemon.runtime.root}/blobs/sha256'
    before = set(os.listdir(blobs))
    cli('image', 'load', '-q', '-i', tmp_path / 'a.tar')
    assert set(os.listdir(blobs)) - before == {digest(data)[7:] for data in [*image.blobs(), image.manifest]}
    own_daemon.runtime.kill()
    own_daemon.start()
    assert names_of(own_daemon, image.id()) == {NAME}
    cli('image', 'save', '-q', '-o', tmp_path / 'b.tar', NAME)
    cli('image', 'rm', NAME)
    assert set(os.listdir(blobs)) == before


def test_others_cost_it_no_layer(daemon, load):
    """What a registry says of a layer of the same digest is a stranger's word: the blob stays, from which alone it can be had."""
    mine, fake = small(), Fake()
    load(archives.oci([mine], [archives.entry(mine, NAME)]))
    layer, path = mine.layers[0], f'{daemon.runtime.root}/blobs/sha256/{digest(mine.layers[0].blob())[7:]}'
    try:
        for said in ({'diff': b'another'}, {'size': 5}):
            other = Image([Layer().file('more', 'more'), Raw(layer.blob(), said.get('diff', layer.diff()))], {'Cmd': ['/x']}, arch=ARCH)
            ref, doc = fake.add(other), json.loads(other.manifest)
            doc['layers'][1]['size'] = said.get('size', len(layer.blob()))
            fake.manifests['1'] = other.media_type(), canonical(doc)
            with pytest.raises(grpc.RpcError):
                daemon.pull(ref)
            with open(path, 'rb') as f:
                assert f.read() == layer.blob(), said
    finally:
        fake.stop()
    daemon.runtime.cli('image', 'verify', NAME)


def test_from_skopeo_and_umoci(daemon, images, load, tmp_path):
    recipe = recipes.marked('loaded')
    ref = images.push(recipe, 'loaded')
    for to in (f'oci-archive:{tmp_path}/a.tar:{NAME}', f'oci:{tmp_path}/oci:v1'):
        subprocess.run(['skopeo', 'copy', '-q', '--preserve-digests', '--insecure-policy', '--src-tls-verify=false', f'docker://{ref}', to], check=True)
    assert load(tmp_path / 'a.tar') == [{'id': recipe.id(), 'digest': recipe.digest(), 'names': [NAME]}]
    # A word is a tag of something that has no name here.
    assert load(tmp_path / 'oci', '--tag', NAME, '--tag', 'loads') == [
        {'id': recipe.id(), 'digest': recipe.digest(), 'names': [NAME, 'docker.io/library/loads:latest']}]
    subprocess.run(['umoci', 'config', '--image', f'{tmp_path}/oci:v1', '--tag', 'v2', '--config.env', 'A=b'], check=True, capture_output=True)
    old, new = load(tmp_path / 'oci')
    assert old['id'] == recipe.id() != new['id'] and new['names'] == []
    runs(daemon, new['id'], 'loaded')


def test_platforms(daemon, load):
    """This machine's, of an index in the archive and of an archive that is one; attestations are none."""
    mine, other = small('mine'), small('other', arch=OTHER)
    both = index([(OTHER, other), (ARCH, mine)])
    inside = archives.oci([mine, other], [descriptor(INDEX, both, annotations={archives.NAME: NAME})], archives.blob(both))
    assert load(inside) == [{'id': mine.id(), 'digest': mine.digest(), 'names': [NAME]}]
    for name in (None, NAME):
        beside = [archives.entry(image, name, platform={'os': os_, 'architecture': arch})
                  for image, os_, arch in ((other, 'unknown', 'unknown'), (other, 'linux', OTHER), (mine, 'linux', ARCH))]
        assert load(archives.oci([mine, other], beside)) == [{'id': mine.id(), 'digest': mine.digest(), 'names': [NAME] if name else []}]
    # What isn't wanted need not be there.
    assert load([m for m in inside if m[0] not in dict(map(archives.blob, [*other.blobs(), other.manifest]))])


def test_another_platform(daemon, load, tmp_path):
    """As --platform says: of an index, of entries beside each other, of Docker's; what is for no such machine is refused."""
    mine, other = small('mine'), small('other', arch=OTHER)
    both = index([(ARCH, mine), (OTHER, other)])
    beside = [archives.entry(image, NAME, platform={'os': 'linux', 'architecture': arch}) for image, arch in ((mine, ARCH), (other, OTHER))]
    for members in (archives.oci([mine, other], [descriptor(INDEX, both, annotations={archives.NAME: NAME})], archives.blob(both)),
                    archives.oci([mine, other], beside)):
        assert load(members, '--platform', f'linux/{OTHER}') == [{'id': other.id(), 'digest': other.digest(), 'names': [NAME]}]
        assert load(members, '--platform', f'linux/{ARCH}') == load(members)
    (tmp_path / 'both.tar').write_bytes(tar(members))
    assert load(archives.docker((other, [NAME])), '--platform', f'linux/{OTHER}')[0]['id'] == other.id()
    (tmp_path / 'a.tar').write_bytes(tar(archives.docker((other, [NAME]))))
    refused(daemon, tmp_path / 'a.tar', f'no image for linux/{ARCH}', f'it is for linux/{OTHER}')
    refused(daemon, tmp_path / 'a.tar', 'no image for linux/s390x', args=['--platform', 'linux/s390x'])
    refused(daemon, tmp_path / 'both.tar', 'no image for linux/s390x', args=['--platform', 'linux/s390x'])
    refused(daemon, tmp_path / 'both.tar', '"linux" is no platform', args=['--platform', 'linux'])
    # All of it is here, of whatever machine.
    daemon.runtime.cli('image', 'verify', NAME)
    daemon.runtime.cli('image', 'save', '-q', '-o', tmp_path / 'out.tar', NAME)
    assert load(tmp_path / 'out.tar', '--platform', f'linux/{OTHER}')[0]['digest'] == other.digest()
    edited = daemon.runtime.cli('image', 'edit', '-q', NAME, '-t', 'loads.example/it:2', '--label', 'a=b').stdout.strip()
    assert names_of(daemon, edited) == {'loads.example/it:2'} and names_of(daemon, other.id()) == {NAME}
    daemon.runtime.cli('image', 'rm', edited)


def test_what_was_loaded_before_another_failed(daemon, load, tmp_path):
    """It stays, and is told, beside the error."""
    good, wrong, last = small('good'), Image([Raw(Layer().file('x', 'x').blob(), b'another')], {'Cmd': ['/x']}, arch=ARCH), small('last')
    entries = [archives.entry(good, NAME), archives.entry(wrong, 'loads.example/it:2'), archives.entry(last, 'loads.example/it:3')]
    (tmp_path / 'a.tar').write_bytes(tar(archives.oci([good, wrong, last], entries)))
    for how in ([], ['--output', 'json']):
        done = daemon.runtime.cli(*how, 'image', 'load', '-q', '-i', tmp_path / 'a.tar', check=False)
        assert done.returncode == 1 and 'image 2 of 3, loads.example/it:2' in done.stderr, done
        if how:
            assert json.loads(done.stdout) == [{'id': good.id(), 'digest': good.digest(), 'names': [NAME]}]
        else:
            assert done.stdout == f'Loaded image: {NAME}\n'
        assert names_of(daemon, good.id()) == {NAME} and not names_of(daemon, last.id())
        daemon.runtime.cli('image', 'rm', NAME)
    # One that is damaged is found before any is made.
    members = [(name, data[:-1] + b'x' if name == archives.blob(last.layers[0].blob())[0] else data) for name, data in archives.oci([good, last], entries[::2])]
    (tmp_path / 'a.tar').write_bytes(tar(members))
    assert daemon.runtime.cli('image', 'load', '-q', '-i', tmp_path / 'a.tar', check=False).stdout == '' and not names_of(daemon, good.id())


def test_several_and_their_names(daemon, load, tmp_path):
    """One with two names, one with containerd's name, one with none; a name moves here from another."""
    a, b, c = small('a'), small('b'), small('c')
    entries = [archives.entry(a, NAME), archives.entry(a, 'loads.example/it:2'),
               archives.entry(b, 'loads.example/it:3', 'io.containerd.image.name'), archives.entry(c, 'v1')]
    both = tar(archives.oci([a, b, c], entries))
    assert [(i['id'], i['names']) for i in load(both)] == [(a.id(), [NAME, 'loads.example/it:2']), (b.id(), ['loads.example/it:3']), (c.id(), [])]
    (tmp_path / 'a.tar').write_bytes(both)
    refused(daemon, tmp_path / 'a.tar', '3 images', 'loads.example/x', args=['--tag', 'loads.example/x'])
    load(archives.oci([b], [archives.entry(b, NAME)]))
    assert names_of(daemon, a.id()) == {'loads.example/it:2'} and names_of(daemon, b.id()) == {NAME, 'loads.example/it:3'}


# ---------------------------------------------------------------- Docker's

def test_from_podman_and_skopeo(podman, daemon, images, load, tmp_path):
    recipe = recipes.marked('loaded')
    ref = images.push(recipe, 'loaded')
    podman('pull', '-q', ref)
    podman('tag', ref, NAME)
    for format_ in ('docker-archive', 'oci-archive'):
        podman('save', '-q', '--format', format_, '-o', tmp_path / 'a.tar', ref)
        [image] = load(tmp_path / 'a.tar')
        assert image['id'] == recipe.id() and image['names'] == [ref]
        runs(daemon, image['id'], 'loaded')
        os.unlink(tmp_path / 'a.tar')
    second = images.push(recipes.marked('second'), 'second')
    podman('pull', '-q', second)
    podman('save', '-q', '-m', '-o', tmp_path / 'b.tar', NAME, second)
    loaded = load(tmp_path / 'b.tar')
    assert [image['names'] for image in loaded] == [[NAME], [second]]
    podman('rmi', '-f', ref, second)
    subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', '--src-tls-verify=false', f'docker://{ref}', f'docker-archive:{tmp_path}/c.tar:{NAME}'], check=True)
    assert [(i['id'], i['names']) for i in load(tmp_path / 'c.tar')] == [(recipe.id(), [NAME])]


@pytest.mark.parametrize('how', ['gzip', 'zstd'])
def test_layers_in_dockers_archive_may_be_compressed(daemon, load, how):
    image = recipes.marked('loaded')
    members = archives.docker((image, [NAME]))
    plain = load(members)
    assert [(i['id'], i['names']) for i in plain] == [(image.id(), [NAME])]
    assert load(members) == plain  # the manifest that is made is the same each time
    [packed] = load([(name, compress(data, how) if name.endswith('.tar') else data) for name, data in members])
    assert packed['id'] == image.id() and packed['digest'] != plain[0]['digest']
    runs(daemon, NAME, 'loaded')


def test_of_old_docker(daemon, load):
    """Layers that are links to others, which may come later; a hardlink; names with "./"."""
    layer = Layer().file('twice', 'twice')
    image = recipes.busybox(layer, Layer().file('between', ''), layer)
    members = archives.old_docker(image, [NAME, 'loads'])
    assert [(i['id'], i['names']) for i in load(members)] == [(image.id(), [NAME, 'docker.io/library/loads:latest'])]
    runs(daemon, NAME, 'twice')
    daemon.runtime.cli('image', 'rm', NAME)
    last = members[-1]
    listing = json.loads(last[1])
    listing[0]['Layers'][0] = 'hard/layer.tar'
    hard = [archives.link('hard/layer.tar', '0' * 64 + '/layer.tar', tarfile.LNKTYPE), *reversed(members[:-1]), (last[0], json.dumps(listing).encode())]
    assert load([('./' + m[0] if isinstance(m[0], str) else m[0], m[1]) for m in hard])[0]['id'] == image.id()


# ---------------------------------------------------------------- how it comes

def test_compressed_and_through_a_pipe(daemon, load, tmp_path):
    image = small()
    data = tar(archives.oci([image], [archives.entry(image, NAME)]))
    for packed in (gzip.compress(data), compress(data, 'zstd'), gzip.compress(data[:1000]) + gzip.compress(data[1000:])):
        assert load(packed)[0]['id'] == image.id()
    for packed in (data, gzip.compress(data)):
        for how in ([], ['-i', '-']):
            with subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'load', *how], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
                run.stdin.write(packed[:1])  # it can't be known by this
                run.stdin.flush()
                assert run.communicate(packed[1:])[0] == f'Loaded image: {NAME}\n'.encode() and run.returncode == 0
    (tmp_path / 'a').write_bytes(b'12345' + data)
    with open(tmp_path / 'a', 'rb') as f:
        os.lseek(f.fileno(), 5, os.SEEK_SET)  # from where the shell has left it
        daemon.runtime.cli('image', 'load', '-q', stdin=f)
    for packed, word in ((lzma.compress(data), 'xz'), (bz2.compress(data), 'bzip2')):
        (tmp_path / 'a').write_bytes(packed)
        refused(daemon, tmp_path / 'a', word, 'decompress it first')
        with open(tmp_path / 'a', 'rb') as f:
            refused(daemon, None, word, input=None, stdin=f)


# ---------------------------------------------------------------- beside others, and cut short

def start(daemon, *args, **more):
    return subprocess.Popen([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'load', '-q', *args],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def store(daemon):
    """What is there of images, but for parts of blobs, which a start keeps for a while (decision 0022)."""
    root = daemon.runtime.root
    return {what: {name for name in os.listdir(f'{root}/{what}') if not name.endswith('.part')} for what in ('blobs/sha256', 'layers/by-chain', 'layers/tmp')}


def nameless(daemon):
    """Files that the daemon has open beside its blobs and that have no name."""
    fds, found = f'/proc/{daemon.runtime.process.pid}/fd', []
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f'{fds}/{fd}'))
    return [path for path in found if path.startswith(f'{daemon.runtime.root}/blobs') and '(deleted)' in path]


def big(name, bytes_=4 << 20):
    image = recipes.busybox(*[Layer('gzip').file(f'{name}{i}', os.urandom(bytes_)) for i in range(2)])
    return image, tar(archives.oci([image], [archives.entry(image, NAME)]))


def test_loads_and_pulls_of_the_same_at_once(daemon, images, tmp_path, clean):
    """All get it, whoever writes which layer."""
    image, data = big('same')
    ref = images.push(image, 'same')
    (tmp_path / 'a.tar').write_bytes(data)
    (tmp_path / 'b.tar').write_bytes(tar(archives.docker((image, ['loads.example/it:2']))))
    for _ in range(3):
        loads = [start(daemon, '-i', tmp_path / name) for name in ('a.tar', 'b.tar') * 3]
        daemon.pull(ref)
        assert [run.wait(60) for run in loads] == [0] * 6
        assert names_of(daemon, image.id()) == {NAME, 'loads.example/it:2', ref}
        daemon.runtime.cli('image', 'rm', image.id())


def test_one_that_is_given_up_leaves_nothing(daemon, tmp_path, clean):
    """The command is killed while the archive comes, or what writes it stalls: the daemon lets go."""
    before = store(daemon)
    _, data = big('given-up')
    for signal_ in (signal.SIGKILL, signal.SIGINT):
        out, into = os.pipe()
        with start(daemon, stdin=out) as run:
            os.close(out)
            for at in range(0, len(data) // 2, 65536):
                os.write(into, data[at:at + 65536])
            assert eventually(lambda: nameless(daemon))
            run.send_signal(signal_)
            assert run.wait(60) != 0
            eventually(lambda: not nameless(daemon))
            os.close(into)
        assert store(daemon) == before


def test_the_daemon_is_killed_at_any_moment(own_daemon, tmp_path):
    """However often: there is the whole image or nothing of it, and the next load brings it."""
    daemon, dice = own_daemon, random.Random(7)
    before = store(daemon)
    image, data = big('killed')
    (tmp_path / 'a.tar').write_bytes(data)
    outcomes = []
    for turn in range(12):
        run = start(daemon, '-i', tmp_path / 'a.tar')
        time.sleep(dice.random() * 0.02 * (1 + turn % 6))
        daemon.runtime.kill()
        run.wait(60)
        daemon.start()
        outcomes.append(names_of(daemon, NAME))
        if outcomes[-1]:
            daemon.runtime.cli('image', 'verify', NAME)
            daemon.runtime.cli('image', 'rm', NAME)
        assert store(daemon) == before, outcomes
    assert set() in outcomes
    daemon.runtime.cli('image', 'load', '-q', '-i', tmp_path / 'a.tar')
    assert names_of(daemon, image.id()) == {NAME}
    daemon.runtime.cli('image', 'verify', NAME)


# ---------------------------------------------------------------- the signature policy

ACCEPT, REJECT = [{'type': 'insecureAcceptAnything'}], [{'type': 'reject'}]


def test_the_signature_policy(top, pb, tmp_path):
    """Scopes as containers/image has them: paths for OCI layouts, none for Docker's archives; nothing here is signed."""
    policy, image = tmp_path / 'policy.json', small()
    entries = [archives.entry(image, NAME)]
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/oci.tar').write_bytes(tar(archives.oci([image], entries)))
    (tmp_path / 'docker.tar').write_bytes(tar(archives.docker((image, [NAME]))))
    with tarfile.open(tmp_path / 'in/oci.tar') as archive:
        archive.extractall(tmp_path / 'in/oci')
    os.symlink(tmp_path / 'in', tmp_path / 'link')
    signed = [{'type': 'sigstoreSigned', 'keyPath': '/absent.pub'}]
    daemon = Daemon(make_daemon(top, 'load-policy', None, config=f'signature-policy: {policy}\n', bridge='lxcriload',
                                cgroup_parent=os.environ['LXCRI_TEST_ID'] + '-load'), pb)

    def outcome(default, transports, what):
        policy.write_text(json.dumps({'default': default, 'transports': transports}))
        with open(tmp_path / what, 'rb') if what.endswith('.tar') else open(os.devnull, 'rb') as f:
            done = [daemon.runtime.cli('image', 'load', '-q', '-i', tmp_path / what, check=False)]
            if what.endswith('.tar'):  # the shell has opened it: it is the same file
                done.append(daemon.runtime.cli('image', 'load', '-q', stdin=f, check=False))
        assert len({run.returncode for run in done}) == 1, done
        for run in done:
            assert run.returncode == 0 or ('signature policy' in run.stderr and str(policy) in run.stderr), run
        return run.returncode == 0

    here = str(tmp_path)
    try:
        for what, transport in (('in/oci.tar', 'oci-archive'), ('in/oci', 'oci'), ('docker.tar', 'docker-archive')):
            other = 'oci' if transport != 'oci' else 'oci-archive'
            assert outcome(ACCEPT, {}, what) and not outcome(REJECT, {}, what)
            assert outcome(REJECT, {transport: {'': ACCEPT}}, what) and not outcome(ACCEPT, {transport: {'': REJECT}}, what)
            assert outcome(ACCEPT, {other: {'': REJECT}, 'docker': {'': REJECT}}, what)
            assert not outcome(ACCEPT, {transport: {'': signed}}, what)
            assert not outcome(ACCEPT, {transport: {'relative': ACCEPT}}, what)  # nothing could match it: a mistake
            if transport == 'docker-archive':
                assert not outcome(ACCEPT, {transport: {here: ACCEPT}}, what)
                continue
            for scope in (here, f'{here}/in', f'{here}/{what}'):
                assert outcome(REJECT, {transport: {scope: ACCEPT}}, what), scope
            assert outcome(REJECT, {transport: {f'{here}/in': ACCEPT, here: REJECT}}, what.replace('in/', 'link/'))
            assert not outcome(ACCEPT, {transport: {f'{here}/in': REJECT, '': ACCEPT}}, what)
            assert outcome(ACCEPT, {transport: {f'{here}/i': REJECT}}, what)
        assert daemon.cri.ListImages().images
    finally:
        daemon.stop()
