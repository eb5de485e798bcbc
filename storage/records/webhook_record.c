/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: a row for each delivery that is due. The log of events is that list already; a place in
 * it cannot disagree with it.
 */
#include "storage/records/webhook_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/event_record.h"
#include "storage/records/sql.h"

#define SHOWN                                                                                      \
    "id, tenant, url, events, created_ms, event_number, delivered, failed_attempts, tried_ms,"     \
    " next_ms, status_code, cause, stopped_ms"

/* ---- for people ------------------------------------------------------------------------------ */

enum status webhook_record_insert(struct records *records, const Api__Webhook *webhook,
                                  int64_t *id_out, struct error *error)
{
    struct sql sql;
    int64_t count, cut, newest;
    bool found;
    CHECK(webhook->tenant != NULL && webhook->url != NULL && webhook->secret != NULL);
    CHECK(webhook->has_created_ms);
    sql_begin(&sql, records, "SELECT count(*) FROM webhooks WHERE tenant = :tenant");
    sql_text(&sql, ":tenant", webhook->tenant);
    TRY(sql_value(&sql, &count, &found, error));
    if (count >= WEBHOOKS_OF_TENANT_MAX)
        return error_set(error, STATUS_LIMIT,
                         "%s has %d webhooks, and may have no more: remove one first",
                         webhook->tenant, WEBHOOKS_OF_TENANT_MAX);
    TRY(event_record_bounds(records, &cut, &newest, error));
    sql_begin(&sql, records,
              "INSERT INTO webhooks (tenant, url, events, created_ms, secret, event_number,"
              " delivered, failed_attempts)"
              " VALUES (:tenant, :url, :events, :created_ms, :secret, :newest, 0, 0)");
    sql_message(&sql, &webhook->base);
    sql_i64(&sql, ":newest", newest);
    return sql_insert(&sql, "the webhook", id_out, error);
}

static enum status or_none(enum status status, int64_t id, struct error *error)
{
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no webhook h-%" PRId64, id);
    return status;
}

enum status webhook_record_get(struct records *records, struct scope scope, int64_t id,
                               struct arena *arena, Api__Webhook **webhook_out, struct error *error)
{
    struct sql sql;
    Api__Webhook *webhook = message_new(arena, &api__webhook__descriptor);
    sql_begin(&sql, records,
              "SELECT " SHOWN " FROM webhooks WHERE id = :id"
              " AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", id);
    sql_scope(&sql, scope);
    TRY(or_none(sql_one(&sql, arena, &webhook->base, error), id, error));
    *webhook_out = webhook;
    return STATUS_OK;
}

enum status webhook_record_list(struct records *records, struct scope scope, struct arena *arena,
                                Api__WebhookList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT " SHOWN " FROM webhooks WHERE (:scope IS NULL OR tenant = :scope)"
              " ORDER BY id LIMIT :limit");
    sql_scope(&sql, scope);
    sql_i64(&sql, ":limit", PAGE_MAX);
    return sql_rows(&sql, arena, list, "webhooks", error);
}

enum status webhook_record_resume(struct records *records, struct scope scope, int64_t id,
                                  struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE webhooks SET stopped_ms = NULL, next_ms = NULL, failed_attempts = 0"
              " WHERE id = :id AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", id);
    sql_scope(&sql, scope);
    return or_none(sql_change(&sql, error), id, error);
}

enum status webhook_record_remove(struct records *records, struct scope scope, int64_t id,
                                  struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "DELETE FROM webhooks WHERE id = :id AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", id);
    sql_scope(&sql, scope);
    return or_none(sql_change(&sql, error), id, error);
}

/* ---- for who delivers ------------------------------------------------------------------------ */

enum status webhook_record_live(struct records *records, struct arena *arena,
                                Api__WebhookList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT " SHOWN ", secret FROM webhooks WHERE stopped_ms IS NULL"
              " ORDER BY tried_ms, id");
    return sql_rows(&sql, arena, list, "webhooks", error);
}

enum status webhook_record_event(struct records *records, const Api__Webhook *webhook,
                                 int64_t after, struct arena *arena, Api__Event **event_out,
                                 int64_t *scanned_out, struct error *error)
{
    struct sql sql;
    int64_t cut, newest;
    Api__Event *event = message_new(arena, &api__event__descriptor);
    TRY(event_record_bounds(records, &cut, &newest, error));
    int64_t until =
        after + WEBHOOK_EVENTS_SCANNED < newest ? after + WEBHOOK_EVENTS_SCANNED : newest;
    sql_begin(&sql, records,
              "SELECT number, time_ms, tenant, job_id, term, kind, severity, message, data"
              " FROM events WHERE number > :after AND number <= :until AND tenant = :tenant"
              " AND (:events IS NULL OR instr(',' || :events || ',', ',' || kind || ',') > 0)"
              " ORDER BY number LIMIT 1");
    sql_message(&sql, &webhook->base);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":until", until);
    enum status status = sql_one(&sql, arena, &event->base, error);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    *event_out = status == STATUS_OK ? event : NULL;
    *scanned_out = status == STATUS_OK ? event->number - 1 : until;
    return STATUS_OK;
}

enum status webhook_record_outcome(struct records *records, const Api__Webhook *webhook,
                                   struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE webhooks SET event_number = :event_number, delivered = :delivered,"
              " failed_attempts = :failed_attempts, tried_ms = :tried_ms, next_ms = :next_ms,"
              " status_code = :status_code, cause = :cause, stopped_ms = :stopped_ms"
              " WHERE id = :id");
    sql_message(&sql, &webhook->base);
    return or_none(sql_change(&sql, error), webhook->id, error);
}
