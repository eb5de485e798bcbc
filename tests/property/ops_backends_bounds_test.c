/* SPDX-License-Identifier: Apache-2.0
 *
 * What works row by row, at the sizes behind which an implementation goes another way: rows too
 * wide for one warp, more entries than a block looks at together, several chunks of cross-entropy;
 * and operands that lie at 16 bytes or do not. And each twice: two runs have the same bits.
 */
#include <string.h>

#include "lib/check.h"
#include "tests/ops_backends.h"
#include "tests/test.h"

enum { TRIALS = 6 };

/* ---- sizes ----------------------------------------------------------------------------------- */

static void wide_norm(struct device *device, struct fixture *fixture)
{
    const int32_t rows = draw_int(fixture, 1, 70);
    const int32_t C = draw_bool(fixture) ? draw_int(fixture, 1020, 1030) : 2 * 1024 + 5;
    struct matrix x = draw_block(fixture, rows, C), delta = draw_block(fixture, rows, C);
    struct matrix w = draw_block(fixture, 1, C), dy = draw_block(fixture, rows, C);
    struct matrix y = blank_block(fixture, rows, C), rstd = blank_block(fixture, 1, rows);
    struct matrix given_rstd = draw_block(fixture, 1, rows), dw = draw_block(fixture, 1, C);
    backend_reserve(device, &(struct scratch_shape){.S = rows, .C = C, .backward = true});
    device->ops->rmsnorm_forward(device, y.at, rstd.at, x.at, x.at, delta.at, w.at, rows, C, 1e-6f);
    /* dx takes the place of dy */
    device->ops->rmsnorm_backward(device, dy.at, dw.at, dy.at, x.at, given_rstd.at, w.at, rows, C,
                                  false);
    fixture_result(fixture, "rstd", rstd, SAME_AS_VECTOR);
    fixture_result(fixture, "y", y, SAME_AS_VECTOR);
    fixture_result(fixture, "dx", dy, CLOSE);
    fixture_result(fixture, "dw", dw, CLOSE);
}

TEST(norms_of_rows_wider_than_a_warp_takes_agree)
{
    expect_backends_agree(wide_norm, TRIALS);
}

/* More columns than a block of threads takes at once, of everything that is cut so. */
static void wide_rows(struct device *device, struct fixture *fixture)
{
    const int32_t rows = draw_int(fixture, 1, 9), S = draw_int(fixture, 1, 9);
    const int32_t C = draw_bool(fixture) ? draw_int(fixture, 1020, 1200) : 4 * 300;
    const int32_t *index = draw_indices(fixture, rows, S);
    struct matrix x = draw_block(fixture, S, C), dx = draw_block(fixture, S, C);
    struct matrix y = blank_block(fixture, rows, C), h = blank_block(fixture, S, C);
    struct matrix gate_up = draw_block(fixture, S, 2 * C), again = blank_block(fixture, S, C);
    struct matrix w = draw_block(fixture, 1, C), reward = blank_block(fixture, 1, S);
    device->ops->gather_rows(device, y.at, x.at, index, rows, C);
    device->ops->scatter_add_rows(device, dx.at, y.at, index, rows, C);
    device->ops->reward_forward(device, reward.at, x.at, w.at, S, C);
    device->ops->swiglu_forward(device, h.at, gate_up.at, S, C);
    device->ops->swiglu_backward(device, gate_up.at, again.at, x.at, gate_up.at, S, C);
    fixture_result(fixture, "y", y, SAME_AS_REFERENCE);
    fixture_result(fixture, "dx", dx, SAME_AS_REFERENCE);
    fixture_result(fixture, "reward", reward, SAME_AS_VECTOR);
    fixture_result(fixture, "h", h, SAME_AS_VECTOR);
    fixture_result(fixture, "dgate_up", gate_up, CLOSE);
    expect_same_rows("h of swiglu_backward", device, fixture, h, 0, again, 0, S);
}

TEST(rows_wider_than_a_block_takes_at_once_agree)
{
    expect_backends_agree(wide_rows, TRIALS);
}

/* Few rows, which many entries share, or more rows than a GPU has blocks. */
static void many_entries(struct device *device, struct fixture *fixture)
{
    const int32_t rows = draw_int(fixture, 257, 3000);
    const int32_t S = draw_bool(fixture) ? draw_int(fixture, 1, 9) : draw_int(fixture, 1000, 4000);
    const int32_t C = draw_int(fixture, 1, 9);
    const int32_t *index = draw_indices(fixture, rows, S);
    struct matrix dy = draw_block(fixture, rows, C), dx = draw_block(fixture, S, C);
    struct matrix again = copy_matrix(fixture, dx);
    device->ops->scatter_add_rows(device, dx.at, dy.at, index, rows, C);
    device->ops->embed_backward(device, again.at, dy.at, index, rows, C);
    fixture_result(fixture, "dx", dx, SAME_AS_REFERENCE);
    expect_same_rows("embed_backward", device, fixture, dx, 0, again, 0, S);
}

TEST(gradients_of_many_entries_agree)
{
    expect_backends_agree(many_entries, 2 * TRIALS);
}

/* Rows of one prompt: its tokens collect from each of them. */
static void many_tokens(struct device *device, struct fixture *fixture)
{
    const struct layout *layout = draw_layout(fixture, 300);
    const int32_t C = draw_int(fixture, 1, 9);
    int32_t *offset, *token;
    const int32_t R = layout_rows(fixture, layout, &offset, &token);
    struct matrix dpooled = draw_block(fixture, R, C);
    struct matrix dx = draw_block(fixture, layout->tokens, C);
    device->ops->pool_mean_backward(device, dx.at, dpooled.at, offset, token, R, C);
    fixture_result(fixture, "dx", dx, CLOSE);
}

TEST(gradients_of_long_rows_that_share_a_prompt_agree)
{
    expect_backends_agree(many_tokens, TRIALS);
}

static void many_targets(struct device *device, struct fixture *fixture)
{
    const int32_t count = draw_int(fixture, 1025, 1100), S = draw_int(fixture, 1, 1100);
    const int32_t C = draw_int(fixture, 1, 9), V = draw_int(fixture, 2, 33);
    const int32_t *index = draw_indices(fixture, count, S);
    const int32_t *target = draw_indices(fixture, count, V);
    struct matrix x = draw_block(fixture, S, C), w = draw_block(fixture, V, C);
    struct matrix weight = draw_block(fixture, 1, count), nll = blank_block(fixture, 1, count);
    struct matrix dx = draw_block(fixture, S, C), dw = draw_block(fixture, V, C);
    backend_reserve(device,
                    &(struct scratch_shape){
                        .S = count, .C = C, .V = V, .backward = true, .cross_entropy = true});
    device->ops->cross_entropy(device, nll.at, dx.at, dw.at, x.at, w.at, index, target, weight.at,
                               count, C, V);
    fixture_result(fixture, "nll", nll, SAME_AS_VECTOR);
    fixture_result(fixture, "dx", dx, CLOSE);
    fixture_result(fixture, "dw", dw, CLOSE);
}

TEST(cross_entropy_in_several_chunks_agrees)
{
    expect_backends_agree(many_targets, 1);
}

/* A double as two entries, as in ops_backends_rows_test. */
static void sumsq_of_many(struct device *device, struct fixture *fixture)
{
    const size_t count = (size_t)1024 * SUMSQ_BLOCK + 12345;
    float *x = arena_array(&fixture->arena, float, count);
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(i % 1009) / 1009.0f + (i % SUMSQ_BLOCK == 0 ? 3.0f : 0.0f);
    }
    backend_reserve(device, &(struct scratch_shape){0});
    const double sum = device->ops->sumsq(device, x, count);
    struct matrix parts = blank_block(fixture, 1, 2);
    parts.at[0] = (float)sum;
    parts.at[1] = (float)(sum - (double)parts.at[0]);
    fixture_result_within(fixture, "sum", parts, CLOSE, 1e-12);
}

TEST(squares_of_more_blocks_than_are_summed_together_agree)
{
    expect_backends_agree(sumsq_of_many, 1);
}

/* ---- alignment ------------------------------------------------------------------------------- */

/* The matrix's copy `floats` behind a multiple of 16 bytes. */
static struct matrix lying_at(struct fixture *fixture, struct matrix matrix, uintptr_t floats)
{
    const size_t count = (size_t)matrix.rows * matrix.width;
    float *memory = arena_array(&fixture->arena, float, count + 8);
    const uintptr_t past = (uintptr_t)memory / sizeof(float) % 4;
    struct matrix copy = {memory + (4 - past) + floats, matrix.rows, matrix.width, matrix.width};
    CHECK(matrix.ld == matrix.width);
    memcpy(copy.at, matrix.at, count * sizeof(float));
    return copy;
}

struct operands {
    int32_t rows, C;
    struct matrix x, dy, w, gate_up, rstd;
};

struct outcome {
    struct matrix y, dx, dw, h, dgate_up, reward, sum;
};

static struct outcome compute(struct device *device, struct fixture *fixture,
                              const struct operands *from, uintptr_t floats)
{
    const int32_t rows = from->rows, C = from->C;
    const struct matrix x = lying_at(fixture, from->x, floats);
    const struct matrix dy = lying_at(fixture, from->dy, floats);
    const struct matrix w = lying_at(fixture, from->w, floats);
    struct outcome out = {.y = lying_at(fixture, x, floats),
                          .dx = lying_at(fixture, dy, floats),
                          .dw = lying_at(fixture, w, floats),
                          .h = lying_at(fixture, x, floats),
                          .dgate_up = lying_at(fixture, from->gate_up, floats),
                          .reward = lying_at(fixture, from->rstd, floats),
                          .sum = lying_at(fixture, x, floats)};
    device->ops->rmsnorm_forward(device, out.y.at, from->rstd.at, out.sum.at, x.at, dy.at, w.at,
                                 rows, C, 1e-6f);
    device->ops->rmsnorm_backward(device, out.dx.at, out.dw.at, dy.at, x.at, from->rstd.at, w.at,
                                  rows, C, true);
    device->ops->reward_forward(device, out.reward.at, x.at, w.at, rows, C);
    device->ops->swiglu_backward(device, out.dgate_up.at, out.h.at, dy.at, out.dgate_up.at, rows,
                                 C);
    device->ops->add(device, out.sum.at, dy.at, (size_t)rows * (size_t)C);
    return out;
}

static void expect_same(struct device *device, struct fixture *fixture, const struct outcome *a,
                        const struct outcome *b)
{
    const int32_t rows = a->y.rows;
    expect_same_rows("y", device, fixture, a->y, 0, b->y, 0, rows);
    expect_same_rows("dx", device, fixture, a->dx, 0, b->dx, 0, rows);
    expect_same_rows("dw", device, fixture, a->dw, 0, b->dw, 0, 1);
    expect_same_rows("h", device, fixture, a->h, 0, b->h, 0, rows);
    expect_same_rows("dgate_up", device, fixture, a->dgate_up, 0, b->dgate_up, 0, rows);
    expect_same_rows("reward", device, fixture, a->reward, 0, b->reward, 0, 1);
    expect_same_rows("sum", device, fixture, a->sum, 0, b->sum, 0, rows);
}

/* Once at 16 bytes, once at others, and once more as at first. */
static void places(struct device *device, struct fixture *fixture)
{
    struct operands from = {.rows = draw_int(fixture, 1, 130), .C = 4 * draw_int(fixture, 1, 300)};
    from.x = draw_block(fixture, from.rows, from.C);
    from.dy = draw_block(fixture, from.rows, from.C);
    from.w = draw_block(fixture, 1, from.C);
    from.gate_up = draw_block(fixture, from.rows, 2 * from.C);
    from.rstd = draw_block(fixture, 1, from.rows);
    backend_reserve(device, &(struct scratch_shape){.S = from.rows, .C = from.C, .backward = true});
    const struct outcome aligned = compute(device, fixture, &from, 0);
    const struct outcome elsewhere =
        compute(device, fixture, &from, (uintptr_t)draw_int(fixture, 1, 3));
    const struct outcome again = compute(device, fixture, &from, 0);
    expect_same(device, fixture, &aligned, &elsewhere);
    expect_same(device, fixture, &aligned, &again);
}

TEST(where_operands_lie_changes_no_bit_and_neither_does_a_second_run)
{
    for_each_backend(places, TRIALS);
}

/* Numbers lie behind the last, where others' begin: NaNs would hide a sum. */
static void tails(struct device *device, struct fixture *fixture)
{
    const int32_t count = draw_int(fixture, 1, 70), more = 8;
    const struct adamw_step step = {.learning_rate = 0.1f,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.9f,
                                    .epsilon = 1e-3f,
                                    .correction1 = 0.1f,
                                    .correction2 = 0.1f,
                                    .gradient_scale = 1.0f};
    struct matrix before[5], after[5];
    for (int i = 0; i < 5; i++) {
        const struct matrix drawn = draw_block(fixture, 1, count + more);
        after[i] = lying_at(fixture, drawn, 0);
        before[i] = lying_at(fixture, drawn, 0);
        before[i].at += count;
        before[i].width = more;
    }
    device->ops->add(device, after[0].at, after[1].at, (size_t)count);
    device->ops->adamw(device, after[2].at, after[3].at, after[4].at, after[1].at, (size_t)count,
                       &step);
    for (int i = 0; i < 5; i++) {
        struct matrix behind = after[i];
        behind.at += count;
        behind.width = more;
        expect_same_rows("what lies behind", device, fixture, before[i], 0, behind, 0, 1);
    }
}

TEST(what_lies_behind_the_last_number_stays)
{
    for_each_backend(tails, 4 * TRIALS);
}

TEST_MAIN()
