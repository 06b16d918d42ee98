"""Fixtures of the integration tests. tests/integration/run starts pytest in namespaces of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib')]

import grpc  # noqa: E402
import pytest  # noqa: E402

import bundle  # noqa: E402
import images as recipes  # noqa: E402
import proxmox  # noqa: E402
import without_fields  # noqa: E402
from cri import SLOW, Cri, Pod, load  # noqa: E402
from ctr import Ctr  # noqa: E402
from leftovers import Snapshot  # noqa: E402
from oci import Layer, Pusher  # noqa: E402
from podman import Podman  # noqa: E402
from registry import Registry  # noqa: E402
from runtime import Containerd, Lxcri, REPO, has_systemd, oci_runtime  # noqa: E402

AS_PROXMOX = 'LXCRI_TEST_PROXMOX' in os.environ
WARM_POOL = AS_PROXMOX and 'LXCRI_TEST_WARM_POOL' in os.environ  # of all daemons
ENGINE = os.environ.get('LXCRI_TEST_ENGINE')  # crun, in place of liblxc
AGAINST_CONTAINERD = os.environ.get('LXCRI_TEST_RUNTIME') == 'containerd'
OCI_FIXTURES = {'oci', 'podman', 'ctr', 'containerd', 'own_containerd'}
OCI_REFERENCE = os.environ.get('LXCRI_OCI_RUNTIME')  # runc or crun, in place of ours


WITHOUT_FIELDS = 'LXCRI_WITHOUT_FIELDS' in os.environ  # see lib/without_fields.py

# Marks of tests that need a host with it: what shows that it is there, and where such a host is to be had.
NEEDED = {'apparmor': ('/sys/kernel/security/apparmor/profiles', 'AppArmor', 'tests/vm/integration, oci'),
          'selinux': ('/sys/fs/selinux/enforce', 'SELinux', 'tests/vm/selinux')}


def pytest_configure(config):
    for mark, (_, feature, where) in NEEDED.items():
        config.addinivalue_line('markers', f'{mark}: needs a host with {feature} ({where})')
    config.addinivalue_line('markers', 'not_in_ct(why): is not so of pods in Proxmox containers')
    config.addinivalue_line('markers', 'not_by_engine(name, why): that engine does it otherwise')
    config.addinivalue_line('markers', 'not_by_containerd(why): Debian\'s containerd does it otherwise, whatever its OCI runtime is')
    config.addinivalue_line('markers', 'not_with_pool(why): is not so where LXCRI_TEST_WARM_POOL gives all daemons a warm pool')
    config.addinivalue_line('markers', 'ours: looks at more than CRI promises, so only at our daemon; or only our OCI runtime does it')
    config.addinivalue_line('markers', 'same_anywhere: of registries and the store alone: not again with Proxmox or in the guest (LXCRI_TEST_AGAIN)')
    config.addinivalue_line('markers', 'not_by(runtime, why): Debian\'s runc or crun does it otherwise')
    if 'LXCRI_TEST_TMP' not in os.environ:
        pytest.exit('run these by tests/integration/run', 2)


def pytest_generate_tests(metafunc):
    fields = without_fields.fields_of(metafunc.function.__name__) if WITHOUT_FIELDS else []
    if fields:
        metafunc.fixturenames.append('without_field')
        metafunc.parametrize('without_field', fields)


def field_of(item):
    return item.callspec.params.get('without_field') if WITHOUT_FIELDS and hasattr(item, 'callspec') else None


def tests_a_field(item):
    field = field_of(item) if 'oci' in item.fixturenames else None
    rest = field and re.sub('^-|-$', '', item.callspec.id.replace(field, '', 1))
    return field and without_fields.is_of(field, item.path.name, item.originalname + (f'[{rest}]' if rest else ''))


def pytest_collection_modifyitems(config, items):
    if WITHOUT_FIELDS:
        config.hook.pytest_deselected(items=[item for item in items if not tests_a_field(item)])
        items[:] = [item for item in items if tests_a_field(item)]
    if OCI_REFERENCE:
        others = [item for item in items if not OCI_FIXTURES & set(item.fixturenames)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
        for item in items:
            for mark in item.iter_markers('not_by'):
                if mark.args[0] == OCI_REFERENCE:
                    item.add_marker(pytest.mark.skip(reason=f'{OCI_REFERENCE}: {mark.args[1]}'))
            if item.get_closest_marker('ours'):
                item.add_marker(pytest.mark.skip(reason=f'{OCI_REFERENCE} does not do it'))
        return
    if AS_PROXMOX or 'LXCRI_TEST_AGAIN' in os.environ:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker('same_anywhere')])
        items[:] = [item for item in items if not item.get_closest_marker('same_anywhere')]
    for item in items if AS_PROXMOX else []:
        mark = item.get_closest_marker('not_in_ct')
        if mark:
            item.add_marker(pytest.mark.skip(reason=f'of pods in Proxmox containers it is not so: {mark.args[0]}'))
    for item in items if ENGINE else []:
        for mark in item.iter_markers('not_by_engine'):
            if mark.args[0] == ENGINE:
                item.add_marker(pytest.mark.skip(reason=f'the engine {ENGINE}: {mark.args[1]}'))
    for item in items if WARM_POOL else []:
        mark = item.get_closest_marker('not_with_pool')
        if mark:
            item.add_marker(pytest.mark.skip(reason=f'with a warm pool it is not so: {mark.args[0]}'))
    if AGAINST_CONTAINERD:
        for item in items:
            if item.get_closest_marker('ours'):
                item.add_marker(pytest.mark.skip(reason='only for our daemon'))
            for mark in item.iter_markers('not_by_containerd'):
                item.add_marker(pytest.mark.skip(reason=f'containerd: {mark.args[0]}'))


def pytest_runtest_setup(item):
    """LXCRI_REQUIRE names what this host is to have: missing, it is no reason to skip."""
    without_fields.active = field_of(item)
    for mark, (path, feature, where) in NEEDED.items():
        if item.get_closest_marker(mark) and not os.path.exists(path):
            if mark in os.environ.get('LXCRI_REQUIRE', '').split():
                pytest.fail(f'this host is to have {feature}, and has not')
            pytest.skip(f'this host has no {feature}; such tests run by {where}')


@pytest.fixture(scope='session')
def top():
    """The folder of this run."""
    return os.environ['LXCRI_TEST_TMP']


@pytest.fixture(scope='session')
def pb(top):
    proto = os.environ.get('LXCRI_CRI_PROTO') or os.path.join(REPO, 'src', 'proto', 'cri.proto')
    return load(proto, os.environ.get('LXCRI_CRI_PYTHON') or os.path.join(top, 'proto'))


@pytest.fixture(scope='session')
def admin_pb(top):
    return load(os.path.join(REPO, 'src', 'proto', 'admin.proto'),
                os.environ.get('LXCRI_CRI_PYTHON') or os.path.join(top, 'proto'))


@pytest.fixture(scope='session')
def registry(top):
    with Registry(os.path.join(top, 'registry')) as server:
        yield server


class Images:
    """Images in the registry; ref('name') is what to pull."""

    def __init__(self, registry):
        self.registry = registry
        self.pusher = Pusher(registry.address)
        self.count = 0

    def ref(self, name, tag='1'):
        return f'{self.registry.address}/{name}:{tag}'

    def push(self, image, name=None, tag='1'):
        """Puts an image of a test's own there; what to pull."""
        if name is None:
            self.count += 1
            name = f'own{self.count}'
        self.pusher.push(name, tag, image)
        return self.ref(name, tag)


@pytest.fixture(scope='session')
def images(registry):
    store = Images(registry)
    store.push(recipes.busybox(), 'busybox')
    store.push(recipes.busybox(Layer().dir('work').file('work/here', 'yes'),
                               Entrypoint=['sh', '-c', 'echo "$0 $* $GREETING $PWD"; id'],
                               Cmd=['from', 'image'], Env=[recipes.PATH, 'GREETING=hi'],
                               WorkingDir='/work', User='default-user', StopSignal='SIGUSR1',
                               Labels={'a': 'b'}), 'configured')
    store.push(recipes.marked('sandbox', Cmd=['tail', '-f', '/dev/null']), 'sandbox')
    return store


@pytest.fixture(scope='session')
def busybox(images):
    return images.ref('busybox')


@pytest.fixture(name='cluster')
def fixture_cluster():
    """The Proxmox VE cluster that tests/integration/run --proxmox has started."""
    cluster = proxmox.attach()
    yield cluster
    cluster.control.do('clear-faults')
    cluster.close()


def make_daemon(top, name, registry, **more):
    directory = os.path.join(top, name)
    if AGAINST_CONTAINERD:
        return Containerd(directory, {'': f'{registry.address}/sandbox:1'}, os.environ.get('LXCRI_CONTAINERD_RUNTIME', ''))
    return Lxcri(directory, **more)


class Daemon:
    """A running runtime with a client: .cri, and what the tests do with it."""

    def __init__(self, runtime, pb):
        self.runtime, self.pb = runtime, pb
        self.directory = runtime.directory
        self.cri = None
        self.start()

    def start(self):
        self.runtime.start()
        self.connect()

    def connect(self):
        if self.cri:
            self.cri.close()
        self.cri = Cri(self.runtime.endpoint, self.pb)
        return self.cri

    def pull(self, *refs):
        return [self.cri.PullImage(image=self.pb.ImageSpec(image=ref)).image_ref for ref in refs]

    def pod(self, **config):
        return Pod(self.cri, **config)

    def logged_pod(self, name='logs', **config):
        """A pod whose containers have a log."""
        directory = os.path.join(self.directory, 'pods', f'{name}-{time.monotonic_ns()}')
        os.makedirs(directory)
        return self.pod(log_directory=directory, **config)

    def snapshot(self):
        word = getattr(self.runtime, 'cgroup_parent', 'no such group')
        return Snapshot(word, [self.runtime.root, self.runtime.state])

    def remove_all(self):
        for sandbox in self.cri.ListPodSandbox().items:
            self.cri.StopPodSandbox(pod_sandbox_id=sandbox.id)
            self.cri.RemovePodSandbox(pod_sandbox_id=sandbox.id)

    def stop(self):
        self.remove_all()
        self.cri.close()
        return self.runtime.stop()


@pytest.fixture(scope='session')
def shared_daemon(top, pb, registry, images):
    server = Daemon(make_daemon(top, 'shared', registry), pb)
    server.pull(images.ref('busybox'), images.ref('configured'))
    # The first pod makes the bridge and portmap its chains; they stay, for good reason.
    mapping = pb.PortMapping(container_port=1, host_port=18079)
    server.pod(host_network=False, port_mappings=[mapping]).remove()
    yield server
    server.stop()


@pytest.fixture
def daemon(shared_daemon):
    """The daemon that most tests share; what a test leaves in it is removed."""
    if shared_daemon.runtime.process.poll() is not None:
        pytest.fail('the daemon is gone:\n' + shared_daemon.runtime.log_tail())
    yield shared_daemon
    shared_daemon.connect()
    shared_daemon.remove_all()


@pytest.fixture
def own_daemon(request, top, pb, registry, images):
    """A daemon of this test's own, which it may kill, with busybox pulled."""
    name = f'own-{request.node.name[:40]}'.replace('[', '-').replace(']', '')
    number = len(os.listdir(top))
    word = f'{os.environ["LXCRI_TEST_ID"]}-{number}'
    more = getattr(request, 'param', {})
    server = Daemon(make_daemon(top, name, registry, **{
        'cgroup_parent': word, 'bridge': f'lxcri{number}', 'subnet': f'10.89.{number}.0/24',
        **({} if AGAINST_CONTAINERD else more)}), pb)
    server.pull(images.ref('busybox'))
    yield server
    try:
        if server.runtime.process.poll() is not None:
            server.start()
        server.connect()
        server.stop()
    finally:
        if server.runtime.process.poll() is None:
            server.runtime.kill()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture
def clean(daemon):
    """Fails the test when anything of it stays: processes, mounts, cgroups, files ..."""
    before = daemon.snapshot()
    yield
    daemon.connect()
    daemon.remove_all()
    if AGAINST_CONTAINERD or WARM_POOL:  # which makes and removes containers all the time
        return
    left = before.new_in(daemon.snapshot())
    deadline = time.monotonic() + 5 * SLOW
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = before.new_in(daemon.snapshot())
    assert not left, 'left behind: ' + '\n'.join(left)


@pytest.fixture
def oci(request, top):
    """The OCI runtime with a folder of this test's own; fails the test when anything of its containers stays."""
    if bundle.why_not():
        pytest.skip(bundle.why_not())
    os.makedirs(os.path.join(top, 'oci'), exist_ok=True)
    host = bundle.Host(tempfile.mkdtemp('', '', os.path.join(top, 'oci')))
    yield host
    failed = getattr(request.node, 'failed', False)
    host.close(strict=not failed)


def refusal(error):
    """Why a Proxmox container can't do what the test asks for, if the runtime has said so and named a handler that can."""
    said = error.details() if isinstance(error, grpc.RpcError) else str(error)  # also of a test that expects another error
    found = re.search(r"a pod in a Proxmox container can't .*; runtime handler \"lxc\" can", said or '')
    return found.group() if found else None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of its daemon's log."""
    report = (yield).get_result()
    why = call.excinfo and AS_PROXMOX and refusal(call.excinfo.value)
    if why:
        report.outcome, report.longrepr = 'skipped', (str(item.path), item.location[1] + 1, f'Skipped: {why}')
    item.failed = report.failed
    if field_of(item) and call.when == 'call' and report.outcome != 'skipped':
        passed = report.outcome == 'passed'
        report.outcome, report.longrepr = ('failed', f'it passes without {field_of(item)}') if passed else ('passed', None)
    if call.when == 'call' and report.failed:
        for name in ('own_daemon', 'shared_daemon'):
            server = getattr(item, 'funcargs', {}).get(name)
            if server and not AGAINST_CONTAINERD:
                report.sections.append(('daemon log', server.runtime.log_tail(4000)))
                break


def pytest_runtest_logreport(report):
    """Where the run takes an hour, LXCRI_TEST_AT_ONCE has failures told as they come, too."""
    if report.failed and 'LXCRI_TEST_AT_ONCE' in os.environ:
        print(f'\n{report.nodeid}, {report.when}:\n{report.longreprtext}')


@pytest.fixture(scope='session')
def criu():
    """CRIU, where it works with this kernel."""
    done = subprocess.run(['criu', 'check'], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        why = f'CRIU does not work with this kernel: {done.stdout.strip().splitlines()[-1]}; such tests run by tests/vm/oci'
        (pytest.fail if 'criu' in os.environ.get('LXCRI_REQUIRE', '').split() else pytest.skip)(why)


@pytest.fixture(scope='session')
def shared_podman(top, registry, images):
    engine = Podman(os.path.join(top, 'podman'), insecure=[registry.address])
    engine('pull', '--quiet', images.ref('busybox'))
    yield engine
    engine.close()


@pytest.fixture
def podman(shared_podman):
    """Debian's Podman with the OCI runtime that is tested; what a test leaves in it is removed."""
    yield shared_podman
    shared_podman.clean()


def containerd_of_oci(top, name, registry, images):
    server = Containerd(os.path.join(top, name), {'': f'{registry.address}/sandbox:1'}, oci_runtime(), has_systemd(),
                        bridge='lxcri-oci', subnet='10.92.0.0/16').start()
    for ref in (images.ref('busybox'), images.ref('sandbox')):
        for namespace in ('tests', 'k8s.io'):
            subprocess.run(['ctr', '--address', server.socket, '--namespace', namespace, 'images', 'pull', '--plain-http', ref],
                           check=True, stdout=subprocess.DEVNULL)
    return server


@pytest.fixture(scope='session')
def containerd(top, registry, images):
    """Debian's containerd, whose CRI plug-in has the OCI runtime that is tested."""
    server = containerd_of_oci(top, 'containerd', registry, images)
    yield server
    server.stop()


@pytest.fixture
def own_containerd(request, top, registry, images):
    """One that the test may kill."""
    server = containerd_of_oci(top, f'containerd-{request.node.name[:30]}', registry, images)
    yield server
    server.stop()


@pytest.fixture
def ctr(containerd):
    client = Ctr(containerd, oci_runtime())
    yield client
    client.remove_all()


@pytest.fixture(scope='session')
def crictl_program(top):
    del top
    folder = os.environ.get('LXCRI_CRI_TOOLS')
    if not folder:
        here = os.path.dirname(os.path.abspath(__file__))
        made = subprocess.run([os.path.join(here, '..', 'tools', 'build-cri-tools')], check=False,
                              stdout=subprocess.PIPE, text=True)
        if made.returncode == 77:
            pytest.skip('no crictl: the Go module proxy can\'t be reached')
        folder = made.stdout.strip()
    path = os.path.join(folder, 'crictl')
    if not os.path.exists(path):
        pytest.skip('no crictl')
    return path
