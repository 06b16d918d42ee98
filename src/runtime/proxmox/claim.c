/* SPDX-License-Identifier: Apache-2.0 */
/* claim - see claim.h. Proxmox shows descriptions as Markdown and keeps their lines as they are. */
#include "runtime/proxmox/claim.h"

#include <ctype.h>
#include <string.h>
#include "base/str.h"
#include "runtime/proxmox/ct.h"

enum { WORD_MAX = 512 };

static const char node_key[] = "- node: ", id_key[] = "- sandbox: ", recipe_key[] = "- prepared from: ";

/* Names come from whoever asks for a pod: no line breaks, which would begin a line of ours, no Markdown, no markup. */
void claim_word(struct strbuf *to, const char *word) {
        size_t n = 0;

        for (; *word && n < WORD_MAX; word++, n++)
                strbuf_putc(to, isalnum((unsigned char) *word) || strchr("-._", *word) ? *word : '?');
}

void claim_write(const struct ct_pod *pod, const char *node, struct strbuf *to) {
        strbuf_puts(to, "Pod ");
        claim_word(to, pod->pod_namespace);
        strbuf_putc(to, '/');
        claim_word(to, pod->name);
        strbuf_puts(to, " of Kubernetes, by proxmox-lxcri: it goes when the pod goes.\n\n- uid: ");
        claim_word(to, pod->uid);
        strbuf_printf(to, "\n%s", node_key);
        claim_word(to, node);
        strbuf_printf(to, "\n%s", id_key);
        claim_word(to, pod->id);
        strbuf_putc(to, '\n');
}

void claim_write_prepared(const char *recipe, const char *node, struct strbuf *to) {
        strbuf_puts(
                to,
                "Prepared by proxmox-lxcri for a pod of Kubernetes that is to come. It may be removed: another one is "
                "made then.\n");
        strbuf_printf(to, "\n%s", node_key);
        claim_word(to, node);
        strbuf_printf(to, "\n%s", recipe_key);
        claim_word(to, recipe);
        strbuf_putc(to, '\n');
}

/* The line's word, if it begins with @key. */
static bool take(const char *line, const char *key, char *ret, size_t size) {
        const char *word = str_after(line, key);
        size_t n = word ? strcspn(word, "\r\n") : 0;

        if (n == 0 || n >= size)
                return false;
        memcpy(ret, word, n);
        ret[n] = '\0';
        return true;
}

static bool is_id(const char *s) {
        return strlen(s) == CLAIM_ID_LEN && strspn(s, "0123456789abcdef") == CLAIM_ID_LEN;
}

bool claim_read(const char *description, struct claim *ret) {
        bool has_node = false, has_id = false, prepared = false;

        *ret = (struct claim){ 0 };
        for (const char *line = description; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                has_node = take(line, node_key, ret->node, sizeof(ret->node)) || has_node;
                has_id = take(line, id_key, ret->pod_id, sizeof(ret->pod_id)) || has_id;
                prepared = take(line, recipe_key, ret->recipe, sizeof(ret->recipe)) || prepared;
        }
        /* Who says both was written by nobody of ours. */
        return has_node && has_id != prepared && (prepared || is_id(ret->pod_id));
}

bool claim_has_tag(const char *tags) {
        size_t n = strlen(CLAIM_TAG);

        for (const char *t = tags; *t; t += strcspn(t, ";, "), t += strspn(t, ";, "))
                if (strcspn(t, ";, ") == n && memcmp(t, CLAIM_TAG, n) == 0)
                        return true;
        return false;
}
