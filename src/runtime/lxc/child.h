/* SPDX-License-Identifier: Apache-2.0 */
/* child - what every process does in which liblxc starts a container, whoever forked it: descriptors and the root file
 * system settled, liblxc told what to do. On failure the other end of init's socket is told, in init's stead, and the
 * process ends. Needs only liblxc's header: whoever calls may link or dlopen() the library. */
#pragma once
#include <stddef.h>
#include "base/attr.h"

struct lxc_container;

/* Tell whoever waits for READY on @init_socket why there will be none. */
_printf_(3, 4) _noreturn_ void child_fail(int init_socket, int sys_errno, const char *fmt, ...);

/* A forked process has all descriptors of its parent: other containers' pipes and sockets, whose ends it would keep
 * from being seen. And liblxc lets init inherit every one without O_CLOEXEC. So: only @keep (sorted here; -1 is left
 * out) stays, O_CLOEXEC, save standard error; @init_fd and @init_socket, which are among them, are inherited. Standard
 * input and output become /dev/null, and standard error, too, unless it is among @keep. */
void child_settle_descriptors(int init_socket, int init_fd, int *keep, size_t n_keep);

/* The root file system, a detached mount, is attached at @dir of the calling process' own mount namespace, with the
 * folders that liblxc mounts on. Takes @rootfs_fd. */
void child_attach_rootfs(int init_socket, int rootfs_fd, const char *dir);

/* From now on what liblxc executes, whatever it is told, is @init_fd: see execvp() in child.c. */
void child_set_program(int init_fd);

/* @config: "key = value" lines. */
void child_configure(int init_socket, const char *config, struct lxc_container *c);

/* Until @pipes' read ends (-1: none) are empty. A container's last words are in them, and this process may be the only
 * one that holds those ends: a keeper that was killed has not taken them out, the next one will. Ordinarily they are
 * gone in less than a millisecond. */
void child_wait_until_read(const int *pipes, size_t n);
