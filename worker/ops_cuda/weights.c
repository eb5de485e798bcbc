/* SPDX-License-Identifier: Apache-2.0
 *
 * weights: kept weights in bf16, so that a step rounds each once and not with every product.
 *
 * What is kept is *memory*, not matrices: the stretches of memory that the weights cover, each once
 * however many of them overlap (a stack, and its parts), for both uses the same. A product finds
 * its factor by address. In fp32 products read the weights themselves: 0 bytes.
 *
 * Invariant: the copy of a stretch that is `fresh` is what rounding it now would give. Stretches of
 * a set are disjoint and ascending.
 */
#include <stdlib.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/ops_cuda/cuda.h"

enum { ROUND_AT_ONCE = 1 << 30 };

struct stretch {
    const float *begin;
    size_t count;
    uint16_t *copy; /* (count), on the device */
    bool fresh;
};

struct kept_set {
    struct kept_set *next; /* from device->packed on */
    void *block;
    size_t bytes;
    int32_t count;
    struct stretch stretches[];
};

/* ---- stretches ------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const struct stretch *first = a, *second = b;
    return first->begin < second->begin ? -1 : first->begin > second->begin;
}

/* Fills stretches (count) and returns how many there are. */
static int32_t cover(const struct kept_weight *weights, int32_t count, struct stretch *stretches)
{
    int32_t filled = 0, last = -1;
    for (int32_t i = 0; i < count; i++) {
        if (weights[i].uses != 0) {
            stretches[filled++] =
                (struct stretch){.begin = weights[i].w,
                                 .count = size_mul((size_t)weights[i].N, (size_t)weights[i].K)};
        }
    }
    qsort(stretches, (size_t)filled, sizeof(*stretches), by_address);
    for (int32_t i = 0; i < filled; i++) {
        const float *end = stretches[i].begin + stretches[i].count;
        if (last >= 0 && stretches[i].begin <= stretches[last].begin + stretches[last].count) {
            const size_t reach = (size_t)(end - stretches[last].begin);
            stretches[last].count = reach > stretches[last].count ? reach : stretches[last].count;
        } else {
            stretches[++last] = stretches[i];
        }
    }
    return last + 1;
}

static size_t copy_bytes(const struct stretch *stretch)
{
    return cuda_scratch_piece(size_mul(stretch->count, sizeof(uint16_t)));
}

static size_t copies_bytes(const struct stretch *stretches, int32_t count)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < count; i++) {
        bytes = size_add(bytes, copy_bytes(&stretches[i]));
    }
    return bytes;
}

/* ---- the ops --------------------------------------------------------------------------------- */

size_t cuda_weights_bytes(const struct device *device, const struct kept_weight *weights,
                          int32_t count)
{
    if (device->dtype != DTYPE_BF16 || count == 0) {
        return 0;
    }
    struct stretch *stretches = mem_alloc(size_mul((size_t)count, sizeof(*stretches)));
    const size_t bytes = copies_bytes(stretches, cover(weights, count, stretches));
    mem_free(stretches);
    return bytes;
}

enum status cuda_weights_keep(struct device *device, const struct kept_weight *weights,
                              int32_t count, struct error *error)
{
    const size_t bytes = cuda_weights_bytes(device, weights, count);
    void *block;
    if (bytes == 0) {
        return STATUS_OK;
    }
    TRY(cuda_block_alloc(device, bytes, "rounded weights", &block, error));
    struct kept_set *set =
        mem_alloc(size_add(sizeof(*set), size_mul((size_t)count, sizeof(*set->stretches))));
    *set = (struct kept_set){.next = device->packed,
                             .block = block,
                             .bytes = bytes,
                             .count = cover(weights, count, set->stretches)};
    char *at = block;
    for (int32_t i = 0; i < set->count; i++) {
        set->stretches[i].copy = (uint16_t *)at;
        at += copy_bytes(&set->stretches[i]);
    }
    device->packed = set;
    return STATUS_OK;
}

static bool overlaps(const struct stretch *stretch, const float *w, size_t count)
{
    return stretch->begin < w + count && w < stretch->begin + stretch->count;
}

void cuda_weights_changed(struct device *device, const real *block, size_t count)
{
    for (struct kept_set *set = device->packed; set != NULL; set = set->next) {
        for (int32_t i = 0; i < set->count; i++) {
            if (overlaps(&set->stretches[i], block, count)) {
                set->stretches[i].fresh = false;
            }
        }
    }
}

void cuda_weights_forget(struct device *device, const real *block, size_t count)
{
    struct kept_set **link = (struct kept_set **)&device->packed;
    while (*link != NULL) {
        struct kept_set *set = *link;
        if (overlaps(&set->stretches[0], block, count)) {
            *link = set->next;
            cuda_block_free(device, set->block, set->bytes);
            mem_free(set);
        } else {
            link = &set->next;
        }
    }
}

/* ---- use ------------------------------------------------------------------------------------- */

static void refresh(struct device *device, struct stretch *stretch)
{
    for (size_t at = 0; at < stretch->count; at += ROUND_AT_ONCE) {
        const size_t left = stretch->count - at;
        const int32_t count = (int32_t)(left < ROUND_AT_ONCE ? left : ROUND_AT_ONCE);
        cuda_round(device, stretch->copy + at, (count + 7) / 8 * 8, 1, stretch->begin + at, count,
                   1, count);
    }
    stretch->fresh = true;
}

/* The last stretch that begins at or before w. */
static struct stretch *stretch_at(struct kept_set *set, const float *w)
{
    int32_t first = 0, end = set->count;
    while (first < end) {
        const int32_t middle = first + (end - first) / 2;
        if (set->stretches[middle].begin <= w) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first > 0 ? &set->stretches[first - 1] : NULL;
}

const uint16_t *cuda_kept_weight(struct device *device, const float *w, size_t count)
{
    for (struct kept_set *set = device->packed; set != NULL; set = set->next) {
        struct stretch *stretch = stretch_at(set, w);
        if (stretch != NULL && w + count <= stretch->begin + stretch->count) {
            if (!stretch->fresh) {
                refresh(device, stretch);
            }
            return stretch->copy + (w - stretch->begin);
        }
    }
    return NULL;
}
