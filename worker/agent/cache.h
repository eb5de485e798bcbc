/* SPDX-License-Identifier: Apache-2.0
 *
 * cache: the blobs that lie on this worker (storage/files/blob.h), under a bound.
 *
 * What an attempt uses is a hard link from its run's directory into here, and the other way round:
 * nothing is copied, and a blob whose file has a second name is in use. To evict is to remove files
 * of one name only, the longest unused first. The digest is verified when a blob arrives; the
 * trainer verifies what it reads once more where that matters (checkpoints, models).
 *
 * What jobs started from (bases, parents) is noted by empty files inputs/DIGEST: among thousands of
 * blobs these few say what is quick to start here.
 */
#ifndef TAILOR_WORKER_AGENT_CACHE_H
#define TAILOR_WORKER_AGENT_CACHE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/sha256.h"
#include "lib/status.h"
#include "worker/agent/manifest.h"

struct cache {
    char dir[PATH_MAX];
    int64_t bytes_max;
};

enum status cache_open(struct cache *cache, const char *data, int64_t bytes_max,
                       struct error *error);
bool cache_has(const struct cache *cache, const char *digest);
/* The file becomes a blob too. `digest` NULL: it is computed. `digest_out` may be NULL. */
enum status cache_take(const struct cache *cache, const char *path, const char *digest,
                       char digest_out[SHA256_HEX_SIZE], int64_t *bytes_out, struct error *error);
/* A blob of one's own making (a manifest). */
enum status cache_put(const struct cache *cache, const void *data, size_t size,
                      char digest_out[SHA256_HEX_SIZE], struct error *error);
/* The blob gets a second name; directories above it are made. */
enum status cache_give(const struct cache *cache, const char *digest, const char *path,
                       struct error *error);
/* All files of a manifest, below `dir`. */
enum status cache_give_all(const struct cache *cache, const struct manifest *manifest,
                           const char *dir, struct error *error);
/* A job started from it: said to the coordinator, which rather sends its like here. */
void cache_note_input(const struct cache *cache, const char *digest);
/* Those that lie here still. */
void cache_each_input(const struct cache *cache, void (*visit)(const char *digest, void *argument),
                      void *argument);
/* A blob that may be a manifest: reads it, at most CONFIG_BYTES_MAX. */
enum status cache_manifest(const struct cache *cache, struct arena *arena, const char *digest,
                           struct manifest *manifest_out, bool *is_manifest_out,
                           struct error *error);
/* Removes the blob, unless something uses it. */
void cache_forget(const struct cache *cache, const char *digest);
/* Removes what is unused, the oldest first, until `room` bytes more fit under the bound. */
void cache_evict(const struct cache *cache, int64_t room);
/* The same until `bytes` were removed, whatever the bound: the disk is short of space. */
void cache_relieve(const struct cache *cache, int64_t bytes);

#endif
