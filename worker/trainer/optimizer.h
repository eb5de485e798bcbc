/* SPDX-License-Identifier: Apache-2.0
 *
 * optimizer: AdamW over the trained table, after clipping by the global norm.
 *
 * Weights, gradients and both moments are flat blocks over one table. Weight decay is a property of
 * the tensor (params.def): neighbours that agree on it are one call.
 */
#ifndef TAILOR_WORKER_TRAINER_OPTIMIZER_H
#define TAILOR_WORKER_TRAINER_OPTIMIZER_H

#include <stdint.h>

#include "lib/status.h"
#include "worker/model/params.h"
#include "worker/ops/ops.h"

struct optimizer_config {
    double beta1, beta2, epsilon, weight_decay;
    double max_grad_norm; /* 0: never clip */
};

struct optimizer {
    struct device *device;            /* borrowed */
    const struct params_table *table; /* borrowed */
    struct optimizer_config config;
    float *m, *v; /* (table->elements), owned, on the device */
    int64_t t;    /* updates so far */
};

enum status optimizer_create(struct device *device, const struct params_table *table,
                             const struct optimizer_config *config,
                             struct optimizer **optimizer_out, struct error *error);
void optimizer_free(struct optimizer *optimizer);

/* sqrt Σ g² over the whole block, before clipping. */
double optimizer_gradient_norm(const struct optimizer *optimizer, const float *gradients);
/* One update. `norm` is what optimizer_gradient_norm gave; it must be finite. */
void optimizer_step(struct optimizer *optimizer, float *weights, const float *gradients,
                    double norm, double learning_rate);

#endif
