/* SPDX-License-Identifier: Apache-2.0
 *
 * A rank that fails does not end the others here at once: they notice by themselves, and the first
 * cause is told apart from what followed from it. GANG_GRACE_MS later they are killed.
 */
#include "worker/agent/attempt.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "proto/rendezvous.h"

enum { GANG_GRACE_MS = 10000, LAST_READS = 64 };
/* How long another worker's blobs are awaited: usually; where a newer checkpoint is here; where the
 * attempt has failed. */
enum { AWAIT_MS = 60000, AWAIT_NEWER_MS = 5000, AWAIT_FAILED_MS = 2000 };
/* Shares of so many checkpoints may wait for their upload; further ones are passed over. */
enum { SHARES_MAX = 4 };

/* ---- made and freed -------------------------------------------------------------------------- */

static enum status ranks_make(struct attempt *it, const Wire__Assign *assign, struct error *error)
{
    it->rank_count = (int)assign->n_ranks;
    it->ranks = mem_alloc(assign->n_ranks * sizeof(*it->ranks));
    for (int i = 0; i < it->rank_count; i++) {
        struct rank *rank = &it->ranks[i];
        *rank = (struct rank){.number = assign->ranks[i],
                              .slot = assign->slots[i],
                              .gpu = -1,
                              .process = {.printed = -1, .reports = -1, .requests = -1},
                              .printed = {.size_max = LOG_LINE_BYTES},
                              .reports = {.size_max = 1 << 16},
                              .attempt = it};
        if (rank->number < 0 || rank->number >= it->world || rank->slot < 0 ||
            rank->slot >= it->place->slots)
            return error_set(error, STATUS_USAGE,
                             "rank %" PRId64 " in slot %" PRId64 " is not one of this worker's",
                             rank->number, rank->slot);
    }
    return STATUS_OK;
}

/* "host,host": the ports follow from the job (attempt_start.c). */
static enum status peers_copy(struct attempt *it, const Wire__Assign *assign, struct error *error)
{
    size_t used = 0;
    for (int64_t r = 0; r < it->world; r++) {
        const char *address = NULL;
        for (size_t i = 0; i < assign->n_peers; i++)
            if (assign->peers[i]->rank == r)
                address = assign->peers[i]->address;
        if (address == NULL || address[0] == '\0')
            return error_set(error, STATUS_USAGE,
                             "rank %" PRId64 " has no address: start its "
                             "worker with --address",
                             r);
        used += (size_t)snprintf(it->rendezvous + used, sizeof(it->rendezvous) - used, "%s%s",
                                 r > 0 ? "," : "", address);
    }
    return STATUS_OK;
}

static enum status inputs_copy(struct attempt *it, const Wire__Assign *assign, struct error *error)
{
    it->inputs = mem_alloc((assign->n_manifests + 1) * sizeof(*it->inputs));
    for (size_t i = 0; i < assign->n_manifests; i++)
        snprintf(it->inputs[i], sizeof(it->inputs[i]), "%s", assign->manifests[i]);
    it->input_count = (int)assign->n_manifests;
    it->parts = mem_alloc((assign->n_parts + 1) * sizeof(*it->parts));
    for (size_t i = 0; i < assign->n_parts; i++)
        snprintf(it->parts[i], sizeof(it->parts[i]), "%s", assign->parts[i]);
    it->part_count = (int)assign->n_parts;
    if (assign->checkpoint != NULL)
        snprintf(it->checkpoint, sizeof(it->checkpoint), "%s", assign->checkpoint);
    for (size_t i = 0; i < assign->secret.len && i < RENDEZVOUS_SECRET_BYTES; i++)
        snprintf(it->secret + 2 * i, 3, "%02x", assign->secret.data[i]);
    return (int64_t)assign->n_ranks < it->world ? peers_copy(it, assign, error) : STATUS_OK;
}

enum status attempt_create(const struct attempt_place *place, const Wire__Assign *assign,
                           struct attempt **attempt_out, struct error *error)
{
    bool sound = assign->spec != NULL && assign->n_ranks > 0 &&
                 assign->n_ranks == assign->n_slots && assign->world >= 1 &&
                 assign->world <= RENDEZVOUS_RANKS_MAX &&
                 (int64_t)assign->n_ranks <= assign->world && assign->job > 0 && assign->term > 0 &&
                 assign->shard <= assign->shards &&
                 (int64_t)assign->n_parts == (assign->shard > 0 ? 0 : assign->shards);
    if (!sound)
        return error_set(error, STATUS_USAGE, "the assignment is not whole");
    struct attempt *it = mem_alloc(sizeof(*it));
    it->place = place;
    it->job = assign->job;
    it->term = assign->term;
    outbox_init(&it->outbox, it->job, it->term);
    it->world = assign->world;
    it->shard = assign->shard;
    it->shards = assign->shards;
    it->checkpoint_step = it->published_step = -1;
    it->spec = mem_strdup(assign->spec);
    it->manifest = mem_alloc(sizeof(*it->manifest));
    snprintf(it->tenant, sizeof(it->tenant), "%s", assign->tenant != NULL ? assign->tenant : "");
    snprintf(it->dir, sizeof(it->dir), "%s/runs/%" PRId64 "-%" PRId64, place->data, it->job,
             it->term);
    it->transfer.cache = place->cache;
    it->transfer.arrivals = place->arrivals;
    it->transfer.tenant = it->tenant;
    enum status status = ranks_make(it, assign, error);
    if (status == STATUS_OK)
        status = inputs_copy(it, assign, error);
    if (status == STATUS_OK)
        status = dir_create(it->dir, error);
    if (status == STATUS_OK)
        status = outbox_open(&it->outbox, place->data, error);
    if (status != STATUS_OK) {
        attempt_free(it);
        return status;
    }
    attempt_fetch(it);
    *attempt_out = it;
    return STATUS_OK;
}

/* Its process is gone. */
static void gpu_give(struct rank *rank)
{
    if (rank->gpu >= 0)
        gpus_give(rank->attempt->place->gpus, rank->gpu, rank->attempt->now_ms);
    rank->gpu = -1;
}

static void rank_release(struct rank *rank)
{
    process_signal(&rank->process, SIGKILL);
    if (rank->process.pid > 0)
        waitpid(rank->process.pid, NULL, 0);
    gpu_give(rank);
    process_close(&rank->process);
    for (int i = 0; i < rank->log_count; i++)
        mem_free(rank->log[i]);
    buf_release(&rank->printed.line);
    buf_release(&rank->reports.line);
}

void attempt_free(struct attempt *it)
{
    for (int i = 0; i < it->rank_count; i++)
        rank_release(&it->ranks[i]);
    dir_remove(it->dir, NULL);
    transfer_release(&it->transfer);
    outbox_close(&it->outbox);
    serving_free(it->serving);
    mem_free(it->ranks);
    mem_free(it->inputs);
    mem_free(it->parts);
    mem_free(it->spec);
    mem_free(it->manifest);
    mem_free(it->figures);
    mem_free(it);
}

/* ---- what it is ------------------------------------------------------------------------------ */

bool attempt_is_over(const struct attempt *it)
{
    return it->phase == ATTEMPT_REPORTED && it->outbox.count == 0;
}

bool attempt_uses(const struct attempt *it, int64_t slot)
{
    for (int i = 0; i < it->rank_count; i++)
        if (it->phase <= ATTEMPT_RUNNING && it->ranks[i].slot == slot)
            return true;
    return false;
}

bool attempt_leads(const struct attempt *it)
{
    return it->ranks[0].number == 0;
}

Api__AttemptState attempt_state(const struct attempt *it)
{
    if (it->phase == ATTEMPT_FETCHING)
        return API__ATTEMPT_STATE__ATTEMPT_STATE_STARTING;
    if (it->wish != WISH_NONE)
        return API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPING;
    return it->running_said ? API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING
                            : API__ATTEMPT_STATE__ATTEMPT_STATE_STARTING;
}

void attempt_fail(struct attempt *it, Api__FailureClass failure, int64_t rank, const char *format,
                  ...)
{
    va_list list;
    if (it->failure != API__FAILURE_CLASS__FAILURE_CLASS_UNSPECIFIED)
        return;
    it->failure = failure;
    it->failure_rank = rank;
    va_start(list, format);
    vsnprintf(it->failure_message, sizeof(it->failure_message), format, list);
    va_end(list);
}

void attempt_fail_status(struct attempt *it, const struct error *error)
{
    bool ours = error->status == STATUS_IO || error->status == STATUS_MEMORY ||
                error->status == STATUS_DENIED || error->status == STATUS_LIMIT ||
                error->status == STATUS_FULL;
    it->no_space = it->no_space || error->status == STATUS_FULL;
    attempt_fail(it,
                 ours ? API__FAILURE_CLASS__FAILURE_CLASS_STORAGE
                      : API__FAILURE_CLASS__FAILURE_CLASS_USER_CONFIG,
                 -1, "%s", error->text);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void signal_ranks(struct attempt *it, int number, bool lead_only)
{
    for (int i = 0; i < it->rank_count; i++)
        if (!lead_only || it->ranks[i].number == 0)
            process_signal(&it->ranks[i].process, number);
}

/* Rank 0 takes the others along. What is over has only its results to lose, by WISH_CANCEL. */
void attempt_stop(struct attempt *it, enum attempt_wish wish, int64_t now_ms)
{
    if (wish <= it->wish || it->phase == ATTEMPT_REPORTED ||
        (it->phase == ATTEMPT_ENDING && wish != WISH_CANCEL))
        return;
    log_info("job %" PRId64 " term %" PRId64 " is told to %s", it->job, it->term,
             wish == WISH_CANCEL ? "end" : "write a checkpoint and stop");
    it->wish = wish;
    if (it->phase != ATTEMPT_RUNNING)
        return;
    if (wish == WISH_CANCEL) {
        it->killed = true;
        signal_ranks(it, SIGKILL, false);
    } else if (it->kill_ms == 0) {
        signal_ranks(it, SIGTERM, true);
        it->kill_ms = now_ms + it->place->pause_grace_ms;
    }
}

/* ---- its ranks end --------------------------------------------------------------------------- */

static bool is_consequence(int wait_status)
{
    return WIFEXITED(wait_status) &&
           WEXITSTATUS(wait_status) == status_exit_code(STATUS_COMMUNICATION);
}

/* It said nothing of a failure: the exit code or the signal speaks. */
static void note_end(struct attempt *it, struct rank *rank)
{
    int end = rank->process.wait_status;
    bool obeyed = it->wish != WISH_NONE && WIFSIGNALED(end) && WTERMSIG(end) == SIGTERM;
    if (it->killed || obeyed || (WIFEXITED(end) && WEXITSTATUS(end) == 0))
        return;
    if (it->failure == API__FAILURE_CLASS__FAILURE_CLASS_UNSPECIFIED ||
        it->failure_rank == rank->number)
        snprintf(it->failure_log, sizeof(it->failure_log), "%.*s", (int)rank->tail_length,
                 rank->tail);
    if (WIFSIGNALED(end))
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, rank->number,
                     "rank %" PRId64 " was ended by signal %d (%s)%s", rank->number, WTERMSIG(end),
                     strsignal(WTERMSIG(end)),
                     WTERMSIG(end) == SIGKILL ? "; was it the kernel, for want of memory?" : "");
    else if (is_consequence(end))
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_COMMUNICATION, rank->number,
                     "rank %" PRId64 " lost the other ranks", rank->number);
    else if (it->wish == WISH_NONE || WEXITSTATUS(end) != status_exit_code(STATUS_CANCELLED))
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, rank->number,
                     "rank %" PRId64 " ended with exit code %d", rank->number, WEXITSTATUS(end));
}

static void reap(struct attempt *it)
{
    bool all = true, well = true;
    for (int i = 0; i < it->rank_count; i++) {
        struct rank *rank = &it->ranks[i];
        if (!rank->ended && process_reap(&rank->process)) {
            for (int k = 0; k < LAST_READS && rank->process.reports >= 0; k++)
                attempt_hear(it, rank);
            rank->ended = true;
            gpu_give(rank);
            attempt_flush_logs(it, rank, true);
            note_end(it, rank);
        }
        all = all && rank->ended;
        well = well && rank->ended && WIFEXITED(rank->process.wait_status) &&
               WEXITSTATUS(rank->process.wait_status) == 0;
    }
    if (!all && it->failure != API__FAILURE_CLASS__FAILURE_CLASS_UNSPECIFIED && it->kill_ms == 0)
        it->kill_ms = it->now_ms + GANG_GRACE_MS;
    if (!all && it->kill_ms != 0 && it->now_ms >= it->kill_ms && !it->killed) {
        log_warn("job %" PRId64 " term %" PRId64 ": killing the ranks that are left", it->job,
                 it->term);
        it->killed = true;
        signal_ranks(it, SIGKILL, false);
    }
    if (all) {
        if (it->serving != NULL)
            serving_end(it->serving, it);
        it->succeeded = well && it->serving == NULL; /* to serve has no end of its own */
        it->phase = ATTEMPT_ENDING;
    }
}

/* ---- its turn -------------------------------------------------------------------------------- */

static void turn_fetching(struct attempt *it, int mark)
{
    enum status status = it->transfer.status;
    struct error error = it->transfer.error;
    if (it->wish != WISH_NONE) {
        it->phase = ATTEMPT_ENDING;
        return;
    }
    if (status == STATUS_OK && mark >= 0)
        status = attempt_fetched(it, mark, &error);
    if (status != STATUS_OK) {
        attempt_fail_status(it, &error);
        signal_ranks(it, SIGKILL, false);
        it->killed = true;
        it->phase = it->ranks[0].process.pid > 0 ? ATTEMPT_RUNNING : ATTEMPT_ENDING;
    }
}

/* Another worker's part of a checkpoint that does not come: it passed that one over, or is gone; a
 * newer one may do. And where the store has no room an attempt that is to end does not wait for
 * some with a checkpoint; its model is worth the wait. */
static void give_up_checkpoints(struct attempt *it)
{
    bool failed = it->failure != API__FAILURE_CLASS__FAILURE_CLASS_UNSPECIFIED;
    int64_t patience_ms = failed                                     ? AWAIT_FAILED_MS
                          : it->checkpoint_step > it->published_step ? AWAIT_NEWER_MS
                                                                     : AWAIT_MS;
    if (transfer_awaited(&it->transfer, it->now_ms) >= patience_ms) {
        log_warn("job %" PRId64 ": another worker's part of a checkpoint does not come", it->job);
        transfer_skip(&it->transfer);
    }
    if (it->phase == ATTEMPT_ENDING && it->transfer.full && !it->outcome_said) {
        log_warn("job %" PRId64 ": the store is full: a checkpoint is given up", it->job);
        transfer_drop(&it->transfer);
        it->transfer.full = false;
        it->published_step = it->checkpoint_step;
    }
}

/* What can be published has been; if the store takes nothing, that is why the attempt fails. */
static void turn_ending(struct attempt *it)
{
    if (it->wish == WISH_CANCEL) {
        transfer_drop(&it->transfer);
        it->succeeded = false;
    } else if (it->transfer.status != STATUS_OK) {
        attempt_fail_status(it, &it->transfer.error);
        it->succeeded = false;
    } else if (!transfer_is_idle(&it->transfer)) {
        return;
    } else if (it->checkpoint_step > it->published_step) {
        attempt_publish_checkpoint(it);
        return;
    } else if (it->succeeded && !it->outcome_said && attempt_leads(it)) {
        attempt_publish_outcome(it);
        return;
    }
    if (it->wish == WISH_LEAVE && !it->succeeded)
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_WORKER_LOST, -1,
                     "the worker was stopped");
    bool failed = it->failure != API__FAILURE_CLASS__FAILURE_CLASS_UNSPECIFIED;
    bool stopped = it->wish == WISH_PAUSE || it->wish == WISH_CANCEL;
    it->phase = ATTEMPT_REPORTED;
    attempt_report_state(it, it->succeeded && !failed ? API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED
                             : stopped                ? API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED
                                                      : API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED);
}

static void turn_running(struct attempt *it, int mark)
{
    for (int i = 0; i < it->rank_count; i++) {
        attempt_hear(it, &it->ranks[i]);
        attempt_flush_logs(it, &it->ranks[i], false);
    }
    if (mark >= 0)
        attempt_published(it, mark);
    bool may =
        attempt_leads(it) ? transfer_is_idle(&it->transfer) : it->shares_pending < SHARES_MAX;
    if (it->checkpoint_step > it->published_step && may)
        attempt_publish_checkpoint(it);
    give_up_checkpoints(it);
    if (it->serving != NULL)
        serving_turn(it->serving, it);
    reap(it);
}

void attempt_turn(struct attempt *it, int64_t now_ms)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    it->wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    it->now_ms = now_ms;
    int mark = transfer_turn(&it->transfer, it->place->link, now_ms);
    if (it->phase == ATTEMPT_FETCHING) {
        turn_fetching(it, mark);
    } else if (it->phase == ATTEMPT_RUNNING) {
        turn_running(it, mark);
    } else if (it->phase == ATTEMPT_ENDING) {
        if (mark >= 0)
            attempt_published(it, mark);
        give_up_checkpoints(it);
        turn_ending(it);
    }
    outbox_send(&it->outbox, it->place->link, now_ms);
}
