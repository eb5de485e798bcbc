/* SPDX-License-Identifier: Apache-2.0
 *
 * examiner: a model opened to be asked, not trained: evaluate, compare, score and export share it.
 */
#ifndef TAILOR_WORKER_TRAINER_EXAMINER_H
#define TAILOR_WORKER_TRAINER_EXAMINER_H

#include <jansson.h>

#include "lib/status.h"
#include "worker/model/model.h"
#include "worker/trainer/arguments.h"
#include "worker/trainer/scorer.h"

struct examiner {
    struct device *device;
    struct tokenizer *tokenizer;
    struct text_format format; /* the model's own, or the options' */
    json_t *card;              /* owned: tailor.json, whose strings `format` borrows; or NULL */
    struct model *model;
    struct activations *acts;
    struct scorer scorer;
    /* Of adapters that passes bring along beside the model's own (examiner_reserve heeds them). */
    int32_t lora_rank;
    bool any_pooling;
};

/* Opens device, tokenizer, text format and weights. Packs are allocated by
 * examiner_reserve. `like`: take the device of another examiner; NULL: open one. */
enum status examiner_open(const char *dir, const struct arguments *arguments,
                          const struct examiner *like, struct examiner *examiner_out,
                          struct error *error);
/* Tokenizer and text format alone: for who looks at texts and computes nothing. */
enum status examiner_open_texts(const char *dir, const struct arguments *arguments,
                                struct examiner *examiner_out, struct error *error);
/* Packs for these longest rows, groups and K; call again for more. */
enum status examiner_reserve(struct examiner *examiner, int32_t tokens, int32_t rows,
                             int32_t row_tokens_max, struct error *error);
enum status examiner_reserve_for(struct examiner *examiner, const struct dataset *dataset,
                                 int64_t batch_tokens, struct error *error);
void examiner_close(struct examiner *examiner, bool close_device);

#endif
