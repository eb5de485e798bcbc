/* SPDX-License-Identifier: Apache-2.0
 *
 * adapter: PEFT's adapter_config.json, and folding an adapter into the weights.
 */
#ifndef TAILOR_WORKER_MODEL_ADAPTER_H
#define TAILOR_WORKER_MODEL_ADAPTER_H

#include <jansson.h>

#include "worker/model/params.h"
#include "worker/ops/ops.h"

#define ADAPTER_CONFIG_FILE "adapter_config.json"
#define ADAPTER_STEM        "adapter_model"

enum { ADAPTER_CHAIN_MAX = 16 }; /* adapters upon one another */

/* What changes the maths and is not known (DoRA, rank patterns, …) is STATUS_UNSUPPORTED and named.
 * *parent_out is base_model_name_or_path, borrowed from `json`; "" if it has none. */
enum status adapter_config_parse(const char *name, const json_t *json, struct lora_config *lora_out,
                                 const char **parent_out, struct error *error);
json_t *adapter_config_json(const struct lora_config *lora, const char *parent);

/* W += scale·B·A for every target of the adapter, in place. */
void adapter_merge(struct device *device, const struct params_table *table, float *weights,
                   const struct params_table *adapter_table, const float *adapter,
                   const struct lora_config *lora);

#endif
