/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "storage/files/blob.h"
#include "storage/files/upload.h"

enum { EVICT_AGE_MS = 60 * 1000 }; /* what came just now is about to be used */

enum status cache_open(struct cache *cache, const char *data, int64_t bytes_max,
                       struct error *error)
{
    path_join(cache->dir, sizeof(cache->dir), data, "cache");
    cache->bytes_max = bytes_max;
    TRY(dir_create(cache->dir, error));
    upload_expire(cache->dir, INT64_MAX); /* parts of a former life */
    cache_evict(cache, 0);
    return STATUS_OK;
}

bool cache_has(const struct cache *cache, const char *digest)
{
    int64_t size;
    return blob_size(cache->dir, digest, &size, NULL) == STATUS_OK && size >= 0;
}

enum status cache_take(const struct cache *cache, const char *path, const char *digest,
                       char digest_out[SHA256_HEX_SIZE], int64_t *bytes_out, struct error *error)
{
    char own[SHA256_HEX_SIZE], temporary[PATH_MAX];
    struct stat info;
    if (stat(path, &info) != 0)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                         strerror(errno));
    if (digest == NULL) {
        TRY(sha256_file_hex(path, own, error));
        digest = own;
    }
    if (!cache_has(cache, digest)) {
        path_join(temporary, sizeof(temporary), cache->dir, "tmp-link");
        unlink(temporary);
        if (failpoint_fails("cache_link") || link(path, temporary) != 0)
            return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                             strerror(errno));
        TRY(blob_adopt(cache->dir, temporary, digest, error));
    }
    *bytes_out = info.st_size;
    if (digest_out != NULL)
        memmove(digest_out, digest, SHA256_HEX_SIZE);
    return STATUS_OK;
}

enum status cache_put(const struct cache *cache, const void *data, size_t size,
                      char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    return blob_put(cache->dir, data, size, digest_out, error);
}

enum status cache_give(const struct cache *cache, const char *digest, const char *path,
                       struct error *error)
{
    char blob[PATH_MAX], dir[PATH_MAX];
    TRY(blob_path(cache->dir, digest, blob, error));
    snprintf(dir, sizeof(dir), "%s", path);
    *(strrchr(dir, '/')) = '\0';
    TRY(dir_create(dir, error));
    /* Used now. Not the time of change: who reads the same blob would take it for another text. */
    const struct timespec used[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    utimensat(AT_FDCWD, blob, used, 0);
    if (link(blob, path) != 0 && errno != EEXIST)
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    return STATUS_OK;
}

enum status cache_give_all(const struct cache *cache, const struct manifest *manifest,
                           const char *dir, struct error *error)
{
    for (int i = 0; i < manifest->count; i++) {
        char path[PATH_MAX];
        if (strlen(dir) + strlen(manifest->files[i].name) + 2 > sizeof(path))
            return error_set(error, STATUS_LIMIT, "%s: its name is too long here",
                             manifest->files[i].name);
        path_join(path, sizeof(path), dir, manifest->files[i].name);
        TRY(cache_give(cache, manifest->files[i].digest, path, error));
    }
    return STATUS_OK;
}

enum status cache_manifest(const struct cache *cache, struct arena *arena, const char *digest,
                           struct manifest *manifest_out, bool *is_manifest_out,
                           struct error *error)
{
    struct file_map map;
    int64_t size;
    *is_manifest_out = false;
    TRY(blob_size(cache->dir, digest, &size, error));
    if (size > (int64_t)CONFIG_BYTES_MAX)
        return STATUS_OK;
    TRY(blob_open(cache->dir, digest, &map, error));
    enum status status =
        manifest_parse(arena, map.data, map.size, manifest_out, is_manifest_out, error);
    file_map_close(&map);
    if (status != STATUS_OK)
        error_prefix(error, "blob %.12s…: ", digest);
    return status;
}

void cache_forget(const struct cache *cache, const char *digest)
{
    char path[PATH_MAX];
    struct stat info;
    if (blob_path(cache->dir, digest, path, NULL) == STATUS_OK && stat(path, &info) == 0 &&
        info.st_nlink == 1)
        blob_remove(cache->dir, digest, NULL);
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static void inputs_dir(const struct cache *cache, char out[PATH_MAX])
{
    path_join(out, PATH_MAX, cache->dir, "inputs");
}

void cache_note_input(const struct cache *cache, const char *digest)
{
    char dir[PATH_MAX], path[PATH_MAX];
    inputs_dir(cache, dir);
    path_join(path, sizeof(path), dir, digest);
    if (dir_create(dir, NULL) != STATUS_OK)
        return; /* nothing depends on it */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

void cache_each_input(const struct cache *cache, void (*visit)(const char *digest, void *argument),
                      void *argument)
{
    char dir[PATH_MAX];
    inputs_dir(cache, dir);
    DIR *entries = opendir(dir);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        if (cache_has(cache, entry->d_name))
            visit(entry->d_name, argument);
        else
            unlinkat(dirfd(entries), entry->d_name, 0);
    }
    if (entries != NULL)
        closedir(entries);
}

/* ---- the bound ------------------------------------------------------------------------------- */

struct unused {
    char digest[SHA256_HEX_SIZE];
    int64_t time_ms, bytes;
};

struct survey {
    const struct cache *cache;
    struct unused *items;
    size_t count, capacity;
    int64_t bytes, newest_ms;
};

static void look(const char *digest, int64_t changed_ms, void *argument)
{
    (void)changed_ms;
    struct survey *survey = argument;
    char path[PATH_MAX];
    struct stat info;
    if (blob_path(survey->cache->dir, digest, path, NULL) != STATUS_OK || stat(path, &info) != 0)
        return;
    survey->bytes += info.st_size;
    int64_t time_ms = (int64_t)info.st_atim.tv_sec * 1000;
    if (info.st_nlink > 1 || time_ms > survey->newest_ms)
        return;
    if (survey->count == survey->capacity) {
        survey->capacity = survey->capacity != 0 ? 2 * survey->capacity : 64;
        survey->items = mem_grow(survey->items, size_mul(survey->capacity, sizeof(*survey->items)));
    }
    struct unused *item = &survey->items[survey->count++];
    *item = (struct unused){.time_ms = time_ms, .bytes = info.st_size};
    snprintf(item->digest, sizeof(item->digest), "%s", digest);
}

static int by_time(const void *a, const void *b)
{
    const struct unused *left = a, *right = b;
    return (left->time_ms > right->time_ms) - (left->time_ms < right->time_ms);
}

/* Down to `bound` bytes, or by `most` if that is less. */
static void evict(const struct cache *cache, int64_t bound, int64_t most)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct survey survey = {.cache = cache, .newest_ms = (int64_t)now.tv_sec * 1000 - EVICT_AGE_MS};
    blob_each(cache->dir, look, &survey);
    if (survey.count > 0)
        qsort(survey.items, survey.count, sizeof(*survey.items), by_time);
    int64_t least = survey.bytes - most > bound ? survey.bytes - most : bound;
    for (size_t i = 0; i < survey.count && survey.bytes > least; i++) {
        if (blob_remove(cache->dir, survey.items[i].digest, NULL) == STATUS_OK)
            survey.bytes -= survey.items[i].bytes;
    }
    mem_free(survey.items);
}

void cache_evict(const struct cache *cache, int64_t room)
{
    evict(cache, cache->bytes_max > room ? cache->bytes_max - room : 0, INT64_MAX);
}

void cache_relieve(const struct cache *cache, int64_t bytes)
{
    evict(cache, 0, bytes);
}
