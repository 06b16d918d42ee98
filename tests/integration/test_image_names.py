"""image tag, untag and tags: names of images, here and in a registry."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

import images as recipes
from fake_registry import Fake

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


@pytest.fixture
def image(daemon, images):
    """An image under a name of its own."""
    ref = images.push(recipes.marked('names'), 'names')
    yield daemon.pull(ref)[0], ref
    daemon.runtime.cli('image', 'rm', '-f', ref, 'names.example/a:1', 'names.example/a:2', recipes.marked('names').id())


def tags_of(daemon, what):
    return set(daemon.cri.ImageStatus(image=daemon.pb.ImageSpec(image=what)).image.repo_tags)


def test_tag_and_untag(daemon, image, busybox, clean):
    id_, ref = image
    cli = daemon.runtime.cli
    cli('image', 'tag', ref, 'names.example/a:1', 'names.example/a:2')
    assert tags_of(daemon, id_) == {ref, 'names.example/a:1', 'names.example/a:2'}
    cli('image', 'tag', id_[7:19], 'names')  # the short name of Docker Hub
    assert 'docker.io/library/names:latest' in tags_of(daemon, id_)
    cli('image', 'untag', 'names', 'names.example/a:2', ref)
    assert tags_of(daemon, 'names.example/a:1') == {'names.example/a:1'}
    # A name moves, and what has none is still there.
    cli('image', 'tag', busybox, 'names.example/a:1')
    assert tags_of(daemon, id_) == set() and 'names.example/a:1' in tags_of(daemon, busybox)
    with daemon.pod() as pod:
        assert pod.run(id_, ['sleep', '1000']).output('cat', '/names') == 'names'
    cli('image', 'untag', 'names.example/a:1')
    assert busybox in tags_of(daemon, busybox)


def test_all_or_none(daemon, image, clean):
    id_, ref = image
    cli = daemon.runtime.cli
    for args, word in ((['tag', ref, 'names.example/a:1', 'UPPER.example/A'], 'UPPER.example/A'),
                       (['tag', ref, f'names.example/a@{id_}'], 'digest'),
                       (['tag', 'names.example/absent', 'names.example/a:1'], 'names.example/absent'),
                       (['untag', ref, 'names.example/absent'], 'names.example/absent:latest')):
        done = cli('image', *args, check=False)
        assert done.returncode == 1 and word in done.stderr, done
        assert tags_of(daemon, id_) == {ref}


def test_names_outlive_a_kill(own_daemon, images):
    ref = images.push(recipes.marked('names'), 'names')
    id_ = own_daemon.pull(ref)[0]
    own_daemon.runtime.cli('image', 'tag', ref, 'names.example/a:1')
    own_daemon.runtime.cli('image', 'untag', ref)
    own_daemon.runtime.kill()
    own_daemon.start()
    assert tags_of(own_daemon, id_) == {'names.example/a:1'}


def test_tags_of_a_registry(daemon, images):
    names = [f'v{i}' for i in range(5)]
    for name in names:
        images.push(recipes.marked('names'), 'many', name)
    repository = images.ref('many').rsplit(':', 1)[0]
    assert sorted(daemon.runtime.cli('image', 'tags', repository).stdout.split()) == names
    assert sorted(json.loads(daemon.runtime.cli('image', 'tags', '-o', 'json', repository).stdout)) == names
    for wrong, word in ((repository + 'absent', 'manyabsent'), (repository + ':v1', 'without tag'), ('127.0.0.1:1/x', '127.0.0.1:1')):
        done = daemon.runtime.cli('image', 'tags', wrong, check=False)
        assert done.returncode == 1 and word in done.stderr, done


@pytest.mark.parametrize('form', ['/v2/x/tags/list?n=10&last={last}', '/v2/x/tags/list?n=10&token={token}', 'http://inside.invalid/v2/x/tags/list?last={last}'],
                         ids=['last', 'token', 'elsewhere'])
def test_tags_in_pages(daemon, form):
    """As registries give them: at most as many as they like, and a Link while there are more, to be taken as it is."""
    fake, names = Fake(), [f't{i:04}' for i in range(25)]

    def page(request):
        query = parse_qs(urlsplit(request.path).query)
        if '{token}' in form:  # the last tag is nothing to it
            first = int(query.get('token', '0')[0])
        else:
            first = names.index(query['last'][0]) + 1 if 'last' in query else 0
        more = {'Link': f'<{form}>; rel="next"'.format(last=names[first + 9], token=first + 10)} if first + 10 < len(names) else {}
        request.answer(200, json.dumps({'name': 'x', 'tags': names[first:first + 10]}), **more)
        return True

    fake.when('/tags/list', page)
    try:
        assert daemon.runtime.cli('image', 'tags', fake.address + '/x').stdout.split() == names
    finally:
        fake.stop()


@pytest.mark.parametrize('body, word', [
    ('{"tags": [', 'tags'), ('[]', 'tags'), ('{"tags": {"a": 1}}', 'tags'),
    ('{"tags": [%s]}' % ','.join(f'"t{i}"' for i in range(20001)), '20000'), ('x' * (5 << 20), 'bytes'),
], ids=['cut', 'list', 'object', 'many', 'long'])
def test_lists_that_are_none(daemon, body, word):
    fake = Fake()
    fake.when('/tags/list', lambda request: request.answer(200, body) or True)
    try:
        done = daemon.runtime.cli('image', 'tags', fake.address + '/x', check=False)
        assert done.returncode == 1 and word in done.stderr, done
    finally:
        fake.stop()


def test_lists_without_end(daemon):
    """One that always promises more is left when it brings nothing new; what is no tag is left out."""
    fake = Fake()
    fake.when('/tags/list', lambda request: request.answer(
        200, '{"tags": ["a", "\\u001b[2Jx", 5, "b"]}', Link='</v2/x/tags/list?n=1&last=b>; rel="next"') or True)
    try:
        assert daemon.runtime.cli('image', 'tags', fake.address + '/x').stdout == 'a\nb\n'
        assert len(fake.requests) < 10
    finally:
        fake.stop()
