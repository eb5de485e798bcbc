/* SPDX-License-Identifier: Apache-2.0
 *
 * record: JSON text → object → form → record, and a record's text again.
 *
 * Every error leaves here with its place in front ("f.jsonl:7: …"). Bytes that are not UTF-8, and
 * the lone surrogate escapes that Python's json.dumps writes for a cut-off emoji, are the data's
 * damage and not the format's: such a record is handed on as invalid_utf8, to be counted and left
 * out, since training must not see text that nobody wrote.
 */
#include "worker/data/record.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "worker/data/record_form.h"
#include "worker/data/source_file.h"

struct record_reader {
    struct form_context context;
    struct source_file *file;
    const struct form_row *form; /* NULL before the first record */
    json_t *root;                /* of the newest record */
    int64_t place;               /* its own, among all of the file, from 1 */
    struct arena_mark empty;     /* the context's arena between records */
};

/* Column names; those that `columns` can rename say where their new name stands. */
static const struct column_row {
    const char *name;
    bool renamed;
    size_t offset; /* in struct data_columns */
} column_rows[COLUMN_COUNT] = {
    [COLUMN_PROMPT] = {"prompt", true, offsetof(struct data_columns, prompt)},
    [COLUMN_RESPONSES] = {"responses", true, offsetof(struct data_columns, responses)},
    [COLUMN_SCORES] = {"scores", true, offsetof(struct data_columns, scores)},
    [COLUMN_QUERY] = {"query", true, offsetof(struct data_columns, query)},
    [COLUMN_INPUT] = {.name = "input"},
    [COLUMN_PREFERRED] = {.name = "preferred_output"},
    [COLUMN_NON_PREFERRED] = {.name = "non_preferred_output"},
    [COLUMN_CHOSEN_IDS] = {.name = "chosen_ids"},
    [COLUMN_REJECTED_IDS] = {.name = "rejected_ids"},
    [COLUMN_CHOSEN] = {"chosen", true, offsetof(struct data_columns, chosen)},
    [COLUMN_REJECTED] = {"rejected", true, offsetof(struct data_columns, rejected)},
    [COLUMN_TEXT] = {"text", true, offsetof(struct data_columns, text)},
    [COLUMN_SCORE] = {"score", true, offsetof(struct data_columns, scores)},
    [COLUMN_COMPLETION] = {.name = "completion"},
    [COLUMN_MESSAGES] = {.name = "messages"},
    [COLUMN_MARGIN] = {"margin", true, offsetof(struct data_columns, margin)},
};

void record_reader_open_objects(const struct data_source *source, struct record_reader **reader_out)
{
    struct record_reader *reader = mem_alloc(sizeof(*reader));
    reader->context.source = source;
    arena_alloc(&reader->context.arena, 1); /* the first chunk is kept from record to record */
    reader->empty = arena_mark(&reader->context.arena);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const char *name = NULL;
        if (column_rows[i].renamed) {
            memcpy(&name, (const char *)&source->columns + column_rows[i].offset, sizeof(name));
        }
        reader->context.names[i] = name != NULL ? name : column_rows[i].name;
    }
    *reader_out = reader;
}

enum status record_reader_open(const struct data_source *source, struct record_reader **reader_out,
                               struct error *error)
{
    struct source_file *file;
    TRY(source_file_open(source->path, &file, error));
    if (source->name != NULL) {
        source_file_rename(file, source->name);
    }
    record_reader_open_objects(source, reader_out);
    (*reader_out)->file = file;
    return STATUS_OK;
}

void record_reader_close(struct record_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    json_decref(reader->root);
    arena_release(&reader->context.arena);
    if (reader->file != NULL) {
        source_file_close(reader->file);
    }
    mem_free(reader);
}

const char *record_reader_where(struct record_reader *reader)
{
    return source_file_where(reader->file);
}

int64_t record_reader_place(const struct record_reader *reader)
{
    return reader->place;
}

const char *record_reader_form(const struct record_reader *reader)
{
    return reader->form != NULL ? reader->form->name : "unknown";
}

/* The code unit of the \uXXXX escape at `text`, or -1. */
static int escape_unit(const char *text, size_t length)
{
    if (length < 6 || text[0] != '\\' || text[1] != 'u') {
        return -1;
    }
    char digits[5] = {text[2], text[3], text[4], text[5], '\0'};
    return strspn(digits, "0123456789abcdefABCDEF") == 4 ? (int)strtol(digits, NULL, 16) : -1;
}

/* Copies `text` with every lone surrogate escape made \ufffd; false if there is none. */
static bool surrogates_replace(const char *text, size_t length, struct buf *fixed)
{
    bool found = false;
    size_t i = 0;
    while (i < length) {
        int unit = escape_unit(text + i, length - i);
        int next = unit >= 0 ? escape_unit(text + i + 6, length - i - 6) : -1;
        size_t step = unit >= 0 ? 6 : text[i] == '\\' && i + 1 < length ? 2 : 1;
        bool lone = unit >= 0xd800 && unit <= 0xdfff;
        if (unit >= 0xd800 && unit <= 0xdbff && next >= 0xdc00 && next <= 0xdfff) {
            step = 12;
            lone = false;
        }
        buf_append(fixed, lone ? "\\ufffd" : text + i, step);
        found = found || lone;
        i += step;
    }
    return found;
}

/* Parses the record's JSON; *root_out stays NULL where its text is not valid Unicode. */
static enum status json_parse(const struct source_text *text, json_t **root_out,
                              struct error *error)
{
    *root_out = NULL;
    if (utf8_valid_prefix(text->bytes, text->length) < text->length) {
        return STATUS_OK;
    }
    struct error trouble = {0};
    if (json_read("record", text->bytes, text->length, root_out, &trouble) == STATUS_OK) {
        return STATUS_OK;
    }
    struct buf fixed = {0};
    json_t *repaired = NULL;
    bool broken = !surrogates_replace(text->bytes, text->length, &fixed) ||
                  json_read("record", fixed.data, fixed.length, &repaired, NULL) != STATUS_OK;
    json_decref(repaired);
    buf_release(&fixed);
    if (!broken) {
        return STATUS_OK;
    }
    bool number = strstr(trouble.text, "NaN'") != NULL ||
                  strstr(trouble.text, "Infinity'") != NULL ||
                  strstr(trouble.text, "near '-'") != NULL; /* -Infinity */
    return error_set(error, trouble.status, "%s%s", trouble.text,
                     number ? "; NaN and Infinity are not JSON, and scores must be finite" : "");
}

static bool form_fits(const struct form_context *context, const struct form_row *form,
                      const json_t *object)
{
    for (int i = 0; i < form->count; i++) {
        if (form_value(context, object, form->columns[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* The first form of the stage (text or preference) whose columns are all there, or NULL. */
static const struct form_row *form_find(const struct form_context *context, const json_t *object,
                                        bool language_model)
{
    for (int i = 0; i < FORM_COUNT; i++) {
        const struct form_row *form = &form_rows[i];
        if (form->language_model == language_model && form_fits(context, form, object)) {
            return form;
        }
    }
    return NULL;
}

static enum status unknown_form(const struct form_context *context, const json_t *object,
                                struct error *error)
{
    enum { COLUMNS_SHOWN_MAX = 12 };
    struct buf has = {0}, forms = {0};
    const char *key;
    json_t *value;
    int shown = 0;
    buf_append_string(&has, "");
    json_object_foreach((json_t *)object, key, value)
    {
        if (shown < COLUMNS_SHOWN_MAX) {
            buf_printf(&has, "%s\"%.40s\"", shown == 0 ? "" : ", ", key);
        }
        shown++;
    }
    for (int i = 0; i < FORM_COUNT; i++) {
        const struct form_row *form = &form_rows[i];
        if (context->source->any_form || form->language_model == context->source->language_model) {
            buf_append_string(&forms, forms.length == 0 ? "" : ", or ");
            for (int c = 0; c < form->count; c++) {
                buf_printf(&forms, "%s%.40s", c == 0 ? "" : " + ",
                           context->names[form->columns[c]]);
            }
        }
    }
    error_set(error, STATUS_FORMAT,
              "no known form: the columns are %s%s; expected %s (rename with columns: {%s: NAME})",
              shown > 0 ? has.data : "none", shown > COLUMNS_SHOWN_MAX ? ", ..." : "", forms.data,
              context->source->language_model ? "text" : "prompt");
    buf_release(&has);
    buf_release(&forms);
    return STATUS_FORMAT;
}

/* Sets the reader's form at the first record and holds all others against it. */
static enum status form_detect(struct record_reader *reader, const json_t *object,
                               struct error *error)
{
    const struct form_context *context = &reader->context;
    const struct data_source *source = context->source;
    const struct form_row *form = form_find(context, object, source->language_model);
    const struct form_row *other = form_find(context, object, !source->language_model);
    if (source->any_form && form == NULL) {
        form = other;
    }
    if (form == NULL && reader->form != NULL && other == NULL) {
        for (int i = 0; i < reader->form->count; i++) {
            if (form_value(context, object, reader->form->columns[i]) == NULL) {
                return error_set(error, STATUS_FORMAT,
                                 "field \"%s\" is missing (the file began as "
                                 "%s)",
                                 context->names[reader->form->columns[i]], reader->form->name);
            }
        }
    }
    if (form == NULL && other == NULL) {
        return unknown_form(context, object, error);
    }
    if (reader->form != NULL && form != reader->form) {
        return error_set(error, STATUS_FORMAT,
                         "mixed forms: this record is %s, but the file began as %s; make two files",
                         form != NULL ? form->name : other->name, reader->form->name);
    }
    if (form == NULL) {
        return error_set(error, STATUS_USAGE, "the form is %s, but %s", other->name,
                         source->language_model
                             ? "stage lm reads text, prompt + completion, or messages"
                             : "a preference is needed: two or more responses, one preferred");
    }
    if (form != &form_rows[FORM_DSP_DOMAINS] && (source->domain != NULL || source->pairs)) {
        return error_set(error, STATUS_USAGE, "%s is for the form dsp domains, but the form is %s",
                         source->domain != NULL ? "domain" : "pairs", form->name);
    }
    reader->form = form;
    return STATUS_OK;
}

static bool column_known(const struct form_context *context, const struct form_row *form,
                         const json_t *object, const char *key)
{
    for (int i = 0; i < form->count; i++) {
        if (json_object_get(object, key) == form_value(context, object, form->columns[i])) {
            return true; /* by identity, so that an older name counts too */
        }
    }
    return form->margin && strcmp(key, context->names[COLUMN_MARGIN]) == 0;
}

static void unknown_collect(struct record_reader *reader, const json_t *object,
                            struct record *record)
{
    const char **unknown =
        arena_array(&reader->context.arena, const char *, json_object_size(object));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (!column_known(&reader->context, reader->form, object, key)) {
            unknown[record->unknown_count++] = key;
        }
    }
    record->unknown = unknown;
}

static enum status record_understand(struct record_reader *reader, struct record *record,
                                     struct error *error)
{
    if (!json_is_object(reader->root)) {
        return error_set(error, STATUS_FORMAT, "a JSON object is expected");
    }
    TRY(form_detect(reader, reader->root, error));
    unknown_collect(reader, reader->root, record);
    record->is_text = reader->form->language_model;
    return reader->form->read(&reader->context, reader->root, record, error);
}

static enum status record_parse(struct record_reader *reader, const struct source_text *text,
                                struct record *record, struct error *error)
{
    TRY(json_parse(text, &reader->root, error));
    if (reader->root == NULL) {
        record->invalid_utf8 = true;
        return STATUS_OK;
    }
    return record_understand(reader, record, error);
}

enum status record_reader_object(struct record_reader *reader, json_t *object,
                                 struct record *record_out, struct error *error)
{
    json_decref(reader->root);
    reader->root = json_incref(object);
    reader->form = NULL;
    arena_reset(&reader->context.arena, reader->empty);
    *record_out = (struct record){.number = 1, .preferred = -1};
    return record_understand(reader, record_out, error);
}

static enum status any_next(struct record_reader *reader, const struct source_text *text,
                            struct record *record, struct error *error)
{
    json_decref(reader->root);
    reader->root = NULL;
    arena_reset(&reader->context.arena, reader->empty);
    *record = (struct record){.number = text->number, .preferred = -1};
    enum status status =
        text->bytes != NULL ? record_parse(reader, text, record, error) : STATUS_OK;
    return status == STATUS_OK ? status
                               : error_prefix(error, "%s", source_file_where(reader->file));
}

static bool is_ours(const struct record_reader *reader)
{
    const struct data_source *source = reader->context.source;
    return source->shards == 0 ||
           (reader->place - 1) / SHARD_BLOCK_RECORDS % source->shards == source->shard - 1;
}

enum status record_reader_next(struct record_reader *reader, struct record *record_out,
                               struct error *error)
{
    for (;;) {
        struct source_text text;
        reader->place++;
        TRY(source_file_next(reader->file, &text, error));
        bool ours = text.bytes == NULL || is_ours(reader);
        if (ours || reader->form == NULL) {
            TRY(any_next(reader, &text, record_out, error));
        }
        if (ours) {
            return STATUS_OK;
        }
    }
}

enum status record_render(const struct record *record, const struct response *response,
                          const struct text_format *format, const struct tokenizer *tokenizer,
                          struct buf *text, struct error *error)
{
    CHECK(response->ids == NULL);
    if (response->text != NULL) { /* it holds everything: no template on top */
        buf_append(text, response->text, response->text_length);
        return STATUS_OK;
    }
    size_t prompt = (size_t)record->prompt_count, turns = (size_t)response->message_count;
    struct message *dialogue = mem_alloc(size_mul(sizeof(*dialogue), prompt + turns));
    if (prompt > 0) {
        memcpy(dialogue, record->prompt, sizeof(*dialogue) * prompt);
    }
    memcpy(dialogue + prompt, response->messages, sizeof(*dialogue) * turns);
    enum status status = template_render(format->template_kind, &format->prefixes, tokenizer,
                                         dialogue, prompt + turns, false, text, error);
    mem_free(dialogue);
    return status;
}

enum status record_render_prompt(const struct record *record, const struct text_format *format,
                                 const struct tokenizer *tokenizer, struct buf *text,
                                 struct error *error)
{
    CHECK(record->prompt != NULL);
    return template_render(format->template_kind, &format->prefixes, tokenizer, record->prompt,
                           (size_t)record->prompt_count, true, text, error);
}

static bool blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr(" \t\r\n\f\v", text[i]) == NULL || text[i] == '\0') {
            return false;
        }
    }
    return true;
}

static bool messages_blank(const struct message *messages, int32_t count)
{
    bool empty = true;
    for (int32_t i = 0; i < count; i++) {
        empty = empty && blank(messages[i].content, messages[i].content_length);
    }
    return empty;
}

bool record_prompt_empty(const struct record *record)
{
    return record->prompt != NULL && messages_blank(record->prompt, record->prompt_count);
}

bool response_empty(const struct response *response)
{
    if (response->text != NULL) {
        return blank(response->text, response->text_length);
    }
    return response->ids != NULL ? response->id_count == 0
                                 : messages_blank(response->messages, response->message_count);
}
