"""The signature policy: which images are pulled, signed by whom."""

import base64
import json
import os
import subprocess

import pytest

import cosign
import images as recipes
from conftest import Daemon, make_daemon
from cosign import Key, Signature, payload
from fake_registry import Fake
from helpers import CODE, refused
from oci import Image, Layer, Pusher, digest
from registry import Registry

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

ORACLE = os.environ.get('LXCRI_POLICY_ORACLE')
HOST_POLICY = '/etc/containers/policy.json'
ACCEPT, REJECT = [{'type': 'insecureAcceptAnything'}], [{'type': 'reject'}]


def small(word):
    return Image([Layer().file('word', word)], {'Cmd': ['/word']})


class Trust:
    """A daemon with a policy of the tests', a registry, keys."""

    def __init__(self, top, pb):
        self.top = os.path.join(top, 'trust')
        self.registry = Registry(os.path.join(self.top, 'registry'))
        self.host, self.pusher = self.registry.address, Pusher(self.registry.address)
        self.policy = os.path.join(self.top, 'policy.json')
        self.keys = {kind: Key(self.top, kind, kind) for kind in Key.KINDS}
        self.key, self.other = self.keys['p256'], Key(self.top, 'other')
        self.mirrored = Fake()
        self.daemon = Daemon(make_daemon(
            top, 'trust/daemon', self.registry, config=f'signature-policy: {self.policy}\n', bridge='lxcritrust',
            registries=[{'host': 'mirrored.invalid', 'mirrors': [self.mirrored.address, self.host]}],
            cgroup_parent=os.environ['LXCRI_TEST_ID'] + '-trust'), pb)
        self.pb = pb
        with open(os.path.join(self.top, 'registries.yaml'), 'w', encoding='utf-8') as f:
            f.write('default-docker:\n  use-sigstore-attachments: true\n')

    def write(self, policy):
        with open(self.policy, 'w', encoding='utf-8') as f:
            f.write(policy if isinstance(policy, str) else json.dumps(policy))

    def push(self, repo, tag='1', word=None):
        image = small(word or repo)
        self.pusher.push(repo, tag, image)
        return image

    def signed(self, **more):
        """A requirement."""
        if not any(name.startswith('key') for name in more):
            more['keyPath'] = self.key.public
        return [{'type': 'sigstoreSigned', **more}]

    def refused(self, ref, *words):
        with refused(CODE.UNKNOWN, words=[*words, self.policy]) as caught:
            self.daemon.pull(ref)
        said = caught.value.details()
        assert said.startswith('SignatureValidationFailed'), said
        assert not self.daemon.cri.ImageStatus(image=self.pb.ImageSpec(image=ref)).image.id
        return said

    def accepted(self, ref):
        self.daemon.pull(ref)
        self.daemon.cri.RemoveImage(image=self.pb.ImageSpec(image=ref))

    def agrees(self, ref, good, policy=None):
        """Does containers/image decide so, too? tests/tools/build-policy-oracle makes the program; Debian's Skopeo and Podman check no such signatures."""
        if ORACLE:
            done = subprocess.run([ORACLE, policy or self.policy, self.top, ref], check=False, stderr=subprocess.PIPE, text=True, timeout=60)
            assert (done.returncode == 0) == good, done.stderr

    def close(self):
        self.daemon.stop()
        self.mirrored.stop()
        self.registry.stop()


@pytest.fixture(scope='module')
def shared_trust(top, pb):
    os.makedirs(os.path.join(top, 'trust'), exist_ok=True)
    it = Trust(top, pb)
    yield it
    it.close()


@pytest.fixture
def trust(shared_trust):
    """What a test leaves in the store, or makes the log say of a signature's secrets, is a failure."""
    shared_trust.write({'default': ACCEPT})
    yield shared_trust
    shared_trust.daemon.connect()
    assert not shared_trust.daemon.cri.ListImages().images
    blobs = os.listdir(os.path.join(shared_trust.daemon.runtime.root, 'blobs/sha256'))
    assert not blobs, blobs


# ---------------------------------------------------------------- whose signature, of what

def test_no_policy_for_it(trust):
    trust.push('any')
    trust.write({'default': REJECT, 'transports': {'docker': {f'{trust.host}/any': ACCEPT}}})
    trust.accepted(f'{trust.host}/any:1')
    trust.push('another')
    trust.refused(f'{trust.host}/another:1', 'rejects', '"default"')


def test_unsigned_then_signed(trust):
    image = trust.push('plain')
    ref = f'{trust.host}/plain:1'
    trust.write({'default': trust.signed()})
    said = trust.refused(ref, 'there is none for ' + image.digest(), trust.key.public, 'matchRepoDigestOrExact')
    assert said.startswith(f'SignatureValidationFailed: pull {ref}: '), said
    cosign.sign(trust.pusher, trust.key, ref, image.digest())
    trust.accepted(ref)
    trust.agrees(ref, True)
    assert 'image signed as the policy wants' in trust.daemon.runtime.log_tail()


@pytest.mark.parametrize('kind', ['p256', 'p384', 'ed25519', 'rsa'])
def test_kinds_of_keys(trust, kind):
    image, ref = trust.push('kinds/' + kind), f'{trust.host}/kinds/{kind}:1'
    key = trust.keys[kind]
    cosign.sign(trust.pusher, key, ref, image.digest())
    for more in ({'keyPath': key.public}, {'keyData': key.data()}, {'keyPaths': [trust.other.public, key.public]},
                 {'keyDatas': [trust.other.data(), key.data()]}):
        trust.write({'default': trust.signed(**more)})
        trust.accepted(ref)
        trust.agrees(ref, True)
    trust.write({'default': trust.signed(keyPath=trust.other.public)})
    trust.refused(ref, 'signature 1: not made by ' + trust.other.public)
    trust.agrees(ref, False)


@pytest.mark.parametrize('kind', ['rsa1024', 'ed448'])
def test_keys_that_will_not_do(trust, kind):
    trust.push('weak')
    trust.write({'default': trust.signed(keyPath=trust.keys[kind].public)})
    trust.refused(f'{trust.host}/weak:1', trust.keys[kind].public, '1024 bits' if kind == 'rsa1024' else 'algorithm')


IDENTITIES = [
    # requirement's identity, what the signature says, how the image is asked for, whether that will do
    (None, 'HOST/id/app:1', 'HOST/id/app:1', True),
    (None, 'HOST/id/app:2', 'HOST/id/app:1', False),
    (None, 'HOST/id/app', 'HOST/id/app:1', False),
    (None, 'HOST/id/app:2', 'HOST/id/app@DIGEST', True),
    (None, 'HOST/id/other:1', 'HOST/id/app@DIGEST', False),
    (None, 'HOST/id/app', 'HOST/id/app@DIGEST', False),
    ({'type': 'matchRepoDigestOrExact'}, 'HOST/id/app:1', 'HOST/id/app:1', True),
    ({'type': 'matchExact'}, 'HOST/id/app:1', 'HOST/id/app:1', True),
    ({'type': 'matchExact'}, 'HOST/id/app:2', 'HOST/id/app:1', False),
    ({'type': 'matchExact'}, 'HOST/id/app:1', 'HOST/id/app@DIGEST', False),
    ({'type': 'matchExact'}, 'HOST/id/app@DIGEST', 'HOST/id/app@DIGEST', True),
    ({'type': 'matchExact'}, 'HOST/id/app', 'HOST/id/app:1', False),
    ({'type': 'matchRepository'}, 'HOST/id/app', 'HOST/id/app:1', True),
    ({'type': 'matchRepository'}, 'HOST/id/app:9', 'HOST/id/app:1', True),
    ({'type': 'matchRepository'}, 'HOST/id/app2', 'HOST/id/app:1', False),
    ({'type': 'matchRepository'}, 'HOST/id', 'HOST/id/app:1', False),
    ({'type': 'matchRepository'}, 'not a reference', 'HOST/id/app:1', False),
    ({'type': 'matchRepository'}, 'id/app', 'HOST/id/app:1', False),
    ({'type': 'exactReference', 'dockerReference': 'vendor.example/app:3'}, 'vendor.example/app:3', 'HOST/id/app:1', True),
    ({'type': 'exactReference', 'dockerReference': 'vendor.example/app:3'}, 'vendor.example/app:4', 'HOST/id/app:1', False),
    ({'type': 'exactReference', 'dockerReference': 'vendor.example/app:3'}, 'vendor.example/app', 'HOST/id/app:1', False),
    ({'type': 'exactReference', 'dockerReference': 'busybox:1'}, 'docker.io/library/busybox:1', 'HOST/id/app:1', True),
    ({'type': 'exactRepository', 'dockerRepository': 'vendor.example/app'}, 'vendor.example/app', 'HOST/id/app:1', True),
    ({'type': 'exactRepository', 'dockerRepository': 'vendor.example/app'}, 'vendor.example/app:7', 'HOST/id/app:1', True),
    ({'type': 'exactRepository', 'dockerRepository': 'vendor.example/app'}, 'vendor.example/apple', 'HOST/id/app:1', False),
    ({'type': 'exactRepository', 'dockerRepository': 'docker.io/library/b'}, 'index.docker.io/library/b', 'HOST/id/app:1', True),
    ({'type': 'remapIdentity', 'prefix': 'HOST/id', 'signedPrefix': 'vendor.example/x'}, 'vendor.example/x/app:1', 'HOST/id/app:1', True),
    ({'type': 'remapIdentity', 'prefix': 'HOST', 'signedPrefix': 'vendor.example'}, 'vendor.example/id/app:1', 'HOST/id/app:1', True),
    ({'type': 'remapIdentity', 'prefix': 'HOST', 'signedPrefix': 'vendor.example'}, 'vendor.example/id/app:2', 'HOST/id/app:1', False),
    ({'type': 'remapIdentity', 'prefix': 'HOST', 'signedPrefix': 'vendor.example'}, 'HOST/id/app:1', 'HOST/id/app:1', False),
    ({'type': 'remapIdentity', 'prefix': 'HOST/i', 'signedPrefix': 'vendor.example'}, 'HOST/id/app:1', 'HOST/id/app:1', True),
    ({'type': 'remapIdentity', 'prefix': 'HOST/id/app', 'signedPrefix': 'vendor.example/b'}, 'vendor.example/b:3', 'HOST/id/app@DIGEST', True),
]


@pytest.mark.parametrize('identity,claimed,asked,good', IDENTITIES, ids=range(len(IDENTITIES)))
def test_identities(trust, identity, claimed, asked, good):
    image = trust.push('id/app')

    def real(value):
        return value.replace('HOST', trust.host).replace('DIGEST', image.digest())
    more = {'signedIdentity': {k: real(v) for k, v in identity.items()}} if identity else {}
    trust.write({'default': trust.signed(**more)})
    cosign.sign(trust.pusher, trust.key, real(claimed), image.digest(), repo='id/app')
    if good:
        trust.accepted(real(asked))
    else:
        trust.refused(real(asked), 'signature 1')
    trust.agrees(real(asked), good)


SCOPES = [
    # scopes that reject, scopes that accept; is HOST/a/b/app:1 pulled?
    ([''], [], False), ([], [''], True),
    (['HOST'], [''], False), ([''], ['HOST'], True),
    (['HOST/a'], ['HOST'], False), (['HOST'], ['HOST/a'], True), (['HOST/a/b'], ['HOST/a'], False), (['HOST/a'], ['HOST/a/b'], True),
    (['HOST/a/b/app'], ['HOST/a/b'], False), (['HOST/a/b/app:1'], ['HOST/a/b/app'], False), (['HOST/a/b/app'], ['HOST/a/b/app:1'], True),
    (['HOST/a/b/app:2'], ['HOST/a/b/app'], True), (['HOST/a/b/ap'], ['HOST'], True), (['HOST/a/b/app/c'], ['HOST'], True),
    (['*.0.0.1'], [''], False), ([''], ['*.0.0.1'], True), (['*.0.1'], ['*.0.0.1'], True), (['*.0.0.1'], ['HOST'], True), (['*.1'], [''], False),
]


@pytest.mark.parametrize('rejecting,accepting,good', SCOPES, ids=range(len(SCOPES)))
def test_scopes(trust, rejecting, accepting, good):
    trust.push('a/b/app')
    scopes = {**{name: REJECT for name in rejecting}, **{name: ACCEPT for name in accepting}}
    trust.write({'default': ACCEPT if rejecting == [''] else REJECT,
                 'transports': {'docker': {name.replace('HOST', trust.host): reqs for name, reqs in scopes.items()}}})
    ref = f'{trust.host}/a/b/app:1'
    if good:
        trust.accepted(ref)
    else:
        trust.refused(ref, 'rejects all images of its scope')
    trust.agrees(ref, good)


def test_scope_of_a_digest(trust):
    image = trust.push('by-digest')
    ref = f'{trust.host}/by-digest@{image.digest()}'
    trust.write({'default': REJECT, 'transports': {'docker': {ref: ACCEPT}}})
    trust.accepted(ref)
    trust.refused(f'{trust.host}/by-digest:1')


def test_all_requirements(trust):
    """Each must be met, each perhaps by another signature."""
    image, ref = trust.push('both'), f'{trust.host}/both:1'
    trust.write({'default': trust.signed() + trust.signed(keyPath=trust.other.public) + ACCEPT})
    signatures = [Signature(key, payload(ref, image.digest())) for key in (trust.key, trust.other)]
    for some in ([], signatures[:1], signatures[1:]):
        if some:
            cosign.attach(trust.pusher, 'both', image.digest(), some)
        trust.refused(ref)
        trust.agrees(ref, False)
    cosign.attach(trust.pusher, 'both', image.digest(), signatures)
    trust.accepted(ref)
    trust.agrees(ref, True)
    trust.write({'default': trust.signed() + REJECT})
    trust.refused(ref, 'rejects')


def test_of_an_index(trust):
    """One of the index is enough, one of this machine's image, too; another's is not."""
    arch, foreign = ('amd64', 'arm64') if os.uname().machine == 'x86_64' else ('arm64', 'amd64')
    images = [(arch, Image([Layer().file('x', 'mine')], {}, arch=arch)), (foreign, Image([Layer().file('x', 'not')], {}, arch=foreign))]
    trust.write({'default': trust.signed()})
    for which in ('index', 'mine', 'other'):
        repo, ref = 'multi/' + which, f'{trust.host}/multi/{which}:1'
        trust.pusher.push_index(repo, '1', images)
        reply, body = trust.pusher.request('GET', f'/v2/{repo}/manifests/1', headers={'Accept': 'application/vnd.oci.image.index.v1+json'})
        assert reply.status == 200
        cosign.sign(trust.pusher, trust.key, ref, {'index': digest(body), 'mine': images[0][1].digest(), 'other': images[1][1].digest()}[which])
        if which == 'other':
            trust.refused(ref, digest(body))
        else:
            trust.accepted(ref)
        trust.agrees(ref, which == 'mine')  # it wants one of the image, whatever there is of the index


# ---------------------------------------------------------------- what is read without a pull

def told_why(trust, args, *words):
    done = trust.daemon.runtime.cli(*args, check=False)
    assert done.returncode == 1 and all(word in done.stderr for word in [*words, trust.policy]), done
    assert 'image refused by the signature policy' in trust.daemon.runtime.log_tail()


def tags(trust, repo):
    reply, body = trust.pusher.request('GET', f'/v2/{repo}/tags/list')
    return json.loads(body)['tags'] if reply.status == 200 else []


def test_a_copy(trust):
    """The source counts; where it goes does not, nor what is there."""
    image, ref, to = trust.push('copied/from'), f'{trust.host}/copied/from:1', f'{trust.host}/copied/to:1'
    copy = ['image', 'copy', '-q', ref, to]
    trust.write({'default': ACCEPT, 'transports': {'docker': {f'{trust.host}/copied/from': REJECT}}})
    told_why(trust, copy, 'rejects')
    trust.write({'default': trust.signed()})
    told_why(trust, copy, 'there is none for ' + image.digest())
    assert not tags(trust, 'copied/to')
    cosign.sign(trust.pusher, trust.key, ref, image.digest())
    trust.daemon.runtime.cli(*copy)
    assert tags(trust, 'copied/to') == ['1']
    trust.write('{')
    told_why(trust, copy, 'JSON')


def test_a_copy_of_an_index(trust):
    """With all its builds: one signature of it, or one of each. A build that is at its destination already is in the index, too."""
    arch, foreign = ('amd64', 'arm64') if os.uname().machine == 'x86_64' else ('arm64', 'amd64')
    builds = [(a, Image([Layer().file('x', 'copied' + a)], {}, arch=a)) for a in (arch, foreign)]
    trust.write({'default': trust.signed()})

    def push(repo):
        trust.pusher.push_index(repo, '1', builds)
        reply, body = trust.pusher.request('GET', f'/v2/{repo}/manifests/1', headers={'Accept': 'application/vnd.oci.image.index.v1+json'})
        assert reply.status == 200
        ref = f'{trust.host}/{repo}:1'
        return ref, digest(body), ['image', 'copy', '-q', '--all', ref, f'{trust.host}/to/{repo}:1']

    ref, of, copy = push('all/index')
    told_why(trust, copy, 'there is none for ' + of)
    cosign.sign(trust.pusher, trust.key, ref, of)
    trust.daemon.runtime.cli(*copy)
    ref, of, copy = push('all/each')
    cosign.sign(trust.pusher, trust.key, ref, builds[0][1].digest())
    told_why(trust, copy, 'there is none for ' + of)
    trust.pusher.push('to/all/each', 'there', builds[1][1])
    told_why(trust, copy, 'there is none for ' + of)
    trust.daemon.runtime.cli(*[arg for arg in copy if arg != '--all'][:-1], f'{trust.host}/to/all/mine:1')
    cosign.sign(trust.pusher, trust.key, ref, builds[1][1].digest())
    trust.daemon.runtime.cli(*copy)
    assert tags(trust, 'to/all/index') == ['1'] and sorted(tags(trust, 'to/all/each')) == ['1', 'there']


def test_artifacts(trust, tmp_path):
    """Their files are not fetched; what is only looked at is nobody's danger."""
    cli, ref = trust.daemon.runtime.cli, f'{trust.host}/art/one:1'
    (tmp_path / 'file').write_text('file', encoding='ascii')
    of = cli('image', 'artifact', 'push', '-q', ref, 'file', cwd=tmp_path).stdout.strip()
    (tmp_path / 'out').mkdir()
    pull = ['image', 'artifact', 'pull', '-q', '-o', tmp_path / 'out', ref]
    for policy, word in ((REJECT, 'rejects'), (trust.signed(), 'there is none for ' + of)):
        trust.write({'default': ACCEPT, 'transports': {'docker': {f'{trust.host}/art': policy}}})
        told_why(trust, pull, word)
        assert not os.listdir(tmp_path / 'out')
        assert cli('image', 'inspect', '--remote', '--raw', ref).stdout
    cosign.sign(trust.pusher, trust.key, ref, of)
    cli(*pull)
    assert os.listdir(tmp_path / 'out') == ['file']


# ---------------------------------------------------------------- signatures that are none

def wrong_signatures(trust, ref, of):
    good = payload(ref, of)
    sound = Signature(trust.key, good)
    raw = base64.b64decode(sound.value)
    again = [json.loads(good), {'critical': {}, 'optional': None}]

    def signed(document):
        return Signature(trust.key, document if isinstance(document, bytes) else json.dumps(document).encode())
    critical = again[0]['critical']
    return {
        'another digest': ([Signature(trust.key, payload(ref, 'sha256:' + '1' * 64))], 'made for another image'),
        'another payload': ([Signature(trust.key, good, value=Signature(trust.key, good + b' ').value)], 'not made by'),
        'a broken value': ([Signature(trust.key, good, value=base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode())], 'not made by'),
        'no base64': ([Signature(trust.key, good, value='!' * 96)], 'not made by'),
        'an empty value': ([Signature(trust.key, good, value='')], 'not made by'),
        'another type': ([signed({**again[0], 'critical': {**critical, 'type': 'atomic container signature'}})], 'another type'),
        'one more field': ([signed({**again[0], 'more': 1})], 'form of cosign'),
        'one more critical': ([signed({**again[0], 'critical': {**critical, 'expires': 1}})], 'form of cosign'),
        'one more of the image': ([signed({**again[0], 'critical': {**critical, 'image': {**critical['image'], 'size': 1}}})], 'form of cosign'),
        'nothing critical': ([signed(again[1])], 'form of cosign'),
        'no optional': ([signed({'critical': critical})], 'form of cosign'),
        'twice the same': ([signed(good[:-1] + b',"critical":' + json.dumps(critical).encode() + b'}')], 'duplicate'),
        'no JSON': ([signed(b'{')], 'JSON'),
        'a list': ([signed(b'[]')], 'JSON'),
        'a number as digest': ([signed({**again[0], 'critical': {**critical, 'image': {'docker-manifest-digest': 7}}})], 'docker-manifest-digest'),
        'a digest of another kind': ([signed({**again[0], 'critical': {**critical, 'image': {'docker-manifest-digest': 'sha512:' + '1' * 128}}})], 'no image'),
        'no list': ([], 'none for'),
    }


WRONG = [
    'another digest', 'another payload', 'a broken value', 'no base64', 'an empty value', 'another type', 'one more field', 'one more critical',
    'one more of the image', 'nothing critical', 'no optional', 'twice the same', 'no JSON', 'a list', 'a number as digest', 'a digest of another kind', 'no list']


@pytest.mark.parametrize('name', WRONG)
def test_wrong_signatures(trust, name):
    repo = 'wrong/' + name.replace(' ', '-').lower()
    image, ref = trust.push(repo), f'{trust.host}/{repo}:1'
    cases = wrong_signatures(trust, ref, image.digest())
    assert list(cases) == WRONG
    signatures, word = cases[name]
    trust.write({'default': trust.signed()})
    cosign.attach(trust.pusher, repo, image.digest(), signatures)
    trust.refused(ref, word)
    trust.agrees(ref, False)
    if signatures:  # a good one beside it is enough
        cosign.attach(trust.pusher, repo, image.digest(), signatures + [Signature(trust.key, payload(ref, image.digest()))])
        trust.accepted(ref)
        trust.agrees(ref, True)


# ---------------------------------------------------------------- policies that can't be obeyed

def scoped(scope, requirements=None):
    return {'default': ACCEPT, 'transports': {'docker': {scope: requirements or ACCEPT}}}


def with_identity(**identity):
    return {'default': [{'type': 'sigstoreSigned', 'keyPath': '/k', 'signedIdentity': identity}]}


KEY = {'type': 'sigstoreSigned', 'keyPath': '/k'}
BAD = {
    'empty': ('', 'JSON'), 'cut off': ('{"default":', 'JSON'), 'a list': ('[]', 'object'), 'more behind it': ('{"default":[{"type":"reject"}]} x', 'JSON'),
    'no default': ({}, 'default'), 'an empty default': ({'default': []}, 'default'), 'default is no list': ({'default': {}}, 'default'),
    'unknown field': ({'default': ACCEPT, 'defaults': REJECT}, 'defaults'),
    'twice the default': ('{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}', 'duplicate'),
    'twice a scope': ('{"default":[{"type":"reject"}],"transports":{"docker":{"a.b":[{"type":"reject"}],"a.b":[{"type":"insecureAcceptAnything"}]}}}', 'duplicate'),
    'unknown type': ({'default': [{'type': 'signed'}]}, 'signed'), 'no type': ({'default': [{}]}, 'type'), 'type is a number': ({'default': [{'type': 1}]}, 'type'),
    'a requirement is text': ({'default': ['reject']}, 'requirement'), 'reject with more': ({'default': [{'type': 'reject', 'unless': 1}]}, 'unless'),
    'signedBy': ({'default': [{'type': 'signedBy', 'keyType': 'GPGKeys', 'keyPath': '/k'}]}, 'signedBy'),
    'signedBy of another scope': (scoped('elsewhere.example', [{'type': 'signedBy', 'keyType': 'GPGKeys', 'keyPath': '/k'}]), 'elsewhere.example'),
    'signedBaseLayer': ({'default': [{'type': 'signedBaseLayer', 'baseLayerIdentity': {'type': 'matchExact'}}]}, 'signedBaseLayer'),
    'fulcio': ({'default': [{'type': 'sigstoreSigned', 'fulcio': {'caPath': '/ca', 'oidcIssuer': 'x', 'subjectEmail': 'y'}, 'rekorPublicKeyPath': '/r'}]}, 'fulcio'),
    'rekor': ({'default': [{**KEY, 'rekorPublicKeyPath': '/r'}]}, 'rekorPublicKeyPath'), 'rekor data': ({'default': [{**KEY, 'rekorPublicKeyData': 'cg=='}]}, 'rekorPublicKeyData'),
    'pki': ({'default': [{'type': 'sigstoreSigned', 'pki': {'caRootsPath': '/r', 'subjectEmail': 'e'}}]}, 'pki'),
    'no key': ({'default': [{'type': 'sigstoreSigned'}]}, 'exactly one'), 'two keys': ({'default': [{**KEY, 'keyData': 'eA=='}]}, 'exactly one'),
    'an empty key': ({'default': [{'type': 'sigstoreSigned', 'keyPath': ''}]}, 'keyPath'), 'no keys': ({'default': [{'type': 'sigstoreSigned', 'keyPaths': []}]}, 'keyPaths'),
    'key is a list': ({'default': [{'type': 'sigstoreSigned', 'keyPath': ['/k']}]}, 'keyPath'), 'keys are text': ({'default': [{'type': 'sigstoreSigned', 'keyPaths': '/k'}]}, 'keyPaths'),
    'a relative key': ({'default': [{'type': 'sigstoreSigned', 'keyPath': 'k.pub'}]}, 'absolute'), 'key data': ({'default': [{'type': 'sigstoreSigned', 'keyData': '*'}]}, 'base64'),
    'key field': ({'default': [{**KEY, 'keypath': '/k'}]}, 'keypath'),
    'unknown identity': (with_identity(type='matchAll'), 'matchAll'), 'identity is text': ({'default': [{**KEY, 'signedIdentity': 'matchExact'}]}, 'signedIdentity'),
    'identity is null': ({'default': [{**KEY, 'signedIdentity': None}]}, 'signedIdentity'),
    'identity with more': (with_identity(type='matchExact', dockerReference='a.b/c:1'), 'dockerReference'),
    'reference without tag': (with_identity(type='exactReference', dockerReference='a.b/c'), 'a.b/c'), 'no reference': (with_identity(type='exactReference'), 'dockerReference'),
    'repository with tag': (with_identity(type='exactRepository', dockerRepository='a.b/c:1'), 'a.b/c:1'), 'bad repository': (with_identity(type='exactRepository', dockerRepository='A/B'), 'lower case'),
    'remap without prefix': (with_identity(type='remapIdentity', signedPrefix='a.b'), 'prefix'), 'remap of a tag': (with_identity(type='remapIdentity', prefix='a.b/c:1', signedPrefix='a.b'), 'a.b/c:1'),
    'remap to a slash': (with_identity(type='remapIdentity', prefix='a.b', signedPrefix='a.b/'), 'a.b/'),
    'transports is a list': ({'default': ACCEPT, 'transports': []}, 'transports'), 'docker is a list': ({'default': ACCEPT, 'transports': {'docker': []}}, 'docker'),
    'an empty scope': ({'default': ACCEPT, 'transports': {'docker': {'a.example': []}}}, 'a.example'), 'scope with scheme': (scoped('https://a.example'), 'https'),
    'scope with a slash behind': (scoped('a.example/b/'), 'a.example/b/'), 'short scope': (scoped('busybox'), 'busybox'), 'scope in capitals': (scoped('a.example/B'), 'a.example/B'),
    'wildcard inside': (scoped('a*.example'), 'a*.example'), 'wildcard with path': (scoped('*.example/b'), '*.example/b'), 'wildcard with port': (scoped('*.example:5000'), '*.example:5000'),
    'nested': ('{"default":' + '[' * 5000, 'nested'), 'large': (' ' * (1 << 20) + '{}', 'policy.json'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_policies(trust, name):
    """Nothing is pulled, and the registry is not even asked."""
    policy, word = BAD[name]
    trust.write(policy)
    trust.refused('nobody.invalid/asked:1', word, "can't be obeyed")


def test_other_transports_do_not_count(trust):
    trust.push('any')
    trust.write({'default': ACCEPT, 'transports': {'atomic': {'': [{'type': 'signedBy', 'keyType': 'GPGKeys', 'keyPath': '/k'}]}, 'dir': {'': REJECT}}})
    trust.accepted(f'{trust.host}/any:1')


def test_policy_and_keys_that_are_gone(trust):
    trust.push('any')
    os.unlink(trust.policy)
    trust.refused(f'{trust.host}/any:1', 'No such file')
    trust.write({'default': trust.signed(keyPath='/nowhere/key.pub'), 'transports': {'docker': {f'{trust.host}/other': ACCEPT}}})
    trust.refused(f'{trust.host}/any:1', '/nowhere/key.pub', 'No such file')
    trust.push('other')
    trust.accepted(f'{trust.host}/other:1')  # which needs no key
    for data in (b'', b'not a key', trust.key.pem()[:60]):
        trust.write({'default': trust.signed(keyData=base64.b64encode(data or b'\n').decode())})
        trust.refused(f'{trust.host}/any:1', 'public key')
    with open(trust.key.private, 'rb') as f:
        trust.write({'default': trust.signed(keyData=base64.b64encode(f.read()).decode())})
    trust.refused(f'{trust.host}/any:1', 'public key')


# ---------------------------------------------------------------- where signatures come from

def test_mirrors(trust):
    """The image is who it was asked for as; its signatures may come from any of those that have it."""
    image, ref = small('mirrored'), 'mirrored.invalid/team/app:1'
    trust.mirrored.add(image)  # under any repository
    trust.pusher.push('team/app', '1', image)
    trust.write({'default': trust.signed()})
    with refused(CODE.UNKNOWN, words=['mirrored.invalid']):  # the registry itself can't be asked whether it has some
        trust.daemon.pull(ref)
    cosign.sign(trust.pusher, trust.key, ref, image.digest(), repo='team/app')  # in the second mirror alone
    trust.accepted(ref)
    cosign.sign(trust.pusher, trust.key, f'{trust.host}/team/app:1', image.digest(), repo='team/app')
    with refused(CODE.UNKNOWN, words=['mirrored.invalid']):
        trust.daemon.pull(ref)
    assert not trust.daemon.cri.ListImages().images


def test_signatures_that_refer_to_it(trust):
    """OCI 1.1: by the API, or the tag that stands in for it."""
    fake = Fake()
    try:
        ref = fake.add(small('referred'))
        image = small('referred')
        entry = cosign.refer(fake, image.digest(), [Signature(trust.key, payload(ref, image.digest()))])
        bundle = {**entry, 'artifactType': 'application/vnd.dev.sigstore.bundle.v0.3+json', 'digest': 'sha256:' + '2' * 64}
        trust.write({'default': trust.signed()})
        trust.refused(ref, 'none for')
        index = cosign.canonical({'schemaVersion': 2, 'manifests': [bundle, {**entry, 'digest': 'sha256:' + '3' * 64}, entry]})
        fake.manifests[image.digest().replace(':', '-')] = 'application/vnd.oci.image.index.v1+json', index
        trust.accepted(ref)
        fake.manifests.pop(image.digest().replace(':', '-'))
        fake.when('/referrers/' + image.digest(), lambda r: r.answer(200, index) or True)
        trust.accepted(ref)
        fake.rules.clear()
        fake.when('/referrers/', lambda r: r.answer(200, b'{"manifests":7}') or True)
        with refused(CODE.INVALID_ARGUMENT, words=['manifests', image.digest()]):
            trust.daemon.pull(ref)
    finally:
        fake.stop()


BROKEN = {
    'fails': (lambda r: r.answer(500, 'no'), [CODE.UNKNOWN], 'RegistryUnavailable'), 'is forbidden': (lambda r: r.answer(403, 'no'), [CODE.PERMISSION_DENIED], '403'),
    'is no JSON': (lambda r: r.answer(200, 'x'), [CODE.INVALID_ARGUMENT], 'JSON'), 'is endless': (lambda r: r.answer(200, b' ' * (5 << 20)), [CODE.RESOURCE_EXHAUSTED], ''),
    'lies': (lambda r: r.answer(200, '{}', Docker_Content_Digest='sha256:' + '1' * 64), [CODE.DATA_LOSS], 'digest'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_registry_whose_answer_about_signatures(trust, name):
    answer, codes, word = BROKEN[name]
    fake = Fake()
    try:
        fake.when('.sig', lambda r: answer(r) or True)
        trust.write({'default': trust.signed()})
        with refused(*codes, words=[word, 'signatures of']):
            trust.daemon.pull(fake.add(small('broken')))
        assert not [path for _, path, _ in fake.requests if '/blobs/' in path], 'asked for layers'
    finally:
        fake.stop()


@pytest.mark.parametrize('change,codes,word', [
    (lambda fake, name: fake.blobs.pop(name), [CODE.DATA_LOSS], '404'),
    (lambda fake, name: fake.blobs.update({name: fake.blobs[name][:-1] + b' '}), [CODE.DATA_LOSS], 'digest'),
    (lambda fake, name: fake.blobs.update({name: fake.blobs[name] + b' '}), [CODE.DATA_LOSS], 'larger'),
    (lambda fake, name: fake.blobs.update({name: fake.blobs[name][:-1]}), [CODE.UNKNOWN, CODE.DATA_LOSS], '')], ids=range(4))
def test_a_payload_that_is_not_as_promised(trust, change, codes, word):
    fake = Fake()
    try:
        image = small('promise')
        ref = fake.add(image)
        signature = Signature(trust.key, payload(ref, image.digest()))
        blobs, manifest = cosign.manifest([signature])
        fake.blobs.update({digest(blob): blob for blob in blobs})
        fake.manifests[image.digest().replace(':', '-') + '.sig'] = cosign.SIGNATURES, manifest
        trust.write({'default': trust.signed()})
        trust.accepted(ref)
        change(fake, digest(signature.data))
        with refused(*codes, words=[word, 'signature']):
            trust.daemon.pull(ref)
    finally:
        fake.stop()


def test_limits_of_signatures(trust):
    image, ref = trust.push('many'), f'{trust.host}/many:1'
    trust.write({'default': trust.signed()})
    good = payload(ref, image.digest())
    for signatures, word in (([Signature(trust.key, good, value='AAAA')] * 501, '500'), ([Signature(trust.key, good + b' ' * 65536)], '65536'),
                             ([Signature(trust.key, good, value='A' * 5000)], '65536')):
        cosign.attach(trust.pusher, 'many', image.digest(), signatures)
        with refused(CODE.RESOURCE_EXHAUSTED, words=[word]):
            trust.daemon.pull(ref)


def test_many_signatures(trust):
    """cosign adds one each time, and the one that will do may be the last; there is an end to looking."""
    image, ref = trust.push('often'), f'{trust.host}/often:1'
    trust.write({'default': trust.signed()})
    others = [Signature(trust.other, payload(ref, image.digest()))] * 100
    good = Signature(trust.key, payload(ref, image.digest()))
    cosign.attach(trust.pusher, 'often', image.digest(), [*others, good])
    trust.accepted(ref)
    trust.agrees(ref, True)


def test_more_signatures_than_are_looked_at(trust):
    """At the tag and among what refers to it, together."""
    fake, image = Fake(), small('too-often')
    try:
        ref = fake.add(image)
        others = [Signature(trust.other, payload(ref, image.digest()))] * 500
        trust.write({'default': trust.signed()})
        blobs, data = cosign.manifest(others)
        fake.blobs.update({digest(blob): blob for blob in blobs})
        tag = image.digest().replace(':', '-')
        fake.manifests[tag + '.sig'] = cosign.SIGNATURES, data
        entry = cosign.refer(fake, image.digest(), [Signature(trust.key, payload(ref, image.digest()))])
        fake.manifests[tag] = 'application/vnd.oci.image.index.v1+json', cosign.canonical({'schemaVersion': 2, 'manifests': [entry]})
        trust.refused(ref, 'none of those that there are will do')
        del fake.manifests[tag + '.sig']
        trust.accepted(ref)
    finally:
        fake.stop()


def test_the_hosts_own_policy(daemon, images, top, clean):
    """Without a key of ours the one that Podman has counts, too: here and now."""
    ref = images.push(small('host'), 'host')
    policy = os.path.join(top, 'host-policy.json')
    with open(policy, 'w', encoding='utf-8') as f:
        json.dump({'default': REJECT}, f)
    os.makedirs(os.path.dirname(HOST_POLICY), exist_ok=True)
    there = os.path.exists(HOST_POLICY)
    if not there:
        with open(HOST_POLICY, 'w', encoding='utf-8'):
            pass
    subprocess.run(['mount', '--bind', policy, HOST_POLICY], check=True)
    try:
        with refused(CODE.UNKNOWN, words=['SignatureValidationFailed', HOST_POLICY]):
            daemon.pull(ref)
    finally:
        subprocess.run(['umount', HOST_POLICY], check=True)
        if not there:
            os.unlink(HOST_POLICY)
    daemon.pull(ref)
    daemon.cri.RemoveImage(image=daemon.pb.ImageSpec(image=ref))


def test_the_command_line(trust):
    image, ref = trust.push('shown'), f'{trust.host}/shown:1'
    cli = trust.daemon.runtime.cli
    loads = {'oci': {'/srv/images': trust.signed()}, 'oci-archive': {'': ACCEPT}, 'tarball': {'': REJECT}}
    trust.write({'default': REJECT, 'transports': {**loads, 'docker': {'': ACCEPT}}})
    rows = [' '.join(line.split()) for line in cli('image', 'trust', 'show').stdout.splitlines()]
    assert set(rows[1:]) == {'(docker) insecureAcceptAnything', f'oci:/srv/images sigstoreSigned matchRepoDigestOrExact {trust.key.public}',
                             '(oci-archive) insecureAcceptAnything', '(tarball) reject', 'default reject'}, rows
    shown = json.loads(cli('image', 'trust', 'show', '-o', 'json').stdout)['rules']
    assert {(rule['transport'], rule['scope']) for rule in shown} == {
        ('docker', ''), ('oci', '/srv/images'), ('oci-archive', ''), ('tarball', ''), ('', 'default')}, shown
    trust.write({'default': REJECT, 'transports': {'docker': {'': ACCEPT, 'a.example': trust.signed(keyData=trust.key.data()) + trust.signed(
        keyPaths=['/a', '/b'], signedIdentity={'type': 'exactRepository', 'dockerRepository': 'b.example/c'})}}})
    rows = [' '.join(line.split()) for line in cli('image', 'trust', 'show').stdout.splitlines()]
    assert set(rows[1:]) == {'(docker) insecureAcceptAnything', 'default reject', 'a.example sigstoreSigned matchRepoDigestOrExact keyData',
                             'a.example sigstoreSigned exactRepository b.example/c /a /b'}, rows
    shown = json.loads(cli('image', 'trust', 'show', '-o', 'json').stdout)
    assert shown['policy'] == trust.policy and len(shown['rules']) == 4
    assert cli('image', 'trust', 'test', ref).stdout == f'{image.digest()}: accepted, scope "" of {trust.policy} wants no signature\n'
    trust.write({'default': trust.signed()})
    done = cli('image', 'trust', 'test', ref, check=False)
    assert done.returncode == 1 and 'there is none for ' + image.digest() in done.stderr and trust.key.public in done.stderr, done
    cosign.sign(trust.pusher, trust.key, ref, image.digest())
    assert f'signed: {image.digest()} by {trust.key.public}' in cli('image', 'trust', 'test', ref).stdout
    trust.write('{')
    for args in (['show'], ['test', ref]):
        done = cli('image', 'trust', *args, check=False)
        assert done.returncode == 1 and trust.policy in done.stderr and 'JSON' in done.stderr, done


@pytest.mark.skipif(not os.environ.get('LXCRI_COSIGN'), reason='no cosign: LXCRI_COSIGN names it')
@pytest.mark.parametrize('more', [[], ['--registry-referrers-mode=oci-1-1']], ids=['tag', 'referrers'])
def test_the_real_cosign(trust, more, tmp_path):
    run = {'check': True, 'cwd': tmp_path, 'env': {**os.environ, 'COSIGN_PASSWORD': 'x', 'COSIGN_EXPERIMENTAL': '1'}, 'timeout': 60}
    subprocess.run([os.environ['LXCRI_COSIGN'], 'generate-key-pair'], **run)
    image, ref = trust.push('cosigned' + str(len(more))), f'{trust.host}/cosigned{len(more)}:1'
    trust.write({'default': trust.signed(keyPath=str(tmp_path / 'cosign.pub'), signedIdentity={'type': 'matchRepository'})})
    trust.refused(ref, 'none for')
    subprocess.run([os.environ['LXCRI_COSIGN'], 'sign', '--key', 'cosign.key', '--tlog-upload=false', '--yes', '--allow-insecure-registry', '--allow-http-registry', *more,
                    f'{trust.host}/cosigned{len(more)}@{image.digest()}'], **run)
    trust.accepted(ref)
