/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_table: what a request says its rows are.
 *
 * A row is known by its key, not by its place: rows may be added, dropped and sorted, and what did
 * not change stays as it is. So keys must be there and differ; a table that breaks this is refused
 * as a whole, since it cannot be told which row is meant.
 *
 * from_models makes a row of each model whose newest version came from the named one: its key is
 * the model, its recipe the spec of the job that made that version.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/batch.h"
#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/map.h"
#include "storage/records/batch_record.h"
#include "storage/records/model_record.h"

#define PARENT_PREFIX "parent="

enum { KEY_BYTES_MAX = 255 };

/* ---- cells ----------------------------------------------------------------------------------- */

static enum status cell_text(struct arena *arena, const char *column, const json_t *value,
                             const char **text_out, struct error *error)
{
    struct buf text = {0};
    if (json_is_string(value)) {
        *text_out = arena_strdup(arena, json_string_value(value));
        return STATUS_OK;
    }
    if (!json_is_number(value) && !json_is_boolean(value) && !json_is_null(value))
        return error_set(error, STATUS_USAGE, "column %.100s: a cell is a text or a number",
                         column);
    if (!json_is_null(value))
        json_append(&text, value);
    *text_out = arena_strdup(arena, text.data != NULL ? text.data : "");
    buf_release(&text);
    return STATUS_OK;
}

enum status batch_cells(struct arena *arena, const char *values, struct spec_cells *cells_out,
                        struct error *error)
{
    json_t *root, *value;
    const char *column;
    enum status status = STATUS_OK;
    TRY(json_read("the row", values, strlen(values), &root, error));
    struct spec_cells cells = {arena_array(arena, struct spec_cell, json_object_size(root)), 0};
    json_object_foreach(root, column, value)
    {
        struct spec_cell *cell = &cells.items[cells.count++];
        cell->column = arena_strdup(arena, column);
        status = cell_text(arena, column, value, &cell->text, error);
        if (status != STATUS_OK)
            break;
    }
    json_decref(root);
    *cells_out = cells;
    return status;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static enum status row_key(struct exchange *exchange, const struct batch_plan *plan,
                           struct batch_row *row, struct error *error)
{
    struct spec_cells cells;
    struct arena scratch = {0};
    if (plan->key == NULL) {
        row->key = arena_printf(&exchange->arena, "%" PRId64, row->number);
        return STATUS_OK;
    }
    enum status status = batch_cells(&scratch, row->values, &cells, error);
    for (int i = 0; status == STATUS_OK && i < cells.count; i++)
        if (strcmp(cells.items[i].column, plan->key) == 0)
            row->key = arena_strdup(&exchange->arena, cells.items[i].text);
    arena_release(&scratch);
    if (status != STATUS_OK)
        return error_prefix(error, "row %" PRId64, row->number);
    if (row->key == NULL)
        return error_set(error, STATUS_USAGE, "row %" PRId64 " has no column %.100s, its key",
                         row->number, plan->key);
    if (row->key[0] == '\0' || strlen(row->key) > KEY_BYTES_MAX)
        return error_set(error, STATUS_USAGE, "row %" PRId64 ": %.100s, the key, has 1 to %d bytes",
                         row->number, plan->key, KEY_BYTES_MAX);
    return STATUS_OK;
}

static enum status keys_differ(const struct batch_plan *plan, struct error *error)
{
    struct map *seen = map_create((size_t)plan->count);
    enum status status = STATUS_OK;
    for (int64_t i = 0; i < plan->count && status == STATUS_OK; i++) {
        const struct batch_row *row = &plan->rows[i];
        uint64_t *first;
        if (!map_put(seen, row->key, strlen(row->key), (uint64_t)row->number, &first))
            status = error_set(error, STATUS_USAGE,
                               "rows %" PRIu64 " and %" PRId64 " have the same key: %s is %.100s",
                               *first, row->number, plan->key, row->key);
    }
    map_free(seen);
    return status;
}

static enum status take_table(struct exchange *exchange, const Api__BatchSubmitRequest *request,
                              struct batch_plan *plan, struct error *error)
{
    if (request->recipe == NULL || request->n_rows == 0)
        return error_set(error, STATUS_USAGE, "a batch needs a recipe and a row at least");
    plan->recipe = request->recipe;
    plan->count = (int64_t)request->n_rows;
    plan->rows = arena_array(&exchange->arena, struct batch_row, plan->count);
    for (int64_t i = 0; i < plan->count; i++) {
        plan->rows[i] = (struct batch_row){.number = i + 1, .values = request->rows[i]};
        TRY(row_key(exchange, plan, &plan->rows[i], error));
    }
    for (size_t i = 0; i < request->n_refused; i++) {
        const Api__BatchRefusal *it = request->refused[i];
        if (it->row < 1 || it->row > plan->count || it->error == NULL)
            return error_set(error, STATUS_USAGE, "refused[%zu]: say which row, and why", i);
        plan->rows[it->row - 1].refusal = it->error;
    }
    return keys_differ(plan, error);
}

/* ---- from models ----------------------------------------------------------------------------- */

static enum status model_row(struct records *records, struct exchange *exchange,
                             const Api__ModelVersion *version, struct batch_row *row,
                             struct error *error)
{
    struct arena *arena = &exchange->arena;
    struct buf values = {0};
    Api__Job *job;
    TRY(job_record_get(records, SCOPE_ALL, version->job_id, true, arena, &job, error));
    row->key = arena_printf(arena, "%s/%s", version->tenant, version->model);
    row->recipe = job->spec;
    buf_printf(&values, "{\"model\":\"%s\",\"version\":%" PRId64 ",\"job\":\"j-%" PRId64 "\"}",
               row->key, version->version, version->job_id);
    row->values = arena_strdup(arena, values.data);
    buf_release(&values);
    return STATUS_OK;
}

static enum status take_models(struct records *records, struct exchange *exchange,
                               const Api__BatchSubmitRequest *request, struct batch_plan *plan,
                               struct error *error)
{
    struct reference parent;
    char text[REFERENCE_TEXT_MAX];
    Api__ModelVersion *version;
    Api__ModelVersionList *list =
        message_new(&exchange->arena, &api__model_version_list__descriptor);
    if (request->recipe != NULL || request->n_rows > 0 || request->key != NULL)
        return error_set(error, STATUS_USAGE, "from_models has no recipe, rows or key beside it");
    if (strncmp(request->from_models, PARENT_PREFIX, strlen(PARENT_PREFIX)) != 0)
        return error_set(error, STATUS_USAGE,
                         "from_models: write parent=MODEL, such as parent=general/hh@6");
    if (reference_parse(request->from_models + strlen(PARENT_PREFIX), &parent, error) != STATUS_OK)
        return error_prefix(error, "from_models");
    if (parent.tenant[0] == '\0')
        snprintf(parent.tenant, sizeof(parent.tenant), "%s", plan->tenant);
    TRY(model_record_version(records, exchange_scope(exchange), API__SHARE_RIGHT__SHARE_RIGHT_USE,
                             &parent, &exchange->arena, &version, error));
    parent.version = version->version;
    parent.alias[0] = '\0';
    reference_format(&parent, text);
    TRY(model_record_children(records, exchange_scope(exchange), text, BATCH_ROWS_MAX,
                              &exchange->arena, list, error));
    if (list->n_versions == 0)
        return error_set(error, STATUS_NOT_FOUND, "no model's newest version came from %s", text);
    plan->recipe = arena_printf(&exchange->arena, "# from the models of %s\n", text);
    plan->parent_job = version->job_id;
    plan->count = (int64_t)list->n_versions;
    plan->rows = arena_array(&exchange->arena, struct batch_row, plan->count);
    for (int64_t i = 0; i < plan->count; i++) {
        plan->rows[i].number = i + 1;
        TRY(model_row(records, exchange, list->versions[i], &plan->rows[i], error));
    }
    return STATUS_OK;
}

/* ---- the request ----------------------------------------------------------------------------- */

enum status batch_plan_read(struct records *records, struct exchange *exchange,
                            const Api__BatchSubmitRequest *request, struct batch_plan *plan,
                            struct error *error)
{
    struct arena *arena = &exchange->arena;
    *plan = (struct batch_plan){
        .name = request->name, .key = request->key, .override_count = (int)request->n_set};
    TRY(exchange_tenant(exchange, request->tenant, &plan->tenant, error));
    plan->overrides = arena_array(arena, struct spec_override, request->n_set);
    for (size_t i = 0; i < request->n_set; i++)
        TRY(spec_override_parse(arena, request->set[i], &plan->overrides[i], error));
    if (request->from_models != NULL)
        TRY(take_models(records, exchange, request, plan, error));
    else
        TRY(take_table(exchange, request, plan, error));
    enum status status = batch_record_find(records, plan->tenant, plan->name, &plan->id, error);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
