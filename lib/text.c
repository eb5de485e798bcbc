/* SPDX-License-Identifier: Apache-2.0
 *
 * text: bytes of strangers become code points and numbers, or are refused.
 *
 * Invariants: nothing here depends on the locale's idea of text, and a number is taken only if the
 * whole string is one. Rejected: strtoll/strtod on the raw string, which skip blanks and accept
 * hexadecimal, "inf" and "nan".
 */
#include "lib/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of the valid sequence at `text`, or 0 (RFC 3629, table 3-7 of the Unicode standard). */
static size_t sequence_length(const unsigned char *text, size_t length)
{
    unsigned char first = text[0];
    if (first < 0x80) {
        return 1;
    }
    size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size == 0 || size > length) {
        return 0;
    }
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

size_t utf8_valid_prefix(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t offset = 0;
    while (offset < length) {
        uint64_t word;
        if (length - offset >= sizeof(word)) {
            memcpy(&word, bytes + offset, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                offset += sizeof(word);
                continue;
            }
        }
        size_t size = sequence_length(bytes + offset, length - offset);
        if (size == 0) {
            return offset;
        }
        offset += size;
    }
    return length;
}

uint32_t utf8_next(const char *text, size_t length, size_t *offset)
{
    CHECK(*offset < length);
    const unsigned char *bytes = (const unsigned char *)text + *offset;
    size_t size = sequence_length(bytes, length - *offset);
    CHECK(size > 0);
    *offset += size;
    if (size == 1) {
        return bytes[0];
    }
    uint32_t point = bytes[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        point = point << 6 | (bytes[i] & 0x3fu);
    }
    return point;
}

size_t utf8_put(uint32_t code_point, char out[4])
{
    CHECK(code_point <= 0x10ffff && !(code_point >= 0xd800 && code_point <= 0xdfff));
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    size_t size = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    static const unsigned lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[size] | code_point);
    return size;
}

size_t text_clean(const char *text, char *out, size_t size)
{
    CHECK(size > 0);
    size_t length = strlen(text);
    size_t offset = 0;
    size_t used = 0;
    while (offset < length) {
        char bytes[4] = "?";
        size_t count = 1;
        if (sequence_length((const unsigned char *)text + offset, length - offset) == 0) {
            offset++;
        } else {
            uint32_t point = utf8_next(text, length, &offset);
            if (point == '\n' || point == '\t') {
                bytes[0] = ' ';
            } else if (point >= 0x20 && (point < 0x7f || point >= 0xa0)) {
                count = utf8_put(point, bytes);
            }
        }
        if (used + count >= size) {
            break;
        }
        memcpy(out + used, bytes, count);
        used += count;
    }
    out[used] = '\0';
    return used;
}

size_t text_common_start(const char *a, const char *b)
{
    size_t same = 0, start = 0;
    for (; a[same] != '\0' && a[same] == b[same]; same++) {
        if (a[same] == ' ' || a[same] == '\n') {
            start = same + 1;
        }
    }
    return start;
}

bool parse_i64(const char *text, int64_t *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || digits[length] != '\0') {
        return false;
    }
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0) {
        return false;
    }
    *out = value;
    return true;
}

bool parse_f64(const char *text, double *out)
{
    const char *at = text[0] == '-' || text[0] == '+' ? text + 1 : text;
    size_t whole = strspn(at, "0123456789");
    size_t fraction = 0;
    at += whole;
    if (*at == '.') {
        fraction = strspn(at + 1, "0123456789");
        at += 1 + fraction;
    }
    if (whole + fraction == 0) {
        return false;
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '-' || *at == '+' ? 1 : 0;
        if (!is_digit(*at)) {
            return false;
        }
        at += strspn(at, "0123456789");
    }
    if (*at != '\0') {
        return false;
    }
    double value = strtod(text, NULL);
    if (!isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool parse_hex(const char *text, uint8_t *bytes_out, size_t count)
{
    if (strlen(text) != 2 * count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes_out[i] = (uint8_t)(16 * high + low);
    }
    return true;
}

bool parse_duration_s(const char *text, double *seconds_out)
{
    static const struct {
        char letter;
        double seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    enum { UNIT_COUNT = sizeof(units) / sizeof(units[0]), NUMBER_MAX = 32 };

    double total = 0;
    size_t unit = 0; /* parts must come from large to small, each unit once */
    const char *at = text;
    while (*at) {
        size_t length = strspn(at, "0123456789.");
        char number[NUMBER_MAX];
        double value;
        if (length == 0 || length >= sizeof(number)) {
            return false;
        }
        memcpy(number, at, length);
        number[length] = '\0';
        if (!parse_f64(number, &value)) {
            return false;
        }
        if (at[length] == '\0') {
            if (at != text) {
                return false; /* "1h30": thirty what? */
            }
            *seconds_out = value;
            return true;
        }
        while (unit < UNIT_COUNT && units[unit].letter != at[length]) {
            unit++;
        }
        if (unit == UNIT_COUNT) {
            return false;
        }
        total += value * units[unit++].seconds;
        at += length + 1;
    }
    if (at == text) {
        return false;
    }
    *seconds_out = total;
    return true;
}

enum { NAME_LENGTH_MAX = 64 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein (optimal string alignment): insert, delete, replace, swap neighbours. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][NAME_LENGTH_MAX + 1];
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = smaller(above[j], now[j - 1]) + 1;
            best = smaller(best, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = smaller(best, two_above[j - 2] + 1);
            }
            now[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

const char *nearest_name(const char *name, const char *const *candidates, size_t count)
{
    size_t length = strlen(name);
    const char *nearest = NULL;
    size_t nearest_distance = 0;
    for (size_t i = 0; i < count && length <= NAME_LENGTH_MAX; i++) {
        size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > NAME_LENGTH_MAX) {
            continue;
        }
        size_t distance = edit_distance(name, length, candidates[i], candidate_length);
        size_t longer = length > candidate_length ? length : candidate_length;
        if (distance * 3 <= longer && (!nearest || distance < nearest_distance)) {
            nearest = candidates[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}

/* Units apart by `base`: goes up while one decimal would round up to a whole `base`. */
static void format_scaled(double value, double base, const char *const *units, int unit_count,
                          char out[16])
{
    int unit = 0;
    while (fabs(value) >= (unit == 0 ? base - 0.5 : base - 0.05) && unit + 1 < unit_count) {
        value /= base;
        unit++;
    }
    char text[400]; /* the longest double */
    int length = snprintf(text, sizeof(text), "%.*f%s", unit == 0 ? 0 : 1, value, units[unit]);
    if (length > 15) {
        length = snprintf(text, sizeof(text), "%.2g%s", value, units[unit]);
    }
    memcpy(out, text, (size_t)length + 1);
}

void format_bytes(double bytes, char out[16])
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
    format_scaled(bytes, 1024, units, 6, out);
}

void format_count(double count, char out[16])
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    format_scaled(count, 1000, units, 5, out);
}

void format_duration(double seconds, char out[16])
{
    const char *sign = seconds < 0 ? "-" : "";
    double size = fabs(seconds);
    if (!(size < 86400.0 * 10000)) {
        snprintf(out, 16, "%s", isnan(seconds) ? "nan" : seconds < 0 ? "-long" : "long");
    } else if (size < 0.9995) {
        snprintf(out, 16, "%s%dms", sign, (int)(size * 1000 + 0.5));
    } else if (size < 9.95) {
        snprintf(out, 16, "%s%.1fs", sign, size);
    } else {
        unsigned whole = (unsigned)(size + 0.5);
        if (whole < 60) {
            snprintf(out, 16, "%s%us", sign, whole);
        } else if (whole < 3600) {
            snprintf(out, 16, "%s%um %02us", sign, whole / 60, whole % 60);
        } else if (whole < 86400) {
            snprintf(out, 16, "%s%uh %02um", sign, whole / 3600, whole / 60 % 60);
        } else {
            snprintf(out, 16, "%s%ud %02uh", sign, whole / 86400 % 100000, whole / 3600 % 24);
        }
    }
}
