/* SPDX-License-Identifier: Apache-2.0
 *
 * api.proto is put into the program by the assembler, and its comments are read where they stand.
 * protoc-c drops comments; a second table of sentences would say other things than the first.
 *
 * A comment is what stands behind a field's semicolon, and the lines below it that are nothing but
 * a comment.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/api/openapi.h"

extern const char api_proto_text[];
__asm__(".pushsection .rodata\n"
        "api_proto_text:\n"
        ".incbin \"" API_PROTO "\"\n"
        ".byte 0\n"
        ".popsection\n");

enum { MARK_MAX = 128 };

/* Behind the comment's slashes in text[0 … length), or NULL. */
static const char *comment_in(const char *text, size_t length)
{
    const char *slashes = memmem(text, length, "//", 2);
    return slashes != NULL ? slashes + 2 + strspn(slashes + 2, " ") : NULL;
}

static void append_comment(const char *text, const char *line_end, struct buf *out)
{
    if (out->length > 0)
        buf_append_char(out, ' ');
    buf_append(out, text, (size_t)(line_end - text));
}

void openapi_doc(const char *message, const char *field, struct buf *out)
{
    char head[MARK_MAX], mark[MARK_MAX];
    snprintf(head, sizeof(head), "\nmessage %s {", message);
    snprintf(mark, sizeof(mark), " %s = ", field);
    const char *begin = strstr(api_proto_text, head);
    const char *end = begin != NULL ? strstr(begin, "\n}") : NULL;
    const char *at = begin != NULL ? strstr(begin, mark) : NULL;
    if (at == NULL || at > end)
        return;
    const char *line_end = strchr(at, '\n');
    const char *comment = comment_in(at, (size_t)(line_end - at));
    while (comment != NULL) {
        append_comment(comment, line_end, out);
        const char *next = line_end + 1 + strspn(line_end + 1, " ");
        line_end = strchr(next, '\n');
        comment = strncmp(next, "//", 2) == 0 ? comment_in(next, (size_t)(line_end - next)) : NULL;
    }
}
