/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent's parts that need no coordinator: manifests and lines from outside, the outbox, the
 * cache's bound, the credential.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "storage/files/blob.h"
#include "tests/test.h"
#include "worker/agent/cache.h"
#include "worker/agent/credential.h"
#include "worker/agent/lines.h"
#include "worker/agent/outbox.h"

#define DIGEST "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct manifest manifest;

static enum status parse(const char *text, bool *is_manifest_out, struct error *error)
{
    struct arena arena = {0};
    enum status status =
        manifest_parse(&arena, text, strlen(text), &manifest, is_manifest_out, error);
    arena_release(&arena);
    return status;
}

TEST(a_manifest_whose_names_lead_out_of_its_directory_is_refused)
{
    static const char *const names[] = {"..", "../x",  "a/../../x", "/etc/x", "a//b",
                                        "a/", "./a/.", ".",         "",       "a\\nb"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char text[512];
        bool is_manifest;
        snprintf(text, sizeof(text),
                 "{\"kind\":\"files\",\"files\":[{\"name\":\"%s\",\"digest\":\"" DIGEST
                 "\",\"bytes\":1}]}",
                 names[i]);
        EXPECT_I64(STATUS_FORMAT, parse(text, &is_manifest, NULL));
    }
}

TEST(a_manifest_comes_back_as_it_was_written_and_other_bytes_are_none)
{
    struct arena arena = {0};
    struct buf text = {0};
    bool is_manifest;
    manifest = (struct manifest){0};
    EXPECT_I64(STATUS_OK, manifest_add(&manifest, &arena, "rows/a \"b\".jsonl", DIGEST, 12, NULL));
    EXPECT_I64(STATUS_OK, manifest_add(&manifest, &arena, "tailor.json", DIGEST, 30, NULL));
    manifest_format(&manifest, &text);
    EXPECT_I64(STATUS_OK,
               manifest_parse(&arena, text.data, text.length, &manifest, &is_manifest, NULL));
    EXPECT(is_manifest);
    REQUIRE(manifest.count == 2);
    EXPECT_STR("rows/a \"b\".jsonl", manifest.files[0].name);
    EXPECT_I64(42, manifest.bytes);
    EXPECT_I64(STATUS_OK, parse("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n", &is_manifest, NULL));
    EXPECT(!is_manifest);
    EXPECT_I64(STATUS_OK, parse("{\"kind\":\"checkpoint\",\"parts\":[]}", &is_manifest, NULL));
    EXPECT(!is_manifest);
    EXPECT_I64(STATUS_FORMAT, parse("{\"kind\":\"files\",\"files\":{}}", &is_manifest, NULL));
    EXPECT_I64(STATUS_FORMAT,
               parse("{\"kind\":\"files\",\"files\":[{\"name\":\"a\"}]}", &is_manifest, NULL));
    buf_release(&text);
    arena_release(&arena);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void collect(void *argument, const char *line, size_t length)
{
    buf_append(argument, line, length);
    buf_append_char(argument, '|');
}

TEST(lines_are_cut_wherever_the_pipe_cut_them_and_too_long_ones_are_shortened)
{
    struct lines lines = {.size_max = 8};
    struct buf got = {0};
    static const char text[] = "one\ntwo\n\n0123456789abc\nlast";
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        lines_feed(&lines, text + i, 1, collect, &got);
    lines_end(&lines, collect, &got);
    EXPECT_STR("one|two|01234567|last|", got.data);
    buf_clear(&got);
    lines_feed(&lines, text, sizeof(text) - 1, collect, &got);
    lines_end(&lines, collect, &got);
    EXPECT_STR("one|two|01234567|last|", got.data);
    buf_release(&lines.line);
    buf_release(&got);
}

/* ---- outbox ---------------------------------------------------------------------------------- */

static bool put(struct outbox *outbox, const char *kind, bool once)
{
    Wire__Finding finding = WIRE__FINDING__INIT;
    finding.kind = (char *)kind; /* protobuf-c knows no const */
    return outbox_put(outbox, WORKER_FINDING, &finding.stamp, &finding, once);
}

TEST(reports_are_kept_until_they_are_acknowledged_and_the_final_one_has_its_place)
{
    struct outbox outbox;
    outbox_init(&outbox, 3, 2);
    for (int i = 0; i < OUTBOX_MAX - OUTBOX_ONCE; i++)
        REQUIRE(put(&outbox, "k", false));
    EXPECT(!put(&outbox, "k", false));
    EXPECT_I64(1, outbox.dropped);
    for (int i = 0; i < OUTBOX_ONCE; i++)
        EXPECT(put(&outbox, "k", true));
    EXPECT_I64(OUTBOX_MAX, outbox.sequence);
    outbox_ack(&outbox, 5);
    EXPECT_I64(OUTBOX_MAX - 5, outbox.count);
    EXPECT_I64(6, outbox.entries[0].sequence);
    outbox_ack(&outbox, 2); /* late */
    EXPECT_I64(OUTBOX_MAX - 5, outbox.count);
    outbox_ack(&outbox, OUTBOX_MAX);
    EXPECT_I64(0, outbox.count);
    outbox_close(&outbox);
}

/* ---- the data directory ---------------------------------------------------------------------- */

static char directory[64];

static void directory_make(void)
{
    snprintf(directory, sizeof(directory), "/tmp/agent_parts_test.XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
}

/* As a kill leaves it: the file as it is, the memory gone. */
static void outbox_abandon(struct outbox *outbox)
{
    outbox->path[0] = '\0'; /* whatever the end would remove, it does not find */
    outbox_close(outbox);
}

TEST(what_was_not_acknowledged_is_there_for_the_next_process_and_the_rest_is_not)
{
    struct error error;
    struct outbox outbox, next;
    char path[PATH_MAX];
    directory_make();
    outbox_init(&outbox, 7, 4);
    REQUIRE(outbox_open(&outbox, directory, &error) == STATUS_OK);
    snprintf(path, sizeof(path), "%s", outbox.path);
    for (int i = 0; i < 3; i++)
        REQUIRE(put(&outbox, i == 2 ? "third" : "k", false));
    struct buf third = {0};
    buf_append(&third, outbox.entries[2].bytes.data, outbox.entries[2].bytes.length);
    outbox_ack(&outbox, 1);
    outbox_abandon(&outbox);
    REQUIRE(outbox_restore(&next, path, &error) == STATUS_OK);
    EXPECT_I64(7, next.job);
    EXPECT_I64(4, next.term);
    EXPECT_I64(3, next.sequence);
    REQUIRE(next.count == 2);
    EXPECT_I64(2, next.entries[0].sequence);
    EXPECT(next.entries[1].bytes.length == third.length &&
           memcmp(next.entries[1].bytes.data, third.data, third.length) == 0);
    outbox_ack(&next, 2); /* and the next one goes on with the same file */
    outbox_abandon(&next);
    REQUIRE(outbox_restore(&next, path, &error) == STATUS_OK);
    EXPECT_I64(1, next.count);
    outbox_ack(&next, 3);
    outbox_close(&next);
    EXPECT(!file_exists(path)); /* nothing is left to say */
    buf_release(&third);
    dir_remove(directory, NULL);
}

TEST(an_outbox_that_was_cut_anywhere_reads_as_one_that_once_was)
{
    struct error error;
    struct outbox outbox, next;
    struct buf whole = {0};
    char path[PATH_MAX];
    directory_make();
    outbox_init(&outbox, 7, 4);
    REQUIRE(outbox_open(&outbox, directory, &error) == STATUS_OK);
    snprintf(path, sizeof(path), "%s", outbox.path);
    for (int i = 0; i < 3; i++)
        REQUIRE(put(&outbox, "k", false));
    size_t record = outbox.file_bytes / 3;
    outbox_abandon(&outbox);
    REQUIRE(file_read(path, MIB, &whole, &error) == STATUS_OK);
    for (size_t length = 1; length <= whole.length; length++) {
        REQUIRE(file_write_atomic(path, whole.data, length, &error) == STATUS_OK);
        enum status status = outbox_restore(&next, path, NULL);
        EXPECT_I64(length < record ? STATUS_FORMAT : STATUS_OK, status);
        if (status != STATUS_OK)
            continue;
        EXPECT_I64((int64_t)(length / record), next.count);
        REQUIRE(put(&next, "k", false)); /* behind what is whole */
        outbox_abandon(&next);
        REQUIRE(outbox_restore(&next, path, NULL) == STATUS_OK);
        EXPECT_I64((int64_t)(length / record) + 1, next.count);
        outbox_abandon(&next);
    }
    whole.data[record + 40] ^= 1; /* a bit of the second one flipped */
    REQUIRE(file_write_atomic(path, whole.data, whole.length, &error) == STATUS_OK);
    REQUIRE(outbox_restore(&next, path, NULL) == STATUS_OK);
    EXPECT_I64(1, next.count);
    outbox_abandon(&next);
    buf_release(&whole);
    dir_remove(directory, NULL);
}

TEST(the_file_of_an_outbox_is_bounded_however_much_goes_through_it)
{
    static char kind[60001];
    struct error error;
    struct outbox outbox, next;
    char path[PATH_MAX];
    directory_make();
    memset(kind, 'k', sizeof(kind) - 1);
    outbox_init(&outbox, 7, 4);
    REQUIRE(outbox_open(&outbox, directory, &error) == STATUS_OK);
    snprintf(path, sizeof(path), "%s", outbox.path);
    for (int i = 1; i <= 800; i++) { /* 48 MB, of which one always waits */
        REQUIRE(put(&outbox, kind, false));
        outbox_ack(&outbox, i - 1);
        EXPECT(file_size(path) <= (int64_t)(OUTBOX_FILE_MAX + sizeof(kind) + KIB));
    }
    outbox_abandon(&outbox);
    REQUIRE(outbox_restore(&next, path, &error) == STATUS_OK);
    EXPECT_I64(1, next.count);
    EXPECT_I64(800, next.sequence);
    while (put(&next, kind, false))
        continue;
    EXPECT(next.bytes < OUTBOX_BYTES_MAX + sizeof(kind) + KIB);
    outbox_abandon(&next);
    dir_remove(directory, NULL);
}

static void make_old(const struct cache *cache, const char *digest, int age_s)
{
    char path[PATH_MAX];
    struct timespec now, times[2];
    CHECK(blob_path(cache->dir, digest, path, NULL) == STATUS_OK);
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){.tv_sec = now.tv_sec - age_s};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static void put_old(const struct cache *cache, char letter, int age_s, char digest_out[65])
{
    char bytes[1000];
    memset(bytes, letter, sizeof(bytes));
    CHECK(cache_put(cache, bytes, sizeof(bytes), digest_out, NULL) == STATUS_OK);
    make_old(cache, digest_out, age_s);
}

TEST(to_use_a_blob_of_the_cache_is_no_change_of_it_to_who_reads_it)
{
    struct cache cache;
    struct stat before, after;
    char digest[65], blob[PATH_MAX], path[PATH_MAX];
    directory_make();
    REQUIRE(cache_open(&cache, directory, 4000, NULL) == STATUS_OK);
    put_old(&cache, 'a', 3000, digest);
    CHECK(blob_path(cache.dir, digest, blob, NULL) == STATUS_OK);
    path_join(path, sizeof(path), directory, "given");
    EXPECT_I64(0, stat(blob, &before));
    EXPECT_I64(STATUS_OK, cache_give(&cache, digest, path, NULL));
    EXPECT_I64(0, stat(blob, &after));
    EXPECT_I64(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    EXPECT_I64(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    EXPECT(after.st_atim.tv_sec > before.st_atim.tv_sec);
}

TEST(the_cache_makes_room_by_what_was_not_used_for_longest_and_never_by_what_is_in_use)
{
    struct cache cache;
    char oldest[65], used[65], newer[65], new[65], path[PATH_MAX];
    directory_make();
    REQUIRE(cache_open(&cache, directory, 4000, NULL) == STATUS_OK);
    put_old(&cache, 'a', 3000, oldest);
    put_old(&cache, 'b', 4000, used);
    put_old(&cache, 'c', 2000, newer);
    put_old(&cache, 'd', 0, new);
    path_join(path, sizeof(path), directory, "run/in/b");
    EXPECT_I64(STATUS_OK, cache_give(&cache, used, path, NULL));
    make_old(&cache, used, 4000); /* as old as before, but in use */
    cache_evict(&cache, 1000);
    EXPECT(!cache_has(&cache, oldest));
    EXPECT(cache_has(&cache, used) && cache_has(&cache, newer) && cache_has(&cache, new));
    cache_evict(&cache, 1000000); /* more than can be had */
    EXPECT(!cache_has(&cache, newer));
    EXPECT(cache_has(&cache, used) && cache_has(&cache, new));
    put_old(&cache, 'a', 3000, oldest); /* below the bound, but the disk is short of space */
    put_old(&cache, 'c', 2000, newer);
    cache_relieve(&cache, 1000);
    EXPECT(!cache_has(&cache, oldest));
    EXPECT(cache_has(&cache, newer) && cache_has(&cache, used) && cache_has(&cache, new));
    dir_remove(directory, NULL);
}

TEST(a_credential_is_for_its_owner_only_and_a_worker_that_has_joined_needs_no_token)
{
    struct error error;
    struct credential first, again;
    struct join_token token = {.address = "127.0.0.1:7701"};
    char text[JOIN_TOKEN_TEXT_MAX], path[PATH_MAX];
    directory_make();
    memset(token.secret, 7, sizeof(token.secret));
    join_token_format(&token, text);
    EXPECT_I64(STATUS_USAGE, credential_open(directory, NULL, &first, &error));
    EXPECT_CONTAINS("--join", error.text);
    EXPECT_I64(STATUS_USAGE, credential_open(directory, "tj1-nonsense", &first, &error));
    REQUIRE(credential_open(directory, text, &first, &error) == STATUS_OK);
    first.worker = 12;
    first.join_key[0] = '\0';
    REQUIRE(credential_save(directory, &first, &error) == STATUS_OK);
    EXPECT_I64(STATUS_OK, credential_open(directory, "tj1-nonsense", &again, &error));
    EXPECT_I64(12, again.worker);
    EXPECT_STR(first.secret_key, again.secret_key);
    path_join(path, sizeof(path), directory, "credential.json");
    chmod(path, 0644);
    EXPECT_I64(STATUS_DENIED, credential_open(directory, NULL, &again, &error));
    EXPECT_CONTAINS("chmod 600", error.text);
    chmod(path, 0600);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "{\"address\": 7}", 14, NULL));
    chmod(path, 0600);
    EXPECT_I64(STATUS_FORMAT, credential_open(directory, NULL, &again, &error));
    dir_remove(directory, NULL);
}

TEST_MAIN()
