"""image copy: from registry to registry, and Skopeo agrees on what came."""

import base64
import json
import os
import subprocess

import pytest

import images as recipes
import oci
from conftest import Daemon, make_daemon
from registry import Registry

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

USER, PASSWORD = 'user', 'secret word:1'


@pytest.fixture(scope='module')
def private(top):
    with Registry(os.path.join(top, 'copy-private'), USER, PASSWORD) as registry:
        yield registry


@pytest.fixture(scope='module')
def many(images):
    """An index with builds for two architectures: (reference, its bytes)."""
    builds = [('amd64', recipes.marked('copy')), ('arm64', oci.Image([oci.Layer().file('arm', 'arm')], {'Cmd': ['x']}, arch='arm64'))]
    images.pusher.push_index('copy/many', '1', builds)
    return f'{images.registry.address}/copy/many:1', oci.index(builds)


def skopeo(*args):
    return subprocess.run(['skopeo', *args], check=True, stdout=subprocess.PIPE, timeout=60).stdout


def raw(ref, *flags):
    return skopeo('inspect', '--tls-verify=false', *flags, '--raw', 'docker://' + ref)


def test_copy_and_skopeo(daemon, images, many, tmp_path, clean):
    source, index = many
    to = f'{images.registry.address}/copy/to'
    mine = daemon.runtime.cli('image', 'copy', '-q', source, to + ':mine').stdout.strip()
    assert mine == recipes.marked('copy').digest() == oci.digest(raw(to + ':mine'))
    done = daemon.runtime.cli('image', 'copy', '--all', '--digestfile', tmp_path / 'digest', '-o', 'json', 'docker://' + source, f'docker://{to}:all')
    assert json.loads(done.stdout) == {'reference': to + ':all', 'digest': oci.digest(index)}
    assert (tmp_path / 'digest').read_text() == oci.digest(index)
    assert raw(to + ':all') == raw(source) == index
    # What it has copied Skopeo can copy whole, and the other way round.
    skopeo('copy', '-q', '--all', '--src-tls-verify=false', f'docker://{to}:all', f'oci:{tmp_path}/layout:x')
    skopeo('copy', '-q', '--all', '--dest-tls-verify=false', f'oci:{tmp_path}/layout:x', f'docker://{to}:skopeo')
    daemon.runtime.cli('image', 'copy', '-a', to + ':skopeo', to + '-again:1')
    assert raw(to + '-again:1') == raw(to + ':skopeo')
    # Nothing of it came here.
    assert daemon.runtime.cli('image', 'inspect', to + ':all', check=False).returncode == 1


def test_credentials(daemon, images, many, private, tmp_path, monkeypatch, clean):
    for name in ('HOME', 'XDG_RUNTIME_DIR'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv('REGISTRY_AUTH_FILE', raising=False)
    creds = f'{USER}:{PASSWORD}'
    cli = daemon.runtime.cli
    done = cli('image', 'copy', many[0], private.address + '/a:1', check=False)
    assert done.returncode == 1 and private.address in done.stderr and '401' in done.stderr, done
    done = cli('image', 'copy', '--dest-creds', USER + ':wrong', many[0], private.address + '/a:1', check=False)
    assert done.returncode == 1 and '401' in done.stderr and 'wrong' not in done.stderr, done
    cli('image', 'copy', '--dest-creds', creds, many[0], private.address + '/a:1')
    done = cli('image', 'copy', private.address + '/a:1', images.registry.address + '/copy/back:1', check=False)
    assert done.returncode == 1 and '401' in done.stderr, done
    cli('image', 'copy', '--src-creds', creds, private.address + '/a:1', images.registry.address + '/copy/back:1')
    assert raw(images.registry.address + '/copy/back:1') == raw(private.address + '/a:1', '--creds', creds)
    file = tmp_path / 'auth.json'
    file.write_text(json.dumps({'auths': {private.address: {'auth': base64.b64encode(creds.encode()).decode()}}}))
    for flag in ('--authfile', '--dest-authfile'):
        cli('image', 'copy', flag, file, many[0], private.address + '/b:1')
    cli('image', 'copy', '--src-authfile', file, private.address + '/b:1', images.registry.address + '/copy/back:2')
    cli('image', 'login', '-u', USER, '-p', PASSWORD, private.address)
    cli('image', 'copy', private.address + '/b:1', private.address + '/c:1')


def test_tls(many, registry, top, pb, clean):
    """A registry with a certificate of its own authority, which the daemon is told of."""
    with Registry(os.path.join(top, 'copy-tls'), tls=True) as secure:
        word = f'{os.environ["LXCRI_TEST_ID"]}-copy'
        daemon = Daemon(make_daemon(top, 'copy-tls-daemon', registry, registries=[{'host': secure.address, 'ca-file': secure.ca_file}],
                                    cgroup_parent=word, bridge='lxcricopy'), pb)
        try:
            daemon.runtime.cli('image', 'copy', '--all', many[0], secure.address + '/x:1')
            conn = secure.connection()
            conn.request('GET', '/v2/x/manifests/1', headers={'Accept': oci.INDEX})
            assert conn.getresponse().read() == many[1]
        finally:
            daemon.stop()


@pytest.mark.parametrize('args, word', [
    (['copy', 'a'], 'DESTINATION'), (['copy', 'UPPER', 'a.example/b'], 'lower case'), (['copy', '127.0.0.1:1/x', '127.0.0.1:1/y'], '127.0.0.1:1'),
    (['copy', 'oci:/tmp/x', 'a.example/b'], 'oci:/tmp/x'),
])
def test_wrong_usage(daemon, args, word):
    done = daemon.runtime.cli('image', *args, check=False)
    assert done.returncode in (1, 2) and word in done.stderr, done
