/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_cache: keys, and files named by them.
 *
 * Everything that can change a token goes into the key, with lengths, so that no two lists of
 * options read the same. Pooling changes no token and stays out; bos and eos may come from another
 * file than tokenizer.json and so are not in its digest.
 */
#include "worker/data/dataset_cache.h"

#include <limits.h>
#include <string.h>

#include "lib/log.h"
#include "worker/data/dataset_image.h"

/* To be raised when rendering, encoding or admission give other results from the same inputs. */
enum { CACHE_RULES = 1 };

static void digest_i64(struct sha256 *sha, int64_t value)
{
    sha256_update(sha, &value, sizeof(value));
}

static void digest_text(struct sha256 *sha, const char *text)
{
    digest_i64(sha, text == NULL ? -1 : (int64_t)strlen(text));
    sha256_update(sha, text, text == NULL ? 0 : strlen(text));
}

enum status cache_digest(const struct data_source *sources, int count,
                         char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    struct sha256 *sha = sha256_create();
    enum status status = STATUS_OK;
    for (int i = 0; i < count && status == STATUS_OK; i++) {
        const struct data_source *source = &sources[i];
        const struct data_columns *columns = &source->columns;
        const char *const texts[] = {source->domain,    columns->prompt,    columns->chosen,
                                     columns->rejected, columns->responses, columns->scores,
                                     columns->text,     columns->margin,    columns->query};
        char file[SHA256_HEX_SIZE] = "";
        status = sha256_file_hex(source->path, file, error);
        digest_text(sha, file);
        for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
            digest_text(sha, texts[t]);
        }
        digest_i64(sha, source->pairs);
        digest_i64(sha, source->limit);
        digest_i64(sha, source->language_model);
        digest_i64(sha, source->any_form);
    }
    char digest[SHA256_HEX_SIZE];
    sha256_finish_hex(sha, digest);
    if (status == STATUS_OK) {
        memcpy(digest_out, digest, sizeof(digest));
    }
    return status;
}

void cache_key(const char digest[SHA256_HEX_SIZE], const struct text_format *format,
               const struct tokenizer *tokenizer, char key_out[SHA256_HEX_SIZE])
{
    struct sha256 *sha = sha256_create();
    const struct template_prefixes *prefixes = &format->prefixes;
    bool prefixed = format->template_kind == TEMPLATE_PREFIXES;
    const char *const texts[] = {prefixes->system_prefix,    prefixes->system_suffix,
                                 prefixes->user_prefix,      prefixes->user_suffix,
                                 prefixes->assistant_prefix, prefixes->assistant_suffix};
    digest_i64(sha, CACHE_RULES);
    digest_text(sha, digest);
    digest_text(sha, tokenizer_digest(tokenizer));
    digest_i64(sha, tokenizer_bos(tokenizer));
    digest_i64(sha, tokenizer_eos(tokenizer));
    digest_text(sha, template_name(format->template_kind));
    for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
        digest_text(sha, prefixed ? texts[t] : NULL);
    }
    digest_i64(sha, format->max_length);
    digest_text(sha, overlong_name(format->overlong));
    sha256_finish_hex(sha, key_out);
}

static void cache_path(char out[PATH_MAX], const char *dir, const char *key)
{
    char name[SHA256_HEX_SIZE + sizeof(".tokens")];
    snprintf(name, sizeof(name), "%s.tokens", key);
    path_join(out, PATH_MAX, dir, name);
}

bool cache_load(const char *dir, const char *key, const struct tokenizer *tokenizer,
                struct file_map *map_out)
{
    char path[PATH_MAX];
    cache_path(path, dir, key);
    if (!file_exists(path)) {
        return false;
    }
    struct error error = {0};
    struct file_map map;
    if (file_map_open(path, &map, &error) != STATUS_OK) {
        log_warn("token cache not read, building again: %s", error.text);
        return false;
    }
    const char *wrong = image_check(map.data, map.size, key, tokenizer_size(tokenizer));
    if (wrong != NULL) {
        log_warn("token cache %s is corrupt (%s), building again", path, wrong);
        file_map_close(&map);
        return false;
    }
    *map_out = map;
    return true;
}

void cache_store(const char *dir, const char *key, const void *image, size_t size)
{
    char path[PATH_MAX];
    struct error error = {0};
    cache_path(path, dir, key);
    if (dir_create(dir, &error) != STATUS_OK ||
        file_write_atomic(path, image, size, &error) != STATUS_OK) {
        log_warn("token cache not written: %s", error.text);
    }
}
