/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu: the fast path's ops, each with the type that its entry has in `struct ops` (ops.h says what
 * each does; ops_cpu.c makes the table).
 */
#ifndef TAILOR_WORKER_OPS_CPU_CPU_H
#define TAILOR_WORKER_OPS_CPU_CPU_H

#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

/* Declares NAME_avx2 or NAME_avx512 with the function type that NAME has in `struct ops`. */
#define CPU_DECLARE(op) __typeof__(*((const struct ops *)0)->op) OPS_FN(op);
OPS_THAT_HOLD(CPU_DECLARE)
OPS_THAT_COMPUTE(CPU_DECLARE)
#undef CPU_DECLARE

#endif
