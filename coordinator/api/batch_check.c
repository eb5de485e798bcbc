/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_check: one row's recipe filled, parsed, resolved, and compared with what the batch has.
 *
 * What a row unfolds into lives in an arena of its own and goes with it; kept are the row of its
 * job and what that reads: about 6 KiB, so ten thousand rows take 60 MiB, once.
 */
#include <string.h>

#include "coordinator/api/batch.h"
#include "coordinator/api/resolve.h"
#include "lib/check.h"
#include "storage/records/batch_record.h"
#include "storage/records/tenant_record.h"

/* The column is one of the table's; a row may have others than the first. */
static void note_column(struct exchange *exchange, struct batch_plan *plan,
                        const struct spec_cell *cell)
{
    struct spec_cells *columns = &plan->columns;
    for (int i = 0; i < columns->count; i++)
        if (strcmp(columns->items[i].column, cell->column) == 0) {
            columns->items[i].used |= cell->used;
            return;
        }
    if ((columns->count & (columns->count - 1)) == 0) { /* full at each power of two */
        struct spec_cell *more =
            arena_array(&exchange->arena, struct spec_cell, columns->count * 2 + 1);
        if (columns->count > 0)
            memcpy(more, columns->items, (size_t)columns->count * sizeof(*more));
        columns->items = more;
    }
    bool used = cell->used || (plan->key != NULL && strcmp(cell->column, plan->key) == 0);
    columns->items[columns->count++] =
        (struct spec_cell){arena_strdup(&exchange->arena, cell->column), NULL, used};
}

static enum status fill(struct exchange *exchange, struct batch_plan *plan,
                        const struct batch_row *row, struct resolution *it, struct error *error)
{
    struct spec_cells cells = {0};
    bool own = row->recipe != NULL;
    const char *text = own ? row->recipe : plan->recipe;
    if (!own)
        TRY(batch_cells(it->arena, row->values, &cells, error));
    enum status status =
        spec_parse_row(it->arena, own ? "spec.json" : "recipe", text, strlen(text), plan->overrides,
                       plan->override_count, own ? NULL : &cells, &it->spec, error);
    for (int i = 0; i < cells.count; i++)
        note_column(exchange, plan, &cells.items[i]);
    return status;
}

static void keep(struct exchange *exchange, struct batch_row *row, const struct resolution *it)
{
    row->sharded = resolve_is_sharded(it->spec);
    struct arena *arena = &exchange->arena;
    row->job = message_copy(arena, &it->job->base);
    row->inputs = arena_array(arena, struct job_input, it->input_count);
    if (it->input_count > 0)
        memcpy(row->inputs, it->inputs, (size_t)it->input_count * sizeof(*it->inputs));
    row->input_count = it->input_count;
    row->pins = arena_array(arena, const char *, it->pin_count);
    for (int i = 0; i < it->pin_count; i++)
        row->pins[i] = arena_strdup(arena, it->pins[i]);
    row->pin_count = it->pin_count;
}

/* The spec of its job, as it was resolved then. */
static enum status check_again(struct records *records, struct exchange *exchange,
                               struct batch_row *row, struct arena *arena, struct error *error)
{
    struct resolution it = {.arena = arena};
    Api__Job *old;
    TRY(job_record_get(records, exchange_scope(exchange), row->again, true, arena, &old, error));
    TRY(resolve_again(records, &it, old, error));
    keep(exchange, row, &it);
    return STATUS_OK;
}

static enum status check_row(struct records *records, struct exchange *exchange,
                             struct batch_plan *plan, struct batch_row *row, struct arena *arena,
                             struct error *error)
{
    struct resolution it = {.arena = arena};
    Api__Tenant *tenant;
    TRY(fill(exchange, plan, row, &it, error));
    it.tenant = it.spec->tenant != NULL ? it.spec->tenant : plan->tenant;
    TRY(tenant_record_get(records, exchange_scope(exchange), it.tenant, arena, &tenant, error));
    row->tenant = arena_strdup(&exchange->arena, it.tenant);
    if (plan->parent_job != 0)
        TRY(resolve_forget(records, &it, plan->parent_job, error));
    TRY(resolve_spec(records, &it, error));
    if (plan->id != 0)
        TRY(batch_record_unchanged(records, plan->id, row->key, it.job->spec_digest, &row->job_id,
                                   error));
    keep(exchange, row, &it);
    return STATUS_OK;
}

/* What went wrong with the disk is nothing that a row is refused for. */
static bool is_refusal(enum status status)
{
    return status != STATUS_OK && status != STATUS_IO;
}

enum status batch_check(struct records *records, struct exchange *exchange, struct batch_plan *plan,
                        struct batch_row *row, struct error *error)
{
    struct arena arena = {0};
    enum status status = row->again != 0 ? check_again(records, exchange, row, &arena, error)
                                         : check_row(records, exchange, plan, row, &arena, error);
    if (is_refusal(status)) {
        row->refusal = arena_strdup(&exchange->arena, error->text);
        status = STATUS_OK;
    }
    arena_release(&arena);
    return status;
}
