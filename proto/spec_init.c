/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_init: a YAML file to start from: what must be said is there to edit, all else is a comment
 * with its default.
 *
 * The text is a valid spec as it stands (a section with nothing but comments is a null, which the
 * parser reads as "not given"). Rejected: example files in the repository; they would age.
 */
#include <stdio.h>
#include <string.h>

#include "proto/spec_table.h"

/* What must be said, with something to edit in its place. */
static const char *example(const char *path, enum spec_stage stage)
{
    bool trains = SPEC_IN_TRAINING & 1u << stage;
    if (strcmp(path, "stage") == 0) {
        return spec_choice_name("stage", (int)stage);
    }
    if (strcmp(path, "from") == 0) {
        return stage == SPEC_STAGE_LM || stage == SPEC_STAGE_GENERAL ? "./Qwen2.5-0.5B"
                                                                     : "./general/model";
    }
    if (strcmp(path, "data.train") == 0) {
        return stage == SPEC_STAGE_LM ? "[texts.jsonl]" : "[train.jsonl]";
    }
    if (strcmp(path, "data.eval") == 0) {
        return trains ? "[{split: 0.1}]" : "[eval.jsonl]";
    }
    if (strcmp(path, "data.enrich.sources") == 0) {
        return "[general.jsonl]";
    }
    return NULL;
}

/* The default that holds in the stage when the rest stays as it is. */
static const char *stage_default(const struct spec_row *row, enum spec_stage stage)
{
    struct spec spec = {.stage = stage};
    spec.data.eval.count = 1;
    spec.evaluate.every_steps = 1;
    const char *text = row->value;
    const struct spec_default *value;
    for (int i = 0; (value = spec_default_at(i)); i++) {
        if (strcmp(value->path, row->name) == 0 && value->condition->holds(&spec)) {
            text = value->value;
        }
    }
    return text;
}

/* Writes the sections that `name` opens and `previous` was not in; returns the depth. */
static int open_sections(const char *name, const char *previous, struct buf *out)
{
    int depth = 0;
    size_t start = 0;
    for (size_t i = 0; name[i]; i++) {
        if (name[i] != '.') {
            continue;
        }
        if (strncmp(name, previous, i + 1) != 0) {
            buf_printf(out, "%s%*s%.*s:\n", depth == 0 ? "\n" : "", 2 * depth, "", (int)(i - start),
                       name + start);
        }
        start = i + 1;
        depth++;
    }
    return depth;
}

void spec_init(enum spec_stage stage, struct buf *out)
{
    enum { HELP_COLUMN = 44 };
    const char *previous = "";
    buf_printf(out,
               "# A job of stage %s. Lines that begin with # show the defaults.\n"
               "# Check it: tailor job validate FILE. One field: tailor explain train.seed.\n"
               "# A source of data is a path or {dataset: PATH, domain: D, columns: {prompt: "
               "question}}.\n",
               spec_choice_name("stage", (int)stage));
    for (int i = 0; i < spec_rows.count; i++) {
        const struct spec_row *row = &spec_rows.items[i];
        if (!(row->stages & 1u << stage)) {
            continue;
        }
        int depth = open_sections(row->name, previous, out);
        const char *text = example(row->name, stage);
        const char *part = strrchr(row->name, '.');
        size_t start = out->length;
        buf_printf(out, "%*s%s%s: %s", 2 * depth, "", text ? "" : "# ", part ? part + 1 : row->name,
                   text ? text : stage_default(row, stage));
        int room = HELP_COLUMN - (int)(out->length - start);
        buf_printf(out, "%*s  # %s\n", room > 0 ? room : 0, "", row->help);
        previous = row->name;
    }
}
