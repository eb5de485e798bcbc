/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory without tailor.json (a classifier of Transformers) says nothing of its text format:
 * then the options do, and what they leave open is dsp or the recognised chat template, 512 tokens,
 * last_token.
 *
 * An adapter stays one over its parent's weights, as it was trained: its rewards are those that
 * training computed, and those of the many adapters that are served over one parent.
 */
#include "worker/trainer/examiner.h"

#include <string.h>

#include "worker/model/card.h"
#include "worker/model/kept_weights.h"
#include "worker/model/tokenizer_dir.h"

static enum status examiner_format(const char *dir, const struct arguments *arguments,
                                   struct examiner *e, struct error *error)
{
    bool has = false;
    TRY(card_read(dir, &e->card, error));
    if (e->card != NULL) {
        TRY(card_format(dir, e->card, &e->format, &has, error));
    }
    if (!has) {
        e->format = (struct text_format){
            .max_length = 512, .overlong = OVERLONG_DROP, .pooling = POOLING_LAST_TOKEN};
        if (arguments->template == NULL || strcmp(arguments->template, "auto") == 0) {
            TRY(template_recognise(e->tokenizer, &e->format.template_kind, error));
        }
    }
    return arguments_format(arguments, &e->format, error);
}

enum status examiner_open_texts(const char *dir, const struct arguments *arguments,
                                struct examiner *examiner_out, struct error *error)
{
    struct examiner e = {0};
    enum status status = model_tokenizer_open(dir, &e.tokenizer, error);
    if (status == STATUS_OK) {
        status = examiner_format(dir, arguments, &e, error);
    }
    if (status != STATUS_OK) {
        examiner_close(&e, false);
        return status;
    }
    *examiner_out = e;
    return STATUS_OK;
}

enum status examiner_open(const char *dir, const struct arguments *arguments,
                          const struct examiner *like, struct examiner *examiner_out,
                          struct error *error)
{
    struct examiner e = {.device = like != NULL ? like->device : NULL};
    struct device_options options = {
        .threads = (int)arguments->threads,
        .dtype = arguments->dtype != NULL && strcmp(arguments->dtype, "bf16") == 0 ? DTYPE_BF16
                                                                                   : DTYPE_FP32};
    enum status status = STATUS_OK;
    if (e.device == NULL) {
        status = device_open(&options, &e.device, error);
    }
    if (status == STATUS_OK) {
        status = model_tokenizer_open(dir, &e.tokenizer, error);
    }
    if (status == STATUS_OK) {
        status = examiner_format(dir, arguments, &e, error);
    }
    if (status == STATUS_OK) {
        struct model_open_options open = {.need_score = true, .positions = e.format.max_length};
        status = model_open(e.device, dir, &open, &e.model, error);
    }
    if (status != STATUS_OK) {
        examiner_close(&e, like == NULL);
        return status;
    }
    *examiner_out = e;
    return STATUS_OK;
}

/* Frozen weights are packed once for all texts, where packs are short and memory is plentiful. */
static enum status keep_weights(const struct examiner *e, const struct pass_capacity *capacity,
                                struct error *error)
{
    enum { SHARE = 4 }; /* of what is available */
    const bool pruned = !capacity->all_tokens;
    unsigned uses = kept_weights_uses(e->device, capacity->S, false);
    if (kept_weights_bytes(e->model, pruned, uses) > device_memory_available(e->device) / SHARE) {
        uses = 0;
    }
    return kept_weights_keep(e->model, pruned, uses, error);
}

enum status examiner_reserve(struct examiner *e, int32_t tokens, int32_t rows,
                             int32_t row_tokens_max, struct error *error)
{
    const struct model_config *c = &e->model->config;
    bool all =
        e->any_pooling || e->format.pooling == POOLING_MEAN || e->format.pooling == POOLING_MAX;
    const struct lora_config lora = {.r = e->model->lora.r > e->lora_rank ? e->model->lora.r
                                                                          : e->lora_rank};
    struct pass_capacity capacity = {
        .S = tokens, .R = rows, .row_tokens_max = row_tokens_max, .all_tokens = all};
    struct scratch_shape shape = pass_scratch(c, &capacity, lora.r);
    activations_free(e->acts);
    e->acts = NULL;
    TRY(e->device->ops->scratch_reserve(e->device, &shape, error));
    TRY(keep_weights(e, &capacity, error));
    TRY(activations_create(e->device, c, &lora, &capacity, &e->acts, error));
    e->scorer = (struct scorer){
        .model = e->model, .acts = e->acts, .pooling = e->format.pooling, .mode = PACK_SHARED};
    return STATUS_OK;
}

enum status examiner_reserve_for(struct examiner *examiner, const struct dataset *dataset,
                                 int64_t batch_tokens, struct error *error)
{
    int64_t tokens =
        batch_tokens > dataset->row_tokens_max ? batch_tokens : dataset->row_tokens_max;
    int32_t rows = dataset->group_rows_max > 256 ? dataset->group_rows_max : 256;
    int32_t longest = dataset->row_tokens_max > 64 ? dataset->row_tokens_max : 64;
    return examiner_reserve(examiner, (int32_t)tokens, rows, longest, error);
}

void examiner_close(struct examiner *examiner, bool close_device)
{
    activations_free(examiner->acts);
    if (examiner->model != NULL) {
        model_free(examiner->model);
    }
    tokenizer_free(examiner->tokenizer);
    json_decref(examiner->card);
    if (close_device && examiner->device != NULL) {
        device_close(examiner->device);
    }
    *examiner = (struct examiner){0};
}
