/* SPDX-License-Identifier: Apache-2.0
 *
 * scratch: sizes are a pure function of shape and threads, so the plan that is printed before a job
 * is the memory that is taken. The areas are laid out by the same function that measures them.
 */
#include "worker/ops/cpu/scratch.h"

#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/cross_entropy.h"
#include "worker/ops/cpu/gemm.h"

/* At the beginning of device->scratch. */
struct scratch_map {
    struct scratch_area gemm, rows, stack, logits, norm, attention_shared, attention;
    size_t attention_stride;
    size_t total;
};

static size_t aligned(size_t bytes)
{
    return size_add(bytes, SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
}

static struct scratch_area append(struct scratch_map *map, size_t bytes)
{
    struct scratch_area area = {.offset = map->total, .size = bytes};
    map->total = size_add(map->total, aligned(bytes));
    return area;
}

/* `count` numbers for each column of u that a product can have. */
static size_t stacked_bytes(int32_t count, const struct scratch_shape *shape)
{
    return size_mul(size_mul((size_t)count, (size_t)shape->lora_rank),
                    LORA_PARTS_MAX * sizeof(float));
}

static size_t rows_bytes(const struct scratch_shape *shape)
{
    size_t lora = 0, gathered = 0;
    if (shape->backward) {
        lora = stacked_bytes(shape->S, shape);
    }
    if (shape->cross_entropy) {
        gathered = OPS_FN(cross_entropy_rows_bytes)(shape->C, shape->V);
    }
    return lora > gathered ? lora : gathered;
}

static struct scratch_map scratch_map(const struct device *device,
                                      const struct scratch_shape *shape)
{
    const int threads = pool_threads(device->pool);
    struct scratch_map map = {.total = aligned(sizeof(map))};
    map.gemm = append(&map, OPS_FN(gemm_scratch_bytes)(threads));
    map.rows = append(&map, rows_bytes(shape));
    map.stack = append(&map, stacked_bytes(shape->C, shape));
    map.logits =
        append(&map, shape->cross_entropy ? OPS_FN(cross_entropy_logits_bytes)(shape->V) : 0);
    map.norm = append(&map, OPS_FN(norm_scratch_bytes)(shape));
    map.attention_shared = append(&map, OPS_FN(attention_shared_bytes)(shape));
    map.attention_stride = aligned(OPS_FN(attention_scratch_bytes)(shape));
    map.attention = append(&map, size_mul(map.attention_stride, (size_t)threads));
    return map;
}

size_t OPS_FN(scratch_bytes)(const struct device *device, const struct scratch_shape *shape)
{
    return scratch_map(device, shape).total;
}

static bool fits(const struct scratch_map *have, const struct scratch_map *want)
{
    return want->rows.size <= have->rows.size && want->stack.size <= have->stack.size &&
           want->logits.size <= have->logits.size && want->norm.size <= have->norm.size &&
           want->attention_shared.size <= have->attention_shared.size &&
           want->attention_stride <= have->attention_stride;
}

enum status OPS_FN(scratch_reserve)(struct device *device, const struct scratch_shape *shape,
                                    struct error *error)
{
    struct scratch_map map = scratch_map(device, shape);
    if (device->scratch && fits(device->scratch, &map)) {
        return STATUS_OK;
    }
    void *scratch;
    TRY(device->ops->block_alloc(device, map.total, "scratch", &scratch, error));
    if (device->scratch) {
        device->ops->block_free(device, device->scratch, device->scratch_size);
    }
    *(struct scratch_map *)scratch = map;
    device->scratch = scratch;
    device->scratch_size = map.total;
    return STATUS_OK;
}

/* ---- areas ----------------------------------------------------------------------------------- */

static const struct scratch_map *map_of(const struct device *device)
{
    CHECK(device->scratch != NULL);
    return device->scratch;
}

static void *area_at(const struct device *device, struct scratch_area area, size_t bytes)
{
    CHECK(bytes <= area.size);
    return (char *)device->scratch + area.offset;
}

void *OPS_FN(scratch_gemm)(const struct device *device)
{
    return area_at(device, map_of(device)->gemm, 0);
}

float *OPS_FN(scratch_rows)(const struct device *device, size_t bytes)
{
    return area_at(device, map_of(device)->rows, bytes);
}

float *OPS_FN(scratch_stack)(const struct device *device, size_t bytes)
{
    return area_at(device, map_of(device)->stack, bytes);
}

float *OPS_FN(scratch_logits)(const struct device *device, size_t bytes)
{
    return area_at(device, map_of(device)->logits, bytes);
}

float *OPS_FN(scratch_norm)(const struct device *device, size_t bytes)
{
    return area_at(device, map_of(device)->norm, bytes);
}

void *OPS_FN(scratch_attention_shared)(const struct device *device, size_t bytes)
{
    return area_at(device, map_of(device)->attention_shared, bytes);
}

void *OPS_FN(scratch_attention)(const struct device *device, int thread, size_t bytes)
{
    const struct scratch_map *map = map_of(device);
    CHECK(bytes <= map->attention_stride);
    return (char *)area_at(device, map->attention, 0) + (size_t)thread * map->attention_stride;
}
