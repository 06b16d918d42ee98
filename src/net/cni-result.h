/* SPDX-License-Identifier: Apache-2.0 */
/* cni-result - what plug-ins answer: results of all versions (0.1.0 to 1.1.0) and errors. No I/O. Private to net/. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum { CNI_RESULT_MAX_BYTES = 256 * 1024, CNI_RESULT_MAX_VALUES = 20000, CNI_IPS_MAX = 64 };

/* ADD's answer, in the form of @version (the configuration's): a result that names no version gets it, one of a version
 * of the same form is brought to it, any other is ERR_INTERNAL. @ret: new reference. */
_must_use_ int cni_result_parse(const char *text, size_t len, const char *version, json_t **ret, struct err *err);

/* The addresses of interface @ifname without prefix length, IPv4 before IPv6 and else in the result's order,
 * NULL-terminated. A result without interfaces, or with none of that name, gives all its addresses. */
_must_use_ int cni_result_ips(const json_t *result, const char *ifname, struct arena *arena, const char ***ret,
                              struct err *err);

/* An error answer: true when @text is one. @ret_code is the plug-in's, @msg its message and details, printable. */
bool cni_result_error(const char *text, size_t len, int *ret_code, char *msg, size_t msg_size);

/* @len bytes of a stranger into a printable line of at most @size - 1 bytes. */
void cni_printable(const char *text, size_t len, char *ret, size_t size);
