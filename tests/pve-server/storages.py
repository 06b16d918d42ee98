"""The storages of a Proxmox node, as folders laid out like Proxmox's own (`template/cache`, `dump`, `images/ID`).

A container's volume is an ext4 image (`vm-ID-disk-N.raw`; its size is the quota) or, when made with no size, a plain
tree (`subvol-ID-disk-N.subvol`; no quota). Both belong to the root of the unprivileged container. With `snapshots` the
storage stands for btrfs: a snapshot is a copy (a reflink where the file system can) named `VOLUME@SNAPSHOT`.
The texts of errors are Proxmox's where it has one for the case.
"""

import errno
import os
import re
import shutil
import subprocess
import threading

ROOT_OF_CT = 100000  # the uid and gid on the host of root in an unprivileged container
TIMEOUT = 300 * int(os.environ.get('LXCRI_SLOW', '1'))  # seconds that mkfs, cp ... may take

FOLDERS = {'vztmpl': 'template/cache', 'iso': 'template/iso', 'import': 'import', 'backup': 'dump'}
NAMES = {'vztmpl': re.compile(r'[^/\s]+\.(tar(?:\.(?:gz|xz|zst))?|tgz)'),
         'iso': re.compile(r'[^/\s]+\.(iso|img)'),
         'import': re.compile(r'[^/\s]+\.(ova|ovf|qcow2|raw|vmdk)'),
         'backup': re.compile(r'vzdump-lxc-(?P<vmid>\d+)-\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d'
                              r'\.(tar(?:\.(?:gz|lzo|zst))?)')}
VOLUME = re.compile(r'(?P<vmid>[1-9]\d{2,8})/(?P<name>(?:vm|base|subvol|basevol)-(?P<owner>\d+)-disk-\d+'
                    r'\.(?P<format>raw|subvol))')
SNAPSHOT = re.compile(r'[A-Za-z][A-Za-z0-9_-]+')


class StorageError(Exception):
    """str() is the text of Proxmox's task or HTTP error."""


def run(*command, what):
    """Runs a tool; what it says when it fails becomes the error."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors='replace', timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise StorageError(f"{what} - command '{command[0]}' failed: got timeout") from None
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ['']
        raise StorageError(f"{what} - command '{command[0]}' failed: exit code {done.returncode}: {lines[-1]}")
    return done.stdout


def erase(path):
    """Removes a file or a tree, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def copy(source, target, what):
    """Copies a file or tree so that `target`, which is empty or not there yet, gets all of it or nothing."""
    partial = target + '.partial'
    erase(partial)
    try:
        run('cp', '-a', '--reflink=auto', '--sparse=always', '-T', source, partial, what=what)
        os.rename(partial, target)
    except BaseException:
        erase(partial)
        raise


def allocated(path):
    """The bytes that a file or tree takes on the disk."""
    total = os.lstat(path).st_blocks * 512
    for top, dirs, names in os.walk(path):
        for name in dirs + names:
            try:
                total += os.lstat(os.path.join(top, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Storage:
    """One storage of one node; a shared one is given the same folder on each."""

    def __init__(self, name, folder, content, snapshots, shared):
        self.name, self.folder, self.kinds = name, folder, set(content)
        self.snapshots, self.shared = snapshots, shared
        self._lock = threading.Lock()  # of names to be chosen
        for path in [*FOLDERS.values(), 'images']:
            os.makedirs(os.path.join(folder, path), exist_ok=True)

    # Names.

    def _volname(self, volid):
        store, _, name = volid.partition(':')
        if not name:
            raise StorageError(f"unable to parse volume ID '{volid}'")
        if store != self.name:
            raise StorageError(f"storage '{store}' does not exist")
        return name

    def _split(self, volid):
        """(kind, match): of which kind the volume is by its name, and that matched."""
        name = self._volname(volid)
        volume = VOLUME.fullmatch(name)
        if volume:
            return 'rootdir', volume
        kind, _, filename = name.partition('/')
        file = NAMES[kind].fullmatch(filename) if kind in NAMES else None
        if not file or filename.startswith('.'):
            raise StorageError(f"unable to parse directory volume name '{name}'")
        return kind, file

    def _place(self, volid):
        kind, match = self._split(volid)
        return os.path.join(self.folder, FOLDERS.get(kind, 'images'), match.group())

    def path(self, volid):
        """Where the volume is: a file, or the folder of a subvol."""
        place = self._place(volid)
        if not os.path.exists(place):
            raise StorageError(f"volume '{volid}' does not exist")
        return place

    # What is there.

    def _entry(self, kind, volid, match):
        place = self._place(volid)
        info = os.lstat(place)
        entry = {'volid': volid, 'content': kind, 'ctime': int(info.st_mtime), 'size': info.st_size}
        if kind == 'rootdir':
            entry.update(vmid=int(match['vmid']), format=match['format'])
            if match['format'] == 'subvol':
                entry['size'] = 0
            else:
                entry['used'] = info.st_blocks * 512
        else:
            form = match.group(match.lastindex)
            entry['format'] = form
            if kind == 'backup':
                entry.update(vmid=int(match['vmid']), subtype='lxc')
            elif kind == 'vztmpl' and form.startswith('tar.'):
                entry['format'] = 't' + form[4:]
        return entry

    def _volids(self):
        for kind, folder in FOLDERS.items():
            for name in sorted(os.listdir(os.path.join(self.folder, folder))):
                yield f'{self.name}:{kind}/{name}'
        images = os.path.join(self.folder, 'images')
        for vmid in sorted(os.listdir(images)):
            for name in sorted(os.listdir(os.path.join(images, vmid))):
                yield f'{self.name}:{vmid}/{name}'

    def content(self, kind=None, vmid=None):
        """The volumes, as GET /nodes/N/storage/S/content lists them; what is being written or is a snapshot is none."""
        found = []
        for volid in self._volids():
            try:
                of, match = self._split(volid)
                entry = self._entry(of, volid, match)
            except (StorageError, FileNotFoundError):
                continue
            if of in self.kinds and kind in (None, of) and vmid in (None, entry.get('vmid')):
                found.append(entry)
        return found

    def status(self):
        """The size of the file system, as GET /nodes/N/storage has it."""
        info = os.statvfs(self.folder)
        total, avail = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
        used = (info.f_blocks - info.f_bfree) * info.f_frsize
        return {'total': total, 'used': used, 'avail': avail, 'used_fraction': used / total if total else 0}

    # Files: templates, backups ...

    def new_path(self, kind, filename):
        """(volid, path) of a file that is to be written there, for what writes it in place."""
        if kind not in self.kinds or kind not in FOLDERS:
            raise StorageError(f"storage '{self.name}' does not support '{kind}' content")
        volid = f'{self.name}:{kind}/{filename}'
        self._split(volid)
        return volid, self._place(volid)

    def store(self, kind, filename, source_path, overwrite=False):
        """Takes a copy of a file; its volid. An existing one is only replaced when asked to."""
        volid, place = self.new_path(kind, filename)
        partial = os.path.join(os.path.dirname(place), f'.{filename}.{threading.get_ident()}')
        try:
            shutil.copyfile(source_path, partial)
            if overwrite:
                os.rename(partial, place)
            else:
                os.link(partial, place)
        except FileExistsError:
            raise StorageError(f"refusing to override existing file '{place}'") from None
        except OSError as e:
            raise StorageError(f"unable to write '{place}' - {os.strerror(e.errno or errno.EIO)}") from None
        finally:
            erase(partial)
        return volid

    def remove(self, volid):
        """Removes a file or volume."""
        if self._split(volid)[0] == 'rootdir':
            self.free(volid)
        else:
            os.unlink(self.path(volid))

    # Volumes of containers.

    def _volume(self, volid):
        """(path, match) of a volume that is there."""
        kind, match = self._split(volid)
        if kind != 'rootdir':
            raise StorageError(f"volume '{volid}' is no volume of a container")
        return self.path(volid), match

    def _reserve(self, vmid, form, wished=None):
        """A name that no other takes, of a folder or an empty file; `wished` is taken if it is free."""
        if 'rootdir' not in self.kinds:
            raise StorageError(f"storage '{self.name}' does not support container directories")
        folder = os.path.join(self.folder, 'images', str(vmid))
        prefix = 'subvol' if form == 'subvol' else 'vm'
        with self._lock:
            os.makedirs(folder, exist_ok=True)
            taken = {int(number) for number in re.findall(r'-disk-(\d+)', ' '.join(os.listdir(folder)))}
            number = next(n for n in range(len(taken) + 1) if n not in taken)
            name = f'{prefix}-{vmid}-disk-{number}.{form}'
            if wished and not os.path.lexists(os.path.join(folder, wished)):
                name = wished
            place = os.path.join(folder, name)
            if form == 'subvol':
                os.mkdir(place, 0o755)
            else:
                os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640))
        return f'{self.name}:{vmid}/{name}', place

    def allocate(self, vmid, size_bytes):
        """Makes a volume: an empty ext4 of that size, or a tree when `size_bytes` is none or 0. Its volid."""
        volid, place = self._reserve(vmid, 'raw' if size_bytes else 'subvol')
        what = f"unable to create image '{place}'"
        try:
            if not size_bytes:
                os.chown(place, ROOT_OF_CT, ROOT_OF_CT)
            else:
                os.truncate(place, size_bytes)
                run('mkfs.ext4', '-q', '-F', '-E', f'root_owner={ROOT_OF_CT}:{ROOT_OF_CT}', place, what=what)
        except (OSError, StorageError) as e:
            self.free(volid)
            if isinstance(e, OSError):
                raise StorageError(f'{what} - {os.strerror(e.errno)}') from None
            raise
        return volid

    def free(self, volid):
        """Removes a volume with its snapshots."""
        place = self._place(volid)
        folder = os.path.dirname(place)
        self._volume(volid)
        erase(place)
        for name in os.listdir(folder):
            if name.startswith(os.path.basename(place) + '@'):
                erase(os.path.join(folder, name))
        try:
            os.rmdir(folder)
        except OSError as e:
            if e.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise

    def size(self, volid):
        """The size of a volume in bytes, 0 for one without limit."""
        place, match = self._volume(volid)
        return os.path.getsize(place) if match['format'] == 'raw' else 0

    def resize(self, volid, size_bytes):
        """Makes an ext4 volume larger, also while a container has it mounted. Lines for the task's log: as on Proxmox
        it is no error when only the file system in it could not be told."""
        place, match = self._volume(volid)
        if match['format'] != 'raw':
            raise StorageError(f"can't resize this image format '{match['format']}'")
        if size_bytes < os.path.getsize(place):
            raise StorageError('unable to shrink disk size')
        what = f"unable to resize '{volid}'"
        os.truncate(place, size_bytes)
        lines = ['Image resized.']
        device = run('losetup', '--noheadings', '--output', 'NAME', '--associated', place, what=what).strip()
        try:
            if device:
                # Mounted in the namespace of the container's monitor: resize2fs grows what it can see mounted.
                run('losetup', '--set-capacity', device, what=what)
                script = 'mount --make-rprivate / && mount "$1" /tmp && resize2fs "$1"'
                lines += run('unshare', '-m', 'sh', '-c', script, 'resize', device, what=what).splitlines()
            else:
                run('e2fsck', '-f', '-p', place, what=what)
                lines += run('resize2fs', place, what=what).splitlines()
        except StorageError as e:
            lines.append(f"Failed to update the container's filesystem: {e}")
        return lines

    # Snapshots.

    def _snapshot(self, volid, name):
        if not self.snapshots:
            raise StorageError(f"snapshot feature for volume '{volid}' is not available")
        if not SNAPSHOT.fullmatch(name):
            raise StorageError(f"invalid configuration ID '{name}'")
        place, _ = self._volume(volid)
        return place, f'{place}@{name}'

    def snapshot(self, volid, name):
        """Keeps the volume's state."""
        place, kept = self._snapshot(volid, name)
        if os.path.lexists(kept):
            raise StorageError(f"snapshot name '{name}' already used")
        copy(place, kept, f"unable to make snapshot '{name}' of '{volid}'")

    def rollback(self, volid, name):
        """Gives the volume back what it was at the snapshot, which stays. Not while it is in use."""
        place, kept = self._snapshot(volid, name)
        if not os.path.lexists(kept):
            raise StorageError(f"snapshot '{name}' does not exist")
        fresh, old = place + '.rollback', place + '.old'
        erase(fresh)
        erase(old)
        copy(kept, fresh, f"unable to roll back '{volid}' to '{name}'")
        os.rename(place, old)
        os.rename(fresh, place)
        erase(old)

    def drop_snapshot(self, volid, name):
        """Forgets a snapshot."""
        _, kept = self._snapshot(volid, name)
        if not os.path.lexists(kept):
            raise StorageError(f"snapshot '{name}' does not exist")
        erase(kept)

    def copy_to(self, volid, other, vmid, snapshot=None):
        """Copies the volume, or a snapshot of it, to a storage (this one, too) for a container; the copy's volid."""
        place, match = self._volume(volid)
        if snapshot:
            _, place = self._snapshot(volid, snapshot)
            if not os.path.lexists(place):
                raise StorageError(f"snapshot '{snapshot}' does not exist")
        wished = match['name'] if int(match['vmid']) == vmid else None
        new, target = other._reserve(vmid, match['format'], wished)  # pylint: disable=protected-access
        try:
            copy(place, target, f"unable to copy '{volid}' to '{new}'")
        except BaseException:
            other.free(new)
            raise
        return new
