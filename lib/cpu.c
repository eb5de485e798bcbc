/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu: how many cores this process may keep busy.
 *
 * The affinity mask is a fact; a cgroup's quota is a rate. A pool with more running threads than
 * its quota is stopped by the kernel for the rest of each period, so the quota is rounded down. A
 * quota of any ancestor counts. Files that are missing or odd mean "no quota": this can only make
 * us slower, never wrong. Rejected: sysconf(_SC_NPROCESSORS_ONLN), which knows neither.
 */
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

#include "lib/cgroup.h"
#include "lib/check.h"
#include "lib/pool.h"

/* Cores granted by this directory's own files, or 0. */
static double directory_quota(const char *directory, bool second)
{
    int64_t quota = 0;
    int64_t period = 0;
    if (second) {
        char line[64];
        if (!cgroup_line(directory, "cpu.max", line, sizeof(line)) ||
            sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) != 2) {
            return 0; /* "max 100000" ends here too */
        }
    } else if (!cgroup_number(directory, "cpu.cfs_quota_us", &quota) ||
               !cgroup_number(directory, "cpu.cfs_period_us", &period)) {
        return 0;
    }
    return quota > 0 && period > 0 ? (double)quota / (double)period : 0;
}

static void take_quota(void *argument, const char *directory, bool second)
{
    double *least = argument;
    double quota = directory_quota(directory, second);
    if (quota > 0 && (*least == 0 || quota < *least)) {
        *least = quota;
    }
}

double cpu_quota(const char *root)
{
    double least = 0;
    cgroup_visit(root, "cpu", take_quota, &least);
    return least;
}

int cpu_count(void)
{
    enum { CPUS_MAX = 4096 };
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    CHECK(set != NULL);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 1;
    CPU_FREE(set);
    double quota = cpu_quota("");
    if (quota > 0 && quota < count) {
        count = (int)quota;
    }
    return count < 1 ? 1 : count;
}
