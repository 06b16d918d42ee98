"""/version, /access and /pools."""

import formats
from access import Caller
from api import operation
from errors import ApiError, failed, forbidden, refused


@operation('GET /version', 'GET /nodes/{node}/version')
def version(call):
    return call.cluster.version


@operation('GET /access/ticket')
def ticket_page(_):
    return None


@operation('POST /access/ticket')
def ticket(call):
    access, user = call.access, call['username']
    if '@' not in user:
        user += '@' + call.get('realm', 'pam')
    # An old ticket does for a password: so tickets are renewed.
    known = access.by_ticket(call['password'])
    if not (known and known.user == user) and not access.password_is(user, call['password']):
        raise ApiError(401, 'authentication failure\n')
    return {**access.ticket(user), 'clustername': call.cluster.name,
            'cap': {area: access.permissions(Caller(user), path)
                    for area, path in (('vms', '/vms'), ('nodes', '/nodes'), ('storage', '/storage'), ('dc', '/'))}}


@operation('GET /access/permissions')
def permissions(call):
    whose = Caller(*call['userid'].split('!', 1)) if call.get('userid') else call.caller
    if whose.name != call.caller.name and whose.user != call.caller.name:
        call.require('/access', 'Sys.Audit')
    if whose.token:
        call.access.token(whose.user, whose.token)
    else:
        call.access.user(whose.user)
    usual = {'/', '/access', '/nodes', '/storage', '/vms', '/sdn', '/pool'}
    paths = [call['path']] if call.get('path') else sorted(usual | set(call.access.acl))
    found = {path: call.access.permissions(whose, path) for path in paths}
    return {path: have for path, have in found.items() if have or call.get('path')}


# Users and tokens.

def user_entry(userid, user):
    return {'userid': userid, 'realm-type': userid.rpartition('@')[2],
            **{key: value for key, value in user.items() if key != 'tokens'}, 'expire': user.get('expire', 0)}


@operation('GET /access/users')
def users(call):
    seen = [(userid, user) for userid, user in call.access.users.items()
            if userid == call.caller.user or call.may('/access/groups', 'User.Modify', 'Sys.Audit', any_of=True)]
    found = []
    for userid, user in seen:
        if call.get('enabled') is not None and call.flag('enabled') != bool(user['enable']):
            continue
        entry = user_entry(userid, user)
        if call.flag('full'):
            entry['tokens'] = [token_entry(tokenid, token) for tokenid, token in user['tokens'].items()]
        found.append(entry)
    return found


def settings(call, *names):
    return {name: int(call[name]) if name in ('enable', 'expire') else call[name] for name in names
            if call.get(name) is not None}


USER_KEYS = ('comment', 'email', 'enable', 'expire', 'firstname', 'lastname')


@operation('POST /access/users')
def create_user(call):
    userid = call['userid']
    with call.cluster.lock:
        if userid in call.access.users:
            raise failed(f"create user failed: user '{userid}' already exists")
        if userid.rpartition('@')[2] not in ('pam', 'pve'):
            raise failed(f"create user failed: realm '{userid.rpartition('@')[2]}' does not exist")
        call.access.users[userid] = {'enable': 1, 'tokens': {}, **settings(call, *USER_KEYS)}
        if call.get('password'):
            call.access.set_password(userid, call['password'])


@operation('GET /access/users/{userid}')
def read_user(call):
    user = call.access.user(call['userid'])
    return {**{key: value for key, value in user.items() if key != 'tokens'},
            'tokens': {name: token_entry(None, token) for name, token in user['tokens'].items()}}


@operation('PUT /access/users/{userid}')
def update_user(call):
    with call.cluster.lock:
        call.access.user(call['userid']).update(settings(call, *USER_KEYS))


@operation('DELETE /access/users/{userid}')
def delete_user(call):
    userid = call['userid']
    with call.cluster.lock:
        call.access.user(userid)
        if userid == 'root@pam':
            raise failed("delete user failed: can't delete root@pam")
        del call.access.users[userid]
        call.access.passwords.pop(userid, None)
        call.access.forget(userid)


def token_entry(tokenid, token):
    shown = {key: value for key, value in token.items() if key != 'secret'}
    return {'tokenid': tokenid, **shown} if tokenid else shown


@operation('GET /access/users/{userid}/token')
def tokens(call):
    return [token_entry(name, token) for name, token in call.access.user(call['userid'])['tokens'].items()]


@operation('GET /access/users/{userid}/token/{tokenid}')
def read_token(call):
    return token_entry(None, call.access.token(call['userid'], call['tokenid']))


@operation('POST /access/users/{userid}/token/{tokenid}')
def create_token(call):
    userid, tokenid = call['userid'], call['tokenid']
    with call.cluster.lock:
        if tokenid in call.access.user(userid)['tokens']:
            raise refused({'tokenid': 'Token already exists.'})
        secret = call.access.add_token(userid, tokenid, call.flag('privsep', True),
                                       **settings(call, 'comment', 'expire'))
    # What was given comes back as it came: a string.
    info = {**settings(call, 'comment', 'expire'), 'privsep': call.get('privsep', 1)}
    return {'full-tokenid': f'{userid}!{tokenid}', 'info': info, 'value': secret}


@operation('PUT /access/users/{userid}/token/{tokenid}')
def update_token(call):
    with call.cluster.lock:
        token = call.access.token(call['userid'], call['tokenid'])
        token.update(settings(call, 'comment', 'expire'))
        if call.get('privsep') is not None:
            token['privsep'] = int(call['privsep'])
        for key in formats.split_list(call.get('delete', '')):
            if key == 'comment':
                token.pop(key, None)
        answer = token_entry(None, token)
        if call.flag('regenerate'):
            comment = {'comment': token['comment']} if 'comment' in token else {}
            answer['value'] = call.access.add_token(call['userid'], call['tokenid'], token['privsep'],
                                                    expire=token['expire'], **comment)
    return answer


@operation('DELETE /access/users/{userid}/token/{tokenid}')
def delete_token(call):
    with call.cluster.lock:
        call.access.token(call['userid'], call['tokenid'])
        del call.access.users[call['userid']]['tokens'][call['tokenid']]
        call.access.forget(f'{call["userid"]}!{call["tokenid"]}')


# Roles and access lists.

@operation('GET /access/roles')
def roles(call):
    return [{'roleid': name, 'privs': ','.join(sorted(have)), 'special': int(name in call.access.special)}
            for name, have in call.access.roles.items()]


def privileges(call):
    wanted = set(formats.split_list(call.get('privs', '')))
    if unknown := wanted - call.access.privileges:
        raise refused({'privs': f"invalid format - invalid privilege '{sorted(unknown)[0]}'\n"})
    return wanted


@operation('POST /access/roles')
def create_role(call):
    with call.cluster.lock:
        if call['roleid'] in call.access.roles:
            raise failed(f"role '{call['roleid']}' already exists")
        call.access.roles[call['roleid']] = privileges(call)


@operation('GET /access/roles/{roleid}')
def read_role(call):
    return dict.fromkeys(sorted(call.access.role(call['roleid'])), 1)


@operation('PUT /access/roles/{roleid}')
def update_role(call):
    with call.cluster.lock:
        have = call.access.role(call['roleid'])
        if call['roleid'] in call.access.special:
            raise failed(f"auto-generated role '{call['roleid']}' cannot be modified")
        call.access.roles[call['roleid']] = privileges(call) | (have if call.flag('append') else set())


@operation('DELETE /access/roles/{roleid}')
def delete_role(call):
    with call.cluster.lock:
        call.access.role(call['roleid'])
        if call['roleid'] in call.access.special:
            raise failed(f"auto-generated role '{call['roleid']}' cannot be deleted")
        del call.access.roles[call['roleid']]


@operation('GET /access/acl')
def acl(call):
    found = []
    for path, entries in sorted(call.access.acl.items()):
        if call.may(path, 'Permissions.Modify') or call.may('/access', 'Sys.Audit'):
            found += [{'path': path, 'type': kind, 'ugid': name, 'roleid': role, 'propagate': propagate}
                      for (kind, name), given in sorted(entries.items()) for role, propagate in given.items()]
    return found


@operation('PUT /access/acl')
def update_acl(call):
    access, path = call.access, '/' + call['path'].strip('/')
    names = [(kind, name) for kind in ('user', 'group', 'token')
             for name in formats.split_list(call.get(kind + 's', ''))]
    if not names:
        raise refused({key: 'either \'users\', \'groups\' or \'tokens\' is required.'
                       for key in ('users', 'groups', 'tokens')})
    if path.split('/')[1] not in ('', 'access', 'nodes', 'storage', 'vms', 'pool', 'sdn', 'mapping'):
        raise refused({'path': f"invalid ACL path '{path}'"})
    with call.cluster.lock:
        for role in formats.split_list(call['roles']):
            access.role(role)
            own = set(access.permissions(call.caller, path))
            if not set(access.roles[role]) <= own and 'Permissions.Modify' not in own:
                raise forbidden(f'{path}, Permissions.Modify')
            for kind, name in names:
                if kind == 'user':
                    access.user(name)
                elif kind == 'token':
                    access.token(*name.split('!', 1))
                else:
                    raise failed(f"no such group '{name}'")
                access.grant(path, kind, name, role, call.flag('propagate', True), call.flag('delete'))


# Pools.

@operation('GET /pools')
def pools(call):
    if call.get('poolid'):
        call.require(f'/pool/{call["poolid"]}', 'Pool.Audit')
        return [{'poolid': call['poolid'], **pool_entry(call)}]
    return [{'poolid': name, **({'comment': pool['comment']} if pool.get('comment') else {})}
            for name, pool in sorted(call.cluster.pools.items()) if call.may(f'/pool/{name}', 'Pool.Audit')]


def pool_entry(call):
    pool = call.cluster.pool(call['poolid'])
    members = [{'id': f'lxc/{guest.vmid}', 'type': 'lxc', 'vmid': guest.vmid, 'node': guest.node.name,
                'name': guest.name, 'status': 'running' if guest.running else 'stopped'}
               for guest in call.cluster.list_guests() if guest.vmid in pool['vms']]
    members += [{'id': f'storage/{node.name}/{name}', 'type': 'storage', 'storage': name, 'node': node.name}
                for node in call.cluster.nodes.values() for name in node.storages if name in pool['storage']]
    found = {'members': [member for member in members if call.get('type', member['type']) == member['type']]}
    if pool.get('comment'):
        found['comment'] = pool['comment']
    return found


@operation('GET /pools/{poolid}')
def read_pool(call):
    return pool_entry(call)


@operation('POST /pools')
def create_pool(call):
    with call.cluster.lock:
        if call['poolid'] in call.cluster.pools:
            raise failed(f"create pool failed: pool '{call['poolid']}' already exists")
        call.cluster.pools[call['poolid']] = {'comment': call.get('comment'), 'vms': set(), 'storage': set()}


@operation('PUT /pools')
def update_pool(call):
    with call.cluster.lock:
        pool = call.cluster.pool(call['poolid'])
        if call.get('comment') is not None:
            pool['comment'] = call['comment']
        for vmid in map(int, formats.split_list(call.get('vms', ''))):
            call.require(f'/vms/{vmid}', 'Permissions.Modify')
            other = call.cluster.pool_of(vmid)
            if call.flag('delete'):
                if vmid not in pool['vms']:
                    raise failed(f"update pools failed: VM {vmid} is not a pool member")
                pool['vms'].discard(vmid)
                continue
            if vmid not in call.cluster.guests:
                raise failed(f"update pools failed: VM {vmid} does not exist")
            if other and other != call['poolid'] and not call.flag('allow-move'):
                raise failed(f"update pools failed: VM {vmid} belongs already to pool '{other}' and allow-move is "
                             'not set')
            if other:
                call.cluster.pool(other)['vms'].discard(vmid)
            pool['vms'].add(vmid)
        storages = set(formats.split_list(call.get('storage', '')))
        pool['storage'] = pool['storage'] - storages if call.flag('delete') else pool['storage'] | storages


@operation('DELETE /pools')
def delete_pool(call):
    with call.cluster.lock:
        pool = call.cluster.pool(call['poolid'])
        if pool['vms'] or pool['storage']:
            raise failed(f"delete pool failed: pool '{call['poolid']}' is not empty")
        del call.cluster.pools[call['poolid']]
