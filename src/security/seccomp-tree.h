/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp-tree - a filter program made small. The kernel checks, translates and tries a filter at every load, so at
 * every exec, and what libseccomp compiles names each call of each architecture. Here the program itself is asked what
 * it does with each call; neighbours with one answer become a range, and the ranges a binary tree. Pure: bytes in,
 * bytes out. Private to security/. */
#pragma once
#include <linux/filter.h>
#include <stddef.h>

/* Writes to @ret, which has room for @n instructions, a program that decides as @insns does about every call. Returns
 * its length; 0 when there is none that is smaller, or when @insns is unlike what libseccomp and seccomp-newer.c make.
 */
size_t seccomp_tree_compile(const struct sock_filter *insns, size_t n, struct sock_filter *ret);
