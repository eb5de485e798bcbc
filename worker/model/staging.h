/* SPDX-License-Identifier: Apache-2.0
 *
 * staging: a directory that appears complete or not at all.
 *
 *     TRY(staging_begin(&staging, "out/model", error));     // out/.tmp-PID-model
 *     status = write_files(staging.temporary, error);
 *     return staging_end(&staging, status, error);          // renames, or removes
 */
#ifndef TAILOR_WORKER_MODEL_STAGING_H
#define TAILOR_WORKER_MODEL_STAGING_H

#include "lib/status.h"
#include "worker/model/card.h"

struct staging {
    char final[MODEL_PATH_MAX];
    char temporary[MODEL_PATH_MAX];
};

/* STATUS_CONFLICT if `dir` is there and not an empty directory. Parents are created. */
enum status staging_begin(struct staging *staging, const char *dir, struct error *error);
/* With STATUS_OK makes the directory durable and gives it its name; else removes it and returns
 * `status` as it is. */
enum status staging_end(struct staging *staging, enum status status, struct error *error);

/* Writes dir/name; takes the value over. */
enum status staging_json(const char *dir, const char *name, json_t *json, struct error *error);
/* Copies a file, if it is there. */
enum status staging_copy(const char *from_dir, const char *to_dir, const char *name,
                         struct error *error);

#endif
