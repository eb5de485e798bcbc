/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers come from one AUTOINCREMENT and one writer, so a reader that has seen number N has seen
 * every smaller one that will ever be there.
 */
#include "storage/records/event_record.h"

#include "storage/records/sql.h"

enum status event_record_insert(struct records *records, const Api__Event *event,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO events (time_ms, tenant, job_id, term, kind, severity, message, data)"
              " VALUES (:time_ms, :tenant, :job_id, :term, :kind, :severity, :message, :data)");
    sql_message(&sql, &event->base);
    return sql_run(&sql, NULL, error);
}

enum status event_record_insert_once(struct records *records, const Api__Event *event,
                                     struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO events (time_ms, tenant, job_id, term, kind, severity, message, data)"
              " SELECT :time_ms, :tenant, :job_id, :term, :kind, :severity, :message, :data"
              " WHERE NOT EXISTS (SELECT 1 FROM events WHERE job_id = :job_id AND term = :term"
              " AND time_ms = :time_ms AND kind = :kind AND message = :message)");
    sql_message(&sql, &event->base);
    return sql_run(&sql, NULL, error);
}

enum status event_record_job(struct records *records, int64_t time_ms, const char *tenant,
                             int64_t job_id, int64_t term, const char *kind, const char *message,
                             struct error *error)
{
    Api__Event event = API__EVENT__INIT;
    event.has_time_ms = event.has_job_id = event.has_severity = 1;
    event.has_term = term > 0;
    event.time_ms = time_ms;
    event.job_id = job_id;
    event.term = term;
    event.severity = API__SEVERITY__SEVERITY_INFO;
    event.tenant = (char *)tenant;
    event.kind = (char *)kind;
    event.message = (char *)message;
    return event_record_insert(records, &event, error);
}

/* Two texts: by the index of the job, or along the table. */
#define EVENT_LIST(which)                                                                          \
    "SELECT number, time_ms, tenant, job_id, term, kind, severity, message, data FROM events"      \
    " WHERE " which " AND number > :after AND (:scope IS NULL OR tenant = :scope)"                 \
    " ORDER BY number LIMIT :limit"

enum status event_record_list(struct records *records, struct scope scope, int64_t job_id,
                              int64_t after, int64_t limit, struct arena *arena,
                              Api__EventList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              job_id > 0 ? EVENT_LIST("job_id = :job_id") : EVENT_LIST(":job_id = 0"));
    sql_i64(&sql, ":job_id", job_id);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "events", error));
    list->has_next = 1;
    list->next = list->n_events > 0 ? list->events[list->n_events - 1]->number : after;
    return STATUS_OK;
}

enum status event_record_bounds(struct records *records, int64_t *cut_out, int64_t *newest_out,
                                struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records, "SELECT number FROM event_cut");
    TRY(sql_value(&sql, cut_out, &found, error));
    sql_begin(&sql, records, "SELECT seq FROM sqlite_sequence WHERE name = 'events'");
    return sql_value(&sql, newest_out, &found, error);
}

#define EXPIRED                                                                                    \
    " FROM events WHERE time_ms < :time_ms AND (job_id IS NULL OR job_id NOT IN"                   \
    " (SELECT id FROM jobs WHERE state < 8))"

enum status event_record_expire(struct records *records, int64_t time_ms, int64_t *removed_out,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE event_cut SET number = max(number, (SELECT coalesce(max(number), 0)" EXPIRED
              "))");
    sql_i64(&sql, ":time_ms", time_ms);
    TRY(sql_run(&sql, NULL, error));
    sql_begin(&sql, records, "DELETE" EXPIRED);
    sql_i64(&sql, ":time_ms", time_ms);
    return sql_run(&sql, removed_out, error);
}

enum status audit_record_insert(struct records *records, const Api__AuditEntry *entry,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO audit (time_ms, tenant, actor, action, object, result, address)"
              " VALUES (:time_ms, :tenant, :actor, :action, :object, :result, :address)");
    sql_message(&sql, &entry->base);
    return sql_run(&sql, NULL, error);
}

enum status audit_record_list(struct records *records, struct scope scope, int64_t after,
                              int64_t limit, struct arena *arena, Api__AuditList *list,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT number, time_ms, tenant, actor, action, object, result, address FROM audit"
              " WHERE number > :after AND (:scope IS NULL OR tenant = :scope)"
              " ORDER BY number LIMIT :limit");
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "entries", error));
    list->has_next = 1;
    list->next = list->n_entries > 0 ? list->entries[list->n_entries - 1]->number : after;
    return STATUS_OK;
}
