/* SPDX-License-Identifier: Apache-2.0
 *
 * amx_tile: the innermost product, 32 x 32 of C in four of the eight tile registers.
 *
 * Two tiles of A and two of B are loaded for four products, 64 cycles of the matrix unit; a load
 * takes 8, so B from the first-level cache and A from the second keep up. The four sums are
 * independent, which hides a product's latency of 52 cycles. With 8 registers no other shape does
 * with fewer loads. At an edge of C the tiles are computed whole beside it and what exists of them
 * is copied: the bits of an element cannot depend on where it lies.
 */
#include <string.h>

#include "worker/ops/cpu/amx.h"
#include "worker/ops/cpu/gemm_vec.h"

enum { STRIDE = 64 /* bytes between the rows of a packed tile */, LINES_A_ROW = 3 };

/* Eight tiles of 16 rows of 64 bytes. Constant, since compilers think that the instruction reads
 * the first eight bytes alone, and leave out writing the others. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config = {.palette = 1,
                 .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                 .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

void amx_begin(void)
{
    _tile_loadconfig(&tile_config);
}

void amx_end(void)
{
    _tile_release();
}

/* Tile registers: 0 … 3 are C's upper left, upper right, lower left, lower right; 4 and 5 A's, 6
 * and 7 B's. The intrinsics want them as literals. */
GEMM_INLINE void run(const struct amx_tile *tile, bool two_rows, bool two_columns)
{
    const size_t start_stride = (size_t)tile->ldstart * sizeof(float);
    const float *start = tile->start;
    if (start) {
        _tile_loadd(0, start, start_stride);
        if (two_columns) {
            _tile_loadd(1, start + AMX_INDICES, start_stride);
        }
        if (two_rows) {
            _tile_loadd(2, start + AMX_INDICES * tile->ldstart, start_stride);
        }
        if (two_rows && two_columns) {
            _tile_loadd(3, start + AMX_INDICES * tile->ldstart + AMX_INDICES, start_stride);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    const uint16_t *a = tile->a, *b = tile->b;
    const int64_t fetch_rows = (AMX_GROUP + tile->blocks - 1) / tile->blocks;
    const float *fetch = tile->fetch_c;
    for (int64_t k = 0; k < tile->blocks; k++) {
        _tile_loadd(6, b, STRIDE);
        _tile_loadd(4, a, STRIDE);
        _tile_dpbf16ps(0, 4, 6);
        if (two_columns) {
            _tile_loadd(7, b + AMX_NUMBERS, STRIDE);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_rows) {
            _tile_loadd(5, a + AMX_NUMBERS, STRIDE);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (two_rows && two_columns) {
            _tile_dpbf16ps(3, 5, 7);
        }
        for (int64_t r = 0; fetch && r < fetch_rows; r++) {
            UNROLL
            for (int line = 0; line < LINES_A_ROW; line++) {
                _mm_prefetch((const char *)(fetch + line * LINE_FLOATS), _MM_HINT_T1);
            }
            fetch += tile->ldc;
        }
        a += AMX_GROUP_NUMBERS;
        b += AMX_GROUP_NUMBERS;
    }
    const size_t c_stride = (size_t)tile->ldc * sizeof(float);
    float *c = tile->c;
    _tile_stored(0, c, c_stride);
    if (two_columns) {
        _tile_stored(1, c + AMX_INDICES, c_stride);
    }
    if (two_rows) {
        _tile_stored(2, c + AMX_INDICES * tile->ldc, c_stride);
    }
    if (two_rows && two_columns) {
        _tile_stored(3, c + AMX_INDICES * tile->ldc + AMX_INDICES, c_stride);
    }
}

/* The numbers that exist of 32 x 32. */
static void copy(float *dst, int64_t lddst, const float *src, int64_t ldsrc, int64_t rows,
                 int64_t columns)
{
    for (int64_t i = 0; i < rows; i++) {
        memcpy(dst + i * lddst, src + i * ldsrc, (size_t)columns * sizeof(float));
    }
}

static void run_any(const struct amx_tile *tile, bool two_rows, bool two_columns)
{
    if (two_rows && two_columns) {
        run(tile, true, true);
    } else if (two_rows) {
        run(tile, true, false);
    } else if (two_columns) {
        run(tile, false, true);
    } else {
        run(tile, false, false);
    }
}

void amx_tile(const struct amx_tile *tile)
{
    const bool two_rows = tile->rows > AMX_INDICES, two_columns = tile->columns > AMX_INDICES;
    const bool whole = tile->rows % AMX_INDICES == 0 && tile->columns % AMX_INDICES == 0;
    if (whole) {
        run_any(tile, two_rows, two_columns);
        return;
    }
    _Alignas(64) float beside[AMX_GROUP * AMX_GROUP] = {0};
    struct amx_tile edge = *tile;
    edge.c = beside;
    edge.ldc = AMX_GROUP;
    edge.fetch_c = NULL;
    if (tile->start) {
        copy(beside, AMX_GROUP, tile->start, tile->ldstart, tile->rows, tile->columns);
        edge.start = beside;
        edge.ldstart = AMX_GROUP;
    }
    run_any(&edge, two_rows, two_columns);
    copy(tile->c, tile->ldc, beside, AMX_GROUP, tile->rows, tile->columns);
}
