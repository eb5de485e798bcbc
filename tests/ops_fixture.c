/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ops_fixture.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/rng.h"
#include "tests/test.h"

/* A quiet NaN with a payload that no computation makes. */
static const uint32_t guard_bits = 0x7fc0dead;

enum { GUARD_FLOATS = 80, OFFSET_MAX = 15, GAP_MAX = 19 };

static bool is_guard(const float *at)
{
    return memcmp(at, &guard_bits, sizeof(guard_bits)) == 0;
}

static void check_guards(struct matrix matrix, uint64_t seed)
{
    const size_t size = (size_t)matrix.rows * matrix.ld;
    for (size_t i = 1; i <= GUARD_FLOATS; i++) {
        if (!is_guard(matrix.at - i)) {
            test_fail(__FILE__, __LINE__, "seed %llu: %zu before a (%d, %d) matrix was written",
                      (unsigned long long)seed, i, matrix.rows, matrix.width);
            return;
        }
        if (!is_guard(matrix.at + size + i - 1)) {
            test_fail(__FILE__, __LINE__, "seed %llu: %zu behind a (%d, %d) matrix was written",
                      (unsigned long long)seed, i, matrix.rows, matrix.width);
            return;
        }
    }
    for (int32_t i = 0; i < matrix.rows; i++) {
        for (int32_t j = matrix.width; j < matrix.ld; j++) {
            if (!is_guard(matrix.at + (size_t)i * matrix.ld + j)) {
                test_fail(__FILE__, __LINE__,
                          "seed %llu: column %d of a (%d, %d) matrix was written",
                          (unsigned long long)seed, j, matrix.rows, matrix.width);
                return;
            }
        }
    }
}

void fixture_end(struct fixture *fixture)
{
    for (int i = 0; i < fixture->guarded_count; i++) {
        check_guards(fixture->guarded[i], fixture->seed);
    }
    arena_release(&fixture->arena);
}

int32_t draw_int(struct fixture *fixture, int32_t min, int32_t max)
{
    return min + (int32_t)rng_below(fixture->seed, 0, fixture->drawn++, (uint64_t)(max - min) + 1);
}

bool draw_bool(struct fixture *fixture)
{
    return draw_int(fixture, 0, 1) == 1;
}

int32_t draw_size(struct fixture *fixture, int32_t max)
{
    static const int32_t awkward[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130};
    const int32_t count = (int32_t)(sizeof(awkward) / sizeof(*awkward));
    int32_t choice = draw_int(fixture, 0, count + 2);
    int32_t size = choice < count ? awkward[choice] : draw_int(fixture, 1, max);
    return size < max ? size : max;
}

float draw_normal(struct fixture *fixture)
{
    return (float)rng_normal(fixture->seed, 0, fixture->drawn++);
}

static struct matrix guarded_matrix(struct fixture *fixture, int32_t rows, int32_t width,
                                    int32_t ld)
{
    const size_t size = (size_t)rows * (size_t)ld + 2 * GUARD_FLOATS + OFFSET_MAX;
    float *memory = arena_array(&fixture->arena, float, size);
    for (size_t i = 0; i < size; i++) {
        memcpy(memory + i, &guard_bits, sizeof(guard_bits));
    }
    struct matrix matrix = {memory + GUARD_FLOATS + draw_int(fixture, 0, OFFSET_MAX), rows, width,
                            ld};
    CHECK(fixture->guarded_count < FIXTURE_MATRICES_MAX);
    fixture->guarded[fixture->guarded_count++] = matrix;
    return matrix;
}

static struct matrix filled(struct fixture *fixture, struct matrix matrix)
{
    for (int32_t i = 0; i < matrix.rows; i++) {
        for (int32_t j = 0; j < matrix.width; j++) {
            matrix.at[(size_t)i * matrix.ld + j] = draw_normal(fixture);
        }
    }
    return matrix;
}

static int32_t draw_ld(struct fixture *fixture, int32_t width)
{
    return draw_bool(fixture) ? width : width + draw_int(fixture, 1, GAP_MAX);
}

struct matrix draw_matrix(struct fixture *fixture, int32_t rows, int32_t width)
{
    return filled(fixture, blank_matrix(fixture, rows, width));
}

struct matrix draw_block(struct fixture *fixture, int32_t rows, int32_t width)
{
    return filled(fixture, blank_block(fixture, rows, width));
}

struct matrix blank_matrix(struct fixture *fixture, int32_t rows, int32_t width)
{
    return guarded_matrix(fixture, rows, width, draw_ld(fixture, width));
}

struct matrix blank_block(struct fixture *fixture, int32_t rows, int32_t width)
{
    return guarded_matrix(fixture, rows, width, width);
}

struct matrix copy_matrix(struct fixture *fixture, struct matrix matrix)
{
    struct matrix copy = guarded_matrix(fixture, matrix.rows, matrix.width, matrix.ld);
    memcpy(copy.at, matrix.at, (size_t)matrix.rows * matrix.ld * sizeof(float));
    return copy;
}

int32_t *draw_indices(struct fixture *fixture, int32_t count, int32_t bound)
{
    int32_t *indices = arena_array(&fixture->arena, int32_t, count);
    for (int32_t i = 0; i < count; i++) {
        bool twice = i > 0 && draw_int(fixture, 0, 3) == 0;
        indices[i] = twice ? indices[draw_int(fixture, 0, i - 1)] : draw_int(fixture, 0, bound - 1);
    }
    return indices;
}

int32_t *draw_subset(struct fixture *fixture, int32_t bound, int32_t *count_out)
{
    int32_t *subset = arena_array(&fixture->arena, int32_t, bound);
    int32_t count = 0;
    for (int32_t i = 0; i < bound; i++) {
        if (draw_bool(fixture)) {
            subset[count++] = i;
        }
    }
    if (count == 0) {
        subset[count++] = draw_int(fixture, 0, bound - 1);
    }
    *count_out = count;
    return subset;
}

struct lora_range *draw_lora_ranges(struct fixture *fixture, int32_t rows, int32_t adapters,
                                    int32_t *count_out)
{
    struct lora_range *ranges = arena_array(&fixture->arena, struct lora_range, rows);
    int32_t count = 0;
    int32_t row = draw_int(fixture, 0, 2);
    while (row < rows) {
        int32_t length = draw_int(fixture, 1, rows - row);
        ranges[count] = (struct lora_range){row, length, count % adapters};
        count++;
        row += length + draw_int(fixture, 0, 3);
    }
    *count_out = count;
    return ranges;
}

/* ---- layouts --------------------------------------------------------------------------------- */

enum { TREES_MAX = 3, TREE_SEGMENTS_MAX = 7, LEVELS_MAX = 3 };

static int32_t level_of(const struct segment *segments, int32_t s)
{
    return segments[s].parent < 0 ? 1 : 1 + level_of(segments, segments[s].parent);
}

/* Depth first: the parent of the next segment is the last one or one of its ancestors. */
static int32_t draw_parent(struct fixture *fixture, const struct segment *segments, int32_t last)
{
    while (level_of(segments, last) == LEVELS_MAX ||
           (segments[last].parent >= 0 && draw_bool(fixture))) {
        last = segments[last].parent;
    }
    return last;
}

static const struct layout *finish_layout(struct fixture *fixture, const struct segment *segments,
                                          int32_t segment_count, const int32_t *tree_segment,
                                          int32_t tree_count)
{
    const struct segment *end = &segments[segment_count - 1];
    const int32_t tokens = end->start + end->length;
    int32_t *position = arena_array(&fixture->arena, int32_t, tokens);
    int32_t *segment_of = arena_array(&fixture->arena, int32_t, tokens);
    struct layout *layout = arena_new(&fixture->arena, struct layout);
    *layout = (struct layout){.tokens = tokens,
                              .segment_count = segment_count,
                              .tree_count = tree_count,
                              .segments = segments,
                              .tree_segment = tree_segment,
                              .position = position,
                              .segment_of = segment_of};
    for (int32_t s = 0; s < segment_count; s++) {
        for (int32_t i = 0; i < segments[s].length; i++) {
            position[segments[s].start + i] = segments[s].position0 + i;
            segment_of[segments[s].start + i] = s;
        }
        const int32_t row_tokens = segments[s].position0 + segments[s].length;
        if (row_tokens > layout->row_tokens_max) {
            layout->row_tokens_max = row_tokens;
        }
    }
    return layout;
}

const struct layout *draw_layout(struct fixture *fixture, int32_t segment_tokens_max)
{
    struct segment *segments =
        arena_array(&fixture->arena, struct segment, TREES_MAX * TREE_SEGMENTS_MAX);
    int32_t *tree_segment = arena_array(&fixture->arena, int32_t, TREES_MAX + 1);
    const int32_t tree_count = draw_int(fixture, 1, TREES_MAX);
    int32_t count = 0;
    int32_t start = 0;
    for (int32_t t = 0; t < tree_count; t++) {
        tree_segment[t] = count;
        const int32_t end = count + draw_int(fixture, 1, TREE_SEGMENTS_MAX);
        for (; count < end; count++) {
            struct segment *segment = &segments[count];
            segment->start = start;
            segment->length = draw_int(fixture, 1, segment_tokens_max);
            segment->parent = -1;
            if (count > tree_segment[t]) {
                segment->parent = draw_parent(fixture, segments, count - 1);
                const struct segment *parent = &segments[segment->parent];
                segment->position0 = parent->position0 + parent->length;
            }
            start += segment->length;
        }
    }
    tree_segment[tree_count] = count;
    return finish_layout(fixture, segments, count, tree_segment, tree_count);
}

const struct layout *single_row_layout(struct fixture *fixture, int32_t tokens)
{
    struct segment *segment = arena_new(&fixture->arena, struct segment);
    *segment = (struct segment){.length = tokens, .parent = -1};
    int32_t *tree_segment = arena_array(&fixture->arena, int32_t, 2);
    tree_segment[1] = 1;
    return finish_layout(fixture, segment, 1, tree_segment, 1);
}

int32_t layout_row(const struct layout *layout, int32_t segment, int32_t *tokens)
{
    const struct segment *leaf = &layout->segments[segment];
    int32_t count = leaf->parent < 0 ? 0 : layout_row(layout, leaf->parent, tokens);
    for (int32_t i = 0; i < leaf->length; i++) {
        tokens[count++] = leaf->start + i;
    }
    return count;
}

int32_t layout_rows(struct fixture *fixture, const struct layout *layout, int32_t **offset_out,
                    int32_t **token_out)
{
    const int32_t segment_count = layout->segment_count;
    int32_t *offset = arena_array(&fixture->arena, int32_t, segment_count + 1);
    int32_t *token = arena_array(&fixture->arena, int32_t, segment_count * layout->row_tokens_max);
    int32_t rows = 0;
    for (int32_t s = 0; s < segment_count; s++) {
        /* Depth first: who has a child has it right behind itself. */
        if (s + 1 == segment_count || layout->segments[s + 1].parent != s) {
            offset[rows + 1] = offset[rows] + layout_row(layout, s, token + offset[rows]);
            rows++;
        }
    }
    *offset_out = offset;
    *token_out = token;
    return rows;
}

/* ---- matrices -------------------------------------------------------------------------------- */

double matrix_dot(struct matrix a, struct matrix b)
{
    CHECK(a.rows == b.rows && a.width == b.width);
    double sum = 0.0;
    for (int32_t i = 0; i < a.rows; i++) {
        for (int32_t j = 0; j < a.width; j++) {
            sum += (double)a.at[(size_t)i * a.ld + j] * (double)b.at[(size_t)i * b.ld + j];
        }
    }
    return sum;
}

double matrix_largest(struct matrix matrix)
{
    double largest = 0.0;
    for (int32_t i = 0; i < matrix.rows; i++) {
        for (int32_t j = 0; j < matrix.width; j++) {
            largest = fmax(largest, fabs((double)matrix.at[(size_t)i * matrix.ld + j]));
        }
    }
    return largest;
}

void fixture_result(struct fixture *fixture, const char *name, struct matrix values,
                    enum agreement agreement)
{
    fixture_result_within(fixture, name, values, agreement, 1e-5);
}

void fixture_result_within(struct fixture *fixture, const char *name, struct matrix values,
                           enum agreement agreement, double tolerance)
{
    CHECK(fixture->result_count < FIXTURE_RESULTS_MAX);
    fixture->results[fixture->result_count++] = (struct result){name, values, agreement, tolerance};
}
