/* SPDX-License-Identifier: Apache-2.0
 *
 * preview: what the model really sees of a row: its tokens as text, and the token that is scored.
 */
#ifndef TAILOR_WORKER_TRAINER_PREVIEW_H
#define TAILOR_WORKER_TRAINER_PREVIEW_H

#include <stdbool.h>
#include <stdio.h>

#include "worker/data/dataset.h"
#include "worker/data/template.h"
#include "worker/data/tokenizer.h"

/* `ids`: print the token ids too. */
void preview_row(const struct tokenizer *tokenizer, const struct text_format *format,
                 const struct dataset *dataset, int64_t row, bool ids, FILE *out);

#endif
