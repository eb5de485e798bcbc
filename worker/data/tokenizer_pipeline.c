/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_pipeline: the parts of tokenizer.json that are pipelines, each an object with a "type"
 * or a Sequence of such objects: normalizer, pre_tokenizer, post_processor.
 *
 * Invariant: what is accepted is what the scanners and steps do exactly; any other type, and any
 * option that would change a token, is refused by name. Decoder, truncation and padding are not
 * read: nothing here decodes, and Transformers sets the other two for every call. Rejected:
 * ignoring unknown steps with a warning; a model with slightly wrong tokens trains without
 * complaint.
 */
#include <string.h>

#include "lib/json.h"
#include "worker/data/tokenizer_parts.h"

enum {
    STAGES_MAX = NORMALIZER_STEPS_MAX, /* of a flattened Sequence; published files have two */
    SPECIAL_IDS_MAX = 64               /* around a text; published files have one or two */
};

/* A flattened pipeline: objects that are no Sequence, in order, with where they stand. */
struct stages {
    const json_t *items[STAGES_MAX];
    char fields[STAGES_MAX][96];
    int count;
};

static enum status object_type(const json_t *value, const char **type_out, struct error *error)
{
    const char *type = NULL;
    if (!json_is_object(value)) {
        return error_set(error, STATUS_FORMAT, "an object is expected");
    }
    TRY(json_get_string(value, "type", &type, error));
    if (!type) {
        return error_set(error, STATUS_FORMAT, "\"type\" is missing");
    }
    *type_out = type;
    return STATUS_OK;
}

static enum status stages_collect(const json_t *value, const char *field, const char *list,
                                  struct stages *stages, struct error *error)
{
    const char *type = NULL;
    if (object_type(value, &type, error) != STATUS_OK) {
        return error_prefix(error, "%s", field);
    }
    if (strcmp(type, "Sequence") != 0) {
        if (stages->count == STAGES_MAX) {
            return error_set(error, STATUS_LIMIT, "%s: more than %d stages", field, STAGES_MAX);
        }
        stages->items[stages->count] = value;
        snprintf(stages->fields[stages->count++], sizeof(stages->fields[0]), "%s", field);
        return STATUS_OK;
    }
    const json_t *items = json_object_get(value, list);
    if (!json_is_array(items)) {
        return error_set(error, STATUS_FORMAT, "%s.%s: an array is expected", field, list);
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        char inner[96];
        snprintf(inner, sizeof(inner), "%.60s.%s[%zu]", field, list, i);
        TRY(stages_collect(json_array_get(items, i), inner, list, stages, error));
    }
    return STATUS_OK;
}

static const char *stage_type(const struct stages *stages, int index)
{
    return json_string_value(json_object_get(stages->items[index], "type"));
}

static enum status stages_read(const json_t *value, const char *field, const char *list,
                               struct stages *stages, struct error *error)
{
    stages->count = 0;
    return !value || json_is_null(value) ? STATUS_OK
                                         : stages_collect(value, field, list, stages, error);
}

/* A string that must be there and hold something. */
static enum status text_get(const json_t *object, const char *key, const char **text_out,
                            struct error *error)
{
    const char *text = NULL;
    TRY(json_get_string(object, key, &text, error));
    if (!text || text[0] == '\0') {
        return error_set(error, STATUS_FORMAT, "\"%s\" is missing or empty", key);
    }
    *text_out = text;
    return STATUS_OK;
}

static struct normalizer_step *step_add(struct tokenizer *tokenizer, struct normalizer *normalizer,
                                        enum normalizer_kind kind, const char *pattern,
                                        const char *content)
{
    struct normalizer_step *step = &normalizer->steps[normalizer->count++];
    *step = (struct normalizer_step){
        .kind = kind,
        .pattern = pattern ? arena_strdup(&tokenizer->arena, pattern) : NULL,
        .content = content ? arena_strdup(&tokenizer->arena, content) : NULL,
        .pattern_length = pattern ? strlen(pattern) : 0,
        .content_length = content ? strlen(content) : 0,
    };
    return step;
}

static enum status replace_parse(const json_t *value, struct tokenizer *tokenizer, size_t *growth,
                                 struct error *error)
{
    const json_t *pattern = json_object_get(value, "pattern");
    const char *text = NULL;
    const char *content = NULL;
    if (!json_is_object(pattern) || !json_object_get(pattern, "String")) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"pattern\" is not {\"String\": …}: patterns from files are not run");
    }
    TRY(text_get(pattern, "String", &text, error));
    TRY(json_get_string(value, "content", &content, error));
    if (!content) {
        return error_set(error, STATUS_FORMAT, "\"content\" is missing");
    }
    size_t times = (strlen(content) + strlen(text) - 1) / strlen(text);
    if (times > NORMALIZER_GROWTH_MAX || *growth * times > NORMALIZER_GROWTH_MAX) {
        return error_set(error, STATUS_LIMIT, "text could grow to more than %d times its size",
                         NORMALIZER_GROWTH_MAX);
    }
    *growth *= times > 1 ? times : 1;
    step_add(tokenizer, &tokenizer->normalizer, NORMALIZER_REPLACE, text, content);
    return STATUS_OK;
}

static enum status prepend_parse(const json_t *value, struct tokenizer *tokenizer,
                                 struct error *error)
{
    enum { ONE_MAX = NORMALIZER_PREPEND_MAX / NORMALIZER_GROWTH_MAX / NORMALIZER_STEPS_MAX };
    const char *text = NULL;
    TRY(text_get(value, "prepend", &text, error));
    if (strlen(text) > ONE_MAX) {
        return error_set(error, STATUS_LIMIT, "\"prepend\" has more than %d bytes", ONE_MAX);
    }
    step_add(tokenizer, &tokenizer->normalizer, NORMALIZER_PREPEND, NULL, text);
    return STATUS_OK;
}

enum status normalizer_parse(const json_t *value, struct tokenizer *tokenizer, struct error *error)
{
    struct stages stages;
    size_t growth = 1;
    TRY(stages_read(value, "normalizer", "normalizers", &stages, error));
    for (int i = 0; i < stages.count; i++) {
        const char *type = stage_type(&stages, i);
        enum status status = STATUS_OK;
        if (strcmp(type, "NFC") == 0) {
            step_add(tokenizer, &tokenizer->normalizer, NORMALIZER_NFC, NULL, NULL);
        } else if (strcmp(type, "Prepend") == 0) {
            status = prepend_parse(stages.items[i], tokenizer, error);
        } else if (strcmp(type, "Replace") == 0) {
            status = replace_parse(stages.items[i], tokenizer, &growth, error);
        } else {
            status = error_set(error, STATUS_UNSUPPORTED,
                               "\"%.60s\" is not one of the known: NFC, Prepend, Replace", type);
        }
        if (status != STATUS_OK) {
            return error_prefix(error, "%s", stages.fields[i]);
        }
    }
    return STATUS_OK;
}

/* ByteLevel as a stage: whether it cuts by its own pattern. */
static enum status byte_level_parse(const json_t *value, bool *use_regex_out, struct error *error)
{
    bool add_prefix_space = true; /* what Hugging Face takes when they are absent */
    bool use_regex = true;
    TRY(json_get_bool(value, "add_prefix_space", &add_prefix_space, error));
    TRY(json_get_bool(value, "use_regex", &use_regex, error));
    if (add_prefix_space) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"add_prefix_space\" is true, and only false is known");
    }
    *use_regex_out = use_regex;
    return STATUS_OK;
}

static enum status digits_parse(const json_t *value, struct error *error)
{
    bool individual = false;
    TRY(json_get_bool(value, "individual_digits", &individual, error));
    if (!individual) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"individual_digits\" is false, and only true is known");
    }
    return STATUS_OK;
}

static enum status split_parse(const json_t *value, enum pretokenizer *pretokenizer_out,
                               struct error *error)
{
    const json_t *pattern = json_object_get(value, "pattern");
    const char *text = NULL;
    const char *behavior = NULL;
    bool invert = false;
    if (!json_is_object(pattern) || !json_object_get(pattern, "Regex")) {
        return error_set(error, STATUS_UNSUPPORTED, "\"pattern\" is not {\"Regex\": …}");
    }
    TRY(text_get(pattern, "Regex", &text, error));
    TRY(text_get(value, "behavior", &behavior, error));
    TRY(json_get_bool(value, "invert", &invert, error));
    if (strcmp(behavior, "Isolated") != 0 || invert) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "only \"behavior\" \"Isolated\" and \"invert\" false are known");
    }
    return pretokenizer_from_pattern(text, pretokenizer_out, error);
}

/* Metaspace changes blanks into its mark and puts one in front; it cuts nothing. */
static enum status metaspace_parse(const json_t *value, struct tokenizer *tokenizer,
                                   struct error *error)
{
    const char *mark = NULL;
    const char *scheme = NULL;
    bool split = true;
    TRY(text_get(value, "replacement", &mark, error));
    TRY(text_get(value, "prepend_scheme", &scheme, error));
    TRY(json_get_bool(value, "split", &split, error));
    bool always = strcmp(scheme, "always") == 0;
    bool first = strcmp(scheme, "first") == 0;
    if (split || strcmp(mark, "▁") != 0 || !(always || first || strcmp(scheme, "never") == 0)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "only \"split\" false, \"replacement\" \"▁\" and \"prepend_scheme\" "
                         "always, first or never are known");
    }
    for (int at_start = 0; at_start < 2; at_start++) {
        struct normalizer *spaces = &tokenizer->spaces[at_start];
        step_add(tokenizer, spaces, NORMALIZER_REPLACE, " ", mark);
        if (always || (first && at_start)) {
            step_add(tokenizer, spaces, NORMALIZER_PREPEND_MISSING, NULL, mark);
        }
    }
    return STATUS_OK;
}

static enum status unknown_stages(const struct stages *stages, struct error *error)
{
    struct buf names = {0};
    for (int i = 0; i < stages->count; i++) {
        buf_printf(&names, "%s%.40s", i > 0 ? ", " : "", stage_type(stages, i));
    }
    enum status status = error_set(
        error, STATUS_UNSUPPORTED,
        "pre_tokenizer: [%s] is not one of the known families: " PRETOKENIZER_NAMES, names.data);
    buf_release(&names);
    return status;
}

static bool stages_are(const struct stages *stages, const char *first, const char *second)
{
    return stages->count == (second ? 2 : 1) && strcmp(stage_type(stages, 0), first) == 0 &&
           (!second || strcmp(stage_type(stages, 1), second) == 0);
}

enum status pretokenizer_parse(const json_t *value, struct tokenizer *tokenizer,
                               struct error *error)
{
    struct stages stages;
    TRY(stages_read(value, "pre_tokenizer", "pretokenizers", &stages, error));
    tokenizer->pretokenizer = PRETOKENIZER_NONE;
    if (stages.count == 0) {
        return STATUS_OK;
    }
    const json_t *first = stages.items[0];
    enum status status = STATUS_OK;
    bool split = stages_are(&stages, "Split", "ByteLevel");
    bool digits = stages_are(&stages, "Digits", "ByteLevel");
    if (stages_are(&stages, "Metaspace", NULL)) {
        status = metaspace_parse(first, tokenizer, error);
    } else if (split) {
        status = split_parse(first, &tokenizer->pretokenizer, error);
    } else if (digits) {
        status = digits_parse(first, error);
        tokenizer->pretokenizer = PRETOKENIZER_DIGITS_GPT2;
    } else if (stages_are(&stages, "ByteLevel", NULL)) {
        tokenizer->pretokenizer = PRETOKENIZER_GPT2;
    } else {
        return unknown_stages(&stages, error);
    }
    if (status != STATUS_OK) {
        return error_prefix(error, "%s", stages.fields[0]);
    }
    if (tokenizer->pretokenizer != PRETOKENIZER_NONE) {
        bool use_regex = false;
        int last = stages.count - 1;
        status = byte_level_parse(stages.items[last], &use_regex, error);
        if (status == STATUS_OK && use_regex == split) {
            status =
                error_set(error, STATUS_UNSUPPORTED, "\"use_regex\" is %s, and only %s is known",
                          use_regex ? "true" : "false", use_regex ? "false" : "true");
        }
        if (status != STATUS_OK) {
            return error_prefix(error, "%s", stages.fields[last]);
        }
        tokenizer->bpe.byte_level = true;
    }
    return STATUS_OK;
}

/* The ids of a template's special token. */
static enum status special_ids(const json_t *value, const char *name, int32_t size, struct ids *ids,
                               struct error *error)
{
    const json_t *special = json_object_get(json_object_get(value, "special_tokens"), name);
    const json_t *list = json_object_get(special, "ids");
    if (!json_is_array(list)) {
        return error_set(error, STATUS_FORMAT, "special_tokens has no ids for \"%.60s\"", name);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id >= size) {
            return error_set(error, STATUS_FORMAT,
                             "special_tokens: an id of \"%.60s\" is not below %d", name, size);
        }
        if (ids->count == SPECIAL_IDS_MAX) {
            return error_set(error, STATUS_LIMIT, "more than %d special tokens", SPECIAL_IDS_MAX);
        }
        ids_push(ids, (int32_t)id);
    }
    return STATUS_OK;
}

/* "single": special tokens around one {"Sequence": {"id": "A"}}. They go outside of what an earlier
 * stage has put there. */
static enum status template_parse_single(const json_t *value, struct tokenizer *tokenizer,
                                         struct ids *before, struct ids *after, struct error *error)
{
    const json_t *single = json_object_get(value, "single");
    int sequences = 0;
    if (!json_is_array(single)) {
        return error_set(error, STATUS_FORMAT, "\"single\" is not an array");
    }
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        const json_t *sequence = json_object_get(item, "Sequence");
        const char *name = NULL;
        TRY(text_get(special ? special : sequence, "id", &name, error));
        if (special) {
            TRY(special_ids(value, name, tokenizer->size, sequences > 0 ? after : before, error));
        } else if (strcmp(name, "A") == 0) {
            sequences++;
        }
    }
    if (sequences != 1) {
        return error_set(error, STATUS_UNSUPPORTED, "\"single\" does not hold the text A once");
    }
    return STATUS_OK;
}

static enum status template_stage(const json_t *value, struct tokenizer *tokenizer,
                                  struct error *error)
{
    struct ids before = {0};
    struct ids after = {0};
    enum status status = template_parse_single(value, tokenizer, &before, &after, error);
    if (status == STATUS_OK) {
        ids_append(&before, tokenizer->prefix.items, tokenizer->prefix.count);
        ids_append(&tokenizer->suffix, after.items, after.count);
        struct ids inner = tokenizer->prefix;
        tokenizer->prefix = before;
        before = inner;
    }
    ids_release(&before);
    ids_release(&after);
    return status;
}

enum status post_processor_parse(const json_t *value, struct tokenizer *tokenizer,
                                 struct error *error)
{
    struct stages stages;
    TRY(stages_read(value, "post_processor", "processors", &stages, error));
    for (int i = 0; i < stages.count; i++) {
        const char *type = stage_type(&stages, i);
        enum status status = STATUS_OK;
        if (strcmp(type, "TemplateProcessing") == 0) {
            status = template_stage(stages.items[i], tokenizer, error);
        } else if (strcmp(type, "ByteLevel") != 0) { /* ByteLevel only moves offsets */
            status =
                error_set(error, STATUS_UNSUPPORTED,
                          "\"%.60s\" is not one of the known: ByteLevel, TemplateProcessing", type);
        }
        if (status != STATUS_OK) {
            return error_prefix(error, "%s", stages.fields[i]);
        }
    }
    return STATUS_OK;
}
