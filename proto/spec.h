/* SPDX-License-Identifier: Apache-2.0
 *
 * spec: the job spec, from a person's YAML to a struct that the trainer can trust.
 *
 *     struct arena arena = {0};
 *     const struct spec_override set[] = {{.key = "train.seed", .value = "7"}};
 *     struct spec *spec;
 *     TRY(spec_read(&arena, "spec.yaml", set, 1, &spec, error));
 *     if (spec->stage == SPEC_STAGE_CUSTOMIZE && spec->adapter.type == SPEC_ADAPTER_LORA)
 *         train(spec->from, spec->data.train.items[0].dataset, spec->train.learning_rate);
 *
 * Invariants of a spec that spec_read or spec_parse returned:
 *   - every field has its value: explicit, else the preset's, else the default of its stage;
 *   - every number is in its range and every enum is one of its choices, or 0 (…_UNSET) where
 *     nothing is set; an unset string is NULL, an unset max_length 0, an unset bound of
 *     data.policy -1. What is unset in `model` is inherited from the model that the job starts
 * from;
 *   - `from` is set, and so is data.train (training stages) or data.eval (evaluate, score);
 *   - a field that has no effect in the stage was not given.
 * Strings and lists live in the arena. The fields are the rows of spec.def: read them there.
 * spec_json's text read back gives the same spec and the same text.
 */
#ifndef TAILOR_PROTO_SPEC_H
#define TAILOR_PROTO_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/sha256.h"
#include "lib/status.h"

/* enum spec_stage { SPEC_STAGE_UNSET = 0, SPEC_STAGE_LM, … }; likewise spec_overlong, …. */
/* clang-format off */
#define SPEC_ENUM(name, upper)               enum spec_##name { SPEC_##upper##_UNSET,
#define SPEC_CHOICE(name, id, text, meaning) SPEC_##id,
#define SPEC_ENUM_END(name)                  };
/* clang-format on */
#include "proto/spec.def"

struct spec_strings {
    const char **items;
    int count;
};

struct spec_pair {
    const char *key, *value;
};

struct spec_map {
    struct spec_pair *items;
    int count;
};

struct spec_sources {
    struct spec_source *items;
    int count;
};

/* The C type of each TYPE of a row. */
#define SPEC_C_STRING(choices)   const char *
#define SPEC_C_BOOL(choices)     bool
#define SPEC_C_I64(choices)      int64_t
#define SPEC_C_F64(choices)      double
#define SPEC_C_DURATION(choices) double /* seconds */
#define SPEC_C_ENUM(choices)     enum spec_##choices
#define SPEC_C_SET(choices)      uint32_t /* bits 1 << SPEC_TARGET_… */
#define SPEC_C_STRINGS(choices)  struct spec_strings
#define SPEC_C_MAP(choices)      struct spec_map
#define SPEC_C_SOURCES(choices)  struct spec_sources

/* clang-format off */
/* One entry of data.train, data.eval or data.enrich.sources. */
struct spec_source {
#define SPEC_SOURCE_OPEN(member)  struct {
#define SPEC_SOURCE_CLOSE(member) } member;
#define SPEC_SOURCE_FIELD(path, member, type, choices, value, min, max, unit, stages, help) \
    SPEC_C_##type(choices) member;
#include "proto/spec.def"
};

struct spec {
#define SPEC_OPEN(member)  struct {
#define SPEC_CLOSE(member) } member;
#define SPEC_FIELD(path, member, type, choices, value, min, max, unit, stages, help) \
    SPEC_C_##type(choices) member;
#include "proto/spec.def"
};
/* clang-format on */

/* One change on top of the file: --set KEY=VALUE, or an option such as --from DIR. */
struct spec_override {
    const char *key;    /* "train.seed", "data.train[0].limit"; borrowed for the call */
    const char *value;  /* YAML, unless `text` */
    const char *origin; /* what messages begin with: "--from"; NULL: "--set" */
    bool text;          /* take the value as it is: a path may hold anything */
    bool append;        /* add to the list instead of replacing it */
};

/* "train.seed=7" or "data.train+=more.jsonl" → override, its key in the arena. */
enum status spec_override_parse(struct arena *arena, const char *text,
                                struct spec_override *override_out, struct error *error);

/* Parses, resolves and validates. `name` begins every message; a name that ends in ".json" is read
 * as JSON, all others as YAML (without anchors, aliases and tags). Empty text is an empty spec. */
enum status spec_parse(struct arena *arena, const char *name, const char *text, size_t length,
                       const struct spec_override *overrides, int count, struct spec **spec_out,
                       struct error *error);
/* The same from a file; a NULL path is an empty spec: the overrides say it all. */
enum status spec_read(struct arena *arena, const char *path, const struct spec_override *overrides,
                      int count, struct spec **spec_out, struct error *error);

/* A row of a table, for a recipe: "${column}" in its values becomes the cell's text ("$${" is
 * "${"). An empty cell that is a whole value leaves the field unset. `used` is set where it was. */
struct spec_cell {
    const char *column, *text;
    bool used;
};

struct spec_cells {
    struct spec_cell *items;
    int count;
};

/* spec_parse of a recipe and a row. The overrides are part of the recipe. */
enum status spec_parse_row(struct arena *arena, const char *name, const char *text, size_t length,
                           const struct spec_override *overrides, int count,
                           struct spec_cells *cells, struct spec **spec_out, struct error *error);

/* The resolved spec: indented JSON, every field, in the order of spec.def, null where nothing is
 * set or the stage has no use for it. */
void spec_json(const struct spec *spec, struct buf *out);
void spec_digest(const struct spec *spec, char hex_out[SHA256_HEX_SIZE]);     /* of spec_json … */
void spec_text_digest(const struct buf *text, char hex_out[SHA256_HEX_SIZE]); /* … as written */
/* What attempts of one run must agree in: the spec as if for one rank and into no directory, since
 * neither on how many ranks it is computed nor where it is kept changes a bit of its result.
 * Borrows what `spec` does. */
struct spec spec_comparable(const struct spec *spec);

/* The text of a choice: spec_choice_name("stage", SPEC_STAGE_LM) is "lm"; NULL for …_UNSET. The
 * name is the field's ("train.lr_scheduler_type"). */
const char *spec_choice_name(const char *field, int value);
int spec_choice_count(const char *field); /* its values are 1 … count */

/* Text for people. spec_explain knows fields, sections, last parts of names and other programs'
 * names; on a miss it is STATUS_NOT_FOUND with the nearest name. */
enum status spec_explain(const char *field, struct buf *out, struct error *error);
/* A commented YAML file to start from. */
void spec_init(enum spec_stage stage, struct buf *out);
void spec_json_schema(struct buf *out);
enum status spec_stage_parse(const char *name, enum spec_stage *stage_out, struct error *error);

/* The table's names and help, for lists and completion; NULL behind the last. */
const char *spec_field_name(int index);
const char *spec_field_help(int index);

#endif
