"""Version, Status, RuntimeConfig, and what is not there."""

import json
import re

import grpc
import pytest


def test_version_is_what_kubelet_accepts(daemon):
    version = daemon.cri.Version()
    assert version.version == '0.1.0'
    assert version.runtime_api_version == 'v1'
    assert version.runtime_name
    assert re.match(r'v?\d+\.\d+\.\d+', version.runtime_version)


def test_status_is_ready(daemon):
    status = daemon.cri.Status()
    conditions = {c.type: c for c in status.status.conditions}
    assert conditions['RuntimeReady'].status
    assert conditions['NetworkReady'].status, conditions['NetworkReady']
    assert not status.info


@pytest.mark.ours
def test_status_names_handlers(daemon):
    names = [h.name for h in daemon.cri.Status().runtime_handlers]
    assert '' in names and 'lxc' in names


@pytest.mark.ours
def test_verbose_status_has_the_state_folder(daemon):
    info = daemon.cri.Status(verbose=True).info
    config = json.loads(info['config'])
    assert config['stateDir'] == daemon.runtime.state


@pytest.mark.ours
def test_runtime_config_names_the_cgroup_driver(daemon, pb):
    assert daemon.cri.RuntimeConfig().linux.cgroup_driver in (pb.SYSTEMD, pb.CGROUPFS)


@pytest.mark.ours
@pytest.mark.parametrize('rpc', ['CheckpointContainer', 'CheckpointPod', 'RestorePod'])
def test_rpcs_of_later_answer_unimplemented(daemon, rpc):
    with pytest.raises(grpc.RpcError) as error:
        getattr(daemon.cri, rpc)()
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert error.value.details()
