"""Proxmox containers as the OCI runtime's: `proxmox-lxcri --engine proxmox`.

`tests/integration/run --proxmox -k proxmox_oci`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from bundle import alive, until
from conftest import AS_PROXMOX
from proxmox import SERVER, daemon_config
from runtime import REPO

sys.path.append(SERVER)
import templates  # noqa: E402 pylint: disable=wrong-import-position,wrong-import-order

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not AS_PROXMOX, reason='there is no Proxmox; such tests run by tests/integration/run --proxmox')]
CONFIG = '/etc/proxmox-lxcri/config.yaml'
TAG = 'proxmox-lxcri-oci'


def volumes(pve):
    """What is on the storage for templates."""
    found = pve.cluster.client.get(f'/nodes/{pve.cluster.node}/storage/local/content', content='vztmpl').data
    return [one['volid'] for one in found]


def templates_of(pve):
    """What of it we put there for a bundle."""
    return [one for one in volumes(pve) if 'proxmox-lxcri-oci' in one]


def guests(cluster):
    return {int(vmid): guest for vmid, guest in cluster.control.do('guests').items()
            if TAG in guest['config'].get('tags', '').split(';')}


@pytest.fixture(name='pve')
def fixture_pve(oci, cluster):
    """The runtime with Proxmox as its engine for what it makes; nothing of it may stay in Proxmox."""
    build = os.environ.get('LXCRI_BUILD') or os.path.join(REPO, 'build')
    with open(CONFIG, 'w', encoding='utf-8') as f:
        f.write(daemon_config(build).replace('default-runtime-handler: proxmox\n', ''))
    plain = oci.command
    oci.command = lambda *args, options=(): plain(*args, options=(*options, '--engine', 'proxmox'))
    oci.cluster = cluster
    oci.lxc = plain
    yield oci
    for container in oci.containers:
        if os.path.exists(os.path.join(oci.root, container.id)):
            oci.result('delete', '--force', container.id)
    os.unlink(CONFIG)
    assert not guests(cluster) and not templates_of(oci)


def only(pve):
    """The one container that there is: number, and what Proxmox has of it."""
    found = guests(pve.cluster)
    assert len(found) == 1, found
    return next(iter(found.items()))


def test_life(pve):
    box = pve.container().sh('trap "echo got; exit 7" TERM; echo running as $(id -u) in $(hostname); while :; do sleep 0.05; done')
    pid = box.create()
    vmid, guest = only(pve)
    assert guest['running'] and guest['config']['hostname'] == 'box' and guest['config']['unprivileged'] == 1
    state = box.state()
    assert state['status'] == 'created' and state['pid'] == pid
    # It is the CT's: in its control group, a child of its first process, which Proxmox knows.
    first = pve.cluster.client.get(f'/nodes/{pve.cluster.node}/lxc/{vmid}/status/current').data['pid']
    assert int(box.status_field('PPid')) == int(first) and f'/lxc/{vmid}/ns' in box.proc('cgroup')
    assert box.output_text() == ''
    box.start()
    box.expect('running as 0 in box')
    assert box.status() == 'running' and box.state()['pid'] == pid
    box.kill('TERM')
    box.expect('got')
    until(lambda: box.status() == 'stopped')
    until(lambda: not only(pve)[1]['running'])
    assert box.state()['exitStatus'] == 7
    box.delete()
    assert not guests(pve.cluster) and not templates_of(pve) and not pve.knows(box.id)


@pytest.mark.parametrize('script, status', [('exit 0', 0), ('exit 42', 42), ('kill -9 $$', 137), ('kill -USR1 $$', 138)])
def test_run_ends_as_its_program(pve, script, status):
    done = pve.container().sh(f'echo out; echo err >&2; {script}').run(check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, 'out\n', 'err\n')
    assert not guests(pve.cluster)


@pytest.mark.parametrize('sig', ['HUP', 'USR2', 'WINCH'])
def test_signals_are_delivered(pve, sig):
    box = pve.container().sh(f'trap "echo {sig} came" {sig}; echo ready; while :; do sleep 0.02; done')
    box.up()
    box.expect('ready')
    box.kill(sig)
    box.expect(f'{sig} came')
    box.kill('KILL')
    until(lambda: box.status() == 'stopped')
    assert box.state()['exitStatus'] == 137
    assert 'not running' in pve.result('kill', box.id, 'TERM').stderr + pve.last_log()


def test_process(pve):
    """What of the process is Proxmox' matter nowhere: init carries it out as with LXC."""
    box = pve.container().sh('id -u; id -g; pwd; echo "$WORD"; ulimit -n; umask; grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status; cat /proc/1/comm')
    box.process.update({'user': {'uid': 1000, 'gid': 1001, 'umask': 0o27}, 'cwd': '/tmp', 'rlimits': [{'type': 'RLIMIT_NOFILE', 'soft': 100, 'hard': 200}],
                        'capabilities': {}})
    box.process['env'].append('WORD=a word\nof two lines')
    box.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['swapon'], 'action': 'SCMP_ACT_ERRNO'}]}
    words = box.run().split('\n')
    assert words[:8] == ['1000', '1001', '/tmp', 'a word', 'of two lines', '100', '0027', 'CapEff:\t0000000000000000'], words
    assert words[8:11] == ['NoNewPrivs:\t1', 'Seccomp:\t2', 'lxcri-ct'], words


def test_readonly_root(pve):
    box = pve.container().sh('touch /x; touch /dev/shm/y && echo written')
    box.config['root']['readonly'] = True
    done = box.run(check=False)
    assert 'Read-only file system' in done.stderr and done.stdout == 'written\n'


def test_exec_ps_pause(pve):
    box = pve.container().sh('i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.02; done')
    box.up()
    assert box.exec('hostname') == 'box\n' and box.exec('sh', '-c', 'exit 3', check=False).returncode == 3
    until(lambda: box.exec('cat', '/tmp/count').strip())
    assert box.pid in json.loads(pve.call('ps', '--format', 'json', box.id))
    pve.call('pause', box.id)
    assert box.status() == 'paused'
    pve.call('resume', box.id)
    before = box.exec('cat', '/tmp/count')
    until(lambda: box.exec('cat', '/tmp/count') != before)
    for verb, *more in (('checkpoint',), ('events', '--stats')):
        done = pve.result(verb, *more, box.id)
        assert done.returncode == 1 and f'the engine proxmox has no verb "{verb}"' in done.stderr + pve.last_log()


def test_stop_and_an_administrators_shutdown(pve):
    for end in (lambda box, vmid: pve.call('stop', box.id),
                lambda box, vmid: pve.cluster.administrator('POST', vmid, '/status/shutdown')):
        box = pve.container().sh('trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.02; done')
        box.up()
        box.expect('ready')
        end(box, only(pve)[0])
        until(lambda box=box: box.status() == 'stopped')
        until(lambda box=box: box.state()['exitStatus'] == 9)
        box.delete()
    box = pve.container('sleep', '1000')
    box.up()
    pve.cluster.administrator('POST', only(pve)[0], '/status/stop')
    until(lambda: box.status() == 'stopped')
    assert box.state()['exitStatus'] == 137 and not alive(box.pid)
    box.delete()


def test_terminal(pve):
    box = pve.container().sh('tty; echo $((6*7))')
    box.process['terminal'] = True
    box.write()
    done = subprocess.run(['script', '-qec', ' '.join(pve.command('run', '--bundle', box.bundle, box.id)), '/dev/null'],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, text=True)
    assert '/dev/pts/' in done.stdout and '42' in done.stdout, done.stdout


def test_fields_in_proxmox(pve):
    box = pve.container()
    box.config['hostname'] = 'web-0.example'
    box.linux['resources'].update(memory={'limit': 96 << 20, 'swap': 128 << 20}, cpu={'quota': 50000, 'period': 100000, 'shares': 512})
    box.config['annotations'] = {'proxmox-lxcri.io/tags': 'mine', 'proxmox-lxcri.io/net0': 'name=eth0,bridge=vmbr0'}
    box.mount('btr:1', '/data', 'nosuid', 'ro', kind='proxmox')
    subprocess.run(['ip', 'link', 'add', 'vmbr0', 'type', 'bridge'], check=False, stderr=subprocess.DEVNULL)
    box.up()
    vmid, guest = only(pve)
    config = guest['config']
    assert config['hostname'] == 'web-0.example' and set(config['tags'].split(';')) == {TAG, 'mine'}
    assert (config['memory'], config['swap'], float(config['cpulimit'])) == (96, 32, 0.5) and int(config['cpuunits']) > 0
    assert config['entrypoint'] == '/.proxmox-lxcri/init ct' and f'- container: {box.id}' in config['description']
    assert re.match(r'btr:\S+,mp=/data,', config['mp0']) and 'ro=1' in config['mp0'] and 'name=eth0' in config['net0']
    assert box.exec('sh', '-c', 'hostname; ls -d /data; ls /sys/class/net; ls -A / | grep proxmox', check=False).stdout.split() == \
        ['web-0.example', '/data', 'eth0', 'lo']
    assert 'Read-only' in box.exec('touch', '/data/x', check=False).stderr
    pve.call('update', '--memory', str(64 << 20), box.id)
    assert only(pve)[1]['config']['memory'] == 64
    assert 'linux.resources.pids.limit' in pve.result('update', '--pids-limit', '9', box.id).stderr + pve.last_log()
    mine = [one for one in pve.list() if one['id'] == box.id]
    assert mine[0]['engine'] == 'proxmox' and mine[0]['vmid'] == vmid and mine[0]['pid'] == box.pid
    assert re.search(rf'{box.id} .* proxmox', pve.call('list'))


def killed_at(pve, box, seconds):
    box.write()
    pve.note(box)
    with subprocess.Popen(pve.command('create', '--bundle', box.bundle, box.id), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        time.sleep(seconds)
        command.send_signal(signal.SIGKILL)
    if os.path.exists(os.path.join(pve.root, box.id)):
        assert box.status() in ('stopped', 'created')
    box.delete('--force')
    until(lambda: not guests(pve.cluster) and not templates_of(pve), 10, lambda: (guests(pve.cluster), templates_of(pve)))


# From what is on a storage.

def stored(pve, path):
    """A file on the storage for templates; its volume id, which is what the annotation says."""
    name = os.path.basename(path)
    folder = pve.cluster.client.get('/storage/local').data['path']
    shutil.copy(path, os.path.join(folder, 'template', 'cache', name))
    return f'local:vztmpl/{name}'


@pytest.fixture(name='storage')
def fixture_storage(pve, tmp_path):
    """storage(make, NAME, ...): a file that templates.py makes, on the storage for templates."""
    made = []

    def put(make, name, *args, **kwargs):
        made.append(stored(pve, make(str(tmp_path / name), *args, **kwargs)))
        return made[-1]
    yield put
    for volume in made:
        assert pve.cluster.client.task('DELETE', f'/nodes/{pve.cluster.node}/storage/local/content/{volume}') == 'OK'


def from_image(pve, volume, *args):
    """A container whose bundle has no root file system of its own."""
    box = pve.container(*args)
    box.config['annotations'] = {'proxmox-lxcri.io/ostemplate': volume}
    box.config['root'] = {'path': 'none'}
    if not args:
        del box.process['args']
    return box


USERS = (templates.layer().dir('work').file('work/here', 'yes\n')
         .file('etc/passwd', 'root:x:0:0::/:/bin/sh\nwho:x:1000:1001::/:/bin/sh\n').file('etc/group', 'more:x:77:who\n'))


@pytest.mark.parametrize('name', ['small.tar', 'small.tar.gz', 'small.tar.zst'])
def test_from_a_template(pve, storage, name):
    volume = storage(templates.template, name)
    box = from_image(pve, volume, 'sh', '-c', 'trap "echo got; exit 7" TERM; cat /etc/os-release; cat /proc/1/comm; ls -a / | grep proxmox; while :; do sleep 0.05; done')
    box.up()
    box.expect('ID=debian\nlxcri-ct\n')
    vmid, guest = only(pve)
    first = int(pve.cluster.client.get(f'/nodes/{pve.cluster.node}/lxc/{vmid}/status/current').data['pid'])
    assert guest['config']['entrypoint'] == '/.proxmox-lxcri/init ct' and int(box.status_field('PPid')) == first
    assert box.state()['pid'] == box.pid and box.exec('cat', '/etc/os-release') == 'ID=debian\n'
    assert not templates_of(pve) and volume in volumes(pve)
    box.kill('TERM')
    box.expect('got')
    until(lambda: box.status() == 'stopped' and box.state()['exitStatus'] == 7)
    box.delete()


def test_a_template_does_not_say_what_to_run(pve, storage):
    from_image(pve, storage(templates.template, 'small.tar')).refused('process.args: there are none, and a template')


SHOW = 'echo "$WORD $PWD $HOME_OF $*"; id; cat here; trap "echo got; exit 9" TERM; while :; do sleep 0.05; done'


@pytest.mark.parametrize('user, ids', [('', 'uid=0(root) gid=0'), ('who', 'uid=1000(who) gid=1001 groups=77(more),1001'),
                                       ('1000:77', 'uid=1000(who) gid=77(more) groups=77(more)')])
def test_an_oci_images_own_program(pve, storage, user, ids):
    volume = storage(templates.oci_archive, 'image.tar', USERS, Entrypoint=['/bin/sh', '-c', SHOW, 'sh'], Cmd=['an argument', "it's"],
                     Env=['PATH=/bin', 'WORD=image', 'HOME_OF=image'], WorkingDir='/work', User=user)
    box = from_image(pve, volume)
    box.process['env'] = ['WORD=bundle']
    pid = box.create()
    vmid, guest = only(pve)
    config = guest['config']
    assert config['entrypoint'] == '/.proxmox-lxcri/init ct' and 'env' not in config
    assert ['lxc.init.uid', '0'] in config['lxc'] and ['lxc.init.cwd', '/'] in config['lxc']
    assert box.status() == 'created' and box.output_text() == ''
    box.start()
    box.expect('yes')
    assert box.output_text() == f"bundle /work image an argument it's\n{ids}\nyes\n"
    assert box.state()['pid'] == pid and f'/lxc/{vmid}/ns' in box.proc('cgroup')
    assert box.exec('sh', '-c', 'echo $WORD $PWD; id') == f'bundle /work\n{ids}\n'
    assert not templates_of(pve)
    box.kill('TERM')
    box.expect('got')
    until(lambda: box.status() == 'stopped' and box.state()['exitStatus'] == 9)
    box.delete()
    assert not guests(pve.cluster)


def test_an_oci_image_with_a_program_of_the_bundles(pve, storage):
    volume = storage(templates.oci_archive, 'image.tar', USERS, Entrypoint=['/bin/false'], Env=['WORD=image'], WorkingDir='/work', User='who')
    assert from_image(pve, volume, 'sh', '-c', 'echo "$WORD" $PWD $(id -u); cat /work/here').run() == ' / 0\nyes\n'


def test_a_process_that_is_the_images_alone(pve, storage):
    volume = storage(templates.oci_archive, 'image.tar', USERS, Cmd=['/bin/sh', '-c', 'id -u; exit 42'], User='1000')
    box = from_image(pve, volume)
    del box.config['process']
    done = box.run(check=False)
    assert (done.returncode, done.stdout) == (42, '1000\n'), done.stderr


@pytest.mark.skipif(not shutil.which('skopeo'), reason='skopeo is not installed')
def test_what_proxmox_gets_is_an_oci_archive(pve, storage, tmp_path):
    """By others' judgement, digests and all: our copy, with a layer more, no configuration, and what was there."""
    box = from_image(pve, storage(templates.oci_archive, 'image.tar', USERS, Cmd=['/bin/sleep', '1000'], User='who', Labels={'a': 'b'}))
    box.write()
    pve.note(box)
    with subprocess.Popen(pve.command('create', '--bundle', box.bundle, box.id), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        until(lambda: templates_of(pve))
        command.send_signal(signal.SIGKILL)
    folder = pve.cluster.client.get('/storage/local').data['path']
    ours = os.path.join(folder, 'template', 'cache', templates_of(pve)[0].rpartition('/')[2])
    for number, archive in enumerate((os.path.join(folder, 'template', 'cache', 'image.tar'), ours)):
        subprocess.run(['skopeo', 'copy', '-q', '--insecure-policy', f'oci-archive:{archive}', f'dir:{tmp_path}/{number}'], check=True)
    before, after = (json.loads((tmp_path / f'{number}/manifest.json').read_text()) for number in range(2))
    assert after['layers'][:-1] == before['layers'] and len(after['layers']) == len(before['layers']) + 1
    config = json.loads((tmp_path / '1' / after['config']['digest'].partition(':')[2]).read_text())
    assert config['config'] == {} and config['rootfs']['diff_ids'][-1] == after['layers'][-1]['digest']
    names = subprocess.run(['tar', '-tf', tmp_path / '1' / after['layers'][-1]['digest'].partition(':')[2]], check=True,
                           stdout=subprocess.PIPE, text=True).stdout
    assert names == '.proxmox-lxcri/init\n'
    box.delete('--force')


def test_images_that_are_not_there(pve, storage):
    for volume, words in (('local:vztmpl/none.tar', "volume 'local:vztmpl/none.tar' does not exist"),
                          ('local:backup/x.tar', 'is not of the form STORAGE:vztmpl/FILE'),
                          (storage(templates.oci_archive, 'image.tar', USERS), 'nor has the image local:vztmpl/image.tar any')):
        from_image(pve, volume).refused(words)
    assert not guests(pve.cluster) and not templates_of(pve)


@pytest.mark.parametrize('moment', range(0, 12, 3))
def test_create_from_an_image_killed_at_any_moment(pve, storage, moment):
    volume = storage(templates.oci_archive, 'image.tar', USERS, Cmd=['/bin/sleep', '1000'])
    killed_at(pve, from_image(pve, volume), 0.05 + 0.08 * moment)


REFUSED = {
    'mounts[6] (/mnt)': lambda box: box.mount('/tmp', '/mnt', 'bind'),
    'linux.namespaces': lambda box: box.without_namespace('network'),
    'linux.uidMappings': lambda box: box.user_namespace(200000),
    'linux.devices': lambda box: box.linux.update(devices=[{'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': 3}]),
    'linux.sysctl': lambda box: box.linux.update(sysctl={'net.ipv4.ip_forward': '1'}),
    'linux.maskedPaths': lambda box: box.linux['maskedPaths'].append('/etc/passwd'),
    'linux.readonlyPaths': lambda box: box.linux['readonlyPaths'].append('/etc'),
    'linux.resources.devices': lambda box: box.linux['resources']['devices'].append(
        {'allow': True, 'type': 'c', 'major': 10, 'minor': 229, 'access': 'rwm'}),
    'linux.resources.pids.limit': lambda box: box.linux['resources'].update(pids={'limit': 10}),
    'linux.resources.cpu.cpus': lambda box: box.linux['resources'].update(cpu={'cpus': '0'}),
    'linux.resources.memory.reservation': lambda box: box.linux['resources'].update(memory={'reservation': 1 << 24}),
    'linux.resources.memory.swap': lambda box: box.linux['resources'].update(memory={'limit': 1 << 26, 'swap': -1}),
    'linux.resources.unified': lambda box: box.linux['resources'].update(unified={'memory.high': '10000000'}),
    'hooks.createRuntime': lambda box: box.hook('createRuntime', 'true'),
    'hostname': lambda box: box.config.update(hostname='a_b'),
    'domainname': lambda box: box.config.update(domainname='example'),
}


@pytest.mark.parametrize('field', REFUSED)
def test_fields_that_proxmox_cannot_do_are_refused(pve, field):
    box = pve.container()
    REFUSED[field](box)
    box.refused(f'{field}: the engine proxmox can\'t do it')
    assert not guests(pve.cluster) and not templates_of(pve)


@pytest.mark.parametrize('moment', range(12))
def test_create_killed_at_any_moment(pve, moment):
    """delete --force removes what there is, in Proxmox too; before, the container is said to be stopped or created."""
    killed_at(pve, pve.container('sleep', '1000'), 0.01 + 0.08 * moment)


def test_what_became_somebody_elses_stays(pve):
    box = pve.container('sleep', '1000')
    box.up()
    vmid, guest = only(pve)
    pve.cluster.client.put(f'/nodes/{pve.cluster.node}/lxc/{vmid}/config', description='mine now')
    box.delete('--force')
    assert guests(pve.cluster) and 'mine now' in guests(pve.cluster)[vmid]['config']['description']
    pve.cluster.client.task('DELETE', f'/nodes/{pve.cluster.node}/lxc/{vmid}', force=1)
    assert guest['running']


@pytest.mark.parametrize('how', ['cut', 'gone'])
@pytest.mark.parametrize('what', ['state.json', 'config.json state.json'])
def test_a_state_that_is_damaged(pve, how, what):
    """delete --force finds the container in Proxmox by what it is called there, and no other."""
    other = pve.container('sleep', '1000')
    other.up()
    box = pve.container('sleep', '1000')
    box.up()
    for name in what.split():
        path = os.path.join(pve.root, box.id, name)
        if how == 'cut':
            os.truncate(path, 5)
        else:
            os.unlink(path)
    done = subprocess.run(pve.lxc('delete', box.id), check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and '--force' in done.stderr and len(guests(pve.cluster)) == 2
    assert subprocess.run(pve.lxc('delete', '--force', box.id), check=False).returncode == 0
    assert any('found without its state' in line['msg'] for line in pve.log_lines())
    assert not alive(box.pid) and not pve.knows(box.id)
    assert f'- container: {other.id}\n' in only(pve)[1]['config']['description'] and other.status() == 'running'


def configured(text):
    with open(CONFIG, 'a', encoding='utf-8') as f:
        f.write(text)


def engine_of(pve, box):
    """Who makes it when no option says so."""
    box.write()
    pve.note(box)
    done = subprocess.run(pve.lxc('create', '--bundle', box.bundle, '--pid-file', box.pid_file, box.id), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, pve.last_log()
    found = json.loads(subprocess.run(pve.lxc('state', box.id), stdout=subprocess.PIPE, check=True).stdout)['engine']
    box.delete('--force')
    return found


def test_configuration_and_routes_choose(pve):
    assert engine_of(pve, pve.container('sleep', '9')) == 'lxc'
    configured('oci-engine: proxmox\n')
    assert engine_of(pve, pve.container('sleep', '9')) == 'proxmox'
    configured('routes:\n  - {annotations: {kind: "sys*"}, handler: lxc}\n  - {image: "docker.io/library/*", handler: lxc}\n'
               '  - {name: plain-*, handler: lxc}\n')
    assert engine_of(pve, pve.container('sleep', '9', id_='plain-1')) == 'lxc'
    box = pve.container('sleep', '9')
    box.config['annotations'] = {'kind': 'system'}
    assert engine_of(pve, box) == 'lxc'
    box = pve.container('sleep', '9')
    box.config['annotations'] = {'org.opencontainers.image.ref.name': 'busybox'}
    assert engine_of(pve, box) == 'lxc'
    box.config['annotations'] = {'kind': 'other'}
    assert engine_of(pve, box) == 'proxmox'
