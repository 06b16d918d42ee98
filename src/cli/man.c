/* SPDX-License-Identifier: Apache-2.0 */
/* man - the manual page proxmox-lxcri(1), made from the table of verbs. The build calls it, and installs what it
 * prints. */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cli/verbs.h"
#include "oci/state.h"

/* As roff has it: hyphens that can be copied, no line that begins with a control character. */
static void text(const char *s) {
        bool line_begins = true;

        for (; *s; s++) {
                if (line_begins && (*s == '.' || *s == '\''))
                        printf("\\&");
                line_begins = *s == '\n';
                if (*s == '\\')
                        printf("\\e");
                else if (*s == '-')
                        printf("\\-");
                else
                        (void) putchar(*s);
        }
}

/* Two notes of the same line: bold @flag, then @arg in italics. */
static void flag(const char *before, const char *name, const char *arg) {
        printf("\\fB");
        text(before);
        text(name);
        printf("\\fR");
        if (arg) {
                printf(" \\fI");
                text(arg);
                printf("\\fR");
        }
}

static void options(const struct cli_option *list) {
        for (const struct cli_option *o = list; o && o->name; o++) {
                char letter[3] = { '-', o->letter, '\0' };

                printf(".TP\n");
                if (o->letter) {
                        flag("", letter, NULL);
                        printf(", ");
                }
                flag("--", o->name, o->arg);
                printf("\n");
                text(o->help);
                printf("\n");
        }
}

static void verb(const struct cli_verb *v) {
        printf(".SS ");
        flag("", v->name, NULL);
        if (v->options && v->options->name)
                printf(" [OPTIONS]");
        if (*v->args) {
                printf(" ");
                text(v->args);
        }
        printf("\n");
        text(v->help);
        printf(".\n");
        if (v->description) {
                printf(".PP\n");
                text(v->description);
                printf("\n");
        }
        options(v->options);
}

static void verbs(bool oci) {
        for (size_t i = 0; cli_verbs[i]; i++)
                if (!cli_verbs[i]->hidden && oci == !cli_verbs[i]->fn)
                        verb(cli_verbs[i]);
}

static int run(struct cli *cli, const struct cli_args *args) {
        printf(".\\\" Made by \"proxmox-lxcri man\".\n"
               ".TH PROXMOX\\-LXCRI 1 \"\" \"proxmox\\-lxcri %s\" \"User Commands\"\n"
               ".SH NAME\nproxmox\\-lxcri \\- LXC containers as pods and as an OCI runtime's\n"
               ".SH SYNOPSIS\n.B proxmox\\-lxcri\n[OPTIONS] VERB ...\n"
               ".SH DESCRIPTION\nAs an OCI runtime it runs bundles as LXC containers, for containerd, CRI\\-O, Podman, "
               "Buildah and Docker in place of runc or crun: the verbs from create to features. All other verbs show "
               "and change what proxmox\\-lxcrid runs: pods, for a kubelet, crictl, or by hand.\n"
               ".PP\nOptions are taken before the verb and behind it; \\-\\- ends them.\n"
               ".SH OPTIONS OF THE OCI RUNTIME\n",
               PROJECT_VERSION);
        options(oci_global_options);
        printf(".SH VERBS OF THE OCI RUNTIME\n");
        verbs(true);
        printf(".SH OPTIONS OF ALL OTHER VERBS\n");
        options(cli_global_options);
        printf(".SH ALL OTHER VERBS\n");
        verbs(false);
        printf(".SH EXIT STATUS\n"
               ".TP\n.B 0\nIt went well.\n"
               ".TP\n.B 1\nIt failed; of the OCI runtime, also a wrong use.\n"
               ".TP\n.B 2\nWrong use.\n"
               ".TP\n.B 125\n\"pod run\" and \"pod exec\" failed themselves.\n"
               ".TP\n.B 255\n\"exec\" failed itself.\n"
               ".PP\n\"run\", \"exec\", \"pod run\" and \"pod exec\" end as their program did; with 128 and the number "
               "of "
               "the signal that ended it.\n"
               ".SH FILES\n"
               ".TP\n.I %s\nStates of the OCI runtime's containers.\n"
               ".TP\n.I %s\nThe daemon's socket.\n"
               ".TP\n.I %s/config.yaml\nThe daemon's configuration.\n"
               ".SH ENVIRONMENT\n.TP\n.B PROXMOX_LXCRI_SOCKET\nThe daemon's socket, when \\-\\-socket does not say.\n"
               ".SH SEE ALSO\n.BR runc (8),\n.BR crun (1),\n.BR lxc (7),\n.BR crictl (1)\n",
               OCI_DEFAULT_ROOT, CLI_DEFAULT_SOCKET, SYSCONFDIR);
        return EXIT_FINE;
}

const struct cli_verb verb_man = {
        .name = "man",
        .args = "",
        .help = "Print the manual page",
        .description = "By hand: proxmox-lxcri man | man -l -",
        .fn = run,
};
