/* SPDX-License-Identifier: Apache-2.0
 *
 * upload: chunks may come twice, late or not at all, and only the right bytes become a blob.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/files/blob.h"
#include "storage/files/upload.h"
#include "tests/test.h"

static const char text[] = "0123456789abcdefghij";
enum { SIZE = sizeof(text) - 1 };

static char store[64], digest[SHA256_HEX_SIZE];
static struct error error;
static int64_t offset;
static bool complete;

static void store_create(void)
{
    strcpy(store, "/tmp/files_upload_test.XXXXXX");
    if (mkdtemp(store) == NULL)
        test_fail(__FILE__, __LINE__, "cannot create %s", store);
    sha256_hex(text, SIZE, digest);
    offset = -1;
    complete = true;
}

static void store_remove(void)
{
    EXPECT_I64(STATUS_OK, dir_remove(store, NULL));
}

static enum status put(int64_t at, size_t length)
{
    return upload_write(store, digest, SIZE, at, text + at, length, &offset, &complete, &error);
}

static void expect_blob(void)
{
    struct file_map map;
    REQUIRE(blob_open(store, digest, &map, &error) == STATUS_OK);
    EXPECT_I64(SIZE, (int64_t)map.size);
    EXPECT_BYTES(text, map.data, SIZE);
    file_map_close(&map);
}

TEST(chunks_become_a_blob_with_the_last_one)
{
    store_create();
    EXPECT_I64(STATUS_OK, upload_state(store, digest, &offset, &complete, &error));
    EXPECT_I64(0, offset);
    EXPECT(!complete);
    EXPECT_I64(STATUS_OK, put(0, 8));
    EXPECT_I64(8, offset);
    EXPECT(!complete);
    EXPECT_I64(STATUS_OK, put(0, 8)); /* its answer was lost */
    EXPECT_I64(8, offset);
    EXPECT_I64(STATUS_OK, put(4, 8)); /* overlaps */
    EXPECT_I64(12, offset);
    EXPECT_I64(STATUS_OK, upload_state(store, digest, &offset, &complete, &error));
    EXPECT_I64(12, offset);
    EXPECT_I64(STATUS_CONFLICT, put(15, 5));
    EXPECT_CONTAINS("12 bytes have arrived: go on from there", error.text);
    EXPECT_I64(STATUS_NOT_FOUND, blob_open(store, digest, &(struct file_map){0}, &error));
    EXPECT_I64(STATUS_OK, put(12, 8));
    EXPECT(complete);
    EXPECT_I64(SIZE, offset);
    expect_blob();
    EXPECT_I64(STATUS_OK, put(0, SIZE)); /* again: nothing to do */
    EXPECT(complete);
    store_remove();
}

TEST(an_empty_blob_is_one_empty_chunk)
{
    store_create();
    sha256_hex("", 0, digest);
    EXPECT_I64(STATUS_OK, upload_write(store, digest, 0, 0, "", 0, &offset, &complete, &error));
    EXPECT(complete);
    store_remove();
}

TEST(other_bytes_than_the_digest_says_are_thrown_away)
{
    store_create();
    EXPECT_I64(STATUS_OK, put(0, 8));
    EXPECT_I64(STATUS_FORMAT, upload_write(store, digest, SIZE, 8, "wrong bytes!", 12, &offset,
                                           &complete, &error));
    EXPECT_CONTAINS("upload it again", error.text);
    EXPECT_I64(STATUS_OK, upload_state(store, digest, &offset, &complete, &error));
    EXPECT_I64(0, offset);
    EXPECT(!complete);
    EXPECT_I64(STATUS_OK, put(0, SIZE));
    expect_blob();
    store_remove();
}

TEST(what_does_not_fit_or_is_no_digest_is_refused)
{
    store_create();
    EXPECT_I64(STATUS_LIMIT,
               upload_write(store, digest, 10, 5, text, 6, &offset, &complete, &error));
    EXPECT_I64(STATUS_LIMIT,
               upload_write(store, digest, 10, -1, text, 1, &offset, &complete, &error));
    EXPECT_I64(STATUS_LIMIT,
               upload_write(store, digest, 10, INT64_MAX, text, 1, &offset, &complete, &error));
    EXPECT_I64(STATUS_LIMIT,
               upload_write(store, digest, -1, 0, text, 0, &offset, &complete, &error));
    EXPECT_I64(STATUS_FORMAT, upload_write(store, "../../etc/passwd", 10, 0, text, 10, &offset,
                                           &complete, &error));
    store_remove();
}

/* In a child, because failpoints are counted per process. */
static void fail_at(const char *failpoint)
{
    int state;
    pid_t child = fork();
    if (child == 0) {
        setenv("TAILOR_FAIL", failpoint, 1);
        enum status first = put(0, 8);
        enum status second = first == STATUS_OK ? put(8, 12) : first;
        _exit(second == STATUS_IO ? 0 : 1);
    }
    waitpid(child, &state, 0);
    bool killed = strstr(failpoint, "kill") != NULL;
    if (killed ? !WIFSIGNALED(state) : !WIFEXITED(state) || WEXITSTATUS(state) != 0)
        test_fail(__FILE__, __LINE__, "%s: neither failed nor was killed", failpoint);
}

TEST(a_failure_or_a_kill_at_any_step_leaves_an_upload_that_goes_on)
{
    static const char *const failpoints[] = {"upload_write:1:error", "upload_write:2:error",
                                             "upload_write:1:kill",  "upload_write:2:kill",
                                             "blob_fsync:1:error",   "blob_fsync:1:kill",
                                             "blob_rename:1:error",  "blob_rename:1:kill"};
    for (size_t i = 0; i < sizeof(failpoints) / sizeof(failpoints[0]); i++) {
        store_create();
        fail_at(failpoints[i]);
        EXPECT_I64(STATUS_OK, upload_state(store, digest, &offset, &complete, &error));
        EXPECT(!complete);
        /* go on from what is said; with all bytes there, one empty chunk is enough */
        EXPECT_I64(STATUS_OK, put(offset, (size_t)(SIZE - offset)));
        EXPECT(complete);
        expect_blob();
        store_remove();
    }
}

TEST(parts_that_nobody_goes_on_with_expire)
{
    store_create();
    EXPECT_I64(STATUS_OK, put(0, 8));
    EXPECT_I64(0, upload_expire(store, 1000));
    EXPECT_I64(1, upload_expire(store, INT64_MAX));
    EXPECT_I64(STATUS_OK, upload_state(store, digest, &offset, &complete, &error));
    EXPECT_I64(0, offset);
    store_remove();
}

TEST_MAIN()
