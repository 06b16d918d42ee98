/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/verbs.h"

#include "oci/state.h"

const struct cli_verb *const oci_verbs[] = {
#define X(word) &oci_verb_##word,
        OCI_VERBS(X)
#undef X
                NULL
};

const struct cli_option oci_global_options[] = {
        { 0, "root", "FOLDER", "where containers' states are (default " OCI_DEFAULT_ROOT ")" },
        { 0, "log", "FILE", "append errors and warnings to it (default: standard error)" },
        { 0, "log-format", "FORMAT", "text (default) or json" },
        { 0, "log-level", "LEVEL", "debug, info, warning (default) or error: what goes to the log" },
        { 0, "debug", NULL, "the same as --log-level debug" },
        { 0, "systemd-cgroup", NULL, "control groups by systemd; cgroupsPath is SLICE:PREFIX:NAME" },
        { 0, "cgroup-manager", "NAME", "cgroupfs (default), systemd or disabled" },
        { 0, "engine", "NAME", "who makes the container: lxc (default), crun, the program, or proxmox" },
        { 0, "rootless", "WHEN", "true, false or auto (default); containers are made by root alone" },
        { 0, "criu", "PATH", "accepted, as runc accepts it; criu is looked for in $PATH" },
        { 'h', "help", NULL, "show help" },
        { 'v', "version", NULL, "show versions" },
        { 0 },
};

#define OCI_ONE_CONTAINER .args = "ID", .min_args = 1, .max_args = 1

#define OCI_MAKE_OPTIONS                                                                                               \
        { 'b', "bundle", "FOLDER", "where config.json is (default: here)" },                                           \
                { 'f', "config", "FILE", "another configuration than the bundle's config.json" },                      \
                { 0, "console-socket", "PATH", "a socket that gets the terminal's master" },                           \
                { 0, "pid-file", "PATH", "where to write the process' number" },                                       \
                { 0, "no-pivot", NULL, "for a root on a ramdisk, that can't be pivoted" },                             \
                { 0, "no-new-keyring", NULL, "keep the caller's session keyring" }, {                                  \
                0, "preserve-fds", "N", "descriptors from 3 on that the program gets (default 0)"                      \
        }

const struct cli_verb oci_verb_create = {
        .name = "create",
        .help = "Make a container from a bundle",
        .description = "Its program waits until \"start\".",
        .options = (const struct cli_option[]){ OCI_MAKE_OPTIONS,
                                                { 0, "no-subreaper", NULL, "accepted, as crun accepts it" },
                                                { 0 } },
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_start = {
        .name = "start",
        .help = "Let a created container's program run",
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_run = {
        .name = "run",
        .help = "Create and start a container, wait for it and delete it",
        .description = "The exit status is its program's; 128 and a signal's number when that ended it.",
        .options =
                (const struct cli_option[]){ OCI_MAKE_OPTIONS,
                                             { 'd', "detach", NULL, "don't wait for it" },
                                             { 0, "keep", NULL, "don't delete it when it has ended" },
                                             { 0, "no-subreaper", NULL, "don't reap what the container leaves behind" },
                                             { 0 } },
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_exec = {
        .name = "exec",
        .args = "ID [COMMAND [ARG...]]",
        .help = "Run a program in a running container",
        .description = "The exit status is the program's; 128 and a signal's number when that ended it.",
        .options =
                (const struct cli_option[]){
                        { 'p', "process", "FILE", "a \"process\" of config.json to run, instead of COMMAND" },
                        { 'd', "detach", NULL, "don't wait for it" },
                        { 't', "tty", NULL, "with a terminal" },
                        { 0, "console-socket", "PATH", "a socket that gets the terminal's master" },
                        { 0, "pid-file", "PATH", "where to write the process' number" },
                        { 'u', "user", "UID[:GID]", "run as (default: as the container's program)" },
                        { 'g', "additional-gids", "GID,...", "further groups; may be repeated" },
                        { 'e', "env", "NAME=VALUE", "set in its environment; may be repeated" },
                        { 0, "cwd", "FOLDER", "where it starts" },
                        { 'c', "cap", "CAPABILITY", "one more capability; may be repeated" },
                        { 0, "no-new-privs", NULL, "it can't gain privileges" },
                        { 0, "apparmor", "PROFILE", "AppArmor profile" },
                        { 0, "process-label", "LABEL", "SELinux label" },
                        { 0, "cgroup", "[CONTROLLER,...:]PATH",
                          "a control group below the container's, that exists; with controllers (cgroup v1) only of "
                          "theirs, and may be repeated" },
                        { 0, "ignore-paused", NULL, "in a paused container, too; runs once it is resumed" },
                        { 0, "preserve-fds", "N", "descriptors from 3 on that the program gets (default 0)" },
                        { 0 } },
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
        .stop_at_args = true,
};

const struct cli_verb oci_verb_kill = {
        .name = "kill",
        .args = "ID [SIGNAL]",
        .help = "Send a signal to a container's program",
        .description = "SIGNAL is a name, with or without SIG, or a number (default TERM).",
        .options = (const struct cli_option[]){ { 'a', "all", NULL, "to every process of the container" },
                                                { 'r', "regex", NULL, "ID is a regular expression: to all that match" },
                                                { 0 } },
        .min_args = 1,
        .max_args = 2,
};

const struct cli_verb oci_verb_stop = {
        .name = "stop",
        .args = "ID...",
        .help = "End containers: a signal, and SIGKILL when that did not help in time",
        .options = (const struct cli_option[]){ { 't', "timeout", "SECONDS", "until SIGKILL (default 10)" },
                                                { 's', "signal", "SIGNAL", "the first one (default TERM)" },
                                                { 0 } },
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};

const struct cli_verb oci_verb_delete = {
        .name = "delete",
        .args = "ID...",
        .help = "Remove containers that have ended",
        .options = (const struct cli_option[]){ { 'f', "force", NULL, "end it first; a missing one is fine" },
                                                { 'r', "regex", NULL, "ID is a regular expression: all that match" },
                                                { 0 } },
        .min_args = 1,
        .max_args = CLI_ARGS_MAX,
};

const struct cli_verb oci_verb_state = {
        .name = "state",
        .help = "Show a container's state, as JSON",
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_list = {
        .name = "list",
        .args = "",
        .help = "List containers",
        .options = (const struct cli_option[]){ { 'f', "format", "FORMAT", "table (default) or json" },
                                                { 'q', "quiet", NULL, "ids alone" },
                                                { 0 } },
};

const struct cli_verb oci_verb_ps = {
        .name = "ps",
        .args = "ID [PS-OPTION...]",
        .help = "List a container's processes",
        .description = "The table is ps(1)'s, with PS-OPTIONs (default -ef), of which PID must be a column.",
        .options = (const struct cli_option[]){ { 'f', "format", "FORMAT", "table (default) or json" }, { 0 } },
        .min_args = 1,
        .max_args = 256,
        .stop_at_args = true,
};

const struct cli_verb oci_verb_mounts = {
        .name = "mounts",
        .help = "List what is mounted in a container",
        .options = (const struct cli_option[]){ { 'f', "format", "FORMAT", "table (default) or json" }, { 0 } },
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_pause = {
        .name = "pause",
        .help = "Freeze a container's processes",
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_resume = {
        .name = "resume",
        .help = "Let a paused container's processes go on",
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_update = {
        .name = "update",
        .help = "Change a running container's limits",
        .description = "Sizes are bytes, or with k, M, G; -1 is no limit. With --resources, a \"resources\" object of "
                       "config.json, the other options are ignored.",
        .options =
                (const struct cli_option[]){
                        { 'r', "resources", "FILE", "resources as JSON; -: from standard input" },
                        { 0, "memory", "SIZE", "memory" },
                        { 0, "memory-reservation", "SIZE", "memory that it keeps when others need some" },
                        { 0, "memory-swap", "SIZE", "memory and swap together" },
                        { 0, "cpu-period", "USEC", "in how long a time the quota may be used" },
                        { 0, "cpu-quota", "USEC", "CPU time in each period" },
                        { 0, "cpu-burst", "USEC", "CPU time that may be saved for later periods" },
                        { 0, "cpu-share", "N", "CPU time relative to others', 2 to 262144" },
                        { 0, "cpu-rt-period", "USEC", "the same as --cpu-period, of realtime processes" },
                        { 0, "cpu-rt-runtime", "USEC", "CPU time of realtime processes in it" },
                        { 0, "cpu-idle", "0|1", "1: CPU time that nobody else wants" },
                        { 0, "cpuset-cpus", "LIST", "CPUs to run on, \"0-2,7\"" },
                        { 0, "cpuset-mems", "LIST", "memory nodes to use" },
                        { 0, "pids-limit", "N", "number of processes" },
                        { 0, "blkio-weight", "N", "disk time relative to others', 10 to 1000" },
                        { 0, "l3-cache-schema", "TEXT", "Intel RDT: cache" },
                        { 0, "mem-bw-schema", "TEXT", "Intel RDT: memory bandwidth" },
                        { 0, "kernel-memory", "SIZE", "ignored: kernels have no such limit any more" },
                        { 0, "kernel-memory-tcp", "SIZE", "ignored: kernels have no such limit any more" },
                        { 0 } },
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_events = {
        .name = "events",
        .help = "Show a container's statistics again and again, and when it runs out of memory",
        .options = (const struct cli_option[]){ { 0, "interval", "TIME", "between them, \"5s\" (the default), \"1m\"" },
                                                { 0, "stats", NULL, "statistics once" },
                                                { 0 } },
        OCI_ONE_CONTAINER,
};

#define OCI_CRIU_OPTIONS                                                                                               \
        { 0, "image-path", "FOLDER", "of the images" }, { 0, "work-path", "FOLDER", "of logs" },                       \
                { 0, "tcp-established", NULL, "open TCP connections, too" },                                           \
                { 0, "ext-unix-sk", NULL, "sockets to programs outside, too" },                                        \
                { 0, "shell-job", NULL, "with the terminal it was started from" },                                     \
                { 0, "file-locks", NULL, "file locks, too" },                                                          \
                { 0, "manage-cgroups-mode", "MODE", "soft (default), full, strict or ignore" },                        \
                { 0, "empty-ns", "NAMESPACE", "make it, but restore nothing in it" },                                  \
                { 0, "auto-dedup", NULL, "images without what is in their parents'" }, {                               \
                0, "lazy-pages", NULL, "memory on demand"                                                              \
        }

const struct cli_verb oci_verb_checkpoint = {
        .name = "checkpoint",
        .help = "Save a running container's processes to files",
        .options = (const struct cli_option[]){ OCI_CRIU_OPTIONS,
                                                { 0, "parent-path", "FOLDER", "images of an earlier --pre-dump" },
                                                { 0, "leave-running", NULL, "it goes on" },
                                                { 0, "status-fd", "FD", "told when lazy pages are served" },
                                                { 0, "page-server", "ADDRESS:PORT", "where memory goes" },
                                                { 0, "pre-dump", NULL, "memory alone; it goes on" },
                                                { 0 } },
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_restore = {
        .name = "restore",
        .help = "Make a container from files of \"checkpoint\"",
        .options =
                (const struct cli_option[]){
                        OCI_CRIU_OPTIONS,
                        { 'b', "bundle", "FOLDER", "where config.json is (default: here)" },
                        { 0, "console-socket", "PATH", "a socket that gets the terminal's master" },
                        { 0, "pid-file", "PATH", "where to write the process' number" },
                        { 'd', "detach", NULL, "don't wait for it" },
                        { 0, "no-subreaper", NULL, "don't reap what it leaves behind" },
                        { 0, "no-pivot", NULL, "for a root on a ramdisk, that can't be pivoted" },
                        { 0, "lsm-profile", "TYPE:NAME", "another profile or label" },
                        { 0, "lsm-mount-context", "CONTEXT", "another mount label" },
                        { 0 } },
        OCI_ONE_CONTAINER,
};

const struct cli_verb oci_verb_spec = {
        .name = "spec",
        .args = "",
        .help = "Write a config.json to begin with",
        .description = "It runs sh in the bundle's folder rootfs.",
        .options = (const struct cli_option[]){ { 'b', "bundle", "FOLDER", "where to (default: here)" },
                                                { 'f', "file", "PATH", "another name than config.json" },
                                                { 0, "rootless", NULL, "for a user namespace" },
                                                { 0 } },
};

const struct cli_verb oci_verb_features = {
        .name = "features",
        .args = "",
        .help = "Show what the runtime can do, as JSON",
};
