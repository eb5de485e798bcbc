/* SPDX-License-Identifier: Apache-2.0
 *
 * renewal_record: the records of a backup, made fit to go on from.
 *
 * What happened after the copy is not in it, but it did happen: ids were given out, attempts began,
 * and workers may still run them. So ids and terms jump over what may have been given away since,
 * and no attempt of the copy is live: its jobs are queued again, from their newest checkpoint.
 */
#ifndef TAILOR_STORAGE_RECORDS_RENEWAL_RECORD_H
#define TAILOR_STORAGE_RECORDS_RENEWAL_RECORD_H

#include "storage/records/records.h"

struct renewal_counts {
    int64_t jobs, models, blobs, bytes;
};

/* In a transaction of its own. */
enum status records_renew(struct records *records, int64_t now_ms, struct error *error);
/* Every blob that has a row is asked for; STATUS_FORMAT naming the first whose file is not below
 * `root`, or has another length. */
enum status renewal_check_blobs(struct records *records, const char *root,
                                struct renewal_counts *counts_out, struct error *error);

#endif
