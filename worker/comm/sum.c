/* SPDX-License-Identifier: Apache-2.0
 *
 * sum: tile by tile, so that partial sums stay in the first-level cache.
 *
 * Each merge adds two tiles into a tile of its own, the last one into the result: contributions are
 * read once and never written, since they lie in memory that others read. Addition of one element
 * knows no neighbour, so neither tiles nor vectors change a bit.
 */
#include "worker/comm/sum.h"

#include <stdbool.h>
#include <string.h>

#include "lib/check.h"

enum { TILE = 1024, LANES = 16 };

/* As wide as the widest machine's; elsewhere the compiler cuts it up. */
typedef float lanes
    __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

void comm_order_check(const struct comm_order *order, int32_t world)
{
    bool used[COMM_WORLD_MAX] = {false};
    CHECK(order->count == world - 1);
    for (int32_t m = 0; m < order->count; m++) {
        int32_t into = order->merge[m].into, from = order->merge[m].from;
        CHECK(into >= 0 && into < world && !used[into]);
        CHECK(from > 0 && from < world && from != into && !used[from]);
        used[from] = true;
    }
}

uint32_t comm_order_hash(const struct comm_order *order)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (int32_t m = 0; m < order->count; m++) {
        hash = (hash ^ (uint32_t)order->merge[m].into) * 16777619u;
        hash = (hash ^ (uint32_t)order->merge[m].from) * 16777619u;
    }
    return hash;
}

static void add(float *out, const float *a, const float *b, size_t count)
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        *(lanes *)(out + i) = *(const lanes *)(a + i) + *(const lanes *)(b + i);
    }
    for (; i < count; i++) {
        out[i] = a[i] + b[i];
    }
}

void comm_sum(float *out, const float *const *x, int32_t world, const struct comm_order *order,
              size_t count)
{
    float tiles[COMM_WORLD_MAX / 2]
               [TILE]; /* a merge needs one only if it makes a new partial sum */
    for (size_t begin = 0; begin < count; begin += TILE) {
        size_t size = count - begin < TILE ? count - begin : TILE;
        const float *terms[COMM_WORLD_MAX];
        float *partial[COMM_WORLD_MAX] = {NULL};
        int32_t tiles_used = 0;
        for (int32_t r = 0; r < world; r++) {
            terms[r] = x[r] + begin;
        }
        for (int32_t m = 0; m < order->count; m++) {
            int32_t into = order->merge[m].into, from = order->merge[m].from;
            float *sum = out + begin;
            if (m < order->count - 1) {
                /* Whichever of the two is partial already gives its tile. */
                sum = partial[into]   ? partial[into]
                      : partial[from] ? partial[from]
                                      : tiles[tiles_used++];
                partial[into] = sum;
            }
            add(sum, terms[into], terms[from], size);
            terms[into] = sum;
        }
        if (world == 1 && out != x[0]) {
            memmove(out + begin, x[0] + begin, size * sizeof(float));
        }
    }
}
