/* SPDX-License-Identifier: Apache-2.0 */
/* apparmor - is it there, is a profile loaded, and the runtime's default profile. Thread-safe. */
#pragma once
#include <stdbool.h>
#include "base/err.h"

#define APPARMOR_DEFAULT_PROFILE "proxmox-lxcri-default"

bool apparmor_enabled(void);
/* ERR_INVALID when no profile @name is loaded. */
_must_use_ int apparmor_check_loaded(const char *name, struct err *err);
/* Loads the default profile if it is not there (apparmor_parser). Call once at start, where AppArmor is enabled. */
_must_use_ int apparmor_load_default(struct err *err);
