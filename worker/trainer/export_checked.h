/* SPDX-License-Identifier: Apache-2.0
 *
 * export_checked: a model written for others, with the scores of what was written compared with
 * its own (worker/model/export.h), on a device of this process.
 */
#ifndef TAILOR_WORKER_TRAINER_EXPORT_CHECKED_H
#define TAILOR_WORKER_TRAINER_EXPORT_CHECKED_H

#include "worker/model/export.h"

/* threads 0: as many as there are. `out` must not exist; nothing is left in it on failure. */
enum status export_checked(const char *dir, const struct export_options *options, int threads,
                           const char *out, struct error *error);

#endif
