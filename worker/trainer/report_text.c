/* SPDX-License-Identifier: Apache-2.0
 *
 * report_text: numbers as a reader wants them, and hostile words made harmless.
 *
 * Every text that is not ours goes through html_text: escaped, and in <bdi>, so that a
 * right-to-left name cannot reorder the figures next to it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "worker/trainer/report_parts.h"

#define MINUS      "\xe2\x88\x92" /* as wide as a digit, unlike the hyphen */
#define THIN_SPACE "\xe2\x80\xaf"
#define NO_NUMBER  "\xe2\x80\x93"
#define INFINITE   "\xe2\x88\x9e"

enum { DIGITS_MAX = 32 };

/* Joins sign, digits and unit. */
static const char *compose(double value, bool plus, const char *digits, const char *unit,
                           char out[NUMBER_TEXT_MAX])
{
    const char *bare = digits[0] == '-' ? digits + 1 : digits;
    bool zero = strspn(bare, "0.") == strlen(bare);
    const char *sign = zero ? "" : value < 0 ? MINUS : plus ? "+" : "";
    snprintf(out, NUMBER_TEXT_MAX, "%s%.*s%s", sign, DIGITS_MAX, bare, unit);
    return out;
}

static void put_digits(double value, int decimals, char digits_out[DIGITS_MAX])
{
    if (isinf(value)) {
        memcpy(digits_out, INFINITE, sizeof(INFINITE));
    } else if (fabs(value) >= 1e7) {
        snprintf(digits_out, DIGITS_MAX, "%.3g", value);
    } else {
        snprintf(digits_out, DIGITS_MAX, "%.*f", decimals, value);
    }
}

const char *fixed_text(double value, int decimals, char out[NUMBER_TEXT_MAX])
{
    char digits[DIGITS_MAX];
    if (isnan(value)) {
        return memcpy(out, NO_NUMBER, sizeof(NO_NUMBER));
    }
    put_digits(value, decimals, digits);
    return compose(value, false, digits, "", out);
}

/* 1e-5, 2.5e-4 */
static void put_rate(double value, char digits_out[DIGITS_MAX])
{
    if (value == 0) {
        memcpy(digits_out, "0", sizeof("0"));
        return;
    }
    int exponent = (int)floor(log10(fabs(value)) + 1e-12);
    double mantissa = value / pow(10, exponent);
    snprintf(digits_out, DIGITS_MAX, "%.3ge%d", mantissa, exponent);
}

/* 12 345 */
static void put_grouped(double value, char digits_out[DIGITS_MAX])
{
    char plain[DIGITS_MAX];
    size_t length = (size_t)snprintf(plain, sizeof(plain), "%.0f", fabs(value)), used = 0;
    for (size_t i = 0; i < length && used + sizeof(THIN_SPACE) < DIGITS_MAX; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            memcpy(digits_out + used, THIN_SPACE, strlen(THIN_SPACE));
            used += strlen(THIN_SPACE);
        }
        digits_out[used++] = plain[i];
    }
    digits_out[used] = '\0';
}

const char *number_text(enum unit unit, double value, char out[NUMBER_TEXT_MAX])
{
    char digits[DIGITS_MAX];
    double size = fabs(value);
    if (isnan(value) || isinf(value)) {
        return fixed_text(value, 0, out);
    }
    switch (unit) {
    case UNIT_PERCENT:
        put_digits(100 * value, 1, digits);
        return compose(value, false, digits, THIN_SPACE "%", out);
    case UNIT_POINTS:
        put_digits(100 * value, 1, digits);
        return compose(value, true, digits, "", out);
    case UNIT_EXACT:
        put_grouped(value, digits);
        return compose(value, false, digits, "", out);
    case UNIT_COUNT:
        format_count(value, digits);
        return compose(value, false, digits, "", out);
    case UNIT_RATE:
        put_rate(value, digits);
        return compose(value, false, digits, "", out);
    case UNIT_PLAIN:
        break;
    }
    return fixed_text(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3, out);
}

/* None of our figures is larger; a damaged file's number must not upset an axis. */
#define NUMBER_MAX 1e15

double json_number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value)) {
        return fabs(json_number_value(value)) <= NUMBER_MAX ? json_number_value(value) : NAN;
    }
    const char *text = json_string_value(value);
    if (text != NULL && strcmp(text, "inf") == 0) {
        return INFINITY;
    }
    return text != NULL && strcmp(text, "-inf") == 0 ? -INFINITY : NAN;
}

const char *json_text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

const json_t *json_at(const json_t *object, const char *path)
{
    char key[64];
    for (const char *rest = path; object != NULL && *rest != '\0';) {
        size_t length = strcspn(rest, ".");
        snprintf(key, sizeof(key), "%.*s", (int)length, rest);
        object = json_object_get(object, key);
        rest += length + (rest[length] == '.');
    }
    return object;
}

struct range json_range_of(const json_t *object, const char *key)
{
    double low, high;
    const json_t *list = json_object_get(object, key);
    if (json_unpack((json_t *)list, "[F, F]", &low, &high) != 0 || !(low <= high) ||
        fabs(low) > NUMBER_MAX || fabs(high) > NUMBER_MAX) {
        return (struct range){NAN, NAN};
    }
    return (struct range){low, high};
}

void html_text(struct buf *out, const char *text)
{
    buf_append_string(out, "<bdi>");
    for (const char *rest = text; *rest != '\0';) {
        size_t length = strcspn(rest, "/");
        length += rest[length] == '/';
        buf_append_html(out, rest, length);
        if (rest[length] != '\0') {
            buf_append_string(out, "<wbr>"); /* long paths break at their slashes */
        }
        rest += length;
    }
    buf_append_string(out, "</bdi>");
}
