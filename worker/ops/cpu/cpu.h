/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu: the fast path's ops, each with the type that its entry has in `struct ops` (ops.h says what
 * each does; ops_cpu.c makes the table).
 */
#ifndef TAILOR_WORKER_OPS_CPU_CPU_H
#define TAILOR_WORKER_OPS_CPU_CPU_H

#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

/* Every op of the fast path: once for the declarations, once for the table. */
#define CPU_OPS(X)                                                                                 \
    /* scratch.c */                                                                                \
    X(scratch_bytes)                                                                               \
    X(scratch_reserve)                                                                             \
    /* memory.c */                                                                                 \
    X(block_alloc)                                                                                 \
    X(block_free)                                                                                  \
    X(copy_in)                                                                                     \
    X(copy_out)                                                                                    \
    X(zero)                                                                                        \
    /* elementwise.c */                                                                            \
    X(add)                                                                                         \
    X(swiglu_forward)                                                                              \
    X(swiglu_backward)                                                                             \
    /* rows.c */                                                                                   \
    X(embed_forward)                                                                               \
    X(embed_backward)                                                                              \
    X(gather_rows)                                                                                 \
    X(scatter_add_rows)                                                                            \
    /* norm.c */                                                                                   \
    X(rmsnorm_forward)                                                                             \
    X(rmsnorm_backward)                                                                            \
    X(head_norm_forward)                                                                           \
    X(head_norm_backward)                                                                          \
    /* linear.c, lora.c */                                                                         \
    X(linear_forward)                                                                              \
    X(linear_backward_input)                                                                       \
    X(linear_backward_weight)                                                                      \
    X(lora_forward)                                                                                \
    X(lora_backward)                                                                               \
    /* rope.c, attention_forward.c, attention_backward.c */                                        \
    X(rope)                                                                                        \
    X(attention_forward)                                                                           \
    X(attention_backward)                                                                          \
    /* pooling.c */                                                                                \
    X(pool_mean_forward)                                                                           \
    X(pool_mean_backward)                                                                          \
    X(pool_max_forward)                                                                            \
    X(pool_max_backward)                                                                           \
    X(reward_forward)                                                                              \
    X(reward_backward)                                                                             \
    /* cross_entropy.c */                                                                          \
    X(cross_entropy)                                                                               \
    /* adamw.c */                                                                                  \
    X(sumsq)                                                                                       \
    X(adamw)

/* Declares NAME_avx2 or NAME_avx512 with the function type that NAME has in `struct ops`. */
#define CPU_DECLARE(op) __typeof__(*((const struct ops *)0)->op) OPS_FN(op);
CPU_OPS(CPU_DECLARE)
#undef CPU_DECLARE

#endif
