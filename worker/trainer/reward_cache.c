/* SPDX-License-Identifier: Apache-2.0
 *
 * DIR/rewards/KEY: the digest of the rewards as 64 hexadecimal characters, then the floats. Files
 * appear by rename, so two runs that store the same key do no harm.
 */
#include "worker/trainer/reward_cache.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"

enum { DIGEST_LENGTH = SHA256_HEX_SIZE - 1 };

static void cache_path(const char *dir, const char *key, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    path_join(folder, sizeof(folder), dir, "rewards");
    path_join(path, PATH_MAX, folder, key);
}

/* The head is hashed by its numbers: a fresh one is not in the model's digest. */
static void head_update(struct sha256 *sha, const struct model *model)
{
    const float *score =
        params_at(model_trained_table(model), model_trained_weights(model), TENSOR_SCORE, -1);
    size_t bytes = sizeof(float) * (size_t)model->config.C;
    float *host = mem_alloc(bytes);
    model->device->ops->copy_out(model->device, host, score, bytes);
    sha256_update(sha, host, bytes);
    mem_free(host);
}

void reward_cache_key(const struct model *model, enum pooling pooling,
                      const struct dataset *dataset, char key_out[SHA256_HEX_SIZE])
{
    struct sha256 *sha = sha256_create();
    struct buf what = {0};
    buf_printf(&what, "tailor rewards 1\nmodel %s\nnumerics %s\npooling %d\neos %d\nrows %lld\n",
               model->digest, device_numerics(model->device), (int)pooling, model->config.eos,
               (long long)dataset->row_count);
    sha256_update(sha, what.data, what.length);
    buf_release(&what);
    head_update(sha, model);
    for (int64_t r = 0; r < dataset->row_count; r++) {
        const struct data_row *row = &dataset->rows[r];
        sha256_update(sha, &row->tokens, sizeof(row->tokens));
        sha256_update(sha, dataset->tokens + row->token0, sizeof(int32_t) * (size_t)row->tokens);
    }
    sha256_finish_hex(sha, key_out);
}

bool reward_cache_load(const char *dir, const char *key, float *reward_out, int64_t row_count)
{
    if (dir == NULL) {
        return false;
    }
    char path[PATH_MAX], digest[SHA256_HEX_SIZE];
    cache_path(dir, key, path);
    size_t bytes = sizeof(float) * (size_t)row_count;
    struct buf file = {0};
    struct error error = {0};
    bool hit = file_exists(path) &&
               file_read(path, DIGEST_LENGTH + bytes, &file, &error) == STATUS_OK &&
               file.length == DIGEST_LENGTH + bytes;
    if (hit) {
        sha256_hex(file.data + DIGEST_LENGTH, bytes, digest);
        hit = memcmp(file.data, digest, DIGEST_LENGTH) == 0;
    }
    if (hit) {
        memcpy(reward_out, file.data + DIGEST_LENGTH, bytes);
    }
    buf_release(&file);
    return hit;
}

void reward_cache_store(const char *dir, const char *key, const float *reward, int64_t row_count)
{
    if (dir == NULL) {
        return;
    }
    char path[PATH_MAX], folder[PATH_MAX], digest[SHA256_HEX_SIZE];
    path_join(folder, sizeof(folder), dir, "rewards");
    cache_path(dir, key, path);
    size_t bytes = sizeof(float) * (size_t)row_count;
    sha256_hex(reward, bytes, digest);
    struct buf file = {0};
    buf_append(&file, digest, DIGEST_LENGTH);
    buf_append(&file, reward, bytes);
    struct error error = {0};
    if (dir_create(folder, &error) != STATUS_OK ||
        file_write_atomic(path, file.data, file.length, &error) != STATUS_OK) {
        log_warn("rewards are not cached: %s", error.text);
    }
    buf_release(&file);
}
