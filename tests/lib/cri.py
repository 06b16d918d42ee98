"""A CRI client on Debian's grpcio: stubs made at run time, and pods and containers as objects."""

import importlib
import os
import re
import subprocess
import sys
import time

import grpc

from patience import PATIENCE, SLOW

NODE, POD, CONTAINER = 2, 0, 1          # NamespaceMode
# Pods need no network of their own, unless a test says so; in a Proxmox container they have one.
HOST_NETWORK = 'LXCRI_TEST_PROXMOX' not in os.environ
CREATED, RUNNING, EXITED = 0, 1, 2      # ContainerState
READY, NOTREADY = 0, 1                  # PodSandboxState


def load(proto, directory):
    """The Python module of a .proto file, generated into `directory` unless it is there."""
    os.makedirs(directory, exist_ok=True)
    name = os.path.basename(proto)
    module = name.replace('.proto', '_pb2')
    if not os.path.exists(os.path.join(directory, module + '.py')):
        subprocess.run(['protoc', '-I', os.path.dirname(proto), '--python_out', directory, name],
                       check=True)
    sys.path.insert(0, directory)
    return importlib.import_module(module)


class Cri:
    """cri.Version(version='v1') calls the RPC of that name; fields by keyword.

    Besides fields it takes deadline (seconds), metadata and compression.
    """

    def __init__(self, endpoint, pb, options=()):
        self.pb = pb
        self.channel = grpc.insecure_channel(endpoint, options=[
            ('grpc.max_receive_message_length', 64 << 20),
            ('grpc.max_send_message_length', 64 << 20),
            ('grpc.default_authority', 'localhost'),
            ('grpc.use_local_subchannel_pool', 1), *options])
        self._rpcs = {}
        for service in pb.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                kind = (self.channel.unary_stream if method.server_streaming
                        else self.channel.unary_unary)
                self._rpcs[method.name] = method, kind(
                    f'/{service.full_name}/{method.name}',
                    request_serializer=lambda m: m.SerializeToString(),
                    response_deserializer=getattr(pb, method.output_type.name).FromString)

    def __getattr__(self, name):
        try:
            method, call = self._rpcs[name]
        except KeyError:
            raise AttributeError(name) from None
        request_type = getattr(self.pb, method.input_type.name)

        def invoke(request=None, *, deadline=60, metadata=None, compression=None, **fields):
            return call(request or request_type(**fields), timeout=deadline, metadata=metadata,
                        compression=compression, wait_for_ready=True)
        return invoke

    def rpcs(self):
        return {name: method for name, (method, _) in self._rpcs.items()}

    def future(self, name, **fields):
        """The RPC begun, not awaited: a grpc.Future."""
        method, call = self._rpcs[name]
        return call.future(getattr(self.pb, method.input_type.name)(**fields), timeout=120)

    def close(self):
        self.channel.close()


def eventually(condition, seconds=PATIENCE, every=0.02):
    """The first true value of condition(), or an assertion after so many seconds."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f'not within {seconds} s'
        time.sleep(every)


class Pod:
    """A sandbox that is ready. Remove it, or use it in `with`."""

    count = 0

    def __init__(self, cri, *, log_directory='', host_network=HOST_NETWORK, pid=CONTAINER, ipc=POD,
                 name=None, namespace='tests', attempt=0, handler='', linux=None, security=None, **config):
        Pod.count += 1
        pb = self.pb = cri.pb
        self.cri = cri
        name = name or f'pod{Pod.count}-{os.getpid()}'
        security = dict(security or {})
        options = pb.NamespaceOption(network=NODE if host_network else POD, pid=pid, ipc=ipc,
                                     userns_options=security.pop('userns', None))
        self.config = pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, namespace=namespace, uid=f'uid-{name}', attempt=attempt),
            log_directory=log_directory,
            linux=pb.LinuxPodSandboxConfig(
                security_context=pb.LinuxSandboxSecurityContext(namespace_options=options,
                                                                **security),
                **(linux or {})),
            **config)
        self.options = options
        self.id = cri.RunPodSandbox(config=self.config, runtime_handler=handler).pod_sandbox_id

    def status(self, verbose=False):
        reply = self.cri.PodSandboxStatus(pod_sandbox_id=self.id, verbose=verbose)
        return reply if verbose else reply.status

    def create(self, image, command=(), **config):
        return Container(self, image, command, **config)

    def run(self, image, command=(), **config):
        """A container that is started."""
        container = self.create(image, command, **config)
        container.start()
        return container

    def sh(self, image, script, **config):
        return self.run(image, ['sh', '-c', script], **config)

    def stop(self):
        self.cri.StopPodSandbox(pod_sandbox_id=self.id)

    def remove(self):
        self.stop()
        self.cri.RemovePodSandbox(pod_sandbox_id=self.id)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


class Container:
    """A container made in a pod."""

    count = 0

    def __init__(self, pod, image, command=(), *, name=None, resources=None, security=None,
                 env=None, attempt=0, **config):
        Container.count += 1
        pb = pod.pb
        self.pod, self.cri = pod, pod.cri
        name = name or f'container{Container.count}'
        if pod.config.log_directory:
            config.setdefault('log_path', f'{name}.log')
        context = dict(namespace_options=pod.options)
        context.update(security or {})
        self.config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name, attempt=attempt),
            image=pb.ImageSpec(image=image, user_specified_image=image), command=list(command),
            linux=pb.LinuxContainerConfig(
                resources=pb.LinuxContainerResources(**(resources or {})),
                security_context=pb.LinuxContainerSecurityContext(**context)),
            **config)
        for key, value in (env or {}).items():
            pair = self.config.envs.add(key=key)
            is_bytes = pair.DESCRIPTOR.fields_by_name['value'].type == 12
            pair.value = value.encode() if is_bytes else value
        self.id = self.cri.CreateContainer(pod_sandbox_id=pod.id, config=self.config,
                                           sandbox_config=pod.config).container_id

    def start(self):
        self.cri.StartContainer(container_id=self.id)

    def stop(self, timeout=0):
        self.cri.StopContainer(container_id=self.id, timeout=timeout)

    def remove(self):
        self.cri.RemoveContainer(container_id=self.id)

    def status(self, verbose=False):
        reply = self.cri.ContainerStatus(container_id=self.id, verbose=verbose)
        return reply if verbose else reply.status

    def wait(self, seconds=PATIENCE):
        """Its status once it has ended."""
        def ended():
            status = self.status()
            return status if status.state == EXITED else None
        return eventually(ended, seconds)

    def exec(self, *command, timeout=20):
        return self.cri.ExecSync(container_id=self.id, cmd=command, timeout=timeout)

    def output(self, *command):
        """Standard output of a command that must succeed, without the last newline."""
        reply = self.exec(*command)
        assert reply.exit_code == 0, reply
        return reply.stdout.decode().rstrip('\n')

    def sh(self, script):
        return self.output('sh', '-c', script)

    def log_lines(self):
        """[(stream, tag, text)] of its CRI log."""
        path = os.path.join(self.pod.config.log_directory, self.config.log_path)
        with open(path, encoding='utf-8', errors='surrogateescape') as f:
            return [parse_log_line(line) for line in f.read().splitlines()]

    def until_listens(self, port):
        """Waits until some program in its pod accepts connections: crictl's port-forward ends with the first that is refused."""
        eventually(lambda: re.search(rf':{port:04X} [0-9A-F]+:0000 0A', self.sh('cat /proc/net/tcp /proc/net/tcp6')))

    def until_said(self, text):
        """Waits for what its log has when it is ready."""
        eventually(lambda: text in self.log_text())

    def log_text(self):
        return ''.join(text + ('' if tag == 'P' else '\n') for _, tag, text in self.log_lines())

    def pid(self):
        """The host's process id of its first process: from the cgroup that carries its id."""
        names = {p: name_of(p) for p in processes_in_cgroup(self.id)}
        pids = [p for p, name in names.items() if name and not name.startswith('mon-')]
        assert pids, f'no process in a cgroup of {self.id}'
        return min(pids)


def name_of(pid):
    try:
        with open(f'/proc/{pid}/comm', encoding='utf-8', errors='replace') as f:
            return f.read()
    except OSError:
        return ''


def command_of(pid):
    try:
        with open(f'/proc/{pid}/cmdline', encoding='utf-8', errors='replace') as f:
            return f.read().split('\0')[:-1]
    except OSError:
        return []


def is_monitor(pid):
    """Also of the process that moves it: both are in their container's cgroup for some milliseconds."""
    return name_of(pid).startswith('mon-')


def parse_log_line(line):
    stamp, stream, tag, text = line.split(' ', 3)
    assert stamp[10] == 'T' and len(stamp) >= 20, line
    assert stream in ('stdout', 'stderr') and tag in ('F', 'P'), line
    return stream, tag, text


def processes_in_cgroup(word):
    found = []
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                with open(f'/proc/{pid}/cgroup', encoding='utf-8') as f:
                    if word in f.read():
                        found.append(int(pid))
            except OSError:
                pass
    return found
