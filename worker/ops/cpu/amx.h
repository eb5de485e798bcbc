/* SPDX-License-Identifier: Apache-2.0
 *
 * amx: products of bf16 numbers by matrix instructions, for gemm.c. Compiled once, for `ops_amx`.
 *
 * THE NUMERIC CONTRACT of bf16 on AMX (worker/ops/bf16.h has it in C, and a test holds it bit for
 * bit). A and B are rounded to bf16, to nearest even, numbers below 2^-126 to a zero. An output
 * begins at 0, the bias or the old C and takes K in blocks of 32:
 *
 *     even = fma chain over k = 0, 2, … 30 of the block, from 0;  odd = the same over 1, 3, … 31
 *     c = c + (even + odd)
 *
 * each operation rounded to nearest even, each operand and result below 2^-126 a zero. The last
 * block is filled up with zeros. Blocks are counted from k = 0 of the call; nothing else enters: no
 * neighbour, offset, tile or thread. So rewards are batch-invariant and the input's gradient is a
 * function of its row. A weight gradient's blocks are 32 rows of a pack: its bits depend on where
 * packs are cut, unlike those of fp32. How a run is packed is a function of spec and data, so it
 * resumes to the same bits, on any number of ranks.
 */
#ifndef TAILOR_WORKER_OPS_CPU_AMX_H
#define TAILOR_WORKER_OPS_CPU_AMX_H

#include <stddef.h>
#include <stdint.h>

#include "lib/pool.h"
#include "worker/ops/cpu/gemm.h"

enum {
    AMX_INDICES = 16,                    /* rows of a tile */
    AMX_K = 32,                          /* bf16 numbers in a row of A's tiles */
    AMX_NUMBERS = AMX_INDICES * AMX_K,   /* in a tile: 1 KiB */
    AMX_GROUP = 2 * AMX_INDICES,         /* rows of C, or columns, that are computed together */
    AMX_GROUP_NUMBERS = 2 * AMX_NUMBERS, /* of a group, for one block of k */
};

/* Group g of a packed operand is its indices [32 g, 32 g + 32). It holds for each block of k two
 * tiles of 16 indices; groups follow one another. A's tiles have an index in each row, B's a pair
 * of k: (2p, 2p + 1) of index 0, of index 1, … What is outside the operand is zero. */
struct amx_pack {
    uint16_t *dst;                  /* the first group of `indices` */
    const float *src;               /* of index 0 and k 0 of this piece */
    int64_t index_stride, k_stride; /* one of them should be 1 */
    int64_t indices, K;
    bool pairs; /* as B's tiles, not A's */
};

void amx_pack(const struct amx_pack *pack);

/* c[i][n] = start[i][n] + Σ a·b over `blocks` blocks of k, for one group of A's and one of B's. */
struct amx_tile {
    float *c;
    int64_t ldc;
    const float *start; /* may be c; NULL: zeros */
    int64_t ldstart;    /* 0: the same for all rows */
    const uint16_t *a, *b;
    int64_t blocks;
    int64_t rows, columns; /* at most 32; fewer than 32 at the edges of C */
    const float *fetch_c;  /* the tile that comes next, to be fetched meanwhile, or NULL */
};

/* Between begin and end a thread may multiply tiles. */
void amx_begin(void);
void amx_end(void);
void amx_tile(const struct amx_tile *tile);

/* gemm_direct() for such operands, inside a task: packed a piece at a time into `tiles`. N is at
 * most AMX_DIRECT_COLUMNS. */
enum { AMX_DIRECT_COLUMNS = 256, AMX_DIRECT_BLOCKS = 16 };
enum { AMX_DIRECT_GROUPS = AMX_DIRECT_COLUMNS / AMX_GROUP + 1 };
enum { AMX_DIRECT_NUMBERS = AMX_DIRECT_GROUPS * AMX_DIRECT_BLOCKS * AMX_GROUP_NUMBERS };
void amx_direct(const struct gemm *gemm, uint16_t tiles[AMX_DIRECT_NUMBERS]);

/* gemm() for operands that are to be rounded to bf16; K > 0, without the tails. */
void amx_gemm(struct pool *pool, const struct gemm *gemm, void *scratch);
size_t amx_scratch_bytes(void);

/* gemm->panels: all of B as tiles, each group with all of K. */
size_t amx_panels_bytes(int64_t N, int64_t K);
void amx_panels_pack(struct pool *pool, void *panels, const struct gemm *gemm);

#endif
