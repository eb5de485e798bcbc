/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor webhook: who is told of a tenant's events, signed, by HTTP.
 */
#include "client/commands.h"
#include "client/remote.h"

static const struct option_row plain_rows[] = {REMOTE_ROWS};
static const struct option_row remove_rows[] = {REMOTE_YES_ROW, REMOTE_ROWS};
static const struct option_row add_rows[] = {
    REMOTE_ROW("events", 0, OPTION_STRING, events, "KIND,…",
               "only of these, such as job_state,gate_held; default: all"),
    REMOTE_ROWS,
};

static const struct column columns[] = {
    {"id", "id", COLUMN_TEXT},           {"tenant", "tenant", COLUMN_TEXT},
    {"url", "url", COLUMN_TEXT},         {"events", "events", COLUMN_TEXT},
    {"taken", "delivered", COLUMN_TEXT}, {"in vain", "failed_attempts", COLUMN_TEXT},
    {"next", "next_ms", COLUMN_TIME},    {"stopped", "stopped_ms", COLUMN_TIME},
    {"cause", "cause", COLUMN_TEXT},
};

static const struct remote list_remote = {
    .route = ROUTE_WEBHOOK_LIST, .list = "webhooks", REMOTE_COLUMNS(columns)};
static const struct remote add_remote = {
    .route = ROUTE_WEBHOOK_ADD, .fields = {"url"}, .secret = "secret"};
static const struct remote resume_remote = {.route = ROUTE_WEBHOOK_RESUME, .fields = {"id"}};
static const struct remote remove_remote = {.route = ROUTE_WEBHOOK_REMOVE, .fields = {"id"}};

const struct command cmd_webhook_list = {
    .noun = "webhook",
    .verb = "list",
    .summary = "List webhooks, and what their receivers last answered",
    .example = "tailor webhook list",
    OPTION_ROWS(plain_rows),
    .remote = &list_remote,
    REMOTE_COMMAND};

const struct command cmd_webhook_add = {
    .noun = "webhook",
    .verb = "add",
    .summary = "Post a tenant's events to a URL, in order, until each was taken",
    .details =
        "The secret that signs them is shown this once (headers webhook-id, webhook-timestamp and "
        "webhook-signature,\nas the libraries of Standard Webhooks verify them). Only https to "
        "public addresses, unless tailord\nwas started with --webhook-private.",
    .example = "tailor webhook add https://example.com/hook --events job_state,gate_held",
    .arguments = {{.placeholder = "URL"}},
    OPTION_ROWS(add_rows),
    .remote = &add_remote,
    REMOTE_COMMAND};

const struct command cmd_webhook_resume = {.noun = "webhook",
                                           .verb = "resume",
                                           .summary = "Try again now, also one that was given up",
                                           .example = "tailor webhook resume h-3",
                                           .arguments = {{.placeholder = "WEBHOOK"}},
                                           OPTION_ROWS(plain_rows),
                                           .remote = &resume_remote,
                                           REMOTE_COMMAND};

const struct command cmd_webhook_remove = {.noun = "webhook",
                                           .verb = "rm",
                                           .summary = "End a webhook",
                                           .example = "tailor webhook rm h-3",
                                           .arguments = {{.placeholder = "WEBHOOK"}},
                                           OPTION_ROWS(remove_rows),
                                           .remote = &remove_remote,
                                           REMOTE_COMMAND};
