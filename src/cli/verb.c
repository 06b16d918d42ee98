/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verb.h"

#include <stdio.h>

void verb_print_options(const struct cli_option *options) {
        for (const struct cli_option *o = options; o && o->name; o++) {
                char text[96];

                (void) snprintf(text, sizeof(text), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                                o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, o->arg ? " " : "",
                                o->arg ? o->arg : "");
                printf("  %-30s %s\n", text, o->help);
        }
}

void verb_print_help(const struct cli_verb *verb, const struct cli_option *globals) {
        printf("usage: proxmox-lxcri %s%s %s\n\n%s.\n", verb->name,
               verb->options && verb->options->name ? " [OPTIONS]" : "", verb->args, verb->help);
        if (verb->description)
                printf("\n%s\n", verb->description);
        if (verb->options && verb->options->name) {
                printf("\noptions:\n");
                verb_print_options(verb->options);
        }
        printf("\nglobal options:\n");
        verb_print_options(globals);
}
