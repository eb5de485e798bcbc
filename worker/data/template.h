/* SPDX-License-Identifier: Apache-2.0
 *
 * template: how a prompt and a response become the text, and the text the tokens, of a row.
 *
 * dsp and plain texts:   tokens = BOS (where the tokenizer has one) + encode(text) + EOS.
 * chat presets:          tokens = encode(rendered text); nothing is added.
 * Template, max_length, overlong and pooling belong to the model: they are stored with it and a
 * customized model inherits them.
 */
#ifndef TAILOR_WORKER_DATA_TEMPLATE_H
#define TAILOR_WORKER_DATA_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/status.h"
#include "worker/data/tokenizer.h"

enum template_kind {
    TEMPLATE_DSP,   /* "## Human:\n{prompt}\n\n## Assistant:\n{response}" */
    TEMPLATE_PLAIN, /* prompt + response, nothing between */
    TEMPLATE_CHATML,
    TEMPLATE_LLAMA3,
    TEMPLATE_LLAMA2,
    TEMPLATE_MISTRAL,
    TEMPLATE_QWEN25,
    TEMPLATE_ZEPHYR,
    TEMPLATE_PREFIXES /* role prefixes and suffixes given in the spec */
};

enum overlong { OVERLONG_DROP, OVERLONG_TRUNCATE_LEFT, OVERLONG_TRUNCATE_RIGHT };
enum pooling { POOLING_LAST_TOKEN, POOLING_BEFORE_EOS, POOLING_MEAN, POOLING_MAX };

/* Role prefixes and suffixes of TEMPLATE_PREFIXES; strings borrowed from the spec. */
struct template_prefixes {
    const char *system_prefix, *system_suffix;
    const char *user_prefix, *user_suffix;
    const char *assistant_prefix, *assistant_suffix;
};

/* What belongs to the model. */
struct text_format {
    enum template_kind template_kind;
    struct template_prefixes prefixes;
    int32_t max_length;
    enum overlong overlong;
    enum pooling pooling;
};

struct message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
    size_t content_length;
};

const char *template_name(enum template_kind kind);
const char *overlong_name(enum overlong overlong);
const char *pooling_name(enum pooling pooling);
enum status template_parse(const char *name, enum template_kind *kind_out, struct error *error);
enum status overlong_parse(const char *name, enum overlong *overlong_out, struct error *error);
enum status pooling_parse(const char *name, enum pooling *pooling_out, struct error *error);
bool template_is_chat(enum template_kind kind); /* all but dsp and plain: no BOS, no EOS is added */

/* `auto`: the directory's chat template recognised by the SHA-256 of its normalised text as one of
 * the presets; no chat template at all gives dsp. An unknown one is STATUS_UNSUPPORTED and names
 * the presets. Normalised: line ends "\r\n" and "\r" become "\n", and one "\n" at the end is
 * dropped. That is what Jinja does before it reads a template, so equal digests always render
 * alike. */
enum status template_recognise(const struct tokenizer *tokenizer, enum template_kind *kind_out,
                               struct error *error);

/* Appends the rendered messages; bos and eos texts come from the tokenizer. What a template refuses
 * (roles that do not alternate, a system role) is STATUS_FORMAT with the template's own sentence,
 * and nothing is appended. dsp and plain lay out whole dialogues too; `prefixes` is for
 * TEMPLATE_PREFIXES alone, where NULL strings are empty. */
enum status template_render(enum template_kind kind, const struct template_prefixes *prefixes,
                            const struct tokenizer *tokenizer, const struct message *messages,
                            size_t count, bool add_generation_prompt, struct buf *text,
                            struct error *error);

/* The ids of a whole row's text: appends them. Not truncated here: see row_fit. */
void template_encode_text(const struct text_format *format, const struct tokenizer *tokenizer,
                          const char *text, size_t length, struct ids *ids);

/* Applies max_length to ids[0 … count): returns the new count and moves the kept tokens to the
 * front, or -1 where the policy is drop and the row is too long. Left keeps the last max_length
 * tokens, right the first (specials included in both). */
int64_t row_fit(const struct text_format *format, int32_t *ids, int64_t count);

/* Index of the pooled token of a row (last_token: n-1; before_eos: n-2 if the row ends in EOS and
 * has more than one token, else n-1); -1 for mean and max. */
int32_t row_pooled_token(enum pooling pooling, const int32_t *ids, int32_t count, int32_t eos);

#endif
