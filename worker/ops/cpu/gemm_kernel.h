/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_kernel: the innermost product, one tile of C that lives in registers; and the packing that
 * feeds it, for gemm.c and gemm_direct.c.
 *
 * What limits a tile of r rows and v registers is r·v FMAs, two a cycle, against r + v loads, of
 * which the machine this was tuned on sustains little more than one. AVX-512 has two shapes:
 * 8 x 3 (24 FMAs, 11 loads) and 6 x 4 (24 FMAs, 10 loads), both at 98 % of the FMA units' peak;
 * gemm_vectors() picks the one whose width divides N (48 divides most layers, 64 every head size).
 * Measured and left: 14 x 2 (93 %), 12 x 2 (89 %), 9 x 3 (equal, divides sizes worse). A need not
 * be packed: eight rows of broadcasts in place were as fast. AVX2: 6 x 2, 15 of its 16 registers.
 */
#ifndef TAILOR_WORKER_OPS_CPU_GEMM_KERNEL_H
#define TAILOR_WORKER_OPS_CPU_GEMM_KERNEL_H

#include <stdbool.h>

#include "worker/ops/cpu/gemm_vec.h"
#include "worker/ops/cpu/isa.h"

#ifdef OPS_ISA_avx512
enum { GEMM_ROWS_MAX = 8, GEMM_VECTORS_MAX = 4 };
#else
enum { GEMM_ROWS_MAX = 6, GEMM_VECTORS_MAX = 2 };
#endif
enum { GEMM_COLUMNS_MAX = GEMM_VECTORS_MAX * VEC };

/* How many registers wide the tiles of a product with N columns should be, and how high then. */
static inline int gemm_vectors(int64_t N)
{
#ifdef OPS_ISA_avx512
    int64_t vectors = (N + VEC - 1) / VEC;
    return vectors % 3 != 0 && vectors % 4 == 0 ? 4 : 3;
#else
    (void)N;
    return 2;
#endif
}

static inline int64_t gemm_rows(int vectors)
{
    return vectors == 4 ? 6 : GEMM_ROWS_MAX;
}

/* c[r][j] = start[r][j] then fma over ascending k of a(r, k)·b(k, j), for r < rows, j < columns.
 * start may be c. A is read as broadcasts, so any strides do; a row of B is contiguous.
 *
 * Meanwhile memory that will be needed next is fetched: fetch_rows rows of at most K floats, and
 * the tile of C at fetch_c. Both may point anywhere. */
struct gemm_tile {
    float *c;
    int64_t ldc;
    const float *start;
    int64_t ldstart;
    const float *a;
    int64_t a_row, a_k;
    const float *b;
    int64_t b_k;
    int64_t K;
    int64_t rows, columns; /* at least 1, at most gemm_rows() and the tile's width */
    const float *fetch;
    int64_t fetch_ld, fetch_rows;
    const float *fetch_c;
};

void OPS_FN(gemm_tile)(const struct gemm_tile *tile);

/* dst[o·lddst + i] = src[o·outer_stride + i·inner_stride] for o < outer and i < inner, rounded to
 * bf16 if asked; the inner index is cut into panels of `width`, each dst_panel behind the one
 * before it, the last filled up with zeros. One of the strides should be 1: then it is a copy or a
 * transposition. Packs panels of B (o is k, i is n) and pieces of A, and turns a tile of C. */
struct gemm_pack {
    float *dst;
    int64_t lddst, dst_panel;
    const float *src;
    int64_t outer_stride, inner_stride;
    int64_t outer, inner, width;
    bool bf16;
};

void OPS_FN(gemm_pack)(const struct gemm_pack *pack);

/* dst[j·lddst + i] = src[i·ldsrc + j] for i < rows, j < columns */
static inline void OPS_FN(gemm_transpose)(float *dst, int64_t lddst, const float *src,
                                          int64_t ldsrc, int64_t rows, int64_t columns)
{
    OPS_FN(gemm_pack)
    (&(struct gemm_pack){
        .dst = dst,
        .lddst = lddst,
        .src = src,
        .outer_stride = 1,
        .inner_stride = ldsrc,
        .outer = columns,
        .inner = rows,
        .width = rows,
    });
}

#endif
