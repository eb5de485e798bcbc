/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores travel as decimal numbers with 9 digits, which restore a float exactly.
 */
#include "worker/trainer/continuity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/json.h"
#include "lib/limits.h"

/* A float as the double that prints shortest and restores it. */
static double printable(float value)
{
    char text[32];
    snprintf(text, sizeof(text), "%.9g", (double)value);
    return strtod(text, NULL);
}

json_t *continuity_probes(const struct scorer *scorer, const struct dataset *dataset)
{
    json_t *probes = json_array();
    for (int64_t r = 0; r < dataset->row_count && json_array_size(probes) < PROBES_COUNT; r++) {
        const struct data_row *row = &dataset->rows[r];
        const int32_t *ids = dataset->tokens + row->token0;
        /* A long row is cut at its front: its end is what is scored. */
        int32_t count = row->tokens < PROBE_TOKENS_MAX ? row->tokens : PROBE_TOKENS_MAX;
        ids += row->tokens - count;
        json_t *list = json_array(), *probe = json_object();
        for (int32_t i = 0; i < count; i++) {
            json_array_append_new(list, json_integer(ids[i]));
        }
        json_object_set_new(probe, "ids", list);
        json_object_set_new(probe, "score", json_real(printable(scorer_row(scorer, ids, count))));
        json_array_append_new(probes, probe);
    }
    return probes;
}

static enum status probe_ids(const json_t *probe, int32_t vocabulary, int32_t limit, int32_t *ids,
                             int32_t *count_out, struct error *error)
{
    const json_t *list = json_object_get(probe, "ids");
    size_t count = json_array_size(list);
    if (count == 0 || count > (size_t)limit || !json_is_number(json_object_get(probe, "score"))) {
        return error_set(error, STATUS_FORMAT,
                         "tailor.json: a probe needs 1 to %d \"ids\" and a \"score\"", limit);
    }
    for (size_t i = 0; i < count; i++) {
        json_int_t id = json_integer_value(json_array_get(list, i));
        if (id < 0 || id >= vocabulary) {
            return error_set(error, STATUS_FORMAT,
                             "tailor.json: a probe's id %lld is not in the vocabulary",
                             (long long)id);
        }
        ids[i] = (int32_t)id;
    }
    *count_out = (int32_t)count;
    return STATUS_OK;
}

/* Every probe of the card against its score; `same`: bit for bit. */
static enum status probes_check(const struct scorer *scorer, const json_t *card, bool same,
                                int *checked_out, struct error *error)
{
    const json_t *probes = json_object_get(card, "probes");
    int32_t limit = scorer->acts->capacity.row_tokens_max;
    limit = limit < PROBE_TOKENS_MAX ? limit : PROBE_TOKENS_MAX;
    for (size_t i = 0; i < json_array_size(probes); i++) {
        const json_t *probe = json_array_get(probes, i);
        int32_t ids[PROBE_TOKENS_MAX], count;
        TRY(probe_ids(probe, scorer->model->config.V, limit, ids, &count, error));
        float expected = (float)json_number_value(json_object_get(probe, "score"));
        float got = scorer_row(scorer, ids, count);
        double allowed = same ? 0 : CONTINUITY_TOLERANCE * fmax(1, fabs(expected));
        if (!(fabs((double)got - expected) <= allowed)) {
            return error_set(error, STATUS_CONFLICT,
                             "head continuity: probe %zu scored %.9g when the model was saved and "
                             "scores %.9g here (%s); weights, head, tokenizer or template are not "
                             "the ones that were saved",
                             i + 1, (double)expected, (double)got,
                             same ? "same numerics: the bits must agree"
                                  : "other numerics: beyond the tolerance");
        }
    }
    *checked_out = (int)json_array_size(probes);
    return STATUS_OK;
}

enum status continuity_check(const struct scorer *scorer, const json_t *card, int *checked_out,
                             struct error *error)
{
    const char *numerics = json_string_value(json_object_get(card, "numerics"));
    /* In the dtype of old: rounding to bf16 moves a score further than the tolerance. */
    struct device *device = scorer->acts->device;
    const enum dtype own = device->dtype;
    device->dtype = numerics != NULL ? numerics_dtype(numerics) : own;
    bool same = numerics != NULL && strcmp(numerics, device_numerics(device)) == 0;
    enum status status = probes_check(scorer, card, same, checked_out, error);
    device->dtype = own;
    return status;
}
