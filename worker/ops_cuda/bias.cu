/* SPDX-License-Identifier: Apache-2.0
 *
 * bias: what a product begins with, and the bias's gradient. Neither is a factor: never rounded.
 *
 * A gradient is summed by 32 threads for each column: thread j takes rows j, j + 32, … in turn, and
 * a tree over j ends it. The order depends on the number of rows alone. All threads of a block stay
 * until the tree's end, those behind the last column with zeros.
 */
#include "worker/ops_cuda/launch.h"

enum { FILL_THREADS = 256, COLUMNS = WARP, LANES = 32 };

/* y[i][n] = bias[n] */
__global__ static void bias_kernel(float *y, int32_t ldy, const float *bias, int32_t N)
{
    const int32_t n = (int32_t)(blockIdx.y * blockDim.x + threadIdx.x);
    if (n < N) {
        y[(int64_t)blockIdx.x * ldy + n] = bias[n];
    }
}

extern "C" void cuda_bias_fill(struct device *device, float *y, int32_t ldy, const float *bias,
                               int32_t rows, int32_t N)
{
    if (rows > 0 && N > 0) {
        const dim3 grid((unsigned)rows, (unsigned)(N + FILL_THREADS - 1) / FILL_THREADS);
        LAUNCH(bias_kernel, grid, FILL_THREADS, 0, device, y, ldy, bias, N);
    }
}

/* dbias[n] += Σ_i dy[i][n] */
__global__ static void bias_gradient_kernel(float *dbias, const float *dy, int32_t lddy,
                                            int32_t rows, int32_t N)
{
    __shared__ float sums[LANES][COLUMNS];
    const int32_t column = (int32_t)threadIdx.x, lane = (int32_t)threadIdx.y;
    const int32_t n = (int32_t)blockIdx.x * COLUMNS + column;
    float sum = 0.0f;
    for (int32_t i = lane; n < N && i < rows; i += LANES) {
        sum += dy[(int64_t)i * lddy + n];
    }
    sums[lane][column] = sum;
    for (int32_t half = LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) {
            sums[lane][column] += sums[lane + half][column];
        }
    }
    if (lane == 0 && n < N) {
        dbias[n] += sums[0][column];
    }
}

extern "C" void cuda_bias_gradient(struct device *device, float *dbias, const float *dy,
                                   int32_t lddy, int32_t rows, int32_t N)
{
    if (rows > 0 && N > 0) {
        const dim3 block(COLUMNS, LANES);
        LAUNCH(bias_gradient_kernel, (unsigned)(N + COLUMNS - 1) / COLUMNS, block, 0, device, dbias,
               dy, lddy, rows, N);
    }
}
