"""The images that critest pulls: repository -> tag -> image, made locally.

What each must hold was read from critest's sources and its image recipes.
"""

import functools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import images  # noqa: E402 pylint: disable=wrong-import-position

E2E = 'e2e-test-images/'
STAGING = 'k8s-staging-cri-tools/'


@functools.lru_cache(None)
def marked(name, user=''):
    return images.marked(name, **({'User': user} if user else {}))


IDLE = ['tail', '-f', '/dev/null']


@functools.lru_cache(None)
def bare_shell_layer():
    """/bin/sh that looks up a bare command in PATH, as most shells do. Debian's busybox
    would run its own applet instead, and not notice that a file was masked."""
    program = images.static_program(r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
	if (argc == 3 && !strcmp(argv[1], "-c") &&
	    strspn(argv[2], "abcdefghijklmnopqrstuvwxyz") == strlen(argv[2])) {
		execvp(argv[2], argv + 2);
		fprintf(stderr, "%s: %s: %s\n", argv[0], argv[2], strerror(errno));
		return errno == ENOENT ? 127 : 126;
	}
	argv[0] = "sh";
	execv("/bin/busybox", argv);
	return 127;
}
""")
    return images.Layer('gzip').file('bin/sh', program, 0o755)


def all_images():
    """[(repository, tag, image)]"""
    one = STAGING + 'test-image-'
    yield E2E + 'busybox', '1.29-2', images.busybox(bare_shell_layer())
    yield E2E + 'nginx', '1.14-2', images.nginx(80)
    yield E2E + 'httpd', '2.4.39-4', images.nginx(80, says='httpd')
    yield E2E + 'nonewprivs', '1.3', images.nonewprivs()
    yield 'pause', '3.9', images.busybox(Cmd=IDLE)
    yield 'sandbox', '1', images.marked('sandbox', Cmd=IDLE)  # containerd's own
    yield STAGING + 'hostnet-nginx-amd64', 'latest', images.nginx(12003)
    yield one + 'latest', 'latest', marked('latest')
    yield one + 'tag', 'test', marked('tag-test')
    yield one + 'tag', 'all', marked('tag-all')
    yield one + 'digest', 'latest', images.fixed()
    for n in '123':
        yield one + n, 'latest', marked('image-' + n)
        yield one + 'tags', n, marked('tags')
    yield one + 'user-uid', 'latest', marked('uid', '1002')
    yield one + 'user-username', 'latest', marked('username', 'www-data')
    yield one + 'user-uid-group', 'latest', marked('uid-group', '1003:users')
    yield one + 'user-username-group', 'latest', marked('username-group', 'www-data:100')
    yield one + 'predefined-group', 'latest', marked('predefined-group', '1000')
