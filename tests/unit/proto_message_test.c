/* SPDX-License-Identifier: Apache-2.0
 *
 * message: what passes may be trusted, what does not says where it is wrong; and the .proto files
 * keep to their own rules.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/limits.h"
#include "proto/api.pb-c.h"
#include "proto/message_json.h"
#include "proto/message_types.h"
#include "proto/worker.pb-c.h"
#include "proto/worker_message.h"
#include "tests/test.h"

static struct arena arena;

/* ---- the rules of api.proto ---- */
static void expect_rule(const ProtobufCMessageDescriptor *type,
                        const ProtobufCFieldDescriptor *field)
{
    const struct field_rule *rule = field_rule_find(type, field);
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    bool text = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES;
    if ((repeated || text) && rule == NULL)
        test_fail(__FILE__, __LINE__, "%s.%s has no row in field_rules.def", type->short_name,
                  field->name);
    if (rule == NULL)
        return;
    if (repeated && rule->count_max < 1)
        test_fail(__FILE__, __LINE__, "%s.%s: how many?", type->short_name, field->name);
    bool text_rule = rule->format >= FIELD_FORMAT_NAME && rule->format <= FIELD_FORMAT_BYTES;
    bool number = field->type == PROTOBUF_C_TYPE_INT64 || field->type == PROTOBUF_C_TYPE_DOUBLE;
    bool number_rule = rule->format >= FIELD_FORMAT_NUMBER;
    if (text != text_rule || number != number_rule)
        test_fail(__FILE__, __LINE__, "%s.%s: its rule is not for its type", type->short_name,
                  field->name);
    if (text && rule->max < 1)
        test_fail(__FILE__, __LINE__, "%s.%s: how long?", type->short_name, field->name);
}

static void expect_lawful(const ProtobufCMessageDescriptor *type, void *argument)
{
    int *count = argument;
    ++*count;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool known =
            field->type == PROTOBUF_C_TYPE_INT64 || field->type == PROTOBUF_C_TYPE_DOUBLE ||
            field->type == PROTOBUF_C_TYPE_BOOL || field->type == PROTOBUF_C_TYPE_STRING ||
            field->type == PROTOBUF_C_TYPE_ENUM || field->type == PROTOBUF_C_TYPE_MESSAGE ||
            (field->type == PROTOBUF_C_TYPE_BYTES && strcmp(type->package_name, "wire") == 0);
        if (!known || field->label == PROTOBUF_C_LABEL_REQUIRED ||
            (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || field->default_value != NULL)
            test_fail(__FILE__, __LINE__, "%s.%s is of a kind that api.proto forbids",
                      type->short_name, field->name);
        expect_rule(type, field);
        const ProtobufCEnumDescriptor *choices = field->descriptor;
        if (field->type == PROTOBUF_C_TYPE_ENUM &&
            (choices->values[0].value != 0 ||
             strstr(choices->values[0].name, "_UNSPECIFIED") == NULL))
            test_fail(__FILE__, __LINE__, "%s: 0 must be UNSPECIFIED", choices->short_name);
    }
}

TEST(the_descriptors_keep_to_the_rules_and_do_not_recurse)
{
    int count = 0;
    message_types_each(expect_lawful, &count);
    EXPECT(count > 80);
}

/* ---- JSON ---- */
TEST(a_job_is_written_as_people_read_it_and_read_back)
{
    static const char text[] =
        "{\"id\":\"j-17\",\"tenant\":\"acme\",\"state\":\"running\",\"created_ms\":1700000000123,"
        "\"labels\":{\"team\":\"support\",\"tier\":\"<script>\"},\"spec\":{\"stage\":\"lm\",\"x\":["
        "1,2.5]},"
        "\"preemptible\":true}";
    struct buf again = {0};
    struct error error = {0};
    Api__Job *job;
    REQUIRE(message_from_json(&arena, &api__job__descriptor, text, strlen(text), &job, &error) ==
            STATUS_OK);
    EXPECT_I64(17, job->id);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_RUNNING, job->state);
    EXPECT_I64(2, (int64_t)job->n_labels);
    EXPECT_STR("support", job->labels[0]->value);
    EXPECT_STR("{\"stage\":\"lm\",\"x\":[1,2.5]}", job->spec);
    EXPECT(!job->has_priority);
    message_to_json(&job->base, &again);
    EXPECT_STR(text, again.data);
    buf_release(&again);
    arena_release(&arena);
}

TEST(numbers_are_taken_in_every_exact_form_and_in_no_other)
{
    static const char *const good[] = {"7", "\"7\"", "7.0", "7e0"};
    static const char *const bad[] = {"7.5", "\"0x7\"", "\"\"",   "1e30",  "true",
                                      "[7]", "-8000",   "\"7 \"", "99999", "9223372036854775808"};
    char text[128];
    Api__Job *job;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "{\"priority\":%s}", good[i]);
        REQUIRE(message_from_json(&arena, &api__job__descriptor, text, strlen(text), &job, NULL) ==
                STATUS_OK);
        EXPECT_I64(7, job->priority);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "{\"priority\":%s}", bad[i]);
        if (message_from_json(&arena, &api__job__descriptor, text, strlen(text), &job, NULL) ==
            STATUS_OK)
            test_fail(__FILE__, __LINE__, "priority: %s was taken as %ld", bad[i],
                      (long)job->priority);
    }
    arena_release(&arena);
}

TEST(bad_json_says_what_and_where)
{
    static const struct {
        const char *text, *sentence;
    } bad[] = {
        {"", "body"},
        {"[]", "expected an object"},
        {"{\"tennant\":\"a\"}", "unknown field \"tennant\"; did you mean \"tenant\"?"},
        {"{\"tenant\":\"a\",\"tenant\":\"b\"}", "duplicate key \"tenant\""},
        {"{\"tenant\":\"a\"", "body"},
        {"{\"tenant\":\"A/..\"}", "tenant: \"A/..\" is no name"},
        {"{\"tenant\":7}", "tenant: expected a text"},
        {"{\"tenant\":\"a\\u0000b\"}", "body"},
        {"{\"state\":\"unspecified\"}", "state: \"unspecified\" is none of"},
        {"{\"labels\":{\"Team\":\"x\"}}", "labels[0].key: \"Team\" is no name"},
        {"{\"labels\":{\"team\":\"a\\u202eb\"}}", "labels[0].value:"},
        {"{\"labels\":[]}", "labels: expected an object"},
        {"{\"spec\":[1]}", "spec: expected a JSON object"},
        {"{\"waiting_detail\":\"a\\nb\"}", "waiting_detail: \"a b\" has control characters"},
        {"{\"spec_digest\":\"abc\"}", "spec_digest: 3 bytes; expected 64 to 64"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        Api__Job *job;
        EXPECT(message_from_json(&arena, &api__job__descriptor, bad[i].text, strlen(bad[i].text),
                                 &job, &error) != STATUS_OK);
        EXPECT_CONTAINS(bad[i].sentence, error.text);
    }
    arena_release(&arena);
}

TEST(a_million_values_are_refused_before_a_tree_of_them_is_built)
{
    size_t size = 2 * MIB;
    char *text = malloc(size + 1);
    REQUIRE(text != NULL);
    for (size_t i = 0; i < size; i += 4)
        memcpy(text + i, i == 0 ? "   [" : "[],,", 4);
    text[size] = '\0';
    struct error error = {0};
    Api__Job *job;
    EXPECT_I64(STATUS_LIMIT,
               message_from_json(&arena, &api__job__descriptor, text, size, &job, &error));
    EXPECT_CONTAINS("more than 100000 JSON values", error.text);
    memset(text, '[', 10000);
    EXPECT_I64(STATUS_FORMAT,
               message_from_json(&arena, &api__job__descriptor, text, 10000, &job, &error));
    free(text);
    arena_release(&arena);
}

/* ---- the wire ---- */
static void pack_report(struct buf *out, const char *numerics)
{
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    stamp.has_job = stamp.has_term = stamp.has_sequence = 1;
    stamp.job = 17, stamp.term = 2, stamp.sequence = 9;
    report.stamp = &stamp;
    report.has_state = 1;
    report.state = API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING;
    report.numerics = (char *)numerics;
    worker_message_pack(WORKER_ATTEMPT_REPORT, &report, out);
}

TEST(a_message_comes_back_as_it_was_sent)
{
    struct buf bytes = {0};
    const struct worker_message *row;
    Wire__AttemptReport *report;
    struct error error = {0};
    pack_report(&bytes, "avx2-fp32");
    REQUIRE(worker_message_unpack(&arena, WORKER_FROM_WORKER, bytes.data, bytes.length, &row,
                                  &report, &error) == STATUS_OK);
    EXPECT_I64(WORKER_ATTEMPT_REPORT, row->id);
    EXPECT_I64(17, report->stamp->job);
    EXPECT_I64(9, report->stamp->sequence);
    EXPECT_STR("avx2-fp32", report->numerics);
    buf_release(&bytes);
    arena_release(&arena);
}

static void expect_refused(enum status expected, enum worker_peer from, const void *bytes,
                           size_t length, const char *sentence, int line)
{
    const struct worker_message *row;
    struct error error = {0};
    void *message = NULL;
    enum status status = worker_message_unpack(&arena, from, bytes, length, &row, &message, &error);
    if (status != expected || strstr(error.text, sentence) == NULL)
        test_fail(__FILE__, line, "expected status %d \"%s\", got %d \"%s\"", expected, sentence,
                  status, error.text);
}

TEST(bytes_that_are_no_message_are_refused)
{
    struct buf bytes = {0};
    pack_report(&bytes, "a\nb");
    expect_refused(STATUS_USAGE, WORKER_FROM_WORKER, bytes.data, bytes.length, "numerics",
                   __LINE__);
    expect_refused(STATUS_DENIED, WORKER_FROM_COORDINATOR, bytes.data, bytes.length,
                   "not this peer's", __LINE__);
    expect_refused(STATUS_FORMAT, WORKER_FROM_WORKER, bytes.data, bytes.length - 1,
                   "no message AttemptReport", __LINE__);
    expect_refused(STATUS_FORMAT, WORKER_FROM_WORKER, bytes.data, 3, "no message", __LINE__);
    bytes.data[2] = 9;
    expect_refused(STATUS_FORMAT, WORKER_FROM_WORKER, bytes.data, bytes.length, "wire format 9",
                   __LINE__);
    expect_refused(STATUS_FORMAT, WORKER_FROM_WORKER, "TW\1\xc8", 4, "number 200", __LINE__);
    expect_refused(STATUS_FORMAT, WORKER_FROM_WORKER, "GET / HTTP/1.1\r\n", 16, "no message",
                   __LINE__);
    expect_refused(STATUS_USAGE, WORKER_FROM_WORKER, "TW\1\x14", 4, "stamp", __LINE__);
    /* failure_message, field 7, that is not UTF-8 */
    expect_refused(STATUS_USAGE, WORKER_FROM_WORKER, "TW\1\x14\x3a\x02\xc3\x28", 8,
                   "not valid UTF-8 at byte 0", __LINE__);
    /* an enum that is none: field 2, value 99 */
    expect_refused(STATUS_USAGE, WORKER_FROM_WORKER, "TW\1\x14\x10\x63", 6, "state: 99 is no",
                   __LINE__);
    buf_release(&bytes);
    arena_release(&arena);
}

TEST(a_message_takes_memory_in_proportion_to_its_bytes)
{
    /* Reattach with as many empty attempts as fit: 2 bytes each, a struct of 100 bytes in memory.
     */
    struct buf bytes = {0};
    buf_append(&bytes, "TW\1\x32", 4);
    for (int i = 0; i < 400000; i++)
        buf_append(&bytes, "\x12\x00", 2);
    expect_refused(STATUS_FORMAT, WORKER_FROM_WORKER, bytes.data, bytes.length, "Reattach",
                   __LINE__);
    buf_clear(&bytes);
    for (size_t i = 0; i < 2 * MIB; i++)
        buf_append_char(&bytes, 'x');
    memcpy(bytes.data, "TW\1\x32", 4);
    expect_refused(STATUS_LIMIT, WORKER_FROM_WORKER, bytes.data, bytes.length, "at most", __LINE__);
    buf_release(&bytes);
    arena_release(&arena);
}

TEST(fields_of_a_newer_peer_are_dropped)
{
    struct buf bytes = {0}, again = {0};
    const struct worker_message *row;
    Wire__Drain *drain;
    struct error error = {0};
    buf_append(&bytes, "TW\1\x0e\x08\x01\xf8\x07\x05", 9); /* undo, and a field 127 */
    REQUIRE(worker_message_unpack(&arena, WORKER_FROM_COORDINATOR, bytes.data, bytes.length, &row,
                                  &drain, &error) == STATUS_OK);
    EXPECT(drain->undo);
    worker_message_pack(WORKER_DRAIN, drain, &again);
    EXPECT_I64(6, (int64_t)again.length);
    buf_release(&bytes);
    buf_release(&again);
    arena_release(&arena);
}

TEST(two_programs_agree_on_the_newest_version_or_say_which_is_too_old)
{
    int64_t version = 0;
    struct error error;
    EXPECT_I64(STATUS_OK, worker_version_agree(1, 5, &version, NULL));
    EXPECT_I64(WORKER_VERSION, version);
    EXPECT_I64(STATUS_UNSUPPORTED, worker_version_agree(WORKER_VERSION + 1, 9, &version, &error));
    EXPECT_CONTAINS("upgrade the coordinator", error.text);
    EXPECT_I64(STATUS_USAGE, worker_version_agree(3, 2, &version, &error));
    EXPECT_I64(STATUS_USAGE, worker_version_agree(0, 0, &version, &error));
}

TEST(numbers_of_worker_messages_are_unique_and_stamped_ones_begin_with_a_stamp)
{
    for (int i = 0; worker_message_at(i) != NULL; i++) {
        const struct worker_message *row = worker_message_at(i);
        if (worker_message_find((int)row->id) != row)
            test_fail(__FILE__, __LINE__, "%s: its number is another's", row->name);
        bool stamp = row->type->fields[0].type == PROTOBUF_C_TYPE_MESSAGE &&
                     row->type->fields[0].descriptor == &wire__stamp__descriptor &&
                     row->id != WORKER_ACK && row->id != WORKER_REATTACH_REPLY;
        if (stamp != row->stamped)
            test_fail(__FILE__, __LINE__, "%s: stamped or not?", row->name);
    }
}

TEST_MAIN()
