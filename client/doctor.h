/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: the checks of tailor doctor that look beyond this machine's hardware: do the programs fit
 * together, and does the coordinator that is meant fit to us.
 */
#ifndef TAILOR_CLIENT_DOCTOR_H
#define TAILOR_CLIENT_DOCTOR_H

#include "client/remote.h"

struct exam {
    struct table *table;
    int bad;
};

/* A verdict begins with "ok", "look" or "bad"; the last is counted. */
void exam_report(struct exam *exam, const char *check, const char *value, const char *verdict);

/* tailord, tailor-worker: are they beside this one, and of its version? */
void doctor_programs(struct exam *exam);
/* What this machine has; `driver` is its version, "" without one, `count` the GPUs that it sees. */
struct gpus_found {
    const char *driver;
    bool card; /* on the bus */
    int count;
    const char
        *trainer; /* tailor-trainer-cuda, which is asked whether it can use them; NULL: none */
};
void doctor_gpus(struct exam *exam, const struct gpus_found *found);

/* Version, clock and readiness of the coordinator; without one that is no fault. */
void doctor_coordinator(struct exam *exam, const struct call *call);

#endif
