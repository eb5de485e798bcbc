/* SPDX-License-Identifier: Apache-2.0
 *
 * isa: one source, two instruction sets.
 *
 * Every file of ops/cpu is compiled twice (CMakeLists.txt), with OPS_ISA = avx2 and avx512.
 * Whatever has external linkage is named OPS_FN(name): name_avx2 in one object, name_avx512 in the
 * other. Code that differs asks `#ifdef OPS_ISA_avx512`. Nothing of an object runs before
 * device_open has seen that the machine has its instructions.
 */
#ifndef TAILOR_WORKER_OPS_CPU_ISA_H
#define TAILOR_WORKER_OPS_CPU_ISA_H

#define OPS_JOIN_(name, isa) name##_##isa
#define OPS_JOIN(name, isa)  OPS_JOIN_(name, isa)
#define OPS_FN(name)         OPS_JOIN(name, OPS_ISA)

#endif
