/* SPDX-License-Identifier: Apache-2.0
 *
 * isa: what this processor lacks for the instruction sets that kernels are chosen by.
 *
 *     char lacks[ISA_LACKS_MAX];
 *     isa_lacks_avx512(lacks);       // " avx512bw fma"; "" if it can run them
 */
#ifndef TAILOR_LIB_ISA_H
#define TAILOR_LIB_ISA_H

enum { ISA_LACKS_MAX = 96 };

void isa_lacks_nothing(char lacks[ISA_LACKS_MAX]);
void isa_lacks_avx2(char lacks[ISA_LACKS_MAX]);
void isa_lacks_avx512(char lacks[ISA_LACKS_MAX]);
/* AVX-512, and products of bf16 by matrix instructions. Also asks the kernel for the tile
 * registers, which a process has to; threads started later have them too. */
void isa_lacks_amx(char lacks[ISA_LACKS_MAX]);

/* The best of "amx", "avx512" and "avx2" that can run; else "generic". */
const char *isa_best(void);

#endif
