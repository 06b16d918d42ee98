/* SPDX-License-Identifier: Apache-2.0 */
/* operations - what can be done with pods' Proxmox containers beside the CRI, each once: the REST, its description, the
 * verbs of the command line, their help and completions are made from this table. Data only.
 *
 * What must be said is an argument, A() (in the path, or else in the body), or a named one, R(); what may be said is
 * O(). A flag, F(), is an O() that is true when it is there. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "base/strbuf.h"

enum rest_kind {
        REST_NAME,   /* letters, digits, "-_." and no dot first: it may stand in a path of Proxmox */
        REST_WORD,   /* no blanks, nothing unprintable */
        REST_TEXT,   /* with them; line breaks are the only control bytes */
        REST_NUMBER, /* whole, from 0 */
        REST_BOOL,
};

/* A(name, metavar, kind, help), R(the same), O(the same), F(name, help) */
#define REST_POD(A) A("pod", "POD", WORD, "a pod's id or its beginning, namespace/name, or the container's number")
#define REST_WAIT(O)                                                                                                   \
        O("lock-wait", "SECONDS", NUMBER, "wait so long while something else has the container (default 30)")

#define REST_NO_ARGS(A, R, O, F)
#define REST_POD_ARGS(A, R, O, F) REST_POD(A)
#define REST_POD_WAIT_ARGS(A, R, O, F) REST_POD(A) REST_WAIT(O)

#define REST_SNAPSHOT_CREATE_ARGS(A, R, O, F)                                                                          \
        REST_POD(A)                                                                                                    \
        A("name", "NAME", NAME, "the snapshot's: letters, digits, - and _, at least two")                              \
        O("description", "TEXT", TEXT, "what it is for") REST_WAIT(O)
#define REST_SNAPSHOT_ROLLBACK_ARGS(A, R, O, F)                                                                        \
        REST_POD(A)                                                                                                    \
        A("name", "NAME", NAME, "the snapshot's")                                                                      \
        F("start", "start it again, to look at it: its pod has ended all the same") REST_WAIT(O)
#define REST_SNAPSHOT_RM_ARGS(A, R, O, F)                                                                              \
        REST_POD(A)                                                                                                    \
        A("name", "NAME", NAME, "the snapshot's")                                                                      \
        F("force", "also when a storage can't remove its part") REST_WAIT(O)
#define REST_SNAPSHOT_PRUNE_ARGS(A, R, O, F)                                                                           \
        REST_POD(A)                                                                                                    \
        R("keep", "N", NUMBER, "how many of the newest stay")                                                          \
        O("prefix", "PREFIX", NAME, "only those whose names begin with it") REST_WAIT(O)

#define REST_BACKUP_LS_ARGS(A, R, O, F)                                                                                \
        O("pod", "POD", WORD, "only this pod's")                                                                       \
        O("storage", "NAME", NAME, "only on this storage")
#define REST_BACKUP_CREATE_ARGS(A, R, O, F)                                                                            \
        REST_POD(A)                                                                                                    \
        R("storage", "NAME", NAME, "where to; its content must have backup")                                           \
        O("mode", "MODE", WORD, "snapshot (default), suspend or stop: stop ends the pod")                              \
        O("compress", "HOW", WORD, "zstd (default), gzip, lzo or 0")                                                   \
        O("keep", "N", NUMBER,                                                                                         \
          "how many of the pod's backups stay there; older ones go, but those that are protected")                     \
        F("protected", "it can't be removed until that is taken back in Proxmox") REST_WAIT(O)
#define REST_BACKUP_ARGS(A, R, O, F) A("volume", "VOLUME", WORD, "the backup: STORAGE:backup/FILE")
#define REST_BACKUP_RESTORE_ARGS(A, R, O, F)                                                                           \
        A("volume", "VOLUME", WORD, "the backup: STORAGE:backup/FILE")                                                 \
        O("vmid", "ID", NUMBER, "number of the new container (default: a free one outside of the pods' range)")        \
        O("storage", "NAME", NAME, "of its volumes (default: that of the pods' containers)")                           \
        O("hostname", "NAME", WORD, "its name")                                                                        \
        F("start", "start it")

#define REST_MIGRATE_ARGS(A, R, O, F)                                                                                  \
        REST_POD(A)                                                                                                    \
        A("node", "NODE", NAME, "where to")                                                                            \
        F("restart", "a running one is shut down, and started there; the pod ends")                                    \
        O("timeout", "SECONDS", NUMBER, "how long its programs have to end (default 180)")                             \
        O("target-storage", "NAME", NAME, "of its volumes there (default: of the same name)") REST_WAIT(O)
#define REST_MOVE_VOLUME_ARGS(A, R, O, F)                                                                              \
        REST_POD(A)                                                                                                    \
        A("volume", "VOLUME", NAME, "rootfs, mp0, ...")                                                                \
        A("storage", "STORAGE", NAME, "where to")                                                                      \
        F("delete", "remove the old one (default: it stays as unused0, ...)") REST_WAIT(O)
#define REST_RESIZE_ARGS(A, R, O, F)                                                                                   \
        REST_POD(A)                                                                                                    \
        A("volume", "VOLUME", NAME, "rootfs, mp0, ...")                                                                \
        A("size", "SIZE", WORD, "2G, or +512M; volumes only grow") REST_WAIT(O)
#define REST_TEMPLATE_ARGS(A, R, O, F)                                                                                 \
        REST_POD(A)                                                                                                    \
        F("stop", "stop a running one; the pod ends") REST_WAIT(O)
#define REST_CLONE_ARGS(A, R, O, F)                                                                                    \
        REST_POD(A)                                                                                                    \
        O("vmid", "ID", NUMBER, "number of the new container (default: a free one outside of the pods' range)")        \
        O("snapshot", "NAME", NAME, "copy this snapshot; a running container can be copied from one only")             \
        O("storage", "NAME", NAME, "of its volumes (default: the same)")                                               \
        O("node", "NAME", NAME, "where to (default: where the pod is)")                                                \
        O("hostname", "NAME", WORD, "its name") REST_WAIT(O)

#define REST_HA_OPTIONS(O)                                                                                             \
        O("state", "STATE", WORD, "started, stopped, disabled or ignored")                                             \
        O("max-restart", "N", NUMBER, "tries to start it on its node")                                                 \
        O("max-relocate", "N", NUMBER, "tries on other nodes")                                                         \
        O("failback", "true|false", BOOL, "go back to a preferred node that is there again")                           \
        O("comment", "TEXT", TEXT, "for people")
#define REST_HA_ARGS(A, R, O, F) REST_POD(A) REST_HA_OPTIONS(O)
#define REST_HA_RULE_ADD_ARGS(A, R, O, F)                                                                              \
        A("rule", "RULE", NAME, "the rule's name")                                                                     \
        A("type", "TYPE", WORD, "node-affinity or resource-affinity")                                                  \
        A("pods", "PODS", WORD, "pods that HA has, separated by commas")                                               \
        O("nodes", "LIST", WORD, "of node-affinity: NODE or NODE:PRIORITY, separated by commas")                       \
        O("strict", "true|false", BOOL, "of node-affinity: nowhere else")                                              \
        O("affinity", "WHICH", WORD, "of resource-affinity: positive (together) or negative (apart)")                  \
        O("comment", "TEXT", TEXT, "for people")
#define REST_HA_RULE_ARGS(A, R, O, F) A("rule", "RULE", NAME, "the rule's name")

#define REST_POOL_CREATE_ARGS(A, R, O, F)                                                                              \
        A("pool", "POOL", NAME, "the pool's name")                                                                     \
        O("comment", "TEXT", TEXT, "for people")
#define REST_POOL_ARGS(A, R, O, F) A("pool", "POOL", NAME, "the pool's name")
#define REST_POOL_POD_ARGS(A, R, O, F)                                                                                 \
        A("pool", "POOL", NAME, "the pool's name")                                                                     \
        REST_POD(A)

#define REST_FIREWALL_SET_ARGS(A, R, O, F)                                                                             \
        REST_POD(A)                                                                                                    \
        O("enable", "true|false", BOOL, "filter what goes through cards with firewall=1")                              \
        O("policy-in", "POLICY", WORD, "what no rule names: ACCEPT, REJECT or DROP")                                   \
        O("policy-out", "POLICY", WORD, "the same, the other way")                                                     \
        O("ipfilter", "true|false", BOOL, "only its own addresses may send")                                           \
        O("macfilter", "true|false", BOOL, "only its own MAC may send")                                                \
        O("log-in", "LEVEL", WORD, "log what is refused: nolog, info, ...")                                            \
        O("log-out", "LEVEL", WORD, "the same, the other way")
#define REST_RULE_ADD_ARGS(A, R, O, F)                                                                                 \
        REST_POD(A)                                                                                                    \
        A("direction", "DIRECTION", WORD, "in or out")                                                                 \
        A("action", "ACTION", WORD, "ACCEPT, REJECT or DROP")                                                          \
        O("source", "ADDRESS", WORD, "address, network, range, +SET of addresses")                                     \
        O("dest", "ADDRESS", WORD, "the same, of the other end")                                                       \
        O("proto", "PROTOCOL", WORD, "tcp, udp, ...")                                                                  \
        O("dport", "PORTS", WORD, "80, 80:90, 80,443; needs --proto")                                                  \
        O("sport", "PORTS", WORD, "the same, of the source")                                                           \
        O("icmp-type", "TYPE", WORD, "with --proto icmp")                                                              \
        O("macro", "NAME", WORD, "one of Proxmox' macros: SSH, HTTPS, ...")                                            \
        O("iface", "CARD", WORD, "only on this card: net0, ...")                                                       \
        O("log", "LEVEL", WORD, "log it: nolog, info, ...")                                                            \
        O("position", "N", NUMBER, "before the rule that is there now (default 0: the first)")                         \
        O("comment", "TEXT", TEXT, "for people") F("disabled", "it is only written down")
#define REST_RULE_RM_ARGS(A, R, O, F)                                                                                  \
        REST_POD(A)                                                                                                    \
        A("position", "POSITION", NUMBER, "as firewall rule ls shows it")                                              \
        O("digest", "DIGEST", WORD, "only if the rules are still those of that digest")
#define REST_IPSET_ARGS(A, R, O, F)                                                                                    \
        REST_POD(A)                                                                                                    \
        A("set", "SET", NAME, "the set's name")
#define REST_IPSET_CREATE_ARGS(A, R, O, F)                                                                             \
        REST_IPSET_ARGS(A, R, O, F)                                                                                    \
        O("comment", "TEXT", TEXT, "for people")
#define REST_IPSET_RM_ARGS(A, R, O, F)                                                                                 \
        REST_IPSET_ARGS(A, R, O, F)                                                                                    \
        F("force", "with all that is in it")
#define REST_IPSET_ADD_ARGS(A, R, O, F)                                                                                \
        REST_IPSET_ARGS(A, R, O, F)                                                                                    \
        A("address", "ADDRESS", WORD, "address or network")                                                            \
        F("nomatch", "not this one")                                                                                   \
        O("comment", "TEXT", TEXT, "for people")
#define REST_IPSET_TAKE_ARGS(A, R, O, F)                                                                               \
        REST_IPSET_ARGS(A, R, O, F)                                                                                    \
        A("address", "ADDRESS", WORD, "address or network")

/* X(id, function, verb, method, path, progress, columns, help, arguments)
 * progress: the answer is a line of JSON for each line of the task's log, and a last one. columns: "TITLE=member" or
 * "TITLE=member:unit" (bytes, seconds, time) of what a list has; of one object: what the verb prints. */
#define REST_OPERATIONS(X)                                                                                             \
        X(LS, rest_status_ls, "ls", "GET", "/v1/pods", false,                                                          \
          "VMID=vmid POD=pod NODE=node STATE=state MEMORY=mem:bytes UP=uptime:seconds HA=ha LOCK=lock",                \
          "List pods' Proxmox containers", REST_NO_ARGS)                                                               \
        X(NODES, rest_status_nodes, "nodes", "GET", "/v1/nodes", false,                                                \
          "NODE=node STATE=status CPUS=maxcpu MEMORY=mem:bytes OF=maxmem:bytes UP=uptime:seconds",                     \
          "List the cluster's nodes", REST_NO_ARGS)                                                                    \
        X(STORAGES, rest_status_storages, "storages", "GET", "/v1/storages", false,                                    \
          "STORAGE=storage TYPE=type ACTIVE=active SHARED=shared USED=used:bytes OF=total:bytes CONTENT=content",      \
          "List this node's storages", REST_NO_ARGS)                                                                   \
        X(SNAPSHOT_LS, rest_snapshot_ls, "snapshot ls", "GET", "/v1/pods/{pod}/snapshots", false,                      \
          "NAME=name TAKEN=snaptime:time PARENT=parent DESCRIPTION=description", "List a pod's snapshots",             \
          REST_POD_ARGS)                                                                                               \
        X(SNAPSHOT_CREATE, rest_snapshot_create, "snapshot create", "POST", "/v1/pods/{pod}/snapshots", true, "=name", \
          "Take a snapshot of a pod's container", REST_SNAPSHOT_CREATE_ARGS)                                           \
        X(SNAPSHOT_ROLLBACK, rest_snapshot_rollback, "snapshot rollback", "POST",                                      \
          "/v1/pods/{pod}/snapshots/{name}/rollback", true, "", "Set a pod's container back to a snapshot",            \
          REST_SNAPSHOT_ROLLBACK_ARGS)                                                                                 \
        X(SNAPSHOT_RM, rest_snapshot_rm, "snapshot rm", "DELETE", "/v1/pods/{pod}/snapshots/{name}", true, "",         \
          "Remove a snapshot", REST_SNAPSHOT_RM_ARGS)                                                                  \
        X(SNAPSHOT_PRUNE, rest_snapshot_prune, "snapshot prune", "POST", "/v1/pods/{pod}/prune-snapshots", true, "",   \
          "Remove all but the newest snapshots", REST_SNAPSHOT_PRUNE_ARGS)                                             \
        X(BACKUP_LS, rest_backup_ls, "backup ls", "GET", "/v1/backups", false,                                         \
          "BACKUP=volid VMID=vmid TAKEN=ctime:time SIZE=size:bytes NOTES=notes", "List backups of pods' containers",   \
          REST_BACKUP_LS_ARGS)                                                                                         \
        X(BACKUP_CREATE, rest_backup_create, "backup create", "POST", "/v1/pods/{pod}/backups", true, "=volid",        \
          "Back a pod's container up", REST_BACKUP_CREATE_ARGS)                                                        \
        X(BACKUP_RM, rest_backup_rm, "backup rm", "DELETE", "/v1/backups/{volume}", false, "", "Remove a backup",      \
          REST_BACKUP_ARGS)                                                                                            \
        X(BACKUP_RESTORE, rest_backup_restore, "backup restore", "POST", "/v1/backups/{volume}/restore", true,         \
          "=vmid", "Make a container of a backup, which is no pod's", REST_BACKUP_RESTORE_ARGS)                        \
        X(MIGRATE, rest_copy_migrate, "migrate", "POST", "/v1/pods/{pod}/migrate", true, "=node",                      \
          "Move a pod's container to another node; the pod ends", REST_MIGRATE_ARGS)                                   \
        X(MOVE_VOLUME, rest_copy_move_volume, "move-volume", "POST", "/v1/pods/{pod}/move-volume", true, "",           \
          "Move a volume of a container to another storage", REST_MOVE_VOLUME_ARGS)                                    \
        X(RESIZE, rest_copy_resize, "resize", "POST", "/v1/pods/{pod}/resize", true, "", "Make a volume larger",       \
          REST_RESIZE_ARGS)                                                                                            \
        X(TEMPLATE, rest_copy_template, "template", "POST", "/v1/pods/{pod}/template", true, "=vmid",                  \
          "Make a template of a pod's container, which is no pod's then", REST_TEMPLATE_ARGS)                          \
        X(CLONE, rest_copy_clone, "clone", "POST", "/v1/pods/{pod}/clone", true, "=vmid",                              \
          "Copy a pod's container; the copy is no pod's", REST_CLONE_ARGS)                                             \
        X(HA_LS, rest_ha_ls, "ha ls", "GET", "/v1/ha", false,                                                          \
          "SID=sid POD=pod NODE=node REQUESTED=state IS=service RESTARTS=max_restart RELOCATES=max_relocate",          \
          "List pods' containers that HA has", REST_NO_ARGS)                                                           \
        X(HA_ADD, rest_ha_add, "ha add", "POST", "/v1/pods/{pod}/ha", false, "", "Give a pod's container to HA",       \
          REST_HA_ARGS)                                                                                                \
        X(HA_SET, rest_ha_set, "ha set", "PUT", "/v1/pods/{pod}/ha", false, "", "Change what HA does with it",         \
          REST_HA_ARGS)                                                                                                \
        X(HA_RM, rest_ha_rm, "ha rm", "DELETE", "/v1/pods/{pod}/ha", false, "", "Take a pod's container from HA",      \
          REST_POD_ARGS)                                                                                               \
        X(HA_STATUS, rest_ha_status, "ha status", "GET", "/v1/ha/status", false, "WHAT=id NODE=node STATUS=status",    \
          "Show how HA is", REST_NO_ARGS)                                                                              \
        X(HA_RULE_LS, rest_ha_rule_ls, "ha rule ls", "GET", "/v1/ha/rules", false,                                     \
          "RULE=rule TYPE=type RESOURCES=resources NODES=nodes STRICT=strict AFFINITY=affinity", "List HA's rules",    \
          REST_NO_ARGS)                                                                                                \
        X(HA_RULE_ADD, rest_ha_rule_add, "ha rule add", "POST", "/v1/ha/rules", false, "",                             \
          "Say where HA keeps pods' containers", REST_HA_RULE_ADD_ARGS)                                                \
        X(HA_RULE_RM, rest_ha_rule_rm, "ha rule rm", "DELETE", "/v1/ha/rules/{rule}", false, "", "Remove a rule",      \
          REST_HA_RULE_ARGS)                                                                                           \
        X(POOL_LS, rest_pool_ls, "pool ls", "GET", "/v1/pools", false, "POOL=poolid COMMENT=comment", "List pools",    \
          REST_NO_ARGS)                                                                                                \
        X(POOL_CREATE, rest_pool_create, "pool create", "POST", "/v1/pools", false, "", "Make a pool",                 \
          REST_POOL_CREATE_ARGS)                                                                                       \
        X(POOL_RM, rest_pool_rm, "pool rm", "DELETE", "/v1/pools/{pool}", false, "",                                   \
          "Remove an empty pool that was made so", REST_POOL_ARGS)                                                     \
        X(POOL_ADD, rest_pool_add, "pool add", "PUT", "/v1/pools/{pool}/pods/{pod}", false, "",                        \
          "Put a pod's container into a pool", REST_POOL_POD_ARGS)                                                     \
        X(POOL_TAKE, rest_pool_take, "pool take", "DELETE", "/v1/pools/{pool}/pods/{pod}", false, "",                  \
          "Take a pod's container out of a pool", REST_POOL_POD_ARGS)                                                  \
        X(FIREWALL_SHOW, rest_firewall_show, "firewall show", "GET", "/v1/pods/{pod}/firewall", false,                 \
          "enable=enable policy-in=policy_in policy-out=policy_out ipfilter=ipfilter macfilter=macfilter "             \
          "log-in=log_level_in log-out=log_level_out",                                                                 \
          "Show the firewall of a pod's container", REST_POD_ARGS)                                                     \
        X(FIREWALL_SET, rest_firewall_set, "firewall set", "PUT", "/v1/pods/{pod}/firewall", false, "", "Change it",   \
          REST_FIREWALL_SET_ARGS)                                                                                      \
        X(RULE_LS, rest_rule_ls, "firewall rule ls", "GET", "/v1/pods/{pod}/firewall/rules", false,                    \
          "POS=pos ON=enable DIRECTION=type ACTION=action MACRO=macro SOURCE=source DEST=dest PROTO=proto "            \
          "DPORT=dport SPORT=sport COMMENT=comment",                                                                   \
          "List its rules; the first that fits decides", REST_POD_ARGS)                                                \
        X(RULE_ADD, rest_rule_add, "firewall rule add", "POST", "/v1/pods/{pod}/firewall/rules", false, "",            \
          "Add a rule", REST_RULE_ADD_ARGS)                                                                            \
        X(RULE_RM, rest_rule_rm, "firewall rule rm", "DELETE", "/v1/pods/{pod}/firewall/rules/{position}", false, "",  \
          "Remove a rule", REST_RULE_RM_ARGS)                                                                          \
        X(IPSET_LS, rest_ipset_ls, "firewall ipset ls", "GET", "/v1/pods/{pod}/firewall/ipsets", false,                \
          "SET=name COMMENT=comment", "List its sets of addresses", REST_POD_ARGS)                                     \
        X(IPSET_SHOW, rest_ipset_show, "firewall ipset show", "GET", "/v1/pods/{pod}/firewall/ipsets/{set}", false,    \
          "ADDRESS=cidr NOMATCH=nomatch COMMENT=comment", "List what is in a set", REST_IPSET_ARGS)                    \
        X(IPSET_CREATE, rest_ipset_create, "firewall ipset create", "POST", "/v1/pods/{pod}/firewall/ipsets", false,   \
          "", "Make a set of addresses", REST_IPSET_CREATE_ARGS)                                                       \
        X(IPSET_RM, rest_ipset_rm, "firewall ipset rm", "DELETE", "/v1/pods/{pod}/firewall/ipsets/{set}", false, "",   \
          "Remove a set", REST_IPSET_RM_ARGS)                                                                          \
        X(IPSET_ADD, rest_ipset_add, "firewall ipset add", "POST", "/v1/pods/{pod}/firewall/ipsets/{set}/addresses",   \
          false, "", "Add an address or a network to a set", REST_IPSET_ADD_ARGS)                                      \
        X(IPSET_TAKE, rest_ipset_take, "firewall ipset take", "DELETE",                                                \
          "/v1/pods/{pod}/firewall/ipsets/{set}/addresses/{address}", false, "", "Take one out of a set",              \
          REST_IPSET_TAKE_ARGS)

enum rest_id {
#define REST_ID(id, ...) REST_##id,
        REST_OPERATIONS(REST_ID)
#undef REST_ID
                REST_OPERATIONS_N
};

enum { REST_ARGS_MAX = 20, REST_WORD_MAX = 512, REST_TEXT_MAX = 4096 };

struct rest_arg {
        const char *name; /* NULL ends the list */
        enum rest_kind kind;
        bool required, positional, flag;
        const char *metavar, *help;
};

struct rest_operation {
        const char *verb; /* "snapshot create" */
        const char *method, *path;
        bool progress;
        const char *columns, *help;
        const struct rest_arg *args;
};
extern const struct rest_operation rest_operations[REST_OPERATIONS_N];

/* --- arguments, checked; used by both ends -------------------------------------------------------------------------
 */

struct rest_values {
        const struct rest_operation *op;
        char *value[REST_ARGS_MAX]; /* of op->args[i]; numbers in decimal, booleans "1" and "0"; NULL: not said */
};
#define _cleanup_rest_values_ _cleanup_(rest_values_done)
void rest_values_done(struct rest_values *v);

/* Checks and keeps one. ERR_INVALID. */
_must_use_ int rest_set(struct rest_values *v, const char *name, const char *text, struct err *err);
/* NULL: not said. @name must be one of the operation's. */
const char *rest_get(const struct rest_values *v, const char *name);
bool rest_true(const struct rest_values *v, const char *name);
/* Is all there that must be? ERR_INVALID. */
_must_use_ int rest_check(const struct rest_values *v, struct err *err);

/* The operation of a request, and what its path says, which is decoded. ERR_NOT_FOUND; ERR_UNIMPLEMENTED: there is that
 * path, with other methods. */
_must_use_ int rest_match(const char *method, const char *path, struct rest_values *ret, struct err *err);
/* The members of a JSON object, or nothing at all; unknown ones are refused. */
_must_use_ int rest_set_body(struct rest_values *v, const char *body, size_t len, struct err *err);
/* %XX undone. NULL: it is wrong, or has a NUL. Caller frees. */
char *rest_decode(const char *text, size_t len);
/* All but letters, digits and "-._~" as %XX. */
void rest_encode(struct strbuf *to, const char *text);
/* The path with @v's values encoded; caller frees. */
char *rest_path(const struct rest_values *v);
/* Is @arg in the path? */
bool rest_in_path(const struct rest_operation *op, const char *arg);
