/* SPDX-License-Identifier: Apache-2.0
 *
 * export_probe: eight short rows whose tokens and scores must survive the export.
 *
 * The texts touch what tokenizers differ in: digits, spaces, newlines, punctuation, code, accents,
 * scripts without spaces, emoji. Where max_length is short they are halved until they fit, because
 * a truncated row has no text that `tokenizer(text)` could be asked for.
 */
#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "worker/model/export_parts.h"

static const char *const texts[PROBES_COUNT][2] = {
    {"What is the capital of France?", "Paris."},
    {"What is the capital of France?", "I don't know, and I won't look it up."},
    {"Add 1234 and 5678.", "1234 + 5678 = 6912"},
    {"Write a loop in C.", "for (int i = 0; i < 10; i++) {\n    puts(\"hello\");\n}"},
    {"Wie spät ist es?", "Es ist zwanzig nach zwölf — fast Mittag."},
    {"请用一句话介绍北京。", "北京是中国的首都。"},
    {"How are you?", "  Great!!  😀  Thanks,\tand you?"},
    {"Give me three tips for sleeping well.",
     "1. Go to bed at the same time.\n2. No screens in bed.\n3. Keep the room cool and dark."},
};

/* Cuts a text of valid UTF-8 to about its half, at a character. */
static size_t half_of(const char *text, size_t length)
{
    size_t half = 0;
    while (half < length / 2) {
        utf8_next(text, length, &half);
    }
    return half < length ? half : 0;
}

static enum status probe_render(const struct exporting *exporting, struct export_probe *probe,
                                const char *prompt, size_t prompt_length, const char *response,
                                size_t response_length, struct error *error)
{
    const struct text_format *format = &exporting->model->format;
    const struct message messages[2] = {
        {.role = "user", .content = prompt, .content_length = prompt_length},
        {.role = "assistant", .content = response, .content_length = response_length},
    };
    buf_clear(&probe->text);
    probe->ids.count = 0;
    TRY(template_render(format->template_kind, &format->prefixes, exporting->tokenizer, messages, 2,
                        false, &probe->text, error));
    template_encode_text(format, exporting->tokenizer, probe->text.data, probe->text.length,
                         &probe->ids);
    return STATUS_OK;
}

/* before_eos reads the token in front of EOS, so the exported row ends there. A chat template that
 * itself ends in EOS leaves no such choice. */
static enum status eos_drop(const struct exporting *exporting, struct ids *ids, struct error *error)
{
    const struct text_format *format = &exporting->model->format;
    if (format->pooling != POOLING_BEFORE_EOS || ids->count < 2 ||
        ids->items[ids->count - 1] != tokenizer_eos(exporting->tokenizer)) {
        return STATUS_OK;
    }
    if (template_is_chat(format->template_kind)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "pooling before_eos cannot be exported with template %s, whose texts end "
                         "in EOS: Hugging Face's classifiers read the last token",
                         template_name(format->template_kind));
    }
    ids->count--;
    return STATUS_OK;
}

static enum status probe_make(struct exporting *exporting, struct export_probe *probe,
                              const char *const text[2], struct error *error)
{
    size_t lengths[2] = {strlen(text[0]), strlen(text[1])};
    TRY(probe_render(exporting, probe, text[0], lengths[0], text[1], lengths[1], error));
    size_t room = (size_t)exporting->model->format.max_length;
    while (probe->ids.count > room) {
        int longer = lengths[0] > lengths[1] ? 0 : 1;
        size_t half = half_of(text[longer], lengths[longer]);
        if (half == 0 || half == lengths[longer]) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "max_length %zu is too short for any text of template %s", room,
                             template_name(exporting->model->format.template_kind));
        }
        lengths[longer] = half;
        TRY(probe_render(exporting, probe, text[0], lengths[0], text[1], lengths[1], error));
    }
    TRY(eos_drop(exporting, &probe->ids, error));
    for (size_t i = 0; i < probe->ids.count; i++) {
        if (probe->ids.items[i] == exporting->pad.id) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "the pad token \"%s\" occurs in texts of template %s: give the "
                             "tokenizer a pad token of its own",
                             exporting->pad.text,
                             template_name(exporting->model->format.template_kind));
        }
    }
    return exporting->score(exporting->context, exporting->model, probe->ids.items,
                            (int32_t)probe->ids.count, &probe->score, error);
}

enum status export_probes_make(struct exporting *exporting, struct error *error)
{
    for (int i = 0; i < PROBES_COUNT; i++) {
        TRY(probe_make(exporting, &exporting->probes[i], texts[i], error));
    }
    return STATUS_OK;
}

enum status export_probes_tokenize(const struct exporting *exporting, const char *dir,
                                   struct error *error)
{
    struct tokenizer *tokenizer;
    struct ids ids = {0};
    TRY(tokenizer_open(dir, &tokenizer, error));
    enum status status = STATUS_OK;
    for (int i = 0; i < PROBES_COUNT && status == STATUS_OK; i++) {
        const struct export_probe *probe = &exporting->probes[i];
        ids.count = 0;
        tokenizer_encode_special(tokenizer, probe->text.data, probe->text.length, &ids);
        if (ids.count != probe->ids.count ||
            memcmp(ids.items, probe->ids.items, ids.count * sizeof(*ids.items)) != 0) {
            status =
                error_set(error, STATUS_FAILED,
                          "%s: the exported tokenizer gives other tokens for probe %d", dir, i);
        }
    }
    if (status == STATUS_OK && tokenizer_pad(tokenizer) != exporting->pad.id) {
        status = error_set(error, STATUS_FAILED, "%s: the exported tokenizer pads with %d, not %d",
                           dir, tokenizer_pad(tokenizer), exporting->pad.id);
    }
    ids_release(&ids);
    tokenizer_free(tokenizer);
    return status;
}

/* How far a score may move: not at all, unless the weights were rounded. */
static double tolerance(const struct exporting *exporting)
{
    if (exporting->options->dtype == WEIGHT_DTYPE_F32) {
        return 0;
    }
    double largest = 1;
    for (int i = 0; i < PROBES_COUNT; i++) {
        largest = fmax(largest, fabs(exporting->probes[i].score));
    }
    return EXPORT_TOLERANCE * largest;
}

static enum status scores_compare(struct exporting *exporting, struct model *model, const char *dir,
                                  struct error *error)
{
    double limit = tolerance(exporting);
    for (int i = 0; i < PROBES_COUNT; i++) {
        struct export_probe *probe = &exporting->probes[i];
        double score;
        TRY(exporting->score(exporting->context, model, probe->ids.items, (int32_t)probe->ids.count,
                             &score, error));
        if (!(fabs(score - probe->score) <= limit)) {
            return error_set(error, STATUS_FAILED,
                             "%s: the score of probe %d moved from %.9g to %.9g when weights were "
                             "written as %s; it may move by %g: try --dtype fp32",
                             dir, i, probe->score, score,
                             weight_dtype_name(exporting->options->dtype), limit);
        }
        probe->score = score;
    }
    return STATUS_OK;
}

enum status export_probes_compare(struct exporting *exporting, const char *dir, struct error *error)
{
    struct model *model;
    const struct model_open_options options = {.need_score = true};
    TRY(model_open(exporting->device, dir, &options, &model, error));
    enum status status = scores_compare(exporting, model, dir, error);
    model_free(model);
    return status;
}
