/* SPDX-License-Identifier: Apache-2.0
 *
 * packed_weight: a set is one block: its table of weights, sorted by address, then their panels.
 *
 * Invariant: a panel that is `fresh` is what packing its weight now would give. Sets do not
 * overlap: a weight is kept at most once.
 */
#include "worker/ops/cpu/packed_weight.h"

#include <stdlib.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/gemm.h"

enum { USES = 2, PANEL_ALIGN = 64 };

struct packed_weight {
    struct kept_weight weight; /* first: tables are searched by it */
    struct {
        void *panels; /* NULL: not kept for this use */
        bool fresh;
    } use[USES];
};

struct packed_weights {
    struct packed_weights *next;
    size_t bytes; /* of this block */
    int32_t count;
    enum dtype dtype; /* of the device when they were laid out: in another they are not read */
    struct packed_weight weights[];
};

static const enum weight_use use_at[USES] = {WEIGHT_FORWARD, WEIGHT_BACKWARD_INPUT};

/* ---- what panels are ------------------------------------------------------------------------- */

/* w as the second operand of a product: (K,N) forward, (N,K) for the gradient of the input. */
static struct gemm operand(const struct device *device, const struct kept_weight *weight,
                           enum weight_use use)
{
    const bool forward = use == WEIGHT_FORWARD;
    return (struct gemm){.b = weight->w,
                         .b_k = forward ? 1 : weight->K,
                         .b_n = forward ? weight->K : 1,
                         .N = forward ? weight->N : weight->K,
                         .K = forward ? weight->K : weight->N,
                         .bf16 = device->dtype == DTYPE_BF16};
}

static size_t panels_bytes(const struct device *device, const struct kept_weight *weight,
                           enum weight_use use)
{
    const struct gemm b = operand(device, weight, use);
    const size_t bytes = size_mul(OPS_FN(gemm_panels_floats)(&b), sizeof(float));
    return size_add(bytes, PANEL_ALIGN - 1) / PANEL_ALIGN * PANEL_ALIGN;
}

static void panels_make(struct device *device, const struct kept_weight *weight,
                        enum weight_use use, void *panels)
{
    const struct gemm b = operand(device, weight, use);
    OPS_FN(gemm_panels_pack)(device->pool, panels, &b);
}

/* ---- sets ------------------------------------------------------------------------------------ */

static size_t table_bytes(int32_t count)
{
    const size_t bytes = size_add(sizeof(struct packed_weights),
                                  size_mul((size_t)count, sizeof(struct packed_weight)));
    return size_add(bytes, PANEL_ALIGN - 1) / PANEL_ALIGN * PANEL_ALIGN;
}

size_t OPS_FN(weights_bytes)(const struct device *device, const struct kept_weight *weights,
                             int32_t count)
{
    size_t bytes = count > 0 ? table_bytes(count) : 0;
    for (int32_t i = 0; i < count; i++) {
        for (int use = 0; use < USES; use++) {
            if (weights[i].uses & use_at[use]) {
                bytes = size_add(bytes, panels_bytes(device, &weights[i], use_at[use]));
            }
        }
    }
    return bytes;
}

/* A stack of matrices and its first one begin at the same address. */
static int by_address(const void *a, const void *b)
{
    const struct kept_weight *first = a, *second = b;
    if (first->w != second->w) {
        return first->w < second->w ? -1 : 1;
    }
    return first->N < second->N ? -1 : first->N > second->N;
}

enum status OPS_FN(weights_keep)(struct device *device, const struct kept_weight *weights,
                                 int32_t count, struct error *error)
{
    const size_t bytes = OPS_FN(weights_bytes)(device, weights, count);
    void *block;
    if (bytes == 0) {
        return STATUS_OK;
    }
    TRY(device->ops->block_alloc(device, bytes, "packed weights", &block, error));
    struct packed_weights *set = block;
    size_t at = table_bytes(count);
    *set = (struct packed_weights){
        .next = device->packed, .bytes = bytes, .count = count, .dtype = device->dtype};
    for (int32_t i = 0; i < count; i++) {
        set->weights[i].weight = weights[i];
        for (int use = 0; use < USES; use++) {
            if (weights[i].uses & use_at[use]) {
                set->weights[i].use[use].panels = (char *)block + at;
                at += panels_bytes(device, &weights[i], use_at[use]);
            }
        }
    }
    CHECK(at == bytes);
    qsort(set->weights, (size_t)count, sizeof(*set->weights), by_address);
    device->packed = set;
    return STATUS_OK;
}

static bool overlaps(const struct kept_weight *weight, const real *w, size_t count)
{
    return weight->w < w + count && w < weight->w + (size_t)weight->N * (size_t)weight->K;
}

void OPS_FN(weights_changed)(struct device *device, const real *w, size_t count)
{
    for (struct packed_weights *set = device->packed; set != NULL; set = set->next) {
        for (int32_t i = 0; i < set->count; i++) {
            for (int use = 0; use < USES && overlaps(&set->weights[i].weight, w, count); use++) {
                set->weights[i].use[use].fresh = false;
            }
        }
    }
}

void OPS_FN(weights_forget)(struct device *device, const real *w, size_t count)
{
    struct packed_weights **link = (struct packed_weights **)&device->packed;
    while (*link != NULL) {
        struct packed_weights *set = *link;
        if (overlaps(&set->weights[0].weight, w, count)) {
            *link = set->next;
            device->ops->block_free(device, set, set->bytes);
        } else {
            link = &set->next;
        }
    }
}

/* ---- use ------------------------------------------------------------------------------------- */

const void *OPS_FN(packed_weight)(struct device *device, const real *w, int32_t N, int32_t K,
                                  enum weight_use use)
{
    const struct kept_weight key = {.w = w, .N = N};
    struct packed_weight *packed = NULL;
    for (struct packed_weights *set = device->packed; set != NULL && !packed; set = set->next) {
        if (set->dtype == device->dtype) {
            packed = bsearch(&key, set->weights, (size_t)set->count, sizeof(*packed), by_address);
        }
    }
    if (!packed || packed->weight.K != K || !(packed->weight.uses & use)) {
        return NULL;
    }
    const int place = use == use_at[0] ? 0 : 1;
    if (!packed->use[place].fresh) {
        panels_make(device, &packed->weight, use, packed->use[place].panels);
        packed->use[place].fresh = true;
    }
    return packed->use[place].panels;
}
