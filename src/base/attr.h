/* SPDX-License-Identifier: Apache-2.0 */
/* attr - compiler attributes, spelled once. */
#pragma once
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _must_use_ __attribute__((warn_unused_result))
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _noreturn_ __attribute__((noreturn))
#define _unused_ __attribute__((unused))
#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
