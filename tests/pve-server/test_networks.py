"""Network cards of containers: addresses, bridges, VLANs, firewall bridges, DHCP, changes while they run."""

import re
import socket
import subprocess

import pytest

from cts import NET, echo, inside


def test_network_goes_through_the_bridge(make_ct):
    ct = make_ct()
    pid = ct.start()
    assert echo('10.99.0.110') == b'hello\n'
    assert '1 packets received' in ct.run('ping', '-c', '1', '-W', '5', '10.99.0.1')
    link = subprocess.run(['ip', '-o', 'link', 'show', 'master', 'vmbr0'], capture_output=True, text=True, check=True)
    assert 'veth110i0' in link.stdout
    assert 'bc:24:11:01:02:03' in inside(pid, 'ip', 'link', 'show', 'eth0')
    found = ct.container.status()
    assert found['netin'] > 50 and found['netout'] > 50


def test_address_is_only_set_for_a_host_managed_card(make_ct):
    ct = make_ct()
    ct.config['net0'] = NET.replace(',host-managed=1', '')
    assert 'inet ' not in inside(ct.start(), 'ip', 'addr', 'show', 'eth0')


def test_two_containers_reach_each_other(make_ct):
    one, two = make_ct(110), make_ct(111)
    two.config['net0'] = NET.replace('01:02:03', '01:02:04').replace('0.110', '0.111')
    one.start()
    two.start()
    echo('10.99.0.111')
    assert '1 packets received' in one.run('ping', '-c', '1', '-W', '5', '10.99.0.111')


def test_firewall_card_has_bridges_of_its_own_and_they_go(make_ct):
    ct = make_ct()
    ct.config['net0'] = NET + ',firewall=1'
    ct.start()
    assert echo('10.99.0.110') == b'hello\n'
    names = re.findall(r'^\d+: ([\w.]+)', subprocess.run(['ip', '-o', 'link'], capture_output=True, text=True,
                                                         check=True).stdout, re.M)
    assert {'veth110i0', 'fwbr110i0', 'fwln110i0', 'fwpr110p0'} <= set(names)


def test_tag_separates(make_ct, request):
    request.addfinalizer(lambda: subprocess.run(['ip', 'link', 'del', 'vmbr0v5'], check=True))
    one, two = make_ct(110), make_ct(111)
    one.config['net0'] = NET + ',tag=5'
    two.config['net0'] = NET.replace('01:02:03', '01:02:04').replace('0.110', '0.111') + ',tag=5'
    one.start()
    two.start()
    assert '1 packets received' in one.run('ping', '-c', '1', '-W', '5', '10.99.0.111')
    with pytest.raises(OSError):
        socket.create_connection(('10.99.0.110', 7), 1)


@pytest.mark.parametrize('firewall', ['', ',firewall=1'])
def test_tag_separates_on_a_bridge_that_knows_vlans(make_ct, firewall):
    made = subprocess.run(['ip', 'link', 'add', 'vmbr1', 'type', 'bridge', 'vlan_filtering', '1'], capture_output=True,
                          text=True, check=False)
    if 'Operation not supported' in made.stderr:
        pytest.skip("bridges of this kernel know no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)")
    assert made.returncode == 0, made.stderr
    try:
        subprocess.run(['ip', 'link', 'set', 'vmbr1', 'up'], check=True)
        for vmid, tag in ((110, 5), (111, 5), (112, 6)):
            ct = make_ct(vmid)
            ct.config['net0'] = f'name=eth0,bridge=vmbr1,host-managed=1,ip=10.98.0.{vmid}/24,tag={tag}{firewall}'
            ct.start()
        assert '0 packets received' in ct.run('ping', '-c', '1', '-W', '1', '10.98.0.110')
        ct.container.stop()
        ct.config['net0'] = ct.config['net0'].replace('tag=6', 'tag=5')
        ct.start()
        assert '1 packets received' in ct.run('ping', '-c', '1', '-W', '5', '10.98.0.110')
    finally:
        subprocess.run(['ip', 'link', 'del', 'vmbr1'], check=True)


def test_second_family_and_mtu(make_ct):
    ct = make_ct()
    ct.config['net0'] = NET + ',ip6=fd00:99::110/64,gw6=fd00:99::1,mtu=1400'
    pid = ct.start()
    assert 'inet6 fd00:99::110/64' in inside(pid, 'ip', 'addr', 'show', 'eth0')
    assert 'mtu 1400' in inside(pid, 'ip', 'link', 'show', 'eth0')
    assert 'default via fd00:99::1' in inside(pid, 'ip', '-6', 'route')
    assert 'default via 10.99.0.1' in inside(pid, 'ip', 'route')


def test_dhcp_gives_an_address(make_ct, tmp_path):
    (tmp_path / 'leases').touch()
    (tmp_path / 'udhcpd.conf').write_text(
        f'start 10.99.0.200\nend 10.99.0.200\ninterface vmbr0\nlease_file {tmp_path}/leases\npidfile {tmp_path}/pid\n'
        'option subnet 255.255.255.0\noption router 10.99.0.1\n')
    ct = make_ct()
    ct.config['net0'] = 'name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp'
    with subprocess.Popen(['busybox', 'udhcpd', '-f', tmp_path / 'udhcpd.conf'], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as server:
        try:
            ct.start()
        finally:
            server.kill()
    assert ct.container.warnings == []
    assert echo('10.99.0.200') == b'hello\n'
    assert 'default via 10.99.0.1' in inside(ct.container.pid(), 'ip', 'route')


def test_dhcp_without_a_server_is_a_warning_and_the_container_runs(make_ct, monkeypatch):
    monkeypatch.setattr('networks.DHCP_TRIES', 1)
    ct = make_ct()
    ct.config['net0'] = 'name=eth0,bridge=vmbr0,host-managed=1,ip=dhcp'
    assert ct.start()
    warning, = ct.container.warnings
    assert warning.startswith('DHCP failed - command ')


def test_hotplug_of_cards(make_ct):
    ct = make_ct()
    pid = ct.start()
    assert ct.hotplug(net0=NET.replace('0.110', '0.150'),
                      net1='name=eth1,bridge=vmbr0,firewall=1,ip=10.99.0.160/24,host-managed=1,rate=1') == {}
    assert echo('10.99.0.150') == b'hello\n' and echo('10.99.0.160') == b'hello\n'
    with pytest.raises(OSError):
        socket.create_connection(('10.99.0.110', 7), 1)
    assert 'tbf' in subprocess.run(['tc', 'qdisc', 'show', 'dev', 'veth110i1'], capture_output=True, text=True,
                                   check=True).stdout
    assert ct.hotplug(net0='name=eth0,bridge=nope') == {
        'net0': "unable to hotplug net0: bridge 'nope' does not exist\n"}
    assert echo('10.99.0.150') == b'hello\n', 'the card that could not be changed went'
    del ct.config['net1']
    assert ct.container.hotplug(ct.config, {'net1'}) == {}
    assert 'eth1' not in inside(pid, 'ip', 'link')
