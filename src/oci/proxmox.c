/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox - see proxmox.h. The calls of a container's life: upload, create, configure, start; configuration, delete. */
#include "oci/proxmox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "init/supervisor.h"
#include "oci/creation.h"
#include "oci/proxmox-image.h"
#include "pve/cluster.h"
#include "pve/vmids.h"
#include "runtime/lxc/plan.h"
#include "runtime/proxmox/claim.h"
#include "runtime/proxmox/process.h"

enum {
        SUPERVISOR_TIMEOUT_MS = 30000, /* of a CT that has been started, until our program in it listens */
        LOOK_AGAIN_MS = 10,
        APPEARS_TIMEOUT_MS = 2000, /* of a CT whose maker was killed while it asked for it */
        DESCRIPTION_MAX = 4096,
};

/* What one creation needs while it lasts. */
struct making {
        const struct oci_proxmox *p;
        struct creation *c;
        struct pve_until until;
        struct pve_params params;
        struct proxmox_image image;
        struct plan plan;
        struct ct ct;
        int rootfs, template, null_fd, sock;
};

static void making_done(struct making *m) {
        pve_params_done(&m->params);
        proxmox_image_done(&m->image);
        plan_done(&m->plan);
        m->rootfs = fd_close(m->rootfs);
        m->template = fd_close(m->template);
        m->null_fd = fd_close(m->null_fd);
        m->sock = fd_close(m->sock);
}

static struct pve_until until_of(const struct oci_proxmox *p) {
        return (struct pve_until){ .cancel_fd = -1, .deadline_ns = clock_monotonic_ns() + p->timeout_ms * 1000000 };
}

static void pause_ms(unsigned ms) {
        const struct timespec t = { .tv_nsec = (long) ms * 1000000 };

        (void) nanosleep(&t, NULL);
}

/* --- whose ------------------------------------------------------------------------------------------------------- */

/* Lines of a description, which people see in the web page. */
static void write_claim(const struct oci_proxmox *p, const struct oci_state *s, struct strbuf *to) {
        strbuf_puts(to, "- container: ");
        claim_word(to, s->id);
        strbuf_puts(to, "\n- made: ");
        claim_word(to, s->created);
        strbuf_puts(to, "\n- by node: ");
        claim_word(to, p->node);
        strbuf_putc(to, '\n');
}

static int is_ours(const struct oci_proxmox *p, const struct oci_state *s, const struct pve_until *until, bool *ret,
                   struct err *err) {
        _cleanup_strbuf_ struct strbuf claim = STRBUF(DESCRIPTION_MAX);
        _cleanup_(json_unrefp) json_t *config = NULL;
        const char *description;
        int r = pve_ct_config(p->pve, &(struct pve_ct){ p->node, s->vmid }, until, &config, err);

        *ret = false;
        if (r < 0)
                return r;
        description = pve_json_str(config, "description");
        write_claim(p, s, &claim);
        *ret = description && strstr(description, strbuf_str(&claim));
        return 0;
}

/* --- making ------------------------------------------------------------------------------------------------------ */

static int check_version(struct making *m, struct err *err) {
        struct pve_version version;
        int r = pve_get_version(m->p->pve, &m->until, &version, err);

        if (r == 0 && !pve_has(&version, PVE_FEATURE_ENTRYPOINT))
                return err_set(err, ERR_UNIMPLEMENTED,
                               "the engine proxmox needs Proxmox VE 9.1, for a container's entrypoint; this is %u.%u",
                               version.major, version.minor);
        return r;
}

/* config.json, with what it leaves to its image. */
static int read_bundle(struct making *m, struct err *err) {
        struct arena *arena = m->c->oci->arena;
        const char *text;
        size_t len;
        int r = creation_read_bundle(m->c, &text, &len, err);

        if (r == 0)
                r = proxmox_image_find(m->p, &m->until, text, len, arena, &m->image, err);
        if (r == 0)
                r = proxmox_image_fill(&m->image, arena, &text, &len, err);
        return r < 0 ? r : creation_take_config(m->c, text, len, err);
}

static int write_template(struct making *m, struct err *err) {
        const struct oci *oci = m->c->oci;
        int r;

        if (m->image.volume)
                return proxmox_image_write(&m->image, oci->init_path, m->c->dir.fd, oci->arena, &m->template, err);
        r = creation_open_rootfs(m->c, &m->rootfs, err);
        return r < 0 ? r : proxmox_write_template(m->rootfs, oci->init_path, &m->template, err);
}

/* Written down before it is there, so that whoever deletes the container finds it. */
static int upload(struct making *m, struct err *err) {
        const struct pve_storage storage = { m->p->node, m->p->template_storage };
        struct oci_state *s = &m->c->state;
        _cleanup_(freep) char *file = NULL;
        const char *name;
        uint64_t number;
        int r;

        if (getrandom(&number, sizeof(number), 0) != sizeof(number))
                return err_sys(err, errno, "take a random number");
        name = arena_printf(m->c->oci->arena, "proxmox-lxcri-oci_%016llx.tar%s", (unsigned long long) number,
                            m->image.volume ? "" : ".zst");
        s->engine = OCI_PROXMOX_ENGINE;
        s->volume = arena_printf(m->c->oci->arena, "%s:vztmpl/%s", m->p->template_storage, name);
        r = oci_claim_write(&m->c->dir, s, err);
        if (r == 0)
                r = oci_state_write(&m->c->dir, s, err);
        if (r == 0)
                r = write_template(m, err);
        if (r < 0)
                return r;
        file = xprintf("/proc/self/fd/%d", m->template);
        r = pve_storage_upload(m->p->pve, &storage, file, name, &m->until, err);
        return r < 0 ? err_wrap(err, "put the template on storage %s", m->p->template_storage) : 0;
}

static int drop_template(const struct oci_proxmox *p, const char *volume, const struct pve_until *until,
                         struct err *err) {
        const struct pve_storage storage = { p->node, p->template_storage };
        int r = str_empty(volume) ? 0 : pve_storage_delete(p->pve, &storage, volume, until, err);

        return r < 0 && (pve_kind(err) == PVE_NO_VOLUME || pve_kind(err) == PVE_MISSING) ? 0 : r;
}

static int create_as(struct pve *pve, unsigned vmid, void *userdata, struct err *err) {
        struct making *m = userdata;
        const struct pve_ct_args args = { .params = &m->params, .storage = m->p->storage, .until = &m->until };
        int r;

        m->c->state.vmid = vmid;
        r = oci_state_write(&m->c->dir, &m->c->state, err);
        return r < 0 ? r : pve_ct_create(pve, &(struct pve_ct){ m->p->node, vmid }, &args, NULL, err);
}

static int create(struct making *m, struct err *err) {
        _cleanup_strbuf_ struct strbuf description = STRBUF(DESCRIPTION_MAX);
        struct oci_state *s = &m->c->state;
        uint32_t vmid;
        int r;

        strbuf_puts(&description, "OCI container, by proxmox-lxcri: `proxmox-lxcri delete` removes it.\n\n");
        write_claim(m->p, s, &description);
        pve_param(&m->params, "description", strbuf_str(&description));
        pve_param(&m->params, "ostemplate", s->volume);
        pve_param(&m->params, "ostype", "unmanaged");
        pve_param(&m->params, "unprivileged", "1");
        pve_param(&m->params, "console", "0");
        pve_param(&m->params, "tty", "0");
        r = vmids_create(m->p->vmids, m->p->pve, &m->until, create_as, m, &vmid, err);
        if (r == 0)
                r = drop_template(m->p, s->volume, &m->until, err);
        if (r == 0)
                s->volume = "";
        return r;
}

/* What is given at creation an image may overwrite. */
static int set_entrypoint(struct making *m, struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = { .params = &params, .until = &m->until };

        pve_param(&params, "entrypoint", "/" SUPERVISOR_PROGRAM " " SUPERVISOR_VERB);
        return pve_ct_set(m->p->pve, &(struct pve_ct){ m->p->node, m->c->state.vmid }, &args, true, err);
}

static int start(struct making *m, struct err *err) {
        const struct pve_ct_args args = { .until = &m->until };
        struct oci_state *s = &m->c->state;
        int r = pve_ct_do(m->p->pve, &(struct pve_ct){ m->p->node, s->vmid }, PVE_CT_START, &args, NULL, err);

        if (r < 0)
                return r;
        m->ct.vmid = s->vmid;
        r = ct_process_find(m->c->cgroups, &m->ct, err);
        if (r < 0)
                return err_wrap(err, "Proxmox has started it on node %s (proxmox.node)", m->p->node);
        s->watcher_pid = m->ct.pid;
        s->watcher_start = m->ct.start_time;
        s->cgroup_path = arena_printf(m->c->oci->arena, "/lxc/%u/ns", s->vmid);
        s->own_pid_ns = true;
        return oci_state_write(&m->c->dir, s, err);
}

/* --- handing over ------------------------------------------------------------------------------------------------ */

/* By descriptors, as what is in there is not to lead us elsewhere. */
static int connect_once(const struct making *m, int *ret) {
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH };
        _cleanup_(fd_closep) int root = -1, file = -1, sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/root", (int) m->ct.pid);
        root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        file = root < 0 ? -1 : (int) syscall(SYS_openat2, root, SUPERVISOR_SOCKET, &how, sizeof(how));
        if (sock < 0 || file < 0)
                return -errno;
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
        if (connect(sock, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret = TAKE_FD(sock);
        return 0;
}

static int connect_to_supervisor(struct making *m, struct err *err) {
        uint64_t deadline = clock_monotonic_ns() + SUPERVISOR_TIMEOUT_MS * 1000000ULL;
        _cleanup_(fd_closep) int pidfd = ct_process_open(&m->ct);
        int r, one = 1;

        while ((r = connect_once(m, &m->sock)) < 0) {
                if (pidfd < 0 || proc_wait_gone(pidfd, LOOK_AGAIN_MS))
                        return err_set(err, ERR_ABORTED,
                                       "container %u ended at once: its log is in Proxmox' task list, and in "
                                       "/run/pve/ct-%u.stderr",
                                       m->ct.vmid, m->ct.vmid);
                if (clock_monotonic_ns() > deadline)
                        return err_sys(err, -r, "reach the first process of container %u", m->ct.vmid);
        }
        return setsockopt(m->sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0
                       ? err_sys(err, errno, "prepare the socket to container %u", m->ct.vmid)
                       : 0;
}

static int send_exit_file(struct making *m, struct err *err) {
        struct creation *c = m->c;
        char type = SUPERVISOR_MSG_EXIT;
        int r;

        c->exit_file = openat(c->dir.fd, OCI_EXIT_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (c->exit_file < 0 || ftruncate(c->exit_file, sizeof(uint32_t)) < 0)
                return err_sys(err, errno, "make the file for how the container ends");
        r = sock_send(m->sock, &type, 1, &c->exit_file, 1);
        return r < 0 ? err_sys(err, -r, "hand over the file for how the container ends") : 0;
}

/* The container's user namespace, by which init knows who says "start". */
static void put_ids(struct spec *spec) {
        spec->ns[SPEC_NS_USER] = (struct spec_namespace){ .create = true };
        spec->user_ids = (struct id_maps){ .uids = &ct_id_range, .n_uids = 1, .gids = &ct_id_range, .n_gids = 1 };
        spec->session_keyring = false; /* a CT's system calls for keys are refused */
}

/* Who the image's user is, by its files. */
static int settle_user(struct making *m, struct err *err) {
        _cleanup_(fd_closep) int root = -1;
        const char *text;
        char path[64];
        int r;

        if (!m->image.is_users)
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/root", (int) m->ct.pid);
        root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return err_sys(err, errno, "open the root of container %u", m->ct.vmid);
        r = proxmox_image_look_up_user(&m->image, root, m->c->oci->arena, &m->c->config.spec.process.user, &text, err);
        return r < 0 ? r : oci_dir_write_config(&m->c->dir, text, strlen(text), err);
}

static int send_plan(struct making *m, struct err *err) {
        struct spec *spec = &m->c->config.spec;
        int r;

        put_ids(spec);
        spec->start_socket = m->c->start_socket;
        r = plan_build_program(spec, &m->plan, err);
        if (r < 0)
                return r;
        m->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (m->null_fd < 0)
                return err_sys(err, errno, "open /dev/null");
        return creation_send_plan(m->c, &m->plan, m->null_fd, m->sock, err);
}

static int wait_for_ready(struct making *m, struct err *err) {
        union {
                uint8_t type;
                struct plan_ready ready;
                struct plan_error error;
        } u = { 0 };
        _cleanup_(sock_msg_done) struct sock_msg msg = { 0 };
        int r = sock_recv(m->sock, &u, sizeof(u) - 1, &msg);

        if (r < 0 && r != -ECONNRESET)
                return err_sys(err, -r, "hear from init");
        if (r < 0 || msg.len == 0)
                return err_set(
                        err, ERR_INTERNAL,
                        "container %s: its program's process ended before it was ready: killed, or out of memory",
                        m->c->args->id);
        if (u.type == PLAN_MSG_ERROR)
                return err_set(err, ERR_INVALID, "%s", u.error.text);
        return u.type == PLAN_MSG_READY ? creation_take_init(m->c, &u.ready, &msg, err)
                                        : err_set(err, ERR_INTERNAL, "init said '%c' unasked", u.type);
}

static int hand_over(struct making *m, struct err *err) {
        int r = connect_to_supervisor(m, err);

        if (r == 0)
                r = send_exit_file(m, err);
        if (r == 0)
                r = settle_user(m, err);
        if (r == 0)
                r = send_plan(m, err);
        if (r == 0)
                r = wait_for_ready(m, err);
        return r < 0 ? r : creation_finish(m->c, err);
}

static int make(const struct oci_engine *e, struct creation *c, struct err *err) {
        _cleanup_(making_done) struct making m = { .p = (const struct oci_proxmox *) e,
                                                   .c = c,
                                                   .params = PVE_PARAMS,
                                                   .plan = PLAN_EMPTY,
                                                   .rootfs = -1,
                                                   .template = -1,
                                                   .null_fd = -1,
                                                   .sock = -1 };
        int r;

        m.until = until_of(m.p);
        r = read_bundle(&m, err);
        if (r == 0)
                r = proxmox_put_fields(m.p, &c->config, &m.params, err);
        if (r == 0)
                r = creation_connect_console(c, err);
        if (r == 0)
                r = creation_listen_for_start(c, err);
        if (r == 0)
                r = check_version(&m, err);
        if (r == 0)
                r = upload(&m, err);
        if (r == 0)
                r = create(&m, err);
        if (r == 0)
                r = set_entrypoint(&m, err);
        if (r == 0)
                r = start(&m, err);
        return r < 0 ? r : hand_over(&m, err);
}

/* --- removing ---------------------------------------------------------------------------------------------------- */

/* Of a creation that was killed while it asked, Proxmox may only be about to begin. */
static int find(const struct oci_proxmox *p, const struct oci_state *s, const struct pve_until *until, bool *ret_ours,
                struct err *err) {
        unsigned waited = s->watcher_pid > 0 ? APPEARS_TIMEOUT_MS : 0;
        int r;

        for (;; waited += LOOK_AGAIN_MS * 10) {
                r = is_ours(p, s, until, ret_ours, err);
                if (r == 0 || pve_kind(err) != PVE_MISSING)
                        return r;
                if (waited >= APPEARS_TIMEOUT_MS)
                        return 0;
                pause_ms(LOOK_AGAIN_MS * 10);
        }
}

static int destroy(const struct oci_proxmox *p, const struct oci_state *s, const struct pve_until *until,
                   struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct pve_ct_args args = { .params = &params, .storage = p->storage, .until = until };
        bool ours = false;
        int r = find(p, s, until, &ours, err);

        if (r < 0 || !ours)
                return r;
        pve_param(&params, "force", "1");
        pve_param(&params, "purge", "1");
        r = pve_ct_do(p->pve, &(struct pve_ct){ p->node, s->vmid }, PVE_CT_DELETE, &args, NULL, err);
        return r < 0 && pve_kind(err) == PVE_MISSING ? 0 : r;
}

/* By its description, among all that have our tag. */
static int find_lost(const struct oci_proxmox *p, struct oci_state *s, const struct pve_until *until, struct err *err) {
        _cleanup_(pve_ct_list_done) struct pve_ct_list list = { 0 };
        bool ours = false;
        int r = pve_ct_list(p->pve, until, &list, err);

        for (size_t i = 0; i < list.n && r == 0 && !ours; i++) {
                const struct pve_ct_entry *entry = &list.entries[i];

                if (!str_eq(entry->ct.node, p->node) || !strstr(entry->status.tags, OCI_PROXMOX_TAG))
                        continue;
                s->vmid = entry->ct.vmid;
                r = is_ours(p, s, until, &ours, err);
                if (r < 0 && pve_kind(err) == PVE_MISSING)
                        r = 0;
        }
        if (!ours)
                s->vmid = 0;
        return r;
}

static int remove_it(const struct oci_engine *e, const struct oci *o, const struct oci_state *given, struct err *err) {
        const struct oci_proxmox *p = (const struct oci_proxmox *) e;
        const struct pve_until until = until_of(p);
        struct oci_state s = *given;
        int r = s.is_lost ? find_lost(p, &s, &until, err) : 0;

        if (r == 0 && s.vmid)
                r = destroy(p, &s, &until, err);
        if (r == 0)
                r = drop_template(p, s.volume, &until, err);
        return r < 0 ? err_wrap(err, "remove Proxmox container %u of container %s", s.vmid, s.id) : 0;
}

static int update(const struct oci_engine *e, const struct oci_state *s, const struct spec_resources *r,
                  struct err *err) {
        _cleanup_params_ struct pve_params params = PVE_PARAMS;
        const struct oci_proxmox *p = (const struct oci_proxmox *) e;
        const struct pve_until until = until_of(p);
        const struct pve_ct_args args = { .params = &params, .until = &until };
        bool ours = false;
        int res = proxmox_put_resources(r, false, &params, err);

        if (res == 0)
                res = is_ours(p, s, &until, &ours, err);
        if (res == 0 && !ours)
                return err_set(err, ERR_PRECONDITION, "Proxmox container %u is not container %s any more", s->vmid,
                               s->id);
        return res < 0 ? res : pve_ct_set(p->pve, &(struct pve_ct){ p->node, s->vmid }, &args, true, err);
}

void oci_proxmox_init(struct oci_proxmox *p) {
        p->engine =
                (struct oci_engine){ .name = OCI_PROXMOX_ENGINE, .make = make, .remove = remove_it, .update = update };
}
