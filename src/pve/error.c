/* SPDX-License-Identifier: Apache-2.0 */
#include "pve/error.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include "base/str.h"

#undef pve_raise

static const struct {
        const char *name;
        enum err_code code;
        const char *advice;
} kinds[] = { [PVE_NONE] = { "NONE", ERR_UNKNOWN, NULL },
#define PVE_KIND(kind, code, advice) [PVE_##kind] = { #kind, ERR_##code, advice },
              PVE_KINDS(PVE_KIND)
#undef PVE_KIND
};

/* "*" is anything, "#" a number. They are of the whole text, since it may quote what users chose; what stands before is
 * spelled out. */
static const struct {
        const char *pattern;
        enum pve_kind kind;
} texts[] = {
        { "CT is locked (*)", PVE_LOCKED },
        { "VM is locked (*)", PVE_LOCKED },
        { "can't lock file '*' - got timeout", PVE_LOCK_TIMEOUT },
        { "unable to create CT # - can't lock file '*' - got timeout", PVE_LOCK_TIMEOUT },
        { "unable to restore CT # - can't lock file '*' - got timeout", PVE_LOCK_TIMEOUT },
        { "*error: got lock request timeout", PVE_LOCK_TIMEOUT },
        { "detected modified configuration - *", PVE_MODIFIED },
        { "cluster not ready - no quorum?*", PVE_NO_QUORUM },
        { "*error: no quorum!", PVE_NO_QUORUM },
        { "unable to open file '/etc/pve/*' - Permission denied", PVE_NO_QUORUM }, /* it is read-only then */
        { "Configuration file 'nodes/*/#.conf' does not exist", PVE_MISSING },
        { "CT # already exists on node '*'", PVE_EXISTS },
        { "VM # already exists on node '*'", PVE_EXISTS },
        { "unable to create CT # - CT # already exists on node '*'", PVE_EXISTS },
        { "unable to restore CT # - CT # already exists on node '*'", PVE_EXISTS },
        { "unable to create CT #: config file already exists", PVE_EXISTS },
        { "snapshot name '*' already used", PVE_EXISTS },
        { "snapshot '*' does not exist", PVE_NO_SNAPSHOT },
        { "CT # not running", PVE_NOT_RUNNING },
        { "CT # already running", PVE_ALREADY_RUNNING },
        { "unable to destroy CT # - container is running", PVE_RUNNING },
        { "can't migrate running container without *", PVE_RUNNING },
        { "Full clone of a running container is only possible from a snapshot", PVE_RUNNING },
        { "*protection mode enabled", PVE_PROTECTED },
        { "*volume '*' does not exist", PVE_NO_VOLUME },
        { "storage '*' does not exist", PVE_NO_STORAGE },
        { "storage '*' is not available on node '*'", PVE_NO_STORAGE },
        { "storage '*' is not online", PVE_NO_STORAGE },
        { "storage '*' is disabled", PVE_NO_STORAGE },
        { "no such cluster node '*'", PVE_NO_NODE },
        { "hostname lookup '*' failed*", PVE_NO_NODE },
        { "*No space left on device*", PVE_NO_SPACE },
        { "*not enough free space*", PVE_NO_SPACE },
        { "unexpected status", PVE_TASK_KILLED },
        { "interrupted by signal", PVE_TASK_KILLED },
        { "received interrupt", PVE_TASK_KILLED },
};

/* Each piece between stars where it is found first: the earliest place leaves most for the others, and the last one is
 * looked for from the end. So no text takes long. */
static const char *match_piece(const char *at, const char *end, const char *piece, size_t len) {
        for (size_t i = 0; i < len; i++) {
                if (piece[i] == '#') {
                        if (at == end || !isdigit((unsigned char) *at))
                                return NULL;
                        while (at < end && isdigit((unsigned char) *at))
                                at++;
                } else if (at == end || *at++ != piece[i]) {
                        return NULL;
                }
        }
        return at;
}

static bool is_like(const char *text, const char *end, const char *pattern) {
        bool anywhere = false;

        for (;;) {
                size_t len = strcspn(pattern, "*");
                bool last = !pattern[len];
                const char *next = NULL;

                for (const char *at = text; at <= end && !next; at++) {
                        next = match_piece(at, end, pattern, len);
                        if (next && last && next != end && len > 0)
                                next = NULL;
                        if (!anywhere)
                                break;
                }
                if (!next)
                        return false;
                if (last)
                        return next == end || len == 0;
                text = next;
                pattern += len + 1;
                anywhere = true;
        }
}

static enum pve_kind kind_of_text(const char *text) {
        const char *end = text + strcspn(text, "\n");

        while (end > text && isspace((unsigned char) end[-1]))
                end--;
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (is_like(text, end, texts[i].pattern))
                        return texts[i].kind;
        return PVE_OTHER;
}

/* 595 and above are of pveproxy, about the node that it passes a request on to. */
enum pve_kind pve_kind_of(unsigned status, const char *text) {
        switch (status) {
        case 400:
                return str_after(text, "upid: no such task") ? PVE_NO_TASK : PVE_BAD_PARAMETER;
        case 401:
                return PVE_AUTH;
        case 403:
                return PVE_PERMISSION;
        case 501:
                return PVE_UNSUPPORTED;
        case 0:
        case 500:
                return kind_of_text(text);
        default:
                if (status >= 595 && status <= 599)
                        return PVE_NODE_UNREACHABLE;
                return status > 500 ? PVE_UNREACHABLE : PVE_FOREIGN;
        }
}

const char *pve_kind_name(enum pve_kind kind) {
        return (unsigned) kind < ELEMENTSOF(kinds) ? kinds[kind].name : "?";
}

int pve_raise(struct err *err, enum pve_kind kind, const char *fmt, ...) {
        const char *advice = kinds[kind].advice;
        char text[sizeof(err->msg)];
        size_t room = sizeof(err->msg) - (advice ? strlen(advice) + sizeof(" ()") : sizeof(""));
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        (void) err_set(err, kinds[kind].code, "%.*s%s%s%s", (int) room, text, advice ? " (" : "", advice ?: "",
                       advice ? ")" : "");
        err->kind = (int) kind;
        return -(int) err->code;
}

void pve_one_line(char *text, size_t max) {
        size_t len = strnlen(text, max);

        text[len] = '\0';
        while (len > 0 && isspace((unsigned char) text[len - 1]))
                text[--len] = '\0';
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = *p == '\n' ? ';' : ' ';
}
