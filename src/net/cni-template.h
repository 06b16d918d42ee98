/* SPDX-License-Identifier: Apache-2.0 */
/* cni-template - network configurations with holes, filled with a node's pod ranges: the part of Go's text/template
 * that templates written for containerd use. No I/O. Private to net/.
 *
 * Data: .PodCIDR (the first range), .PodCIDRRanges and .Routes (lists). Actions: values ({{.Name}}, {{$}}, {{$name}},
 * {{$.Name}}, {{.}}), {{if VALUE}}, {{range VALUE}}, {{range $x := VALUE}}, {{range $i, $x := VALUE}}, {{else}},
 * {{else if VALUE}}, {{end}}, comments, and the dashes that trim blanks ({{- and -}}). All else is an error. */
#pragma once
#include "base/err.h"
#include "base/strbuf.h"

enum { CNI_CIDR_MAX = 64, CNI_CIDRS_MAX = 2 };

struct cni_ranges {
        char text[CNI_CIDRS_MAX][CNI_CIDR_MAX]; /* "10.1.2.0/24": the network's address, in its one spelling */
        const char *cidrs[CNI_CIDRS_MAX + 1];   /* NULL-terminated; into "text" */
        const char *routes[CNI_CIDRS_MAX + 1];  /* the default route of each family that there is */
};

/* "CIDR" or "CIDR,CIDR" of both families. @ret points into itself: not to be copied. ERR_INVALID. */
_must_use_ int cni_ranges_parse(const char *text, struct cni_ranges *ret, struct err *err);

/* Append to @out, whose maximum bounds the work. ERR_INVALID with the line. */
_must_use_ int cni_template_fill(const char *text, size_t len, const struct cni_ranges *data, struct strbuf *out,
                                 struct err *err);
