/* SPDX-License-Identifier: Apache-2.0 */
/* files - what a pod has on the host: <state>/pods/<id>/ with hostname, hosts, resolv.conf and shm (a tmpfs), and
 * <state>/ns/<id>/ with its namespaces. Private to pod/. */
#pragma once
#include "base/strbuf.h"
#include "pod/registry.h"
#include "pod/rules.h"

/* "<state>/pods/<id>/<name>" */
const char *pod_file(const struct sandbox *s, const char *name, struct arena *arena);
/* "<state>/ns/<id>" */
const char *pod_ns_dir(const struct sandbox *s, struct arena *arena);
/* "<state>/ns/<id>/net" and so on, or the host's own namespace. */
const char *pod_ns_file(const struct sandbox *s, const char *name, bool of_host, struct arena *arena);

/* Is a namespace bound to @path? False for the empty file that is left when the binding is gone. */
bool pod_ns_is_live(const char *path);

/* The name the pod's processes see. */
const char *pod_hostname(const CRI(PodSandboxConfig) * config, bool host_network, struct arena *arena);

/* Writes the files, mounts shm. @ips: the pod's addresses, may be NULL. */
_must_use_ int pod_files_create(struct sandbox *s, const struct pod_rules *rules, char *const *ips, struct err *err);
/* Unmounts and removes them; missing is fine. @id need not be known. */
_must_use_ int pod_files_remove(struct pods *p, const char *id, struct err *err);

/* Contents, for tests. */
void resolv_conf_write(const CRI(DNSConfig) * dns, struct strbuf *out);
void hosts_write(const char *hostname, char *const *ips, struct strbuf *out);
