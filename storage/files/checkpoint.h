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
 * [{"name", "offset", "size", "rank", "sha256"}], "sha256": digest of all the above}. A name may be
 * cut into several stretches, one after another: each of several ranks wrote its own, and no rank
 * ever holds or writes another's. Readers need not care: a stretch is found by name and offset.
 *
 * Ranks on several hosts: a blob lies in the store of the host whose rank wrote it, at
 * RUN/store/ab/abcdef…, and every host's RUN has the manifest, byte for byte the same, so whoever
 * gathers a checkpoint takes from each host the parts of its own ranks. The leader's is renamed
 * into place last, when all blobs and all other hosts' manifests are durable: it is the commit. To
 * be opened, a run's directory must hold all blobs.
 */
#ifndef TAILOR_STORAGE_FILES_CHECKPOINT_H
#define TAILOR_STORAGE_FILES_CHECKPOINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/sha256.h"
#include "lib/status.h"

enum { CHECKPOINT_NAME_BYTES = 32 };

/* A tensor block, or one stretch of it: bytes [offset, offset + size) of what `name` names. */
struct checkpoint_part {
    const char *name; /* "weights", "m", "v" */
    const void *data;
    size_t size, offset;
};

/* `state`: whatever the trainer must know besides the parts (step, updates, counters). */
enum status checkpoint_write(const char *run, int64_t step, const json_t *state,
                             const struct checkpoint_part *parts, int count, struct error *error);

/* The same by several processes: each puts what it holds, one commits them all.
 *
 * A blob that is durable but in no manifest yet: plain data, to be sent to the one that commits. */
struct checkpoint_blob {
    char name[CHECKPOINT_NAME_BYTES];
    uint64_t offset, size;
    int32_t rank; /* who put it */
    char digest[SHA256_HEX_SIZE];
};

enum status checkpoint_put(const char *run, const struct checkpoint_part *part, int32_t rank,
                           struct checkpoint_blob *blob_out, struct error *error);
/* Stretches of one name stand in ascending order and leave no gap, else opening refuses it. */
enum status checkpoint_commit(const char *run, int64_t step, const json_t *state,
                              const struct checkpoint_blob *blobs, int count, struct error *error);

struct checkpoint; /* an opened manifest */

/* The newest checkpoint all of whose blobs verify; damaged ones are named in the log and passed
 * over. STATUS_NOT_FOUND when there is none. */
enum status checkpoint_open_latest(const char *run, struct checkpoint **checkpoint_out,
                                   struct error *error);
enum status checkpoint_open(const char *run, int64_t step, struct checkpoint **checkpoint_out,
                            struct error *error);
/* The same where not all blobs lie in this directory: to read a stretch of one that does not is
 * STATUS_NOT_FOUND. */
enum status checkpoint_open_held(const char *run, int64_t step, struct checkpoint **checkpoint_out,
                                 struct error *error);
void checkpoint_close(struct checkpoint *checkpoint);
int64_t checkpoint_step(const struct checkpoint *checkpoint);
const json_t *checkpoint_state(const struct checkpoint *checkpoint); /* borrowed */
/* Copies what `name` names, exactly `size` bytes; a differing size is STATUS_CONFLICT naming both.
 */
enum status checkpoint_read(const struct checkpoint *checkpoint, const char *name, void *out,
                            size_t size, struct error *error);
/* Copies bytes [offset, offset + size) of it, however it was cut when it was written; `whole` is
 * its size in all. */
enum status checkpoint_read_range(const struct checkpoint *checkpoint, const char *name,
                                  size_t whole, size_t offset, void *out, size_t size,
                                  struct error *error);

/* Keeps the newest `keep_last` and `keep_step` (−1: none); removes the other manifests first, then
 * the blobs that no manifest names. Superseded checkpoints go at once. */
enum status checkpoint_prune(const char *run, int keep_last, int64_t keep_step,
                             struct error *error);

#endif
