/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_panels: a whole B as the tiles read it, for the many products that have it in common
 * (gemm.h).
 *
 * Panel after panel, not step of k after step: the columns that one task takes are then one piece
 * of memory, and how K is cut does not matter to the layout.
 */
#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/gemm_kernel.h"
#include "worker/ops/cpu/gemm_range.h"
#ifdef OPS_ISA_amx
#include "worker/ops/cpu/amx.h"
#endif

/* Makes the panels of a whole B. */
struct panels_job {
    struct gemm g;
    float *panels;
    int64_t tile_columns;
};

size_t OPS_FN(gemm_panels_floats)(const struct gemm *gemm)
{
#ifdef OPS_ISA_amx
    if (gemm->bf16) {
        return amx_panels_bytes(gemm->N, gemm->K) / sizeof(float);
    }
#endif
    const int64_t width = (int64_t)gemm_vectors(gemm->N) * VEC;
    return (size_t)(divide_up(gemm->N, width) * width * gemm->K);
}

static void panels_task(void *argument, size_t index, int thread)
{
    (void)thread;
    const struct panels_job *job = argument;
    const struct gemm *g = &job->g;
    const int64_t width = job->tile_columns, column = (int64_t)index * width;
    OPS_FN(gemm_pack)
    (&(struct gemm_pack){
        .dst = job->panels + column * g->K,
        .lddst = width,
        .src = g->b + column * g->b_n,
        .outer_stride = g->b_k,
        .inner_stride = g->b_n,
        .outer = g->K,
        .inner = min64(width, g->N - column),
        .width = width,
        .bf16 = g->bf16,
    });
}

void OPS_FN(gemm_panels_pack)(struct pool *pool, float *panels, const struct gemm *gemm)
{
#ifdef OPS_ISA_amx
    if (gemm->bf16) {
        amx_panels_pack(pool, panels, gemm);
        return;
    }
#endif
    struct panels_job job = {
        .g = *gemm, .panels = panels, .tile_columns = (int64_t)gemm_vectors(gemm->N) * VEC};
    pool_run(pool, (size_t)divide_up(gemm->N, job.tile_columns), panels_task, &job);
}
