/* SPDX-License-Identifier: Apache-2.0
 *
 * memory: on this device, host memory is device memory.
 */
#include <string.h>

#include "lib/arena.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/ranges.h"

enum status OPS_FN(block_alloc)(struct device *device, size_t bytes, const char *purpose,
                                void **block_out, struct error *error)
{
    (void)device;
    return mem_map(bytes, purpose, block_out, error);
}

void OPS_FN(block_free)(struct device *device, void *block, size_t bytes)
{
    (void)device;
    mem_unmap(block, bytes);
}

void OPS_FN(copy_in)(struct device *device, void *on_device, const void *on_host, size_t bytes)
{
    (void)device;
    memcpy(on_device, on_host, bytes);
}

void OPS_FN(copy_out)(struct device *device, void *on_host, const void *on_device, size_t bytes)
{
    (void)device;
    memcpy(on_host, on_device, bytes);
}

static void zero_range(const void *op, int64_t begin, int64_t end)
{
    char *const *block = op;
    memset(*block + begin, 0, (size_t)(end - begin));
}

void OPS_FN(zero)(struct device *device, void *block, size_t bytes)
{
    char *start = block;
    OPS_FN(for_ranges)(device, (int64_t)bytes, 4096, 1, zero_range, &start);
}
