/* SPDX-License-Identifier: Apache-2.0
 *
 * multipart: a body of multipart/form-data (RFC 7578) as its parts, in place.
 */
#ifndef TAILOR_COORDINATOR_API_MULTIPART_H
#define TAILOR_COORDINATOR_API_MULTIPART_H

#include <stddef.h>

#include "lib/status.h"

enum { MULTIPART_PARTS_MAX = 16, MULTIPART_NAME_MAX = 255 };

struct multipart_part {
    char name[MULTIPART_NAME_MAX + 1];
    char filename[MULTIPART_NAME_MAX + 1]; /* "": none was given */
    const char *data;                      /* into the body */
    size_t length;
};

/* content_type: the request's header, with the boundary. STATUS_USAGE says what is wrong. */
enum status multipart_read(const char *content_type, const char *body, size_t length,
                           struct multipart_part parts[MULTIPART_PARTS_MAX], int *count_out,
                           struct error *error);
/* The part of that name, or NULL. */
const struct multipart_part *multipart_find(const struct multipart_part *parts, int count,
                                            const char *name);

#endif
