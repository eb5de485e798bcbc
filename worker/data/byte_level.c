/* SPDX-License-Identifier: Apache-2.0
 *
 * byte_level: the table is the published rule itself (printable ranges, then U+0100 upwards), as
 * arithmetic. Rejected: 256 literals, which no reader can check.
 */
#include "worker/data/byte_level.h"

#include "lib/text.h"

/* Bytes that do not stand for themselves: 0 … 32, 127 … 160 and 173, in this order. */
enum { LOW_COUNT = 33, MIDDLE_FIRST = 127, MIDDLE_COUNT = 34, SOFT_HYPHEN = 173, SHIFTED = 256 };

uint32_t byte_level_char(uint8_t byte)
{
    if (byte < LOW_COUNT) {
        return SHIFTED + (uint32_t)byte;
    }
    if (byte >= MIDDLE_FIRST && byte < MIDDLE_FIRST + MIDDLE_COUNT) {
        return SHIFTED + LOW_COUNT + (uint32_t)byte - MIDDLE_FIRST;
    }
    return byte == SOFT_HYPHEN ? SHIFTED + LOW_COUNT + MIDDLE_COUNT : byte;
}

/* The byte that a code point stands for, or -1. */
static int char_byte(uint32_t point)
{
    if (point < SHIFTED) {
        return byte_level_char((uint8_t)point) == point ? (int)point : -1;
    }
    uint32_t index = point - SHIFTED;
    if (index < LOW_COUNT) {
        return (int)index;
    }
    index -= LOW_COUNT;
    if (index < MIDDLE_COUNT) {
        return (int)(MIDDLE_FIRST + index);
    }
    return index == MIDDLE_COUNT ? SOFT_HYPHEN : -1;
}

bool byte_level_decode(const char *text, size_t length, char *out, size_t *length_out)
{
    size_t written = 0;
    for (size_t at = 0; at < length;) {
        int byte = char_byte(utf8_next(text, length, &at));
        if (byte < 0) {
            return false;
        }
        out[written++] = (char)byte;
    }
    *length_out = written;
    return true;
}
