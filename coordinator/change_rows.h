/* SPDX-License-Identifier: Apache-2.0
 *
 * change_rows: the rows of a change, written on the database thread. Private to change.c.
 *
 * A row of a job or an attempt holds only what is to be changed; the rest is read from the records
 * and kept. Each row is safe to be written again.
 */
#ifndef TAILOR_COORDINATOR_CHANGE_ROWS_H
#define TAILOR_COORDINATOR_CHANGE_ROWS_H

#include "lib/arena.h"
#include "lib/status.h"
#include "proto/api.pb-c.h"
#include "proto/worker.pb-c.h"

struct records;

enum row_kind {
    ROW_JOB,           /* job, moved from state `from` */
    ROW_ATTEMPT_BEGIN, /* attempt */
    ROW_ATTEMPT,       /* attempt */
    ROW_EVENT,
    ROW_FINDING,     /* event: a worker may report it again */
    ROW_CHECKPOINT,  /* keep_last */
    ROW_MODEL,       /* job: id, tenant, output_model; model */
    ROW_RESULT,      /* job: id, stage; result */
    ROW_SHARDS_OVER, /* job: its shards' results are not needed any more */
    ROW_ALIAS,       /* job; alias */
    ROW_USAGE,
    ROW_WORKER
};

struct change_row {
    struct change_row *next;
    enum row_kind kind;
    int from;
    Api__Job *job;
    Api__Attempt *attempt;
    Api__Event *event;
    Api__Checkpoint *checkpoint;
    Api__ModelVersion *model;
    Api__Result *result;
    Api__Usage *usage;
    Api__Worker *worker;
    const char *alias;
    int64_t keep_last, time_ms;
};

/* A worker's claim that does not hold leaves its sentence in *refusal, and no row. */
enum status change_rows_write(struct records *records, const struct change_row *first,
                              struct error *refusal, struct error *error);

#endif
