/* SPDX-License-Identifier: Apache-2.0
 *
 * gather: rows picked by number (of a table of embeddings too), and one tensor added to another.
 * Each number is written by one thread. A number of a row that is not there is the caller's bug,
 * which the device cannot CHECK: ids and indices are checked where they are staged.
 */
#include "worker/ops_cuda/reduce.h"

enum { THREADS = 128 };

__global__ static void gather_kernel(float *y, const float *x, const int32_t *index, int32_t C,
                                     bool vector)
{
    const float *from = x + (int64_t)index[blockIdx.x] * C;
    float *to = y + (int64_t)blockIdx.x * C;
    for (int32_t c = (int32_t)threadIdx.x * QUAD; c < C; c += THREADS * QUAD) {
        quad_store(to, quad_load(from, c, C, vector), c, C, vector);
    }
}

extern "C" void cuda_gather_rows(struct device *device, real *y, const real *x,
                                 const int32_t *index, int32_t rows, int32_t C)
{
    if (rows > 0) {
        const bool vector = quads_aligned(y, C) && quads_aligned(x, C);
        LAUNCH(gather_kernel, rows, THREADS, 0, device, y, x, index, C, vector);
    }
}

extern "C" void cuda_embed_forward(struct device *device, real *x, const int32_t *ids,
                                   const real *table, int32_t S, int32_t C)
{
    cuda_gather_rows(device, x, table, ids, S, C);
}

__global__ static void add_kernel(float *y, const float *x, int64_t count, bool vector)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * QUAD;
    if (at < count) {
        const int32_t n = (int32_t)min(count - at, (int64_t)QUAD);
        const bool whole = vector && n == QUAD;
        quad_store(y + at, quad_add(quad_load(y + at, 0, n, whole), quad_load(x + at, 0, n, whole)),
                   0, n, whole);
    }
}

extern "C" void cuda_add(struct device *device, float *y, const float *x, size_t count)
{
    if (count > 0) {
        const bool vector = quads_aligned(y, 0) && quads_aligned(x, 0);
        LAUNCH(add_kernel, blocks_of((int64_t)count, THREADS * QUAD), THREADS, 0, device, y, x,
               (int64_t)count, vector);
    }
}
