/* SPDX-License-Identifier: Apache-2.0
 *
 * memory: on this device, host memory is device memory.
 *
 * Scratch is one block that serves one op at a time, so it is as large as the hungriest op needs,
 * not as large as all of them together.
 */
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/ops/ref/ref.h"

enum status ref_block_alloc(struct device *device, size_t bytes, const char *purpose,
                            void **block_out, struct error *error)
{
    (void)device;
    return mem_map(bytes, purpose, block_out, error);
}

void ref_block_free(struct device *device, void *block, size_t bytes)
{
    (void)device;
    mem_unmap(block, bytes);
}

void ref_copy_in(struct device *device, void *on_device, const void *on_host, size_t bytes)
{
    (void)device;
    memcpy(on_device, on_host, bytes);
}

void ref_copy_out(struct device *device, void *on_host, const void *on_device, size_t bytes)
{
    (void)device;
    memcpy(on_host, on_device, bytes);
}

void ref_zero(struct device *device, void *block, size_t bytes)
{
    (void)device;
    memset(block, 0, bytes);
}

size_t ref_scratch_bytes(const struct device *device, const struct scratch_shape *shape)
{
    (void)device;
    /* attention: the keys of one query and their probabilities */
    size_t bytes = size_mul((size_t)shape->row_tokens_max, sizeof(int32_t) + sizeof(float));
    /* lora: du of one row */
    size_t lora = size_mul((size_t)shape->lora_rank, sizeof(float));
    /* cross_entropy: the logits of one entry, and the sum that its gradient is */
    size_t logits = shape->cross_entropy ? size_add(size_mul((size_t)shape->V, sizeof(float)),
                                                    size_mul((size_t)shape->C, sizeof(double)))
                                         : 0;
    bytes = bytes > lora ? bytes : lora;
    return bytes > logits ? bytes : logits;
}

enum status ref_scratch_reserve(struct device *device, const struct scratch_shape *shape,
                                struct error *error)
{
    size_t bytes = ref_scratch_bytes(device, shape);
    if (bytes <= device->scratch_size) {
        return STATUS_OK;
    }
    void *scratch;
    TRY(ref_block_alloc(device, bytes, "scratch", &scratch, error));
    if (device->scratch) {
        ref_block_free(device, device->scratch, device->scratch_size);
    }
    device->scratch = scratch;
    device->scratch_size = bytes;
    return STATUS_OK;
}

void *ref_scratch(struct device *device, size_t bytes)
{
    CHECK(bytes <= device->scratch_size);
    return device->scratch;
}

/* The reference reads weights as they lie. */
size_t ref_weights_bytes(const struct device *device, const struct kept_weight *weights,
                         int32_t count)
{
    (void)device, (void)weights, (void)count;
    return 0;
}

enum status ref_weights_keep(struct device *device, const struct kept_weight *weights,
                             int32_t count, struct error *error)
{
    (void)device, (void)weights, (void)count, (void)error;
    return STATUS_OK;
}

void ref_weights_changed(struct device *device, const real *block, size_t count)
{
    (void)device, (void)block, (void)count;
}

void ref_weights_forget(struct device *device, const real *block, size_t count)
{
    (void)device, (void)block, (void)count;
}
