/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf: the reader. See gguf.h.
 *
 * Invariant: everything is read through struct cursor, which knows how many bytes are left and
 * refuses to go beyond them. llama.cpp's own reader was broken three times by sums that wrapped
 * and by counts that were trusted; so sizes go through size_mul_try alone, a count must fit into
 * the bytes that remain before it sizes an allocation, and a tensor's final range is checked
 * against the data as well.
 */
#include "worker/model/gguf.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

static const struct {
    const char *name;
    size_t bytes; /* 0: not of fixed size */
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

enum {
    FIELDS_MAX = 4096,
    NAME_BYTES_MAX = 255,
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MAX = 1 << 16,
    FIELD_BYTES_MIN = 8 + 4 + 1,      /* key length, type, the smallest value */
    TENSOR_BYTES_MIN = 8 + 4 + 4 + 8, /* name length, rank, type, offset */
};

/* ---- bytes ---------------------------------------------------------------------------------- */

struct cursor {
    const char *name;
    const uint8_t *data;
    size_t size, at;
};

static enum status truncated(const struct cursor *cursor, struct error *error)
{
    return error_set(error, STATUS_FORMAT,
                     "%s: ends inside its header, at byte %zu: copy or download it again",
                     cursor->name, cursor->at);
}

static enum status take(struct cursor *cursor, size_t bytes, const uint8_t **out,
                        struct error *error)
{
    if (bytes > cursor->size - cursor->at) {
        return truncated(cursor, error);
    }
    *out = cursor->data + cursor->at;
    cursor->at += bytes;
    return STATUS_OK;
}

static uint64_t load(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i > 0; i--) {
        value = value << 8 | from[i - 1];
    }
    return value;
}

static enum status take_integer(struct cursor *cursor, size_t bytes, uint64_t *out,
                                struct error *error)
{
    const uint8_t *from = NULL;
    TRY(take(cursor, bytes, &from, error));
    *out = load(from, bytes);
    return STATUS_OK;
}

static enum status take_string(struct cursor *cursor, const uint8_t **out, size_t *length_out,
                               struct error *error)
{
    uint64_t length = 0;
    TRY(take_integer(cursor, 8, &length, error));
    if (length > cursor->size - cursor->at) {
        return truncated(cursor, error);
    }
    *length_out = (size_t)length;
    return take(cursor, (size_t)length, out, error);
}

/* A key or a tensor's name: short and printable, for it goes into error sentences. */
static enum status take_name(struct cursor *cursor, struct arena *arena, const char **out,
                             struct error *error)
{
    const uint8_t *from = NULL;
    size_t length = 0;
    TRY(take_string(cursor, &from, &length, error));
    bool plain = length > 0 && length <= NAME_BYTES_MAX;
    for (size_t i = 0; i < length && plain; i++) {
        plain = from[i] > ' ' && from[i] < 0x7f;
    }
    if (!plain) {
        return error_set(error, STATUS_FORMAT,
                         "%s: the name at byte %zu is empty, over %d bytes or not printable",
                         cursor->name, cursor->at - length, NAME_BYTES_MAX);
    }
    *out = arena_strndup(arena, (const char *)from, length);
    return STATUS_OK;
}

/* ---- metadata ------------------------------------------------------------------------------- */

static enum status take_values(struct cursor *cursor, struct gguf_field *field, struct error *error)
{
    size_t begin = cursor->at;
    size_t bytes;
    const uint8_t *ignored;
    if (field->type == GGUF_STRING) {
        for (uint64_t i = 0; i < field->count; i++) { /* each takes 8 bytes, so this ends */
            size_t length;
            TRY(take_string(cursor, &ignored, &length, error));
        }
    } else {
        if (field->count > cursor->size ||
            !size_mul_try((size_t)field->count, types[field->type].bytes, &bytes)) {
            return truncated(cursor, error);
        }
        TRY(take(cursor, bytes, &ignored, error));
    }
    field->data = cursor->data + begin;
    field->bytes = cursor->at - begin;
    return STATUS_OK;
}

static enum status take_field(struct cursor *cursor, struct gguf *file, struct gguf_field *field,
                              struct error *error)
{
    uint64_t type = 0;
    field->count = 1;
    TRY(take_name(cursor, &file->arena, &field->key, error));
    TRY(take_integer(cursor, 4, &type, error));
    if (type == GGUF_ARRAY) {
        field->array = true;
        TRY(take_integer(cursor, 4, &type, error));
        TRY(take_integer(cursor, 8, &field->count, error));
    }
    if (type >= GGUF_TYPE_COUNT || type == GGUF_ARRAY) {
        return error_set(error, STATUS_FORMAT, "%s: %s has the value type %llu, which is not known",
                         file->name, field->key, (unsigned long long)type);
    }
    field->type = (uint32_t)type;
    return take_values(cursor, field, error);
}

static int compare_fields(const void *a, const void *b)
{
    return strcmp(((const struct gguf_field *)a)->key, ((const struct gguf_field *)b)->key);
}

static enum status take_fields(struct cursor *cursor, struct gguf *file, size_t count,
                               struct error *error)
{
    file->fields = mem_alloc(size_mul(count + 1, sizeof(*file->fields)));
    for (size_t i = 0; i < count; i++) {
        TRY(take_field(cursor, file, &file->fields[i], error));
        file->field_count++;
    }
    qsort(file->fields, file->field_count, sizeof(*file->fields), compare_fields);
    for (size_t i = 1; i < file->field_count; i++) {
        if (strcmp(file->fields[i - 1].key, file->fields[i].key) == 0) {
            return error_set(error, STATUS_FORMAT, "%s: %s is there twice", file->name,
                             file->fields[i].key);
        }
    }
    return STATUS_OK;
}

/* ---- tensors -------------------------------------------------------------------------------- */

static enum status take_shape(struct cursor *cursor, struct gguf_tensor *tensor,
                              struct error *error)
{
    uint64_t rank = 0;
    TRY(take_integer(cursor, 4, &rank, error));
    if (rank < 1 || rank > GGUF_RANK_MAX) {
        return error_set(error, STATUS_FORMAT, "%s: tensor %s has %llu dimensions", cursor->name,
                         tensor->name, (unsigned long long)rank);
    }
    tensor->rank = (int32_t)rank;
    tensor->elements = 1;
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        uint64_t dimension = 0;
        TRY(take_integer(cursor, 8, &dimension, error));
        if (dimension < 1 || dimension > INT64_MAX ||
            !size_mul_try(tensor->elements, (size_t)dimension, &tensor->elements)) {
            return error_set(error, STATUS_FORMAT, "%s: tensor %s: its shape is zero or overflows",
                             cursor->name, tensor->name);
        }
        tensor->shape[i] = (int64_t)dimension;
    }
    return STATUS_OK;
}

static enum status take_tensor(struct cursor *cursor, struct gguf *file, struct gguf_tensor *tensor,
                               uint64_t *offset, struct error *error)
{
    uint64_t type = 0;
    TRY(take_name(cursor, &file->arena, &tensor->name, error));
    TRY(take_shape(cursor, tensor, error));
    TRY(take_integer(cursor, 4, &type, error));
    TRY(take_integer(cursor, 8, offset, error));
    tensor->quant = gguf_quant_find((uint32_t)type);
    if (tensor->quant == NULL) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: tensor %s has the type %llu; known are %s: convert the file to one "
                         "of them",
                         file->name, tensor->name, (unsigned long long)type, gguf_quant_list());
    }
    size_t block = gguf_quant_elements(tensor->quant);
    if ((uint64_t)tensor->shape[tensor->rank - 1] % block != 0) {
        return error_set(error, STATUS_FORMAT,
                         "%s: tensor %s: its rows are no multiple of a block of %s (%zu)",
                         file->name, tensor->name, gguf_quant_name(tensor->quant), block);
    }
    if (!size_mul_try(tensor->elements / block, gguf_quant_bytes(tensor->quant), &tensor->bytes)) {
        return error_set(error, STATUS_FORMAT, "%s: tensor %s: its shape overflows", file->name,
                         tensor->name);
    }
    return STATUS_OK;
}

static enum status take_tensors(struct cursor *cursor, struct gguf *file, size_t count,
                                uint64_t *offsets, struct error *error)
{
    file->tensors = mem_alloc(size_mul(count + 1, sizeof(*file->tensors)));
    for (size_t i = 0; i < count; i++) {
        TRY(take_tensor(cursor, file, &file->tensors[i], &offsets[i], error));
        file->tensor_count++;
    }
    return STATUS_OK;
}

static enum status tensors_place(const struct cursor *cursor, struct gguf *file,
                                 const uint64_t *offsets, struct error *error)
{
    int64_t alignment = ALIGNMENT_DEFAULT;
    TRY(gguf_get_i64(file, "general.alignment", 1, ALIGNMENT_MAX, &alignment, error));
    size_t align = (size_t)alignment;
    size_t padding = (align - cursor->at % align) % align;
    size_t left = cursor->size - cursor->at;
    const uint8_t *data = cursor->data + cursor->at + (padding < left ? padding : left);
    size_t size = left - (padding < left ? padding : left);
    for (size_t i = 0; i < file->tensor_count; i++) {
        struct gguf_tensor *tensor = &file->tensors[i];
        if (offsets[i] % align != 0) {
            return error_set(error, STATUS_FORMAT, "%s: tensor %s is not aligned to %zu bytes",
                             file->name, tensor->name, align);
        }
        if (offsets[i] > size || tensor->bytes > size - offsets[i]) {
            return error_set(error, STATUS_FORMAT,
                             "%s: tensor %s lies beyond the end: the file is truncated; copy or "
                             "download it again",
                             file->name, tensor->name);
        }
        tensor->data = data + offsets[i];
    }
    return STATUS_OK;
}

static int compare_data(const void *a, const void *b)
{
    const struct gguf_tensor *left = a;
    const struct gguf_tensor *right = b;
    return (left->data > right->data) - (left->data < right->data);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

/* No byte belongs to two tensors, no name to two; sorted by name afterwards. */
static enum status tensors_check(struct gguf *file, struct error *error)
{
    struct gguf_tensor *tensors = file->tensors;
    qsort(tensors, file->tensor_count, sizeof(*tensors), compare_data);
    for (size_t i = 1; i < file->tensor_count; i++) {
        if (tensors[i].data < tensors[i - 1].data + tensors[i - 1].bytes) {
            return error_set(error, STATUS_FORMAT, "%s: tensors %s and %s overlap", file->name,
                             tensors[i - 1].name, tensors[i].name);
        }
    }
    qsort(tensors, file->tensor_count, sizeof(*tensors), compare_names);
    for (size_t i = 1; i < file->tensor_count; i++) {
        if (strcmp(tensors[i - 1].name, tensors[i].name) == 0) {
            return error_set(error, STATUS_FORMAT, "%s: tensor %s is there twice", file->name,
                             tensors[i].name);
        }
    }
    return STATUS_OK;
}

/* ---- files ---------------------------------------------------------------------------------- */

static enum status counts_check(const struct cursor *cursor, uint64_t tensors, uint64_t fields,
                                struct error *error)
{
    size_t left = cursor->size - cursor->at;
    if (tensors > SAFETENSORS_TENSORS_MAX || fields > FIELDS_MAX) {
        return error_set(error, STATUS_LIMIT,
                         "%s: says it has %llu tensors and %llu metadata fields; the limits are %d "
                         "and %d",
                         cursor->name, (unsigned long long)tensors, (unsigned long long)fields,
                         SAFETENSORS_TENSORS_MAX, FIELDS_MAX);
    }
    return tensors > left / TENSOR_BYTES_MIN || fields > left / FIELD_BYTES_MIN
               ? truncated(cursor, error)
               : STATUS_OK;
}

static enum status file_parse(struct gguf *file, const uint8_t *data, size_t size,
                              struct error *error)
{
    struct cursor cursor = {.name = file->name, .data = data, .size = size};
    const uint8_t *magic = NULL;
    uint64_t version = 0, tensors = 0, fields = 0;
    if (take(&cursor, 4, &magic, NULL) != STATUS_OK || memcmp(magic, "GGUF", 4) != 0) {
        return error_set(error, STATUS_FORMAT, "%s: does not begin with \"GGUF\"", file->name);
    }
    TRY(take_integer(&cursor, 4, &version, error));
    if (version != 2 && version != 3) {
        return error_set(error, STATUS_UNSUPPORTED, "%s: GGUF version %llu; known are 2 and 3",
                         file->name, (unsigned long long)version);
    }
    TRY(take_integer(&cursor, 8, &tensors, error));
    TRY(take_integer(&cursor, 8, &fields, error));
    TRY(counts_check(&cursor, tensors, fields, error));
    TRY(take_fields(&cursor, file, (size_t)fields, error));
    uint64_t *offsets = mem_alloc(size_mul((size_t)tensors + 1, sizeof(*offsets)));
    enum status status = take_tensors(&cursor, file, (size_t)tensors, offsets, error);
    if (status == STATUS_OK) {
        status = tensors_place(&cursor, file, offsets, error);
    }
    mem_free(offsets);
    TRY(status);
    return tensors_check(file, error);
}

enum status gguf_open_memory(const char *name, const void *data, size_t size, struct gguf *file_out,
                             struct error *error)
{
    struct gguf file = {0};
    file.name = arena_strdup(&file.arena, name);
    enum status status = file_parse(&file, data, size, error);
    if (status != STATUS_OK) {
        gguf_close(&file);
        return status;
    }
    *file_out = file;
    return STATUS_OK;
}

enum status gguf_open(const char *path, struct gguf *file_out, struct error *error)
{
    struct file_map map;
    TRY(file_map_open(path, &map, error));
    enum status status = gguf_open_memory(path, map.data, map.size, file_out, error);
    if (status != STATUS_OK) {
        file_map_close(&map);
        return status;
    }
    file_out->map = map;
    return STATUS_OK;
}

void gguf_close(struct gguf *file)
{
    mem_free(file->fields);
    mem_free(file->tensors);
    arena_release(&file->arena);
    if (file->map.data != NULL) {
        file_map_close(&file->map);
    }
    *file = (struct gguf){0};
}

/* ---- getters -------------------------------------------------------------------------------- */

static const struct gguf_field *field_find(const struct gguf *file, const char *key)
{
    struct gguf_field wanted = {.key = key};
    return file->field_count == 0
               ? NULL
               : bsearch(&wanted, file->fields, file->field_count, sizeof(wanted), compare_fields);
}

static enum status wrong_type(const struct gguf *file, const struct gguf_field *field,
                              const char *expected, struct error *error)
{
    return error_set(error, STATUS_FORMAT, "%s: %s is %s%s, expected %s", file->name, field->key,
                     field->array ? "an array of " : "", types[field->type].name, expected);
}

/* Element `index` of an integer field; false if it is not an integer, or too large. */
static bool field_integer(const struct gguf_field *field, uint64_t index, int64_t *out)
{
    size_t bytes = types[field->type].bytes;
    if (bytes == 0) {
        return false;
    }
    uint64_t value = load(field->data + (size_t)index * bytes, bytes);
    switch (field->type) {
    case GGUF_I8:
        *out = (int8_t)value;
        return true;
    case GGUF_I16:
        *out = (int16_t)value;
        return true;
    case GGUF_I32:
        *out = (int32_t)value;
        return true;
    case GGUF_I64:
        *out = (int64_t)value;
        return true;
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        *out = (int64_t)value;
        return value <= INT64_MAX;
    default:
        return false;
    }
}

enum status gguf_get_i64(const struct gguf *file, const char *key, int64_t min, int64_t max,
                         int64_t *out, struct error *error)
{
    const struct gguf_field *field = field_find(file, key);
    if (field == NULL) {
        return STATUS_OK;
    }
    int64_t value = 0;
    if (field->array || !field_integer(field, 0, &value)) {
        return wrong_type(file, field, "an integer", error);
    }
    if (value < min || value > max) {
        return error_set(error, STATUS_FORMAT, "%s: %s is %lld, not in %lld ... %lld", file->name,
                         key, (long long)value, (long long)min, (long long)max);
    }
    *out = value;
    return STATUS_OK;
}

enum status gguf_get_f64(const struct gguf *file, const char *key, double *out, struct error *error)
{
    const struct gguf_field *field = field_find(file, key);
    if (field == NULL) {
        return STATUS_OK;
    }
    double value = NAN;
    if (!field->array && field->type == GGUF_F32) {
        float narrow;
        memcpy(&narrow, field->data, sizeof(narrow));
        value = (double)narrow;
    } else if (!field->array && field->type == GGUF_F64) {
        memcpy(&value, field->data, sizeof(value));
    }
    if (!isfinite(value)) {
        return wrong_type(file, field, "a finite number", error);
    }
    *out = value;
    return STATUS_OK;
}

enum status gguf_get_bool(const struct gguf *file, const char *key, bool *out, struct error *error)
{
    const struct gguf_field *field = field_find(file, key);
    if (field == NULL) {
        return STATUS_OK;
    }
    if (field->array || field->type != GGUF_BOOL || field->data[0] > 1) {
        return wrong_type(file, field, "true or false", error);
    }
    *out = field->data[0] != 0;
    return STATUS_OK;
}

enum status gguf_get_string(struct gguf *file, const char *key, const char **out,
                            struct error *error)
{
    const struct gguf_field *field = field_find(file, key);
    if (field == NULL) {
        return STATUS_OK;
    }
    if (field->array || field->type != GGUF_STRING) {
        return wrong_type(file, field, "a string", error);
    }
    size_t cursor = 0;
    size_t length;
    const char *text = gguf_array_string(field, &cursor, &length);
    if (memchr(text, '\0', length) != NULL) {
        return error_set(error, STATUS_FORMAT, "%s: %s has a NUL byte inside", file->name, key);
    }
    *out = arena_strndup(&file->arena, text, length);
    return STATUS_OK;
}

enum status gguf_get_array(const struct gguf *file, const char *key, bool of_strings,
                           const struct gguf_field **out, struct error *error)
{
    const struct gguf_field *field = field_find(file, key);
    int64_t ignored;
    bool integers =
        field != NULL && field->array && field->count > 0 && field_integer(field, 0, &ignored);
    if (field != NULL && (!field->array || (of_strings ? field->type != GGUF_STRING : !integers))) {
        return wrong_type(file, field, of_strings ? "an array of strings" : "an array of integers",
                          error);
    }
    *out = field;
    return STATUS_OK;
}

int64_t gguf_array_i64(const struct gguf_field *array, uint64_t index)
{
    int64_t value = 0;
    CHECK(index < array->count);
    return field_integer(array, index, &value) ? value : INT64_MAX;
}

const char *gguf_array_string(const struct gguf_field *array, size_t *cursor, size_t *length_out)
{
    CHECK(array->type == GGUF_STRING && *cursor + 8 <= array->bytes);
    size_t length = (size_t)load(array->data + *cursor, 8);
    const char *text = (const char *)array->data + *cursor + 8;
    *cursor += 8 + length;
    CHECK(*cursor <= array->bytes);
    *length_out = length;
    return text;
}

const struct gguf_tensor *gguf_find(const struct gguf *file, const char *name)
{
    struct gguf_tensor wanted = {.name = name};
    return file->tensor_count == 0
               ? NULL
               : bsearch(&wanted, file->tensors, file->tensor_count, sizeof(wanted), compare_names);
}
