/* SPDX-License-Identifier: Apache-2.0
 *
 * rows: picking rows by index, and the way back.
 *
 * Picking is a copy, cut by rows. The way back adds, and an index may come twice: each thread takes
 * a strip of channels and goes through all rows in ascending order, so every sum has one order
 * whatever the number of threads, and no two threads meet. The embedding is the same with the
 * vocabulary as source.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane.h"
#include "worker/ops/cpu/ranges.h"

struct rows {
    float *out;
    const float *in;
    const int32_t *index;
    int64_t rows, C;
};

static void gather_range(const void *op, int64_t begin, int64_t end)
{
    const struct rows *rows = op;
    for (int64_t i = begin; i < end; i++) {
        CHECK(rows->index[i] >= 0);
        memcpy(rows->out + i * rows->C, rows->in + rows->index[i] * rows->C,
               (size_t)rows->C * sizeof(float));
    }
}

void OPS_FN(gather_rows)(struct device *device, real *y, const real *x, const int32_t *index,
                         int32_t rows, int32_t C)
{
    struct rows gather = {y, x, index, rows, C};
    OPS_FN(for_ranges)(device, rows, 1, (int64_t)2 * C, gather_range, &gather);
}

static void scatter_add_strip(const void *op, int64_t begin, int64_t end)
{
    const struct rows *rows = op;
    for (int64_t i = 0; i < rows->rows; i++) {
        CHECK(rows->index[i] >= 0);
        add_floats(rows->out + rows->index[i] * rows->C + begin, rows->in + i * rows->C + begin,
                   end - begin);
    }
}

void OPS_FN(scatter_add_rows)(struct device *device, real *dx, const real *dy, const int32_t *index,
                              int32_t rows, int32_t C)
{
    struct rows scatter = {dx, dy, index, rows, C};
    OPS_FN(for_ranges)(device, C, 4 * LANES, (int64_t)3 * rows, scatter_add_strip, &scatter);
}

void OPS_FN(embed_forward)(struct device *device, real *x, const int32_t *ids, const real *table,
                           int32_t S, int32_t C)
{
    OPS_FN(gather_rows)(device, x, table, ids, S, C);
}

void OPS_FN(embed_backward)(struct device *device, float *dtable, const real *dx,
                            const int32_t *ids, int32_t S, int32_t C)
{
    OPS_FN(scatter_add_rows)(device, dtable, dx, ids, S, C);
}
