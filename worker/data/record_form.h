/* SPDX-License-Identifier: Apache-2.0
 *
 * record_form: the form table of record.c and the readers of record_form.c. Private to these two.
 *
 * A reader gets an object that has the form's columns and fills the record from the context's
 * arena. Its error sentences begin with the field; record.c puts the place before them.
 */
#ifndef TAILOR_WORKER_DATA_RECORD_FORM_H
#define TAILOR_WORKER_DATA_RECORD_FORM_H

#include "lib/arena.h"
#include "lib/json.h"
#include "worker/data/record.h"

enum column {
    COLUMN_PROMPT,
    COLUMN_RESPONSES,
    COLUMN_SCORES,
    COLUMN_QUERY,
    COLUMN_INPUT,
    COLUMN_PREFERRED,
    COLUMN_NON_PREFERRED,
    COLUMN_CHOSEN_IDS,
    COLUMN_REJECTED_IDS,
    COLUMN_CHOSEN,
    COLUMN_REJECTED,
    COLUMN_TEXT,
    COLUMN_SCORE,
    COLUMN_COMPLETION,
    COLUMN_MESSAGES,
    COLUMN_MARGIN,
    COLUMN_COUNT
};

struct form_context {
    const struct data_source *source;
    const char *names[COLUMN_COUNT]; /* as the file calls them */
    struct arena arena;              /* of the newest record */
};

typedef enum status form_reader(struct form_context *context, const json_t *object,
                                struct record *record, struct error *error);

enum { FORM_COLUMNS_MAX = 3 };

struct form_row {
    const char *name;
    form_reader *read;
    bool language_model;
    bool margin; /* takes the optional column */
    int count;
    enum column columns[FORM_COLUMNS_MAX];
};

extern const struct form_row form_rows[FORM_COUNT];

/* The value of a column, by its name in the file; NULL where it is absent or null. */
json_t *form_value(const struct form_context *context, const json_t *object, enum column column);

#endif
