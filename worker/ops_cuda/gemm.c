/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm: matrix products by cuBLASLt.
 *
 * WHY A ROW HAS THE SAME BITS IN EVERY PACK. The library computes an entry of c in one thread block
 * of its grid: it walks over k in steps of its tile, in an order that the *algorithm* fixes (tile,
 * stages, instruction), and adds nothing from outside. Which rows share the tile changes addresses
 * and masks, never that order. Two things could: another algorithm for another number of rows, and
 * an algorithm that shares the walk over k among blocks (split-K, stream-K). So
 *   - the algorithm is chosen once for a key that does not know the number of rows (struct key), by
 *     the library's heuristic for NOMINAL rows, and is then used for all;
 *   - reductions between blocks are excluded by mask, by a look at what was chosen, and because
 *     there is no workspace in which partial sums could lie: WORKSPACE_BYTES hold the counters by
 *     which some algorithms hand out tiles, and nothing else.
 *
 * Alignment is part of the key, and follows from the model's dimensions: a factor is aligned if its
 * rows' distance is, so no offset of rows changes it. For weight gradients the number of rows is
 * the walk's length; they have the same bits in two runs, and need no more.
 *
 * fp32 is COMPUTE_32F_PEDANTIC: neither TF32 nor an emulation by bf16, whatever the environment
 * says. In bf16 both factors lie in scratch, rounded and padded with zeros to what tensor cores
 * like, which adds zeros to a sum; or are kept weights. What the library has no algorithm for is
 * computed by cuda_gemm_plain.
 *
 * The library is column-major: it sees cᵀ = bᵀ · aᵀ, so its first factor is our b, its m our N.
 */
#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/ops_cuda/cuda.h"

enum {
    NOMINAL = 2048, /* rows for which the algorithm is the fastest */
    CANDIDATES = 32,
    VECTOR_BYTES = 16, /* what a thread loads at once where it can */
    PAD = 8,           /* of bf16 rows: that many numbers are a vector */
    WORKSPACE_BYTES = 256
};

/* What decides the algorithm. `rows` of the product are M, or K in CUDA_TN, and not in it. */
struct key {
    enum cuda_gemm_kind kind;
    enum dtype dtype;
    int32_t first, second; /* N and K; M and N in CUDA_TN */
    bool aligned;
};

struct algorithm {
    struct key key;
    bool found; /* else the plain kernel */
    cublasLtMatmulAlgo_t chosen;
};

struct blas {
    cublasLtHandle_t handle;
    void *workspace; /* WORKSPACE_BYTES on the device */
    struct algorithm *algorithms;
    int32_t count, room;
};

/* The factors as they are read. */
struct factors {
    const void *a, *b;
    int32_t lda, ldb, K;
};

/* One call of the library. */
struct call {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t b, a, c;
};

static void blas_check(cublasStatus_t result, const char *what)
{
    if (result != CUBLAS_STATUS_SUCCESS) {
        fprintf(stderr, "tailor: cuBLASLt: %s: %s\n", what, cublasLtGetStatusString(result));
        exit(status_exit_code(STATUS_FAILED));
    }
}
#define BLAS_CHECK(call) blas_check((call), #call)

static int32_t padded(int32_t count)
{
    return (count + PAD - 1) / PAD * PAD;
}

/* ---- describing a product -------------------------------------------------------------------- */

static cublasLtMatrixLayout_t layout_of(cudaDataType_t type, int32_t columns, int32_t rows,
                                        int32_t ld)
{
    cublasLtMatrixLayout_t layout;
    BLAS_CHECK(
        cublasLtMatrixLayoutCreate(&layout, type, (uint64_t)columns, (uint64_t)rows, (int64_t)ld));
    return layout;
}

static struct call call_begin(enum cuda_gemm_kind kind, enum dtype dtype, int32_t M, int32_t N,
                              const struct factors *f, int32_t ldc)
{
    const cudaDataType_t type = dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasComputeType_t compute =
        dtype == DTYPE_BF16 ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_PEDANTIC;
    const cublasOperation_t of_b = kind == CUDA_NT ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t of_a = kind == CUDA_TN ? CUBLAS_OP_T : CUBLAS_OP_N;
    struct call call;
    BLAS_CHECK(cublasLtMatmulDescCreate(&call.product, compute, CUDA_R_32F));
    BLAS_CHECK(cublasLtMatmulDescSetAttribute(call.product, CUBLASLT_MATMUL_DESC_TRANSA, &of_b,
                                              sizeof(of_b)));
    BLAS_CHECK(cublasLtMatmulDescSetAttribute(call.product, CUBLASLT_MATMUL_DESC_TRANSB, &of_a,
                                              sizeof(of_a)));
    call.b = kind == CUDA_NT ? layout_of(type, f->K, N, f->ldb) : layout_of(type, N, f->K, f->ldb);
    call.a = kind == CUDA_TN ? layout_of(type, M, f->K, f->lda) : layout_of(type, f->K, M, f->lda);
    call.c = layout_of(CUDA_R_32F, N, M, ldc);
    return call;
}

static void call_end(struct call *call)
{
    BLAS_CHECK(cublasLtMatmulDescDestroy(call->product));
    BLAS_CHECK(cublasLtMatrixLayoutDestroy(call->b));
    BLAS_CHECK(cublasLtMatrixLayoutDestroy(call->a));
    BLAS_CHECK(cublasLtMatrixLayoutDestroy(call->c));
}

/* ---- choosing an algorithm ------------------------------------------------------------------- */

/* A product of the key with so many rows, its leading dimensions those of its class alone. */
static struct call call_of_key(const struct key *key, int32_t rows)
{
    const bool tn = key->kind == CUDA_TN, bf16 = key->dtype == DTYPE_BF16;
    const int32_t M = tn ? key->first : rows, N = tn ? key->second : key->first;
    int32_t K = tn ? rows : key->second;
    const int32_t width_a = tn ? M : K, width_b = key->kind == CUDA_NT ? K : N;
    const bool packed = bf16 || key->aligned;
    struct factors f = {.lda = packed ? padded(width_a) : width_a | 1,
                        .ldb = packed ? padded(width_b) : width_b | 1,
                        .K = bf16 ? padded(K) : K};
    return call_begin(key->kind, key->dtype, M, N, &f, key->aligned ? padded(N) : N | 1);
}

static cublasLtMatmulPreference_t preference_of(const struct key *key)
{
    const uint64_t workspace = WORKSPACE_BYTES;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint32_t vector = VECTOR_BYTES, single = sizeof(float);
    const uint32_t of_c = key->aligned ? vector : single;
    const uint32_t of_factor = key->aligned || key->dtype == DTYPE_BF16 ? vector : single;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t size;
    } wishes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace)},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof(reductions)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &of_factor, sizeof(of_factor)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &of_factor, sizeof(of_factor)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &of_c, sizeof(of_c)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &of_c, sizeof(of_c)},
    };
    cublasLtMatmulPreference_t preference;
    BLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++) {
        BLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, wishes[i].name, wishes[i].value,
                                                        wishes[i].size));
    }
    return preference;
}

static uint32_t config_of(const cublasLtMatmulAlgo_t *algorithm,
                          cublasLtMatmulAlgoConfigAttributes_t name)
{
    uint32_t value = 0;
    size_t written;
    BLAS_CHECK(
        cublasLtMatmulAlgoConfigGetAttribute(algorithm, name, &value, sizeof(value), &written));
    return value;
}

/* One block of the grid sums an entry of c. */
static bool sums_alone(const cublasLtMatmulAlgo_t *algorithm)
{
    return config_of(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) <= 1 &&
           config_of(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) ==
               CUBLASLT_REDUCTION_SCHEME_NONE;
}

/* It takes any number of rows, and no more of a workspace than there is. */
static bool takes_all(cublasLtHandle_t handle, const struct key *key,
                      const cublasLtMatmulAlgo_t *algorithm)
{
    static const int32_t rows[] = {1, 2, 7, 8, 33, 64, 100, 257, 1000, NOMINAL, 4096};
    bool takes = true;
    for (size_t i = 0; takes && i < sizeof(rows) / sizeof(*rows); i++) {
        struct call call = call_of_key(key, rows[i]);
        cublasLtMatmulHeuristicResult_t result;
        takes = cublasLtMatmulAlgoCheck(handle, call.product, call.b, call.a, call.c, call.c,
                                        algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
                result.workspaceSize <= WORKSPACE_BYTES;
        call_end(&call);
    }
    return takes;
}

static struct algorithm choose(cublasLtHandle_t handle, const struct key *key)
{
    struct algorithm algorithm = {.key = *key};
    cublasLtMatmulHeuristicResult_t results[CANDIDATES];
    cublasLtMatmulPreference_t preference = preference_of(key);
    struct call call = call_of_key(key, NOMINAL);
    int count = 0;
    const cublasStatus_t result =
        cublasLtMatmulAlgoGetHeuristic(handle, call.product, call.b, call.a, call.c, call.c,
                                       preference, CANDIDATES, results, &count);
    if (result != CUBLAS_STATUS_NOT_SUPPORTED) {
        blas_check(result, "cublasLtMatmulAlgoGetHeuristic");
    }
    for (int i = 0; result == CUBLAS_STATUS_SUCCESS && i < count && !algorithm.found; i++) {
        algorithm.found = results[i].state == CUBLAS_STATUS_SUCCESS &&
                          results[i].workspaceSize <= WORKSPACE_BYTES &&
                          sums_alone(&results[i].algo) && takes_all(handle, key, &results[i].algo);
        algorithm.chosen = results[i].algo;
    }
    call_end(&call);
    BLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    return algorithm;
}

static bool same_key(const struct key *x, const struct key *y)
{
    return x->kind == y->kind && x->dtype == y->dtype && x->first == y->first &&
           x->second == y->second && x->aligned == y->aligned;
}

static const struct algorithm *algorithm_of(struct blas *blas, const struct key *key)
{
    for (int32_t i = 0; i < blas->count; i++) {
        if (same_key(&blas->algorithms[i].key, key)) {
            return &blas->algorithms[i];
        }
    }
    if (blas->count == blas->room) {
        blas->room = 2 * blas->room + 64;
        blas->algorithms =
            mem_grow(blas->algorithms, size_mul((size_t)blas->room, sizeof(*blas->algorithms)));
    }
    blas->algorithms[blas->count] = choose(blas->handle, key);
    return &blas->algorithms[blas->count++];
}

/* ---- the factors ----------------------------------------------------------------------------- */

static bool is_vector(const void *at, int64_t ld, size_t size)
{
    return (uintptr_t)at % VECTOR_BYTES == 0 && (size_t)ld * size % VECTOR_BYTES == 0;
}

static const uint16_t *rounded(struct device *device, const float *from, int32_t ld_from,
                               int32_t rows, int32_t columns, int32_t padded_rows, int32_t *ld_out)
{
    const int32_t ld = padded(columns);
    const size_t count = size_mul((size_t)padded_rows, (size_t)ld);
    uint16_t *to = cuda_scratch_take(device, size_mul(count, sizeof(*to)));
    cuda_round(device, to, ld, padded_rows, from, ld_from, rows, columns);
    *ld_out = ld;
    return to;
}

/* b, where it is a kept weight whose copy can be read as it lies. */
static const uint16_t *kept(struct device *device, const struct cuda_gemm *gemm)
{
    if (gemm->kind == CUDA_TN || gemm->K % PAD != 0) {
        return NULL;
    }
    const int32_t rows = gemm->kind == CUDA_NT ? gemm->N : gemm->K;
    const uint16_t *copy =
        cuda_kept_weight(device, gemm->b, size_mul((size_t)rows, (size_t)gemm->ldb));
    return copy != NULL && is_vector(copy, gemm->ldb, sizeof(*copy)) ? copy : NULL;
}

static struct factors round_factors(struct device *device, const struct cuda_gemm *gemm)
{
    const bool tn = gemm->kind == CUDA_TN, nt = gemm->kind == CUDA_NT;
    const int32_t M = gemm->M, N = gemm->N, K = gemm->K;
    struct factors f = {.K = padded(K), .ldb = gemm->ldb};
    f.a = tn ? rounded(device, gemm->a, gemm->lda, K, M, f.K, &f.lda)
             : rounded(device, gemm->a, gemm->lda, M, K, M, &f.lda);
    f.b = kept(device, gemm);
    if (f.b == NULL) {
        f.b = nt ? rounded(device, gemm->b, gemm->ldb, N, K, N, &f.ldb)
                 : rounded(device, gemm->b, gemm->ldb, K, N, f.K, &f.ldb);
    }
    return f;
}

static struct key key_of(const struct device *device, const struct cuda_gemm *gemm,
                         const struct factors *f)
{
    const bool tn = gemm->kind == CUDA_TN, bf16 = device->dtype == DTYPE_BF16;
    const bool factors =
        bf16 || (is_vector(f->a, f->lda, sizeof(float)) && is_vector(f->b, f->ldb, sizeof(float)));
    return (struct key){.kind = gemm->kind,
                        .dtype = device->dtype,
                        .first = tn ? gemm->M : gemm->N,
                        .second = tn ? gemm->N : gemm->K,
                        .aligned = factors && is_vector(gemm->c, gemm->ldc, sizeof(float))};
}

/* ---- the product ----------------------------------------------------------------------------- */

static void multiply(struct device *device, const struct cuda_gemm *gemm, const struct factors *f,
                     const cublasLtMatmulAlgo_t *algorithm)
{
    const struct blas *blas = cuda_context(device)->blas;
    struct call call = call_begin(gemm->kind, device->dtype, gemm->M, gemm->N, f, gemm->ldc);
    BLAS_CHECK(cublasLtMatmul(blas->handle, call.product, &gemm->alpha, f->b, call.b, f->a, call.a,
                              &gemm->beta, gemm->c, call.c, gemm->c, call.c, algorithm,
                              blas->workspace, WORKSPACE_BYTES, cuda_context(device)->stream));
    call_end(&call);
}

void cuda_gemm(struct device *device, const struct cuda_gemm *gemm)
{
    const bool tn = gemm->kind == CUDA_TN, nt = gemm->kind == CUDA_NT;
    CHECK(gemm->M >= 0 && gemm->N >= 0 && gemm->K >= 0 && gemm->ldc >= gemm->N);
    CHECK(gemm->lda >= (tn ? gemm->M : gemm->K) && gemm->ldb >= (nt ? gemm->K : gemm->N));
    if (gemm->M == 0 || gemm->N == 0) {
        return;
    }
    if (gemm->K == 0) { /* c = beta · c */
        cuda_gemm_plain(device, gemm, &(struct cuda_rounded){0});
        return;
    }
    const size_t mark = cuda_scratch_mark(device);
    const bool bf16 = device->dtype == DTYPE_BF16;
    const struct factors f =
        bf16 ? round_factors(device, gemm)
             : (struct factors){
                   .a = gemm->a, .lda = gemm->lda, .b = gemm->b, .ldb = gemm->ldb, .K = gemm->K};
    const struct key key = key_of(device, gemm, &f);
    const struct algorithm *algorithm = algorithm_of(cuda_context(device)->blas, &key);
    if (algorithm->found) {
        multiply(device, gemm, &f, &algorithm->chosen);
    } else {
        const struct cuda_rounded rounded = {.a = f.a, .b = f.b, .lda = f.lda, .ldb = f.ldb};
        cuda_gemm_plain(device, gemm, bf16 ? &rounded : &(struct cuda_rounded){0});
    }
    cuda_scratch_release(device, mark);
}

enum status cuda_gemm_open(struct device *device, struct error *error)
{
    struct blas *blas = mem_alloc(sizeof(*blas));
    const cublasStatus_t result = cublasLtCreate(&blas->handle);
    if (result != CUBLAS_STATUS_SUCCESS) {
        mem_free(blas);
        return error_set(error, STATUS_UNSUPPORTED, "cuBLASLt cannot be used: %s",
                         cublasLtGetStatusString(result));
    }
    cuda_context(device)->blas = blas;
    return cuda_block_alloc(device, WORKSPACE_BYTES, "workspace of products", &blas->workspace,
                            error);
}

void cuda_gemm_close(struct device *device)
{
    struct blas *blas = cuda_context(device)->blas;
    if (blas != NULL) {
        BLAS_CHECK(cublasLtDestroy(blas->handle));
        if (blas->workspace != NULL) {
            cuda_block_free(device, blas->workspace, WORKSPACE_BYTES);
        }
        mem_free(blas->algorithms);
        mem_free(blas);
    }
}

/* ---- scratch --------------------------------------------------------------------------------- */

static size_t rounded_bytes(int64_t rows, int64_t columns)
{
    const size_t count = size_mul((size_t)(rows + PAD), (size_t)(columns + PAD));
    return cuda_scratch_piece(size_mul(count, sizeof(uint16_t)));
}

/* All three products of a w (N, K) with `rows` rows: x and w, dy and w, or dy and x are rounded. */
static size_t products_bytes(int64_t rows, int64_t N, int64_t K)
{
    const size_t w = rounded_bytes(N, K), x = rounded_bytes(rows, K), dy = rounded_bytes(rows, N);
    const size_t two = size_add(x, dy), wide = size_add(w, x > dy ? x : dy);
    return two > wide ? two : wide;
}

/* For bf16 whatever the dtype is now: a model's probes are scored in the dtype that it was saved
 * in (worker/trainer/continuity.h). */
size_t cuda_gemm_scratch(const struct scratch_shape *shape)
{
    const int64_t C = shape->C, F = shape->F, HD = (int64_t)shape->H * shape->D;
    const int64_t qkv = HD + 2 * (int64_t)shape->G * shape->D, r = shape->lora_rank;
    const int64_t widest = qkv > 2 * F ? qkv : 2 * F;
    const struct {
        int64_t rows, N, K;
    } products[] = {
        {shape->S, qkv, C},
        {shape->S, C, HD},
        {shape->S, 2 * F, C},
        {shape->S, C, F},
        {shape->S, r, widest > C ? widest : C},
        {shape->cross_entropy ? CUDA_CROSS_ENTROPY_ROWS : 0, shape->cross_entropy ? shape->V : 0,
         C},
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof(products) / sizeof(*products); i++) {
        const size_t bytes = products_bytes(products[i].rows, products[i].N, products[i].K);
        most = bytes > most ? bytes : most;
    }
    return most;
}
