/* SPDX-License-Identifier: Apache-2.0
 *
 * A bucket is at least stepper->overlap_floats, so that small layers do not pay an exchange each,
 * and at least a fixed share of the table, so that there are never more than the comm takes.
 */
#include "worker/trainer/overlap.h"

#include "lib/check.h"
#include "lib/clock.h"
#include "worker/trainer/progress.h"

void overlap_begin(struct overlap *overlap, const struct stepper *stepper,
                   const struct comm_order *order)
{
    size_t elements = model_trained_table(stepper->model)->elements;
    size_t least = stepper->overlap_floats;
    size_t share = elements / (COMM_STARTED_MAX / 2) + 1;
    *overlap = (struct overlap){.stepper = stepper,
                                .order = order,
                                .open = elements,
                                .layer = stepper->model->config.L,
                                .bucket = share > least ? share : least};
}

/* Elements [begin, open) are final. */
static void hand_over(struct overlap *overlap, size_t begin)
{
    const struct stepper *stepper = overlap->stepper;
    size_t end = overlap->open;
    if (begin == end || (begin > 0 && end - begin < overlap->bucket)) {
        return;
    }
    float *sum = slice_tree_finish(stepper->tree, begin, end);
    overlap->open = begin;
    if (overlap->status == STATUS_OK) {
        overlap->status = optimizer_reduce_start(stepper->optimizer, sum, begin, end,
                                                 overlap->order, &overlap->error);
    }
}

/* Layer by layer also where many become final at once: the buckets depend on the table alone. */
static void on_final(void *argument, size_t begin)
{
    struct overlap *overlap = argument;
    const struct params_table *table = model_trained_table(overlap->stepper->model);
    for (; overlap->layer >= 0; overlap->layer--) {
        size_t edge = params_layer_begin(table, overlap->layer);
        if (edge < begin) {
            return;
        }
        hand_over(overlap, edge);
    }
    if (begin == 0) {
        hand_over(overlap, 0);
    }
}

struct backward_watch overlap_watch(struct overlap *overlap)
{
    return (struct backward_watch){.final = on_final, .argument = overlap};
}

enum status overlap_end(struct overlap *overlap, struct step_result *result, struct error *error)
{
    double start = monotonic_s(), busy = 0;
    on_final(overlap, 0);
    if (overlap->status != STATUS_OK) {
        *error = overlap->error;
        return overlap->status;
    }
    TRY(comm_wait(overlap->stepper->gang->comm, &busy, error));
    double exposed = monotonic_s() - start;
    result->reduce_seconds += exposed;
    result->reduce_hidden_seconds += busy > exposed ? busy - exposed : 0;
    return STATUS_OK;
}
