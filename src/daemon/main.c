/* SPDX-License-Identifier: Apache-2.0 */
/* proxmox-lxcrid - the daemon: CRI v1 over gRPC. */
#include <config.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/daemon.h"

static void print_help(void) {
        (void) printf("Usage: proxmox-lxcrid [--config FILE] [--KEY VALUE]...\n"
                      "       proxmox-lxcrid config default|check [FILE]|docs\n"
                      "       proxmox-lxcrid --help|--version\n\n"
                      "Kubernetes container runtime (CRI v1) that runs pods as LXC containers.\n\n"
                      "Every configuration key is a flag; a flag wins over the file:\n");
        config_write_flags(stdout);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        log_info("asked to stop; containers go on", "signal", strsignal((int) si->ssi_signo), NULL);
        (void) sd_notify(0, "STOPPING=1");
        daemon_stop(userdata);
        return 0;
}

static int watch_signals(sd_event *loop, struct daemon *d, struct err *err) {
        int r = sd_event_add_signal(loop, NULL, SIGTERM, on_terminate, d);

        if (r >= 0)
                r = sd_event_add_signal(loop, NULL, SIGINT, on_terminate, d);
        return r < 0 ? err_sys(err, -r, "watch signals") : 0;
}

/* Before any thread is made: all of them inherit the mask. */
static void prepare_process(void) {
        struct rlimit files;
        sigset_t set;

        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGHUP, SIG_IGN);
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) umask(0022);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &files);
        }
        /* One arena: threads of ours allocate little at a time, and each further arena keeps memory of its own. */
        (void) mallopt(M_ARENA_MAX, 2);
        (void) mallopt(M_TRIM_THRESHOLD, 128 * 1024);
}

static int serve(const struct config *conf, struct err *err) {
        _cleanup_(daemon_freep) struct daemon *d = NULL;
        _cleanup_(sd_event_unrefp) sd_event *loop = NULL;
        int r;

        r = sd_event_new(&loop);
        if (r < 0)
                return err_sys(err, -r, "create the event loop");
        r = daemon_new(conf, loop, &d, err);
        if (r < 0)
                return r;
        r = watch_signals(loop, d, err);
        if (r < 0)
                return r;
        (void) malloc_trim(0);
        (void) sd_notify(0, "READY=1");
        log_info("serving", "socket", conf->socket, "version", PROJECT_VERSION, NULL);
        r = sd_event_loop(loop);
        return r < 0 ? err_sys(err, -r, "run the event loop") : 0;
}

int main(int argc, char **argv) {
        _cleanup_(config_freep) struct config *conf = NULL;
        struct config_flags flags;
        struct err err = { 0 };

        if (config_parse_flags(argc, argv, &flags, &err) < 0) {
                (void) fprintf(stderr, "proxmox-lxcrid: %s\nTry: proxmox-lxcrid --help\n", err.msg);
                return 2;
        }
        if (flags.help) {
                print_help();
                return 0;
        }
        if (flags.version) {
                (void) printf("proxmox-lxcrid %s\n", PROJECT_VERSION);
                return 0;
        }
        if (flags.rest[0] && strcmp(flags.rest[0], "config") == 0)
                return config_command(flags.rest + 1, &flags);
        if (flags.rest[0]) {
                (void) fprintf(stderr, "proxmox-lxcrid: unknown argument \"%s\"\nTry: proxmox-lxcrid --help\n",
                               flags.rest[0]);
                return 2;
        }
        if (config_load(&flags, &conf, &err) < 0) {
                (void) fprintf(stderr, "proxmox-lxcrid: %s\n", err.msg);
                return 2;
        }
        log_set_level(conf->log_level);
        log_set_format(conf->log_format);
        if (geteuid() != 0) {
                log_error("proxmox-lxcrid must run as root: it makes namespaces, mounts and control groups", NULL);
                return 1;
        }
        prepare_process();
        if (serve(conf, &err) < 0) {
                log_error("cannot go on", "error", err.msg, "code", err_code_name(err.code), NULL);
                return 1;
        }
        return 0;
}
