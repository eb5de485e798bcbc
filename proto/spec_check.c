/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_check: one small function a section; each sentence says what is wrong and what to write.
 *
 * A check looks at values, not at who gave them, wherever that is enough: so a resolved spec, in
 * which everything is given, passes them again. Rejected: rules as table rows; no two have the same
 * shape.
 */
#include "proto/spec_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"

static const struct spec_node *node_of(const struct spec_given *given, const char *field)
{
    const struct spec_row *row = spec_row_find(&spec_rows, field);
    CHECK(row != NULL);
    return given->nodes[row - spec_rows.items];
}

/* A sentence that begins with the field; in front of it the line where the field was given. */
static enum status bad(const struct spec_given *given, struct error *error, const char *field,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

static enum status bad(const struct spec_given *given, struct error *error, const char *field,
                       const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const struct spec_node *node = node_of(given, field);
    struct spec_node nowhere = {.origin = given->name};
    return spec_node_error(node ? node : &nowhere, error, "%s %s", field, text);
}

/* ---- the stage ---- */
enum status spec_check_stage(const struct spec *spec, const struct spec_given *given,
                             struct error *error)
{
    if (spec->stage == SPEC_STAGE_UNSET) {
        return bad(given, error, "stage",
                   "is missing: write lm, general, customize, evaluate, score, admit, serve, "
                   "import or export");
    }
    const char *stage = spec_choice_name("stage", (int)spec->stage);
    if ((spec->preset == SPEC_PRESET_PAPER_GENERAL && spec->stage != SPEC_STAGE_GENERAL) ||
        (spec->preset == SPEC_PRESET_PAPER_CUSTOM && spec->stage != SPEC_STAGE_CUSTOMIZE)) {
        return bad(given, error, "preset", "%s is not for stage %s: %s",
                   spec_choice_name("preset", (int)spec->preset), stage,
                   spec->stage == SPEC_STAGE_GENERAL     ? "write paper-general"
                   : spec->stage == SPEC_STAGE_CUSTOMIZE ? "write paper-custom"
                                                         : "leave it out");
    }
    for (int i = 0; i < spec_rows.count; i++) {
        const struct spec_row *row = &spec_rows.items[i];
        if (given->nodes[i] && !(row->stages & 1u << spec->stage)) {
            return bad(given, error, row->name, "has no meaning in stage %s: leave it out", stage);
        }
    }
    return STATUS_OK;
}

/* ---- data ---- */
static enum status check_source(const struct spec_given *given, struct error *error,
                                const char *list, const struct spec_sources *sources, int index)
{
    const struct spec_source *source = &sources->items[index];
    bool evaluation = strcmp(list, "data.eval") == 0;
    const char *trouble = NULL;
    if (source->split > 0 && !evaluation) {
        trouble = "split belongs to data.eval: {split: 0.1} there cuts it from data.train";
    } else if (source->general && !evaluation) {
        trouble = "general belongs to data.eval: general data to train on goes to data.enrich";
    } else if (source->split > 0 && source->dataset) {
        trouble = "has both dataset and split: write one of them";
    } else if (source->split > 0 && source->general) {
        trouble = "a part of data.train is not general: leave general out";
    } else if (source->split <= 0 && !source->dataset) {
        trouble = "has no dataset: name a file or a dataset";
    } else if (source->pairs && !source->domain) {
        trouble = "pairs splits a group by its domain: write domain too";
    }
    if (!trouble) {
        return STATUS_OK;
    }
    const struct spec_node *node = node_of(given, list);
    CHECK(node && index < node->count);
    return spec_node_error(node->items[index], error, "%s[%d] %s", list, index, trouble);
}

static enum status check_data(const struct spec *spec, const struct spec_given *given,
                              struct error *error)
{
    const struct {
        const char *name;
        const struct spec_sources *sources;
    } lists[] = {{"data.train", &spec->data.train},
                 {"data.eval", &spec->data.eval},
                 {"data.enrich.sources", &spec->data.enrich.sources}};
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < lists[i].sources->count; k++) {
            TRY(check_source(given, error, lists[i].name, lists[i].sources, k));
        }
    }
    bool trains = SPEC_IN_TRAINING & 1u << spec->stage;
    bool needs_none = spec->stage == SPEC_STAGE_SERVE || spec->stage == SPEC_STAGE_IMPORT ||
                      spec->stage == SPEC_STAGE_EXPORT;
    if (trains && spec->data.train.count == 0) {
        return bad(given, error, "data.train", "is missing: name the data to train on");
    }
    if (!trains && !needs_none && spec->data.eval.count == 0) {
        return bad(given, error, "data.eval", "is missing: name the data to %s",
                   spec->stage == SPEC_STAGE_SCORE   ? "score"
                   : spec->stage == SPEC_STAGE_ADMIT ? "judge"
                                                     : "measure on");
    }
    int splits = 0;
    for (int i = 0; i < spec->data.eval.count; i++) {
        splits += spec->data.eval.items[i].split > 0;
    }
    if (splits > 1 || (splits > 0 && !trains)) {
        return bad(given, error, "data.eval", "%s",
                   trains ? "has two splits: data.train can be cut once"
                          : "has a split, but there is no data.train to cut in this stage");
    }
    if (spec->data.enrich.sources.count > 0 && spec->data.enrich.share <= 0) {
        return bad(given, error, "data.enrich.share",
                   "is 0, which uses nothing of data.enrich.sources: leave one of them out");
    }
    return STATUS_OK;
}

/* ---- model, adapter ---- */
static enum status check_model(const struct spec *spec, const struct spec_given *given,
                               struct error *error)
{
    bool prefixes = spec->model.template == SPEC_TEMPLATE_PREFIXES;
    if (prefixes && !spec->model.prefixes.assistant_prefix) {
        return bad(given, error, "model.prefixes.assistant_prefix",
                   "is missing: template: prefixes needs the text before a response");
    }
    for (int i = 0; i < spec_rows.count && !prefixes; i++) {
        const char *name = spec_rows.items[i].name;
        if (given->nodes[i] && strncmp(name, "model.prefixes.", 15) == 0) {
            return bad(given, error, name, "has no effect: write model.template: prefixes too");
        }
    }
    if (spec->model.max_length > spec->train.max_tokens_per_batch) {
        return bad(given, error, "train.max_tokens_per_batch",
                   "is %" PRId64 ", which a row of model.max_length %" PRId64
                   " would not fit: raise it",
                   spec->train.max_tokens_per_batch, spec->model.max_length);
    }
    return STATUS_OK;
}

static enum status check_adapter(const struct spec *spec, const struct spec_given *given,
                                 struct error *error)
{
    if (spec->adapter.dropout > 0) {
        return bad(given, error, "adapter.dropout",
                   "must be 0: dropout would break the exact sharing of a group's prompt; for "
                   "regularisation use train.weight_decay or a smaller adapter.r");
    }
    for (int i = 0; i < spec_rows.count && !node_of(given, "adapter.type"); i++) {
        const char *name = spec_rows.items[i].name;
        if (given->nodes[i] && strncmp(name, "adapter.", 8) == 0) {
            return bad(given, error, name, "has no effect: write adapter.type: lora too");
        }
    }
    return STATUS_OK;
}

/* ---- training ---- */
static enum status check_schedule(const struct spec *spec, const struct spec_given *given,
                                  struct error *error)
{
    enum spec_scheduler scheduler = spec->train.lr_scheduler_type;
    if (scheduler == SPEC_SCHEDULER_CONSTANT &&
        (spec->train.warmup_ratio > 0 || spec->train.warmup_steps > 0)) {
        return bad(given, error,
                   spec->train.warmup_steps > 0 ? "train.warmup_steps" : "train.warmup_ratio",
                   "has no effect with constant: write lr_scheduler_type: constant_with_warmup");
    }
    if (scheduler != SPEC_SCHEDULER_COSINE_WITH_MIN_LR && spec->train.min_lr_rate > 0) {
        return bad(given, error, "train.min_lr_rate",
                   "has no effect with %s: write lr_scheduler_type: cosine_with_min_lr",
                   spec_choice_name("train.lr_scheduler_type", (int)scheduler));
    }
    return STATUS_OK;
}

static enum status check_evaluation(const struct spec *spec, const struct spec_given *given,
                                    struct error *error)
{
    bool evaluates = spec->evaluate.every_steps > 0;
    if (evaluates && spec->data.eval.count == 0) {
        return bad(given, error, "evaluate.every_steps",
                   "needs data.eval: name the data, or write {split: 0.1}");
    }
    if (spec->checkpoint.keep_best.by != SPEC_KEEP_BEST_NONE && !evaluates) {
        return bad(given, error, "checkpoint.keep_best.by",
                   "needs evaluations: write data.eval and evaluate.every_steps, or by: none");
    }
    if (spec->checkpoint.keep_best.subject_to == SPEC_SUBJECT_TO_GENERAL_DROP && !evaluates) {
        return bad(given, error, "checkpoint.keep_best.subject_to",
                   "needs evaluations: write data.eval and evaluate.every_steps, or none");
    }
    return STATUS_OK;
}

static enum status check_ranks(const struct spec *spec, const struct spec_given *given,
                               struct error *error)
{
    int64_t ranks = spec->resources.ranks;
    if (spec->resources.min_ranks > ranks) {
        return bad(given, error, "resources.min_ranks", "is %" PRId64 ", more than ranks %" PRId64,
                   spec->resources.min_ranks, ranks);
    }
    if (spec->train.slices < ranks) {
        return bad(given, error, "train.slices",
                   "is %" PRId64 ", fewer than resources.ranks %" PRId64
                   ": each rank needs a slice",
                   spec->train.slices, ranks);
    }
    return STATUS_OK;
}

enum status spec_check(const struct spec *spec, const struct spec_given *given, struct error *error)
{
    if (!spec->from) {
        bool base = spec->stage == SPEC_STAGE_LM || spec->stage == SPEC_STAGE_GENERAL;
        return bad(given, error, "from", "is missing: name the %s",
                   base ? "base to start from" : "model");
    }
    TRY(check_data(spec, given, error));
    TRY(check_model(spec, given, error));
    TRY(check_adapter(spec, given, error));
    if (SPEC_IN_TRAINING & 1u << spec->stage) {
        TRY(check_schedule(spec, given, error));
        TRY(check_evaluation(spec, given, error));
    }
    TRY(check_ranks(spec, given, error));
    if (spec->export.format == SPEC_LAYOUT_PEFT && spec->export.merge) {
        return bad(given, error, "export.merge",
                   "folds the adapter into the weights, which leaves nothing for format: peft: "
                   "leave one of them out");
    }
    if (spec->output.alias && !spec->output.model) {
        return bad(given, error, "output.alias", "needs output.model: an alias names its version");
    }
    return STATUS_OK;
}
