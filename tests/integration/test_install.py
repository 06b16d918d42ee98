"""`meson install`: where everything lands, and that what is installed finds its parts."""

import glob
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import Daemon
from runtime import Lxcri, REPO

pytestmark = pytest.mark.ours

PREFIX = '/usr/local'
BUILD = os.environ.get('LXCRI_BUILD') or os.path.join(REPO, 'build')


def files(top):
    """Path below @top -> mode, of all that is no folder."""
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            found[path[len(top):]] = os.stat(path).st_mode & 0o7777
    return found


def install(to):
    subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', to], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture(scope='module')
def installed(top):
    if not shutil.which('meson') or not os.path.exists(os.path.join(BUILD, 'meson-info')):
        pytest.skip('no build folder here')
    out = subprocess.run(['meson', 'introspect', '--buildoptions', BUILD], check=True, stdout=subprocess.PIPE)
    options = {o['name']: o['value'] for o in json.loads(out.stdout)}
    if options['prefix'] != PREFIX or options['b_sanitize'] != 'none':
        pytest.skip('another prefix, or a build with sanitizers')
    to = os.path.join(top, 'installed')
    install(to)
    yield to
    shutil.rmtree(to)


def default_config(program):
    text = subprocess.run([program, 'config', 'default'], check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(re.findall(r'^([a-z-]+): (.*)$', text, re.M))


def test_layout(installed):
    assert files(installed) == {
        '/etc/proxmox-lxcri/config.yaml': 0o644,
        PREFIX + '/bin/proxmox-lxcri': 0o755,
        PREFIX + '/sbin/proxmox-lxcrid': 0o755,
        PREFIX + '/libexec/proxmox-lxcri/proxmox-lxcri-admin': 0o755,
        PREFIX + '/libexec/proxmox-lxcri/proxmox-lxcri-ct': 0o755,
        PREFIX + '/libexec/proxmox-lxcri/proxmox-lxcri-keeper': 0o755,
        PREFIX + '/libexec/proxmox-lxcri/proxmox-lxcri-init': 0o755,
        PREFIX + '/libexec/proxmox-lxcri/proxmox-lxcri-sandbox.tar.gz': 0o644,
        PREFIX + '/lib/systemd/system/proxmox-lxcrid.service': 0o644,
        PREFIX + '/share/proxmox-lxcri/config.yaml': 0o644,
        PREFIX + '/share/man/man1/proxmox-lxcri.1': 0o644,
        PREFIX + '/share/bash-completion/completions/proxmox-lxcri': 0o644,
        PREFIX + '/share/zsh/site-functions/_proxmox-lxcri': 0o644,
        PREFIX + '/share/fish/vendor_completions.d/proxmox-lxcri.fish': 0o644,
    }
    subprocess.run(['bash', '-n', f'{installed}{PREFIX}/share/bash-completion/completions/proxmox-lxcri'], check=True)
    init = f'{installed}{PREFIX}/libexec/proxmox-lxcri/proxmox-lxcri-init'
    needs = subprocess.run(['readelf', '-d', init], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert 'NEEDED' not in needs, 'init must run in any root'
    needs = subprocess.run(['readelf', '-d', f'{installed}{PREFIX}/bin/proxmox-lxcri'], check=True,
                           stdout=subprocess.PIPE, text=True).stdout
    assert re.findall(r'NEEDED.*\[(.*)\]', needs) == ['libc.so.6'], 'engines start it several times for each container'


def test_unit(installed):
    with open(f'{installed}{PREFIX}/lib/systemd/system/proxmox-lxcrid.service', encoding='utf-8') as f:
        lines = f.read().split('\n')
    assert not any('@' in line for line in lines)
    # Pods outlive the daemon, and their control groups are not systemd's.
    for line in ('Type=notify', 'KillMode=process', 'Delegate=yes', 'Restart=always', 'WantedBy=multi-user.target'):
        assert line in lines, line
    start = next(line for line in lines if line.startswith('ExecStart='))
    program = start.split('=', 1)[1].split()[0]
    assert program == PREFIX + '/sbin/proxmox-lxcrid' and os.path.exists(installed + program)


def test_configuration(installed):
    daemon = f'{installed}{PREFIX}/sbin/proxmox-lxcrid'
    config = f'{installed}/etc/proxmox-lxcri/config.yaml'
    for key in ('keeper-path', 'init-path'):
        assert os.access(installed + default_config(daemon)[key], os.X_OK)
    assert default_config(daemon)['root'] == '/var/lib/proxmox-lxcri'
    # The administrator's copy names all keys and sets none: defaults may change with a new version.
    with open(config, encoding='utf-8') as f:
        text = f.read()
    assert '\n#root: /var/lib/proxmox-lxcri\n' in text and not re.search('^[^#\n]', text, re.M)
    subprocess.run([daemon, 'config', 'check', config], check=True, stdout=subprocess.DEVNULL)
    with open(config, 'a', encoding='utf-8') as f:
        f.write('log-level: debug\n')
    install(installed)
    with open(config, encoding='utf-8') as f:
        assert f.read() == text + 'log-level: debug\n', 'an administrator\'s file was overwritten'
    assert not glob.glob(config + '.*')


class Installed(Lxcri):
    """Runs from @installed, which is put in PREFIX's place in a mount namespace of the daemon's own."""

    def __init__(self, directory, installed, **more):
        super().__init__(directory, **more)
        self.installed = installed

    def program(self, name='proxmox-lxcri'):
        return f'{self.installed}{PREFIX}/bin/{name}'

    def command(self):
        words = super().command()
        for option in ('--keeper-path', '--init-path'):
            at = words.index(option)
            del words[at:at + 2]
        words[0] = PREFIX + '/sbin/proxmox-lxcrid'
        return ['unshare', '--mount', '--propagation', 'slave', 'sh', '-ec',
                f'mount --bind "$0" {PREFIX}; mount --make-rshared /; exec "$@"', self.installed + PREFIX, *words]


def test_runs_as_installed(installed, top, pb, registry, images):
    word = f'{os.environ["LXCRI_TEST_ID"]}-installed'
    server = Daemon(Installed(os.path.join(top, 'as-installed'), installed, cgroup_parent=word, bridge='lxcri99',
                              subnet='10.89.99.0/24'), pb)
    try:
        del registry
        server.pull(images.ref('busybox'))
        pod = server.pod()
        container = pod.run(images.ref('busybox'), ['sleep', '1000'])
        assert container.exec('echo', 'fine').stdout == b'fine\n'
        assert 'busybox' in server.runtime.cli('pod', 'ps').stdout
    finally:
        server.stop()
