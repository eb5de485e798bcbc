/* SPDX-License-Identifier: Apache-2.0
 *
 * The service itself: workers, tenants, tokens, queues, the cluster in figures.
 */
#include "client/commands.h"
#include "client/remote.h"

static const struct option_row plain_rows[] = {REMOTE_ROWS};

/* ---- workers ---- */
static const struct column worker_columns[] = {
    {"id", "id", COLUMN_TEXT},       {"name", "name", COLUMN_TEXT},
    {"pool", "pool", COLUMN_TEXT},   {"state", "state", COLUMN_TEXT},
    {"slots", "slots", COLUMN_TEXT}, {"busy", "slots_busy", COLUMN_TEXT},
    {"cores", "cores", COLUMN_TEXT}, {"memory", "memory_bytes", COLUMN_BYTES},
    {"host", "host", COLUMN_TEXT},   {"version", "version", COLUMN_TEXT},
};
static const struct remote worker_list_remote = {
    .route = ROUTE_WORKER_LIST, .list = "workers", REMOTE_COLUMNS(worker_columns)};
static const struct remote worker_show_remote = {.route = ROUTE_WORKER_SHOW, .fields = {"id"}};
static const struct remote worker_drain_remote = {
    .route = ROUTE_WORKER_DRAIN, .fields = {"id"}, REMOTE_COLUMNS(worker_columns)};
static const struct remote worker_undrain_remote = {
    .route = ROUTE_WORKER_UNDRAIN, .fields = {"id"}, REMOTE_COLUMNS(worker_columns)};

const struct command cmd_worker_list = {.noun = "worker",
                                        .verb = "list",
                                        .summary = "List workers, their slots and who is busy",
                                        .example = "tailor worker list",
                                        OPTION_ROWS(plain_rows),
                                        .remote = &worker_list_remote,
                                        REMOTE_COMMAND};

const struct command cmd_worker_show = {.noun = "worker",
                                        .verb = "show",
                                        .summary = "Show a worker",
                                        .example = "tailor worker show w-1",
                                        .arguments = {{.placeholder = "WORKER"}},
                                        OPTION_ROWS(plain_rows),
                                        .remote = &worker_show_remote,
                                        REMOTE_COMMAND};

const struct command cmd_worker_drain = {
    .noun = "worker",
    .verb = "drain",
    .summary = "Let a worker finish what it does and take nothing new",
    .example = "tailor worker drain w-1",
    .arguments = {{.placeholder = "WORKER"}},
    OPTION_ROWS(plain_rows),
    .remote = &worker_drain_remote,
    REMOTE_COMMAND};

const struct command cmd_worker_undrain = {.noun = "worker",
                                           .verb = "undrain",
                                           .summary = "Let a drained worker take jobs again",
                                           .example = "tailor worker undrain w-1",
                                           .arguments = {{.placeholder = "WORKER"}},
                                           OPTION_ROWS(plain_rows),
                                           .remote = &worker_undrain_remote,
                                           REMOTE_COMMAND};

static const struct option_row join_rows[] = {
    REMOTE_ROW("pool", 0, OPTION_STRING, pool, "NAME", "the pool that it will belong to"),
    REMOTE_ROWS,
};
static const struct remote join_remote = {.route = ROUTE_JOIN_TOKEN, .secret = "token"};

const struct command cmd_worker_join_token = {
    .noun = "worker",
    .verb = "join-token",
    .summary = "Make the token that one new worker joins with",
    .details = "It is a secret until it is used. -o name prints it alone.",
    .example = "tailor worker join-token -o name | tailor-worker --data ./worker --join -",
    OPTION_ROWS(join_rows),
    .remote = &join_remote,
    REMOTE_COMMAND};

/* ---- tenants ---- */
static const struct column tenant_columns[] = {
    {"name", "name", COLUMN_TEXT},
    {"title", "title", COLUMN_TEXT},
    {"weight", "weight", COLUMN_TEXT},
    {"slots at most", "running_slots_max", COLUMN_TEXT},
    {"queued at most", "queued_jobs_max", COLUMN_TEXT},
    {"bytes", "bytes", COLUMN_BYTES},
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
    REMOTE_ROWS,
};

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

const struct command cmd_token_revoke = {.noun = "token",
                                         .verb = "revoke",
                                         .summary = "End a token",
                                         .example = "tailor token revoke t-2",
                                         .arguments = {{.placeholder = "TOKEN"}},
                                         OPTION_ROWS(plain_rows),
                                         .remote = &token_revoke_remote,
                                         REMOTE_COMMAND};

/* ---- queues, cluster ---- */
static const struct column queue_columns[] = {
    {"name", "name", COLUMN_TEXT},       {"priority", "priority", COLUMN_TEXT},
    {"pending", "pending", COLUMN_TEXT}, {"running", "running", COLUMN_TEXT},
    {"paused", "paused", COLUMN_TEXT},   {"because", "pause_reason", COLUMN_TEXT},
};
static const struct remote queue_list_remote = {
    .route = ROUTE_QUEUE_LIST, .list = "queues", REMOTE_COLUMNS(queue_columns)};
static const struct remote cluster_remote = {.route = ROUTE_CLUSTER};

const struct command cmd_queue_list = {.noun = "queue",
                                       .verb = "list",
                                       .summary = "List queues",
                                       .example = "tailor queue list",
                                       OPTION_ROWS(plain_rows),
                                       .remote = &queue_list_remote,
                                       REMOTE_COMMAND};

const struct command cmd_cluster_status = {.noun = "cluster",
                                           .verb = "status",
                                           .summary = "Show the cluster in figures",
                                           .example = "tailor cluster status",
                                           OPTION_ROWS(plain_rows),
                                           .remote = &cluster_remote,
                                           REMOTE_COMMAND};
