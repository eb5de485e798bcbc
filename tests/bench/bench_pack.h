/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_pack: a pack of equal groups as attention sees it, for benchmarks: each group's prompt,
 * then its responses below it; the last group is cut where `tokens` ends.
 */
#ifndef TAILOR_TESTS_BENCH_BENCH_PACK_H
#define TAILOR_TESTS_BENCH_BENCH_PACK_H

#include "worker/ops/ops.h"

struct bench_shape {
    int32_t tokens; /* S */
    int32_t prompt, response, responses;
};

struct bench_pack {
    struct layout layout; /* its arrays are the device's */
    const int32_t *last;  /* (rows) the last token of each row, the device's */
    int32_t rows;
    double visible; /* Σ over tokens of the keys they see */
};

/* In blocks of the device, for the process. */
void bench_pack_build(struct bench_pack *pack, struct device *device,
                      const struct bench_shape *shape);

/* `bytes` of a device's memory; ends the process where there are none. */
void *bench_block(struct device *device, size_t bytes);

#endif
