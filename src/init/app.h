/* SPDX-License-Identifier: Apache-2.0 */
/* app - the first process of a Proxmox container that was made of a template of "image export": /sbin/init there, where
 * the image has none. It starts what the image's config says, as the user and in the folder that it says, passes on the
 * halt signal as the one that the program wants, reaps, and ends as the program does.
 *
 * APP_FILE is the config, strings that end with NUL: APP_MARK, user ("name:group", numbers; "": root), working folder,
 * number of the stop signal, number of arguments, the arguments, then the environment. Written by the exporter. */
#pragma once

#define APP_FILE "etc/proxmox-lxcri-app"
#define APP_MARK "proxmox-lxcri app 1"
enum { APP_FILE_MAX = 1 << 20, APP_STRINGS_MAX = 4096 };

/* Returns when there is no such file. */
void app_run(void);
