/* SPDX-License-Identifier: Apache-2.0 */
/* devices-bpf - device rules on cgroup v2: a BPF program built here, which asks the last rule first. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "runtime/cgroup/internal.h"

enum { INSNS_PER_RULE = 10, INSNS_MAX = DEVICE_RULES_MAX * INSNS_PER_RULE + 16 };

struct program {
        struct bpf_insn insns[INSNS_MAX];
        size_t n;
};

enum {
        R_ALLOW = BPF_REG_0,
        R_CTX = BPF_REG_1,
        R_ACCESS = BPF_REG_2,
        R_TYPE = BPF_REG_3,
        R_MAJOR = BPF_REG_4,
        R_MINOR = BPF_REG_5,
        R_TMP = BPF_REG_6
};

static void emit(struct program *p, uint8_t code, unsigned dst, unsigned src, int16_t off, int32_t imm) {
        p->insns[p->n++] =
                (struct bpf_insn){ .code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm };
}

static void emit_return(struct program *p, bool allow) {
        emit(p, BPF_ALU64 | BPF_MOV | BPF_K, R_ALLOW, 0, 0, allow);
        emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int32_t access_bits(const char *access) {
        int32_t bits = 0;

        for (; *access; access++)
                bits |= *access == 'r'   ? BPF_DEVCG_ACC_READ
                        : *access == 'w' ? BPF_DEVCG_ACC_WRITE
                                         : BPF_DEVCG_ACC_MKNOD;
        return bits;
}

/* "When the device is not of this rule, go on behind it." Targets are patched once its length is known. 32-bit
 * compares, as device numbers are unsigned and immediates signed. */
static void emit_rule(struct program *p, const struct spec_device_rule *d) {
        size_t jumps[3], n_jumps = 0;
        int32_t bits = access_bits(d->access);

        if (d->type != 'a') {
                jumps[n_jumps++] = p->n;
                emit(p, BPF_JMP32 | BPF_JNE | BPF_K, R_TYPE, 0, 0,
                     d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
        }
        if (d->major >= 0) {
                jumps[n_jumps++] = p->n;
                emit(p, BPF_JMP32 | BPF_JNE | BPF_K, R_MAJOR, 0, 0, (int32_t) (uint32_t) d->major);
        }
        if (d->minor >= 0) {
                jumps[n_jumps++] = p->n;
                emit(p, BPF_JMP32 | BPF_JNE | BPF_K, R_MINOR, 0, 0, (int32_t) (uint32_t) d->minor);
        }
        if (d->allow) {
                /* Granted here; when nothing else is asked, that settles it. */
                emit(p, BPF_ALU | BPF_AND | BPF_K, R_ACCESS, 0, 0, ~bits);
                emit(p, BPF_JMP32 | BPF_JNE | BPF_K, R_ACCESS, 0, 2, 0);
        } else {
                emit(p, BPF_ALU | BPF_MOV | BPF_X, R_TMP, R_ACCESS, 0, 0);
                emit(p, BPF_ALU | BPF_AND | BPF_K, R_TMP, 0, 0, bits);
                emit(p, BPF_JMP32 | BPF_JEQ | BPF_K, R_TMP, 0, 2, 0);
        }
        emit_return(p, d->allow);
        for (size_t i = 0; i < n_jumps; i++)
                p->insns[jumps[i]].off = (int16_t) (p->n - jumps[i] - 1);
}

/* Last rule first. */
static void build(struct program *p, const struct spec_device_rule *rules, size_t n) {
        p->n = 0;
        emit(p, BPF_LDX | BPF_MEM | BPF_W, R_TYPE, R_CTX, offsetof(struct bpf_cgroup_dev_ctx, access_type), 0);
        emit(p, BPF_ALU | BPF_MOV | BPF_X, R_ACCESS, R_TYPE, 0, 0);
        emit(p, BPF_ALU | BPF_RSH | BPF_K, R_ACCESS, 0, 0, 16);
        emit(p, BPF_ALU | BPF_AND | BPF_K, R_TYPE, 0, 0, 0xffff);
        emit(p, BPF_LDX | BPF_MEM | BPF_W, R_MAJOR, R_CTX, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
        emit(p, BPF_LDX | BPF_MEM | BPF_W, R_MINOR, R_CTX, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
        while (n-- > 0) {
                if (device_rule_is_all(&rules[n])) {
                        emit_return(p, rules[n].allow); /* the verifier refuses code behind it */
                        return;
                }
                emit_rule(p, &rules[n]);
        }
        emit_return(p, true);
}

static int bpf(int cmd, union bpf_attr *attr) {
        return (int) syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int load(const struct program *p, struct err *err) {
        static const char license[] = "Apache-2.0";
        union bpf_attr attr;
        int fd;

        memset(&attr, 0, sizeof(attr));
        attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
        attr.insns = (uintptr_t) p->insns;
        attr.insn_cnt = (uint32_t) p->n;
        attr.license = (uintptr_t) license;
        memcpy(attr.prog_name, "lxcri_devices", 14);
        fd = bpf(BPF_PROG_LOAD, &attr);
        if (fd < 0 && errno == EPERM) {
                /* Kernels before 5.11 count programs against RLIMIT_MEMLOCK. */
                (void) setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
                fd = bpf(BPF_PROG_LOAD, &attr);
        }
        return fd >= 0 ? fd : err_sys(err, errno, "devices: load the device filter (BPF)");
}

static uint64_t hash_of(const void *data, size_t len) {
        uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

        for (const unsigned char *p = data; len--; p++)
                h = (h ^ *p) * 0x100000001b3;
        return h;
}

/* Most containers of a node have the same rules, and verifying is the dear part: keep the last few programs. Called
 * with the lock held; the descriptor is borrowed. */
static int find_or_load(struct cgroups *c, const struct program *p, struct err *err) {
        size_t bytes = p->n * sizeof(p->insns[0]);
        uint64_t hash = hash_of(p->insns, bytes);
        struct device_program *d;
        int fd;

        for (size_t i = 0; i < DEVICE_CACHE_MAX; i++) {
                d = &c->programs[i];
                if (d->fd >= 0 && d->hash == hash && d->n_insns == p->n && memcmp(d->insns, p->insns, bytes) == 0)
                        return d->fd;
        }
        fd = load(p, err);
        if (fd < 0)
                return fd;
        d = &c->programs[c->next_program++ % DEVICE_CACHE_MAX];
        (void) fd_close(d->fd);
        free(d->insns);
        *d = (struct device_program){ .hash = hash, .n_insns = p->n, .insns = xcalloc(1, bytes), .fd = fd };
        memcpy(d->insns, p->insns, bytes);
        return fd;
}

/* Filters that the group has by now: of its last use, of systemd, or ours, to be changed. Number, at most @max. */
static size_t attached(int dirfd, int *fds, size_t max) {
        uint32_t ids[64] = { 0 };
        union bpf_attr attr;
        size_t n = 0;

        memset(&attr, 0, sizeof(attr));
        attr.query.target_fd = (uint32_t) dirfd;
        attr.query.attach_type = BPF_CGROUP_DEVICE;
        attr.query.prog_ids = (uintptr_t) ids;
        attr.query.prog_cnt = ELEMENTSOF(ids);
        if (bpf(BPF_PROG_QUERY, &attr) < 0)
                return 0;
        for (size_t i = 0, found = attr.query.prog_cnt; i < found && n < max; i++) {
                memset(&attr, 0, sizeof(attr));
                attr.prog_id = ids[i];
                fds[n] = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
                if (fds[n] >= 0)
                        n++;
        }
        return n;
}

static int attach(int dirfd, int prog, int replaced) {
        union bpf_attr attr;

        memset(&attr, 0, sizeof(attr));
        attr.target_fd = (uint32_t) dirfd;
        attr.attach_bpf_fd = (uint32_t) prog;
        attr.attach_type = BPF_CGROUP_DEVICE;
        attr.attach_flags = BPF_F_ALLOW_MULTI;
        if (replaced >= 0) {
                attr.attach_flags |= BPF_F_REPLACE; /* kernel 5.6 */
                attr.replace_bpf_fd = (uint32_t) replaced;
        }
        return bpf(BPF_PROG_ATTACH, &attr) < 0 ? -errno : 0;
}

static void detach(int dirfd, int prog) {
        union bpf_attr attr;

        memset(&attr, 0, sizeof(attr));
        attr.target_fd = (uint32_t) dirfd;
        attr.attach_bpf_fd = (uint32_t) prog;
        attr.attach_type = BPF_CGROUP_DEVICE;
        (void) bpf(BPF_PROG_DETACH, &attr);
}

/* All attached filters must agree, so old ones would add up. One is replaced at once; more go when the new one is
 * there: never is there a moment without. */
static int attach_alone(int dirfd, bool fresh, int prog) {
        int old[64];
        size_t n = fresh ? 0 : attached(dirfd, old, ELEMENTSOF(old));
        bool done = n == 1 && attach(dirfd, prog, old[0]) == 0;
        int r = done ? 0 : attach(dirfd, prog, -1);

        for (size_t i = 0; i < n; i++) {
                if (r == 0 && !done)
                        detach(dirfd, old[i]);
                (void) close(old[i]);
        }
        return r;
}

int devices_apply_v2(struct cgroups *c, int dirfd, bool fresh, const struct spec_device_rule *rules, size_t n,
                     struct err *err) {
        _cleanup_(freep) struct program *p = NULL;
        /* BPF takes a real descriptor, not an O_PATH one. */
        _cleanup_(fd_closep) int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int prog, r;

        if (fd < 0)
                return err_sys(err, errno, "devices: open the group");
        p = malloc(sizeof(*p));
        if (!p)
                abort();
        build(p, rules, n);
        (void) pthread_mutex_lock(&c->lock);
        prog = find_or_load(c, p, err);
        r = prog < 0 ? prog : attach_alone(fd, fresh, prog);
        (void) pthread_mutex_unlock(&c->lock);
        return prog < 0 || r == 0 ? r : err_sys(err, -r, "devices: attach the device filter (BPF)");
}
