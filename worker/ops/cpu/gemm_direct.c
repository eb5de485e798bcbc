/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_direct: small products, by the caller's thread alone and with nothing packed (gemm.h).
 *
 * An attention block's operands are in the caches already, and each is used once: packing them, as
 * gemm does, cost a quarter of the time. K is cut so that B's rows stay in the first-level
 * cache while the tiles go down the rows of A; a chain is stored to C at the cut and loaded again,
 * which changes no bit.
 */
#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/gemm_kernel.h"
#include "worker/ops/cpu/gemm_range.h"

enum { K_STEP = 16 * VEC };

/* All of C over k in [begin, end). */
static void add_step(const struct gemm *gemm, int64_t begin, int64_t end)
{
    static const float zeros[GEMM_COLUMNS_MAX];
    const bool fresh = begin == 0 && !gemm->accumulate;
    const int vectors = gemm_vectors(gemm->N);
    const int64_t height = gemm_rows(vectors), width = (int64_t)vectors * VEC;
    for (int64_t i = 0; i < gemm->M; i += height) {
        for (int64_t n = 0; n < gemm->N; n += width) {
            float *c = gemm->c + i * gemm->ldc + n;
            const struct gemm_tile tile = {
                .c = c,
                .ldc = gemm->ldc,
                .start = fresh ? zeros : c,
                .ldstart = fresh ? 0 : gemm->ldc,
                .a = gemm->a + i * gemm->a_row + begin * gemm->a_k,
                .a_row = gemm->a_row,
                .a_k = gemm->a_k,
                .b = gemm->b + begin * gemm->b_k + n,
                .b_k = gemm->b_k,
                .K = end - begin,
                .rows = min64(height, gemm->M - i),
                .columns = min64(width, gemm->N - n),
            };
            OPS_FN(gemm_tile)(&tile);
        }
    }
}

void OPS_FN(gemm_direct)(const struct gemm *gemm)
{
    for (int64_t k = 0; k < gemm->K; k += K_STEP) {
        add_step(gemm, k, min64(k + K_STEP, gemm->K));
    }
}
