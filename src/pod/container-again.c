/* SPDX-License-Identifier: Apache-2.0 */
/* container-again - what an administrator does with a container that has ended: starts it again, gives it another
 * image. The CRI has no such thing: there its end is for ever (docs/decisions/0025). */
#include "base/alloc.h"
#include "base/log.h"
#include "pod/lists.h"
#include "pod/operations.h"
#include "pod/record.h"

enum { WORK_ARENA_MAX = 64 << 20 };

static int check_ended(struct container *c, struct err *err) {
        enum container_phase phase = container_get_phase(c);

        if (c->removed || phase == CONTAINER_REMOVING)
                return err_set(err, ERR_NOT_FOUND, "container %s is gone", c->id);
        exit_release(c);
        if (phase != CONTAINER_EXITED || c->engine_holds)
                return err_set(err, ERR_PRECONDITION, "container %s has not ended%s", c->id,
                               phase == CONTAINER_CREATED ? ", it was never started: remove it and make another"
                                                          : ": stop it first");
        return 0;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

/* As if it had never ended. */
static void forget_end(struct container *c) {
        char *message;

        pthread_rwlock_wrlock(&c->pods->lock);
        c->exit_code = 0;
        c->reason = NULL;
        message = c->message;
        c->message = NULL;
        c->started_at_ns = c->finished_at_ns = 0;
        pthread_rwlock_unlock(&c->pods->lock);
        free(message);
        atomic_store(&c->signalled, false);
}

/* Until its record says that it is made, a new daemon finds an ended one, and removes what was made. */
static int make_again(struct container *c, struct arena *arena, struct err *err) {
        struct engine *e = c->pods->engine;
        int r = container_make_again(c, arena, err);

        if (r < 0)
                return r;
        pthread_mutex_lock(&c->record);
        forget_end(c);
        container_set_phase(c, CONTAINER_CREATED);
        r = container_save(c, err);
        pthread_mutex_unlock(&c->record);
        /* An init that died this early was reported while the container had ended. */
        if (r == 0 && e->ops->get_state(e, c->id) == ENGINE_STOPPED)
                r = exit_record(c, err);
        return r;
}

static int start_again(struct container *c, struct err *err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(WORK_ARENA_MAX);
        int r = 0;

        if (!c->removed && container_get_phase(c) == CONTAINER_CREATED)
                return container_start(c, err);
        r = check_ended(c, err);
        if (r == 0 && sandbox_get_phase(c->sandbox) != SANDBOX_READY)
                r = err_set(err, ERR_PRECONDITION, "pod sandbox %s is not ready", c->sandbox->id);
        if (r == 0)
                r = make_again(c, arena, err);
        if (r < 0)
                return err_wrap(err, "start container %s again", c->id);
        return container_start(c, err);
}

int pods_start_again(struct pods *p, const struct pods_ctx *ctx, const char *id, struct err *err) {
        _cleanup_(container_unrefp) struct container *c = NULL;
        int r = registry_find_container(p, id, &c, err);

        if (r == 0)
                r = sandbox_lock(c->sandbox, ctx, err);
        if (r < 0)
                return r;
        r = start_again(c, err);
        pthread_mutex_unlock(&c->sandbox->lock);
        if (r == 0)
                log_info("container started by an administrator", "container", c->id, NULL);
        return r;
}

/* --- set-image ---------------------------------------------------------------------------------------------------- */

/* What lists show as what was asked for, and @asked gets the old one. */
static void swap_asked(struct container *c, char **asked) {
        char *old = c->config->image->image;
        struct packed_item *item;

        pthread_rwlock_wrlock(&c->pods->lock);
        c->config->image->image = *asked;
        item = c->item;
        c->item = container_pack_item(c);
        pthread_rwlock_unlock(&c->pods->lock);
        free(item);
        *asked = old;
}

static int save(void *userdata, struct err *err) {
        return container_save(userdata, err);
}

static int set_image(struct container *c, const char *asked, const struct image *image, struct arena *arena,
                     struct err *err) {
        char *name = xstrdup(asked);
        struct image_traits traits = { 0 };
        int r = check_ended(c, err);

        if (r == 0)
                r = image_traits_new(c->config, asked, image, arena, &traits, err);
        if (r == 0) {
                pthread_mutex_lock(&c->record);
                container_swap_traits(c, &traits);
                swap_asked(c, &name);
                r = snapshot_set_image(c->pods->images, c->id, image->id, save, c, err);
                if (r < 0) {
                        container_swap_traits(c, &traits);
                        swap_asked(c, &name);
                }
                pthread_mutex_unlock(&c->record);
        }
        image_traits_done(&traits);
        free(name);
        return r < 0 ? err_wrap(err, "give container %s another image", c->id) : 0;
}

int pods_set_image(struct pods *p, const struct pods_ctx *ctx, const char *id, const char *asked, struct arena *arena,
                   const char **ret_id, struct err *err) {
        _cleanup_(arena_freep) struct arena *work = arena_new(WORK_ARENA_MAX);
        _cleanup_(container_unrefp) struct container *c = NULL;
        struct image *image;
        int r = registry_find_container(p, id, &c, err);

        if (r < 0)
                return r;
        r = images_get(p->images, asked, work, &image, err);
        if (r < 0)
                return r == -ERR_NOT_FOUND
                               ? err_set(err, ERR_NOT_FOUND, "image %.512s is not on this node; pull it first", asked)
                               : r;
        r = sandbox_lock(c->sandbox, ctx, err);
        if (r < 0)
                return r;
        r = set_image(c, asked, image, work, err);
        if (r == 0)
                *ret_id = arena_strdup(arena, c->from_image.id);
        pthread_mutex_unlock(&c->sandbox->lock);
        if (r == 0)
                log_info("container has another image", "container", c->id, "image", *ret_id, NULL);
        return r;
}
