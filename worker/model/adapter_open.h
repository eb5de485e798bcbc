/* SPDX-License-Identifier: Apache-2.0
 *
 * adapter_open: an adapter's directory read over a model that is open already, beside any number of
 * others: what tells one customer's model from the next (A and B of each target, the head, how
 * texts become tokens), a hundredth of its parent's bytes.
 *
 *     struct adapter *adapter;
 *     TRY(adapter_open(parent, tokenizer_digest, dir, &adapter, error));
 *     … reading_adapt(…, &adapter, 1, …), transformer_forward(parent, …) …
 *     adapter_close(parent, adapter);
 *
 * The rewards are those of model_open() with merge_adapter false, bit for bit.
 */
#ifndef TAILOR_WORKER_MODEL_ADAPTER_OPEN_H
#define TAILOR_WORKER_MODEL_ADAPTER_OPEN_H

#include "worker/model/model.h"

struct adapter {
    struct lora_config lora;
    struct params_table table;
    float *weights; /* (table.elements) on the parent's device, owned */
    struct text_format format;
    json_t *card; /* owned: format's strings are borrowed from it */
};

/* STATUS_CONFLICT: it was trained over another model, or has another tokenizer than its
 * parent, whose tokenizer.json has the digest `tokenizer`. STATUS_NOT_FOUND: it has no head, and
 * its parent neither, or no tailor.json that says how texts become tokens. */
enum status adapter_open(const struct model *parent, const char *tokenizer, const char *dir,
                         struct adapter **adapter_out, struct error *error);
void adapter_close(const struct model *parent, struct adapter *adapter); /* NULL is fine */
size_t adapter_bytes(const struct adapter *adapter);

#endif
