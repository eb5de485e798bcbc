/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_table: the X-macros of spec.def unrolled into arrays, and the look-ups in them.
 *
 * Linear searches: a hundred rows, read once a job. Rejected: building the tables at start-up into
 * maps; constants need no initialisation order and no lock.
 */
#include "proto/spec_table.h"

#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

/* ---- choices ---- */
/* clang-format off */
#define SPEC_ENUM(name, upper)               static const struct spec_choice items_##name[] = {
#define SPEC_CHOICE(name, id, text, meaning) {text, meaning},
#define SPEC_ENUM_END(name)                  };
#include "proto/spec.def"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define SPEC_ENUM(name, upper) \
    static const struct spec_choices choices_##name = {items_##name, COUNT(items_##name)};
#define SPEC_CHOICE(name, id, text, meaning)
#define SPEC_ENUM_END(name)
#include "proto/spec.def"
/* clang-format on */

/* ---- rows ---- */
#define CHOICES_STRING(c)   NULL
#define CHOICES_BOOL(c)     NULL
#define CHOICES_I64(c)      NULL
#define CHOICES_F64(c)      NULL
#define CHOICES_DURATION(c) NULL
#define CHOICES_ENUM(c)     &choices_##c
#define CHOICES_SET(c)      &choices_##c
#define CHOICES_STRINGS(c)  NULL
#define CHOICES_MAP(c)      NULL
#define CHOICES_SOURCES(c)  NULL

#define FORMAT_STRING(c)   SPEC_FORMAT_##c
#define FORMAT_BOOL(c)     SPEC_FORMAT_##c
#define FORMAT_I64(c)      SPEC_FORMAT_##c
#define FORMAT_F64(c)      SPEC_FORMAT_##c
#define FORMAT_DURATION(c) SPEC_FORMAT_##c
#define FORMAT_ENUM(c)     SPEC_FORMAT_NONE
#define FORMAT_SET(c)      SPEC_FORMAT_NONE
#define FORMAT_STRINGS(c)  SPEC_FORMAT_##c
#define FORMAT_MAP(c)      SPEC_FORMAT_##c
#define FORMAT_SOURCES(c)  SPEC_FORMAT_##c

#define ROW(path, prefix, owner, type, choices, value, min, max, unit, stages, help)               \
    {#path,                                                                                        \
     prefix #path,                                                                                 \
     SPEC_TYPE_##type,                                                                             \
     FORMAT_##type(choices),                                                                       \
     CHOICES_##type(choices),                                                                      \
     value,                                                                                        \
     min,                                                                                          \
     max,                                                                                          \
     unit,                                                                                         \
     SPEC_IN_##stages,                                                                             \
     help,                                                                                         \
     offsetof(owner, path)},

static const struct spec_row row_items[] = {
#define SPEC_FIELD(path, member, type, choices, value, min, max, unit, stages, help)               \
    ROW(path, "", struct spec, type, choices, value, min, max, unit, stages, help)
#include "proto/spec.def"
};
const struct spec_rows spec_rows = {row_items, COUNT(row_items)};

static const struct spec_row source_items[] = {
#define SPEC_SOURCE_FIELD(path, member, type, choices, value, min, max, unit, stages, help)        \
    ROW(path, "data.*.", struct spec_source, type, choices, value, min, max, unit, stages, help)
#include "proto/spec.def"
};
const struct spec_rows spec_source_rows = {source_items, COUNT(source_items)};

/* ---- what depends on other fields ---- */
#define SPEC_CONDITION(id, words, test)                                                            \
    static bool holds_##id(const struct spec *spec)                                                \
    {                                                                                              \
        return test;                                                                               \
    }                                                                                              \
    static const struct spec_condition condition_##id = {words, holds_##id};
#include "proto/spec.def"

static const struct spec_default default_items[] = {
#define SPEC_DEFAULT_WHEN(path, condition, value) {&condition_##condition, #path, value},
#include "proto/spec.def"
};

static const struct spec_preset_value preset_items[] = {
#define SPEC_PRESET_VALUE(id, path, value) {SPEC_##id, #path, value},
#include "proto/spec.def"
};

static const struct spec_synonym synonym_items[] = {
#define SPEC_SYNONYM(name, origin, path, note) {name, origin, path, note},
#include "proto/spec.def"
};

const struct spec_default *spec_default_at(int index)
{
    return index < COUNT(default_items) ? &default_items[index] : NULL;
}

const struct spec_preset_value *spec_preset_value_at(int index)
{
    return index < COUNT(preset_items) ? &preset_items[index] : NULL;
}

const struct spec_synonym *spec_synonym_at(int index)
{
    return index < COUNT(synonym_items) ? &synonym_items[index] : NULL;
}

/* ---- look-ups ---- */
const struct spec_row *spec_row_find(const struct spec_rows *rows, const char *name)
{
    for (int i = 0; i < rows->count; i++) {
        if (strcmp(rows->items[i].name, name) == 0) {
            return &rows->items[i];
        }
    }
    return NULL;
}

bool spec_is_section(const struct spec_rows *rows, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < rows->count; i++) {
        const char *row = rows->items[i].name;
        if (strncmp(row, name, length) == 0 && row[length] == '.') {
            return true;
        }
    }
    return false;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

const struct spec_synonym *spec_synonym_find(const char *name)
{
    const char *candidates[2] = {name, last_part(name)};
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < COUNT(synonym_items); i++) {
            if (strcmp(synonym_items[i].name, candidates[which]) == 0) {
                return &synonym_items[i];
            }
        }
    }
    return NULL;
}

/* The row whose last part is `part`, or NULL. */
static const struct spec_row *row_by_last_part(const struct spec_rows *rows, const char *part)
{
    for (int i = 0; i < rows->count; i++) {
        if (strcmp(last_part(rows->items[i].name), part) == 0) {
            return &rows->items[i];
        }
    }
    return NULL;
}

/* The field or section nearest to `name`, as a whole, else by its last part. In the arena. */
static const char *nearest_field(struct arena *arena, const struct spec_rows *rows,
                                 const char *name)
{
    size_t room = (size_t)rows->count * 3;
    const char **names = arena_array(arena, const char *, room);
    const char **parts = arena_array(arena, const char *, rows->count);
    size_t count = 0;
    for (int i = 0; i < rows->count; i++) {
        const char *row = rows->items[i].name;
        parts[i] = last_part(row);
        names[count++] = row;
        for (const char *dot = strchr(row, '.'); dot; dot = strchr(dot + 1, '.')) {
            CHECK(count < room);
            names[count++] = arena_strndup(arena, row, (size_t)(dot - row));
        }
    }
    const char *near = nearest_name(name, names, count);
    if (!near) {
        const char *part = nearest_name(last_part(name), parts, (size_t)rows->count);
        near = part ? row_by_last_part(rows, part)->name : NULL;
    }
    return near;
}

static void synonym_hint(const struct spec_synonym *synonym, struct buf *out)
{
    const char *colon = synonym->note[0] ? "; " : "";
    if (synonym->path[0]) {
        buf_printf(out, "what %s calls %s is %s here%s%s", synonym->origin, synonym->name,
                   synonym->path, colon, synonym->note);
    } else {
        buf_printf(out, "what %s calls %s needs no field here%s%s", synonym->origin, synonym->name,
                   colon, synonym->note);
    }
}

void spec_unknown_hint(const struct spec_rows *rows, const char *prefix, const char *name,
                       struct buf *out)
{
    struct arena arena = {0};
    const struct spec_synonym *synonym = spec_synonym_find(name);
    const struct spec_row *moved = row_by_last_part(rows, last_part(name));
    moved = moved ? moved : row_by_last_part(&spec_source_rows, last_part(name));
    const char *near = nearest_field(&arena, rows, name);
    if (moved && (!synonym || strcmp(synonym->name, name) != 0)) {
        bool source = strncmp(moved->shown, "data.*.", 7) == 0 && prefix[0];
        buf_printf(out, "it is %s%s", source ? prefix : "", source ? moved->name : moved->shown);
    } else if (synonym) {
        synonym_hint(synonym, out);
    } else if (near) {
        buf_printf(out, "did you mean %s%s?", prefix, near);
    } else {
        buf_append_string(out, "tailor explain lists all fields");
    }
    arena_release(&arena);
}

int spec_choice_find(const struct spec_choices *choices, const char *text)
{
    for (int i = 0; i < choices->count; i++) {
        if (strcmp(choices->items[i].text, text) == 0) {
            return i + 1;
        }
    }
    return 0;
}

void spec_choices_list(const struct spec_choices *choices, struct buf *out)
{
    for (int i = 0; i < choices->count; i++) {
        buf_printf(out, "%s%s", i > 0 ? ", " : "", choices->items[i].text);
    }
}

static const struct spec_choices *choices_of(const char *field)
{
    const struct spec_row *row = spec_row_find(&spec_rows, field);
    row = row ? row : spec_row_find(&spec_source_rows, field);
    CHECK(row && row->choices);
    return row->choices;
}

const char *spec_choice_name(const char *field, int value)
{
    const struct spec_choices *choices = choices_of(field);
    CHECK(value >= 0 && value <= choices->count);
    return value == 0 ? NULL : choices->items[value - 1].text;
}

int spec_choice_count(const char *field)
{
    return choices_of(field)->count;
}

void spec_choices_hint(const struct spec_choices *choices, const char *text, struct buf *out)
{
    const char *texts[32];
    CHECK(choices->count <= 32);
    for (int i = 0; i < choices->count; i++) {
        texts[i] = choices->items[i].text;
    }
    buf_append_string(out, choices->count > 1 ? "one of " : "");
    spec_choices_list(choices, out);
    const char *near = text ? nearest_name(text, texts, (size_t)choices->count) : NULL;
    if (near) {
        buf_printf(out, "; did you mean %s?", near);
    }
}

enum status spec_stage_parse(const char *name, enum spec_stage *stage_out, struct error *error)
{
    int value = spec_choice_find(&choices_stage, name);
    if (value == 0) {
        struct buf hint = {0};
        spec_choices_hint(&choices_stage, name, &hint);
        enum status status =
            error_set(error, STATUS_USAGE, "'%s' is no stage: write %s", name, hint.data);
        buf_release(&hint);
        return status;
    }
    *stage_out = (enum spec_stage)value;
    return STATUS_OK;
}

const struct spec_row *spec_row_at(int index)
{
    int behind = index - spec_rows.count;
    return behind < 0                        ? &spec_rows.items[index]
           : behind < spec_source_rows.count ? &spec_source_rows.items[behind]
                                             : NULL;
}

const char *spec_field_name(int index)
{
    const struct spec_row *row = spec_row_at(index);
    return row ? row->shown : NULL;
}

const char *spec_field_help(int index)
{
    const struct spec_row *row = spec_row_at(index);
    return row ? row->help : NULL;
}
