/* SPDX-License-Identifier: Apache-2.0
 *
 * The secret of a gang's collective is a digest of our own secret key and (job, term): all its
 * workers get the same one, also when they are told again after a restart, and nothing is stored.
 */
#include "coordinator/command.h"

#include <inttypes.h>
#include <string.h>

#include "coordinator/assign_rows.h"
#include "coordinator/change.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/sha256.h"

struct command_item {
    struct command command;
    int64_t worker;
    Wire__Assign *assign; /* BEGIN */
    struct assign_rows rows;
};

struct command_list {
    struct command_item *items;
    size_t count;
};

/* ---- on the loop ----------------------------------------------------------------------------- */

static void secret_make(const struct coordinator *coordinator, struct arena *arena,
                        const struct command *command, ProtobufCBinaryData *secret_out)
{
    char digest[SHA256_HEX_SIZE];
    uint64_t numbers[2] = {command->job, command->term};
    struct sha256 *sha = sha256_create();
    sha256_update(sha, "gang", 4);
    sha256_update(sha, coordinator->key.secret, CURVE_KEY_SIZE);
    sha256_update(sha, numbers, sizeof(numbers));
    sha256_finish_hex(sha, digest);
    secret_out->data = (uint8_t *)arena_strndup(arena, digest, 32);
    secret_out->len = 32;
}

static void add_peers(struct coordinator *coordinator, struct arena *arena,
                      const struct cluster_job *job, Wire__Assign *assign)
{
    for (int32_t i = 0; i < job->member_count; i++) {
        const struct gang_member *part = &job->members[i];
        uint64_t id = coordinator->cluster.registry.workers[part->worker].id;
        const struct member *member = member_find(coordinator, (int64_t)id);
        for (int32_t r = 0; r < part->ranks; r++) {
            Wire__Peer *peer = message_add(arena, assign, "peers");
            peer->has_rank = peer->has_worker = true;
            peer->rank = part->first_rank + r;
            peer->worker = (int64_t)id;
            if (member != NULL && member->address[0] != '\0')
                peer->address = arena_strdup(arena, member->address);
        }
    }
}

static Wire__Assign *assign_make(struct coordinator *coordinator, struct arena *arena,
                                 const struct command *command, struct member *member)
{
    const struct cluster_job *core = cluster_job(&coordinator->cluster, command->job);
    const struct job *job = job_list_find(&coordinator->jobs, command->job);
    Wire__Assign *assign = message_new(arena, &wire__assign__descriptor);
    const struct slot_use *use =
        member_slots(coordinator, member, command->job, command->term, command->ranks);
    CHECK(core != NULL && job != NULL);
    assign->has_job = assign->has_term = assign->has_world = assign->has_command = true;
    assign->job = (int64_t)command->job;
    assign->term = (int64_t)command->term;
    assign->world = command->gang_ranks;
    assign->command = (int64_t)command->number;
    assign->tenant = job_store(job)[0] != '\0' ? arena_strdup(arena, job_store(job)) : NULL;
    assign->n_ranks = assign->n_slots = (size_t)command->ranks;
    assign->ranks = arena_array(arena, int64_t, command->ranks);
    assign->slots = arena_array(arena, int64_t, command->ranks);
    for (int32_t r = 0; r < command->ranks; r++) {
        assign->ranks[r] = command->first_rank + r;
        assign->slots[r] = use->slots[r];
    }
    assign->has_shard = assign->has_shards = job->shards > 0;
    assign->shard = job->shard;
    assign->shards = job->shards;
    assign->has_secret = true;
    secret_make(coordinator, arena, command, &assign->secret);
    add_peers(coordinator, arena, core, assign);
    return assign;
}

/* A gang that was told to begin and, in the same turn, to stop has no slots to name any more. */
static bool still_begins(struct coordinator *coordinator, const struct command *command,
                         uint32_t worker)
{
    const struct cluster_job *core = cluster_job(&coordinator->cluster, command->job);
    return core != NULL && core->run.term == command->term && core->member_count > 0 &&
           worker_hold(&coordinator->cluster.registry.workers[worker], command->job,
                       command->term) != NULL;
}

struct command_list *commands_take(struct coordinator *coordinator, struct arena *arena)
{
    const struct cluster *cluster = &coordinator->cluster;
    struct command_list *list = arena_new(arena, struct command_list);
    list->items = arena_array(arena, struct command_item, cluster->command_count);
    for (size_t i = 0; i < cluster->command_count; i++) {
        const struct command *command = &cluster->commands[i];
        int64_t worker = (int64_t)cluster->registry.workers[command->worker].id;
        struct member *member = member_find(coordinator, worker);
        bool begins = command->kind == COMMAND_BEGIN;
        if (member == NULL || (begins && !still_begins(coordinator, command, command->worker)))
            continue;
        struct command_item *item = &list->items[list->count++];
        *item = (struct command_item){.command = *command,
                                      .worker = worker,
                                      .rows = {.arena = arena, .job = (int64_t)command->job}};
        if (begins)
            item->assign = assign_make(coordinator, arena, command, member);
    }
    return list;
}

/* ---- on the database thread ------------------------------------------------------------------ */

enum status commands_read(struct records *records, struct command_list *commands,
                          struct error *error)
{
    for (size_t i = 0; i < commands->count; i++) {
        struct command_item *item = &commands->items[i];
        if (item->assign == NULL)
            continue;
        enum status status = assign_rows_read(records, &item->rows, &item->rows.error);
        if (status == STATUS_IO) {
            *error = item->rows.error;
            return status;
        }
        item->rows.status = status;
    }
    return STATUS_OK;
}

/* ---- behind the commit ----------------------------------------------------------------------- */

static void send_assign(struct coordinator *coordinator, struct command_item *item)
{
    item->assign->spec = item->rows.spec;
    item->assign->checkpoint = item->rows.checkpoint;
    item->assign->manifests = item->rows.manifests;
    item->assign->n_manifests = item->rows.manifest_count;
    item->assign->parts = item->rows.parts;
    item->assign->n_parts = item->rows.part_count;
    worker_socket_send(coordinator->socket, worker_identity(item->worker), WORKER_ASSIGN,
                       item->assign);
}

static void send_stop(struct coordinator *coordinator, const struct command_item *item)
{
    const struct command *command = &item->command;
    struct identity to = worker_identity(item->worker);
    if (command->kind == COMMAND_STOP) {
        Wire__Cancel cancel = WIRE__CANCEL__INIT;
        cancel.has_job = cancel.has_term = cancel.has_command = true;
        cancel.job = (int64_t)command->job;
        cancel.term = (int64_t)command->term;
        cancel.command = (int64_t)command->number;
        worker_socket_send(coordinator->socket, to, WORKER_CANCEL, &cancel);
    } else {
        Wire__Pause pause = WIRE__PAUSE__INIT;
        pause.has_job = pause.has_term = pause.has_command = true;
        pause.job = (int64_t)command->job;
        pause.term = (int64_t)command->term;
        pause.command = (int64_t)command->number;
        worker_socket_send(coordinator->socket, to, WORKER_PAUSE, &pause);
    }
}

static void fail(struct coordinator *coordinator, const struct command_item *item)
{
    struct job *job = job_list_find(&coordinator->jobs, item->command.job);
    struct change *change = change_begin(coordinator);
    log_error("job %" PRIu64 " cannot begin: %s", item->command.job, item->rows.error.text);
    if (job != NULL) {
        job->failure_term = item->command.term;
        text_replace(&job->failure_message, item->rows.error.text);
    }
    cluster_fail(&coordinator->cluster, item->command.job, item->command.term, FAILURE_STORAGE,
                 coordinator->now_ms);
    change_commit(change, NULL, NULL);
}

void commands_send(struct coordinator *coordinator, struct command_list *commands)
{
    for (size_t i = 0; i < commands->count; i++) {
        struct command_item *item = &commands->items[i];
        if (item->assign == NULL)
            send_stop(coordinator, item);
        else if (item->rows.status == STATUS_OK)
            send_assign(coordinator, item);
        else
            fail(coordinator, item);
    }
}
