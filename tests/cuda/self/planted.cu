/* SPDX-License-Identifier: Apache-2.0
 *
 * planted: see planted.h. Each faulty kernel is a right one with one thing wrong.
 */
#include "tests/cuda/self/planted.h"

#include "worker/ops_cuda/launch.h"

__global__ static void reverse_kernel(float *x, bool barrier)
{
    __shared__ float tile[PLANTED_THREADS];
    const int32_t i = (int32_t)threadIdx.x;
    tile[i] = x[i];
    if (barrier) {
        __syncthreads();
    }
    x[i] = tile[PLANTED_THREADS - 1 - i];
}

__global__ static void warp_sum_kernel(float *x, int32_t lanes)
{
    const int32_t i = (int32_t)threadIdx.x;
    if (i % WARP < lanes) {
        float sum = x[i];
        for (int32_t step = WARP / 2; step > 0; step /= 2) {
            sum += __shfl_xor_sync(FULL_WARP, sum, step);
        }
        x[i] = sum;
    }
}

__global__ static void barrier_of_some_kernel(float *x)
{
    if (threadIdx.x < WARP) {
        __syncthreads();
    }
    x[threadIdx.x] = 1.0f;
}

__global__ static void two_lines_kernel(float *x)
{
    if (threadIdx.x < WARP) {
        __syncthreads();
    } else {
        x[threadIdx.x] = 1.0f;
        __syncthreads();
    }
}

/* Each half of a warp shuffles within itself, so none waits for ever. */
__global__ static void two_shuffles_kernel(float *x)
{
    if (threadIdx.x % WARP < WARP / 2) {
        x[threadIdx.x] = __shfl_xor_sync(FULL_WARP, x[threadIdx.x], 1);
    } else {
        x[threadIdx.x] = __shfl_xor_sync(FULL_WARP, x[threadIdx.x], 1);
    }
}

__global__ static void race_kernel(float *x)
{
    x[0] = (float)blockIdx.x;
}

template <int32_t COUNT> __global__ static void unwritten_template_kernel(float *x)
{
    __shared__ float tile[COUNT];
    if (threadIdx.x > 0 || blockIdx.x == 0) {
        tile[threadIdx.x] = 1.0f;
    }
    __syncthreads();
    if (blockIdx.x == 1) {
        x[threadIdx.x] = tile[threadIdx.x];
    }
}

__global__ static void unwritten_kernel(float *x)
{
    __shared__ float tile[PLANTED_THREADS];
    if (threadIdx.x > 0 || blockIdx.x == 0) {
        tile[threadIdx.x] = 1.0f;
    }
    __syncthreads();
    if (blockIdx.x == 1) {
        x[threadIdx.x] = tile[threadIdx.x];
    }
}

__global__ static void behind_kernel(float *x, int32_t count)
{
    x[threadIdx.x + (unsigned)count] = 1.0f;
}

extern "C" void planted_reverse(float *x)
{
    LAUNCH(reverse_kernel, 1, PLANTED_THREADS, 0, NULL, x, true);
}

extern "C" void planted_reverse_without_barrier(float *x)
{
    LAUNCH(reverse_kernel, 1, PLANTED_THREADS, 0, NULL, x, false);
}

extern "C" void planted_warp_sum(float *x)
{
    LAUNCH(warp_sum_kernel, 1, PLANTED_THREADS, 0, NULL, x, WARP);
}

extern "C" void planted_shuffle_of_half_a_warp(float *x)
{
    LAUNCH(warp_sum_kernel, 1, PLANTED_THREADS, 0, NULL, x, WARP / 2);
}

extern "C" void planted_barrier_of_some(float *x)
{
    LAUNCH(barrier_of_some_kernel, 1, PLANTED_THREADS, 0, NULL, x);
}

extern "C" void planted_barriers_on_two_lines(float *x)
{
    LAUNCH(two_lines_kernel, 1, PLANTED_THREADS, 0, NULL, x);
}

extern "C" void planted_shuffles_on_two_lines(float *x)
{
    LAUNCH(two_shuffles_kernel, 1, PLANTED_THREADS, 0, NULL, x);
}

extern "C" void planted_blocks_that_race(float *x)
{
    LAUNCH(race_kernel, 2, PLANTED_THREADS, 0, NULL, x);
}

extern "C" void planted_unwritten_tile_of_a_template(float *x)
{
    LAUNCH(unwritten_template_kernel<PLANTED_THREADS>, 2, PLANTED_THREADS, 0, NULL, x);
}

extern "C" void planted_unwritten_tile(float *x)
{
    LAUNCH(unwritten_kernel, 2, PLANTED_THREADS, 0, NULL, x);
}

extern "C" void planted_write_behind(float *x)
{
    LAUNCH(behind_kernel, 1, PLANTED_THREADS, 0, NULL, x, PLANTED_THREADS);
}
