"""Routes: which handler pods get that name none."""

import json
import os
import subprocess

import pytest

from test_handlers import reconfigure

pytestmark = pytest.mark.ours

HANDLERS = {name: {'engine': 'lxc'} for name in ('system', 'front', 'pictures', 'marked', 'rest')}
ROUTES = [{'namespace': 'kube-*', 'handler': 'system'},
          {'name': 'web-?', 'labels': {'tier': 'front*'}, 'handler': 'front'},
          {'image': 'docker.io/library/*', 'handler': 'pictures'},
          {'annotations': {'example.io/where': 'there'}, 'handler': 'marked'},
          {'namespace': '*', 'name': 'z*', 'handler': 'rest'}]


@pytest.fixture
def routed(own_daemon):
    reconfigure(own_daemon, **{'runtime-handlers': HANDLERS, 'routes': ROUTES})
    return own_daemon


def got(pod):
    return json.loads(pod.status(verbose=True).info['info'])['runtimeHandler']


@pytest.mark.parametrize('keys,handler', [
    ({'namespace': 'kube-system'}, 'system'),
    ({'namespace': 'kube-system', 'name': 'web-1', 'labels': {'tier': 'front'}}, 'system'),
    ({'name': 'web-1', 'labels': {'tier': 'frontend', 'more': 'x'}}, 'front'),
    ({'name': 'web-12', 'labels': {'tier': 'front'}}, 'lxc'),
    ({'name': 'web-1', 'labels': {'tier': 'back'}}, 'lxc'),
    ({'annotations': {'proxmox-lxcri.io/image': 'nginx'}}, 'pictures'),
    ({'annotations': {'proxmox-lxcri.io/image': 'registry.example/nginx'}}, 'lxc'),
    ({'annotations': {'example.io/where': 'there'}}, 'marked'),
    ({'name': 'zebra'}, 'rest'),
    ({'name': 'zebra', 'handler': 'marked'}, 'marked')])
def test_first_match_wins(routed, keys, handler):
    with routed.pod(**keys) as pod:
        assert got(pod) == handler
        assert pod.status().runtime_handler == keys.get('handler', '')  # as it was asked for


def test_a_pod_keeps_its_handler(routed):
    with routed.pod(name='zebra') as pod:
        reconfigure(routed, **{'runtime-handlers': HANDLERS, 'routes': [{'handler': 'front'}]})
        pod.cri = routed.cri
        assert got(pod) == 'rest'
        with routed.pod(name='zebra-2') as other:
            assert got(other) == 'front'


def test_explain(routed):
    cli = routed.runtime.cli
    said = cli('route', 'explain', '--name', 'web-1', '-l', 'tier=front').stdout.splitlines()
    assert said[0] == f'front (engine lxc), by route 1 of {routed.runtime.config}:1'
    assert 'namespace is "default", not kube-*' in said[2] and 'name web-?, label tier=front*' in said[3]
    assert said[3].endswith('decides') and said[6].endswith('not looked at')
    assert cli('route', 'explain', '--image', 'nginx').stdout.startswith('pictures (')
    assert cli('route', 'explain', '--annotation', 'example.io/where=there').stdout.startswith('marked (')
    assert cli('route', 'explain', '--namespace', 'x').stdout.startswith('lxc (engine lxc), the default: no route matches')
    with routed.pod(name='zebra', handler='front') as pod:
        assert cli('route', 'explain', pod.id).stdout.splitlines()[:2] == [
            'front: the pod names it itself. If it named none:', f'rest (engine lxc), by route 4 of {routed.runtime.config}:1']
    told = json.loads(cli('-o', 'json', 'route', 'explain', '--namespace', 'kube-x').stdout)
    assert told['handler'] == 'system' and told['rules'][0]['mismatch'] == ''
    assert 'not kube-*' not in told['rules'][0]['mismatch'] and 'web-?' in told['rules'][1]['mismatch']
    listed = json.loads(cli('-o', 'json', 'route', 'ls').stdout)
    assert [route['handler'] for route in listed['routes']] == [route['handler'] for route in ROUTES]
    assert listed['default_handler'] == 'lxc' and 'image docker.io/library/*' in cli('route', 'ls').stdout


@pytest.mark.parametrize('words,said', [
    (['--label', 'tier'], 'expected KEY=VALUE'), (['--annotation', '=x'], 'expected KEY=VALUE'),
    (['no-such-pod'], 'no-such-pod'), (['no-such-pod', '--name', 'x'], 'give either')])
def test_explain_refuses(routed, words, said):
    done = routed.runtime.cli('route', 'explain', *words, check=False)
    assert done.returncode != 0 and said in done.stderr, done.stderr


def test_pod_run_tells_its_image(routed, busybox):
    """The command line knows what the kubelet does not say: an image's route holds for its pods."""
    reconfigure(routed, **{'runtime-handlers': HANDLERS,
                           'routes': [{'image': busybox.split('/', maxsplit=1)[0] + '/*', 'handler': 'pictures'}]})
    cli = routed.runtime.cli
    cli('pod', 'run', '-d', '--name', 'shown', busybox, 'sleep', '100')
    info = json.loads(cli('pod', 'inspect', 'shown').stdout)[0]['info']['info']
    cli('pod', 'rm', '-f', 'shown')
    assert info['runtimeHandler'] == 'pictures'


def test_a_bad_route_fails_the_start(own_daemon):
    own_daemon.runtime.kill()
    with open(own_daemon.runtime.config, encoding='utf-8') as f:
        good = f.read()
    with open(own_daemon.runtime.config, 'w', encoding='utf-8') as f:
        json.dump({'routes': [{'namespace': 'x', 'handler': 'nobody'}]}, f)
    done = subprocess.run([os.path.join(os.path.dirname(own_daemon.runtime.program()), 'proxmox-lxcrid'), '--config',
                           own_daemon.runtime.config], check=False, stderr=subprocess.PIPE, text=True, timeout=30)
    with open(own_daemon.runtime.config, 'w', encoding='utf-8') as f:
        f.write(good)
    own_daemon.start()
    assert done.returncode == 2 and "routes[0]" in done.stderr and "'nobody' is not among the runtime-handlers" in done.stderr
