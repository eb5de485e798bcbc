/* SPDX-License-Identifier: Apache-2.0
 *
 * journal: what a run writes down while it goes: RUN/metrics.jsonl (a line a step and a line an
 * evaluation, under TRL's names) and RUN/events.jsonl (findings, checkpoints, resumes).
 *
 * A resumed run first cuts both files back to its checkpoint, so every step has one line.
 */
#ifndef TAILOR_WORKER_TRAINER_JOURNAL_H
#define TAILOR_WORKER_TRAINER_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/status.h"

struct journal {
    bool silent; /* writes nothing: of a rank that does not lead */
    char metrics_path[4096], events_path[4096];
};

/* Lines of steps beyond `step` are removed (0: a fresh run, both files are emptied). A silent
 * journal touches no file. */
enum status journal_open(struct journal *journal, const char *run, int64_t step, bool silent,
                         struct error *error);
/* Takes the reference. Values that are not finite are written as null. */
enum status journal_metrics(struct journal *journal, json_t *line, struct error *error);
/* {"step", "event": kind, "text": sentence, "time"} */
enum status journal_event(struct journal *journal, int64_t step, const char *kind,
                          struct error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
