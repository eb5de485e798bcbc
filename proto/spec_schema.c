/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_schema: the table as JSON Schema (draft 2020-12), for editors and for the service's API.
 *
 * It knows types, ranges, choices and names. What depends on several fields stays with
 * spec_check.c, and numbers written as strings, which the parser takes, are no part of the schema.
 */
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/json.h"
#include "lib/text.h"
#include "proto/spec_table.h"

/* json_pack and friends fail only without memory, which is a CHECK everywhere in tailor. */
static json_t *made(json_t *value)
{
    CHECK(value != NULL);
    return value;
}

static void set(json_t *object, const char *key, json_t *value)
{
    CHECK(json_object_set_new(object, key, made(value)) == 0);
}

static void add(json_t *array, json_t *value)
{
    CHECK(json_array_append_new(array, made(value)) == 0);
}

/* {"type": [name, "null"]}: null is "not given" everywhere. */
static json_t *typed(const char *name)
{
    return made(json_pack("{s:[s,s]}", "type", name, "null"));
}

static json_t *number(double value)
{
    return value == (double)(json_int_t)value ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *choices(const struct spec_choices *list)
{
    json_t *values = made(json_array());
    for (int i = 0; i < list->count; i++) {
        add(values, json_string(list->items[i].text));
    }
    return values;
}

static json_t *reference(const char *name)
{
    return made(json_pack("{s:o}", "$ref", made(json_sprintf("#/$defs/%s", name))));
}

static json_t *one_or_many(json_t *item)
{
    json_t *many = made(json_pack("{s:s,s:O}", "type", "array", "items", item));
    return made(json_pack("{s:[o,o,{s:s}]}", "anyOf", item, many, "type", "null"));
}

static json_t *string_schema(const struct spec_row *row)
{
    static const char *const patterns[] = {
        [SPEC_FORMAT_LABEL] = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        [SPEC_FORMAT_REFERENCE] = "^[^\\u0000-\\u001f]+$",
        [SPEC_FORMAT_TIME] = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        [SPEC_FORMAT_SOURCE] = NULL};
    json_t *schema = typed("string");
    set(schema, "maxLength", number(row->max));
    if (patterns[row->format]) {
        set(schema, "pattern", json_string(patterns[row->format]));
    }
    return schema;
}

static json_t *type_schema(const struct spec_row *row)
{
    json_t *schema = NULL;
    switch (row->type) {
    case SPEC_TYPE_STRING:
        return string_schema(row);
    case SPEC_TYPE_BOOL:
        return typed("boolean");
    case SPEC_TYPE_I64:
    case SPEC_TYPE_F64:
        schema = typed(row->type == SPEC_TYPE_I64 ? "integer" : "number");
        set(schema, "minimum", number(row->min));
        set(schema, "maximum", number(row->max));
        return schema;
    case SPEC_TYPE_DURATION:
        return made(json_pack("{s:[s,s,s]}", "type", "string", "number", "null"));
    case SPEC_TYPE_ENUM:
        schema = choices(row->choices);
        add(schema, json_null());
        return made(json_pack("{s:o}", "enum", schema));
    case SPEC_TYPE_SET:
        schema = choices(row->choices);
        add(schema, json_string("all-linear"));
        return one_or_many(made(json_pack("{s:o}", "enum", schema)));
    case SPEC_TYPE_STRINGS:
        return one_or_many(made(json_pack("{s:s}", "type", "string")));
    case SPEC_TYPE_MAP:
        schema = typed("object");
        set(schema, "additionalProperties", json_pack("{s:s}", "type", "string"));
        return schema;
    case SPEC_TYPE_SOURCES:
        return reference("sources");
    }
    CHECK(!"a row of unknown type");
    return NULL;
}

static json_t *default_value(const struct spec_row *row)
{
    double value;
    if (row->type == SPEC_TYPE_BOOL) {
        return json_boolean(row->value[0] == 't');
    }
    bool is_number = row->type == SPEC_TYPE_I64 || row->type == SPEC_TYPE_F64;
    return is_number && parse_f64(row->value, &value) ? number(value) : json_string(row->value);
}

static json_t *row_schema(const struct spec_row *row)
{
    json_t *schema = type_schema(row);
    set(schema, "description", json_string(row->help));
    if (row->value[0]) {
        set(schema, "default", default_value(row));
    }
    return schema;
}

static json_t *object_schema(void)
{
    return made(json_pack("{s:[s,s],s:b,s:{}}", "type", "object", "null", "additionalProperties", 0,
                          "properties"));
}

/* An object's schema with all rows, sections nested. */
static json_t *rows_schema(const struct spec_rows *rows)
{
    json_t *root = object_schema();
    for (int i = 0; i < rows->count; i++) {
        const struct spec_row *row = &rows->items[i];
        json_t *object = root;
        const char *part = row->name;
        for (const char *dot = strchr(part, '.'); dot; dot = strchr(part, '.')) {
            json_t *properties = json_object_get(object, "properties");
            json_t *inner = json_object_getn(properties, part, (size_t)(dot - part));
            if (!inner) {
                inner = object_schema();
                CHECK(json_object_setn_new(properties, part, (size_t)(dot - part), inner) == 0);
            }
            object = inner;
            part = dot + 1;
        }
        set(json_object_get(object, "properties"), part, row_schema(row));
    }
    return root;
}

/* data.enrich may hold one source's fields itself, or be a source or a list of them. */
static void widen_enrich(json_t *root, json_t *source)
{
    json_t *data = json_object_get(json_object_get(root, "properties"), "data");
    json_t *sections = json_object_get(data, "properties");
    json_t *enrich = json_object_get(sections, "enrich");
    CHECK(json_object_update_missing(json_object_get(enrich, "properties"),
                                     json_object_get(source, "properties")) == 0);
    json_t *forms = made(json_pack("{s:[O,o]}", "anyOf", enrich, reference("sources")));
    set(sections, "enrich", forms);
}

void spec_json_schema(struct buf *out)
{
    json_t *root = rows_schema(&spec_rows);
    json_t *source = rows_schema(&spec_source_rows);
    widen_enrich(root, source);
    json_t *entry =
        made(json_pack("{s:[{s:s},o]}", "anyOf", "type", "string", reference("source")));
    json_t *definitions =
        made(json_pack("{s:o,s:o}", "source", source, "sources", one_or_many(entry)));
    set(root, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    set(root, "title", json_string("tailor job spec, v1"));
    set(root, "required", json_pack("[s,s]", "stage", "from"));
    set(root, "$defs", definitions);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    CHECK(text != NULL);
    buf_append_string(out, text);
    buf_append_char(out, '\n');
    mem_free(text);
    json_decref(root);
}
