/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention over segments longer than a block of queries; the random small layouts are in
 * tests/property.
 */
#include <math.h>
#include <string.h>

#include "tests/ops_backends.h"
#include "tests/test.h"

enum { H = 4, G = 2, D = 24, SEGMENTS = 6 };

static const struct attention_shape shape = {.H = H, .G = G, .D = D, .scale = 0.2f};

/* Two trees: a prompt with two responses, one of them continued twice; and a row by itself. */
static const int32_t lengths[SEGMENTS] = {75, 130, 1, 33, 64, 70};
static const int32_t parents[SEGMENTS] = {-1, 0, 0, 2, 2, -1};
static const int32_t trees[] = {0, 5, 6};

struct pack {
    struct layout layout;
    struct segment segments[SEGMENTS];
    int32_t *position, *segment_of;
};

static void build_pack(struct fixture *fixture, struct pack *pack)
{
    struct layout *layout = &pack->layout;
    *layout = (struct layout){.segment_count = SEGMENTS,
                              .tree_count = 2,
                              .segments = pack->segments,
                              .tree_segment = trees};
    for (int32_t s = 0; s < SEGMENTS; s++) {
        int32_t parent = parents[s];
        int32_t position0 =
            parent < 0 ? 0 : pack->segments[parent].position0 + pack->segments[parent].length;
        pack->segments[s] = (struct segment){layout->tokens, lengths[s], parent, position0};
        layout->tokens += lengths[s];
        if (position0 + lengths[s] > layout->row_tokens_max) {
            layout->row_tokens_max = position0 + lengths[s];
        }
    }
    pack->position = arena_array(&fixture->arena, int32_t, layout->tokens);
    pack->segment_of = arena_array(&fixture->arena, int32_t, layout->tokens);
    layout->position = pack->position;
    layout->segment_of = pack->segment_of;
    for (int32_t s = 0; s < SEGMENTS; s++) {
        for (int32_t i = 0; i < lengths[s]; i++) {
            pack->position[pack->segments[s].start + i] = pack->segments[s].position0 + i;
            pack->segment_of[pack->segments[s].start + i] = s;
        }
    }
}

/* The tensors of one call. */
struct call {
    struct matrix q, k, v, o, lse, d_o, dq, dk, dv;
};

static struct call draw_call(struct fixture *fixture, int32_t tokens)
{
    struct call call = {.q = draw_block(fixture, tokens, H * D),
                        .k = draw_block(fixture, tokens, G * D),
                        .v = draw_block(fixture, tokens, G * D),
                        .d_o = draw_block(fixture, tokens, H * D)};
    return call;
}

static void blank_results(struct fixture *fixture, struct call *call)
{
    call->o = blank_block(fixture, call->q.rows, H * D);
    call->lse = blank_block(fixture, call->q.rows, H);
    call->dq = blank_block(fixture, call->q.rows, H * D);
    call->dk = blank_block(fixture, call->k.rows, G * D);
    call->dv = blank_block(fixture, call->k.rows, G * D);
}

/* Forward and backward. */
static void run_call(struct device *device, struct fixture *fixture, struct call *call,
                     const struct layout *layout, const int32_t *queries)
{
    struct scratch_shape need = {.S = layout->tokens,
                                 .C = H * D,
                                 .H = H,
                                 .G = G,
                                 .D = D,
                                 .F = 1,
                                 .V = 1,
                                 .row_tokens_max = layout->row_tokens_max,
                                 .backward = true};
    backend_reserve(device, &need);
    blank_results(fixture, call);
    device->ops->attention_forward(device, call->o.at, call->lse.at, call->q.at, call->q.ld,
                                   call->k.at, call->v.at, call->k.ld, layout, queries,
                                   call->q.rows, &shape);
    device->ops->attention_backward(device, call->dq.at, call->dq.ld, call->dk.at, call->dv.at,
                                    call->dk.ld, call->d_o.at, call->o.at, call->lse.at, call->q.at,
                                    call->q.ld, call->k.at, call->v.at, call->k.ld, layout, queries,
                                    call->q.rows, &shape);
}

static struct matrix pick_rows(struct fixture *fixture, struct matrix from, const int32_t *rows,
                               int32_t count)
{
    struct matrix picked = blank_block(fixture, count, from.width);
    for (int32_t i = 0; i < count; i++) {
        memcpy(picked.at + (size_t)i * picked.ld, from.at + (size_t)rows[i] * from.ld,
               (size_t)from.width * sizeof(float));
    }
    return picked;
}

static void prefix_trial(struct device *device, struct fixture *fixture)
{
    struct pack pack;
    build_pack(fixture, &pack);
    struct call shared = draw_call(fixture, pack.layout.tokens);
    run_call(device, fixture, &shared, &pack.layout, NULL);
    for (int32_t s = 0; s < SEGMENTS; s++) {
        struct fixture row_fixture = {.seed = fixture->seed};
        int32_t *tokens = arena_array(&row_fixture.arena, int32_t, pack.layout.tokens);
        int32_t count = layout_row(&pack.layout, s, tokens);
        struct call alone = {.q = pick_rows(&row_fixture, shared.q, tokens, count),
                             .k = pick_rows(&row_fixture, shared.k, tokens, count),
                             .v = pick_rows(&row_fixture, shared.v, tokens, count),
                             .d_o = pick_rows(&row_fixture, shared.d_o, tokens, count)};
        run_call(device, &row_fixture, &alone, single_row_layout(&row_fixture, count), NULL);
        struct matrix o = pick_rows(&row_fixture, shared.o, tokens, count);
        struct matrix lse = pick_rows(&row_fixture, shared.lse, tokens, count);
        struct matrix dq = pick_rows(&row_fixture, shared.dq, tokens, count);
        expect_same_rows("o, alone", device, fixture, o, 0, alone.o, 0, count);
        expect_same_rows("lse, alone", device, fixture, lse, 0, alone.lse, 0, count);
        expect_same_rows("dq, alone", device, fixture, dq, 0, alone.dq, 0, count);
        fixture_end(&row_fixture);
    }
}

TEST(a_row_has_the_same_bits_with_a_shared_prefix_and_alone)
{
    for_each_backend(prefix_trial, 3);
}

static void subset_trial(struct device *device, struct fixture *fixture)
{
    struct pack pack;
    build_pack(fixture, &pack);
    struct call all = draw_call(fixture, pack.layout.tokens);
    int32_t count;
    int32_t *queries = draw_subset(fixture, pack.layout.tokens, &count);
    for (int32_t i = 0, next = 0; i < pack.layout.tokens; i++) {
        if (next < count && queries[next] == i) {
            next++;
        } else {
            memset(all.d_o.at + (size_t)i * all.d_o.ld, 0, H * D * sizeof(float));
        }
    }
    run_call(device, fixture, &all, &pack.layout, NULL);
    struct call some = {.q = pick_rows(fixture, all.q, queries, count),
                        .k = all.k,
                        .v = all.v,
                        .d_o = pick_rows(fixture, all.d_o, queries, count)};
    run_call(device, fixture, &some, &pack.layout, queries);
    expect_same_rows("o of a subset", device, fixture, pick_rows(fixture, all.o, queries, count), 0,
                     some.o, 0, count);
    expect_same_rows("dq of a subset", device, fixture, pick_rows(fixture, all.dq, queries, count),
                     0, some.dq, 0, count);
    expect_same_rows("dk of a subset", device, fixture, all.dk, 0, some.dk, 0, all.dk.rows);
    expect_same_rows("dv of a subset", device, fixture, all.dv, 0, some.dv, 0, all.dv.rows);
}

TEST(a_subset_of_queries_has_the_bits_of_all_with_no_gradient_elsewhere)
{
    for_each_backend(subset_trial, 3);
}

static void width_trial(struct device *device, struct fixture *fixture)
{
    struct pack pack;
    build_pack(fixture, &pack);
    struct call usual = draw_call(fixture, pack.layout.tokens);
    run_call(device, fixture, &usual, &pack.layout, NULL);
    /* What the plan says of the longest row only bounds scratch, and with it the blocks. */
    static const int32_t row_tokens_max[] = {6000, 100000};
    for (int i = 0; i < 2; i++) {
        struct fixture long_fixture = {.seed = fixture->seed};
        pack.layout.row_tokens_max = row_tokens_max[i];
        struct call narrow = usual;
        run_call(device, &long_fixture, &narrow, &pack.layout, NULL);
        expect_same_rows("o, long rows", device, fixture, usual.o, 0, narrow.o, 0, usual.o.rows);
        expect_same_rows("dq, long rows", device, fixture, usual.dq, 0, narrow.dq, 0,
                         usual.dq.rows);
        expect_same_rows("dk, long rows", device, fixture, usual.dk, 0, narrow.dk, 0,
                         usual.dk.rows);
        expect_same_rows("dv, long rows", device, fixture, usual.dv, 0, narrow.dv, 0,
                         usual.dv.rows);
        fixture_end(&long_fixture);
    }
}

TEST(the_width_of_blocks_changes_no_bits)
{
    for_each_backend(width_trial, 2);
}

static void agreement_trial(struct device *device, struct fixture *fixture)
{
    struct pack pack;
    build_pack(fixture, &pack);
    struct call call = draw_call(fixture, pack.layout.tokens);
    run_call(device, fixture, &call, &pack.layout, NULL);
    fixture_result(fixture, "o", call.o, SAME_AS_VECTOR);
    fixture_result(fixture, "lse", call.lse, SAME_AS_VECTOR);
    fixture_result(fixture, "dq", call.dq, SAME_AS_VECTOR);
    fixture_result(fixture, "dk", call.dk, SAME_AS_VECTOR);
    fixture_result(fixture, "dv", call.dv, SAME_AS_VECTOR);
}

TEST(long_segments_agree_with_the_reference_for_any_number_of_threads)
{
    expect_backends_agree(agreement_trial, 3);
}

TEST_MAIN()
