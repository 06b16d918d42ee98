"""The HTTP side: status lines, bodies, who calls, uploads, connections."""

import http.client
import json
import threading
import time

import pytest

from client import Client

LXC = '/nodes/pve1/lxc'


def as_form(body, **headers):
    return body, {'Content-Type': 'application/x-www-form-urlencoded', **headers}


def test_what_is_not_there(client):
    answer = client.get('/nope')
    assert answer.line == "501 Method 'GET /nope' not implemented"
    assert answer.body == {'data': None, 'message': "Method 'GET /nope' not implemented"}
    assert client.put('/nodes/pve1/lxc').line == "501 Method 'PUT /nodes/pve1/lxc' not implemented"
    answer = client.call('PATCH', LXC)
    assert answer.line == "501 method 'PATCH' not available" and answer.body is None
    assert client.get('/nodes/pve9/lxc').line == ("500 hostname lookup 'pve9' failed - failed to get address info for: "
                                                  'pve9: Temporary failure in name resolution')


def test_delete_takes_no_body(client):
    answer = client.send('DELETE', '/api2/json' + LXC + '/100', *as_form('purge=1'))
    assert answer.line == "501 Unexpected content for method 'DELETE'"
    assert answer.text == b"Unexpected content for method 'DELETE'"
    assert client.delete(LXC + '/100', purge=1).line == \
        "500 Configuration file 'nodes/pve1/lxc/100.conf' does not exist"


def test_bodies(client):
    """Form and JSON bodies are the same call; a raw ; separates, and a NUL passes."""
    for userid in ('form@pve', 'json@pve'):
        client.delete(f'/access/users/{userid}')
    put = '/api2/json/access/users/form@pve'
    assert client.post('/access/users', userid='form@pve', comment='a=b;c&d é').status == 200
    assert client.get('/access/users/form@pve').data['comment'] == 'a=b;c&d é'
    assert client.send('PUT', put, *as_form('comment=raw é'.encode())).status == 200
    assert client.get('/access/users/form@pve').data['comment'] == 'raw é'
    assert client.send('PUT', put, *as_form('comment=a;firstname=b')).status == 200
    assert client.get('/access/users/form@pve').data['firstname'] == 'b'
    body = json.dumps({'userid': 'json@pve', 'comment': 'a\0b', 'enable': True, 'expire': 4000000000})
    assert client.send('POST', '/api2/json/access/users', body, {'Content-Type': 'application/json'}).status == 200
    user = client.get('/access/users/json@pve').data
    assert (user['comment'], user['enable'], user['expire']) == ('a\0b', 1, 4000000000)
    assert client.put('/access/users/form@pve', comment='x\0y').status == 200
    assert client.get('/access/users/form@pve').data['comment'] == 'x\0y'
    # Twice the same name is a list, which most parameters are not.
    answer = client.send('PUT', put, *as_form('comment=a&comment=b'))
    assert answer.errors == {'comment': "type check ('string') failed - got ARRAY"}
    assert client.send('POST', '/api2/json/access/users', '[1]', {'Content-Type': 'application/json'}).status == 400
    assert client.send('POST', '/api2/json/access/users', 'x' * 600000, {}).line == '501 for data too large'


def test_path_and_body_must_agree(client):
    answer = client.put('/access/users/form@pve', userid='other@pve')
    assert answer.errors == {'userid': 'duplicate parameter (already defined in URI) with conflicting values!'}


def test_connection_is_kept(client):
    client.get('/version')
    before = client.connection.sock
    assert client.get('/nope').status == 501
    assert client.get('/version').headers['Connection'] == 'Keep-Alive'
    assert client.connection.sock is before


@pytest.mark.parametrize('headers, reason', [
    ({}, 'No ticket'),
    ({'Authorization': 'Bearer x'}, 'No ticket'),
    ({'Cookie': 'PVEAuthCookie='}, 'No ticket'),
    ({'Authorization': 'PVEAPIToken=root@pam!test=wrong'}, 'Authentication failed!'),
    ({'Authorization': 'PVEAPIToken=nonsense'}, 'Authentication failed!'),
    ({'Cookie': 'PVEAuthCookie=PVE:root@pam:00000000::x'}, 'permission denied - invalid PVE ticket'),
])
def test_nobody(server, headers, reason):
    """401 says so in its reason, has no body, and takes its time."""
    began = time.monotonic()
    answer = Client(server.cluster.nodes['pve1'], headers=headers).get('/nodes')
    assert (answer.status, answer.reason, answer.text) == (401, reason, b'')
    assert answer.headers['Connection'] == 'close'
    assert time.monotonic() - began >= 3 * server.cluster.pace


def test_ticket(server, client, control):
    control.do('user', user='root@pam', password='right and long')
    anyone = Client(server.cluster.nodes['pve2'])
    answer = anyone.post('/access/ticket', username='root@pam', password='wrong')
    assert (answer.line, answer.body) == ('401 authentication failure',
                                          {'data': None, 'message': 'authentication failure\n'})
    got = anyone.post('/access/ticket', username='root@pam', password='right and long').data
    cookie = {'Cookie': f'PVEAuthCookie={got["ticket"]}'}
    assert Client(server.cluster.nodes['pve1'], headers=cookie).get('/version').status == 200
    assert Client(server.cluster.nodes['pve1'], headers=cookie).post('/pools', poolid='a').line == \
        '401 Permission denied - invalid csrf token'
    full = Client(server.cluster.nodes['pve1'], headers={**cookie, 'CSRFPreventionToken': got['CSRFPreventionToken']})
    assert full.post('/pools', poolid='a').status == 200
    assert full.delete('/pools', poolid='a').status == 200
    # A ticket renews itself; an old one is none.
    assert anyone.post('/access/ticket', username='root@pam', password=got['ticket']).status == 200
    old = server.cluster.access.ticket('root@pam', time.time() - 7201)['ticket']
    assert Client(server.cluster.nodes['pve1'],
                  headers={'Cookie': f'PVEAuthCookie={old}'}).get('/version').status == 401
    assert client.post('/access/ticket', username='root@pam', password='right and long').status == 200


def test_upload(server, client):
    content = bytes(range(256)) * 1000 + b'\r\n--X\r\n'
    path = '/nodes/pve1/storage/local/upload'
    upid = client.upload(path, 'my template.tar', content, content='vztmpl').data
    assert client.wait(upid)['exitstatus'] == 'OK' and upid.split(':')[5] == 'imgcopy'
    with open(server.cluster.nodes['pve1'].storages['local'].path('local:vztmpl/my_template.tar'), 'rb') as file:
        assert file.read() == content
    listed = client.get('/nodes/pve1/storage/local/content', content='vztmpl').data
    assert {'volid': 'local:vztmpl/my_template.tar', 'size': len(content)}.items() <= next(
        entry for entry in listed if 'my_template' in entry['volid']).items()
    # Uploads replace what is there.
    assert client.wait(client.upload(path, 'my template.tar', b'new', content='vztmpl').data)['exitstatus'] == 'OK'
    assert client.upload(path, 'a.exe', b'', content='vztmpl').errors == {'filename': 'wrong file extension'}
    assert client.upload(path, 'a.tar', b'x', content='vztmpl', checksum='00',
                         **{'checksum-algorithm': 'sha256'}).status == 500
    assert client.upload(path, 'a.tar', b'x').errors == {'content': 'property is missing and it is not optional'}
    assert client.task('DELETE', '/nodes/pve1/storage/local/content/local:vztmpl/my_template.tar') == 'OK'
    assert client.get('/nodes/pve1/storage/local/content/local:vztmpl/my_template.tar').line == \
        "500 volume 'local:vztmpl/my_template.tar' does not exist"


def test_broken_multipart(server, client):
    kind = {'Content-Type': 'multipart/form-data; boundary=XX'}
    for body in (b'', b'x', b'--XX\r\n\r\n\r\n--XX--', b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nx'):
        one = Client(server.cluster.nodes['pve1'], server.token)
        assert one.send('POST', '/api2/json/nodes/pve1/storage/local/upload', body, kind).status in (400, 501), body
    assert client.get('/version').status == 200


def test_any_node_answers(server, client):
    other = Client(server.cluster.nodes['pve2'], server.token)
    assert other.get('/nodes/pve1/lxc').data == client.get('/nodes/pve1/lxc').data
    local = {entry['name']: entry['local'] for entry in other.get('/cluster/status').data if entry['type'] == 'node'}
    assert local == {'pve1': 0, 'pve2': 1}


def test_many_at_once(server):
    answers = []

    def ask():
        one = Client(server.cluster.nodes['pve1'], server.token)
        answers.extend(one.get('/version').status for _ in range(10))
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 200


def test_certificate_is_the_node_s(server):
    node, other = server.cluster.nodes['pve1'], server.cluster.nodes['pve2']
    assert node.fingerprint != other.fingerprint and len(node.fingerprint) == 32 * 3 - 1
    one = Client(node, server.token)
    one.node = type('Wrong', (), {'certificate': other.certificate, 'address': node.address, 'port': node.port})
    with pytest.raises((OSError, http.client.HTTPException)):
        one.connection = one.connect()
        one.get('/version')
