"""For pytest: the share LXCRI_TEST_SHARE=I/N of the tests, see in-shares."""

import collections
import os

import pytest


def is_skipped(item):
    return item.get_closest_marker('skip') or any(mark.args[0] for mark in item.iter_markers('skipif'))


@pytest.hookimpl(trylast=True)  # of what -k, -m and conftest.py have left
def pytest_collection_modifyitems(config, items):
    """Whole files, each for the share that has the fewest tests to run so far."""
    share, of = map(int, os.environ.get('LXCRI_TEST_SHARE', '1/1').split('/'))
    numbers, shares = collections.Counter(item.path for item in items if not is_skipped(item)), {}
    loads = [0] * of
    for file in dict.fromkeys(item.path for item in items):
        shares[file] = loads.index(min(loads))
        loads[shares[file]] += numbers[file]
    config.hook.pytest_deselected(items=[item for item in items if shares[item.path] != share - 1])
    items[:] = [item for item in items if shares[item.path] == share - 1]
