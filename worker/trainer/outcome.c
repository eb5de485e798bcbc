/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of writing: rows, result, model with its card last. A run is finished when
 * RUN/model/tailor.json is there.
 */
#include "worker/trainer/outcome.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/table.h"
#include "lib/text.h"
#include "worker/trainer/preview.h"

enum status outcome_begin(struct session *s, struct error *error)
{
    (void)error;
    fprintf(stderr, "the first row, as the model sees it:\n");
    preview_row(s->tokenizer, &s->format, s->part[MIX_OWN], 0, false, stderr);
    return STATUS_OK;
}

/* ---- result.json
 * -------------------------------------------------------------------------------------- */

static json_t *set_json(struct session *s, const struct eval_set *set)
{
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(set->name));
    json_object_set_new(json, "general", json_boolean(set->general));
    if (session_is_lm(s)) {
        json_object_set_new(json, "nll_before", json_real(set->nll_before));
        json_object_set_new(json, "nll_after", json_real(set->nll_after));
        return json;
    }
    struct figures_difference difference;
    figures_compare(set->dataset, set->reward_before, set->reward_after, session_confidence(s),
                    (uint64_t)s->spec->train.seed, &difference);
    json_object_set_new(json, "before", figures_json(&set->before));
    json_object_set_new(json, "after", figures_json(&set->after));
    json_object_set_new(json, "difference", figures_difference_json(&difference));
    return json;
}

static json_t *mix_json(const struct session *s, const struct train_state *state)
{
    json_t *mix = json_object();
    double pairs = (double)(state->part_pairs[MIX_OWN] + state->part_pairs[MIX_GENERAL]);
    json_object_set_new(mix, "own_groups", json_integer(s->part[MIX_OWN]->group_count));
    json_object_set_new(mix, "own_pairs", json_integer(state->part_pairs[MIX_OWN]));
    json_object_set_new(mix, "own_tokens", json_integer(state->part_tokens[MIX_OWN]));
    json_object_set_new(mix, "general_pairs", json_integer(state->part_pairs[MIX_GENERAL]));
    json_object_set_new(mix, "general_tokens", json_integer(state->part_tokens[MIX_GENERAL]));
    json_object_set_new(mix, "general_share_of_pairs",
                        pairs > 0 ? json_real((double)state->part_pairs[MIX_GENERAL] / pairs)
                                  : json_null());
    return mix;
}

static json_t *gate_json(const struct gate *gate)
{
    json_t *json = json_object(), *reasons = json_array();
    json_object_set_new(json, "verdict", json_string(gate_verdict_name(gate->verdict)));
    if (gate->reasons[0] != '\0') {
        json_array_append_new(reasons, json_string(gate->reasons));
    }
    json_object_set_new(json, "reasons", reasons);
    return json;
}

static json_t *result_json(struct session *s, const struct train_state *state,
                           const struct gate *gate, const struct findings *findings)
{
    json_t *json = json_object(), *sets = json_array();
    for (int i = 0; i < s->eval_count; i++) {
        json_array_append_new(sets, set_json(s, &s->eval[i]));
    }
    json_object_set_new(json, "name",
                        s->spec->name != NULL ? json_string(s->spec->name) : json_null());
    json_object_set_new(json, "stage", json_string(spec_choice_name("stage", s->spec->stage)));
    json_object_set_new(json, "from", json_string(s->spec->from));
    json_object_set_new(json, "steps", json_integer(state->step));
    json_object_set_new(json, "best_step",
                        json_integer(state->best_step > 0 ? state->best_step : state->step));
    json_object_set_new(json, "tokens", json_integer(state->tokens));
    json_object_set_new(json, "seconds", json_real(state->seconds));
    json_object_set_new(json, "nonfinite_steps", json_integer(state->nonfinite));
    json_object_set_new(json, "numerics", json_string(device_numerics(s->device)));
    json_object_set_new(json, "mix", mix_json(s, state));
    json_object_set_new(json, "sets", sets);
    json_object_set_new(json, "general_preservation",
                        gate->has_general ? figures_difference_json(&gate->general) : json_null());
    json_object_set_new(json, "custom_gain",
                        gate->has_custom ? figures_difference_json(&gate->custom) : json_null());
    json_object_set_new(json, "gate", gate_json(gate));
    json_object_set_new(json, "findings", findings_json(findings));
    return json;
}

/* ---- the final table
 * ------------------------------------------------------------------------------------ */

static void percent(char out[48], const struct figures *figures)
{
    snprintf(out, 48, "%.1f %% (%.1f … %.1f)", 100 * figures->accuracy,
             100 * figures->accuracy_interval.low, 100 * figures->accuracy_interval.high);
}

static void print_table(struct session *s)
{
    struct table *table = session_is_lm(s)
                              ? table_create("set", "rows", "loss before", "after")
                              : table_create("set", "taste", "pairs", "accuracy before", "after",
                                             "difference", "log-loss before", "after", "ECE");
    for (int i = 0; i < s->eval_count; i++) {
        const struct eval_set *set = &s->eval[i];
        char count[32], before[48], after[48], change[64], nll[2][16], ece[16];
        snprintf(count, sizeof(count), "%lld",
                 (long long)(session_is_lm(s) ? set->dataset->row_count : set->before.pairs));
        if (session_is_lm(s)) {
            snprintf(before, sizeof(before), "%.4f", set->nll_before);
            snprintf(after, sizeof(after), "%.4f", set->nll_after);
            table_row(table, set->name, count, before, after);
            continue;
        }
        struct figures_difference d;
        figures_compare(set->dataset, set->reward_before, set->reward_after, session_confidence(s),
                        (uint64_t)s->spec->train.seed, &d);
        percent(before, &set->before);
        percent(after, &set->after);
        snprintf(change, sizeof(change), "%+.1f (%+.1f … %+.1f)", 100 * d.accuracy,
                 100 * d.interval.low, 100 * d.interval.high);
        snprintf(nll[0], sizeof(nll[0]), "%.3f", set->before.nll);
        snprintf(nll[1], sizeof(nll[1]), "%.3f", set->after.nll);
        snprintf(ece, sizeof(ece), "%.3f", set->after.ece);
        table_row(table, set->name, set->general ? "general" : "custom", count, before, after,
                  change, nll[0], nll[1], ece);
    }
    table_print(table, TABLE_FORMAT_TABLE, stdout);
    table_free(table);
}

static void print_outcome(struct session *s, const struct train_state *state,
                          const struct gate *gate)
{
    char time_text[16], rate[16];
    format_duration(state->seconds, time_text);
    format_count((double)state->tokens / (state->seconds > 0 ? state->seconds : 1), rate);
    if (s->eval_count > 0) {
        print_table(s);
    }
    printf("%lld steps, %s, %s tokens/s", (long long)state->step, time_text, rate);
    if (state->best_step > 0 && state->best_step != state->step) {
        printf("; the model is that of step %lld, the best of the evaluations",
               (long long)state->best_step);
    }
    printf("\n");
    if (gate->has_general && s->spec->stage == SPEC_STAGE_CUSTOMIZE) {
        printf("general preservation: %+.1f points (%+.1f … %+.1f)\n", 100 * gate->general.accuracy,
               100 * gate->general.interval.low, 100 * gate->general.interval.high);
    }
    if (gate->verdict != GATE_NONE) {
        printf("gate: %s (%s)\n", gate_verdict_name(gate->verdict), gate->reasons);
    }
    printf("model: %s/model\n", s->run);
    fflush(stdout);
}

enum status outcome_write(struct session *s, const struct train_state *state,
                          struct findings *findings, struct error *error)
{
    struct gate gate = {0};
    struct journal journal = {0};
    char path[4096];
    path_join(journal.events_path, sizeof(journal.events_path), s->run, "events.jsonl");
    if (!session_is_lm(s)) {
        gate_judge(s, &gate);
        for (int i = 0; i < s->eval_count; i++) {
            TRY(findings_on_figures(findings, &journal, state->step, s->eval[i].name,
                                    &s->eval[i].after, error));
        }
        TRY(outcome_rows_write(s, error));
    }
    json_t *result = result_json(s, state, &gate, findings);
    path_join(path, sizeof(path), s->run, "result.json");
    enum status status = json_write_file(path, result, error);
    if (status == STATUS_OK) {
        status = outcome_model_save(s, state, result, error);
    }
    json_decref(result);
    if (status == STATUS_OK) {
        print_outcome(s, state, &gate);
    }
    return status;
}
