/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest: a directory as a blob: {"kind": "files", "files": [{"name", "digest", "bytes"}, …]}.
 *
 * Names are relative paths with '/'. Who reads one gets only names that stay inside the directory:
 * no empty part, no "." and "..", no control character.
 */
#ifndef TAILOR_WORKER_AGENT_MANIFEST_H
#define TAILOR_WORKER_AGENT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/status.h"

enum { MANIFEST_FILES_MAX = 4096, MANIFEST_NAME_MAX = 512 };

struct manifest_file {
    const char *name, *digest;
    int64_t bytes;
};

struct manifest {
    struct manifest_file files[MANIFEST_FILES_MAX];
    int count;
    int64_t bytes; /* of all files */
};

/* Texts are copied into the arena. */
enum status manifest_add(struct manifest *manifest, struct arena *arena, const char *name,
                         const char *digest, int64_t bytes, struct error *error);
void manifest_format(const struct manifest *manifest, struct buf *out);
/* *is_manifest_out false: the bytes are something else, which is no error. STATUS_FORMAT: they say
 * that they are a manifest, and are not a sound one. */
enum status manifest_parse(struct arena *arena, const void *data, size_t size,
                           struct manifest *manifest_out, bool *is_manifest_out,
                           struct error *error);

#endif
