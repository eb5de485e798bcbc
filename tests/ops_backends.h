/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_backends: one op, all implementations, the same inputs.
 *
 *     static void add(struct device *device, struct fixture *fixture)
 *     {
 *         ... draw inputs, call device->ops->add, fixture_result(fixture, "y", y, ...)
 *     }
 *     TEST(add_agrees)
 *     {
 *         expect_backends_agree(add, 50);
 *     }
 *
 * A trial is run for the reference and for each other implementation of this machine with 1, 2 and
 * 3 threads. It must draw the same for every device. What the bits of each result have to do, the
 * result says (enum agreement); what a GPU computes, and products in bf16 on AMX, have to be close
 * to the others'. An implementation that cannot run here is skipped by name.
 */
#ifndef TAILOR_TESTS_OPS_BACKENDS_H
#define TAILOR_TESTS_OPS_BACKENDS_H

#include "tests/ops_fixture.h"

typedef void ops_trial(struct device *device, struct fixture *fixture);

void expect_backends_agree(ops_trial *trial, int trials);

/* For what is claimed of each implementation by itself: "ref", "avx2", "avx512",
 * "amx", "cuda". */
void for_each_backend(ops_trial *trial, int trials);

void backend_reserve(struct device *device, const struct scratch_shape *shape);

/* The first rows of `got` beginning at `got_row` against those of `expected`, bit for bit. */
void expect_same_rows(const char *what, const struct device *device, const struct fixture *fixture,
                      struct matrix expected, int32_t expected_row, struct matrix got,
                      int32_t got_row, int32_t rows);

#endif
