/* SPDX-License-Identifier: Apache-2.0
 *
 * ref: the reference implementation of `struct ops`, in plain C on one thread.
 *
 * It is written to be read: each op is its formula, then the loops that say the same, forward above
 * backward. The fast implementations are tested against it; its own backward passes are tested
 * against finite differences. Matrix products keep the contract of ops.h to the bit, everything
 * else adds up in plain sequence and is an oracle within a tolerance.
 */
#ifndef TAILOR_WORKER_OPS_REF_REF_H
#define TAILOR_WORKER_OPS_REF_REF_H

#include "worker/ops/ops.h"

/* Declares ref_NAME with the function type that NAME has in `struct ops`. */
#define REF_DECLARE(op) __typeof__(*((const struct ops *)0)->op) ref_##op;
OPS_THAT_HOLD(REF_DECLARE)
OPS_THAT_COMPUTE(REF_DECLARE)
#undef REF_DECLARE

/* The first `bytes` of the device's scratch; CHECKs that so much was reserved. */
void *ref_scratch(struct device *device, size_t bytes);

/* Functions with fmaf in their inner loop are compiled twice and the loader picks: inlined where
 * the processor has the instruction, libm's (slow, same bits) where not. Always libm's with
 * ThreadSanitizer, which is not ready yet when the loader picks, and with clang 14, which loses the
 * plain name of what it clones. */
#if defined(__SANITIZE_THREAD__) || defined(__clang__)
#define REF_FMA
#else
#define REF_FMA __attribute__((target_clones("fma", "default")))
#endif

#endif
