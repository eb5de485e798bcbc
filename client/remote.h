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
    COLUMN_ALIASES,  /* [{"name", "version"}, …] as "prod=3 beta=4" */
    COLUMN_HOURS,    /* milliseconds as hours */
    COLUMN_REWARDS,  /* [{"score", "reward"}, …] as "1.25 -0.5": rewards, preferred first */
    COLUMN_TEXTS,    /* of the first two, from where they differ */
    COLUMN_WIDE = 16 /* or'ed to the others: only with -o wide */
};

struct column {
    const char *title;
    const char *field; /* "spec.train.seed": within objects */
    enum column_kind kind;
};

struct remote {
    enum route_id route;
    const char *fields[ARGUMENTS_MAX]; /* "name@version": a reference, taken apart */
    bool own;                          /* without --tenant, the profile's tenant is meant */
    const char *list;                  /* the reply's field with the rows; NULL: one row */
    const struct column *columns;
    size_t column_count;
    const char *secret;  /* a field to print alone, for a script: a token */
    const char *confirm; /* "remove the base": asked on a terminal, unless -y */
};

/* The one struct that all remote commands fill. */
struct remote_options {
    struct globals globals;
    const char *server, *profile, *tenant, *ca, *timeout, *columns;
    const char *after, *limit, *stage, *queue, *pool, *role, *title, *weight, *rank, *key, *since;
    const char *running_slots_max, *queued_jobs_max, *bytes_max, *slot_hours_month_max, *grace;
    const char *reason, *with, *right, *out, *worst, *from, *domain, *rows, *shards_of, *shards;
    const char *tensorboard, *events, *parent;
    struct option_list state, label, set, column;
    bool follow, dry_run, wait, job, shared, watch, yes, no_wait;
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
        REMOTE_ROW("tenant", 0, OPTION_STRING, tenant, "NAME", "whose; default: the profile's"),   \
        REMOTE_ROW("columns", 0, OPTION_STRING, columns, "A,B,…",                                  \
                   "which columns or fields, such as id,state,spec.train.seed"),                   \
        REMOTE_ROW("timeout", 0, OPTION_STRING, timeout, "TIME", "give up after, such as 30s"),    \
        REMOTE_ROW("ca", 0, OPTION_STRING, ca, "FILE",                                             \
                   "PEM file that the server's certificate is checked with")
#define REMOTE_WATCH_ROW                                                                           \
    REMOTE_ROW("watch", 0, OPTION_FLAG, watch, NULL, "show it again and again; Ctrl-C leaves")
#define REMOTE_YES_ROW REMOTE_ROW("yes", 'y', OPTION_FLAG, yes, NULL, "do not ask")
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
/* command->run in `body`, with an arena of its own. */
typedef enum status remote_body(struct arena *arena, const struct call *call, struct error *error);
enum status remote_within(remote_body *body, const struct call *call, struct error *error);
/* Milliseconds since 1970 of --since; 0: not given. */
enum status remote_since(const struct call *call, int64_t *since_ms_out, struct error *error);
/* "tailor job cancel j-1" is meant? Asked on a terminal unless -y; STATUS_CANCELLED: no. */
enum status remote_confirm(const struct call *call, const char *what, struct error *error);
/* A request with the arguments and options in it. */
enum status remote_request(const struct call *call, const struct service *service,
                           const struct remote *remote, ProtobufCMessage **request_out,
                           struct error *error);
/* Sets a field by its name. */
enum status remote_put(const struct service *service, ProtobufCMessage *request, const char *field,
                       const char *text, struct error *error);
/* ---- remote_print.c ---- */
/* Prints a reply as -o and --columns say. */
enum status remote_print(const struct call *call, const struct remote *remote, const json_t *reply,
                         struct error *error);
/* The same once, or with --watch until Ctrl-C, when it has changed. */
enum status remote_show(const struct call *call, const struct service *service,
                        const struct remote *remote, const ProtobufCMessage *request,
                        struct error *error);
/* Which columns are meant: those of --columns (their names live in the arena), else the remote's
 * own, with -o wide all of them. */
enum status remote_columns(struct arena *arena, const struct call *call,
                           const struct remote *remote,
                           struct column columns_out[TABLE_COLUMNS_MAX], int *count_out,
                           struct error *error);
/* Appends a field of an entry as a cell. */
void remote_cell(const json_t *entry, const struct column *column, struct buf *out);
/* A value alone, as JSON, JSON lines or YAML. */
void remote_value(const json_t *value, enum table_format format);
/* A field of a reply as a text; "" when it is not there. Borrowed. */
const char *remote_text(const json_t *entry, const char *field);

#endif
