/* SPDX-License-Identifier: Apache-2.0 */
/* server - what the connections of a streaming server share. Private to streaming/. */
#pragma once
#include "streaming/client.h"

enum { SERVER_BUFFER_BYTES = WIRE_PIECE_MAX };

struct streaming {
        sd_event *loop;
        struct streaming_backend backend;
        struct jobs *jobs;
        struct tickets *tickets;
        struct tls *tls; /* NULL: plain HTTP */
        char base_url[128];

        int listen_fd;
        sd_event_source *listen_source, *wake_source, *timer;
        uint64_t armed_ns;        /* when the timer fires; UINT64_MAX: never */
        uint64_t accept_again_ns; /* descriptors ran out; 0: they have not */

        struct client *clients;
        size_t n_clients, max_clients;
        uint64_t idle_ns, creation_ns;

        /* Of whoever reads; nothing stays in them. */
        uint8_t client_buffer[SERVER_BUFFER_BYTES], source_buffer[SERVER_BUFFER_BYTES];
};

/* Something is due then. */
void server_arm(struct streaming *s, uint64_t ns);
