/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_bf16_forward: a block has up to 64 queries of one segment and one head; a warp has 16
 * of them. They have one list of keys, cut by their position alone: all ancestors of the segment,
 * then the segment itself. The block takes it tile by tile, cut at fixed *logical* positions.
 *
 * A query's bits depend on its logical row alone: a row of a tensor core's product has nothing to
 * do with other rows; tiles lie where the row has them, whatever the block holds; and a tile in
 * which a query sees nothing, because a later query of its block needs it, multiplies what was
 * summed by exp(0) = 1 and adds products with 0.
 */
#include "worker/ops_cuda/attention_tile.h"

#define LN_2 0.6931471805599453f

/* Scores in powers of two: s·scale·log2 e, or −∞ for a key behind the query's position. Returns
 * the largest of each row, of this lane. */
template <int32_t D>
__device__ static inline void mask(float score[TILE_DEPTH(D) / MMA_COLUMNS][4], float most[2],
                                   float scale, int32_t base, const int32_t position[2])
{
    const int32_t q = (int32_t)threadIdx.x % 4;
#pragma unroll
    for (int32_t n = 0; n < TILE_DEPTH(D) / MMA_COLUMNS; n++) {
#pragma unroll
        for (int32_t i = 0; i < 4; i++) {
            const int32_t key = base + n * MMA_COLUMNS + 2 * q + i % 2;
            score[n][i] = key <= position[i / 2] ? score[n][i] * scale : -INFINITY;
            most[i / 2] = fmaxf(most[i / 2], score[n][i]);
        }
    }
}

/* p = 2^(score − max); the sums so far and `total` are scaled to the new maximum. */
template <int32_t D>
__device__ static inline void softmax_step(float score[TILE_DEPTH(D) / MMA_COLUMNS][4],
                                           float sum[D / MMA_COLUMNS][4], float max[2],
                                           float total[2], const float most[2])
{
    float shrink[2], part[2] = {0.0f, 0.0f};
    for (int32_t r = 0; r < 2; r++) {
        const float now = fmaxf(max[r], row_max(most[r]));
        shrink[r] = exp2f(max[r] - now);
        max[r] = now;
    }
#pragma unroll
    for (int32_t n = 0; n < TILE_DEPTH(D) / MMA_COLUMNS; n++) {
#pragma unroll
        for (int32_t i = 0; i < 4; i++) {
            score[n][i] = exp2f(score[n][i] - max[i / 2]);
            part[i / 2] += score[n][i];
        }
    }
    for (int32_t r = 0; r < 2; r++) {
        total[r] = total[r] * shrink[r] + row_sum(part[r]);
    }
#pragma unroll
    for (int32_t n = 0; n < D / MMA_COLUMNS; n++) {
#pragma unroll
        for (int32_t i = 0; i < 4; i++) {
            sum[n][i] *= shrink[i / 2];
        }
    }
}

template <int32_t D>
__global__ static void __launch_bounds__(TILE_THREADS, 2)
    forward_kernel(float *o, float *lse, struct attention of, struct heads q, struct heads k,
                   struct heads v)
{
    ROWS_TILE(k_rows, D);
    PAIRS_TILE(v_pairs, D);
    __shared__ int64_t row[TILE_DEPTH(D)];
    const struct query_block block = queries_of_block(of);
    if (block.first >= block.end) {
        return; /* the whole block */
    }
    const int32_t h = (int32_t)blockIdx.z, lane = (int32_t)threadIdx.x % WARP;
    const int32_t offset = block.segment.position0 - block.segment.start;
    int64_t row_q[2], row_o[2];
    int32_t query[2], position[2];
    for (int32_t r = 0; r < 2; r++) {
        query[r] = query_of_row(block, r);
        const bool there = query[r] < block.end;
        position[r] = there ? token_of(&of, query[r]) + offset : 0;
        row_q[r] = there ? (int64_t)query[r] * of.ldq + (int64_t)h * of.D : -1;
        row_o[r] = there ? ((int64_t)query[r] * of.H + h) * of.D : -1;
    }
    uint32_t a[D / MMA_DEPTH][4];
    fragments_load<D>(a, q, row_q);
    float sum[D / MMA_COLUMNS][4] = {{0}}, max[2] = {-INFINITY, -INFINITY}, total[2] = {0};
    for (int32_t base = 0; base <= block.last; base += TILE_DEPTH(D)) {
        __syncthreads(); /* the tile before has been read */
        keys_find<TILE_DEPTH(D)>(row, block, of, base, h);
        __syncthreads();
        tile_load<D>(k_rows, NULL, k, row);
        tile_load<D>(NULL, v_pairs, v, row);
        __syncthreads();
        float score[TILE_DEPTH(D) / MMA_COLUMNS][4], most[2] = {-INFINITY, -INFINITY};
        over_channels<D>(score, a, k_rows);
        mask<D>(score, most, of.scale * LOG2_E, base, position);
        softmax_step<D>(score, sum, max, total, most);
        over_rows<D>(sum, score, v_pairs);
    }
    const float by[2] = {1.0f / total[0], 1.0f / total[1]};
    rows_put<D>(o, row_o, sum, by, of.D);
    for (int32_t r = 0; r < 2; r++) {
        if (lane % 4 == 0 && row_o[r] >= 0) {
            lse[(int64_t)query[r] * of.H + h] = LN_2 * (max[r] + log2f(total[r]));
        }
    }
}

#define FORWARD_KERNEL(D) forward_kernel<D>

void attention_forward_bf16(struct device *device, const struct attention *of, float *o, float *lse)
{
    LAUNCH_BY_WIDTH(FORWARD_KERNEL, tile_grid(of, of->H), device, of->D, o, lse, *of,
                    heads_of(of->q, of->ldq, of->D), heads_of(of->k, of->ldkv, of->D),
                    heads_of(of->v, of->ldkv, of->D));
}
