/* SPDX-License-Identifier: Apache-2.0
 *
 * blob_store: no row without its file, and no file for ever without a row.
 */
#include <limits.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "storage/files/blob.h"
#include "storage/records/blob_store.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

static struct records_fixture fixture;
static struct error error;
static const int64_t later = RECORDS_NOW_MS + 1000;

/* A blob of `text` in acme's store, with its row. */
static enum status put(const char *text, char digest[SHA256_HEX_SIZE])
{
    char store[PATH_MAX];
    struct blob_row row = {.tenant = "acme", .digest = digest, .bytes = (int64_t)strlen(text)};
    blob_tenant_path(fixture.dir, "acme", store);
    TRY(blob_put(store, text, strlen(text), digest, &error));
    return blob_store_register(fixture.records, fixture.dir, &row, RECORDS_NOW_MS, &error);
}

static bool there(const char *digest)
{
    char store[PATH_MAX];
    int64_t size;
    blob_tenant_path(fixture.dir, "acme", store);
    CHECK(blob_size(store, digest, &size, NULL) == STATUS_OK);
    return size >= 0;
}

static struct blob_garbage mark(bool dry_run)
{
    struct blob_garbage garbage = {.count = -1};
    EXPECT_I64(STATUS_OK, blob_store_mark(fixture.records, later, later, dry_run, &fixture.arena,
                                          &garbage, &error));
    return garbage;
}

TEST(garbage_goes_and_what_is_pinned_stays)
{
    char kept[SHA256_HEX_SIZE], lost[SHA256_HEX_SIZE];
    int64_t bytes;
    records_fixture_open(&fixture);
    REQUIRE(put("kept", kept) == STATUS_OK && put("lost!", lost) == STATUS_OK);
    EXPECT_I64(STATUS_OK, blob_record_pin(fixture.records, "acme", kept, "j-1", INT64_MAX, &error));
    struct blob_garbage garbage = mark(true);
    EXPECT_I64(1, garbage.count);
    EXPECT_I64(5, garbage.bytes);
    EXPECT_I64(1, mark(true).count); /* a dry run changed nothing */
    EXPECT(there(lost));
    garbage = mark(false);
    EXPECT_I64(0, mark(true).count);
    EXPECT_I64(STATUS_OK, blob_store_sweep(fixture.records, fixture.dir, &garbage, &bytes, &error));
    EXPECT_I64(5, bytes);
    EXPECT(!there(lost));
    EXPECT(there(kept));
    records_fixture_close(&fixture);
}

TEST(a_blob_that_is_registered_between_mark_and_sweep_stays)
{
    char digest[SHA256_HEX_SIZE];
    int64_t bytes;
    records_fixture_open(&fixture);
    REQUIRE(put("wanted again", digest) == STATUS_OK);
    struct blob_garbage garbage = mark(false);
    EXPECT_I64(1, garbage.count);
    REQUIRE(put("wanted again", digest) == STATUS_OK);
    EXPECT_I64(STATUS_OK, blob_store_sweep(fixture.records, fixture.dir, &garbage, &bytes, &error));
    EXPECT_I64(0, bytes);
    EXPECT(there(digest));
    records_fixture_close(&fixture);
}

TEST(a_row_is_not_made_for_a_file_that_is_not_there)
{
    char digest[SHA256_HEX_SIZE];
    records_fixture_open(&fixture);
    sha256_hex("absent", 6, digest);
    struct blob_row row = {.tenant = "acme", .digest = digest, .bytes = 6};
    EXPECT_I64(STATUS_NOT_FOUND,
               blob_store_register(fixture.records, fixture.dir, &row, RECORDS_NOW_MS, &error));
    REQUIRE(put("present", digest) == STATUS_OK);
    row = (struct blob_row){.tenant = "acme", .digest = digest, .bytes = 6};
    EXPECT_I64(STATUS_NOT_FOUND,
               blob_store_register(fixture.records, fixture.dir, &row, RECORDS_NOW_MS, &error));
    row = (struct blob_row){.tenant = "general", .digest = digest, .bytes = 7};
    EXPECT_I64(STATUS_NOT_FOUND,
               blob_store_register(fixture.records, fixture.dir, &row, RECORDS_NOW_MS, &error));
    records_fixture_close(&fixture);
}

TEST(files_that_a_crash_left_without_a_row_are_found_when_they_are_old)
{
    char kept[SHA256_HEX_SIZE], orphan[SHA256_HEX_SIZE];
    int count;
    records_fixture_open(&fixture);
    REQUIRE(put("kept", kept) == STATUS_OK && put("orphan", orphan) == STATUS_OK);
    EXPECT_I64(STATUS_OK, blob_record_pin(fixture.records, "acme", kept, "j-1", INT64_MAX, &error));
    mark(false); /* and then it crashed */
    EXPECT_I64(STATUS_OK, blob_store_orphans(fixture.records, fixture.dir, "acme", 1000, false,
                                             &count, &error));
    EXPECT_I64(0, count); /* young */
    EXPECT_I64(STATUS_OK, blob_store_orphans(fixture.records, fixture.dir, "acme", INT64_MAX, true,
                                             &count, &error));
    EXPECT_I64(1, count);
    EXPECT(there(orphan));
    EXPECT_I64(STATUS_OK, blob_store_orphans(fixture.records, fixture.dir, "acme", INT64_MAX, false,
                                             &count, &error));
    EXPECT(!there(orphan));
    EXPECT(there(kept));
    records_fixture_close(&fixture);
}

TEST_MAIN()
