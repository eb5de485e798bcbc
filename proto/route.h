/* SPDX-License-Identifier: Apache-2.0
 *
 * route: the table of routes.def, and which row a request line means. Pure.
 *
 *     struct route_match match;
 *     TRY(route_find("POST", "/v1/jobs/j-17:cancel", &match, error));
 *     // match.route->id == ROUTE_JOB_CANCEL, match.parameters[0] = {"id", "j-17"}
 */
#ifndef TAILOR_PROTO_ROUTE_H
#define TAILOR_PROTO_ROUTE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/status.h"

enum route_id {
#define ROUTE(id, method, path, request, reply, role, body, bytes_max, help) ROUTE_##id,
#include "proto/routes.def"
    ROUTE_COUNT
};

enum route_method { ROUTE_GET, ROUTE_POST, ROUTE_PUT, ROUTE_DELETE };
enum route_body { ROUTE_BODY_NONE, ROUTE_BODY_JSON, ROUTE_BODY_BYTES, ROUTE_BODY_FORM };

struct route {
    enum route_id id;
    const char *name; /* "JOB_SUBMIT": of the audit and of metrics */
    enum route_method method;
    const char *path;
    const ProtobufCMessageDescriptor *request, *reply;
    int role; /* Api__Role: the least; 0: no token is asked for */
    enum route_body body;
    size_t bytes_max;
    const char *help;
};

enum { ROUTE_PATH_BYTES_MAX = 1024, ROUTE_PARAMETERS_MAX = 4, ROUTE_VALUE_MAX = 256 };

struct route_match {
    const struct route *route;
    int count;
    struct {
        char field[32];
        char value[ROUTE_VALUE_MAX]; /* percent-decoded */
    } parameters[ROUTE_PARAMETERS_MAX];
};

const struct route *route_at(int index); /* 0 … ROUTE_COUNT − 1 */
const char *route_method_name(enum route_method method);
const ProtobufCMessageDescriptor *route_error_type(void);
/* Does the request need this field, which is not in the path? */
bool route_needs(enum route_id id, const char *field);

/* A part of a form. */
struct route_part {
    enum route_id id;
    const char *name;
    bool file; /* bytes; else text */
};

const struct route_part *route_part_at(int index); /* NULL behind the last */

/* What a route answers besides 200 with its reply as JSON. */
struct route_answer {
    enum route_id id;
    int code;
    const char *type;
};

const struct route_answer *route_answer_at(int index); /* NULL behind the last */

/* `path` without the query. STATUS_NOT_FOUND (404), STATUS_UNSUPPORTED naming the methods that the
 * path knows (405), or STATUS_USAGE (400) for a path that no client of good will sends: "..", an
 * empty part, %00, %2f, bad escapes, too long. */
enum status route_find(const char *method, const char *path, struct route_match *match_out,
                       struct error *error);

/* Decodes %XX (and, in queries, '+') of text[0 … length) into out[size]. STATUS_USAGE for what is
 * cut short, is not hexadecimal, or means NUL or '/'; STATUS_LIMIT when it does not fit. */
enum status route_decode(const char *text, size_t length, bool query, char *out, size_t size,
                         struct error *error);

#endif
