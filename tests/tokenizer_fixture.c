/* SPDX-License-Identifier: Apache-2.0
 *
 * One directory serves all: a test holds one tokenizer at a time, and an opened one needs no file.
 */
#include "tests/tokenizer_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/check.h"
#include "lib/file.h"
#include "tests/data_fixture.h"

struct error fixture_error;

static struct buf json;
static struct buf shown;

static void texts_release(void)
{
    buf_release(&json);
    buf_release(&shown);
}

static const char *or_default(const char *text, const char *other)
{
    return text ? text : other;
}

const char *fixture_tokenizer_json(const struct tokenizer_parts_text *parts, size_t *length_out)
{
    buf_clear(&json);
    buf_printf(&json,
               "{\"version\":\"1.0\",\"truncation\":null,\n\"added_tokens\":[%s],\n"
               "\"normalizer\":%s,\n\"pre_tokenizer\":%s,\n\"post_processor\":%s,\n"
               "\"model\":{%s\n",
               or_default(parts->added, ""), or_default(parts->normalizer, "null"),
               or_default(parts->pre_tokenizer, BYTE_LEVEL),
               or_default(parts->post_processor, "null"), or_default(parts->options, ""));
    buf_printf(&json, "\"vocab\":{%s},\n\"merges\":[%s]}}\n",
               or_default(parts->vocab, "\"a\":0,\"b\":1,\"c\":2,\"\\u0120\":3,\"ab\":4"),
               or_default(parts->merges, "[\"a\",\"b\"]"));
    *length_out = json.length;
    return json.data;
}

static const char *dir_fresh(void)
{
    static bool registered;
    if (!registered) {
        registered = true;
        atexit(texts_release);
    }
    const char *dir = fixture_path("parts");
    CHECK(!dir_exists(dir) || dir_remove(dir, NULL) == STATUS_OK);
    CHECK(dir_create(dir, NULL) == STATUS_OK);
    return dir;
}

static struct tokenizer *open_dir(const char *dir)
{
    struct tokenizer *tokenizer = NULL;
    fixture_error = (struct error){0};
    return tokenizer_open(dir, &tokenizer, &fixture_error) == STATUS_OK ? tokenizer : NULL;
}

struct tokenizer *fixture_tokenizer_bytes(const void *bytes, size_t length)
{
    const char *dir = dir_fresh();
    fixture_write_bytes("parts/tokenizer.json", bytes, length);
    return open_dir(dir);
}

struct tokenizer *fixture_tokenizer_open(const struct tokenizer_parts_text *parts)
{
    const char *dir = dir_fresh();
    size_t length;
    const char *text = fixture_tokenizer_json(parts, &length);
    fixture_write_bytes("parts/tokenizer.json", text, length);
    if (parts->config) {
        fixture_write("parts/tokenizer_config.json", parts->config);
    }
    if (parts->chat_template) {
        fixture_write("parts/chat_template.jinja", parts->chat_template);
    }
    return open_dir(dir);
}

static const char *ids_show(struct ids *ids)
{
    buf_clear(&shown);
    buf_append_string(&shown, "");
    for (size_t i = 0; i < ids->count; i++) {
        buf_printf(&shown, "%s%d", i > 0 ? " " : "", ids->items[i]);
    }
    ids_release(ids);
    return shown.data;
}

const char *fixture_encode(const struct tokenizer *tokenizer, const char *text)
{
    struct ids ids = {0};
    tokenizer_encode(tokenizer, text, strlen(text), &ids);
    return ids_show(&ids);
}

const char *fixture_encode_special(const struct tokenizer *tokenizer, const char *text)
{
    struct ids ids = {0};
    tokenizer_encode_special(tokenizer, text, strlen(text), &ids);
    return ids_show(&ids);
}
