/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: a fixed team of threads for data-parallel loops; and the processor that they run on.
 *
 * pool_run calls task(argument, index, thread) for every index in [0, count), the caller's thread
 * taking part, and returns when all are done. Indices are claimed one by one from an atomic
 * counter, so who runs which is not defined: tasks must write disjoint memory, and results must
 * not depend on `thread`, which only selects scratch. Workers spin briefly, then sleep. A team as
 * large as the affinity mask is bound, one worker a core; the caller never is.
 * One loop at a time; pool_run from inside a task is a bug (CHECK).
 */
#ifndef TAILOR_LIB_POOL_H
#define TAILOR_LIB_POOL_H

#include <stddef.h>

struct pool;

typedef void pool_task(void *argument, size_t index, int thread);

struct pool *pool_create(int threads); /* 1 … POOL_THREADS_MAX; 1 starts no thread */
void pool_free(struct pool *pool);
int pool_threads(const struct pool *pool);
void pool_run(struct pool *pool, size_t count, pool_task *task, void *argument);

/* Cores this process may use: the affinity mask, cut by a cgroup CPU quota. At least 1. */
int cpu_count(void);
/* The quota alone, in cores; 0: none. `root` goes before /proc and /sys ("" outside tests). */
double cpu_quota(const char *root);

/* What this processor lacks for an instruction set, by name: " avx512bw fma"; "" if it can run it.
 * AMX stands for AVX-512 and products of bf16 by matrix instructions; asking for it asks the kernel
 * for the tile registers, which a process has to (threads started later have them too). */
enum { ISA_LACKS_MAX = 96 };
void isa_lacks_nothing(char lacks[ISA_LACKS_MAX]);
void isa_lacks_avx2(char lacks[ISA_LACKS_MAX]);
void isa_lacks_avx512(char lacks[ISA_LACKS_MAX]);
void isa_lacks_amx(char lacks[ISA_LACKS_MAX]);
/* The best of "amx", "avx512" and "avx2" that can run; else "generic". */
const char *isa_best(void);

enum { POOL_THREADS_MAX = 256 };

#endif
