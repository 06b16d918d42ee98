"""A client for tests that shows all of an answer: status, reason, headers, body."""

import http.client
import json
import os
import socket
import ssl
import time
import urllib.parse

SLOW = int(os.environ.get('LXCRI_SLOW', '1'))
TIMEOUT = 60 * SLOW


class Answer:
    """One answer."""

    def __init__(self, response):
        self.status, self.reason = response.status, response.reason
        self.headers, self.text = response.headers, response.read()
        is_json = (self.headers.get('Content-Type') or '').startswith('application/json')
        self.body = json.loads(self.text) if is_json else None

    @property
    def line(self):
        return f'{self.status} {self.reason}'

    @property
    def data(self):
        assert self.status == 200, f'{self.line} {self.text!r}'
        return self.body['data']

    @property
    def errors(self):
        return self.body.get('errors', {})


def encoded(parameters):
    return urllib.parse.urlencode({key: value for key, value in parameters.items() if value is not None}, doseq=True)


class Client:
    """Keeps one connection to one node. Without `token` and `headers` it is nobody."""

    def __init__(self, node, token=None, headers=None, timeout=TIMEOUT):
        self.node, self.timeout = node, timeout
        self.headers = dict(headers or {})
        if token:
            self.headers['Authorization'] = f'PVEAPIToken={token}'
        self.connection = self.connect()

    def connect(self):
        context = ssl.create_default_context(cafile=self.node.certificate)
        return http.client.HTTPSConnection(self.node.address, self.node.port, context=context, timeout=self.timeout)

    def send(self, method, path, body=None, headers=None):
        """A request as it is."""
        self.connection.request(method, path, body, {**self.headers, **(headers or {})})
        return Answer(self.connection.getresponse())

    def call(self, method, path, parameters=None):
        """A call with form-encoded parameters: in the query of GET and DELETE."""
        path, text = '/api2/json' + path, encoded(parameters or {})
        if method in ('GET', 'DELETE', 'PATCH'):
            return self.send(method, path + ('?' + text if text else ''))
        return self.send(method, path, text, {'Content-Type': 'application/x-www-form-urlencoded'})

    def get(self, path, /, **parameters):
        return self.call('GET', path, parameters)

    def post(self, path, /, **parameters):
        return self.call('POST', path, parameters)

    def put(self, path, /, **parameters):
        return self.call('PUT', path, parameters)

    def delete(self, path, /, **parameters):
        return self.call('DELETE', path, parameters)

    def upload(self, path, filename, content, /, **fields):
        """A multipart form with a file."""
        parts = [f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                 for name, value in fields.items()]
        parts.append(f'--XX\r\nContent-Disposition: form-data; name="filename"; filename="{filename}"\r\n'
                     'Content-Type: application/octet-stream\r\n\r\n'.encode() + content + b'\r\n--XX--\r\n')
        return self.send('POST', '/api2/json' + path, b''.join(parts),
                         {'Content-Type': 'multipart/form-data; boundary=XX'})

    def wait(self, upid, seconds=TIMEOUT):
        """The status of a task once it ended."""
        node, until = upid.split(':')[1], time.monotonic() + seconds
        while time.monotonic() < until:
            status = self.get(f'/nodes/{node}/tasks/{upid}/status').data
            if status['status'] == 'stopped':
                return status
            time.sleep(0.02)
        raise AssertionError(f'{upid} still runs after {seconds} s')

    def task(self, method, path, /, **parameters):
        """Calls, waits for the task that it starts, and gives its exit status; the reason when no task started."""
        answer = self.call(method, path, parameters)
        if answer.status != 200:
            return answer.reason
        assert answer.data.startswith('UPID:'), answer.data
        return self.wait(answer.data)['exitstatus']

    def log(self, upid):
        return [line['t'] for line in self.get(f'/nodes/{upid.split(":")[1]}/tasks/{upid}/log', limit=0).data]


class Control:
    """The control socket: control.do('fault', fault='reset', count=1)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.lines = self.socket.makefile('rw', encoding='utf-8')

    def do(self, what, **given):
        self.lines.write(json.dumps({'do': what, **given}) + '\n')
        self.lines.flush()
        answer = json.loads(self.lines.readline())
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer['ok']

    def close(self):
        self.lines.close()
        self.socket.close()
