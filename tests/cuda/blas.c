/* SPDX-License-Identifier: Apache-2.0
 *
 * blas: cuBLASLt by definition: column-major matrices, d = alpha · op(a) op(b) + beta · c, sums a
 * chain of fused multiply-adds over k. It is as strict as the library about what it was told:
 * shapes must agree, bf16 factors must be aligned. Some shapes it refuses, so that the kernel that
 * stands in for the library is used.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <cublasLt.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "tests/cuda/runtime.h"

struct emulated_product {
    cublasOperation_t of_a, of_b;
};

struct emulated_matrix {
    cudaDataType_t type;
    int64_t rows, columns, ld;
};

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = mem_alloc(1);
    return emulated_failure("cublasLtCreate") ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    mem_free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS"
                                           : "CUBLAS_STATUS_NOT_SUPPORTED";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *product, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    CHECK(compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_PEDANTIC);
    CHECK(scale == CUDA_R_32F);
    *product = mem_alloc(sizeof(**product));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product)
{
    mem_free(product);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t size)
{
    CHECK(size == sizeof(cublasOperation_t));
    memcpy(name == CUBLASLT_MATMUL_DESC_TRANSA ? &product->of_a : &product->of_b, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matrix, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    CHECK(ld >= (int64_t)rows);
    *matrix = mem_alloc(sizeof(**matrix));
    **matrix = (struct emulated_matrix){type, (int64_t)rows, (int64_t)columns, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matrix)
{
    mem_free(matrix);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = mem_alloc(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    mem_free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t size)
{
    CHECK(preference != NULL && value != NULL && size > 0);
    CHECK(name >= CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
    return CUBLAS_STATUS_SUCCESS;
}

/* The inner length, having checked that the three matrices fit each other. */
static int64_t depth_of(const struct emulated_product *product, const struct emulated_matrix *a,
                        const struct emulated_matrix *b, const struct emulated_matrix *d)
{
    const bool turned_a = product->of_a == CUBLAS_OP_T, turned_b = product->of_b == CUBLAS_OP_T;
    const int64_t depth = turned_a ? a->rows : a->columns;
    CHECK(depth == (turned_b ? b->columns : b->rows));
    CHECK(d->rows == (turned_a ? a->columns : a->rows));
    CHECK(d->columns == (turned_b ? b->rows : b->columns));
    CHECK(a->type == b->type && d->type == CUDA_R_32F);
    return depth;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *count)
{
    const bool refused = a->rows % 5 == 0 && a->columns % 3 == 0;
    CHECK(handle != NULL && preference != NULL && wanted > 1);
    (void)c;
    depth_of(product, a, b, d);
    *count = 0;
    if (refused) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    /* The faster one shares sums among blocks, and must not be chosen. */
    results[0] = (cublasLtMatmulHeuristicResult_t){.algo = {.split_k = 4, .reduction = 1}};
    results[1] = (cublasLtMatmulHeuristicResult_t){.algo = {.split_k = 1}};
    *count = 2;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    CHECK(handle != NULL && algorithm != NULL);
    (void)c;
    depth_of(product, a, b, d);
    *result = (cublasLtMatmulHeuristicResult_t){.algo = *algorithm};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t name,
                                                    void *value, size_t size, size_t *written)
{
    const bool split = name == CUBLASLT_ALGO_CONFIG_SPLITK_NUM;
    CHECK(size == sizeof(uint32_t));
    memcpy(value, split ? &algorithm->split_k : &algorithm->reduction, size);
    *written = size;
    return CUBLAS_STATUS_SUCCESS;
}

/* So many sums are computed at a time, so that the compiler keeps their chains in registers. */
enum { TOGETHER = 32 };

static int64_t padded(int64_t rows)
{
    return (rows + TOGETHER - 1) / TOGETHER * TOGETHER;
}

/* A factor in fp32, its columns, or its rows, `stride` numbers apart; zeros between. */
static float *unpacked(const void *from, const struct emulated_matrix *matrix, bool by_column,
                       int64_t stride)
{
    const int64_t count = stride * (by_column ? matrix->columns : matrix->rows);
    float *to = mem_alloc((size_t)count * sizeof(*to));
    for (int64_t column = 0; column < matrix->columns; column++) {
        for (int64_t row = 0; row < matrix->rows; row++) {
            const int64_t at = column * matrix->ld + row;
            const int64_t place = by_column ? column * stride + row : row * stride + column;
            if (matrix->type == CUDA_R_16BF) {
                const uint32_t bits = (uint32_t)((const uint16_t *)from)[at] << 16;
                memcpy(&to[place], &bits, sizeof(bits));
            } else {
                to[place] = ((const float *)from)[at];
            }
        }
    }
    return to;
}

/* sums[i] = Σ_k a[k][i]·b[k], each a chain; rows is padded */
static void column_of(float *sums, const float *a, const float *b, int64_t rows, int64_t depth)
{
    for (int64_t i = 0; i < rows; i += TOGETHER) {
        float chain[TOGETHER] = {0};
        for (int64_t k = 0; k < depth; k++) {
            for (int j = 0; j < TOGETHER; j++) {
                chain[j] = fmaf(a[k * rows + i + j], b[k], chain[j]);
            }
        }
        memcpy(sums + i, chain, sizeof(chain));
    }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void *alpha, const void *a, cublasLtMatrixLayout_t of_a,
                              const void *b, cublasLtMatrixLayout_t of_b, const void *beta,
                              const void *c, cublasLtMatrixLayout_t of_c, void *d,
                              cublasLtMatrixLayout_t of_d, const cublasLtMatmulAlgo_t *algorithm,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    const int64_t depth = depth_of(product, of_a, of_b, of_d);
    const float by = *(const float *)alpha, old = *(const float *)beta;
    CHECK(handle != NULL && workspace != NULL && workspace_bytes > 0 && stream != NULL);
    CHECK(c == d && of_c->ld == of_d->ld && algorithm->split_k == 1 && algorithm->reduction == 0);
    if (of_a->type == CUDA_R_16BF) {
        CHECK(((uintptr_t)a | (uintptr_t)b) % 16 == 0 && of_a->ld % 8 == 0 && of_b->ld % 8 == 0);
    }
    emulated_memory_open();
    const int64_t rows = padded(of_d->rows);
    float *left = unpacked(a, of_a, product->of_a == CUBLAS_OP_N, rows);
    float *right = unpacked(b, of_b, product->of_b == CUBLAS_OP_N, depth);
    float *sums = mem_alloc((size_t)rows * sizeof(*sums));
    for (int64_t column = 0; column < of_d->columns; column++) {
        float *to = (float *)d + column * of_d->ld;
        column_of(sums, left, right + column * depth, rows, depth);
        for (int64_t row = 0; row < of_d->rows; row++) {
            to[row] = old == 0.0f ? by * sums[row] : fmaf(old, to[row], by * sums[row]);
        }
    }
    mem_free(sums);
    mem_free(right);
    mem_free(left);
    emulated_memory_shut();
    return CUBLAS_STATUS_SUCCESS;
}
