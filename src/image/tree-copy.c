/* SPDX-License-Identifier: Apache-2.0 */
/* An archive that is unpacked as it is made: what one can't hold, the other would not make. */
#include "image/tree-copy.h"

#include <sys/stat.h>
#include "image/unpack.h"

static const uint64_t entries_max = UINT64_C(1) << 40;

struct copy {
        const struct tar_tree_args *args;
        struct unpack *to;
};

static int take(const void *data, size_t len, void *userdata, struct err *err) {
        const struct copy *c = userdata;

        return unpack_write(c->to, data, len, err);
}

static bool leave_out(const char *path, void *userdata) {
        const struct copy *c = userdata;

        return c->args->leave_out(path, c->args->userdata);
}

static void skipped(const char *path, const char *why, void *userdata) {
        const struct copy *c = userdata;

        c->args->skipped(path, why, c->args->userdata);
}

int tree_copy(const struct tar_tree_args *args, int to_fd, struct err *err) {
        struct tar_tree_args how = *args;
        struct copy c = { .args = args };
        mode_t mask = umask(0);
        int r = unpack_new(to_fd, entries_max, &c.to, err);

        how.kind = TAR_TREE_LAYER; /* the unpacker takes ".wh." names as what they are in layers */
        how.write = take;
        how.leave_out = args->leave_out ? leave_out : NULL;
        how.skipped = args->skipped ? skipped : NULL;
        how.userdata = &c;
        if (r == 0)
                r = tar_tree(&how, err);
        if (r == 0)
                r = unpack_end(c.to, err);
        (void) unpack_free(c.to);
        (void) umask(mask);
        return r;
}
