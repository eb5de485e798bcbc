/* SPDX-License-Identifier: Apache-2.0
 *
 * sql: statements of one noun's file: bound by name, from values and from messages; rows read into
 * messages. Private to storage/records.
 *
 *     struct sql sql;
 *     sql_begin(&sql, records, "SELECT id, name FROM tenants WHERE name = :name");
 *     sql_text(&sql, ":name", name);
 *     TRY(sql_one(&sql, &arena, &tenant->base, error));
 *
 * A statement's text is a string literal: it is the key under which it stays prepared. Nothing that
 * a person wrote is ever part of it. Failures are kept until a call that returns a status.
 * Each sql_begin is ended by sql_run, sql_one, sql_rows, sql_value or sql_end.
 */
#ifndef TAILOR_STORAGE_RECORDS_SQL_H
#define TAILOR_STORAGE_RECORDS_SQL_H

#include <sqlite3.h>

#include "proto/message.h"
#include "storage/records/records.h"

struct sql {
    struct records *records;
    sqlite3_stmt *statement; /* NULL: it could not be prepared */
    int code;                /* SQLITE_OK, or the first failure */
};

void sql_begin(struct sql *sql, struct records *records, const char *text);
void sql_i64(struct sql *sql, const char *name, int64_t value);
void sql_text(struct sql *sql, const char *name, const char *text); /* NULL: null */
/* Binds :scope to its tenant, or to null for all. Statements ask
 * "(:scope IS NULL OR tenant = :scope)". */
void sql_scope(struct sql *sql, struct scope scope);
/* Binds each parameter that is named like a field of the message; a field that is not set: null. */
void sql_message(struct sql *sql, const ProtobufCMessage *message);

/* Runs a statement to its end; `changes_out` (or NULL) gets how many rows it changed. */
enum status sql_run(struct sql *sql, int64_t *changes_out, struct error *error);
/* The first row into a message whose fields are named like the columns. STATUS_NOT_FOUND without a
 * sentence when there is none: the caller knows what was looked for. */
enum status sql_one(struct sql *sql, struct arena *arena, ProtobufCMessage *message,
                    struct error *error);
/* All rows into new elements of list.field. */
enum status sql_rows(struct sql *sql, struct arena *arena, void *list, const char *field,
                     struct error *error);
/* The first column of every row into new elements of list.field, a repeated string. */
enum status sql_texts(struct sql *sql, struct arena *arena, void *list, const char *field,
                      struct error *error);
/* The first column of the first row; *found_out false (and 0) when there is no row. */
enum status sql_value(struct sql *sql, int64_t *value_out, bool *found_out, struct error *error);
/* For what the above do not do: step, look, end. */
enum status sql_step(struct sql *sql, bool *row_out, struct error *error);
void sql_end(struct sql *sql);

/* An insert or an update that must change one row; STATUS_NOT_FOUND without a sentence otherwise.
 */
enum status sql_change(struct sql *sql, struct error *error);
/* An insert whose row gets an id. A unique name that is taken: STATUS_CONFLICT with "what". */
enum status sql_insert(struct sql *sql, const char *what, int64_t *id_out, struct error *error);

#endif
