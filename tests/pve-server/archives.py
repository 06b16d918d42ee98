#!/usr/bin/python3
"""Templates, OCI archives and backups: into a container's volumes, and out of them.

As Proxmox does, whatever reads or writes a container's files does it as root of the container's user namespace, so
that ids in an archive are the container's. This file is also the program that does it there, see main().
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WITH_VOLUMES = os.path.join(HERE, 'with-volumes')
TIMEOUT = 300 * int(os.environ.get('LXCRI_SLOW', '1'))
IN_USERNS = ['lxc-usernsexec', '-m', 'u:0:100000:65536', '-m', 'g:0:100000:65536', '--']
TAR = ['--numeric-owner', '--acls', '--xattrs', '--xattrs-include=user.*', '--xattrs-include=security.capability',
       '--warning=no-file-ignored', '--warning=no-xattr-write', '--sparse']
OSTYPES = {'debian': 'debian', 'ubuntu': 'ubuntu', 'devuan': 'devuan', 'alpine': 'alpine', 'arch': 'archlinux',
           'centos': 'centos', 'rhel': 'centos', 'rocky': 'centos', 'almalinux': 'centos', 'fedora': 'fedora',
           'gentoo': 'gentoo', 'nixos': 'nixos', 'opensuse': 'opensuse', 'opensuse-leap': 'opensuse',
           'opensuse-tumbleweed': 'opensuse'}
MACHINES = {0x3e: 'amd64', 0xb7: 'arm64', 0x03: 'i386', 0x28: 'armhf', 0xf3: 'riscv64'}
GOARCH = {'amd64': 'amd64', 'arm64': 'arm64', '386': 'i386', 'arm': 'armhf', 'riscv64': 'riscv64'}
CONFIG_IN_BACKUP = 'etc/vzdump/pct.conf'


class ArchiveError(Exception):
    """str() says what is wrong with the archive or could not be done with it."""


def _decompressor(path):
    with open(path, 'rb') as f:
        magic = f.read(6)
    for start, command in ((b'\x1f\x8b', ['gzip', '-dc']), (b'\x28\xb5\x2f\xfd', ['zstd', '-dcq']),
                           (b'\xfd7zXZ\0', ['xz', '-dc'])):
        if magic.startswith(start):
            return command
    return ['cat']


def _run(command, what, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, good=(0,)):
    """Runs a command, whose exit code is to be among the good; what it prints."""
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                          start_new_session=True) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise ArchiveError(f'{what}: got timeout') from None
    if process.returncode not in good:
        lines = err.decode(errors='replace').strip().splitlines() or [f'exit code {process.returncode}']
        raise ArchiveError(f"{what}: {' '.join(lines[-3:])}")
    return out


# OCI archives.

class Oci:
    """An image in an OCI archive: its configuration and its layers. Members are found by their exact names."""

    def __init__(self, archive, members):
        self.archive, self.members = archive, members
        index = self._json('index.json')
        descriptor = index['manifests'][0]
        manifest = self._json(self._blob(descriptor))
        if 'manifests' in manifest:  # an index in the index
            manifest = self._json(self._blob(manifest['manifests'][0]))
        image = self._json(self._blob(manifest['config']))
        self.arch = GOARCH.get(image.get('architecture'), 'amd64')
        self.config = image.get('config') or {}
        self.layers = [self._blob(layer) for layer in manifest['layers']]

    @staticmethod
    def _blob(descriptor):
        algorithm, _, digest = descriptor['digest'].partition(':')
        return f'blobs/{algorithm}/{digest}'

    def _json(self, name):
        return json.load(self.archive.extractfile(self.members[name]))

    def extract_layer(self, name, path):
        """Writes a layer as it is in the archive."""
        with open(path, 'wb') as f:
            shutil.copyfileobj(self.archive.extractfile(self.members[name]), f)

    def ct_config(self, ids):
        """What Proxmox takes into the container's configuration. `ids` are uid, gid, groups by the image's files."""
        lxc = [['lxc.init.uid', str(ids['uid'])], ['lxc.init.gid', str(ids['gid'])]]
        if ids['groups']:
            lxc.append(['lxc.init.groups', ','.join(map(str, ids['groups']))])
        lxc += [['lxc.init.cwd', self.config.get('WorkingDir') or '/'],
                ['lxc.signal.halt', self.config.get('StopSignal') or 'SIGTERM']]
        found = {'cmode': 'console', 'arch': self.arch, 'lxc': lxc}
        command = (self.config.get('Entrypoint') or []) + (self.config.get('Cmd') or [])
        if command:
            found['entrypoint'] = shlex.join(command)
        if self.config.get('Env'):
            found['env'] = '\0'.join(self.config['Env'])
        return found


def _oci_members(path):
    """The members of an OCI archive by name, or none if it is none. Only a plain .tar can be one."""
    if not path.endswith('.tar'):
        return None
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive.getmembers() if member.isfile()}
    blobs = any(name.startswith('blobs/') for name in members)
    return members if blobs and 'oci-layout' in members and 'index.json' in members else None


# Into a container.

def _in_volumes(folder, volumes):
    """The start of a command that sees `volumes`, a list of (path in the container, volume), below `folder`."""
    return [WITH_VOLUMES, folder, *(word for where, volume in volumes for word in (where, volume, '')), '--']


def _fill(folder, volumes, request, what, stdin=subprocess.DEVNULL):
    """Runs our other half (see main) in the volumes."""
    command = [*_in_volumes(folder, volumes), *IN_USERNS, '/usr/bin/python3', '-I', '-B', __file__, folder,
               json.dumps(request)]
    return json.loads(_run(command, what, stdin=stdin))


def unpack(archive, folder, volumes):
    """Unpacks a template, OCI archive or backup. What it says of the container: `ostype`, `arch`, `oci`, and of an
    OCI archive `entrypoint`, `env`, `cmode`, `lxc`; of a backup `config`, the text of its configuration.

    archive: its path; folder: an empty one to mount at; volumes: a list of (path in the container, path of volume)
    """
    what = f"unable to extract '{archive}'"
    try:
        members = _oci_members(archive)
        if members is None:
            with open(archive, 'rb') as compressed, \
                    subprocess.Popen([*_decompressor(archive)], stdin=compressed, stdout=subprocess.PIPE) as plain:
                found = _fill(folder, volumes, {}, what, stdin=plain.stdout)
                plain.stdout.close()
            if plain.returncode:
                raise ArchiveError(f'{what}: it is damaged')
            del found['ids']
            return {**found, 'oci': False}
        with tarfile.open(archive) as tar, tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as layers:
            os.chmod(layers, 0o755)
            image = Oci(tar, members)
            plain = []
            for number, name in enumerate(image.layers):
                packed = os.path.join(layers, 'packed')
                image.extract_layer(name, packed)
                plain.append(os.path.join(layers, f'{number}.tar'))
                with open(plain[-1], 'wb') as f:
                    if subprocess.run([*_decompressor(packed), packed], stdout=f, check=False).returncode:
                        raise ArchiveError(f'{what}: layer {name} is damaged')
            found = _fill(folder, volumes, {'layers': plain, 'user': image.config.get('User', '')}, what)
            return {'ostype': found['ostype'], 'oci': True, **image.ct_config(found['ids'])}
    except (tarfile.TarError, KeyError, IndexError, TypeError, ValueError) as e:
        raise ArchiveError(f'{what}: {e!r}') from None


# Out of a container.

def _foreign_mounts(pid, volumes):
    """tar's options to leave out what is mounted in a running container and none of the volumes. Its own
    --one-file-system would take two trees of one disk for one."""
    with open(f'/proc/{pid}/mountinfo', encoding='utf-8') as f:
        points = {re.sub(r'\\(\d{3})', lambda m: chr(int(m[1], 8)), line.split()[4]) for line in f}
    foreign = points - {'/'} - {where for where, _ in volumes}
    return ['--exclude=.' + re.sub(r'([][*?\\])', r'\\\1', point) + '/?*' for point in sorted(foreign)]


def dump(target, folder, volumes, config, pid=None):
    """Writes a backup as vzdump does: the files of the volumes and etc/vzdump/pct.conf with the text `config`.

    target: its path; .tar, .tar.zst or .tar.gz says how it is packed
    folder: an empty one to mount at; volumes: as for unpack(); only these are in the backup
    pid: of a running container, whose files are then read through it, for its images are in use
    """
    what = f"unable to write '{target}'"
    packer = {'zst': ['zstd', '-q', '-c', '-T1'], 'gz': ['gzip', '-c']}.get(target.rsplit('.', 1)[-1], ['cat'])
    with tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as extra:
        os.chmod(extra, 0o755)
        os.makedirs(os.path.join(extra, 'etc/vzdump'))
        with open(os.path.join(extra, CONFIG_IN_BACKUP), 'w', encoding='utf-8') as f:
            f.write(config)
            os.fchown(f.fileno(), 100000, 100000)
        # Root of the user namespace may not follow /proc/PID/root, but go where we have opened it.
        command = ['sh', '-ec', 'exec 9<"$1"; shift; exec "$@"', 'dump', f'/proc/{pid}/root' if pid else folder,
                   *IN_USERNS, 'tar', '-cpf', '-', *TAR, f'--directory={extra}', './' + CONFIG_IN_BACKUP,
                   '--directory=/proc/self/fd/9', '--no-anchored', '--exclude=lost+found', '--anchored',
                   '--exclude=./tmp/?*', '--exclude=./var/tmp/?*', '--exclude=./var/run/?*.pid',
                   *(_foreign_mounts(pid, volumes) if pid else []), '.']
        command = [*_in_volumes(folder, [] if pid else volumes), *command]
        partial = os.path.join(os.path.dirname(target), '.' + os.path.basename(target))
        try:
            with open(partial, 'wb') as f, subprocess.Popen(packer, stdin=subprocess.PIPE, stdout=f) as packing:
                _run(command, what, stdout=packing.stdin, good=(0, 1) if pid else (0,))  # 1: a file changed meanwhile
                packing.stdin.close()
            if packing.returncode:
                raise ArchiveError(f'{what}: {packer[0]} failed: exit code {packing.returncode}')
            os.rename(partial, target)
        finally:
            if os.path.exists(partial):
                os.unlink(partial)


def backup_config(archive):
    """The container's configuration in a backup, as text."""
    what = f"unable to read the configuration in '{archive}'"
    with open(archive, 'rb') as compressed, \
            subprocess.Popen(_decompressor(archive), stdin=compressed, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL) as plain:
        try:
            command = ['tar', '-xOf', '-', '--occurrence=1', './' + CONFIG_IN_BACKUP]
            return _run(command, what, stdin=plain.stdout).decode()
        finally:
            plain.stdout.close()


# What runs as root of the container's user namespace.

def _in_root(folder, function, *arguments):
    """Calls function(*arguments) with the folder as its root, so that no link leads out; what it returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.chroot(folder)
            os.chdir('/')
            with os.fdopen(writing, 'w', encoding='utf-8') as f:
                json.dump(function(*arguments), f)
            status = 0
        except (OSError, ValueError, tarfile.TarError) as e:
            os.write(2, f'{function.__name__}: {e}\n'.encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding='utf-8') as f:
        text = f.read()
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
    return json.loads(text)


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _apply_layer(tar):
    """Unpacks a layer of an image into the root folder: first what it hides of those below, then what it has."""
    members = [member for member in tar if not (member.isdev() and not member.isfifo())]
    for member in members:
        folder, base = os.path.split(member.name)
        if base == '.wh..wh..opq' and os.path.isdir(folder):
            for entry in os.listdir(folder):
                _remove(os.path.join(folder, entry))
        elif base.startswith('.wh.'):
            _remove(os.path.join(folder, base.removeprefix('.wh.')))
    tar.extraction_filter = lambda member, _: member  # nothing can be reached but the volume
    for member in members:
        if os.path.basename(member.name).startswith('.wh.'):
            continue
        if not (member.isdir() and os.path.isdir(member.name) and not os.path.islink(member.name)):
            _remove(member.name)
        tar.extract(member, '/', numeric_owner=True)
        for key, value in member.pax_headers.items():
            if key.startswith('SCHILY.xattr.') and not member.issym():
                os.setxattr(member.name, key.removeprefix('SCHILY.xattr.'), value.encode('utf-8', 'surrogateescape'))


def _names_of(path):
    """Lines of a passwd-like file, split; none when there is no such file."""
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            return [line.rstrip('\n').split(':') for line in f if ':' in line]
    except OSError:
        return []


def _ids(user):
    """uid, gid and further groups of an image's User: name or number, perhaps with a group."""
    user, _, group = (user or '0').partition(':')
    passwd, groups = _names_of('/etc/passwd'), _names_of('/etc/group')
    entry = next((e for e in passwd if len(e) > 3 and user in (e[0], e[2])), None)
    if not entry and not user.isdigit():
        raise ValueError(f"the image's user '{user}' is not in its /etc/passwd")
    uid, gid = (int(entry[2]), int(entry[3])) if entry else (int(user), 0)
    more = [int(g[2]) for g in groups if len(g) > 3 and entry and entry[0] in g[3].split(',')]
    if group:
        found = next((g for g in groups if len(g) > 2 and group in (g[0], g[2])), None)
        if not found and not group.isdigit():
            raise ValueError(f"the image's group '{group}' is not in its /etc/group")
        gid, more = int(found[2] if found else group), []
    return {'uid': uid, 'gid': gid, 'groups': more}


def _look(user):
    """What the files say of themselves: ostype, arch, ids of `user`; and a backup's configuration, which is removed."""
    found = {'ostype': 'unmanaged', 'arch': 'amd64', 'ids': _ids(user)}
    for path in ('/etc/os-release', '/usr/lib/os-release'):
        if os.path.exists(path):
            with open(path, encoding='utf-8', errors='replace') as f:
                name = re.search(r'^ID=["\']?([\w-]+)', f.read(65536), re.M)
            found['ostype'] = OSTYPES.get(name[1], 'unmanaged') if name else 'unmanaged'
            break
    for path in ('/bin/sh', '/sbin/init'):
        if os.path.isfile(path):
            with open(path, 'rb') as f:
                start = f.read(20)
            if start.startswith(b'\x7fELF') and len(start) == 20:
                found['arch'] = MACHINES.get(int.from_bytes(start[18:20], 'little'), 'amd64')
                break
    if os.path.isfile('/' + CONFIG_IN_BACKUP):
        with open('/' + CONFIG_IN_BACKUP, encoding='utf-8') as f:
            found['config'] = f.read()
        os.unlink('/' + CONFIG_IN_BACKUP)
    return found


def main():
    """FOLDER REQUEST: unpacks a template from stdin, or the layers in the request; prints what it found as JSON."""
    folder, request = sys.argv[1], json.loads(sys.argv[2])
    for layer in request.get('layers', []):
        with tarfile.open(layer) as tar:
            _in_root(folder, _apply_layer, tar)
    if 'layers' not in request:
        # Device nodes are not for a user namespace to make; the container gets its own at run time.
        done = subprocess.run(['tar', '-xpf', '-', *TAR, '-C', folder, '--anchored', '--exclude=./dev/*',
                               '--exclude=dev/*'], check=False)
        if done.returncode:
            sys.exit(f'tar failed: exit code {done.returncode}')
    json.dump(_in_root(folder, _look, request.get('user', '')), sys.stdout)


if __name__ == '__main__':
    main()
