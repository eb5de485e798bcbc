/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything is checked here as well: a fixture that fails silently makes tests that pass.
 */
#include "tests/records_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "proto/message.h"
#include "storage/records/blob_record.h"
#include "storage/records/tenant_record.h"
#include "tests/test.h"

struct records *records_fixture_open_path(const char *path)
{
    struct records_options options = {.now_ms = RECORDS_NOW_MS, .cluster = "c-test"};
    struct records *records;
    struct error error;
    if (records_open(path, &options, &records, &error) == STATUS_OK)
        return records;
    test_fail(__FILE__, __LINE__, "%s", error.text);
    return NULL;
}

enum status records_fixture_tenant(struct records *records, const char *name, struct error *error)
{
    Api__Tenant tenant = API__TENANT__INIT;
    int64_t id;
    tenant.name = (char *)name;
    tenant.has_created_ms = 1;
    tenant.created_ms = RECORDS_NOW_MS;
    return tenant_record_insert(records, &tenant, &id, error);
}

void records_fixture_open(struct records_fixture *fixture)
{
    *fixture = (struct records_fixture){.dir = "/tmp/records_test.XXXXXX"};
    CHECK(mkdtemp(fixture->dir) != NULL);
    snprintf(fixture->path, sizeof(fixture->path), "%s/records.db", fixture->dir);
    fixture->records = records_fixture_open_path(fixture->path);
    CHECK(fixture->records != NULL);
    CHECK(records_begin(fixture->records, NULL) == STATUS_OK);
    CHECK(records_fixture_tenant(fixture->records, "acme", NULL) == STATUS_OK);
    CHECK(records_fixture_tenant(fixture->records, "general", NULL) == STATUS_OK);
}

void records_fixture_reopen(struct records_fixture *fixture)
{
    CHECK(records_commit(fixture->records, NULL) == STATUS_OK);
    records_close(fixture->records);
    fixture->records = records_fixture_open_path(fixture->path);
    CHECK(fixture->records != NULL);
    CHECK(records_begin(fixture->records, NULL) == STATUS_OK);
}

void records_fixture_close(struct records_fixture *fixture)
{
    records_close(fixture->records);
    arena_release(&fixture->arena);
    CHECK(dir_remove(fixture->dir, NULL) == STATUS_OK);
}

enum status records_fixture_submit(struct records *records, const char *tenant, const char *key,
                                   const char *spec, int64_t *id_out, bool *created_out,
                                   struct error *error)
{
    char digest[SHA256_HEX_SIZE];
    Api__Label label = API__LABEL__INIT, *labels[] = {&label};
    Api__Job job = API__JOB__INIT;
    struct job_submit submit = {.job = &job};
    sha256_hex(spec, strlen(spec), digest);
    label.key = "team";
    label.value = "support";
    job.tenant = (char *)tenant;
    job.spec = (char *)spec;
    job.spec_digest = digest;
    job.has_stage = job.has_created_ms = 1;
    job.stage = API__STAGE__STAGE_CUSTOMIZE;
    job.created_ms = RECORDS_NOW_MS;
    job.n_labels = 1;
    job.labels = labels;
    if (key != NULL) {
        submit.idempotency_key = key;
        submit.body_digest = digest;
    }
    return job_record_submit(records, &submit, id_out, created_out, error);
}

void records_fixture_blob(struct records_fixture *fixture, const char *tenant, const char *text,
                          char digest[SHA256_HEX_SIZE])
{
    sha256_hex(text, strlen(text), digest);
    struct blob_row row = {.tenant = tenant, .digest = digest, .bytes = (int64_t)strlen(text)};
    CHECK(blob_record_put(fixture->records, &row, RECORDS_NOW_MS, NULL) == STATUS_OK);
}
