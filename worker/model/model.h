/* SPDX-License-Identifier: Apache-2.0
 *
 * model: a reward model (or a base LM) in memory, and its directory on disk.
 *
 * On disk a model is a Hugging Face directory, plus our tailor.json:
 *   base      config.json (…ForCausalLM), *.safetensors, tokenizer.json     from anywhere
 *   full      config.json (…ForSequenceClassification), model.safetensors with score.weight (and
 *             lm_head.weight where it is not tied: imitation needs it), tokenizer files,
 * tailor.json adapter   adapter_config.json, adapter_model.safetensors (PEFT), tokenizer files,
 * tailor.json, whose parent is the directory (and digest) of the model it was trained over A
 * directory without tailor.json is just as welcome: a base, a classifier that Transformers saved
 * (its head is kept), or a PEFT adapter with base_model_name_or_path.
 *
 * In memory an adapter's *parent weights are merged* (W + scale·B·A of every adapter below it), so
 * one base block serves any number of adapters.
 */
#ifndef TAILOR_WORKER_MODEL_MODEL_H
#define TAILOR_WORKER_MODEL_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/sha256.h"
#include "lib/status.h"
#include "worker/data/template.h"
#include "worker/model/params.h"
#include "worker/model/shapes.h"
#include "worker/ops/ops.h"

struct model {
    struct device *device; /* borrowed */
    struct model_config config;
    bool has_format;           /* tailor.json said how texts become tokens */
    struct text_format format; /* valid when has_format */
    struct params_heads heads;
    struct params_table table;
    float *weights; /* (table.elements) on the device, owned */

    struct lora_config lora; /* r = 0: none */
    struct params_table adapter_table;
    float *adapter; /* (adapter_table.elements), owned; NULL without LoRA */

    float *rope; /* (rope_positions, D/2, 2) on the device: cos, sin */
    int32_t rope_positions;

    char directory[4096];         /* where it came from */
    char digest[SHA256_HEX_SIZE]; /* over config, weights, adapter, tokenizer and parent digest */
    json_t *card;                 /* tailor.json, owned; NULL if there was none */
    char parent_digest[SHA256_HEX_SIZE]; /* of the model the adapter was trained over; or empty */
    json_t *format_card; /* owned: the card (maybe a parent's) whose strings `format` borrows */
};

struct model_open_options {
    bool merge_adapter; /* fold the directory's own adapter into the weights (start of a new stage,
                           scoring); otherwise it stays an adapter (resume, export as PEFT) */
    bool need_score;    /* add a score head where the directory has none… */
    bool init_score;   /* …drawn from N(0, 1/(C+1)) with `seed`; else STATUS_NOT_FOUND names it */
    bool keep_lm_head; /* keep an untied LM head that is there: a later stage may imitate */
    bool need_lm_head; /* keep the LM head in the table when untied; STATUS_NOT_FOUND if absent */
    uint64_t seed;
    int32_t
        positions; /* rope table size: at least the longest row; 0: as long as the model takes */
};

/* Opens a directory of any kind above. Symlinks (a hub cache) are followed. Every mistake in the
 * files is one sentence that names file and tensor or field; nothing is left allocated then. */
enum status model_open(struct device *device, const char *dir,
                       const struct model_open_options *options, struct model **model_out,
                       struct error *error);
void model_free(struct model *model);

/* A fresh adapter over the model's weights: A as PEFT draws it (Kaiming uniform, a = √5: uniform in
 * ±1/√K), B zero, the score copied from the model. */
enum status model_add_adapter(struct model *model, const struct lora_config *lora, uint64_t seed,
                              struct error *error);

/* Writes the directory `dir` (created; must not exist or be empty) from the model's present
 * weights: full, or the adapter alone over `parent_dir`. `card` becomes tailor.json. Tokenizer
 * files are copied from `tokenizer_dir`. Written under a temporary name and renamed: complete or
 * absent. */
enum status model_save(const struct model *model, const char *dir, const char *tokenizer_dir,
                       const char *parent_dir, const json_t *card, struct error *error);

/* What trains: the adapter's table and block when there is one, else the model's. */
const struct params_table *model_trained_table(const struct model *model);
float *model_trained_weights(const struct model *model);

/* config.json both ways (config.c). The writer uses the keys of Transformers 4. */
enum status model_config_parse(const char *name, const json_t *json,
                               struct model_config *config_out, bool *classifier_out,
                               struct error *error);
json_t *model_config_json(const struct model_config *config, bool classifier, const char *dtype);

/* (positions, D/2, 2) cos and sin in double, rounded once; llama3 rescaling included (rope.c). */
void model_rope_table(const struct model_config *config, int32_t positions, float *out);
void model_rope_inverse_frequencies(const struct model_config *config, float *out /*(D/2)*/);

#endif
