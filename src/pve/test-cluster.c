/* SPDX-License-Identifier: Apache-2.0 */
/* What there is on the other side: versions, nodes, storages, permissions, free numbers. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "pve/ct.h"
#include "pve/firewall.h"
#include "pve/permissions.h"
#include "pve/test-kit.h"
#include "pve/vmids.h"

static void test_versions(void) {
        static const struct test_step script[] = {
                OK("GET " API "/version ", "{\"version\":\"9.2.11\",\"release\":\"9.2\",\"repoid\":\"1234abcd\"}"),
                OK("GET", "{\"version\":\"7.4-3\"}"),
                OK("GET", "{\"version\":\"6.4-15\"}"),
                OK("GET", "{\"version\":\"10.0.1\"}"),
                OK("GET", "{\"version\":\"nine\"}"),
                OK("GET", "{\"version\":\"9\"}"),
                OK("GET", "{}"),
                { 0 }
        };
        const struct pve_until until = test_until(20000);
        struct test_server s = { .script = script };
        struct pve_version v;
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_get_version(p, &until, &v, &err) == 0 && v.major == 9 && v.minor == 2);
        assert(pve_has(&v, PVE_FEATURE_MP_IDMAP) && pve_has(&v, PVE_FEATURE_HOST_MANAGED));
        assert(pve_get_version(p, &until, &v, &err) == 0 && v.major == 7 && v.minor == 4);
        assert(!pve_has(&v, PVE_FEATURE_MP_IDMAP) && !pve_has(&v, PVE_FEATURE_HA_RULES));
        assert(!pve_has(&(struct pve_version){ 9, 1 }, PVE_FEATURE_MP_IDMAP));
        assert(pve_has(&(struct pve_version){ 9, 1 }, PVE_FEATURE_ENTRYPOINT));
        for (int i = 0; i < 2; i++)
                assert(pve_get_version(p, &until, &v, &err) == -ERR_UNIMPLEMENTED &&
                       strstr(err.msg, "7 to 9 are known"));
        for (int i = 0; i < 3; i++)
                assert(pve_get_version(p, &until, &v, &err) == -ERR_PRECONDITION && pve_kind(&err) == PVE_FOREIGN);
        p = pve_free(p);
        test_server_stop(&s);
}

static void test_find_node(void) {
        static const char two[] = "[{\"type\":\"node\",\"id\":\"node/pve2\",\"node\":\"pve2\",\"status\":\"online\"},"
                                  "{\"type\":\"node\",\"id\":\"node/pve1\",\"node\":\"pve1\",\"status\":\"online\"}]";
        char body[400];
        const struct test_step script[] = { STEP("GET " API "/nodes ", "200 OK", body),
                                            STEP("GET " API "/nodes ", "200 OK", body),
                                            STEP("GET " API "/nodes ", "200 OK", body),
                                            OK("GET " API "/nodes ", "[{\"node\":\"only\"}]"),
                                            OK("GET " API "/nodes ", "[]"),
                                            { 0 } };
        const struct pve_until until = test_until(20000);
        struct test_server s = { .script = script };
        char node[PVE_NODE_MAX];
        struct pve *p;
        struct err err;

        (void) snprintf(body, sizeof(body), "{\"data\":%s}", two);
        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_find_node(p, "PVE1.example.org", &until, node, &err) == 0 && str_eq(node, "pve1"));
        assert(pve_find_node(p, "pve", &until, node, &err) == -ERR_PRECONDITION && strstr(err.msg, ": pve2, pve1;"));
        assert(pve_find_node(p, "pve21", &until, node, &err) == -ERR_PRECONDITION);
        assert(pve_find_node(p, "other", &until, node, &err) == 0 && str_eq(node, "only"));
        assert(pve_find_node(p, "pve1", &until, node, &err) == -ERR_PRECONDITION);
        p = pve_free(p);
        test_server_stop(&s);
}

static void test_storage(void) {
        static const struct test_step script[] = {
                OK("GET " API "/nodes/pve1/storage/local/content?content=vztmpl ",
                   "[{\"volid\":\"local:vztmpl/pod.tar\",\"size\":1000}]"),
                START("POST " API "/nodes/pve1/storage/local/upload ", "imgcopy", ""),
                ENDS("imgcopy", "", "OK"),
                START("DELETE " API "/nodes/pve1/storage/local/content/local:vztmpl/pod.tar ", "imgdel", ""),
                ENDS("imgdel", "", "OK"),
                OK("GET " API "/nodes/pve1/status ", "{\"uptime\":5}"),
                { 0 }
        };
        const struct pve_until until = test_until(20000);
        const struct pve_storage local = { "pve1", "local" }, bad = { "pve1", "a/b" };
        struct test_server s = { .script = script };
        char path[] = "/tmp/test-pve.XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC);
        struct pve *p;
        json_t *answer;
        struct err err;

        assert(fd >= 0 && write(fd, "tar", 3) == 3 && close(fd) == 0);
        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_storage_list(p, &local, "vztmpl", &until, &answer, &err) == 0);
        json_decref(answer);
        assert(pve_storage_upload(p, &local, path, "pod.tar", &until, &err) == 0);
        assert(strstr(s.requests[1].text, "name=\"content\"\r\n\r\nvztmpl\r\n"));
        assert(strstr(s.requests[1].text, "filename=\"pod.tar\"\r\n") && strstr(s.requests[1].text, "\r\n\r\ntar\r\n"));
        assert(pve_storage_delete(p, &local, "local:vztmpl/pod.tar", &until, &err) == 0);
        assert(pve_node_status(p, "pve1", &until, &answer, &err) == 0);
        json_decref(answer);
        assert(pve_node_status(p, "a/b", &until, &answer, &err) == -ERR_INVALID);
        assert(pve_storage_list(p, &bad, "vztmpl", &until, &answer, &err) == -ERR_INVALID);
        assert(pve_storage_delete(p, &bad, "x", &until, &err) == -ERR_INVALID);
        assert(pve_storage_upload(p, &bad, path, "x", &until, &err) == -ERR_INVALID);
        (void) unlink(path);
        p = pve_free(p);
        test_server_stop(&s);
}

#define PERMISSIONS(path, granted)                                                                                     \
        OK("GET " API "/access/permissions?path=%2F" path " ", "{\"/" path "\":{" granted "}}")
#define OF_GUESTS                                                                                                      \
        "\"VM.PowerMgmt\":1,\"VM.Config.Options\":1,\"VM.Config.CPU\":1,\"VM.Config.Memory\":1,\"VM.Config.Network\""  \
        ":1,\"VM.Config.Disk\":1,\"VM.Snapshot\":1,\"VM.Clone\":1,\"VM.Migrate\":1,\"VM.Backup\":1"

#define ALL_OF_GUESTS                                                                                                  \
        "VM.Allocate,VM.Audit,VM.PowerMgmt,VM.Config.Options,VM.Config.CPU,VM.Config.Memory,VM.Config.Network,"        \
        "VM.Config.Disk,VM.Snapshot,VM.Clone,VM.Migrate,VM.Backup"

static void test_permissions(void) {
        static const struct test_step script[] = {
                PERMISSIONS("vms", OF_GUESTS ",\"VM.Audit\":0"), /* not passed on */
                OK("GET " API "/access/permissions?path=%2Fnodes%2Fpve1 ", "{\"/nodes/pve1\":{\"Sys.Audit\":0}}"),
                OK("GET " API "/access/permissions?path=%2Fstorage%2Flocal ",
                   "{\"/storage/local\":{\"Datastore.AllocateSpace\":1,\"Datastore.Audit\":1}}"),
                OK("GET " API "/access/permissions?path=%2Fstorage%2Flocal ",
                   "{\"/storage/local\":{\"Datastore.AllocateSpace\":1,\"Datastore.Audit\":1}}"),
                OK("GET " API "/access/permissions?path=%2Fsdn%2Fzones%2Flocalnetwork%2Fvmbr0 ", "{}"),
                OK("GET " API "/access/permissions?path=%2Fpool%2Fk8s ",
                   "{\"/pool/k8s\":{" OF_GUESTS ",\"VM.Audit\":1,\"VM.Allocate\":1}}"),
                OK("GET " API "/access/permissions?path=%2F ", "{\"/\":{\"Sys.Audit\":1}}"),
                { 0 }
        };
        const struct pve_places places = {
                .node = "pve1", .storage = "local", .template_storage = "local", .bridge = "vmbr0"
        };
        const struct pve_until until = test_until(20000);
        struct test_server s = { .script = script };
        struct pve_missing_list missing;
        struct pve *p;
        struct err err;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_check_permissions(p, &(struct pve_version){ 9, 2 }, &places, &until, &missing, &err) == 0);
        assert(missing.n == 4);
        assert(str_eq(missing.list[0].privilege, "VM.Allocate") && str_eq(missing.list[0].path, "/vms"));
        assert(str_eq(missing.list[0].command,
                      "pveum role add LXCRI-Guests --privs " ALL_OF_GUESTS
                      " || pveum role modify LXCRI-Guests --privs " ALL_OF_GUESTS
                      " && pveum acl modify /vms --roles LXCRI-Guests --users root@pam --tokens 'root@pam!k8s'"));
        assert(str_eq(missing.list[1].privilege, "VM.Audit"));
        assert(str_eq(missing.list[2].privilege, "Datastore.AllocateTemplate"));
        assert(strstr(missing.list[2].command,
                      "pveum role add LXCRI-Storage --privs Datastore.AllocateSpace,Datastore.Audit,"
                      "Datastore.AllocateTemplate || "));
        assert(strstr(missing.list[3].command, "acl modify /sdn/zones/localnetwork/vmbr0 --roles LXCRI-Network "));
        pve_missing_done(&missing);
        assert(pve_check_permissions(p, &(struct pve_version){ 7, 4 },
                                     &(struct pve_places){ .pool = "k8s", .bridge = "vmbr0", .isolate = true }, &until,
                                     &missing, &err) == 0);
        assert(missing.n == 1 && str_eq(missing.list[0].privilege, "Sys.Modify") && str_eq(missing.list[0].path, "/") &&
               !missing.list[0].for_operations);
        pve_missing_done(&missing);
        p = pve_free(p);
        test_server_stop(&s);
}

/* --- numbers -------------------------------------------------------------------------------------------------------
 */

struct creation {
        unsigned tried[300], n, taken_by_others; /* a set of bits: 1 << (vmid - 1000) */
        enum pve_kind failure;
};

static int create(struct pve *p, unsigned vmid, void *userdata, struct err *err) {
        struct creation *c = userdata;

        c->tried[c->n++] = vmid;
        if (c->failure)
                return pve_raise(err, c->failure, "create %u", vmid);
        if (c->taken_by_others >> (vmid - 1000) & 1)
                return pve_raise(err, PVE_EXISTS, "CT %u already exists", vmid);
        return 0;
}

#define RESOURCES(list) OK("GET " API "/cluster/resources?type=vm ", list)
/* 1001 is a virtual machine, the others are none of ours. */
#define SEEN RESOURCES("[{\"vmid\":1001,\"type\":\"qemu\"},{\"vmid\":999},{\"vmid\":1008},{\"vmid\":\"1002\"},{}]")

static void test_vmids(void) {
        static const struct test_step script[] = { SEEN, SEEN, { 0 } };
        const struct pve_until until = test_until(20000);
        struct creation c = { .taken_by_others = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 };
        struct test_server s = { .script = script };
        struct vmids *v;
        unsigned first, second, vmid;
        struct pve *p;
        struct err err;

        assert(vmids_new(99, 200, &v, &err) == -ERR_INVALID && vmids_new(200, 199, &v, &err) == -ERR_INVALID);
        assert(vmids_new(100, 1000000000, &v, &err) == -ERR_INVALID);
        assert(vmids_new(100, 100 + VMIDS_MAX, &v, &err) == -ERR_INVALID);
        test_server_start(&s);
        p = test_client_of(&s);
        assert(vmids_new(1000, 1007, &v, &err) == 0);
        /* 1000 and 1003 are free; the others are seen at once, or show when they are tried. */
        assert(vmids_create(v, p, &until, create, &c, &first, &err) == 0);
        assert(vmids_create(v, p, &until, create, &c, &second, &err) == 0);
        assert(first + second == 2003 && c.n <= 6 && s.n_requests == 1);
        for (unsigned i = 0; i < c.n; i++)
                assert(c.tried[i] != 1001 && c.tried[i] != 1002);
        /* All are taken, some by guests that we are not shown: the cluster is asked once more. */
        assert(vmids_create(v, p, &until, create, &c, &vmid, &err) == -ERR_EXHAUSTED && c.n == 6);
        assert(strstr(err.msg, "from 1000 to 1007 are in use"));
        vmids_give_back(v, first);
        vmids_give_back(v, PVE_VMID_MIN - 1); /* not of the range: nothing happens */
        vmids_give_back(v, PVE_VMID_MAX);
        c.n = 0;
        c.failure = PVE_LOST; /* perhaps made: not used again */
        assert(vmids_create(v, p, &until, create, &c, &vmid, &err) == -ERR_UNAVAILABLE && c.n == 1);
        assert(c.tried[0] == first);
        p = pve_free(p);
        v = vmids_free(v);
        test_server_stop(&s);
}

static void test_firewall(void) {
        static const struct test_step script[] = {
                OK("GET " API "/cluster/firewall/ipset ", "[{\"name\":\"a\"}]"),
                OK("GET " API "/nodes/pve1/lxc/110/firewall/options ", "{\"enable\":1}"),
                OK("GET " API "/cluster/firewall/rules ", "null"),
                OK("POST " API "/nodes/pve1/lxc/110/firewall/rules ", "null"),
                { "PUT " API "/nodes/pve1/lxc/110/firewall/options ", TEST_CLOSE, NULL, NULL }, /* repeatable: again */
                OK("PUT " API "/nodes/pve1/lxc/110/firewall/options ", "null"),
                { "POST " API "/cluster/firewall/ipset ", TEST_CLOSE, NULL, NULL }, /* not so */
                FAIL("DELETE " API "/cluster/firewall/ipset/a ", "IPSet 'a' is not empty"),
                { 0 }
        };
        static const struct pve_firewall cluster = { 0 }, ct = { "pve1", 110 };
        const struct pve_until until = test_until(20000);
        struct test_server s = { .script = script };
        struct pve_firewall_change change = { .method = "POST", .path = "rules", .until = &until };
        struct pve *p;
        struct err err;
        json_t *data;

        test_server_start(&s);
        p = test_client_of(&s);
        assert(pve_firewall_get(p, &cluster, "ipset", &until, &data, &err) == 0 && json_array_size(data) == 1);
        json_unref(data);
        assert(pve_firewall_get(p, &ct, "options", &until, &data, &err) == 0 && pve_json_true(data, "enable"));
        json_unref(data);
        assert(pve_firewall_get(p, &cluster, "rules", &until, &data, &err) < 0 && pve_kind(&err) == PVE_FOREIGN);
        assert(pve_firewall_change(p, &ct, &change, &err) == 0);
        change =
                (struct pve_firewall_change){ .method = "PUT", .path = "options", .repeatable = true, .until = &until };
        assert(pve_firewall_change(p, &ct, &change, &err) == 0);
        change = (struct pve_firewall_change){ .method = "POST", .path = "ipset", .until = &until };
        assert(pve_firewall_change(p, &cluster, &change, &err) < 0 && pve_kind(&err) == PVE_LOST);
        change = (struct pve_firewall_change){ .method = "DELETE", .path = "ipset/a", .until = &until };
        assert(pve_firewall_change(p, &cluster, &change, &err) < 0 && strstr(err.msg, "is not empty"));
        /* Names that would be other paths. */
        change.path = "../x";
        assert(pve_firewall_change(p, &cluster, &change, &err) == -ERR_INVALID);
        assert(pve_firewall_get(p, &cluster, "", &until, &data, &err) == -ERR_INVALID);
        assert(pve_firewall_get(p, &(struct pve_firewall){ "a/b", 110 }, "rules", &until, &data, &err) == -ERR_INVALID);
        assert(pve_firewall_get(p, &(struct pve_firewall){ "a", 99 }, "rules", &until, &data, &err) == -ERR_INVALID);
        p = pve_free(p);
        test_server_stop(&s);
}

int main(void) {
        test_versions();
        test_find_node();
        test_storage();
        test_permissions();
        test_vmids();
        test_firewall();
        return 0;
}
