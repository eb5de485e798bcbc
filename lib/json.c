/* SPDX-License-Identifier: Apache-2.0
 *
 * json: one pass of our own over the bytes, then jansson.
 *
 * The pass counts depth before jansson recurses, and turns integers beyond 64 bits into reals by
 * appending "e0" to a copy: tokenizer_config.json files in the wild say
 * "model_max_length": 1000000000000000019884624838656, which jansson refuses outright. Invariant:
 * json_append writes what json_read restores, bit for bit. Rejected: JSON_DECODE_INT_AS_REAL, which
 * would cost every other integer its 64 bits; and json_dumpb, whose 17 digits turn 0.1 into
 * 0.10000000000000001.
 */
#include "lib/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/text.h"

/* The length of the number at `text`; *big: an integer that does not fit 64 bits. */
static size_t number_scan(const char *text, size_t length, bool *big)
{
    enum { DIGITS_SAFE = 18 };
    size_t size = 0;
    bool integer = true;
    while (size < length && text[size] != '\0' && strchr("+-.eE0123456789", text[size])) {
        integer = integer && (size == 0 || (text[size] >= '0' && text[size] <= '9'));
        size++;
    }
    *big = false;
    if (integer && size > DIGITS_SAFE) {
        char digits[24];
        int64_t value;
        if (size >= sizeof(digits)) {
            *big = true;
        } else {
            memcpy(digits, text, size);
            digits[size] = '\0';
            *big = !parse_i64(digits, &value);
        }
    }
    return size;
}

/* Refuses depth over the limit. If there are integers over 64 bits, `fixed` gets the text with them
 * as reals, and otherwise stays empty. */
static enum status scan(const char *name, const char *text, size_t length, struct buf *fixed,
                        struct error *error)
{
    bool in_string = false;
    int depth = 0;
    int line = 1;
    size_t line_start = 0;
    size_t copied = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX) {
                return error_set(error, STATUS_FORMAT, "%s:%d:%zu: nested deeper than %d", name,
                                 line, i - line_start + 1, JSON_DEPTH_MAX);
            }
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            bool big;
            i += number_scan(text + i, length - i, &big) - 1;
            if (big) {
                buf_append(fixed, text + copied, i + 1 - copied);
                buf_append_string(fixed, "e0");
                copied = i + 1;
            }
        }
    }
    if (copied > 0) {
        buf_append(fixed, text + copied, length - copied);
    }
    return STATUS_OK;
}

/* The string that ends at text[end - 1], quotes included, or NULL. jansson stops there at a
 * duplicate key, but quotes only short keys in its message. */
static const char *key_before(const char *text, size_t end)
{
    if (end < 2 || text[end - 1] != '"') {
        return NULL;
    }
    size_t start = end - 1;
    size_t escapes;
    do {
        start--;
        escapes = 0;
        while (start > escapes && text[start - escapes - 1] == '\\') {
            escapes++;
        }
    } while (start > 0 && (text[start] != '"' || escapes % 2 == 1));
    return text + start;
}

static enum status parse_error(const char *name, const char *text, const json_error_t *from,
                               struct error *error)
{
    enum { KEY_SHOWN_MAX = 200 };
    int line = from->line > 0 ? from->line : 1;
    int column = from->column > 0 ? from->column : 1;
    const char *key = json_error_code(from) == json_error_duplicate_key && from->position > 0
                          ? key_before(text, (size_t)from->position)
                          : NULL;
    if (key) {
        size_t length = (size_t)(text + from->position - key);
        return error_set(error, STATUS_FORMAT, "%s:%d:%d: duplicate key %.*s", name, line, column,
                         length < KEY_SHOWN_MAX ? (int)length : KEY_SHOWN_MAX, key);
    }
    return error_set(error, STATUS_FORMAT, "%s:%d:%d: %s", name, line, column, from->text);
}

enum status json_read(const char *name, const char *text, size_t length, json_t **root_out,
                      struct error *error)
{
    struct buf fixed = {0};
    enum status status = scan(name, text, length, &fixed, error);
    if (status == STATUS_OK) {
        if (fixed.data) {
            text = fixed.data;
            length = fixed.length;
        }
        json_error_t trouble;
        json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &trouble);
        if (root) {
            *root_out = root;
        } else {
            status = parse_error(name, text, &trouble, error);
        }
    }
    buf_release(&fixed);
    return status;
}

enum status json_read_file(const char *path, size_t size_max, json_t **root_out,
                           struct error *error)
{
    struct buf text = {0};
    TRY(file_read(path, size_max, &text, error));
    enum status status = json_read(path, text.data, text.length, root_out, error);
    buf_release(&text);
    return status;
}

/* The value of a key, or NULL when it is absent or null. An absent object has no keys. */
static enum status get(const json_t *object, const char *key, const json_t **value_out,
                       struct error *error)
{
    *value_out = NULL;
    if (!object || json_is_null(object)) {
        return STATUS_OK;
    }
    if (!json_is_object(object)) {
        return error_set(error, STATUS_FORMAT, "an object with \"%s\" is expected", key);
    }
    const json_t *value = json_object_get(object, key);
    *value_out = json_is_null(value) ? NULL : value;
    return STATUS_OK;
}

static enum status get_error(struct error *error, const char *key, const json_t *value,
                             const char *expected)
{
    enum { SHOWN_MAX = 60 };
    struct buf shown = {0};
    if (json_is_object(value) || json_is_array(value)) {
        buf_append_string(&shown, json_is_object(value) ? "an object" : "an array");
    } else {
        json_append(&shown, value);
    }
    enum status status =
        error_set(error, STATUS_FORMAT, "\"%s\" is %.*s%s: expected %s", key, SHOWN_MAX, shown.data,
                  shown.length > SHOWN_MAX ? "..." : "", expected);
    buf_release(&shown);
    return status;
}

static bool integral(double value, int64_t *out)
{
    /* 2^63 itself does not fit; below it, every integral double does. */
    if (!(value >= -0x1p63 && value < 0x1p63) || value != floor(value)) {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

enum status json_get_i64(const json_t *object, const char *key, int64_t min, int64_t max,
                         int64_t *out, struct error *error)
{
    const json_t *value;
    TRY(get(object, key, &value, error));
    if (!value) {
        return STATUS_OK;
    }
    int64_t number = 0;
    bool taken = false;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
        taken = true;
    } else if (json_is_real(value)) {
        taken = integral(json_real_value(value), &number);
    } else if (json_is_string(value)) {
        taken = parse_i64(json_string_value(value), &number);
    }
    if (!taken || number < min || number > max) {
        char expected[80];
        snprintf(expected, sizeof(expected), "an integer from %" PRId64 " to %" PRId64, min, max);
        return get_error(error, key, value, expected);
    }
    *out = number;
    return STATUS_OK;
}

enum status json_get_f64(const json_t *object, const char *key, double *out, struct error *error)
{
    const json_t *value;
    TRY(get(object, key, &value, error));
    if (!value) {
        return STATUS_OK;
    }
    if (json_is_number(value)) {
        *out = json_number_value(value);
        return STATUS_OK;
    }
    if (json_is_string(value) && parse_f64(json_string_value(value), out)) {
        return STATUS_OK;
    }
    return get_error(error, key, value, "a number");
}

enum status json_get_bool(const json_t *object, const char *key, bool *out, struct error *error)
{
    const json_t *value;
    TRY(get(object, key, &value, error));
    if (!value) {
        return STATUS_OK;
    }
    if (!json_is_boolean(value)) {
        return get_error(error, key, value, "true or false");
    }
    *out = json_is_true(value);
    return STATUS_OK;
}

enum status json_get_string(const json_t *object, const char *key, const char **out,
                            struct error *error)
{
    const json_t *value;
    TRY(get(object, key, &value, error));
    if (!value) {
        return STATUS_OK;
    }
    if (!json_is_string(value)) {
        return get_error(error, key, value, "a string");
    }
    *out = json_string_value(value);
    return STATUS_OK;
}

bool json_is_absent(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value);
}

static void append_real(struct buf *buf, double value)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buf_append_string(buf, text);
    if (!strpbrk(text, ".e")) {
        buf_append_string(buf, ".0"); /* stays a real when read again; keeps the sign of -0 */
    }
}

static void append_break(struct buf *buf, int indent)
{
    if (indent >= 0) {
        buf_printf(buf, "\n%*s", 2 * indent, "");
    }
}

/* `indent` is the level of the value's own line, or -1 for compact. */
static void append_value(struct buf *buf, const json_t *value, int indent)
{
    int inner = indent < 0 ? -1 : indent + 1;
    bool first = true;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        buf_append_char(buf, '{');
        for (void *at = json_object_iter((json_t *)value); at;
             at = json_object_iter_next((json_t *)value, at)) {
            buf_append(buf, ",", first ? 0 : 1);
            append_break(buf, inner);
            buf_append_json_string(buf, json_object_iter_key(at), json_object_iter_key_len(at));
            buf_append_string(buf, indent < 0 ? ":" : ": ");
            append_value(buf, json_object_iter_value(at), inner);
            first = false;
        }
        append_break(buf, first ? -1 : indent);
        buf_append_char(buf, '}');
        break;
    case JSON_ARRAY:
        buf_append_char(buf, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            buf_append(buf, ",", i == 0 ? 0 : 1);
            append_break(buf, inner);
            append_value(buf, json_array_get(value, i), inner);
            first = false;
        }
        append_break(buf, first ? -1 : indent);
        buf_append_char(buf, ']');
        break;
    case JSON_STRING:
        buf_append_json_string(buf, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        buf_printf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        append_real(buf, json_real_value(value));
        break;
    case JSON_TRUE:
        buf_append_string(buf, "true");
        break;
    case JSON_FALSE:
        buf_append_string(buf, "false");
        break;
    case JSON_NULL:
        buf_append_string(buf, "null");
        break;
    }
}

void json_append(struct buf *buf, const json_t *value)
{
    CHECK(value != NULL);
    append_value(buf, value, -1);
}

enum status json_write_file(const char *path, const json_t *value, struct error *error)
{
    CHECK(value != NULL);
    struct buf text = {0};
    append_value(&text, value, 0);
    buf_append_char(&text, '\n');
    enum status status = file_write_atomic(path, text.data, text.length, error);
    buf_release(&text);
    return status;
}
