/* SPDX-License-Identifier: Apache-2.0
 *
 * export: a reward model for everybody else: Transformers, PEFT, vLLM.
 *
 *     struct export_options options = {.format = EXPORT_HF, .merge = true, .dtype =
 * WEIGHT_DTYPE_BF16}; TRY(model_export(device, "models/support", &options, score, scorer, "out",
 * error));
 *
 *   hf    OUT is a …ForSequenceClassification directory; an adapter is merged (`merge` must say so)
 *   peft  OUT/parent is the same for what the adapter stands on, OUT/adapter the PEFT adapter
 *
 * The exported tokenizer gives `tokenizer(text)` the tokens of training: a post-processor adds BOS,
 * and EOS for the pooling last_token, but not for before_eos, whose reward is then read at the last
 * token as well. For chat templates nothing is added. The pad token is one that no text of the
 * template holds, because Transformers reads the reward at the last token that is not pad.
 * Beside it: scoring.json (eight probes: text, ids, score) and README.md.
 *
 * What was written is opened again and must tokenize and score the probes as before: to the bit in
 * fp32, within EXPORT_TOLERANCE of the largest score (at least 1) in a narrower dtype. Else nothing
 * is left behind.
 */
#ifndef TAILOR_WORKER_MODEL_EXPORT_H
#define TAILOR_WORKER_MODEL_EXPORT_H

#include "worker/model/model.h"
#include "worker/model/safetensors.h"

#define EXPORT_TOLERANCE 0.12

enum export_format { EXPORT_HF, EXPORT_PEFT };

struct export_options {
    enum export_format format;
    bool merge;
    const char *named;       /* where it will lie, for what names it; NULL: in `out` */
    enum weight_dtype dtype; /* of a model's weights; an adapter's stay fp32 */
};

/* The reward of one row of ids by `model` (its adapter included), pooled as model->format says. */
typedef enum status export_score(void *context, struct model *model, const int32_t *ids,
                                 int32_t count, double *score_out, struct error *error);

enum status model_export(struct device *device, const char *dir,
                         const struct export_options *options, export_score *score, void *context,
                         const char *out, struct error *error);

#endif
