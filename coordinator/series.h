/* SPDX-License-Identifier: Apache-2.0
 *
 * series: metrics and log lines of jobs, as they come, in segment files (storage/files/segment.h).
 *
 *     DIR/logs/j-17/metrics/…   entries {"term":1,"step":3,"v":{"loss":0.69}}
 *     DIR/logs/j-17/lines/…     entries {"term":1,"rank":0,"text":"…"}
 *
 * Telemetry: written on the store's thread and never synced; when that has too much to do, reports
 * are dropped. The entries' numbers are the cursors of coordinator_metrics_read and _logs_read.
 */
#ifndef TAILOR_COORDINATOR_SERIES_H
#define TAILOR_COORDINATOR_SERIES_H

#include "coordinator/state.h"
#include "proto/worker.pb-c.h"

struct series; /* the writers that are open: the store thread's */

struct series *series_create(void);
void series_free(struct series *series);
void series_add_metrics(struct coordinator *coordinator, const Wire__MetricReport *report);
void series_add_logs(struct coordinator *coordinator, const Wire__LogReport *report);
/* Removes the lines of jobs that read data which are removed since. What a crash leaves undone is
 * done at the next start. */
void series_forget(struct coordinator *coordinator);

#endif
