/* SPDX-License-Identifier: Apache-2.0
 *
 * wait: until a job ends.
 */
#ifndef TAILOR_CLIENT_WAIT_H
#define TAILOR_CLIENT_WAIT_H

#include <stdbool.h>

#include "client/service.h"

struct wait {
    double timeout_s; /* 0: none */
    bool quiet;
    bool steps; /* say each look how far it is, not only what state it is in */
};

/* A question that is asked again and again: soon at first, then every two seconds. */
struct asking {
    double timeout_s, begin_s; /* 0: no end; on the monotonic clock */
    int64_t pause_ms;
};

struct asking asking_begin(double timeout_s);
/* Sleeps until the next time to ask; false, at once, when the time is over. */
bool asking_pause(struct asking *asking);

/* STATUS_OK: succeeded; STATUS_FAILED with the cause; STATUS_CANCELLED; STATUS_HELD: succeeded, but
 * its gate keeps the alias where it was; STATUS_TIMEOUT. Interrupted (Ctrl-C), it leaves and the
 * job goes on. A coordinator that is away for some minutes is waited for. */
enum status wait_for_job(const struct service *service, const char *id, const struct wait *wait,
                         struct error *error);

#endif
