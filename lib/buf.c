/* SPDX-License-Identifier: Apache-2.0
 *
 * buf: one heap block that doubles.
 *
 * Invariant: once anything was appended, data[length] == 0 and capacity > length. The two escaping
 * appends accept any bytes and always produce valid UTF-8: what is not UTF-8 becomes U+FFFD, so
 * hostile text can break neither a JSON line nor a page. Rejected: refusing such bytes; by then the
 * text is being reported, and a report must not fail.
 */
#include "lib/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"

/* Room for `extra` more bytes and the NUL. */
static void reserve(struct buf *buf, size_t extra)
{
    size_t needed = size_add(size_add(buf->length, extra), 1);
    if (needed <= buf->capacity) {
        return;
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < needed) {
        capacity = size_mul(capacity, 2);
    }
    buf->data = mem_grow(buf->data, capacity);
    buf->capacity = capacity;
}

void buf_append(struct buf *buf, const void *data, size_t length)
{
    reserve(buf, length);
    if (length > 0) {
        memcpy(buf->data + buf->length, data, length);
    }
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void buf_append_char(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}

void buf_append_string(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    CHECK(length >= 0);
    reserve(buf, (size_t)length);
    vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
    buf->length += (size_t)length;
    va_end(again);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(buf, format, arguments);
    va_end(arguments);
}

/* The next code point of any bytes: U+FFFD for each byte that does not belong to valid UTF-8. */
static uint32_t next_point(const char *text, size_t length, size_t *offset)
{
    size_t rest = length - *offset;
    if (utf8_valid_prefix(text + *offset, rest < 4 ? rest : 4) == 0) {
        (*offset)++;
        return 0xfffd;
    }
    return utf8_next(text, length, offset);
}

static void append_point(struct buf *buf, uint32_t point)
{
    char bytes[4];
    buf_append(buf, bytes, utf8_put(point, bytes));
}

void buf_append_json_string(struct buf *buf, const char *text, size_t length)
{
    buf_append_char(buf, '"');
    size_t offset = 0;
    while (offset < length) {
        size_t plain = offset;
        while (plain < length && (unsigned char)text[plain] >= 0x20 &&
               (unsigned char)text[plain] < 0x7f && text[plain] != '"' && text[plain] != '\\') {
            plain++;
        }
        buf_append(buf, text + offset, plain - offset);
        offset = plain;
        if (offset == length) {
            break;
        }
        uint32_t point = next_point(text, length, &offset);
        switch (point) {
        case '"':
            buf_append_string(buf, "\\\"");
            break;
        case '\\':
            buf_append_string(buf, "\\\\");
            break;
        case '\n':
            buf_append_string(buf, "\\n");
            break;
        case '\r':
            buf_append_string(buf, "\\r");
            break;
        case '\t':
            buf_append_string(buf, "\\t");
            break;
        default:
            /* JSON allows DEL and the C1 controls as they are; a terminal should not see them. */
            if (point < 0x20 || (point >= 0x7f && point < 0xa0)) {
                buf_printf(buf, "\\u%04x", (unsigned)point);
            } else {
                append_point(buf, point);
            }
        }
    }
    buf_append_char(buf, '"');
}

void buf_append_html(struct buf *buf, const char *text, size_t length)
{
    buf_append(buf, text, 0);
    size_t offset = 0;
    while (offset < length) {
        uint32_t point = next_point(text, length, &offset);
        switch (point) {
        case '&':
            buf_append_string(buf, "&amp;");
            break;
        case '<':
            buf_append_string(buf, "&lt;");
            break;
        case '>':
            buf_append_string(buf, "&gt;");
            break;
        case '"':
            buf_append_string(buf, "&quot;");
            break;
        case '\'':
            buf_append_string(buf, "&#39;");
            break;
        default: {
            bool control =
                (point < 0x20 && point != '\n' && point != '\t') || (point >= 0x7f && point < 0xa0);
            append_point(buf, control ? 0xfffd : point);
        }
        }
    }
}

void buf_clear(struct buf *buf)
{
    buf->length = 0;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

void buf_release(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}
