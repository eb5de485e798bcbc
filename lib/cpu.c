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
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/pool.h"

enum { LINE_BYTES = 4096 };

static bool line_read(const char *path, char line[LINE_BYTES])
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    bool read = fgets(line, LINE_BYTES, file) != NULL;
    fclose(file);
    return read;
}

static bool directory_number(const char *directory, const char *name, int64_t *out)
{
    char path[PATH_MAX];
    char line[LINE_BYTES];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
    return length > 0 && (size_t)length < sizeof(path) && line_read(path, line) &&
           sscanf(line, "%" SCNd64, out) == 1;
}

/* Cores granted by this directory's own files, or 0. */
static double directory_quota(const char *directory, bool second)
{
    int64_t quota = 0;
    int64_t period = 0;
    if (second) {
        char path[PATH_MAX];
        char line[LINE_BYTES];
        int length = snprintf(path, sizeof(path), "%s/cpu.max", directory);
        if (length < 0 || (size_t)length >= sizeof(path) || !line_read(path, line) ||
            sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) != 2) {
            return 0; /* "max 100000" ends here too */
        }
    } else if (!directory_number(directory, "cpu.cfs_quota_us", &quota) ||
               !directory_number(directory, "cpu.cfs_period_us", &period)) {
        return 0;
    }
    return quota > 0 && period > 0 ? (double)quota / (double)period : 0;
}

/* The smallest quota from mount/path up to the mount itself, or 0. */
static double path_quota(const char *mount, const char *path, bool second)
{
    char directory[PATH_MAX];
    int length = snprintf(directory, sizeof(directory), "%s%s", mount, path);
    if (length < 0 || (size_t)length >= sizeof(directory)) {
        return 0;
    }
    double least = 0;
    size_t mount_length = strlen(mount);
    for (;;) {
        double quota = directory_quota(directory, second);
        if (quota > 0 && (least == 0 || quota < least)) {
            least = quota;
        }
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < mount_length) {
            return least;
        }
        *slash = '\0';
    }
}

/* Does the comma-separated list of a /proc/self/cgroup line name the cpu controller? */
static bool has_cpu(const char *controllers)
{
    for (const char *at = controllers; at; at = strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0')) {
            return true;
        }
    }
    return false;
}

double cpu_quota(const char *root)
{
    char path[PATH_MAX];
    char line[LINE_BYTES];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    double least = 0;
    while (fgets(line, sizeof(line), file)) {
        /* "0::/path" is version 2; "4:cpu,cpuacct:/path" version 1 */
        line[strcspn(line, "\n")] = '\0';
        char *rest = line;
        const char *number = strsep(&rest, ":");
        const char *controllers = strsep(&rest, ":");
        if (!controllers || !rest) {
            continue;
        }
        bool second = strcmp(number, "0") == 0 && controllers[0] == '\0';
        if (!second && !has_cpu(controllers)) {
            continue;
        }
        char mount[PATH_MAX];
        snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup%s", root, second ? "" : "/cpu");
        double quota = path_quota(mount, rest, second);
        if (quota > 0 && (least == 0 || quota < least)) {
            least = quota;
        }
    }
    fclose(file);
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
