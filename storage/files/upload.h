/* SPDX-License-Identifier: Apache-2.0
 *
 * upload: a blob that arrives in chunks, over a connection that may break.
 *
 *     upload_state(store, digest, &offset, &complete, error);       // where to go on
 *     upload_write(store, digest, size, offset, chunk, length, &offset, &complete, error);
 *
 * What has arrived lies in STORE/upload-DIGEST. The last chunk's write verifies the digest of the
 * whole, and only then is it a blob. Chunks are not synced one by one: after a loss of power the
 * part may be wrong, which the digest finds, and the upload begins anew.
 * One writer per store at a time (the coordinator's blob thread).
 */
#ifndef TAILOR_STORAGE_FILES_UPLOAD_H
#define TAILOR_STORAGE_FILES_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

/* Bytes that have arrived; a blob that is there is complete, of its own size. */
enum status upload_state(const char *store, const char *digest, int64_t *offset_out,
                         bool *complete_out, struct error *error);
/* Takes the chunk at `offset` of a blob of `size` bytes. A chunk that has arrived before is passed
 * over. *offset_out says where to go on. STATUS_CONFLICT: there is a hole before the chunk;
 * STATUS_FORMAT: the whole has another digest (all of it is thrown away); STATUS_LIMIT: the chunk
 * goes beyond `size`. */
enum status upload_write(const char *store, const char *digest, int64_t size, int64_t offset,
                         const void *data, size_t length, int64_t *offset_out, bool *complete_out,
                         struct error *error);
/* Removes the parts that nobody has added to since `before_ms` (of the wall clock). Returns how
 * many. */
int upload_expire(const char *store, int64_t before_ms);

#endif
