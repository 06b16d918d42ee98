/* SPDX-License-Identifier: Apache-2.0 */
/* weight - cgroup v2's weight for v1's shares. The two functions that it takes are here, since the OCI runtime is to
 * load no library but the C library; tests compare them with the mathematical library's for all shares. */
#include "runtime/cgroup/internal.h"

enum { SHARES_MIN = 2, SHARES_MAX = 262144, WEIGHT_MIN = 1, WEIGHT_MAX = 10000, TERMS = 40 };

/* Of at least 1: the integer part is the highest bit, the rest by ln m = 2 artanh((m - 1) / (m + 1)). */
static double log2_of(uint64_t n) {
        static const double ln2 = 0.693147180559945309417;
        int bit = 63 - __builtin_clzll(n);
        double m = (double) n / (double) (1ULL << bit), t = (m - 1) / (m + 1), power = t, sum = 0;

        for (int i = 1; i < TERMS; i += 2) {
                sum += power / i;
                power *= t * t;
        }
        return bit + 2 * sum / ln2;
}

/* From -1 to 4: e^(y ln 10), halved until the series is short, and squared again. */
static double exp10_of(double y) {
        static const double ln10 = 2.302585092994045684018;
        double z = y * ln10 / 1024, term = 1, sum = 0;

        for (int i = 1; i < TERMS / 2; i++) {
                sum += term;
                term *= z / i;
        }
        for (int i = 0; i < 10; i++)
                sum *= sum;
        return sum;
}

/* The curve that runc (1.3.2), crun (1.23) and the kubelet agree on, through (2, 1), (1024, 100) and (262144, 10000):
 * weight = 10^((l^2 + 125 l) / 612 - 7/34) with l = log2(shares). The older line through (2, 1) and (262144, 10000)
 * gave one CPU's 1024 shares a weight of 39, less than a group without any. */
uint64_t weight_from_shares(uint64_t shares) {
        double l, weight;

        if (shares <= SHARES_MIN)
                return WEIGHT_MIN;
        if (shares >= SHARES_MAX)
                return WEIGHT_MAX;
        l = log2_of(shares);
        weight = exp10_of((l * l + 125 * l) / 612.0 - 7.0 / 34.0);
        return (uint64_t) weight + (weight > (double) (uint64_t) weight);
}
