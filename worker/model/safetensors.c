/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors: the reader. See safetensors.h.
 *
 * Invariant: a struct safetensor exists only after its whole file was proven sound, and its
 * [data, data + bytes) lies inside the mapping. Rejected: being liberal with files whose ranges
 * leave holes or share bytes; the format's own library refuses them too, because such a file may
 * mean something else to another reader.
 */
#include "worker/model/safetensors.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/model/half.h"

static const struct {
    const char *name, *torch_name;
    size_t size;
} dtypes[] = {
    [WEIGHT_DTYPE_F32] = {"F32", "float32", 4},
    [WEIGHT_DTYPE_BF16] = {"BF16", "bfloat16", 2},
    [WEIGHT_DTYPE_F16] = {"F16", "float16", 2},
};

enum { DTYPE_COUNT = sizeof(dtypes) / sizeof(*dtypes), LENGTH_BYTES = 8 };

const char *weight_dtype_name(enum weight_dtype dtype)
{
    return dtypes[dtype].name;
}

const char *weight_dtype_torch_name(enum weight_dtype dtype)
{
    return dtypes[dtype].torch_name;
}

size_t weight_dtype_size(enum weight_dtype dtype)
{
    return dtypes[dtype].size;
}

static enum status dtype_read(struct safetensor *tensor, const json_t *value, struct error *error)
{
    const char *name = json_string_value(value);
    if (name == NULL) {
        return error_set(error, STATUS_FORMAT, "%s: tensor %s has no \"dtype\"", tensor->file,
                         tensor->name);
    }
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            tensor->dtype = (enum weight_dtype)i;
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s: tensor %s is %.16s; only F32, BF16 and F16 weights can be read, so save "
                     "the model in one of these",
                     tensor->file, tensor->name, name);
}

static enum status shape_read(struct safetensor *tensor, const json_t *value, struct error *error)
{
    if (!json_is_array(value) || json_array_size(value) > SAFETENSORS_RANK_MAX) {
        return error_set(error, STATUS_FORMAT,
                         "%s: tensor %s needs a \"shape\" of at most %d dimensions", tensor->file,
                         tensor->name, SAFETENSORS_RANK_MAX);
    }
    tensor->rank = (int32_t)json_array_size(value);
    tensor->elements = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        const json_t *dimension = json_array_get(value, (size_t)i);
        tensor->shape[i] = json_is_integer(dimension) ? json_integer_value(dimension) : 0;
        if (tensor->shape[i] < 1) {
            return error_set(error, STATUS_FORMAT,
                             "%s: tensor %s: dimension %d of its shape is not a positive integer",
                             tensor->file, tensor->name, i);
        }
        if (!size_mul_try(tensor->elements, (size_t)tensor->shape[i], &tensor->elements)) {
            return error_set(error, STATUS_FORMAT, "%s: tensor %s: its shape overflows",
                             tensor->file, tensor->name);
        }
    }
    if (!size_mul_try(tensor->elements, dtypes[tensor->dtype].size, &tensor->bytes)) {
        return error_set(error, STATUS_FORMAT, "%s: tensor %s: its shape overflows", tensor->file,
                         tensor->name);
    }
    return STATUS_OK;
}

/* Sets data to the beginning of the range; whether ranges cover the data is seen when all are
 * known. */
static enum status range_read(struct safetensor *tensor, const json_t *value, const uint8_t *data,
                              size_t size, struct error *error)
{
    const json_t *begin = json_array_get(value, 0);
    const json_t *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin)) {
        return error_set(error, STATUS_FORMAT,
                         "%s: tensor %s: \"data_offsets\" are not [begin, end]", tensor->file,
                         tensor->name);
    }
    uint64_t from = (uint64_t)json_integer_value(begin);
    uint64_t to = (uint64_t)json_integer_value(end);
    if (to > size) {
        return error_set(error, STATUS_FORMAT,
                         "%s: tensor %s ends at byte %llu of %zu: the file is truncated; copy or "
                         "download it again",
                         tensor->file, tensor->name, (unsigned long long)to, size);
    }
    if (to - from != tensor->bytes) {
        char shape[160];
        safetensors_shape_text(tensor->shape, tensor->rank, shape, sizeof(shape));
        return error_set(error, STATUS_FORMAT,
                         "%s: tensor %s has a range of %llu bytes, but %s of %s takes %zu",
                         tensor->file, tensor->name, (unsigned long long)(to - from), shape,
                         dtypes[tensor->dtype].name, tensor->bytes);
    }
    tensor->data = data + from;
    return STATUS_OK;
}

static enum status metadata_check(const char *file, const json_t *value, struct error *error)
{
    bool sound = json_is_object(value);
    for (void *at = json_object_iter((json_t *)value); at && sound;
         at = json_object_iter_next((json_t *)value, at)) {
        sound = json_is_string(json_object_iter_value(at));
    }
    return sound ? STATUS_OK
                 : error_set(error, STATUS_FORMAT,
                             "%s: \"__metadata__\" is not an object of strings", file);
}

static enum status tensor_read(struct safetensor *tensor, const json_t *value, const uint8_t *data,
                               size_t size, struct error *error)
{
    if (!json_is_object(value) || json_object_size(value) != 3) {
        return error_set(error, STATUS_FORMAT,
                         "%s: tensor %s is not an object of dtype, shape and data_offsets",
                         tensor->file, tensor->name);
    }
    TRY(dtype_read(tensor, json_object_get(value, "dtype"), error));
    TRY(shape_read(tensor, json_object_get(value, "shape"), error));
    return range_read(tensor, json_object_get(value, "data_offsets"), data, size, error);
}

static int compare_data(const void *a, const void *b)
{
    const struct safetensor *left = a;
    const struct safetensor *right = b;
    return (left->data > right->data) - (left->data < right->data);
}

static int compare_name(const void *a, const void *b)
{
    return strcmp(((const struct safetensor *)a)->name, ((const struct safetensor *)b)->name);
}

/* Names go into error sentences and are looked up, so they are short and plain. */
static enum status name_check(const char *file, const char *name, struct error *error)
{
    enum { NAME_BYTES_MAX = 255 };
    size_t length = strlen(name);
    bool plain = length > 0 && length <= NAME_BYTES_MAX;
    for (size_t i = 0; i < length && plain; i++) {
        plain = (unsigned char)name[i] >= ' ' && name[i] != 0x7f;
    }
    return plain
               ? STATUS_OK
               : error_set(error, STATUS_FORMAT,
                           "%s: a tensor's name is empty, over %d bytes or has control characters",
                           file, NAME_BYTES_MAX);
}

/* The ranges, in file order, must join without a gap from 0 to size. */
static enum status coverage_check(const char *file, struct safetensor *tensors, size_t count,
                                  const uint8_t *data, size_t size, struct error *error)
{
    if (count > 0) {
        qsort(tensors, count, sizeof(*tensors), compare_data);
    }
    size_t position = 0;
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)(tensors[i].data - data);
        if (begin != position) {
            return error_set(error, STATUS_FORMAT,
                             "%s: tensor %s begins at data byte %zu, %s the one before it, which "
                             "ends at %zu",
                             file, tensors[i].name, begin,
                             begin < position ? "overlapping" : "leaving a hole behind", position);
        }
        position += tensors[i].bytes;
    }
    if (position != size) {
        return error_set(error, STATUS_FORMAT, "%s: %zu bytes behind the last tensor", file,
                         size - position);
    }
    return STATUS_OK;
}

static enum status header_find(const char *file, const uint8_t *bytes, size_t size,
                               size_t *length_out, struct error *error)
{
    if (size < LENGTH_BYTES) {
        return error_set(error, STATUS_FORMAT, "%s: %zu bytes are too short for a safetensors file",
                         file, size);
    }
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) {
        length = length << 8 | bytes[i];
    }
    if (length > SAFETENSORS_HEADER_BYTES_MAX) {
        return error_set(error, STATUS_LIMIT,
                         "%s: its header says it has %llu bytes, over the limit of %zu; is this a "
                         "safetensors file?",
                         file, (unsigned long long)length, SAFETENSORS_HEADER_BYTES_MAX);
    }
    if (length > size - LENGTH_BYTES) {
        return error_set(error, STATUS_FORMAT,
                         "%s: truncated inside its header; copy or download it again", file);
    }
    if (length == 0 || bytes[LENGTH_BYTES] != '{') {
        return error_set(error, STATUS_FORMAT, "%s: its header does not begin with '{'", file);
    }
    *length_out = (size_t)length;
    return STATUS_OK;
}

/* Appends the tensors of one file to the set. */
static enum status tensors_add(struct safetensors *set, const char *file, const json_t *header,
                               const uint8_t *data, size_t size, struct error *error)
{
    size_t first = set->count;
    size_t count = json_object_size(header);
    if (count > SAFETENSORS_TENSORS_MAX || first + count > SAFETENSORS_TENSORS_MAX) {
        return error_set(error, STATUS_LIMIT, "%s: over %d tensors", file, SAFETENSORS_TENSORS_MAX);
    }
    set->tensors = mem_grow(set->tensors, size_mul(first + count + 1, sizeof(*set->tensors)));
    for (void *at = json_object_iter((json_t *)header); at;
         at = json_object_iter_next((json_t *)header, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        if (strcmp(name, "__metadata__") == 0) {
            TRY(metadata_check(file, value, error));
            continue;
        }
        TRY(name_check(file, name, error));
        struct safetensor *tensor = &set->tensors[set->count];
        *tensor = (struct safetensor){.name = arena_strdup(&set->arena, name), .file = file};
        TRY(tensor_read(tensor, value, data, size, error));
        set->count++;
    }
    return coverage_check(file, set->tensors + first, set->count - first, data, size, error);
}

static enum status file_add(struct safetensors *set, const char *name, const uint8_t *bytes,
                            size_t size, struct error *error)
{
    const char *file = arena_strdup(&set->arena, name);
    size_t length = 0;
    TRY(header_find(file, bytes, size, &length, error));
    json_t *header;
    TRY(json_read(file, (const char *)bytes + LENGTH_BYTES, length, &header, error));
    const uint8_t *data = bytes + LENGTH_BYTES + length;
    enum status status = tensors_add(set, file, header, data, size - LENGTH_BYTES - length, error);
    json_decref(header);
    return status;
}

static enum status path_add(struct safetensors *set, const char *path, struct error *error)
{
    set->maps = mem_grow(set->maps, size_mul(set->map_count + 1, sizeof(*set->maps)));
    struct file_map *map = &set->maps[set->map_count];
    TRY(file_map_open(path, map, error));
    set->map_count++;
    return file_add(set, path, map->data, map->size, error);
}

/* Sorts by name; two shards must not hold the same tensor. */
static enum status set_finish(struct safetensors *set, struct error *error)
{
    if (set->count > 0) {
        qsort(set->tensors, set->count, sizeof(*set->tensors), compare_name);
    }
    for (size_t i = 1; i < set->count; i++) {
        const struct safetensor *a = &set->tensors[i - 1];
        const struct safetensor *b = &set->tensors[i];
        if (strcmp(a->name, b->name) == 0) {
            return error_set(error, STATUS_FORMAT, "tensor %s is in %s and in %s", a->name, a->file,
                             b->file);
        }
    }
    return STATUS_OK;
}

/* Moves a set that was built to its owner, or frees it: nothing stays allocated on failure. */
static enum status set_hand_over(struct safetensors *set, enum status status,
                                 struct safetensors *set_out)
{
    if (status == STATUS_OK) {
        *set_out = *set;
    } else {
        safetensors_close(set);
    }
    return status;
}

enum status safetensors_open(const char *path, struct safetensors *set_out, struct error *error)
{
    struct safetensors set = {0};
    enum status status = path_add(&set, path, error);
    if (status == STATUS_OK) {
        status = set_finish(&set, error);
    }
    return set_hand_over(&set, status, set_out);
}

enum status safetensors_open_memory(const char *name, const void *data, size_t size,
                                    struct safetensors *set_out, struct error *error)
{
    struct safetensors set = {0};
    enum status status = file_add(&set, name, data, size, error);
    if (status == STATUS_OK) {
        status = set_finish(&set, error);
    }
    return set_hand_over(&set, status, set_out);
}

/* A shard is a file beside its index: an index from a stranger must not name others. */
static enum status shard_name_check(const char *path, const char *tensor, const char *shard,
                                    struct error *error)
{
    const char *suffix = ".safetensors";
    size_t length = shard ? strlen(shard) : 0;
    if (length <= strlen(suffix) || length > NAME_MAX || strchr(shard, '/') != NULL ||
        strcmp(shard + length - strlen(suffix), suffix) != 0) {
        return error_set(error, STATUS_FORMAT,
                         "%s: \"weight_map\" gives %.100s no *.safetensors file of this directory",
                         path, tensor);
    }
    return STATUS_OK;
}

static enum status shards_add(struct safetensors *set, const char *dir, const char *path,
                              const json_t *weight_map, struct error *error)
{
    json_t *seen = json_object(); /* a set of names, and it keeps their order */
    enum status status = STATUS_OK;
    for (void *at = json_object_iter((json_t *)weight_map); at && status == STATUS_OK;
         at = json_object_iter_next((json_t *)weight_map, at)) {
        const char *shard = json_string_value(json_object_iter_value(at));
        status = shard_name_check(path, json_object_iter_key(at), shard, error);
        if (status != STATUS_OK || json_object_get(seen, shard) != NULL) {
            continue;
        }
        if (json_object_size(seen) >= SAFETENSORS_SHARDS_MAX) {
            status =
                error_set(error, STATUS_LIMIT, "%s: over %d shards", path, SAFETENSORS_SHARDS_MAX);
            continue;
        }
        CHECK(json_object_set_new(seen, shard, json_true()) == 0);
        char shard_path[PATH_MAX];
        path_join(shard_path, sizeof(shard_path), dir, shard);
        status = path_add(set, shard_path, error);
    }
    json_decref(seen);
    return status;
}

/* The index and the shards must tell the same story. */
static enum status index_check(const struct safetensors *set, const char *path,
                               const json_t *weight_map, struct error *error)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct safetensor *tensor = &set->tensors[i];
        const char *shard = json_string_value(json_object_get(weight_map, tensor->name));
        if (shard == NULL || strcmp(shard, path_base(tensor->file)) != 0) {
            return error_set(error, STATUS_FORMAT, "%s: tensor %s is in %s, but the index %s", path,
                             tensor->name, path_base(tensor->file),
                             shard == NULL ? "does not list it" : "gives another file");
        }
    }
    for (void *at = json_object_iter((json_t *)weight_map); at;
         at = json_object_iter_next((json_t *)weight_map, at)) {
        if (safetensors_find(set, json_object_iter_key(at)) == NULL) {
            return error_set(
                error, STATUS_FORMAT, "%s: tensor %.100s is listed, but %s does not hold it", path,
                json_object_iter_key(at), json_string_value(json_object_iter_value(at)));
        }
    }
    return STATUS_OK;
}

static enum status index_open(const char *dir, const char *path, struct safetensors *set_out,
                              struct error *error)
{
    json_t *index;
    TRY(json_read_file(path, SAFETENSORS_HEADER_BYTES_MAX, &index, error));
    const json_t *weight_map = json_object_get(index, "weight_map");
    struct safetensors set = {0};
    enum status status = STATUS_OK;
    if (!json_is_object(weight_map) || json_object_size(weight_map) == 0) {
        status = error_set(error, STATUS_FORMAT, "%s: \"weight_map\" is missing or empty", path);
    }
    if (status == STATUS_OK) {
        status = shards_add(&set, dir, path, weight_map, error);
    }
    if (status == STATUS_OK) {
        status = set_finish(&set, error);
    }
    if (status == STATUS_OK) {
        status = index_check(&set, path, weight_map, error);
    }
    json_decref(index);
    return set_hand_over(&set, status, set_out);
}

enum status safetensors_open_dir(const char *dir, const char *stem, struct safetensors *set_out,
                                 struct error *error)
{
    char name[NAME_MAX];
    char path[PATH_MAX];
    snprintf(name, sizeof(name), "%s.safetensors", stem);
    path_join(path, sizeof(path), dir, name);
    if (file_exists(path)) {
        return safetensors_open(path, set_out, error);
    }
    char index_path[PATH_MAX];
    snprintf(name, sizeof(name), "%s.safetensors.index.json", stem);
    path_join(index_path, sizeof(index_path), dir, name);
    if (file_exists(index_path)) {
        return index_open(dir, index_path, set_out, error);
    }
    return error_set(error, STATUS_NOT_FOUND, "%s: neither this file nor %s is there", path, name);
}

void safetensors_close(struct safetensors *set)
{
    for (size_t i = 0; i < set->map_count; i++) {
        file_map_close(&set->maps[i]);
    }
    mem_free(set->maps);
    mem_free(set->tensors);
    arena_release(&set->arena);
    *set = (struct safetensors){0};
}

const struct safetensor *safetensors_find(const struct safetensors *set, const char *name)
{
    if (set->count == 0) {
        return NULL;
    }
    struct safetensor key = {.name = name};
    return bsearch(&key, set->tensors, set->count, sizeof(key), compare_name);
}

void safetensors_read(const struct safetensor *tensor, size_t first, size_t count, float *out)
{
    CHECK(first <= tensor->elements && count <= tensor->elements - first);
    const uint8_t *from = tensor->data + first * dtypes[tensor->dtype].size;
    if (tensor->dtype == WEIGHT_DTYPE_F32) {
        memcpy(out, from, count * sizeof(float));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, from + 2 * i, sizeof(bits));
        out[i] = tensor->dtype == WEIGHT_DTYPE_BF16 ? half_bf16_widen(bits) : half_f16_widen(bits);
    }
}

void safetensors_shape_text(const int64_t *shape, int32_t rank, char *out, size_t size)
{
    struct buf text = {0};
    for (int32_t i = 0; i < rank; i++) {
        buf_printf(&text, "%s%lld", i == 0 ? "" : ", ", (long long)shape[i]);
    }
    snprintf(out, size, "[%s]", rank == 0 ? "" : text.data);
    buf_release(&text);
}
