/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_tile: tiles of bf16 numbers for mma.h, in shared memory and in registers. D is the
 * head's width rounded up to 32; channels behind the head's own are zeros, and so are rows that are
 * not there.
 *
 * In shared memory a tile has one or both of two layouts of words, each a pair of numbers:
 *   rows   word (j, d/2) is row j, channels d and d + 1: the `b` of products over channels
 *   pairs  word (j/2, d) is rows j and j + 1, channel d: the `b` of products over the tile's rows
 * The padding of both makes a warp's reads of one `b` fall into 32 different banks.
 */
#ifndef TAILOR_WORKER_OPS_CUDA_ATTENTION_TILE_H
#define TAILOR_WORKER_OPS_CUDA_ATTENTION_TILE_H

#include "worker/ops_cuda/attention.h"
#include "worker/ops_cuda/mma.h"

#define TILE_THREADS 128 /* of a block: 4 warps, 16 rows of the result each */
#define TILE_ROWS    64  /* of the result */
/* Rows of a tile in shared memory, so that four of them fit into 48 KiB. */
#define TILE_DEPTH(D)       ((D) <= 64 ? 64 : 32)
#define ROWS_TILE(name, D)  __shared__ uint32_t name[TILE_DEPTH(D)][(D) / 2 + 4]
#define PAIRS_TILE(name, D) __shared__ uint32_t name[TILE_DEPTH(D) / 2][(D) + 8]

#define LOG2_E 1.4426950408889634f

/* A block's queries: up to TILE_ROWS of one segment, that is of one list of keys. */
struct query_block {
    struct segment segment;
    int32_t first, end; /* queries; none if first ≥ end, the same for the whole block */
    int32_t last;       /* logical position of the last one */
};

__device__ static inline struct query_block queries_of_block(const struct attention &of)
{
    struct query_block block = {of.layout.segments[blockIdx.y], 0, 0, 0};
    const struct segment &segment = block.segment;
    const int32_t behind = query_from(&of, segment.start + segment.length);
    block.first = query_from(&of, segment.start) + (int32_t)blockIdx.x * TILE_ROWS;
    block.end = behind - block.first < TILE_ROWS ? behind : block.first + TILE_ROWS;
    if (block.first < block.end) {
        block.last = token_of(&of, block.end - 1) + segment.position0 - segment.start;
    }
    return block;
}

/* The query of result row 8·r + lane / 4 of the warp: at or behind block.end, it is none. */
__device__ static inline int32_t query_of_row(const struct query_block &block, int32_t r)
{
    const int32_t lane = (int32_t)threadIdx.x % WARP;
    return block.first + (int32_t)threadIdx.x / WARP * MMA_ROWS + lane / 4 + 8 * r;
}

/* Where the keys of a tile lie, row[0 … DEPTH − 1]: those at logical positions from `base` on, of
 * the key/value head that query head h reads; −1 behind the block's last query. Between barriers.
 */
template <int32_t DEPTH>
__device__ static inline void keys_find(int64_t *row, const struct query_block &block,
                                        const struct attention &of, int32_t base, int32_t h)
{
    if (threadIdx.x < DEPTH) {
        const int32_t at = base + (int32_t)threadIdx.x, s = (int32_t)blockIdx.y;
        row[threadIdx.x] = at > block.last
                               ? -1
                               : (int64_t)token_at(of.layout.segments, s, at) * of.ldkv +
                                     (int64_t)(h / (of.H / of.G)) * of.D;
    }
}

/* A matrix of fp32 heads: row j lies at `from` + row[j]; a row before 0 is zeros. */
struct heads {
    const float *from;
    int32_t width; /* D of the model */
    bool vector;   /* every row is aligned to 16 bytes */
};

__device__ static inline void read_channels(float to[4], struct heads heads, int64_t row, int32_t d)
{
    const float *from = heads.from + row + d;
    if (row >= 0 && heads.vector && d < heads.width) {
        const float4 four = *(const float4 *)from;
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
        return;
    }
    for (int32_t i = 0; i < 4; i++) {
        to[i] = row >= 0 && d + i < heads.width ? from[i] : 0.0f;
    }
}

/* Fills a tile from rows row[0 … TILE_DEPTH − 1], in one or both layouts (NULL: not). */
template <int32_t D>
__device__ static inline void tile_load(uint32_t (*rows)[D / 2 + 4], uint32_t (*pairs)[D + 8],
                                        struct heads heads, const int64_t *row)
{
    for (int32_t i = (int32_t)threadIdx.x; i < TILE_DEPTH(D) / 2 * (D / 4); i += TILE_THREADS) {
        const int32_t pair = i / (D / 4), d = i % (D / 4) * 4;
        float low[4], high[4];
        read_channels(low, heads, row[2 * pair], d);
        read_channels(high, heads, row[2 * pair + 1], d);
        if (rows != NULL) {
            rows[2 * pair][d / 2] = bf16_pair(low[0], low[1]);
            rows[2 * pair][d / 2 + 1] = bf16_pair(low[2], low[3]);
            rows[2 * pair + 1][d / 2] = bf16_pair(high[0], high[1]);
            rows[2 * pair + 1][d / 2 + 1] = bf16_pair(high[2], high[3]);
        }
        if (pairs != NULL) {
            for (int32_t n = 0; n < 4; n++) {
                pairs[pair][d + n] = bf16_pair(low[n], high[n]);
            }
        }
    }
}

/* Two rows of a lane as the `a` of products over channels: row[0] is g's, row[1] that of g + 8. */
template <int32_t D>
__device__ static inline void fragments_load(uint32_t a[D / MMA_DEPTH][4], struct heads heads,
                                             const int64_t row[2])
{
    const int32_t q = (int32_t)threadIdx.x % 4;
#pragma unroll
    for (int32_t k = 0; k < D / MMA_DEPTH; k++) {
#pragma unroll
        for (int32_t i = 0; i < 4; i++) {
            const int32_t d = k * MMA_DEPTH + 2 * q + (i < 2 ? 0 : 8);
            const int64_t at = row[i % 2];
            const float low = at >= 0 && d < heads.width ? heads.from[at + d] : 0.0f;
            const float high = at >= 0 && d + 1 < heads.width ? heads.from[at + d + 1] : 0.0f;
            a[k][i] = bf16_pair(low, high);
        }
    }
}

/* score (16 x TILE_DEPTH) = a (16 x D) · rowsᵀ */
template <int32_t D>
__device__ static inline void over_channels(float score[TILE_DEPTH(D) / MMA_COLUMNS][4],
                                            const uint32_t a[D / MMA_DEPTH][4],
                                            const uint32_t (*rows)[D / 2 + 4])
{
    const int32_t g = (int32_t)threadIdx.x % WARP / 4, q = (int32_t)threadIdx.x % 4;
#pragma unroll
    for (int32_t n = 0; n < TILE_DEPTH(D) / MMA_COLUMNS; n++) {
        score[n][0] = score[n][1] = score[n][2] = score[n][3] = 0.0f;
#pragma unroll
        for (int32_t k = 0; k < D / MMA_DEPTH; k++) {
            const uint32_t *row = rows[n * MMA_COLUMNS + g] + k * 8 + q;
            const uint32_t b[2] = {row[0], row[4]};
            mma_bf16(score[n], a[k], b);
        }
    }
}

/* sum (16 x D) += p (16 x TILE_DEPTH) · tile, with p an accumulator of over_channels */
template <int32_t D>
__device__ static inline void over_rows(float sum[D / MMA_COLUMNS][4],
                                        const float p[TILE_DEPTH(D) / MMA_COLUMNS][4],
                                        const uint32_t (*pairs)[D + 8])
{
    const int32_t g = (int32_t)threadIdx.x % WARP / 4, q = (int32_t)threadIdx.x % 4;
#pragma unroll
    for (int32_t k = 0; k < TILE_DEPTH(D) / MMA_DEPTH; k++) {
        const float *left = p[2 * k], *right = p[2 * k + 1];
        const uint32_t a[4] = {bf16_pair(left[0], left[1]), bf16_pair(left[2], left[3]),
                               bf16_pair(right[0], right[1]), bf16_pair(right[2], right[3])};
#pragma unroll
        for (int32_t n = 0; n < D / MMA_COLUMNS; n++) {
            const int32_t d = n * MMA_COLUMNS + g;
            const uint32_t b[2] = {pairs[k * 8 + q][d], pairs[k * 8 + q + 4][d]};
            mma_bf16(sum[n], a, b);
        }
    }
}

/* Rows of an accumulator to memory, times by[0] and by[1]; a row before 0 goes nowhere. */
template <int32_t D>
__device__ static inline void rows_put(float *to, const int64_t row[2],
                                       const float sum[D / MMA_COLUMNS][4], const float by[2],
                                       int32_t width)
{
    const int32_t q = (int32_t)threadIdx.x % 4;
#pragma unroll
    for (int32_t n = 0; n < D / MMA_COLUMNS; n++) {
#pragma unroll
        for (int32_t i = 0; i < 4; i++) {
            const int32_t d = n * MMA_COLUMNS + 2 * q + i % 2;
            if (row[i / 2] >= 0 && d < width) {
                to[row[i / 2] + d] = sum[n][i] * by[i / 2];
            }
        }
    }
}

/* Over the four lanes that have a row of an accumulator. */
__device__ static inline float row_max(float value)
{
    value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, 1));
    return fmaxf(value, __shfl_xor_sync(FULL_WARP, value, 2));
}

__device__ static inline float row_sum(float value)
{
    value += __shfl_xor_sync(FULL_WARP, value, 1);
    return value + __shfl_xor_sync(FULL_WARP, value, 2);
}

static inline struct heads heads_of(const float *from, int32_t ld, int32_t D)
{
    const struct heads heads = {from, D, (uintptr_t)from % 16 == 0 && ld % 4 == 0 && D % 4 == 0};
    return heads;
}

/* A block for each TILE_ROWS tokens of a segment as long as the longest row, of a head: those
 * behind a segment's end have nothing to do. */
static inline dim3 tile_grid(const struct attention *of, int32_t heads)
{
    return dim3((unsigned)blocks_of(of->layout.row_tokens_max, TILE_ROWS),
                (unsigned)of->layout.segment_count, (unsigned)heads);
}

/* LAUNCH of KERNEL<D> with D the head's width rounded up to 32. */
#define LAUNCH_BY_WIDTH(KERNEL, grid, device, width, ...)                                          \
    do {                                                                                           \
        if ((width) <= 32) {                                                                       \
            LAUNCH(KERNEL(32), grid, TILE_THREADS, 0, device, __VA_ARGS__);                        \
        } else if ((width) <= 64) {                                                                \
            LAUNCH(KERNEL(64), grid, TILE_THREADS, 0, device, __VA_ARGS__);                        \
        } else if ((width) <= 96) {                                                                \
            LAUNCH(KERNEL(96), grid, TILE_THREADS, 0, device, __VA_ARGS__);                        \
        } else {                                                                                   \
            LAUNCH(KERNEL(128), grid, TILE_THREADS, 0, device, __VA_ARGS__);                       \
        }                                                                                          \
    } while (0)

#endif
