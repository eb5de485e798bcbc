/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml: see yaml.h. Rejected: libyaml's emitter; it takes events, and this is a page.
 */
#include "lib/yaml.h"

#include <string.h>
#include <strings.h>

/* Words that some YAML reader takes for something else. */
static bool is_reserved(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no",
                                        "on",   "off",  "y",     "n"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_plain(const char *text)
{
    size_t length = strlen(text);
    bool letter = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z');
    if (!(letter || text[0] == '_' || text[0] == '/') || text[length - 1] == ' ') {
        return false;
    }
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@+- ") ==
               length &&
           !is_reserved(text);
}

void yaml_append_string(struct buf *out, const char *text)
{
    if (is_plain(text)) {
        buf_append_string(out, text);
    } else {
        buf_append_json_string(out, text, strlen(text));
    }
}

static bool is_block(const json_t *value)
{
    return json_array_size(value) + json_object_size(value) > 0;
}

/* Readers of YAML 1.1 take "1e-05" for a text: it wants the point. */
static void put_number(struct buf *out, const json_t *value)
{
    struct buf text = {0};
    json_append(&text, value);
    const char *exponent = json_is_real(value) ? strchr(text.data, 'e') : NULL;
    if (exponent && !strchr(text.data, '.')) {
        buf_printf(out, "%.*s.0%s", (int)(exponent - text.data), text.data, exponent);
    } else {
        buf_append(out, text.data, text.length);
    }
    buf_release(&text);
}

static void put_scalar(struct buf *out, const json_t *value)
{
    if (json_is_string(value)) {
        yaml_append_string(out, json_string_value(value));
    } else {
        put_number(out, value);
    }
    buf_append_char(out, '\n');
}

static void put_node(struct buf *out, const json_t *value, int indent, bool begun);

/* Behind "key:". */
static void put_child(struct buf *out, const json_t *value, int indent)
{
    if (is_block(value)) {
        buf_append_char(out, '\n');
        put_node(out, value, indent + 2, false);
    } else {
        buf_append_char(out, ' ');
        put_scalar(out, value);
    }
}

/* `begun`: the line has its indentation already. Depth is bounded by the JSON reader. */
static void put_node(struct buf *out, const json_t *value, int indent, bool begun)
{
    const char *key;
    json_t *child;
    if (!is_block(value)) {
        put_scalar(out, value);
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        buf_printf(out, "%*s- ", begun ? 0 : indent, "");
        put_node(out, json_array_get(value, i), indent + 2, true);
        begun = false;
    }
    json_object_foreach((json_t *)value, key, child)
    {
        buf_printf(out, "%*s", begun ? 0 : indent, "");
        yaml_append_string(out, key);
        buf_append_char(out, ':');
        put_child(out, child, indent);
        begun = false;
    }
}

void yaml_append(struct buf *out, const json_t *value)
{
    put_node(out, value, 0, true);
}
