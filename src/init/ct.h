/* SPDX-License-Identifier: Apache-2.0 */
/* ct - the first process of a pod's Proxmox container (/sbin/init of the sandbox template): reaps, and on the
 * container's halt signal lets everything in it end before it ends itself. The apps of the pod are in PID namespaces
 * below, their monitors beside them; whoever is in there is killed by the kernel when this process is gone, so it waits
 * until nobody is left: then all exit codes are written. For how long is up to Proxmox, which kills it in the end. */
#pragma once

__attribute__((noreturn)) void ct_run(void);
