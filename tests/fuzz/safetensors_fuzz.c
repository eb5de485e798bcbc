/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_fuzz: any bytes as a safetensors file.
 *
 * An even first byte: the rest is the file. An odd one: the rest is a header, to which the fitting
 * length in front and as many data bytes as the second byte says are added, so that mutations spend
 * their time behind the length check. Every element of what opens is read.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile float touched;

static void tensor_touch(const struct safetensor *tensor)
{
    float values[64];
    for (size_t first = 0; first < tensor->elements; first += 64) {
        size_t count = tensor->elements - first < 64 ? tensor->elements - first : 64;
        safetensors_read(tensor, first, count, values);
        touched = values[count - 1];
    }
    char shape[160];
    safetensors_shape_text(tensor->shape, tensor->rank, shape, sizeof(shape));
    touched = (float)strlen(shape);
}

static void file_try(const uint8_t *data, size_t size)
{
    struct safetensors set;
    struct error error = {0};
    if (safetensors_open_memory("fuzz", data, size, &set, &error) != STATUS_OK) {
        CHECK(error.status != STATUS_OK && strncmp(error.text, "fuzz", 4) == 0);
        return;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < set.count; i++) {
        const struct safetensor *tensor = &set.tensors[i];
        CHECK(tensor->data >= data && tensor->data + tensor->bytes <= data + size);
        CHECK(safetensors_find(&set, tensor->name) == tensor);
        bytes += tensor->bytes;
        tensor_touch(tensor);
    }
    CHECK(bytes < size);
    safetensors_close(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        file_try(data + 1, size - 1);
        return 0;
    }
    size_t header = size - 2;
    size_t whole = 8 + header + data[1];
    uint8_t *file = mem_alloc(whole);
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)header >> 8 * i);
    }
    memcpy(file + 8, data + 2, header);
    file_try(file, whole);
    mem_free(file);
    return 0;
}
