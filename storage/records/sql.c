/* SPDX-License-Identifier: Apache-2.0
 *
 * Columns and fields are matched by name when a row is read: a few dozen comparisons by hash for a
 * row, against a mapping by hand for every noun, in both directions, that drifts.
 *
 * A text that SQLite hands out lives until the next step; the arena gets a copy.
 */
#include "storage/records/sql.h"

#include <string.h>

#include "lib/check.h"
#include "storage/records/records_parts.h"

/* ---- a statement ---- */
static sqlite3_stmt *cached(struct records *records, const char *text, int *code_out)
{
    uint64_t found;
    if (map_get(records->statements, &text, sizeof(text), &found))
        return (sqlite3_stmt *)(uintptr_t)found;
    sqlite3_stmt *statement = NULL;
    *code_out =
        sqlite3_prepare_v3(records->db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (*code_out != SQLITE_OK)
        return NULL;
    map_put(records->statements, &text, sizeof(text), (uint64_t)(uintptr_t)statement, NULL);
    return statement;
}

void sql_begin(struct sql *sql, struct records *records, const char *text)
{
    *sql = (struct sql){.records = records, .code = SQLITE_OK};
    if (records->broken)
        sql->code = SQLITE_IOERR;
    else
        sql->statement = cached(records, text, &sql->code);
    if (sql->statement != NULL) {
        CHECK(!sqlite3_stmt_busy(sql->statement));
        sqlite3_clear_bindings(sql->statement);
    }
}

void sql_end(struct sql *sql)
{
    if (sql->statement != NULL)
        sqlite3_reset(sql->statement);
    sql->statement = NULL;
}

static int parameter(const struct sql *sql, const char *name)
{
    int index = sqlite3_bind_parameter_index(sql->statement, name);
    CHECK(index > 0);
    return index;
}

static void keep(struct sql *sql, int code)
{
    if (sql->code == SQLITE_OK)
        sql->code = code;
}

void sql_i64(struct sql *sql, const char *name, int64_t value)
{
    if (sql->statement != NULL)
        keep(sql, sqlite3_bind_int64(sql->statement, parameter(sql, name), value));
}

void sql_text(struct sql *sql, const char *name, const char *text)
{
    if (sql->statement != NULL) /* NULL binds null */
        keep(sql,
             sqlite3_bind_text(sql->statement, parameter(sql, name), text, -1, SQLITE_TRANSIENT));
}

void sql_scope(struct sql *sql, struct scope scope)
{
    CHECK(scope.all != (scope.tenant != NULL));
    sql_text(sql, ":scope", scope.tenant);
}

static int bind_field(sqlite3_stmt *statement, int index, const ProtobufCMessage *message,
                      const ProtobufCFieldDescriptor *field)
{
    if (!message_has(message, field))
        return sqlite3_bind_null(statement, index);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return sqlite3_bind_text(statement, index, message_pointer(message, field, 0), -1,
                                 SQLITE_TRANSIENT);
    if (field->type == PROTOBUF_C_TYPE_DOUBLE)
        return sqlite3_bind_double(statement, index, message_f64(message, field, 0));
    return sqlite3_bind_int64(statement, index, message_i64(message, field, 0));
}

void sql_message(struct sql *sql, const ProtobufCMessage *message)
{
    int count = sql->statement != NULL ? sqlite3_bind_parameter_count(sql->statement) : 0;
    for (int i = 1; i <= count; i++) {
        const char *name = sqlite3_bind_parameter_name(sql->statement, i);
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name + 1);
        if (field == NULL)
            continue; /* bound singly */
        CHECK(field->label == PROTOBUF_C_LABEL_OPTIONAL);
        keep(sql, bind_field(sql->statement, i, message, field));
    }
}

/* ---- running it ---- */
static enum status fail(struct sql *sql, int code, struct error *error)
{
    sql_end(sql);
    return records_failed(sql->records, code, error);
}

enum status sql_step(struct sql *sql, bool *row_out, struct error *error)
{
    if (sql->code != SQLITE_OK)
        return fail(sql, sql->code, error);
    int code = sqlite3_step(sql->statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail(sql, sqlite3_extended_errcode(sql->records->db), error);
    *row_out = code == SQLITE_ROW;
    return STATUS_OK;
}

enum status sql_run(struct sql *sql, int64_t *changes_out, struct error *error)
{
    bool row = true;
    while (row)
        TRY(sql_step(sql, &row, error));
    if (changes_out != NULL)
        *changes_out = sqlite3_changes64(sql->records->db);
    sql_end(sql);
    return STATUS_OK;
}

static void read_column(struct arena *arena, sqlite3_stmt *statement, int column,
                        ProtobufCMessage *message)
{
    const char *name = sqlite3_column_name(statement, column);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    CHECK(field != NULL);
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = (const char *)sqlite3_column_text(statement, column);
        CHECK(text != NULL);
        message_put_pointer(arena, message, field, arena_strdup(arena, text));
    } else if (field->type == PROTOBUF_C_TYPE_DOUBLE) {
        message_put_f64(arena, message, field, sqlite3_column_double(statement, column));
    } else {
        message_put_i64(arena, message, field, sqlite3_column_int64(statement, column));
    }
}

static void read_row(struct arena *arena, sqlite3_stmt *statement, ProtobufCMessage *message)
{
    for (int i = 0; i < sqlite3_column_count(statement); i++)
        read_column(arena, statement, i, message);
}

enum status sql_one(struct sql *sql, struct arena *arena, ProtobufCMessage *message,
                    struct error *error)
{
    bool row;
    TRY(sql_step(sql, &row, error));
    if (row)
        read_row(arena, sql->statement, message);
    sql_end(sql);
    return row ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status sql_rows(struct sql *sql, struct arena *arena, void *list, const char *field,
                     struct error *error)
{
    for (;;) {
        bool row;
        TRY(sql_step(sql, &row, error));
        if (!row)
            break;
        read_row(arena, sql->statement, message_add(arena, list, field));
    }
    sql_end(sql);
    return STATUS_OK;
}

enum status sql_texts(struct sql *sql, struct arena *arena, void *list, const char *name,
                      struct error *error)
{
    ProtobufCMessage *message = list;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    CHECK(field != NULL && field->type == PROTOBUF_C_TYPE_STRING);
    for (;;) {
        bool row;
        TRY(sql_step(sql, &row, error));
        if (!row)
            break;
        const char *text = (const char *)sqlite3_column_text(sql->statement, 0);
        CHECK(text != NULL);
        message_put_pointer(arena, message, field, arena_strdup(arena, text));
    }
    sql_end(sql);
    return STATUS_OK;
}

enum status sql_value(struct sql *sql, int64_t *value_out, bool *found_out, struct error *error)
{
    bool row;
    TRY(sql_step(sql, &row, error));
    *value_out = row ? sqlite3_column_int64(sql->statement, 0) : 0;
    *found_out = row && sqlite3_column_type(sql->statement, 0) != SQLITE_NULL;
    sql_end(sql);
    return STATUS_OK;
}

enum status sql_change(struct sql *sql, struct error *error)
{
    int64_t changes;
    TRY(sql_run(sql, &changes, error));
    CHECK(changes <= 1);
    return changes == 1 ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status sql_insert(struct sql *sql, const char *what, int64_t *id_out, struct error *error)
{
    int code = sql->code == SQLITE_OK ? sqlite3_step(sql->statement) : sql->code;
    if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY) {
        sql_end(sql);
        return error_set(error, STATUS_CONFLICT, "%s is there already", what);
    }
    if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
        sql_end(sql);
        return error_set(error, STATUS_NOT_FOUND, "%s: what it belongs to is not there", what);
    }
    if (code != SQLITE_DONE)
        return fail(sql, code, error);
    if (id_out != NULL)
        *id_out = sqlite3_last_insert_rowid(sql->records->db);
    sql_end(sql);
    return STATUS_OK;
}
