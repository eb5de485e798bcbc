/* SPDX-License-Identifier: Apache-2.0
 *
 * The padding between tensors is zero in all four blocks and stays so: its moments are zero, and
 * 0 / (sqrt(0) + ε) = 0. So runs may cover it.
 */
#include "worker/trainer/optimizer.h"

#include <math.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/trainer/norm.h"
#include "worker/trainer/share.h"

enum status optimizer_create(struct device *device, const struct params_table *table,
                             const struct optimizer_config *config, const struct gang *gang,
                             struct optimizer **optimizer_out, struct error *error)
{
    size_t begin = 0, end = table->elements;
    if (config->cut_state) {
        gang_block(gang, table->elements, &begin, &end);
    }
    size_t bytes = size_mul(end - begin, sizeof(float));
    void *m, *v;
    TRY(device->ops->block_alloc(device, bytes, "first moments", &m, error));
    enum status status = device->ops->block_alloc(device, bytes, "second moments", &v, error);
    if (status != STATUS_OK) {
        device->ops->block_free(device, m, bytes);
        return status;
    }
    struct optimizer *optimizer = mem_alloc(sizeof(*optimizer));
    *optimizer = (struct optimizer){.device = device,
                                    .table = table,
                                    .gang = gang,
                                    .config = *config,
                                    .begin = begin,
                                    .end = end,
                                    .m = m,
                                    .v = v};
    *optimizer_out = optimizer;
    return STATUS_OK;
}

void optimizer_free(struct optimizer *optimizer)
{
    if (optimizer == NULL) {
        return;
    }
    size_t bytes = (optimizer->end - optimizer->begin) * sizeof(float);
    optimizer->device->ops->block_free(optimizer->device, optimizer->m, bytes);
    optimizer->device->ops->block_free(optimizer->device, optimizer->v, bytes);
    mem_free(optimizer);
}

static enum comm_sum_to sums_to(const struct optimizer *optimizer)
{
    return optimizer->config.cut_state ? COMM_TO_OWNERS : COMM_TO_ALL;
}

enum status optimizer_reduce(const struct optimizer *optimizer, float *gradients,
                             const struct comm_order *order, struct error *error)
{
    return share_sum(optimizer->gang, optimizer->device, gradients, optimizer->table->elements,
                     sums_to(optimizer), order, error);
}

enum status optimizer_reduce_start(const struct optimizer *optimizer, float *gradients,
                                   size_t begin, size_t end, const struct comm_order *order,
                                   struct error *error)
{
    struct comm_span span = {gradients, optimizer->table->elements, begin, end};
    device_wait(optimizer->device);
    return comm_sum_start(optimizer->gang->comm, span, sums_to(optimizer), order, error);
}

enum status optimizer_gradient_norm(const struct optimizer *optimizer, const float *gradients,
                                    double *norm_out, struct error *error)
{
    double sum;
    size_t count = optimizer->table->elements;
    if (optimizer->config.cut_state) {
        TRY(norm_sumsq_of_blocks(optimizer->device, optimizer->gang, gradients, count, &sum,
                                 error));
    } else {
        sum = optimizer->device->ops->sumsq(optimizer->device, gradients, count);
    }
    *norm_out = sqrt(sum);
    return STATUS_OK;
}

/* One call for each run of neighbours that agree on decay, as far as it lies in the own block. */
static void update_own(struct optimizer *optimizer, float *weights, const float *gradients,
                       struct adamw_step *step)
{
    const struct params_table *table = optimizer->table;
    for (int32_t first = 0, next; first < table->count; first = next) {
        bool decays = table->places[first].decays;
        for (next = first + 1; next < table->count && table->places[next].decays == decays;) {
            next++;
        }
        size_t begin = table->places[first].offset;
        size_t end = next < table->count ? table->places[next].offset : table->elements;
        begin = begin > optimizer->begin ? begin : optimizer->begin;
        end = end < optimizer->end ? end : optimizer->end;
        step->weight_decay = decays ? (float)optimizer->config.weight_decay : 0;
        if (begin < end) {
            size_t at = begin - optimizer->begin;
            optimizer->device->ops->adamw(optimizer->device, weights + begin, optimizer->m + at,
                                          optimizer->v + at, gradients + begin, end - begin, step);
        }
    }
}

enum status optimizer_step(struct optimizer *optimizer, float *weights, const float *gradients,
                           double norm, double learning_rate, struct error *error)
{
    const struct optimizer_config *config = &optimizer->config;
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
    update_own(optimizer, weights, gradients, &step);
    if (!config->cut_state) {
        return STATUS_OK;
    }
    return share_blocks(optimizer->gang, optimizer->device, weights, optimizer->table->elements,
                        error);
}
