/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-fields - a bundle's fields as keys of a CT's configuration. What is neither one of these, nor carried out by
 * init (the process), nor what Proxmox does anyhow, is refused by its name. */
#include <ctype.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "oci/config.h"
#include "oci/proxmox.h"
#include "runtime/cgroup/cgroup.h"

enum { MEMORY_MIN_MIB = 16, LABEL_MAX = 63, DEFAULT_PERIOD_US = 100000, MAX_CPUS = 8192, MAX_VOLUMES = 256 };

#define DEFAULT_ROOTFS_GIB "8" /* as in Proxmox' web page */
#define REFUSE(err, field, why) err_set(err, ERR_INVALID, "%s: the engine proxmox can't do it: %s", field, why)

/* --- limits ------------------------------------------------------------------------------------------------------ */

static uint64_t mib(uint64_t bytes) {
        return (bytes + (1 << 20) - 1) >> 20;
}

static int put_memory(const struct spec_resources *r, bool all, struct pve_params *to, struct err *err) {
        int64_t limit = r->memory_limit_bytes, both = r->memory_swap_limit_bytes;

        if (both < 0)
                return REFUSE(err, "linux.resources.memory.swap", "a Proxmox container's swap has a limit");
        if (both > 0 && limit <= 0)
                return REFUSE(err, "linux.resources.memory.swap", "it needs a limit of memory beside it");
        if (both > 0 && both < limit)
                return err_set(err, ERR_INVALID, "linux.resources.memory.swap: it is below memory.limit");
        if (limit < 0 || (limit == 0 && all))
                limit = (int64_t) sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE); /* all that the node has */
        if (limit > 0)
                pve_param_u64(to, "memory", MAX_OF(mib((uint64_t) limit), (uint64_t) MEMORY_MIN_MIB));
        if (both > 0 || all)
                pve_param_u64(to, "swap", both > 0 ? mib((uint64_t) (both - limit)) : 0);
        return 0;
}

static int put_cpu(const struct spec_resources *r, struct pve_params *to, struct err *err) {
        _cleanup_(cgroups_freep) struct cgroups *cgroups = NULL;
        uint64_t period = r->cpu_period_us ? r->cpu_period_us : DEFAULT_PERIOD_US;
        double cpus = (double) r->cpu_quota_us / (double) period;
        int res;

        if (r->cpu_period_us && !r->cpu_quota_us)
                return REFUSE(err, "linux.resources.cpu.period", "it needs a quota beside it");
        if (cpus > MAX_CPUS)
                return REFUSE(err, "linux.resources.cpu.quota", "it is more than 8192 processors");
        if (r->cpu_quota_us)
                pve_param_printf(to, "cpulimit", "%.3f", cpus > 0 ? MAX_OF(cpus, 0.001) : 0);
        if (!r->cpu_shares)
                return 0;
        res = cgroups_new(&cgroups, err);
        if (res == 0)
                pve_param_u64(to, "cpuunits", cgroups_cpu_units(cgroups, r->cpu_shares));
        return res;
}

/* Null, zero, full, tty, random, urandom, console, ptmx, terminals: every CT may use them. */
static bool is_usual_device(const struct spec_device_rule *d) {
        static const struct {
                int64_t major, minor;
        } usual[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 5, 0 }, { 5, 1 }, { 5, 2 }, { 136, -1 } };

        if (d->major < 0 && d->minor < 0 && str_eq(d->access, "m"))
                return true;
        for (size_t i = 0; d->type == 'c' && i < ELEMENTSOF(usual); i++)
                if (d->major == usual[i].major && d->minor == usual[i].minor)
                        return true;
        return false;
}

/* Without those that the runtime puts before and behind them (cgroup_device_rules()). */
static const char *device_rule_problem(const struct spec_resources *r) {
        for (size_t i = 1; i + CGROUP_DEVICE_RULES_MORE - 1 < r->n_devices; i++) {
                const struct spec_device_rule *d = &r->devices[i];

                if (d->allow ? !is_usual_device(d) : d->major >= 0 || d->minor >= 0)
                        return "only what every Proxmox container has can be allowed, and only all else be denied";
        }
        return NULL;
}

int proxmox_put_resources(const struct spec_resources *r, bool all, struct pve_params *to, struct err *err) {
        static const char no_key[] = "Proxmox' configuration has no key for it";
        size_t n_throttles = 0;
        const char *problem = device_rule_problem(r);
        int res;

        for (int i = 0; i < SPEC_THROTTLE_MAX; i++)
                n_throttles += r->n_throttles[i];
        const struct {
                const char *field;
                bool set;
        } refused[] = {
                { "linux.resources.cpu.cpus", !str_empty(r->cpuset_cpus) },
                { "linux.resources.cpu.mems", !str_empty(r->cpuset_mems) },
                { "linux.resources.cpu.burst", r->has_cpu_burst && r->cpu_burst_us },
                { "linux.resources.cpu.idle", r->has_cpu_idle && r->cpu_idle },
                { "linux.resources.cpu.realtimeRuntime", r->has_rt_runtime || r->rt_period_us },
                { "linux.resources.pids.limit", r->pids_limit > 0 },
                { "linux.resources.memory.reservation", r->memory_reservation_bytes != 0 },
                { "linux.resources.memory.swappiness", r->has_swappiness },
                { "linux.resources.memory.disableOOMKiller", r->oom_kill_disable },
                { "linux.resources.blockIO",
                  r->blkio_weight || r->blkio_leaf_weight || r->n_blkio_weights || n_throttles },
                { "linux.resources.hugepageLimits", r->n_hugepages > 0 },
                { "linux.resources.network", r->has_net_class_id || r->n_net_priorities },
                { "linux.resources.rdma", r->n_rdma > 0 },
                { "linux.resources.unified", r->n_unified > 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(refused); i++)
                if (refused[i].set)
                        return REFUSE(err, refused[i].field, no_key);
        if (problem)
                return REFUSE(err, "linux.resources.devices", problem);
        res = put_memory(r, all, to, err);
        return res < 0 ? res : put_cpu(r, to, err);
}

/* --- mounts ------------------------------------------------------------------------------------------------------ */

/* What Proxmox, or liblxc for it, mounts in every CT. */
static bool is_usual_mount(const struct spec_mount *m) {
        static const struct {
                const char *destination, *type;
        } usual[] = { { "/proc", "proc" },
                      { "/dev", "tmpfs" },
                      { "/dev/pts", "devpts" },
                      { "/dev/shm", "tmpfs" },
                      { "/dev/mqueue", "mqueue" },
                      { "/sys", "sysfs" },
                      { "/sys/fs/cgroup", "cgroup" },
                      { "/sys/fs/cgroup", "cgroup2" } };

        for (size_t i = 0; i < ELEMENTSOF(usual); i++)
                if (str_eq(m->destination, usual[i].destination) && str_eq(m->type, usual[i].type))
                        return true;
        return false;
}

/* "type": "proxmox", "source": "STORAGE:GIB": a new volume, which goes with the container. */
static int put_volume(const struct spec_mount *m, unsigned number, const char *field, struct pve_params *to,
                      struct err *err) {
        _cleanup_strbuf_ struct strbuf options = STRBUF(256);
        _cleanup_(freep) char *key = xprintf("mp%u", number);
        static const struct {
                unsigned long flag;
                const char *word;
        } words[] = {
                { MS_NOATIME, "noatime" }, { MS_NODEV, "nodev" }, { MS_NOEXEC, "noexec" }, { MS_NOSUID, "nosuid" }
        };

        if (number >= MAX_VOLUMES)
                return REFUSE(err, field, "a Proxmox container has at most 256 volumes");
        if (!m->source || !strchr(m->source, ':') || strpbrk(m->source, ",=") || strpbrk(m->destination, ",=\n"))
                return err_set(err, ERR_INVALID, "%s: the source of a mount of the type proxmox is STORAGE:GIB", field);
        if ((m->flags & ~(MS_NOATIME | MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY | MS_RELATIME)) ||
            !str_empty(m->data))
                return REFUSE(err, field, "options are ro, noatime, nodev, noexec and nosuid");
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (m->flags & words[i].flag)
                        strbuf_printf(&options, "%s%s", options.len ? ";" : "", words[i].word);
        pve_param_printf(to, key, "%s,mp=%s%s%s%s", m->source, m->destination, m->flags & MS_RDONLY ? ",ro=1" : "",
                         options.len ? ",mountoptions=" : "", options.len ? strbuf_str(&options) : "");
        return 0;
}

static int put_mounts(const struct spec *spec, struct pve_params *to, struct err *err) {
        unsigned n = 0;
        int r;

        for (size_t i = 0; i < spec->n_mounts; i++) {
                const struct spec_mount *m = &spec->mounts[i];
                _cleanup_(freep) char *field = xprintf("mounts[%zu] (%s)", i, m->destination);

                if (is_usual_mount(m))
                        continue;
                if (!str_eq(m->type, "proxmox"))
                        return REFUSE(err, field,
                                      "an API token may not mount what is on the host; a volume of Proxmox is of the "
                                      "type proxmox, with STORAGE:GIB as source");
                r = put_volume(m, n++, field, to, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Runtimes' defaults: liblxc has parts of /proc and /sys read-only, and the rest needs rights on the host, which nobody
 * in a user namespace has. */
static bool is_usual_path(const char *path) {
        static const char *const usual[] = { "/proc/acpi",
                                             "/proc/asound",
                                             "/proc/bus",
                                             "/proc/fs",
                                             "/proc/interrupts",
                                             "/proc/irq",
                                             "/proc/kcore",
                                             "/proc/keys",
                                             "/proc/latency_stats",
                                             "/proc/sched_debug",
                                             "/proc/scsi",
                                             "/proc/sys",
                                             "/proc/sysrq-trigger",
                                             "/proc/timer_list",
                                             "/proc/timer_stats",
                                             "/sys/dev/block",
                                             "/sys/devices/virtual/powercap",
                                             "/sys/firmware",
                                             "/sys/fs/selinux" };

        for (size_t i = 0; i < ELEMENTSOF(usual); i++)
                if (str_eq(path, usual[i]))
                        return true;
        return false;
}

static int check_paths(const char *const *paths, const char *field, struct err *err) {
        for (; paths && *paths; paths++)
                if (!is_usual_path(*paths))
                        return err_set(err, ERR_INVALID,
                                       "%s: the engine proxmox can't do it: %s is none of those that a Proxmox "
                                       "container protects anyhow",
                                       field, *paths);
        return 0;
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static int check_namespaces(const struct spec *spec, struct err *err) {
        static const struct {
                enum spec_ns ns;
                const char *name;
        } needed[] = { { SPEC_NS_PID, "pid" },
                       { SPEC_NS_NET, "network" },
                       { SPEC_NS_IPC, "ipc" },
                       { SPEC_NS_UTS, "uts" },
                       { SPEC_NS_MNT, "mount" } };
        const struct spec_namespace *user = &spec->ns[SPEC_NS_USER], *cgroup = &spec->ns[SPEC_NS_CGROUP];
        const struct spec_namespace *time = &spec->ns[SPEC_NS_TIME];

        for (size_t i = 0; i < ELEMENTSOF(needed); i++)
                if (!spec->ns[needed[i].ns].create)
                        return err_set(err, ERR_INVALID,
                                       "linux.namespaces: the engine proxmox can't do it: a Proxmox container has a %s "
                                       "namespace of its own",
                                       needed[i].name);
        if (user->path || cgroup->path || time->path || time->create)
                return REFUSE(err, "linux.namespaces",
                              "a Proxmox container has user and cgroup namespaces of its own, and the host's time");
        return 0;
}

static bool is_ct_range(const struct id_map *maps, size_t n) {
        return n == 0 || (n == 1 && maps[0].inside == 0 && maps[0].outside == 100000 && maps[0].length == 65536);
}

static bool is_dns_name(const char *s) {
        for (size_t n; *s; s += n + (s[n] == '.')) {
                n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
                if (n == 0 || n > LABEL_MAX || (s[n] && (s[n] != '.' || !s[n + 1])) || s[0] == '-' || s[n - 1] == '-')
                        return false;
        }
        return true;
}

static int check_rest(const struct oci_config *config, struct err *err) {
        const struct spec *s = &config->spec;
        const struct spec_hooks *h = &s->hooks;
        const struct {
                const char *field;
                bool set;
                const char *why;
        } refused[] = {
                { "linux.rootfsPropagation", s->rootfs_propagation && !(s->rootfs_propagation & MS_PRIVATE),
                  "a Proxmox container's root is private" },
                { "linux.uidMappings", !is_ct_range(s->user_ids.uids, s->user_ids.n_uids),
                  "ids from 0 to 65535 are Proxmox' 100000 and up" },
                { "linux.gidMappings", !is_ct_range(s->user_ids.gids, s->user_ids.n_gids),
                  "ids from 0 to 65535 are Proxmox' 100000 and up" },
                { "linux.devices", s->n_devices > 0, "an API token may not give devices" },
                { "linux.sysctl", s->n_sysctls > 0, "Proxmox' configuration has no key for it" },
                { "linux.netDevices", s->n_net_devices > 0, "a Proxmox container's cards are Proxmox'" },
                { "linux.intelRdt", config->intel_rdt != NULL, "Proxmox' configuration has no key for it" },
                { "linux.mountLabel", s->mount_label != NULL, "Proxmox has no SELinux" },
                { "process.selinuxLabel", s->process.selinux_label != NULL, "Proxmox has no SELinux" },
                { "process.apparmorProfile", s->process.apparmor_profile != NULL,
                  "Proxmox gives each container a profile of its own" },
                { "domainname", !str_empty(s->domainname), "Proxmox' configuration has no key for it" },
                { "hostname", !str_empty(s->hostname) && !is_dns_name(s->hostname), "it is no DNS name" },
                { "hooks.prestart", h->n[SPEC_HOOK_PRESTART] > 0, "Proxmox makes the container" },
                { "hooks.createRuntime", h->n[SPEC_HOOK_CREATE_RUNTIME] > 0, "Proxmox makes the container" },
                { "hooks.createContainer", h->n[SPEC_HOOK_CREATE_CONTAINER] > 0, "Proxmox makes the container" },
                { "hooks.startContainer", h->n[SPEC_HOOK_START_CONTAINER] > 0, "Proxmox makes the container" },
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(refused); i++)
                if (refused[i].set)
                        return REFUSE(err, refused[i].field, refused[i].why);
        r = check_namespaces(s, err);
        if (r == 0)
                r = check_paths(s->masked_paths, "linux.maskedPaths", err);
        return r < 0 ? r : check_paths(s->readonly_paths, "linux.readonlyPaths", err);
}

/* --- annotations ------------------------------------------------------------------------------------------------- */

/* What config.json has no field for. Their values are Proxmox' own, which checks them. */
static const struct {
        const char *annotation, *key;
} annotations[] = {
        { "proxmox-lxcri.io/features", "features" }, { "proxmox-lxcri.io/nameserver", "nameserver" },
        { "proxmox-lxcri.io/net0", "net0" },         { "proxmox-lxcri.io/pool", "pool" },
        { "proxmox-lxcri.io/rootfs", "rootfs" },     { "proxmox-lxcri.io/tags", "tags" },
};

static const char *annotation_for(const struct spec *spec, const char *key) {
        for (size_t i = 0; i < ELEMENTSOF(annotations); i++)
                for (size_t k = 0; str_eq(annotations[i].key, key) && k < spec->n_annotations; k++)
                        if (str_eq(spec->annotations[k].key, annotations[i].annotation))
                                return spec->annotations[k].value;
        return NULL;
}

static void put_annotations(const struct oci_proxmox *p, const struct spec *spec, struct pve_params *to) {
        const char *rootfs = annotation_for(spec, "rootfs"), *tags = annotation_for(spec, "tags");
        const char *pool = annotation_for(spec, "pool");

        if (rootfs)
                pve_param(to, "rootfs", rootfs);
        else
                pve_param_printf(to, "rootfs", "%s:%s", p->storage,
                                 str_eq(p->rootfs_size, "0") ? "0" : DEFAULT_ROOTFS_GIB);
        pve_param_printf(to, "tags", OCI_PROXMOX_TAG "%s%s", tags ? ";" : "", tags ? tags : "");
        pve_param(to, "pool", pool ? pool : p->pool);
        pve_param(to, "features", annotation_for(spec, "features"));
        pve_param(to, "nameserver", annotation_for(spec, "nameserver"));
        pve_param(to, "net0", annotation_for(spec, "net0"));
}

int proxmox_put_fields(const struct oci_proxmox *p, const struct oci_config *config, struct pve_params *to,
                       struct err *err) {
        const struct spec *spec = &config->spec;
        int r = check_rest(config, err);

        if (r == 0)
                r = proxmox_put_resources(&spec->resources, true, to, err);
        if (r == 0)
                r = put_mounts(spec, to, err);
        if (r < 0)
                return r;
        pve_param(to, "hostname", str_empty(spec->hostname) ? NULL : spec->hostname);
        put_annotations(p, spec, to);
        return 0;
}
