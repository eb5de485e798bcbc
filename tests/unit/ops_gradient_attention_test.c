/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradients of the reference: attention over trees of segments, and rope.
 */
#include <math.h>

#include "tests/ops_gradient.h"
#include "tests/test.h"

enum { TRIALS = 24 };

struct attention {
    const struct layout *layout;
    const int32_t *queries; /* NULL: all */
    int32_t query_count;
    struct attention_shape shape;
    struct matrix q, k, v, o, lse, d_o;
};

static double attention_loss(void *context)
{
    struct attention *t = context;
    struct device *device = gradient_device();
    device->ops->attention_forward(device, t->o.at, t->lse.at, t->q.at, t->q.ld, t->k.at, t->v.at,
                                   t->k.ld, t->layout, t->queries, t->query_count, &t->shape);
    return matrix_dot(t->o, t->d_o);
}

/* Keys and values lie side by side in one matrix, as they do behind a fused projection. */
static struct attention draw_attention(struct fixture *fixture, const struct layout *layout)
{
    int32_t G = draw_int(fixture, 1, 2);
    int32_t H = G * draw_int(fixture, 1, 3);
    int32_t D = 2 * draw_int(fixture, 1, 4);
    struct attention t = {.layout = layout,
                          .query_count = layout->tokens,
                          .shape = {H, G, D, 1.0f / sqrtf((float)D)}};
    if (draw_bool(fixture)) {
        t.queries = draw_subset(fixture, layout->tokens, &t.query_count);
    }
    struct matrix kv = draw_matrix(fixture, layout->tokens, 2 * G * D);
    t.k = (struct matrix){kv.at, kv.rows, G * D, kv.ld};
    t.v = (struct matrix){kv.at + G * D, kv.rows, G * D, kv.ld};
    t.q = draw_matrix(fixture, t.query_count, H * D);
    t.o = blank_block(fixture, t.query_count, H * D);
    t.lse = blank_block(fixture, t.query_count, H);
    t.d_o = draw_block(fixture, t.query_count, H * D);
    return t;
}

TEST(attention_gradients_are_right_over_trees_of_segments)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        struct attention t = draw_attention(&fixture, draw_layout(&fixture, 4));
        attention_loss(&t); /* leaves o and lse */
        struct matrix o = copy_matrix(&fixture, t.o);
        struct matrix lse = copy_matrix(&fixture, t.lse);
        struct matrix dq = blank_matrix(&fixture, t.query_count, t.q.width);
        struct matrix dkv = blank_matrix(&fixture, t.k.rows, 2 * t.k.width);
        struct matrix dk = {dkv.at, dkv.rows, t.k.width, dkv.ld};
        struct matrix dv = {dkv.at + t.k.width, dkv.rows, t.k.width, dkv.ld};
        device->ops->attention_backward(device, dq.at, dq.ld, dk.at, dv.at, dkv.ld, t.d_o.at, o.at,
                                        lse.at, t.q.at, t.q.ld, t.k.at, t.v.at, t.k.ld, t.layout,
                                        t.queries, t.query_count, &t.shape);
        expect_gradient(&fixture, "dq", attention_loss, &t, t.q, dq);
        expect_gradient(&fixture, "dk", attention_loss, &t, t.k, dk);
        expect_gradient(&fixture, "dv", attention_loss, &t, t.v, dv);
        fixture_end(&fixture);
    }
}

/* The forward pass against the definition, written out once more in double and with a mask: token j
 * is seen from token i if it lies on i's path and not behind i. */
static bool sees(const struct layout *layout, int32_t i, int32_t j)
{
    if (j > i) {
        return false;
    }
    int32_t s = layout->segment_of[i];
    while (s >= 0 && s != layout->segment_of[j]) {
        s = layout->segments[s].parent;
    }
    return s >= 0;
}

static void expect_attention_row(const struct attention *t, int32_t i, int32_t h)
{
    const int32_t D = t->shape.D;
    const int32_t g = h / (t->shape.H / t->shape.G);
    const int32_t token = t->queries ? t->queries[i] : i;
    const float *q = t->q.at + (size_t)i * t->q.ld + (size_t)h * D;
    double sum = 0.0;
    double o[8] = {0};
    for (int32_t j = 0; j < t->layout->tokens; j++) {
        if (!sees(t->layout, token, j)) {
            continue;
        }
        double score = 0.0;
        for (int32_t d = 0; d < D; d++) {
            score += (double)q[d] * (double)t->k.at[(size_t)j * t->k.ld + g * D + d];
        }
        double weight = exp(score / sqrt((double)D));
        sum += weight;
        for (int32_t d = 0; d < D; d++) {
            o[d] += weight * (double)t->v.at[(size_t)j * t->v.ld + g * D + d];
        }
    }
    EXPECT_CLOSE(log(sum), t->lse.at[(size_t)i * t->shape.H + h], 1e-5);
    for (int32_t d = 0; d < D; d++) {
        EXPECT_CLOSE(o[d] / sum, t->o.at[(size_t)i * t->o.ld + h * D + d], 1e-5);
    }
}

TEST(attention_sees_its_path_and_nothing_else)
{
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        struct attention t = draw_attention(&fixture, draw_layout(&fixture, 6));
        attention_loss(&t);
        for (int32_t i = 0; i < t.query_count; i++) {
            for (int32_t h = 0; h < t.shape.H; h++) {
                expect_attention_row(&t, i, h);
            }
        }
        fixture_end(&fixture);
    }
}

/* ---- rope ------------------------------------------------------------------------------------ */

struct rope {
    int32_t rows, heads, D;
    int32_t *position;
    struct matrix table, x, y, dy;
};

static double rope_loss(void *context)
{
    struct rope *t = context;
    struct device *device = gradient_device();
    for (int32_t i = 0; i < t->rows; i++) {
        for (int32_t j = 0; j < t->x.width; j++) {
            t->y.at[(size_t)i * t->y.ld + j] = t->x.at[(size_t)i * t->x.ld + j];
        }
    }
    device->ops->rope(device, t->y.at, t->y.ld, t->position, t->table.at, t->rows, t->heads, t->D,
                      false);
    return matrix_dot(t->y, t->dy);
}

TEST(rope_gradients_are_right)
{
    struct device *device = gradient_device();
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        struct fixture fixture = {.seed = seed};
        int32_t rows = draw_int(&fixture, 1, 5);
        int32_t heads = draw_int(&fixture, 1, 3);
        int32_t D = 2 * draw_int(&fixture, 1, 4);
        struct rope t = {.rows = rows,
                         .heads = heads,
                         .D = D,
                         .position = draw_indices(&fixture, rows, 10),
                         .table = draw_block(&fixture, 10, D),
                         .x = draw_matrix(&fixture, rows, heads * D),
                         .y = blank_matrix(&fixture, rows, heads * D),
                         .dy = draw_matrix(&fixture, rows, heads * D)};
        struct matrix dx = copy_matrix(&fixture, t.dy);
        device->ops->rope(device, dx.at, dx.ld, t.position, t.table.at, rows, heads, D, true);
        expect_gradient(&fixture, "dx", rope_loss, &t, t.x, dx);
        fixture_end(&fixture);
    }
}

/* One head of D = 4 at position 1: pairs are (x0, x2) and (x1, x3), not neighbours. */
TEST(rope_turns_halves_against_each_other)
{
    struct device *device = gradient_device();
    const float table[] = {1.0f, 0.0f, 1.0f, 0.0f, 0.0f, 1.0f, -1.0f, 0.0f};
    const int32_t position[] = {1};
    float x[] = {1.0f, 2.0f, 3.0f, 4.0f};
    device->ops->rope(device, x, 4, position, table, 1, 1, 4, false);
    const float expected[] = {-3.0f, -2.0f, 1.0f, -4.0f};
    EXPECT_BYTES(expected, x, sizeof(x));
}

TEST_MAIN()
