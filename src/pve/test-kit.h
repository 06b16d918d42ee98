/* SPDX-License-Identifier: Apache-2.0 */
/* test-kit - a client of scripted servers (http/test-server.h). Answers are those that Proxmox VE 9.2 gave. */
#pragma once
#include "http/test-server.h"
#include "pve/pve.h"

#define API "/api2/json"
#define UPID_OF(type, id) "UPID:pve1:000000BF:00028E3C:6B0607E9:" type ":" id ":root@pam!k8s:"
/* One that has to be asked for: METHOD PATH, status line, body. */
#define STEP(request, status, body)                                                                                    \
        { request, status, body, NULL }
#define OK(request, data) STEP(request, "200 OK", "{\"data\":" data "}")
#define FAIL(request, text) STEP(request, "500 " text, "{\"message\":\"" text "\\n\",\"data\":null}")
#define START(request, type, id) OK(request, "\"" UPID_OF(type, id) "\"")
#define TASK_STATUS(type, id) "GET " API "/nodes/pve1/tasks/" UPID_OF(type, id) "/status "
#define RUNS(type, id) OK(TASK_STATUS(type, id), "{\"status\":\"running\"}")
#define ENDS(type, id, exit) OK(TASK_STATUS(type, id), "{\"status\":\"stopped\",\"exitstatus\":\"" exit "\"}")

#define TEST_TOKEN "11111111-2222-3333-4444-555555555555"

/* With the token "root@pam!k8s"; of servers that run, NULL-terminated. */
struct pve *test_client(const struct test_server *const *servers);
struct pve *test_client_of(const struct test_server *s);
/* With root@pam's password "pass;w&rd". */
struct pve *test_client_with_password(const struct test_server *s, unsigned ticket_s);
/* With @n places in each line. */
struct pve *test_client_with_lines(const struct test_server *s, unsigned n);
struct pve_until test_until(unsigned ms);
