/* SPDX-License-Identifier: Apache-2.0
 *
 * The service itself: workers, queues, the cluster in figures. (cmd_tenants.c: tenants and tokens.)
 */
#include "client/commands.h"
#include "client/remote.h"

static const struct option_row plain_rows[] = {REMOTE_ROWS};
static const struct option_row show_rows[] = {REMOTE_WATCH_ROW, REMOTE_ROWS};
static const struct option_row remove_rows[] = {REMOTE_YES_ROW, REMOTE_ROWS};

/* ---- workers ---- */
static const struct column worker_columns[] = {
    {"id", "id", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"pool", "pool", COLUMN_TEXT},
    {"state", "state", COLUMN_TEXT},
    {"slots", "slots", COLUMN_TEXT},
    {"busy", "slots_busy", COLUMN_TEXT},
    {"cores", "cores", COLUMN_TEXT},
    {"memory", "memory_bytes", COLUMN_BYTES},
    {"host", "host", COLUMN_TEXT},
    {"version", "version", COLUMN_TEXT},
    {"gpus", "gpus", COLUMN_TEXT | COLUMN_WIDE},
    {"numerics", "numerics", COLUMN_TEXT | COLUMN_WIDE},
    {"labels", "labels", COLUMN_TEXT | COLUMN_WIDE},
    {"last seen", "last_seen_ms", COLUMN_AGE | COLUMN_WIDE},
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
                                        OPTION_ROWS(show_rows),
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

static const struct remote worker_forget_remote = {
    .route = ROUTE_WORKER_FORGET, .fields = {"id"}, .confirm = "forget the key of the worker"};

const struct command cmd_worker_forget = {
    .noun = "worker",
    .verb = "forget",
    .summary = "Remove a worker and its key",
    .details = "What it ran goes on elsewhere. It comes back with a new join token only.",
    .example = "tailor worker forget w-1",
    .arguments = {{.placeholder = "WORKER"}},
    OPTION_ROWS(remove_rows),
    .remote = &worker_forget_remote,
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

/* ---- queues, cluster ---- */
static const struct column queue_columns[] = {
    {"name", "name", COLUMN_TEXT},       {"priority", "priority", COLUMN_TEXT},
    {"pending", "pending", COLUMN_TEXT}, {"running", "running", COLUMN_TEXT},
    {"paused", "paused", COLUMN_TEXT},   {"because", "pause_reason", COLUMN_TEXT},
};
static const struct remote queue_list_remote = {
    .route = ROUTE_QUEUE_LIST, .list = "queues", REMOTE_COLUMNS(queue_columns)};
static const struct remote queue_pause_remote = {
    .route = ROUTE_QUEUE_PAUSE, .fields = {"name"}, REMOTE_COLUMNS(queue_columns)};
static const struct remote queue_resume_remote = {
    .route = ROUTE_QUEUE_RESUME, .fields = {"name"}, REMOTE_COLUMNS(queue_columns)};
static const struct remote cluster_remote = {.route = ROUTE_CLUSTER};
static const struct remote gc_remote = {.route = ROUTE_GC};
static const struct column backup_columns[] = {
    {"path", "path", COLUMN_TEXT},
    {"blobs", "blobs", COLUMN_TEXT},
    {"bytes", "bytes", COLUMN_BYTES},
    {"made", "time_ms", COLUMN_TIME},
};
static const struct remote backup_remote = {.route = ROUTE_BACKUP, REMOTE_COLUMNS(backup_columns)};

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
                                           OPTION_ROWS(show_rows),
                                           .remote = &cluster_remote,
                                           REMOTE_COMMAND};

static const struct option_row pause_rows[] = {
    REMOTE_ROW("reason", 0, OPTION_STRING, reason, "TEXT", "what tailor job why will say"),
    REMOTE_ROWS,
};

const struct command cmd_queue_pause = {
    .noun = "queue",
    .verb = "pause",
    .summary = "Start nothing from a queue; what runs goes on",
    .example = "tailor queue pause default --reason 'disk is being replaced'",
    .arguments = {{.placeholder = "QUEUE"}},
    OPTION_ROWS(pause_rows),
    .remote = &queue_pause_remote,
    REMOTE_COMMAND};

const struct command cmd_queue_resume = {.noun = "queue",
                                         .verb = "resume",
                                         .summary = "Start jobs of a queue again",
                                         .example = "tailor queue resume default",
                                         .arguments = {{.placeholder = "QUEUE"}},
                                         OPTION_ROWS(plain_rows),
                                         .remote = &queue_resume_remote,
                                         REMOTE_COMMAND};

static const struct option_row gc_rows[] = {
    REMOTE_ROW("dry-run", 0, OPTION_FLAG, dry_run, NULL, "count them, remove nothing"),
    REMOTE_ROWS,
};

const struct command cmd_cluster_gc = {.noun = "cluster",
                                       .verb = "gc",
                                       .summary = "Remove from the store what nothing refers to",
                                       .example = "tailor cluster gc --dry-run",
                                       OPTION_ROWS(gc_rows),
                                       .remote = &gc_remote,
                                       REMOTE_COMMAND};

const struct command cmd_cluster_backup = {
    .noun = "cluster",
    .verb = "backup",
    .summary = "Copy records, keys and store while the service runs",
    .details =
        "The copy is a directory in the coordinator's DIR/backups; its blobs are links, which "
        "take\n"
        "no space. Carry it to another disk. tailor cluster restore makes a coordinator of it.",
    .example = "tailor cluster backup",
    OPTION_ROWS(plain_rows),
    .remote = &backup_remote,
    REMOTE_COMMAND};
