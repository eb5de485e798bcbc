/* SPDX-License-Identifier: Apache-2.0
 *
 * Names are those of the struct, so that a reader of result.json finds their meaning in figures.h.
 */
#include <math.h>
#include <stdio.h>

#include "worker/trainer/figures.h"

static json_t *number(double value)
{
    if (isnan(value)) {
        return json_null();
    }
    if (isinf(value)) {
        return json_string(value > 0 ? "inf" : "-inf");
    }
    return json_real(value);
}

static json_t *interval_json(const struct interval *interval)
{
    json_t *json = json_array();
    json_array_append_new(json, number(interval->low));
    json_array_append_new(json, number(interval->high));
    return json;
}

static void put_real(json_t *json, const char *key, double value)
{
    json_object_set_new(json, key, number(value));
}

static void put_count(json_t *json, const char *key, int64_t value)
{
    json_object_set_new(json, key, json_integer(value));
}

static json_t *bins_json(const struct reliability_bin *bins)
{
    json_t *list = json_array();
    for (int32_t b = 0; b < FIGURES_BINS; b++) {
        json_t *bin = json_object();
        put_count(bin, "count", bins[b].count);
        put_real(bin, "confidence", bins[b].count > 0 ? bins[b].confidence : NAN);
        put_real(bin, "correct", bins[b].count > 0 ? bins[b].correct : NAN);
        json_array_append_new(list, bin);
    }
    return list;
}

json_t *figures_json(const struct figures *f)
{
    json_t *json = json_object();
    put_count(json, "groups", f->groups);
    put_count(json, "rows", f->rows);
    put_count(json, "pairs", f->pairs);
    put_count(json, "correct", f->correct);
    put_count(json, "ties", f->ties);
    put_real(json, "accuracy", f->accuracy);
    json_object_set_new(json, "accuracy_interval", interval_json(&f->accuracy_interval));
    put_real(json, "paper_total_accuracy", f->paper_total_accuracy);
    put_real(json, "paper_first_two_accuracy", f->paper_first_two_accuracy);
    put_real(json, "margin", f->margin);
    put_real(json, "brier", f->brier);
    put_real(json, "nll", f->nll);
    put_real(json, "ece", f->ece);
    put_real(json, "temperature", f->temperature);
    put_real(json, "nll_at_temperature", f->nll_at_temperature);
    put_real(json, "auc", f->auc);
    put_real(json, "reward_mean", f->reward_mean);
    put_real(json, "reward_deviation", f->reward_deviation);
    put_real(json, "reward_min", f->reward_min);
    put_real(json, "reward_max", f->reward_max);
    put_real(json, "length_correlation", f->length_correlation);
    put_real(json, "longer_preferred", f->longer_preferred);
    json_object_set_new(json, "bins", bins_json(f->bins));
    return json;
}

json_t *figures_difference_json(const struct figures_difference *difference)
{
    json_t *json = json_object();
    put_real(json, "accuracy", difference->accuracy);
    json_object_set_new(json, "interval", interval_json(&difference->interval));
    put_count(json, "gained", difference->gained);
    put_count(json, "lost", difference->lost);
    return json;
}

/* ---- for people ------------------------------------------------------------------------------ */

struct table *figures_table(void)
{
    return table_create("data", "pairs", "accuracy", "margin", "log-loss", "brier", "ece",
                        "temperature", "auc", "length corr.");
}

void figures_row(struct table *table, const char *name, const struct figures *f)
{
    char pairs[32], accuracy[48], margin[16], nll[16], brier[16], ece[16], temperature[16], auc[16],
        length[16];
    snprintf(pairs, sizeof(pairs), "%lld", (long long)f->pairs);
    snprintf(accuracy, sizeof(accuracy), "%.1f %% (%.1f … %.1f)", 100 * f->accuracy,
             100 * f->accuracy_interval.low, 100 * f->accuracy_interval.high);
    snprintf(margin, sizeof(margin), "%.3f", f->margin);
    snprintf(nll, sizeof(nll), "%.4f", f->nll);
    snprintf(brier, sizeof(brier), "%.4f", f->brier);
    snprintf(ece, sizeof(ece), "%.4f", f->ece);
    snprintf(temperature, sizeof(temperature), "%.3g", f->temperature);
    snprintf(auc, sizeof(auc), "%.4f", f->auc);
    snprintf(length, sizeof(length), "%.2f", f->length_correlation);
    table_row(table, name, pairs, accuracy, margin, nll, brier, ece, temperature, auc, length);
}
