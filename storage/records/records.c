/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening is a fixed sequence: lock, look at what kind of file it is, check it, migrate it, count
 * the epoch. Nothing is written before the checks have passed.
 *
 * Exclusive locking keeps the WAL's index in memory and every other process out, at the price that
 * nobody can look into the file while the service runs: `cluster backup` makes a copy for that.
 *
 * Rejected: a second connection for readers. See the header; and long readers keep the WAL from
 * being emptied.
 */
#include "storage/records/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/log.h"
#include "storage/records/checked_file.h"
#include "storage/records/records_parts.h"

enum { APPLICATION_ID = 0x7461696c }; /* "tail": file(1) and we know it by that */

/* ---- what a result code means ---- */
enum status records_failed(struct records *records, int code, struct error *error)
{
    const char *text = sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_FULL:
        records->full = true;
        return error_set(error, STATUS_IO, "%s: the disk is full; nothing of this was kept",
                         records->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(error, STATUS_CONFLICT,
                         "%s: another process has it open; is a coordinator already running?",
                         records->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        records->broken = true;
        return error_set(error, STATUS_FORMAT, "%s: damaged (%s); restore it from a backup",
                         records->path, text);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(error, STATUS_DENIED, "%s: cannot be opened for writing (%s)",
                         records->path, text);
    case SQLITE_IOERR:
        records->broken = true;
        if (code == SQLITE_IOERR_DATA)
            return error_set(error, STATUS_FORMAT,
                             "%s: damaged (a page's checksum is wrong); restore it from a backup",
                             records->path);
        return error_set(error, STATUS_IO, "%s: %s; it must be opened anew", records->path, text);
    default:
        break;
    }
    log_error("records: %s: %s", text, sqlite3_errmsg(records->db));
    CHECK(!"a statement of ours is wrong");
    return STATUS_FAILED;
}

static enum status execute(struct records *records, const char *text, struct error *error)
{
    if (records->broken)
        return error_set(error, STATUS_IO, "%s: an earlier failure is final; start again",
                         records->path);
    int code = sqlite3_exec(records->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK
               ? STATUS_OK
               : records_failed(records, sqlite3_extended_errcode(records->db), error);
}

/* The first column of the first row of a statement that is used once. */
static enum status ask(struct records *records, const char *text, char *out, size_t size,
                       struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(records->db, text, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *value = (const char *)sqlite3_column_text(statement, 0);
        snprintf(out, size, "%s", value != NULL ? value : "");
    } else if (code == SQLITE_DONE) {
        out[0] = '\0';
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        code = sqlite3_extended_errcode(records->db);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK
                                                     : records_failed(records, code, error);
}

static enum status ask_i64(struct records *records, const char *text, int64_t *out,
                           struct error *error)
{
    char value[32];
    TRY(ask(records, text, value, sizeof(value), error));
    *out = strtoll(value, NULL, 10);
    return STATUS_OK;
}

/* ---- opening ---- */
int records_version(void)
{
    int version = 0;
    while (schema_migration(version) != NULL)
        version++;
    return version;
}

static enum status check_kind(struct records *records, int64_t version, struct error *error)
{
    int64_t application, tables;
    int reserve = -1; /* asks */
    TRY(ask_i64(records, "PRAGMA application_id", &application, error));
    TRY(ask_i64(records, "SELECT count(*) FROM sqlite_schema", &tables, error));
    CHECK(sqlite3_file_control(records->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve) ==
          SQLITE_OK);
    if ((application != APPLICATION_ID || reserve != CHECKED_RESERVE) &&
        (tables > 0 || version > 0))
        return error_set(error, STATUS_FORMAT, "%s: a database, but not one of this program's",
                         records->path);
    if (version > records_version())
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: written by a newer program (schema %" PRId64
                         ", this one knows %d); upgrade, or restore a backup",
                         records->path, version, records_version());
    return STATUS_OK;
}

/* All steps in one transaction: a crash in the middle leaves the old schema. */
static enum status migrate(struct records *records, int64_t version, struct error *error)
{
    char text[96];
    snprintf(text, sizeof(text), "PRAGMA user_version = %d; PRAGMA application_id = %d",
             records_version(), APPLICATION_ID);
    for (; schema_migration((int)version) != NULL; version++)
        TRY(execute(records, schema_migration((int)version), error));
    return execute(records, text, error);
}

static enum status count_epoch(struct records *records, const struct records_options *options,
                               struct error *error)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(records->db,
                                  "INSERT INTO cluster (one, name, epoch, created_ms) "
                                  "VALUES (1, ?, 1, ?) "
                                  "ON CONFLICT (one) DO UPDATE SET epoch = epoch + 1",
                                  -1, &statement, NULL);
    if (code != SQLITE_OK)
        return records_failed(records, sqlite3_extended_errcode(records->db), error);
    sqlite3_bind_text(statement, 1, options->cluster, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 2, options->now_ms);
    code = sqlite3_step(statement);
    if (code != SQLITE_DONE)
        code = sqlite3_extended_errcode(records->db);
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE)
        return records_failed(records, code, error);
    TRY(ask(records, "SELECT name FROM cluster", records->cluster, sizeof(records->cluster),
            error));
    return ask_i64(records, "SELECT epoch FROM cluster", &records->epoch, error);
}

static enum status set_up(struct records *records, const struct records_options *options,
                          struct error *error)
{
    int64_t version;
    char text[128], found[256];
    int reserve = CHECKED_RESERVE; /* of a new file: an old one keeps what it has */
    TRY(execute(records, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096", error));
    sqlite3_file_control(records->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
    TRY(ask_i64(records, "PRAGMA user_version", &version, error));
    TRY(check_kind(records, version, error));
    TRY(ask(records, "PRAGMA journal_mode = WAL", found, sizeof(found), error));
    CHECK(strcmp(found, "wal") == 0);
    snprintf(text, sizeof(text), "PRAGMA max_page_count = %" PRId64,
             options->pages_max > 0 ? options->pages_max : INT64_C(4294967294));
    TRY(execute(records,
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; "
                "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -65536",
                error));
    TRY(ask(records, "PRAGMA quick_check(1)", found, sizeof(found), error));
    if (strcmp(found, "ok") != 0)
        return error_set(error, STATUS_FORMAT, "%s: damaged: %s; restore it from a backup",
                         records->path, found);
    TRY(execute(records, text, error));
    TRY(execute(records, "BEGIN IMMEDIATE", error));
    TRY(migrate(records, version, error));
    TRY(count_epoch(records, options, error));
    return records_commit(records, error);
}

enum status records_open(const char *path, const struct records_options *options,
                         struct records **records_out, struct error *error)
{
    struct records *records = mem_alloc(sizeof(*records));
    records->statements = map_create(256);
    CHECK(options->cluster != NULL && strlen(options->cluster) <= CLUSTER_BYTES_MAX);
    CHECK(snprintf(records->path, sizeof(records->path), "%s", path) < PATH_MAX);
    /* No mutexes: one thread at a time has it. */
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    checked_file_register();
    int code = sqlite3_open_v2(path, &records->db, flags, CHECKED_VFS);
    enum status status =
        code == SQLITE_OK ? set_up(records, options, error) : records_failed(records, code, error);
    if (status != STATUS_OK) {
        records_close(records);
        return status;
    }
    log_info("records open path %s schema %d epoch %" PRId64 " sqlite %s", path, records_version(),
             records->epoch, sqlite3_libversion());
    *records_out = records;
    return STATUS_OK;
}

void records_close(struct records *records)
{
    if (records == NULL)
        return;
    for (size_t i = 0; i < map_count(records->statements); i++) {
        uint64_t statement;
        size_t length;
        map_at(records->statements, i, &length, &statement);
        sqlite3_finalize((sqlite3_stmt *)(uintptr_t)statement);
    }
    map_free(records->statements);
    CHECK(sqlite3_close(records->db) == SQLITE_OK); /* else: a statement is still in use */
    mem_free(records);
}

/* ---- transactions ---- */
enum status records_begin(struct records *records, struct error *error)
{
    records->full = false;
    return execute(records, "BEGIN IMMEDIATE", error);
}

enum status records_commit(struct records *records, struct error *error)
{
    enum status status =
        failpoint_fails("records_commit")
            ? records_failed(records, errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_FSYNC, error)
            : execute(records, "COMMIT", error);
    if (status == STATUS_OK && failpoint_fails("records_committed"))
        status =
            records_failed(records, SQLITE_IOERR_FSYNC, error); /* it is there, and who knows? */
    if (status != STATUS_OK)
        records_rollback(records);
    return status;
}

void records_rollback(struct records *records)
{
    if (!sqlite3_get_autocommit(records->db))
        sqlite3_exec(records->db, "ROLLBACK", NULL, NULL, NULL);
}

void records_savepoint(struct records *records)
{
    /* Only notes a place: it fails when the transaction is gone, and records_settle sees that. */
    sqlite3_exec(records->db, "SAVEPOINT request", NULL, NULL, NULL);
}

bool records_settle(struct records *records, enum status status)
{
    if (sqlite3_get_autocommit(records->db))
        return false;
    if (status != STATUS_OK)
        sqlite3_exec(records->db, "ROLLBACK TO request", NULL, NULL, NULL);
    int code = sqlite3_exec(records->db, "RELEASE request", NULL, NULL, NULL);
    return code == SQLITE_OK && !sqlite3_get_autocommit(records->db);
}

bool records_is_full(const struct records *records)
{
    return records->full;
}

bool records_is_broken(const struct records *records)
{
    return records->broken;
}

const char *records_cluster(const struct records *records)
{
    return records->cluster;
}

int64_t records_epoch(const struct records *records)
{
    return records->epoch;
}

/* ---- the whole file ---- */
enum status records_check(struct records *records, struct error *error)
{
    char found[512];
    TRY(ask(records, "PRAGMA integrity_check(1)", found, sizeof(found), error));
    if (strcmp(found, "ok") != 0)
        return error_set(error, STATUS_FORMAT, "%s: damaged: %s", records->path, found);
    TRY(ask(records, "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1", found, sizeof(found),
            error));
    if (found[0] != '\0')
        return error_set(error, STATUS_FORMAT, "%s: damaged: a row of %s refers to nothing",
                         records->path, found);
    return STATUS_OK;
}

enum status records_scrub(struct records *records, struct error *error)
{
    return execute(records, "PRAGMA wal_checkpoint(TRUNCATE)", error);
}

/* Opens the copy, looks through it and syncs it: a backup that was never read is none. */
static enum status check_copy(const char *path, struct error *error)
{
    struct records copy = {0};
    CHECK(snprintf(copy.path, sizeof(copy.path), "%s", path) < PATH_MAX);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(path, &copy.db, flags, CHECKED_VFS);
    enum status status =
        code == SQLITE_OK ? records_check(&copy, error) : records_failed(&copy, code, error);
    sqlite3_close(copy.db);
    return status;
}

enum status records_backup(struct records *records, const char *path, struct error *error)
{
    sqlite3_stmt *statement;
    CHECK(sqlite3_get_autocommit(records->db));
    if (file_exists(path))
        return error_set(error, STATUS_CONFLICT, "%s: is there already", path);
    int code = sqlite3_prepare_v2(records->db, "VACUUM INTO ?", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, path, -1, SQLITE_TRANSIENT);
        code = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE) {
        unlink(path);
        return error_set(error, STATUS_IO, "%s: the backup failed: %s", path, sqlite3_errstr(code));
    }
    enum status status = check_copy(path, error);
    if (status != STATUS_OK)
        unlink(path);
    return status;
}

enum status records_in_use(const char *what, char *const *referrers, size_t count,
                           struct error *error)
{
    enum { REFERRERS_BYTES_MAX = 800 }; /* of a sentence's 1,024 */
    struct buf list = {0};
    size_t said = 0;
    for (; said < count && list.length + strlen(referrers[said]) < REFERRERS_BYTES_MAX; said++)
        buf_printf(&list, "%s%s", said > 0 ? ", " : "", referrers[said]);
    if (said < count)
        buf_printf(&list, " and %zu more", count - said);
    enum status status = error_set(error, STATUS_CONFLICT, "%s is in use: %s", what, list.data);
    buf_release(&list);
    return status;
}
