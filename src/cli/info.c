/* SPDX-License-Identifier: Apache-2.0 */
/* info - what the runtime and the host are, and the daemon: where it keeps things and how much it has. */
#include <stdio.h>
#include "base/json.h"
#include "base/str.h"
#include "cli/cri.h"
#include "cli/format.h"
#include "cli/info-host.h"
#include "cli/json.h"
#include "cli/verbs.h"

/* Into @out, which has the runtime's and the host's by now. */
static void add_daemon(json_t *out, const Proxmoxlxcri__V1__InfoResponse *info) {
        _cleanup_(json_unrefp) json_t *all = json_of_message(&info->base);
        json_t *config = json_loads(info->config, 0, NULL);

        if (config)
                (void) json_object_set_new(all, "config", config);
        (void) json_object_update(out, all);
}

static int run(struct cli *cli, const struct cli_args *args) {
        Runtime__V1__ListImagesRequest req = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        Runtime__V1__ListImagesResponse *images;
        Proxmoxlxcri__V1__InfoResponse *info;
        cri_container **containers;
        size_t n_pods, n_containers, ready = 0, running = 0;
        cri_pod **pods;
        json_t *out;
        struct err err;
        int r = cri_info(cli, &info, &err);

        /* The OCI runtime needs no daemon. */
        if (r == -ERR_UNAVAILABLE && !cli->table) {
                out = info_host(cli->arena);
                (void) json_object_set_new(out, "daemon_running", json_false());
                json_print(out);
                return EXIT_FINE;
        }
        if (r < 0 || cri_pods(cli, &pods, &n_pods, &err) < 0 ||
            cri_containers(cli, NULL, &containers, &n_containers, &err) < 0 ||
            cli_call(cli, "/runtime.v1.ImageService/ListImages", &req.base,
                     &runtime__v1__list_images_response__descriptor, CLI_TIMEOUT_MS, &images, &err) < 0)
                return cli_fail(&err);
        for (size_t i = 0; i < n_pods; i++)
                ready += pods[i]->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
        for (size_t i = 0; i < n_containers; i++)
                running += containers[i]->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
        if (!cli->table) {
                out = info_host(cli->arena);
                (void) json_object_set_new(out, "daemon_running", json_true());
                add_daemon(out, info);
                (void) json_object_set_new(out, "pods", json_integer((json_int_t) n_pods));
                (void) json_object_set_new(out, "pods_ready", json_integer((json_int_t) ready));
                (void) json_object_set_new(out, "containers", json_integer((json_int_t) n_containers));
                (void) json_object_set_new(out, "containers_running", json_integer((json_int_t) running));
                (void) json_object_set_new(out, "images", json_integer((json_int_t) images->n_images));
                json_print(out);
                return EXIT_FINE;
        }
        printf("version      %s (LXC %s)\n", info->version, info->lxc_version);
        printf("daemon       pid %d, started %s\n", info->pid,
               format_age(cli->arena, info->started_at, clock_realtime_ns()));
        printf("keeper       %s\n", info->keeper_pid ? arena_printf(cli->arena, "pid %d", info->keeper_pid) : "none");
        printf("root         %s\n", info->root);
        printf("state        %s\n", info->state);
        printf("socket       %s\n", info->socket);
        printf("LXC path     %s\n", info->lxc_path);
        printf("cgroups      %s\n", info->cgroup_mode);
        printf("snapshotter  %s\n", info->snapshotter);
        printf("user ns      %s\n",
               str_eq(info->idmap, "chown") ? "by copies of images (idmap chown)" : "by idmapped mounts");
        printf("log level    %s\n", info->log_level);
        printf("pods         %zu, %zu ready\n", n_pods, ready);
        printf("containers   %zu, %zu running\n", n_containers, running);
        printf("images       %zu\n", images->n_images);
        if (info->warm_pool > 0)
                printf("warm pool    %u containers, %u ready\n", info->warm_pool, info->warm_pool_ready);
        return EXIT_FINE;
}

const struct cli_verb verb_info = {
        .name = "info",
        .args = "",
        .help = "Show what the runtime, the host and the daemon are, as JSON",
        .description = "{runtime, host, engines, snapshotters, daemon_running}; when it runs, also the InfoResponse of "
                       "admin.proto with its\n"
                       "config opened, and the counts pods, pods_ready, containers, containers_running, images. With "
                       "-o table, the daemon alone.",
        .fn = run,
};
