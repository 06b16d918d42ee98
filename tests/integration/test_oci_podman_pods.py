"""Podman's pods, Kubernetes' YAML and builds with our OCI runtime."""

import json
import os


def namespaces(pid, *names):
    return [os.readlink(f'/proc/{pid}/ns/{n}') for n in names]


def test_pods_share(podman, busybox):
    pod = podman.pod('--hostname=of-pod')
    first = podman.start(f'--pod={pod}', busybox, 'sh', '-c', 'echo page >/index.html; exec httpd -f -p 8080 -h /')
    second = podman.start(f'--pod={pod}', busybox, 'sleep', '1000')
    infra = podman.out('pod', 'inspect', '--format={{.InfraContainerID}}', pod)
    pids = [podman.pid(name) for name in (infra, first, second)]
    assert len({tuple(namespaces(pid, 'net', 'ipc', 'uts')) for pid in pids}) == 1
    assert len({tuple(namespaces(pid, 'pid')) for pid in pids}) == 3
    assert podman('exec', second, 'wget', '-qO-', 'http://127.0.0.1:8080/').stdout == 'page\n'
    assert podman('exec', second, 'hostname').stdout == 'of-pod\n'
    podman('pod', 'pause', pod)
    assert podman.status(second) == 'paused'
    podman('pod', 'unpause', pod)
    podman('pod', 'stop', '--time=1', pod)
    assert {podman.status(name) for name in (first, second)} == {'exited'}
    podman('pod', 'start', pod)
    assert podman('exec', second, 'hostname').stdout == 'of-pod\n'


def test_pods_with_one_pid_namespace(podman, busybox):
    pod = podman.pod('--share=pid,net,ipc,uts')
    name = podman.start(f'--pod={pod}', busybox, 'sleep', '1234')
    said = podman('exec', name, 'ps', '-o', 'pid,args').stdout
    assert 'sleep 1234' in said
    assert len({tuple(namespaces(podman.pid(n), 'pid')) for n in (
        name, podman.out('pod', 'inspect', '--format={{.InfraContainerID}}', pod))}) == 1
    podman('kill', name)
    podman.wait_for(name, 'exited')


def test_play_kube(podman, busybox, tmp_path):
    name = f'kube{os.getpid()}'
    (tmp_path / 'pod.yaml').write_text(json.dumps({
        'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {
            'containers': [{'name': 'app', 'image': busybox, 'command': ['sleep', '1000'], 'workingDir': '/tmp',
                            'env': [{'name': 'A', 'value': 'b'}],
                            'resources': {'limits': {'memory': '64Mi'}},
                            'securityContext': {'runAsUser': 1000, 'readOnlyRootFilesystem': True}}]}}))
    try:
        podman('play', 'kube', tmp_path / 'pod.yaml')
        said = podman('exec', f'{name}-app', 'sh', '-c', 'id -u; echo $A; touch /x 2>&1', check=False).stdout.splitlines()
        assert said[:2] == ['1000', 'b'] and 'Read-only' in said[2]
    finally:
        podman('play', 'kube', '--down', tmp_path / 'pod.yaml', check=False)


CONTAINERFILE = """FROM {base}
ARG WHO=nobody
ENV GREETING=hello
WORKDIR /work
COPY here there
RUN cat there >made && id -u >>made && echo "$GREETING $WHO $PWD" >>made
USER 33
RUN id -u >/tmp/user && test ! -w /etc/passwd
RUN ["/bin/touch", "/tmp/exec form"]
CMD ["cat", "/work/made"]
"""


def check_built(podman, image):
    assert podman.ran('--network=none', image).splitlines() == ['here', '0', 'hello me /work']
    assert podman.ran('--network=none', image, 'sh', '-c', 'cat /tmp/user; ls "/tmp/exec form"; id -u').splitlines() == [
        '33', '/tmp/exec form', '33']
    podman('rmi', '--force', image)


def test_podman_build(podman, busybox, tmp_path):
    (tmp_path / 'Containerfile').write_text(CONTAINERFILE.format(base=busybox))
    (tmp_path / 'here').write_text('here\n')
    podman('build', '--isolation=oci', '--network=none', '--layers=false', '--build-arg=WHO=me', '--tag=localhost/by-podman',
           tmp_path)
    check_built(podman, 'localhost/by-podman')


def test_a_step_that_fails(podman, busybox, tmp_path):
    (tmp_path / 'Containerfile').write_text(f'FROM {busybox}\nRUN echo said; exit 9\n')
    done = podman('build', '--isolation=oci', '--network=none', tmp_path, check=False)
    assert done.returncode == 9 and 'said' in done.stdout, (done.returncode, done.stderr)


def test_buildah(podman, busybox, tmp_path):
    """buildah build and run with --runtime."""
    (tmp_path / 'Containerfile').write_text(CONTAINERFILE.format(base=busybox))
    (tmp_path / 'here').write_text('here\n')
    podman.buildah('build', f'--runtime={podman.runtime}', '--isolation=oci', '--network=none', '--build-arg=WHO=me',
                   '--tag=localhost/by-buildah', tmp_path)
    check_built(podman, 'localhost/by-buildah')
    container = podman.buildah('from', busybox).stdout.strip()
    try:
        said = podman.buildah('run', f'--runtime={podman.runtime}', '--isolation=oci', '--network=none', '--user=33', container,
                              'sh', '-c', 'id -u; grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; exit 4',
                              check=False)
        assert said.returncode == 4, said.stderr
        assert said.stdout.split()[0] == '33' and int(said.stdout.split()[2], 16) == 0, said.stdout
    finally:
        podman.buildah('rm', container)
