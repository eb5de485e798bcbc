/* SPDX-License-Identifier: Apache-2.0
 *
 * overlap: the sum over ranks, begun while the backward pass still goes on.
 *
 *     overlap_begin(&overlap, stepper, &deal.order);
 *     … the last backward pass of the last slice, with overlap_watch(&overlap) …
 *     TRY(overlap_end(&overlap, result, error));
 *
 * What that pass says is final is merged down the slice tree and handed to the comm's thread in
 * buckets: the same additions in the same order as all at once, hence the same bits. All ranks have
 * the same table and so the same buckets, also one whose last pack is computed in parts and says
 * nothing before the end.
 *
 * Invariant: elements from `open` on are the thread's; those before are still added to.
 */
#ifndef TAILOR_WORKER_TRAINER_OVERLAP_H
#define TAILOR_WORKER_TRAINER_OVERLAP_H

#include "lib/status.h"
#include "worker/model/transformer.h"
#include "worker/trainer/step.h"

struct overlap {
    const struct stepper *stepper;  /* borrowed */
    const struct comm_order *order; /* borrowed */
    size_t open, bucket;            /* elements */
    int32_t layer;                  /* the next that is handed over; L: what is behind the layers */
    enum status status;             /* of the first start that failed */
    struct error error;
};

void overlap_begin(struct overlap *overlap, const struct stepper *stepper,
                   const struct comm_order *order);
struct backward_watch overlap_watch(struct overlap *overlap);
/* Hands over what is left and waits. On success slice_tree_sum is as after optimizer_reduce, and
 * the result's reduce and hidden seconds have grown. */
enum status overlap_end(struct overlap *overlap, struct step_result *result, struct error *error);

#endif
