/* SPDX-License-Identifier: Apache-2.0
 *
 * record: one object of a data file, understood: a prompt, its responses, their scores.
 *
 *     TRY(record_reader_open(&source, &reader, error));
 *     while (record_reader_next(reader, &record, error) == STATUS_OK && record.number > 0) { … }
 *
 * The form is detected at the first object, from the names of its columns (after `columns` renames
 * them); a later object of another form is an error. What a file can be told to say wrongly (types,
 * scores that are not finite, lengths that differ, one response only) is an error that names file,
 * line and field. What is well-formed but doubtful is left to admission.
 * One thread at a time.
 */
#ifndef TAILOR_WORKER_DATA_RECORD_H
#define TAILOR_WORKER_DATA_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/status.h"
#include "worker/data/dataset.h"
#include "worker/data/template.h"

enum form {
    FORM_RANKED,              /* prompt, responses: [text…], scores: [number…] */
    FORM_DSP_DOMAINS,         /* query, responses: {domain: text} */
    FORM_PREFERENCE_OPENAI,   /* input.messages, preferred_output, non_preferred_output */
    FORM_PREFERENCE_IDS,      /* chosen_ids, rejected_ids */
    FORM_PREFERENCE,          /* prompt, chosen, rejected */
    FORM_PREFERENCE_IMPLICIT, /* chosen, rejected: the prompt is inside each */
    FORM_DSP_TEXTS,           /* text: [whole text…], score: [number…] */
    FORM_COMPLETION,          /* prompt, completion */
    FORM_MESSAGES,            /* messages */
    FORM_TEXT,                /* text */
    FORM_COUNT
};

/* Exactly one of messages, text and ids is not NULL. */
struct response {
    const struct message *messages; /* the turns behind the prompt's */
    int32_t message_count;
    const char *text; /* a whole row's text, prompt inside */
    size_t text_length;
    const int32_t *ids; /* a whole row's tokens */
    int32_t id_count;
    float score;
    int32_t index; /* among the record's responses as written */
};

struct record {
    int64_t number;               /* line, or index in the list; 0: the end of the file */
    bool invalid_utf8;            /* nothing but `number` is set */
    const struct message *prompt; /* its turns; NULL where it is unknown or inside the responses */
    int32_t prompt_count;
    const struct response *responses;
    int32_t response_count; /* below 2 only where absent responses were left out, or for one text */
    bool is_text;           /* a text of stage lm: one response, nothing to prefer */
    int32_t preferred;      /* DSP domains: index of the domain's response; -1 otherwise */
    float margin;
    const char *const *unknown; /* columns that the form doesn't have */
    int32_t unknown_count;
};

struct record_reader;

/* `source` is borrowed until the reader is closed. */
enum status record_reader_open(const struct data_source *source, struct record_reader **reader_out,
                               struct error *error);
/* For objects that come from no file: each has the form that its own columns say. */
void record_reader_open_objects(const struct data_source *source,
                                struct record_reader **reader_out);
/* The object is kept until the next call. Sentences name no place. */
enum status record_reader_object(struct record_reader *reader, json_t *object,
                                 struct record *record_out, struct error *error);
void record_reader_close(struct record_reader *reader); /* NULL is fine */
/* Everything in the record is borrowed until the next call. Records of other shards are passed over
 * unread; all shards read those up to the first that says the form, and hold their own against it.
 */
enum status record_reader_next(struct record_reader *reader, struct record *record_out,
                               struct error *error);
/* "f.jsonl:7" of the newest record; borrowed until the next call of any function here. */
const char *record_reader_where(struct record_reader *reader);
/* The place of the newest record, or of the one that failed, among all of the file; from 1. */
int64_t record_reader_place(const struct record_reader *reader);
/* "ranked group", …; "unknown" before the first record. */
const char *record_reader_form(const struct record_reader *reader);

/* Appends the text of a row, or of the prompt up to where the response begins. A response that is
 * ids is not text: CHECK. The prompt must be known. */
enum status record_render(const struct record *record, const struct response *response,
                          const struct text_format *format, const struct tokenizer *tokenizer,
                          struct buf *text, struct error *error);
enum status record_render_prompt(const struct record *record, const struct text_format *format,
                                 const struct tokenizer *tokenizer, struct buf *text,
                                 struct error *error);
/* Is the prompt, where it is known, or a response nothing but white space? */
bool record_prompt_empty(const struct record *record);
bool response_empty(const struct response *response);

#endif
