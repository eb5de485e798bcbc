/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_json: see tokenizer_json.h.
 */
#include "worker/model/tokenizer_json.h"

#include "lib/check.h"

static void special_append(json_t *list, struct special_token token)
{
    if (token.text != NULL) {
        json_array_append_new(
            list, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", token.text, "type_id", 0));
    }
}

static void sequence_append(json_t *list, const char *name)
{
    json_array_append_new(list, json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", 0));
}

static void special_define(json_t *tokens, struct special_token token)
{
    if (token.text != NULL) {
        json_object_set_new(tokens, token.text,
                            json_pack("{s:s, s:[i], s:[s]}", "id", token.text, "ids", (int)token.id,
                                      "tokens", token.text));
    }
}

json_t *tokenizer_json_template(struct special_token begin, struct special_token end)
{
    if (begin.text == NULL && end.text == NULL) {
        return json_null();
    }
    json_t *single = json_array();
    json_t *pair = json_array();
    json_t *tokens = json_object();
    special_append(single, begin);
    sequence_append(single, "A");
    special_append(single, end);
    special_append(pair, begin);
    sequence_append(pair, "A");
    sequence_append(pair, "B");
    special_append(pair, end);
    special_define(tokens, begin);
    special_define(tokens, end);
    json_t *template = json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single",
                                 single, "pair", pair, "special_tokens", tokens);
    CHECK(template != NULL);
    return template;
}

json_t *tokenizer_json_added(const char *text, int32_t id, bool special)
{
    json_t *token = json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content", text,
                              "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
                              "special", (int)special);
    CHECK(token != NULL);
    return token;
}
