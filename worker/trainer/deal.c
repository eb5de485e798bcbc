/* SPDX-License-Identifier: Apache-2.0
 *
 * The cut is a list of subtrees from left to right; a split replaces one entry by its two halves.
 */
#include "worker/trainer/deal.h"

#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"

/* Slices of the left half of tree(count): the largest power of two below count. */
static int32_t left_half(int32_t count)
{
    int32_t power = 1;
    while (2 * power < count) {
        power *= 2;
    }
    return power;
}

static void split_largest(struct deal_part *part, int32_t count)
{
    int32_t largest = 0;
    for (int32_t i = 1; i < count; i++) {
        largest = part[i].count >= part[largest].count ? i : largest;
    }
    CHECK(part[largest].count > 1);
    memmove(&part[largest + 1], &part[largest], sizeof(*part) * (size_t)(count - largest));
    int32_t left = left_half(part[largest].count);
    part[largest].count = left;
    part[largest + 1].first += left;
    part[largest + 1].count -= left;
}

/* The merges of the subtree of `count` slices from `first` on, as far as they lie above the cut, in
 * the order of its evaluation. Returns the rank that then holds its sum. Depth: log2(slices). */
static int32_t order_of(struct deal *deal, int32_t first, int32_t count, int32_t *next_rank)
{
    if (deal->part[*next_rank].first == first && deal->part[*next_rank].count == count) {
        return (*next_rank)++;
    }
    int32_t left = left_half(count);
    int32_t into = order_of(deal, first, left, next_rank);
    int32_t from = order_of(deal, first + left, count - left, next_rank);
    struct comm_order *order = &deal->order;
    order->merge[order->count].into = into;
    order->merge[order->count++].from = from;
    return into;
}

void deal_slices(int32_t slices, int32_t ranks, struct deal *deal_out)
{
    CHECK(ranks >= 1 && ranks <= slices && ranks <= COMM_WORLD_MAX && slices <= SLICES_MAX);
    *deal_out = (struct deal){.slices = slices, .ranks = ranks};
    deal_out->part[0].count = slices;
    for (int32_t count = 1; count < ranks; count++) {
        split_largest(deal_out->part, count);
    }
    int32_t next_rank = 0;
    CHECK(order_of(deal_out, 0, slices, &next_rank) == 0 && next_rank == ranks);
}

int32_t deal_rank_of(const struct deal *deal, int32_t slice)
{
    int32_t rank = 0;
    while (slice >= deal->part[rank].first + deal->part[rank].count) {
        rank++;
        CHECK(rank < deal->ranks);
    }
    return rank;
}

int32_t deal_most(const struct deal *deal)
{
    int32_t most = 0;
    for (int32_t rank = 0; rank < deal->ranks; rank++) {
        most = deal->part[rank].count > most ? deal->part[rank].count : most;
    }
    return most;
}

struct deal_recheck deal_recheck_at(const struct deal *deal, int64_t step, int64_t interval)
{
    struct deal_recheck recheck = {-1, -1, -1};
    if (deal->ranks == 1 || interval == 0 || step % interval != 0) {
        return recheck;
    }
    int64_t turn = step / interval;
    recheck.slice = (int32_t)(turn % deal->slices);
    recheck.owner = deal_rank_of(deal, recheck.slice);
    int32_t further = 1 + (int32_t)(turn / deal->slices % (deal->ranks - 1));
    recheck.checker = (recheck.owner + further) % deal->ranks;
    return recheck;
}
