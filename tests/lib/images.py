"""The images that tests use, made from programs of this host (all from Debian packages)."""

import functools
import hashlib
import os
import re
import subprocess
import tempfile

from oci import Image, Layer

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
default-user:x:1000:1000::/home/default-user:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
www-data:x:33:
default-user:x:1000:
group-defined-in-image:x:50000:default-user
nogroup:x:65534:
"""
PGREP = """#!/bin/sh
for p in /proc/[0-9]*; do
	read -r comm 2>/dev/null <"$p/comm" && [ "$comm" = "$1" ] && echo "${p#/proc/}" && found=1
done
[ -n "$found" ]
"""
IPCS = """#!/bin/sh
exec cat /proc/sysvipc/shm
"""
PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'


@functools.lru_cache(None)
def _busybox():
    for path in ('/usr/bin/busybox', '/bin/busybox'):
        if os.path.exists(path):
            text = subprocess.run([path, '--list'], stdout=subprocess.PIPE, text=True, check=True)
            return path, text.stdout.split()
    raise RuntimeError('busybox-static is not installed')


def _skeleton(layer):
    for name, mode in (('bin', 0o755), ('dev', 0o755), ('etc', 0o755), ('home', 0o755),
                       ('home/default-user', 0o755), ('proc', 0o555), ('root', 0o700),
                       ('run', 0o755), ('sys', 0o555), ('tmp', 0o1777), ('usr', 0o755),
                       ('usr/bin', 0o755), ('var', 0o755), ('var/www', 0o755)):
        layer.dir(name, mode)
    layer.symlink('var/run', '/run')
    layer.file('etc/passwd', PASSWD).file('etc/group', GROUP)
    return layer


@functools.lru_cache(None)
def busybox_layer():
    path, applets = _busybox()
    layer = _skeleton(Layer('gzip'))
    layer.host_file(path, 'bin/busybox')
    for applet in applets:
        if applet != 'busybox':
            layer.hardlink('bin/' + applet, 'bin/busybox')
    layer.symlink('usr/bin/env', '/bin/env')
    # Two that Debian's busybox leaves out.
    layer.file('bin/pgrep', PGREP, 0o755).file('bin/ipcs', IPCS, 0o755)
    layer.diff()
    return layer


def busybox(*more, **config):
    """busybox with its applets, then the layers in `more`."""
    return Image([busybox_layer(), *more], {'Env': [PATH], 'Cmd': ['sh'], **config})


def marked(name, **config):
    """A small image of its own content, told apart by a file with its name."""
    return busybox(Layer().file(name, name + '\n'), **config)


def fixed():
    """An image whose digest is the same on every host: no program inside, nothing compressed."""
    return Image([Layer().file('fixed', 'an image with a known digest\n')], {'Cmd': ['/fixed']})


def _libraries(program):
    text = subprocess.run(['ldd', program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(set(re.findall(r'(/\S+) \(0x', text)))


@functools.lru_cache(None)
def nginx(port, says=''):
    """Debian's nginx serving a page on `port`, in the foreground, pid in /var/run/nginx.pid.
    It logs the word in `says` when it starts."""
    layer = Layer('gzip')
    layer.dir('usr/sbin').host_file('/usr/sbin/nginx')
    for library in _libraries('/usr/sbin/nginx'):
        layer.host_file(library)
    layer.dir('etc/nginx').dir('var/log', 0o755).dir('var/log/nginx').dir('var/lib/nginx')
    layer.dir('usr/share/nginx/html')
    layer.file('usr/share/nginx/html/index.html', '<title>Welcome to nginx!</title>\n')
    layer.file('etc/nginx/nginx.conf', f"""user nobody nogroup;
worker_processes 1;
pid /var/run/nginx.pid;
error_log /dev/stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server {{ listen {port}; root /usr/share/nginx/html; }}
}}
""")
    command = ['nginx', '-g', 'daemon off;']
    if says:
        command = ['sh', '-c', f'echo {says} && exec nginx -g "daemon off;"']
    return busybox(layer, Cmd=command, ExposedPorts={f'{port}/tcp': {}},
                   StopSignal='SIGQUIT')


def compiled(source, *command):
    """What the compiler makes of the C source, as bytes. $LXCRI_TEST_PROGRAMS keeps it for a host without one."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = os.environ.get('LXCRI_TEST_PROGRAMS', tmp)
        made = os.path.join(folder, hashlib.sha256('\n'.join([*command, source]).encode()).hexdigest())
        if not os.path.exists(made):
            with open(os.path.join(tmp, 'a.c'), 'w', encoding='utf-8') as f:
                f.write(source)
            subprocess.run([*command, '-o', made, f.name], check=True)
        with open(made, 'rb') as f:
            return f.read()


def static_program(source):
    """A program that needs no library (musl)."""
    return compiled(source, 'musl-gcc', '-static', '-Os', '-s')


def bare_library(source):
    """A shared library that needs no other."""
    return compiled(source, 'cc', '-O', '-shared', '-fPIC', '-nostdlib')


@functools.lru_cache(None)
def nonewprivs():
    """A set-uid root program that prints its effective user id."""
    program = static_program('#include <stdio.h>\n#include <unistd.h>\n'
                              'int main(void) { printf("Effective uid: %d\\n", geteuid()); }\n')
    return busybox(Layer('gzip').file('nnp', program, 0o4755), Entrypoint=['/nnp'], Cmd=[])
