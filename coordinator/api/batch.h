/* SPDX-License-Identifier: Apache-2.0
 *
 * batch: a recipe and a table on their way to jobs. Private to this folder.
 *
 *   batch_table.c  the rows of a request: from its table, or from the models that came from one
 *   batch_check.c  each row's spec resolved; why not, if not          (database thread)
 *   on_batch.c     the routes: submit, list, show, cancel, retry
 *
 * All rows are checked before the first is submitted. Each row's job and its row of the batch are
 * written in one savepoint, under the key (batch, row's key, digest of the resolved spec): whoever
 * sends the same table again, after whatever happened to the answer, makes no second job. Checking
 * and submitting go in portions, so that ten thousand rows hold nobody else up.
 */
#ifndef TAILOR_COORDINATOR_API_BATCH_H
#define TAILOR_COORDINATOR_API_BATCH_H

#include "coordinator/api/exchange.h"
#include "lib/sha256.h"
#include "proto/spec.h"
#include "storage/records/job_record.h"

struct batch;

struct batch_row {
    int64_t number;     /* 1 is the first of the table */
    const char *key;    /* known by it when the table comes again */
    const char *values; /* {"column": "cell"}, as it was sent */
    const char *recipe; /* a spec of its own (JSON); NULL: the batch's recipe */
    /* after the check: */
    const char *refusal; /* NULL: none; else job is NULL */
    const char *tenant;  /* whose job it is; NULL: not known */
    Api__Job *job;
    bool sharded;
    struct job_input *inputs;
    int input_count;
    const char **pins;
    int pin_count;
    int64_t job_id; /* that it has already, of the same digest; 0: none */
    int64_t again;  /* the job that is tried again; 0: none */
    /* while it is submitted: */
    struct batch *batch;
    Api__BatchRow record;
    struct job_submission submission;
    char idempotency_key[SHA256_HEX_SIZE];
};

struct batch_plan {
    const char *tenant; /* whose batch */
    const char *name, *recipe;
    const char *key; /* the column that names a row; NULL: its number */
    struct spec_override *overrides;
    int override_count;
    struct spec_cells columns; /* all that were seen, and whether a row used them */
    struct batch_row *rows;
    int64_t count;
    int64_t id;         /* of the batch; 0: it is new */
    int64_t parent_job; /* that made the model whose children the rows are; 0: none */
};

/* ---- batch_table.c, on the database thread ---- */
/* The plan of a request; STATUS_USAGE says what is wrong with it or its table as a whole. */
enum status batch_plan_read(struct records *records, struct exchange *exchange,
                            const Api__BatchSubmitRequest *request, struct batch_plan *plan,
                            struct error *error);
/* The cells of a row, in the arena. */
enum status batch_cells(struct arena *arena, const char *values, struct spec_cells *cells_out,
                        struct error *error);

/* ---- batch_check.c, on the database thread ---- */
/* Fills in what comes of a row. That it is refused is no failure of the call. */
enum status batch_check(struct records *records, struct exchange *exchange, struct batch_plan *plan,
                        struct batch_row *row, struct error *error);

#endif
