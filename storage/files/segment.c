/* SPDX-License-Identifier: Apache-2.0
 *
 * An entry is a header of 32 bytes (magic, length, number, time, check) and its bytes, written by
 * one call. The check covers the header before it and the bytes: it finds torn and flipped ones
 * (not forged ones: whoever can write here can do worse). hash_bytes is thereby part of the format.
 *
 * Rejected: a database table (each line would pass through the commits that jobs wait for), and
 * lines of text without a check (a torn line reads like a whole one).
 */
#include "storage/files/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/map.h"

enum { NAME_DIGITS = 20, SEGMENT_MAGIC = 0x74736567, HASH_SEED = 1 };

struct header {
    uint32_t magic, length;
    int64_t number, time_ms;
    uint64_t check; /* of the fields above and the bytes behind */
};
_Static_assert(sizeof(struct header) == 32, "a header has no holes");

struct segment_writer {
    char dir[PATH_MAX];
    struct segment_options options;
    int fd; /* -1: no file is being written */
    int64_t size;
    int64_t next;
};

/* First numbers of the files of a directory, in order. */
struct names {
    int64_t *first;
    int count;
};

static uint64_t check_of(const struct header *header, const void *data)
{
    uint64_t seed = hash_bytes(header, offsetof(struct header, check), HASH_SEED);
    return hash_bytes(data, header->length, seed);
}

static void segment_path(const char *dir, int64_t first, char out[PATH_MAX])
{
    char name[NAME_DIGITS + 8];
    snprintf(name, sizeof(name), "%0*" PRId64 ".seg", NAME_DIGITS, first);
    path_join(out, PATH_MAX, dir, name);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static struct names list_segments(const char *dir)
{
    struct names names = {.count = 0};
    int capacity = 0;
    DIR *entries = opendir(dir);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (strspn(entry->d_name, "0123456789") != NAME_DIGITS ||
            strcmp(entry->d_name + NAME_DIGITS, ".seg") != 0)
            continue;
        if (names.count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            names.first = mem_grow(names.first, size_mul(sizeof(int64_t), (size_t)capacity));
        }
        names.first[names.count++] = strtoll(entry->d_name, NULL, 10);
    }
    if (entries != NULL)
        closedir(entries);
    if (names.count > 0)
        qsort(names.first, (size_t)names.count, sizeof(int64_t), compare);
    return names;
}

/* ---- reading a file ---- */
/* The entry at `offset`, or false where whole ones end. */
static bool entry_at(const struct file_map *map, size_t offset, struct header *header_out)
{
    struct header header;
    if (map->size - offset < sizeof(header))
        return false;
    memcpy(&header, map->data + offset, sizeof(header));
    if (header.magic != SEGMENT_MAGIC || header.length > SEGMENT_ENTRY_MAX ||
        header.length > map->size - offset - sizeof(header) ||
        header.check != check_of(&header, map->data + offset + sizeof(header)))
        return false;
    *header_out = header;
    return true;
}

struct scan {
    int64_t after;
    bool (*visit)(const struct segment_entry *entry, void *argument);
    void *argument;
    int64_t last;   /* number of the last whole entry */
    int64_t length; /* bytes of whole entries */
    bool stopped;
};

/* Looks at the entries of one file from `first` on. */
static enum status scan_segment(const char *path, int64_t first, struct scan *scan,
                                struct error *error)
{
    struct file_map map;
    struct header header;
    size_t offset = 0;
    char *copy = NULL;
    TRY(file_map_open(path, &map, error));
    scan->last = first - 1;
    while (!scan->stopped && entry_at(&map, offset, &header) && header.number == scan->last + 1) {
        scan->last = header.number;
        if (scan->visit != NULL && header.number > scan->after) {
            copy = mem_grow(copy, (size_t)header.length + 1);
            memcpy(copy, map.data + offset + sizeof(header), header.length);
            copy[header.length] = '\0';
            struct segment_entry entry = {.number = header.number,
                                          .time_ms = header.time_ms,
                                          .data = copy,
                                          .length = header.length};
            scan->stopped = !scan->visit(&entry, scan->argument);
        }
        offset += sizeof(header) + header.length;
    }
    scan->length = (int64_t)offset;
    mem_free(copy);
    file_map_close(&map);
    return STATUS_OK;
}

enum status segment_read(const char *dir, int64_t after,
                         bool (*visit)(const struct segment_entry *entry, void *argument),
                         void *argument, struct error *error)
{
    struct scan scan = {.after = after, .visit = visit, .argument = argument};
    struct names names = list_segments(dir);
    enum status status = STATUS_OK;
    for (int i = 0; i < names.count && status == STATUS_OK && !scan.stopped; i++) {
        char path[PATH_MAX];
        if (i + 1 < names.count && names.first[i + 1] <= after + 1)
            continue; /* all of it lies before */
        segment_path(dir, names.first[i], path);
        status = scan_segment(path, names.first[i], &scan, error);
        if (status == STATUS_NOT_FOUND) /* retention was faster */
            status = STATUS_OK;
    }
    mem_free(names.first);
    return status;
}

/* ---- writing ---- */
static enum status io_error(struct error *error, const char *doing, const char *path)
{
    return error_set(error, STATUS_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

/* Goes on behind the last whole entry of the last file. */
static enum status resume(struct segment_writer *writer, int64_t first, struct error *error)
{
    char path[PATH_MAX];
    struct scan scan = {.visit = NULL};
    segment_path(writer->dir, first, path);
    TRY(scan_segment(path, first, &scan, error));
    writer->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (writer->fd < 0)
        return io_error(error, "open", path);
    if (file_size(path) > scan.length) {
        log_warn("segment %s: a torn tail at byte %" PRId64 " is cut off", path, scan.length);
        if (ftruncate(writer->fd, scan.length) != 0)
            return io_error(error, "truncate", path);
    }
    writer->size = scan.length;
    writer->next = scan.last + 1;
    return STATUS_OK;
}

enum status segment_open(const char *dir, const struct segment_options *options,
                         struct segment_writer **writer_out, struct error *error)
{
    CHECK(options->segment_bytes > 0 && options->keep >= 0);
    TRY(dir_create(dir, error));
    struct segment_writer *writer = mem_alloc(sizeof(*writer));
    snprintf(writer->dir, sizeof(writer->dir), "%s", dir);
    writer->options = *options;
    writer->fd = -1;
    writer->next = 1;
    struct names names = list_segments(dir);
    enum status status =
        names.count > 0 ? resume(writer, names.first[names.count - 1], error) : STATUS_OK;
    mem_free(names.first);
    if (status != STATUS_OK)
        segment_close(writer);
    else
        *writer_out = writer;
    return status;
}

void segment_close(struct segment_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    mem_free(writer);
}

static void expire(const struct segment_writer *writer)
{
    struct names names = list_segments(writer->dir);
    for (int i = 0; i < names.count - 1 - writer->options.keep; i++) {
        char path[PATH_MAX];
        segment_path(writer->dir, names.first[i], path);
        if (unlink(path) != 0)
            log_warn("segment %s: cannot be removed: %s", path, strerror(errno));
    }
    mem_free(names.first);
}

/* A new file, whose first entry will be writer->next. */
static enum status roll(struct segment_writer *writer, struct error *error)
{
    char path[PATH_MAX];
    segment_path(writer->dir, writer->next, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return io_error(error, "create", path);
    if (writer->fd >= 0)
        close(writer->fd);
    writer->fd = fd;
    writer->size = 0;
    expire(writer);
    return STATUS_OK;
}

enum status segment_append(struct segment_writer *writer, int64_t time_ms, const void *data,
                           size_t length, int64_t *number_out, struct error *error)
{
    if (length > SEGMENT_ENTRY_MAX)
        return error_set(error, STATUS_LIMIT, "an entry of %zu bytes; at most %d", length,
                         SEGMENT_ENTRY_MAX);
    if (writer->fd < 0 || writer->size >= writer->options.segment_bytes)
        TRY(roll(writer, error));
    struct header header = {.magic = SEGMENT_MAGIC,
                            .length = (uint32_t)length,
                            .number = writer->next,
                            .time_ms = time_ms};
    header.check = check_of(&header, data);
    size_t size = sizeof(header) + length;
    char *bytes = mem_alloc(size);
    memcpy(bytes, &header, sizeof(header));
    if (length > 0)
        memcpy(bytes + sizeof(header), data, length);
    ssize_t written =
        failpoint_fails("segment_write") ? -1 : pwrite(writer->fd, bytes, size, writer->size);
    int number = errno;
    mem_free(bytes);
    if (written != (ssize_t)size) {
        /* The next append writes over what there is of it. */
        errno = written < 0 ? number : ENOSPC;
        return io_error(error, "write an entry", writer->dir);
    }
    writer->size += (int64_t)size;
    *number_out = writer->next++;
    return STATUS_OK;
}
