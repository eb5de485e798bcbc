/* SPDX-License-Identifier: Apache-2.0
 *
 * params: lays params.def out over a block.
 *
 * Invariants: places stand in memory order and do not overlap; layer i of a kind is exactly
 * i * per_layer places behind layer 0; a family (q, k, v; their biases; gate, up) has no gap, so
 * its members are one matrix to a linear layer. Only the first of a family is aligned: aligning
 * each tensor would tear the families apart for odd sizes (a head size of 24 with few heads).
 */
#include "worker/model/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

struct tensor_row {
    const char *name;
    int64_t rows, columns;
    bool per_layer, decays, present;
};

static void rows_fill(struct tensor_row rows_out[TENSOR_MODEL_COUNT], const struct model_config *c,
                      const struct params_heads *heads)
{
    const struct tensor_row rows[TENSOR_MODEL_COUNT] = {
#define TENSOR(kind, name, rows, columns, per_layer, decays, present)                              \
    [TENSOR_##kind] = {name, (int64_t)(rows), (columns), (per_layer), (decays), (present)},
#include "worker/model/params.def"
    };
    memcpy(rows_out, rows, sizeof(rows));
}

/* The kind's name does not depend on the sizes: any configuration gives it. */
static const char *kind_name(enum tensor_kind kind)
{
    static const struct model_config no_config;
    static const struct params_heads no_heads;
    struct tensor_row rows[TENSOR_MODEL_COUNT];
    rows_fill(rows, &no_config, &no_heads);
    return rows[kind].name;
}

static bool continues_family(enum tensor_kind kind)
{
    return kind == TENSOR_K || kind == TENSOR_V || kind == TENSOR_K_BIAS || kind == TENSOR_V_BIAS ||
           kind == TENSOR_UP;
}

static void place_add(struct params_table *table, enum tensor_kind kind, int32_t layer,
                      int64_t rows, int64_t columns, bool decays)
{
    CHECK(rows > 0 && rows <= INT32_MAX && columns >= 0 && columns <= INT32_MAX);
    if (!continues_family(kind)) {
        table->elements = size_mul(
            size_add(table->elements, PARAMS_ALIGNMENT - 1) / PARAMS_ALIGNMENT, PARAMS_ALIGNMENT);
    }
    struct tensor_place *place = &table->places[table->count];
    *place = (struct tensor_place){
        .kind = kind,
        .layer = layer,
        .rows = (int32_t)rows,
        .columns = (int32_t)columns,
        .offset = table->elements,
        .elements = size_mul((size_t)rows, columns > 0 ? (size_t)columns : 1),
        .decays = decays,
    };
    if (table->index[kind] < 0) {
        table->index[kind] = table->count;
    }
    table->count++;
    table->elements = size_add(table->elements, place->elements);
}

static void table_begin(struct params_table *table, size_t places_max)
{
    *table = (struct params_table){0};
    table->places = mem_alloc(size_mul(places_max, sizeof(*table->places)));
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++) {
        table->index[kind] = -1;
    }
}

void params_table_init(struct params_table *table, const struct model_config *config,
                       const struct params_heads *heads)
{
    struct tensor_row rows[TENSOR_MODEL_COUNT];
    rows_fill(rows, config, heads);
    table_begin(table, size_mul((size_t)config->L, TENSOR_MODEL_COUNT) + TENSOR_MODEL_COUNT);
    for (int kind = 0; kind < TENSOR_MODEL_COUNT;) {
        int next = kind + 1;
        if (!rows[kind].per_layer) {
            if (rows[kind].present) {
                place_add(table, (enum tensor_kind)kind, -1, rows[kind].rows, rows[kind].columns,
                          rows[kind].decays);
            }
            kind = next;
            continue;
        }
        /* A run of per-layer rows is one layer: it repeats as a whole. */
        while (next < TENSOR_MODEL_COUNT && rows[next].per_layer) {
            next++;
        }
        for (int32_t layer = 0; layer < config->L; layer++) {
            int32_t first = table->count;
            for (int i = kind; i < next; i++) {
                if (rows[i].present) {
                    place_add(table, (enum tensor_kind)i, layer, rows[i].rows, rows[i].columns,
                              rows[i].decays);
                }
            }
            table->per_layer = table->count - first;
        }
        kind = next;
    }
}

void params_table_init_adapter(struct params_table *table, const struct model_config *config,
                               const struct lora_config *lora)
{
    CHECK(lora->r > 0 && lora->targets != 0 && (lora->targets & ~LORA_ALL_LINEAR) == 0);
    struct tensor_row rows[TENSOR_MODEL_COUNT];
    rows_fill(rows, config, &(struct params_heads){.score = true});
    table_begin(table, size_mul((size_t)config->L, 2 * (size_t)TENSOR_MODEL_COUNT) + 1);
    for (int32_t layer = 0; layer < config->L; layer++) {
        int32_t first = table->count;
        for (int kind = 0; kind < TENSOR_MODEL_COUNT; kind++) {
            if ((lora->targets >> kind & 1u) != 0) {
                place_add(table, (enum tensor_kind)(TENSOR_LORA_A + kind), layer, lora->r,
                          rows[kind].columns, true);
                place_add(table, (enum tensor_kind)(TENSOR_LORA_B + kind), layer, rows[kind].rows,
                          lora->r, true);
            }
        }
        table->per_layer = table->count - first;
    }
    place_add(table, TENSOR_SCORE, -1, rows[TENSOR_SCORE].rows, rows[TENSOR_SCORE].columns,
              rows[TENSOR_SCORE].decays);
}

void params_table_release(struct params_table *table)
{
    mem_free(table->places);
    *table = (struct params_table){0};
}

const struct tensor_place *params_place(const struct params_table *table, enum tensor_kind kind,
                                        int32_t layer)
{
    CHECK((int)kind >= 0 && kind < TENSOR_KIND_COUNT);
    int32_t index = table->index[kind];
    if (table->places == NULL || index < 0) {
        return NULL;
    }
    if (layer >= 0) {
        index += layer * table->per_layer;
    }
    CHECK(index < table->count);
    const struct tensor_place *place = &table->places[index];
    CHECK(place->kind == kind && place->layer == layer);
    return place;
}

size_t params_layer_begin(const struct params_table *table, int32_t layer)
{
    int32_t i = 0;
    while (i < table->count && table->places[i].layer < 0) {
        i++; /* what stands before the layers */
    }
    while (i < table->count && table->places[i].layer >= 0 && table->places[i].layer < layer) {
        i++;
    }
    return i < table->count ? table->places[i].offset : table->elements;
}

float *params_at(const struct params_table *table, float *block, enum tensor_kind kind,
                 int32_t layer)
{
    const struct tensor_place *place = params_place(table, kind, layer);
    return place == NULL || block == NULL ? NULL : block + place->offset;
}

void params_name(const struct tensor_place *place, char out[128])
{
    int kind = (int)place->kind;
    const char *factor = NULL;
    if (kind >= TENSOR_LORA_A) {
        factor = kind >= TENSOR_LORA_B ? ".lora_B" : ".lora_A";
        kind %= TENSOR_LORA_A;
    }
    CHECK(kind < TENSOR_MODEL_COUNT);
    const char *name = kind_name((enum tensor_kind)kind);
    int length;
    if (factor != NULL) {
        const char *suffix = strrchr(name, '.');
        CHECK(suffix != NULL);
        length = snprintf(out, 128, "base_model.model.model.layers.%d.%.*s%s%s", place->layer,
                          (int)(suffix - name), name, factor, suffix);
    } else if (place->layer >= 0) {
        length = snprintf(out, 128, "model.layers.%d.%s", place->layer, name);
    } else {
        length = snprintf(out, 128, "%s", name);
    }
    CHECK(length > 0 && length < 128);
}

const char *params_target_name(enum tensor_kind kind)
{
    switch (kind) {
    case TENSOR_Q:
        return "q_proj";
    case TENSOR_K:
        return "k_proj";
    case TENSOR_V:
        return "v_proj";
    case TENSOR_O:
        return "o_proj";
    case TENSOR_GATE:
        return "gate_proj";
    case TENSOR_UP:
        return "up_proj";
    case TENSOR_DOWN:
        return "down_proj";
    default:
        return NULL;
    }
}

float lora_scale(const struct lora_config *lora)
{
    CHECK(lora->r > 0);
    double rank = (double)lora->r;
    return (float)((double)lora->alpha / (lora->rslora ? sqrt(rank) : rank));
}
