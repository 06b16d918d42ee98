"""checkpoint and restore that are refused before CRIU is asked: on each host, also where CRIU does not work."""

import pytest

from bundle import Refused, cgroups
from test_oci_checkpoint import Counter


def test_why_it_is_refused(oci, tmp_path):
    """Each refusal says what is missing, and changes nothing."""
    counter = Counter(oci).up()
    (tmp_path / 'empty').mkdir()
    done = oci.result('checkpoint', *counter.flags, counter.box.id, env={'PATH': str(tmp_path / 'empty')})
    assert done.returncode == 1 and 'install CRIU' in done.stderr, done.stderr
    for flags, word in ((['--parent-path', '/x'], 'must be relative'), (['--parent-path', 'none'], 'none'),
                        (['--manage-cgroups-mode', 'x'], 'manage-cgroups-mode'), (['--empty-ns', 'pid'], 'empty-ns')):
        with pytest.raises(Refused) as caught:
            counter.checkpoint(*flags)
        assert word in caught.value.text
    counter.goes_on()
    other = Counter(oci)
    other.box.write()
    groups = cgroups()
    done = oci.result('restore', '--bundle', other.box.bundle, '--image-path', str(tmp_path / 'none'), other.box.id)
    assert done.returncode == 1 and str(tmp_path / 'none') in done.stderr, done.stderr
    done = oci.result('restore', '--bundle', other.box.bundle, *counter.flags, other.box.id, env={'PATH': str(tmp_path / 'empty')})
    assert done.returncode == 1, done.stderr
    assert not oci.knows(other.box.id) and cgroups() == groups
    counter.end()
