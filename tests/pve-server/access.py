"""Users, tokens, tickets, roles and access lists, as Proxmox combines them."""

import base64
import hashlib
import hmac
import re
import secrets
import time
import uuid

from errors import failed, forbidden

TICKET_SECONDS = 2 * 3600
NO_ACCESS = 'NoAccess'


class Caller:
    """Who calls: a user, or a token of one. Only the user root@pam itself is root."""

    def __init__(self, user, token=None):
        self.user, self.token = user, token
        self.name = f'{user}!{token}' if token else user

    @property
    def is_root(self):
        return self.name == 'root@pam'


ROOT = Caller('root@pam')


class Access:
    """All of it; the caller holds the cluster's lock while changing any."""

    def __init__(self, privileges):
        self.privileges = set(privileges)
        self.users = {'root@pam': {'enable': 1, 'tokens': {}}}
        self.passwords = {}
        self.acl = {}  # path -> {(kind, id): {role: propagate}}
        self.pool_of = lambda vmid: None  # set by the cluster
        self.key = secrets.token_bytes(32)
        # The built-in roles that tests and guides name; the rest of Proxmox' are not here.
        self.roles = {
            'Administrator': set(self.privileges), NO_ACCESS: set(),
            'PVEAuditor': {p for p in self.privileges if p.endswith('.Audit')},
            'PVEVMAdmin': {p for p in self.privileges if p.startswith('VM.')},
        }
        self.special = set(self.roles)

    # Who it is.

    def set_password(self, user, password):
        salt = secrets.token_bytes(8)
        self.passwords[user] = salt, hashlib.pbkdf2_hmac('sha256', password.encode(), salt, 1000)

    def password_is(self, user, password):
        salt, wanted = self.passwords.get(user, (b'', b''))
        return self.enabled(user) and hmac.compare_digest(
            hashlib.pbkdf2_hmac('sha256', password.encode(), salt, 1000), wanted)

    def enabled(self, user):
        entry = self.users.get(user)
        return bool(entry and entry['enable'] and not 0 < entry.get('expire', 0) < time.time())

    def add_token(self, user, token, privsep=True, secret=None, **info):
        """The secret, which is shown only here."""
        secret = secret or str(uuid.uuid4())
        self.users[user]['tokens'][token] = {'privsep': int(privsep), 'expire': 0, **info, 'secret': secret}
        return secret

    def sign(self, kind, what, when):
        stamp = f'{kind}:{what}:{when:08X}'
        return base64.b64encode(hmac.digest(self.key, stamp.encode(), 'sha256')).decode().rstrip('=')

    def ticket(self, user, now=None):
        now = int(now or time.time())
        return {'username': user, 'ticket': f'PVE:{user}:{now:08X}::{self.sign("ticket", user, now)}',
                'CSRFPreventionToken': f'{now:08X}:{self.sign("csrf", user, now)}'}

    def by_ticket(self, ticket):
        """The caller, or None."""
        match = re.fullmatch(r'PVE:([^:]+@[^:]+):([0-9A-F]{8})::(.+)', ticket)
        if not match or not self.fresh(match[2]) or not self.enabled(match[1]):
            return None
        right = self.sign('ticket', match[1], int(match[2], 16))
        return Caller(match[1]) if hmac.compare_digest(right.encode(), match[3].encode()) else None

    def csrf_is_right(self, caller, header):
        when, colon, signature = (header or '').partition(':')
        return bool(colon and re.fullmatch('[0-9A-F]{8}', when) and self.fresh(when) and hmac.compare_digest(
            self.sign('csrf', caller.user, int(when, 16)).encode(), signature.encode()))

    @staticmethod
    def fresh(when):
        return -300 < time.time() - int(when, 16) < TICKET_SECONDS

    def by_token(self, text):
        """The caller of 'user@realm!token=secret', or None."""
        match = re.fullmatch(r'([^\s:/!]+@[\w.\-]+)!([\w.\-]+)=(.+)', text)
        token = match and self.users.get(match[1], {'tokens': {}})['tokens'].get(match[2])
        if not token or not self.enabled(match[1]) or 0 < token['expire'] < time.time():
            return None
        return Caller(match[1], match[2]) if hmac.compare_digest(token['secret'].encode(), match[3].encode()) else None

    # What it may.

    def role_names(self, name, path):
        """{role: propagate} of a user or token, by its own entries and its user's groups'."""
        kind = 'token' if '!' in name else 'user'
        parts = [part for part in path.split('/') if part]
        found = {}
        for depth in range(len(parts) + 1):
            entries = self.acl.get('/' + '/'.join(parts[:depth]), {})
            roles = {role: propagate for role, propagate in entries.get((kind, name), {}).items()
                     if propagate or depth == len(parts)}
            found = roles or found  # what stands deeper replaces what stands above
        return {NO_ACCESS: 1} if NO_ACCESS in found else found

    def permissions(self, caller, path):
        """{privilege: whether it propagates} at a path."""
        if caller.user == 'root@pam':
            own = dict.fromkeys(self.privileges, 1)
        else:
            own = self.with_pool(caller.user, path)
        if not caller.token or not self.users[caller.user]['tokens'][caller.token]['privsep']:
            return own
        return {privilege: propagate for privilege, propagate in self.with_pool(caller.name, path).items()
                if privilege in own}

    def with_pool(self, name, path):
        names = dict(self.role_names(name, path))
        match = re.fullmatch(r'/vms/(\d+)', path)
        if match and (pool := self.pool_of(int(match[1]))):
            names.update(self.role_names(name, f'/pool/{pool}'))
        found = {}
        for role, propagate in names.items():
            for privilege in self.roles.get(role, ()):
                found[privilege] = found.get(privilege, 0) or propagate
        return found

    def may(self, caller, path, privileges, any_of=False):
        have = self.permissions(caller, path)
        return (any if any_of else all)(privilege in have for privilege in privileges)

    def require(self, caller, path, *privileges, any_of=False):
        if not self.may(caller, path, privileges, any_of):
            raise forbidden(f'{path}, {"|".join(privileges)}')

    # The checks that operations.txt names.

    def check(self, expression, caller, given):
        if caller.is_root or expression == 'all':
            return
        kind, *rest = expression
        getattr(self, 'check_' + kind.replace('-', '_'))(rest, caller, given)

    def check_and(self, parts, caller, given):
        for part in parts:
            self.check(part, caller, given)

    def check_or(self, parts, caller, given):
        for part in parts[:-1]:
            try:
                return self.check(part, caller, given)
            except type(forbidden()):
                continue
        return self.check(parts[-1], caller, given)

    def check_perm(self, rest, caller, given):
        template, *privileges = rest
        if 'require_param' in privileges:
            index = privileges.index('require_param')
            if given.get(privileges[index + 1]) is None:
                raise forbidden()
            del privileges[index:index + 2]
        any_of = privileges[-1] == 'any'
        self.require(caller, self.fill(template, given), *privileges[:-1 if any_of else None], any_of=any_of)

    @staticmethod
    def fill(template, given):
        path = re.sub(r'\{([\w-]+)\}', lambda match: str(given.get(match[1], '')), template)
        return '/' + '/'.join(part for part in path.split('/') if part)

    def check_perm_modify(self, rest, caller, given):
        path = self.fill(rest[0], given)
        wanted = {'storage': 'Datastore.Allocate', 'vms': 'VM.Allocate',
                  'pool': 'Pool.Allocate'}.get(path.split('/')[1])
        if not self.may(caller, path, ['Permissions.Modify']) and not (wanted and self.may(caller, path, [wanted])):
            raise forbidden(f'{path}, Permissions.Modify')

    def check_userid_param(self, rest, caller, given):
        if rest[0] == 'self':
            if given.get('userid') != caller.user:
                raise forbidden()
        else:
            self.require(caller, '/access/realm/' + given.get('userid', '').rpartition('@')[2], rest[0])

    def check_userid_group(self, rest, caller, given):
        """Groups are not here, so only who may for all of them passes."""
        del given
        self.require(caller, '/access/groups', *(word for word in rest if '.' in word), any_of=True)

    # What changes it.

    def user(self, user):
        if user not in self.users:
            raise failed(f"no such user ('{user}')")
        return self.users[user]

    def token(self, user, token):
        if token not in self.user(user)['tokens']:
            raise failed(f"no such token '{token}' for user '{user}'")
        return self.users[user]['tokens'][token]

    def role(self, role):
        if role not in self.roles:
            raise failed(f"role '{role}' does not exist")
        return self.roles[role]

    def grant(self, path, kind, name, role, propagate=1, delete=False):
        roles = self.acl.setdefault('/' + path.strip('/'), {}).setdefault((kind, name), {})
        if delete:
            roles.pop(role, None)
        else:
            roles[role] = int(propagate)

    def forget(self, name):
        """Drop what the access lists say of a user or token."""
        for entries in self.acl.values():
            for kind, one in list(entries):
                if one == name or one.startswith(name + '!'):
                    del entries[kind, one]
