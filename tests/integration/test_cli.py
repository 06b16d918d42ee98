"""proxmox-lxcri, the command line, and the configuration of the daemon."""

import json
import os
import signal
import subprocess
import time

import pytest

from cri import eventually
import images as recipes
from helpers import bash_completes

pytestmark = pytest.mark.ours


def table(text):
    """The words of each line below the heading."""
    return [line.split() for line in text.strip().split('\n')[1:]]


@pytest.fixture
def cli(daemon):
    return daemon.runtime.cli


def test_version_status_info_doctor(cli):
    assert '0.1.0' in cli('version').stdout
    assert 'ready' in cli('status').stdout.lower()
    assert cli('info').stdout
    doctor = cli('doctor', check=False)
    assert doctor.stdout and doctor.returncode in (0, 1)
    for verb in ('version', 'status', 'info', 'doctor'):
        assert json.loads(cli(verb, '-o', 'json', check=False).stdout), verb


def test_help(cli):
    for words in (['--help'], ['pod', '--help'], ['image', '--help']):
        assert 'usage' in cli(*words).stdout.lower(), words
    wrong = cli('no-such-verb', check=False)
    assert wrong.returncode != 0 and 'no-such-verb' in wrong.stderr
    for group in ('image', 'image trust', 'proxmox snapshot'):
        wrong = cli(*group.split(), 'no-such-verb', check=False)
        assert (wrong.returncode, wrong.stdout) == (2, '') and f'no verb "{group} no-such-verb"' in wrong.stderr, wrong


def test_output_that_can_not_be_written(daemon):
    with open('/dev/full', 'w', encoding='utf-8') as full:
        for verb in (['image', 'ls'], ['completion', 'bash']):
            done = subprocess.run([daemon.runtime.program(), '--socket', daemon.runtime.socket, *verb],
                                  check=False, stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 1 and 'standard output: No space left' in done.stderr, (verb, done)


def test_no_daemon(cli, daemon):
    done = subprocess.run([daemon.runtime.program(), '--socket', '/run/no-such.sock', 'status'],
                          check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and '/run/no-such.sock' in done.stderr


def test_images(cli, images, clean):
    ref = images.push(recipes.marked('cli'), 'cli')
    pulled = cli('image', 'pull', ref)
    assert 'sha256' in pulled.stdout + pulled.stderr
    assert any('cli' in ' '.join(row) for row in table(cli('image', 'ls').stdout))
    assert ref in json.dumps(json.loads(cli('image', 'inspect', ref).stdout))
    listed = json.loads(cli('image', 'ls', '-o', 'json').stdout)
    assert ref in json.dumps(listed)
    removed = cli('image', 'rm', '-o', 'json', 'no/such:image', ref, check=False)
    assert removed.returncode == 1 and 'no/such:image' in removed.stderr, removed
    assert json.loads(removed.stdout) == [recipes.marked('cli').id()]
    assert ref not in json.dumps(json.loads(cli('image', 'ls', '-o', 'json').stdout))
    wrong = cli('image', 'pull', images.ref('absent'), check=False)
    assert wrong.returncode != 0 and 'absent' in wrong.stderr
    assert cli('image', 'inspect', images.ref('absent'), check=False).returncode != 0


def test_errors_say_what_helps(cli, images):
    """The daemon's log knows nothing of what was wrong here."""
    absent = images.ref('absent')
    for args, words, others in ((['load', '-i', '/no/such'], 'open /no/such: No such file', 'log'),
                                (['pull', absent], f'proxmox-lxcri: pull {absent}: fetch manifest', f'pull {absent}: pull')):
        wrong = cli('image', *args, check=False)
        assert wrong.returncode == 1 and words in wrong.stderr and others not in wrong.stderr, wrong


@pytest.mark.same_anywhere
def test_completion_of_images(daemon, images, monkeypatch, clean):
    """Their names have colons, at which bash ends words; those without a tag are called by their id."""
    monkeypatch.setenv('PROXMOX_LXCRI_SOCKET', daemon.runtime.socket)
    program, cli = daemon.runtime.program(), daemon.runtime.cli
    ref = images.push(recipes.marked('completed'), 'completed')
    digest = json.loads(cli('image', 'inspect', '--remote', '--no-tags', ref).stdout)['Digest']
    image = cli('image', 'pull', '-q', f'{ref.rsplit(":", 1)[0]}@{digest}').stdout.strip()[len('sha256:'):][:12]
    for verb in ('image rm', 'image tag', 'image save', 'image trust test', 'pod run', 'container set-image'):
        assert image in bash_completes(program, *verb.split(), ''), verb
    assert image not in bash_completes(program, 'image', 'login', '')
    cli('image', 'tag', image, ref)
    registry, name = ref.split(':', 1)
    assert bash_completes(program, 'image', 'rm', registry[:4]) >= {ref}
    assert bash_completes(program, 'image', 'rm', f'{registry}:{name[:-2]}') == {name}
    name, tag = ref.rsplit(':', 1)
    assert bash_completes(program, 'image', 'rm', f'{name}:') == {tag}
    cli('image', 'untag', ref)
    assert image in bash_completes(program, 'image', 'rm', image[:6])
    cli('image', 'rm', image)


def test_pod_run_to_its_end(cli, busybox, clean):
    done = cli('pod', 'run', '--rm', busybox, 'sh', '-c', 'echo out; echo err >&2; exit 7',
               check=False)
    assert done.returncode == 7
    assert done.stdout == 'out\n' and 'err' in done.stderr
    assert not table(cli('pod', 'ls').stdout)


def test_pod_run_with_a_terminal(cli, busybox, clean):
    done = cli('pod', 'run', '--rm', '-t', busybox, 'sh', '-c', 'tty; exit 3', check=False)
    assert (done.returncode, done.stdout) == (3, '/dev/pts/0\n')


def test_pod_verbs(cli, busybox, clean):
    ran = cli('pod', 'run', '--detach', '--name', 'mine', busybox, 'sh', '-c',
              'echo started; sleep 100')
    assert ran.stdout.strip()
    assert any('mine' in row for row in table(cli('pod', 'ls').stdout))
    assert cli('pod', 'ps').stdout
    eventually(lambda: cli('pod', 'logs', 'mine').stdout == 'started\n')
    assert cli('pod', 'exec', 'mine', 'echo', 'inside').stdout == 'inside\n'
    assert cli('pod', 'exec', 'mine', 'sh', '-c', 'exit 5', check=False).returncode == 5
    assert 'mine' in cli('pod', 'inspect', 'mine').stdout
    assert json.loads(cli('pod', 'ls', '-o', 'json').stdout)
    assert cli('pod', 'stats').stdout
    cli('lxc', 'ls')
    cli('pod', 'stop', 'mine')
    cli('pod', 'rm', 'mine')
    assert not table(cli('pod', 'ls').stdout)
    missing = cli('pod', 'rm', 'no-such-pod', check=False)
    assert missing.returncode != 0 and 'no-such-pod' in missing.stderr


@pytest.mark.not_by_engine('crun', 'its containers are none of LXC')
def test_lxc_view(cli, busybox, clean):
    cli('pod', 'run', '--detach', '--name', 'seen', busybox, 'sleep', '100')
    listed = cli('lxc', 'ls')
    assert listed.stdout.strip(), listed.stderr
    cli('pod', 'rm', '--force', 'seen', check=False)


def test_logs_follow(daemon, cli, busybox, clean):
    cli('pod', 'run', '--detach', '--name', 'talks', busybox, 'sh', '-c',
        'for i in 1 2 3; do echo $i; sleep 0.3; done; sleep 0.5')
    done = subprocess.run([daemon.runtime.program(), '--socket', daemon.runtime.socket,
                           'pod', 'logs', '-f', 'talks'], stdout=subprocess.PIPE, text=True,
                          timeout=60, check=False)
    assert done.stdout == '1\n2\n3\n'
    cli('pod', 'stop', 'talks')
    cli('pod', 'rm', 'talks')


# ---------------------------------------------------------------- configuration

def lxcrid(daemon, *args):
    return subprocess.run([daemon.runtime.program('proxmox-lxcrid'), *args], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


def test_default_config_is_valid(daemon, tmp_path):
    default = lxcrid(daemon, 'config', 'default')
    assert default.returncode == 0 and default.stdout
    path = tmp_path / 'config.yaml'
    path.write_text(default.stdout)
    checked = lxcrid(daemon, 'config', 'check', str(path))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize('text,line', [
    ('root: /x\nno_such_key: 1\n', 2), ('root: [1, 2]\n', 1), ('a: b: c\n', 1),
    ('root: /x\n\nregistries:\n  - hosts: x\n', 4), ('log-level: loud\n', 1), ('- 1\n', 1)])
def test_wrong_config_is_told_with_its_line(daemon, tmp_path, text, line):
    path = tmp_path / 'config.yaml'
    path.write_text(text)
    done = lxcrid(daemon, 'config', 'check', str(path))
    assert done.returncode != 0
    assert f'config.yaml:{line}' in done.stderr + done.stdout, done.stderr + done.stdout


def test_json_is_a_configuration_too(daemon, tmp_path):
    path = tmp_path / 'config.yaml'
    path.write_text('{"root": "/x", "state": "/y"}\n')
    assert lxcrid(daemon, 'config', 'check', str(path)).returncode == 0


def test_wrong_flags(daemon):
    for args in (['--no-such-flag'], ['--root'], ['--log-level', 'loud']):
        done = lxcrid(daemon, *args)
        assert done.returncode != 0 and args[0] in done.stderr, args


@pytest.mark.parametrize('own_daemon', [{'args': ['--log-format', 'json']}], indirect=True)
def test_json_logs(own_daemon):
    own_daemon.cri.Version()
    with open(own_daemon.runtime.log_path, encoding='utf-8') as f:
        lines = f.read().splitlines()
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict), line


# ---------------------------------------------------------------- crictl

def test_crictl_from_pull_to_remove(daemon, crictl_program, busybox, tmp_path, clean):
    def crictl(*args, check=True):
        done = subprocess.run([crictl_program, '--runtime-endpoint', daemon.runtime.endpoint,
                               '--image-endpoint', daemon.runtime.endpoint, '--timeout', '30s',
                               *args], check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()
    sandbox = tmp_path / 'sandbox.json'
    sandbox.write_text(json.dumps({
        'metadata': {'name': 'crictl', 'namespace': 'default', 'uid': 'u1', 'attempt': 1},
        'log_directory': str(tmp_path), 'linux': {}}))
    config = tmp_path / 'container.json'
    config.write_text(json.dumps({
        'metadata': {'name': 'shell'}, 'image': {'image': busybox}, 'log_path': 'shell.log',
        'command': ['sh', '-c', 'echo hello; sleep 1000'], 'linux': {}}))
    assert 'RuntimeVersion' in crictl('version')
    assert '"RuntimeReady"' in crictl('info')
    crictl('pull', busybox)
    assert 'busybox' in crictl('images')
    pod = crictl('runp', str(sandbox))
    assert pod in crictl('pods', '-q')
    assert '"state": "SANDBOX_READY"' in crictl('inspectp', pod)
    container = crictl('create', pod, str(config), str(sandbox))
    crictl('start', container)
    assert container in crictl('ps', '-q')
    assert crictl('exec', '-s', container, 'echo', 'sync') == 'sync'
    eventually(lambda: crictl('logs', container) == 'hello')
    assert json.loads(crictl('inspect', container))['status']['state'] == 'CONTAINER_RUNNING'
    assert container[:10] in crictl('stats')
    crictl('update', '--memory', str(64 << 20), container)
    assert crictl('imagefsinfo')
    crictl('stop', '--timeout', '0', container)
    crictl('rm', container)
    crictl('stopp', pod)
    crictl('rmp', pod)
    assert pod not in crictl('pods', '-q')


def test_reload_of_the_log_level(own_daemon):
    """SIGHUP must not end the daemon."""
    own_daemon.runtime.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert own_daemon.cri.Version().version
