/* SPDX-License-Identifier: Apache-2.0
 *
 * spec: what a spec may say, what each mistake is told, and which value wins.
 */
#include <stdio.h>
#include <string.h>

#include "proto/spec.h"
#include "tests/test.h"

#define GENERAL "stage: general\nfrom: ./base\ndata: {train: a.jsonl}\n"
#define CUSTOM  "stage: customize\nfrom: ./general\ndata: {train: a.jsonl}\n"

static struct spec *parse(struct arena *arena, const char *text)
{
    struct error error = {0};
    struct spec *spec = NULL;
    if (spec_parse(arena, "s.yaml", text, strlen(text), NULL, 0, &spec, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "expected to parse %.200s, got %s", text, error.text);
        spec = arena_new(arena, struct spec);
    }
    return spec;
}

static void refused(const char *text, const char *sentence)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec = NULL;
    EXPECT_I64(STATUS_USAGE,
               spec_parse(&arena, "s.yaml", text, strlen(text), NULL, 0, &spec, &error));
    EXPECT(spec == NULL);
    EXPECT_STR(sentence, error.text);
    arena_release(&arena);
}

/* A general spec with `setting` by --set. */
static void set_refused(const char *setting, const char *sentence)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec_override override;
    struct spec *spec = NULL;
    REQUIRE(spec_override_parse(&arena, setting, &override, &error) == STATUS_OK);
    EXPECT_I64(STATUS_USAGE,
               spec_parse(&arena, "s.yaml", GENERAL, strlen(GENERAL), &override, 1, &spec, &error));
    EXPECT_STR(sentence, error.text);
    arena_release(&arena);
}

TEST(an_unknown_field_gets_the_nearest_name)
{
    refused(GENERAL "train: {sede: 3}\n",
            "s.yaml:4: unknown field train.sede: did you mean train.seed?");
    refused(GENERAL "trian:\n  seed: 3\n", "s.yaml:4: unknown field trian: did you mean train?");
    refused(GENERAL "learning_rate: 1e-4\n",
            "s.yaml:4: unknown field learning_rate: it is train.learning_rate");
    refused("stage: general\nfrom: b\ndata:\n  train:\n  - dataset: a\n    limt: 3\n",
            "s.yaml:6: unknown field data.train[0].limt: did you mean data.train[0].limit?");
    refused("stage: general\nfrom: b\ndata:\n  train:\n  - dataset: a\n    prompt: q\n",
            "s.yaml:6: unknown field data.train[0].prompt: it is data.train[0].columns.prompt");
    refused(GENERAL "frobnicate: 3\n",
            "s.yaml:4: unknown field frobnicate: tailor explain lists all fields");
    refused(
        GENERAL "train.seed: 3\n",
        "s.yaml:4: unknown field train.seed: in a file, write the section and the field below it");
}

TEST(other_programs_names_are_answered_with_their_meaning)
{
    refused(GENERAL "train:\n  per_device_train_batch_size: 8\n",
            "s.yaml:5: unknown field train.per_device_train_batch_size: what Transformers calls "
            "per_device_train_batch_size is train.batch_groups here; ours is the global batch, in "
            "groups: that size x devices x accumulation steps");
    refused(GENERAL "lora_r: 8\n",
            "s.yaml:4: unknown field lora_r: what TRL calls lora_r is adapter.r here");
    refused(GENERAL "adam:\n  lr: 8\n",
            "s.yaml:4: unknown field adam.lr: what OpenRLHF calls adam.lr "
            "is train.learning_rate here");
    set_refused("adam.lr=1e-5", "--set: unknown field adam.lr: what OpenRLHF calls adam.lr is "
                                "train.learning_rate here");
    refused(GENERAL "adapter: {type: lora, lora_dropout: 0.1}\n",
            "s.yaml:4: unknown field adapter.lora_dropout: what PEFT calls lora_dropout is "
            "adapter.dropout here; it must be 0: leave it out");
    refused(GENERAL "packing: true\n",
            "s.yaml:4: unknown field packing: what TRL calls packing needs no field here; rows are "
            "always packed, without padding");
}

TEST(a_value_of_the_wrong_kind_is_told_what_it_must_be)
{
    refused(GENERAL "train: {learning_rate: fast}\n",
            "s.yaml:4: train.learning_rate is fast: it must be a number");
    refused(GENERAL "train: {learning_rate: 2}\n",
            "s.yaml:4: train.learning_rate is 2: it must be from 0 to 1");
    refused(GENERAL "train: {learning_rate: .nan}\n",
            "s.yaml:4: train.learning_rate is .nan: it must be a number");
    refused(GENERAL "train: {learning_rate: 1e-4 }\n\x20seed: 1\n",
            "s.yaml:5:2: not YAML: did not find expected key");
    refused(GENERAL "train: {epochs: 0.5}\n",
            "s.yaml:4: train.epochs is 0.5: it must be a whole number");
    refused(GENERAL "train: {epochs: 0}\n",
            "s.yaml:4: train.epochs is 0: it must be from 1 to 1000");
    refused(GENERAL "train: {epochs: 99999999999999999999}\n",
            "s.yaml:4: train.epochs is 99999999999999999999: it must be from 1 to 1000");
    refused(GENERAL "train: {seed: [1]}\n", "s.yaml:4: train.seed is a list: it must be a whole "
                                            "number");
    refused(GENERAL "train: 7\n", "s.yaml:4: train must be a map of fields");
    refused(GENERAL "init_head: yes\n", "s.yaml:4: init_head is yes: it must be true or false");
    refused(GENERAL "checkpoint: {every: soon}\n",
            "s.yaml:4: checkpoint.every is soon: it must be a duration such as 90s, 10m or 1h30m");
    refused(GENERAL "checkpoint: {every: 400d}\n",
            "s.yaml:4: checkpoint.every is 400d: it must be from 0 to 365d");
    refused("stage: custom\n",
            "s.yaml:1: stage is custom: it must be one of lm, general, "
            "customize, evaluate, score, admit, serve, import, export; did you mean customize?");
    refused(GENERAL "name: a b\n", "s.yaml:4: name is a b: it must be letters, digits, - _ and ., "
                                   "with a letter or digit first");
    refused(GENERAL "labels: [a]\n",
            "s.yaml:4: labels is a list: it must be a map such as {team: support}");
    refused(GENERAL "schedule: {not_before: tomorrow}\n",
            "s.yaml:4: schedule.not_before is tomorrow: it must be a time in UTC such as "
            "2026-01-31T08:00:00Z");
    refused(
        GENERAL "adapter: {type: lora, targets: [q_proj, x_proj]}\n",
        "s.yaml:4: adapter.targets is x_proj: it must be one of q_proj, k_proj, v_proj, o_proj, "
        "gate_proj, up_proj, down_proj; did you mean q_proj?");
    refused(GENERAL "adapter: {type: lora, targets: []}\n",
            "s.yaml:4: adapter.targets is a list: it must be all-linear or a list of matrices that "
            "is not empty");
    refused("[general]", "s.yaml:1: a spec is a map of fields, such as stage: general; see tailor "
                         "job init general");
}

TEST(what_is_missing_is_named)
{
    refused("", "s.yaml: stage is missing: write lm, general, customize, evaluate, score, admit, "
                "serve, import or export");
    refused("stage: general\n", "s.yaml: from is missing: name the base to start from");
    refused("stage: evaluate\n", "s.yaml: from is missing: name the model");
    refused("stage: lm\nfrom: b\n", "s.yaml: data.train is missing: name the data to train on");
    refused("stage: score\nfrom: b\n", "s.yaml: data.eval is missing: name the data to score");
    refused("stage: general\nfrom: b\ndata: {train: [{limit: 3}]}\n",
            "s.yaml:3: data.train[0] has no dataset: name a file or a dataset");
}

TEST(contradictions_are_refused_with_the_reason)
{
    refused(GENERAL "adapter: {type: lora, dropout: 0.1}\n",
            "s.yaml:4: adapter.dropout must be 0: dropout would break the exact sharing of a "
            "group's prompt; for regularisation use train.weight_decay or a smaller adapter.r");
    refused(GENERAL "adapter: {r: 8}\n",
            "s.yaml:4: adapter.r has no effect: write adapter.type: lora too");
    refused(GENERAL "loss: {lm_loss_data: all}\n",
            "s.yaml:4: loss.lm_loss_data has no meaning in stage general: leave it out");
    refused(GENERAL "preset: paper-custom\n",
            "s.yaml:4: preset paper-custom is not for stage general: write paper-general");
    refused(GENERAL "resources: {ranks: 8}\n",
            "s.yaml: train.slices is 4, fewer than resources.ranks 8: each rank needs a slice");
    refused(GENERAL "resources: {ranks: 2, min_ranks: 3}\n",
            "s.yaml:4: resources.min_ranks is 3, more than ranks 2");
    refused(
        GENERAL "model: {max_length: 8192}\n",
        "s.yaml: train.max_tokens_per_batch is 4096, which a row of model.max_length 8192 would "
        "not fit: raise it");
    refused(GENERAL "train:\n  lr_scheduler_type: constant\n  warmup_steps: 5\n",
            "s.yaml:6: train.warmup_steps has no effect with constant: write lr_scheduler_type: "
            "constant_with_warmup");
    refused(GENERAL "train: {min_lr_rate: 0.1}\n",
            "s.yaml:4: train.min_lr_rate has no effect with linear: write lr_scheduler_type: "
            "cosine_with_min_lr");
    refused(GENERAL "evaluate: {every_steps: 10}\n",
            "s.yaml:4: evaluate.every_steps needs data.eval: name the data, or write {split: 0.1}");
    refused(GENERAL "checkpoint: {keep_best: {by: accuracy}}\n",
            "s.yaml:4: checkpoint.keep_best.by needs evaluations: write data.eval and "
            "evaluate.every_steps, or by: none");
    refused(
        GENERAL "model:\n  prefixes:\n    user_prefix: 'Q: '\n",
        "s.yaml:6: model.prefixes.user_prefix has no effect: write model.template: prefixes too");
    refused(GENERAL "model: {template: prefixes}\n",
            "s.yaml: model.prefixes.assistant_prefix is missing: template: prefixes needs the text "
            "before a response");
    refused(GENERAL "output: {alias: prod}\n",
            "s.yaml:4: output.alias needs output.model: an alias names its version");
}

TEST(a_source_that_cannot_work_is_refused)
{
    refused("stage: general\nfrom: b\ndata:\n  train: [a, {split: 0.1}]\n",
            "s.yaml:4: data.train[1] split belongs to data.eval: {split: 0.1} there cuts it from "
            "data.train");
    refused("stage: general\nfrom: b\ndata: {train: a, eval: {dataset: c, split: 0.1}}\n",
            "s.yaml:3: data.eval[0] has both dataset and split: write one of them");
    refused("stage: general\nfrom: b\ndata: {train: a, eval: [{split: 0.1}, {split: 0.2}]}\n",
            "s.yaml:3: data.eval has two splits: data.train can be cut once");
    refused("stage: evaluate\nfrom: b\ndata: {eval: {split: 0.1}}\n",
            "s.yaml:3: data.eval has a split, but there is no data.train to cut in this stage");
    refused("stage: general\nfrom: b\ndata: {train: {dataset: a, pairs: true}}\n",
            "s.yaml:3: data.train[0] pairs splits a group by its domain: write domain too");
    refused(
        "stage: general\nfrom: b\ndata: {train: {dataset: a, general: true}}\n",
        "s.yaml:3: data.train[0] general belongs to data.eval: general data to train on goes to "
        "data.enrich");
    refused(
        "stage: customize\nfrom: b\ndata: {train: a, enrich: {dataset: c, share: 0}}\n",
        "s.yaml:3: data.enrich.share is 0, which uses nothing of data.enrich.sources: leave one "
        "of them out");
    refused("stage: customize\nfrom: b\ndata: {train: a, enrich: {dataset: c, sources: [d]}}\n",
            "s.yaml:3: data.enrich has both dataset and sources: write it inside sources");
    refused("stage: general\nfrom: b\ndata: {train: [[a]]}\n",
            "s.yaml:3: data.train[0] must be a map of fields");
}

TEST(yaml_that_could_surprise_is_refused)
{
    refused(GENERAL "from: c\n", "s.yaml:4: from is given twice, first in line 2");
    refused("stage: &s general\nfrom: b\n", "s.yaml:1: anchors (&s) are not supported: write the "
                                            "value where it is needed");
    refused("stage: general\nfrom: *s\n", "s.yaml:2: aliases (*s) are not supported: write the "
                                          "value where it is needed");
    refused("stage: !!str general\n",
            "s.yaml:1: tags (tag:yaml.org,2002:str) are not supported: leave it out");
    refused("stage: general\n---\nstage: lm\n", "s.yaml:2: a second document: one spec a file");
    refused("stage: general\nfrom: [b\n", "s.yaml:3:1: not YAML: did not find expected ',' or ']'");
    refused("stage: \"general\\0\"\n", "s.yaml:1: a NUL byte in a text");
    refused("? [a]\n: b\n", "s.yaml:1: a field's name must be a word");
    refused("[[[[[[[[[[[[[[[[[[[[", "s.yaml:1: nested deeper than 16");
    refused("stage: \xff\n", "s.yaml: byte 7: invalid leading UTF-8 octet");
}

TEST(json_is_read_by_the_files_name)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec;
    const char *text = "{\"stage\": \"lm\", \"from\": \"\\ud83d\\ude00\", \"data\": {\"train\": "
                       "[\"a\"]}, \"train\": {\"seed\": \"11\", \"learning_rate\": 2e-5}}";
    EXPECT_I64(STATUS_OK, spec_parse(&arena, "s.json", text, strlen(text), NULL, 0, &spec, &error));
    EXPECT_STR("\xf0\x9f\x98\x80", spec->from);
    EXPECT_I64(11, spec->train.seed);
    EXPECT(spec->train.learning_rate == 2e-5);
    text = "{\"stage\": \"lm\", \"stage\": \"lm\"}";
    EXPECT_I64(STATUS_USAGE,
               spec_parse(&arena, "s.json", text, strlen(text), NULL, 0, &spec, &error));
    EXPECT_STR("s.json:1:23: duplicate key \"stage\"", error.text);
    text = "{\"stage\": \"lm\", \"from\": \"b\", \"train\": {\"seed\": true}}";
    EXPECT_I64(STATUS_USAGE,
               spec_parse(&arena, "s.json", text, strlen(text), NULL, 0, &spec, &error));
    EXPECT_STR("s.json: train.seed is true: it must be a whole number", error.text);
    arena_release(&arena);
}

TEST(defaults_depend_on_the_stage_and_the_adapter)
{
    struct arena arena = {0};
    struct spec *spec = parse(&arena, GENERAL);
    EXPECT(spec->train.learning_rate == 1e-5);
    EXPECT(spec->init_head);
    EXPECT_I64(512, spec->model.max_length);
    EXPECT_I64(SPEC_POOLING_LAST_TOKEN, spec->model.pooling);
    EXPECT(spec->loss.lm_loss_coeff == 0);
    EXPECT_I64(0, spec->evaluate.every_steps);
    EXPECT_I64(SPEC_KEEP_BEST_NONE, spec->checkpoint.keep_best.by);
    EXPECT(spec->data.policy.ties_max == -1);

    spec = parse(&arena, CUSTOM "adapter: {type: lora}\n");
    EXPECT(spec->train.learning_rate == 1e-4);
    EXPECT(!spec->init_head);
    EXPECT_I64(0, spec->model.max_length);
    EXPECT_I64(SPEC_POOLING_UNSET, spec->model.pooling);
    EXPECT(spec->loss.lm_loss_coeff == 0.1);
    EXPECT(spec->data.enrich.share == 0.2);
    EXPECT_I64(SPEC_ADAPTER_LORA, spec->adapter.type);
    EXPECT_I64(0xfe, spec->adapter.targets);

    spec = parse(&arena, "stage: customize\nfrom: g\ndata: {train: a, eval: {split: 0.1}}\n");
    EXPECT_I64(50, spec->evaluate.every_steps);
    EXPECT_I64(SPEC_KEEP_BEST_CUSTOM_ACCURACY, spec->checkpoint.keep_best.by);
    EXPECT_I64(SPEC_SUBJECT_TO_GENERAL_DROP, spec->checkpoint.keep_best.subject_to);
    spec = parse(&arena, GENERAL "train: {lr_scheduler_type: cosine_with_min_lr}\n");
    EXPECT(spec->train.min_lr_rate == 0.1);
    spec = parse(&arena, GENERAL "train: {lr_scheduler_type: constant}\n");
    EXPECT(spec->train.warmup_ratio == 0);
    arena_release(&arena);
}

TEST(a_preset_loses_to_what_is_written_wherever_it_stands)
{
    struct arena arena = {0};
    struct spec *spec = parse(&arena, GENERAL "train: {warmup_steps: 7}\npreset: paper-general\n");
    EXPECT(spec->train.learning_rate == 1e-6);
    EXPECT_I64(64, spec->train.batch_groups);
    EXPECT_I64(7, spec->train.warmup_steps);
    EXPECT_I64(SPEC_POOLING_BEFORE_EOS, spec->model.pooling);
    EXPECT_I64(SPEC_OVERLONG_TRUNCATE_LEFT, spec->model.overlong);
    spec = parse(&arena, CUSTOM "preset: paper-custom\nadapter: {type: lora}\n");
    EXPECT(spec->train.learning_rate == 1e-7);
    EXPECT_I64(256, spec->train.batch_groups);
    EXPECT(spec->train.warmup_ratio == 0);
    arena_release(&arena);
}

TEST(numbers_may_be_texts_that_parse_exactly)
{
    struct arena arena = {0};
    struct spec *spec = parse(&arena, GENERAL "train: {seed: \"7\", learning_rate: '1e-4', "
                                              "epochs: 2.0, batch_groups: 1e2}\n");
    EXPECT_I64(7, spec->train.seed);
    EXPECT(spec->train.learning_rate == 1e-4);
    EXPECT_I64(2, spec->train.epochs);
    EXPECT_I64(100, spec->train.batch_groups);
    spec = parse(&arena, GENERAL "checkpoint: {every: 1h30m}\nlimits: {wall_time: 90}\n"
                                 "init_head: null\nschedule: {not_before: ~}\ngate:\n");
    EXPECT(spec->checkpoint.every == 5400);
    EXPECT(spec->limits.wall_time == 90);
    EXPECT(spec->init_head);
    arena_release(&arena);
}

TEST(sources_have_short_forms)
{
    struct arena arena = {0};
    struct spec *spec = parse(&arena, "stage: customize\nfrom: g\ndata:\n  train: a.jsonl\n"
                                      "  eval: [b, {dataset: c, general: true}, {split: 0.1}]\n"
                                      "  enrich: {dataset: d, limit: 9, by: tokens, share: 0.5}\n");
    EXPECT_I64(1, spec->data.train.count);
    EXPECT_STR("a.jsonl", spec->data.train.items[0].dataset);
    EXPECT_I64(3, spec->data.eval.count);
    EXPECT(spec->data.eval.items[1].general);
    EXPECT(spec->data.eval.items[2].dataset == NULL && spec->data.eval.items[2].split == 0.1);
    EXPECT_I64(1, spec->data.enrich.sources.count);
    EXPECT_STR("d", spec->data.enrich.sources.items[0].dataset);
    EXPECT_I64(9, spec->data.enrich.sources.items[0].limit);
    EXPECT_I64(SPEC_SHARE_BY_TOKENS, spec->data.enrich.by);
    spec = parse(&arena, "stage: customize\nfrom: g\ndata: {train: a, enrich: [d, e]}\n");
    EXPECT_I64(2, spec->data.enrich.sources.count);
    spec = parse(&arena, CUSTOM "labels: {team: support, tier: gold}\nschedule: {after: job-1}\n"
                                "adapter: {type: lora, targets: [q_proj, v_proj]}\n");
    EXPECT_I64(2, spec->labels.count);
    EXPECT_STR("gold", spec->labels.items[1].value);
    EXPECT_STR("job-1", spec->schedule.after.items[0]);
    EXPECT_I64(1 << SPEC_TARGET_Q | 1 << SPEC_TARGET_V, spec->adapter.targets);
    arena_release(&arena);
}

TEST(overrides_win_over_the_file_and_reach_into_lists)
{
    static const char *const settings[] = {"train.seed=9",          "data.train+=b.jsonl",
                                           "data.train[1].limit=5", "data.train.domain=support",
                                           "labels.team=x",         "adapter={type: lora, r: 4}",
                                           "data.train[2]=c.jsonl"};
    enum { COUNT = sizeof(settings) / sizeof(settings[0]) };
    struct arena arena = {0};
    struct error error = {0};
    struct spec_override overrides[COUNT + 1];
    struct spec *spec;
    for (int i = 0; i < COUNT; i++) {
        REQUIRE(spec_override_parse(&arena, settings[i], &overrides[i], &error) == STATUS_OK);
    }
    overrides[COUNT] = (struct spec_override){
        .key = "from", .value = "./[odd]: #name", .origin = "--from", .text = true};
    const char *text = GENERAL "train: {seed: 1}\n";
    EXPECT_I64(STATUS_OK, spec_parse(&arena, "s.yaml", text, strlen(text), overrides, COUNT + 1,
                                     &spec, &error));
    EXPECT_STR("", error.text);
    EXPECT_I64(9, spec->train.seed);
    EXPECT_I64(3, spec->data.train.count);
    EXPECT_STR("support", spec->data.train.items[0].domain);
    EXPECT_I64(5, spec->data.train.items[1].limit);
    EXPECT_STR("c.jsonl", spec->data.train.items[2].dataset);
    EXPECT_STR("x", spec->labels.items[0].value);
    EXPECT_I64(4, spec->adapter.r);
    EXPECT_STR("./[odd]: #name", spec->from);
    arena_release(&arena);
}

TEST(an_override_that_leads_nowhere_is_refused)
{
    set_refused("train.sede=3", "--set: unknown field train.sede: did you mean train.seed?");
    set_refused("train.seed.x=3", "--set: train.seed is a map: it must be a whole number");
    set_refused("stage.x=3", "--set: stage.x goes into something that is no section");
    set_refused("data.train[3].limit=1",
                "--set: data.train[3].limit names entry 3, counted from 0, of a list of 1");
    set_refused("data.train[x]=1",
                "--set: data.train[x] has an entry that is no number: write [0] for the first");
    set_refused("stage+=lm", "--set: stage is no list: write = instead of +=");
    set_refused("train.dtype=[a",
                "--set: not YAML: did not find expected ',' or ']' (in train.dtype=[a)");
    set_refused("train.seed={a: 1, a: 2}", "--set: a is given twice (in train.seed={a: 1, a: 2})");
    set_refused("..=1", "--set: .. is no field's name");

    struct arena arena = {0};
    struct error error = {0};
    struct spec_override override;
    EXPECT_I64(STATUS_USAGE, spec_override_parse(&arena, "train.seed", &override, &error));
    EXPECT_STR("--set train.seed: write KEY=VALUE, such as --set train.seed=7", error.text);
    arena_release(&arena);
}

TEST(a_spec_may_come_from_options_alone)
{
    static const struct spec_override overrides[] = {
        {.key = "stage", .value = "lm"},
        {.key = "from", .value = "b"},
        {.key = "data.train", .value = "t", .text = true, .origin = "--train"}};
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec;
    EXPECT_I64(STATUS_OK, spec_read(&arena, NULL, overrides, 3, &spec, &error));
    EXPECT_STR("", error.text);
    EXPECT_I64(SPEC_STAGE_LM, spec->stage);
    EXPECT_I64(STATUS_NOT_FOUND, spec_read(&arena, "/nonexistent", overrides, 3, &spec, &error));
    arena_release(&arena);
}

TEST_MAIN()
