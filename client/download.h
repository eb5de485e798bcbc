/* SPDX-License-Identifier: Apache-2.0
 *
 * download: what lies in the service's store, back as bytes, files and directories; upload's other
 * way. What came is what its digest says, or the call fails.
 */
#ifndef TAILOR_CLIENT_DOWNLOAD_H
#define TAILOR_CLIENT_DOWNLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/service.h"

struct download {
    const struct service *service;
    const char *tenant; /* whose store */
    bool quiet;         /* no line on stderr for each file */
};

/* Where downloads are kept: DIR of TAILOR_CACHE, else of the user's cache, and `kind` in it; in the
 * arena of the service. */
enum status download_cache(const struct service *service, const char *kind, const char **dir_out,
                           struct error *error);

/* A blob of at most `bytes_max`, appended to an empty buffer. */
enum status download_blob(const struct download *download, const char *digest, int64_t bytes_max,
                          struct buf *out, struct error *error);

/* Whether a file of a manifest is wanted. */
typedef bool download_wants(const char *name);

/* The files of a manifest as a directory. It is filled beside its place (DIR.part) and renamed when
 * all is there; what an interrupted call left is gone on with. A `dir` that is there is complete.
 */
enum status download_dir(const struct download *download, const char *manifest,
                         download_wants *wants, const char *dir, struct error *error);

#endif
