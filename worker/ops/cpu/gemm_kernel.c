/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_kernel: why the tile has its shape is in gemm_kernel.h.
 *
 * One always-inline body is compiled for every number of rows and registers, so an edge of C runs
 * the same FMAs as its middle: there is no scalar remainder whose bits could differ. Only where the
 * last register of a row is partly outside C are its loads and stores masked (`partial`); a masked
 * load costs a slot of the FMA ports, which is why full tiles do without. The accumulators are an
 * array that full unrolling dissolves into registers; the compiler is left the scheduling, which
 * reaches 98 % of what the FMA units can do, so there is nothing for assembly to win.
 *
 * Prefetches are spread over the steps of k, a few lines every sixteen. All at once before the
 * tile they are of no use: they take the few buffers for missing lines, and B, which streams from
 * the second-level cache, has to wait. Spread, they are worth 10 to 15 %.
 */
#include "worker/ops/cpu/gemm_kernel.h"

GEMM_INLINE vec load(const float *p, int v, int vectors, bool partial, vec_mask mask)
{
    return partial && v == vectors - 1 ? vec_load_mask(p + v * VEC, mask) : vec_load(p + v * VEC);
}

enum {
    AHEAD_STEPS = 8
}; /* B is fetched this many steps of k ahead: twice its way from level two */

struct cursor {
    const float *a[3]; /* rows are addressed as base, base + a_row, base + 2·a_row */
    const float *b;
};

/* One step of k: every sum one FMA further. */
GEMM_INLINE void step(vec sum[GEMM_ROWS_MAX][GEMM_VECTORS_MAX], struct cursor *at,
                      const struct gemm_tile *tile, int rows, int vectors, bool partial,
                      vec_mask mask)
{
    vec b_row[GEMM_VECTORS_MAX];
    UNROLL
    for (int j = 0; j < vectors * VEC; j += LINE_FLOATS) {
        _mm_prefetch((const char *)(at->b + AHEAD_STEPS * tile->b_k + j), _MM_HINT_T0);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        b_row[v] = load(at->b, v, vectors, partial, mask);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        vec factor = vec_set1(at->a[r / 3][r % 3 * tile->a_row]);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = vec_fma(factor, b_row[v], sum[r][v]);
        }
    }
    UNROLL
    for (int i = 0; i < 3; i++) {
        at->a[i] += tile->a_k;
    }
    at->b += tile->b_k;
}

/* A line of each row that is to be fetched, and a row of C. */
GEMM_INLINE void fetch(const struct gemm_tile *tile, int64_t k, int rows, int vectors)
{
    for (int64_t i = 0; i < tile->fetch_rows; i++) {
        _mm_prefetch((const char *)(tile->fetch + i * tile->fetch_ld + k), _MM_HINT_T0);
    }
    if (tile->fetch_c && k < rows * LINE_FLOATS) {
        const float *c = tile->fetch_c + k / LINE_FLOATS * tile->ldc;
        UNROLL
        for (int j = 0; j < vectors * VEC; j += LINE_FLOATS) {
            _mm_prefetch((const char *)(c + j), _MM_HINT_T0);
        }
    }
}

GEMM_INLINE void run(const struct gemm_tile *tile, int rows, int vectors, bool partial)
{
    const vec_mask mask = vec_first(tile->columns - (vectors - 1) * VEC);
    vec sum[GEMM_ROWS_MAX][GEMM_VECTORS_MAX];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = load(tile->start + r * tile->ldstart, v, vectors, partial, mask);
        }
    }
    struct cursor at = {{tile->a, tile->a + (rows > 3 ? 3 * tile->a_row : 0),
                         tile->a + (rows > 6 ? 6 * tile->a_row : 0)},
                        tile->b};
    int64_t k = 0;
    for (; k + LINE_FLOATS <= tile->K; k += LINE_FLOATS) {
        fetch(tile, k, rows, vectors);
        for (int i = 0; i < LINE_FLOATS; i++) {
            step(sum, &at, tile, rows, vectors, partial, mask);
        }
    }
    for (; k < tile->K; k++) {
        step(sum, &at, tile, rows, vectors, partial, mask);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        float *c = tile->c + r * tile->ldc;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if (partial && v == vectors - 1) {
                vec_store_mask(c + v * VEC, mask, sum[r][v]);
            } else {
                vec_store(c + v * VEC, sum[r][v]);
            }
        }
    }
}

typedef void tile_function(const struct gemm_tile *tile);

/* X(rows, vectors, partial) for every tile there is. */
#define EACH_SIX(X, vectors, partial)                                                              \
    X(1, vectors, partial)                                                                         \
    X(2, vectors, partial)                                                                         \
    X(3, vectors, partial)                                                                         \
    X(4, vectors, partial)                                                                         \
    X(5, vectors, partial)                                                                         \
    X(6, vectors, partial)
#ifdef OPS_ISA_avx512
#define EACH_ROW(X, vectors, partial)                                                              \
    EACH_SIX(X, vectors, partial)                                                                  \
    X(7, vectors, partial)                                                                         \
    X(8, vectors, partial)
#define EACH_TILE(X)                                                                               \
    EACH_ROW(X, 1, 0)                                                                              \
    EACH_ROW(X, 1, 1)                                                                              \
    EACH_ROW(X, 2, 0)                                                                              \
    EACH_ROW(X, 2, 1)                                                                              \
    EACH_ROW(X, 3, 0)                                                                              \
    EACH_ROW(X, 3, 1)                                                                              \
    EACH_SIX(X, 4, 0)                                                                              \
    EACH_SIX(X, 4, 1)
#else
#define EACH_TILE(X)                                                                               \
    EACH_SIX(X, 1, 0)                                                                              \
    EACH_SIX(X, 1, 1)                                                                              \
    EACH_SIX(X, 2, 0)                                                                              \
    EACH_SIX(X, 2, 1)
#endif

#define DEFINE(rows, vectors, partial)                                                             \
    static void tile_##rows##_##vectors##_##partial(const struct gemm_tile *tile)                  \
    {                                                                                              \
        run(tile, rows, vectors, partial);                                                         \
    }
EACH_TILE(DEFINE)

#define ENTRY(rows, vectors, partial)                                                              \
    [(vectors)-1][partial][(rows)-1] = tile_##rows##_##vectors##_##partial,
static tile_function *const tiles[GEMM_VECTORS_MAX][2][GEMM_ROWS_MAX] = {EACH_TILE(ENTRY)};

void OPS_FN(gemm_tile)(const struct gemm_tile *tile)
{
    int64_t vectors = (tile->columns + VEC - 1) / VEC;
    tiles[vectors - 1][tile->columns % VEC != 0][tile->rows - 1](tile);
}
