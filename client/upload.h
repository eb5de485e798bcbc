/* SPDX-License-Identifier: Apache-2.0
 *
 * upload: files and directories into the store, by digest.
 *
 * What is there already is not sent again, and an upload that was cut off goes on where it ended.
 * A directory becomes a manifest: {"kind": "files", "files": [{"name", "digest", "bytes"}, …]},
 * files by name, without subdirectories and hidden files.
 */
#ifndef TAILOR_CLIENT_UPLOAD_H
#define TAILOR_CLIENT_UPLOAD_H

#include <stdbool.h>

#include "client/service.h"
#include "lib/sha256.h"
#include "proto/spec.h"

struct upload {
    const struct service *service;
    const char *tenant;     /* whose store; "cluster": of the bases */
    bool quiet;             /* no line on stderr for each file */
    const struct buf *card; /* of a directory: what goes as its tailor.json; NULL: the file */
};

enum status upload_file(const struct upload *upload, const char *path,
                        char digest_out[SHA256_HEX_SIZE], struct error *error);
enum status upload_dir(const struct upload *upload, const char *path,
                       char digest_out[SHA256_HEX_SIZE], struct error *error);

/* Uploads the files and directories that the spec names, and names them by their digests in it. */
enum status upload_spec(const struct upload *upload, struct spec *spec, struct error *error);

#endif
