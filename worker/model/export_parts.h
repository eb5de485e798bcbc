/* SPDX-License-Identifier: Apache-2.0
 *
 * export_parts: what the files export*.c share. One struct exporting goes through them in the order
 * of the declarations below.
 */
#ifndef TAILOR_WORKER_MODEL_EXPORT_PARTS_H
#define TAILOR_WORKER_MODEL_EXPORT_PARTS_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/buf.h"
#include "lib/limits.h"
#include "worker/data/template.h"
#include "worker/data/tokenizer.h"
#include "worker/model/card.h"
#include "worker/model/export.h"

enum { EXPORT_TOKEN_BYTES_MAX = 256 };

struct export_pad {
    char text[EXPORT_TOKEN_BYTES_MAX];
    int32_t id;
    bool added; /* not in the model's tokenizer: it is appended, and maybe a row of the embedding */
};

struct export_probe {
    struct buf text;
    struct ids ids; /* as the exported tokenizer is to give them */
    double score;
};

struct exporting {
    struct device *device;
    const struct export_options *options;
    export_score *score;
    void *context;
    struct model *model; /* EXPORT_HF: merged; EXPORT_PEFT: the adapter beside its merged parent */
    struct tokenizer *tokenizer;
    json_t *tokenizer_json; /* tokenizer.json as it was read, then as it is written */
    struct export_pad pad;
    struct export_probe probes[PROBES_COUNT];
};

/* Does a text get BOS, or EOS, in front or behind? (Only tokenizers that have one.) */
bool export_adds_bos(const struct exporting *exporting);
bool export_adds_eos(const struct exporting *exporting);

/* export_tokenizer.c. The rule of the pad token, first match: the tokenizer's own, if it is neither
 * BOS, EOS nor the unknown token; an added token whose text has "pad", then one that has "reserved"
 * or "unused"; else "<|pad|>" is appended. */
enum status export_pad_choose(struct exporting *exporting, const char *dir, struct error *error);
enum status export_tokenizer_write(struct exporting *exporting, const char *dir,
                                   struct error *error);

/* export_chat.c: the Jinja text that renders as the model's template does. */
void export_chat_template(const struct exporting *exporting, struct buf *out);

/* export_probe.c */
enum status export_probes_make(struct exporting *exporting, struct error *error);
/* The tokenizer in `dir` must give the probes' ids for their texts. */
enum status export_probes_tokenize(const struct exporting *exporting, const char *dir,
                                   struct error *error);
/* The model in `dir` must give their scores; the scores become those of the files. */
enum status export_probes_compare(struct exporting *exporting, const char *dir,
                                  struct error *error);

/* export_files.c: scoring.json and README.md into `dir`; `final` is where people will find it. */
enum status export_files_write(const struct exporting *exporting, const char *dir,
                               const char *final, struct error *error);

#endif
