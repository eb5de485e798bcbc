/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm: C (+)= A·B in fp32 for any strides, under the numeric contract of ops.h:
 * every element of C is one chain of fused multiply-adds in ascending k, from 0, the old C or the
 * bias. The bits depend on nothing else: not on threads, tiles, instruction set or other rows.
 *
 *     gemm        all threads of a pool; scratch from gemm_scratch_bytes(threads)
 *     gemm_direct the caller's thread alone, nothing packed, for use inside tasks (attention)
 *
 * A B that many products read can be packed once for all of them:
 *
 *     float *panels = … gemm_panels_floats(&gemm) …;
 *     gemm_panels_pack(pool, panels, &gemm)        then  gemm.panels = panels
 *
 * A(i,k) = a[i·a_row + k·a_k],  B(k,n) = b[k·b_k + n·b_n],  C(i,n) = c[i·ldc + n]. Any strides are
 * right; those with a 1 among a matrix's two are fast. C may not overlap A or B. K = 0 is allowed
 * (C = 0, bias or itself), and so are M = 0 and N = 0.
 */
#ifndef TAILOR_WORKER_OPS_CPU_GEMM_H
#define TAILOR_WORKER_OPS_CPU_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/pool.h"
#include "worker/ops/cpu/isa.h"

/* How the chains of a rectangle of C go on after k = K - 1:  C(row0 + i, column0 + n) continues
 * with a[i·a_row + k]·b[k·b_k + n·b_n] in ascending k. Rounded to bf16 on AMX
 * alone. */
struct gemm_tail {
    int64_t row0, rows, column0, columns, K;
    const float *a;
    int64_t a_row;
    const float *b;
    int64_t b_k, b_n;
    int64_t depth; /* tails that cover the same of C are applied by ascending depth: the sum of the
                      former ones' K */
};

struct gemm {
    float *c;
    int64_t ldc;
    const float *a;
    int64_t a_row, a_k;
    const float *b;
    int64_t b_k, b_n;
    const float *panels; /* what gemm_panels_pack made of B, to be read instead; or NULL */
    const float *bias;   /* (N): the chains' beginnings, or NULL; not with accumulate */
    int64_t M, N, K;
    bool accumulate;
    bool bf16; /* round A and B to bf16 as they are read; on AMX the sums are its own (amx.h) */
    const struct gemm_tail *tails;  /* in ascending row0 */
    int64_t tail_count, tail_depth; /* the most depth + K */
};

/* `scratch` is 64-byte aligned. */
void OPS_FN(gemm)(struct pool *pool, const struct gemm *gemm, void *scratch);
size_t OPS_FN(gemm_scratch_bytes)(int threads);
/* The tails alone, C +=, as products of their own: the same chains as in gemm, slower. */
void OPS_FN(gemm_tails)(struct pool *pool, const struct gemm *gemm, void *scratch);

/* The whole of B(K,N) as panels, one after the other, each a tile wide and K rows long, rounded if
 * gemm->bf16; then on AMX as its tiles. Of `gemm` only what describes B is read. */
size_t OPS_FN(gemm_panels_floats)(const struct gemm *gemm);
void OPS_FN(gemm_panels_pack)(struct pool *pool, float *panels, const struct gemm *gemm);

/* The caller's thread alone, nothing packed: for operands that are in its caches. b_n = 1, K > 0,
 * no bias, no bf16. */
void OPS_FN(gemm_direct)(const struct gemm *gemm);

#endif
