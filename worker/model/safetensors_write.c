/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_write: the writer. See safetensors.h.
 *
 * Invariants: entries are sorted by name and the header is padded with blanks so that the data
 * begins at a multiple of 64 bytes (readers may then use a mapping in place); the same values give
 * the same bytes. Values are pulled in pieces, so a model of any size takes one buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/limits.h"
#include "worker/model/half.h"
#include "worker/model/safetensors.h"

enum { PIECE_ELEMENTS = 1 << 20, DATA_ALIGNMENT = 64, LENGTH_BYTES = 8 };

struct output {
    const char *path; /* the final name, for error sentences */
    int fd;
};

static enum status output_error(const struct output *output, const char *doing, int number,
                                struct error *error)
{
    return error_set(error, STATUS_IO, "%s: cannot %s: %s", output->path, doing, strerror(number));
}

static enum status output_write(const struct output *output, const void *data, size_t size,
                                struct error *error)
{
    const char *from = data;
    while (size > 0) {
        ssize_t written = write(output->fd, from, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return output_error(output, "write", written < 0 ? errno : ENOSPC, error);
        }
        from += written;
        size -= (size_t)written;
    }
    return STATUS_OK;
}

static size_t entry_elements(const struct safetensors_entry *entry)
{
    size_t elements = 1;
    for (int32_t i = 0; i < entry->rank; i++) {
        elements = size_mul(elements, (size_t)entry->shape[i]);
    }
    return elements;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct safetensors_entry *)a)->name,
                  ((const struct safetensors_entry *)b)->name);
}

static void header_build(const struct safetensors_entry *entries, size_t count,
                         enum weight_dtype dtype, struct buf *header)
{
    buf_append_string(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    size_t position = 0;
    for (size_t i = 0; i < count; i++) {
        const struct safetensors_entry *entry = &entries[i];
        char shape[160];
        size_t end = size_add(position, size_mul(entry_elements(entry), weight_dtype_size(dtype)));
        safetensors_shape_text(entry->shape, entry->rank, shape, sizeof(shape));
        buf_append_char(header, ',');
        buf_append_json_string(header, entry->name, strlen(entry->name));
        buf_printf(header, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                   weight_dtype_name(dtype), shape, position, end);
        position = end;
    }
    buf_append_char(header, '}');
    while ((header->length + LENGTH_BYTES) % DATA_ALIGNMENT != 0) {
        buf_append_char(header, ' ');
    }
}

/* Narrows values in place to the file's bytes; false at the first that does not fit. */
static bool piece_encode(float *values, size_t count, enum weight_dtype dtype, size_t *bad_out)
{
    *bad_out = finite_prefix(values, count);
    if (dtype == WEIGHT_DTYPE_F32 || *bad_out < count) {
        return *bad_out == count;
    }
    char *bytes = (char *)values;
    for (size_t i = 0; i < count; i++) {
        bool bf16 = dtype == WEIGHT_DTYPE_BF16;
        uint16_t bits = bf16 ? half_bf16_round(values[i]) : half_f16_round(values[i]);
        uint16_t exponent = bf16 ? 0x7f80u : 0x7c00u;
        if ((bits & exponent) == exponent) {
            *bad_out = i;
            return false;
        }
        memcpy(bytes + 2 * i, &bits, sizeof(bits));
    }
    return true;
}

static enum status entry_write(const struct output *output, const struct safetensors_entry *entry,
                               enum weight_dtype dtype, safetensors_source *source, void *context,
                               float *piece, struct error *error)
{
    size_t elements = entry_elements(entry);
    for (size_t first = 0; first < elements; first += PIECE_ELEMENTS) {
        size_t count = elements - first < PIECE_ELEMENTS ? elements - first : PIECE_ELEMENTS;
        size_t bad;
        source(context, entry, first, count, piece);
        if (!piece_encode(piece, count, dtype, &bad)) {
            return error_set(error, STATUS_NUMERIC,
                             "%s: tensor %s, element %zu: the value %g cannot be stored as %s",
                             output->path, entry->name, first + bad, (double)piece[bad],
                             weight_dtype_name(dtype));
        }
        TRY(output_write(output, piece, size_mul(count, weight_dtype_size(dtype)), error));
    }
    return STATUS_OK;
}

static enum status contents_write(const struct output *output,
                                  const struct safetensors_entry *entries, size_t count,
                                  enum weight_dtype dtype, safetensors_source *source,
                                  void *context, struct error *error)
{
    struct buf header = {0};
    header_build(entries, count, dtype, &header);
    uint8_t length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++) {
        length[i] = (uint8_t)((uint64_t)header.length >> 8 * i);
    }
    enum status status = STATUS_OK;
    if (header.length > SAFETENSORS_HEADER_BYTES_MAX) {
        status = error_set(error, STATUS_LIMIT, "%s: its header would exceed %zu bytes",
                           output->path, SAFETENSORS_HEADER_BYTES_MAX);
    }
    if (status == STATUS_OK) {
        status = output_write(output, length, sizeof(length), error);
    }
    if (status == STATUS_OK) {
        status = output_write(output, header.data, header.length, error);
    }
    buf_release(&header);
    float *piece = mem_alloc(PIECE_ELEMENTS * sizeof(*piece));
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = entry_write(output, &entries[i], dtype, source, context, piece, error);
    }
    mem_free(piece);
    if (status == STATUS_OK && (failpoint_fails("safetensors_fsync") || fsync(output->fd) != 0)) {
        status = output_error(output, "fsync", errno, error);
    }
    return status;
}

enum status safetensors_write(const char *path, struct safetensors_entry *entries, size_t count,
                              enum weight_dtype dtype, safetensors_source *source, void *context,
                              struct error *error)
{
    if (count > 0) {
        qsort(entries, count, sizeof(*entries), compare_entries);
    }
    const char *base = path_base(path);
    char dir[PATH_MAX];
    char name[NAME_MAX + 1];
    char temporary[PATH_MAX];
    snprintf(dir, sizeof(dir), "%.*s", (int)(base - path), path);
    snprintf(name, sizeof(name), ".tmp-%ld-%.200s", (long)getpid(), base);
    path_join(temporary, sizeof(temporary), base == path ? "." : dir, name);
    struct output output = {.path = path};
    output.fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (output.fd < 0) {
        return output_error(&output, "create", errno, error);
    }
    enum status status = contents_write(&output, entries, count, dtype, source, context, error);
    if (close(output.fd) != 0 && status == STATUS_OK) {
        status = output_error(&output, "close", errno, error);
    }
    if (status == STATUS_OK &&
        (failpoint_fails("safetensors_rename") || rename(temporary, path) != 0)) {
        status = output_error(&output, "rename", errno, error);
    }
    if (status != STATUS_OK) {
        unlink(temporary);
        return status;
    }
    return dir_fsync(base == path ? "." : dir, error);
}
