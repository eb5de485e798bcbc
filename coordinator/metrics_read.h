/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics_read: all families of metrics.def as Prometheus wants them. On the loop's thread.
 */
#ifndef TAILOR_COORDINATOR_METRICS_READ_H
#define TAILOR_COORDINATOR_METRICS_READ_H

#include <stdint.h>

#include "coordinator/coordinator.h"

/* certificate_expires_s: of the server's certificate, since 1970; 0: it has none. */
void coordinator_metrics(struct coordinator *coordinator, int64_t certificate_expires_s,
                         struct buf *out);
/* A request was answered with the HTTP code `code` after so many seconds. */
void coordinator_answered(struct coordinator *coordinator, int code, double seconds);

#endif
