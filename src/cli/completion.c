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

/* The next group that verb @at is in, from @from bytes of its name on: "proxmox", "proxmox snapshot". 0: none. */
static size_t group_len(size_t at, size_t from) {
        const char *space = strchr(cli_verbs[at]->name + from, ' ');

        return space && !cli_verbs[at]->hidden ? (size_t) (space - cli_verbs[at]->name) : 0;
}

/* No verb before @at begins with the same @len bytes, as a word. */
static bool first_below(size_t at, size_t len) {
        for (size_t i = 0; i < at; i++)
                if (strncmp(cli_verbs[i]->name, cli_verbs[at]->name, len) == 0 && strchr(" ", cli_verbs[i]->name[len]))
                        return false;
        return true;
}

/* What may follow the group that is @len bytes of verb @at. */
static void print_next_words(size_t at, size_t len) {
        for (size_t k = at; cli_verbs[k]; k++) {
                size_t word = strcspn(cli_verbs[k]->name + MIN_OF(len + 1, strlen(cli_verbs[k]->name)), " ");

                if (strncmp(cli_verbs[k]->name, cli_verbs[at]->name, len) == 0 && cli_verbs[k]->name[len] == ' ' &&
                    first_below(k, len + 1 + word))
                        printf("%.*s ", (int) word, cli_verbs[k]->name + len + 1);
        }
}

/* "pod|image|'proxmox snapshot'": words that more words of a verb follow. */
static void print_groups(void) {
        const char *separator = "";

        for (size_t i = 0, len; cli_verbs[i]; i++)
                for (len = group_len(i, 0); len > 0; len = group_len(i, len + 1))
                        if (first_below(i, len)) {
                                printf("%s'%.*s'", separator, (int) len, cli_verbs[i]->name);
                                separator = "|";
                        }
}

/* "--socket|--output|-o": options that another word follows. */
static void print_with_values(const struct cli_option *options, const char *separator) {
        for (const struct cli_option *o = options; o && o->name; o++)
                if (o->arg) {
                        printf("%s--%s", separator, o->name);
                        if (o->letter)
                                printf("|-%c", o->letter);
                        separator = "|";
                }
}

/* What may follow each verb, into the shell variable @var. */
static void print_cases(const char *var) {
        for (size_t i = 0; cli_verbs[i]; i++) {
                if (cli_verbs[i]->hidden)
                        continue;
                printf("        '%s') %s='", cli_verbs[i]->name, var);
                print_options(cli_verbs[i]->options);
                print_options(cli_globals(cli_verbs[i]));
                if (str_eq(cli_verbs[i]->name, "completion"))
                        printf("bash zsh fish");
                printf("' ;;\n");
        }
        for (size_t i = 0, len; cli_verbs[i]; i++)
                for (len = group_len(i, 0); len > 0; len = group_len(i, len + 1))
                        if (first_below(i, len)) {
                                printf("        '%.*s') %s='", (int) len, cli_verbs[i]->name, var);
                                print_next_words(i, len);
                                printf("' ;;\n");
                        }
}

/* "'image rm'|'pod run'": those with the word in their arguments. */
static void print_verbs_of(const char *word) {
        for (size_t i = 0, n = 0; cli_verbs[i]; i++)
                if (!cli_verbs[i]->hidden && strstr(cli_verbs[i]->args, word))
                        printf("%s'%s'", n++ ? "|" : "", cli_verbs[i]->name);
}

/* The commands whose arguments are pods or images ask for them. Images without a tag have their id. */
static void print_dynamic(const char *var) {
        printf("        case \"$verb\" in\n"
               "        'image untag'|");
        print_verbs_of("IMAGE");
        printf(")\n"
               "                %s=\"$%s $(proxmox-lxcri image ls 2>/dev/null | awk 'NR > 1 {\n"
               "                        print $1 == \"(digest)\" ? $2 : $2 == \"(digest)\" ? $3 : $1 \":\" $2 }')\" "
               ";;\n"
               "        'proxmox '?*)\n"
               "                %s=\"$%s $(proxmox-lxcri proxmox ls 2>/dev/null | awk 'NR > 1 { print $2 }')\" ;;\n"
               "        'pod '?*)\n"
               "                %s=\"$%s $(proxmox-lxcri pod ls 2>/dev/null | awk 'NR > 1 { print $2 }')\" ;;\n"
               "        ",
               var, var, var, var, var, var);
        for (size_t i = 0, n = 0; oci_verbs[i]; i++)
                if (str_after(oci_verbs[i]->args, "ID"))
                        printf("%s%s", n++ ? "|" : "", oci_verbs[i]->name);
        printf(")\n"
               "                %s=\"$%s $(proxmox-lxcri list -q 2>/dev/null)\" ;;\n"
               "        esac\n",
               var, var);
}

static int bash(void) {
        printf("# bash completion for proxmox-lxcri; made by \"proxmox-lxcri completion bash\".\n"
               "_proxmox_lxcri() {\n"
               "        local cur=\"${COMP_LINE:0:COMP_POINT}\" verb='' words='' i\n"
               "        cur=\"${cur##*[[:space:]]}\" # in COMP_WORDS names of images end at each colon\n"
               "        for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "                case \"${COMP_WORDS[i]}\" in\n"
               "                ");
        print_with_values(cli_global_options, "");
        print_with_values(oci_global_options, "|");
        printf(") ((i++)) ;;\n"
               "                -*) ;;\n"
               "                *) case \"$verb\" in ");
        print_groups();
        printf(") verb=\"$verb ${COMP_WORDS[i]}\" ;; '') verb=\"${COMP_WORDS[i]}\" ;; esac ;;\n"
               "                esac\n"
               "        done\n"
               "        case \"$verb\" in\n"
               "        '') words='");
        print_words(" ");
        print_options(cli_global_options);
        print_options(oci_global_options);
        printf("' ;;\n");
        print_cases("words");
        printf("        esac\n"
               "        [[ $cur == -* ]] || {\n");
        print_dynamic("words");
        printf("        }\n"
               "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
               "        [[ $cur != *:* || $COMP_WORDBREAKS != *:* ]] || "
               "COMPREPLY=(\"${COMPREPLY[@]#\"${cur%%:*}:\"}\")\n"
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
               "                ");
        print_with_values(cli_global_options, "");
        print_with_values(oci_global_options, "|");
        printf(") ((i++)) ;;\n"
               "                -*) ;;\n"
               "                *) case \"$verb\" in ");
        print_groups();
        printf(") verb=\"$verb $w\" ;; '') verb=\"$w\" ;; esac ;;\n"
               "                esac\n"
               "        done\n"
               "        case \"$verb\" in\n"
               "        '') choices='");
        print_words(" ");
        print_options(cli_global_options);
        print_options(oci_global_options);
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

/* "seen this word; and seen that one", of the first @len bytes of @name. */
static void fish_condition(const char *name, size_t len) {
        const char *separator = "'";

        for (size_t at = 0; at < len;) {
                size_t word = strcspn(name + at, " ");

                printf("%s__fish_seen_subcommand_from %.*s", separator, (int) word, name + at);
                separator = "; and ";
                at += word + 1;
        }
        printf("'");
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
                        fish_condition(name, strlen(name));
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
        size_t len, last;

        printf("# fish completion for proxmox-lxcri; made by \"proxmox-lxcri completion fish\".\n"
               "complete -c proxmox-lxcri -f\n");
        for (size_t i = 0; cli_verbs[i]; i++)
                if (first_of_group(i, &len))
                        printf("complete -c proxmox-lxcri -n __fish_use_subcommand -a %.*s\n", (int) len,
                               cli_verbs[i]->name);
        for (size_t i = 0; cli_verbs[i]; i++) {
                if (cli_verbs[i]->hidden)
                        continue;
                for (last = 0, len = group_len(i, 0); len > 0; last = len, len = group_len(i, len + 1))
                        if (last > 0 && first_below(i, len)) {
                                printf("complete -c proxmox-lxcri -n ");
                                fish_condition(cli_verbs[i]->name, last);
                                printf(" -a %.*s\n", (int) (len - last - 1), cli_verbs[i]->name + last + 1);
                        }
                if (last > 0) {
                        printf("complete -c proxmox-lxcri -n ");
                        fish_condition(cli_verbs[i]->name, last);
                        printf(" -a %s -d '", cli_verbs[i]->name + last + 1);
                        fish_text(cli_verbs[i]->help);
                        printf("'\n");
                }
                fish_options(cli_verbs[i]->options, cli_verbs[i]->name);
        }
        fish_options(cli_global_options, NULL);
        for (const struct cli_option *o = oci_global_options; o->name; o++)
                if (!str_eq(o->name, "help"))
                        fish_options((const struct cli_option[]){ *o, { 0 } }, NULL);
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
