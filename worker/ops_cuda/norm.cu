/* SPDX-License-Identifier: Apache-2.0
 *
 * norm: root-mean-square normalisation of rows, and of the heads inside a row: one code, since a
 * row is a row with one head.
 *
 * A *team* of threads has a head: a warp where the head is at most WIDE, else a block. The width
 * alone decides, so a row's statistics have one order (reduce.h). A thread reads and writes the
 * same numbers of a head in both of its loops, and no others: so sum may lie in x, and dx in dy,
 * and no barrier is needed but those of the sum. A warp without a head leaves at once, which is
 * allowed since its team is the warp; a block always has one.
 *
 * The weight's gradient is a sum over all rows and is made first, since dx may lie in dy. A thread
 * block sums NORM_WEIGHT_BLOCK_ROWS rows for 32 channels into a row of scratch: lane j takes the
 * heads j, j + 8, … in turn, a tree over the lanes ends it. cuda_bias_gradient then adds the rows
 * of scratch to dw. Both orders depend on the number of rows and heads alone. Rejected: summing in
 * the same kernel as dx, which saves reading x and dy again (from the L2 cache, mostly), but leaves
 * one thread block for 64 rows: too few to fill the machine.
 */
#include "worker/ops_cuda/reduce.h"

enum { THREADS = 256, WIDE = 1024, COLUMNS = WARP, LANES = 8 };

/* Team of size TEAM in a block of THREADS: the head that it has. */
template <int TEAM> __device__ static inline int32_t team_head()
{
    return (int32_t)blockIdx.x * (THREADS / TEAM) + (int32_t)threadIdx.x / TEAM;
}

template <int TEAM> __device__ static inline float team_sum(float x, float *shared)
{
    return TEAM == WARP ? warp_sum(x) : block_sum(x, shared);
}

/* ---- forward --------------------------------------------------------------------------------- */

struct norm_forward {
    float *y, *rstd, *sum; /* sum = x + delta, where there is a delta */
    const float *x, *delta, *w;
    int64_t ldy, ldx;            /* of sum and delta too */
    int32_t count, heads, width; /* count: rows × heads */
    float eps;
    bool vector;
};

template <int TEAM> __global__ static void norm_forward_kernel(struct norm_forward norm)
{
    __shared__ float shared[WARP];
    const int32_t at = team_head<TEAM>(), n = norm.width;
    if (at >= norm.count) {
        return;
    }
    const int32_t first = (int32_t)threadIdx.x % TEAM * QUAD;
    const int64_t row = at / norm.heads, head = (int64_t)(at % norm.heads) * n;
    const float *x = norm.x + row * norm.ldx + head;
    float squares = 0.0f;
    for (int32_t c = first; c < n; c += TEAM * QUAD) {
        float4 value = quad_load(x, c, n, norm.vector);
        if (norm.delta) {
            value = quad_add(value, quad_load(norm.delta + row * norm.ldx, c, n, norm.vector));
            quad_store(norm.sum + row * norm.ldx, value, c, n, norm.vector);
        }
        squares = quad_dot(value, value, squares);
    }
    squares = team_sum<TEAM>(squares, shared);
    const float rstd = 1.0f / sqrtf(squares / (float)n + norm.eps);
    if (first == 0) {
        norm.rstd[at] = rstd;
    }
    x = norm.delta ? norm.sum + row * norm.ldx : x;
    float *y = norm.y + row * norm.ldy + head;
    for (int32_t c = first; c < n; c += TEAM * QUAD) {
        const float4 value = quad_scale(quad_load(x, c, n, norm.vector), rstd);
        quad_store(y, quad_mul(value, quad_load(norm.w, c, n, norm.vector)), c, n, norm.vector);
    }
}

static void run_forward(struct device *device, struct norm_forward norm)
{
    if (norm.count == 0) {
        return;
    }
    norm.vector = norm.width % QUAD == 0 && quads_aligned(norm.x, norm.ldx) &&
                  quads_aligned(norm.y, norm.ldy) && quads_aligned(norm.w, 0) &&
                  quads_aligned(norm.delta, 0) && quads_aligned(norm.sum, 0);
    if (norm.width > WIDE) {
        LAUNCH(norm_forward_kernel<THREADS>, norm.count, THREADS, 0, device, norm);
    } else {
        LAUNCH(norm_forward_kernel<WARP>, blocks_of(norm.count, THREADS / WARP), THREADS, 0, device,
               norm);
    }
}

extern "C" void cuda_rmsnorm_forward(struct device *device, real *y, float *rstd, real *x_out,
                                     const real *x, const real *delta, const real *w, int32_t rows,
                                     int32_t C, float eps)
{
    CHECK(!delta || x_out);
    run_forward(device, {y, rstd, delta ? x_out : NULL, x, delta, w, C, C, rows, 1, C, eps, false});
}

extern "C" void cuda_head_norm_forward(struct device *device, real *y, int32_t ldy, float *rstd,
                                       const real *x, int32_t ldx, const real *w, int32_t rows,
                                       int32_t heads, int32_t D, float eps)
{
    CHECK(ldy >= heads * D && ldx >= heads * D && (int64_t)rows * heads <= INT32_MAX);
    run_forward(device, {y, rstd, NULL, x, NULL, w, ldy, ldx, rows * heads, heads, D, eps, false});
}

/* ---- backward -------------------------------------------------------------------------------- */

struct norm_backward {
    float *dx, *dw;
    const float *dy, *x, *rstd, *w;
    int64_t lddx, lddy, ldx;
    int32_t rows, heads, width;
    bool accumulate, vector;
};

/* With m = mean(w·dy·x), dx = (accumulate ? dx : 0) + rstd·(w·dy − x·rstd²·m). */
template <int TEAM> __global__ static void norm_backward_kernel(struct norm_backward norm)
{
    __shared__ float shared[WARP];
    const int32_t at = team_head<TEAM>(), n = norm.width;
    if (at >= norm.rows * norm.heads) {
        return;
    }
    const int32_t first = (int32_t)threadIdx.x % TEAM * QUAD;
    const int64_t row = at / norm.heads, head = (int64_t)(at % norm.heads) * n;
    const float *x = norm.x + row * norm.ldx + head, *dy = norm.dy + row * norm.lddy + head;
    float *dx = norm.dx + row * norm.lddx + head;
    const float rstd = norm.rstd[at];
    float sum = 0.0f;
    for (int32_t c = first; c < n; c += TEAM * QUAD) {
        const float4 wdy =
            quad_mul(quad_load(norm.w, c, n, norm.vector), quad_load(dy, c, n, norm.vector));
        sum = quad_dot(wdy, quad_load(x, c, n, norm.vector), sum);
    }
    sum = team_sum<TEAM>(sum, shared);
    const float pull = rstd * rstd * (sum / (float)n);
    for (int32_t c = first; c < n; c += TEAM * QUAD) {
        const float4 wdy =
            quad_mul(quad_load(norm.w, c, n, norm.vector), quad_load(dy, c, n, norm.vector));
        float4 slope = quad_scale(quad_fma(quad_load(x, c, n, norm.vector), -pull, wdy), rstd);
        if (norm.accumulate) {
            slope = quad_add(quad_load(dx, c, n, norm.vector), slope);
        }
        quad_store(dx, slope, c, n, norm.vector);
    }
}

/* block_dw[b][c] = Σ dy·x·rstd over the heads of block b's rows. Threads behind the last channel
 * stay until the tree's end, with zeros. */
__global__ static void norm_weight_kernel(float *block_dw, struct norm_backward norm)
{
    __shared__ float sums[LANES][COLUMNS];
    const int32_t column = (int32_t)threadIdx.x, lane = (int32_t)threadIdx.y;
    const int32_t c = (int32_t)blockIdx.y * COLUMNS + column, n = norm.width;
    const int32_t row0 = (int32_t)blockIdx.x * NORM_WEIGHT_BLOCK_ROWS;
    const int32_t rows = min(norm.rows - row0, (int32_t)NORM_WEIGHT_BLOCK_ROWS);
    float sum = 0.0f;
    for (int32_t at = lane; c < n && at < rows * norm.heads; at += LANES) {
        const int64_t row = row0 + at / norm.heads, head = (int64_t)(at % norm.heads) * n;
        const float unit =
            norm.x[row * norm.ldx + head + c] * norm.rstd[(int64_t)row0 * norm.heads + at];
        sum = fmaf(norm.dy[row * norm.lddy + head + c], unit, sum);
    }
    sums[lane][column] = sum;
    for (int32_t half = LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) {
            sums[lane][column] += sums[lane + half][column];
        }
    }
    if (lane == 0 && c < n) {
        block_dw[(int64_t)blockIdx.x * n + c] = sums[0][column];
    }
}

static size_t weight_bytes(int32_t rows, int32_t width)
{
    return size_mul(size_mul((size_t)blocks_of(rows, NORM_WEIGHT_BLOCK_ROWS), (size_t)width),
                    sizeof(float));
}

static void weight_gradient(struct device *device, const struct norm_backward *norm)
{
    const size_t mark = cuda_scratch_mark(device);
    const int32_t n = norm->width, blocks = blocks_of(norm->rows, NORM_WEIGHT_BLOCK_ROWS);
    float *block_dw = (float *)cuda_scratch_take(device, weight_bytes(norm->rows, n));
    const dim3 grid((unsigned)blocks, (unsigned)blocks_of(n, COLUMNS));
    const dim3 block(COLUMNS, LANES);
    LAUNCH(norm_weight_kernel, grid, block, 0, device, block_dw, *norm);
    cuda_bias_gradient(device, norm->dw, block_dw, n, blocks, n);
    cuda_scratch_release(device, mark);
}

static void run_backward(struct device *device, struct norm_backward norm)
{
    const int32_t count = norm.rows * norm.heads;
    if (count == 0) {
        return;
    }
    norm.vector = norm.width % QUAD == 0 && quads_aligned(norm.x, norm.ldx) &&
                  quads_aligned(norm.dy, norm.lddy) && quads_aligned(norm.dx, norm.lddx) &&
                  quads_aligned(norm.w, 0);
    if (norm.dw) {
        weight_gradient(device, &norm);
    }
    if (norm.width > WIDE) {
        LAUNCH(norm_backward_kernel<THREADS>, count, THREADS, 0, device, norm);
    } else {
        LAUNCH(norm_backward_kernel<WARP>, blocks_of(count, THREADS / WARP), THREADS, 0, device,
               norm);
    }
}

extern "C" void cuda_rmsnorm_backward(struct device *device, real *dx, float *dw, const real *dy,
                                      const real *x, const float *rstd, const real *w, int32_t rows,
                                      int32_t C, bool accumulate)
{
    run_backward(device, {dx, dw, dy, x, rstd, w, C, C, C, rows, 1, C, accumulate, false});
}

extern "C" void cuda_head_norm_backward(struct device *device, real *dx, int32_t lddx, float *dw,
                                        const real *dy, int32_t lddy, const real *x, int32_t ldx,
                                        const float *rstd, const real *w, int32_t rows,
                                        int32_t heads, int32_t D)
{
    CHECK(lddx >= heads * D && lddy >= heads * D && ldx >= heads * D);
    CHECK((int64_t)rows * heads <= INT32_MAX);
    run_backward(device, {dx, dw, dy, x, rstd, w, lddx, lddy, ldx, rows, heads, D, false, false});
}

/* The weight's gradient is all for which the ops on rows take scratch. */
extern "C" size_t cuda_rows_scratch(const struct scratch_shape *shape)
{
    const int32_t width = shape->C > shape->D ? shape->C : shape->D;
    return shape->backward ? cuda_scratch_piece(weight_bytes(shape->S, width)) : 0;
}
