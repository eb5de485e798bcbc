/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradients of the reference: what works on rows. SwiGLU, gathers, pooling, cross-entropy.
 */
#include <math.h>

#include "lib/rng.h"
#include "tests/ops_gradient.h"
#include "tests/test.h"

enum { TRIALS = 12 };

/* ---- swiglu ---------------------------------------------------------------------------------- */

struct swiglu {
    int32_t rows, F;
    struct matrix gate_up, h, dh;
};

static double swiglu_loss(void *context)
{
    struct swiglu *t = context;
    struct device *device = gradient_device();
    device->ops->swiglu_forward(device, t->h.at, t->gate_up.at, t->rows, t->F);
    return matrix_dot(t->h, t->dh);
}

TEST(swiglu_gradients_are_right)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t rows = draw_int(&fixture, 1, 5);
        int32_t F = draw_int(&fixture, 1, 9);
        struct swiglu t = {.rows = rows,
                           .F = F,
                           .gate_up = draw_block(&fixture, rows, 2 * F),
                           .h = blank_block(&fixture, rows, F),
                           .dh = draw_block(&fixture, rows, F)};
        struct matrix dgate_up = blank_block(&fixture, rows, 2 * F);
        struct matrix h = blank_block(&fixture, rows, F);
        device->ops->swiglu_backward(device, dgate_up.at, h.at, t.dh.at, t.gate_up.at, rows, F);
        expect_gradient(&fixture, "dgate_up", swiglu_loss, &t, t.gate_up, dgate_up);
        swiglu_loss(&t);
        EXPECT_BYTES(t.h.at, h.at, (size_t)rows * F * sizeof(float));

        struct matrix in_place = copy_matrix(&fixture, t.gate_up);
        device->ops->swiglu_backward(device, in_place.at, NULL, t.dh.at, in_place.at, rows, F);
        EXPECT_BYTES(dgate_up.at, in_place.at, (size_t)rows * 2 * F * sizeof(float));
        fixture_end(&fixture);
    }
}

/* ---- gathers --------------------------------------------------------------------------------- */

struct gather {
    int32_t rows, C;
    int32_t *index;
    struct matrix x, y, dy;
};

static double gather_loss(void *context)
{
    struct gather *t = context;
    struct device *device = gradient_device();
    device->ops->gather_rows(device, t->y.at, t->x.at, t->index, t->rows, t->C);
    return matrix_dot(t->y, t->dy);
}

TEST(scatter_is_the_gradient_of_gather_with_repeated_rows)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t S = draw_int(&fixture, 1, 8);
        int32_t rows = draw_int(&fixture, 1, 12);
        int32_t C = draw_int(&fixture, 1, 6);
        struct gather t = {.rows = rows,
                           .C = C,
                           .index = draw_indices(&fixture, rows, S),
                           .x = draw_block(&fixture, S, C),
                           .y = blank_block(&fixture, rows, C),
                           .dy = draw_block(&fixture, rows, C)};
        struct matrix dx = draw_block(&fixture, S, C);
        struct matrix before = copy_matrix(&fixture, dx);
        device->ops->scatter_add_rows(device, dx.at, t.dy.at, t.index, rows, C);
        expect_gradient_added(&fixture, "dx", gather_loss, &t, t.x, dx, before);
        fixture_end(&fixture);
    }
}

/* ---- pooling --------------------------------------------------------------------------------- */

struct pooling {
    int32_t R, C;
    int32_t *offset, *token;
    int32_t *argmax; /* NULL: pool by the mean */
    struct matrix x, pooled, dpooled;
};

static double pool_loss(void *context)
{
    struct pooling *t = context;
    struct device *device = gradient_device();
    if (t->argmax) {
        device->ops->pool_max_forward(device, t->pooled.at, t->argmax, t->x.at, t->offset, t->token,
                                      t->R, t->C);
    } else {
        device->ops->pool_mean_forward(device, t->pooled.at, t->x.at, t->offset, t->token, t->R,
                                       t->C);
    }
    return matrix_dot(t->pooled, t->dpooled);
}

/* The rows of a tree share their prefix's tokens, so these collect gradient from several rows. */
static struct pooling draw_pooling(struct fixture *fixture)
{
    const struct layout *layout = draw_layout(fixture, 3);
    struct pooling t = {.C = draw_int(fixture, 1, 6)};
    t.R = layout_rows(fixture, layout, &t.offset, &t.token);
    t.x = draw_block(fixture, layout->tokens, t.C);
    t.pooled = blank_block(fixture, t.R, t.C);
    t.dpooled = draw_block(fixture, t.R, t.C);
    return t;
}

TEST(mean_pooling_gradients_are_right_over_shared_prefixes)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        struct pooling t = draw_pooling(&fixture);
        struct matrix dx = draw_block(&fixture, t.x.rows, t.C);
        struct matrix before = copy_matrix(&fixture, dx);
        device->ops->pool_mean_backward(device, dx.at, t.dpooled.at, t.offset, t.token, t.R, t.C);
        expect_gradient_added(&fixture, "dx", pool_loss, &t, t.x, dx, before);
        fixture_end(&fixture);
    }
}

TEST(max_pooling_gradients_are_right_over_shared_prefixes)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        struct pooling t = draw_pooling(&fixture);
        t.argmax = arena_array(&fixture.arena, int32_t, t.R * t.C);
        /* Entries of a channel a quarter apart: a finite difference must not change the winner. */
        const int32_t S = t.x.rows;
        for (int32_t i = 0; i < S; i++) {
            for (int32_t c = 0; c < t.C; c++) {
                uint64_t rank = rng_permute(seed, (uint64_t)c, (uint64_t)i, (uint64_t)S);
                t.x.at[(size_t)i * t.C + c] = 0.25f * ((float)rank - (float)S / 2.0f);
            }
        }
        pool_loss(&t); /* leaves argmax */
        struct matrix dx = draw_block(&fixture, S, t.C);
        struct matrix before = copy_matrix(&fixture, dx);
        device->ops->pool_max_backward(device, dx.at, t.dpooled.at, t.argmax, t.R, t.C);
        expect_gradient_added(&fixture, "dx", pool_loss, &t, t.x, dx, before);
        fixture_end(&fixture);
    }
}

TEST(max_pooling_takes_the_first_of_equals)
{
    struct device *device = gradient_device();
    const float x[] = {1.0f, 5.0f, 3.0f, 5.0f, 3.0f, 4.0f}; /* three tokens, two channels */
    const int32_t offset[] = {0, 3};
    const int32_t token[] = {2, 1, 0};
    float pooled[2];
    int32_t argmax[2];
    device->ops->pool_max_forward(device, pooled, argmax, x, offset, token, 1, 2);
    EXPECT_CLOSE(3.0, pooled[0], 0.0);
    EXPECT_CLOSE(5.0, pooled[1], 0.0);
    EXPECT_I64(2, argmax[0]); /* first in the row's order, not in the pack's */
    EXPECT_I64(1, argmax[1]);
}

/* ---- cross-entropy --------------------------------------------------------------------------- */

struct entropy {
    int32_t count, C, V;
    int32_t *index, *target;
    struct matrix x, w, weight, nll;
};

static double entropy_loss(void *context)
{
    struct entropy *t = context;
    struct device *device = gradient_device();
    device->ops->cross_entropy(device, t->nll.at, NULL, NULL, t->x.at, t->w.at, t->index, t->target,
                               NULL, t->count, t->C, t->V);
    return matrix_dot(t->nll, t->weight);
}

TEST(cross_entropy_gradients_are_right_with_repeated_entries)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t S = draw_int(&fixture, 1, 6);
        int32_t count = draw_int(&fixture, 1, 10);
        int32_t C = draw_int(&fixture, 1, 6);
        int32_t V = draw_int(&fixture, 1, 20);
        struct entropy t = {.count = count,
                            .C = C,
                            .V = V,
                            .index = draw_indices(&fixture, count, S),
                            .target = draw_indices(&fixture, count, V),
                            .x = draw_block(&fixture, S, C),
                            .w = draw_block(&fixture, V, C),
                            .weight = draw_block(&fixture, 1, count),
                            .nll = blank_block(&fixture, 1, count)};
        struct matrix nll = blank_block(&fixture, 1, count);
        struct matrix dx = draw_block(&fixture, S, C);
        struct matrix dw = draw_block(&fixture, V, C);
        struct matrix dx_before = copy_matrix(&fixture, dx);
        struct matrix dw_before = copy_matrix(&fixture, dw);
        device->ops->cross_entropy(device, nll.at, dx.at, dw.at, t.x.at, t.w.at, t.index, t.target,
                                   t.weight.at, count, C, V);
        expect_gradient_added(&fixture, "dx", entropy_loss, &t, t.x, dx, dx_before);
        expect_gradient_added(&fixture, "dw", entropy_loss, &t, t.w, dw, dw_before);
        entropy_loss(&t);
        EXPECT_BYTES(t.nll.at, nll.at, (size_t)count * sizeof(float));
        fixture_end(&fixture);
    }
}

TEST_MAIN()
