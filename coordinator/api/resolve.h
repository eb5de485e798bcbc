/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve: from a spec with names to one with digests, and to the row of its job.
 *
 * Names mean what they mean now: an alias that moves tomorrow changes no job of today. The row
 * keeps the name as it was resolved (`from`: "general/hh@7") and the digest; the spec keeps the
 * digest alone. A job may use what its tenant may use, whoever submits it. A customize job that
 * names no general data gets its parent's: what the job that made the parent was trained on, to mix
 * in, and what it was evaluated on, to measure how much of the general taste is left.
 */
#ifndef TAILOR_COORDINATOR_API_RESOLVE_H
#define TAILOR_COORDINATOR_API_RESOLVE_H

#include "lib/arena.h"
#include "proto/api.pb-c.h"
#include "proto/spec.h"
#include "storage/records/job_record.h"
#include "storage/records/records.h"

enum { REFERENCES_MAX = JOB_INPUTS_MAX };

struct resolution {
    struct arena *arena;
    const char *tenant; /* whose job it is */
    struct spec *spec;  /* in: as it was written; out: with digests */
    Api__Job *job;      /* out: all of it but who submitted it, and when */
    struct job_input inputs[REFERENCES_MAX];
    int input_count;
    const char *pins[REFERENCES_MAX]; /* digests that no row of a dataset or model keeps */
    int pin_count;
};

/* On the database thread. STATUS_NOT_FOUND, STATUS_USAGE and STATUS_CONFLICT name the field. */
enum status resolve_spec(struct records *records, struct resolution *resolution,
                         struct error *error);
/* Takes general data out of the spec that it had from the job that made its old parent: resolved
 * from another parent, it gets that one's. */
enum status resolve_forget(struct records *records, struct resolution *resolution,
                           int64_t parent_job, struct error *error);
/* The same job once more: the spec of `old` (read with its spec) as it was resolved then. */
enum status resolve_again(struct records *records, struct resolution *resolution,
                          const Api__Job *old, struct error *error);
bool resolve_is_sharded(const struct spec *spec); /* cut into shards that any slot takes */

#endif
