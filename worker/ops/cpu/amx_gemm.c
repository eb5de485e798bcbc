/* SPDX-License-Identifier: Apache-2.0
 *
 * amx_gemm: how a bf16 product is cut up.
 *
 * Matrix instructions are ten times as fast as fp32, so rounding and packing, one pass over memory
 * each, must happen once. A product goes in chunks whose packed operands fit scratch, all of K
 * where possible: in a first loop over the pool both operands of a chunk are packed, in a second
 * they are multiplied. A task of the second is some rows and columns of C; it takes K in steps so
 * short that one group of B's columns stays in the first-level cache while A streams from the
 * second, and C rests in the second between steps, which changes no bit.
 *
 * Rejected: each task packing its own piece, as gemm.c does; A would be packed again for each group
 * of columns, which at this speed costs as much as multiplying.
 */
#include "lib/check.h"
#include "worker/ops/cpu/amx.h"
#include "worker/ops/cpu/gemm_range.h"

enum {
    STEP_BLOCKS = 18,  /* of k: 36 KiB of B */
    CHUNK_BLOCKS = 64, /* of k: 2048 */
    A_TILES = 4096,    /* packed A: 4 MiB */
    B_TILES = 8192,    /* packed B: 8 MiB */
    TASK_ROW_GROUPS = 16,
    TASK_COLUMN_GROUPS = 8,
    TASKS_PER_THREAD = 4,
    PACK_GROUPS = 8, /* of a packing task */
};

/* One chunk: rows, columns and k of the product, and where its packed operands are. */
struct chunk {
    const struct gemm *g;
    struct range rows, columns, k;
    int64_t blocks;
    uint16_t *a, *b;          /* room for the packed operands */
    const uint16_t *b_tiles;  /* the first group's at the chunk's first k: in b, or kept panels */
    int64_t b_stride;         /* between groups */
    int64_t a_tasks, b_tasks; /* of packing; 0: it is packed already */
    int64_t row_tasks, column_tasks;
};

/* Part `index` of `parts` nearly equal ones. */
static struct range part(int64_t length, int64_t parts, int64_t index)
{
    return (struct range){length * index / parts, length * (index + 1) / parts};
}

static int64_t groups_of(struct range indices)
{
    return divide_up(indices.end - indices.begin, AMX_GROUP);
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Groups of one operand, whose index 0 is the chunk's first. */
static void pack_groups(const struct chunk *chunk, struct amx_pack pack, int64_t task)
{
    const int64_t index = task * PACK_GROUPS * AMX_GROUP;
    pack.K = chunk->k.end - chunk->k.begin;
    pack.src += index * pack.index_stride + chunk->k.begin * pack.k_stride;
    pack.dst += task * PACK_GROUPS * chunk->blocks * AMX_GROUP_NUMBERS;
    pack.indices = min64(PACK_GROUPS * AMX_GROUP, pack.indices - index);
    amx_pack(&pack);
}

static void pack_task(void *argument, size_t task, int thread)
{
    (void)thread;
    const struct chunk *chunk = argument;
    const struct gemm *g = chunk->g;
    if ((int64_t)task < chunk->a_tasks) {
        struct amx_pack pack = {.dst = chunk->a,
                                .src = g->a + chunk->rows.begin * g->a_row,
                                .index_stride = g->a_row,
                                .k_stride = g->a_k,
                                .indices = chunk->rows.end - chunk->rows.begin};
        pack_groups(chunk, pack, (int64_t)task);
    } else {
        struct amx_pack pack = {.dst = chunk->b,
                                .src = g->b + chunk->columns.begin * g->b_n,
                                .index_stride = g->b_n,
                                .k_stride = g->b_k,
                                .indices = chunk->columns.end - chunk->columns.begin,
                                .pairs = true};
        pack_groups(chunk, pack, (int64_t)task - chunk->a_tasks);
    }
}

/* ---- multiplying ----------------------------------------------------------------------------- */

/* Where the sums begin. ldstart 0: the same for all rows. */
static void sums_begin(const struct gemm *g, struct amx_tile *tile, int64_t column, bool first)
{
    tile->start = tile->c;
    tile->ldstart = tile->ldc;
    if (first && !g->accumulate) {
        tile->start = g->bias ? g->bias + column : NULL;
        tile->ldstart = 0;
    }
}

/* One group of columns over the task's groups of rows, for one step of k. */
static void multiply_column(const struct chunk *chunk, struct range row_groups,
                            int64_t column_group, struct range step)
{
    const struct gemm *g = chunk->g;
    const int64_t column = chunk->columns.begin + column_group * AMX_GROUP;
    const int64_t offset = step.begin * AMX_GROUP_NUMBERS;
    const int64_t stride = chunk->blocks * AMX_GROUP_NUMBERS;
    struct amx_tile tile = {.ldc = g->ldc,
                            .b = chunk->b_tiles + column_group * chunk->b_stride + offset,
                            .blocks = step.end - step.begin,
                            .columns = min64(AMX_GROUP, chunk->columns.end - column)};
    for (int64_t group = row_groups.begin; group < row_groups.end; group++) {
        const int64_t row = chunk->rows.begin + group * AMX_GROUP;
        tile.c = g->c + row * g->ldc + column;
        tile.a = chunk->a + group * stride + offset;
        tile.rows = min64(AMX_GROUP, chunk->rows.end - row);
        tile.fetch_c = group + 1 < row_groups.end ? tile.c + AMX_GROUP * g->ldc : NULL;
        sums_begin(g, &tile, column, chunk->k.begin == 0 && step.begin == 0);
        amx_tile(&tile);
    }
}

static void multiply_task(void *argument, size_t task, int thread)
{
    (void)thread;
    const struct chunk *chunk = argument;
    const struct range rows =
        part(groups_of(chunk->rows), chunk->row_tasks, (int64_t)task % chunk->row_tasks);
    const struct range columns =
        part(groups_of(chunk->columns), chunk->column_tasks, (int64_t)task / chunk->row_tasks);
    const int64_t steps = divide_up(chunk->blocks, STEP_BLOCKS);
    amx_begin();
    for (int64_t s = 0; s < steps; s++) {
        for (int64_t group = columns.begin; group < columns.end; group++) {
            multiply_column(chunk, rows, group, part(chunk->blocks, steps, s));
        }
    }
    amx_end();
}

/* Tasks whose piece of everything fits the second-level cache, and enough of them. */
static void plan_tasks(struct chunk *chunk, int threads)
{
    const int64_t row_groups = groups_of(chunk->rows), column_groups = groups_of(chunk->columns);
    const int64_t wanted = threads > 1 ? (int64_t)threads * TASKS_PER_THREAD : 1;
    chunk->row_tasks = divide_up(row_groups, TASK_ROW_GROUPS);
    chunk->column_tasks = divide_up(column_groups, TASK_COLUMN_GROUPS);
    if (chunk->row_tasks * chunk->column_tasks < wanted) {
        chunk->column_tasks = min64(divide_up(wanted, chunk->row_tasks), column_groups);
    }
    if (chunk->row_tasks * chunk->column_tasks < wanted) {
        chunk->row_tasks = min64(divide_up(wanted, chunk->column_tasks), row_groups);
    }
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static void multiply_chunk(struct pool *pool, struct chunk *chunk, bool pack_a, bool pack_b)
{
    chunk->a_tasks = pack_a ? divide_up(groups_of(chunk->rows), PACK_GROUPS) : 0;
    chunk->b_tasks =
        pack_b && !chunk->g->panels ? divide_up(groups_of(chunk->columns), PACK_GROUPS) : 0;
    plan_tasks(chunk, pool_threads(pool));
    if (chunk->a_tasks + chunk->b_tasks > 0) {
        pool_run(pool, (size_t)(chunk->a_tasks + chunk->b_tasks), pack_task, chunk);
    }
    pool_run(pool, (size_t)(chunk->row_tasks * chunk->column_tasks), multiply_task, chunk);
}

/* Kept panels hold all of K, of which the chunk's is a part. */
static void find_b(struct chunk *chunk)
{
    const struct gemm *g = chunk->g;
    chunk->b_tiles = chunk->b;
    chunk->b_stride = chunk->blocks * AMX_GROUP_NUMBERS;
    if (g->panels) {
        chunk->b_stride = divide_up(g->K, AMX_K) * AMX_GROUP_NUMBERS;
        chunk->b_tiles = (const uint16_t *)(const void *)g->panels +
                         chunk->columns.begin / AMX_GROUP * chunk->b_stride +
                         chunk->k.begin / AMX_K * AMX_GROUP_NUMBERS;
    }
}

/* All of C for one chunk of k: columns outside, so that B, the weights, is packed once. */
static void multiply_k(struct pool *pool, struct chunk *chunk)
{
    const struct gemm *g = chunk->g;
    const int64_t rows_max = A_TILES / 2 / chunk->blocks * AMX_GROUP;
    const int64_t columns_max = B_TILES / 2 / chunk->blocks * AMX_GROUP;
    for (int64_t n = 0; n < g->N; n += columns_max) {
        chunk->columns = (struct range){n, min64(n + columns_max, g->N)};
        find_b(chunk);
        for (int64_t i = 0; i < g->M; i += rows_max) {
            chunk->rows = (struct range){i, min64(i + rows_max, g->M)};
            multiply_chunk(pool, chunk, n == 0 || g->M > rows_max, i == 0);
        }
    }
}

size_t amx_scratch_bytes(void)
{
    return (A_TILES + B_TILES) * (size_t)AMX_NUMBERS * sizeof(uint16_t);
}

void amx_gemm(struct pool *pool, const struct gemm *gemm, void *scratch)
{
    struct chunk chunk = {.g = gemm, .a = scratch};
    chunk.b = chunk.a + (size_t)A_TILES * AMX_NUMBERS;
    const int64_t blocks = divide_up(gemm->K, AMX_K);
    const int64_t chunks = divide_up(blocks, CHUNK_BLOCKS);
    for (int64_t i = 0; i < chunks; i++) {
        const struct range in_blocks = part(blocks, chunks, i);
        chunk.k = (struct range){in_blocks.begin * AMX_K, min64(in_blocks.end * AMX_K, gemm->K)};
        chunk.blocks = in_blocks.end - in_blocks.begin;
        multiply_k(pool, &chunk);
    }
}

/* ---- inside a task --------------------------------------------------------------------------- */

/* All of C for the k from `begin`: B whole, then A, a group of rows after the other. */
static void direct_step(const struct gemm *g, int64_t begin, uint16_t *tiles)
{
    const int64_t K = min64(AMX_DIRECT_BLOCKS * AMX_K, g->K - begin), blocks = divide_up(K, AMX_K);
    const int64_t stride = blocks * AMX_GROUP_NUMBERS;
    uint16_t *b = tiles + AMX_DIRECT_BLOCKS * AMX_GROUP_NUMBERS;
    amx_pack(&(struct amx_pack){.dst = b,
                                .src = g->b + begin * g->b_k,
                                .index_stride = g->b_n,
                                .k_stride = g->b_k,
                                .indices = g->N,
                                .K = K,
                                .pairs = true});
    for (int64_t row = 0; row < g->M; row += AMX_GROUP) {
        struct amx_tile tile = {
            .ldc = g->ldc, .a = tiles, .blocks = blocks, .rows = min64(AMX_GROUP, g->M - row)};
        amx_pack(&(struct amx_pack){.dst = tiles,
                                    .src = g->a + row * g->a_row + begin * g->a_k,
                                    .index_stride = g->a_row,
                                    .k_stride = g->a_k,
                                    .indices = tile.rows,
                                    .K = K});
        for (int64_t column = 0; column < g->N; column += AMX_GROUP) {
            tile.c = g->c + row * g->ldc + column;
            tile.b = b + column / AMX_GROUP * stride;
            tile.columns = min64(AMX_GROUP, g->N - column);
            sums_begin(g, &tile, column, begin == 0);
            amx_tile(&tile);
        }
    }
}

void amx_direct(const struct gemm *gemm, uint16_t tiles[AMX_DIRECT_NUMBERS])
{
    CHECK(gemm->N <= AMX_DIRECT_COLUMNS && gemm->K > 0);
    amx_begin();
    for (int64_t k = 0; k < gemm->K; k += AMX_DIRECT_BLOCKS * AMX_K) {
        direct_step(gemm, k, tiles);
    }
    amx_end();
}

/* ---- kept weights ---------------------------------------------------------------------------- */

size_t amx_panels_bytes(int64_t N, int64_t K)
{
    return (size_t)(divide_up(N, AMX_GROUP) * divide_up(K, AMX_K)) * AMX_GROUP_NUMBERS *
           sizeof(uint16_t);
}

void amx_panels_pack(struct pool *pool, void *panels, const struct gemm *gemm)
{
    struct chunk chunk = {.g = gemm,
                          .columns = {0, gemm->N},
                          .k = {0, gemm->K},
                          .blocks = divide_up(gemm->K, AMX_K),
                          .b = panels};
    pool_run(pool, (size_t)divide_up(groups_of(chunk.columns), PACK_GROUPS), pack_task, &chunk);
}
