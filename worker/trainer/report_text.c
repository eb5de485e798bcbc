/* SPDX-License-Identifier: Apache-2.0
 *
 * report_text: numbers as a reader wants them, and hostile words made harmless.
 *
 * Every text that is not ours goes through html_text: escaped, and in <bdi>, so that a right-to-left
 * name cannot reorder the figures next to it.
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

/* Joins sign, digits and unit. */
static const char *compose(double value, bool plus, const char *digits, const char *unit,
                           char out[NUMBER_TEXT_MAX])
{
    const char *bare = digits[0] == '-' ? digits + 1 : digits;
    bool zero = strspn(bare, "0.") == strlen(bare);
    const char *sign = zero ? "" : value < 0 ? MINUS : plus ? "+" : "";
    snprintf(out, NUMBER_TEXT_MAX, "%s%s%s", sign, bare, unit);
    return out;
}

const char *fixed_text(double value, int decimals, char out[NUMBER_TEXT_MAX])
{
    char digits[NUMBER_TEXT_MAX];
    if (isnan(value))
        return strcpy(out, NO_NUMBER);
    if (isinf(value))
        return compose(value, false, INFINITE, "", out);
    if (fabs(value) >= 1e7)
        snprintf(digits, sizeof(digits), "%.3g", value);
    else
        snprintf(digits, sizeof(digits), "%.*f", decimals, value);
    return compose(value, false, digits, "", out);
}

/* "1e-05" → "1e-5" */
static void shorten_exponent(char *digits)
{
    char *e = strchr(digits, 'e');
    if (e == NULL)
        return;
    char *from = e + 1, *to = e + 1;
    if (*from == '-')
        to++;
    from += *from == '-' || *from == '+';
    from += strspn(from, "0");
    memmove(to, from, strlen(from) + 1);
}

const char *number_text(enum unit unit, double value, char out[NUMBER_TEXT_MAX])
{
    char digits[NUMBER_TEXT_MAX], count[16];
    if (isnan(value))
        return strcpy(out, NO_NUMBER);
    if (isinf(value))
        return fixed_text(value, 0, out);
    switch (unit) {
    case UNIT_PERCENT:
        snprintf(digits, sizeof(digits), "%.1f", 100 * value);
        return compose(value, false, digits, THIN_SPACE "%", out);
    case UNIT_POINTS:
        snprintf(digits, sizeof(digits), "%.1f", 100 * value);
        return compose(value, true, digits, "", out);
    case UNIT_COUNT:
        format_count(value, count);
        return compose(value, false, count, "", out);
    case UNIT_RATE:
        snprintf(digits, sizeof(digits), "%.3g", value);
        shorten_exponent(digits);
        return compose(value, false, digits, "", out);
    case UNIT_PLAIN:
        break;
    }
    double size = fabs(value);
    return fixed_text(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3, out);
}

double json_number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value))
        return json_number_value(value);
    const char *text = json_string_value(value);
    if (text != NULL && strcmp(text, "inf") == 0)
        return INFINITY;
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
    const json_t *list = json_object_get(object, key);
    const json_t *low = json_array_get(list, 0), *high = json_array_get(list, 1);
    return (struct range){json_is_number(low) ? json_number_value(low) : NAN,
                          json_is_number(high) ? json_number_value(high) : NAN};
}

void html_text(struct buf *out, const char *text)
{
    buf_append_string(out, "<bdi>");
    buf_append_html(out, text, strlen(text));
    buf_append_string(out, "</bdi>");
}
