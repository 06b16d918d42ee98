"""rewrite: what repositories are called on mirrors."""

import os
import subprocess

import pytest

import images as recipes
from conftest import Daemon, make_daemon
from fake_registry import Fake

pytestmark = [pytest.mark.ours, pytest.mark.same_anywhere]


def test_rewrites(images, registry, top, pb, clean):
    """The first pattern that matches, on mirrors alone; what none matches is called there as it is called here."""
    made = recipes.marked('rewrite')
    for name in ('proxy/hub/nginx', 'pre/team/app', 'pre/second/x'):
        images.push(made, name)
    home = Fake()  # the registry itself, whose mirror the other is
    daemon = Daemon(make_daemon(top, 'rewrite', registry, cgroup_parent=f'{os.environ["LXCRI_TEST_ID"]}-rewrite', bridge='lxcrirw', registries=[
        {'host': home.address, 'mirrors': [registry.address], 'rewrite': {
            '^library/(.*)': 'proxy/hub/$1', '^(team/.*)$': 'pre/$1', '^team': 'wrong', '^first/': 'pre/second/'}}]), pb)
    try:
        for name in ('library/nginx', 'team/app', 'first/x', 'pre/team/app'):
            daemon.runtime.cli('image', 'pull', '-q', f'{home.address}/{name}:1')
        assert not home.requests
        own = home.add(recipes.marked('rewrite-own'))  # which is not on the mirror: it is asked for by its own name
        daemon.runtime.cli('image', 'pull', '-q', own)
        assert any('/v2/fake/manifests/1' in path for _, path, _ in home.requests)
    finally:
        daemon.stop()
        home.stop()


@pytest.mark.parametrize('rewrite, word', [('{"(": x}', 'regular expression'), ('[a]', 'mapping'), ('{a: [b]}', 'replacement'), ('x', 'mapping')])
def test_what_is_none(daemon, tmp_path, rewrite, word):
    file = tmp_path / 'config.yaml'
    file.write_text(f'registries:\n - host: a.example\n   rewrite: {rewrite}\n')
    done = subprocess.run([daemon.runtime.program('proxmox-lxcrid'), 'config', 'check', str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0 and word in done.stderr and 'config.yaml:' in done.stderr, done
