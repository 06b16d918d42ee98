"""image rm --remote: manifests out of their registry."""

import json

import pytest

import images as recipes
from fake_registry import Fake

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


def test_by_tag_and_digest(daemon, images, clean):
    one, two = recipes.marked('remote-1'), recipes.marked('remote-2')
    for image, tags in ((one, ('a', 'b')), (two, ('c', 'd'))):
        for tag in tags:
            images.push(image, 'remote', tag)
    repository = images.ref('remote').rsplit(':', 1)[0]
    rm = daemon.runtime.cli
    assert rm('image', 'rm', '--remote', repository + ':a').stdout.strip() == one.digest()
    for gone in (':a', ':b', '@' + one.digest()):
        assert rm('image', 'pull', '-q', repository + gone, check=False).returncode == 1
    done = rm('image', 'rm', '--remote', repository + ':a', check=False)
    assert done.returncode == 1 and repository + ':a' in done.stderr, done
    assert rm('image', 'rm', '--remote', '--force', repository + ':a').stdout == ''
    assert images.pusher.request('HEAD', f'/v2/remote/manifests/{two.digest()}', headers={'Accept': two.media_type()})[0].status == 200
    assert json.loads(rm('-o', 'json', 'image', 'rm', '--remote', f'{repository}@{two.digest()}').stdout) == [two.digest()]
    assert images.pusher.request('HEAD', f'/v2/remote/manifests/{two.digest()}', headers={'Accept': two.media_type()})[0].status == 404


def test_refused(daemon):
    fake = Fake()
    try:
        ref = fake.add(recipes.marked('remote-1'))
        fake.server.RequestHandlerClass.do_DELETE = fake.server.RequestHandlerClass.do_GET
        fake.when('/manifests/', lambda request: request.command == 'DELETE' and (request.answer(405), True)[1])
        done = daemon.runtime.cli('image', 'rm', '--remote', ref, check=False)
        assert done.returncode == 1 and '405' in done.stderr and 'does not allow' in done.stderr, done
    finally:
        fake.stop()
    done = daemon.runtime.cli('image', 'rm', '--remote', '-a', check=False)
    assert done.returncode == 2 and '--remote' in done.stderr
