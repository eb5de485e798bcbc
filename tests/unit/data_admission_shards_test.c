/* SPDX-License-Identifier: Apache-2.0
 *
 * An admission in shards gives the report of one process, to the last number, line and sentence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/limits.h"
#include "lib/rng.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "worker/data/admission_shard.h"

static const struct admission_policy POLICY = {0.01, -1, -1, -1, -1, -1, 1, 0};
static const int64_t SHARDS[] = {1, 2, 3, 7, SHARDS_MAX};

/* The report as JSON, or the sentence of why there is none; to be freed. */
static char *told(enum status status, const struct admission *admission, const struct error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (status == STATUS_OK) {
        admission_print(admission, &POLICY, true, out);
    } else {
        fprintf(out, "status %d: %s", (int)status, error->text);
    }
    fclose(out);
    return text;
}

static char *by_one(const struct admission_whole *whole)
{
    struct dataset *dataset;
    struct admission *admission;
    struct error error = {0};
    enum status status = dataset_open(whole->sources, whole->count, whole->format, whole->tokenizer,
                                      NULL, &dataset, &admission, &error);
    char *text = told(status, admission, &error);
    if (status == STATUS_OK) {
        dataset_free(dataset);
        admission_free(admission);
    }
    return text;
}

static char *by_shards(const struct admission_whole *whole, int64_t shards)
{
    struct buf bytes[SHARDS_MAX] = {{0}};
    struct file_map parts[SHARDS_MAX];
    struct admission *admission = NULL;
    struct error error = {0};
    for (int64_t k = 0; k < shards; k++) {
        if (admission_shard_read(whole, k + 1, shards, &bytes[k], &error) != STATUS_OK) {
            test_fail(__FILE__, __LINE__, "shard %d: %s", (int)k + 1, error.text);
        }
        parts[k] = (struct file_map){(const uint8_t *)bytes[k].data, bytes[k].length};
    }
    enum status status = admission_shards_join(whole, parts, shards, &admission, &error);
    char *text = told(status, admission, &error);
    admission_free(admission);
    for (int64_t k = 0; k < shards; k++) {
        buf_release(&bytes[k]);
    }
    return text;
}

/* Of `wanted` each must stand in what both say. */
static void expect_same(const struct data_source *sources, int count, const char *const *wanted)
{
    struct text_format format = fixture_format();
    const struct admission_whole whole = {sources, count, &format, fixture_tokenizer()};
    char *one = by_one(&whole);
    for (int i = 0; wanted[i] != NULL; i++) {
        EXPECT_CONTAINS(wanted[i], one);
    }
    for (size_t i = 0; i < sizeof(SHARDS) / sizeof(SHARDS[0]); i++) {
        char *many = by_shards(&whole, SHARDS[i]);
        EXPECT_STR(one, many);
        free(many);
    }
    free(one);
}

static void expect_same_sentence(const char *text, const char *wanted)
{
    const struct data_source source = {.path = fixture_write("f.jsonl", text), .name = "f.jsonl"};
    expect_same(&source, 1, (const char *const[]){wanted, NULL});
}

/* ---- data with everything that a report counts ----------------------------------------------- */

/* Few prompts and responses, so that groups repeat, contradict and tie, in every distance. */
static void ranked_record(uint64_t seed, int i, struct buf *out)
{
    static const char *const responses[] = {"yes", "no", "", "maybe", "yes, and at some length"};
    buf_printf(out, "{\"prompt\":\"p%d\",\"responses\":[", (int)rng_below(seed, (uint64_t)i, 0, 5));
    int count = 2 + (int)rng_below(seed, (uint64_t)i, 1, 2);
    for (int k = 0; k < count; k++) {
        buf_printf(out, "%s\"%s\"", k > 0 ? "," : "",
                   responses[rng_below(seed, (uint64_t)i, 2 + (uint64_t)k, 5)]);
    }
    buf_append_string(out, "],\"scores\":[");
    for (int k = 0; k < count; k++) {
        buf_printf(out, "%s%d", k > 0 ? "," : "",
                   (int)rng_below(seed, (uint64_t)i, 8 + (uint64_t)k, 3));
    }
    buf_append_string(out, "]");
    if (i % 90 == 77) {
        buf_printf(out, ",\"extra%d\":1,\"a%d\":2", i, i % 7);
    }
    buf_append_string(out, i % 50 == 49 ? "}\n\n" : "}\n"); /* now and then a blank line */
    if (i % 61 == 60) {
        buf_append_string(out, "{\"prompt\":\"\xff\"}\n");
    }
    if (i % 70 == 69) {
        buf_printf(out, "{\"prompt\":\"%0600d\",\"responses\":[\"a\",\"b\"],\"scores\":[1,0]}\n",
                   i);
    }
}

static const char *ranked_file(const char *name, uint64_t seed, int count)
{
    struct buf text = {0};
    for (int i = 0; i < count; i++) {
        ranked_record(seed, i, &text);
    }
    const char *path = fixture_write_bytes(name, text.data, text.length);
    buf_release(&text);
    return path;
}

static const char *domains_file(int count)
{
    struct buf text = {0};
    buf_append_string(&text, "[");
    for (int i = 0; i < count; i++) {
        buf_printf(&text,
                   "%s{\"query\":\"q%d\",\"responses\":{\"law\":\"l%d\",\"art\":\"a\",\"sport\":"
                   "\"%s\"}}",
                   i > 0 ? ",\n" : "", i % 40, i % 3, i % 11 == 0 ? "" : "s");
    }
    buf_append_string(&text, "]");
    const char *path = fixture_write("domains.json", text.data);
    buf_release(&text);
    return path;
}

static const char *absent_file(int count)
{
    struct buf text = {0};
    for (int i = 0; i < count; i++) {
        buf_printf(&text, "{\"text\":[\"t%d a\",\"t%d b\"],\"score\":[%d,%d]}\n", i % 50, i % 50,
                   i % 9 == 0 ? -1 : 1, i % 2);
    }
    const char *path = fixture_write("absent.jsonl", text.data);
    buf_release(&text);
    return path;
}

TEST(any_number_of_shards_gives_the_report_of_one_process)
{
    const struct data_source sources[] = {
        {.path = ranked_file("ranked.jsonl", 1, 700), .name = "ranked"},
        {.path = domains_file(200), .domain = "law", .pairs = true},
        {.path = absent_file(150)},
        {.path = ranked_file("again.jsonl", 1, 130)}};
    /* Every finding but overlap occurs, and so do contradictions between sources. */
    static const char *const wanted[] = {"\"form\":\"ranked group\"",
                                         "\"form\":\"dsp domains\"",
                                         "\"form\":\"dsp texts\"",
                                         "\"verdict\":\"rejected\"",
                                         "and at most 1 % are allowed",
                                         "the prompt, responses and order of an earlier group",
                                         "no two different scores",
                                         "an empty prompt or response",
                                         "responses with the same tokens",
                                         "longer than max_length",
                                         "not valid UTF-8",
                                         "fewer than two responses present",
                                         "\"extra77\"",
                                         NULL};
    expect_same(sources, 4, wanted);
}

TEST(few_records_leave_most_shards_without_any)
{
    const struct data_source source = {.path = ranked_file("few.jsonl", 3, 2)};
    expect_same(&source, 1, (const char *const[]){"\"groups_read\":2", NULL});
}

TEST(a_limit_counts_from_the_start_of_the_data)
{
    const struct data_source sources[] = {
        {.path = ranked_file("ranked.jsonl", 1, 700), .limit = 300},
        {.path = domains_file(200), .domain = "law", .pairs = true, .limit = 71}};
    expect_same(sources, 2,
                (const char *const[]){"\"groups_read\":300", "\"groups_read\":71", NULL});
}

TEST(a_list_is_cut_where_one_process_cuts_it)
{
    struct buf text = {0};
    for (int i = 0; i < ADMISSION_LISTED_MAX + 500; i++) {
        buf_printf(&text, "{\"prompt\":\"%d\",\"responses\":[\"a\",\"b\"],\"scores\":[1,1]}\n", i);
    }
    const struct data_source source = {.path = fixture_write("ties.jsonl", text.data)};
    buf_release(&text);
    expect_same(&source, 1, (const char *const[]){"\"tie\":{\"count\":10500", NULL});
}

/* ---- data that cannot be read ---------------------------------------------------------------- */

static void good_records(struct buf *text, int count)
{
    for (int i = 0; i < count; i++) {
        buf_printf(text, "{\"prompt\":\"%d\",\"chosen\":\"a\",\"rejected\":\"b\"}\n", i);
    }
}

TEST(of_two_broken_records_the_first_in_the_data_is_named)
{
    struct buf text = {0};
    good_records(&text, 100);
    buf_append_string(&text, "{\"prompt\":\"p\",\"chosen\":7,\"rejected\":\"b\"}\n"); /* shard 4 */
    good_records(&text, 30);
    buf_append_string(&text, "{\"prompt\": \"cut off\n"); /* shard 5 */
    expect_same_sentence(text.data, "f.jsonl:101");
    buf_release(&text);
}

TEST(a_record_of_another_form_is_held_against_the_first)
{
    struct buf text = {0};
    good_records(&text, 3 * SHARD_BLOCK_RECORDS); /* it is the first that its shard reads */
    buf_append_string(&text, "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\"],\"scores\":[1,0]}\n");
    expect_same_sentence(text.data, "f.jsonl:97: mixed forms");
    buf_release(&text);
}

TEST(ids_that_the_tokenizer_lacks_are_found_by_whose_they_are)
{
    struct buf text = {0};
    for (int i = 0; i < 80; i++) {
        buf_printf(&text, "{\"chosen_ids\":[%d],\"rejected_ids\":[2]}\n", i == 50 ? 99999 : 1);
    }
    expect_same_sentence(text.data, "f.jsonl:51");
    buf_release(&text);
}

TEST(a_file_that_ends_too_soon_is_named_by_every_shard_alike)
{
    struct buf text = {0};
    expect_same_sentence("", "the file is empty");
    buf_append_string(&text, "[");
    for (int i = 0; i < 70; i++) {
        buf_printf(&text, "{\"prompt\":\"%d\",\"chosen\":\"a\",\"rejected\":\"b\"},\n", i);
    }
    expect_same_sentence(text.data, "the file ends inside the list");
    buf_release(&text);
}

/* ---- parts that are none --------------------------------------------------------------------- */

static enum status join_one(const struct buf *bytes, size_t size, struct error *error)
{
    const struct data_source source = {.path = "f.jsonl"};
    struct text_format format = fixture_format();
    const struct admission_whole whole = {&source, 1, &format, fixture_tokenizer()};
    uint8_t *copy = mem_alloc(size + 1); /* of its own: what is read behind its end is noticed */
    memcpy(copy, bytes->data, size);
    const struct file_map part = {copy, size};
    struct admission *admission = NULL;
    enum status status = admission_shards_join(&whole, &part, 1, &admission, error);
    admission_free(admission);
    mem_free(copy);
    return status;
}

static struct buf one_part(void)
{
    const struct data_source source = {.path = ranked_file("part.jsonl", 5, 3)};
    struct text_format format = fixture_format();
    const struct admission_whole whole = {&source, 1, &format, fixture_tokenizer()};
    struct buf bytes = {0};
    struct error error = {0};
    EXPECT_I64(STATUS_OK, admission_shard_read(&whole, 1, 1, &bytes, &error));
    return bytes;
}

TEST(a_part_that_was_cut_is_refused_and_is_no_verdict)
{
    struct buf bytes = one_part();
    struct error error = {0};
    EXPECT_I64(STATUS_OK, join_one(&bytes, bytes.length, &error));
    for (size_t size = 0; size < bytes.length; size += 7) {
        EXPECT_I64(STATUS_UNSUPPORTED, join_one(&bytes, size, &error));
    }
    EXPECT_CONTAINS("shard 1 of 1", error.text);
    buf_release(&bytes);
}

TEST(a_byte_that_was_changed_leads_nowhere_else)
{
    struct buf bytes = one_part();
    int64_t refused = 0;
    struct error error = {0};
    for (size_t i = 0; i < bytes.length; i++) {
        bytes.data[i] ^= (char)0x81;
        refused += join_one(&bytes, bytes.length, &error) == STATUS_UNSUPPORTED;
        bytes.data[i] ^= (char)0x81;
    }
    EXPECT(refused > 100); /* of the head and of the groups most bytes */
    buf_release(&bytes);
}

TEST_MAIN()
