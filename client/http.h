/* SPDX-License-Identifier: Apache-2.0
 *
 * http: one HTTP request and its answer, by libcurl.
 *
 * Redirects are not followed and only http and https are spoken: a token goes to the server that
 * was named and nowhere else. An answer of any code is STATUS_OK; no answer is
 * STATUS_COMMUNICATION.
 */
#ifndef TAILOR_CLIENT_HTTP_H
#define TAILOR_CLIENT_HTTP_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/status.h"

struct http_request {
    const char *method, *url;
    const char *token;        /* NULL: none */
    const char *ca;           /* whom to believe besides the system: a PEM file; NULL: nobody */
    double timeout_s;         /* for the whole answer; 0: HTTP_TIMEOUT_S */
    const char *header;       /* one more, "Last-Event-ID: 17"; NULL: none */
    const char *content_type; /* of the body */
    const void *body;         /* NULL: none */
    size_t length;
    /* Gets the bytes of a 200 as they come, for a stream without an end; false: stop. NULL: the
     * whole answer is collected, of at most HTTP_ANSWER_MAX bytes, within `timeout_s`. */
    bool (*take)(void *context, const char *data, size_t length);
    void *context;
};

enum { HTTP_ANSWER_MAX = 64 << 20, HTTP_TIMEOUT_S = 120, HTTP_CONNECT_S = 10 };

/* `text_out` is cleared first; what a `take` took is not in it. */
enum status http_call(const struct http_request *request, int *code_out, struct buf *text_out,
                      struct error *error);

/* Percent-encodes a part of a path or a query, appending. */
void http_escape(const char *text, struct buf *out);

#endif
