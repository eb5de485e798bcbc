/* SPDX-License-Identifier: Apache-2.0
 *
 * series: metrics and log lines of jobs, as they come, in append-only files.
 *
 *     DIR/logs/j-17/metrics.jsonl   {"t":…,"term":1,"step":3,"v":{"loss":0.69}}
 *     DIR/logs/j-17/logs.jsonl      {"t":…,"term":1,"rank":0,"text":"…"}
 *
 * Telemetry: written without fsync, on the store's thread; when that has too much to do, lines are
 * dropped and counted. A cursor is a byte offset, so that a page costs what it holds, whatever came
 * before. The readers are coordinator_metrics_read and coordinator_logs_read.
 */
#ifndef TAILOR_COORDINATOR_SERIES_H
#define TAILOR_COORDINATOR_SERIES_H

#include "coordinator/state.h"
#include "proto/worker.pb-c.h"

void series_add_metrics(struct coordinator *coordinator, const Wire__MetricReport *report);
void series_add_logs(struct coordinator *coordinator, const Wire__LogReport *report);

#endif
