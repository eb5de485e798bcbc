/* SPDX-License-Identifier: Apache-2.0
 *
 * config_fuzz: any bytes as config.json, adapter_config.json or tailor.json (first byte).
 *
 * What is accepted must be usable: its tables can be laid out, and writing it and reading that
 * again must be accepted too.
 */
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/model/adapter.h"
#include "worker/model/card.h"
#include "worker/model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void config_use(const struct model_config *config, bool classifier)
{
    struct params_table table;
    struct model_config again;
    float frequencies[MODEL_HEAD_DIM_MAX / 2];
    params_table_init(&table, config, &(struct params_heads){.lm_head = true, .score = true});
    CHECK(params_place(&table, TENSOR_DOWN, config->L - 1) != NULL);
    params_table_release(&table);
    model_rope_inverse_frequencies(config, frequencies);
    json_t *json = model_config_json(config, classifier, "float32");
    bool same;
    CHECK(model_config_parse("again", json, &again, &same, NULL) == STATUS_OK);
    CHECK(same == classifier && again.C == config->C &&
          again.positions_max == config->positions_max);
    json_decref(json);
}

static void lora_use(const struct lora_config *lora, const char *parent)
{
    struct lora_config again;
    const char *same;
    json_t *json = adapter_config_json(lora, parent);
    CHECK(adapter_config_parse("again", json, &again, &same, NULL) == STATUS_OK);
    CHECK(again.r == lora->r && again.targets == lora->targets && strcmp(same, parent) == 0);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json;
    struct error error = {0};
    if (size < 1 ||
        json_read("fuzz", (const char *)data + 1, size - 1, &json, &error) != STATUS_OK) {
        return 0;
    }
    struct model_config config;
    struct lora_config lora;
    struct text_format format;
    const char *parent;
    bool flag;
    enum status status;
    if (data[0] % 3 == 0) {
        status = model_config_parse("fuzz", json, &config, &flag, &error);
        if (status == STATUS_OK) {
            config_use(&config, flag);
        }
    } else if (data[0] % 3 == 1) {
        status = adapter_config_parse("fuzz", json, &lora, &parent, &error);
        if (status == STATUS_OK) {
            lora_use(&lora, parent);
        }
    } else {
        status = card_format("fuzz", json, &format, &flag, &error);
        if (status == STATUS_OK && flag) {
            json_decref(card_text_json(&format));
        }
    }
    CHECK(status == STATUS_OK || strncmp(error.text, "fuzz", 4) == 0);
    json_decref(json);
    return 0;
}
