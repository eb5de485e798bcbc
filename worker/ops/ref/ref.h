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

/* Every op by its name in `struct ops`: once for the declarations, once for the table. */
#define REF_OPS(X)                                                                                 \
    X(block_alloc)                                                                                 \
    X(block_free)                                                                                  \
    X(copy_in)                                                                                     \
    X(copy_out)                                                                                    \
    X(zero)                                                                                        \
    X(scratch_bytes)                                                                               \
    X(scratch_reserve)                                                                             \
    X(embed_forward)                                                                               \
    X(embed_backward)                                                                              \
    X(rmsnorm_forward)                                                                             \
    X(rmsnorm_backward)                                                                            \
    X(head_norm_forward)                                                                           \
    X(head_norm_backward)                                                                          \
    X(linear_forward)                                                                              \
    X(linear_backward_input)                                                                       \
    X(linear_backward_weight)                                                                      \
    X(lora_forward)                                                                                \
    X(lora_backward)                                                                               \
    X(rope)                                                                                        \
    X(attention_forward)                                                                           \
    X(attention_backward)                                                                          \
    X(swiglu_forward)                                                                              \
    X(swiglu_backward)                                                                             \
    X(gather_rows)                                                                                 \
    X(scatter_add_rows)                                                                            \
    X(add)                                                                                         \
    X(pool_mean_forward)                                                                           \
    X(pool_mean_backward)                                                                          \
    X(pool_max_forward)                                                                            \
    X(pool_max_backward)                                                                           \
    X(reward_forward)                                                                              \
    X(reward_backward)                                                                             \
    X(cross_entropy)                                                                               \
    X(sumsq)                                                                                       \
    X(adamw)

/* Declares ref_NAME with the function type that NAME has in `struct ops`. */
#define REF_DECLARE(op) __typeof__(*((const struct ops *)0)->op) ref_##op;
REF_OPS(REF_DECLARE)
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
