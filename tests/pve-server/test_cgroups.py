"""Cgroups where this host has none of the kind: v2's files, as plain ones."""

import pytest

import cgroups
from cgroups import Cgroups, _cpus

MIB = 1 << 20


@pytest.fixture
def v2(tmp_path, monkeypatch):
    """The cgroups of CT 101 below a root with four CPUs."""
    monkeypatch.setattr(cgroups, '_hierarchies', lambda: {'': str(tmp_path)})
    (tmp_path / 'cgroup.controllers').write_text('cpuset cpu io memory pids\n')
    (tmp_path / 'cpuset.cpus.effective').write_text('0-2,7\n')
    folder = tmp_path / 'lxc' / '101'
    (folder / 'ns').mkdir(parents=True)
    return Cgroups(101), folder


def test_cpu_lists():
    assert _cpus('0-2,7\n') == [0, 1, 2, 7] and _cpus('') == [] and _cpus('3') == [3]


def test_limits_of_v2(v2):
    groups, _ = v2
    assert groups.v2
    assert groups.limits({'memory': 64, 'swap': 32, 'cpulimit': '1.5', 'cpuunits': 300, 'cores': 2}) == [
        ('memory.max', 64 * MIB), ('memory.swap.max', 32 * MIB), ('cpu.max', '150000 100000'), ('cpu.weight', 300),
        ('cpuset.cpus', '1,2')]
    assert groups.limits({}) == [
        ('memory.max', 512 * MIB), ('memory.swap.max', 512 * MIB), ('cpu.max', 'max 100000'), ('cpu.weight', 100),
        ('cpuset.cpus', '0,1,2,7')]
    with open(groups.root('') + '/cgroup.controllers', 'w', encoding='utf-8') as f:
        f.write('pids cpu\n')
    assert groups.limits({}) == [('cpu.max', 'max 100000'), ('cpu.weight', 100)]


def test_change_and_usage_of_v2(v2):
    groups, folder = v2
    groups.change({'memory': 64, 'cores': 1})
    assert (folder / 'memory.max').read_text() == str(64 * MIB) and (folder / 'cpuset.cpus').read_text() == '1'
    assert not (folder / 'ns' / 'cpuset.cpus').exists(), 'with v2 a child has what its parent has'
    (folder / 'memory.current').write_text('5000\n')
    (folder / 'memory.stat').write_text('anon 1000\ninactive_file 2000\n')
    (folder / 'memory.swap.current').write_text('7\n')
    (folder / 'cpu.stat').write_text('usage_usec 2500000\nuser_usec 1\n')
    (folder / 'io.stat').write_text('8:0 rbytes=10 wbytes=20 rios=1 wios=2\n7:0 rbytes=1 wbytes=2 rios=1 wios=2\n')
    (folder / 'cpu.pressure').write_text('some avg10=1.50 avg60=0 total=0\nfull avg10=0.25 avg60=0 total=0\n')
    found = groups.usage()
    assert (found['mem'], found['swap'], found['cpu'], found['diskread'], found['diskwrite']) == (3000, 7, 2.5, 11, 22)
    assert (found['pressurecpusome'], found['pressurecpufull'], found['pressureiosome']) == (1.5, 0.25, None)


def test_remove_takes_empty_folders_only(v2):
    groups, folder = v2
    assert groups.remove() and not folder.exists()
    (folder / 'ns').mkdir(parents=True)
    (folder / 'ns' / 'busy').touch()
    assert not groups.remove() and folder.exists()
