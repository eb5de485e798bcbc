/* SPDX-License-Identifier: Apache-2.0
 *
 * A control group's limit counts its files' pages too, but those it can drop; so what it leaves is
 * its limit less the anonymous part of its statistics.
 */
#include "lib/memory.h"

#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "lib/cgroup.h"
#include "lib/limits.h"

/* The number behind `key` at the beginning of a line; -1 where the file has none. */
static int64_t file_value(const char *path, const char *key)
{
    char line[256];
    FILE *file = fopen(path, "re");
    int64_t value = -1;
    while (file && value < 0 && fgets(line, sizeof(line), file)) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) != 0 || sscanf(line + length, "%" SCNd64, &value) != 1) {
            value = -1;
        }
    }
    if (file) {
        fclose(file);
    }
    return value;
}

static size_t proc_bytes(const char *root, const char *name, const char *key)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/proc/%s", root, name);
    int64_t kibibytes = file_value(path, key);
    return kibibytes > 0 ? (size_t)kibibytes * KIB : 0;
}

static void take_limit(void *argument, const char *directory, bool second)
{
    size_t *least = argument;
    char statistics[PATH_MAX];
    int64_t limit;
    snprintf(statistics, sizeof(statistics), "%s/memory.stat", directory);
    if (!cgroup_number(directory, second ? "memory.max" : "memory.limit_in_bytes", &limit) ||
        limit <= 0) {
        return;
    }
    int64_t used = file_value(statistics, second ? "anon " : "total_rss ");
    size_t left = used < 0 ? (size_t)limit : limit > used ? (size_t)(limit - used) : 1;
    *least = left < *least ? left : *least;
}

size_t memory_available(const char *root)
{
    size_t available = proc_bytes(root, "meminfo", "MemAvailable:");
    size_t least = available > 0 ? available : SIZE_MAX;
    cgroup_visit(root, "memory", take_limit, &least);
    return least < SIZE_MAX ? least : 0;
}

size_t memory_total(const char *root)
{
    return proc_bytes(root, "meminfo", "MemTotal:");
}

size_t memory_anonymous(const char *root)
{
    return proc_bytes(root, "self/status", "RssAnon:");
}

void memory_trim(void)
{
    malloc_trim(0);
}
