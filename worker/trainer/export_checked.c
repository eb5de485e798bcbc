/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/trainer/export_checked.h"

#include "worker/model/activations.h"
#include "worker/trainer/scorer.h"

static enum status score_row(void *context, struct model *model, const int32_t *ids, int32_t count,
                             double *score_out, struct error *error)
{
    (void)context;
    const struct model_config *c = &model->config;
    struct pass_capacity capacity = {
        .S = count, .R = 1, .row_tokens_max = count, .all_tokens = true};
    struct scratch_shape shape = pass_scratch(c, &capacity, model->lora.r);
    struct activations *acts;
    TRY(model->device->ops->scratch_reserve(model->device, &shape, error));
    TRY(activations_create(model->device, c, &model->lora, &capacity, &acts, error));
    struct scorer scorer = {.model = model, .acts = acts, .pooling = model->format.pooling};
    *score_out = scorer_row(&scorer, ids, count);
    activations_free(acts);
    return STATUS_OK;
}

enum status export_checked(const char *dir, const struct export_options *options, int threads,
                           const char *out, struct error *error)
{
    struct device *device;
    TRY(device_open(&(struct device_options){.threads = threads}, &device, error));
    enum status status = model_export(device, dir, options, score_row, NULL, out, error);
    device_close(device);
    return status;
}
