/* SPDX-License-Identifier: Apache-2.0
 *
 * check: what would happen with a directory. import-gguf and export: between formats.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/table.h"
#include "lib/text.h"
#include "worker/data/tokenizer.h"
#include "worker/model/card.h"
#include "worker/model/gguf.h"
#include "worker/model/tokenizer_dir.h"
#include "worker/trainer/export_checked.h"
#include "worker/trainer/verbs.h"

/* ---- check
 * --------------------------------------------------------------------------------------------------
 */

static const char *architecture_name(enum architecture architecture)
{
    static const char *const names[] = {[ARCHITECTURE_LLAMA] = "llama",
                                        [ARCHITECTURE_MISTRAL] = "mistral",
                                        [ARCHITECTURE_QWEN2] = "qwen2",
                                        [ARCHITECTURE_QWEN3] = "qwen3"};
    return names[architecture];
}

static void add_row(struct table *table, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_row(struct table *table, const char *what, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    table_row(table, what, text);
}

static void describe_model(struct table *table, const struct model *m)
{
    const struct model_config *c = &m->config;
    char parameters[16];
    format_count((double)m->table.elements, parameters);
    add_row(table, "architecture",
            "%s, %d layers, %d channels, %d heads of %d (%d for keys), mlp %d",
            architecture_name(c->architecture), c->L, c->C, c->H, c->D, c->G, c->F);
    add_row(table, "parameters", "%s", parameters);
    add_row(table, "rotary", "theta %g%s, %d positions", c->rope_theta,
            c->rope_llama3 ? ", llama3 scaling" : "", c->positions_max);
    add_row(table, "LM head", "%s",
            c->tied            ? "tied to the embedding"
            : m->heads.lm_head ? "own"
                               : "none");
    add_row(table, "digest", "%s", m->digest);
}

static void describe_text(struct table *table, const struct tokenizer *tokenizer,
                          const struct model *m)
{
    enum template_kind kind;
    struct error error;
    add_row(table, "tokenizer", "%d tokens; bos %d, eos %d, pad %d", tokenizer_size(tokenizer),
            tokenizer_bos(tokenizer), tokenizer_eos(tokenizer), tokenizer_pad(tokenizer));
    if (m->has_format) {
        add_row(table, "text", "template %s, %d tokens, %s, pooling %s",
                template_name(m->format.template_kind), m->format.max_length,
                overlong_name(m->format.overlong), pooling_name(m->format.pooling));
    } else if (template_recognise(tokenizer, &kind, &error) == STATUS_OK) {
        add_row(table, "template", "%s (auto)", template_name(kind));
    } else {
        add_row(table, "template", "not recognised: %s", error.text);
    }
}

enum status verb_check(const struct arguments *arguments, struct error *error)
{
    const char *dir;
    struct device *device;
    struct tokenizer *tokenizer = NULL;
    struct model *model = NULL;
    TRY(arguments_need(arguments, 0, "the directory", &dir, error));
    TRY(device_open(&(struct device_options){.threads = (int)arguments->threads}, &device, error));
    struct model_open_options options = {.merge_adapter = true, .positions = 0};
    enum status status = model_tokenizer_open(dir, &tokenizer, error);
    if (status == STATUS_OK) {
        status = model_open(device, dir, &options, &model, error);
    }
    if (status == STATUS_OK && tokenizer_size(tokenizer) > model->config.V) {
        status = error_set(error, STATUS_CONFLICT,
                           "%s: tokenizer.json has ids up to %d, but the embedding has %d rows",
                           dir, tokenizer_size(tokenizer) - 1, model->config.V);
    }
    if (status == STATUS_OK) {
        struct table *table = table_create("what", "value");
        bool head = params_place(&model->table, TENSOR_SCORE, -1) != NULL;
        describe_model(table, model);
        describe_text(table, tokenizer, model);
        add_row(table, "usable as", "%s",
                head ? "a reward model: its head is kept (general, customize, evaluate, score)"
                     : "a base (lm, general): a reward head is drawn at the start of general");
        table_print(table, arguments_table_format(arguments), stdout);
        table_free(table);
    }
    model_free(model);
    tokenizer_free(tokenizer);
    device_close(device);
    return status;
}

/* ---- import and export
 * ------------------------------------------------------------------------------------- */

enum status verb_import_gguf(const struct arguments *arguments, struct error *error)
{
    const char *file, *out;
    TRY(arguments_need(arguments, 0, "the GGUF file", &file, error));
    TRY(arguments_need(arguments, 1, "the directory to write", &out, error));
    TRY(gguf_import(file, out, error));
    if (!arguments->quiet) {
        printf("%s\n", out);
    }
    return STATUS_OK;
}

enum status verb_export(const struct arguments *arguments, struct error *error)
{
    const char *dir, *out;
    TRY(arguments_need(arguments, 0, "the model's directory", &dir, error));
    TRY(arguments_need(arguments, 1, "the directory to write", &out, error));
    if (arguments->format == NULL) {
        return error_set(error, STATUS_USAGE, "--format hf or --format peft is missing");
    }
    struct export_options options = {
        .format = strcmp(arguments->format, "peft") == 0 ? EXPORT_PEFT : EXPORT_HF,
        .merge = arguments->merge,
        .dtype = arguments->dtype != NULL && strcmp(arguments->dtype, "bf16") == 0
                     ? WEIGHT_DTYPE_BF16
                     : WEIGHT_DTYPE_F32};
    enum status status = export_checked(dir, &options, (int)arguments->threads, out, error);
    if (status == STATUS_OK && !arguments->quiet) {
        printf("%s\n", out);
    }
    return status;
}
