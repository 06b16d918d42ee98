"""A small OCI image writer: deterministic images made in memory, pushed by HTTP.

Nothing here needs a network or another image. The same recipe gives the same
digest everywhere: fixed times, sorted entries, and plain tar unless a layer
asks for compression.
"""

import gzip
import hashlib
import http.client
import io
import json
import os
import stat
import subprocess
import tarfile
import urllib.parse

LAYER = 'application/vnd.oci.image.layer.v1.tar'
CONFIG = 'application/vnd.oci.image.config.v1+json'
MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
INDEX = 'application/vnd.oci.image.index.v1+json'
DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip'
DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'
DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'

MTIME = 1700000000


def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def canonical(obj):
    return json.dumps(obj, sort_keys=True, separators=(',', ':')).encode()


class Layer:
    """One layer, filled entry by entry in the order of the calls."""

    def __init__(self, compression=''):
        self.compression = compression
        self._buf = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buf, mode='w', format=tarfile.PAX_FORMAT)
        self._blob = None

    def _add(self, name, type_, mode, data=b'', uid=0, gid=0, link='', xattrs=None, mtime=MTIME,
             dev=(0, 0)):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid = type_, mode, uid, gid
        info.mtime, info.linkname, info.size = mtime, link, len(data)
        info.devmajor, info.devminor = dev
        for key, value in (xattrs or {}).items():
            info.pax_headers['SCHILY.xattr.' + key] = value
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def dir(self, name, mode=0o755, **more):
        return self._add(name, tarfile.DIRTYPE, mode, **more)

    def file(self, name, data=b'', mode=0o644, **more):
        if isinstance(data, str):
            data = data.encode()
        return self._add(name, tarfile.REGTYPE, mode, data, **more)

    def symlink(self, name, target, **more):
        return self._add(name, tarfile.SYMTYPE, 0o777, link=target, **more)

    def hardlink(self, name, target, mode=0o755, **more):
        return self._add(name, tarfile.LNKTYPE, mode, link=target, **more)

    def device(self, name, kind, major, minor, mode=0o666, **more):
        type_ = tarfile.CHRTYPE if kind == 'c' else tarfile.BLKTYPE
        return self._add(name, type_, mode, dev=(major, minor), **more)

    def fifo(self, name, mode=0o644, **more):
        return self._add(name, tarfile.FIFOTYPE, mode, **more)

    def raw(self, info, data=b''):
        """An entry exactly as given, for hostile archives."""
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def host_file(self, path, name=None):
        """A file of this host with its mode, symlinks resolved."""
        mode = stat.S_IMODE(os.stat(path).st_mode)
        with open(path, 'rb') as f:
            return self.file(name or path.lstrip('/'), f.read(), mode)

    def diff(self):
        """The uncompressed tar; closes the layer."""
        if not self._tar.closed:
            self._tar.close()
        return self._buf.getvalue()

    def blob(self):
        if self._blob is None:
            self._blob = compress(self.diff(), self.compression)
        return self._blob

    def media_type(self):
        return LAYER + ('+' + self.compression if self.compression else '')


def compress(data, how):
    if how == 'gzip':
        return gzip.compress(data, 6, mtime=0)
    if how == 'zstd':
        return subprocess.run(['zstd', '-q', '-3', '-c'], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    return data


class Image:
    """Layers and a config. `config` is the part that runtimes apply (Env, Cmd, User ...)."""

    def __init__(self, layers, config=None, arch='amd64', os_='linux', docker=False):
        self.layers = layers
        self.docker = docker
        self.config = canonical({
            'architecture': arch, 'os': os_, 'created': '2023-11-14T22:13:20Z',
            'config': config or {},
            'rootfs': {'type': 'layers', 'diff_ids': [digest(layer.diff()) for layer in layers]},
            'history': [{'created_by': 'tests/lib/oci.py'} for _ in layers],
        })
        self.manifest = canonical({
            'schemaVersion': 2,
            'mediaType': self.media_type(),
            'config': descriptor(DOCKER_CONFIG if docker else CONFIG, self.config),
            'layers': [descriptor(DOCKER_LAYER if docker else layer.media_type(), layer.blob())
                       for layer in layers],
        })

    def media_type(self):
        return DOCKER_MANIFEST if self.docker else MANIFEST

    def digest(self):
        return digest(self.manifest)

    def id(self):
        return digest(self.config)

    def blobs(self):
        return [self.config] + [layer.blob() for layer in self.layers]


def descriptor(media_type, data, **more):
    return dict(mediaType=media_type, digest=digest(data), size=len(data), **more)


def index(images):
    """An image index over [(arch, image), ...] as bytes."""
    return canonical({
        'schemaVersion': 2, 'mediaType': INDEX,
        'manifests': [descriptor(image.media_type(), image.manifest,
                                 platform={'architecture': arch, 'os': 'linux'})
                      for arch, image in images]})


class Pusher:
    """Puts images into a registry at host:port over plain HTTP, as far as they are missing."""

    def __init__(self, address, headers=None):
        self.conn = http.client.HTTPConnection(address, timeout=30)
        self.headers = headers or {}

    def request(self, method, path, body=None, headers=None):
        self.conn.request(method, path, body, {**self.headers, **(headers or {})})
        reply = self.conn.getresponse()
        return reply, reply.read()

    def blob(self, repo, data):
        name = digest(data)
        reply, _ = self.request('HEAD', f'/v2/{repo}/blobs/{name}')
        if reply.status == 200:
            return
        reply, text = self.request('POST', f'/v2/{repo}/blobs/uploads/')
        if reply.status != 202:
            raise RuntimeError(f'upload to {repo}: HTTP {reply.status} {text!r}')
        where = urllib.parse.urlsplit(reply.headers['Location'])
        path = f'{where.path}?{where.query}&digest={name}'
        reply, text = self.request('PUT', path, data, {'Content-Type': 'application/octet-stream'})
        if reply.status != 201:
            raise RuntimeError(f'blob of {repo}: HTTP {reply.status} {text!r}')

    def manifest(self, repo, tag, data, media_type):
        reply, text = self.request('PUT', f'/v2/{repo}/manifests/{tag}', data,
                                   {'Content-Type': media_type})
        if reply.status != 201:
            raise RuntimeError(f'manifest {repo}:{tag}: HTTP {reply.status} {text!r}')

    def push(self, repo, tag, image):
        for data in image.blobs():
            self.blob(repo, data)
        self.manifest(repo, tag, image.manifest, image.media_type())

    def push_index(self, repo, tag, images):
        for _, image in images:
            self.push(repo, image.digest(), image)
        self.manifest(repo, tag, index(images), INDEX)


def write_layout(image, directory, tag='latest'):
    """The image as an OCI layout, which skopeo and umoci read."""
    blobs = os.path.join(directory, 'blobs', 'sha256')
    os.makedirs(blobs, exist_ok=True)
    for data in image.blobs() + [image.manifest]:
        with open(os.path.join(blobs, digest(data)[7:]), 'wb') as f:
            f.write(data)
    with open(os.path.join(directory, 'oci-layout'), 'w', encoding='utf-8') as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    entry = descriptor(image.media_type(), image.manifest,
                       annotations={'org.opencontainers.image.ref.name': tag})
    with open(os.path.join(directory, 'index.json'), 'wb') as f:
        f.write(canonical({'schemaVersion': 2, 'manifests': [entry]}))
