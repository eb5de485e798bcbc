/* SPDX-License-Identifier: Apache-2.0
 *
 * export_job: a model of the service, exported by a job on one of its workers and fetched: nothing
 * is computed here, and no weights but the exported ones travel.
 */
#ifndef TAILOR_CLIENT_EXPORT_JOB_H
#define TAILOR_CLIENT_EXPORT_JOB_H

#include "client/offline.h"
#include "client/service.h"

/* Waits for the job: its failure is ours, Ctrl-C leaves it running. `out` is there whole or not at
 * all; what an interrupted download left is gone on with. */
enum status export_job(const struct service *service, const char *model,
                       const struct offline_options *options, bool quiet, const char *out,
                       struct error *error);

#endif
