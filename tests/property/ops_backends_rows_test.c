/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that works row by row or entry by entry: implementations agree, and a row alone has
 * the bits it has among others.
 */
#include <math.h>
#include <string.h>

#include "tests/ops_backends.h"
#include "tests/test.h"

enum { TRIALS = 60 };

/* ---- embedding and gathers ------------------------------------------------------------------- */

static void embed_forward(struct device *device, struct fixture *fixture)
{
    const int32_t S = draw_size(fixture, 200);
    const int32_t C = draw_size(fixture, 200);
    const int32_t V = draw_size(fixture, 50);
    struct matrix table = draw_block(fixture, V, C);
    struct matrix x = blank_block(fixture, S, C);
    device->ops->embed_forward(device, x.at, draw_indices(fixture, S, V), table.at, S, C);
    fixture_result(fixture, "x", x, SAME_AS_REFERENCE);
}

TEST(embed_forward_agrees)
{
    expect_backends_agree(embed_forward, TRIALS);
}

static void embed_backward(struct device *device, struct fixture *fixture)
{
    const int32_t S = draw_size(fixture, 200);
    const int32_t C = draw_size(fixture, 200);
    const int32_t V = draw_size(fixture, 50);
    struct matrix dtable = draw_block(fixture, V, C);
    struct matrix dx = draw_block(fixture, S, C);
    device->ops->embed_backward(device, dtable.at, dx.at, draw_indices(fixture, S, V), S, C);
    fixture_result(fixture, "dtable", dtable, SAME_AS_REFERENCE);
}

TEST(embed_backward_agrees_with_repeated_tokens)
{
    expect_backends_agree(embed_backward, TRIALS);
}

static void gather_and_scatter(struct device *device, struct fixture *fixture)
{
    const int32_t S = draw_size(fixture, 100);
    const int32_t rows = draw_size(fixture, 200);
    const int32_t C = draw_size(fixture, 200);
    const int32_t *index = draw_indices(fixture, rows, S);
    struct matrix x = draw_block(fixture, S, C);
    struct matrix y = blank_block(fixture, rows, C);
    device->ops->gather_rows(device, y.at, x.at, index, rows, C);
    fixture_result(fixture, "y", y, SAME_AS_REFERENCE);
    struct matrix dy = draw_block(fixture, rows, C);
    struct matrix dx = draw_block(fixture, S, C);
    device->ops->scatter_add_rows(device, dx.at, dy.at, index, rows, C);
    fixture_result(fixture, "dx", dx, SAME_AS_REFERENCE);
}

TEST(gather_and_scatter_agree_with_repeated_rows)
{
    expect_backends_agree(gather_and_scatter, TRIALS);
}

static void add(struct device *device, struct fixture *fixture)
{
    const int32_t count =
        draw_bool(fixture) ? draw_size(fixture, 300) : draw_int(fixture, 0, 50000);
    struct matrix y = draw_block(fixture, 1, count);
    struct matrix x = draw_block(fixture, 1, count);
    device->ops->add(device, y.at, x.at, (size_t)count);
    fixture_result(fixture, "y", y, SAME_AS_REFERENCE);
}

TEST(add_agrees)
{
    expect_backends_agree(add, TRIALS);
}

/* ---- norms ----------------------------------------------------------------------------------- */

struct norm {
    int32_t rows, C;
    struct matrix x, w, rstd;
};

static struct norm draw_norm(struct fixture *fixture)
{
    struct norm t = {.rows = draw_size(fixture, 200), .C = draw_size(fixture, 300)};
    t.x = draw_block(fixture, t.rows, t.C);
    t.w = draw_block(fixture, 1, t.C);
    t.rstd = blank_block(fixture, 1, t.rows);
    /* One row of nothing but padding tokens' zeros: eps alone keeps it finite. */
    memset(t.x.at + (size_t)draw_int(fixture, 0, t.rows - 1) * t.C, 0, (size_t)t.C * sizeof(float));
    return t;
}

static void rmsnorm_forward(struct device *device, struct fixture *fixture)
{
    struct norm t = draw_norm(fixture);
    const bool with_delta = draw_bool(fixture);
    struct matrix delta = draw_block(fixture, t.rows, t.C);
    struct matrix sum = draw_block(fixture, t.rows, t.C);
    struct matrix y = blank_block(fixture, t.rows, t.C);
    if (draw_bool(fixture)) {
        sum = t.x; /* the residual stream in place */
    }
    device->ops->rmsnorm_forward(device, y.at, t.rstd.at, with_delta ? sum.at : NULL, t.x.at,
                                 with_delta ? delta.at : NULL, t.w.at, t.rows, t.C, 1e-6f);
    fixture_result(fixture, "x_out", sum, SAME_AS_REFERENCE);
    fixture_result(fixture, "rstd", t.rstd, SAME_AS_VECTOR);
    fixture_result(fixture, "y", y, SAME_AS_VECTOR);
}

TEST(rmsnorm_forward_agrees)
{
    expect_backends_agree(rmsnorm_forward, TRIALS);
}

/* rstd is drawn: the backward pass takes it as it is. */
static void rmsnorm_backward(struct device *device, struct fixture *fixture)
{
    struct norm t = draw_norm(fixture);
    const bool frozen = draw_int(fixture, 0, 3) == 0;
    const bool accumulate = draw_bool(fixture);
    struct matrix rstd = draw_block(fixture, 1, t.rows);
    struct matrix dy = draw_block(fixture, t.rows, t.C);
    struct matrix dx = draw_block(fixture, t.rows, t.C);
    struct matrix dw = draw_block(fixture, 1, t.C);
    backend_reserve(device, &(struct scratch_shape){.S = t.rows, .C = t.C, .backward = true});
    device->ops->rmsnorm_backward(device, dx.at, frozen ? NULL : dw.at, dy.at, t.x.at, rstd.at,
                                  t.w.at, t.rows, t.C, accumulate);
    fixture_result(fixture, "dx", dx, CLOSE);
    fixture_result(fixture, "dw", dw, CLOSE);
}

TEST(rmsnorm_backward_agrees)
{
    expect_backends_agree(rmsnorm_backward, TRIALS);
}

static void head_norm(struct device *device, struct fixture *fixture)
{
    static const int32_t head_sizes[] = {1, 3, 15, 16, 24, 33, 64, 80, 128};
    const int32_t D = head_sizes[draw_int(fixture, 0, 8)];
    const int32_t rows = draw_size(fixture, 150);
    const int32_t heads = draw_int(fixture, 1, 5);
    struct matrix x = draw_matrix(fixture, rows, heads * D);
    struct matrix w = draw_block(fixture, 1, D);
    struct matrix y = blank_matrix(fixture, rows, heads * D);
    struct matrix rstd = blank_block(fixture, rows, heads);
    device->ops->head_norm_forward(device, y.at, y.ld, rstd.at, x.at, x.ld, w.at, rows, heads, D,
                                   1e-6f);
    fixture_result(fixture, "y", y, SAME_AS_VECTOR);
    fixture_result(fixture, "rstd", rstd, SAME_AS_VECTOR);
    struct matrix given_rstd = draw_block(fixture, rows, heads);
    struct matrix dy = draw_matrix(fixture, rows, heads * D);
    struct matrix dx = blank_matrix(fixture, rows, heads * D);
    struct matrix dw = draw_block(fixture, 1, D);
    backend_reserve(device, &(struct scratch_shape){.S = rows, .D = D, .backward = true});
    device->ops->head_norm_backward(device, dx.at, dx.ld, dw.at, dy.at, dy.ld, x.at, x.ld,
                                    given_rstd.at, w.at, rows, heads, D);
    fixture_result(fixture, "dx", dx, CLOSE);
    fixture_result(fixture, "dw", dw, CLOSE);
}

TEST(head_norm_agrees)
{
    expect_backends_agree(head_norm, TRIALS);
}

/* ---- swiglu ---------------------------------------------------------------------------------- */

static void swiglu(struct device *device, struct fixture *fixture)
{
    const int32_t rows = draw_size(fixture, 100);
    const int32_t F = draw_size(fixture, 300);
    struct matrix gate_up = draw_block(fixture, rows, 2 * F);
    for (int32_t i = 0; i < rows; i++) {
        gate_up.at[(size_t)i * 2 * F] *= 300.0f; /* where exp overflows or vanishes */
    }
    struct matrix h = blank_block(fixture, rows, F);
    device->ops->swiglu_forward(device, h.at, gate_up.at, rows, F);
    fixture_result(fixture, "h", h, SAME_AS_VECTOR);
    const bool in_place = draw_bool(fixture);
    const bool want_h = draw_bool(fixture);
    struct matrix dh = draw_block(fixture, rows, F);
    struct matrix dgate_up = in_place ? gate_up : blank_block(fixture, rows, 2 * F);
    struct matrix h_again = blank_block(fixture, rows, F);
    device->ops->swiglu_backward(device, dgate_up.at, want_h ? h_again.at : NULL, dh.at, gate_up.at,
                                 rows, F);
    fixture_result(fixture, "dgate_up", dgate_up, CLOSE);
    if (want_h) {
        expect_same_rows("h of swiglu_backward", device, fixture, h, 0, h_again, 0, rows);
    }
}

TEST(swiglu_agrees)
{
    expect_backends_agree(swiglu, TRIALS);
}

/* ---- pooling and head ------------------------------------------------------------------------ */

struct pooling {
    int32_t R, C;
    int32_t *offset, *token;
    struct matrix x, pooled, dx, dpooled;
};

static struct pooling draw_pooling(struct fixture *fixture)
{
    const struct layout *layout = draw_layout(fixture, 20);
    struct pooling t = {.C = draw_size(fixture, 200)};
    t.R = layout_rows(fixture, layout, &t.offset, &t.token);
    t.x = draw_block(fixture, layout->tokens, t.C);
    t.dx = draw_block(fixture, layout->tokens, t.C);
    t.pooled = blank_block(fixture, t.R, t.C);
    t.dpooled = draw_block(fixture, t.R, t.C);
    return t;
}

static void pool_mean(struct device *device, struct fixture *fixture)
{
    struct pooling t = draw_pooling(fixture);
    device->ops->pool_mean_forward(device, t.pooled.at, t.x.at, t.offset, t.token, t.R, t.C);
    device->ops->pool_mean_backward(device, t.dx.at, t.dpooled.at, t.offset, t.token, t.R, t.C);
    fixture_result(fixture, "pooled", t.pooled, SAME_AS_REFERENCE);
    fixture_result(fixture, "dx", t.dx, CLOSE);
}

TEST(mean_pooling_agrees)
{
    expect_backends_agree(pool_mean, TRIALS);
}

static void pool_max(struct device *device, struct fixture *fixture)
{
    struct pooling t = draw_pooling(fixture);
    /* Few different values: most maxima are reached more than once. */
    for (int64_t i = 0; i < (int64_t)t.x.rows * t.C; i++) {
        t.x.at[i] = roundf(t.x.at[i]);
    }
    struct matrix argmax = blank_block(fixture, t.R, t.C);
    int32_t *winners = (int32_t *)argmax.at;
    device->ops->pool_max_forward(device, t.pooled.at, winners, t.x.at, t.offset, t.token, t.R,
                                  t.C);
    device->ops->pool_max_backward(device, t.dx.at, t.dpooled.at, winners, t.R, t.C);
    fixture_result(fixture, "pooled", t.pooled, SAME_AS_REFERENCE);
    fixture_result(fixture, "argmax", argmax, SAME_AS_REFERENCE);
    fixture_result(fixture, "dx", t.dx, SAME_AS_REFERENCE);
}

TEST(max_pooling_agrees_among_equals)
{
    expect_backends_agree(pool_max, TRIALS);
}

static void reward(struct device *device, struct fixture *fixture)
{
    const int32_t R = draw_size(fixture, 100);
    const int32_t C = draw_size(fixture, 300);
    const bool frozen = draw_int(fixture, 0, 3) == 0;
    struct matrix pooled = draw_block(fixture, R, C);
    struct matrix w = draw_block(fixture, 1, C);
    struct matrix rewards = blank_block(fixture, 1, R);
    device->ops->reward_forward(device, rewards.at, pooled.at, w.at, R, C);
    fixture_result(fixture, "reward", rewards, SAME_AS_VECTOR);
    struct matrix dreward = draw_block(fixture, 1, R);
    struct matrix dpooled = blank_block(fixture, R, C);
    struct matrix dw = draw_block(fixture, 1, C);
    device->ops->reward_backward(device, dpooled.at, frozen ? NULL : dw.at, dreward.at, pooled.at,
                                 w.at, R, C);
    fixture_result(fixture, "dpooled", dpooled, SAME_AS_REFERENCE);
    fixture_result(fixture, "dw", dw, CLOSE);
}

TEST(reward_head_agrees)
{
    expect_backends_agree(reward, TRIALS);
}

/* ---- a row alone ----------------------------------------------------------------------------- */

static void rows_alone(struct device *device, struct fixture *fixture)
{
    struct norm t = draw_norm(fixture);
    const int32_t rows = t.rows;
    const int32_t C = t.C;
    const int32_t i = draw_int(fixture, 0, rows - 1);
    struct matrix y = blank_block(fixture, rows, C);
    struct matrix rewards = blank_block(fixture, rows, 1);
    struct matrix gate_up = draw_block(fixture, rows, 2 * C);
    struct matrix h = blank_block(fixture, rows, C);
    device->ops->rmsnorm_forward(device, y.at, t.rstd.at, NULL, t.x.at, NULL, t.w.at, rows, C,
                                 1e-6f);
    device->ops->reward_forward(device, rewards.at, y.at, t.w.at, rows, C);
    device->ops->swiglu_forward(device, h.at, gate_up.at, rows, C);

    struct matrix y_alone = blank_block(fixture, 1, C);
    struct matrix h_alone = blank_block(fixture, 1, C);
    struct matrix reward_alone = blank_block(fixture, 1, 1);
    struct matrix rstd = blank_block(fixture, 1, 1);
    device->ops->rmsnorm_forward(device, y_alone.at, rstd.at, NULL, t.x.at + (size_t)i * C, NULL,
                                 t.w.at, 1, C, 1e-6f);
    device->ops->reward_forward(device, reward_alone.at, y_alone.at, t.w.at, 1, C);
    device->ops->swiglu_forward(device, h_alone.at, gate_up.at + (size_t)i * 2 * C, 1, C);
    expect_same_rows("rmsnorm", device, fixture, y, i, y_alone, 0, 1);
    expect_same_rows("reward", device, fixture, rewards, i, reward_alone, 0, 1);
    expect_same_rows("swiglu", device, fixture, h, i, h_alone, 0, 1);
}

TEST(a_row_alone_has_the_bits_it_has_among_others)
{
    for_each_backend(rows_alone, TRIALS);
}

/* ---- optimizer ------------------------------------------------------------------------------- */

/* A double as two entries, so that its bits (all but the last few) are compared. */
static void sumsq(struct device *device, struct fixture *fixture)
{
    const int32_t count =
        draw_bool(fixture) ? draw_size(fixture, 300) : draw_int(fixture, 0, 80000);
    struct matrix x = draw_block(fixture, 1, count);
    backend_reserve(device, &(struct scratch_shape){0});
    const double sum = device->ops->sumsq(device, x.at, (size_t)count);
    struct matrix parts = blank_block(fixture, 1, 2);
    parts.at[0] = (float)sum;
    parts.at[1] = (float)(sum - (double)parts.at[0]);
    fixture_result_within(fixture, "sum", parts, CLOSE, 1e-12);
}

TEST(sumsq_agrees)
{
    expect_backends_agree(sumsq, TRIALS);
}

static void adamw(struct device *device, struct fixture *fixture)
{
    const int32_t count =
        draw_bool(fixture) ? draw_size(fixture, 300) : draw_int(fixture, 0, 50000);
    struct matrix w = draw_block(fixture, 1, count);
    struct matrix m = draw_block(fixture, 1, count);
    struct matrix v = draw_block(fixture, 1, count);
    struct matrix g = draw_block(fixture, 1, count);
    for (int32_t i = 0; i < count; i++) {
        v.at[i] *= v.at[i];
    }
    if (count > 0) {
        g.at[0] = m.at[0] = v.at[0] = 0.0f; /* a weight nothing has ever moved */
    }
    const struct adamw_step step = {.learning_rate = 1e-2f,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .epsilon = 1e-3f,
                                    .weight_decay = 0.1f,
                                    .correction1 = 0.19f,
                                    .correction2 = 0.002f,
                                    .gradient_scale = 0.7f};
    device->ops->adamw(device, w.at, m.at, v.at, g.at, (size_t)count, &step);
    fixture_result(fixture, "w", w, CLOSE);
    fixture_result(fixture, "m", m, CLOSE);
    fixture_result(fixture, "v", v, CLOSE);
}

TEST(adamw_agrees)
{
    expect_backends_agree(adamw, TRIALS);
}

TEST_MAIN()
