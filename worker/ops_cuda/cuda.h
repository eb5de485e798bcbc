/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda: the second device. The same table as worker/ops/cpu, on one NVIDIA GPU.
 *
 * Everything is queued on one stream in the order of the calls; nothing waits for the host but
 * copy_out, and copy_in of pageable memory. Activations, gradients and weights are fp32 in memory;
 * with dtype bf16 the factors of products are rounded to bf16 (weights are kept so, activations as
 * they are read), sums are fp32.
 *
 * THE NUMERIC CONTRACT. Rewards have the bits that depend on the logical row alone: which rows lie
 * beside it, at what offset, in which pack, changes nothing. So: one algorithm of cuBLASLt for each
 * (kind, N, K), whatever the number of rows, without a split of K; attention cuts a row's keys into
 * tiles at fixed *logical* positions; a reduction has a tree that depends on its length alone; no
 * floating-point atomics anywhere. Two runs have the same bits. They are not the CPU's bits: the
 * numerics ids are "fp32-cuda-1" and "bf16-cuda-1".
 *
 * Errors: a wrong argument is our bug (CHECK). A CUDA error other than lack of memory ends the
 * process with one line that names the call or kernel: after such an error the GPU's context is
 * lost anyway, and a trainer may die (docs/architecture.md).
 *
 * Files: one for each family of ops, kernels and their launches together. The .cu files keep to the
 * part of C++ that is C, and to launch.h, so that tests/cuda can compile every kernel for the CPU.
 */
#ifndef TAILOR_WORKER_OPS_CUDA_CUDA_H
#define TAILOR_WORKER_OPS_CUDA_CUDA_H

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "lib/check.h"
#include "worker/ops/ops.h"

/* Where copy_in puts the caller's bytes, so that the caller may go on and change them. */
struct cuda_stage {
    char *pinned;
    size_t used;
    cudaEvent_t read; /* the stream has copied what was in it */
};

/* Of a device, from device_open to device_close (device->context). */
struct cuda_context {
    cudaStream_t stream;
    void *blas; /* of gemm.c: handle, algorithms by shape */
    struct cuda_stage stages[2];
    int stage;           /* the one that is being filled */
    size_t scratch_used; /* of device->scratch, see below */
    int multiprocessors;
    char name[DEVICE_NAME_BYTES];
};

static inline struct cuda_context *cuda_context(const struct device *device)
{
    return (struct cuda_context *)device->context;
}

/* Ends the process, with `what`, unless `result` is cudaSuccess. */
void cuda_check(cudaError_t result, const char *what);
#define CUDA_CHECK(call) cuda_check((call), #call)

/* Scratch is a stack in one block that scratch_reserve allocated: an op takes pieces (each aligned
 * to 256 bytes) and gives all back at once before it returns. The stream's order makes that safe.
 * More than was planned is our bug.
 *     const size_t mark = cuda_scratch_mark(device);
 *     float *partial = (float *)cuda_scratch_take(device, bytes);
 *     …
 *     cuda_scratch_release(device, mark);
 */
size_t cuda_scratch_mark(const struct device *device);
void *cuda_scratch_take(struct device *device, size_t bytes);
void cuda_scratch_release(struct device *device, size_t mark);
size_t cuda_scratch_piece(size_t bytes); /* what a piece of so many bytes takes of the block */

/* What each family takes at most at one time for a shape, from cuda_scratch_piece() alone: pure. */
size_t cuda_gemm_scratch(const struct scratch_shape *shape);
size_t cuda_lora_scratch(const struct scratch_shape *shape); /* beside its products' */
size_t
cuda_rows_scratch(const struct scratch_shape *shape); /* norms, bias, embedding, pooling, head */
size_t cuda_attention_scratch(const struct scratch_shape *shape);
size_t cuda_cross_entropy_scratch(const struct scratch_shape *shape);
size_t cuda_adamw_scratch(void); /* sumsq */

/* A chunk of cross_entropy has at most so many rows. */
enum { CUDA_CROSS_ENTROPY_ROWS = 1024 };

/* Matrix products, for the ops and for those made of them. Row-major; ld… in elements.
 *     CUDA_NT: c (M,N) = alpha · a (M,K) · b (N,K)ᵀ     linear_forward
 *     CUDA_NN: c (M,N) = alpha · a (M,K) · b (K,N)      linear_backward_input
 *     CUDA_TN: c (M,N) = alpha · a (K,M)ᵀ · b (K,N)     linear_backward_weight: K is rows
 * plus beta · c. In bf16 both factors are rounded first; a factor that is a kept weight, or part of
 * one, is not rounded again. */
enum cuda_gemm_kind { CUDA_NT, CUDA_NN, CUDA_TN };
struct cuda_gemm {
    enum cuda_gemm_kind kind;
    int32_t M, N, K;
    const float *a;
    int32_t lda;
    const float *b;
    int32_t ldb;
    float *c;
    int32_t ldc;
    float alpha, beta;
};
void cuda_gemm(struct device *device, const struct cuda_gemm *gemm);
/* Of device_open and device_close: the library's handle and what it has chosen. */
enum status cuda_gemm_open(struct device *device, struct error *error);
void cuda_gemm_close(struct device *device);

/* gemm_convert.cu. A matrix of bf16 numbers, in their bits: `rows` and `columns` are those of
 * `from`, behind them are zeros up to `padded_rows` and `ld`, a multiple of 8. */
void cuda_round(struct device *device, uint16_t *to, int32_t ld, int32_t padded_rows,
                const float *from, int32_t ld_from, int32_t rows, int32_t columns);
/* The product by a kernel of our own, one chain of fused multiply-adds for each entry: for shapes
 * that the library has no algorithm for. It takes bf16 factors where `gemm` has none. */
struct cuda_rounded {
    const uint16_t *a, *b; /* NULL: as they are in the gemm */
    int32_t lda, ldb;
};
void cuda_gemm_plain(struct device *device, const struct cuda_gemm *gemm,
                     const struct cuda_rounded *rounded);

/* bias.cu: y[i][n] = bias[n], and dbias[n] += Σ_i dy[i][n] in an order that depends on `rows`. */
void cuda_bias_fill(struct device *device, float *y, int32_t ldy, const float *bias, int32_t rows,
                    int32_t N);
void cuda_bias_gradient(struct device *device, float *dbias, const float *dy, int32_t lddy,
                        int32_t rows, int32_t N);

/* weights.c. The rounded copy of a kept weight from `w` on, which has `count` elements, up to date;
 * NULL: it is not kept. */
const uint16_t *cuda_kept_weight(struct device *device, const float *w, size_t count);

extern const struct ops ops_cuda;

/* The table's entries: cuda_NAME has the type that NAME has in struct ops. */
#define CUDA_DECLARE(op) __typeof__(*((const struct ops *)0)->op) cuda_##op;
OPS_THAT_HOLD(CUDA_DECLARE)
OPS_THAT_COMPUTE(CUDA_DECLARE)
#undef CUDA_DECLARE

#ifdef __cplusplus
}
#endif

#endif
