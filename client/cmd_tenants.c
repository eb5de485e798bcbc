/* SPDX-License-Identifier: Apache-2.0
 *
 * Tenants with their quotas, and the tokens of people and programs.
 */
#include "client/commands.h"
#include "client/remote.h"
#include "lib/text.h"

static const struct option_row plain_rows[] = {REMOTE_ROWS};

/* ---- tenants ---- */
static const struct column tenant_columns[] = {
    {"name", "name", COLUMN_TEXT},
    {"title", "title", COLUMN_TEXT},
    {"weight", "weight", COLUMN_TEXT},
    {"slots at most", "running_slots_max", COLUMN_TEXT},
    {"queued at most", "queued_jobs_max", COLUMN_TEXT},
    {"bytes", "bytes", COLUMN_BYTES},
    {"bytes at most", "bytes_max", COLUMN_BYTES | COLUMN_WIDE},
    {"slot hours a month", "slot_hours_month_max", COLUMN_TEXT | COLUMN_WIDE},
    {"made", "created_ms", COLUMN_TIME},
};
static const struct remote tenant_list_remote = {
    .route = ROUTE_TENANT_LIST, .list = "tenants", REMOTE_COLUMNS(tenant_columns)};
static const struct remote tenant_create_remote = {
    .route = ROUTE_TENANT_CREATE, .fields = {"name"}, REMOTE_COLUMNS(tenant_columns)};

const struct command cmd_tenant_list = {.noun = "tenant",
                                        .verb = "list",
                                        .summary = "List tenants and their quotas",
                                        .example = "tailor tenant list",
                                        OPTION_ROWS(plain_rows),
                                        .remote = &tenant_list_remote,
                                        REMOTE_COMMAND};

static const struct option_row tenant_rows[] = {
    REMOTE_ROW("title", 0, OPTION_STRING, title, "TEXT", "its name for people"),
    REMOTE_ROW("weight", 0, OPTION_STRING, weight, "X", "of its fair share; default 1"),
    REMOTE_ROW("running-slots-max", 0, OPTION_STRING, running_slots_max, "N",
               "slots that its jobs hold at a time"),
    REMOTE_ROW("queued-jobs-max", 0, OPTION_STRING, queued_jobs_max, "N", "jobs that wait"),
    REMOTE_ROW("bytes-max", 0, OPTION_STRING, bytes_max, "N", "bytes in the store"),
    REMOTE_ROW("slot-hours-month-max", 0, OPTION_STRING, slot_hours_month_max, "N",
               "slot hours in a month"),
    REMOTE_ROWS,
};
static const struct remote tenant_show_remote = {.route = ROUTE_TENANT_SHOW, .fields = {"name"}};
static const struct remote tenant_quota_remote = {
    .route = ROUTE_TENANT_QUOTA, .fields = {"name"}, REMOTE_COLUMNS(tenant_columns)};

const struct command cmd_tenant_show = {.noun = "tenant",
                                        .verb = "show",
                                        .summary = "Show a tenant and its quotas",
                                        .example = "tailor tenant show acme",
                                        .arguments = {{.placeholder = "NAME"}},
                                        OPTION_ROWS(plain_rows),
                                        .remote = &tenant_show_remote,
                                        REMOTE_COMMAND};

const struct command cmd_tenant_quota = {
    .noun = "tenant",
    .verb = "quota",
    .summary = "Change the quotas and the weight of a tenant",
    .details = "What is not named stays as it is.",
    .example = "tailor tenant quota acme --running-slots-max 16 --weight 2",
    .arguments = {{.placeholder = "NAME"}},
    OPTION_ROWS(tenant_rows),
    .remote = &tenant_quota_remote,
    REMOTE_COMMAND};

const struct command cmd_tenant_create = {.noun = "tenant",
                                          .verb = "create",
                                          .summary = "Make a tenant",
                                          .example =
                                              "tailor tenant create acme --title 'Acme Inc.'",
                                          .arguments = {{.placeholder = "NAME"}},
                                          OPTION_ROWS(tenant_rows),
                                          .remote = &tenant_create_remote,
                                          REMOTE_COMMAND};

/* ---- tokens ---- */
static const struct column token_columns[] = {
    {"id", "id", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},
    {"role", "role", COLUMN_TEXT},
    {"made", "created_ms", COLUMN_TIME},
    {"expires", "expires_ms", COLUMN_TIME},
    {"revoked", "revoked_ms", COLUMN_TIME},
};
static const struct remote token_list_remote = {
    .route = ROUTE_TOKEN_LIST, .list = "tokens", REMOTE_COLUMNS(token_columns)};
static const struct remote token_create_remote = {
    .route = ROUTE_TOKEN_CREATE, .fields = {"name"}, .secret = "secret"};
static const struct remote token_revoke_remote = {.route = ROUTE_TOKEN_REVOKE, .fields = {"id"}};

const struct command cmd_token_list = {.noun = "token",
                                       .verb = "list",
                                       .summary = "List tokens; never their secrets",
                                       .example = "tailor token list --tenant acme",
                                       OPTION_ROWS(plain_rows),
                                       .remote = &token_list_remote,
                                       REMOTE_COMMAND};

static const struct option_row token_rows[] = {
    REMOTE_ROW("role", 0, OPTION_STRING, role, "ROLE", "viewer, submitter, tenant_admin or admin"),
    REMOTE_ROWS,
};

const struct command cmd_token_create = {
    .noun = "token",
    .verb = "create",
    .summary = "Make a token; its secret is shown this once",
    .details = "-o name prints the secret alone.",
    .example = "tailor token create ci --role submitter --tenant acme",
    .arguments = {{.placeholder = "NAME"}},
    OPTION_ROWS(token_rows),
    .required = "role",
    .remote = &token_create_remote,
    REMOTE_COMMAND};

static const struct remote token_rotate_remote = {
    .route = ROUTE_TOKEN_ROTATE, .fields = {"id"}, .secret = "secret"};

static enum status rotate_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    ProtobufCMessage *request;
    double grace_s;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &token_rotate_remote, &request, error));
    Api__TokenRequest *rotate = (Api__TokenRequest *)request;
    if (options->grace && !parse_duration_s(options->grace, &grace_s)) {
        return error_set(error, STATUS_USAGE, "--grace: \"%s\" is no time, such as 1h or 0",
                         options->grace);
    }
    rotate->has_grace_ms = options->grace != NULL;
    rotate->grace_ms = options->grace ? (int64_t)(grace_s * 1000) : 0;
    return remote_show(call, &service, &token_rotate_remote, request, error);
}

static enum status rotate_run(const struct call *call, struct error *error)
{
    return remote_within(rotate_in, call, error);
}

static const struct option_row rotate_rows[] = {
    REMOTE_ROW("grace", 0, OPTION_STRING, grace, "TIME",
               "how long the old secret is taken too; default 24h"),
    REMOTE_ROWS,
};

const struct command cmd_token_rotate = {
    .noun = "token",
    .verb = "rotate",
    .summary = "Give a token a new secret; the old one works a while longer",
    .details = "-o name prints the new secret alone.",
    .example = "tailor token rotate t-2 --grace 1h",
    .arguments = {{.placeholder = "TOKEN"}},
    OPTION_ROWS(rotate_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &token_rotate_remote,
    .run = rotate_run};

const struct command cmd_token_revoke = {.noun = "token",
                                         .verb = "revoke",
                                         .summary = "End a token",
                                         .example = "tailor token revoke t-2",
                                         .arguments = {{.placeholder = "TOKEN"}},
                                         OPTION_ROWS(plain_rows),
                                         .remote = &token_revoke_remote,
                                         REMOTE_COMMAND};

/* ---- usage ---- */
static const struct column usage_columns[] = {
    {"tenant", "tenant", COLUMN_TEXT},
    {"from", "begin_ms", COLUMN_TIME},
    {"to", "end_ms", COLUMN_TIME},
    {"slot hours", "slot_ms", COLUMN_HOURS},
    {"of them productive", "productive_slot_ms", COLUMN_HOURS},
    {"jobs", "jobs", COLUMN_TEXT},
};
static const struct option_row usage_rows[] = {
    REMOTE_ROW("since", 0, OPTION_STRING, since, "TIME", "from then on, such as 24h"),
    REMOTE_ROWS,
};
static const struct remote usage_remote = {
    .route = ROUTE_USAGE, .list = "rows", REMOTE_COLUMNS(usage_columns)};

const struct command cmd_tenant_usage = {
    .noun = "tenant",
    .verb = "usage",
    .summary = "Show the slot time of each tenant; the row without one is idle",
    .example = "tailor tenant usage --since 720h -o csv",
    OPTION_ROWS(usage_rows),
    .remote = &usage_remote,
    REMOTE_COMMAND};
