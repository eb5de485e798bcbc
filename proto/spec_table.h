/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_table: spec.def as data, for the files of the spec parser. Private to proto/.
 *
 * Rows keep the order of spec.def, which is also the order of spec.json, of `job init` and of the
 * lists. Rows of a data source stand in a table of their own: their names are relative to an entry,
 * and people see them as "data.*.limit".
 */
#ifndef TAILOR_PROTO_SPEC_TABLE_H
#define TAILOR_PROTO_SPEC_TABLE_H

#include "proto/spec.h"

enum { SPEC_NAME_MAX = 128 };

/* Which stages a field has a meaning in: bits 1 << SPEC_STAGE_…. */
enum spec_stages {
    SPEC_IN_LM = 1 << SPEC_STAGE_LM,
    SPEC_IN_CUSTOMIZE = 1 << SPEC_STAGE_CUSTOMIZE,
    SPEC_IN_RANKING = 1 << SPEC_STAGE_GENERAL | SPEC_IN_CUSTOMIZE,
    SPEC_IN_TRAINING = SPEC_IN_LM | SPEC_IN_RANKING,
    SPEC_IN_REWARDS = 1 << SPEC_STAGE_EVALUATE | 1 << SPEC_STAGE_SCORE,
    SPEC_IN_SHARDED = SPEC_IN_REWARDS | 1 << SPEC_STAGE_ADMIT,
    SPEC_IN_HEAD = SPEC_IN_RANKING | SPEC_IN_REWARDS,
    SPEC_IN_SERVE = 1 << SPEC_STAGE_SERVE,
    SPEC_IN_JUDGED = SPEC_IN_TRAINING | 1 << SPEC_STAGE_ADMIT,
    SPEC_IN_TEXTS = SPEC_IN_LM | SPEC_IN_HEAD | 1 << SPEC_STAGE_ADMIT,
    SPEC_IN_EXPORT = 1 << SPEC_STAGE_EXPORT,
    SPEC_IN_ALL = SPEC_IN_TEXTS | SPEC_IN_SERVE | 1 << SPEC_STAGE_IMPORT | SPEC_IN_EXPORT
};

enum spec_type {
    SPEC_TYPE_STRING,
    SPEC_TYPE_BOOL,
    SPEC_TYPE_I64,
    SPEC_TYPE_F64,
    SPEC_TYPE_DURATION,
    SPEC_TYPE_ENUM,
    SPEC_TYPE_SET,
    SPEC_TYPE_STRINGS,
    SPEC_TYPE_MAP,
    SPEC_TYPE_SOURCES
};

enum spec_format {
    SPEC_FORMAT_NONE,
    SPEC_FORMAT_LABEL,
    SPEC_FORMAT_REFERENCE,
    SPEC_FORMAT_TEXT,
    SPEC_FORMAT_TIME,
    SPEC_FORMAT_SOURCE
};

struct spec_choice {
    const char *text, *meaning;
};

/* Its values are 1 … count: 0 is …_UNSET. */
struct spec_choices {
    const struct spec_choice *items;
    int count;
};

struct spec_row {
    const char *name;  /* dotted, within its struct */
    const char *shown; /* the same for people: "data.*.limit" for a source's */
    enum spec_type type;
    enum spec_format format;
    const struct spec_choices *choices; /* ENUM and SET; else NULL */
    const char *value;                  /* the default; "" is unset */
    double min, max;
    const char *unit;
    unsigned stages;
    const char *help;
    size_t offset; /* in struct spec or struct spec_source */
};

struct spec_rows {
    const struct spec_row *items;
    int count;
};

struct spec_condition {
    const char *words; /* "with adapter.type: lora" */
    bool (*holds)(const struct spec *spec);
};

struct spec_default {
    const struct spec_condition *condition;
    const char *path, *value;
};

struct spec_preset_value {
    enum spec_preset preset;
    const char *path, *value;
};

struct spec_synonym {
    const char *name, *origin, *path, *note;
};

extern const struct spec_rows spec_rows;        /* of struct spec */
extern const struct spec_rows spec_source_rows; /* of struct spec_source */

/* Each returns NULL behind the last. */
const struct spec_default *spec_default_at(int index);
const struct spec_preset_value *spec_preset_value_at(int index);
const struct spec_synonym *spec_synonym_at(int index);

const struct spec_row *spec_row_find(const struct spec_rows *rows, const char *name);
/* Is there a row in the section `name` ("data.enrich")? */
bool spec_is_section(const struct spec_rows *rows, const char *name);
/* A synonym by its own name or by the last part of a dotted one ("train.lora_r"). */
const struct spec_synonym *spec_synonym_find(const char *name);
/* The rest of a sentence about a name that is no field: what another program's name means here, in
 * which section the field is, or the nearest name. `prefix` is "" or "data.*." (rows of a source).
 */
void spec_unknown_hint(const struct spec_rows *rows, const char *prefix, const char *name,
                       struct buf *out);

/* Rows of both tables, those of a source last; NULL behind the last. */
const struct spec_row *spec_row_at(int index);

/* 1 … count, or 0. */
int spec_choice_find(const struct spec_choices *choices, const char *text);
void spec_choices_list(const struct spec_choices *choices, struct buf *out); /* "a, b, c" */
/* "one of a, b, c; did you mean b?" (text NULL: without the question) */
void spec_choices_hint(const struct spec_choices *choices, const char *text, struct buf *out);

/* "a whole number from 1 to 1000 (groups)" */
void spec_row_describe(const struct spec_row *row, struct buf *out);

#endif
