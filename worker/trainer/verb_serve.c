/* SPDX-License-Identifier: Apache-2.0
 *
 * serve: a job of stage serve: opens what its spec names, and serves (serve.h).
 *
 * The served model is opened with its adapters merged, as training an adapter over it does: it is
 * the parent of what is served. Hence an adapter itself is served by serving its parent.
 */
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "proto/spec.h"
#include "worker/model/adapter.h"
#include "worker/model/card.h"
#include "worker/model/tokenizer_dir.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/serve.h"
#include "worker/trainer/stop.h"
#include "worker/trainer/verbs.h"

static enum status resident_tokenizer(const char *dir, char out[SHA256_HEX_SIZE],
                                      struct error *error)
{
    char found[MODEL_PATH_MAX], path[MODEL_PATH_MAX + 32];
    TRY(model_tokenizer_dir(dir, found, error));
    path_join(path, sizeof(path), found, "tokenizer.json");
    return sha256_file_hex(path, out, error);
}

/* Nobody may know how the model's own texts become tokens: of a base, whose adapters know it. Then
 * it gives no rewards itself; nor does an adapter, whose rewards are those of its parent's job. */
static enum status texts_open(struct server *server, const char *dir,
                              const struct arguments *arguments, bool *own_out, struct error *error)
{
    char path[MODEL_PATH_MAX + 32];
    struct arguments supposed = *arguments;
    supposed.template = template_name(TEMPLATE_DSP);
    path_join(path, sizeof(path), dir, ADAPTER_CONFIG_FILE);
    enum status status = examiner_open_texts(dir, arguments, &server->examiner, error);
    *own_out = status == STATUS_OK && !file_exists(path);
    return status == STATUS_UNSUPPORTED
               ? examiner_open_texts(dir, &supposed, &server->examiner, error)
               : status;
}

static enum status resident_open(struct server *server, const char *dir,
                                 const struct arguments *arguments, struct error *error)
{
    struct examiner *e = &server->examiner;
    const struct device_options device = {
        .threads = (int)arguments->threads,
        .dtype = strcmp(arguments->dtype, "bf16") == 0 ? DTYPE_BF16 : DTYPE_FP32};
    const struct model_open_options open = {.merge_adapter = true};
    bool own;
    TRY(texts_open(server, dir, arguments, &own, error));
    TRY(device_open(&device, &e->device, error));
    TRY(model_open(e->device, dir, &open, &e->model, error));
    server->has_head = own && e->model->heads.score;
    return resident_tokenizer(dir, server->tokenizer, error);
}

static enum status serve(const struct spec *spec, const struct arguments *arguments,
                         struct error *error)
{
    struct server *server = mem_alloc(sizeof(*server));
    const struct arguments texts = {.threads = arguments->threads,
                                    .dtype = spec_choice_name("train.dtype", spec->train.dtype)};
    enum status status = resident_open(server, spec->from, &texts, error);
    if (status == STATUS_OK) {
        server_init(server, spec->train.max_tokens_per_batch,
                    spec->serve.adapters_mib * (int64_t)MIB);
        server->inbox = inbox_open(STDIN_FILENO, 2 * SCORE_BYTES_MAX);
        relay_running(0, 0);
        status = server_run(server, error);
        server_release(server);
    }
    examiner_close(&server->examiner, true);
    mem_free(server);
    return status;
}

enum status verb_serve(const struct arguments *arguments, struct error *error)
{
    struct arena arena = {0};
    struct spec *spec;
    if (arguments->spec == NULL) {
        return error_set(error, STATUS_USAGE, "serve needs --spec FILE");
    }
    stop_watch(true);
    enum status status = spec_read(&arena, arguments->spec, NULL, 0, &spec, error);
    if (status == STATUS_OK) {
        status = serve(spec, arguments, error);
    }
    arena_release(&arena);
    return status;
}
