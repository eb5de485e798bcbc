/* SPDX-License-Identifier: Apache-2.0
 *
 * staging: see staging.h.
 *
 * Invariant: every file inside was fsynced by whoever wrote it (file_write_atomic and
 * safetensors_write do), so the rename publishes durable content only.
 */
#include "worker/model/staging.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/json.h"

static bool dir_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return false;
    }
    bool empty = true;
    for (struct dirent *entry = readdir(dir); entry != NULL && empty; entry = readdir(dir)) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    closedir(dir);
    return empty;
}

/* The directory that `path` stands in. */
static void dir_above(const char *path, char out[MODEL_PATH_MAX])
{
    int length = (int)(path_base(path) - path);
    snprintf(out, MODEL_PATH_MAX, "%.*s", length > 0 ? length : 1, length > 0 ? path : ".");
}

enum status staging_begin(struct staging *staging, const char *dir, struct error *error)
{
    enum { NAMES_ROOM = 512 };
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/') {
        length--;
    }
    if (length == 0 || length + NAMES_ROOM >= MODEL_PATH_MAX) {
        return error_set(error, STATUS_USAGE, "\"%.60s\" cannot be an output directory", dir);
    }
    snprintf(staging->final, sizeof(staging->final), "%.*s", (int)length, dir);
    struct stat info;
    if (lstat(staging->final, &info) == 0 && !dir_is_empty(staging->final)) {
        return error_set(error, STATUS_CONFLICT, "%s: is already there and not an empty directory",
                         staging->final);
    }
    char above[MODEL_PATH_MAX];
    char name[300];
    dir_above(staging->final, above);
    TRY(dir_create(above, error));
    snprintf(name, sizeof(name), ".tmp-%ld-%.255s", (long)getpid(), path_base(staging->final));
    path_join(staging->temporary, sizeof(staging->temporary), above, name);
    if (dir_exists(staging->temporary)) { /* of a killed process that had our number */
        TRY(dir_remove(staging->temporary, error));
    }
    return dir_create(staging->temporary, error);
}

static enum status publish(struct staging *staging, struct error *error)
{
    char above[MODEL_PATH_MAX];
    dir_above(staging->final, above);
    TRY(dir_fsync(staging->temporary, error));
    if (failpoint_fails("staging_rename") || rename(staging->temporary, staging->final) != 0) {
        return error_set(error, STATUS_IO, "%s: cannot rename into place: %s", staging->final,
                         strerror(errno));
    }
    return dir_fsync(above, error);
}

enum status staging_end(struct staging *staging, enum status status, struct error *error)
{
    if (status == STATUS_OK) {
        status = publish(staging, error);
    }
    if (status != STATUS_OK && dir_exists(staging->temporary)) {
        dir_remove(staging->temporary, NULL);
    }
    return status;
}

enum status staging_json(const char *dir, const char *name, json_t *json, struct error *error)
{
    char path[MODEL_PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    enum status status = json_write_file(path, json, error);
    json_decref(json);
    return status;
}

enum status staging_copy(const char *from_dir, const char *to_dir, const char *name,
                         struct error *error)
{
    char from[MODEL_PATH_MAX];
    char to[MODEL_PATH_MAX];
    path_join(from, sizeof(from), from_dir, name);
    path_join(to, sizeof(to), to_dir, name);
    if (!file_exists(from)) {
        return STATUS_OK;
    }
    struct file_map map;
    TRY(file_map_open(from, &map, error));
    enum status status =
        file_write_atomic(to, map.data ? (const void *)map.data : "", map.size, error);
    file_map_close(&map);
    return status;
}
