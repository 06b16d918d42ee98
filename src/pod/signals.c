/* SPDX-License-Identifier: Apache-2.0 */
/* signals - one table of names; real-time signals by their distance from 34 (RTMIN) and 64 (RTMAX), the numbers that
 * glibc and musl leave to programs. */
#include "pod/signals.h"

#include <signal.h>
#include <strings.h>
#include "base/str.h"

enum { RT_MIN = 34, RT_MAX = 64 };

/* clang-format off */
#define SIGNALS(X)                                                                                                     \
        X(ABRT) X(ALRM) X(BUS) X(CHLD) X(CLD) X(CONT) X(FPE) X(HUP) X(ILL) X(INT) X(IO) X(IOT) X(KILL) X(PIPE)         \
        X(POLL) X(PROF) X(PWR) X(QUIT) X(SEGV) X(STKFLT) X(STOP) X(SYS) X(TERM) X(TRAP) X(TSTP) X(TTIN) X(TTOU)        \
        X(URG) X(USR1) X(USR2) X(VTALRM) X(WINCH) X(XCPU) X(XFSZ)
/* clang-format on */

static const struct {
        const char *name;
        int number;
        CRI(Signal) cri;
} table[] = {
#define ROW(name) { #name, SIG##name, CRI_(SIGNAL__SIG##name) },
        SIGNALS(ROW)
#undef ROW
};

int signal_from_cri(CRI(Signal) s) {
        if (s == CRI_(SIGNAL__RUNTIME_DEFAULT))
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].cri == s)
                        return table[i].number;
        /* RTMIN, RTMIN+1 ... RTMIN+15, RTMAX-14 ... RTMAX: a row without gaps, there as here */
        if (s >= CRI_(SIGNAL__SIGRTMIN) && s <= CRI_(SIGNAL__SIGRTMAX))
                return RT_MIN + (int) (s - CRI_(SIGNAL__SIGRTMIN));
        return -1;
}

CRI(Signal) signal_to_cri(int number) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].number == number)
                        return table[i].cri;
        if (number >= RT_MIN && number <= RT_MAX)
                return (CRI(Signal))(CRI_(SIGNAL__SIGRTMIN) + (unsigned) (number - RT_MIN));
        return CRI_(SIGNAL__RUNTIME_DEFAULT);
}

static int from_realtime_name(const char *name) {
        const char *rest;
        uint64_t n = 0;

        rest = str_after(name, "RTMIN");
        if (rest)
                return !*rest                                                             ? RT_MIN
                       : *rest == '+' && str_to_u64(rest + 1, &n) && n <= RT_MAX - RT_MIN ? RT_MIN + (int) n
                                                                                          : -1;
        rest = str_after(name, "RTMAX");
        if (rest)
                return !*rest                                                             ? RT_MAX
                       : *rest == '-' && str_to_u64(rest + 1, &n) && n <= RT_MAX - RT_MIN ? RT_MAX - (int) n
                                                                                          : -1;
        return -1;
}

int signal_from_name(const char *name) {
        uint64_t n;

        if (str_to_u64(name, &n))
                return n >= 1 && n <= RT_MAX ? (int) n : -1;
        if (strncasecmp(name, "SIG", 3) == 0)
                name += 3;
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (strcasecmp(table[i].name, name) == 0)
                        return table[i].number;
        return from_realtime_name(name);
}
