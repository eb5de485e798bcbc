/* SPDX-License-Identifier: Apache-2.0
 *
 * host_memory: for tests of single ops on a GPU. They draw operands in arenas and hand them to
 * every device alike; here the chunks of arenas are memory that the host and the GPU both read.
 * Linked with --wrap=aligned_alloc,--wrap=free into those tests alone, which run with
 * CUDA_LAUNCH_BLOCKING=1, so that a result is there when the call returns.
 */
#include <cuda_runtime.h>
#include <stddef.h>

#include "lib/check.h"

void __real_free(void *memory);
void __wrap_free(void *memory);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

/* Managed memory begins at a page. */
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    void *memory = NULL;
    (void)alignment;
    CHECK(cudaMallocManaged(&memory, size, cudaMemAttachGlobal) == cudaSuccess);
    return memory;
}

void __wrap_free(void *memory)
{
    struct cudaPointerAttributes attributes;
    if (memory != NULL && cudaPointerGetAttributes(&attributes, memory) == cudaSuccess &&
        attributes.type == cudaMemoryTypeManaged) {
        CHECK(cudaFree(memory) == cudaSuccess);
        return;
    }
    __real_free(memory);
}
