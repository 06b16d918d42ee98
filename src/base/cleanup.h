/* SPDX-License-Identifier: Apache-2.0 */
/* cleanup - scope-bound ownership. Owner variables carry _cleanup_; TAKE_* moves ownership out. */
#pragma once
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/attr.h"

#define DEFINE_CLEANUP(type, fn)                                                                                       \
        static inline void fn##p(type *p) {                                                                            \
                *p = fn(*p);                                                                                           \
        }
#define TAKE_PTR(p)                                                                                                    \
        ({                                                                                                             \
                __auto_type _take_ptr = (p);                                                                           \
                (p) = NULL;                                                                                            \
                _take_ptr;                                                                                             \
        })
#define TAKE_FD(fd)                                                                                                    \
        ({                                                                                                             \
                int _take_fd = (fd);                                                                                   \
                (fd) = -1;                                                                                             \
                _take_fd;                                                                                              \
        })

static inline int fd_close(int fd) {
        if (fd >= 0)
                (void) close(fd);
        return -1;
}
static inline void fd_closep(int *fd) {
        *fd = fd_close(*fd);
}
static inline void freep(void *p) {
        free(*(void **) p);
        *(void **) p = NULL;
}
static inline void fclosep(FILE **f) {
        if (*f)
                (void) fclose(*f);
        *f = NULL;
}
static inline void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
        *d = NULL;
}
