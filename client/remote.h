/* SPDX-License-Identifier: Apache-2.0
 *
 * remote: the commands that the coordinator carries out, as data: a route, the fields that the
 * arguments fill, and the columns of the answer.
 *
 * An option fills the field of its name ("not-before" → not_before), if the request has one. What
 * the server answers is printed whole with -o json and -o jsonl, and by the columns otherwise; a
 * command without columns prints every field as a card.
 */
#ifndef TAILOR_CLIENT_REMOTE_H
#define TAILOR_CLIENT_REMOTE_H

#include "client/command.h"
#include "client/service.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_TIME, /* milliseconds since 1970, as local time */
    COLUMN_AGE,  /* the same, as how long ago */
    COLUMN_BYTES,
    COLUMN_ALIASES /* [{"name", "version"}, …] as "prod=3 beta=4" */
};

struct column {
    const char *title;
    const char *field;
    enum column_kind kind;
};

struct remote {
    enum route_id route;
    const char *fields[ARGUMENTS_MAX]; /* "name@version": a reference, taken apart */
    bool own;                          /* without --tenant, the profile's tenant is meant */
    const char *list;                  /* the reply's field with the rows; NULL: one row */
    const struct column *columns;
    size_t column_count;
    const char *secret; /* a field to print alone, for a script: a token */
};

/* The one struct that all remote commands fill. */
struct remote_options {
    struct globals globals;
    const char *server, *profile, *tenant;
    const char *after, *limit, *stage, *queue, *pool, *role, *title, *weight, *rank, *key, *timeout;
    struct option_list state, label, set;
    bool follow, dry_run, wait, shared;
};

#define REMOTE_ROW(name, letter, type, member, placeholder, help)                                  \
    {                                                                                              \
        name, letter, type, offsetof(struct remote_options, member), placeholder, help             \
    }
#define REMOTE_ROWS                                                                                \
    REMOTE_ROW("server", 0, OPTION_STRING, server, "URL",                                          \
               "the coordinator; default: the profile's or TAILOR_SERVER"),                        \
        REMOTE_ROW("profile", 0, OPTION_STRING, profile, "NAME",                                   \
                   "whose token and tenant; default: the file's"),                                 \
        REMOTE_ROW("tenant", 0, OPTION_STRING, tenant, "NAME", "whose; default: the profile's")
#define REMOTE_PAGE_ROWS                                                                           \
    REMOTE_ROW("limit", 'n', OPTION_STRING, limit, "N", "how many; default 100"),                  \
        REMOTE_ROW("after", 0, OPTION_STRING, after, "ID", "the page behind this one")
#define REMOTE_COLUMNS(array) .columns = (array), .column_count = sizeof(array) / sizeof((array)[0])
#define REMOTE_COMMAND        .options_size = sizeof(struct remote_options), .run = remote_run

/* command->run of all of them. */
enum status remote_run(const struct call *call, struct error *error);

/* ---- for commands with code of their own ---- */
/* The service that the options name; lives as long as the arena. */
enum status remote_open(struct arena *arena, const struct call *call, struct service *service_out,
                        struct error *error);
/* A request with the arguments and options in it. */
enum status remote_request(const struct call *call, const struct service *service,
                           const struct remote *remote, ProtobufCMessage **request_out,
                           struct error *error);
/* Sets a field by its name. */
enum status remote_put(const struct service *service, ProtobufCMessage *request, const char *field,
                       const char *text, struct error *error);
/* Prints a reply as -o says. */
enum status remote_print(const struct call *call, const struct remote *remote, const json_t *reply,
                         struct error *error);
/* Appends a field of an entry as a cell. */
void remote_cell(const json_t *entry, const struct column *column, struct buf *out);

#endif
