/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_cpu: the table of the fast path, `ops_avx2`, `ops_avx512` and `ops_amx` in an object each.
 */
#include "worker/ops/cpu/cpu.h"

#define CPU_TEXT_(isa) #isa
#define CPU_TEXT(isa)  CPU_TEXT_(isa)
#define CPU_ENTRY(op)  .op = OPS_FN(op),

const struct ops OPS_FN(ops) = {.name = CPU_TEXT(OPS_ISA),
                                OPS_THAT_HOLD(CPU_ENTRY) OPS_THAT_COMPUTE(CPU_ENTRY)};
