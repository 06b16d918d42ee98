"""Small things that several tests use."""

import contextlib
import os
import random
import re
import subprocess
import threading
import time

import grpc
import pytest

from patience import SLOW


@contextlib.contextmanager
def refused(*codes, words=()):
    """The RPC inside fails with one of the codes and a message that has the words."""
    with pytest.raises(grpc.RpcError) as caught:
        yield caught
    error = caught.value
    assert error.code() in codes, f'{error.code()}: {error.details()}'
    assert error.details(), 'an error without a message'
    for word in words:
        assert word.lower() in error.details().lower(), error.details()


CODE = grpc.StatusCode
SNAPSHOTTER = os.environ.get('LXCRI_TEST_SNAPSHOTTER', 'overlay')
CRASHES = int(os.environ.get('LXCRI_CRASHES', '8'))


def kills(daemon, seed, within, action):
    """For each turn: action(turn) in a thread of its own, kill -9 of the daemon up to `within` seconds later, and a new one is there."""
    chance = random.Random(seed)
    for turn in range(CRASHES):
        thread = threading.Thread(target=action, args=(turn,))
        thread.start()
        time.sleep(chance.uniform(0, within))
        daemon.runtime.kill()
        thread.join()
        daemon.start()
        yield turn


def overlay_alone(why):
    """Of tests/integration/run --snapshotter and --idmap."""
    return pytest.mark.skipif(SNAPSHOTTER != 'overlay' or os.environ.get('LXCRI_TEST_IDMAP') == 'chown', reason=why)


def cgroup_top(controller):
    """Where the controller's hierarchy is mounted, and whether it is cgroup v2's; v2's where v1 has no such."""
    v2 = None
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        for line in f:
            if ' - cgroup ' in line and controller in line.split()[-1].split(','):
                return line.split()[4], False
            if ' - cgroup2 ' in line:
                v2 = v2 or line.split()[4]
    return v2, True


def containerd_has_metrics():
    """containerd 1.6 finds none where a hierarchy of cgroup v1 is in use that is not mounted here (net_cls, by another test)."""
    with open('/proc/self/cgroup', encoding='utf-8') as f:
        names = [line.split(':')[1] for line in f]
    return all(cgroup_top(name.split(',')[0])[1] is False for name in names if name and '=' not in name)


def cgroup_folder(pid, controller):
    """The folder of a process' control group for that controller, and whether it is of cgroup v2."""
    top, is_v2 = cgroup_top(controller)
    with open(f'/proc/{pid}/cgroup', encoding='utf-8') as f:
        for line in f:
            _, names, path = line.rstrip('\n').split(':', 2)
            if (names == '') if is_v2 else controller in names.split(','):
                return top + path, is_v2
    raise AssertionError(f'no group of {controller} for {pid}')


def cgroup_file(container, v1, v2):
    """A file of the container's own control group, seen from the host: v1 is controller/file."""
    controller, name = v1.split('/')
    folder, is_v2 = cgroup_folder(container.pid(), controller)
    with open(os.path.join(folder, v2 if is_v2 else name), encoding='utf-8') as f:
        return f.read().strip()


def bash_completes(program, *words):
    """What the completion offers for the last word, or for its part behind the last colon: bash makes words of such parts."""
    parts = [part for word in words for part in re.findall('[^:]+|:', word) or ['']]
    script = f"""
        PATH={os.path.dirname(program)}:$PATH
        source <(proxmox-lxcri completion bash)
        COMP_LINE=$1; COMP_POINT=${{#COMP_LINE}}; shift
        COMP_WORDS=(proxmox-lxcri "$@"); COMP_CWORD=$#; COMP_WORDBREAKS=:
        compopt() {{ :; }}
        _proxmox_lxcri; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(['bash', '-c', script, 'bash', ' '.join(['proxmox-lxcri', *words]), *parts], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60 * SLOW)
    return set(done.stdout.split())
