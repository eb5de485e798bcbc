/* SPDX-License-Identifier: Apache-2.0
 *
 * records: what the service must never lose, in one SQLite file.
 *
 *     TRY(records_open("state/records.db", &options, &records, error));
 *     TRY(records_begin(records, error));
 *     records_savepoint(records);                        // one request
 *     status = job_record_submit(records, …);
 *     records_settle(records, status);                   // its changes stay, or go alone
 *     TRY(records_commit(records, error));               // now, and not before, acknowledge
 *
 * One connection reads, writes and checkpoints its WAL: SQLite 3.40.1, Debian 12's, can corrupt a
 * file that two connections checkpoint, and the lock it takes keeps a second coordinator out. It
 * belongs to one thread at a time, and must not be carried over a fork. `synchronous` is FULL.
 *
 * A row is read into, and written from, a message of proto/api.proto: columns and fields have the
 * same names (sql.h). Every noun that belongs to a tenant is asked for with a scope, which stands
 * in the SQL of each statement: a foreign thing is not found, like an unknown one.
 *
 * Each page has a checksum (checked_file.h): what rotted on the disk is an error, never an answer.
 * A full disk (records_is_full) rolls back and is over when there is room again. An I/O error at a
 * commit is final (records_is_broken): what is on the disk is unknown until the file is opened
 * anew, so every later call is refused and the process should end.
 */
#ifndef TAILOR_STORAGE_RECORDS_RECORDS_H
#define TAILOR_STORAGE_RECORDS_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/status.h"

struct records;

struct records_options {
    int64_t now_ms;
    const char *cluster; /* the name that a new file gets; an old one keeps its own */
    int64_t pages_max;   /* of 4 KiB; 0: no limit but the disk's */
};

/* Creates the file or brings an older one up to date, in one transaction. STATUS_CONFLICT: another
 * process has it open; STATUS_UNSUPPORTED: a newer program wrote it; STATUS_FORMAT: damaged, or no
 * such file at all. */
enum status records_open(const char *path, const struct records_options *options,
                         struct records **records_out, struct error *error);
void records_close(struct records *records); /* an open transaction is rolled back */

enum status records_begin(struct records *records, struct error *error);
enum status records_commit(struct records *records, struct error *error);
void records_rollback(struct records *records);
/* One request within a transaction. records_settle keeps its changes if `status` is STATUS_OK and
 * undoes them otherwise. False: the whole transaction is gone (a full disk does that). */
void records_savepoint(struct records *records);
bool records_settle(struct records *records, enum status status);

bool records_is_full(const struct records *records); /* the last transaction found the disk full */
bool records_is_broken(const struct records *records);
const char *records_cluster(const struct records *records);
int64_t records_epoch(const struct records *records); /* how often the file was opened */
int records_version(void);                            /* of the schema: the newest migration */

/* A checked copy, made while the service runs. `path` must not exist. Outside a transaction. */
enum status records_backup(struct records *records, const char *path, struct error *error);
/* The whole file: STATUS_FORMAT with the first finding. */
enum status records_check(struct records *records, struct error *error);
/* Moves the WAL's pages into the file and empties it, so that no deleted text is left there. */
enum status records_scrub(struct records *records, struct error *error);

/* Whose things a call may see. An empty scope is our bug. */
struct scope {
    const char *tenant; /* only this tenant's, or … */
    bool all;           /* … everybody's */
};

#define SCOPE_ALL          ((struct scope){.all = true})
#define SCOPE_TENANT(name) ((struct scope){.tenant = (name)})

#endif
