/* SPDX-License-Identifier: Apache-2.0
 *
 * record_form: one reader for every row of the form table (docs: engine.md, Data).
 *
 * Strings and lists of messages are one thing here: a string prompt is one user turn, a string
 * response one assistant turn, so that every template sees turns. Only texts that already hold the
 * prompt (DSP texts, implicit strings, stage lm) stay texts. A response list that repeats the
 * prompt's turns (UltraFeedback does) loses them; rendering them twice would be silent damage.
 */
#include "worker/data/record_form.h"

#include <math.h>
#include <string.h>

#include "lib/limits.h"

static form_reader read_ranked, read_domains, read_openai, read_ids, read_preference, read_implicit,
    read_texts, read_completion, read_messages, read_text;

/* In order of detection: of two forms whose columns are all there, the first one is meant. */
const struct form_row form_rows[FORM_COUNT] = {
    [FORM_RANKED] = {.name = "ranked group",
                     .read = read_ranked,
                     .count = 3,
                     .columns = {COLUMN_PROMPT, COLUMN_RESPONSES, COLUMN_SCORES}},
    [FORM_DSP_DOMAINS] = {.name = "dsp domains",
                          .read = read_domains,
                          .count = 2,
                          .columns = {COLUMN_QUERY, COLUMN_RESPONSES}},
    [FORM_PREFERENCE_OPENAI] = {.name = "preference (openai)",
                                .read = read_openai,
                                .count = 3,
                                .columns = {COLUMN_INPUT, COLUMN_PREFERRED, COLUMN_NON_PREFERRED}},
    [FORM_PREFERENCE_IDS] = {.name = "preference (token ids)",
                             .read = read_ids,
                             .margin = true,
                             .count = 2,
                             .columns = {COLUMN_CHOSEN_IDS, COLUMN_REJECTED_IDS}},
    [FORM_PREFERENCE] = {.name = "preference (trl)",
                         .read = read_preference,
                         .margin = true,
                         .count = 3,
                         .columns = {COLUMN_PROMPT, COLUMN_CHOSEN, COLUMN_REJECTED}},
    [FORM_PREFERENCE_IMPLICIT] = {.name = "preference (trl, prompt inside)",
                                  .read = read_implicit,
                                  .margin = true,
                                  .count = 2,
                                  .columns = {COLUMN_CHOSEN, COLUMN_REJECTED}},
    [FORM_DSP_TEXTS] = {.name = "dsp texts",
                        .read = read_texts,
                        .count = 2,
                        .columns = {COLUMN_TEXT, COLUMN_SCORE}},
    [FORM_COMPLETION] = {.name = "text (prompt + completion)",
                         .read = read_completion,
                         .language_model = true,
                         .count = 2,
                         .columns = {COLUMN_PROMPT, COLUMN_COMPLETION}},
    [FORM_MESSAGES] = {.name = "text (messages)",
                       .read = read_messages,
                       .language_model = true,
                       .count = 1,
                       .columns = {COLUMN_MESSAGES}},
    [FORM_TEXT] = {.name = "text",
                   .read = read_text,
                   .language_model = true,
                   .count = 1,
                   .columns = {COLUMN_TEXT}},
};

/* Other names for the same: TRL's older ones of the token columns. */
static const char *const older_names[COLUMN_COUNT] = {
    [COLUMN_CHOSEN_IDS] = "chosen_input_ids",
    [COLUMN_REJECTED_IDS] = "rejected_input_ids",
    [COLUMN_COMPLETION] = "response", /* what scoring hands in */
};

json_t *form_value(const struct form_context *context, const json_t *object, enum column column)
{
    json_t *value = json_object_get(object, context->names[column]);
    if (value == NULL && older_names[column] != NULL) {
        value = json_object_get(object, older_names[column]);
    }
    return json_is_null(value) ? NULL : value;
}

static enum status wrong_type(struct error *error, const char *field, const char *expected)
{
    return error_set(error, STATUS_FORMAT, "field \"%s\": %s is expected", field, expected);
}

static enum status read_message(const json_t *value, const char *field, size_t index,
                                struct message *message, struct error *error)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const json_t *role = json_object_get(value, "role");
    const json_t *content = json_object_get(value, "content");
    if (!json_is_string(role) || !json_is_string(content)) {
        return error_set(error, STATUS_FORMAT,
                         "field \"%s\", message %zu: an object with the strings \"role\" and "
                         "\"content\" is expected",
                         field, index + 1);
    }
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(json_string_value(role), roles[i]) == 0) {
            *message =
                (struct message){roles[i], json_string_value(content), json_string_length(content)};
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_FORMAT,
                     "field \"%s\", message %zu: role \"%.40s\" is not known; roles are system, "
                     "user and assistant",
                     field, index + 1, json_string_value(role));
}

/* A string as one turn of `role`, or a list of messages. */
static enum status read_turns(struct form_context *context, const json_t *value, const char *field,
                              const char *role, const struct message **messages_out,
                              int32_t *count_out, struct error *error)
{
    if (json_is_string(value)) {
        struct message *message = arena_new(&context->arena, struct message);
        *message = (struct message){role, json_string_value(value), json_string_length(value)};
        *messages_out = message;
        *count_out = 1;
        return STATUS_OK;
    }
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count == 0) {
        return wrong_type(error, field, "a text, or a list of at least one message,");
    }
    if (count > MESSAGES_MAX) {
        return error_set(error, STATUS_LIMIT, "field \"%s\": %zu messages, at most %d are taken",
                         field, count, MESSAGES_MAX);
    }
    struct message *messages = arena_array(&context->arena, struct message, count);
    for (size_t i = 0; i < count; i++) {
        TRY(read_message(json_array_get(value, i), field, i, &messages[i], error));
    }
    *messages_out = messages;
    *count_out = (int32_t)count;
    return STATUS_OK;
}

static bool message_equal(const struct message *a, const struct message *b)
{
    return strcmp(a->role, b->role) == 0 && a->content_length == b->content_length &&
           memcmp(a->content, b->content, a->content_length) == 0;
}

static int32_t messages_common(const struct message *a, int32_t a_count, const struct message *b,
                               int32_t b_count)
{
    int32_t common = 0;
    while (common < a_count && common < b_count && message_equal(&a[common], &b[common])) {
        common++;
    }
    return common;
}

static enum status read_prompt(struct form_context *context, const json_t *value, const char *field,
                               struct record *record, struct error *error)
{
    return read_turns(context, value, field, "user", &record->prompt, &record->prompt_count, error);
}

/* A response behind the record's prompt. */
static enum status read_response(struct form_context *context, const json_t *value,
                                 const char *field, const struct record *record,
                                 struct response *response, struct error *error)
{
    const struct message *turns;
    int32_t count;
    TRY(read_turns(context, value, field, "assistant", &turns, &count, error));
    if (count > record->prompt_count && messages_common(record->prompt, record->prompt_count, turns,
                                                        count) == record->prompt_count) {
        turns += record->prompt_count;
        count -= record->prompt_count;
    }
    if (record->prompt_count > 0 && strcmp(turns[0].role, "user") == 0 &&
        strcmp(record->prompt[record->prompt_count - 1].role, "user") == 0) {
        return error_set(error, STATUS_FORMAT,
                         "field \"%s\": begins with a user turn, but the prompt ends with another "
                         "one; a response that repeats the prompt must repeat it exactly",
                         field);
    }
    if (strcmp(turns[count - 1].role, "assistant") != 0) {
        return error_set(error, STATUS_FORMAT,
                         "field \"%s\": the last turn must be the assistant's", field);
    }
    response->messages = turns;
    response->message_count = count;
    return STATUS_OK;
}

static enum status read_score(const json_t *value, const char *field, float *score_out,
                              struct error *error)
{
    float score = (float)json_number_value(value);
    if (!json_is_number(value)) {
        return wrong_type(error, field, "a number");
    }
    if (!isfinite(score)) {
        return error_set(error, STATUS_NUMERIC, "field \"%s\": %g is not a finite 32-bit number",
                         field, json_number_value(value));
    }
    *score_out = score;
    return STATUS_OK;
}

static struct response *responses_create(struct form_context *context, size_t count,
                                         struct record *record)
{
    struct response *responses = arena_array(&context->arena, struct response, count);
    for (size_t i = 0; i < count; i++) {
        responses[i].index = (int32_t)i;
    }
    record->responses = responses;
    record->response_count = (int32_t)count;
    return responses;
}

/* Checks the number of responses of a group. */
static enum status count_check(size_t count, const char *field, struct error *error)
{
    if (count < 2) {
        return error_set(error, STATUS_FORMAT,
                         "field \"%s\": %s; a preference needs at least two to compare", field,
                         count == 0 ? "no response" : "one response only");
    }
    if (count > GROUP_RESPONSES_MAX) {
        return error_set(error, STATUS_LIMIT, "field \"%s\": %zu responses, at most %d are taken",
                         field, count, GROUP_RESPONSES_MAX);
    }
    return STATUS_OK;
}

/* Both columns must be lists of one length, of at least two and at most GROUP_RESPONSES_MAX. */
static enum status scored_check(const struct form_context *context, const json_t *object,
                                enum column texts, enum column scores, size_t *count_out,
                                struct error *error)
{
    const json_t *text_list = form_value(context, object, texts);
    const json_t *score_list = form_value(context, object, scores);
    if (!json_is_array(text_list)) {
        return wrong_type(error, context->names[texts], "a list");
    }
    if (!json_is_array(score_list)) {
        return wrong_type(error, context->names[scores], "a list of numbers");
    }
    size_t count = json_array_size(text_list);
    TRY(count_check(count, context->names[texts], error));
    if (json_array_size(score_list) != count) {
        return error_set(
            error, STATUS_FORMAT, "field \"%s\": %zu scores for %zu responses in \"%s\"",
            context->names[scores], json_array_size(score_list), count, context->names[texts]);
    }
    *count_out = count;
    return STATUS_OK;
}

static enum status read_ranked(struct form_context *context, const json_t *object,
                               struct record *record, struct error *error)
{
    const char *field = context->names[COLUMN_RESPONSES];
    const json_t *texts = form_value(context, object, COLUMN_RESPONSES);
    const json_t *scores = form_value(context, object, COLUMN_SCORES);
    size_t count;
    TRY(scored_check(context, object, COLUMN_RESPONSES, COLUMN_SCORES, &count, error));
    TRY(read_prompt(context, form_value(context, object, COLUMN_PROMPT),
                    context->names[COLUMN_PROMPT], record, error));
    struct response *responses = responses_create(context, count, record);
    for (size_t i = 0; i < count; i++) {
        TRY(read_response(context, json_array_get(texts, i), field, record, &responses[i], error));
        TRY(read_score(json_array_get(scores, i), context->names[COLUMN_SCORES],
                       &responses[i].score, error));
    }
    return STATUS_OK;
}

static enum status read_texts(struct form_context *context, const json_t *object,
                              struct record *record, struct error *error)
{
    const json_t *texts = form_value(context, object, COLUMN_TEXT);
    const json_t *scores = form_value(context, object, COLUMN_SCORE);
    size_t count;
    TRY(scored_check(context, object, COLUMN_TEXT, COLUMN_SCORE, &count, error));
    struct response *responses = responses_create(context, count, record);
    int32_t present = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(texts, i);
        float score;
        TRY(read_score(json_array_get(scores, i), context->names[COLUMN_SCORE], &score, error));
        if (!json_is_string(text)) {
            return wrong_type(error, context->names[COLUMN_TEXT], "a list of texts");
        }
        if (score >= 0) { /* a negative score means an absent response */
            responses[present++] = (struct response){.text = json_string_value(text),
                                                     .text_length = json_string_length(text),
                                                     .score = score,
                                                     .index = (int32_t)i};
        }
    }
    record->response_count = present;
    return STATUS_OK;
}

/* "academy, business": the keys of an object, for an error sentence. */
static const char *keys_list(struct form_context *context, const json_t *object)
{
    struct buf list = {0};
    const char *key;
    json_t *value;
    buf_append_string(&list, "");
    json_object_foreach((json_t *)object, key, value)
    {
        buf_printf(&list, "%s%.40s", list.length == 0 ? "" : ", ", key);
    }
    const char *text = arena_printf(&context->arena, "%.400s", list.data);
    buf_release(&list);
    return text;
}

static enum status read_domains(struct form_context *context, const json_t *object,
                                struct record *record, struct error *error)
{
    const char *domain = context->source->domain;
    const char *field = context->names[COLUMN_RESPONSES];
    const json_t *texts = form_value(context, object, COLUMN_RESPONSES);
    if (!json_is_object(texts)) {
        return wrong_type(error, field, "an object {domain: text}");
    }
    TRY(count_check(json_object_size(texts), field, error));
    TRY(read_prompt(context, form_value(context, object, COLUMN_QUERY),
                    context->names[COLUMN_QUERY], record, error));
    if (domain == NULL || json_object_get(texts, domain) == NULL) {
        return error_set(error, domain == NULL ? STATUS_USAGE : STATUS_FORMAT,
                         "field \"%s\": %s%s%s; domains here: %s", field,
                         domain == NULL ? "say which domain is preferred (domain: NAME)"
                                        : "no response of the domain \"",
                         domain == NULL ? "" : domain, domain == NULL ? "" : "\"",
                         keys_list(context, texts));
    }
    struct response *responses = responses_create(context, json_object_size(texts), record);
    const char *key;
    json_t *value;
    int32_t i = 0;
    json_object_foreach((json_t *)texts, key, value)
    {
        const char *place = arena_printf(&context->arena, "%s.%.80s", field, key);
        TRY(read_response(context, value, place, record, &responses[i], error));
        if (strcmp(key, domain) == 0) {
            responses[i].score = 1;
            record->preferred = i;
        }
        i++;
    }
    return STATUS_OK;
}

/* The two responses of a preference: the chosen one scores 1. */
static struct response *pair_create(struct form_context *context, struct record *record)
{
    struct response *responses = responses_create(context, 2, record);
    responses[0].score = 1;
    return responses;
}

static enum status read_margin(const struct form_context *context, const json_t *object,
                               struct record *record, struct error *error)
{
    const json_t *margin = form_value(context, object, COLUMN_MARGIN);
    return margin == NULL
               ? STATUS_OK
               : read_score(margin, context->names[COLUMN_MARGIN], &record->margin, error);
}

static enum status read_preference(struct form_context *context, const json_t *object,
                                   struct record *record, struct error *error)
{
    TRY(read_prompt(context, form_value(context, object, COLUMN_PROMPT),
                    context->names[COLUMN_PROMPT], record, error));
    struct response *pair = pair_create(context, record);
    TRY(read_response(context, form_value(context, object, COLUMN_CHOSEN),
                      context->names[COLUMN_CHOSEN], record, &pair[0], error));
    TRY(read_response(context, form_value(context, object, COLUMN_REJECTED),
                      context->names[COLUMN_REJECTED], record, &pair[1], error));
    return read_margin(context, object, record, error);
}

/* Texts stay whole; of two message lists the common leading turns are the prompt. */
static enum status read_implicit(struct form_context *context, const json_t *object,
                                 struct record *record, struct error *error)
{
    const json_t *values[2] = {form_value(context, object, COLUMN_CHOSEN),
                               form_value(context, object, COLUMN_REJECTED)};
    const char *fields[2] = {context->names[COLUMN_CHOSEN], context->names[COLUMN_REJECTED]};
    struct response *pair = pair_create(context, record);
    for (int i = 0; i < 2; i++) {
        if (json_is_string(values[i])) {
            pair[i].text = json_string_value(values[i]);
            pair[i].text_length = json_string_length(values[i]);
        } else if (json_is_array(values[i])) {
            TRY(read_response(context, values[i], fields[i], record, &pair[i], error));
        } else {
            return wrong_type(error, fields[i], "a text or a list of messages");
        }
    }
    if ((pair[0].text == NULL) != (pair[1].text == NULL)) {
        return error_set(error, STATUS_FORMAT,
                         "fields \"%s\" and \"%s\": without a prompt, both are texts or both are "
                         "lists of messages",
                         fields[0], fields[1]);
    }
    if (pair[0].messages != NULL) {
        int32_t common = messages_common(pair[0].messages, pair[0].message_count - 1,
                                         pair[1].messages, pair[1].message_count - 1);
        record->prompt = common > 0 ? pair[0].messages : NULL;
        record->prompt_count = common;
        for (int i = 0; i < 2; i++) {
            pair[i].messages += common;
            pair[i].message_count -= common;
        }
    }
    return read_margin(context, object, record, error);
}

static enum status read_id_list(struct form_context *context, const json_t *value,
                                const char *field, struct response *response, struct error *error)
{
    if (!json_is_array(value)) {
        return wrong_type(error, field, "a list of token ids");
    }
    size_t count = json_array_size(value);
    int32_t *ids = arena_array(&context->arena, int32_t, count + 1); /* never NULL */
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(value, i);
        json_int_t number = json_integer_value(id);
        if (!json_is_integer(id) || number < 0 || number > INT32_MAX) {
            return error_set(error, STATUS_FORMAT, "field \"%s\": item %zu is not a token id",
                             field, i + 1);
        }
        ids[i] = (int32_t)number;
    }
    response->ids = ids;
    response->id_count = (int32_t)count;
    return STATUS_OK;
}

static enum status read_ids(struct form_context *context, const json_t *object,
                            struct record *record, struct error *error)
{
    struct response *pair = pair_create(context, record);
    TRY(read_id_list(context, form_value(context, object, COLUMN_CHOSEN_IDS),
                     context->names[COLUMN_CHOSEN_IDS], &pair[0], error));
    TRY(read_id_list(context, form_value(context, object, COLUMN_REJECTED_IDS),
                     context->names[COLUMN_REJECTED_IDS], &pair[1], error));
    return read_margin(context, object, record, error);
}

static enum status read_openai(struct form_context *context, const json_t *object,
                               struct record *record, struct error *error)
{
    const json_t *input = form_value(context, object, COLUMN_INPUT);
    const json_t *messages = json_object_get(input, "messages");
    if (!json_is_array(messages)) {
        return wrong_type(error, context->names[COLUMN_INPUT], "an object {\"messages\": [...]}");
    }
    TRY(read_prompt(context, messages, "input.messages", record, error));
    struct response *pair = pair_create(context, record);
    TRY(read_response(context, form_value(context, object, COLUMN_PREFERRED),
                      context->names[COLUMN_PREFERRED], record, &pair[0], error));
    return read_response(context, form_value(context, object, COLUMN_NON_PREFERRED),
                         context->names[COLUMN_NON_PREFERRED], record, &pair[1], error);
}

/* The one response of a text of stage lm: imitated, so its score is the highest. */
static struct response *single_create(struct form_context *context, struct record *record)
{
    struct response *response = responses_create(context, 1, record);
    response->score = 1;
    return response;
}

static enum status read_completion(struct form_context *context, const json_t *object,
                                   struct record *record, struct error *error)
{
    TRY(read_prompt(context, form_value(context, object, COLUMN_PROMPT),
                    context->names[COLUMN_PROMPT], record, error));
    return read_response(context, form_value(context, object, COLUMN_COMPLETION),
                         context->names[COLUMN_COMPLETION], record, single_create(context, record),
                         error);
}

static enum status read_messages(struct form_context *context, const json_t *object,
                                 struct record *record, struct error *error)
{
    const char *field = context->names[COLUMN_MESSAGES];
    const json_t *value = form_value(context, object, COLUMN_MESSAGES);
    if (!json_is_array(value)) {
        return wrong_type(error, field, "a list of messages");
    }
    struct response *response = single_create(context, record);
    TRY(read_turns(context, value, field, "user", &response->messages, &response->message_count,
                   error));
    int32_t last = response->message_count - 1;
    if (last > 0 && strcmp(response->messages[last].role, "assistant") == 0) {
        record->prompt = response->messages;
        record->prompt_count = last;
        response->messages += last;
        response->message_count = 1;
    }
    return STATUS_OK;
}

static enum status read_text(struct form_context *context, const json_t *object,
                             struct record *record, struct error *error)
{
    const json_t *text = form_value(context, object, COLUMN_TEXT);
    if (!json_is_string(text)) {
        return wrong_type(error, context->names[COLUMN_TEXT], "a text");
    }
    struct response *response = single_create(context, record);
    response->text = json_string_value(text);
    response->text_length = json_string_length(text);
    return STATUS_OK;
}
