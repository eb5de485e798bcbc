/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors: tensors in files, read through a mapping, written in one stream.
 *
 * A file is: 8 bytes little-endian length of the header; the header, a JSON object {"name":
 * {"dtype", "shape", "data_offsets": [begin, end]}, …, "__metadata__": {string: string}}; the data.
 * Files come from strangers, so opening proves everything that reading relies on: the header's
 * length and limits, its JSON (no duplicate keys), shape × dtype = byte range with checked
 * arithmetic, and ranges that cover the data exactly: no hole, no overlap, nothing behind the end.
 * Values are not looked at (safetensors_read's callers check for NaN).
 *
 *     struct safetensors set;
 *     TRY(safetensors_open_dir(dir, "model", &set, error));
 *     const struct safetensor *tensor = safetensors_find(&set, "model.norm.weight");
 *     safetensors_read(tensor, 0, tensor->elements, floats);
 *     safetensors_close(&set);
 */
#ifndef TAILOR_WORKER_MODEL_SAFETENSORS_H
#define TAILOR_WORKER_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/status.h"

enum weight_dtype { WEIGHT_DTYPE_F32, WEIGHT_DTYPE_BF16, WEIGHT_DTYPE_F16 };

enum { SAFETENSORS_RANK_MAX = 8 };

struct safetensor {
    const char *name;
    const char *file; /* that holds it, for error sentences */
    enum weight_dtype dtype;
    int32_t rank;
    int64_t shape[SAFETENSORS_RANK_MAX]; /* every one at least 1 */
    size_t elements;
    const uint8_t *data; /* not necessarily aligned */
    size_t bytes;
};

struct safetensors {
    struct safetensor *tensors; /* ascending by name */
    size_t count;
    struct arena arena; /* names and paths */
    struct file_map *maps;
    size_t map_count;
};

/* One file. */
enum status safetensors_open(const char *path, struct safetensors *set_out, struct error *error);
/* dir/STEM.safetensors, or the shards that dir/STEM.safetensors.index.json lists. */
enum status safetensors_open_dir(const char *dir, const char *stem, struct safetensors *set_out,
                                 struct error *error);
/* One file that lies in memory; `data` is borrowed and outlives the set. `name` begins errors. */
enum status safetensors_open_memory(const char *name, const void *data, size_t size,
                                    struct safetensors *set_out, struct error *error);
void safetensors_close(struct safetensors *set);

const struct safetensor *safetensors_find(const struct safetensors *set, const char *name);
/* Elements [first, first + count) as fp32. */
void safetensors_read(const struct safetensor *tensor, size_t first, size_t count, float *out);
/* "[49152, 576]" */
void safetensors_shape_text(const int64_t *shape, int32_t rank, char *out, size_t size);

/* "F32", "BF16", "F16" (the file's word) and "float32", "bfloat16", "float16" (config.json's). */
const char *weight_dtype_name(enum weight_dtype dtype);
const char *weight_dtype_torch_name(enum weight_dtype dtype);
size_t weight_dtype_size(enum weight_dtype dtype);

/* ---- writing -------------------------------------------------------------------------------- */
struct safetensors_entry {
    const char *name;
    int32_t rank;
    int64_t shape[SAFETENSORS_RANK_MAX];
    const void *source; /* the callback's: whatever finds the values */
};

/* Gives elements [first, first + count) of an entry as fp32. */
typedef void safetensors_source(void *context, const struct safetensors_entry *entry, size_t first,
                                size_t count, float *out);

/* Writes the entries (sorted in place by name) as one file: temporary name, fsync, rename. A value
 * that is not finite, or that `dtype` cannot hold, is STATUS_NUMERIC with tensor and index. */
enum status safetensors_write(const char *path, struct safetensors_entry *entries, size_t count,
                              enum weight_dtype dtype, safetensors_source *source, void *context,
                              struct error *error);

#endif
