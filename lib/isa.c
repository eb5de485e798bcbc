/* SPDX-License-Identifier: Apache-2.0
 *
 * isa: the builtin takes string literals only, so this is a list and not a loop. Processors with
 * AVX2 also have F16C, which clang's builtin does not know; that of older compilers knows nothing
 * of AMX.
 */
#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/pool.h"

#define LACKS(feature) (__builtin_cpu_supports(feature) ? "" : " " feature)

void isa_lacks_nothing(char lacks[ISA_LACKS_MAX])
{
    lacks[0] = '\0';
}

void isa_lacks_avx2(char lacks[ISA_LACKS_MAX])
{
    snprintf(lacks, ISA_LACKS_MAX, "%s%s", LACKS("avx2"), LACKS("fma"));
}

void isa_lacks_avx512(char lacks[ISA_LACKS_MAX])
{
    snprintf(lacks, ISA_LACKS_MAX, "%s%s%s%s%s", LACKS("avx512f"), LACKS("avx512bw"),
             LACKS("avx512vl"), LACKS("avx512dq"), LACKS("fma"));
}

void isa_lacks_amx(char lacks[ISA_LACKS_MAX])
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILE_DATA = 18 };
    enum { AVX512_BF16 = 1 << 5, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a = 0, b, c, d = 0, more = 0, unused;
    isa_lacks_avx512(lacks);
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    __get_cpuid_count(7, 1, &more, &b, &c, &unused);
    const bool instructions =
        (d & AMX_BF16) != 0 && (d & AMX_TILE) != 0 && (more & AVX512_BF16) != 0;
    const bool granted =
        instructions && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA) == 0;
    const size_t length = strlen(lacks);
    snprintf(lacks + length, ISA_LACKS_MAX - length, "%s",
             !instructions ? " amx_bf16"
             : !granted    ? " amx_bf16 (the kernel denies it)"
                           : "");
}

const char *isa_best(void)
{
    static const struct {
        const char *name;
        void (*lacks)(char lacks[ISA_LACKS_MAX]);
    } sets[] = {{"amx", isa_lacks_amx}, {"avx512", isa_lacks_avx512}, {"avx2", isa_lacks_avx2}};
    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        char lacks[ISA_LACKS_MAX];
        sets[i].lacks(lacks);
        if (lacks[0] == '\0') {
            return sets[i].name;
        }
    }
    return "generic";
}
