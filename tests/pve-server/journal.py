"""What was asked of the server, for tests to count and look at."""

import json
import threading
import time

SECRETS = {'password', 'otp', 'tfa-challenge', 'token', 'keys', 'ssh-public-keys', 'env'}


class Journal:
    """Entries {time, node, method, path, caller, parameters, status, reason, seconds, fault}, oldest first."""

    KEPT = 100000

    def __init__(self, path=None):
        self.entries, self.lock = [], threading.Lock()
        self.file = open(path, 'a', encoding='utf-8') if path else None  # pylint: disable=consider-using-with

    def add(self, **entry):
        given = entry.get('parameters') or {}
        entry['parameters'] = {name: '***' if name in SECRETS else value for name, value in given.items()}
        entry['time'] = time.time()
        with self.lock:
            self.entries.append(entry)
            del self.entries[:-self.KEPT]
            if self.file:
                self.file.write(json.dumps(entry) + '\n')
                self.file.flush()

    def take(self, clear=False):
        with self.lock:
            found = list(self.entries)
            if clear:
                self.entries.clear()
            return found

    def close(self):
        if self.file:
            self.file.close()
