/* SPDX-License-Identifier: Apache-2.0
 *
 * buf: bytes that grow. Always NUL-terminated behind `length`, so `data` is a C string too.
 *
 *     struct buf buf = {0};
 *     buf_printf(&buf, "step %d", 3);
 *     buf_release(&buf);
 */
#ifndef TAILOR_LIB_BUF_H
#define TAILOR_LIB_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data; /* NULL only while nothing was ever appended */
    size_t length;
    size_t capacity;
};

void buf_append(struct buf *buf, const void *data, size_t length);
void buf_append_char(struct buf *buf, char c);
void buf_append_string(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
void buf_append_json_string(struct buf *buf, const char *text, size_t length); /* with quotes */
void buf_append_html(struct buf *buf, const char *text, size_t length);        /* escaped */
void buf_clear(struct buf *buf);                                               /* keeps memory */
void buf_release(struct buf *buf);

#endif
