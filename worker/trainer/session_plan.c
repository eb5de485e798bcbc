/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan: every big block and its size before the first is allocated. A pack must hold the
 * largest group, even one above train.max_tokens_per_batch; all else follows from that.
 */
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/trainer/batch.h"
#include "worker/trainer/session.h"

static void capacity_for_dataset(const struct dataset *dataset, struct pass_capacity *capacity)
{
    struct arena arena = {0};
    for (int64_t g = 0; dataset != NULL && g < dataset->group_count; g++) {
        struct arena_mark mark = arena_mark(&arena);
        struct pack_group rows;
        group_rows(&arena, dataset, g, &rows);
        int32_t tokens = pack_group_tokens(&rows);
        capacity->S = tokens > capacity->S ? tokens : capacity->S;
        arena_reset(&arena, mark);
    }
    if (dataset != NULL && dataset->group_rows_max > capacity->R) {
        capacity->R = dataset->group_rows_max;
    }
    if (dataset != NULL && dataset->row_tokens_max > capacity->row_tokens_max) {
        capacity->row_tokens_max = dataset->row_tokens_max;
    }
    arena_release(&arena);
}

static void ledger_add(struct ledger *ledger, const char *what, size_t bytes)
{
    CHECK(ledger->count < LEDGER_ROWS_MAX);
    ledger->rows[ledger->count].what = what;
    ledger->rows[ledger->count++].bytes = bytes;
    ledger->total = size_add(ledger->total, bytes);
}

static size_t dataset_bytes(const struct dataset *dataset)
{
    if (dataset == NULL) {
        return 0;
    }
    return (size_t)dataset->group_count * sizeof(struct data_group) +
           (size_t)dataset->row_count * sizeof(struct data_row);
}

/* Slices that this rank computes. */
static int32_t own_slices(const struct session *s)
{
    struct deal deal;
    deal_slices((int32_t)s->spec->train.slices, gang_world(s->gang), &deal);
    return deal.part[gang_rank(s->gang)].count;
}

static void session_plan_ledger(struct session *s)
{
    const struct model *m = s->model;
    const struct params_table *trained = model_trained_table(m);
    size_t block = trained->elements * sizeof(float);
    size_t kept, activations = activations_bytes(&m->config, &m->lora, &s->capacity, &kept);
    struct ledger *ledger = &s->ledger;
    *ledger = (struct ledger){0};
    ledger_add(ledger, "weights", m->table.elements * sizeof(float));
    if (m->adapter != NULL) {
        ledger_add(ledger, "adapter", block);
    }
    ledger_add(ledger, "gradients (slice tree)",
               size_mul(block, (size_t)slice_tree_blocks(own_slices(s))));
    size_t owners = s->optimizer_config.cut_state ? (size_t)gang_world(s->gang) : 1;
    ledger_add(ledger, "AdamW moments", 2 * block / owners);
    ledger_add(ledger, "activations kept for backward", kept);
    ledger_add(ledger, "activations of one layer", activations - kept);
    ledger_add(ledger, "scratch of the ops", s->device->ops->scratch_bytes(s->device, &s->scratch));
    ledger_add(ledger, "rotary tables",
               sizeof(float) * (size_t)m->rope_positions * (size_t)m->config.D);
    size_t data = dataset_bytes(s->part[MIX_OWN]) + dataset_bytes(s->part[MIX_GENERAL]);
    for (int i = 0; i < s->eval_count; i++) {
        data += dataset_bytes(s->eval[i].dataset);
    }
    ledger_add(ledger, "data index", data);
}

void session_plan(struct session *s)
{
    const struct spec *spec = s->spec;
    const struct model_config *c = &s->model->config;
    struct pass_capacity *capacity = &s->capacity;
    *capacity = (struct pass_capacity){
        .S = (int32_t)spec->train.max_tokens_per_batch,
        .backward = true,
        .all_tokens = s->format.pooling == POOLING_MEAN || s->format.pooling == POOLING_MAX,
        .imitation = session_is_lm(s) || spec->loss.lm_loss_coeff > 0};
    for (int part = 0; part < MIX_PARTS; part++) {
        capacity_for_dataset(s->part[part], capacity);
    }
    for (int i = 0; i < s->eval_count; i++) {
        capacity_for_dataset(s->eval[i].dataset, capacity);
    }
    if (capacity->row_tokens_max < s->format.max_length && s->parent_card != NULL) {
        capacity->row_tokens_max = s->format.max_length; /* the parent's probes */
    }
    /* A pack holds at most the whole batch, and every group has a token of its own. */
    int64_t groups =
        spec->train.batch_groups < capacity->S ? spec->train.batch_groups : capacity->S;
    capacity->R = (int32_t)(groups * (capacity->R < 1 ? 1 : capacity->R));
    s->scratch = (struct scratch_shape){.S = capacity->S,
                                        .C = c->C,
                                        .H = c->H,
                                        .G = c->G,
                                        .D = c->D,
                                        .F = c->F,
                                        .V = c->V,
                                        .row_tokens_max = capacity->row_tokens_max,
                                        .lora_rank = s->model->lora.r,
                                        .backward = true,
                                        .cross_entropy = capacity->imitation};
    session_plan_ledger(s);
}

void ledger_print(const struct ledger *ledger, FILE *out)
{
    char size[16];
    for (int i = 0; i < ledger->count; i++) {
        format_bytes((double)ledger->rows[i].bytes, size);
        fprintf(out, "  %-32s %12s\n", ledger->rows[i].what, size);
    }
    format_bytes((double)ledger->total, size);
    fprintf(out, "  %-32s %12s\n", "total", size);
}

enum status session_allocate(struct session *s, struct error *error)
{
    const struct model *m = s->model;
    const struct params_table *trained = model_trained_table(m);
    TRY(s->device->ops->scratch_reserve(s->device, &s->scratch, error));
    TRY(activations_create(s->device, &m->config, &m->lora, &s->capacity, &s->acts, error));
    TRY(slice_tree_create(s->device, trained->elements, own_slices(s), &s->tree, error));
    TRY(optimizer_create(s->device, trained, &s->optimizer_config, s->gang, &s->optimizer, error));
    s->stepper = (struct stepper){.model = s->model,
                                  .acts = s->acts,
                                  .tree = s->tree,
                                  .optimizer = s->optimizer,
                                  .gang = s->gang,
                                  .schedule = &s->schedule,
                                  .loss = &s->loss,
                                  .pooling = s->format.pooling,
                                  .slices = (int32_t)s->spec->train.slices,
                                  .recheck_steps = GANG_RECHECK_STEPS,
                                  .capacity_tokens = (int32_t)s->spec->train.max_tokens_per_batch,
                                  .mode = PACK_SHARED};
    return STATUS_OK;
}

struct scorer session_scorer(struct session *session)
{
    return (struct scorer){.model = session->model,
                           .acts = session->acts,
                           .gang = session->gang,
                           .pooling = session->format.pooling,
                           .mode = PACK_SHARED};
}
