/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a coordinator. Everything is opened in an order in which each thing finds what it
 * needs, and closed in the reverse one; coordinator_close takes a half-opened one too.
 */
#include "coordinator/coordinator.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/backup.h"
#include "coordinator/change.h"
#include "coordinator/join.h"
#include "coordinator/retention.h"
#include "coordinator/scores.h"
#include "coordinator/series.h"
#include "coordinator/state.h"
#include "coordinator/store.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "storage/records/records.h"

enum { LOCK_TRIES = 40, LOCK_TRY_MS = 50 };

void coordinator_options_default(struct coordinator_options *options)
{
    *options = (struct coordinator_options){.heartbeat_ms = 1000,
                                            .lost_after_ms = 10000,
                                            .stop_after_ms = 3600 * 1000,
                                            .backoff_base_ms = 1000,
                                            .start_after_ms = 10 * 60 * 1000,
                                            .yield_after_ms = 5 * 60 * 1000,
                                            .keep_events_ms = 90 * 24 * 3600 * 1000LL,
                                            .gc_every_ms = 24 * 3600 * 1000LL,
                                            .gc_grace_ms = 3600 * 1000LL,
                                            .preempt = true,
                                            .preempt_after_ms = 60 * 1000,
                                            .preempt_min_run_ms = 5 * 60 * 1000};
    CHECK(getrandom(&options->seed, sizeof(options->seed), 0) == sizeof(options->seed));
}

/* ---- the database thread's batch ------------------------------------------------------------- */

static enum status batch_begin(void *context, struct error *error)
{
    return records_begin(context, error);
}

static enum status batch_mark(void *context, struct error *error)
{
    (void)error;
    records_savepoint(context);
    return STATUS_OK;
}

static enum status settle(void *context, enum status status, struct error *error)
{
    if (records_settle(context, status))
        return STATUS_OK;
    return error_set(error, STATUS_IO, "the disk is full, or the records cannot be written");
}

static enum status batch_keep(void *context, struct error *error)
{
    return settle(context, STATUS_OK, error);
}

static enum status batch_undo(void *context, struct error *error)
{
    return settle(context, STATUS_FAILED, error);
}

/* After an I/O error at a commit nobody knows what is on the disk: only a new start can tell. */
static void stop_if_broken(struct records *records, const struct error *error)
{
    if (!records_is_broken(records))
        return;
    log_error("the records are broken, the coordinator ends: %s",
              error != NULL ? error->text : "an I/O error");
    _exit(1);
}

static enum status batch_end(void *context, struct error *error)
{
    enum status status = records_commit(context, error);
    if (status != STATUS_OK)
        stop_if_broken(context, error);
    return status;
}

static void batch_abandon(void *context)
{
    stop_if_broken(context, NULL);
    records_rollback(context);
}

static const struct background_batch BATCH = {batch_begin, batch_mark, batch_keep,
                                              batch_undo,  batch_end,  batch_abandon};

/* ---- opening --------------------------------------------------------------------------------- */

static enum status take_lock(struct coordinator *coordinator, struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), coordinator->data, "lock");
    coordinator->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (coordinator->lock_fd < 0)
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    bool locked = flock(coordinator->lock_fd, LOCK_EX | LOCK_NB) == 0;
    for (int i = 0; i < LOCK_TRIES && !locked; i++) { /* one that was killed may not be gone yet */
        nanosleep(&(struct timespec){.tv_nsec = LOCK_TRY_MS * 1000000L}, NULL);
        locked = flock(coordinator->lock_fd, LOCK_EX | LOCK_NB) == 0;
    }
    if (!locked)
        return error_set(error, STATUS_CONFLICT,
                         "%s: another coordinator runs on this directory; stop that one first",
                         coordinator->data);
    return STATUS_OK;
}

static enum status open_dirs(struct coordinator *coordinator, struct error *error)
{
    static const char *const names[] = {"store", "logs", "keys", "backups"};
    char path[PATH_MAX];
    TRY(dir_create(coordinator->data, error));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        path_join(path, sizeof(path), coordinator->data, names[i]);
        TRY(dir_create(path, error));
        chmod(path, 0700);
    }
    return take_lock(coordinator, error);
}

static enum status open_records(struct coordinator *coordinator, struct error *error)
{
    char path[PATH_MAX], name[16];
    uint32_t number;
    CHECK(getrandom(&number, sizeof(number), 0) == sizeof(number));
    snprintf(name, sizeof(name), "c-%08x", number);
    struct records_options options = {.now_ms = coordinator->now_ms, .cluster = name};
    path_join(path, sizeof(path), coordinator->data, "records.db");
    TRY(records_open(path, &options, &coordinator->records, error));
    snprintf(coordinator->cluster_name, sizeof(coordinator->cluster_name), "%s",
             records_cluster(coordinator->records));
    coordinator->epoch = records_epoch(coordinator->records);
    return STATUS_OK;
}

static void cluster_open(struct coordinator *coordinator)
{
    const struct coordinator_options *options = &coordinator->options;
    struct cluster_options cluster = {
        .seed = options->seed,
        .lost_after_ms = options->lost_after_ms,
        .start_timeout_ms = options->start_after_ms,
        .yield_timeout_ms = options->yield_after_ms,
        .cycle_ms = 1000,
        .half_life_ms = 24 * 3600 * 1000LL,
        .backoff = {options->backoff_base_ms, 10 * 60 * 1000},
        .policy = {.charge_ms = 60 * 1000,
                   .ageing_ms = 10 * 60 * 1000,
                   .job_ageing_ms = 10 * 60 * 1000,
                   .preempt = options->preempt,
                   .preempt_after_ms = options->preempt_after_ms,
                   .preempt_min_run_ms = options->preempt_min_run_ms}};
    cluster_init(&coordinator->cluster, &cluster, (uint64_t)coordinator->epoch,
                 coordinator->now_ms);
}

static enum status open_all(struct coordinator *coordinator, struct error *error)
{
    char path[PATH_MAX];
    TRY(address_check(coordinator->options.workers, 0, error));
    TRY(open_dirs(coordinator, error));
    path_join(path, sizeof(path), coordinator->data, "keys");
    TRY(keys_open(path, &coordinator->key, error));
    TRY(open_records(coordinator, error));
    cluster_open(coordinator);
    coordinator->keys = keys_create();
    TRY(boot_from_records(coordinator, error));
    coordinator->joins = joins_open(coordinator);
    coordinator->scores = scores_open(coordinator);
    path_join(path, sizeof(path), coordinator->data, "store");
    coordinator->store = store_create(path);
    space_init(&coordinator->space, coordinator->store);
    coordinator->series = series_create();
    coordinator->database =
        background_start("the records", coordinator->base, coordinator->records, &BATCH);
    coordinator->store_thread =
        background_start("the store", coordinator->base, coordinator->store, NULL);
    TRY(worker_socket_open(coordinator->base, coordinator->options.workers, &coordinator->key,
                           coordinator->keys, on_message, coordinator, &coordinator->socket,
                           coordinator->address, error));
    struct change *change = change_begin(coordinator);
    change_event(change, NULL, "coordinator_started", API__SEVERITY__SEVERITY_INFO,
                 "version %s, epoch %" PRId64, TAILOR_VERSION, coordinator->epoch);
    change_commit(change, NULL, NULL);
    cycle_start(coordinator);
    coordinator->retention = retention_start(coordinator);
    return STATUS_OK;
}

enum status coordinator_open(const struct coordinator_options *options, struct event_base *base,
                             struct coordinator **coordinator_out, struct error *error)
{
    struct coordinator *coordinator = mem_alloc(sizeof(*coordinator));
    *coordinator = (struct coordinator){.options = *options, .base = base, .lock_fd = -1};
    CHECK(snprintf(coordinator->data, sizeof(coordinator->data), "%s", options->data) <
          (int)sizeof(coordinator->data));
    coordinator->booted_ms = now_read(coordinator);
    coordinator->counters.backup_ms = backup_newest_ms(coordinator->data);
    enum status status = open_all(coordinator, error);
    if (status != STATUS_OK) {
        coordinator_close(coordinator);
        return status;
    }
    *coordinator_out = coordinator;
    return STATUS_OK;
}

void coordinator_close(struct coordinator *coordinator)
{
    cycle_stop(coordinator);
    retention_stop(coordinator->retention);
    coordinator->closing = true;
    if (coordinator->scores != NULL)
        scores_close(coordinator->scores);
    if (coordinator->store_thread != NULL)
        background_stop(coordinator->store_thread);
    if (coordinator->database != NULL)
        background_stop(coordinator->database);
    if (coordinator->socket != NULL)
        worker_socket_close(coordinator->socket);
    if (coordinator->joins != NULL)
        joins_close(coordinator->joins);
    if (coordinator->series != NULL)
        series_free(coordinator->series);
    if (coordinator->store != NULL)
        store_free(coordinator->store);
    if (coordinator->records != NULL)
        records_close(coordinator->records);
    if (coordinator->keys != NULL)
        keys_free(coordinator->keys);
    while (coordinator->member_count > 0)
        member_remove(coordinator, coordinator->members[0]);
    job_list_release(&coordinator->jobs);
    if (coordinator->cluster.registry.by_id != NULL)
        cluster_release(&coordinator->cluster);
    names_release(&coordinator->pools);
    names_release(&coordinator->numerics);
    names_release(&coordinator->warm);
    names_release(&coordinator->labels);
    mem_free(coordinator->members);
    mem_free(coordinator->tenants);
    mem_free(coordinator->queues);
    if (coordinator->lock_fd >= 0)
        close(coordinator->lock_fd);
    mem_free(coordinator);
}

const char *coordinator_workers_address(const struct coordinator *coordinator)
{
    return coordinator->address;
}

const char *coordinator_cluster(const struct coordinator *coordinator)
{
    return coordinator->cluster_name;
}
