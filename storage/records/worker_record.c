/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker is its key: a host that was set up anew under its old name is another worker.
 */
#include "storage/records/worker_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "storage/records/sql.h"

#define WORKER_SELECT                                                                              \
    "SELECT id, name, host, pool, state, version, numerics, cores, memory_bytes, slots, gpus,"     \
    " created_ms, last_seen_ms, public_key FROM workers "

static enum status no_worker(int64_t id, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no worker w-%" PRId64, id);
}

static enum status put_labels(struct records *records, const Api__Worker *worker, int64_t id,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "DELETE FROM worker_labels WHERE worker_id = :id");
    sql_i64(&sql, ":id", id);
    TRY(sql_run(&sql, NULL, error));
    for (size_t i = 0; i < worker->n_labels; i++) {
        sql_begin(&sql, records,
                  "INSERT INTO worker_labels (worker_id, key, value) VALUES (:id, :key, :value)");
        sql_message(&sql, &worker->labels[i]->base);
        sql_i64(&sql, ":id", id);
        TRY(sql_insert(&sql, "this label", NULL, error));
    }
    return STATUS_OK;
}

enum status worker_record_put(struct records *records, const Api__Worker *worker, int64_t *id_out,
                              struct error *error)
{
    struct sql sql;
    bool found;
    int64_t id;
    CHECK(worker->name != NULL && worker->public_key != NULL && worker->has_created_ms);
    sql_begin(&sql, records,
              "INSERT INTO workers (name, host, pool, state, version, numerics, cores,"
              " memory_bytes, slots, gpus, created_ms, last_seen_ms, public_key)"
              " VALUES (:name, :host, :pool, :live, :version, :numerics, :cores, :memory_bytes,"
              " :slots, :gpus, :created_ms, :created_ms, :public_key)"
              " ON CONFLICT (public_key) DO UPDATE SET name = excluded.name, host = excluded.host,"
              " pool = excluded.pool, version = excluded.version, numerics = excluded.numerics,"
              " cores = excluded.cores, memory_bytes = excluded.memory_bytes,"
              " slots = excluded.slots, gpus = excluded.gpus,"
              " last_seen_ms = excluded.last_seen_ms RETURNING id");
    sql_message(&sql, &worker->base);
    sql_i64(&sql, ":live", API__WORKER_STATE__WORKER_STATE_LIVE);
    TRY(sql_value(&sql, &id, &found, error));
    CHECK(found);
    TRY(put_labels(records, worker, id, error));
    *id_out = id;
    return STATUS_OK;
}

enum status worker_record_state(struct records *records, int64_t id, Api__WorkerState state,
                                int64_t last_seen_ms, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE workers SET state = :state, last_seen_ms = :seen WHERE id = :id");
    sql_i64(&sql, ":id", id);
    sql_i64(&sql, ":state", state);
    sql_i64(&sql, ":seen", last_seen_ms);
    enum status status = sql_change(&sql, error);
    return status == STATUS_NOT_FOUND ? no_worker(id, error) : status;
}

static enum status read_labels(struct records *records, struct arena *arena, Api__Worker *worker,
                               struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT key, value FROM worker_labels WHERE worker_id = :id ORDER BY key");
    sql_i64(&sql, ":id", worker->id);
    return sql_rows(&sql, arena, worker, "labels", error);
}

enum status worker_record_get(struct records *records, int64_t id, struct arena *arena,
                              Api__Worker **worker_out, struct error *error)
{
    struct sql sql;
    Api__Worker *worker = message_new(arena, &api__worker__descriptor);
    sql_begin(&sql, records, WORKER_SELECT "WHERE id = :id");
    sql_i64(&sql, ":id", id);
    enum status status = sql_one(&sql, arena, &worker->base, error);
    if (status == STATUS_NOT_FOUND)
        return no_worker(id, error);
    TRY(status);
    TRY(read_labels(records, arena, worker, error));
    *worker_out = worker;
    return STATUS_OK;
}

enum status worker_record_list(struct records *records, struct arena *arena, Api__WorkerList *list,
                               struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, WORKER_SELECT "ORDER BY id");
    TRY(sql_rows(&sql, arena, list, "workers", error));
    for (size_t i = 0; i < list->n_workers; i++)
        TRY(read_labels(records, arena, list->workers[i], error));
    return STATUS_OK;
}

enum status worker_record_forget(struct records *records, int64_t id, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "DELETE FROM worker_labels WHERE worker_id = :id");
    sql_i64(&sql, ":id", id);
    TRY(sql_run(&sql, NULL, error));
    sql_begin(&sql, records, "DELETE FROM workers WHERE id = :id");
    sql_i64(&sql, ":id", id);
    enum status status = sql_change(&sql, error);
    return status == STATUS_NOT_FOUND ? no_worker(id, error) : status;
}

enum status queue_record_put(struct records *records, const Api__Queue *queue, struct error *error)
{
    struct sql sql;
    CHECK(queue->name != NULL);
    sql_begin(&sql, records,
              "INSERT OR REPLACE INTO queues (name, priority, paused, pause_reason)"
              " VALUES (:name, coalesce(:priority, 0), coalesce(:paused, 0), :pause_reason)");
    sql_message(&sql, &queue->base);
    return sql_run(&sql, NULL, error);
}

enum status queue_record_list(struct records *records, struct arena *arena, Api__QueueList *list,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT name, queues.priority, paused, pause_reason,"
              " sum(coalesce(state IN (1, 5), 0)) pending,"
              " sum(coalesce(state IN (2, 3, 4, 6, 7), 0)) running"
              " FROM queues LEFT JOIN (SELECT queue, state FROM jobs WHERE state < 8)"
              " ON queue = name GROUP BY name ORDER BY queues.priority DESC, name");
    return sql_rows(&sql, arena, list, "queues", error);
}
