"""Small templates for containers, made of this host's busybox, as files that a storage takes.

The first process of `ORDERLY` ends on its halt signal (SIGPWR), that of `STUBBORN` ignores it; both answer on TCP
port 7 with what they are sent.
"""

import io
import os
import subprocess
import sys
import tarfile

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib')]

from images import busybox_layer  # noqa: E402 pylint: disable=wrong-import-position
from oci import Image, Layer, canonical, descriptor, digest  # noqa: E402 pylint: disable=wrong-import-position

ECHO = 'while :; do nc -l -p 7 -e cat 2>/dev/null || sleep 0.1; done &\n'
# A shell has no handler while it waits for a program in the foreground; wait is interrupted.
ORDERLY = "#!/bin/sh\ntrap 'exit 0' PWR TERM\n" + ECHO + 'sleep 100000 & while :; do wait $!; done\n'
STUBBORN = "#!/bin/sh\ntrap '' PWR TERM INT\n" + ECHO + 'while :; do sleep 1; done\n'


def layer(init=ORDERLY, os_release='ID=debian\n'):
    """busybox with `init` as /sbin/init."""
    return Layer().dir('sbin').file('sbin/init', init, 0o755).file('etc/os-release', os_release)


def template(path, *layers):
    """Writes a template; .tar, .tar.gz or .tar.zst by its name. The path."""
    plain = path + '.plain'
    with tarfile.open(plain, 'w', format=tarfile.PAX_FORMAT) as out:
        for part in (busybox_layer(), *(layers or (layer(),))):
            with tarfile.open(fileobj=io.BytesIO(part.diff())) as source:
                for member in source:
                    out.addfile(member, source.extractfile(member) if member.isfile() else None)
    packer = {'zst': ['zstd', '-q', '-1', '-c'], 'gz': ['gzip', '-1', '-c']}.get(path.rsplit('.', 1)[-1], ['cat'])
    with open(path, 'wb') as out:
        subprocess.run([*packer, plain], stdout=out, check=True)
    os.unlink(plain)
    return path


def oci_archive(path, *layers, **config):
    """Writes an OCI archive of busybox and `layers`, as `skopeo copy ... oci-archive:` does. The path."""
    image = Image([busybox_layer(), *layers], config)
    entry = descriptor(image.media_type(), image.manifest)
    archive = Layer()
    archive.file('oci-layout', '{"imageLayoutVersion":"1.0.0"}')
    archive.file('index.json', canonical({'schemaVersion': 2, 'manifests': [entry]}))
    for data in [*image.blobs(), image.manifest]:
        archive.file('blobs/sha256/' + digest(data).removeprefix('sha256:'), data)
    with open(path, 'wb') as f:
        f.write(archive.diff())
    return path
