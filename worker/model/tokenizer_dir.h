/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_dir: where the tokenizer of a model's directory lies.
 *
 * In the directory itself; but PEFT's save_pretrained writes an adapter without one, and then that
 * of the model it was trained over is meant. The way to the parent is that of model_open.
 */
#ifndef TAILOR_WORKER_MODEL_TOKENIZER_DIR_H
#define TAILOR_WORKER_MODEL_TOKENIZER_DIR_H

#include "lib/status.h"
#include "worker/data/tokenizer.h"
#include "worker/model/card.h"

/* The directory with tokenizer.json: `dir` or an adapter's nearest parent that has one. Where there
 * is none at all, the last directory of the chain, so that opening it says what is missing. */
enum status model_tokenizer_dir(const char *dir, char out[MODEL_PATH_MAX], struct error *error);
enum status model_tokenizer_open(const char *dir, struct tokenizer **tokenizer_out,
                                 struct error *error);

#endif
