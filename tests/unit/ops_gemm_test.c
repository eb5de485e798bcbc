/* SPDX-License-Identifier: Apache-2.0 */
#define OPS_ISA avx2
#include "worker/ops/cpu/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/rng.h"
#include "tests/test.h"
#include "worker/ops/bf16.h"
#include "worker/ops/ops.h"

/* The same prototypes for the other instruction sets. */
__typeof__(gemm_avx2) gemm_avx512, gemm_amx;
__typeof__(gemm_scratch_bytes_avx2) gemm_scratch_bytes_avx512, gemm_scratch_bytes_amx;
__typeof__(gemm_direct_avx2) gemm_direct_avx512, gemm_direct_amx;

static const struct implementation {
    const char *name;
    __typeof__(gemm_avx2) *gemm;
    __typeof__(gemm_scratch_bytes_avx2) *scratch_bytes;
    __typeof__(gemm_direct_avx2) *direct;
    bool multiplies_bf16;
} implementations[] = {
    {"avx2", gemm_avx2, gemm_scratch_bytes_avx2, gemm_direct_avx2, false},
    {"avx512", gemm_avx512, gemm_scratch_bytes_avx512, gemm_direct_avx512, false},
    {"amx", gemm_amx, gemm_scratch_bytes_amx, gemm_direct_amx, true},
};

enum { THREADS_MAX = 3 };

/* Those of this machine; the others are skipped by name. */
static int implementation_count(void)
{
    static int count = -1;
    if (count >= 0) {
        return count;
    }
    count = 0;
    for (size_t i = 0; i < sizeof(implementations) / sizeof(*implementations); i++) {
        struct device *device;
        struct error error;
        if (device_open(&(struct device_options){.isa = implementations[i].name, .threads = 1},
                        &device, &error) != STATUS_OK) {
            test_skip("%s", error.text);
            break;
        }
        device_close(device);
        count++;
    }
    return count;
}

static struct pool *team(int threads)
{
    static struct pool *pools[THREADS_MAX + 1];
    if (!pools[threads]) {
        pools[threads] = pool_create(threads);
    }
    return pools[threads];
}

/* ---- problems -------------------------------------------------------------------------------- */

/* Which of its two strides an operand has small. */
enum order { ROWS_CONTIGUOUS, COLUMNS_CONTIGUOUS, NEITHER, ORDERS };

struct problem {
    struct arena arena;
    float *operands[2]; /* blocks of their own, exactly as long: ASan sees a read behind them */
    struct gemm gemm;
    float *c;        /* as it is before */
    size_t c_floats; /* ldc · M: with the gaps between rows, which nobody may touch */
};

struct draws {
    uint64_t seed, count;
};

static float draw_normal(struct draws *draws)
{
    return (float)rng_normal(draws->seed, 0, draws->count++);
}

static uint64_t draw_below(struct draws *draws, uint64_t bound)
{
    return rng_below(draws->seed, 1, draws->count++, bound);
}

static float *random_floats(struct arena *arena, struct draws *draws, size_t count)
{
    float *values = arena_array(arena, float, count + 1);
    for (size_t i = 0; i < count; i++) {
        values[i] = draw_normal(draws);
    }
    return values;
}

static int64_t gap(struct draws *draws)
{
    return (int64_t)draw_below(draws, 4);
}

/* An operand of rows x columns; begins anywhere in its block, ends with it. */
static float *operand(struct draws *draws, enum order order, int64_t rows, int64_t columns,
                      int64_t *row, int64_t *column, const float **at_out)
{
    int64_t inner = order == NEITHER ? 3 : 1;
    bool by_row = order != COLUMNS_CONTIGUOUS;
    int64_t outer = (by_row ? columns : rows) * inner + gap(draws);
    *row = by_row ? outer : inner;
    *column = by_row ? inner : outer;
    size_t count = (size_t)((rows - 1) * *row + (columns - 1) * *column + 1);
    size_t begin = (size_t)gap(draws);
    float *memory = mem_alloc((begin + count) * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        memory[begin + i] = draw_normal(draws);
    }
    *at_out = memory + begin;
    return memory;
}

static struct problem problem_draw(struct draws *draws, int64_t M, int64_t N, int64_t K,
                                   enum order a_order, enum order b_order)
{
    struct problem problem = {.gemm = {.M = M, .N = N, .K = K}};
    struct gemm *g = &problem.gemm;
    int64_t k = K > 0 ? K : 1;
    problem.operands[0] = operand(draws, a_order, M, k, &g->a_row, &g->a_k, &g->a);
    problem.operands[1] = operand(draws, b_order, k, N, &g->b_k, &g->b_n, &g->b);
    g->ldc = N + gap(draws);
    problem.c_floats = (size_t)(M * g->ldc);
    problem.c = random_floats(&problem.arena, draws, problem.c_floats);
    uint64_t start = draw_below(draws, 3);
    g->accumulate = start == 1;
    g->bias = start == 2 ? random_floats(&problem.arena, draws, (size_t)N) : NULL;
    return problem;
}

static void problem_end(struct problem *problem)
{
    mem_free(problem->operands[0]);
    mem_free(problem->operands[1]);
    arena_release(&problem->arena);
}

static float element(const struct gemm *g, const float *at)
{
    return g->bf16 ? bf16_round(*at) : *at;
}

/* What the contract of ops.h says; for `amx`, that of worker/ops/cpu/amx.h. */
static float sum_of(const struct problem *problem, int64_t i, int64_t n, bool amx)
{
    enum { BLOCK = 32 };
    const struct gemm *g = &problem->gemm;
    float sum = g->accumulate ? problem->c[i * g->ldc + n] : g->bias ? g->bias[n] : 0.0f;
    for (int64_t k = 0; k < g->K; k += BLOCK) {
        float a[BLOCK], b[BLOCK];
        int count = g->K - k < BLOCK ? (int)(g->K - k) : BLOCK;
        for (int j = 0; j < count; j++) {
            a[j] = g->a[i * g->a_row + (k + j) * g->a_k];
            b[j] = g->b[(k + j) * g->b_k + n * g->b_n];
        }
        if (amx) {
            sum = bf16_amx_block(sum, a, b, count);
            continue;
        }
        for (int j = 0; j < count; j++) {
            sum = fmaf(element(g, &a[j]), element(g, &b[j]), sum);
        }
    }
    return sum;
}

static float *expected_c(struct problem *problem, bool amx)
{
    const struct gemm *g = &problem->gemm;
    float *expected = arena_array(&problem->arena, float, problem->c_floats + 1);
    memcpy(expected, problem->c, problem->c_floats * sizeof(float));
    for (int64_t i = 0; i < g->M; i++) {
        for (int64_t n = 0; n < g->N; n++) {
            expected[i * g->ldc + n] = sum_of(problem, i, n, amx);
        }
    }
    return expected;
}

static void expect_equal(const struct problem *problem, const float *expected, const float *got,
                         const char *what, const char *name, int threads)
{
    const struct gemm *g = &problem->gemm;
    for (size_t at = 0; at < problem->c_floats; at++) {
        if (memcmp(&expected[at], &got[at], sizeof(float)) != 0) {
            test_fail(
                __FILE__, __LINE__,
                "%s %s, %d threads, M %lld N %lld K %lld, a %lld %lld, b %lld %lld, ldc %lld%s%s%s:"
                " [%zu] is %.9g, not %.9g",
                what, name, threads, (long long)g->M, (long long)g->N, (long long)g->K,
                (long long)g->a_row, (long long)g->a_k, (long long)g->b_k, (long long)g->b_n,
                (long long)g->ldc, g->accumulate ? " accumulate" : "", g->bias ? " bias" : "",
                g->bf16 ? " bf16" : "", at, (double)got[at], (double)expected[at]);
            return;
        }
    }
}

static float *copy_of_c(struct problem *problem)
{
    float *c = arena_array(&problem->arena, float, problem->c_floats + 1);
    memcpy(c, problem->c, problem->c_floats * sizeof(float));
    return c;
}

static void expect_gemm(struct problem *problem, int threads_max)
{
    const float *chains = expected_c(problem, false), *expected = chains;
    for (int isa = 0; isa < implementation_count(); isa++) {
        if (problem->gemm.bf16 && implementations[isa].multiplies_bf16) {
            expected = expected_c(problem, true);
        }
        for (int threads = 1; threads <= threads_max; threads++) {
            void *scratch = aligned_alloc(64, implementations[isa].scratch_bytes(threads));
            problem->gemm.c = copy_of_c(problem);
            implementations[isa].gemm(team(threads), &problem->gemm, scratch);
            expect_equal(problem, expected, problem->gemm.c, "gemm", implementations[isa].name,
                         threads);
            free(scratch);
        }
    }
}

static void expect_gemm_direct(struct problem *problem)
{
    const float *expected = expected_c(problem, false);
    for (int isa = 0; isa < implementation_count(); isa++) {
        problem->gemm.c = copy_of_c(problem);
        implementations[isa].direct(&problem->gemm);
        expect_equal(problem, expected, problem->gemm.c, "gemm_direct", implementations[isa].name,
                     1);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Sizes around the tiles, blocks and steps of k. */
static int64_t awkward(struct draws *draws, int64_t max)
{
    static const int64_t around[] = {1, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 192, 384};
    int64_t size = around[draw_below(draws, sizeof(around) / sizeof(*around))];
    size += (int64_t)draw_below(draws, 3) - 1;
    return size < 1 ? 1 : size > max ? 1 + size % max : size;
}

TEST(every_output_is_one_chain_for_any_shape_strides_threads_and_instruction_set)
{
    struct draws draws = {.seed = 1};
    for (int trial = 0; trial < 400 && !test_failed(); trial++) {
        int64_t M = awkward(&draws, 200), N = awkward(&draws, 200), K = awkward(&draws, 400);
        struct problem problem =
            problem_draw(&draws, M, N, K, (enum order)draw_below(&draws, ORDERS),
                         (enum order)draw_below(&draws, ORDERS));
        problem.gemm.bf16 = draw_below(&draws, 4) == 0;
        expect_gemm(&problem, THREADS_MAX);
        problem_end(&problem);
    }
}

TEST(a_product_inside_a_task_is_the_same_chain)
{
    struct draws draws = {.seed = 2};
    for (int trial = 0; trial < 300 && !test_failed(); trial++) {
        int64_t M = awkward(&draws, 300), N = awkward(&draws, 200), K = awkward(&draws, 800);
        struct problem problem =
            problem_draw(&draws, M, N, K, (enum order)draw_below(&draws, ORDERS), ROWS_CONTIGUOUS);
        problem.gemm.bias = NULL;
        expect_gemm_direct(&problem);
        problem_end(&problem);
    }
}

static void expect_sampled(struct problem *problem, struct draws *draws, size_t shape)
{
    struct gemm *g = &problem->gemm;
    for (int isa = 0; isa < implementation_count(); isa++) {
        const bool amx = g->bf16 && implementations[isa].multiplies_bf16;
        void *scratch = aligned_alloc(64, implementations[isa].scratch_bytes(2));
        g->c = copy_of_c(problem);
        implementations[isa].gemm(team(2), g, scratch);
        for (int sample = 0; sample < 5000; sample++) {
            int64_t i = (int64_t)draw_below(draws, (uint64_t)g->M);
            int64_t n = (int64_t)draw_below(draws, (uint64_t)g->N);
            float expected = sum_of(problem, i, n, amx);
            if (memcmp(&expected, &g->c[i * g->ldc + n], sizeof(float)) != 0) {
                test_fail(__FILE__, __LINE__, "%s%s, shape %zu: (%lld, %lld) is %.9g, not %.9g",
                          implementations[isa].name, g->bf16 ? " bf16" : "", shape, (long long)i,
                          (long long)n, (double)g->c[i * g->ldc + n], (double)expected);
                break;
            }
        }
        free(scratch);
    }
}

/* More columns than a chunk of B, more k than a chunk: a sample of the outputs is checked. */
TEST(chunks_of_a_large_product_join_without_a_seam)
{
    static const struct {
        int64_t M, N, K;
        enum order a, b;
    } shapes[] = {
        {130, 3200, 800, ROWS_CONTIGUOUS, COLUMNS_CONTIGUOUS},
        {600, 560, 4200, COLUMNS_CONTIGUOUS, ROWS_CONTIGUOUS},
        {17, 5000, 1100, ROWS_CONTIGUOUS, COLUMNS_CONTIGUOUS},
        {2000, 16, 1500, COLUMNS_CONTIGUOUS, ROWS_CONTIGUOUS},
        {64, 3100, 900, ROWS_CONTIGUOUS, COLUMNS_CONTIGUOUS},
        {1100, 200, 600, ROWS_CONTIGUOUS, ROWS_CONTIGUOUS},
        {2100, 2080, 2200, ROWS_CONTIGUOUS, COLUMNS_CONTIGUOUS}, /* chunks of all three on AMX */
    };
    struct draws draws = {.seed = 3};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++) {
        struct problem problem =
            problem_draw(&draws, shapes[s].M, shapes[s].N, shapes[s].K, shapes[s].a, shapes[s].b);
        expect_sampled(&problem, &draws, s);
        problem.gemm.bf16 = true;
        expect_sampled(&problem, &draws, s);
        problem_end(&problem);
    }
}

/* Numbers, products and sums near the smallest there are: AMX has its own zero. */
TEST(numbers_too_small_for_bf16_are_zeros)
{
    struct draws draws = {.seed = 6};
    for (int trial = 0; trial < 40 && !test_failed(); trial++) {
        struct problem problem = problem_draw(&draws, 33, 40, 70, (enum order)(trial % ORDERS),
                                              (enum order)(trial / ORDERS % ORDERS));
        struct gemm *g = &problem.gemm;
        for (int64_t k = 0; k < g->K; k++) {
            for (int64_t i = 0; i < g->M; i++) {
                float *a = (float *)(uintptr_t)(g->a + i * g->a_row + k * g->a_k);
                *a = ldexpf(*a, trial % 2 == 0 ? -126 : -63);
            }
            for (int64_t n = 0; n < g->N; n++) {
                float *b = (float *)(uintptr_t)(g->b + k * g->b_k + n * g->b_n);
                *b = ldexpf(*b, trial % 2 == 0 ? 0 : -63);
            }
        }
        for (size_t i = 0; i < problem.c_floats; i++) {
            problem.c[i] = ldexpf(problem.c[i], -127);
        }
        g->bf16 = true;
        expect_gemm(&problem, 2);
        problem_end(&problem);
    }
}

TEST(an_infinite_column_spoils_no_other)
{
    struct draws draws = {.seed = 4};
    for (int64_t N = 30; N < 70 && !test_failed(); N += 3) {
        struct problem problem =
            problem_draw(&draws, 10, N, 20, ROWS_CONTIGUOUS, (enum order)(N % ORDERS));
        struct gemm *g = &problem.gemm;
        for (int64_t k = 0; k < g->K; k++) {
            ((float *)(uintptr_t)g->b)[k * g->b_k + (N - 1) * g->b_n] = INFINITY;
        }
        ((float *)(uintptr_t)g->a)[0] = INFINITY;
        g->bf16 = N % 2 == 0;
        expect_gemm(&problem, 1);
        problem_end(&problem);
    }
}

TEST(nothing_to_add_leaves_zero_the_bias_or_the_old_values)
{
    struct draws draws = {.seed = 5};
    for (int trial = 0; trial < 30; trial++) {
        struct problem problem = problem_draw(&draws, awkward(&draws, 200), awkward(&draws, 200), 0,
                                              (enum order)draw_below(&draws, ORDERS),
                                              (enum order)draw_below(&draws, ORDERS));
        expect_gemm(&problem, 2);
        problem.gemm.M = 0;
        expect_gemm(&problem, 2);
        problem.gemm.M = 1;
        problem.gemm.N = 0;
        expect_gemm(&problem, 2);
        problem_end(&problem);
    }
}

TEST_MAIN()
