/* SPDX-License-Identifier: Apache-2.0 */
/* apparmor - see apparmor.h. */
#include "security/apparmor.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"

enum { PARSER_TIMEOUT_MS = 60000, LIST_READS = 3 };

/* What a container may not do even as root of all its namespaces. The label applies to the user's program only: init
 * has done all mounting by then. */
static const char default_profile[] =
        "#include <tunables/global>\n"
        "profile " APPARMOR_DEFAULT_PROFILE " flags=(attach_disconnected,mediate_deleted) {\n"
        "  network,\n"
        "  capability,\n"
        "  file,\n"
        "  umount,\n"
        "  signal (receive) peer=unconfined,\n"
        "  signal (send,receive) peer=" APPARMOR_DEFAULT_PROFILE ",\n"
        "  ptrace (trace,read,tracedby,readby) peer=" APPARMOR_DEFAULT_PROFILE ",\n"
        "  deny @{PROC}/* w,\n"
        "  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,\n"
        "  deny @{PROC}/sys/[^kn]** w,\n"
        "  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,\n"
        "  deny @{PROC}/sysrq-trigger rwklx,\n"
        "  deny @{PROC}/kcore rwklx,\n"
        "  deny mount,\n"
        "  deny /sys/[^f]*/** wklx,\n"
        "  deny /sys/f[^s]*/** wklx,\n"
        "  deny /sys/fs/[^c]*/** wklx,\n"
        "  deny /sys/fs/c[^g]*/** wklx,\n"
        "  deny /sys/fs/cg[^r]*/** wklx,\n"
        "  deny /sys/firmware/** rwklx,\n"
        "  deny /sys/devices/virtual/powercap/** rwklx,\n"
        "  deny /sys/kernel/security/** rwklx,\n"
        "}\n";

static bool enabled; /* from boot on or never */

/* Not by aa_is_enabled(), which searches the table of mounts by getmntent(): of two threads at once one may be told
 * that there is no AppArmor. */
static void look(void) {
        _cleanup_(freep) char *text = NULL;
        struct err ignored;

        enabled = fs_read_file(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 16, &text, NULL, &ignored) == 0 &&
                  *text == 'Y';
}

bool apparmor_enabled(void) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void) pthread_once(&once, look);
        return enabled;
}

static int is_listed(const char *name, bool *ret, struct err *err) {
        _cleanup_(fclosep) FILE *f = fopen("/sys/kernel/security/apparmor/profiles", "re");
        _cleanup_(freep) char *line = NULL;
        size_t size = 0, n = strlen(name);

        *ret = false;
        if (!f)
                return err_set(err, ERR_INTERNAL,
                               "cannot read the list of loaded AppArmor profiles: is securityfs mounted?");
        /* "name (mode)", and names may hold blanks. */
        while (!*ret && getline(&line, &size, f) > 0)
                *ret = strncmp(line, name, n) == 0 && strncmp(line + n, " (", 2) == 0;
        return 0;
}

int apparmor_check_loaded(const char *name, struct err *err) {
        bool loaded = false;
        int r;

        if (!apparmor_enabled())
                return err_set(err, ERR_INVALID,
                               "AppArmor profile \"%.128s\" is asked for, but this host has no AppArmor", name);
        /* The kernel gives the list page by page: while others are removed, one may fall between two pages. */
        for (int i = 0; i < LIST_READS && !loaded; i++) {
                r = is_listed(name, &loaded, err);
                if (r < 0)
                        return r;
        }
        if (!loaded)
                return err_set(err, ERR_INVALID,
                               "AppArmor profile \"%.128s\" is not loaded; load it with apparmor_parser", name);
        return 0;
}

static const char *find_parser(void) {
        static const char *const places[] = { "/usr/sbin/apparmor_parser", "/sbin/apparmor_parser" };

        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (access(places[i], X_OK) == 0)
                        return places[i];
        return NULL;
}

int apparmor_load_default(struct err *err) {
        const char *parser = find_parser();
        const char *const argv[] = { parser, "--replace", "--quiet", "--skip-cache", NULL };
        const char *const envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        _cleanup_strbuf_ struct strbuf said = STRBUF(64 * 1024);
        struct proc_run_args args = {
                .argv = argv,
                .envp = envp,
                .input = default_profile,
                .input_len = sizeof(default_profile) - 1,
                .err_out = &said,
                .timeout_ms = PARSER_TIMEOUT_MS,
        };
        int r, status;

        if (!parser)
                return err_set(err, ERR_PRECONDITION,
                               "AppArmor is enabled but apparmor_parser is missing: install the package apparmor");
        r = proc_run(&args, &status, err);
        if (r < 0)
                return err_wrap(err, "load AppArmor profile " APPARMOR_DEFAULT_PROFILE);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return err_set(err, ERR_INTERNAL,
                               "load AppArmor profile " APPARMOR_DEFAULT_PROFILE ": apparmor_parser: %s",
                               strbuf_str(&said));
        return 0;
}
