/* SPDX-License-Identifier: Apache-2.0
 *
 * path: exists or not, and which name in the directory was probably meant.
 *
 * Rejected: leaving missing files to tailor-trainer; it would say so after seconds of loading.
 */
#include "client/path.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/text.h"

/* The entry of path's directory that is nearest to its last part, as a path; or NULL. */
static const char *nearest_path(struct arena *arena, const char *path)
{
    enum { ENTRIES_MAX = 4096 };
    const char *base = path_base(path);
    const char *parent = arena_strndup(arena, path, (size_t)(base - path));
    DIR *dir = opendir(parent[0] ? parent : ".");
    if (!dir) {
        return NULL;
    }
    const char **names = arena_array(arena, const char *, ENTRIES_MAX);
    size_t count = 0;
    const struct dirent *entry;
    while (count < ENTRIES_MAX && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            names[count++] = arena_strdup(arena, entry->d_name);
        }
    }
    closedir(dir);
    const char *near = nearest_name(base, names, count);
    return near ? arena_printf(arena, "%s%s", parent, near) : NULL;
}

static enum status missing(const char *path, struct error *error)
{
    if (strncmp(path, "sha256:", 7) == 0 || strchr(path, '@')) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s is a name in a service, and this works without one: name a file or "
                         "directory",
                         path);
    }
    struct arena arena = {0};
    const char *near = nearest_path(&arena, path);
    enum status status =
        near ? error_set(error, STATUS_NOT_FOUND, "%s: no such file or directory: did you mean %s?",
                         path, near)
             : error_set(error, STATUS_NOT_FOUND, "%s: no such file or directory", path);
    arena_release(&arena);
    return status;
}

static bool is_directory_word(const char *placeholder)
{
    static const char *const words[] = {"DIR", "MODEL", "RUN", "A", "B"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(placeholder, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum status path_check(const char *placeholder, const char *path, struct error *error)
{
    bool file = placeholder && strncmp(placeholder, "FILE", 4) == 0;
    bool dir = placeholder && is_directory_word(placeholder);
    if (!(file || dir) || (file && strcmp(placeholder, "FILE|-") == 0 && strcmp(path, "-") == 0)) {
        return STATUS_OK;
    }
    if (access(path, F_OK) != 0) {
        return missing(path, error);
    }
    if (dir && !dir_exists(path)) {
        return error_set(error, STATUS_USAGE, "%s is a file: name the directory", path);
    }
    if (file && dir_exists(path)) {
        return error_set(error, STATUS_USAGE, "%s is a directory: name a file in it", path);
    }
    return STATUS_OK;
}

enum status path_absolute(struct arena *arena, const char *path, const char **path_out,
                          struct error *error)
{
    char present[PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (path[0] == '/') {
        *path_out = arena_strndup(arena, path, length);
        return STATUS_OK;
    }
    if (!getcwd(present, sizeof(present))) {
        return error_set(error, STATUS_IO, "the present directory: %s", strerror(errno));
    }
    *path_out = arena_printf(arena, "%s/%.*s", present, (int)length, path);
    return STATUS_OK;
}

bool path_names_data(const char *path)
{
    static const char *const endings[] = {".jsonl", ".json", ".gz", ".zst"};
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t own = strlen(endings[i]);
        if (length >= own && strcmp(path + length - own, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Only the directory is resolved: a data file may be a link of a hub cache, and what it leads to
 * has no ending that says what it is. */
static const char *resolve(struct arena *arena, const char *path)
{
    char resolved[PATH_MAX];
    const char *base = path_base(path);
    if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        return realpath(path, resolved) ? arena_strdup(arena, resolved) : NULL;
    }
    const char *parent = base == path ? "." : arena_strndup(arena, path, (size_t)(base - path));
    if (!realpath(parent, resolved)) {
        return NULL;
    }
    return arena_printf(arena, "%s/%s", strcmp(resolved, "/") == 0 ? "" : resolved, base);
}

enum status path_resolve(struct arena *arena, const char *field, const char *placeholder,
                         const char *path, const char **path_out, struct error *error)
{
    if (path_check(placeholder, path, error) != STATUS_OK) {
        return error_prefix(error, "%s", field);
    }
    const char *resolved = resolve(arena, path);
    if (!resolved) {
        return error_set(error, STATUS_NOT_FOUND, "%s: %s: %s", field, path, strerror(errno));
    }
    *path_out = resolved;
    return STATUS_OK;
}
