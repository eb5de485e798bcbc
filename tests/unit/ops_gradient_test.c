/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradients of the reference: what has weights. Matrix products, LoRA, norms, the head, embedding.
 */
#include <math.h>

#include "tests/ops_gradient.h"
#include "tests/test.h"

enum { TRIALS = 12 };

/* ---- linear ---------------------------------------------------------------------------------- */

struct linear {
    int32_t rows, N, K;
    struct matrix x, w, bias, y, dy;
};

static struct linear draw_linear(struct fixture *fixture)
{
    int32_t rows = draw_int(fixture, 1, 6);
    int32_t N = draw_int(fixture, 1, 9);
    int32_t K = draw_int(fixture, 1, 9);
    return (struct linear){.rows = rows,
                           .N = N,
                           .K = K,
                           .x = draw_matrix(fixture, rows, K),
                           .w = draw_block(fixture, N, K),
                           .bias = draw_block(fixture, 1, N),
                           .y = blank_matrix(fixture, rows, N),
                           .dy = draw_matrix(fixture, rows, N)};
}

static double linear_loss(void *context)
{
    struct linear *t = context;
    struct device *device = gradient_device();
    device->ops->linear_forward(device, t->y.at, t->y.ld, t->x.at, t->x.ld, t->w.at, t->bias.at,
                                t->rows, t->N, t->K, false);
    return matrix_dot(t->y, t->dy);
}

TEST(linear_gradients_are_right)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        struct linear t = draw_linear(&fixture);
        struct matrix dx = blank_matrix(&fixture, t.rows, t.K);
        device->ops->linear_backward_input(device, dx.at, dx.ld, t.dy.at, t.dy.ld, t.w.at, t.rows,
                                           t.N, t.K, false);
        expect_gradient(&fixture, "dx", linear_loss, &t, t.x, dx);

        struct matrix dw = draw_block(&fixture, t.N, t.K);
        struct matrix dbias = draw_block(&fixture, 1, t.N);
        struct matrix dw_before = copy_matrix(&fixture, dw);
        struct matrix dbias_before = copy_matrix(&fixture, dbias);
        device->ops->linear_backward_weight(device, dw.at, dbias.at, t.dy.at, t.dy.ld, t.x.at,
                                            t.x.ld, t.rows, t.N, t.K);
        expect_gradient_added(&fixture, "dw", linear_loss, &t, t.w, dw, dw_before);
        expect_gradient_added(&fixture, "dbias", linear_loss, &t, t.bias, dbias, dbias_before);
        fixture_end(&fixture);
    }
}

TEST(linear_input_gradient_accumulates_when_asked)
{
    struct device *device = gradient_device();
    struct fixture fixture = {.seed = 1};
    struct linear t = draw_linear(&fixture);
    struct matrix dx = draw_matrix(&fixture, t.rows, t.K);
    struct matrix before = copy_matrix(&fixture, dx);
    device->ops->linear_backward_input(device, dx.at, dx.ld, t.dy.at, t.dy.ld, t.w.at, t.rows, t.N,
                                       t.K, true);
    expect_gradient_added(&fixture, "dx", linear_loss, &t, t.x, dx, before);
    fixture_end(&fixture);
}

/* ---- lora ------------------------------------------------------------------------------------ */

enum { ADAPTERS = 2, RANK_MAX = 4 };

struct lora_case {
    int32_t rows, N, K, range_count;
    struct matrix x, y0, y, u, dy;
    struct matrix A[ADAPTERS], B[ADAPTERS], dA[ADAPTERS], dB[ADAPTERS];
    struct lora_factors adapters[ADAPTERS];
    struct lora_range ranges[2];
    struct lora_part part;
};

static struct lora as_op_takes_it(const struct lora_case *t)
{
    return (struct lora){.parts = &t->part,
                         .part_count = 1,
                         .ranges = t->ranges,
                         .range_count = t->range_count,
                         .u = t->u.at,
                         .ldu = t->u.ld};
}

/* Eight rows: two of adapter 1, a gap of two without any, three of adapter 0, one without. */
static struct lora_case draw_lora(struct fixture *fixture)
{
    int32_t rows = 8;
    int32_t N = draw_int(fixture, 1, 7);
    int32_t K = draw_int(fixture, 1, 7);
    struct lora_case t = {.rows = rows,
                          .N = N,
                          .K = K,
                          .range_count = 2,
                          .x = draw_matrix(fixture, rows, K),
                          .y0 = draw_matrix(fixture, rows, N),
                          .u = blank_matrix(fixture, rows, RANK_MAX),
                          .dy = draw_matrix(fixture, rows, N),
                          .ranges = {{0, 2, 1}, {4, 3, 0}}};
    t.y = copy_matrix(fixture, t.y0);
    for (int a = 0; a < ADAPTERS; a++) {
        int32_t r = draw_int(fixture, 1, RANK_MAX);
        t.A[a] = draw_block(fixture, r, K);
        t.B[a] = draw_block(fixture, N, r);
        t.dA[a] = draw_block(fixture, r, K);
        t.dB[a] = draw_block(fixture, N, r);
        t.adapters[a] = (struct lora_factors){.A = t.A[a].at,
                                              .B = t.B[a].at,
                                              .dA = t.dA[a].at,
                                              .dB = t.dB[a].at,
                                              .r = r,
                                              .scale = 0.5f + (float)a};
    }
    return t;
}

static double lora_loss(void *context)
{
    struct lora_case *t = context;
    struct device *device = gradient_device();
    for (int32_t i = 0; i < t->rows; i++) {
        for (int32_t n = 0; n < t->N; n++) {
            t->y.at[(size_t)i * t->y.ld + n] = t->y0.at[(size_t)i * t->y0.ld + n];
        }
    }
    const struct lora lora = as_op_takes_it(t);
    device->ops->lora_forward(device, t->y.at, t->y.ld, t->x.at, t->x.ld, NULL, NULL, &lora,
                              t->rows, t->N, t->K);
    return matrix_dot(t->y, t->dy);
}

TEST(lora_gradients_are_right_with_two_adapters_and_rows_without)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        struct lora_case t = draw_lora(&fixture);
        t.part = (struct lora_part){.N = t.N, .adapters = t.adapters};
        lora_loss(&t); /* leaves u */
        struct matrix dx = draw_matrix(&fixture, t.rows, t.K);
        struct matrix dx_before = copy_matrix(&fixture, dx);
        struct matrix dA_before[ADAPTERS];
        struct matrix dB_before[ADAPTERS];
        for (int a = 0; a < ADAPTERS; a++) {
            dA_before[a] = copy_matrix(&fixture, t.dA[a]);
            dB_before[a] = copy_matrix(&fixture, t.dB[a]);
        }
        const struct lora lora = as_op_takes_it(&t);
        device->ops->lora_backward(device, dx.at, dx.ld, t.dy.at, t.dy.ld, t.x.at, t.x.ld, NULL,
                                   &lora, t.rows, t.N, t.K);
        expect_gradient_added(&fixture, "dx", lora_loss, &t, t.x, dx, dx_before);
        for (int a = 0; a < ADAPTERS; a++) {
            expect_gradient_added(&fixture, "dA", lora_loss, &t, t.A[a], t.dA[a], dA_before[a]);
            expect_gradient_added(&fixture, "dB", lora_loss, &t, t.B[a], t.dB[a], dB_before[a]);
        }
        fixture_end(&fixture);
    }
}

/* ---- norms ----------------------------------------------------------------------------------- */

struct norm {
    int32_t rows, C;
    struct matrix x, delta, w, rstd, sum, y, dy;
};

static const float norm_eps = 1e-2f; /* large enough to be seen if it stands in the wrong place */

static double rmsnorm_loss(void *context)
{
    struct norm *t = context;
    struct device *device = gradient_device();
    device->ops->rmsnorm_forward(device, t->y.at, t->rstd.at, t->sum.at, t->x.at, t->delta.at,
                                 t->w.at, t->rows, t->C, norm_eps);
    return matrix_dot(t->y, t->dy);
}

TEST(rmsnorm_gradients_are_right)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t rows = draw_int(&fixture, 1, 5);
        int32_t C = draw_int(&fixture, 1, 20);
        struct norm t = {.rows = rows,
                         .C = C,
                         .x = draw_block(&fixture, rows, C),
                         .delta = draw_block(&fixture, rows, C),
                         .w = draw_block(&fixture, 1, C),
                         .rstd = blank_block(&fixture, 1, rows),
                         .sum = blank_block(&fixture, rows, C),
                         .y = blank_block(&fixture, rows, C),
                         .dy = draw_block(&fixture, rows, C)};
        rmsnorm_loss(&t); /* leaves rstd and the sum that was normalised */
        struct matrix dx = blank_block(&fixture, rows, C);
        struct matrix dw = draw_block(&fixture, 1, C);
        struct matrix dw_before = copy_matrix(&fixture, dw);
        device->ops->rmsnorm_backward(device, dx.at, dw.at, t.dy.at, t.sum.at, t.rstd.at, t.w.at,
                                      rows, C, false);
        struct matrix dx_added = draw_block(&fixture, rows, C);
        struct matrix dx_before = copy_matrix(&fixture, dx_added);
        device->ops->rmsnorm_backward(device, dx_added.at, NULL, t.dy.at, t.sum.at, t.rstd.at,
                                      t.w.at, rows, C, true);
        expect_gradient(&fixture, "dx", rmsnorm_loss, &t, t.x, dx);
        expect_gradient_added(&fixture, "ddelta", rmsnorm_loss, &t, t.delta, dx_added, dx_before);
        expect_gradient_added(&fixture, "dw", rmsnorm_loss, &t, t.w, dw, dw_before);
        fixture_end(&fixture);
    }
}

struct head_norm {
    int32_t rows, heads, D;
    struct matrix x, w, rstd, y, dy;
};

static double head_norm_loss(void *context)
{
    struct head_norm *t = context;
    struct device *device = gradient_device();
    device->ops->head_norm_forward(device, t->y.at, t->y.ld, t->rstd.at, t->x.at, t->x.ld, t->w.at,
                                   t->rows, t->heads, t->D, norm_eps);
    return matrix_dot(t->y, t->dy);
}

TEST(head_norm_gradients_are_right)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t rows = draw_int(&fixture, 1, 4);
        int32_t heads = draw_int(&fixture, 1, 3);
        int32_t D = draw_int(&fixture, 2, 9);
        struct head_norm t = {.rows = rows,
                              .heads = heads,
                              .D = D,
                              .x = draw_matrix(&fixture, rows, heads * D),
                              .w = draw_block(&fixture, 1, D),
                              .rstd = blank_block(&fixture, rows, heads),
                              .y = blank_matrix(&fixture, rows, heads * D),
                              .dy = draw_matrix(&fixture, rows, heads * D)};
        head_norm_loss(&t);
        struct matrix dx = blank_matrix(&fixture, rows, heads * D);
        struct matrix dw = draw_block(&fixture, 1, D);
        struct matrix dw_before = copy_matrix(&fixture, dw);
        device->ops->head_norm_backward(device, dx.at, dx.ld, dw.at, t.dy.at, t.dy.ld, t.x.at,
                                        t.x.ld, t.rstd.at, t.w.at, rows, heads, D);
        expect_gradient(&fixture, "dx", head_norm_loss, &t, t.x, dx);
        expect_gradient_added(&fixture, "dw", head_norm_loss, &t, t.w, dw, dw_before);
        fixture_end(&fixture);
    }
}

/* ---- reward head ----------------------------------------------------------------------------- */

struct head {
    int32_t R, C;
    struct matrix pooled, w, reward, dreward;
};

static double reward_loss(void *context)
{
    struct head *t = context;
    struct device *device = gradient_device();
    device->ops->reward_forward(device, t->reward.at, t->pooled.at, t->w.at, t->R, t->C);
    return matrix_dot(t->reward, t->dreward);
}

TEST(reward_gradients_are_right)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t R = draw_int(&fixture, 1, 5);
        int32_t C = draw_int(&fixture, 1, 20);
        struct head t = {.R = R,
                         .C = C,
                         .pooled = draw_block(&fixture, R, C),
                         .w = draw_block(&fixture, 1, C),
                         .reward = blank_block(&fixture, 1, R),
                         .dreward = draw_block(&fixture, 1, R)};
        struct matrix dpooled = blank_block(&fixture, R, C);
        struct matrix dw = draw_block(&fixture, 1, C);
        struct matrix dw_before = copy_matrix(&fixture, dw);
        device->ops->reward_backward(device, dpooled.at, dw.at, t.dreward.at, t.pooled.at, t.w.at,
                                     R, C);
        expect_gradient(&fixture, "dpooled", reward_loss, &t, t.pooled, dpooled);
        expect_gradient_added(&fixture, "dw", reward_loss, &t, t.w, dw, dw_before);
        fixture_end(&fixture);
    }
}

/* ---- embedding ------------------------------------------------------------------------------- */

struct embedding {
    int32_t S, C;
    int32_t *ids;
    struct matrix table, x, dx;
};

static double embed_loss(void *context)
{
    struct embedding *t = context;
    struct device *device = gradient_device();
    device->ops->embed_forward(device, t->x.at, t->ids, t->table.at, t->S, t->C);
    return matrix_dot(t->x, t->dx);
}

TEST(embedding_gradients_are_right_with_repeated_tokens)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t S = draw_int(&fixture, 1, 12);
        int32_t C = draw_int(&fixture, 1, 6);
        int32_t V = draw_int(&fixture, 1, 6);
        struct embedding t = {.S = S,
                              .C = C,
                              .ids = draw_indices(&fixture, S, V),
                              .table = draw_block(&fixture, V, C),
                              .x = blank_block(&fixture, S, C),
                              .dx = draw_block(&fixture, S, C)};
        struct matrix dtable = draw_block(&fixture, V, C);
        struct matrix before = copy_matrix(&fixture, dtable);
        device->ops->embed_backward(device, dtable.at, t.dx.at, t.ids, S, C);
        expect_gradient_added(&fixture, "dtable", embed_loss, &t, t.table, dtable, before);
        fixture_end(&fixture);
    }
}

TEST_MAIN()
