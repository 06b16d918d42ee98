"""Signatures of images as cosign makes them with a key, by openssl; also wrong ones."""

import base64
import json
import os
import subprocess

from oci import canonical, descriptor, digest

SIGNATURES = 'application/vnd.oci.image.manifest.v1+json'
PAYLOAD = 'application/vnd.dev.cosign.simplesigning.v1+json'
CONFIG = 'application/vnd.oci.image.config.v1+json'
ARTIFACT = 'application/vnd.dev.cosign.artifact.sig.v1+json'
VALUE = 'dev.cosignproject.cosign/signature'
TYPE = 'cosign container image signature'


def openssl(*args, **more):
    return subprocess.run(['openssl', *args], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more).stdout


class Key:
    """A key pair in files; .public is the path of the public one."""

    KINDS = {'p256': ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'], 'p384': ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
             'ed25519': ['ED25519'], 'rsa': ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
             'rsa1024': ['RSA', '-pkeyopt', 'rsa_keygen_bits:1024'], 'ed448': ['ED448']}

    def __init__(self, directory, name, kind='p256'):
        self.kind = kind
        self.private, self.public = (os.path.join(directory, f'{name}.{part}') for part in ('key', 'pub'))
        openssl('genpkey', '-algorithm', *self.KINDS[kind], '-out', self.private)
        openssl('pkey', '-in', self.private, '-pubout', '-out', self.public)

    def pem(self):
        with open(self.public, 'rb') as f:
            return f.read()

    def data(self):
        return base64.b64encode(self.pem()).decode()

    def sign(self, data):
        if self.kind.startswith('ed'):
            path = self.private + '.data'
            with open(path, 'wb') as f:
                f.write(data)
            return openssl('pkeyutl', '-sign', '-rawin', '-inkey', self.private, '-in', path)
        return openssl('dgst', '-sha256', '-sign', self.private, input=data)


def payload(reference, of, **changes):
    """What cosign signs; `changes` are of "critical"."""
    critical = {'identity': {'docker-reference': reference}, 'image': {'docker-manifest-digest': of}, 'type': TYPE}
    return canonical({'critical': {**critical, **changes}, 'optional': None})


class Signature:
    """One of a payload (bytes)."""

    def __init__(self, key, data, value=None):
        self.data = data
        self.value = base64.b64encode(key.sign(data)).decode() if value is None else value


def manifest(signatures, **more):
    """(blobs, manifest) of a list of signatures."""
    config = b'{}'
    layers = [descriptor(PAYLOAD, s.data, annotations={VALUE: s.value}) for s in signatures]
    return [config] + [s.data for s in signatures], canonical({
        'schemaVersion': 2, 'mediaType': SIGNATURES, 'config': descriptor(CONFIG, config), 'layers': layers, **more})


def attach(pusher, repo, of, signatures):
    """Puts them into a registry, under the tag where they are looked for."""
    blobs, data = manifest(signatures)
    for blob in set(blobs):
        pusher.blob(repo, blob)
    pusher.manifest(repo, of.replace(':', '-') + '.sig', data, SIGNATURES)


def sign(pusher, key, reference, of, repo=None):
    """The ordinary case: one signature of the manifest with digest `of` as `reference` (host/path[:tag])."""
    repo = repo or reference.split('/', 1)[1].split(':')[0]
    attach(pusher, repo, of, [Signature(key, payload(reference, of))])


def refer(fake, of, signatures):
    """The same in a Fake registry by what refers to the manifest (OCI 1.1), as cosign's experimental mode has it."""
    blobs, data = manifest(signatures, subject={'mediaType': SIGNATURES, 'digest': of, 'size': 1})
    doc = json.loads(data)
    doc['config']['mediaType'] = ARTIFACT
    data = canonical(doc)
    for blob in blobs:
        fake.blobs[digest(blob)] = blob
    fake.manifests[digest(data)] = SIGNATURES, data
    return descriptor(SIGNATURES, data, artifactType=ARTIFACT)
