/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention and rope: implementations agree, and a row in a pack has the bits of the row alone.
 */
#include <math.h>

#include "tests/ops_backends.h"
#include "tests/test.h"

/* Queries, keys and values are columns of one matrix, as a fused projection leaves them, unless
 * only some tokens are queried. */
struct attention {
    const struct layout *layout;
    const int32_t *queries; /* NULL: all */
    int32_t query_count;
    struct attention_shape shape;
    struct matrix q, k, v, o, lse;
};

static struct matrix columns(struct matrix matrix, int32_t first, int32_t width)
{
    return (struct matrix){matrix.at + first, matrix.rows, width, matrix.ld};
}

static void reserve(struct device *device, const struct layout *layout,
                    const struct attention_shape *shape, bool backward)
{
    backend_reserve(device, &(struct scratch_shape){.S = layout->tokens,
                                                    .H = shape->H,
                                                    .G = shape->G,
                                                    .D = shape->D,
                                                    .row_tokens_max = layout->row_tokens_max,
                                                    .backward = backward});
}

static struct attention draw_attention(struct device *device, struct fixture *fixture)
{
    static const int32_t head_sizes[] = {16, 24, 64, 80, 128};
    const int32_t D = head_sizes[draw_int(fixture, 0, 4)];
    const int32_t G = draw_int(fixture, 1, 2);
    const int32_t H = G * draw_int(fixture, 1, 3);
    /* Long segments cross blocks of queries and of keys; short ones stop inside. */
    const bool lengthy = draw_int(fixture, 0, 7) == 0;
    const struct layout *layout = draw_layout(fixture, lengthy ? 100 : 20);
    struct attention t = {.layout = layout,
                          .query_count = layout->tokens,
                          .shape = {H, G, D, 1.0f / sqrtf((float)D)}};
    struct matrix qkv = draw_matrix(fixture, layout->tokens, (H + 2 * G) * D);
    t.q = columns(qkv, 0, H * D);
    t.k = columns(qkv, H * D, G * D);
    t.v = columns(qkv, (H + G) * D, G * D);
    if (draw_bool(fixture)) {
        t.queries = draw_subset(fixture, layout->tokens, &t.query_count);
        t.q = draw_matrix(fixture, t.query_count, H * D);
    }
    device->dtype = draw_bool(fixture) ? DTYPE_BF16 : DTYPE_FP32; /* only AMX rounds here */
    t.o = blank_block(fixture, t.query_count, H * D);
    t.lse = blank_block(fixture, t.query_count, H);
    reserve(device, layout, &t.shape, true);
    return t;
}

static void run_forward(struct device *device, const struct attention *t)
{
    device->ops->attention_forward(device, t->o.at, t->lse.at, t->q.at, t->q.ld, t->k.at, t->v.at,
                                   t->k.ld, t->layout, t->queries, t->query_count, &t->shape);
}

static void attention_forward(struct device *device, struct fixture *fixture)
{
    struct attention t = draw_attention(device, fixture);
    run_forward(device, &t);
    fixture_result(fixture, "o", t.o, SAME_AS_VECTOR);
    fixture_result(fixture, "lse", t.lse, SAME_AS_VECTOR);
}

TEST(attention_forward_agrees)
{
    expect_backends_agree(attention_forward, 60);
}

/* Scores far apart: one key has nearly all weight, most have none that fp32 can hold. A score of a
 * few hundred is only known to about 1e-5, which is then the relative error of a weight. */
static void attention_forward_peaked(struct device *device, struct fixture *fixture)
{
    struct attention t = draw_attention(device, fixture);
    device->dtype = DTYPE_FP32; /* rounded scores so far apart are others */
    t.shape.scale *= 40.0f;
    run_forward(device, &t);
    fixture_result_within(fixture, "o", t.o, SAME_AS_VECTOR, 1e-3);
    fixture_result_within(fixture, "lse", t.lse, SAME_AS_VECTOR, 1e-5);
}

TEST(attention_forward_agrees_when_one_key_wins)
{
    expect_backends_agree(attention_forward_peaked, 20);
}

/* The gradients of several hundred tokens add up in another order than the reference's. */
static void attention_backward(struct device *device, struct fixture *fixture)
{
    struct attention t = draw_attention(device, fixture);
    const int32_t kv_width = t.k.width;
    struct matrix d_o = draw_block(fixture, t.query_count, t.q.width);
    struct matrix dq = blank_matrix(fixture, t.query_count, t.q.width);
    struct matrix dkv = blank_matrix(fixture, t.layout->tokens, 2 * kv_width);
    struct matrix dk = columns(dkv, 0, kv_width);
    struct matrix dv = columns(dkv, kv_width, kv_width);
    run_forward(device, &t);
    device->ops->attention_backward(device, dq.at, dq.ld, dk.at, dv.at, dkv.ld, d_o.at, t.o.at,
                                    t.lse.at, t.q.at, t.q.ld, t.k.at, t.v.at, t.k.ld, t.layout,
                                    t.queries, t.query_count, &t.shape);
    fixture_result(fixture, "dq", dq, CLOSE);
    fixture_result(fixture, "dk", dk, CLOSE);
    fixture_result(fixture, "dv", dv, CLOSE);
}

TEST(attention_backward_agrees)
{
    expect_backends_agree(attention_backward, 60);
}

/* ---- a row in a pack is the row alone -------------------------------------------------------- */

static struct matrix pick_rows(struct fixture *fixture, struct matrix from, const int32_t *rows,
                               int32_t count)
{
    struct matrix picked = blank_matrix(fixture, count, from.width);
    for (int32_t i = 0; i < count; i++) {
        for (int32_t j = 0; j < from.width; j++) {
            picked.at[(size_t)i * picked.ld + j] = from.at[(size_t)rows[i] * from.ld + j];
        }
    }
    return picked;
}

static void attention_alone(struct device *device, struct fixture *fixture)
{
    struct attention pack = draw_attention(device, fixture);
    const int32_t width = pack.k.width;
    if (pack.queries) { /* each token, whether queried or not, is wanted below */
        pack.queries = NULL;
        pack.query_count = pack.layout->tokens;
        pack.q = draw_matrix(fixture, pack.query_count, pack.q.width);
        pack.o = blank_block(fixture, pack.query_count, pack.q.width);
        pack.lse = blank_block(fixture, pack.query_count, pack.shape.H);
    }
    run_forward(device, &pack);

    int32_t *tokens = arena_array(&fixture->arena, int32_t, pack.layout->row_tokens_max);
    const int32_t segment = draw_int(fixture, 0, pack.layout->segment_count - 1);
    const int32_t count = layout_row(pack.layout, segment, tokens);
    struct attention row = pack;
    row.layout = single_row_layout(fixture, count);
    row.query_count = count;
    row.q = pick_rows(fixture, pack.q, tokens, count);
    struct matrix kv = pick_rows(
        fixture, (struct matrix){pack.k.at, pack.k.rows, 2 * width, pack.k.ld}, tokens, count);
    row.k = columns(kv, 0, width);
    row.v = columns(kv, width, width);
    row.o = blank_block(fixture, count, row.q.width);
    row.lse = blank_block(fixture, count, row.shape.H);
    run_forward(device, &row);
    for (int32_t i = 0; i < count; i++) {
        expect_same_rows("o", device, fixture, row.o, i, pack.o, tokens[i], 1);
        expect_same_rows("lse", device, fixture, row.lse, i, pack.lse, tokens[i], 1);
    }

    /* And nothing changes when only some of the row's tokens are queried. */
    struct attention some = row;
    some.queries = draw_subset(fixture, count, &some.query_count);
    some.q = pick_rows(fixture, row.q, some.queries, some.query_count);
    some.o = blank_block(fixture, some.query_count, row.q.width);
    some.lse = blank_block(fixture, some.query_count, row.shape.H);
    run_forward(device, &some);
    for (int32_t i = 0; i < some.query_count; i++) {
        expect_same_rows("o of some", device, fixture, row.o, some.queries[i], some.o, i, 1);
        expect_same_rows("lse of some", device, fixture, row.lse, some.queries[i], some.lse, i, 1);
    }
}

TEST(attention_of_a_row_in_a_pack_has_the_bits_of_the_row_alone)
{
    for_each_backend(attention_alone, 80);
}

/* ---- rope ------------------------------------------------------------------------------------ */

static void rope(struct device *device, struct fixture *fixture)
{
    static const int32_t head_sizes[] = {2, 16, 24, 64, 80, 128};
    const int32_t D = head_sizes[draw_int(fixture, 0, 5)];
    const int32_t rows = draw_size(fixture, 70);
    const int32_t heads = draw_int(fixture, 1, 5);
    const int32_t *position = draw_indices(fixture, rows, 50);
    struct matrix table = draw_block(fixture, 50, D);
    struct matrix x = draw_matrix(fixture, rows, heads * D);
    device->ops->rope(device, x.at, x.ld, position, table.at, rows, heads, D, draw_bool(fixture));
    fixture_result(fixture, "x", x, SAME_AS_VECTOR);
}

TEST(rope_agrees)
{
    expect_backends_agree(rope, 60);
}

TEST_MAIN()
