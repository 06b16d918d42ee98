/* SPDX-License-Identifier: Apache-2.0 */
/* cni-generate - see cni-generate.h. */
#include "net/cni-generate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "net/cni-conf.h"

static int fill(const char *template, const struct cni_ranges *ranges, struct strbuf *out, struct err *err) {
        _cleanup_(cni_conf_freep) struct cni_conf *conf = NULL;
        _cleanup_(freep) char *text = NULL;
        size_t len;
        int r;

        r = fs_read_file(AT_FDCWD, template, CNI_TEMPLATE_MAX_BYTES, &text, &len, err);
        if (r == 0)
                r = cni_template_fill(text, len, ranges, out, err);
        if (r == 0) {
                r = cni_conf_parse(strbuf_str(out), out->len, false, &conf, err);
                if (r == 0 && json_array_size(conf->plugins) == 0)
                        r = err_set(err, ERR_INVALID, "it names no plug-in");
                if (r < 0)
                        r = err_wrap(err, "what it gives is no network configuration");
        }
        if (r == 0)
                return 0;
        (void) err_wrap(err, "network template %s", template);
        err->code = ERR_PRECONDITION;
        return -ERR_PRECONDITION;
}

static bool is_same(const char *path, const struct strbuf *text) {
        _cleanup_(freep) char *old = NULL;
        struct err ignored;
        size_t len;

        return fs_read_file(AT_FDCWD, path, CNI_CONF_MAX_BYTES, &old, &len, &ignored) == 0 && len == text->len &&
               memcmp(old, strbuf_str(text), len) == 0;
}

int cni_generate(const char *dir, const char *template, const struct cni_ranges *ranges, struct err *err) {
        _cleanup_strbuf_ struct strbuf text = STRBUF(CNI_CONF_MAX_BYTES);
        char path[PATH_MAX];
        bool others;
        int r;

        r = cni_conf_has_others(dir, CNI_GENERATED_FILE, &others, err);
        if (r < 0 || others)
                return r;
        r = fill(template, ranges, &text, err);
        if (r < 0)
                return r;
        if (snprintf(path, sizeof(path), "%s/%s", dir, CNI_GENERATED_FILE) >= (int) sizeof(path))
                return err_sys(err, ENAMETOOLONG, "write the network configuration in %s", dir);
        if (is_same(path, &text))
                return 0;
        r = fs_mkdir_p(dir, 0755, err);
        if (r == 0)
                r = fs_write_atomic(AT_FDCWD, path, strbuf_str(&text), text.len, 0644, true, err);
        if (r == 0)
                log_info("network configuration made from the template", "file", path, "ranges", ranges->cidrs[0],
                         NULL);
        return r;
}
