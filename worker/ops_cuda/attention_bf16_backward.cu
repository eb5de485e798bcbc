/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_bf16_backward: dq by tiles of queries, as forward; dk and dv by tiles of keys.
 *
 * A block of the second kind has up to 64 keys of one segment and one key/value head. The queries
 * that see a key of it are tokens from that key to the end of the segment's subtree, one run of
 * tokens; the block takes them tile by tile, in order, each with all query heads of the group. So
 * every gradient is summed by one block in one order, without atomics.
 *
 * With p = exp(s·scale − lse) and ds = p·(do·v − Δ)·scale:
 *     dq = ds k,   dk = dsᵀ q,   dv = pᵀ do
 * Of heads wider than 64 channels, dk and dv are summed by two launches: the accumulators of both
 * would not fit the registers.
 */
#include "worker/ops_cuda/attention_tile.h"

struct gradient_heads {
    struct heads q, k, v, d_o;
};

/* dq = Σ_j ds_j k_j */
template <int32_t D>
__global__ static void __launch_bounds__(TILE_THREADS, 2)
    queries_kernel(struct attention_gradient to, struct attention of, struct gradient_heads heads)
{
    ROWS_TILE(k_rows, D);
    PAIRS_TILE(k_pairs, D);
    ROWS_TILE(v_rows, D);
    __shared__ int64_t row[TILE_DEPTH(D)];
    const struct query_block block = queries_of_block(of);
    if (block.first >= block.end) {
        return; /* the whole block */
    }
    const int32_t h = (int32_t)blockIdx.z, lane = (int32_t)threadIdx.x % WARP;
    const int32_t offset = block.segment.position0 - block.segment.start;
    int64_t row_q[2], row_o[2], row_dq[2];
    int32_t position[2];
    float lse[2], delta[2];
    for (int32_t r = 0; r < 2; r++) {
        const int32_t query = query_of_row(block, r);
        const bool there = query < block.end;
        const int64_t head = (int64_t)query * of.H + h;
        position[r] = there ? token_of(&of, query) + offset : -1; /* sees nothing */
        lse[r] = there ? to.lse[head] * LOG2_E : 0.0f;
        delta[r] = there ? to.delta[head] : 0.0f;
        row_q[r] = there ? (int64_t)query * of.ldq + (int64_t)h * of.D : -1;
        row_o[r] = there ? head * of.D : -1;
        row_dq[r] = there ? (int64_t)query * to.lddq + (int64_t)h * of.D : -1;
    }
    uint32_t a_q[D / MMA_DEPTH][4], a_o[D / MMA_DEPTH][4];
    fragments_load<D>(a_q, heads.q, row_q);
    fragments_load<D>(a_o, heads.d_o, row_o);
    float sum[D / MMA_COLUMNS][4] = {{0}};
    for (int32_t base = 0; base <= block.last; base += TILE_DEPTH(D)) {
        __syncthreads();
        keys_find<TILE_DEPTH(D)>(row, block, of, base, h);
        __syncthreads();
        tile_load<D>(k_rows, k_pairs, heads.k, row);
        tile_load<D>(v_rows, NULL, heads.v, row);
        __syncthreads();
        float score[TILE_DEPTH(D) / MMA_COLUMNS][4], dp[TILE_DEPTH(D) / MMA_COLUMNS][4];
        over_channels<D>(score, a_q, k_rows);
        over_channels<D>(dp, a_o, v_rows);
#pragma unroll
        for (int32_t n = 0; n < TILE_DEPTH(D) / MMA_COLUMNS; n++) {
#pragma unroll
            for (int32_t i = 0; i < 4; i++) {
                const int32_t key = base + n * MMA_COLUMNS + 2 * (lane % 4) + i % 2, r = i / 2;
                const float p =
                    key <= position[r] ? exp2f(score[n][i] * (of.scale * LOG2_E) - lse[r]) : 0.0f;
                dp[n][i] = p * (dp[n][i] - delta[r]) * of.scale;
            }
        }
        over_rows<D>(sum, dp, k_pairs);
    }
    const float by[2] = {1.0f, 1.0f};
    rows_put<D>(to.dq, row_dq, sum, by, of.D);
}

/* A query of the tile: where it lies, and its two numbers. */
struct query_column {
    int32_t token; /* −1: none */
    float lse, delta;
};

/* Column threadIdx.x of the tile: query `query` of head h, if there is one before `end`. */
__device__ static inline void column_find(int64_t *row_q, int64_t *row_o,
                                          struct query_column *columns,
                                          const struct attention_gradient &to,
                                          const struct attention &of, int32_t query, int32_t end,
                                          int32_t h)
{
    const int32_t j = (int32_t)threadIdx.x;
    const bool there = query < end;
    const int64_t head = (int64_t)query * of.H + h;
    row_q[j] = there ? (int64_t)query * of.ldq + (int64_t)h * of.D : -1;
    row_o[j] = there ? head * of.D : -1;
    columns[j].token = there ? token_of(&of, query) : -1;
    columns[j].lse = there ? to.lse[head] * LOG2_E : 0.0f;
    columns[j].delta = there ? to.delta[head] : 0.0f;
}

/* p and ds of a tile from its scores and do·v; a query before the key does not see it. */
template <int32_t D, bool WITH_DK>
__device__ static inline void
slopes(float p[TILE_DEPTH(D) / MMA_COLUMNS][4], float dp[TILE_DEPTH(D) / MMA_COLUMNS][4],
       const struct query_column *columns, const int32_t token[2], float scale)
{
#pragma unroll
    for (int32_t n = 0; n < TILE_DEPTH(D) / MMA_COLUMNS; n++) {
#pragma unroll
        for (int32_t i = 0; i < 4; i++) {
            const struct query_column *query =
                &columns[n * MMA_COLUMNS + 2 * ((int32_t)threadIdx.x % 4) + i % 2];
            p[n][i] = query->token >= token[i / 2] ? exp2f(p[n][i] * (scale * LOG2_E) - query->lse)
                                                   : 0.0f;
            if (WITH_DK) {
                dp[n][i] = p[n][i] * (dp[n][i] - query->delta) * scale;
            }
        }
    }
}

/* dv = Σ p·do and dk = Σ ds·q, one or both */
template <int32_t D, bool WITH_DK, bool WITH_DV>
__global__ static void __launch_bounds__(TILE_THREADS, 2)
    keys_kernel(struct attention_gradient to, struct attention of, struct gradient_heads heads)
{
    ROWS_TILE(q_rows, D);
    PAIRS_TILE(q_pairs, D);
    ROWS_TILE(o_rows, D);
    PAIRS_TILE(o_pairs, D);
    __shared__ int64_t row_q[TILE_DEPTH(D)], row_o[TILE_DEPTH(D)];
    __shared__ struct query_column columns[TILE_DEPTH(D)];
    const int32_t s = (int32_t)blockIdx.y, kv = (int32_t)blockIdx.z, group = of.H / of.G;
    const struct segment segment = of.layout.segments[s];
    const int32_t first = segment.start + (int32_t)blockIdx.x * TILE_ROWS;
    if (first >= segment.start + segment.length) {
        return; /* the whole block */
    }
    const int32_t lane = (int32_t)threadIdx.x % WARP;
    int64_t row[2], row_to[2];
    int32_t token[2];
    for (int32_t r = 0; r < 2; r++) {
        token[r] = first + (int32_t)threadIdx.x / WARP * MMA_ROWS + lane / 4 + 8 * r;
        const bool there = token[r] < segment.start + segment.length;
        row[r] = there ? (int64_t)token[r] * of.ldkv + (int64_t)kv * of.D : -1;
        row_to[r] = there ? (int64_t)token[r] * to.lddkv + (int64_t)kv * of.D : -1;
    }
    uint32_t a_k[D / MMA_DEPTH][4], a_v[D / MMA_DEPTH][4];
    fragments_load<D>(a_k, heads.k, row);
    if (WITH_DK) {
        fragments_load<D>(a_v, heads.v, row);
    }
    float dk[D / MMA_COLUMNS][4] = {{0}}, dv[D / MMA_COLUMNS][4] = {{0}};
    const int32_t end = query_from(&of, subtree_end(&of.layout, s));
    for (int32_t base = query_from(&of, first); base < end; base += TILE_DEPTH(D)) {
        for (int32_t h = kv * group; h < (kv + 1) * group; h++) {
            __syncthreads(); /* the tile before has been read */
            if (threadIdx.x < TILE_DEPTH(D)) {
                column_find(row_q, row_o, columns, to, of, base + (int32_t)threadIdx.x, end, h);
            }
            __syncthreads();
            tile_load<D>(q_rows, WITH_DK ? q_pairs : NULL, heads.q, row_q);
            tile_load<D>(WITH_DK ? o_rows : NULL, WITH_DV ? o_pairs : NULL, heads.d_o, row_o);
            __syncthreads();
            float p[TILE_DEPTH(D) / MMA_COLUMNS][4], dp[TILE_DEPTH(D) / MMA_COLUMNS][4];
            over_channels<D>(p, a_k, q_rows);
            if (WITH_DK) {
                over_channels<D>(dp, a_v, o_rows);
            }
            slopes<D, WITH_DK>(p, dp, columns, token, of.scale);
            if (WITH_DV) {
                over_rows<D>(dv, p, o_pairs);
            }
            if (WITH_DK) {
                over_rows<D>(dk, dp, q_pairs);
            }
        }
    }
    const float by[2] = {1.0f, 1.0f};
    if (WITH_DK) {
        rows_put<D>(to.dk, row_to, dk, by, of.D);
    }
    if (WITH_DV) {
        rows_put<D>(to.dv, row_to, dv, by, of.D);
    }
}

#define QUERIES_KERNEL(D) queries_kernel<D>
#define KEYS_KERNEL(D)    (keys_kernel<D, true, true>)
#define DK_KERNEL(D)      (keys_kernel<D, true, false>)
#define DV_KERNEL(D)      (keys_kernel<D, false, true>)

void attention_backward_bf16(struct device *device, const struct attention *of,
                             const struct attention_gradient *gradient)
{
    const struct gradient_heads heads = {
        heads_of(of->q, of->ldq, of->D), heads_of(of->k, of->ldkv, of->D),
        heads_of(of->v, of->ldkv, of->D), heads_of(gradient->d_o, of->D, of->D)};
    const dim3 keys = tile_grid(of, of->G);
    if (of->query_count > 0) {
        LAUNCH_BY_WIDTH(QUERIES_KERNEL, tile_grid(of, of->H), device, of->D, *gradient, *of, heads);
    }
    if (of->D <= 32) {
        LAUNCH(KEYS_KERNEL(32), keys, TILE_THREADS, 0, device, *gradient, *of, heads);
    } else if (of->D <= 64) {
        LAUNCH(KEYS_KERNEL(64), keys, TILE_THREADS, 0, device, *gradient, *of, heads);
    } else if (of->D <= 96) {
        LAUNCH(DK_KERNEL(96), keys, TILE_THREADS, 0, device, *gradient, *of, heads);
        LAUNCH(DV_KERNEL(96), keys, TILE_THREADS, 0, device, *gradient, *of, heads);
    } else {
        LAUNCH(DK_KERNEL(128), keys, TILE_THREADS, 0, device, *gradient, *of, heads);
        LAUNCH(DV_KERNEL(128), keys, TILE_THREADS, 0, device, *gradient, *of, heads);
    }
}
