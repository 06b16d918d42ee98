/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "pve/test-kit.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "pve/hosts.h"

struct file {
        char path[32];
};

static struct file file_with(const char *content) {
        struct file f = { "/tmp/test-pve.XXXXXX" };
        int fd = mkostemp(f.path, O_CLOEXEC);

        assert(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t) strlen(content) && close(fd) == 0);
        return f;
}

static struct pve *client(const struct test_server *const *servers, struct pve_args *args) {
        const char *hosts[HOSTS_MAX] = { 0 }, *fingerprints[HOSTS_MAX] = { 0 };
        char names[HOSTS_MAX][32];
        struct pve *p;
        struct err err;

        for (size_t i = 0; servers[i]; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "127.0.0.1:%u", servers[i]->port);
                hosts[i] = names[i];
                fingerprints[i] = servers[i]->fingerprint;
        }
        args->hosts = hosts;
        args->fingerprints = fingerprints;
        if (pve_new(args, &p, &err) < 0)
                (void) fprintf(stderr, "%s\n", err.msg);
        else
                return p;
        abort();
}

struct pve *test_client(const struct test_server *const *servers) {
        struct file token = file_with(TEST_TOKEN "\n");
        struct pve *p = client(servers, &(struct pve_args){ .token_id = "root@pam!k8s", .token_file = token.path });

        (void) unlink(token.path);
        return p;
}

struct pve *test_client_of(const struct test_server *s) {
        return test_client((const struct test_server *const[]){ s, NULL });
}

struct pve *test_client_with_password(const struct test_server *s, unsigned ticket_s) {
        static struct file password; /* is read whenever a ticket is asked for */

        password = file_with("pass;w&rd");
        return client((const struct test_server *const[]){ s, NULL },
                      &(struct pve_args){ .user = "root@pam", .password_file = password.path, .ticket_s = ticket_s });
}

struct pve_until test_until(unsigned ms) {
        return (struct pve_until){ .cancel_fd = -1, .deadline_ns = clock_monotonic_ns() + ms * 1000000ull };
}
