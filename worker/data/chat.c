/* SPDX-License-Identifier: Apache-2.0
 *
 * chat: one function for each published template, in the template's own order of decisions, so that
 * both can be read side by side; the goldens compare them.
 *
 * Jinja's small print that shows in the texts: trim_blocks takes the line end behind a block but
 * not behind an expression (Zephyr), `trim` and strip() take Python's white space. Roles that a
 * template does not name are treated as it treats them: passed through (chatml, llama3) or left out
 * (zephyr). Rejected: a Jinja interpreter; a template from a file is a program.
 */
#include "worker/data/chat.h"

#include <string.h>

#include "lib/check.h"
#include "lib/text.h"
#include "worker/data/characters.h"

#define ROLES_ALTERNATE "Conversation roles must alternate user/assistant/user/assistant/..."
#define ROLES_TWO       "Only user and assistant roles are supported!"

static bool role_is(const struct message *message, const char *role)
{
    return strcmp(message->role, role) == 0;
}

static void content_append(struct buf *text, const struct message *message)
{
    buf_append(text, message->content, message->content_length);
}

/* messages[0] of an empty list is an error in Jinja too. */
static enum status first_check(const struct chat *chat, struct error *error)
{
    return chat->count == 0 ? error_set(error, STATUS_FORMAT, "The conversation has no messages")
                            : STATUS_OK;
}

/* (message['role'] == 'user') != (loop.index0 % 2 == 0) */
static enum status alternation_check(const struct message *message, size_t index,
                                     struct error *error)
{
    return role_is(message, "user") != (index % 2 == 0)
               ? error_set(error, STATUS_FORMAT, ROLES_ALTERNATE)
               : STATUS_OK;
}

/* White space as Python's str.strip() has it. */
static bool is_stripped(uint32_t point)
{
    return character_is_space(point) || (point >= 0x1c && point <= 0x1f);
}

static void stripped_append(struct buf *text, const char *content, size_t length)
{
    size_t start = 0;
    while (start < length) {
        size_t next = start;
        if (!is_stripped(utf8_next(content, length, &next))) {
            break;
        }
        start = next;
    }
    size_t end = start; /* behind the last character that stays */
    for (size_t at = start; at < length;) {
        if (!is_stripped(utf8_next(content, length, &at))) {
            end = at;
        }
    }
    buf_append(text, content + start, end - start);
}

/* <|im_start|>role\ncontent<|im_end|>\n */
static void im_append(struct buf *text, const struct message *message)
{
    buf_append_string(text, "<|im_start|>");
    buf_append_string(text, message->role);
    buf_append_char(text, '\n');
    content_append(text, message);
    buf_append_string(text, "<|im_end|>\n");
}

static void im_generation_append(struct buf *text, const struct chat *chat)
{
    if (chat->add_generation_prompt) {
        buf_append_string(text, "<|im_start|>assistant\n");
    }
}

/* SmolLM2's: ChatML with a system turn of its own where the conversation has none. */
static enum status chatml_render(const struct chat *chat, struct buf *text, struct error *error)
{
    (void)error;
    for (size_t i = 0; i < chat->count; i++) {
        if (i == 0 && !role_is(&chat->messages[0], "system")) {
            buf_append_string(text,
                              "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
                              "trained by Hugging Face<|im_end|>\n");
        }
        im_append(text, &chat->messages[i]);
    }
    im_generation_append(text, chat);
    return STATUS_OK;
}

static enum status qwen25_render(const struct chat *chat, struct buf *text, struct error *error)
{
    TRY(first_check(chat, error));
    if (!role_is(&chat->messages[0], "system")) {
        buf_append_string(text,
                          "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are "
                          "a helpful assistant.<|im_end|>\n");
    }
    for (size_t i = 0; i < chat->count; i++) {
        const struct message *message = &chat->messages[i];
        if (role_is(message, "tool")) { /* a run of tools' answers is one user turn */
            bool begins = i == 0 || !role_is(message - 1, "tool");
            bool ends = i + 1 == chat->count || !role_is(message + 1, "tool");
            buf_append_string(text, begins ? "<|im_start|>user" : "");
            buf_append_string(text, "\n<tool_response>\n");
            content_append(text, message);
            buf_append_string(text, "\n</tool_response>");
            buf_append_string(text, ends ? "<|im_end|>\n" : "");
        } else if (role_is(message, "user") || role_is(message, "system") ||
                   role_is(message, "assistant")) {
            im_append(text, message);
        }
    }
    im_generation_append(text, chat);
    return STATUS_OK;
}

static enum status llama3_render(const struct chat *chat, struct buf *text, struct error *error)
{
    (void)error;
    for (size_t i = 0; i < chat->count; i++) {
        const struct message *message = &chat->messages[i];
        buf_append_string(text, i == 0 ? chat->bos : "");
        buf_printf(text, "<|start_header_id|>%s<|end_header_id|>\n\n", message->role);
        stripped_append(text, message->content, message->content_length);
        buf_append_string(text, "<|eot_id|>");
    }
    if (chat->add_generation_prompt) {
        buf_append_string(text, "<|start_header_id|>assistant<|end_header_id|>\n\n");
    }
    return STATUS_OK;
}

/* The system turn goes into the first user turn. There is no generation prompt. */
static enum status llama2_render(const struct chat *chat, struct buf *text, struct error *error)
{
    TRY(first_check(chat, error));
    const struct message *first = &chat->messages[0];
    const struct message *system = role_is(first, "system") ? first : NULL;
    struct buf content = {0};
    enum status status = STATUS_OK;
    for (size_t i = system ? 1 : 0; i < chat->count && status == STATUS_OK; i++) {
        const struct message *message = &chat->messages[i];
        size_t index = i - (system ? 1 : 0);
        status = alternation_check(message, index, error);
        buf_clear(&content);
        if (index == 0 && system) {
            buf_append_string(&content, "<<SYS>>\n");
            content_append(&content, system);
            buf_append_string(&content, "\n<</SYS>>\n\n");
        }
        content_append(&content, message);
        if (role_is(message, "user")) {
            buf_append_string(text, chat->bos);
            buf_append_string(text, "[INST] ");
            stripped_append(text, content.data, content.length);
            buf_append_string(text, " [/INST]");
        } else if (role_is(message, "assistant")) {
            buf_append_char(text, ' ');
            stripped_append(text, content.data, content.length);
            buf_append_char(text, ' ');
            buf_append_string(text, chat->eos);
        }
    }
    buf_release(&content);
    return status;
}

static enum status mistral_render(const struct chat *chat, struct buf *text, struct error *error)
{
    buf_append_string(text, chat->bos);
    for (size_t i = 0; i < chat->count; i++) {
        const struct message *message = &chat->messages[i];
        TRY(alternation_check(message, i, error));
        if (role_is(message, "user")) {
            buf_append_string(text, "[INST] ");
            content_append(text, message);
            buf_append_string(text, " [/INST]");
        } else if (role_is(message, "assistant")) {
            content_append(text, message);
            buf_append_string(text, chat->eos);
        } else {
            return error_set(error, STATUS_FORMAT, ROLES_TWO);
        }
    }
    return STATUS_OK;
}

static enum status zephyr_render(const struct chat *chat, struct buf *text, struct error *error)
{
    (void)error;
    for (size_t i = 0; i < chat->count; i++) {
        const struct message *message = &chat->messages[i];
        if (role_is(message, "user") || role_is(message, "system") ||
            role_is(message, "assistant")) {
            buf_printf(text, "<|%s|>\n", message->role);
            content_append(text, message);
            buf_append_string(text, chat->eos);
            buf_append_char(text, '\n');
        }
        if (i + 1 == chat->count && chat->add_generation_prompt) {
            buf_append_string(text, "<|assistant|>\n");
        }
    }
    return STATUS_OK;
}

enum status chat_render(enum template_kind preset, const struct chat *chat, struct buf *text,
                        struct error *error)
{
    switch (preset) {
    case TEMPLATE_CHATML:
        return chatml_render(chat, text, error);
    case TEMPLATE_QWEN25:
        return qwen25_render(chat, text, error);
    case TEMPLATE_LLAMA3:
        return llama3_render(chat, text, error);
    case TEMPLATE_LLAMA2:
        return llama2_render(chat, text, error);
    case TEMPLATE_MISTRAL:
        return mistral_render(chat, text, error);
    case TEMPLATE_ZEPHYR:
        return zephyr_render(chat, text, error);
    case TEMPLATE_DSP:
    case TEMPLATE_PLAIN:
    case TEMPLATE_PREFIXES:
        break;
    }
    CHECK(!"a chat preset");
    return STATUS_FAILED;
}
