"""Tasks, without the rest of the server."""

import threading

import pytest

from access import ROOT, Caller
from errors import ApiError, failed
from tasks import Tasks

NODE = type('Node', (), {'name': 'pve1', 'booted': 0})


def ended(function, caller=ROOT):
    tasks = Tasks()
    task = tasks.find('pve1', tasks.start(NODE, 'vzstart', 100, caller, function))
    assert task.done.wait(60)
    return task


def test_ends():
    task = ended(lambda task: task.log('one\ntwo'))
    assert (task.exit, task.lines, task.ok) == ('OK', ['one', 'two', 'TASK OK'], True)
    task = ended(lambda task: task.warn('DHCP failed'))
    assert (task.exit, task.lines, task.ok) == ('WARNINGS: 1', ['WARN: DHCP failed', 'TASK WARNINGS: 1'], True)

    def fail(_):
        raise failed('CT is locked (disk)')
    task = ended(fail)
    assert (task.exit, task.lines, task.ok) == ('CT is locked (disk)', ['TASK ERROR: CT is locked (disk)'], False)
    assert task.status()['exitstatus'] == 'CT is locked (disk)' and task.status()['status'] == 'stopped'


def test_killed_leaves_all_as_it_is():
    """Like SIGKILL: nothing cleans up, and the log has no last line."""
    cleaned, go = [], threading.Event()

    def work(task):
        try:
            go.wait(60)
            task.log('on the way')
        except Exception:
            cleaned.append(1)
            raise
    tasks = Tasks()
    task = tasks.find('pve1', tasks.start(NODE, 'vzcreate', 100, ROOT, work))
    task.kill_after = 0
    go.set()
    assert task.done.wait(60)
    assert (task.exit, task.lines, cleaned, task.ok) == ('unexpected status', ['on the way'], [], False)


def test_interrupted_cleans_up():
    cleaned, go = [], threading.Event()

    def work(task):
        try:
            go.wait(60)
            task.step()
        except Exception:
            cleaned.append(1)
            raise
    tasks = Tasks()
    task = tasks.find('pve1', tasks.start(NODE, 'vzdump', 100, ROOT, work))
    task.stop = True
    go.set()
    assert task.done.wait(60)
    assert (task.exit, cleaned) == ('received interrupt', [1])


def test_upid():
    task = ended(lambda _: None, Caller('root@pam', 'k8s'))
    kind = task.upid.split(':')
    assert kind[0] == 'UPID' and kind[1] == 'pve1' and [len(part) for part in kind[2:5]] == [8, 8, 8]
    assert kind[5:] == ['vzstart', '100', 'root@pam!k8s', '']
    assert {'user': 'root@pam', 'tokenid': 'k8s', 'id': '100', 'node': 'pve1'}.items() <= task.status().items()
    with pytest.raises(ApiError) as e:
        Tasks().find('pve1', 'UPID:pve1:00000000:00000000:00000000:x::root@pam:')
    assert e.value.errors == {'upid': 'no such task'}
    with pytest.raises(ApiError) as e:
        Tasks().find('pve1', 'nonsense')
    assert e.value.errors == {'upid': "unable to parse worker upid 'nonsense'\n"}


def test_running_has_no_exit_status():
    go = threading.Event()
    tasks = Tasks()
    task = tasks.find('pve1', tasks.start(NODE, 'vzstart', 100, ROOT, lambda _: go.wait(60)))
    assert task.status()['status'] == 'running'
    assert 'exitstatus' not in task.status() and 'endtime' not in task.summary()
    assert tasks.wait_all(0) == [task]
    go.set()
    assert not tasks.wait_all(60)
