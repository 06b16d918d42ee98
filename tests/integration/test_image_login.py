"""image login, logout, and who is asked for credentials: files of ours, Podman's, Skopeo's and Docker's, and helpers."""

import base64
import json
import os
import stat
import subprocess
import termios

import pytest

import images as recipes
from conftest import Daemon, make_daemon
from helpers import CODE, refused
from oci import Pusher
from registry import Registry
from terminal import Terminal

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

USER, PASSWORD = 'user', 'secret word:1'


@pytest.fixture(scope='module')
def private(top):
    with Registry(os.path.join(top, 'login'), USER, PASSWORD) as registry:
        basic = base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
        Pusher(registry.address, {'Authorization': 'Basic ' + basic}).push('team/app', 'latest', recipes.marked('login'))
        registry.ref = f'{registry.address}/team/app:latest'
        yield registry


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without credentials."""
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path / 'run'))
    for name in ('REGISTRY_AUTH_FILE', 'XDG_CONFIG_HOME', 'DOCKER_CONFIG'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def skopeo(*args, **more):
    return subprocess.run(['skopeo', *args], check=True, stdout=subprocess.PIPE, text=True, timeout=60, **more).stdout


def login(daemon, private, *flags, password=PASSWORD, check=True):
    return daemon.runtime.cli('image', 'login', '-u', USER, '--password-stdin', *flags, private.address, check=check, input=password + '\n')


def pulled(daemon, private, *flags):
    """Does a pull get the image with what it finds?"""
    done = daemon.runtime.cli('image', 'pull', *flags, private.ref, check=False)
    if done.returncode == 0:
        daemon.runtime.cli('image', 'rm', private.ref)
    else:
        assert '401' in done.stderr, done.stderr
    return done.returncode == 0


def test_login_pull_logout(daemon, private, home, clean):
    file = home / 'run/containers/auth.json'
    wrong = login(daemon, private, password='wrong', check=False)
    assert wrong.returncode == 1 and private.address in wrong.stderr and '401' in wrong.stderr, wrong
    assert not file.exists() and not pulled(daemon, private)
    login(daemon, private)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert pulled(daemon, private)
    assert daemon.runtime.cli('image', 'login', '--get-login', private.address).stdout == USER + '\n'
    assert daemon.runtime.cli('image', 'logout', private.address).returncode == 0
    assert not pulled(daemon, private)
    again = daemon.runtime.cli('image', 'logout', private.address, check=False)
    assert again.returncode == 1 and private.address in again.stderr
    assert daemon.runtime.cli('image', 'login', '--get-login', private.address, check=False).returncode == 1


def test_files_are_shared_with_skopeo(daemon, private, home, clean):
    login(daemon, private)
    assert skopeo('login', '--get-login', private.address) == USER + '\n'
    skopeo('inspect', '--tls-verify=false', 'docker://' + private.ref)
    skopeo('logout', private.address)
    assert not pulled(daemon, private)
    skopeo('login', '--tls-verify=false', '-u', USER, '--password-stdin', private.address, input=PASSWORD)
    assert pulled(daemon, private)
    daemon.runtime.cli('image', 'logout', '--all')
    assert not pulled(daemon, private)


def test_an_entry_for_a_path(daemon, private, home, clean):
    """It counts below the path, and not beside it."""
    daemon.runtime.cli('image', 'login', '-u', USER, '-p', PASSWORD, private.address + '/team')
    assert pulled(daemon, private)
    file = home / 'run/containers/auth.json'
    file.write_text(file.read_text().replace('/team', '/tea'))
    assert not pulled(daemon, private)


def test_authfile_and_creds(daemon, private, home, clean):
    login(daemon, private, '--authfile', str(home / 'other.json'))
    assert not pulled(daemon, private)
    assert pulled(daemon, private, '--authfile', str(home / 'other.json'))
    assert pulled(daemon, private, '--creds', f'{USER}:{PASSWORD}')
    os.environ['REGISTRY_AUTH_FILE'] = str(home / 'other.json')
    try:
        assert pulled(daemon, private)
    finally:
        del os.environ['REGISTRY_AUTH_FILE']


def test_a_helper_of_dockers_config(daemon, private, home, monkeypatch, clean):
    (home / '.docker').mkdir()
    (home / '.docker/config.json').write_text(json.dumps({'credHelpers': {private.address: 'of-the-test'}}))
    helper = home / 'docker-credential-of-the-test'
    helper.write_text('#!/bin/sh\nread -r server || :\n[ "$1" = get ] && '
                      f"echo '{json.dumps({'Username': USER, 'Secret': PASSWORD})}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv('PATH', f'{home}:{os.environ["PATH"]}')
    assert pulled(daemon, private)
    helper.write_text('#!/bin/sh\necho the keyring is locked\nexit 1\n')
    done = daemon.runtime.cli('image', 'pull', private.ref, check=False)
    assert done.returncode == 1 and 'the keyring is locked' in done.stderr and 'config.json' in done.stderr, done


def test_asked_on_a_terminal(daemon, private, home):
    """The password is not shown, and echo is on again afterwards."""
    asked = Terminal([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'login', private.address])
    asked.expect(r'Username: ')
    asked.type(USER + '\n')
    asked.expect(r'Password: ')
    asked.type(PASSWORD + '\n')
    shown = asked.expect(r'logged in to .*auth\.json')
    assert PASSWORD not in str(shown)
    assert asked.wait() == 0


@pytest.mark.parametrize('at', ['Username: ', 'Password: '])
def test_interrupted_on_a_terminal(daemon, private, home, at):
    asked = Terminal([daemon.runtime.program(), '--socket', daemon.runtime.socket, 'image', 'login', private.address])
    asked.expect(r'Username: ')
    if at == 'Password: ':
        asked.type(USER + '\n')
        asked.expect(at)
    asked.type('\x03')
    assert os.waitstatus_to_exitcode(os.waitpid(asked.pid, 0)[1]) == 130
    echo = termios.tcgetattr(asked.fd)[3] & termios.ECHO
    os.close(asked.fd)
    assert echo and not (home / 'run').exists()


def test_a_wrong_password_is_told(daemon, private, home):
    done = login(daemon, private, password='wrong', check=False)
    assert done.returncode == 1 and '401' in done.stderr and '--creds' not in done.stderr, done


def test_verify_asks_where_it_came_from(daemon, private, home, clean):
    """With the credentials for there, whatever the image is called here, and never with those for its name."""
    login(daemon, private)
    cli = daemon.runtime.cli
    image = cli('image', 'pull', '-q', private.ref).stdout.strip()
    cli('image', 'tag', private.ref, '127.0.0.1:1/other:1')
    for name in ('127.0.0.1:1/other:1', image, image[len('sha256:'):]):
        cli('image', 'prune', '--force', '--blobs')
        done = cli('image', 'verify', name, check=False)
        assert (done.returncode, done.stderr) == (0, '') and ' 0 could not be checked' in done.stdout, (name, done)
    cli('image', 'logout', private.address)
    (home / 'run/containers').mkdir(parents=True, exist_ok=True)
    (home / 'run/containers/auth.json').write_text(json.dumps(
        {'auths': {'127.0.0.1:1': {'auth': base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}}}))
    cli('image', 'prune', '--force', '--blobs')
    done = cli('image', 'verify', '127.0.0.1:1/other:1', check=False)
    assert done.returncode == 1 and '401' in done.stdout, done
    cli('image', 'rm', image)


def test_verify_of_all_asks_each_registry(own_daemon, private, home, images):
    """With the credentials for it; those of the command line would go to all of them."""
    login(own_daemon, private)
    cli = own_daemon.runtime.cli
    public = images.push(recipes.marked('public'), 'login-public')
    for ref in (private.ref, public):
        cli('image', 'pull', '-q', ref)
    cli('image', 'prune', '--force', '--blobs')
    assert ' 0 could not be checked' in cli('image', 'verify').stdout
    done = cli('image', 'verify', '--creds', f'{USER}:{PASSWORD}', check=False)
    assert done.returncode == 2 and '--creds' in done.stderr, done
    cli('image', 'logout', private.address)
    (home / '.docker').mkdir()
    (home / '.docker/config.json').write_text(json.dumps({'credHelpers': {private.address: 'that-is-not-there'}}))
    done = cli('image', 'verify', check=False)
    assert done.returncode == 1 and 'docker-credential-that-is-not-there' in done.stderr, done
    os.unlink(home / '.docker/config.json')
    cli('image', 'prune', '--force', '--blobs')
    done = cli('image', 'verify', check=False)
    unknown = [line for line in done.stdout.splitlines() if line.startswith('unknown')]
    assert done.returncode == 1 and unknown and all('401' in line and private.address in line for line in unknown), done


def test_json(daemon, private, home, clean):
    def said(*args, **more):
        return json.loads(daemon.runtime.cli('-o', 'json', 'image', *args, **more).stdout)

    file = str(home / 'run/containers/auth.json')
    assert said('login', '-u', USER, '--password-stdin', private.address, input=PASSWORD + '\n') == \
        {'registry': private.address, 'authfile': file}
    assert said('login', '--get-login', private.address) == {'registry': private.address, 'username': USER}
    assert said('logout', private.address) == {'registry': private.address, 'authfile': file}
    login(daemon, private)
    assert said('logout', '--all') == {'registry': None, 'authfile': file}


def test_credentials_of_the_daemon(private, registry, home, top, pb, clean):
    """auth-file of its configuration: for requests without any, also of mirrors; never instead of the caller's."""
    file = home / 'daemon.json'
    name = registry.address
    word = f'{os.environ["LXCRI_TEST_ID"]}-auth'
    daemon = Daemon(make_daemon(top, 'auth-file', registry, registries=[{'host': name, 'mirrors': [private.address]}],
                                config=f'auth-file: {file}\n', cgroup_parent=word, bridge='lxcriauth'), pb)
    try:
        assert not pulled(daemon, private)
        login(daemon, private, '--authfile', str(file))
        assert pulled(daemon, private)  # without a restart
        image = pb.ImageSpec(image=f'{name}/team/app:latest')  # which is in the mirror alone
        assert daemon.cri.PullImage(image=image).image_ref
        daemon.cri.RemoveImage(image=image)
        with refused(CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED, CODE.UNKNOWN, words=['401']):
            daemon.cri.PullImage(image=pb.ImageSpec(image=private.ref), auth=pb.AuthConfig(username=USER, password='wrong'))
        file.write_text('{')
        assert not pulled(daemon, private)
        with open(daemon.runtime.log_path, encoding='utf-8') as f:
            log = f.read()
        assert 'daemon.json' in log and PASSWORD not in log
    finally:
        daemon.stop()


@pytest.mark.parametrize('args, word', [
    (['image', 'login', '-u', 'a', '-p', 'b', 'https://x.example'], 'https://x.example'),
    (['image', 'login', '-u', 'a', '-p', 'b', '--password-stdin', 'x.example'], 'not both'),
    (['image', 'login', 'x.example'], '--password-stdin'),
    (['image', 'login', '-u', 'a:b', '-p', 'c', '127.0.0.1:1'], '127.0.0.1:1'),
    (['image', 'logout'], 'which registry'),
    (['image', 'logout', '--all', 'x.example'], 'takes no registry'),
])
def test_wrong_usage(daemon, home, args, word):
    done = daemon.runtime.cli(*args, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode in (1, 2) and word in done.stderr, done
    assert not (home / 'run').exists()


def test_bad_file(daemon, private, home):
    (home / 'run/containers').mkdir(parents=True)
    (home / 'run/containers/auth.json').write_text('{')
    for verb in (['pull', private.ref], ['logout', private.address]):
        done = daemon.runtime.cli('image', *verb, check=False)
        assert done.returncode == 1 and 'auth.json' in done.stderr, done
    assert (home / 'run/containers/auth.json').read_text() == '{'
