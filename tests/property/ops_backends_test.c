/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products: the same bits from every implementation, for any number of threads, in both
 * dtypes, at any stride. What is held here is the numeric contract of worker/ops/ops.h.
 */
#include <math.h>

#include "tests/ops_backends.h"
#include "tests/test.h"

/* ---- linear ---------------------------------------------------------------------------------- */

struct product {
    int32_t rows, N, K;
};

/* Mostly around the edges of a register tile; now and then across several blocks of a cache. */
static struct product draw_product(struct device *device, struct fixture *fixture)
{
    const bool large = draw_int(fixture, 0, 15) == 0;
    const int32_t max = large ? 1100 : 200;
    struct product p = {draw_size(fixture, 200), draw_size(fixture, max), draw_size(fixture, max)};
    device->dtype = draw_int(fixture, 0, 3) == 0 ? DTYPE_BF16 : DTYPE_FP32;
    backend_reserve(device, &(struct scratch_shape){
                                .S = p.rows, .C = p.K, .F = p.N, .V = p.N, .backward = true});
    return p;
}

/* Half of the time w is kept packed, for both uses or one. */
static void draw_kept(struct device *device, struct fixture *fixture, struct matrix w)
{
    const unsigned uses = (unsigned)draw_int(fixture, 0, 3);
    const struct kept_weight weight = {.w = w.at, .N = w.rows, .K = w.width, .uses = uses};
    struct error error;
    if (uses != 0 && w.rows > 0 && w.width > 0 && draw_bool(fixture)) {
        EXPECT(device->ops->weights_keep(device, &weight, 1, &error) == STATUS_OK);
    }
}

static void forget(struct device *device, struct matrix w)
{
    device->ops->weights_forget(device, w.at, (size_t)w.rows * (size_t)w.width);
}

static void linear_forward(struct device *device, struct fixture *fixture)
{
    struct product p = draw_product(device, fixture);
    const bool accumulate = draw_bool(fixture);
    const bool biased = draw_bool(fixture) && !accumulate;
    struct matrix x = draw_matrix(fixture, p.rows, p.K);
    struct matrix w = draw_block(fixture, p.N, p.K);
    struct matrix bias = draw_block(fixture, 1, p.N);
    struct matrix y = draw_matrix(fixture, p.rows, p.N);
    draw_kept(device, fixture, w);
    device->ops->linear_forward(device, y.at, y.ld, x.at, x.ld, w.at, biased ? bias.at : NULL,
                                p.rows, p.N, p.K, accumulate);
    forget(device, w);
    fixture_result(fixture, "y", y, SAME_AS_REFERENCE);
}

TEST(linear_forward_has_the_same_bits)
{
    expect_backends_agree(linear_forward, 120);
}

static void linear_backward_input(struct device *device, struct fixture *fixture)
{
    struct product p = draw_product(device, fixture);
    const bool accumulate = draw_bool(fixture);
    struct matrix dy = draw_matrix(fixture, p.rows, p.N);
    struct matrix w = draw_block(fixture, p.N, p.K);
    struct matrix dx = draw_matrix(fixture, p.rows, p.K);
    draw_kept(device, fixture, w);
    device->ops->linear_backward_input(device, dx.at, dx.ld, dy.at, dy.ld, w.at, p.rows, p.N, p.K,
                                       accumulate);
    forget(device, w);
    fixture_result(fixture, "dx", dx, SAME_AS_REFERENCE);
}

TEST(linear_backward_input_has_the_same_bits)
{
    expect_backends_agree(linear_backward_input, 120);
}

/* Two matrices of one block, one of them also the first half of a stack, before and after a change
 * of the block. */
static void kept_then_changed(struct device *device, struct fixture *fixture)
{
    enum { ROWS = 11, N = 70, K = 33, STEPS = 3 };
    struct matrix block = draw_block(fixture, 2 * N, K);
    const struct kept_weight weights[] = {{block.at + N * K, N, K, WEIGHT_FORWARD},
                                          {block.at, 2 * N, K, WEIGHT_FORWARD},
                                          {block.at, N, K, WEIGHT_BACKWARD_INPUT}};
    struct matrix x = draw_matrix(fixture, ROWS, K);
    struct error error;
    backend_reserve(device, &(struct scratch_shape){.S = ROWS, .C = K, .F = N, .backward = true});
    EXPECT(device->ops->weights_keep(device, weights, 3, &error) == STATUS_OK);
    for (int step = 0; step < STEPS; step++) {
        struct matrix both = draw_matrix(fixture, ROWS, 2 * N),
                      second = draw_matrix(fixture, ROWS, N);
        struct matrix dx = draw_matrix(fixture, ROWS, K);
        device->ops->linear_forward(device, both.at, both.ld, x.at, x.ld, block.at, NULL, ROWS,
                                    2 * N, K, false);
        device->ops->linear_forward(device, second.at, second.ld, x.at, x.ld, block.at + N * K,
                                    NULL, ROWS, N, K, false);
        device->ops->linear_backward_input(device, dx.at, dx.ld, both.at, both.ld, block.at, ROWS,
                                           N, K, false);
        fixture_result(fixture, "both", both, SAME_AS_REFERENCE);
        fixture_result(fixture, "second", second, SAME_AS_REFERENCE);
        if (step < STEPS - 1) {
            fixture_result(fixture, "dx", dx, SAME_AS_REFERENCE);
        }
        block.at[step * N * K] += 1.0f;
        device->ops->weights_changed(device, block.at, 2 * N * K);
    }
    forget(device, block);
}

TEST(a_kept_weight_is_packed_again_when_it_has_changed)
{
    expect_backends_agree(kept_then_changed, 3);
}

static void linear_backward_weight(struct device *device, struct fixture *fixture)
{
    struct product p = draw_product(device, fixture);
    struct matrix dy = draw_matrix(fixture, p.rows, p.N);
    struct matrix x = draw_matrix(fixture, p.rows, p.K);
    struct matrix dw = draw_block(fixture, p.N, p.K);
    struct matrix dbias = draw_block(fixture, 1, p.N);
    device->ops->linear_backward_weight(device, dw.at, draw_bool(fixture) ? dbias.at : NULL, dy.at,
                                        dy.ld, x.at, x.ld, p.rows, p.N, p.K);
    fixture_result(fixture, "dw", dw, SAME_AS_REFERENCE);
    fixture_result(fixture, "dbias", dbias, SAME_AS_REFERENCE);
}

TEST(linear_backward_weight_has_the_same_bits)
{
    expect_backends_agree(linear_backward_weight, 120);
}

/* A row's product does not know which rows it was computed with. On a GPU that holds for matrices
 * of one alignment, as a model's are (tests/gpu). */
static void rows_alone(struct device *device, struct fixture *fixture)
{
    if (!device_shares_memory(device)) {
        return;
    }
    struct product p = draw_product(device, fixture);
    struct matrix x = draw_matrix(fixture, p.rows, p.K);
    struct matrix w = draw_block(fixture, p.N, p.K);
    struct matrix y = blank_matrix(fixture, p.rows, p.N);
    device->ops->linear_forward(device, y.at, y.ld, x.at, x.ld, w.at, NULL, p.rows, p.N, p.K,
                                false);
    const int32_t first = draw_int(fixture, 0, p.rows - 1);
    const int32_t rows = draw_int(fixture, 1, p.rows - first);
    struct matrix some = blank_matrix(fixture, rows, p.N);
    device->ops->linear_forward(device, some.at, some.ld, x.at + (size_t)first * x.ld, x.ld, w.at,
                                NULL, rows, p.N, p.K, false);
    expect_same_rows("linear_forward", device, fixture, y, first, some, 0, rows);
}

TEST(linear_forward_is_batch_invariant)
{
    for_each_backend(rows_alone, 60);
}

/* Two packs one after the other leave the gradient of one pack that holds both; but in bf16 on AMX,
 * whose blocks of 32 rows begin with the pack, and on a GPU, which sums a pack by itself. */
static void packs_in_turn(struct device *device, struct fixture *fixture)
{
    if (!device_shares_memory(device)) {
        return;
    }
    struct product p = draw_product(device, fixture);
    if (device_multiplies_bf16(device)) {
        device->dtype = DTYPE_FP32;
    }
    struct matrix dy = draw_matrix(fixture, p.rows, p.N);
    struct matrix x = draw_matrix(fixture, p.rows, p.K);
    struct matrix dw = draw_block(fixture, p.N, p.K);
    struct matrix in_turn = copy_matrix(fixture, dw);
    device->ops->linear_backward_weight(device, dw.at, NULL, dy.at, dy.ld, x.at, x.ld, p.rows, p.N,
                                        p.K);
    const int32_t first = draw_int(fixture, 0, p.rows);
    device->ops->linear_backward_weight(device, in_turn.at, NULL, dy.at, dy.ld, x.at, x.ld, first,
                                        p.N, p.K);
    device->ops->linear_backward_weight(device, in_turn.at, NULL, dy.at + (size_t)first * dy.ld,
                                        dy.ld, x.at + (size_t)first * x.ld, x.ld, p.rows - first,
                                        p.N, p.K);
    expect_same_rows("linear_backward_weight", device, fixture, dw, 0, in_turn, 0, p.N);
}

TEST(weight_gradients_of_two_packs_are_those_of_one)
{
    for_each_backend(packs_in_turn, 60);
}

/* ---- lora ------------------------------------------------------------------------------------ */

enum { ADAPTERS = 2 };

/* A product with up to three adapted matrices side by side in w, gaps between them. */
struct lora_case {
    int32_t rows, N, K;
    struct lora_factors factors[LORA_PARTS_MAX][ADAPTERS];
    struct matrix dA[LORA_PARTS_MAX][ADAPTERS], dB[LORA_PARTS_MAX][ADAPTERS];
    struct lora_part parts[LORA_PARTS_MAX];
    struct matrix x, w, bias, u;
    struct lora lora;
};

static void draw_part(struct fixture *fixture, struct lora_case *t, int p, const int32_t *r)
{
    const int32_t N = draw_int(fixture, 1, 90);
    t->parts[p] = (struct lora_part){.column = t->N, .N = N, .adapters = t->factors[p]};
    t->N += N + draw_int(fixture, 0, 2);
    for (int a = 0; a < ADAPTERS; a++) {
        t->dA[p][a] = draw_block(fixture, r[a], t->K);
        t->dB[p][a] = draw_block(fixture, N, r[a]);
        t->factors[p][a] = (struct lora_factors){.A = draw_block(fixture, r[a], t->K).at,
                                                 .B = draw_block(fixture, N, r[a]).at,
                                                 .dA = t->dA[p][a].at,
                                                 .dB = t->dB[p][a].at,
                                                 .r = r[a],
                                                 .scale = 0.3f + (float)a};
    }
}

static void draw_lora(struct device *device, struct fixture *fixture, struct lora_case *t)
{
    static const int32_t ranks[] = {1, 3, 4, 8, 16, 17, 64};
    struct product p = draw_product(device, fixture);
    *t = (struct lora_case){.rows = p.rows, .K = p.K, .lora.parts = t->parts};
    t->lora.part_count = draw_int(fixture, 1, LORA_PARTS_MAX);
    t->lora.ranges = draw_lora_ranges(fixture, p.rows, ADAPTERS, &t->lora.range_count);
    const int32_t r[ADAPTERS] = {ranks[draw_int(fixture, 0, 6)], ranks[draw_int(fixture, 0, 6)]};
    const int32_t r_max = r[0] > r[1] ? r[0] : r[1];
    for (int32_t part = 0; part < t->lora.part_count; part++) {
        draw_part(fixture, t, part, r);
    }
    t->x = draw_matrix(fixture, p.rows, p.K);
    t->w = draw_block(fixture, t->N, p.K);
    t->bias = draw_block(fixture, 1, t->N);
    t->u = draw_matrix(fixture, p.rows, t->lora.part_count * r_max);
    t->lora.u = t->u.at;
    t->lora.ldu = t->u.ld;
    backend_reserve(device,
                    &(struct scratch_shape){
                        .S = p.rows, .C = p.K, .F = t->N, .lora_rank = r_max, .backward = true});
}

static void lora_forward(struct device *device, struct fixture *fixture)
{
    struct lora_case t;
    draw_lora(device, fixture, &t);
    struct matrix y = draw_matrix(fixture, t.rows, t.N);
    const bool with_w = draw_int(fixture, 0, 3) > 0, with_y = draw_int(fixture, 0, 7) > 0;
    const bool with_bias = with_w && draw_bool(fixture);
    draw_kept(device, fixture, t.w);
    device->ops->lora_forward(device, with_y ? y.at : NULL, y.ld, t.x.at, t.x.ld,
                              with_w ? t.w.at : NULL, with_bias ? t.bias.at : NULL, &t.lora, t.rows,
                              t.N, t.K);
    forget(device, t.w);
    fixture_result(fixture, "u", t.u, SAME_AS_REFERENCE);
    fixture_result(fixture, "y", y, SAME_AS_REFERENCE);
}

TEST(lora_forward_has_the_same_bits)
{
    expect_backends_agree(lora_forward, 120);
}

static void lora_backward(struct device *device, struct fixture *fixture)
{
    struct lora_case t;
    draw_lora(device, fixture, &t);
    struct matrix dy = draw_matrix(fixture, t.rows, t.N);
    struct matrix dx = draw_matrix(fixture, t.rows, t.K);
    const bool with_dx = draw_int(fixture, 0, 3) > 0, with_w = draw_int(fixture, 0, 3) > 0;
    const bool one_frozen = draw_int(fixture, 0, 3) == 0;
    for (int32_t p = 0; one_frozen && p < t.lora.part_count; p++) {
        t.factors[p][1].dA = NULL;
        t.factors[p][1].dB = NULL;
    }
    draw_kept(device, fixture, t.w);
    device->ops->lora_backward(device, with_dx ? dx.at : NULL, dx.ld, dy.at, dy.ld, t.x.at, t.x.ld,
                               with_w ? t.w.at : NULL, &t.lora, t.rows, t.N, t.K);
    forget(device, t.w);
    const int32_t last = t.lora.part_count - 1;
    fixture_result(fixture, "dx", dx, SAME_AS_REFERENCE);
    for (int a = 0; a < ADAPTERS; a++) {
        fixture_result(fixture, "dA of the first", t.dA[0][a], SAME_AS_REFERENCE);
        fixture_result(fixture, "dB of the last", t.dB[last][a], SAME_AS_REFERENCE);
    }
}

TEST(lora_backward_has_the_same_bits)
{
    expect_backends_agree(lora_backward, 120);
}

/* ---- linear cross-entropy -------------------------------------------------------------------- */

static void cross_entropy(struct device *device, struct fixture *fixture)
{
    device->dtype =
        draw_bool(fixture) ? DTYPE_BF16 : DTYPE_FP32; /* on AMX alone it makes a difference */
    const int32_t S = draw_size(fixture, 70);
    const int32_t count = draw_size(fixture, 90);
    const int32_t C = draw_size(fixture, 80);
    const int32_t V =
        draw_int(fixture, 0, 3) == 0 ? draw_int(fixture, 1000, 3000) : draw_size(fixture, 300);
    const bool backward = draw_int(fixture, 0, 3) > 0;
    const bool frozen = draw_bool(fixture);
    const int32_t *index = draw_indices(fixture, count, S);
    const int32_t *target = draw_indices(fixture, count, V);
    struct matrix x = draw_block(fixture, S, C);
    struct matrix w = draw_block(fixture, V, C);
    struct matrix weight = draw_block(fixture, 1, count);
    struct matrix nll = blank_block(fixture, 1, count);
    struct matrix dx = draw_block(fixture, S, C);
    struct matrix dw = draw_block(fixture, V, C);
    backend_reserve(device, &(struct scratch_shape){.S = S > count ? S : count,
                                                    .C = C,
                                                    .V = V,
                                                    .backward = backward,
                                                    .cross_entropy = true});
    device->ops->cross_entropy(device, nll.at, backward ? dx.at : NULL,
                               backward && !frozen ? dw.at : NULL, x.at, w.at, index, target,
                               weight.at, count, C, V);
    fixture_result(fixture, "nll", nll, SAME_AS_VECTOR);
    fixture_result(fixture, "dx", dx, CLOSE);
    fixture_result(fixture, "dw", dw, CLOSE);
}

TEST(cross_entropy_agrees)
{
    expect_backends_agree(cross_entropy, 60);
}

static void expect_near(const struct device *device, const char *what, double expected, float got,
                        double relative)
{
    if (!(fabs(got - expected) <= relative * fabs(expected))) {
        test_fail(__FILE__, __LINE__, "%s: %s: expected %.9g, got %.9g (%.2g of it apart)",
                  device->ops->name, what, expected, (double)got, fabs(got / expected - 1));
    }
}

/* One likely token and V − 1 unlikely ones, each so small that a chain of floats which has reached
 * the large term rounds every one of them in the same direction. Unlikely token 1 comes. */
static void unlikely_tokens(struct device *device, struct fixture *fixture)
{
    enum { V = 49152 };
    const float low = -12.73f;
    int32_t *index = arena_new(&fixture->arena, int32_t);
    int32_t *target = arena_new(&fixture->arena, int32_t);
    struct matrix w = blank_block(fixture, V, 1), one = blank_block(fixture, 1, 1);
    struct matrix nll = blank_block(fixture, 1, 1), dx = blank_block(fixture, 1, 1);
    *target = 1;
    one.at[0] = 1.0f;
    dx.at[0] = 0.0f;
    for (int32_t v = 0; v < V; v++) {
        w.at[(size_t)v * w.ld] = v == 0 ? 0.0f : low;
    }
    backend_reserve(device, &(struct scratch_shape){
                                .S = 1, .C = 1, .V = V, .backward = true, .cross_entropy = true});
    device->ops->cross_entropy(device, nll.at, dx.at, NULL, one.at, w.at, index, target, one.at, 1,
                               1, V);
    /* nll = log Σ exp z − z[1];  dx = Σ_v p_v·w_v − w_1 */
    const double others = (V - 1) * exp((double)low);
    expect_near(device, "nll", log1p(others) - (double)low, nll.at[0], 1e-6);
    expect_near(device, "dx", (others / (1 + others) - 1) * (double)low, dx.at[0], 1e-4);
}

TEST(many_unlikely_tokens_keep_their_weight)
{
    for_each_backend(unlikely_tokens, 1);
}

TEST_MAIN()
