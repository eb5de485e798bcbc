/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm: how a product is cut up, and who computes which piece.
 *
 * From the inside out: a tile of C lives in registers (gemm_kernel.h). A panel of B, one tile wide
 * and K_STEP long, is walked from the second-level cache by all tiles of a block of A, BLOCK_ROWS x
 * K_STEP, that stays there too. A task is such a block of rows and a range of panels, over all of
 * K: it starts each chain, stores it to C as it is after every K_STEP and loads it again, which
 * changes no bit. So tasks write disjoint parts of C and no sum ever crosses threads.
 *
 * B is packed, A is read where it lies (broadcasts do not care) unless its k runs the slow way. How
 * B comes to the tiles depends on what is small:
 *   SHARED  many rows: all threads pack a chunk of B together, then all use it
 *   LOCAL   few rows: each task packs its own panels just before use, when they are in its cache
 *           anyway; one parallel loop instead of two, and nothing is written to memory
 *   DIRECT  very few rows and B's rows are contiguous: no packing at all
 * With very few rows and B's columns contiguous (a forward pass of one short text) the transposed
 * product is computed, Cᵀ = Bᵀ Aᵀ: then the weights are the operand that is read in place, once,
 * and only the small activations are packed. The same serves gradients of narrow factors (LoRA).
 *
 * Rejected: splitting K over threads, for it breaks the contract of ops.h; packing A always (BLIS),
 * measured no faster than broadcasts from eight rows in place and costly for narrow products;
 * a cache of packed weights, which an optimizer step would invalidate: packing is 1 % at 1024 rows.
 */
#include "worker/ops/cpu/gemm.h"

#include "lib/check.h"
#include "worker/ops/cpu/gemm_kernel.h"

enum {
    K_STEP = 384,    /* a panel of B is at most 96 KiB, the block of A 144 KiB */
    BLOCK_ROWS = 96, /* a multiple of both tile heights */
    FEW_ROWS = 48,   /* up to here rather transpose or read B in place than pack it */
    CHUNK_COLUMNS = 3072,
    CHUNK_FLOATS = 2 << 20, /* packed B that all threads share: 8 MiB */
    TASK_COLUMNS = 1024,
    TASKS_PER_THREAD = 8,
    SERIAL_PACK = 32768, /* a smaller B is packed before threads would be awake */
};

enum b_source { B_SHARED, B_LOCAL, B_DIRECT };

struct range {
    int64_t begin, end;
};

struct job {
    struct gemm g;
    bool transposed; /* g is the mirror image: C(i, n) = c[n·ldc + i], the bias belongs to rows */
    bool pack_a;
    enum b_source b_source;
    int64_t tile_rows, tile_columns, panels;
    int64_t k_step;
    /* the chunk of B that is being worked on */
    struct range chunk_panels, chunk_k;
    float *shared;
    /* its tasks */
    int64_t row_tasks, panel_tasks;
    float *thread_scratch;
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Part `index` of `parts` nearly equal ones. */
static struct range part(struct range whole, int64_t parts, int64_t index)
{
    int64_t length = whole.end - whole.begin;
    return (struct range){whole.begin + length * index / parts,
                          whole.begin + length * (index + 1) / parts};
}

/* Bytes that one thread needs: its block of A, its panel of B. */
enum {
    THREAD_A_FLOATS = BLOCK_ROWS * K_STEP,
    THREAD_FLOATS = THREAD_A_FLOATS + K_STEP * GEMM_COLUMNS_MAX,
};

/* ---- panels ---------------------------------------------------------------------------------- */

/* A last panel of one register would leave the FMA units half idle: it takes one register from its
 * neighbour instead (3 + 1 becomes 2 + 2). */
static int64_t panel_begin(const struct job *job, int64_t panel)
{
    int64_t begin = panel * job->tile_columns;
    bool narrow = job->g.N - begin <= VEC && job->tile_columns == 3 * VEC;
    return panel > 0 && narrow ? begin - VEC : begin;
}

static int64_t panel_end(const struct job *job, int64_t panel)
{
    return panel == job->panels - 1 ? job->g.N : panel_begin(job, panel + 1);
}

static void pack_panel(const struct job *job, float *dst, int64_t panel, struct range k)
{
    const struct gemm *g = &job->g;
    int64_t begin = panel_begin(job, panel);
    OPS_FN(gemm_pack)
    (&(struct gemm_pack){
        .dst = dst,
        .lddst = job->tile_columns,
        .src = g->b + begin * g->b_n + k.begin * g->b_k,
        .outer_stride = g->b_k,
        .inner_stride = g->b_n,
        .outer = k.end - k.begin,
        .inner = panel_end(job, panel) - begin,
        .width = job->tile_columns,
        .bf16 = g->bf16,
    });
}

static float *shared_panel(const struct job *job, int64_t panel, int64_t k)
{
    int64_t chunk_length = job->chunk_k.end - job->chunk_k.begin;
    return job->shared +
           ((panel - job->chunk_panels.begin) * chunk_length + k - job->chunk_k.begin) *
               job->tile_columns;
}

/* Packs one panel, K_STEP of it. */
static void pack_task(void *argument, size_t index, int thread)
{
    (void)thread;
    const struct job *job = argument;
    int64_t panels = job->chunk_panels.end - job->chunk_panels.begin;
    int64_t panel = job->chunk_panels.begin + (int64_t)index % panels;
    int64_t begin = job->chunk_k.begin + (int64_t)index / panels * job->k_step;
    struct range k = {begin, min64(begin + job->k_step, job->chunk_k.end)};
    pack_panel(job, shared_panel(job, panel, begin), panel, k);
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Where the tile's chains begin: C, the bias or zeros. Sets start and ldstart (0: one row for all).
 */
static void chains_begin(const struct job *job, struct gemm_tile *tile, const float *bias,
                         bool first)
{
    static const float zeros[GEMM_COLUMNS_MAX];
    if (first && !job->g.accumulate) {
        tile->start = bias ? bias : zeros;
        tile->ldstart = 0;
    } else {
        tile->start = tile->c;
        tile->ldstart = tile->ldc;
    }
}

/* A tile of a transposed product is computed beside C and turned into its place. */
static void transposed_tile(const struct job *job, struct gemm_tile *tile, int64_t row, bool first)
{
    _Alignas(64) float turned[GEMM_ROWS_MAX * GEMM_COLUMNS_MAX];
    float *c = tile->c;
    const float *bias = job->g.bias ? job->g.bias + row : NULL;
    chains_begin(job, tile, bias, first);
    if (tile->start == c || tile->start == bias) {
        OPS_FN(gemm_pack)
        (&(struct gemm_pack){
            .dst = turned,
            .lddst = GEMM_COLUMNS_MAX,
            .src = tile->start,
            .outer_stride = 1,
            .inner_stride = tile->ldstart,
            .outer = tile->rows,
            .inner = tile->columns,
            .width = tile->columns,
        });
        tile->start = turned;
        tile->ldstart = GEMM_COLUMNS_MAX;
    }
    tile->c = turned;
    tile->ldc = GEMM_COLUMNS_MAX;
    OPS_FN(gemm_tile)(tile);
    OPS_FN(gemm_pack)
    (&(struct gemm_pack){
        .dst = c,
        .lddst = job->g.ldc,
        .src = turned,
        .outer_stride = 1,
        .inner_stride = GEMM_COLUMNS_MAX,
        .outer = tile->columns,
        .inner = tile->rows,
        .width = tile->rows,
    });
}

/* One panel: the tiles of `rows` below one another. tile has a and b; K is set. */
static void panel_tiles(const struct job *job, struct gemm_tile tile, int64_t panel,
                        struct range rows, bool first)
{
    const struct gemm *g = &job->g;
    const int64_t column = panel_begin(job, panel);
    const float *a = tile.a;
    tile.columns = panel_end(job, panel) - column;
    for (int64_t row = rows.begin; row < rows.end; row += job->tile_rows) {
        tile.rows = min64(job->tile_rows, rows.end - row);
        tile.a = a + (row - rows.begin) * tile.a_row;
        tile.ldc = g->ldc;
        if (job->transposed) {
            tile.c = g->c + column * g->ldc + row;
            transposed_tile(job, &tile, row, first);
        } else {
            tile.c = g->c + row * g->ldc + column;
            chains_begin(job, &tile, g->bias ? g->bias + column : NULL, first);
            OPS_FN(gemm_tile)(&tile);
        }
    }
}

/* A block of rows times a range of panels over k, by one thread. */
static void block(const struct job *job, struct range rows, struct range panels, struct range k,
                  float *scratch)
{
    const struct gemm *g = &job->g;
    float *packed_a = scratch, *packed_b = scratch + THREAD_A_FLOATS;
    struct gemm_tile tile = {.a_row = g->a_row, .a_k = g->a_k};
    int64_t at = k.begin;
    do {
        struct range step = {at, min64(at + job->k_step, k.end)};
        tile.K = step.end - step.begin;
        tile.a = g->a + rows.begin * g->a_row + step.begin * g->a_k;
        if (job->pack_a) {
            OPS_FN(gemm_pack)
            (&(struct gemm_pack){
                .dst = packed_a,
                .lddst = tile.K,
                .src = tile.a,
                .outer_stride = g->a_row,
                .inner_stride = g->a_k,
                .outer = rows.end - rows.begin,
                .inner = tile.K,
                .width = tile.K,
                .bf16 = g->bf16,
            });
            tile.a = packed_a;
            tile.a_row = tile.K;
            tile.a_k = 1;
        }
        for (int64_t panel = panels.begin; panel < panels.end; panel++) {
            tile.b_k = job->tile_columns;
            if (job->b_source == B_SHARED) {
                tile.b = shared_panel(job, panel, step.begin);
            } else if (job->b_source == B_LOCAL) {
                pack_panel(job, packed_b, panel, step);
                tile.b = packed_b;
            } else {
                tile.b = g->b + panel_begin(job, panel) + step.begin * g->b_k;
                tile.b_k = g->b_k;
            }
            panel_tiles(job, tile, panel, rows, step.begin == 0);
        }
        at = step.end;
    } while (at < k.end);
}

static void block_task(void *argument, size_t index, int thread)
{
    const struct job *job = argument;
    const int64_t tiles = divide_up(job->g.M, job->tile_rows);
    struct range rows =
        part((struct range){0, tiles}, job->row_tasks, (int64_t)index % job->row_tasks);
    struct range panels =
        part(job->chunk_panels, job->panel_tasks, (int64_t)index / job->row_tasks);
    rows.begin *= job->tile_rows;
    rows.end = min64(rows.end * job->tile_rows, job->g.M);
    block(job, rows, panels, job->chunk_k, job->thread_scratch + (int64_t)thread * THREAD_FLOATS);
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* The transposed problem: M and N, A and B change places. */
static struct gemm turned(const struct gemm *g)
{
    struct gemm t = *g;
    t.a = g->b;
    t.a_row = g->b_n;
    t.a_k = g->b_k;
    t.b = g->a;
    t.b_k = g->a_k;
    t.b_n = g->a_row;
    t.M = g->N;
    t.N = g->M;
    return t;
}

static struct job plan(const struct gemm *g)
{
    struct job job = {.g = *g};
    /* few rows against columns of B that lie along k, or the mirror image of that */
    bool few_rows = g->M <= FEW_ROWS && g->M < g->N && g->b_k == 1 && g->b_n != 1;
    bool few_columns = g->N <= FEW_ROWS && g->N < g->M && g->a_row == 1 && g->a_k != 1;
    if (few_rows || few_columns) {
        job.g = turned(g);
        job.transposed = true;
    }
    int vectors = gemm_vectors(job.g.N);
    job.tile_rows = gemm_rows(vectors);
    job.tile_columns = vectors * VEC;
    job.panels = divide_up(job.g.N, job.tile_columns);
    job.pack_a = job.g.a_k != 1 || g->bf16;
    int64_t steps = divide_up(g->K, K_STEP);
    job.k_step = steps > 0 ? divide_up(divide_up(g->K, steps), VEC) * VEC : VEC;
    if (job.g.M <= FEW_ROWS && job.g.b_n == 1 && !g->bf16) {
        job.b_source = B_DIRECT;
    } else if (job.g.M <= BLOCK_ROWS) {
        job.b_source = B_LOCAL;
    }
    return job;
}

/* Enough tasks that the last one to finish is not waited for long. */
static void plan_tasks(struct job *job, int threads)
{
    const int64_t panels = job->chunk_panels.end - job->chunk_panels.begin;
    const int64_t tiles = divide_up(job->g.M, job->tile_rows);
    const int64_t wanted = threads > 1 ? (int64_t)threads * TASKS_PER_THREAD : 1;
    job->row_tasks = divide_up(tiles, BLOCK_ROWS / job->tile_rows);
    job->panel_tasks = divide_up(panels * job->tile_columns, TASK_COLUMNS);
    if (job->row_tasks * job->panel_tasks < wanted) {
        job->panel_tasks = min64(panels, divide_up(wanted, job->row_tasks));
    }
    if (job->b_source == B_SHARED && job->row_tasks * job->panel_tasks < wanted) {
        job->row_tasks = min64(tiles, divide_up(wanted, job->panel_tasks));
    }
}

static void pack_chunk(struct job *job, struct pool *pool)
{
    int64_t panels = job->chunk_panels.end - job->chunk_panels.begin;
    int64_t k = job->chunk_k.end - job->chunk_k.begin;
    size_t tasks = (size_t)(panels * divide_up(k, job->k_step));
    if (panels * job->tile_columns * k <= SERIAL_PACK) {
        for (size_t i = 0; i < tasks; i++) {
            pack_task(job, i, 0);
        }
    } else {
        pool_run(pool, tasks, pack_task, job);
    }
}

size_t OPS_FN(gemm_scratch_bytes)(int threads)
{
    return (CHUNK_FLOATS + (size_t)threads * THREAD_FLOATS) * sizeof(float);
}

void OPS_FN(gemm)(struct pool *pool, const struct gemm *gemm, void *scratch)
{
    CHECK(gemm->M >= 0 && gemm->N >= 0 && gemm->K >= 0 && !(gemm->bias && gemm->accumulate));
    if (gemm->M == 0 || gemm->N == 0 || (gemm->K == 0 && gemm->accumulate)) {
        return;
    }
    struct job job = plan(gemm);
    job.shared = scratch;
    job.thread_scratch = (float *)scratch + CHUNK_FLOATS;
    int64_t panel_step = job.panels, k_chunk = gemm->K;
    if (job.b_source == B_SHARED) {
        panel_step = min64(job.panels, CHUNK_COLUMNS / job.tile_columns);
        int64_t k_max = CHUNK_FLOATS / (panel_step * job.tile_columns) / job.k_step * job.k_step;
        k_chunk = min64(gemm->K, k_max);
    }
    for (int64_t panel = 0; panel < job.panels; panel += panel_step) {
        job.chunk_panels = (struct range){panel, min64(panel + panel_step, job.panels)};
        plan_tasks(&job, pool_threads(pool));
        int64_t k = 0;
        do {
            job.chunk_k = (struct range){k, min64(k + k_chunk, gemm->K)};
            if (job.b_source == B_SHARED) {
                pack_chunk(&job, pool);
            }
            pool_run(pool, (size_t)(job.row_tasks * job.panel_tasks), block_task, &job);
            k = job.chunk_k.end;
        } while (k < gemm->K);
    }
}

size_t OPS_FN(gemm_block_scratch)(int64_t M_max, int64_t N_max, int64_t K_max)
{
    (void)M_max;
    (void)N_max;
    (void)K_max;
    return THREAD_FLOATS * sizeof(float);
}

void OPS_FN(gemm_block)(float *c, int64_t ldc, const float *a, int64_t a_row, int64_t a_k,
                        const float *b, int64_t b_k, int64_t b_n, int64_t M, int64_t N, int64_t K,
                        bool accumulate, float *scratch)
{
    if (M == 0 || N == 0 || (K == 0 && accumulate)) {
        return;
    }
    struct job job = plan(&(struct gemm){
        .c = c,
        .ldc = ldc,
        .a = a,
        .a_row = a_row,
        .a_k = a_k,
        .b = b,
        .b_k = b_k,
        .b_n = b_n,
        .M = M,
        .N = N,
        .K = K,
        .accumulate = accumulate,
    });
    if (job.b_source == B_SHARED) {
        job.b_source = B_LOCAL;
    }
    for (int64_t row = 0; row < job.g.M; row += BLOCK_ROWS) {
        block(&job, (struct range){row, min64(row + BLOCK_ROWS, job.g.M)},
              (struct range){0, job.panels}, (struct range){0, K}, scratch);
    }
}
