/* SPDX-License-Identifier: Apache-2.0
 *
 * scatter: rows added to rows of a table, where several may go to the same one: the gradients of
 * embedding, of gathering and of pooling by the mean. Always in ascending order of the entries, so
 * the bits are those of a loop, in every run.
 *
 * WHY. Block b owns the rows of the table whose number is b modulo the number of blocks; it alone
 * adds to them. It walks over all entries in ascending order, a window of THREADS at a time, and
 * picks its own: a thread looks at one entry, and the votes of its warp and the counts of the warps
 * before give the entry's place in the list, which is therefore ascending. Then the block goes
 * through the list. The channels of a row always belong to the same thread, so additions to one
 * number are one thread's, one after the other, and need no barrier. How many blocks there are
 * changes nothing.
 *
 * Of the two barriers of a window, the first makes the counts seen, the second the list. The next
 * window's counts are written behind the second, after which nobody reads the old ones; its list is
 * written behind its first barrier, which a thread reaches when it has gone through the old list.
 *
 * Every block reads every index: with BLOCKS_PER_MULTIPROCESSOR some thousand times 4 bytes from
 * the L2 cache for an entry, a fraction of the entry's own row. Rejected: atomic additions of
 * floats, whose order is chance; sorting, which takes scratch and several kernels.
 */
#include "worker/ops_cuda/reduce.h"

enum { THREADS = 256, WARPS = THREADS / WARP, BLOCKS_PER_MULTIPROCESSOR = 6 };

/* dx[index[i]] += y_i, where y_i is dy[i]; or, where there are offsets, dy[r] / (offset[r + 1] −
 * offset[r]) with the r whose stretch offset[r] … offset[r + 1] − 1 has i. */
struct scatter {
    float *dx;
    const float *dy;
    const int32_t *index;
    const int32_t *offset; /* (rows + 1), ascending; NULL: rows are the entries */
    int32_t rows, C;
    bool vector;
};

/* The last row whose offset is not above i. */
__device__ static inline int32_t row_of(const int32_t *offset, int32_t rows, int32_t i)
{
    int32_t low = 0, high = rows;
    while (high - low > 1) {
        const int32_t middle = low + (high - low) / 2;
        if (offset[middle] <= i) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

__device__ static inline void add_entry(const struct scatter *s, int32_t i)
{
    const int32_t row = s->offset ? row_of(s->offset, s->rows, i) : i;
    const float parts = s->offset ? (float)(s->offset[row + 1] - s->offset[row]) : 1.0f;
    const float *from = s->dy + (int64_t)row * s->C;
    float *to = s->dx + (int64_t)s->index[i] * s->C;
    for (int32_t c = (int32_t)threadIdx.x * QUAD; c < s->C; c += THREADS * QUAD) {
        const float4 d = quad_load(from, c, s->C, s->vector);
        const float4 share = make_float4(d.x / parts, d.y / parts, d.z / parts, d.w / parts);
        quad_store(to, quad_add(quad_load(to, c, s->C, s->vector), share), c, s->C, s->vector);
    }
}

__global__ static void scatter_kernel(struct scatter s)
{
    __shared__ int32_t counts[WARPS];
    __shared__ int32_t list[THREADS];
    const int32_t lane = (int32_t)threadIdx.x % WARP, warp = (int32_t)threadIdx.x / WARP;
    const int32_t first = s.offset ? s.offset[0] : 0, last = s.offset ? s.offset[s.rows] : s.rows;
    for (int32_t window = first; window < last; window += THREADS) {
        const int32_t i = window + (int32_t)threadIdx.x;
        const bool own = i < last && (uint32_t)s.index[i] % gridDim.x == blockIdx.x;
        const uint32_t votes = __ballot_sync(FULL_WARP, own);
        if (lane == 0) {
            counts[warp] = __popc(votes);
        }
        __syncthreads();
        int32_t before = __popc(votes & ((1u << lane) - 1)), count = 0;
        for (int32_t w = 0; w < WARPS; w++) {
            before += w < warp ? counts[w] : 0;
            count += counts[w];
        }
        if (own) {
            list[before] = i;
        }
        __syncthreads();
        for (int32_t k = 0; k < count; k++) {
            add_entry(&s, list[k]);
        }
    }
}

static void run_scatter(struct device *device, struct scatter scatter)
{
    if (scatter.rows > 0 && scatter.C > 0) {
        scatter.vector =
            quads_aligned(scatter.dx, scatter.C) && quads_aligned(scatter.dy, scatter.C);
        const int32_t blocks = cuda_context(device)->multiprocessors * BLOCKS_PER_MULTIPROCESSOR;
        LAUNCH(scatter_kernel, blocks, THREADS, 0, device, scatter);
    }
}

extern "C" void cuda_scatter_add_rows(struct device *device, real *dx, const real *dy,
                                      const int32_t *index, int32_t rows, int32_t C)
{
    run_scatter(device, {dx, dy, index, NULL, rows, C, false});
}

/* A token that occurs twice collects two gradients. */
extern "C" void cuda_embed_backward(struct device *device, float *dtable, const real *dx,
                                    const int32_t *ids, int32_t S, int32_t C)
{
    cuda_scatter_add_rows(device, dtable, dx, ids, S, C);
}

/* A token of a shared prefix stands in several rows' lists and collects from each, in their order:
 * dx[token[t]] += dpooled[r] / count. */
extern "C" void cuda_pool_mean_backward(struct device *device, real *dx, const real *dpooled,
                                        const int32_t *offset, const int32_t *token, int32_t R,
                                        int32_t C)
{
    run_scatter(device, {dx, dpooled, token, offset, R, C, false});
}
