/* SPDX-License-Identifier: Apache-2.0
 *
 * weights: see weights.h.
 *
 * Values pass through one staging buffer: converted and checked by all threads, then copied to the
 * device in one go. So nothing here knows whether a block is host memory, and loading a model takes
 * its block and 16 MiB. The finite check costs nothing beside reading the file.
 */
#include "worker/model/weights.h"

#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/sha256.h"
#include "worker/model/half.h"

enum {
    DIFFERENCES_SHOWN = 5,
    BLOCK_ELEMENTS = 1 << 16, /* one task of the pool */
    STAGING_BLOCKS = 64
};

#define ADAPTER_PREFIX "base_model.model."

/* ---- pairing -------------------------------------------------------------------------------- */

struct differences {
    struct buf text;
    int count;
};

static void difference_add(struct differences *differences, const char *name, const char *what)
{
    if (differences->count++ < DIFFERENCES_SHOWN) {
        buf_printf(&differences->text, "%s%s %s", differences->count > 1 ? "; " : "", name, what);
    }
}

static int32_t place_shape(const struct tensor_place *place, int64_t shape_out[2])
{
    shape_out[0] = place->rows;
    shape_out[1] = place->columns;
    return place->columns == 0 ? 1 : 2;
}

static bool shape_matches(const struct safetensor *tensor, const struct tensor_place *place)
{
    int64_t shape[2];
    int32_t rank = place_shape(place, shape);
    return tensor->rank == rank && tensor->shape[0] == shape[0] &&
           (rank == 1 || tensor->shape[1] == shape[1]);
}

static void misshape_add(struct differences *differences, const char *name,
                         const struct safetensor *tensor, const struct tensor_place *place)
{
    char got[160], wanted[64], what[256];
    int64_t shape[2];
    int32_t rank = place_shape(place, shape);
    safetensors_shape_text(tensor->shape, tensor->rank, got, sizeof(got));
    safetensors_shape_text(shape, rank, wanted, sizeof(wanted));
    snprintf(what, sizeof(what), "is %s, not %s", got, wanted);
    difference_add(differences, name, what);
}

static const struct safetensor *place_find(const struct safetensors *set, const char *name)
{
    const struct safetensor *tensor = safetensors_find(set, name);
    if (tensor == NULL && strncmp(name, ADAPTER_PREFIX, strlen(ADAPTER_PREFIX)) == 0) {
        tensor = safetensors_find(set, name + strlen(ADAPTER_PREFIX));
    }
    return tensor;
}

/* PEFT writes an adapter's score with the prefix, a model's has none; both are TENSOR_SCORE. */
static const struct safetensor *score_find(const struct safetensors *set, const char *name)
{
    char prefixed[160];
    snprintf(prefixed, sizeof(prefixed), ADAPTER_PREFIX "%s", name);
    const struct safetensor *tensor = safetensors_find(set, prefixed);
    return tensor ? tensor : safetensors_find(set, name);
}

/* Tensors that may be in a file although no place wants them: an LM head the table leaves out (or
 * that is tied), and the rotary frequencies that old checkpoints carried along. */
static bool may_be_left_over(const char *name)
{
    const char *suffix = ".rotary_emb.inv_freq";
    size_t length = strlen(name);
    return strcmp(name, "lm_head.weight") == 0 ||
           (length > strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0);
}

static void left_over_add(struct differences *differences, const struct safetensors *set,
                          const struct safetensor *const *found, int32_t count)
{
    bool *used = mem_alloc(set->count + 1);
    for (int32_t i = 0; i < count; i++) {
        if (found[i] != NULL) {
            used[found[i] - set->tensors] = true;
        }
    }
    for (size_t i = 0; i < set->count; i++) {
        if (!used[i] && !may_be_left_over(set->tensors[i].name)) {
            difference_add(differences, set->tensors[i].name, "is not known");
        }
    }
    mem_free(used);
}

enum status weights_match(const struct params_table *table, const struct safetensors *set,
                          const char *dir, const struct safetensor ***found_out,
                          struct error *error)
{
    struct differences differences = {0};
    const struct safetensor **found = mem_alloc(size_mul((size_t)table->count, sizeof(*found)));
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        bool score = place->kind == TENSOR_SCORE;
        char name[128];
        params_name(place, name);
        found[i] = score ? score_find(set, name) : place_find(set, name);
        if (found[i] == NULL && !score) {
            difference_add(&differences, name, "is missing");
        } else if (found[i] != NULL && !shape_matches(found[i], place)) {
            misshape_add(&differences, name, found[i], place);
        }
    }
    left_over_add(&differences, set, found, table->count);
    enum status status = STATUS_OK;
    if (differences.count == 0) {
        *found_out = found;
    } else {
        char more[48] = "";
        if (differences.count > DIFFERENCES_SHOWN) {
            snprintf(more, sizeof(more), "; and %d more", differences.count - DIFFERENCES_SHOWN);
        }
        status =
            error_set(error, STATUS_FORMAT, "%s: the tensors do not fit the configuration: %s%s",
                      dir, differences.text.data, more);
        mem_free(found);
    }
    buf_release(&differences.text);
    return status;
}

/* ---- loading -------------------------------------------------------------------------------- */

struct load {
    const struct safetensor *tensor;
    size_t first, count; /* elements in the staging buffer */
    float *staging;
    size_t finite[STAGING_BLOCKS]; /* finite prefix of each block */
};

static void load_block(void *argument, size_t index, int thread)
{
    (void)thread;
    struct load *load = argument;
    size_t first = index * BLOCK_ELEMENTS;
    size_t count = load->count - first < BLOCK_ELEMENTS ? load->count - first : BLOCK_ELEMENTS;
    safetensors_read(load->tensor, load->first + first, count, load->staging + first);
    load->finite[index] = finite_prefix(load->staging + first, count);
}

static enum status load_finite(const struct load *load, size_t blocks, struct error *error)
{
    for (size_t i = 0; i < blocks; i++) {
        size_t at = i * BLOCK_ELEMENTS + load->finite[i];
        if (load->finite[i] < BLOCK_ELEMENTS && at < load->count) {
            return error_set(error, STATUS_NUMERIC,
                             "%s: tensor %s, element %zu is %g: the checkpoint is damaged or came "
                             "from a run that diverged",
                             load->tensor->file, load->tensor->name, load->first + at,
                             (double)load->staging[at]);
        }
    }
    return STATUS_OK;
}

static enum status tensor_load(struct device *device, struct load *load, float *out,
                               struct error *error)
{
    const size_t staging_elements = (size_t)STAGING_BLOCKS * BLOCK_ELEMENTS;
    for (size_t first = 0; first < load->tensor->elements; first += load->count) {
        size_t left = load->tensor->elements - first;
        load->first = first;
        load->count = left < staging_elements ? left : staging_elements;
        size_t blocks = (load->count + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS;
        pool_run(device->pool, blocks, load_block, load);
        TRY(load_finite(load, blocks, error));
        device->ops->copy_in(device, out + first, load->staging, load->count * sizeof(float));
    }
    return STATUS_OK;
}

enum status weights_load(struct device *device, const struct params_table *table,
                         const struct safetensor *const *found, float *block, struct error *error)
{
    enum status status = STATUS_OK;
    struct load load = {
        .staging = mem_alloc((size_t)STAGING_BLOCKS * BLOCK_ELEMENTS * sizeof(float)),
    };
    for (int32_t i = 0; i < table->count && status == STATUS_OK; i++) {
        if (found[i] != NULL) {
            load.tensor = found[i];
            status = tensor_load(device, &load, block + table->places[i].offset, error);
        }
    }
    mem_free(load.staging);
    return status;
}

void weights_copy(struct device *device, float *to, const float *from, size_t elements)
{
    const size_t bytes = size_mul(elements, sizeof(float));
    void *host = mem_alloc(bytes);
    device->ops->copy_out(device, host, from, bytes);
    device->ops->copy_in(device, to, host, bytes);
    mem_free(host);
}

/* ---- digest --------------------------------------------------------------------------------- */

struct digests {
    const struct safetensors *set;
    char (*hex)[SHA256_HEX_SIZE];
};

static void digest_tensor(void *argument, size_t index, int thread)
{
    (void)thread;
    struct digests *digests = argument;
    const struct safetensor *tensor = &digests->set->tensors[index];
    sha256_hex(tensor->data, tensor->bytes, digests->hex[index]);
}

void weights_describe(struct pool *pool, const struct safetensors *set, struct buf *lines)
{
    struct digests digests = {
        .set = set,
        .hex = mem_alloc(size_mul(set->count + 1, sizeof(*digests.hex))),
    };
    pool_run(pool, set->count, digest_tensor, &digests);
    for (size_t i = 0; i < set->count; i++) {
        const struct safetensor *tensor = &set->tensors[i];
        char shape[160];
        safetensors_shape_text(tensor->shape, tensor->rank, shape, sizeof(shape));
        buf_printf(lines, "%s %s %s %s\n", tensor->name, weight_dtype_name(tensor->dtype), shape,
                   digests.hex[i]);
    }
    mem_free(digests.hex);
}

/* ---- writing -------------------------------------------------------------------------------- */

struct writing {
    struct device *device;
    const float *block;
};

static void write_source(void *context, const struct safetensors_entry *entry, size_t first,
                         size_t count, float *out)
{
    const struct writing *writing = context;
    const struct tensor_place *place = entry->source;
    size_t stored = first < place->elements ? place->elements - first : 0;
    stored = stored < count ? stored : count;
    if (stored > 0) {
        writing->device->ops->copy_out(writing->device, out, writing->block + place->offset + first,
                                       stored * sizeof(float));
    }
    memset(out + stored, 0, (count - stored) * sizeof(float)); /* rows that the vocabulary gained */
}

enum status weights_write(struct device *device, const struct params_table *table,
                          const float *block, const struct weights_write_options *options,
                          const char *path, struct error *error)
{
    size_t count = 0;
    bool adapter = table->places[0].kind >= TENSOR_LORA_A;
    struct arena names = {0};
    struct safetensors_entry *entries = mem_alloc(size_mul((size_t)table->count, sizeof(*entries)));
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        if (place->kind == TENSOR_LM_HEAD && options->skip_lm_head) {
            continue;
        }
        struct safetensors_entry *entry = &entries[count++];
        char name[128];
        params_name(place, name);
        bool prefix = adapter && place->kind == TENSOR_SCORE;
        entry->name = arena_printf(&names, "%s%s", prefix ? ADAPTER_PREFIX : "", name);
        entry->rank = place_shape(place, entry->shape);
        entry->source = place;
        if (place->kind == TENSOR_EMBED && options->vocabulary > place->rows) {
            entry->shape[0] = options->vocabulary;
        }
    }
    struct writing writing = {.device = device, .block = block};
    enum status status =
        safetensors_write(path, entries, count, options->dtype, write_source, &writing, error);
    mem_free(entries);
    arena_release(&names);
    return status;
}
