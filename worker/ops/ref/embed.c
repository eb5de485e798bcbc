/* SPDX-License-Identifier: Apache-2.0
 *
 * embed: a token's number picks its row of the table.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

void ref_embed_forward(struct device *device, real *x, const int32_t *ids, const real *table,
                       int32_t S, int32_t C)
{
    (void)device;
    for (int32_t i = 0; i < S; i++) {
        CHECK(ids[i] >= 0);
        memcpy(x + (size_t)i * C, table + (size_t)ids[i] * C, (size_t)C * sizeof(*x));
    }
}

/* A token that occurs twice collects two gradients. */
void ref_embed_backward(struct device *device, float *dtable, const real *dx, const int32_t *ids,
                        int32_t S, int32_t C)
{
    ref_scatter_add_rows(device, dtable, dx, ids, S, C);
}
