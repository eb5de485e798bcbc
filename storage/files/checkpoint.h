/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint: everything a job needs to resume, as a manifest of blobs.
 *
 *     RUN/store/…                        the blobs
 *     RUN/checkpoints/step-000000120.json  the manifest: its presence is the commit
 *
 * The commit sequence: blobs (blob_put) → manifest written to a temporary name, fsynced, renamed,
 * its directory fsynced. A kill at any point leaves the former checkpoint or the new one, never a
 * half. Under the service the manifest is itself a blob and a database row is the commit point.
 *
 * A manifest: {"format_version": 1, "kind": "checkpoint", "step": N, "state": {…}, "parts":
 * [{"name", "size", "sha256"}], "sha256": digest of all the above}.
 */
#ifndef TAILOR_STORAGE_FILES_CHECKPOINT_H
#define TAILOR_STORAGE_FILES_CHECKPOINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

struct checkpoint_part {
    const char *name; /* "weights", "m", "v" */
    const void *data;
    size_t size;
};

/* `state`: whatever the trainer must know besides the parts (step, updates, counters). */
enum status checkpoint_write(const char *run, int64_t step, const json_t *state,
                             const struct checkpoint_part *parts, int count, struct error *error);

struct checkpoint; /* an opened manifest */

/* The newest checkpoint all of whose blobs verify; damaged ones are named in the log and passed
 * over. STATUS_NOT_FOUND when there is none. */
enum status checkpoint_open_latest(const char *run, struct checkpoint **checkpoint_out,
                                   struct error *error);
enum status checkpoint_open(const char *run, int64_t step, struct checkpoint **checkpoint_out,
                            struct error *error);
void checkpoint_close(struct checkpoint *checkpoint);
int64_t checkpoint_step(const struct checkpoint *checkpoint);
const json_t *checkpoint_state(const struct checkpoint *checkpoint); /* borrowed */
/* Copies a part of exactly `size` bytes; a differing size is STATUS_CONFLICT naming both. */
enum status checkpoint_read(const struct checkpoint *checkpoint, const char *name, void *out,
                            size_t size, struct error *error);

/* Keeps the newest `keep_last` and `keep_step` (−1: none); removes the other manifests first, then
 * the blobs that no manifest names. Superseded checkpoints go at once. */
enum status checkpoint_prune(const char *run, int keep_last, int64_t keep_step,
                             struct error *error);

#endif
