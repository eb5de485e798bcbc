/* SPDX-License-Identifier: Apache-2.0
 *
 * rng: randomness as an argument. Counter-based: value i of a stream is a pure function of
 * (seed, stream, i), so a resumed run draws what the killed one would have drawn.
 *
 * rng_permute is a keyed bijection on [0, count): a Feistel network over the next power of four
 * with cycle walking. It gives a shuffled epoch without an index array: O(1) seek.
 */
#ifndef TAILOR_LIB_RNG_H
#define TAILOR_LIB_RNG_H

#include <stdint.h>

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index);
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0, 1) */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index);  /* mean 0, variance 1 */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound);
uint64_t rng_permute(uint64_t seed, uint64_t stream, uint64_t index, uint64_t count);
/* A stream number from a name: rng_stream("lora_A") */
uint64_t rng_stream(const char *name);

#endif
