/* SPDX-License-Identifier: Apache-2.0 */
/* test-fixture - see test-fixture.h. */
#undef NDEBUG
#include "init/test-fixture.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

struct plan_host host;

static const char *const environment[] = { "PATH=/bin", NULL };
static const struct spec_mount basic_mounts[] = {
        { .destination = "/dev",
          .type = "tmpfs",
          .source = "tmpfs",
          .data = "mode=755,size=65536k",
          .flags = MS_NOSUID | MS_STRICTATIME,
          .source_fd = -1 },
        { .destination = "/dev/pts",
          .type = "devpts",
          .source = "devpts",
          .data = "newinstance,ptmxmode=0666,mode=0620,gid=5",
          .flags = MS_NOSUID | MS_NOEXEC,
          .source_fd = -1 },
        { .destination = "/dev/mqueue",
          .type = "mqueue",
          .source = "mqueue",
          .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC,
          .source_fd = -1 },
        { .destination = "/proc",
          .type = "proc",
          .source = "proc",
          .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC,
          .source_fd = -1 },
        { .destination = "/sys",
          .type = "sysfs",
          .source = "sysfs",
          .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
          .source_fd = -1 },
};
static const struct spec_device devices[] = {
        { "/dev/null", 'c', 1, 3, 0666, 0, 0 },
        { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
        { "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
        { "/dev/full", 'c', 1, 7, 0640, 12, 34 },
};

_Static_assert(ELEMENTSOF(basic_mounts) == N_BASIC, "as the header says");

struct fixture *fixture_new(const char *script) {
        struct fixture *f = calloc(1, sizeof(*f));

        assert(f);
        box_init(&f->box);
        memcpy(f->mounts, basic_mounts, sizeof(basic_mounts));
        f->args[0] = "/bin/sh";
        f->args[1] = "-c";
        f->args[2] = script;
        f->spec = (struct spec){
                .id = "test",
                .rootfs_mount_fd = -1,
                .mounts = f->mounts,
                .n_mounts = N_BASIC,
                .devices = devices,
                .n_devices = ELEMENTSOF(devices),
                .process = { .args = f->args,
                             .env = environment,
                             .cwd = "/",
                             .caps = { DEFAULT_CAPS, DEFAULT_CAPS, DEFAULT_CAPS, 0, 0 } },
        };
        return f;
}

struct spec_mount *add_mount(struct fixture *f, const char *type, const char *source, const char *destination) {
        struct spec_mount *m = &f->mounts[f->spec.n_mounts++];

        assert(f->spec.n_mounts <= MAX_MOUNTS);
        *m = (struct spec_mount){
                .type = type, .source = source, .destination = destination, .recursive = true, .source_fd = -1
        };
        return m;
}

struct fixture *fixture_free(struct fixture *f) {
        if (f) {
                box_done(&f->box);
                free(f);
        }
        return NULL;
}

int run(struct fixture *f) {
        int code;

        if (!box_start(&f->box, &f->spec, &host)) {
                (void) fprintf(stderr, "not ready: %s\n", f->box.error.text);
                abort();
        }
        code = box_run(&f->box);
        if (f->box.failure.text[0])
                (void) fprintf(stderr, "  (exec: %s)\n", f->box.failure.text);
        return code;
}

void expect(const struct fixture *f, const char *text) {
        if (strstr(f->box.output, text))
                return;
        (void) fprintf(stderr, "no \"%s\" in:\n%s\n", text, f->box.output);
        abort();
}

void expect_not(const struct fixture *f, const char *text) {
        if (!strstr(f->box.output, text))
                return;
        (void) fprintf(stderr, "\"%s\" in:\n%s\n", text, f->box.output);
        abort();
}

void expect_error(struct fixture *f, const char *text) {
        if (!box_start(&f->box, &f->spec, &host) && strstr(f->box.error.text, text))
                return;
        (void) fprintf(stderr, "no \"%s\" in: %s\n", text, f->box.error.text);
        abort();
}

int test_begin(void) {
        if (geteuid() != 0) {
                (void) fprintf(stderr, "needs root\n");
                return 77;
        }
        assert(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        (void) signal(SIGPIPE, SIG_IGN);
        return 0;
}
