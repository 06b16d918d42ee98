"""Archives of images, made by hand: OCI layouts, and what Docker writes."""

import io
import json
import tarfile

from oci import canonical, descriptor, digest

NAME = 'org.opencontainers.image.ref.name'


def tar(members):
    """(name, bytes) is a file, (TarInfo, bytes) anything; in that order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = info.size or len(data)
            archive.addfile(info, io.BytesIO(data) if data else None)
    return out.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b''


def blob(data):
    return 'blobs/sha256/' + digest(data)[7:], data


def entry(image, name=None, key=NAME, **more):
    return descriptor(image.media_type(), image.manifest, **({'annotations': {key: name}} if name else {}), **more)


def oci(images, entries, *more):
    """The members of an OCI layout. `more`: further ones."""
    blobs = dict(blob(data) for image in images for data in [*image.blobs(), image.manifest])
    return [('oci-layout', b'{"imageLayoutVersion":"1.0.0"}'), *blobs.items(), *more,
            ('index.json', canonical({'schemaVersion': 2, 'manifests': entries}))]


def docker(*images_and_tags):
    """As Podman writes it: layers uncompressed, each once, manifest.json last."""
    members, listing = {}, []
    for image, tags in images_and_tags:
        names = []
        for layer in image.layers:
            names.append(digest(layer.diff())[7:] + '.tar')
            members[names[-1]] = layer.diff()
        config = image.id()[7:] + '.json'
        members[config] = image.config
        listing.append({'Config': config, 'RepoTags': tags, 'Layers': names})
    return [*members.items(), ('manifest.json', json.dumps(listing).encode())]


def old_docker(image, tags):
    """As Docker wrote it before 25: a folder for each layer, the same layer twice being a link."""
    members, names, seen = [], [], {}
    for number, layer in enumerate(image.layers):
        folder, data = f'{number:064x}', layer.diff()
        info = tarfile.TarInfo(folder + '/')
        info.type = tarfile.DIRTYPE
        members += [(info, b''), (folder + '/VERSION', b'1.0'), (folder + '/json', b'{}')]
        name = folder + '/layer.tar'
        members.append(link(name, f'../{seen[data]}') if data in seen else (name, data))
        seen.setdefault(data, name)
        names.append(name)
    config = image.id()[7:] + '.json'
    return [*members, (config, image.config), ('repositories', b'{}'),
            ('manifest.json', json.dumps([{'Config': config, 'RepoTags': tags, 'Layers': names}]).encode())]
