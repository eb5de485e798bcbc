/* SPDX-License-Identifier: Apache-2.0
 *
 * chat: the chat presets, rendered as Jinja renders the published templates. See template_render in
 * template.h, which is the way in.
 */
#ifndef TAILOR_WORKER_DATA_CHAT_H
#define TAILOR_WORKER_DATA_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "lib/status.h"
#include "worker/data/template.h"

/* What a template sees. */
struct chat {
    const struct message *messages;
    size_t count;
    bool add_generation_prompt;
    const char *bos, *eos; /* "" where there is none */
};

/* Appends the text of a preset; on failure there may be a part of it. */
enum status chat_render(enum template_kind preset, const struct chat *chat, struct buf *text,
                        struct error *error);

#endif
