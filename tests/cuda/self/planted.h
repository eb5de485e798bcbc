/* SPDX-License-Identifier: Apache-2.0
 *
 * planted: kernels with a fault each, to see the emulation notice it (emulation_test.c).
 *
 * All take device memory of at least PLANTED_THREADS numbers.
 */
#ifndef TAILOR_TESTS_CUDA_SELF_PLANTED_H
#define TAILOR_TESTS_CUDA_SELF_PLANTED_H

#ifdef __cplusplus
extern "C" {
#endif

enum { PLANTED_THREADS = 96 };

/* Turns a block's numbers round through shared memory: x[i] ← x[last − i]. */
void planted_reverse(float *x);
void planted_reverse_without_barrier(float *x);
/* Sums a warp's numbers into each lane's. */
void planted_warp_sum(float *x);
void planted_shuffle_of_half_a_warp(float *x);
void planted_barrier_of_some(float *x);
void planted_barriers_on_two_lines(float *x);
void planted_shuffles_on_two_lines(float *x);
/* One block leaves a number out that the other writes into its own shared memory. */
void planted_unwritten_tile(float *x);
void planted_unwritten_tile_of_a_template(float *x);
void planted_blocks_that_race(float *x); /* x[0] ← the block that ran last, 0 or 1 */
void planted_write_behind(float *x);     /* of a block of exactly PLANTED_THREADS numbers or more */

#ifdef __cplusplus
}
#endif

#endif
