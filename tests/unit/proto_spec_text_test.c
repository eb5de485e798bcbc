/* SPDX-License-Identifier: Apache-2.0
 *
 * spec: what the table says of itself: the resolved JSON, explain, the file to start from, the
 * schema. Every row is visited, so a row that one of them cannot say fails here.
 */
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "proto/spec.h"
#include "proto/spec_table.h"
#include "tests/test.h"

static struct spec *parse(struct arena *arena, const char *name, const char *text)
{
    struct error error = {0};
    struct spec *spec = NULL;
    if (spec_parse(arena, name, text, strlen(text), NULL, 0, &spec, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "expected to parse %.200s, got %s", text, error.text);
    }
    return spec;
}

/* Resolved, printed, read back, printed: the same bytes. */
static void round_trip(const char *text)
{
    struct arena arena = {0};
    struct buf first = {0};
    struct buf second = {0};
    char digests[2][SHA256_HEX_SIZE];
    struct spec *spec = parse(&arena, "s.yaml", text);
    REQUIRE(spec != NULL);
    spec_json(spec, &first);
    spec_digest(spec, digests[0]);
    spec = parse(&arena, "resolved.json", first.data);
    REQUIRE(spec != NULL);
    spec_json(spec, &second);
    spec_digest(spec, digests[1]);
    EXPECT_STR(first.data, second.data);
    EXPECT_STR(digests[0], digests[1]);
    buf_release(&first);
    buf_release(&second);
    arena_release(&arena);
}

TEST(a_resolved_spec_reads_back_to_the_same_bytes)
{
    round_trip("stage: lm\nfrom: b\ndata: {train: t}\n");
    round_trip("stage: general\nfrom: b\ndata: {train: t}\npreset: paper-general\n");
    round_trip("stage: customize\nfrom: b\ndata: {train: t, eval: [e, {split: 0.1}], enrich: g}\n"
               "labels: {a: b}\nadapter: {type: lora, targets: [q_proj]}\n"
               "schedule: {after: [x, y]}\ntrain: {learning_rate: 3.3e-5}\n");
    round_trip("stage: customize\nfrom: \"sp ace \\\"q\\\"\"\ndata: {train: t}\n"
               "train: {lr_scheduler_type: constant, max_steps: 7}\nevaluate: {every_steps: 0}\n"
               "model: {template: prefixes, prefixes: {assistant_prefix: \"\\nA: \"}}\n");
    round_trip("stage: customize\nfrom: b\ndata: {train: t}\npreset: paper-custom\n"
               "adapter: {type: none, r: 8}\n");
    round_trip("stage: evaluate\nfrom: b\ndata: {eval: {dataset: e, columns: {prompt: q}}}\n");
    round_trip("stage: score\nfrom: b\ndata: {eval: e}\n");
}

TEST(the_digest_follows_every_value)
{
    struct arena arena = {0};
    char one[SHA256_HEX_SIZE];
    char two[SHA256_HEX_SIZE];
    struct spec *spec = parse(&arena, "s.yaml", "stage: lm\nfrom: b\ndata: {train: t}\n");
    REQUIRE(spec != NULL);
    spec_digest(spec, one);
    spec->train.seed++;
    spec_digest(spec, two);
    EXPECT(strcmp(one, two) != 0);
    arena_release(&arena);
}

TEST(every_field_is_in_the_resolved_spec)
{
    struct arena arena = {0};
    struct error error = {0};
    struct buf text = {0};
    json_t *root = NULL;
    struct spec *spec = parse(&arena, "s.yaml", "stage: customize\nfrom: b\ndata: {train: t}\n");
    REQUIRE(spec != NULL);
    spec_json(spec, &text);
    REQUIRE(json_read("spec", text.data, text.length, &root, &error) == STATUS_OK);
    for (int i = 0; i < spec_rows.count; i++) {
        const char *part = spec_rows.items[i].name;
        const json_t *value = root;
        for (size_t length; (length = strcspn(part, ".")) > 0;
             part += length + (part[length] != 0)) {
            value = json_object_getn(value, part, length);
        }
        if (!value) {
            test_fail(__FILE__, __LINE__, "%s is not in the resolved spec",
                      spec_rows.items[i].name);
        }
    }
    json_decref(root);
    buf_release(&text);
    arena_release(&arena);
}

TEST(every_field_section_and_synonym_is_explained)
{
    const char *name;
    int fields = 0;
    for (int i = 0; (name = spec_field_name(i)); i++, fields++) {
        struct buf text = {0};
        struct error error = {0};
        EXPECT_I64(STATUS_OK, spec_explain(name, &text, &error));
        EXPECT(text.data && strncmp(text.data, name, strlen(name)) == 0);
        EXPECT_CONTAINS(spec_field_help(i), text.data);
        EXPECT_CONTAINS("  default    ", text.data);
        buf_release(&text);
    }
    EXPECT(fields > 100);
    for (int i = 0; spec_synonym_at(i); i++) {
        const struct spec_synonym *synonym = spec_synonym_at(i);
        struct buf text = {0};
        struct error error = {0};
        EXPECT_I64(STATUS_OK, spec_explain(synonym->name, &text, &error));
        EXPECT_CONTAINS(synonym->name, text.data);
        /* "dataset" is also a field of ours, which comes first. */
        EXPECT_CONTAINS(strcmp(synonym->name, "dataset") == 0 ? "data.*.dataset" : synonym->path,
                        text.data);
        for (int k = 0; k < i; k++) {
            EXPECT(strcmp(spec_synonym_at(k)->name, synonym->name) != 0);
        }
        buf_release(&text);
    }
}

static void explained(const char *field, const char *expected)
{
    struct buf text = {0};
    struct error error = {0};
    EXPECT_I64(STATUS_OK, spec_explain(field, &text, &error));
    EXPECT_CONTAINS(expected, text.data ? text.data : "");
    buf_release(&text);
}

TEST(explain_says_default_preset_stages_and_other_names)
{
    explained("train.learning_rate", "train.learning_rate: a number from 0 to 1\n"
                                     "  Peak learning rate of AdamW.\n"
                                     "  default    1e-5; 1e-4 with adapter.type: lora\n"
                                     "  presets    1e-6 in paper-general; 1e-7 in paper-custom\n"
                                     "  stages     lm, general, customize\n"
                                     "  elsewhere  lr (others)\n"
                                     "             adam.lr (OpenRLHF)\n");
    explained("learning_rate", "train.learning_rate: a number");
    explained("lora_r", "what TRL calls lora_r is adapter.r here\nadapter.r: a whole number");
    explained("every_steps", "checkpoint.every_steps: ");
    explained("data.train[0].limit", "data.*.limit: ");
    explained("data.enrich.domain", "data.*.domain: ");
    explained("data.enrich.by", "data.enrich.by: ");
    explained("gate", "gate.min_pairs\n    With fewer pairs");
    explained("packing", "needs no field here");

    struct buf text = {0};
    struct error error = {0};
    EXPECT_I64(STATUS_NOT_FOUND, spec_explain("learning_rat", &text, &error));
    EXPECT_STR("no field is called learning_rat: did you mean train.learning_rate?", error.text);
    buf_release(&text);
}

TEST(the_file_to_start_from_is_a_valid_spec_of_every_stage)
{
    for (int stage = SPEC_STAGE_LM; stage <= SPEC_STAGE_SERVE; stage++) {
        struct arena arena = {0};
        struct buf text = {0};
        spec_init((enum spec_stage)stage, &text);
        struct spec *spec = parse(&arena, "init.yaml", text.data);
        REQUIRE(spec != NULL);
        EXPECT_I64(stage, spec->stage);
        buf_release(&text);
        arena_release(&arena);
    }
}

/* Without its "# ", a comment with a default is that default. */
TEST(the_defaults_in_the_file_to_start_from_are_the_real_ones)
{
    struct arena arena = {0};
    struct buf text = {0};
    struct buf edited = {0};
    struct buf before = {0};
    struct buf after = {0};
    spec_init(SPEC_STAGE_GENERAL, &text);
    for (const char *line = text.data; *line; line += strcspn(line, "\n") + 1) {
        const char *mark = strstr(line, "# ");
        const char *colon = mark ? strstr(mark, ": ") : NULL;
        size_t length = strcspn(line, "\n") + 1;
        bool field = mark && strspn(line, " ") == (size_t)(mark - line) && colon &&
                     strcspn(mark + 2, " ") == (size_t)(colon - mark - 1) &&
                     !strstr(line, "prefix");
        buf_append(&edited, line, field ? (size_t)(mark - line) : length);
        buf_append(&edited, field ? mark + 2 : "", field ? length - (size_t)(mark + 2 - line) : 0);
    }
    struct spec *plain = parse(&arena, "init.yaml", text.data);
    struct spec *explicit = parse(&arena, "edited.yaml", edited.data);
    REQUIRE(plain && explicit);
    spec_json(plain, &before);
    spec_json(explicit, &after);
    EXPECT_STR(before.data, after.data);
    EXPECT_CONTAINS("\n  seed: 42", edited.data);
    buf_release(&text);
    buf_release(&edited);
    buf_release(&before);
    buf_release(&after);
    arena_release(&arena);
}

static void check_object(const json_t *schema, int *leaves)
{
    const char *key;
    json_t *value;
    EXPECT(json_is_false(json_object_get(schema, "additionalProperties")));
    json_object_foreach(json_object_get(schema, "properties"), key, value)
    {
        const json_t *inner = json_object_get(value, "properties");
        const json_t *forms = json_object_get(value, "anyOf");
        if (inner) {
            check_object(value, leaves);
        } else if (!json_object_get(value, "description")) {
            check_object(json_array_get(forms, 0), leaves); /* data.enrich */
        } else {
            EXPECT(json_object_get(value, "type") || json_object_get(value, "enum") || forms ||
                   json_object_get(value, "$ref"));
            ++*leaves;
        }
    }
}

TEST(the_schema_has_every_field_closed_objects_and_resolvable_references)
{
    struct buf text = {0};
    struct error error = {0};
    json_t *root = NULL;
    int leaves = 0;
    spec_json_schema(&text);
    REQUIRE(json_read("schema", text.data, text.length, &root, &error) == STATUS_OK);
    check_object(root, &leaves);
    int shared = spec_source_rows.count - 1; /* inline in data.enrich, which has its own `by` */
    shared -= 7;                             /* columns.* are one section there too */
    EXPECT(leaves >= spec_rows.count + shared);
    const json_t *definitions = json_object_get(root, "$defs");
    EXPECT(json_object_get(definitions, "source") && json_object_get(definitions, "sources"));
    EXPECT_STR("https://json-schema.org/draft/2020-12/schema",
               json_string_value(json_object_get(root, "$schema")));
    json_decref(root);
    buf_release(&text);
}

TEST(attempts_may_differ_in_their_ranks_and_their_place_and_in_nothing_else)
{
    struct arena arena = {0};
    struct spec *spec;
    char digests[2][SHA256_HEX_SIZE];
    const struct spec_override overrides[] = {
        {.key = "stage", .value = "general"},      {.key = "from", .value = "x"},
        {.key = "data.train", .value = "y"},       {.key = "resources.ranks", .value = "3"},
        {.key = "train.zero_stage", .value = "0"}, {.key = "train.overlap", .value = "false"},
        {.key = "output.dir", .value = "z"},       {.key = "train.seed", .value = "7"}};
    const struct {
        int count;
        bool same;
    } cases[] = {{3, true}, {4, true}, {5, true}, {6, true}, {7, true}, {8, false}};
    for (int i = 0; i < 6; i++) {
        REQUIRE(spec_read(&arena, NULL, overrides, cases[i].count, &spec, NULL) == STATUS_OK);
        struct spec same = spec_comparable(spec);
        spec_digest(&same, digests[i > 0]);
        EXPECT(i == 0 || (strcmp(digests[0], digests[1]) == 0) == cases[i].same);
    }
    EXPECT_I64(3, spec->resources.ranks);
    arena_release(&arena);
}

TEST(the_table_names_only_what_it_has)
{
    for (int i = 0; spec_default_at(i); i++) {
        EXPECT(spec_row_find(&spec_rows, spec_default_at(i)->path) != NULL);
    }
    for (int i = 0; spec_preset_value_at(i); i++) {
        EXPECT(spec_row_find(&spec_rows, spec_preset_value_at(i)->path) != NULL);
    }
    for (int i = 0; spec_row_at(i); i++) {
        const char *help = spec_row_at(i)->help;
        EXPECT(help[strlen(help) - 1] == '.');
        EXPECT(strlen(help) <= 90);
        for (int k = 0; k < i; k++) {
            EXPECT(strcmp(spec_row_at(k)->shown, spec_row_at(i)->shown) != 0);
        }
    }
    EXPECT_STR("q_proj", spec_choice_name("adapter.targets", SPEC_TARGET_Q));
    EXPECT(spec_choice_name("model.pooling", SPEC_POOLING_UNSET) == NULL);
}

TEST_MAIN()
