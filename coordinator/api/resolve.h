/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve: from a spec with names to one with digests, and to the row of its job.
 *
 * Names mean what they mean now: an alias that moves tomorrow changes no job of today. The row
 * keeps the name as it was resolved (`from`: "general/hh@7") and the digest; the spec keeps the
 * digest alone. A job may use what its tenant may use, whoever submits it. A customize job that
 * names no general data gets its parent's: what the job that made the parent was trained on.
 */
#ifndef TAILOR_COORDINATOR_API_RESOLVE_H
#define TAILOR_COORDINATOR_API_RESOLVE_H

#include "lib/arena.h"
#include "proto/api.pb-c.h"
#include "proto/spec.h"
#include "storage/records/job_record.h"
#include "storage/records/records.h"

enum { REFERENCES_MAX = 48 }; /* of one spec: an assignment lists them all, and their parents */

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
/* The row of a spec that names digests only (a retry's). `from` and `from_digest` are left alone.
 */
void resolve_row(struct resolution *resolution);

#endif
