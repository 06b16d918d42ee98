"""Registries behind a proxy (tinyproxy) that the environment names."""

import os
import socket
import subprocess

import pytest

import images as recipes
from cri import eventually
from conftest import Daemon, make_daemon
from helpers import CODE, refused
from oci import write_layout
from registry import Registry, free_port

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]

OUTSIDE = '192.0.2.7'  # an address that is no loopback's, reached without a proxy, too: so the proxy's log has to tell


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


class Proxy:
    """tinyproxy on loopback; `log` is what it was asked for."""

    def __init__(self, directory):
        port = free_port()
        self.url, self.log_path = f'http://127.0.0.1:{port}', str(directory / 'proxy.log')
        config = directory / 'proxy.conf'
        config.write_text(f'Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n'
                          f'LogFile "{self.log_path}"\nLogLevel Connect\n')
        self.process = subprocess.Popen(['tinyproxy', '-d', '-c', str(config)], stdout=subprocess.DEVNULL)
        eventually(lambda: listens(port))

    @property
    def log(self):
        if not os.path.exists(self.log_path):
            return ''
        with open(self.log_path, encoding='utf-8') as f:
            return f.read()

    def stop(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def proxy(tmp_path):
    server = Proxy(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope='module', params=[False, True], ids=['http', 'https'])
def outside(request, top):
    """A registry at OUTSIDE, and its CA: (reference, configuration of it)."""
    subprocess.run(['ip', 'address', 'add', OUTSIDE + '/32', 'dev', 'lo'], check=True)
    directory = os.path.join(top, f'outside{request.param}')
    try:
        with Registry(directory, tls=request.param, host=OUTSIDE) as registry:
            layout = os.path.join(directory, 'layout')
            write_layout(recipes.marked('outside'), layout)
            ref = f'{registry.address}/outside:1'
            subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', '--dest-tls-verify=false',
                            f'oci:{layout}:latest', 'docker://' + ref], check=True)
            entry = {'host': registry.address}
            entry.update({'ca-file': registry.ca_file} if request.param else {'insecure': True})
            yield ref, entry, request.param
    finally:
        subprocess.run(['ip', 'address', 'del', OUTSIDE + '/32', 'dev', 'lo'], check=True)


@pytest.fixture
def with_environment(top, pb, registry, outside, monkeypatch):
    """Makes a daemon that has these variables."""
    made = []

    def make(**variables):
        for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY', 'no_proxy', 'NO_PROXY'):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        number = len(os.listdir(top))
        made.append(Daemon(make_daemon(top, f'proxied{number}', registry, registries=[outside[1]], bridge=f'lxcripx{number}',
                                       cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-px{number}'), pb))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize('capitals', [False, True])
def test_pull(with_environment, outside, proxy, capitals):
    ref, _, tls = outside
    name = 'https_proxy' if tls else 'http_proxy'
    with_environment(**{name.upper() if capitals else name: proxy.url}).pull(ref)
    assert ('CONNECT ' if tls else 'GET http://') + ref.split('/', maxsplit=1)[0] in proxy.log


def test_no_proxy(with_environment, outside, proxy):
    """By address range, and what is on this machine anyway."""
    ref, _, tls = outside
    name = 'HTTPS_PROXY' if tls else 'HTTP_PROXY'
    with_environment(**{name: proxy.url, 'NO_PROXY': 'example.com,192.0.2.0/24'}).pull(ref)
    assert ref.split(':', maxsplit=1)[0] not in proxy.log


def test_loopback_without_proxy(with_environment, registry, images, proxy):
    ref = images.push(recipes.marked('loopback'), 'loopback')
    with_environment(HTTP_PROXY=proxy.url, HTTPS_PROXY=proxy.url).pull(ref)
    assert registry.address not in proxy.log


def test_nobody_listens(with_environment, outside):
    """The message names the proxy, where the fault is."""
    port = free_port()
    server = with_environment(HTTP_PROXY=f'http://127.0.0.1:{port}', HTTPS_PROXY=f'http://user:secret@127.0.0.1:{port}')
    with refused(CODE.UNKNOWN, words=['RegistryUnavailable', f'127.0.0.1 port {port}', 'names a proxy: HTTP']) as error:
        server.pull(outside[0])
    assert 'secret' not in str(error)
