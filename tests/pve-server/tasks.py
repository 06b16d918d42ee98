"""Tasks: what a worker process does on a node, in a thread here."""

import re
import threading
import time

from errors import reason, refused


class Killed(BaseException):
    """The worker was killed (SIGKILL): nothing of it runs any more, no cleaning up, no last line in its log."""


class Interrupted(Exception):
    """The worker was asked to end (DELETE of its task)."""


class Task:
    """One task; `log` and `warn` are for the function that it runs, which may call `step` where it can be ended."""

    def __init__(self, node, number, kind, ident, caller):
        self.node, self.type, self.ident, self.caller = node, kind, ident, caller
        self.started = int(time.time())
        self.pid, self.pstart = number, int((time.time() - node.booted) * 100) & 0xffffffff
        numbers = f'{self.pid:08X}:{self.pstart:08X}:{self.started:08X}'
        self.upid = f'UPID:{node.name}:{numbers}:{kind}:{ident}:{caller.name}:'
        self.lines, self.warnings = [], 0
        self.exit, self.ended = None, None
        self.stop, self.kill_after = False, None  # how many steps until it is killed
        self.done = threading.Event()

    def log(self, text):
        for line in text.split('\n'):
            self.lines.append(line)
        self.step()

    def warn(self, text):
        self.warnings += 1
        self.log('WARN: ' + text)

    def step(self):
        """Ends the task here when that was asked for."""
        if self.kill_after is not None:
            if self.kill_after <= 0:
                raise Killed()
            self.kill_after -= 1
        if self.stop:
            raise Interrupted('received interrupt')

    def wait_for(self, function, *arguments):
        """What a function gives that takes long and knows nothing of tasks. It goes on when the task ends meanwhile."""
        outcome = []

        def run():
            try:
                outcome.append((function(*arguments), None))
            except Exception as e:  # pylint: disable=broad-except  # it is raised below
                outcome.append((None, e))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            if self.stop or self.kill_after == 0:
                self.step()
        result, error = outcome[0]
        if error:
            raise error
        return result

    def run(self, function):
        try:
            self.step()
            function(self)
            self.step()
            self.exit = f'WARNINGS: {self.warnings}' if self.warnings else 'OK'
            self.lines.append(f'TASK {self.exit}')
        except Killed:
            self.exit = 'unexpected status'
        except Exception as e:  # pylint: disable=broad-except  # whatever it is, it is how the task ended
            self.exit = reason(e)
            self.lines.append(f'TASK ERROR: {self.exit}')
        self.ended = int(time.time())
        self.done.set()

    @property
    def ok(self):
        return self.exit == 'OK' or bool(self.exit and self.exit.startswith('WARNINGS: '))

    def summary(self):
        """As lists of tasks have it."""
        found = {'upid': self.upid, 'node': self.node.name, 'type': self.type, 'id': self.ident,
                 'user': self.caller.user,
                 'starttime': self.started}
        if self.caller.token:
            found['tokenid'] = self.caller.token
        if self.ended:
            found.update(endtime=self.ended, status=self.exit)
        return found

    def status(self):
        """As GET .../status has it."""
        found = self.summary()
        found.pop('endtime', None)
        found.update(pid=self.pid, pstart=self.pstart, status='stopped' if self.ended else 'running')
        if self.ended:
            found['exitstatus'] = self.exit
        return found


class Tasks:
    """The tasks of all nodes, oldest first."""

    KEPT = 5000

    def __init__(self):
        self.all = {}
        self.lock = threading.Lock()
        self.numbers = {}
        self.on_start = lambda task: None  # set by the faults

    def start(self, node, kind, ident, caller, function):
        """The UPID of a new task that runs function(task)."""
        with self.lock:
            number = self.numbers[node.name] = self.numbers.get(node.name, 0x200) + 1
            task = Task(node, number, kind, str(ident), caller)
            self.all[task.upid] = task
            for old in [one for one in list(self.all.values())[:-self.KEPT] if one.ended]:
                del self.all[old.upid]
        self.on_start(task)
        threading.Thread(target=task.run, args=(function,), daemon=True, name=task.upid).start()
        return task.upid

    def find(self, node, upid):
        """The task, which must be of that node."""
        match = re.fullmatch(r'UPID:([^:]+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:', upid)
        if not match:
            raise refused({'upid': f"unable to parse worker upid '{upid}'\n"})
        with self.lock:
            task = self.all.get(upid)
        if task is None or match[1] != node:
            raise refused({'upid': 'no such task'})
        return task

    def list(self):
        with self.lock:
            return list(reversed(self.all.values()))

    def wait_all(self, seconds):
        """Wait until none runs; what still does is returned."""
        until = time.monotonic() + seconds
        for task in self.list():
            task.done.wait(max(0, until - time.monotonic()))
        return [task for task in self.list() if not task.ended]
