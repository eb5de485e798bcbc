/* SPDX-License-Identifier: Apache-2.0
 *
 * record_text: the text of a record's rows and of its prompt.
 *
 * Chat presets and role prefixes are template.h's. For dsp and plain, turns are laid out here, so
 * that a prompt of one user turn and a response of one assistant turn give exactly the paper's
 * "## Human:\n{prompt}\n\n## Assistant:\n{response}", and longer dialogues the same shape on and
 * on. A text that already holds everything is never put into a template.
 */
#include <string.h>

#include "lib/arena.h"
#include "worker/data/record.h"

static bool is_laid_out_here(enum template_kind kind)
{
    return kind == TEMPLATE_DSP || kind == TEMPLATE_PLAIN;
}

static void turn_append(enum template_kind kind, const struct message *message, bool first,
                        struct buf *text)
{
    if (kind == TEMPLATE_DSP) {
        buf_append_string(text, first ? "" : "\n\n");
        if (strcmp(message->role, "user") == 0) {
            buf_append_string(text, "## Human:\n");
        } else if (strcmp(message->role, "assistant") == 0) {
            buf_append_string(text, "## Assistant:\n");
        }
    }
    buf_append(text, message->content, message->content_length);
}

static enum status turns_render(const struct message *messages, int32_t count, bool answer_follows,
                                const struct text_format *format, const struct tokenizer *tokenizer,
                                struct buf *text, struct error *error)
{
    enum template_kind kind = format->template_kind;
    if (!is_laid_out_here(kind)) {
        return template_render(kind, &format->prefixes, tokenizer, messages, (size_t)count,
                               answer_follows, text, error);
    }
    for (int32_t i = 0; i < count; i++) {
        turn_append(kind, &messages[i], i == 0, text);
    }
    if (answer_follows) {
        const struct message nothing = {"assistant", "", 0};
        turn_append(kind, &nothing, count == 0, text);
    }
    return STATUS_OK;
}

enum status record_render(const struct record *record, const struct response *response,
                          const struct text_format *format, const struct tokenizer *tokenizer,
                          struct buf *text, struct error *error)
{
    CHECK(response->ids == NULL);
    if (response->text != NULL) {
        buf_append(text, response->text, response->text_length);
        return STATUS_OK;
    }
    int32_t count = record->prompt_count + response->message_count;
    struct message *turns = mem_alloc(size_mul(sizeof(*turns), (size_t)count));
    if (record->prompt_count > 0) {
        memcpy(turns, record->prompt, sizeof(*turns) * (size_t)record->prompt_count);
    }
    memcpy(turns + record->prompt_count, response->messages,
           sizeof(*turns) * (size_t)response->message_count);
    enum status status = turns_render(turns, count, false, format, tokenizer, text, error);
    mem_free(turns);
    return status;
}

enum status record_render_prompt(const struct record *record, const struct text_format *format,
                                 const struct tokenizer *tokenizer, struct buf *text,
                                 struct error *error)
{
    CHECK(record->prompt != NULL);
    return turns_render(record->prompt, record->prompt_count, true, format, tokenizer, text, error);
}
