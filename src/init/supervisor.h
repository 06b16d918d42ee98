/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor - the first process of a Proxmox container that was made from a bundle: proxmox-lxcri-init as its
 * entrypoint, "/.proxmox-lxcri/init ct". The program is its child, so that there is somebody to hear how it ends: what
 * ends with the container can't be asked for outside, and Proxmox keeps no exit status.
 *
 * It listens on SUPERVISOR_SOCKET (SOCK_SEQPACKET) for whoever made the container, who reaches it through
 * /proc/PID/root, and takes the first connection: nobody else is in there yet. Its first message, SUPERVISOR_MSG_EXIT,
 * has a file of the host as descriptor, of which four bytes are mapped; the descriptor is closed, as whoever takes
 * over this process could fill the host's disk by it. A child goes on with the connection as init does with its socket
 * (plan.h). When that child has ended everything else in the container is killed, how it ended is written, and the
 * container ends. On Proxmox' halt signals the child gets SIGTERM. */
#pragma once
#include <stdint.h>

/* Below the container's root; they go before the program runs. The folder stays where the root is read-only. */
#define SUPERVISOR_FOLDER ".proxmox-lxcri"
#define SUPERVISOR_PROGRAM SUPERVISOR_FOLDER "/init"
#define SUPERVISOR_SOCKET "dev/.proxmox-lxcri"
#define SUPERVISOR_VERB "ct"

enum {
        SUPERVISOR_MSG_EXIT = 'X',
        SUPERVISOR_ENDED = 1 << 16, /* in the file's number, with waitpid's status below: it has ended */
};

/* Returns in the child alone, with the connection; -1: there is none to come. */
int supervisor_run(void);
