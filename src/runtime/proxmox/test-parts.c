/* SPDX-License-Identifier: Apache-2.0 */
/* Claims are read as they were written and nothing else is taken for one; ends of processes are told once; ids. */
#undef NDEBUG
#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/proc.h"
#include "base/str.h"
#include "runtime/proxmox/claim.h"
#include "runtime/proxmox/ct.h"
#include "runtime/proxmox/ends.h"
#include "runtime/proxmox/cts.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_claim(void) {
        const struct ct_pod pod = { .id = ID, .name = "web-0", .pod_namespace = "shop", .uid = "1-2-3" };
        /* Of somebody who wants to own another's container. */
        const struct ct_pod evil = {
                .id = ID,
                .name = "x\n- sandbox: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                .pod_namespace = "a\n- node: other",
                .uid = "[click](http://x)<b>"
        };
        _cleanup_strbuf_ struct strbuf text = STRBUF(4096), hostile = STRBUF(4096);
        struct claim c;

        claim_write(&pod, "pve1", &text);
        assert(str_after(strbuf_str(&text), "Pod shop/web-0 of Kubernetes"));
        assert(claim_read(strbuf_str(&text), &c) && str_eq(c.pod_id, ID) && str_eq(c.node, "pve1"));
        claim_write(&evil, "pve1", &hostile);
        assert(claim_read(strbuf_str(&hostile), &c) && str_eq(c.pod_id, ID) && str_eq(c.node, "pve1"));
        assert(!strpbrk(strbuf_str(&hostile), "<>[]()"));
}

static void test_no_claim(void) {
        static const char *const texts[] = {
                NULL,
                "",
                "my container",
                "- node: pve1\n",
                "- sandbox: " ID "\n",
                "- node: pve1\n- sandbox: 0123\n",
                "- node: pve1\n- sandbox: " ID "0\n",
                "- node: pve1\n- sandbox: g" ID "\n",
                " - node: pve1\n - sandbox: " ID "\n",
                "- node: \n- sandbox: " ID "\n",
                "- node: a-name-that-is-longer-than-any-node-of-a-cluster-may-have-it-by-far-0123456789\n- "
                "sandbox: " ID,
        };
        struct claim c;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                assert(!claim_read(texts[i], &c));
        /* As it comes back from a server that ends lines otherwise. */
        assert(claim_read("x\r\n- node: pve1\r\n- sandbox: " ID "\r\n", &c) && str_eq(c.node, "pve1"));
}

static void test_claim_of_no_pod(void) {
        static const char both[] = "- node: pve1\n- sandbox: " ID "\n- prepared from: x\n";
        _cleanup_strbuf_ struct strbuf text = STRBUF(4096), hostile = STRBUF(4096);
        struct claim c;

        claim_write_prepared("template_0a.tar.gz-zfs-0.125", "pve1", &text);
        assert(claim_read(strbuf_str(&text), &c) && str_eq(c.node, "pve1") && !*c.pod_id);
        assert(str_eq(c.recipe, "template_0a.tar.gz-zfs-0.125"));
        assert(str_after(strbuf_str(&text), "Prepared by proxmox-lxcri for a pod"));
        claim_write_prepared("<b>\n- sandbox: " ID, "pve1", &hostile);
        assert(claim_read(strbuf_str(&hostile), &c) && !*c.pod_id && !strpbrk(strbuf_str(&hostile), "<>"));
        assert(!claim_read(both, &c));
        assert(!claim_read("- prepared from: x\n", &c));
}

static _Atomic int told;
static char last[ENDS_ID_MAX];

static void on_end(const char *id, void *userdata) {
        assert(userdata == &told);
        (void) snprintf(last, sizeof(last), "%s", id);
        atomic_fetch_add(&told, 1);
}

static pid_t start(struct ends *e, const char *id) {
        struct err err;
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0) {
                (void) pause();
                _exit(0);
        }
        assert(ends_watch(e, id, proc_open(pid, proc_start_time(pid)), &err) == 0);
        return pid;
}

static void end(pid_t pid) {
        assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void wait_told(int n) {
        for (int i = 0; i < 3000 && told < n; i++)
                (void) usleep(10000);
        assert(told == n);
}

static void test_ends(void) {
        struct ends *e;
        struct err err;
        pid_t a, b, c;

        assert(ends_new(on_end, &told, &e, &err) == 0);
        a = start(e, "a");
        b = start(e, "b");
        end(a);
        wait_told(1);
        assert(str_eq(last, "a"));
        ends_forget(e, "b");
        ends_forget(e, "b");
        end(b);
        a = start(e, "c");
        c = start(e, "c"); /* in its place */
        end(a);
        (void) usleep(50000);
        assert(told == 1);
        end(c);
        wait_told(2);
        assert(str_eq(last, "c"));
        b = start(e, "d");
        (void) ends_free(e);
        end(b);
        assert(told == 2);
}

static void test_ids(void) {
        static const struct {
                const char *text;
                bool granted;
        } cases[] = {
                { "root:100000:65536\n", true },
                { "user:100000:65536\nroot:100000:65536", true },
                { "root:65536:1000000\n", true },
                { "user:100000:65536\n", false },
                { "root:100000:65535\n", false },
                { "root:100001:65536\n", false },
                { "root:100000\nroot::\nroot:\nroot:a:b\n", false },
                { "root:1:18446744073709551615\n", true },
                { "", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert(ct_ids_granted(cases[i].text) == cases[i].granted);
}

int main(void) {
        test_ids();
        test_claim();
        test_no_claim();
        test_claim_of_no_pod();
        test_ends();
        return 0;
}
