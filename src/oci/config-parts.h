/* SPDX-License-Identifier: Apache-2.0 */
/* config-parts - what config.c puts together: each reads one part of config.json. Errors stay in the reader. Private to
 * oci/. */
#pragma once
#include "oci/config-node.h"
#include "oci/config.h"

enum {
        CONFIG_MAX_MOUNTS = 4096,
        CONFIG_MAX_DEVICES = 4096,  /* and rules for them, and limits of them */
        CONFIG_MAX_STRINGS = 65536, /* of argv, environment, paths; init's plan takes no more in one record */
        CONFIG_MAX_PAIRS = 4096,
        CONFIG_MAX_HOOKS = 256,
};

/* @process: "process". */
void config_read_process(const struct config_node *process, struct spec_process *ret);
void config_read_hooks(const struct config_node *root, struct spec_hooks *ret);
extern const struct spec_name config_memory_modes[], config_memory_flags[];
extern const size_t n_config_memory_modes, n_config_memory_flags;
/* After the namespaces and id maps are known, since owners are mapped by them. */
void config_read_mounts(const struct config_node *root, struct spec *spec);
/* What is behind "idmap=" in an option. @users: of the container, that it may be relative to. False: malformed. */
bool config_read_owners(const struct config_node *mount, const char *option, const struct id_maps *users,
                        struct id_maps *ret);
/* @lin: "linux". All but resources, cgroupsPath, seccomp and intelRdt's text. */
void config_read_linux(const struct config_node *lin, struct spec *spec);
void config_read_namespaces(const struct config_node *lin, struct spec *spec);
/* What "linux.sysctl" may hold depends on the namespaces. */
void config_read_sysctls(const struct config_node *lin, struct spec *spec);
void config_read_devices(const struct config_node *lin, struct spec *spec);
/* @resources: "linux.resources". */
void config_read_resources(const struct config_node *resources, struct spec_resources *ret);
/* All is denied, but for what the bundle allows and the devices that each container has, as runc does it. */
void config_add_default_rules(const struct config_node *resources, struct spec_resources *r);
