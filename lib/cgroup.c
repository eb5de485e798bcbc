/* SPDX-License-Identifier: Apache-2.0
 *
 * /proc/self/cgroup has a line a hierarchy: "0::/path" is version 2, "4:cpu,cpuacct:/path" is
 * version 1, mounted at the controller's name. A container may see its own group as the mount
 * itself, so the mount's own files count too.
 */
#include "lib/cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

bool cgroup_line(const char *directory, const char *name, char *line, int size)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = length > 0 && (size_t)length < sizeof(path) ? fopen(path, "re") : NULL;
    if (!file) {
        return false;
    }
    bool read = fgets(line, size, file) != NULL;
    fclose(file);
    return read;
}

bool cgroup_number(const char *directory, const char *name, int64_t *out)
{
    char line[64];
    return cgroup_line(directory, name, line, sizeof(line)) && sscanf(line, "%" SCNd64, out) == 1;
}

/* Does the comma-separated list name the controller? */
static bool lists(const char *controllers, const char *controller)
{
    size_t length = strlen(controller);
    for (const char *at = controllers; at; at = strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (strncmp(at, controller, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* From mount/path up to the mount itself. */
static void climb(const char *mount, const char *path, bool second, cgroup_visitor *visitor,
                  void *argument)
{
    char directory[PATH_MAX];
    int length = snprintf(directory, sizeof(directory), "%s%s", mount, path);
    if (length < 0 || (size_t)length >= sizeof(directory)) {
        return;
    }
    size_t mount_length = strlen(mount);
    for (;;) {
        visitor(argument, directory, second);
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < mount_length) {
            return;
        }
        *slash = '\0';
    }
}

void cgroup_visit(const char *root, const char *controller, cgroup_visitor *visitor, void *argument)
{
    char path[PATH_MAX];
    char line[PATH_MAX];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file) {
        return;
    }
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line;
        const char *number = strsep(&rest, ":");
        const char *controllers = strsep(&rest, ":");
        if (!controllers || !rest) {
            continue;
        }
        bool second = strcmp(number, "0") == 0 && controllers[0] == '\0';
        if (!second && !lists(controllers, controller)) {
            continue;
        }
        char mount[PATH_MAX];
        snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup%s%s", root, second ? "" : "/",
                 second ? "" : controller);
        climb(mount, rest, second, visitor, argument);
    }
    fclose(file);
}
