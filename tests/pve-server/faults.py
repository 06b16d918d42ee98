"""Faults on demand, and at random.

A rule says which requests ({'method', 'path': a regular expression, 'node'}), how many of them ('count', all when left
out) or which part ('probability'), and what happens:

    hang          nothing is done and nothing answered (for 'seconds', else until the client goes)
    hang-after    it is done and never answered
    reset         the connection is reset and nothing done
    reset-after   it is done, and the connection reset instead of an answer
    status        nothing is done, and 'status' and 'reason' answered (502 Bad Gateway ...)
    status-after  it is done, and that answered
    slow          it is done 'seconds' later
    lock          the lock of the container's configuration can't be had: Proxmox' error, at once
    kill          the task that it starts is killed after 'steps' lines of its log
"""

import random
import re
import threading

KINDS = {'hang', 'hang-after', 'reset', 'reset-after', 'status', 'status-after', 'slow', 'lock', 'kill'}


class Rule:
    """One rule, as the control socket gets it."""

    def __init__(self, fault, method=None, path=None, node=None, count=None, probability=1, seconds=None, status=502,
                 reason='Bad Gateway', steps=0):
        if fault not in KINDS:
            raise ValueError(f'no fault {fault!r}: there are {", ".join(sorted(KINDS))}')
        self.fault, self.method, self.node, self.count, self.probability = fault, method, node, count, probability
        self.path = re.compile(path or '')
        self.seconds, self.status, self.reason, self.steps = seconds, status, reason, steps

    def fits(self, method, path, node):
        return (self.count != 0 and self.method in (None, method) and self.node in (None, node)
                and self.path.search(path))


class Faults:
    """The rules in force; the first that fits a request is it."""

    def __init__(self):
        self.rules, self.lock, self.random = [], threading.Lock(), random.Random(0)
        self.here = threading.local()  # the rule of the request that this thread answers

    def add(self, **rule):
        with self.lock:
            self.rules.append(Rule(**rule))

    def seed(self, seed):
        with self.lock:
            self.random.seed(seed)

    def clear(self):
        with self.lock:
            self.rules.clear()

    def draw(self, method, path, node):
        """The rule that strikes this request, or None."""
        with self.lock:
            for rule in self.rules:
                if rule.fits(method, path, node) and (rule.probability >= 1 or self.random.random() < rule.probability):
                    if rule.count is not None:
                        rule.count -= 1
                    return rule
        return None

    def strikes(self, fault):
        """Whether the request that this thread answers is struck by that fault."""
        rule = getattr(self.here, 'rule', None)
        return rule if rule and rule.fault == fault else None

    def task_starts(self, task):
        if rule := self.strikes('kill'):
            task.kill_after = rule.steps
