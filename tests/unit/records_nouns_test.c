/* SPDX-License-Identifier: Apache-2.0
 *
 * The smaller nouns: each keeps what it was given, and a tenant sees its own and what is shared.
 */
#include <string.h>

#include "proto/message.h"
#include "storage/records/blob_record.h"
#include "storage/records/dataset_record.h"
#include "storage/records/event_record.h"
#include "storage/records/model_record.h"
#include "storage/records/tenant_record.h"
#include "storage/records/worker_record.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

#define NEW(type) message_new(&fixture.arena, &api__##type##__descriptor)

static struct records_fixture fixture;
static struct error error;

TEST(a_tenant_has_quotas_and_one_name)
{
    Api__Tenant tenant = API__TENANT__INIT, *got;
    records_fixture_open(&fixture);
    EXPECT_I64(STATUS_CONFLICT, records_fixture_tenant(fixture.records, "acme", &error));
    EXPECT_STR("the tenant acme is there already", error.text);
    tenant.name = "acme";
    tenant.has_weight = tenant.has_queued_jobs_max = 1;
    tenant.weight = 2.5;
    tenant.queued_jobs_max = 300;
    EXPECT_I64(STATUS_OK, tenant_record_update(fixture.records, &tenant, &error));
    REQUIRE(tenant_record_get(fixture.records, SCOPE_TENANT("acme"), "acme", &fixture.arena, &got,
                              &error) == STATUS_OK);
    EXPECT_CLOSE(2.5, got->weight, 0);
    EXPECT_I64(300, got->queued_jobs_max);
    EXPECT(!got->has_bytes_max);
    EXPECT_I64(STATUS_NOT_FOUND, tenant_record_get(fixture.records, SCOPE_TENANT("acme"), "general",
                                                   &fixture.arena, &got, &error));
    tenant.name = "nobody";
    EXPECT_I64(STATUS_NOT_FOUND, tenant_record_update(fixture.records, &tenant, &error));
    records_fixture_close(&fixture);
}

static bool is_valid(const char *digest, int64_t now_ms)
{
    Api__Token *token;
    return token_record_find(fixture.records, digest, now_ms, &fixture.arena, &token, &error) ==
           STATUS_OK;
}

TEST(a_token_is_known_by_its_digest_until_it_ends)
{
    Api__Token token = API__TOKEN__INIT;
    int64_t id;
    records_fixture_open(&fixture);
    token.tenant = "acme";
    token.name = "ci";
    token.has_role = token.has_created_ms = token.has_expires_ms = 1;
    token.role = API__ROLE__ROLE_SUBMITTER;
    token.expires_ms = 1000;
    REQUIRE(token_record_insert(fixture.records, &token, "aaa", &id, &error) == STATUS_OK);
    EXPECT(is_valid("aaa", 999));
    EXPECT(!is_valid("aaa", 1000));
    EXPECT_STR("this token is not valid", error.text);
    EXPECT(!is_valid("bbb", 0));
    EXPECT_I64(STATUS_NOT_FOUND, token_record_rotate(fixture.records, SCOPE_TENANT("general"), id,
                                                     "bbb", 500, &error));
    REQUIRE(token_record_rotate(fixture.records, SCOPE_TENANT("acme"), id, "bbb", 500, &error) ==
            STATUS_OK);
    EXPECT(is_valid("bbb", 600));
    EXPECT(is_valid("aaa", 499));
    EXPECT(!is_valid("aaa", 500));
    EXPECT_I64(STATUS_NOT_FOUND,
               token_record_revoke(fixture.records, SCOPE_TENANT("general"), id, 100, &error));
    REQUIRE(token_record_revoke(fixture.records, SCOPE_ALL, id, 100, &error) == STATUS_OK);
    EXPECT(!is_valid("bbb", 101));
    EXPECT(!is_valid("aaa", 101));
    Api__TokenList *list = NEW(token_list);
    EXPECT_I64(STATUS_OK, token_record_list(fixture.records, SCOPE_TENANT("general"),
                                            &fixture.arena, list, &error));
    EXPECT_I64(0, (int64_t)list->n_tokens);
    records_fixture_close(&fixture);
}

/* ---- models ---- */
static int64_t add_version(const char *tenant, const char *model, const char *parent)
{
    Api__ModelVersion version = API__MODEL_VERSION__INIT;
    char digest[SHA256_HEX_SIZE];
    int64_t number = 0;
    records_fixture_blob(&fixture, tenant, model, digest);
    version.tenant = (char *)tenant;
    version.model = (char *)model;
    version.manifest = digest;
    version.parent = (char *)parent;
    version.has_created_ms = 1;
    if (model_record_add_version(fixture.records, &version, &number, &error) != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
    return number;
}

/* The number of the version that `text` means to `scope`, or 0. */
static int64_t resolve(struct scope scope, Api__ShareRight need, const char *text)
{
    struct reference reference;
    Api__ModelVersion *version;
    if (reference_parse(text, &reference, &error) != STATUS_OK ||
        model_record_version(fixture.records, scope, need, &reference, &fixture.arena, &version,
                             &error) != STATUS_OK)
        return 0;
    return version->version;
}

static enum status move_alias(struct scope scope, const char *alias, int64_t version)
{
    Api__Alias row = API__ALIAS__INIT;
    row.name = (char *)alias;
    row.has_version = row.has_moved_ms = 1;
    row.version = version;
    row.by = "tester";
    return model_record_move_alias(fixture.records, scope, "general", "hh", &row, &error);
}

TEST(a_model_has_versions_and_aliases_that_move)
{
    Api__ShareRight read = API__SHARE_RIGHT__SHARE_RIGHT_READ;
    records_fixture_open(&fixture);
    EXPECT_I64(1, add_version("general", "hh", NULL));
    EXPECT_I64(2, add_version("general", "hh", NULL));
    EXPECT_I64(2, resolve(SCOPE_ALL, read, "general/hh"));
    EXPECT_I64(1, resolve(SCOPE_ALL, read, "general/hh@v1"));
    EXPECT_I64(0, resolve(SCOPE_ALL, read, "general/hh@3"));
    EXPECT_STR("there is no model general/hh@3", error.text);
    EXPECT_I64(0, resolve(SCOPE_ALL, read, "general/hh@prod"));
    EXPECT_I64(STATUS_OK, move_alias(SCOPE_ALL, "prod", 1));
    EXPECT_I64(1, resolve(SCOPE_ALL, read, "general/hh@prod"));
    EXPECT_I64(STATUS_OK, move_alias(SCOPE_TENANT("general"), "prod", 2));
    EXPECT_I64(2, resolve(SCOPE_ALL, read, "general/hh@prod"));
    EXPECT_I64(STATUS_NOT_FOUND, move_alias(SCOPE_ALL, "prod", 3));
    EXPECT_I64(STATUS_NOT_FOUND, move_alias(SCOPE_TENANT("acme"), "prod", 1));
    EXPECT_I64(2, resolve(SCOPE_ALL, read, "general/hh@prod"));
    Api__AliasMoveList *moves = NEW(alias_move_list);
    EXPECT_I64(STATUS_OK, model_record_history(fixture.records, SCOPE_TENANT("general"), "general",
                                               "hh", &fixture.arena, moves, &error));
    REQUIRE(moves->n_moves == 2);
    EXPECT_I64(2, moves->moves[0]->version);
    records_fixture_close(&fixture);
}

static void share(Api__ObjectKind kind, const char *name, const char *grantee,
                  Api__ShareRight right)
{
    Api__Share row = API__SHARE__INIT;
    row.tenant = "general";
    row.name = (char *)name;
    row.grantee = (char *)grantee;
    row.has_kind = row.has_right = row.has_created_ms = 1;
    row.kind = kind;
    row.right = right;
    EXPECT_I64(STATUS_OK, share_record_put(fixture.records, &row, &error));
}

static int64_t models_seen(struct scope scope)
{
    Api__ModelList *list = NEW(model_list);
    EXPECT_I64(STATUS_OK, model_record_list(fixture.records, scope, "general", 0, 10,
                                            &fixture.arena, list, &error));
    return (int64_t)list->n_models;
}

TEST(a_shared_model_may_be_used_without_being_listed)
{
    Api__ShareRight use = API__SHARE_RIGHT__SHARE_RIGHT_USE;
    Api__ShareRight read = API__SHARE_RIGHT__SHARE_RIGHT_READ;
    struct scope acme = SCOPE_TENANT("acme");
    int right;
    records_fixture_open(&fixture);
    REQUIRE(records_fixture_tenant(fixture.records, "other", &error) == STATUS_OK);
    add_version("general", "hh", NULL);
    add_version("general", "secret", NULL);
    EXPECT_I64(0, resolve(acme, use, "general/hh"));
    EXPECT_STR("there is no model general/hh", error.text);
    share(API__OBJECT_KIND__OBJECT_KIND_MODEL, "hh", "acme", use);
    EXPECT_I64(1, resolve(acme, use, "general/hh"));
    EXPECT_I64(0, resolve(acme, read, "general/hh"));
    EXPECT_I64(0, models_seen(acme));
    EXPECT_I64(0, resolve(SCOPE_TENANT("other"), use, "general/hh"));
    share(API__OBJECT_KIND__OBJECT_KIND_MODEL, "hh", "*", read);
    EXPECT_I64(1, resolve(SCOPE_TENANT("other"), read, "general/hh"));
    EXPECT_I64(1, models_seen(acme));
    EXPECT_I64(2, models_seen(SCOPE_TENANT("general")));
    EXPECT_I64(0, resolve(acme, use, "general/secret"));
    EXPECT_I64(STATUS_OK,
               share_record_right(fixture.records, "general", API__OBJECT_KIND__OBJECT_KIND_MODEL,
                                  "hh", "acme", &right, &error));
    EXPECT_I64(read, right);
    EXPECT_I64(STATUS_OK,
               share_record_right(fixture.records, "general", API__OBJECT_KIND__OBJECT_KIND_DATASET,
                                  "hh", "acme", &right, &error));
    EXPECT_I64(0, right);
    records_fixture_close(&fixture);
}

static enum status remove_model(struct scope scope, const char *tenant, const char *name,
                                int64_t *referrers_out)
{
    Api__ReferrerList *list = NEW(referrer_list);
    enum status status =
        model_record_remove(fixture.records, scope, tenant, name, &fixture.arena, list, &error);
    *referrers_out = (int64_t)list->n_referrers;
    return status;
}

TEST(what_is_referred_to_is_not_removed_and_what_is_removed_is_gone)
{
    int64_t referrers;
    records_fixture_open(&fixture);
    add_version("general", "hh", NULL);
    add_version("general", "hh2", NULL);
    add_version("acme", "support", "general/hh@1");
    EXPECT_I64(STATUS_OK, move_alias(SCOPE_ALL, "prod", 1));
    EXPECT_I64(STATUS_CONFLICT, remove_model(SCOPE_ALL, "general", "hh", &referrers));
    EXPECT_STR("general/hh is in use: model acme/support@1", error.text);
    EXPECT_I64(1, referrers);
    EXPECT_I64(STATUS_CONFLICT, remove_model(SCOPE_TENANT("general"), "general", "hh", &referrers));
    EXPECT_STR("general/hh is in use: a model of another tenant", error.text);
    EXPECT_I64(STATUS_NOT_FOUND, remove_model(SCOPE_TENANT("acme"), "general", "hh", &referrers));
    EXPECT_I64(STATUS_OK, remove_model(SCOPE_TENANT("acme"), "acme", "support", &referrers));
    EXPECT_I64(STATUS_OK, remove_model(SCOPE_ALL, "general", "hh", &referrers));
    EXPECT_I64(0, resolve(SCOPE_ALL, API__SHARE_RIGHT__SHARE_RIGHT_USE, "general/hh"));
    EXPECT_I64(1, resolve(SCOPE_ALL, API__SHARE_RIGHT__SHARE_RIGHT_USE, "general/hh2"));
    EXPECT_I64(STATUS_OK, records_commit(fixture.records, &error));
    EXPECT_I64(STATUS_OK, records_check(fixture.records, &error));
    records_fixture_close(&fixture);
}

/* ---- datasets, bases ---- */
TEST(a_dataset_grows_by_versions_and_stays_while_a_job_reads_it)
{
    Api__Dataset dataset = API__DATASET__INIT, *got;
    Api__Job job = API__JOB__INIT;
    struct job_input input = {.kind = API__OBJECT_KIND__OBJECT_KIND_DATASET,
                              .object = {.tenant = "acme", .name = "tickets", .version = 2}};
    struct job_submit submit = {.job = &job, .inputs = &input, .input_count = 1};
    Api__ShareRight read = API__SHARE_RIGHT__SHARE_RIGHT_READ;
    int64_t version, id;
    bool created;
    records_fixture_open(&fixture);
    dataset.tenant = "acme";
    dataset.name = "tickets";
    dataset.digest = "d";
    dataset.has_state = dataset.has_created_ms = dataset.has_version = 1;
    dataset.state = API__DATASET_STATE__DATASET_STATE_ADMITTING;
    for (int64_t i = 1; i <= 2; i++) {
        REQUIRE(dataset_record_insert(fixture.records, &dataset, &version, &error) == STATUS_OK);
        EXPECT_I64(i, version);
    }
    dataset.version = 1;
    dataset.state = API__DATASET_STATE__DATASET_STATE_REJECTED;
    dataset.message = "line 7: no chosen";
    EXPECT_I64(STATUS_OK, dataset_record_update(fixture.records, &dataset, &error));
    REQUIRE(dataset_record_get(fixture.records, SCOPE_TENANT("acme"), read, "acme", "tickets", 1,
                               &fixture.arena, &got, &error) == STATUS_OK);
    EXPECT_STR("line 7: no chosen", got->message);
    REQUIRE(dataset_record_get(fixture.records, SCOPE_TENANT("acme"), read, "acme", "tickets", 0,
                               &fixture.arena, &got, &error) == STATUS_OK);
    EXPECT_I64(2, got->version);
    EXPECT_I64(STATUS_NOT_FOUND,
               dataset_record_get(fixture.records, SCOPE_TENANT("general"), read, "acme", "tickets",
                                  0, &fixture.arena, &got, &error));
    Api__DatasetList *list = NEW(dataset_list);
    EXPECT_I64(STATUS_OK, dataset_record_list(fixture.records, SCOPE_TENANT("acme"), "acme", 0, 10,
                                              &fixture.arena, list, &error));
    EXPECT_I64(1, (int64_t)list->n_datasets);
    job.tenant = "acme";
    job.spec = "{}";
    job.spec_digest = "0";
    job.has_stage = job.has_created_ms = 1;
    job.stage = API__STAGE__STAGE_CUSTOMIZE;
    REQUIRE(job_record_submit(fixture.records, &submit, &id, &created, &error) == STATUS_OK);
    Api__ReferrerList *referrers = NEW(referrer_list);
    EXPECT_I64(STATUS_CONFLICT,
               dataset_record_remove(fixture.records, SCOPE_TENANT("acme"), "acme", "tickets",
                                     &fixture.arena, referrers, &error));
    EXPECT_STR("the dataset tickets is in use: job j-1", error.text);
    EXPECT_I64(STATUS_NOT_FOUND,
               dataset_record_remove(fixture.records, SCOPE_TENANT("general"), "acme", "tickets",
                                     &fixture.arena, NEW(referrer_list), &error));
    records_fixture_close(&fixture);
}

TEST(a_base_is_of_the_whole_cluster)
{
    Api__Base base = API__BASE__INIT, *got;
    int64_t id;
    records_fixture_open(&fixture);
    base.name = "smollm2-135m";
    base.has_state = base.has_created_ms = base.has_parameters = 1;
    base.state = API__BASE_STATE__BASE_STATE_READY;
    base.parameters = 134515008;
    EXPECT_I64(STATUS_OK, base_record_insert(fixture.records, &base, &id, &error));
    EXPECT_I64(STATUS_CONFLICT, base_record_insert(fixture.records, &base, &id, &error));
    REQUIRE(base_record_get(fixture.records, "smollm2-135m", &fixture.arena, &got, &error) ==
            STATUS_OK);
    EXPECT_I64(134515008, got->parameters);
    EXPECT_I64(STATUS_OK, base_record_remove(fixture.records, "smollm2-135m", &fixture.arena,
                                             NEW(referrer_list), &error));
    EXPECT_I64(STATUS_NOT_FOUND,
               base_record_get(fixture.records, "smollm2-135m", &fixture.arena, &got, &error));
    records_fixture_close(&fixture);
}

/* How many blobs are garbage. */
static int garbage(int64_t now_ms)
{
    struct blob_row *rows;
    int count = -1;
    EXPECT_I64(STATUS_OK, blob_record_garbage(fixture.records, now_ms, now_ms - 10, 100,
                                              &fixture.arena, &rows, &count, &error));
    return count;
}

/* A base that the job j-1 makes of acme's blob "gguf". */
static Api__Base *import_begin(const struct job_input *input)
{
    Api__Base *base = NEW(base);
    Api__Job job = API__JOB__INIT;
    struct job_submit submit = {.job = &job, .inputs = input, .input_count = 1};
    bool created;
    int64_t id;
    base->name = "smollm2";
    base->has_state = base->has_created_ms = 1;
    base->state = API__BASE_STATE__BASE_STATE_IMPORTING;
    EXPECT_I64(STATUS_OK,
               base_record_keep_source(fixture.records, "smollm2", "acme", "gguf", &error));
    EXPECT_I64(STATUS_OK, base_record_insert(fixture.records, base, &id, &error));
    job.tenant = "acme";
    job.spec = "{}";
    job.spec_digest = "0";
    job.has_stage = job.has_created_ms = 1;
    job.stage = API__STAGE__STAGE_IMPORT;
    EXPECT_I64(STATUS_OK, job_record_submit(fixture.records, &submit, &id, &created, &error));
    base->has_job_id = true;
    base->job_id = id;
    return base;
}

TEST(a_base_is_judged_by_the_job_that_makes_it_once_and_gives_its_name_away_when_rejected)
{
    const struct blob_row file = {"acme", "gguf", 7};
    struct job_input input = {.kind = API__OBJECT_KIND__OBJECT_KIND_BASE,
                              .object = {.name = "smollm2"}};
    Api__Base *got;
    int64_t id;
    records_fixture_open(&fixture);
    EXPECT_I64(STATUS_OK, blob_record_put(fixture.records, &file, 100, &error));
    EXPECT_I64(1, garbage(1000));
    Api__Base *base = import_begin(&input);
    EXPECT_I64(0, garbage(1000)); /* the file is kept for the job */
    EXPECT_I64(STATUS_CONFLICT, base_record_insert(fixture.records, base, &id, &error));
    base->state = API__BASE_STATE__BASE_STATE_REJECTED;
    base->message = "no GGUF file";
    EXPECT_I64(STATUS_OK, base_record_judge(fixture.records, base, &error));
    EXPECT_I64(1, garbage(1000));
    base->state = API__BASE_STATE__BASE_STATE_READY; /* too late */
    EXPECT_I64(STATUS_OK, base_record_judge(fixture.records, base, &error));
    REQUIRE(base_record_get(fixture.records, "smollm2", &fixture.arena, &got, &error) == STATUS_OK);
    EXPECT_I64(API__BASE_STATE__BASE_STATE_REJECTED, got->state);
    EXPECT_STR("no GGUF file", got->message);
    EXPECT_I64(STATUS_OK, base_record_insert(fixture.records, base, &id, &error));
    records_fixture_close(&fixture);
}

/* ---- blobs ---- */
TEST(garbage_is_what_is_old_and_nothing_leads_to)
{
    char manifest[SHA256_HEX_SIZE], part[SHA256_HEX_SIZE], lost[SHA256_HEX_SIZE];
    int64_t later = RECORDS_NOW_MS + 1000, number, referrers;
    bool removed;
    records_fixture_open(&fixture);
    number = add_version("acme", "support", NULL); /* its manifest is a blob of "support" */
    EXPECT_I64(1, number);
    sha256_hex("support", 7, manifest);
    records_fixture_blob(&fixture, "acme", "weights", part);
    records_fixture_blob(&fixture, "acme", "lost", lost);
    records_fixture_blob(&fixture, "general", "weights", part); /* the same bytes of another */
    const char *parts[] = {part};
    EXPECT_I64(STATUS_OK,
               blob_record_put_parts(fixture.records, "acme", manifest, parts, 1, &error));
    EXPECT_I64(STATUS_NOT_FOUND, blob_record_put_parts(fixture.records, "acme", part,
                                                       (const char *[]){"none"}, 1, &error));
    EXPECT_I64(0, garbage(RECORDS_NOW_MS + 5)); /* young */
    EXPECT_I64(2, garbage(later));
    EXPECT_I64(STATUS_OK,
               blob_record_pin(fixture.records, "acme", lost, "j-1", later + 50, &error));
    EXPECT_I64(1, garbage(later));
    EXPECT_I64(2, garbage(later + 51)); /* the pin has run out */
    EXPECT_I64(STATUS_OK,
               blob_record_remove(fixture.records, "acme", lost, later, later, &removed, &error));
    EXPECT(!removed);
    EXPECT_I64(STATUS_OK, blob_record_unpin(fixture.records, "j-1", &error));
    EXPECT_I64(STATUS_OK,
               blob_record_remove(fixture.records, "acme", lost, later, later, &removed, &error));
    EXPECT(removed);
    EXPECT_I64(STATUS_OK,
               blob_record_remove(fixture.records, "acme", part, later, later, &removed, &error));
    EXPECT(!removed); /* a part of a live manifest */
    EXPECT_I64(STATUS_OK, remove_model(SCOPE_ALL, "acme", "support", &referrers));
    EXPECT_I64(3, garbage(later));
    records_fixture_close(&fixture);
}

TEST(what_a_removed_model_named_is_garbage_at_once_and_gone_if_nobody_else_has_it)
{
    char manifest[SHA256_HEX_SIZE], part[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
    int64_t now_ms = RECORDS_NOW_MS + 5, referrers; /* everything is young */
    struct blob_row rows[2] = {{"acme", part, 7}, {"acme", manifest, 7}};
    bool removed;
    int count = 2;
    records_fixture_open(&fixture);
    EXPECT_I64(1, add_version("acme", "support", NULL));
    sha256_hex("support", 7, manifest);
    records_fixture_blob(&fixture, "acme", "weights", part);
    records_fixture_blob(&fixture, "acme", "an upload that waits to be named", other);
    records_fixture_blob(&fixture, "general", "weights", other); /* the same bytes of another */
    EXPECT_I64(STATUS_OK, blob_record_put_parts(fixture.records, "acme", manifest,
                                                (const char *[]){part}, 1, &error));
    EXPECT_I64(STATUS_OK, remove_model(SCOPE_ALL, "acme", "support", &referrers));
    EXPECT_I64(2, garbage(now_ms));
    for (int i = 0; i < 2; i++) {
        EXPECT_I64(STATUS_OK, blob_record_remove(fixture.records, "acme", rows[i].digest, now_ms,
                                                 now_ms - 10, &removed, &error));
        EXPECT(removed);
    }
    EXPECT_I64(STATUS_OK, blob_record_gone(fixture.records, rows, &count, &error));
    EXPECT_I64(1, count);
    EXPECT_STR(manifest, rows[0].digest);
    records_fixture_close(&fixture);
}

/* ---- usage, workers, queues, audit ---- */
static void use(const char *tenant, int64_t begin_ms, int64_t slot_ms)
{
    Api__Usage usage = API__USAGE__INIT;
    usage.tenant = (char *)tenant;
    usage.has_begin_ms = usage.has_end_ms = usage.has_slot_ms = 1;
    usage.begin_ms = begin_ms;
    usage.end_ms = begin_ms + 100;
    usage.slot_ms = slot_ms;
    EXPECT_I64(STATUS_OK, usage_record_add(fixture.records, &usage, &error));
}

TEST(usage_adds_up_to_the_capacity_idle_included)
{
    records_fixture_open(&fixture);
    use("acme", 0, 30);
    use("acme", 0, 20);
    use("general", 100, 60);
    use(NULL, 0, 90);
    use("acme", 5000, 7);
    Api__UsageList *list = NEW(usage_list);
    REQUIRE(usage_record_sum(fixture.records, SCOPE_ALL, 0, 1000, &fixture.arena, list, &error) ==
            STATUS_OK);
    REQUIRE(list->n_rows == 3);
    EXPECT(list->rows[0]->tenant == NULL);
    EXPECT_I64(90, list->rows[0]->slot_ms);
    EXPECT_I64(50, list->rows[1]->slot_ms);
    EXPECT_I64(200, list->capacity_slot_ms);
    list = NEW(usage_list);
    EXPECT_I64(STATUS_OK, usage_record_sum(fixture.records, SCOPE_TENANT("general"), 0, 1000,
                                           &fixture.arena, list, &error));
    REQUIRE(list->n_rows == 1);
    EXPECT_STR("general", list->rows[0]->tenant);
    records_fixture_close(&fixture);
}

TEST(a_worker_is_its_key)
{
    Api__Worker worker = API__WORKER__INIT, *got;
    Api__Label label = API__LABEL__INIT, *labels[] = {&label};
    int64_t id, again, other;
    records_fixture_open(&fixture);
    label.key = "rack";
    label.value = "7";
    worker.name = "host-1";
    worker.public_key = "key-1";
    worker.has_created_ms = worker.has_slots = 1;
    worker.slots = 4;
    worker.n_labels = 1;
    worker.labels = labels;
    EXPECT_I64(STATUS_OK, worker_record_put(fixture.records, &worker, &id, &error));
    worker.slots = 8;
    EXPECT_I64(STATUS_OK, worker_record_put(fixture.records, &worker, &again, &error));
    EXPECT_I64(id, again);
    worker.public_key = "key-2";
    EXPECT_I64(STATUS_OK, worker_record_put(fixture.records, &worker, &other, &error));
    EXPECT(other != id);
    EXPECT_I64(STATUS_OK, worker_record_state(fixture.records, id,
                                              API__WORKER_STATE__WORKER_STATE_DRAINING, 5, &error));
    REQUIRE(worker_record_get(fixture.records, id, &fixture.arena, &got, &error) == STATUS_OK);
    EXPECT_I64(8, got->slots);
    EXPECT_I64(API__WORKER_STATE__WORKER_STATE_DRAINING, got->state);
    EXPECT_I64(1, (int64_t)got->n_labels);
    EXPECT_I64(STATUS_OK, worker_record_forget(fixture.records, id, &error));
    EXPECT_I64(STATUS_NOT_FOUND, worker_record_forget(fixture.records, id, &error));
    worker.public_key = "key-3";
    EXPECT_I64(STATUS_OK, worker_record_put(fixture.records, &worker, &again, &error));
    EXPECT(again > other); /* an id is never given away again */
    records_fixture_close(&fixture);
}

TEST(a_queue_counts_its_jobs)
{
    Api__Queue queue = API__QUEUE__INIT;
    int64_t id;
    bool created;
    records_fixture_open(&fixture);
    queue.name = "night";
    queue.has_priority = queue.has_paused = 1;
    queue.priority = 5;
    queue.paused = 1;
    EXPECT_I64(STATUS_OK, queue_record_put(fixture.records, &queue, &error));
    REQUIRE(records_fixture_submit(fixture.records, "acme", NULL, "{}", &id, &created, &error) ==
            STATUS_OK);
    Api__QueueList *list = NEW(queue_list);
    EXPECT_I64(STATUS_OK, queue_record_list(fixture.records, &fixture.arena, list, &error));
    REQUIRE(list->n_queues == 2);
    EXPECT_STR("night", list->queues[0]->name);
    EXPECT(list->queues[0]->paused);
    EXPECT_I64(0, list->queues[0]->pending);
    EXPECT_I64(1, list->queues[1]->pending);
    records_fixture_close(&fixture);
}

TEST(events_and_the_audit_are_read_from_a_cursor_by_those_they_concern)
{
    Api__AuditEntry entry = API__AUDIT_ENTRY__INIT;
    int64_t removed, cut, newest;
    records_fixture_open(&fixture);
    for (int i = 0; i < 5; i++)
        EXPECT_I64(STATUS_OK, event_record_job(fixture.records, i, i % 2 ? "general" : "acme", 1, 1,
                                               "finding", "score follows length", &error));
    Api__EventList *events = NEW(event_list);
    EXPECT_I64(STATUS_OK, event_record_list(fixture.records, SCOPE_TENANT("acme"), 0, 0, 2,
                                            &fixture.arena, events, &error));
    REQUIRE(events->n_events == 2);
    EXPECT_I64(3, events->next);
    events = NEW(event_list);
    EXPECT_I64(STATUS_OK, event_record_list(fixture.records, SCOPE_TENANT("acme"), 0, 3, 10,
                                            &fixture.arena, events, &error));
    REQUIRE(events->n_events == 1);
    EXPECT_I64(5, events->next);
    EXPECT_I64(STATUS_OK, event_record_expire(fixture.records, 3, &removed, &error));
    EXPECT_I64(3, removed);
    EXPECT_I64(STATUS_OK, event_record_bounds(fixture.records, &cut, &newest, &error));
    EXPECT_I64(3, cut);
    EXPECT_I64(5, newest);
    EXPECT_I64(STATUS_OK, event_record_expire(fixture.records, 0, &removed, &error));
    EXPECT_I64(STATUS_OK, event_record_bounds(fixture.records, &cut, &newest, &error));
    EXPECT_I64(3, cut); /* what was cut stays cut */
    entry.has_time_ms = 1;
    entry.actor = "root";
    entry.action = "TENANT_CREATE";
    entry.result = "ok";
    EXPECT_I64(STATUS_OK, audit_record_insert(fixture.records, &entry, &error));
    Api__AuditList *audit = NEW(audit_list);
    EXPECT_I64(STATUS_OK,
               audit_record_list(fixture.records, SCOPE_ALL, 0, 10, &fixture.arena, audit, &error));
    EXPECT_I64(1, (int64_t)audit->n_entries);
    audit = NEW(audit_list);
    EXPECT_I64(STATUS_OK, audit_record_list(fixture.records, SCOPE_TENANT("acme"), 0, 10,
                                            &fixture.arena, audit, &error));
    EXPECT_I64(0, (int64_t)audit->n_entries);
    records_fixture_close(&fixture);
}

TEST_MAIN()
