/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_fixture: random tensors, layouts and index lists for tests of ops, with traps around them.
 *
 *     struct fixture fixture = {.seed = 7};
 *     struct matrix x = draw_matrix(&fixture, rows, K);   // strided: read by nobody between rows
 *     struct matrix y = blank_matrix(&fixture, rows, N);  // to be overwritten
 *     ...
 *     fixture_end(&fixture);                              // every guard still there?
 *
 * All values follow from the seed, so two devices can be given the same. Around every matrix and in
 * the gap between its rows lies one NaN pattern: who reads there spoils a result, who writes there
 * is found out by fixture_end. Matrices begin at any multiple of four bytes, as slices of a fused
 * tensor do.
 */
#ifndef TAILOR_TESTS_OPS_FIXTURE_H
#define TAILOR_TESTS_OPS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "worker/ops/ops.h"

struct matrix {
    float *at;
    int32_t rows, width, ld;
};

/* How the bits of a result must agree between implementations; the number of threads may never
 * change any. */
enum agreement {
    SAME_AS_REFERENCE, /* ref, AVX2 and AVX-512 give the same bits */
    SAME_AS_VECTOR,    /* AVX2 and AVX-512 give the same bits; ref is close */
    CLOSE              /* all are close */
};

struct result {
    const char *name;
    struct matrix values;
    enum agreement agreement;
    double tolerance; /* relative to the largest entry */
};

enum { FIXTURE_MATRICES_MAX = 32, FIXTURE_RESULTS_MAX = 8 };

struct fixture {
    uint64_t seed;
    uint64_t drawn;
    struct arena arena;
    struct matrix guarded[FIXTURE_MATRICES_MAX];
    int guarded_count;
    struct result results[FIXTURE_RESULTS_MAX];
    int result_count;
};

/* Fails the test if a guard was overwritten; frees everything. */
void fixture_end(struct fixture *fixture);

int32_t draw_int(struct fixture *fixture, int32_t min, int32_t max); /* both included */
bool draw_bool(struct fixture *fixture);
int32_t draw_size(struct fixture *fixture, int32_t max); /* around the vector widths, mostly */
float draw_normal(struct fixture *fixture);

struct matrix draw_matrix(struct fixture *fixture, int32_t rows, int32_t width);
struct matrix draw_block(struct fixture *fixture, int32_t rows, int32_t width);   /* ld = width */
struct matrix blank_matrix(struct fixture *fixture, int32_t rows, int32_t width); /* all NaN */
struct matrix blank_block(struct fixture *fixture, int32_t rows, int32_t width);
struct matrix copy_matrix(struct fixture *fixture, struct matrix matrix); /* guarded, same ld */

/* Indices below `bound` in no order, some of them twice. */
int32_t *draw_indices(struct fixture *fixture, int32_t count, int32_t bound);
/* About half of 0 … bound − 1, ascending, at least one. */
int32_t *draw_subset(struct fixture *fixture, int32_t bound, int32_t *count_out);
/* One to three trees of up to seven segments on up to three levels. */
const struct layout *draw_layout(struct fixture *fixture, int32_t segment_tokens_max);
/* One row that stands alone. */
const struct layout *single_row_layout(struct fixture *fixture, int32_t tokens);
/* Row-disjoint ranges with gaps between them, using `adapters` adapters in turn. */
struct lora_range *draw_lora_ranges(struct fixture *fixture, int32_t rows, int32_t adapters,
                                    int32_t *count_out);

/* Lists the tokens of the row that ends with `segment`, in logical order; returns their number. */
int32_t layout_row(const struct layout *layout, int32_t segment, int32_t *tokens);
/* Every row that ends in a leaf: offset (rows + 1) and token, as pooling wants them. */
int32_t layout_rows(struct fixture *fixture, const struct layout *layout, int32_t **offset_out,
                    int32_t **token_out);

double matrix_dot(struct matrix a, struct matrix b);
double matrix_largest(struct matrix matrix); /* |entry| */

/* Names a result that backends have to agree on (tests/ops_backends.h). */
void fixture_result(struct fixture *fixture, const char *name, struct matrix values,
                    enum agreement agreement);
void fixture_result_within(struct fixture *fixture, const char *name, struct matrix values,
                           enum agreement agreement, double tolerance);

#endif
