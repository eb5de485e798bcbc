/* SPDX-License-Identifier: Apache-2.0
 *
 * progress: how far a run is, for a person: one line that renews itself on a terminal, a plain line
 * now and then in a pipe. On standard error, so that standard output stays data.
 */
#ifndef TAILOR_WORKER_TRAINER_PROGRESS_H
#define TAILOR_WORKER_TRAINER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool quiet, terminal;
    const char *what;        /* "train", "evaluate before" */
    int64_t total, first;    /* first: where a resumed run began */
    double started, printed; /* monotonic seconds */
};

void progress_start(struct progress *progress, const char *what, int64_t first, int64_t total,
                    bool quiet);
/* `detail` is what else to say ("loss 0.61  accuracy 71.2 %  812 tokens/s"). */
void progress_update(struct progress *progress, int64_t done, const char *detail);
/* Ends the line on a terminal; call before printing anything else. */
void progress_end(struct progress *progress);

#endif
