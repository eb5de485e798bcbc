/* SPDX-License-Identifier: Apache-2.0
 *
 * Which data a run trains and measures on.
 *
 * A customize job that names no general data takes its parent's: the parent's card remembers the
 * sources it was trained and measured on. So enrichment and the general-preservation figure need no
 * typing, and the run says where they came from.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "worker/trainer/session.h"

const char *token_cache_dir(struct arena *arena)
{
    const char *own = getenv("TAILOR_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    const char *dir = own != NULL    ? own
                      : xdg != NULL  ? arena_printf(arena, "%s/tailor", xdg)
                      : home != NULL ? arena_printf(arena, "%s/.cache/tailor", home)
                                     : NULL;
    if (dir == NULL || dir_create(dir, NULL) != STATUS_OK) {
        return NULL;
    }
    return dir;
}

struct data_source source_from_spec(const struct spec_source *source)
{
    return (struct data_source){.path = source->dataset,
                                .name = source->name,
                                .domain = source->domain,
                                .pairs = source->pairs,
                                .limit = source->limit,
                                .columns = {.prompt = source->columns.prompt,
                                            .chosen = source->columns.chosen,
                                            .rejected = source->columns.rejected,
                                            .responses = source->columns.responses,
                                            .scores = source->columns.scores,
                                            .text = source->columns.text,
                                            .margin = source->columns.margin,
                                            .query = source->columns.query}};
}

/* ---- sources in a card
 * ----------------------------------------------------------------------------- */

static void put_string(json_t *object, const char *key, const char *value)
{
    if (value != NULL) {
        json_object_set_new(object, key, json_string(value));
    }
}

/* The column names, one list for both directions. */
struct column_field {
    const char *key;
    size_t offset;
};
static const struct column_field COLUMN_FIELDS[] = {
    {"prompt", offsetof(struct data_columns, prompt)},
    {"chosen", offsetof(struct data_columns, chosen)},
    {"rejected", offsetof(struct data_columns, rejected)},
    {"responses", offsetof(struct data_columns, responses)},
    {"scores", offsetof(struct data_columns, scores)},
    {"text", offsetof(struct data_columns, text)},
    {"margin", offsetof(struct data_columns, margin)},
    {"query", offsetof(struct data_columns, query)},
};
enum { COLUMN_COUNT = sizeof(COLUMN_FIELDS) / sizeof(COLUMN_FIELDS[0]) };

json_t *source_json(const struct data_source *source)
{
    json_t *json = json_object(), *columns = json_object();
    put_string(json, "dataset", source->path);
    put_string(json, "name", source->name);
    put_string(json, "domain", source->domain);
    json_object_set_new(json, "pairs", json_boolean(source->pairs));
    json_object_set_new(json, "limit", json_integer(source->limit));
    for (int i = 0; i < COLUMN_COUNT; i++) {
        put_string(
            columns, COLUMN_FIELDS[i].key,
            *(const char *const *)((const char *)&source->columns + COLUMN_FIELDS[i].offset));
    }
    json_object_set_new(json, "columns", columns);
    return json;
}

static const char *get_string(struct arena *arena, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? arena_strdup(arena, json_string_value(value)) : NULL;
}

struct data_source source_from_json(struct arena *arena, const json_t *json)
{
    struct data_source source = {.path = get_string(arena, json, "dataset"),
                                 .name = get_string(arena, json, "name"),
                                 .domain = get_string(arena, json, "domain"),
                                 .pairs = json_is_true(json_object_get(json, "pairs")),
                                 .limit = json_integer_value(json_object_get(json, "limit"))};
    const json_t *columns = json_object_get(json, "columns");
    for (int i = 0; i < COLUMN_COUNT; i++) {
        *(const char **)((char *)&source.columns + COLUMN_FIELDS[i].offset) =
            get_string(arena, columns, COLUMN_FIELDS[i].key);
    }
    return source;
}

/* The list under card.data.`which` whose files are still there. */
static int sources_of_parent(struct session *s, const char *which, struct data_source **out)
{
    const json_t *list = json_object_get(json_object_get(s->parent_card, "data"), which);
    int count = 0;
    *out = arena_array(&s->arena, struct data_source, json_array_size(list) + 1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct data_source source = source_from_json(&s->arena, json_array_get(list, i));
        if (source.path != NULL && file_exists(source.path)) {
            (*out)[count++] = source;
        }
    }
    return count;
}

/* ---- opening
 * ------------------------------------------------------------------------------------------- */

static int sources_of_spec(struct session *s, const struct spec_sources *list,
                           struct data_source **out)
{
    *out = arena_array(&s->arena, struct data_source, list->count + 1);
    for (int i = 0; i < list->count; i++) {
        (*out)[i] = source_from_spec(&list->items[i]);
        (*out)[i].language_model = session_is_lm(s);
    }
    return list->count;
}

struct admission_policy policy_from_spec(const struct spec *spec)
{
    return (struct admission_policy){.contradictions_max = spec->data.policy.contradictions_max,
                                     .duplicates_max = spec->data.policy.duplicates_max,
                                     .ties_max = spec->data.policy.ties_max,
                                     .overlong_max = spec->data.policy.overlong_max,
                                     .identical_max = spec->data.policy.identical_max,
                                     .overlap_max = spec->data.policy.overlap_max,
                                     .min_groups = spec->data.policy.min_groups,
                                     .min_pairs = spec->data.policy.min_pairs};
}

/* The verdict on data.train, before anything expensive. */
static enum status judge(struct session *s, FILE *notes, struct error *error)
{
    struct admission_policy policy = policy_from_spec(s->spec);
    struct buf reasons = {0};
    enum verdict verdict = admission_judge(s->admission, &policy, &reasons);
    enum status status = STATUS_OK;
    if (verdict == VERDICT_REJECTED) {
        status = error_set(error, STATUS_CONFLICT, "data.train is rejected: %s",
                           reasons.length > 0 ? reasons.data : "see the report");
    } else if (verdict == VERDICT_WARNINGS && notes != NULL) {
        fprintf(notes, "data: accepted with warnings: %s\n", reasons.data);
    }
    if (status == STATUS_OK && s->part[MIX_OWN]->group_count == 0) {
        status = error_set(error, STATUS_CONFLICT, "data.train: no group is left to train on");
    } else if (status == STATUS_OK && !session_is_lm(s) && s->part[MIX_OWN]->pair_count == 0 &&
               s->spec->loss.lm_loss_coeff == 0) {
        status = error_set(error, STATUS_CONFLICT,
                           "data.train: no pair with different scores is left to train on");
    }
    buf_release(&reasons);
    return status;
}

static enum status open_eval_set(struct session *s, const struct data_source *source, bool general,
                                 struct error *error)
{
    if (s->eval_count == EVAL_SETS_MAX) {
        return error_set(error, STATUS_LIMIT, "data.eval: more than %d sets", EVAL_SETS_MAX);
    }
    struct eval_set *set = &s->eval[s->eval_count];
    struct admission *admission = NULL;
    TRY(dataset_open(source, 1, &s->format, s->tokenizer, token_cache_dir(&s->arena), &set->dataset,
                     &admission, error));
    set->name = source->name != NULL ? source->name : path_base(source->path);
    set->source = *source;
    set->general = general;
    s->eval_count++;
    admission_overlap(admission, set->dataset, s->part[MIX_OWN]);
    int64_t overlap = admission_source(admission, 0)->findings[FINDING_OVERLAP];
    if (overlap > 0) {
        fprintf(stderr, "data: %lld of %lld groups of %s are also in data.train\n",
                (long long)overlap, (long long)set->dataset->group_count, set->name);
    }
    double most = s->spec->data.policy.overlap_max;
    double part = (double)overlap / (double)(set->dataset->group_count + 1);
    admission_free(admission);
    if (most >= 0 && part > most) {
        return error_set(error, STATUS_CONFLICT,
                         "data.eval: %s: %.1f %% of its prompts are also in data.train "
                         "(data.policy.overlap_max is %.1f %%)",
                         set->name, 100 * part, 100 * most);
    }
    return STATUS_OK;
}

/* {split: 0.1}: cuts evaluation from data.train. */
static enum status split_train(struct session *s, const struct spec_source *source,
                               struct error *error)
{
    struct eval_set *set = &s->eval[s->eval_count];
    struct dataset *train;
    if (s->whole != NULL) {
        return error_set(error, STATUS_USAGE, "data.eval: only one entry may be a split");
    }
    TRY(dataset_split(s->part[MIX_OWN], source->split, (uint64_t)s->spec->train.seed, &train,
                      &set->dataset, error));
    s->whole = s->part[MIX_OWN];
    s->part[MIX_OWN] = train;
    set->name = source->name != NULL ? source->name : "held-out";
    set->source = s->own_sources[0];
    s->eval_count++;
    return STATUS_OK;
}

static enum status open_evaluation(struct session *s, FILE *notes, struct error *error)
{
    const struct spec_sources *list = &s->spec->data.eval;
    bool general = s->spec->stage == SPEC_STAGE_GENERAL;
    bool any_general = general;
    for (int i = 0; i < list->count; i++) {
        if (list->items[i].split > 0) {
            TRY(split_train(s, &list->items[i], error));
        }
    }
    for (int i = 0; i < list->count; i++) {
        if (list->items[i].split > 0) {
            continue;
        }
        struct data_source source = source_from_spec(&list->items[i]);
        source.language_model = session_is_lm(s);
        any_general = any_general || list->items[i].general;
        TRY(open_eval_set(s, &source, general || list->items[i].general, error));
    }
    struct data_source *inherited;
    int count = sources_of_parent(s, "eval", &inherited);
    if (s->spec->stage != SPEC_STAGE_CUSTOMIZE || any_general || count == 0) {
        return STATUS_OK;
    }
    for (int i = 0; i < count; i++) {
        TRY(open_eval_set(s, &inherited[i], true, error));
    }
    if (notes != NULL) {
        fprintf(notes, "evaluation: the general sets are the parent's own (%d)\n", count);
    }
    return STATUS_OK;
}

static enum status open_enrichment(struct session *s, FILE *notes, struct error *error)
{
    const struct spec *spec = s->spec;
    if (spec->stage != SPEC_STAGE_CUSTOMIZE || spec->data.enrich.share <= 0) {
        return STATUS_OK;
    }
    s->general_source_count = sources_of_spec(s, &spec->data.enrich.sources, &s->general_sources);
    bool named = s->general_source_count > 0;
    if (!named) {
        s->general_source_count = sources_of_parent(s, "train", &s->general_sources);
    }
    if (s->general_source_count == 0) {
        if (notes != NULL) {
            fprintf(notes, "enrichment: off, since the parent remembers no general data that is "
                           "still there; name some with --enrich FILE\n");
        }
        return STATUS_OK;
    }
    TRY(dataset_open(s->general_sources, s->general_source_count, &s->format, s->tokenizer,
                     token_cache_dir(&s->arena), &s->part[MIX_GENERAL], NULL, error));
    if (notes != NULL) {
        fprintf(
            notes, "enrichment: %.0f %% of the mix (by %s) from %s general data (%lld groups)\n",
            100 * spec->data.enrich.share, spec_choice_name("data.enrich.by", spec->data.enrich.by),
            named ? "the named" : "the parent's own", (long long)s->part[MIX_GENERAL]->group_count);
    }
    return STATUS_OK;
}

/* A customize job's own eval sets are custom; general's are general; samples for use while
 * training. */
enum status session_open_data(struct session *s, FILE *notes, struct error *error)
{
    const struct spec *spec = s->spec;
    s->own_source_count = sources_of_spec(s, &spec->data.train, &s->own_sources);
    CHECK(s->own_source_count > 0);
    TRY(dataset_open(s->own_sources, s->own_source_count, &s->format, s->tokenizer,
                     token_cache_dir(&s->arena), &s->part[MIX_OWN], &s->admission, error));
    TRY(judge(s, notes, error));
    TRY(open_evaluation(s, notes, error));
    TRY(open_enrichment(s, notes, error));
    for (int i = 0; i < s->eval_count; i++) {
        s->eval[i].sample = dataset_sample(s->eval[i].dataset, spec->evaluate.max_pairs,
                                           (uint64_t)spec->train.seed);
    }
    return STATUS_OK;
}
