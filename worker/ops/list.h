/* SPDX-License-Identifier: Apache-2.0
 *
 * list: THE list of ops, in the order of the table (ops.h): from it come the declarations and the
 * table of each implementation, and the ops that a profile watches.
 */
#ifndef TAILOR_WORKER_OPS_LIST_H
#define TAILOR_WORKER_OPS_LIST_H

/* What is planned and held. */
#define OPS_THAT_HOLD(X)                                                                           \
    X(block_alloc)                                                                                 \
    X(block_free)                                                                                  \
    X(scratch_bytes)                                                                               \
    X(scratch_reserve)                                                                             \
    X(weights_bytes)                                                                               \
    X(weights_keep)                                                                                \
    X(weights_changed)                                                                             \
    X(weights_forget)

/* What moves or computes. */
#define OPS_THAT_COMPUTE(X)                                                                        \
    X(copy_in)                                                                                     \
    X(copy_out)                                                                                    \
    X(zero)                                                                                        \
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

#endif
