/* SPDX-License-Identifier: Apache-2.0
 *
 * What was acknowledged is there: after a kill, a loss of power, a full disk, a broken one. And a
 * file that cannot be trusted is not opened.
 *
 * TAILOR_CRASHES=N makes each sweep N rounds long (default 15).
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/rng.h"
#include "proto/message.h"
#include "storage/records/checked_file.h"
#include "storage/records/event_record.h"
#include "storage/records/records_parts.h"
#include "tests/disk_fixture.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

static struct records_fixture fixture;
static struct error error;

static int rounds(void)
{
    const char *text = getenv("TAILOR_CRASHES");
    return text != NULL ? atoi(text) : 15;
}

/* Submits a batch of jobs with the keys first … last in one transaction. */
static enum status submit_batch(struct records *records, int first, int last)
{
    TRY(records_begin(records, &error));
    for (int i = first; i <= last; i++) {
        char key[32];
        int64_t id;
        bool created;
        snprintf(key, sizeof(key), "k%d", i);
        records_savepoint(records);
        enum status status =
            records_fixture_submit(records, "acme", key, "{}", &id, &created, &error);
        if (!records_settle(records, status) || status != STATUS_OK) {
            records_rollback(records);
            return status != STATUS_OK ? status : STATUS_IO;
        }
    }
    return records_commit(records, &error);
}

/* Are the jobs of keys 1 … count there, once each? */
static void expect_jobs(const char *path, int count, const char *when)
{
    struct records *records = records_fixture_open_path(path);
    if (records == NULL)
        return;
    if (records_check(records, &error) != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s: %s", when, error.text);
    CHECK(records_begin(records, NULL) == STATUS_OK);
    for (int i = 1; i <= count; i++) {
        char key[32];
        int64_t id;
        bool created = true;
        snprintf(key, sizeof(key), "k%d", i);
        if (records_fixture_submit(records, "acme", key, "{}", &id, &created, &error) !=
                STATUS_OK ||
            created)
            test_fail(__FILE__, __LINE__, "%s: job %d of %d, which was acknowledged, is lost", when,
                      i, count);
    }
    records_close(records);
}

/* ---- kill -9 ---- */
static void submit_for_ever(const char *path, int from, int out)
{
    struct records *records = records_fixture_open_path(path);
    for (int last = from; records != NULL; last++) {
        int first = last;
        last += last % 7; /* batches of 1 … 7 */
        if (submit_batch(records, first, last) != STATUS_OK ||
            write(out, &last, sizeof(last)) != (ssize_t)sizeof(last))
            break;
    }
    _exit(1);
}

/* The last key that was acknowledged when the child was killed. */
static int kill_submitter(const char *path, int from, int64_t after_us)
{
    int pipe_fds[2], last = from - 1, got;
    CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0);
    pid_t child = fork(); /* nothing is open here */
    CHECK(child >= 0);
    if (child == 0)
        submit_for_ever(path, from, pipe_fds[1]);
    close(pipe_fds[1]);
    /* it has begun */
    if (read(pipe_fds[0], &got, sizeof(got)) == (ssize_t)sizeof(got))
        last = got;
    nanosleep(&(struct timespec){.tv_nsec = after_us * 1000}, NULL);
    kill(child, SIGKILL);
    while (read(pipe_fds[0], &got, sizeof(got)) == (ssize_t)sizeof(got))
        last = got;
    close(pipe_fds[0]);
    waitpid(child, NULL, 0);
    return last;
}

TEST(acknowledged_jobs_are_there_after_kills_at_random_moments)
{
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    int last = 0;
    for (int round = 0; round < rounds(); round++) {
        int64_t after_us = (int64_t)rng_below(7, 1, (uint64_t)round, 30000);
        int now = kill_submitter(fixture.path, last + 1, after_us);
        if (now <= last)
            test_fail(__FILE__, __LINE__, "round %d: nothing was acknowledged", round);
        last = now;
        expect_jobs(fixture.path, last, "after a kill");
    }
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

/* ---- loss of power: only what was synced is left ---- */
TEST(acknowledged_jobs_are_there_after_losses_of_power)
{
    char synced[PATH_MAX], path[PATH_MAX];
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    path_join(synced, sizeof(synced), fixture.dir, "synced");
    path_join(path, sizeof(path), synced, "records.db");
    CHECK(dir_create(synced, NULL) == STATUS_OK);
    disk_install();
    disk_keep_synced(synced);
    /* Bring the database's own file, as it is now, to the synced side. */
    struct buf content = {0};
    CHECK(file_read(fixture.path, SIZE_MAX, &content, NULL) == STATUS_OK);
    CHECK(file_write_atomic(path, content.data, content.length, NULL) == STATUS_OK);
    buf_release(&content);
    fixture.records = records_fixture_open_path(fixture.path);
    REQUIRE(fixture.records != NULL);
    int last = 0;
    for (int round = 0; round < rounds(); round++) {
        for (int i = 0; i < 4; i++, last += 3)
            if (submit_batch(fixture.records, last + 1, last + 3) != STATUS_OK)
                test_fail(__FILE__, __LINE__, "%s", error.text);
        /* The power goes: what lies in `synced` is all there is. Look at a copy of it. */
        char copy_dir[PATH_MAX], copy[PATH_MAX];
        path_join(copy_dir, sizeof(copy_dir), fixture.dir, "copy");
        path_join(copy, sizeof(copy), copy_dir, "records.db");
        CHECK(dir_create(copy_dir, NULL) == STATUS_OK);
        static const char *const names[] = {"records.db", "records.db-wal"};
        for (int i = 0; i < 2; i++) {
            path_join(path, sizeof(path), synced, names[i]);
            path_join(copy, sizeof(copy), copy_dir, names[i]);
            if (file_read(path, SIZE_MAX, &content, NULL) == STATUS_OK)
                CHECK(file_write_atomic(copy, content.data, content.length, NULL) == STATUS_OK);
            buf_release(&content);
        }
        path_join(copy, sizeof(copy), copy_dir, "records.db");
        disk_keep_synced(NULL);
        expect_jobs(copy, last, "after a loss of power");
        disk_keep_synced(synced);
        CHECK(dir_remove(copy_dir, NULL) == STATUS_OK);
    }
    records_close(fixture.records);
    disk_remove();
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

/* ---- a full disk ---- */
TEST(a_full_disk_is_a_clean_refusal_and_over_when_there_is_room)
{
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    disk_install();
    fixture.records = records_fixture_open_path(fixture.path);
    REQUIRE(fixture.records != NULL);
    int last = 0;
    for (int k = 1; k <= rounds(); k++) {
        disk_fail(k, SQLITE_FULL, true);
        enum status status = submit_batch(fixture.records, last + 1, last + 5);
        if (status == STATUS_OK) {
            last += 5; /* fewer than k writes: it fitted, also on a full disk */
        } else {
            EXPECT_I64(STATUS_IO, status);
            EXPECT_CONTAINS("the disk is full", error.text);
            EXPECT(records_is_full(fixture.records));
        }
        EXPECT(!records_is_broken(fixture.records));
        disk_fail(0, 0, false); /* room again, the same process goes on */
        if (submit_batch(fixture.records, last + 1, last + 5) != STATUS_OK)
            test_fail(__FILE__, __LINE__, "with room again, k %d: %s", k, error.text);
        EXPECT(!records_is_full(fixture.records));
        last += 5;
    }
    records_close(fixture.records);
    disk_remove();
    expect_jobs(fixture.path, last, "after a full disk");
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

TEST(a_limit_of_pages_works_like_a_full_disk)
{
    struct records_options options = {.cluster = "c", .pages_max = 140};
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    REQUIRE(records_open(fixture.path, &options, &fixture.records, &error) == STATUS_OK);
    int last = 0;
    while (last < 100000 && submit_batch(fixture.records, last + 1, last + 50) == STATUS_OK)
        last += 50;
    EXPECT(last > 0 && last < 100000);
    EXPECT(records_is_full(fixture.records));
    records_close(fixture.records);
    expect_jobs(fixture.path, last, "after the limit");
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

/* ---- a broken disk ---- */
TEST(an_io_error_at_a_commit_is_final_and_nothing_acknowledged_is_lost)
{
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    disk_install();
    int last = 0, broke = 0;
    for (int k = 1; k <= rounds(); k++) {
        fixture.records = records_fixture_open_path(fixture.path);
        REQUIRE(fixture.records != NULL);
        disk_fail(k, k % 2 ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE, false);
        while (disk_operations() < k) {
            if (submit_batch(fixture.records, last + 1, last + 3) != STATUS_OK)
                break;
            last += 3;
        }
        if (records_is_broken(fixture.records)) {
            broke++;
            disk_fail(0, 0, false);
            EXPECT_I64(STATUS_IO, submit_batch(fixture.records, last + 1, last + 3));
            EXPECT_CONTAINS("start again", error.text);
        }
        disk_fail(0, 0, false);
        records_close(fixture.records);
    }
    EXPECT(broke > 0);
    disk_remove();
    expect_jobs(fixture.path, last, "after I/O errors");
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

TEST(a_file_whose_making_was_cut_short_is_made_the_next_time)
{
    disk_install();
    for (int k = 1; k <= rounds() * 4; k += 4) {
        struct records_options options = {.cluster = "c"};
        fixture = (struct records_fixture){.dir = "/tmp/records_test.XXXXXX"};
        CHECK(mkdtemp(fixture.dir) != NULL);
        snprintf(fixture.path, sizeof(fixture.path), "%s/records.db", fixture.dir);
        disk_fail(k, SQLITE_IOERR_WRITE, true);
        enum status status = records_open(fixture.path, &options, &fixture.records, &error);
        disk_fail(0, 0, false);
        if (status == STATUS_OK)
            records_close(fixture.records);
        fixture.records = records_fixture_open_path(fixture.path);
        REQUIRE(fixture.records != NULL);
        EXPECT_I64(STATUS_OK, records_check(fixture.records, &error));
        records_fixture_close(&fixture);
    }
    disk_remove();
}

/* ---- files that are not to be trusted ---- */
static void expect_not_opened(const char *path, enum status expected, const char *sentence,
                              int line)
{
    struct records_options options = {.cluster = "c"};
    struct records *records;
    enum status status = records_open(path, &options, &records, &error);
    if (status == STATUS_OK) {
        records_close(records);
        test_fail(__FILE__, line, "%s was opened", path);
    } else if (status != expected || strstr(error.text, sentence) == NULL) {
        test_fail(__FILE__, line, "expected status %d \"%s\", got %d \"%s\"", expected, sentence,
                  status, error.text);
    }
}

static void execute(const char *path, const char *vfs, const char *text)
{
    sqlite3 *db;
    int reserve = CHECKED_RESERVE;
    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK);
    if (vfs != NULL)
        sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
    CHECK(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

TEST(a_file_of_a_newer_program_or_of_another_one_is_left_alone)
{
    char other[PATH_MAX];
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    execute(fixture.path, CHECKED_VFS, "PRAGMA user_version = 9999");
    expect_not_opened(fixture.path, STATUS_UNSUPPORTED, "written by a newer program", __LINE__);
    snprintf(other, sizeof(other), "PRAGMA user_version = %d", records_version());
    execute(fixture.path, CHECKED_VFS, other);
    path_join(other, sizeof(other), fixture.dir, "other.db");
    execute(other, NULL, "CREATE TABLE t (a)");
    expect_not_opened(other, STATUS_FORMAT, "not one of this program's", __LINE__);
    path_join(other, sizeof(other), fixture.dir, "text.db");
    CHECK(file_write_atomic(other, "This is no database, only a text.", 33, NULL) == STATUS_OK);
    expect_not_opened(other, STATUS_FORMAT, "damaged", __LINE__);
    path_join(other, sizeof(other), fixture.dir, "no/such/dir.db");
    expect_not_opened(other, STATUS_DENIED, "cannot be opened", __LINE__);
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

/* A file as version 1 of the schema left it, with a tenant and a job. */
static void make_version_1(const char *path)
{
    checked_file_register();
    execute(path, CHECKED_VFS, schema_migration(0));
    execute(path, CHECKED_VFS,
            "PRAGMA application_id = 0x7461696c; PRAGMA user_version = 1;"
            "INSERT INTO cluster VALUES (1, 'c-old', 7, 0);"
            "INSERT INTO tenants (name, created_ms) VALUES ('acme', 0);"
            "INSERT INTO jobs (tenant, stage, state, state_since_ms, created_ms, queue, priority,"
            " spec_digest) VALUES ('acme', 3, 1, 0, 0, 'default', 0, 'd')");
}

TEST(a_file_of_an_older_version_is_brought_up_to_date_or_left_as_it_was)
{
    int64_t count;
    disk_install();
    for (int k = 0; k < rounds() * 2; k++) { /* k 0: nothing fails */
        struct records_options options = {.cluster = "c-new"};
        fixture = (struct records_fixture){.dir = "/tmp/records_test.XXXXXX"};
        CHECK(mkdtemp(fixture.dir) != NULL);
        snprintf(fixture.path, sizeof(fixture.path), "%s/records.db", fixture.dir);
        disk_fail(0, 0, false);
        make_version_1(fixture.path);
        disk_fail(k, SQLITE_IOERR_WRITE, true);
        if (records_open(fixture.path, &options, &fixture.records, &error) == STATUS_OK)
            records_close(fixture.records);
        else
            EXPECT(k > 0);
        disk_fail(0, 0, false);
        fixture.records = records_fixture_open_path(fixture.path);
        REQUIRE(fixture.records != NULL);
        EXPECT_I64(STATUS_OK, records_check(fixture.records, &error));
        EXPECT_STR("c-old", records_cluster(fixture.records));
        EXPECT(records_epoch(fixture.records) >= 8);
        EXPECT_I64(STATUS_OK, job_record_count_active(fixture.records, "acme", &count, &error));
        EXPECT_I64(1, count);
        CHECK(submit_batch(fixture.records, 1, 1) == STATUS_OK); /* which writes to a new table */
        records_fixture_close(&fixture);
    }
    disk_remove();
}

TEST(a_damaged_file_is_not_opened_or_its_check_says_so)
{
    struct buf content = {0};
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    CHECK(submit_batch(fixture.records, 1, 50) == STATUS_OK);
    records_close(fixture.records);
    CHECK(file_read(fixture.path, SIZE_MAX, &content, NULL) == STATUS_OK);
    CHECK(truncate(fixture.path, (off_t)content.length / 2) == 0);
    expect_not_opened(fixture.path, STATUS_FORMAT, "restore it from a backup", __LINE__);
    for (size_t page = 1; page < content.length / 4096; page++) {
        char whole[16]; /* the first bytes of a page say what it is */
        memcpy(whole, content.data + page * 4096, sizeof(whole));
        memset(content.data + page * 4096, 0xa5, sizeof(whole));
        CHECK(file_write_atomic(fixture.path, content.data, content.length, NULL) == STATUS_OK);
        expect_not_opened(fixture.path, STATUS_FORMAT, "restore it from a backup", __LINE__);
        memcpy(content.data + page * 4096, whole, sizeof(whole));
    }
    buf_release(&content);
    CHECK(dir_remove(fixture.dir, NULL) == STATUS_OK);
}

TEST(a_flipped_bit_anywhere_in_the_file_is_noticed_or_touches_nothing)
{
    struct records_options options = {.cluster = "c"};
    struct buf content = {0};
    int noticed = 0, flips = rounds() * 10;
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    CHECK(submit_batch(fixture.records, 1, 50) == STATUS_OK);
    records_close(fixture.records);
    CHECK(file_read(fixture.path, SIZE_MAX, &content, NULL) == STATUS_OK);
    for (int i = 0; i < flips; i++) {
        struct records *records;
        size_t bit = i < 800 && flips > 800 /* every bit of the header, if there is time */
                         ? (size_t)i
                         : rng_below(3, 1, (uint64_t)i, content.length * 8);
        content.data[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(file_write_atomic(fixture.path, content.data, content.length, NULL) == STATUS_OK);
        content.data[bit / 8] ^= (char)(1 << bit % 8);
        if (records_open(fixture.path, &options, &records, &error) != STATUS_OK) {
            if (error.status != STATUS_FORMAT)
                test_fail(__FILE__, __LINE__, "bit %zu: status %d: %s", bit, error.status,
                          error.text);
            noticed++;
            continue;
        }
        records_close(records);
        expect_jobs(fixture.path, 50, "after a flipped bit that was not noticed");
    }
    /* What is not noticed lies in pages that hold nothing. */
    EXPECT(noticed >= flips * 9 / 10);
    buf_release(&content);
    CHECK(dir_remove(fixture.dir, NULL) == STATUS_OK);
}

TEST(a_second_process_is_kept_out_until_the_first_one_is_gone)
{
    int pipe_fds[2];
    char byte = 0;
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    records_close(fixture.records);
    CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (records_fixture_open_path(fixture.path) != NULL && write(pipe_fds[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    EXPECT_I64(1, read(pipe_fds[0], &byte, 1));
    expect_not_opened(fixture.path, STATUS_CONFLICT, "already running", __LINE__);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    fixture.records = records_fixture_open_path(fixture.path);
    REQUIRE(fixture.records != NULL);
    records_fixture_close(&fixture);
}

/* ---- whole files ---- */
TEST(a_backup_made_while_it_runs_holds_all_and_the_epoch_grows_with_each_start)
{
    char path[PATH_MAX];
    records_fixture_open(&fixture);
    EXPECT_I64(1, records_epoch(fixture.records));
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    CHECK(submit_batch(fixture.records, 1, 20) == STATUS_OK);
    path_join(path, sizeof(path), fixture.dir, "backup.db");
    EXPECT_I64(STATUS_OK, records_backup(fixture.records, path, &error));
    EXPECT_I64(STATUS_CONFLICT, records_backup(fixture.records, path, &error));
    CHECK(submit_batch(fixture.records, 21, 30) == STATUS_OK); /* and goes on */
    expect_jobs(path, 20, "in the backup");
    records_close(fixture.records);
    fixture.records = records_fixture_open_path(fixture.path);
    REQUIRE(fixture.records != NULL);
    EXPECT_I64(2, records_epoch(fixture.records));
    EXPECT_STR("c-test", records_cluster(fixture.records));
    records_fixture_close(&fixture);
}

static bool holds(const char *path, const char *canary)
{
    struct buf content = {0};
    bool found = false;
    size_t length = strlen(canary);
    if (file_read(path, SIZE_MAX, &content, NULL) == STATUS_OK)
        for (size_t i = 0; i + length <= content.length && !found; i++)
            found = memcmp(content.data + i, canary, length) == 0;
    buf_release(&content);
    return found;
}

TEST(a_text_that_was_deleted_is_in_no_file)
{
    static const char canary[] = "canary-7f3a9";
    char wal[PATH_MAX];
    int64_t removed;
    records_fixture_open(&fixture);
    EXPECT_I64(STATUS_OK,
               event_record_job(fixture.records, 1, "acme", 99, 0, "finding", canary, &error));
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    CHECK(records_scrub(fixture.records, &error) == STATUS_OK);
    EXPECT(holds(fixture.path, canary));
    CHECK(records_begin(fixture.records, NULL) == STATUS_OK);
    EXPECT_I64(STATUS_OK, event_record_expire(fixture.records, 2, &removed, &error));
    EXPECT_I64(1, removed);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
    EXPECT_I64(STATUS_OK, records_scrub(fixture.records, &error));
    snprintf(wal, sizeof(wal), "%s-wal", fixture.path);
    EXPECT(!holds(fixture.path, canary));
    EXPECT(!holds(wal, canary));
    records_fixture_close(&fixture);
}

TEST_MAIN()
