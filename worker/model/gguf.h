/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf: llama.cpp's model files: read, and turned into a Hugging Face directory.
 *
 *     TRY(gguf_import("SmolLM2-135M-Instruct.Q4_1.gguf", "base", error));
 *
 * A file is: "GGUF", version (2 or 3), two counts; metadata (key, type, value); tensor entries
 * (name, dimensions with the fastest first, type, offset); the data. Counts and lengths are 64-bit
 * and come from strangers: each is bounded by the bytes that are left, before anything is
 * allocated or read by it.
 */
#ifndef TAILOR_WORKER_MODEL_GGUF_H
#define TAILOR_WORKER_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/status.h"

enum { GGUF_RANK_MAX = 4 };

struct gguf_quant; /* a storage type of tensors: gguf_quant.c */

struct gguf_field {
    const char *key; /* in the arena */
    uint32_t type;   /* of the value; for an array, of its elements */
    bool array;
    uint64_t count; /* 1, or the elements of the array */
    const uint8_t *data;
    size_t bytes;
};

struct gguf_tensor {
    const char *name; /* in the arena */
    const struct gguf_quant *quant;
    int32_t rank;
    int64_t shape[GGUF_RANK_MAX]; /* row-major: the last index is the fastest */
    size_t elements;
    const uint8_t *data;
    size_t bytes;
};

struct gguf {
    const char *name; /* of the file, for error sentences; in the arena */
    struct gguf_field *fields;
    size_t field_count;
    struct gguf_tensor *tensors;
    size_t tensor_count;
    struct arena arena;
    struct file_map map;
};

enum status gguf_open(const char *path, struct gguf *file_out, struct error *error);
/* A file in memory; `data` is borrowed. */
enum status gguf_open_memory(const char *name, const void *data, size_t size, struct gguf *file_out,
                             struct error *error);
void gguf_close(struct gguf *file);

/* Typed getters. Absent: *out is left alone and STATUS_OK; wrong type or range: STATUS_FORMAT. */
enum status gguf_get_i64(const struct gguf *file, const char *key, int64_t min, int64_t max,
                         int64_t *out, struct error *error);
enum status gguf_get_f64(const struct gguf *file, const char *key, double *out,
                         struct error *error);
enum status gguf_get_bool(const struct gguf *file, const char *key, bool *out, struct error *error);
/* A string, copied into the arena and NUL-terminated; one with a NUL inside is STATUS_FORMAT. */
enum status gguf_get_string(struct gguf *file, const char *key, const char **out,
                            struct error *error);

/* Arrays, element by element. *out is NULL for an absent key. */
enum status gguf_get_array(const struct gguf *file, const char *key, bool of_strings,
                           const struct gguf_field **out, struct error *error);
int64_t gguf_array_i64(const struct gguf_field *array, uint64_t index);
/* Advances *cursor (0 at first) by one string; borrowed from the file, not terminated. */
const char *gguf_array_string(const struct gguf_field *array, size_t *cursor, size_t *length_out);

const struct gguf_tensor *gguf_find(const struct gguf *file, const char *name);
/* Elements [first, first + count) as fp32. */
void gguf_read(const struct gguf_tensor *tensor, size_t first, size_t count, float *out);

/* gguf_quant.c */
const struct gguf_quant *gguf_quant_find(uint32_t type); /* NULL: not known */
const char *gguf_quant_list(void);                       /* "F32, F16, …" */
const char *gguf_quant_name(const struct gguf_quant *quant);
size_t gguf_quant_elements(const struct gguf_quant *quant); /* of a block */
size_t gguf_quant_bytes(const struct gguf_quant *quant);
void gguf_quant_widen(const struct gguf_quant *quant, const uint8_t *block, float *out);

/* gguf_import.c: writes `dir` (absent or empty): config.json, bf16 weights, the tokenizer, and a
 * tailor.json of kind base that names the source. */
enum status gguf_import(const char *path, const char *dir, struct error *error);
/* gguf_tokenizer.c: tokenizer.json and the files beside it, for a model of that vocabulary and that
 * many positions. */
enum status gguf_tokenizer_write(struct gguf *file, const char *dir, int32_t vocabulary,
                                 int32_t positions, struct error *error);

#endif
