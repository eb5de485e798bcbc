/* SPDX-License-Identifier: Apache-2.0
 *
 * failure: the table behind failure.h.
 */
#include "coordinator/failure.h"

#include <string.h>

#include "lib/check.h"

static const struct failure_row rows[FAILURE_COUNT] = {
    [FAILURE_NONE] = {"none", false, false, false, ""},
    [FAILURE_USER_DATA] = {"user_data", false, false, true,
                           "Look at the data report, mend the rows that it names, add the data "
                           "again and submit the job anew."},
    [FAILURE_USER_CONFIG] = {"user_config", false, false, true,
                             "Mend the field that the message names and submit the job anew."},
    [FAILURE_OUT_OF_MEMORY] = {"out_of_memory", false, false, true,
                               "Lower train.max_tokens_per_batch or model.max_length, or use an "
                               "adapter; the plan prints what a run needs."},
    [FAILURE_NUMERIC] = {"numeric", false, false, true,
                         "The loss was not finite several steps in a row: lower "
                         "train.learning_rate or train in fp32."},
    [FAILURE_WORKER_LOST] = {"worker_lost", true, true, false,
                             "The job goes on from its newest checkpoint elsewhere; look at the "
                             "worker's host."},
    [FAILURE_COMMUNICATION] = {"communication", true, true, false,
                               "The ranks lost each other; look at the network between the "
                               "workers that the attempt names."},
    [FAILURE_STORAGE] = {"storage", true, false, false,
                         "Blobs could not be read or written; look at the free space of the "
                         "store and of the worker."},
    [FAILURE_TIMEOUT] = {"timeout", false, false, true,
                         "The job reached limits.wall_time: raise it, or train less; its "
                         "checkpoints are kept."},
    [FAILURE_INTERNAL] = {"internal", true, true, true,
                          "This is a mistake of ours: please report it with the log lines of "
                          "the first failing rank."},
};

const struct failure_row *failure_row(enum failure failure)
{
    CHECK((unsigned)failure < FAILURE_COUNT);
    return &rows[failure];
}

bool failure_by_name(const char *name, enum failure *failure_out)
{
    for (int i = 0; i < FAILURE_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *failure_out = (enum failure)i;
            return true;
        }
    }
    return false;
}
