/* SPDX-License-Identifier: Apache-2.0 */
/* completion - scripts for shells, made from the table of verbs. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cli/verbs.h"

static bool first_of_group(size_t at, size_t *ret_len) {
        const char *space = strchr(cli_verbs[at]->name, ' ');

        *ret_len = space ? (size_t) (space - cli_verbs[at]->name) : strlen(cli_verbs[at]->name);
        for (size_t i = 0; i < at; i++)
                if (strncmp(cli_verbs[i]->name, cli_verbs[at]->name, *ret_len) == 0 &&
                    (cli_verbs[i]->name[*ret_len] == ' ' || !cli_verbs[i]->name[*ret_len]))
                        return false;
        return !cli_verbs[at]->hidden;
}

static void print_words(const char *separator) {
        size_t len;

        for (size_t i = 0; cli_verbs[i]; i++)
                if (first_of_group(i, &len))
                        printf("%.*s%s", (int) len, cli_verbs[i]->name, separator);
}

static void print_options(const struct cli_option *options) {
        for (const struct cli_option *o = options; o && o->name; o++)
                printf("--%s %s%.1s%s", o->name, o->letter ? "-" : "", &o->letter, o->letter ? " " : "");
}

/* What may follow each verb, into the shell variable @var. */
static void print_cases(const char *var) {
        for (size_t i = 0; cli_verbs[i]; i++) {
                if (cli_verbs[i]->hidden)
                        continue;
                printf("        '%s') %s='", cli_verbs[i]->name, var);
                print_options(cli_verbs[i]->options);
                print_options(cli_global_options);
                if (str_eq(cli_verbs[i]->name, "completion"))
                        printf("bash zsh fish");
                printf("' ;;\n");
        }
        for (size_t i = 0; cli_verbs[i]; i++) {
                const char *space = strchr(cli_verbs[i]->name, ' ');
                size_t len;

                if (!space || !first_of_group(i, &len))
                        continue;
                printf("        '%.*s') %s='", (int) len, cli_verbs[i]->name, var);
                for (size_t k = i; cli_verbs[k]; k++)
                        if (strncmp(cli_verbs[k]->name, cli_verbs[i]->name, len + 1) == 0)
                                printf("%s ", cli_verbs[k]->name + len + 1);
                printf("' ;;\n");
        }
}

/* The commands whose arguments are pods or images ask for them. */
static void print_dynamic(const char *var) {
        printf("        case \"$verb\" in\n"
               "        'pod run'|'image rm'|'image inspect'|'image pull')\n"
               "                %s=\"$%s $(proxmox-lxcri image ls 2>/dev/null |\n"
               "                        awk 'NR > 1 { print $1 ($2 == \"(digest)\" ? \"\" : \":\" $2) }')\" ;;\n"
               "        'pod '?*)\n"
               "                %s=\"$%s $(proxmox-lxcri pod ls 2>/dev/null | awk 'NR > 1 { print $2 }')\" ;;\n"
               "        esac\n",
               var, var, var, var);
}

static int bash(void) {
        printf("# bash completion for proxmox-lxcri; made by \"proxmox-lxcri completion bash\".\n"
               "_proxmox_lxcri() {\n"
               "        local cur=\"${COMP_WORDS[COMP_CWORD]}\" verb='' words='' i\n"
               "        for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "                case \"${COMP_WORDS[i]}\" in\n"
               "                --socket|--output|-o|--timeout) ((i++)) ;;\n"
               "                -*) ;;\n"
               "                *) case \"$verb\" in pod|image) verb=\"$verb ${COMP_WORDS[i]}\" ;; '') "
               "verb=\"${COMP_WORDS[i]}\" ;; esac ;;\n"
               "                esac\n"
               "        done\n"
               "        case \"$verb\" in\n"
               "        '') words='");
        print_words(" ");
        print_options(cli_global_options);
        printf("' ;;\n");
        print_cases("words");
        printf("        esac\n"
               "        [[ $cur == -* ]] || {\n");
        print_dynamic("words");
        printf("        }\n"
               "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
               "        [[ ${COMPREPLY[0]} ]] || compopt -o default\n"
               "}\n"
               "complete -F _proxmox_lxcri proxmox-lxcri\n");
        return EXIT_FINE;
}

/* In zsh "words" is the line being completed. */
static int zsh(void) {
        printf("#compdef proxmox-lxcri\n"
               "# zsh completion for proxmox-lxcri; made by \"proxmox-lxcri completion zsh\".\n"
               "_proxmox_lxcri() {\n"
               "        local verb='' choices='' i w\n"
               "        for ((i = 2; i < CURRENT; i++)); do\n"
               "                w=\"${words[i]}\"\n"
               "                case \"$w\" in\n"
               "                --socket|--output|-o|--timeout) ((i++)) ;;\n"
               "                -*) ;;\n"
               "                *) case \"$verb\" in pod|image) verb=\"$verb $w\" ;; '') verb=\"$w\" ;; esac ;;\n"
               "                esac\n"
               "        done\n"
               "        case \"$verb\" in\n"
               "        '') choices='");
        print_words(" ");
        print_options(cli_global_options);
        printf("' ;;\n");
        print_cases("choices");
        printf("        esac\n"
               "        if [[ \"${words[CURRENT]}\" != -* ]]; then\n");
        print_dynamic("choices");
        printf("        fi\n"
               "        compadd -- ${=choices}\n"
               "}\n"
               "_proxmox_lxcri \"$@\"\n");
        return EXIT_FINE;
}

static void fish_condition(const char *name) {
        const char *space = strchr(name, ' ');

        if (space)
                printf("'__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s'", (int) (space - name),
                       name, space + 1);
        else
                printf("'__fish_seen_subcommand_from %s'", name);
}

static void fish_text(const char *s) {
        for (; *s; s++)
                if (*s == '\'' || *s == '\\')
                        printf("\\%c", *s);
                else
                        putchar(*s);
}

static void fish_options(const struct cli_option *options, const char *name) {
        for (const struct cli_option *o = options; o && o->name; o++) {
                printf("complete -c proxmox-lxcri ");
                if (name) {
                        printf("-n ");
                        fish_condition(name);
                        putchar(' ');
                }
                if (o->letter)
                        printf("-s %c ", o->letter);
                printf("-l %s %s-d '", o->name, o->arg ? "-r " : "");
                fish_text(o->help);
                printf("'\n");
        }
}

static int fish(void) {
        size_t len;

        printf("# fish completion for proxmox-lxcri; made by \"proxmox-lxcri completion fish\".\n"
               "complete -c proxmox-lxcri -f\n");
        for (size_t i = 0; cli_verbs[i]; i++)
                if (first_of_group(i, &len))
                        printf("complete -c proxmox-lxcri -n __fish_use_subcommand -a %.*s\n", (int) len,
                               cli_verbs[i]->name);
        for (size_t i = 0; cli_verbs[i]; i++) {
                const char *space = strchr(cli_verbs[i]->name, ' ');

                if (cli_verbs[i]->hidden)
                        continue;
                if (space) {
                        printf("complete -c proxmox-lxcri -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                               (int) (space - cli_verbs[i]->name), cli_verbs[i]->name, space + 1);
                        fish_text(cli_verbs[i]->help);
                        printf("'\n");
                }
                fish_options(cli_verbs[i]->options, cli_verbs[i]->name);
        }
        fish_options(cli_global_options, NULL);
        return EXIT_FINE;
}

static int run(struct cli *cli, const struct cli_args *args) {
        if (str_eq(args->rest[0], "bash"))
                return bash();
        if (str_eq(args->rest[0], "zsh"))
                return zsh();
        if (str_eq(args->rest[0], "fish"))
                return fish();
        return cli_usage(&verb_completion, "no completions for \"%.32s\"", args->rest[0]);
}

const struct cli_verb verb_completion = {
        .name = "completion",
        .args = "bash|zsh|fish",
        .help = "Print a shell's completions",
        .description = "Packages install them; by hand: source <(proxmox-lxcri completion bash)",
        .fn = run,
        .min_args = 1,
        .max_args = 1,
};
