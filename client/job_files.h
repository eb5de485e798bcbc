/* SPDX-License-Identifier: Apache-2.0
 *
 * job_files: what a job of the service left, as the directory of a run on this machine, for the
 * commands that read one: spec.json, result.json, metrics.jsonl, events.jsonl and rows/. Not the
 * model itself.
 *
 * It lies in the cache under the digests of the model's manifest and of the spec, so it is fetched
 * once and is never out of date.
 */
#ifndef TAILOR_CLIENT_JOB_FILES_H
#define TAILOR_CLIENT_JOB_FILES_H

#include <stdbool.h>

#include "client/service.h"

/* A directory is a run; everything else is a job's id. */
bool is_job(const char *text);
/* STATUS_CONFLICT: it has not succeeded, or made no model. The path lives in the service's arena.
 */
enum status job_files(const struct service *service, const char *id, const char **dir_out,
                      struct error *error);

#endif
