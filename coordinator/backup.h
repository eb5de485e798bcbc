/* SPDX-License-Identifier: Apache-2.0
 *
 * backup: a coordinator's state as a directory of its own, and back.
 *
 *     DATA/backups/backup-MS/records.db   a checked copy, made while the service runs
 *                            keys/        the cluster's identity: workers go on with theirs
 *                            store/       every blob, as a link where the file system lets us
 *
 * A backup exists under its name when all of it is there and synced. Logs and curves are not in it:
 * they are the only thing that may be lost, and what a finished job left lies in its model.
 *
 * A restore fills an empty directory from a copy of such a directory. Each blob's bytes are
 * compared with its name on the way; then the records are opened, checked through, and asked for
 * every blob that they know. It appears under its name when all of that has passed.
 */
#ifndef TAILOR_COORDINATOR_BACKUP_H
#define TAILOR_COORDINATOR_BACKUP_H

#include <limits.h>
#include <stdint.h>

#include "lib/status.h"

struct records;

/* On the database thread, in one piece of work: what the copy of the records names cannot become
 * garbage before it is linked. */
enum status backup_make(struct records *records, const char *data, const char *path,
                        int64_t *blobs_out, int64_t *bytes_out, struct error *error);

/* Where one that is begun now goes. */
void backup_path(const char *data, int64_t now_ms, char path[PATH_MAX]);
/* When the newest backup of this directory was made, by its name; 0: there is none. */
int64_t backup_newest_ms(const char *data);

struct restored {
    int64_t jobs, models, blobs, bytes;
};

/* STATUS_CONFLICT: `data` is not empty; STATUS_FORMAT: the backup is damaged, and how. */
enum status coordinator_restore(const char *backup, const char *data, int64_t now_ms,
                                struct restored *restored_out, struct error *error);

#endif
