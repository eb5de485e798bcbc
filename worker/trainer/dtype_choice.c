/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/trainer/dtype_choice.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/sha256.h"
#include "storage/files/checkpoint.h"

enum {
    TINY_CHANNELS = 256, /* of less, a product is too short to be timed */
    ROWS = 512,
    COLUMNS_MAX = 4096,
    ROUNDS = 5, /* the best counts */
    NOTE_BYTES_MAX = 64,
};

static const double CLEARLY_FASTER = 1.5;

/* ---- measuring ------------------------------------------------------------------------------- */

struct product {
    float *x, *w, *y;
    int32_t N, K;
};

static double product_seconds(struct device *device, const struct product *p, enum dtype dtype)
{
    const enum dtype kept = device->dtype;
    double best = INFINITY;
    device->dtype = dtype;
    for (int round = 0; round <= ROUNDS; round++) {
        const double begin = monotonic_s();
        device->ops->linear_forward(device, p->y, p->N, p->x, p->K, p->w, NULL, ROWS, p->N, p->K,
                                    false);
        device_wait(device);
        const double seconds = monotonic_s() - begin;
        best = round > 0 && seconds < best ? seconds : best; /* the first warms up */
    }
    device->dtype = kept;
    return best;
}

/* How many times as fast a product of the model's shape is in bf16. */
static enum status measure(struct session *s, double *ratio_out, struct error *error)
{
    const struct model_config *c = &s->model->config;
    struct device *device = s->device;
    struct product p = {.N = 2 * c->F < COLUMNS_MAX ? 2 * c->F : COLUMNS_MAX, .K = c->C};
    const struct scratch_shape shape = {.S = ROWS, .C = p.K, .F = p.N, .row_tokens_max = 1};
    const size_t x = (size_t)ROWS * (size_t)p.K, w = (size_t)p.N * (size_t)p.K;
    const size_t bytes = (x + w + (size_t)ROWS * (size_t)p.N) * sizeof(float);
    void *block;
    TRY(device->ops->scratch_reserve(device, &shape, error));
    TRY(device->ops->block_alloc(device, bytes, "timing a product", &block, error));
    p.x = block;
    p.w = p.x + x;
    p.y = p.w + w;
    const double fp32 = product_seconds(device, &p, DTYPE_FP32);
    *ratio_out = fp32 / product_seconds(device, &p, DTYPE_BF16);
    device->ops->block_free(device, block, bytes);
    return STATUS_OK;
}

/* ---- remembering ----------------------------------------------------------------------------- */

/* NULL: there is no cache. */
static const char *note_path(struct session *s)
{
    const char *dir = token_cache_dir(&s->arena);
    char name[DEVICE_NAME_BYTES], digest[SHA256_HEX_SIZE];
    struct buf what = {0};
    if (dir == NULL) {
        return NULL;
    }
    device_hardware(s->device, name);
    buf_printf(&what, "tailor dtype 1\n%s\n%s\nthreads %d\nC %d\nF %d\n", name,
               s->device->ops->name, pool_threads(s->device->pool), s->model->config.C,
               s->model->config.F);
    sha256_hex(what.data, what.length, digest);
    buf_release(&what);
    return arena_printf(&s->arena, "%s/dtype-%s", dir, digest);
}

static bool note_read(const char *path, double *ratio_out)
{
    struct buf text = {0};
    struct error error;
    bool found = path != NULL && file_exists(path) &&
                 file_read(path, NOTE_BYTES_MAX, &text, &error) == STATUS_OK;
    if (found) {
        buf_append_char(&text, '\0');
        found = sscanf(text.data, "bf16 %lf times fp32\n", ratio_out) == 1;
    }
    buf_release(&text);
    return found;
}

/* What cannot be kept is measured again. */
static void note_write(const char *path, double ratio)
{
    char text[NOTE_BYTES_MAX];
    struct error error;
    int length = snprintf(text, sizeof(text), "bf16 %.2f times fp32\n", ratio);
    if (path != NULL) {
        (void)file_write_atomic(path, text, (size_t)length, &error);
    }
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* What the newest checkpoint was computed with; UNSET without one. */
static enum status of_checkpoint(const struct session *s, enum spec_dtype *dtype_out,
                                 struct error *error)
{
    struct checkpoint *checkpoint;
    *dtype_out = SPEC_DTYPE_UNSET;
    enum status status = checkpoint_open_latest(s->run, &checkpoint, error);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    const json_t *numerics = json_object_get(checkpoint_state(checkpoint), "numerics");
    const char *text = json_string_value(numerics);
    if (text != NULL) {
        *dtype_out = numerics_dtype(text) == DTYPE_BF16 ? SPEC_DTYPE_BF16 : SPEC_DTYPE_FP32;
    }
    checkpoint_close(checkpoint);
    return STATUS_OK;
}

static bool can_multiply_bf16(struct device *device)
{
    const enum dtype kept = device->dtype;
    device->dtype = DTYPE_BF16;
    const bool can = device_multiplies_bf16(device);
    device->dtype = kept;
    return can;
}

static enum status choose(struct session *s, bool resume, enum spec_dtype *dtype_out,
                          struct error *error)
{
    double ratio;
    *dtype_out = SPEC_DTYPE_FP32;
    s->dtype_note = "no instructions for bf16 products here";
    if (resume) {
        TRY(of_checkpoint(s, dtype_out, error));
        if (*dtype_out != SPEC_DTYPE_UNSET) {
            s->dtype_note = "as the run began";
            return STATUS_OK;
        }
        *dtype_out = SPEC_DTYPE_FP32;
    }
    if (!can_multiply_bf16(s->device)) {
        return STATUS_OK;
    }
    if (s->model->config.C < TINY_CHANNELS) {
        s->dtype_note = "the model is tiny";
        return STATUS_OK;
    }
    const char *path = note_path(s);
    if (!note_read(path, &ratio)) {
        TRY(measure(s, &ratio, error));
        note_write(path, ratio);
    }
    *dtype_out = ratio >= CLEARLY_FASTER ? SPEC_DTYPE_BF16 : SPEC_DTYPE_FP32;
    s->dtype_note =
        arena_printf(&s->arena, "products in bf16 were timed at %.1f times fp32's speed", ratio);
    return STATUS_OK;
}

static enum status write_spec(const struct session *s, struct error *error)
{
    char path[PATH_MAX];
    struct buf text = {0};
    spec_json(s->spec, &text);
    path_join(path, sizeof(path), s->run, "spec.json");
    enum status status = file_write_atomic(path, text.data, text.length, error);
    buf_release(&text);
    return status;
}

enum status dtype_choose(struct session *session, struct spec *spec, bool resume, bool write,
                         struct error *error)
{
    CHECK(session->spec == spec);
    if (spec->train.dtype != SPEC_DTYPE_AUTO) {
        return STATUS_OK;
    }
    enum spec_dtype dtype = SPEC_DTYPE_FP32;
    const bool leads = gang_leads(session->gang);
    if (leads) {
        TRY(choose(session, resume, &dtype, error));
    }
    TRY(gang_broadcast(session->gang, &dtype, sizeof(dtype), 0, error));
    spec->train.dtype = dtype;
    session->device->dtype = dtype == SPEC_DTYPE_BF16 ? DTYPE_BF16 : DTYPE_FP32;
    return leads && write ? write_spec(session, error) : STATUS_OK;
}
