/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan: every big block and its size before the first is allocated.
 *
 * Which groups a step takes and how they are packed is a pure function of the spec and the data, so
 * the plan packs the whole run beforehand: the buffers hold its largest pack and no token more. A
 * run of more than PLAN_GROUPS_MAX samples gets buffers of train.max_tokens_per_batch.
 *
 * What the process holds already (program, tokenizer, data) is not summed up from its parts but
 * asked of the kernel.
 */
#include "lib/check.h"
#include "lib/limits.h"
#include "lib/memory.h"
#include "worker/data/pack_parts.h"
#include "worker/model/kept_weights.h"
#include "worker/trainer/batch.h"
#include "worker/trainer/continuity.h"
#include "worker/trainer/session.h"

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* Room for a group: whole where it fits a pack, else for its largest part and, when it is trained
 * on, for the prefix of its parts. */
static void capacity_for_group(struct arena *arena, const struct dataset *dataset, int64_t group,
                               int32_t pack_tokens, bool trained, struct pass_capacity *capacity)
{
    struct arena_mark mark = arena_mark(arena);
    struct pack_group rows;
    group_rows(arena, dataset, group, &rows);
    int32_t tokens = pack_group_tokens(&rows);
    if (tokens > pack_tokens && rows.rows > 1) {
        struct pack_parts parts;
        pack_parts_plan(arena, &rows, pack_tokens, &parts);
        tokens = parts.tokens_max;
        capacity->prefix = larger(capacity->prefix, trained ? parts.prefix : 0);
    }
    capacity->S = larger(capacity->S, tokens);
    arena_reset(arena, mark);
}

static void capacity_for_groups(struct arena *arena, const struct dataset *dataset,
                                int32_t pack_tokens, bool trained, struct pass_capacity *capacity)
{
    for (int64_t g = 0; dataset != NULL && g < dataset->group_count; g++) {
        capacity_for_group(arena, dataset, g, pack_tokens, trained, capacity);
    }
}

static void capacity_for_rows(const struct dataset *dataset, struct pass_capacity *capacity)
{
    if (dataset != NULL) {
        capacity->R = larger(capacity->R, dataset->group_rows_max);
        capacity->row_tokens_max = larger(capacity->row_tokens_max, dataset->row_tokens_max);
    }
}

static void capacity_for_step(struct arena *arena, const struct session *s, int64_t step,
                              struct pass_capacity *capacity)
{
    int32_t limit = (int32_t)s->spec->train.max_tokens_per_batch;
    int32_t count;
    struct batch_group *groups = batch_groups_of(arena, &s->sampler, s->part, step, &count, NULL);
    struct batch batch;
    batch_plan(arena, groups, count, &s->loss, (int32_t)s->spec->train.slices, limit, PACK_SHARED,
               &batch);
    capacity->S = larger(capacity->S, batch_largest_pack(arena, &batch, limit));
    for (int32_t i = 0; i < count; i++) {
        if (groups[i].tokens > limit) {
            capacity_for_group(arena, groups[i].dataset, groups[i].group, limit, true, capacity);
        }
    }
}

static void capacity_for_steps(const struct session *s, struct pass_capacity *capacity)
{
    struct arena arena = {0};
    int32_t limit = (int32_t)s->spec->train.max_tokens_per_batch;
    if (s->sampler.places > PLAN_GROUPS_MAX) {
        capacity->S = limit;
        for (int part = 0; part < MIX_PARTS; part++) {
            capacity_for_groups(&arena, s->part[part], limit, true, capacity);
        }
    }
    for (int64_t step = 0; step < s->sampler.steps && s->sampler.places <= PLAN_GROUPS_MAX;
         step++) {
        struct arena_mark mark = arena_mark(&arena);
        capacity_for_step(&arena, s, step, capacity);
        arena_reset(&arena, mark);
    }
    for (int i = 0; i < s->eval_count; i++) {
        capacity_for_groups(&arena, s->eval[i].dataset, limit, false, capacity);
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

/* Slices that this rank computes. */
static int32_t own_slices(const struct session *s)
{
    struct deal deal;
    deal_slices((int32_t)s->spec->train.slices, gang_world(s->gang), &deal);
    return deal.part[gang_rank(s->gang)].count;
}

/* Is the last layer computed only where a reward is read? */
static bool pruned(const struct session *s)
{
    return !s->capacity.all_tokens && !s->capacity.imitation;
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
    if (s->packed_uses != 0) {
        ledger_add(ledger, "weights packed for products",
                   kept_weights_bytes(m, pruned(s), s->packed_uses));
    }
    ledger_add(ledger, "activations kept for backward", kept);
    ledger_add(ledger, "activations of one layer", activations - kept);
    ledger_add(ledger, "scratch of the ops", s->device->ops->scratch_bytes(s->device, &s->scratch));
    size_t rotary = sizeof(float) * (size_t)m->rope_positions * (size_t)m->config.D;
    ledger_add(ledger, "rotary tables", rotary);
    /* What is there by now: the model, and in the host's memory all that is not a big block. */
    ledger->held = m->table.elements * sizeof(float) + rotary + (m->adapter != NULL ? block : 0);
    ledger->ranks = 1;
    if (device_shares_memory(s->device)) {
        size_t anonymous = memory_anonymous("");
        size_t others = anonymous > ledger->held ? anonymous - ledger->held : 0;
        ledger_add(ledger, "program, tokenizer, data", others);
        ledger->held = anonymous;
        ledger->ranks = gang_world(s->gang);
    }
    ledger->available = device_memory_available(s->device);
    ledger->recompute = s->capacity.recompute;
}

/* Does what is not yet allocated, by every rank here, exceed what may still be taken? */
static bool ledger_exceeds(const struct ledger *ledger)
{
    return ledger->available > 0 && ledger->total > ledger->held &&
           ledger->total - ledger->held > ledger->available / (size_t)ledger->ranks;
}

void session_plan(struct session *s)
{
    const struct spec *spec = s->spec;
    const struct model_config *c = &s->model->config;
    struct pass_capacity *capacity = &s->capacity;
    *capacity = (struct pass_capacity){
        .backward = true,
        .recompute = spec->train.recompute == SPEC_RECOMPUTE_LAYER,
        .all_tokens = s->format.pooling == POOLING_MEAN || s->format.pooling == POOLING_MAX,
        .imitation = session_is_lm(s) || spec->loss.lm_loss_coeff > 0};
    for (int part = 0; part < MIX_PARTS; part++) {
        capacity_for_rows(s->part[part], capacity);
    }
    for (int i = 0; i < s->eval_count; i++) {
        capacity_for_rows(s->eval[i].dataset, capacity);
    }
    capacity_for_steps(s, capacity);
    if (capacity->row_tokens_max < s->format.max_length && s->parent_card != NULL) {
        capacity->row_tokens_max = s->format.max_length; /* the parent's probes */
    }
    capacity->S = larger(capacity->S, PROBE_TOKENS_MAX);
    /* A pack holds at most the whole batch, and every group has a token of its own. */
    int64_t groups =
        spec->train.batch_groups < capacity->S ? spec->train.batch_groups : capacity->S;
    capacity->R = (int32_t)(groups * (capacity->R < 1 ? 1 : capacity->R));
    s->scratch = pass_scratch(c, capacity, s->model->lora.r);
    s->packed_uses = kept_weights_uses(s->device, capacity->S, true);
    memory_trim();
    session_plan_ledger(s);
    if (ledger_exceeds(&s->ledger)) { /* it saves little: the first thing to go */
        s->packed_uses = 0;
        session_plan_ledger(s);
    }
    if (spec->train.recompute == SPEC_RECOMPUTE_AUTO && ledger_exceeds(&s->ledger)) {
        capacity->recompute = true;
        session_plan_ledger(s);
    }
}

/* One unit for all, so that a person can add. */
static void ledger_line(FILE *out, const char *what, size_t bytes)
{
    fprintf(out, "  %-32s %10.1f MiB\n", what, (double)bytes / (double)MIB);
}

void ledger_print(const struct ledger *ledger, FILE *out)
{
    for (int i = 0; i < ledger->count; i++) {
        ledger_line(out, ledger->rows[i].what, ledger->rows[i].bytes);
    }
    ledger_line(out, "total", ledger->total);
    if (ledger->available > 0) {
        ledger_line(out, "still available on this machine", ledger->available);
    }
    if (ledger->recompute) {
        fprintf(out, "  layers are computed again in the backward pass (train.recompute)\n");
    }
    if (ledger_exceeds(ledger)) {
        fprintf(out, "  this is more than there is: lower train.max_tokens_per_batch\n");
    }
}

enum status session_allocate(struct session *s, struct error *error)
{
    const struct model *m = s->model;
    const struct params_table *trained = model_trained_table(m);
    TRY(s->device->ops->scratch_reserve(s->device, &s->scratch, error));
    TRY(kept_weights_keep(m, pruned(s), s->packed_uses, error));
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
                                  .overlap_floats = s->spec->train.overlap ? OVERLAP_FLOATS : 0,
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
