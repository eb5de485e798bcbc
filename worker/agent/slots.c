/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/slots.h"

#include "lib/pool.h"

int slots_threads(int64_t slots)
{
    int64_t threads = cpu_count() / slots;
    return threads < 1 ? 1 : threads > POOL_THREADS_MAX ? POOL_THREADS_MAX : (int)threads;
}

bool slots_cpus(int64_t slots, int64_t slot, cpu_set_t *cpus_out)
{
    cpu_set_t all;
    int64_t threads = slots_threads(slots), seen = 0;
    CPU_ZERO(cpus_out);
    if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) < slots * threads)
        return false;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        if (seen / threads == slot)
            CPU_SET(cpu, cpus_out);
        seen++;
    }
    return CPU_COUNT(cpus_out) == threads;
}
