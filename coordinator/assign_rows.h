/* SPDX-License-Identifier: Apache-2.0
 *
 * assign_rows: what an Assign message needs from the records. The database thread's.
 */
#ifndef TAILOR_COORDINATOR_ASSIGN_ROWS_H
#define TAILOR_COORDINATOR_ASSIGN_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/status.h"

struct records;

struct assign_rows {
    struct arena *arena; /* in */
    int64_t job;         /* in */
    char *spec;          /* resolved */
    char *checkpoint;    /* the newest one's manifest, or NULL */
    char **manifests;    /* of all that the spec names, parents of parents included */
    size_t manifest_count;
    char **parts; /* of a whole: what its shards left, in order */
    size_t part_count;
    enum status status; /* the caller's to keep */
    struct error error;
};

enum status assign_rows_read(struct records *records, struct assign_rows *rows,
                             struct error *error);

#endif
