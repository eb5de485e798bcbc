/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/data_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/text.h"

static struct arena arena;
static char dir[PATH_MAX];
static struct tokenizer *tokenizer;
static struct buf row_text;

static void fixture_end(void)
{
    if (tokenizer != NULL) {
        tokenizer_free(tokenizer);
    }
    buf_release(&row_text);
    arena_release(&arena);
    dir_remove(dir, NULL);
}

const char *fixture_path(const char *name)
{
    if (dir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(dir, sizeof(dir), "%s/tailor-data-XXXXXX", base != NULL ? base : "/tmp");
        CHECK(mkdtemp(dir) != NULL);
        atexit(fixture_end);
    }
    return arena_printf(&arena, "%s/%s", dir, name);
}

const char *fixture_write_bytes(const char *name, const void *data, size_t size)
{
    const char *path = fixture_path(name);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
    return path;
}

const char *fixture_write(const char *name, const char *text)
{
    return fixture_write_bytes(name, text, strlen(text));
}

const char *fixture_write_gz(const char *name, const char *text)
{
    const char *path = fixture_path(name);
    gzFile file = gzopen(path, "wb");
    size_t length = strlen(text);
    CHECK(file != NULL && gzwrite(file, text, (unsigned)length) == (int)length);
    CHECK(gzclose(file) == Z_OK);
    return path;
}

const char *fixture_write_zst(const char *name, const char *text)
{
    size_t bound = ZSTD_compressBound(strlen(text));
    void *bytes = mem_alloc(bound);
    size_t size = ZSTD_compress(bytes, bound, text, strlen(text), 3);
    CHECK(!ZSTD_isError(size));
    const char *path = fixture_write_bytes(name, bytes, size);
    mem_free(bytes);
    return path;
}

/* GPT-2's printable stand-in for a byte. */
static uint32_t byte_character(int byte)
{
    uint32_t next = 256;
    for (int i = 0; i < 256; i++) {
        bool printable = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        if (i == byte) {
            return printable ? (uint32_t)i : next;
        }
        next += !printable;
    }
    return 0;
}

static void tokenizer_write(void)
{
    struct buf json = {0};
    buf_append_string(&json,
                      "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
                      "{\"id\":256,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,"
                      "\"rstrip\":false,\"normalized\":false,\"special\":true},"
                      "{\"id\":257,\"content\":\"</s>\",\"single_word\":false,\"lstrip\":false,"
                      "\"rstrip\":false,\"normalized\":false,\"special\":true}],"
                      "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                      "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
                      "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{"
                      "\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                      "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                      "\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{");
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t length = utf8_put(byte_character(byte), text);
        buf_append_json_string(&json, text, length);
        buf_printf(&json, ":%d,", byte);
    }
    buf_append_string(&json, "\"<s>\":256,\"</s>\":257},\"merges\":[]}}");
    fixture_write("tokenizer/tokenizer.json", json.data);
    buf_release(&json);
    fixture_write("tokenizer/tokenizer_config.json",
                  "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
}

const struct tokenizer *fixture_tokenizer(void)
{
    if (tokenizer == NULL) {
        struct error error = {0};
        CHECK(dir_create(fixture_path("tokenizer"), &error) == STATUS_OK);
        tokenizer_write();
        if (tokenizer_open(fixture_path("tokenizer"), &tokenizer, &error) != STATUS_OK) {
            fprintf(stderr, "%s\n", error.text);
            CHECK(!"the fixture's tokenizer opens");
        }
    }
    return tokenizer;
}

struct text_format fixture_format(void)
{
    return (struct text_format){
        .template_kind = TEMPLATE_DSP, .max_length = 512, .overlong = OVERLONG_DROP};
}

struct fixture_data fixture_open(const struct data_source *source, const struct text_format *format,
                                 const char *cache_dir)
{
    struct fixture_data data = {0};
    if (dataset_open(source, 1, format, fixture_tokenizer(), cache_dir, &data.dataset,
                     &data.admission, &data.error) == STATUS_OK) {
        data.report = admission_source(data.admission, 0);
    }
    return data;
}

struct fixture_data fixture_text(const char *text)
{
    struct data_source source = {.path = fixture_write("f.jsonl", text)};
    struct text_format format = fixture_format();
    return fixture_open(&source, &format, NULL);
}

void fixture_close(struct fixture_data *data)
{
    dataset_free(data->dataset);
    admission_free(data->admission);
    *data = (struct fixture_data){0};
}

const char *fixture_row(const struct dataset *dataset, int64_t row)
{
    buf_clear(&row_text);
    buf_append_string(&row_text, "");
    for (int32_t i = 0; i < dataset->rows[row].tokens; i++) {
        int32_t id = dataset->tokens[dataset->rows[row].token0 + i];
        if (id < 256) {
            buf_append_char(&row_text, (char)id);
        } else {
            buf_append_string(&row_text, id == FIXTURE_BOS ? "<s>" : "</s>");
        }
    }
    return row_text.data;
}
