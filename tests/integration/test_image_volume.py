"""Images as volumes: read-only, whole or in part, and held as long as the container is there."""

import pytest

from helpers import CODE, refused
from oci import Image, Layer


def layers(count):
    first = (Layer().dir('data').file('data/greeting', 'hello').file('top', 'top')
             .file('run', '#!/bin/sh\necho ran\n', 0o755)
             .symlink('inside', '/data').symlink('outside', '../../../../../etc'))
    return [first, Layer().file('data/more', 'more').file('data/.wh.greeting')][:count]


@pytest.fixture(params=[1, 2], ids=['one-layer', 'two-layers'])
def volume(request, daemon, images):
    """(its name, its id, does data/greeting exist in it)"""
    ref = images.push(Image(layers(request.param)), f'volume{request.param}')
    return ref, daemon.pull(ref)[0], request.param == 1


def mount(pb, ref, sub_path='', readonly=True, **more):
    return [pb.Mount(container_path='/volume', image=pb.ImageSpec(image=ref), readonly=readonly,
                     image_sub_path=sub_path, **more)]


@pytest.mark.not_by_containerd('1.6 has no volumes of images')
def test_whole_image(daemon, busybox, volume, clean):
    ref, image_id, has_greeting = volume
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], mounts=mount(daemon.pb, ref))
        assert container.sh('cat /volume/top') == 'top'
        assert container.sh('/volume/run') == 'ran'
        there = container.exec('cat', '/volume/data/greeting').exit_code == 0
        assert there == has_greeting
        assert container.exec('touch', '/volume/new').exit_code != 0
        assert container.exec('mount', '-o', 'remount,rw', '/volume').exit_code != 0
        [shown] = container.status().mounts
        assert shown.image.image == ref and shown.image.image_ref == image_id
        assert shown.readonly and shown.container_path == '/volume' and not shown.host_path


@pytest.mark.not_by_containerd('1.6 has no volumes of images')
@pytest.mark.parametrize('sub_path', ['data', '/data', 'inside', 'data/../data'])
def test_sub_path(daemon, busybox, volume, sub_path, clean):
    ref, _, has_greeting = volume
    with daemon.pod() as pod:
        container = pod.run(busybox, ['sleep', '100'], mounts=mount(daemon.pb, ref, sub_path))
        assert container.sh('ls /volume') == ('greeting' if has_greeting else 'more')
        assert container.sh('ls /volume/..').count('top') == 0


@pytest.mark.not_by_containerd('1.6 has no volumes of images')
@pytest.mark.parametrize('sub_path', ['nothing', 'top/below', 'outside/passwd', '../../etc/passwd'])
def test_missing_sub_path(daemon, busybox, volume, sub_path, clean):
    with daemon.pod() as pod:
        with refused(CODE.INVALID_ARGUMENT, CODE.UNKNOWN) as caught:
            pod.create(busybox, ['true'], mounts=mount(daemon.pb, volume[0], sub_path))
        assert caught.value.details().startswith('ImageVolumeMountFailed')
        assert not daemon.cri.ListContainers().containers


@pytest.mark.ours
def test_refusals(daemon, busybox, volume):
    pb, ref = daemon.pb, volume[0]
    with daemon.pod() as pod:
        for wrong in (mount(pb, ref, readonly=False), mount(pb, ref, propagation=1),
                      mount(pb, ref, host_path='/tmp')):
            with refused(CODE.INVALID_ARGUMENT) as caught:
                pod.create(busybox, ['true'], mounts=wrong)
            assert caught.value.details().startswith('ImageVolumeMountFailed')
        with refused(CODE.NOT_FOUND, words=['pull']):
            pod.create(busybox, ['true'], mounts=mount(pb, 'localhost/not/here:1'))


@pytest.mark.ours
def test_layers_stay_while_the_container_does(own_daemon, images, busybox):
    """Also over restarts of the daemon and the removal of the image."""
    daemon, pb = own_daemon, own_daemon.pb
    ref = images.push(Image(layers(2)), 'held')
    image_id = daemon.pull(ref)[0]
    pod = daemon.pod()
    container = pod.run(busybox, ['sleep', '100'], mounts=mount(pb, ref))
    daemon.cri.RemoveImage(image=pb.ImageSpec(image=image_id))
    daemon.runtime.stop()
    daemon.start()
    container.cri = pod.cri = daemon.cri
    assert container.sh('cat /volume/top /volume/data/more') == 'topmore'
    assert container.status().mounts[0].image.image_ref == image_id
    used = daemon.cri.ImageFsInfo().image_filesystems[0].inodes_used.value
    container.remove()
    assert daemon.cri.ImageFsInfo().image_filesystems[0].inodes_used.value < used
    pod.remove()
