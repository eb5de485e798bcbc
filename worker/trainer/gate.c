/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: may the new model take its alias? A bound is met when the whole interval is on its good
 * side, broken when the whole interval is on the other, and inconclusive in between, or with fewer
 * pairs than gate.min_pairs: then gate.on_inconclusive decides. A model that is held is no failure.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "worker/trainer/outcome.h"

const char *gate_verdict_name(enum gate_verdict verdict)
{
    static const char *const names[] = {
        [GATE_NONE] = "none", [GATE_PASSED] = "passed", [GATE_HELD] = "held"};
    return names[verdict];
}

/* The sets of one kind as one dataset: only what figures read (groups, rows). */
struct joined {
    struct dataset dataset;
    float *before, *after;
};

static bool set_counts(const struct eval_set *set, bool general)
{
    return set->general == general && set->reward_before != NULL && set->reward_after != NULL;
}

static void joined_add(struct joined *joined, const struct eval_set *set, struct data_group *groups,
                       struct data_row *rows)
{
    const struct dataset *from = set->dataset;
    struct dataset *to = &joined->dataset;
    for (int64_t g = 0; g < from->group_count; g++) {
        groups[to->group_count + g] = from->groups[g];
        groups[to->group_count + g].row0 += to->row_count;
    }
    memcpy(rows + to->row_count, from->rows, sizeof(*rows) * (size_t)from->row_count);
    memcpy(joined->before + to->row_count, set->reward_before,
           sizeof(float) * (size_t)from->row_count);
    memcpy(joined->after + to->row_count, set->reward_after,
           sizeof(float) * (size_t)from->row_count);
    to->group_count += from->group_count;
    to->row_count += from->row_count;
    to->pair_count += from->pair_count;
}

/* Returns the number of pairs; 0: nothing of that kind. */
static int64_t difference_of_kind(struct session *s, bool general,
                                  struct figures_difference *difference_out)
{
    int64_t groups = 0, rows = 0;
    for (int i = 0; i < s->eval_count; i++) {
        if (!set_counts(&s->eval[i], general)) {
            continue;
        }
        groups += s->eval[i].dataset->group_count;
        rows += s->eval[i].dataset->row_count;
    }
    struct joined joined = {.before = arena_array(&s->arena, float, rows + 1),
                            .after = arena_array(&s->arena, float, rows + 1)};
    struct data_group *all_groups = arena_array(&s->arena, struct data_group, groups + 1);
    struct data_row *all_rows = arena_array(&s->arena, struct data_row, rows + 1);
    for (int i = 0; i < s->eval_count; i++) {
        if (set_counts(&s->eval[i], general)) {
            joined_add(&joined, &s->eval[i], all_groups, all_rows);
        }
    }
    joined.dataset.groups = all_groups;
    joined.dataset.rows = all_rows;
    if (joined.dataset.pair_count > 0) {
        figures_compare(&joined.dataset, joined.before, joined.after, session_confidence(s),
                        (uint64_t)s->spec->train.seed, difference_out);
    }
    return joined.dataset.pair_count;
}

/* One bound: `low … high` must lie above `bound`. Appends a sentence; returns 1 met, −1 broken, 0
 * not decided. */
static int judge_bound(struct gate *gate, const char *what, const struct figures_difference *d,
                       int64_t pairs, double bound, int64_t min_pairs)
{
    size_t used = strlen(gate->reasons);
    int verdict = d->interval.low >= bound ? 1 : d->interval.high < bound ? -1 : 0;
    const char *word = verdict > 0 ? "met" : verdict < 0 ? "broken" : "not decided";
    if (pairs < min_pairs) {
        verdict = 0;
        word = "not decided, too few pairs";
    }
    snprintf(gate->reasons + used, sizeof(gate->reasons) - used,
             "%s%s %+.1f points (%+.1f … %+.1f) on %lld pairs, bound %+.1f: %s",
             used > 0 ? "; " : "", what, 100 * d->accuracy, 100 * d->interval.low,
             100 * d->interval.high, (long long)pairs, 100 * bound, word);
    return verdict;
}

void gate_judge(struct session *s, struct gate *gate)
{
    const struct spec *spec = s->spec;
    *gate = (struct gate){0};
    int64_t general = difference_of_kind(s, true, &gate->general);
    int64_t custom = difference_of_kind(s, false, &gate->custom);
    gate->has_general = general > 0;
    gate->has_custom = custom > 0;
    if (spec->stage != SPEC_STAGE_CUSTOMIZE || (general == 0 && custom == 0)) {
        return;
    }
    int worst = 1;
    if (general > 0) {
        worst = judge_bound(gate, "general accuracy", &gate->general, general,
                            -spec->gate.general_drop_max, spec->gate.min_pairs);
    }
    if (custom > 0) {
        int verdict = judge_bound(gate, "custom accuracy", &gate->custom, custom,
                                  spec->gate.custom_gain_min, spec->gate.min_pairs);
        worst = verdict < worst ? verdict : worst;
    }
    bool passes = worst > 0 || (worst == 0 && spec->gate.on_inconclusive == SPEC_INCONCLUSIVE_PASS);
    gate->verdict = passes ? GATE_PASSED : GATE_HELD;
}
