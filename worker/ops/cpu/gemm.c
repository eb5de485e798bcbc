/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm: how a product is cut up, and who computes which piece.
 *
 * A tile of C lives in registers (gemm_kernel.h). A task is a range of rows and a group of panels
 * (a panel is one tile wide), over all of K in steps. For each step it packs its part of B, sized
 * to fill half of a second-level cache, and passes over it with one row of tiles after another: the
 * tile's piece of A stays in the first level, B comes from the second, and what comes from further
 * away (C, the next piece of A) is fetched ahead. Between steps the unfinished chains rest in C,
 * which changes no bit. Tasks write disjoint parts of C, and no sum ever crosses threads.
 *
 * A is read where it lies, for broadcasts do not care, unless its k runs the slow way or it has to
 * be rounded. B is not packed either when few rows would use it and its rows are contiguous. If its
 * columns are (a forward pass over one short text), the mirror image Cᵀ = Bᵀ·Aᵀ is computed: then
 * the weights are what is read in place, once, and the few activations are packed. The same serves
 * the gradients of narrow factors (LoRA). In between, up to SLAB_ROWS rows, each panel is used up
 * before the next is packed, and that one is fetched meanwhile.
 *
 * Rejected: splitting K over threads, which breaks the contract of ops.h; packing B once for all
 * threads, with a barrier for each chunk: B then comes from the last level, measured 5 to 10 %
 * slower; always packing A, no faster than broadcasts from eight rows in place and costly for
 * narrow products.
 *
 * A B that was packed whole before (gemm_panels_pack) lies as the tiles read it, so the steps of a
 * group are read where they are. The first row of tiles of a group brings it into the second level,
 * each panel fetched during the one before it. Two to six rows of tiles do not make up for that:
 * they still read B as it lies.
 */
#include "worker/ops/cpu/gemm.h"

#include "lib/check.h"
#include "worker/ops/cpu/gemm_kernel.h"
#include "worker/ops/cpu/gemm_range.h"
#include "worker/ops/cpu/gemm_tail.h"
#ifdef OPS_ISA_amx
#include "worker/ops/cpu/amx.h"
#endif

/* Packed B of a task: about half of the second-level caches that come with the instruction set. */
#ifdef OPS_ISA_avx512
enum { GROUP_FLOATS = 160 * 1024 };
#else
enum { GROUP_FLOATS = 64 * 1024 };
#endif

enum {
    K_STEP = 256,     /* short, so that groups are wide: each is another pass over A */
    SLAB_ROWS = 96,   /* packed A: 96 KiB; a multiple of the tile heights */
    FEW_ROWS = 48,    /* up to here rather read B in place than pack it */
    TASK_ROWS = 1024, /* more would save no packing worth mentioning */
    TASK_ROWS_MIN = 96,
    GROUP_PANELS_MIN = 3,
    TASKS_PER_THREAD = 4,
    TAIL_DEPTH_MAX = 128, /* deeper ones are as fast as products of their own */
    THREAD_FLOATS = GROUP_FLOATS + SLAB_ROWS * K_STEP,
};

struct job {
    struct gemm g;
    bool transposed; /* g is the mirror image: C(i, n) = c[n·ldc + i], the bias belongs to rows */
    bool pack_a, pack_b;
    bool by_panel; /* one panel after the other, not all of a group together */
    int64_t tile_rows, tile_columns, panels;
    int64_t k_step, group_panels_max;
    int64_t row_tasks, group_tasks;
    float *scratch; /* THREAD_FLOATS for each thread */
};

/* Rows of memory, as long as a step of k, that are fetched while tiles are computed. */
struct ahead {
    const float *at;
    int64_t ld, rows;
    bool next_panel; /* instead: of B's panels always the next */
};

/* The operands of one step of k, as tiles see them. */
struct step {
    struct range k;
    int64_t a_row;
    const float *b; /* the first panel of the group */
    int64_t b_k, b_panel;
    const float *tail;  /* in the last step, the tails of these rows: panels of tail_depth rows */
    struct ahead ahead; /* instead of A: what will be packed of B next */
};

/* Part `index` of `parts` nearly equal ones. */
static struct range part(int64_t length, int64_t parts, int64_t index)
{
    return (struct range){length * index / parts, length * (index + 1) / parts};
}

/* ---- packing --------------------------------------------------------------------------------- */

/* B's columns [begin, end) as panels. */
static void pack_group(const struct job *job, struct range columns, struct step *step,
                       float *packed)
{
    const struct gemm *g = &job->g;
    const int64_t K = step->k.end - step->k.begin;
    OPS_FN(gemm_pack)
    (&(struct gemm_pack){
        .dst = packed,
        .lddst = job->tile_columns,
        .dst_panel = job->tile_columns * K,
        .src = g->b + columns.begin * g->b_n + step->k.begin * g->b_k,
        .outer_stride = g->b_k,
        .inner_stride = g->b_n,
        .outer = K,
        .inner = columns.end - columns.begin,
        .width = job->tile_columns,
        .bf16 = g->bf16,
    });
    step->b = packed;
    step->b_k = job->tile_columns;
    step->b_panel = job->tile_columns * K;
}

/* Rows of A with k running fast. */
static void pack_slab(const struct job *job, struct range rows, struct range k, float *packed)
{
    const struct gemm *g = &job->g;
    const int64_t K = k.end - k.begin;
    OPS_FN(gemm_pack)
    (&(struct gemm_pack){
        .dst = packed,
        .lddst = K,
        .src = g->a + rows.begin * g->a_row + k.begin * g->a_k,
        .outer_stride = g->a_row,
        .inner_stride = g->a_k,
        .outer = rows.end - rows.begin,
        .inner = K,
        .width = K,
        .bf16 = g->bf16,
    });
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Where the tile's chains begin: C, the bias or zeros. ldstart 0: the same for all rows. */
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
    OPS_FN(gemm_transpose)(c, job->g.ldc, turned, GEMM_COLUMNS_MAX, tile->rows, tile->columns);
}

/* One row of tiles through the group's columns, with each panel a part of what is to be fetched, or
 * the panel that follows if this row is the first to read them. */
static void tile_row(const struct job *job, const struct step *step, const float *a,
                     struct range rows, struct range columns, struct ahead ahead)
{
    const struct gemm *g = &job->g;
    const bool first = step->k.begin == 0;
    const int64_t panels = divide_up(columns.end - columns.begin, job->tile_columns);
    const int64_t fetch_rows = divide_up(ahead.rows, panels);
    struct gemm_tile tile = {.a = a,
                             .a_row = step->a_row,
                             .a_k = 1,
                             .b_k = step->b_k,
                             .K = step->k.end - step->k.begin,
                             .rows = rows.end - rows.begin,
                             .fetch = ahead.at,
                             .fetch_ld = ahead.ld};
    for (int64_t panel = 0; panel < panels; panel++) {
        const int64_t column = columns.begin + panel * job->tile_columns;
        tile.columns = min64(job->tile_columns, columns.end - column);
        tile.b = step->b + panel * step->b_panel;
        tile.ldc = g->ldc;
        tile.fetch_rows = min64(fetch_rows, ahead.rows);
        if (ahead.next_panel) { /* as many floats as a step of k has, tile_columns times */
            tile.fetch = tile.b + step->b_panel;
            tile.fetch_ld = tile.K;
            tile.fetch_rows = panel + 1 < panels ? job->tile_columns : 0;
        }
        if (job->transposed) {
            tile.c = g->c + column * g->ldc + rows.begin;
            transposed_tile(job, &tile, rows.begin, first);
        } else {
            tile.c = g->c + rows.begin * g->ldc + column;
            tile.fetch_c = panel + 1 < panels ? tile.c + tile.columns : NULL;
            chains_begin(job, &tile, g->bias ? g->bias + column : NULL, first);
            OPS_FN(gemm_tile)(&tile);
            if (step->tail) {
                const float *tail = step->tail + panel * g->tail_depth * job->tile_columns;
                OPS_FN(gemm_tails_tile)
                (g, job->tile_columns, tail, rows, (struct range){column, column + tile.columns});
            }
        }
        tile.fetch += tile.fetch_rows * ahead.ld;
        ahead.rows -= tile.fetch_rows;
    }
}

/* Rows of A, of which `a` is the first, through the group's columns. */
static void tile_rows(const struct job *job, const struct step *step, const float *a,
                      struct range rows, struct range columns)
{
    const int64_t tiles = divide_up(rows.end - rows.begin, job->tile_rows);
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t row = rows.begin + t * job->tile_rows;
        const struct range tile = {row, min64(row + job->tile_rows, rows.end)};
        struct ahead ahead = step->ahead;
        if (ahead.rows > 0) {
            struct range fetched = part(ahead.rows, tiles, t);
            ahead.at += fetched.begin * ahead.ld;
            ahead.rows = fetched.end - fetched.begin;
        } else if (job->g.panels && t == 0) {
            ahead.next_panel = true;
        } else if (!job->pack_a) {
            ahead.at = a + job->tile_rows * step->a_row;
            ahead.ld = step->a_row;
            ahead.rows = min64(job->tile_rows, rows.end - tile.end);
        }
        tile_row(job, step, a, tile, columns, ahead);
        a += job->tile_rows * step->a_row;
    }
}

/* ---- tasks ----------------------------------------------------------------------------------- */

/* What follows this step in B, in this group or the next, if it is as long as a step. */
static struct ahead next_of_b(const struct job *job, struct range k, struct range columns)
{
    const struct gemm *g = &job->g;
    struct ahead ahead = {.ld = g->b_n};
    if (k.end + job->k_step <= g->K) {
        ahead.at = g->b + columns.begin * g->b_n + k.end;
        ahead.rows = columns.end - columns.begin;
    } else if (k.end == g->K) {
        ahead.at = g->b + columns.end * g->b_n;
        ahead.rows = min64(job->tile_columns, g->N - columns.end);
    }
    return ahead;
}

/* Rows of A through a step of k; through the last in pieces that have the same tails. */
static void tile_pieces(const struct job *job, struct step *step, const float *a, struct range rows,
                        struct range columns, float *tails)
{
    const struct gemm *g = &job->g;
    if (g->tail_count == 0 || step->k.end < g->K) {
        tile_rows(job, step, a, rows, columns);
        return;
    }
    step->tail = tails;
    for (struct range piece = {rows.begin, rows.begin}; piece.end < rows.end;) {
        piece = (struct range){piece.end, OPS_FN(gemm_tails_border)(g, piece.end, rows.end)};
        OPS_FN(gemm_tails_pack)(g, job->tile_columns, piece, columns, tails);
        tile_rows(job, step, a + (piece.begin - rows.begin) * step->a_row, piece, columns);
    }
}

/* Rows times a group of columns, all of K, by one thread. */
static void multiply(const struct job *job, struct range rows, struct range columns, float *scratch)
{
    const struct gemm *g = &job->g;
    float *packed_a = scratch + GROUP_FLOATS;
    float *tails = scratch + job->k_step * job->tile_columns *
                                 divide_up(columns.end - columns.begin, job->tile_columns);
    struct range k = {0, min64(job->k_step, g->K)};
    do {
        struct step step = {.k = k,
                            .a_row = g->a_row,
                            .b = g->b + columns.begin + k.begin * g->b_k,
                            .b_k = g->b_k,
                            .b_panel = job->tile_columns};
        if (g->panels) {
            step.b = g->panels + columns.begin * g->K + k.begin * job->tile_columns;
            step.b_k = job->tile_columns;
            step.b_panel = job->tile_columns * g->K;
        } else if (job->pack_b) {
            pack_group(job, columns, &step, scratch);
        }
        if (job->by_panel) {
            step.ahead = next_of_b(job, k, columns);
        }
        if (!job->pack_a) {
            tile_pieces(job, &step, g->a + rows.begin * g->a_row + k.begin, rows, columns, tails);
        } else {
            step.a_row = k.end - k.begin;
            for (int64_t row = rows.begin; row < rows.end; row += SLAB_ROWS) {
                const struct range slab = {row, min64(row + SLAB_ROWS, rows.end)};
                pack_slab(job, slab, k, packed_a);
                tile_pieces(job, &step, packed_a, slab, columns, tails);
            }
        }
        k = (struct range){k.end, min64(k.end + job->k_step, g->K)};
    } while (k.begin < g->K);
}

/* With few rows a panel is used up before the next is packed, while that one is being fetched. */
static void multiply_group(const struct job *job, struct range rows, struct range columns,
                           float *scratch)
{
    const int64_t width = job->by_panel ? job->tile_columns : columns.end - columns.begin;
    for (int64_t column = columns.begin; column < columns.end; column += width) {
        multiply(job, rows, (struct range){column, min64(column + width, columns.end)}, scratch);
    }
}

/* The columns of one of `groups` groups of whole panels. */
static struct range group_columns(const struct job *job, int64_t groups, int64_t group)
{
    struct range panels = part(job->panels, groups, group);
    return (struct range){panels.begin * job->tile_columns,
                          min64(panels.end * job->tile_columns, job->g.N)};
}

static void multiply_task(void *argument, size_t index, int thread)
{
    const struct job *job = argument;
    const int64_t tiles = divide_up(job->g.M, job->tile_rows);
    struct range rows = part(tiles, job->row_tasks, (int64_t)index % job->row_tasks);
    rows.begin *= job->tile_rows;
    rows.end = min64(rows.end * job->tile_rows, job->g.M);
    multiply_group(job, rows, group_columns(job, job->group_tasks, (int64_t)index / job->row_tasks),
                   job->scratch + (int64_t)thread * THREAD_FLOATS);
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* The transposed problem: M and N, A and B change places. */
static struct gemm mirror(const struct gemm *g)
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
    /* where the panels are not the best that can be read, they are left alone */
    const bool packed =
        g->panels && (g->M <= GEMM_ROWS_MAX || g->M > FEW_ROWS || g->bf16 || g->tail_count > 0);
    /* few rows against columns of B that lie along k, or the mirror image of that */
    bool few_rows = g->M <= FEW_ROWS && g->M < g->N && g->b_k == 1 && g->b_n != 1;
    bool few_columns = g->N <= FEW_ROWS && g->N < g->M && g->a_row == 1 && g->a_k != 1;
    if (!packed && g->tail_count == 0 && (few_rows || few_columns)) {
        job.g = mirror(g);
        job.transposed = true;
    }
    job.g.panels = packed ? g->panels : NULL;
    int vectors = gemm_vectors(job.g.N);
    job.tile_rows = gemm_rows(vectors);
    job.tile_columns = vectors * VEC;
    job.panels = divide_up(job.g.N, job.tile_columns);
    job.pack_a = job.g.a_k != 1 || g->bf16;
    job.pack_b = !packed && (job.g.M > FEW_ROWS || job.g.b_n != 1 || g->bf16);
    job.by_panel = job.pack_b && job.g.M <= SLAB_ROWS && job.g.b_k == 1;
    int64_t steps = divide_up(g->K, K_STEP);
    job.k_step = steps > 0 ? divide_up(divide_up(g->K, steps), LINE_FLOATS) * LINE_FLOATS : 1;
    job.group_panels_max = GROUP_FLOATS / ((job.k_step + g->tail_depth) * job.tile_columns);
    return job;
}

/* Enough tasks that the last one to finish is not waited for long, and a multiple of the threads.
 * A narrower group costs another pass over A, fewer rows cost another packing of B. */
static void plan_tasks(struct job *job, int threads)
{
    const int64_t tiles = divide_up(job->g.M, job->tile_rows);
    const int64_t wanted = threads > 1 ? (int64_t)threads * TASKS_PER_THREAD : 1;
    int64_t rows = divide_up(job->g.M, TASK_ROWS);
    int64_t groups = divide_up(job->panels, job->group_panels_max);
    if (rows * groups < wanted) {
        int64_t groups_most = divide_up(job->panels, GROUP_PANELS_MIN);
        int64_t more = min64(divide_up(wanted, rows), groups_most);
        groups = more > groups ? more : groups;
    }
    if (rows * groups < wanted) {
        int64_t rows_most = divide_up(job->g.M, TASK_ROWS_MIN);
        int64_t more = min64(divide_up(wanted, groups), rows_most);
        rows = more > rows ? more : rows;
    }
    while (rows * groups % threads != 0 && rows * groups < 2 * wanted && groups < job->panels) {
        groups++;
    }
    job->row_tasks = min64(rows, tiles);
    job->group_tasks = groups;
}

size_t OPS_FN(gemm_scratch_bytes)(int threads)
{
    size_t bytes = (size_t)threads * THREAD_FLOATS * sizeof(float);
#ifdef OPS_ISA_amx
    bytes = bytes > amx_scratch_bytes() ? bytes : amx_scratch_bytes();
#endif
    return bytes;
}

void OPS_FN(gemm)(struct pool *pool, const struct gemm *gemm, void *scratch)
{
    CHECK(gemm->M >= 0 && gemm->N >= 0 && gemm->K >= 0 && !(gemm->bias && gemm->accumulate));
    if (gemm->M == 0 || gemm->N == 0 ||
        (gemm->K == 0 && gemm->accumulate && gemm->tail_count == 0)) {
        return;
    }
#ifdef OPS_ISA_amx
    if (gemm->bf16 && gemm->K > 0) {
        amx_gemm(pool, gemm, scratch);
        OPS_FN(gemm_tails)(pool, gemm, scratch);
        return;
    }
#endif
    const bool apart = gemm->tail_depth > TAIL_DEPTH_MAX;
    struct gemm base = *gemm;
    if (apart) {
        base.tail_count = base.tail_depth = 0;
    }
    struct job job = plan(&base);
    plan_tasks(&job, pool_threads(pool));
    job.scratch = scratch;
    pool_run(pool, (size_t)(job.row_tasks * job.group_tasks), multiply_task, &job);
    if (apart) {
        OPS_FN(gemm_tails)(pool, gemm, scratch);
    }
}
