/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "pve/test-kit.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

static struct pve *client(const struct test_server *const *servers, struct pve_args args) {
        const char *hosts[HOSTS_MAX] = { 0 }, *fingerprints[HOSTS_MAX] = { 0 };
        char names[HOSTS_MAX][32];
        struct pve *p = NULL;
        struct err err;

        for (size_t i = 0; servers[i]; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "127.0.0.1:%u", servers[i]->port);
                hosts[i] = names[i];
                fingerprints[i] = servers[i]->fingerprint;
        }
        args.hosts = hosts;
        args.fingerprints = fingerprints;
        assert(pve_new(&args, &p, &err) == 0);
        return p;
}

static struct pve *client_with_token(const struct test_server *const *servers, struct pve_args args) {
        struct file token = file_with(TEST_TOKEN "\n");
        struct pve *p;

        args.token_id = "root@pam!k8s";
        args.token_file = token.path;
        p = client(servers, args);
        (void) unlink(token.path);
        return p;
}

struct pve *test_client(const struct test_server *const *servers) {
        return client_with_token(servers, (struct pve_args){ 0 });
}

struct pve *test_client_with_lines(const struct test_server *s, unsigned n) {
        const struct test_server *const servers[] = { s, NULL };

        return client_with_token(servers, (struct pve_args){ .node_operations = n, .storage_operations = n });
}

struct pve *test_client_of(const struct test_server *s) {
        return test_client((const struct test_server *const[]){ s, NULL });
}

static struct file password; /* is read whenever a ticket is asked for */

static void remove_password(void) {
        (void) unlink(password.path);
}

struct pve *test_client_with_password(const struct test_server *s, unsigned ticket_s) {
        const struct test_server *const servers[] = { s, NULL };
        struct pve_args args = { .user = "root@pam", .ticket_s = ticket_s };

        if (!*password.path) {
                password = file_with("pass;w&rd");
                (void) atexit(remove_password);
        }
        args.password_file = password.path;
        return client(servers, args);
}

struct pve_until test_until(unsigned ms) {
        return (struct pve_until){ .cancel_fd = -1, .deadline_ns = clock_monotonic_ns() + ms * 1000000ull };
}
