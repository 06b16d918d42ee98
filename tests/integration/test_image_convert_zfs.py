"""image export into a ZFS dataset, and image from-rootfs of one: where there is a pool (tests/vm/snapshotters)."""

import os
import subprocess

import pytest

from test_image_convert import NAME, fixture_made, fixture_mounted, fixture_rich_image, layer_of, tree # pylint: disable=unused-import

pytestmark = [pytest.mark.ours, pytest.mark.skipif('LXCRI_TEST_ZFS' not in os.environ, reason='there is no pool')]


def test_zfs(daemon, rich_image, made, mounted, tmp_path):
    """Into a dataset, and back from it and from its snapshot. One that is there already stays as it is."""
    dataset = os.environ['LXCRI_TEST_ZFS'] + '/export'
    daemon.runtime.cli('image', 'export', '--format', 'zfs', '-o', dataset, rich_image)
    try:
        subprocess.run(['zfs', 'snapshot', dataset + '@here'], check=True)
        assert daemon.runtime.cli('image', 'export', '--format', 'zfs', '-o', dataset, rich_image, check=False).returncode == 1
        first, second = made(f'zfs:{dataset}', NAME), made(f'zfs:{dataset}@here', NAME + '-snapshot')
        assert layer_of(daemon, NAME, tmp_path)[0] == layer_of(daemon, NAME + '-snapshot', tmp_path)[0] and second
        assert tree(mounted(first)) == tree(mounted(rich_image))
        changed = os.path.join(tmp_path, 'mnt')
        os.mkdir(changed)
        for prepare in (['zfs', 'set', 'mountpoint=legacy', dataset], ['mount', '-t', 'zfs', dataset, changed]):
            subprocess.run(prepare, check=True)
            made(f'zfs:{dataset}', NAME + '-legacy')
            assert layer_of(daemon, NAME + '-legacy', tmp_path)[0] == layer_of(daemon, NAME, tmp_path)[0], prepare
        open(os.path.join(changed, 'still-writable'), 'w', encoding='ascii').close()
        subprocess.run(['umount', changed], check=True)
        names = subprocess.run(['zfs', 'list', '-H', '-o', 'name'], check=True, capture_output=True, text=True).stdout
        assert '.part' not in names
    finally:
        subprocess.run(['zfs', 'destroy', '-r', dataset], check=True)
