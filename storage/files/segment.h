/* SPDX-License-Identifier: Apache-2.0
 *
 * segment: telemetry (metrics, logs) as numbered entries in append-only files, with retention.
 *
 *     DIR/00000000000000000001.seg     entries 1 …
 *     DIR/00000000000000000873.seg     entries 873 …: the name is the first entry's number
 *
 * Nothing is synced: telemetry may be lost in a crash, but what is read is what was written. A tail
 * that a crash tore is cut off at the next open; an entry whose check fails ends its file.
 * When a file is full the next one begins and the oldest ones go, so a directory takes at most
 * (keep + 1) × segment_bytes. One writer per directory; readers need none and may lag behind.
 */
#ifndef TAILOR_STORAGE_FILES_SEGMENT_H
#define TAILOR_STORAGE_FILES_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

struct segment_options {
    int64_t segment_bytes; /* a file is full when it has that many */
    int keep;              /* full files besides the one that is written */
};

struct segment_writer;

/* Creates the directory; goes on behind the last whole entry. */
enum status segment_open(const char *dir, const struct segment_options *options,
                         struct segment_writer **writer_out, struct error *error);
/* *number_out: 1, 2, 3, … STATUS_LIMIT: longer than SEGMENT_ENTRY_MAX. After STATUS_IO (a full
 * disk) the file is as before, and a later call may succeed. */
enum status segment_append(struct segment_writer *writer, int64_t time_ms, const void *data,
                           size_t length, int64_t *number_out, struct error *error);
void segment_close(struct segment_writer *writer);

enum { SEGMENT_ENTRY_MAX = 1 << 20 };

struct segment_entry {
    int64_t number, time_ms;
    const char *data; /* borrowed for the visit; a NUL follows it */
    size_t length;
};

/* Entries behind `after`, oldest first, until visit returns false. A gap in the numbers is what
 * retention removed. A directory that is not there has no entries. */
enum status segment_read(const char *dir, int64_t after,
                         bool (*visit)(const struct segment_entry *entry, void *argument),
                         void *argument, struct error *error);

#endif
