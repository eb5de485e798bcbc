/* SPDX-License-Identifier: Apache-2.0
 *
 * The padding between tensors is zero in all four blocks and stays so: its moments are zero, and
 * 0 / (sqrt(0) + ε) = 0. So runs may cover it.
 */
#include "worker/trainer/optimizer.h"

#include <math.h>

#include "lib/arena.h"
#include "lib/check.h"

enum status optimizer_create(struct device *device, const struct params_table *table,
                             const struct optimizer_config *config,
                             struct optimizer **optimizer_out, struct error *error)
{
    size_t bytes = size_mul(table->elements, sizeof(float));
    void *m, *v;
    TRY(device->ops->block_alloc(device, bytes, "first moments", &m, error));
    enum status status = device->ops->block_alloc(device, bytes, "second moments", &v, error);
    if (status != STATUS_OK) {
        device->ops->block_free(device, m, bytes);
        return status;
    }
    struct optimizer *optimizer = mem_alloc(sizeof(*optimizer));
    *optimizer =
        (struct optimizer){.device = device, .table = table, .config = *config, .m = m, .v = v};
    *optimizer_out = optimizer;
    return STATUS_OK;
}

void optimizer_free(struct optimizer *optimizer)
{
    if (optimizer == NULL) {
        return;
    }
    size_t bytes = optimizer->table->elements * sizeof(float);
    optimizer->device->ops->block_free(optimizer->device, optimizer->m, bytes);
    optimizer->device->ops->block_free(optimizer->device, optimizer->v, bytes);
    mem_free(optimizer);
}

double optimizer_gradient_norm(const struct optimizer *optimizer, const float *gradients)
{
    return sqrt(
        optimizer->device->ops->sumsq(optimizer->device, gradients, optimizer->table->elements));
}

void optimizer_step(struct optimizer *optimizer, float *weights, const float *gradients,
                    double norm, double learning_rate)
{
    const struct optimizer_config *config = &optimizer->config;
    const struct params_table *table = optimizer->table;
    CHECK(isfinite(norm));
    optimizer->t++;
    double scale = config->max_grad_norm > 0 ? config->max_grad_norm / (norm + 1e-6) : 1;
    struct adamw_step step = {
        .learning_rate = (float)learning_rate,
        .beta1 = (float)config->beta1,
        .beta2 = (float)config->beta2,
        .epsilon = (float)config->epsilon,
        .correction1 = (float)(1 - pow(config->beta1, (double)optimizer->t)),
        .correction2 = (float)(1 - pow(config->beta2, (double)optimizer->t)),
        .gradient_scale = (float)fmin(1, scale),
    };
    for (int32_t first = 0, next; first < table->count; first = next) {
        bool decays = table->places[first].decays;
        for (next = first + 1; next < table->count && table->places[next].decays == decays;) {
            next++;
        }
        size_t begin = table->places[first].offset;
        size_t end = next < table->count ? table->places[next].offset : table->elements;
        step.weight_decay = decays ? (float)config->weight_decay : 0;
        optimizer->device->ops->adamw(optimizer->device, weights + begin, optimizer->m + begin,
                                      optimizer->v + begin, gradients + begin, end - begin, &step);
    }
}
