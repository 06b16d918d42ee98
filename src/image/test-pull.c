/* SPDX-License-Identifier: Apache-2.0 */
/* Pulls, end to end. Without arguments it runs test-pull.py, which serves images well and badly and drives this
 * program: test-pull ROOT [-d] [-r HOST[,insecure][,ca=FILE][,mirror=M]]... < commands One command a line, one line of
 * JSON in answer: pull REF [KEY=VALUE ...]   user, password, auth, server, identity, token: credentials; timeout_ms,
 * cancel_ms pulls N REF [...]          by N threads at once; REF may be N of them joined by commas, and "rm:REF"
 * removes get REF | list | rm REF | usage | reconcile | hold ID | release CHAIN... Words are split at blanks. */
#undef NDEBUG
#include <assert.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "image/images.h"

enum { WORDS_MAX = 64, THREADS_MAX = 64, REGISTRIES_MAX = 8, EXIT_SKIPPED = 77 };

static struct images *images;

static void answer(json_t *o) {
        char *text = json_dumps(o, JSON_COMPACT);

        assert(text);
        (void) printf("%s\n", text);
        (void) fflush(stdout);
        free(text);
        json_decref(o);
}

static json_t *outcome(int r, const struct err *err) {
        return r < 0 ? json_pack("{s:s,s:s}", "error", err_code_name(err->code), "message", err->msg) : json_object();
}

struct pull {
        const char *ref;
        struct image_auth auth;
        uint64_t timeout_ms, cancel_ms;
        int cancel_fd;
        /* result */
        int r;
        struct err err;
        char id[80];
        atomic_uint reports, done, exists, mounted;
        atomic_bool returned, late_report;
};

static void on_progress(const struct image_progress *p, size_t layer, size_t n, void *userdata) {
        struct pull *pull = userdata;

        assert(layer < n && p->done_bytes <= p->total_bytes && p->digest);
        pull->reports++;
        pull->done += p->state == LAYER_DONE;
        pull->exists += p->state == LAYER_EXISTS;
        pull->mounted += p->state == LAYER_MOUNTED;
        if (pull->returned)
                pull->late_report = true;
}

static void *run_pull(void *arg) {
        struct arena *arena = arena_new(1 << 20);
        struct pull *p = arg;
        const struct image_pull_args args = { .reference = p->ref,
                                              .auth = &p->auth,
                                              .cancel_fd = p->cancel_fd,
                                              .deadline_ns = p->timeout_ms
                                                                     ? clock_monotonic_ns() + p->timeout_ms * 1000000
                                                                     : UINT64_MAX,
                                              .progress = on_progress,
                                              .userdata = p };
        const char *id = "", *to_remove = str_after(p->ref, "rm:");

        if (to_remove) {
                p->r = images_remove(images, to_remove, &p->err);
                arena_free(arena);
                return NULL;
        }
        p->r = images_pull(images, &args, arena, &id, &p->err);
        p->returned = true;
        (void) snprintf(p->id, sizeof(p->id), "%s", id);
        arena_free(arena);
        return NULL;
}

static void *cancel_later(void *arg) {
        struct pull *p = arg;

        (void) usleep((useconds_t) p->cancel_ms * 1000);
        (void) eventfd_write(p->cancel_fd, 1);
        return NULL;
}

static void option(struct pull *p, const char *word) {
        const struct {
                const char *name;
                const char **to;
        } texts[] = { { "user=", &p->auth.username },
                      { "password=", &p->auth.password },
                      { "auth=", &p->auth.auth },
                      { "server=", &p->auth.server_address },
                      { "identity=", &p->auth.identity_token },
                      { "token=", &p->auth.registry_token } };
        const char *value;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if ((value = str_after(word, texts[i].name)))
                        *texts[i].to = value;
        if ((value = str_after(word, "timeout_ms=")))
                assert(str_to_u64(value, &p->timeout_ms));
        if ((value = str_after(word, "cancel_ms=")))
                assert(str_to_u64(value, &p->cancel_ms));
}

static json_t *pull_result(const struct pull *p) {
        json_t *o = outcome(p->r, &p->err);

        assert(!p->late_report);
        if (p->r == 0)
                (void) json_object_set_new(o, "id", json_string(p->id));
        (void) json_object_set_new(o, "reports", json_integer(p->reports));
        (void) json_object_set_new(o, "done", json_integer(p->done));
        (void) json_object_set_new(o, "exists", json_integer(p->exists));
        return o;
}

static void do_pulls(size_t n, char **words) {
        struct pull *pulls = xcalloc(n, sizeof(*pulls));
        pthread_t threads[THREADS_MAX], cancel;
        _cleanup_(freep) char *copy = xstrdup(words[0]);
        json_t *all = json_array();
        char *refs = copy;

        assert(n > 0 && n <= THREADS_MAX && words[0]);
        for (size_t i = 0; i < n; i++) {
                pulls[i].ref = refs && strchr(words[0], ',') ? strsep(&refs, ",") : words[0];
                assert(pulls[i].ref);
                pulls[i].cancel_fd = eventfd(0, EFD_CLOEXEC);
                for (char **w = words + 1; *w; w++)
                        option(&pulls[i], *w);
                assert(pthread_create(&threads[i], NULL, run_pull, &pulls[i]) == 0);
        }
        if (pulls[0].cancel_ms)
                assert(pthread_create(&cancel, NULL, cancel_later, &pulls[0]) == 0);
        for (size_t i = 0; i < n; i++)
                (void) pthread_join(threads[i], NULL);
        if (pulls[0].cancel_ms)
                (void) pthread_join(cancel, NULL);
        for (size_t i = 0; i < n; i++) {
                (void) json_array_append_new(all, pull_result(&pulls[i]));
                (void) close(pulls[i].cancel_fd);
        }
        if (n == 1) {
                answer(json_incref(json_array_get(all, 0)));
                json_decref(all);
        } else {
                answer(json_pack("{s:o}", "pulls", all));
        }
        free(pulls);
}

/* "copy FROM TO [all] [option ...]": the options are for both. */
static void do_copy(char **words, struct arena *arena) {
        struct pull p = { .cancel_fd = eventfd(0, EFD_CLOEXEC) };
        struct image_copy_args args = { .from = words[0],
                                        .to = words[1],
                                        .from_auth = &p.auth,
                                        .to_auth = &p.auth,
                                        .cancel_fd = p.cancel_fd,
                                        .deadline_ns = UINT64_MAX,
                                        .progress = on_progress,
                                        .userdata = &p };
        const char *digest = "";
        pthread_t cancel = 0;
        json_t *o;

        for (char **w = words + 2; *w; w++) {
                args.all |= str_eq(*w, "all");
                option(&p, *w);
        }
        if (p.cancel_ms)
                assert(pthread_create(&cancel, NULL, cancel_later, &p) == 0);
        p.r = images_copy(images, &args, arena, &digest, &p.err);
        if (p.cancel_ms)
                (void) pthread_join(cancel, NULL);
        (void) close(p.cancel_fd);
        o = pull_result(&p);
        (void) json_object_set_new(o, "digest", json_string(digest));
        (void) json_object_set_new(o, "mounted", json_integer(p.mounted));
        answer(o);
}

static json_t *strings(const char **list) {
        json_t *a = json_array();

        for (; *list; list++)
                (void) json_array_append_new(a, json_string(*list));
        return a;
}

static json_t *image_json(const struct image *i) {
        return json_pack("{s:s,s:o,s:o,s:o,s:I,s:s,s:o,s:o,s:o,s:o,s:o,s:s,s:s}", "id", i->id, "tags",
                         strings(i->repo_tags), "digests", strings(i->repo_digests), "layers", strings(i->layers),
                         "size", (json_int_t) i->size_bytes, "user", i->config.user, "env", strings(i->config.env),
                         "cmd", strings(i->config.cmd), "entrypoint", strings(i->config.entrypoint), "labels",
                         strings(i->config.labels), "volumes", strings(i->config.volumes), "working_dir",
                         i->config.working_dir, "stop_signal", i->config.stop_signal);
}

static void do_get(const char *ref, struct arena *arena) {
        struct image *i;
        struct err err;
        int r = images_get(images, ref, arena, &i, &err);

        answer(r < 0 ? outcome(r, &err) : image_json(i));
}

static void do_list(struct arena *arena) {
        json_t *all = json_array();
        struct image **list;
        struct err err;
        size_t n;

        assert(images_list(images, arena, &list, &n, &err) == 0);
        for (size_t i = 0; i < n; i++)
                (void) json_array_append_new(all, image_json(list[i]));
        answer(json_pack("{s:o}", "images", all));
}

static void do_usage(struct arena *arena) {
        struct image_fs_info info;
        struct err err;

        assert(images_fs_info(images, arena, &info, &err) == 0);
        answer(json_pack("{s:s,s:I,s:I}", "mountpoint", info.mountpoint, "bytes", (json_int_t) info.used_bytes,
                         "inodes", (json_int_t) info.inodes_used));
}

static void do_hold(const char *id, struct arena *arena) {
        const char **layers;
        struct err err;
        int r = images_hold(images, id, arena, &layers, &err);

        answer(r < 0 ? outcome(r, &err) : json_pack("{s:o}", "layers", strings(layers)));
}

static void command(char **words) {
        struct arena *arena = arena_new(64 << 20);
        struct err err;
        uint64_t n;
        int r;

        if (str_eq(words[0], "pull") && words[1]) {
                do_pulls(1, words + 1);
        } else if (str_eq(words[0], "pulls") && words[1] && words[2]) {
                assert(str_to_u64(words[1], &n));
                do_pulls(n, words + 2);
        } else if (str_eq(words[0], "copy") && words[1] && words[2]) {
                do_copy(words + 1, arena);
        } else if (str_eq(words[0], "get") && words[1]) {
                do_get(words[1], arena);
        } else if (str_eq(words[0], "list")) {
                do_list(arena);
        } else if (str_eq(words[0], "rm") && words[1]) {
                r = images_remove(images, words[1], &err);
                answer(outcome(r, &err));
        } else if (str_eq(words[0], "usage")) {
                do_usage(arena);
        } else if (str_eq(words[0], "hold") && words[1]) {
                do_hold(words[1], arena);
        } else if (str_eq(words[0], "release")) {
                r = images_release(images, (const char *const *) words + 1, &err);
                answer(outcome(r, &err));
        } else if (str_eq(words[0], "snapshot") && words[1] && words[2]) {
                r = snapshot_create(images, words[1], words[2], NULL, &err);
                answer(outcome(r, &err));
        } else if (str_eq(words[0], "unsnapshot") && words[1]) {
                r = snapshot_remove(images, words[1], &err);
                answer(outcome(r, &err));
        } else if (str_eq(words[0], "reconcile")) {
                r = images_reconcile(images, &err);
                answer(outcome(r, &err));
        } else {
                answer(json_pack("{s:s}", "error", "what?"));
        }
        arena_free(arena);
}

/* "HOST,insecure,ca=FILE,mirror=M" */
static struct registry_conf registry_of(char *text) {
        static const char *mirrors[REGISTRIES_MAX][4];
        static size_t used;
        struct registry_conf c = { .host = strsep(&text, ",") };
        size_t n = 0;
        char *word;

        assert(used < REGISTRIES_MAX);
        while ((word = strsep(&text, ","))) {
                if (str_eq(word, "insecure"))
                        c.insecure = true;
                else if (str_after(word, "ca="))
                        c.ca_file = str_after(word, "ca=");
                else if (str_after(word, "mirror=") && n < 3)
                        mirrors[used][n++] = str_after(word, "mirror=");
        }
        c.mirrors = n ? mirrors[used++] : NULL;
        return c;
}

static int serve_commands(int argc, char **argv) {
        struct registry_conf confs[REGISTRIES_MAX];
        char *words[WORDS_MAX], *line = NULL, *save, path[4096];
        struct store *store;
        struct err err = { 0 };
        size_t cap = 0, n = 0, n_words;
        bool discard_blobs = false;
        int opt;

        if (getenv("TEST_DEBUG"))
                log_set_level(LOG_LEVEL_DEBUG);
        while ((opt = getopt(argc, argv, "dr:")) == 'd' || (opt == 'r' && n < REGISTRIES_MAX)) {
                if (opt == 'd')
                        discard_blobs = true;
                else
                        confs[n++] = registry_of(optarg);
        }
        assert(optind < argc && argv[optind]);
        (void) snprintf(path, sizeof(path), "%s/store.db", argv[optind]);
        if (store_open(path, &store, &err) < 0 ||
            images_new(&(struct images_args){ .root = argv[optind],
                                              .store = store,
                                              .registries = confs,
                                              .n_registries = n,
                                              .discard_blobs = discard_blobs },
                       &images, &err) < 0 ||
            images_reconcile(images, &err) < 0) {
                (void) fprintf(stderr, "%s\n", err.msg);
                return 1;
        }
        while (getline(&line, &cap, stdin) > 0) {
                n_words = 0;
                for (char *w = strtok_r(line, " \n", &save); w && n_words < WORDS_MAX - 1;
                     w = strtok_r(NULL, " \n", &save))
                        words[n_words++] = w;
                words[n_words] = NULL;
                if (n_words)
                        command(words);
        }
        free(line);
        images = images_free(images);
        store = store_close(store);
        return 0;
}

/* OpenSSL keeps a thread's last errors until the thread ends; a thread of the pool that ends beside the process leaves
 * them. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
        return "leak:libcrypto.so\n";
}

int main(int argc, char **argv) {
        char self[4096] = { 0 };

        if (argc > 1)
                return serve_commands(argc, argv);
        if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
                return 1;
        (void) execl("/usr/bin/python3", "python3",
                     str_ends_with(self, "-push")    ? "src/image/test-push.py"
                     : str_ends_with(self, "-parts") ? "src/image/test-parts.py"
                                                     : "src/image/test-pull.py",
                     self, (char *) NULL);
        return EXIT_SKIPPED;
}
