/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include "base/arena.h"
#include "base/attr.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/config.h"
#include "oci/mount-options.h"

/* What "runc spec" writes, nearly. */
static const char typical[] =
        "{'ociVersion':'1.0.2-dev','process':{'terminal':true,'user':{'uid':0,'gid':0},'args':['sh'],"
        "'env':['PATH=/bin','TERM=xterm'],'cwd':'/','capabilities':{'bounding':['CAP_KILL','CAP_CHOWN'],"
        "'effective':['CAP_KILL']},'rlimits':[{'type':'RLIMIT_NOFILE','hard':18446744073709551615,'soft':1024}],"
        "'noNewPrivileges':true},'root':{'path':'rootfs','readonly':true},'hostname':'runc','mounts':["
        "{'destination':'/proc','type':'proc','source':'proc'},{'destination':'/dev','type':'tmpfs',"
        "'source':'tmpfs','options':['nosuid','strictatime','mode=755','size=65536k']},"
        "{'destination':'/data','source':'data','options':['rbind','rslave','ro']}],'linux':{'resources':{"
        "'devices':[{'allow':false,'access':'rwm'}]},'namespaces':[{'type':'pid'},{'type':'uts'},"
        "{'type':'network','path':'/run/netns/x'},{'type':'mount'}],'maskedPaths':['/proc/kcore'],"
        "'readonlyPaths':['/proc/sys']}}";

static const char *quoted(struct arena *a, const char *text) {
        char *s = arena_strdup(a, text);

        for (char *p = s; *p; p++)
                if (*p == '\'')
                        *p = '"';
        return s;
}

static void test_typical(void) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        const char *text = quoted(a, typical);
        struct oci_config c;
        struct err err;

        assert(oci_config_parse(text, strlen(text), "/bundle", a, &c, &err) == 0);
        assert(str_eq(c.root_path, "/bundle/rootfs") && c.spec.readonly_rootfs && c.has_process);
        assert(str_eq(c.spec.process.args[0], "sh") && !c.spec.process.args[1] && c.spec.process.terminal);
        assert(c.spec.process.caps.bounding == (1ull << CAP_KILL | 1ull << CAP_CHOWN));
        assert(c.spec.process.n_rlimits == 1 && c.spec.process.rlimits[0].resource == RLIMIT_NOFILE);
        assert(c.spec.process.rlimits[0].hard == RLIM_INFINITY && c.spec.process.rlimits[0].soft == 1024);
        assert(c.spec.n_mounts == 3 && c.spec.mounts[1].flags == (MS_NOSUID | MS_STRICTATIME));
        assert(str_eq(c.spec.mounts[1].data, "mode=755,size=65536k"));
        assert(str_eq(c.spec.mounts[2].type, "bind") && str_eq(c.spec.mounts[2].source, "/bundle/data"));
        assert(c.spec.mounts[2].recursive && c.spec.mounts[2].propagation == MS_SLAVE);
        assert(c.spec.ns[SPEC_NS_PID].create && str_eq(c.spec.ns[SPEC_NS_NET].path, "/run/netns/x"));
        assert(!c.spec.ns[SPEC_NS_IPC].create && !c.spec.ns[SPEC_NS_IPC].path);
        assert(c.spec.resources.n_devices > 1 && !c.spec.resources.devices[0].allow && !*c.warnings);
}

static void test_options_are_sorted(void) {
        for (size_t i = 0; i < n_mount_options; i++) {
                assert(i == 0 || strcmp(mount_options[i - 1].name, mount_options[i].name) < 0);
                assert(mount_option_find(mount_options[i].name) == &mount_options[i]);
        }
        assert(!mount_option_find("mode=755"));
}

int main(void) {
        test_options_are_sorted();
        test_typical();
        return 0;
}
