/* SPDX-License-Identifier: Apache-2.0
 *
 * optimizer: AdamW over the trained table, after clipping by the global norm, on any number of
 * ranks.
 *
 *     TRY(optimizer_reduce(optimizer, gradients, order, error));    sums over ranks
 *     TRY(optimizer_gradient_norm(optimizer, gradients, &norm, error));
 *     TRY(optimizer_step(optimizer, weights, gradients, norm, rate, error));
 *
 * Weights, gradients and both moments are flat blocks over one table. Weight decay is a property of
 * the tensor (params.def): neighbours that agree on it are one call.
 *
 * The optimizer's state may be cut over the ranks (ZeRO-1, Rajbhandari et al. 2020): a rank then
 * holds and updates its own block alone (gang_block), wherever its borders fall in a tensor, and
 * the new weights are gathered. That moves the bytes of an all-reduce, and AdamW is elementwise:
 * the bits are those of one rank.
 */
#ifndef TAILOR_WORKER_TRAINER_OPTIMIZER_H
#define TAILOR_WORKER_TRAINER_OPTIMIZER_H

#include <stdint.h>

#include "lib/status.h"
#include "worker/model/params.h"
#include "worker/ops/ops.h"
#include "worker/trainer/gang.h"

struct optimizer_config {
    double beta1, beta2, epsilon, weight_decay;
    double max_grad_norm; /* 0: never clip */
    bool cut_state;       /* over the ranks of the gang: ZeRO-1 */
};

struct optimizer {
    struct device *device;            /* borrowed */
    const struct params_table *table; /* borrowed */
    const struct gang *gang;          /* borrowed; NULL: alone */
    struct optimizer_config config;
    size_t begin, end; /* of the table's elements: what this rank updates */
    float *m, *v;      /* (end − begin), owned, on the device */
    int64_t t;         /* updates so far */
};

enum status optimizer_create(struct device *device, const struct params_table *table,
                             const struct optimizer_config *config, const struct gang *gang,
                             struct optimizer **optimizer_out, struct error *error);
void optimizer_free(struct optimizer *optimizer);

/* `gradients` becomes the sum over ranks, added in `order`: all of it, or where the state is cut
 * the own block (the rest is then undefined). */
enum status optimizer_reduce(const struct optimizer *optimizer, float *gradients,
                             const struct comm_order *order, struct error *error);
/* The same for elements [begin, end), beside the caller's compute: comm_sum_start. In a gang only;
 * comm_wait ends it. */
enum status optimizer_reduce_start(const struct optimizer *optimizer, float *gradients,
                                   size_t begin, size_t end, const struct comm_order *order,
                                   struct error *error);
/* sqrt Σ g² over all elements, before clipping: the same bits on every rank of every world. */
enum status optimizer_gradient_norm(const struct optimizer *optimizer, const float *gradients,
                                    double *norm_out, struct error *error);
/* One update of `weights` (all of them, on every rank). `norm` is what optimizer_gradient_norm
 * gave; it must be finite. */
enum status optimizer_step(struct optimizer *optimizer, float *weights, const float *gradients,
                           double norm, double learning_rate, struct error *error);

#endif
