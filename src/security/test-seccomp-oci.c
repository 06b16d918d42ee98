/* SPDX-License-Identifier: Apache-2.0 */
/* linux.seccomp of bundles: each action, operator, flag and architecture in force, and what is refused. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/str.h"
#include "security/seccomp-words.h"
#include "security/seccomp.h"

static struct err err;
static bool notify;

/* A call that nothing else makes, with three arguments that it does not look at. */
#define CALL SYS_setdomainname
#define NAME "setdomainname"

static const struct seccomp_filter *must_parse(const char *json) {
        const struct seccomp_filter *f = NULL;

        if (seccomp_parse_oci(json, strlen(json), &f, &notify, &err) < 0) {
                (void) fprintf(stderr, "%s: %s\n", json, err.msg);
                abort();
        }
        return f;
}

static int load(const struct seccomp_filter *f, unsigned flags) {
        struct sock_fprog prog = { .len = (unsigned short) f->n,
                                   .filter = (struct sock_filter *) (uintptr_t) f->insns };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
                return -1;
        return (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags | flags, &prog);
}

/* The call's errno, 0: none; negative: killed by that signal. */
static int outcome(const char *json, unsigned long a, unsigned long b) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = must_parse(json);
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                if (load(f, 0) < 0)
                        _exit(200);
                errno = 0;
                (void) syscall(CALL, a, b, 0, 0, 0, 0);
                _exit(errno);
        }
        assert(waitpid(pid, &status, 0) == pid);
        assert(!WIFEXITED(status) || WEXITSTATUS(status) != 200);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* @action for CALL where all else is allowed. @more: further members of the rule. */
static const char *rule(const char *action, const char *more) {
        static char json[9000];

        (void) snprintf(json, sizeof(json),
                        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"" NAME
                        "\",\"no_such_call\"],\"action\":\"%s\"%s}]}",
                        action, more);
        return json;
}

/* What the call answers when nothing is in its way: EFAULT or EPERM, by who we are. */
static int unfiltered(void) {
        return outcome("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", 1, 8);
}

static void test_actions(void) {
        const int plain = unfiltered();

        assert(plain == EFAULT || plain == EPERM);
        assert(outcome(rule("SCMP_ACT_ERRNO", ""), 1, 8) == EPERM);
        assert(outcome(rule("SCMP_ACT_ERRNO", ",\"errnoRet\":71"), 1, 8) == 71);
        assert(outcome(rule("SCMP_ACT_ERRNO", ",\"errnoRet\":0"), 1, 8) == 0);
        assert(outcome(rule("SCMP_ACT_KILL", ""), 1, 8) == -SIGSYS);
        assert(outcome(rule("SCMP_ACT_KILL_THREAD", ""), 1, 8) == -SIGSYS);
        assert(outcome(rule("SCMP_ACT_KILL_PROCESS", ""), 1, 8) == -SIGSYS);
        assert(outcome(rule("SCMP_ACT_TRAP", ""), 1, 8) == -SIGSYS);
        assert(outcome(rule("SCMP_ACT_LOG", ""), 1, 8) == plain);
        assert(outcome(rule("SCMP_ACT_TRACE", ""), 1, 8) == ENOSYS); /* nobody traces */
        assert(outcome(rule("SCMP_ACT_ALLOW", ""), 1, 8) == plain);
        /* As a default, with the number of its own; sanitizers do more at the end of a process. */
        assert(outcome("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":72,\"syscalls\":[{\"names\":["
                       "\"exit_group\",\"exit\",\"close\",\"futex\",\"getpid\",\"mmap\",\"munmap\",\"sched_yield\","
                       "\"sigaltstack\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
                       1, 8) == 72);
        assert(outcome("{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\"}", 1, 8) == -SIGSYS);
}

/* KILL_THREAD and TRAP differ from KILL_PROCESS in the program. */
static bool returns(const char *json, uint32_t action) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = must_parse(json);

        for (size_t i = 0; i < f->n; i++)
                if (f->insns[i].code == (BPF_RET | BPF_K) && f->insns[i].k == action)
                        return true;
        return false;
}

static void test_programs(void) {
        assert(returns(rule("SCMP_ACT_KILL", ""), SECCOMP_RET_KILL_THREAD));
        assert(returns(rule("SCMP_ACT_KILL_THREAD", ""), SECCOMP_RET_KILL_THREAD));
        assert(returns(rule("SCMP_ACT_KILL_PROCESS", ""), SECCOMP_RET_KILL_PROCESS));
        assert(returns(rule("SCMP_ACT_TRAP", ""), SECCOMP_RET_TRAP));
        assert(returns(rule("SCMP_ACT_LOG", ""), SECCOMP_RET_LOG));
        assert(returns(rule("SCMP_ACT_TRACE", ",\"errnoRet\":65535"), SECCOMP_RET_TRACE | 65535));
        assert(returns(rule("SCMP_ACT_NOTIFY", ""), SECCOMP_RET_USER_NOTIF));
}

static void test_trace(void) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f =
                must_parse(rule("SCMP_ACT_TRACE", ",\"errnoRet\":4660"));
        unsigned long data = 0;
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
                        _exit(200);
                (void) raise(SIGSTOP);
                if (load(f, 0) < 0)
                        _exit(201);
                (void) syscall(CALL, 1, 8);
                _exit(0);
        }
        assert(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 200)
                return;
        assert(WIFSTOPPED(status) && ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP) == 0);
        assert(ptrace(PTRACE_CONT, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid);
        assert(status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8));
        assert(ptrace(PTRACE_GETEVENTMSG, pid, 0, &data) == 0 && data == 4660);
        assert(ptrace(PTRACE_CONT, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
}

/* The call is answered by us: WAIT_KILLABLE_RECV goes with it where the kernel has that. */
static void test_notify(void) {
        _cleanup_(seccomp_unrefp) const struct seccomp_filter *f = must_parse(rule("SCMP_ACT_NOTIFY", "")),
                                                              *other = NULL;
        struct seccomp_notif_sizes sizes;
        struct seccomp_notif *req;
        struct seccomp_notif_resp answer = { .error = -93 };
        int fd, status;
        pid_t pid;

        assert(notify && f->flags == 0);
        other = must_parse("{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}");
        assert(notify);
        assert(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0);
        req = calloc(1, sizes.seccomp_notif);
        assert(req);
        pid = fork();
        if (pid == 0) {
                fd = load(f, SECCOMP_FILTER_FLAG_NEW_LISTENER);
                if (fd < 0)
                        _exit(200);
                pid = fork();
                if (pid == 0) {
                        (void) syscall(CALL, 1, 8);
                        _exit(errno);
                }
                if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, req) < 0)
                        _exit(201);
                answer.id = req->id;
                if (req->data.nr != CALL || ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0)
                        _exit(202);
                (void) waitpid(pid, &status, 0);
                _exit(WEXITSTATUS(status));
        }
        assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 93);
        free(req);
}

static bool hits(const char *op, const char *value, const char *two, unsigned long argument) {
        char more[256];
        int r;

        (void) snprintf(more, sizeof(more),
                        ",\"errnoRet\":71,\"args\":[{\"index\":1,\"op\":\"SCMP_CMP_%s\",\"value\":%s,\"valueTwo\":%s}]",
                        op, value, two);
        r = outcome(rule("SCMP_ACT_ERRNO", more), 1, argument);
        assert(r == 71 || r == unfiltered() || r == EINVAL);
        return r == 71;
}

static void test_operators(void) {
        assert(hits("EQ", "8", "0", 8) && !hits("EQ", "8", "0", 9));
        assert(hits("NE", "8", "0", 9) && !hits("NE", "8", "0", 8));
        assert(hits("LT", "8", "0", 7) && !hits("LT", "8", "0", 8));
        assert(hits("LE", "8", "0", 8) && !hits("LE", "8", "0", 9));
        assert(hits("GE", "8", "0", 8) && !hits("GE", "8", "0", 7));
        assert(hits("GT", "8", "0", 9) && !hits("GT", "8", "0", 8));
        /* value is the mask, valueTwo what is left of it. */
        assert(hits("MASKED_EQ", "12", "8", 9) && !hits("MASKED_EQ", "12", "8", 13));
        /* All 64 bits, also those that no signed number has; as digits in a string, as base/json.h reads them. */
        assert(hits("EQ", "18446744073709551615", "0", ~0ul) && !hits("EQ", "18446744073709551615", "0", ~0u));
        assert(hits("GE", "9223372036854775808", "0", 1ul << 63) && !hits("GE", "9223372036854775808", "0", 1));
}

static int two(const char *first, const char *second, unsigned long a, unsigned long b) {
        char more[256];

        (void) snprintf(more, sizeof(more), ",\"errnoRet\":71,\"args\":[%s,%s]", first, second);
        return outcome(rule("SCMP_ACT_ERRNO", more), a, b) == 71;
}

/* Of several arguments all count; of one, any. */
static void test_several_arguments(void) {
        static const char zero[] = "{\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":1}",
                          one[] = "{\"index\":1,\"op\":\"SCMP_CMP_EQ\",\"value\":8}",
                          other[] = "{\"index\":1,\"op\":\"SCMP_CMP_EQ\",\"value\":9}";

        assert(two(zero, one, 1, 8) && !two(zero, one, 1, 9) && !two(zero, one, 2, 8));
        assert(two(one, other, 1, 8) && two(one, other, 1, 9) && !two(one, other, 1, 7));
}

/* More than a call has arguments, as in CRI-O's profile; but not without end. */
static void test_many_alternatives(void) {
        char more[8192];
        const struct seccomp_filter *f = NULL;

        for (int most = 9; most <= 65; most += 56) {
                size_t n = (size_t) snprintf(more, sizeof(more), ",\"errnoRet\":71,\"args\":[");
                const char *text;

                for (int i = 0; i < most; i++)
                        n += (size_t) snprintf(more + n, sizeof(more) - n,
                                               "%s{\"index\":1,\"op\":\"SCMP_CMP_EQ\",\"value\":%d}", i ? "," : "", i);
                (void) snprintf(more + n, sizeof(more) - n, "]");
                text = rule("SCMP_ACT_ERRNO", more);
                if (most == 9)
                        assert(outcome(text, 1, 8) == 71 && outcome(text, 1, 0) == 71 && outcome(text, 1, 9) != 71);
                else
                        assert(seccomp_parse_oci(text, strlen(text), &f, &notify, &err) == -ERR_INVALID && !f &&
                               strstr(err.msg, "args"));
        }
}

static void test_flags(void) {
        static const struct {
                const char *name;
                uint32_t value;
        } cases[] = { { "TSYNC", 0 },
                      { "LOG", SECCOMP_FILTER_FLAG_LOG },
                      { "SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
                      { "WAIT_KILLABLE_RECV", 0 } }; /* nothing without a listener */
        const struct seccomp_filter *f;
        char json[512];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                (void) snprintf(json, sizeof(json),
                                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_%s\"]}",
                                cases[i].name);
                f = must_parse(json);
                assert(f->flags == cases[i].value);
                f = seccomp_unref(f);
                assert(outcome(json, 1, 8) == unfiltered());
        }
        f = must_parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],"
                       "\"syscalls\":[{\"names\":[\"" NAME "\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}");
        assert(notify && f->flags == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
        f = seccomp_unref(f);
}

/* Each name of the specification is known, and either done or refused by name, as are those of the other byte order;
 * the native one alone when none is given. */
static void test_architectures(void) {
#define NAME_OF(name, value) name,
        static const char *const names[] = { SECCOMP_ARCHES(NAME_OF) };
        size_t done = 0;
        char json[512];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const struct seccomp_filter *f = NULL;

                (void) snprintf(json, sizeof(json), "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"%s\"]}",
                                names[i]);
                if (seccomp_parse_oci(json, strlen(json), &f, &notify, &err) == 0)
                        done++;
                else
                        assert(strstr(err.msg, names[i]) && strstr(err.msg, "libseccomp"));
                f = seccomp_unref(f);
        }
        assert(done >= 10);
        assert(outcome("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[]}", 1, 8) == unfiltered());
}

static void test_refused(void) {
        static const struct {
                const char *json, *word;
        } cases[] = {
                { "{}", "action" },
                { "[]", "linux.seccomp" },
                { "{\"defaultAction\":\"SCMP_ACT_MAYBE\"}", "SCMP_ACT_MAYBE" },
                { "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}", "errnoRet" },
                { "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":4096}", "errnoRet" },
                { "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":-1}", "errnoRet" },
                { "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_X\"]}", "FLAG_X" },
                { "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":3}", "flags" },
                { "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":\"SCMP_ARCH_X86\"}", "architectures" },
                { "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_VAX\"]}", "SCMP_ARCH_VAX" },
                { "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}", "syscalls" },
        };
        static const struct {
                const char *action, *more, *word;
        } rules[] = {
                { "SCMP_ACT_KILL", ",\"errnoRet\":1", "errnoRet" },
                { "SCMP_ACT_NOTIFY", ",\"errnoRet\":1", "errnoRet" },
                { "SCMP_ACT_TRAP", ",\"errnoRet\":1", "errnoRet" },
                { "SCMP_ACT_TRACE", ",\"errnoRet\":65536", "errnoRet" },
                { "SCMP_ACT_ERRNO", ",\"args\":[{\"index\":6,\"op\":\"SCMP_CMP_EQ\",\"value\":1}]", "index" },
                { "SCMP_ACT_ERRNO", ",\"args\":[{\"op\":\"SCMP_CMP_EQ\",\"value\":1}]", "index" },
                { "SCMP_ACT_ERRNO", ",\"args\":[{\"index\":0,\"op\":\"SCMP_CMP_XX\",\"value\":1}]", "SCMP_CMP_XX" },
                { "SCMP_ACT_ERRNO", ",\"args\":[{\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":-1}]", "value" },
                { "SCMP_ACT_ERRNO", ",\"args\":[{\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":18446744073709551616}]",
                  "" },
        };
        const struct seccomp_filter *f = NULL;
        char json[256];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert(seccomp_parse_oci(cases[i].json, strlen(cases[i].json), &f, &notify, &err) < 0 && !f &&
                       !notify && strstr(err.msg, cases[i].word) && strstr(err.msg, "linux.seccomp"));
        for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
                const char *text = rule(rules[i].action, rules[i].more);

                assert(seccomp_parse_oci(text, strlen(text), &f, &notify, &err) < 0 && !f &&
                       strstr(err.msg, rules[i].word));
        }
        (void) snprintf(json, sizeof(json),
                        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[],\"action\":"
                        "\"SCMP_ACT_ERRNO\"}]}");
        assert(seccomp_parse_oci(json, strlen(json), &f, &notify, &err) == -ERR_INVALID);
}

/* What would keep libseccomp busy for minutes. */
static void test_bounded(void) {
        static char json[256 << 10];
        const struct seccomp_filter *f = NULL;
        size_t n = (size_t) snprintf(json, sizeof(json), "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[");

        for (int i = 0; i < 300; i++) {
                n += (size_t) snprintf(json + n, sizeof(json) - n,
                                       "%s{\"names\":[\"" NAME "\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[",
                                       i ? "," : "");
                for (int k = 0; k < 6; k++)
                        n += (size_t) snprintf(json + n, sizeof(json) - n,
                                               "%s{\"index\":%d,\"op\":\"SCMP_CMP_EQ\",\"value\":%d}", k ? "," : "", k,
                                               7 * i + k);
                n += (size_t) snprintf(json + n, sizeof(json) - n, "]}");
        }
        n += (size_t) snprintf(json + n, sizeof(json) - n, "]}");
        assert(n < sizeof(json) && seccomp_parse_oci(json, n, &f, &notify, &err) == -ERR_EXHAUSTED && !f);
        assert(strstr(err.msg, "linux.seccomp") && strstr(err.msg, "arguments"));
}

/* Docker's additions are not of the specification: as if they were not there. */
static void test_unknown_members(void) {
        assert(outcome(rule("SCMP_ACT_ERRNO", ",\"errnoRet\":71,\"excludes\":{\"arches\":[\"amd64\",\"arm64\"]},"
                                              "\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}"),
                       1, 8) == 71);
}

int main(void) {
        test_actions();
        test_programs();
        test_trace();
        test_notify();
        test_operators();
        test_several_arguments();
        test_many_alternatives();
        test_flags();
        test_architectures();
        test_refused();
        test_unknown_members();
        test_bounded();
        return 0;
}
