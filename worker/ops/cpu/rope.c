/* SPDX-License-Identifier: Apache-2.0
 *
 * rope: rotary position embedding, in place. The angles of a row are taken apart once (the table
 * interleaves cosine and sine) and then turn all its heads. Plain loops: the compiler makes the
 * vectors, and the bits are those of the reference.
 */
#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/ranges.h"

enum { HALF_MAX = 512 };

struct rope {
    float *x;
    int64_t ldx;
    const int32_t *position;
    const float *table;
    int64_t heads, half;
    bool backward;
};

static void turn_head(float *restrict low, float *restrict high, const float *restrict cosine,
                      const float *restrict sine, int64_t half)
{
    for (int64_t j = 0; j < half; j++) {
        float a = low[j], b = high[j];
        low[j] = a * cosine[j] - b * sine[j];
        high[j] = b * cosine[j] + a * sine[j];
    }
}

static void rope_rows(const void *op, int64_t begin, int64_t end)
{
    const struct rope *rope = op;
    const int64_t half = rope->half;
    float cosine[HALF_MAX], sine[HALF_MAX];
    for (int64_t i = begin; i < end; i++) {
        const float *angles = rope->table + rope->position[i] * 2 * half;
        for (int64_t j = 0; j < half; j++) {
            cosine[j] = angles[2 * j];
            sine[j] = rope->backward ? -angles[2 * j + 1] : angles[2 * j + 1];
        }
        for (int64_t h = 0; h < rope->heads; h++) {
            float *head = rope->x + i * rope->ldx + h * 2 * half;
            turn_head(head, head + half, cosine, sine, half);
        }
    }
}

void OPS_FN(rope)(struct device *device, real *x, int32_t ldx, const int32_t *position,
                  const float *table, int32_t rows, int32_t heads, int32_t D, bool backward)
{
    CHECK(D % 2 == 0 && D / 2 <= HALF_MAX && ldx >= heads * D);
    struct rope rope = {x, ldx, position, table, heads, D / 2, backward};
    OPS_FN(for_ranges)(device, rows, 1, (int64_t)2 * heads * D, rope_rows, &rope);
}
