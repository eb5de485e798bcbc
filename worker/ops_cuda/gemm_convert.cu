/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_convert: factors in bf16, and products without the library.
 *
 * Rounding is to the nearest even, as attention rounds (mma.h). A thread makes eight numbers, 16
 * bytes, which never cross a row since rows are padded to that.
 *
 * The plain product: a block of 16 × 16 threads computes as many entries of c, one each, and walks
 * over k in tiles of 16 that lie in shared memory. Every entry is one chain in ascending k; behind
 * the end of k the tiles hold zeros, and fma(0, 0, sum) is sum. All threads of a block walk the
 * same way, so each reaches both barriers of a step: the first when the tiles are whole, the second
 * when they have been read.
 */
#include "worker/ops_cuda/mma.h"

enum { CHUNK = 8, ROUND_THREADS = 256, TILE = 16 };

/* ---- rounding -------------------------------------------------------------------------------- */

/* `vector`: rows of `from` begin at multiples of 16 bytes. */
__global__ static void round_kernel(uint16_t *to, int32_t row_chunks, int32_t chunks,
                                    const float *from, int32_t ld_from, int32_t rows,
                                    int32_t columns, bool vector)
{
    const int32_t chunk = (int32_t)(blockIdx.x * blockDim.x + threadIdx.x);
    if (chunk >= chunks) {
        return;
    }
    const int32_t row = chunk / row_chunks, column = chunk % row_chunks * CHUNK;
    float x[CHUNK] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    if (row < rows && column < columns) {
        const float *at = from + (int64_t)row * ld_from + column;
        if (vector && column + CHUNK <= columns) {
            const float4 low = *(const float4 *)at, high = *(const float4 *)(at + 4);
            x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
            x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
        } else {
            for (int i = 0; i < CHUNK; i++) {
                x[i] = column + i < columns ? at[i] : 0.0f;
            }
        }
    }
    uint4 out;
    out.x = bf16_pair(x[0], x[1]);
    out.y = bf16_pair(x[2], x[3]);
    out.z = bf16_pair(x[4], x[5]);
    out.w = bf16_pair(x[6], x[7]);
    *(uint4 *)(to + (int64_t)chunk * CHUNK) = out;
}

extern "C" void cuda_round(struct device *device, uint16_t *to, int32_t ld, int32_t padded_rows,
                           const float *from, int32_t ld_from, int32_t rows, int32_t columns)
{
    const int64_t chunks = (int64_t)padded_rows * (ld / CHUNK);
    CHECK(ld % CHUNK == 0 && ld >= columns && padded_rows >= rows && chunks <= INT32_MAX);
    if (chunks == 0) {
        return;
    }
    const bool vector = (uintptr_t)from % sizeof(float4) == 0 && (ld_from % 4 == 0 || rows == 1);
    const int32_t blocks = (int32_t)((chunks + ROUND_THREADS - 1) / ROUND_THREADS);
    LAUNCH(round_kernel, blocks, ROUND_THREADS, 0, device, to, ld / CHUNK, (int32_t)chunks, from,
           ld_from, rows, columns, vector);
}

/* ---- the plain product ----------------------------------------------------------------------- */

__device__ static inline float number(float x)
{
    return x;
}

__device__ static inline float number(uint16_t bits)
{
    return __uint_as_float((uint32_t)bits << 16);
}

/* Entry (i, j) of a factor lies at i·by_row + j·by_column. */
struct strides {
    int64_t by_row, by_column;
};

template <typename T>
__global__ static void plain_kernel(struct cuda_gemm gemm, const T *a, struct strides of_a,
                                    const T *b, struct strides of_b)
{
    __shared__ float tile_a[TILE][TILE + 1];
    __shared__ float tile_b[TILE][TILE + 1];
    const int32_t x = (int32_t)threadIdx.x, y = (int32_t)threadIdx.y;
    const int32_t row = (int32_t)blockIdx.x * TILE + y, column = (int32_t)blockIdx.y * TILE + x;
    float sum = 0.0f;
    for (int32_t k = 0; k < gemm.K; k += TILE) {
        const bool in_a = row < gemm.M && k + x < gemm.K;
        const bool in_b = column < gemm.N && k + y < gemm.K;
        tile_a[y][x] = in_a ? number(a[row * of_a.by_row + (k + x) * of_a.by_column]) : 0.0f;
        tile_b[y][x] = in_b ? number(b[(k + y) * of_b.by_row + column * of_b.by_column]) : 0.0f;
        __syncthreads();
        for (int32_t step = 0; step < TILE; step++) {
            sum = fmaf(tile_a[y][step], tile_b[step][x], sum);
        }
        __syncthreads();
    }
    if (row < gemm.M && column < gemm.N) {
        float *c = gemm.c + (int64_t)row * gemm.ldc + column;
        *c = gemm.beta == 0.0f ? gemm.alpha * sum : fmaf(gemm.beta, *c, gemm.alpha * sum);
    }
}

static struct strides strides_of(bool transposed, int32_t ld)
{
    struct strides strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return strides;
}

extern "C" void cuda_gemm_plain(struct device *device, const struct cuda_gemm *gemm,
                                const struct cuda_rounded *rounded)
{
    const dim3 grid((unsigned)(gemm->M + TILE - 1) / TILE, (unsigned)(gemm->N + TILE - 1) / TILE);
    const dim3 block(TILE, TILE);
    const bool bf16 = rounded->a != NULL;
    const struct strides of_a = strides_of(gemm->kind == CUDA_TN, bf16 ? rounded->lda : gemm->lda);
    const struct strides of_b = strides_of(gemm->kind == CUDA_NT, bf16 ? rounded->ldb : gemm->ldb);
    if (bf16) {
        LAUNCH(plain_kernel<uint16_t>, grid, block, 0, device, *gemm, rounded->a, of_a, rounded->b,
               of_b);
    } else {
        LAUNCH(plain_kernel<float>, grid, block, 0, device, *gemm, gemm->a, of_a, gemm->b, of_b);
    }
}
