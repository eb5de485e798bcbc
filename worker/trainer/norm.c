/* SPDX-License-Identifier: Apache-2.0
 *
 * A rank's *head* is what its part begins with of a block that began before it; it may be all of
 * the part. A block is finished from its beginning in one part and the heads of the ranks behind.
 */
#include "worker/trainer/norm.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

struct head {
    float x[SUMSQ_BLOCK];
};

/* The first multiple of SUMSQ_BLOCK at or behind `at`. */
static size_t block_behind(size_t at)
{
    return (at + SUMSQ_BLOCK - 1) / SUMSQ_BLOCK * SUMSQ_BLOCK;
}

/* Where the blocks that begin in [begin, end) begin. */
static size_t first_block(size_t begin, size_t end)
{
    size_t first = block_behind(begin);
    return first < end ? first : end;
}

/* The block from `start` on, in `joined`: so much of it as is here, then the others' heads. */
static double finish_block(struct device *device, const struct gang *gang, const struct head *heads,
                           float *joined, const float *x, size_t start, size_t end, size_t count)
{
    float block[SUMSQ_BLOCK];
    size_t have = end - start;
    size_t want = count - start < SUMSQ_BLOCK ? count - start : SUMSQ_BLOCK;
    device->ops->copy_out(device, block, x + start, have * sizeof(float));
    for (int32_t r = gang->rank + 1; have < want; r++) {
        size_t begin, other_end;
        CHECK(r < gang->world);
        comm_block(gang->comm, count, r, &begin, &other_end);
        size_t size = first_block(begin, other_end) - begin;
        memcpy(block + have, heads[r].x, size * sizeof(float));
        have += size;
    }
    CHECK(have == want);
    device->ops->copy_in(device, joined, block, want * sizeof(float));
    return device->ops->sumsq(device, joined, want);
}

/* Sums of the blocks that begin here; `sums` has room for all, `joined` for a block. */
static size_t sum_own(struct device *device, const struct gang *gang, const struct head *heads,
                      float *joined, const float *x, size_t count, double *sums)
{
    size_t begin, end, blocks = 0;
    gang_block(gang, count, &begin, &end);
    for (size_t start = first_block(begin, end); start < end; start += SUMSQ_BLOCK) {
        bool whole = start + SUMSQ_BLOCK <= end;
        sums[blocks++] = whole ? device->ops->sumsq(device, x + start, SUMSQ_BLOCK)
                               : finish_block(device, gang, heads, joined, x, start, end, count);
    }
    return blocks;
}

static enum status sum_over_ranks(struct arena *arena, struct device *device,
                                  const struct gang *gang, float *joined, const float *x,
                                  size_t count, double *sum_out, struct error *error)
{
    size_t begin, end, most = count / SUMSQ_BLOCK / (size_t)gang->world + 3;
    struct head *mine = arena_new(arena, struct head);
    struct head *heads = arena_array(arena, struct head, gang->world);
    double *own = arena_array(arena, double, most);
    double *all = arena_array(arena, double, most *(size_t)gang->world);
    gang_block(gang, count, &begin, &end);
    device->ops->copy_out(device, mine->x, x + begin,
                          (first_block(begin, end) - begin) * sizeof(float));
    TRY(gang_gather(gang, mine, sizeof(*mine), heads, error));
    CHECK(sum_own(device, gang, heads, joined, x, count, own) <= most);
    TRY(gang_gather(gang, own, most * sizeof(*own), all, error));
    double sum = 0;
    for (int32_t r = 0; r < gang->world; r++) {
        comm_block(gang->comm, count, r, &begin, &end);
        size_t blocks = (block_behind(end) - block_behind(begin)) / SUMSQ_BLOCK;
        for (size_t b = 0; b < blocks; b++) {
            sum += all[(size_t)r * most + b];
        }
    }
    *sum_out = sum;
    return STATUS_OK;
}

enum status norm_sumsq_of_blocks(struct device *device, const struct gang *gang, const float *x,
                                 size_t count, double *sum_out, struct error *error)
{
    if (gang_world(gang) == 1) {
        *sum_out = device->ops->sumsq(device, x, count);
        return STATUS_OK;
    }
    struct arena arena = {0};
    void *joined;
    TRY(device->ops->block_alloc(device, sizeof(struct head), "a block of several ranks", &joined,
                                 error));
    enum status status = sum_over_ranks(&arena, device, gang, joined, x, count, sum_out, error);
    device->ops->block_free(device, joined, sizeof(struct head));
    arena_release(&arena);
    return status;
}
