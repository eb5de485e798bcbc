/* SPDX-License-Identifier: Apache-2.0
 *
 * records_parts: struct records and its schema, for sql.c and records.c. Private to
 * storage/records.
 */
#ifndef TAILOR_STORAGE_RECORDS_RECORDS_PARTS_H
#define TAILOR_STORAGE_RECORDS_RECORDS_PARTS_H

#include <limits.h>
#include <sqlite3.h>

#include "lib/map.h"
#include "storage/records/records.h"

enum { CLUSTER_BYTES_MAX = 64 };

struct records {
    sqlite3 *db;
    struct map *statements; /* address of a text → sqlite3_stmt */
    char path[PATH_MAX];
    char cluster[CLUSTER_BYTES_MAX + 1];
    int64_t epoch;
    bool full, broken;
};

/* Notes what a result code means for the file (full, broken) and puts it into words. */
enum status records_failed(struct records *records, int code, struct error *error);

/* STATUS_CONFLICT: what cannot be removed, and who refers to it, as many as fit into a sentence. */
enum status records_in_use(const char *what, char *const *referrers, size_t count,
                           struct error *error);

/* The migrations: migration i leads from user_version i to i + 1. NULL behind the last. */
const char *schema_migration(int version);

#endif
