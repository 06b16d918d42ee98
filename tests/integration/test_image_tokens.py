"""Registries with a token server: what is asked for, what comes of too few rights, and tokens that run out."""

import os
import subprocess

import pytest

import images as recipes
from oci import Layer, Image
from registry import Registry
from token_server import TokenServer

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

CREDS = 'user:secret'


@pytest.fixture(scope='module')
def tokens(top):
    rights = [('user', 'team/', {'pull', 'push'}), ('user', 'base/', {'pull'}), ('base', 'base/', {'pull', 'push'}), (None, 'public/', {'pull'}),
              ('base', 'public/', {'push', 'pull'})]
    with TokenServer(os.path.join(top, 'tokens'), {'user': 'secret', 'base': 'base'}, rights) as server:
        with Registry(os.path.join(top, 'tokens-registry'), auth=server.auth) as registry:
            server.registry = registry.address
            yield server


@pytest.fixture
def image(daemon, images):
    made = recipes.marked('tokens')
    ref = images.push(made, 'tokens/from')
    daemon.pull(ref)
    yield made, ref
    daemon.runtime.cli('image', 'rm', '-f', made.id())


def raw(ref, creds):
    return subprocess.run(['skopeo', 'inspect', '--tls-verify=false', '--creds', creds, '--raw', 'docker://' + ref], check=True,
                          stdout=subprocess.PIPE, timeout=60).stdout


def test_push_pull_and_skopeo(daemon, image, tokens, clean):
    made, ref = image
    to = f'{tokens.registry}/team/app:1'
    tokens.asked.clear()
    daemon.runtime.cli('image', 'push', '--creds', CREDS, ref, to)
    # Each that begins together with the others asks for one, which does for the rest of the push.
    assert len(tokens.asked) <= len(made.blobs()) and all('repository:team/app:pull,push' in scopes for scopes in tokens.asked), tokens.asked
    assert raw(to, CREDS) == made.manifest
    assert daemon.runtime.cli('image', 'tags', '--creds', CREDS, to.rsplit(':', 1)[0]).stdout.split() == ['1']
    # What Skopeo pushed comes back the same.
    subprocess.run(['skopeo', 'copy', '-q', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false', '--dest-creds', CREDS,
                    'docker://' + ref, f'docker://{tokens.registry}/team/skopeo:1'], check=True, timeout=60)
    daemon.runtime.cli('image', 'pull', '-q', '--creds', CREDS, f'{tokens.registry}/team/skopeo:1')
    assert f'{tokens.registry}/team/skopeo@{made.digest()}' in daemon.runtime.cli('image', 'inspect', made.id()).stdout


def test_mount_needs_both(daemon, image, tokens, clean):
    """The source's pull is asked for with the destination's push; who may not look there sends the blobs."""
    made, ref = image
    daemon.runtime.cli('image', 'copy', '--dest-creds', 'base:base', ref, f'{tokens.registry}/base/app:1')
    tokens.asked.clear()
    done = daemon.runtime.cli('image', 'copy', '--src-creds', CREDS, '--dest-creds', CREDS, f'{tokens.registry}/base/app:1', f'{tokens.registry}/team/mounted:1')
    assert 'mounted' in done.stderr and 'uploading' not in done.stderr, done.stderr
    assert {'repository:team/mounted:pull,push', 'repository:base/app:pull'} <= {scope for scopes in tokens.asked for scope in scopes}
    assert raw(f'{tokens.registry}/team/mounted:1', CREDS) == made.manifest
    daemon.runtime.cli('image', 'copy', '--dest-creds', 'base:base', ref, f'{tokens.registry}/public/app:1')
    # The other way the destination's user has no right to the source; the source's user has.
    daemon.runtime.cli('image', 'copy', '--src-creds', CREDS, '--dest-creds', 'base:base', f'{tokens.registry}/team/mounted:1', f'{tokens.registry}/base/back:1')
    assert raw(f'{tokens.registry}/base/back:1', 'base:base') == made.manifest


def test_too_few_rights(daemon, image, tokens, clean):
    ref = image[1]
    for creds, repository in ((CREDS, 'base/other'), (CREDS, 'elsewhere/x'), (None, 'team/app'), (None, 'public/app'), ('user:wrong', 'team/app')):
        flags = ['--creds', creds] if creds else ['--authfile', '/dev/null']
        done = daemon.runtime.cli('image', 'push', *flags, ref, f'{tokens.registry}/{repository}:no', check=False)
        assert done.returncode == 1 and '401' in done.stderr and repository in done.stderr, done
        assert 'wrong' not in done.stderr and 'secret' not in done.stderr


def test_tokens_that_run_out(daemon, images, tokens, clean):
    """Between the parts of a push, and while many blobs go."""
    made = Image([Layer().file(f'f{n}', os.urandom(3 << 20)) for n in range(6)], {'Cmd': ['x']})
    ref = images.push(made, 'tokens/many')
    tokens.lasts_s, before = 2, tokens.lasts_s
    try:
        tokens.asked.clear()
        daemon.runtime.cli('image', 'copy', '--dest-creds', CREDS, ref, f'{tokens.registry}/team/short:1')
        daemon.runtime.cli('image', 'copy', '--dest-creds', CREDS, ref, f'{tokens.registry}/team/short:2')
    finally:
        tokens.lasts_s = before
    assert raw(f'{tokens.registry}/team/short:2', CREDS) == made.manifest
