/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_rows: see batch_rows.h. What a recipe names (`from` and each source's dataset and name) are
 * its *places*: they are the same in every row, since a cell never adds structure.
 *
 * Uploads go one after the other: what they wait for is the store's fsync, which is one disk's.
 */
#include "client/batch_rows.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/option.h"

enum { PLACES_MAX = 128, SAID_EVERY = 50 };

struct place {
    const char *path;    /* "data.train[0].dataset" */
    const char **values; /* of each row, after the uploads; "" for none */
    bool changed;        /* by an upload, in some row */
};

struct work {
    const struct batch_rows *in;
    struct arena *arena; /* of the service: lives as long as the request */
    struct spec_override overrides[OPTION_LIST_MAX];
    struct place places[PLACES_MAX];
    int place_count;
    const char **refusals; /* of each row; NULL: none */
};

/* ---- places ---------------------------------------------------------------------------------- */

static int list_places(struct arena *arena, const char *list, struct spec_sources *sources,
                       const char *paths[PLACES_MAX], const char **values[PLACES_MAX], int count)
{
    for (int i = 0; i < sources->count && count + 2 <= PLACES_MAX; i++) {
        paths[count] = arena_printf(arena, "%s[%d].dataset", list, i);
        values[count++] = &sources->items[i].dataset;
        paths[count] = arena_printf(arena, "%s[%d].name", list, i);
        values[count++] = &sources->items[i].name;
    }
    return count;
}

static int places_of(struct arena *arena, struct spec *spec, const char *paths[PLACES_MAX],
                     const char **values[PLACES_MAX])
{
    int count = 1;
    paths[0] = "from";
    values[0] = &spec->from;
    count = list_places(arena, "data.train", &spec->data.train, paths, values, count);
    count = list_places(arena, "data.eval", &spec->data.eval, paths, values, count);
    return list_places(arena, "data.enrich.sources", &spec->data.enrich.sources, paths, values,
                       count);
}

/* ---- one row --------------------------------------------------------------------------------- */

static struct spec_cells cells_of(struct arena *arena, const struct csv *csv, int row)
{
    struct spec_cells cells = {arena_array(arena, struct spec_cell, csv->column_count),
                               csv->column_count};
    for (int i = 0; i < csv->column_count; i++) {
        cells.items[i] = (struct spec_cell){csv->columns[i], csv->rows[row].cells[i], false};
    }
    return cells;
}

static struct place *place_find(struct work *it, const char *path)
{
    for (int i = 0; i < it->place_count; i++) {
        if (strcmp(it->places[i].path, path) == 0) {
            return &it->places[i];
        }
    }
    CHECK(it->place_count < PLACES_MAX);
    struct place *place = &it->places[it->place_count++];
    *place = (struct place){.path = arena_strdup(it->arena, path)};
    place->values = arena_array(it->arena, const char *, it->in->csv->row_count);
    return place;
}

static enum status upload_row(struct work *it, int row, struct arena *arena, struct error *error)
{
    const struct batch_rows *in = it->in;
    struct spec *spec;
    struct spec_cells cells = cells_of(arena, in->csv, row);
    const char *paths[PLACES_MAX], **values[PLACES_MAX], *before[PLACES_MAX];
    TRY(spec_parse_row(arena, in->recipe_path, in->recipe, strlen(in->recipe), it->overrides,
                       in->set->count, &cells, &spec, error));
    int count = places_of(arena, spec, paths, values);
    for (int i = 0; i < count; i++) {
        before[i] = *values[i];
    }
    struct service service = *in->service;
    service.arena = arena;
    const struct upload upload = {&service, spec->tenant ? spec->tenant : in->tenant, true, NULL};
    TRY(upload_spec(&upload, spec, error));
    for (int i = 0; i < count; i++) {
        struct place *place = place_find(it, paths[i]);
        place->changed |= *values[i] != before[i];
        place->values[row] = arena_strdup(it->arena, *values[i] ? *values[i] : "");
    }
    return STATUS_OK;
}

/* What has nothing to do with the row. */
static bool ends_all(enum status status)
{
    return status == STATUS_COMMUNICATION || status == STATUS_DENIED || status == STATUS_FAILED;
}

static void say_progress(const struct work *it, int done)
{
    int count = it->in->csv->row_count;
    bool terminal = isatty(STDERR_FILENO);
    if (it->in->quiet || (done % SAID_EVERY != 0 && done != count)) {
        return;
    }
    fprintf(stderr, "%srows looked at: %d of %d%s", terminal ? "\r" : "", done, count,
            terminal && done < count ? "" : "\n");
}

static enum status upload_all(struct work *it, struct error *error)
{
    for (int i = 0; i < it->in->csv->row_count; i++) {
        struct arena arena = {0};
        enum status status = upload_row(it, i, &arena, error);
        arena_release(&arena);
        if (status != STATUS_OK && ends_all(status)) {
            return status;
        }
        if (status != STATUS_OK) {
            it->refusals[i] = arena_strdup(it->arena, error->text);
        }
        say_progress(it, i + 1);
    }
    return STATUS_OK;
}

/* ---- the request ----------------------------------------------------------------------------- */

static char *row_json(const struct work *it, int row)
{
    const struct csv *csv = it->in->csv;
    json_t *object = json_object();
    struct buf text = {0};
    for (int i = 0; i < csv->column_count; i++) {
        json_object_set_new(object, csv->columns[i], json_string(csv->rows[row].cells[i]));
    }
    for (int i = 0; i < it->place_count; i++) {
        const struct place *place = &it->places[i];
        if (place->changed) {
            json_object_set_new(object, place->path,
                                json_string(place->values[row] ? place->values[row] : ""));
        }
    }
    json_append(&text, object);
    json_decref(object);
    char *json = arena_strdup(it->arena, text.data);
    buf_release(&text);
    return json;
}

static enum status put_set(const struct work *it, Api__BatchSubmitRequest *request,
                           struct error *error)
{
    const struct option_list *set = it->in->set;
    request->set = arena_array(it->arena, char *, OPTION_LIST_MAX);
    for (int i = 0; i < set->count; i++) {
        request->set[request->n_set++] = (char *)set->items[i]; /* protobuf-c knows no const */
    }
    for (int i = 0; i < it->place_count; i++) {
        if (!it->places[i].changed) {
            continue;
        }
        if (request->n_set == OPTION_LIST_MAX) {
            return error_set(error, STATUS_LIMIT, "more than %d changes by --set", OPTION_LIST_MAX);
        }
        request->set[request->n_set++] =
            arena_printf(it->arena, "%s=${%s}", it->places[i].path, it->places[i].path);
    }
    return STATUS_OK;
}

static void put_refused(const struct work *it, Api__BatchSubmitRequest *request)
{
    for (int i = 0; i < it->in->csv->row_count; i++) {
        if (it->refusals[i]) {
            Api__BatchRefusal *refusal = message_add(it->arena, request, "refused");
            refusal->has_row = true;
            refusal->row = i + 1;
            refusal->error = (char *)it->refusals[i];
        }
    }
}

enum status batch_rows_put(const struct batch_rows *in, Api__BatchSubmitRequest *request,
                           struct error *error)
{
    struct arena *arena = in->service->arena;
    struct work *it = arena_new(arena, struct work);
    it->in = in;
    it->arena = arena;
    it->refusals = arena_array(arena, const char *, in->csv->row_count);
    for (int i = 0; i < in->set->count; i++) {
        TRY(spec_override_parse(arena, in->set->items[i], &it->overrides[i], error));
    }
    TRY(upload_all(it, error));
    TRY(put_set(it, request, error));
    request->recipe = (char *)in->recipe;
    request->rows = arena_array(arena, char *, in->csv->row_count);
    request->n_rows = (size_t)in->csv->row_count;
    for (int i = 0; i < in->csv->row_count; i++) {
        request->rows[i] = row_json(it, i);
    }
    put_refused(it, request);
    return STATUS_OK;
}
