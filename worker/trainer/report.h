/* SPDX-License-Identifier: Apache-2.0
 *
 * report: what a run did, for a person who was not there.
 *
 * report_write makes ONE self-contained HTML page of RUN/spec.json, metrics.jsonl, events.jsonl and
 * result.json: inline style, charts as inline SVG drawn here, no script, nothing loaded from
 * anywhere. What is not there (a run that still goes has no result) is said in the page. Names and
 * texts come from customers and are escaped.
 */
#ifndef TAILOR_WORKER_TRAINER_REPORT_H
#define TAILOR_WORKER_TRAINER_REPORT_H

#include <stdio.h>

#include "lib/status.h"
#include "lib/table.h"

/* STATUS_NOT_FOUND where run_dir holds none of the four files. */
enum status report_write(const char *run_dir, const char *out_path, struct error *error);

/* Prints the `worst` groups of RUN/rows/SET.jsonl with the most negative margin, over all sets (0:
 * every group), worst first. */
enum status report_rows(const char *run_dir, int worst, enum table_format format, FILE *out,
                        struct error *error);

#endif
