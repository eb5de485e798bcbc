/* SPDX-License-Identifier: Apache-2.0
 *
 * isa: one source, three instruction sets.
 *
 * Every file of ops/cpu is compiled three times (CMakeLists.txt), with OPS_ISA = avx2, avx512 and
 * amx, which is AVX-512 and matrix instructions for bf16; amx*.c for the last alone. Whatever has
 * external linkage is named OPS_FN(name): name_avx2 in one object, name_avx512 in the next. Code
 * that differs asks `#ifdef OPS_ISA_avx512` (amx has it too) or `OPS_ISA_amx`. Nothing of an object
 * runs before device_open has seen that the machine has its instructions.
 */
#ifndef TAILOR_WORKER_OPS_CPU_ISA_H
#define TAILOR_WORKER_OPS_CPU_ISA_H

#define OPS_JOIN_(name, isa) name##_##isa
#define OPS_JOIN(name, isa)  OPS_JOIN_(name, isa)
#define OPS_FN(name)         OPS_JOIN(name, OPS_ISA)

#endif
