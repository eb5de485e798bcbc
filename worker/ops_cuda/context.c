/* SPDX-License-Identifier: Apache-2.0
 *
 * context: one stream, its memory and its scratch.
 *
 * copy_in never waits for the stream's end. The caller's bytes go into one of two pinned stages and
 * from there to the device in the stream's order; a stage is filled again when the event behind its
 * last copy has come. Rejected: cudaMemcpyAsync from the caller's own memory, which may read it
 * after it has returned, and where it does not, waits for all that was queued before.
 *
 * copy_out is where the host waits: for the losses and rewards of a pass, and for weights that are
 * written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"
#include "worker/ops_cuda/cuda.h"

enum { STAGES = 2, STAGE_BYTES = 8 << 20, PIECE_ALIGN = 256 };

void cuda_check(cudaError_t result, const char *what)
{
    if (result != cudaSuccess) {
        fprintf(stderr, "tailor: CUDA: %s: %s (%s)\n", what, cudaGetErrorString(result),
                cudaGetErrorName(result));
        exit(status_exit_code(STATUS_FAILED));
    }
}

/* ---- open and close -------------------------------------------------------------------------- */

static enum status refuse(cudaError_t result, struct error *error)
{
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "no GPU can be used: there is no NVIDIA driver on this machine (%s); use "
                         "resources.device: cpu, or install the driver for CUDA %d.%d",
                         cudaGetErrorString(result), runtime / 1000, runtime % 1000 / 10);
    }
    return error_set(error, STATUS_UNSUPPORTED,
                     "no GPU can be used: %s (the driver is for CUDA %d.%d, this program for "
                     "%d.%d); look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use "
                     "resources.device: cpu",
                     cudaGetErrorString(result), driver / 1000, driver % 1000 / 10, runtime / 1000,
                     runtime % 1000 / 10);
}

/* The first GPU that this process sees: a worker gives each of its slots one. */
static enum status device_take(struct cudaDeviceProp *properties_out, struct error *error)
{
    enum { CAPABILITY_MIN = 8 };
    int count = 0;
    cudaError_t result = cudaGetDeviceCount(&count);
    if (result == cudaSuccess && count == 0) {
        result = cudaErrorNoDevice;
    }
    if (result == cudaSuccess) {
        result = cudaSetDevice(0);
    }
    if (result == cudaSuccess) {
        result = cudaFree(NULL); /* makes CUDA's own context, so that what fails, fails here */
    }
    if (result == cudaSuccess) {
        result = cudaGetDeviceProperties(properties_out, 0);
    }
    if (result != cudaSuccess) {
        return refuse(result, error);
    }
    if (properties_out->major < CAPABILITY_MIN) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "this GPU (%s) has compute capability %d.%d: %d.0 (Ampere) is the least",
                         properties_out->name, properties_out->major, properties_out->minor,
                         CAPABILITY_MIN);
    }
    return STATUS_OK;
}

static void stages_open(struct cuda_context *context)
{
    for (int i = 0; i < STAGES; i++) {
        struct cuda_stage *stage = &context->stages[i];
        CUDA_CHECK(cudaMallocHost((void **)&stage->pinned, STAGE_BYTES));
        CUDA_CHECK(cudaEventCreateWithFlags(&stage->read, cudaEventDisableTiming));
    }
}

static enum status context_open(struct device *device, struct error *error)
{
    struct cudaDeviceProp properties;
    TRY(device_take(&properties, error));
    struct cuda_context *context = mem_alloc(sizeof(*context));
    device->context = context;
    context->multiprocessors = properties.multiProcessorCount;
    snprintf(context->name, sizeof(context->name), "%s", properties.name);
    CUDA_CHECK(cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking));
    stages_open(context);
    return cuda_gemm_open(device, error);
}

static void context_close(struct device *device)
{
    struct cuda_context *context = cuda_context(device);
    CUDA_CHECK(cudaStreamSynchronize(context->stream));
    cuda_gemm_close(device);
    for (int i = 0; i < STAGES; i++) {
        CUDA_CHECK(cudaEventDestroy(context->stages[i].read));
        CUDA_CHECK(cudaFreeHost(context->stages[i].pinned));
    }
    CUDA_CHECK(cudaStreamDestroy(context->stream));
    mem_free(context);
    device->context = NULL;
}

static void wait_for(struct device *device)
{
    CUDA_CHECK(cudaStreamSynchronize(cuda_context(device)->stream));
}

static size_t memory_available_of(const struct device *device)
{
    size_t free_bytes = 0, total_bytes = 0;
    (void)device;
    CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
    return free_bytes;
}

static const char *hardware_of(const struct device *device)
{
    return cuda_context(device)->name;
}

const struct device_gpu device_gpu = {.ops = &ops_cuda,
                                      .open = context_open,
                                      .close = context_close,
                                      .wait = wait_for,
                                      .memory_available = memory_available_of,
                                      .hardware = hardware_of};

/* ---- memory ---------------------------------------------------------------------------------- */

enum status cuda_block_alloc(struct device *device, size_t bytes, const char *purpose,
                             void **block_out, struct error *error)
{
    void *block;
    char wanted[16], left[16];
    const cudaError_t result = cudaMalloc(&block, bytes > 0 ? bytes : 1);
    if (result == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* it is told here */
        format_bytes((double)bytes, wanted);
        format_bytes((double)memory_available_of(device), left);
        return error_set(error, STATUS_MEMORY,
                         "%s: cannot get %s of the GPU's memory, of which %s are free", purpose,
                         wanted, left);
    }
    cuda_check(result, "cudaMalloc");
    cuda_zero(device, block, bytes);
    *block_out = block;
    return STATUS_OK;
}

void cuda_block_free(struct device *device, void *block, size_t bytes)
{
    (void)device, (void)bytes;
    CUDA_CHECK(cudaFree(block)); /* waits for what was queued */
}

void cuda_zero(struct device *device, void *block, size_t bytes)
{
    if (bytes > 0) {
        CUDA_CHECK(cudaMemsetAsync(block, 0, bytes, cuda_context(device)->stream));
    }
}

/* The stage that has room for at least a byte. */
static struct cuda_stage *stage_with_room(struct cuda_context *context)
{
    struct cuda_stage *stage = &context->stages[context->stage];
    if (stage->used == STAGE_BYTES) {
        CUDA_CHECK(cudaEventRecord(stage->read, context->stream));
        context->stage = (context->stage + 1) % STAGES;
        stage = &context->stages[context->stage];
        CUDA_CHECK(cudaEventSynchronize(stage->read));
        stage->used = 0;
    }
    return stage;
}

void cuda_copy_in(struct device *device, void *on_device, const void *on_host, size_t bytes)
{
    struct cuda_context *context = cuda_context(device);
    for (size_t at = 0; at < bytes;) {
        struct cuda_stage *stage = stage_with_room(context);
        const size_t room = STAGE_BYTES - stage->used;
        const size_t count = bytes - at < room ? bytes - at : room;
        char *place = stage->pinned + stage->used;
        memcpy(place, (const char *)on_host + at, count);
        CUDA_CHECK(cudaMemcpyAsync((char *)on_device + at, place, count, cudaMemcpyHostToDevice,
                                   context->stream));
        stage->used += count;
        at += count;
    }
}

void cuda_copy_out(struct device *device, void *on_host, const void *on_device, size_t bytes)
{
    if (bytes > 0) {
        CUDA_CHECK(cudaMemcpyAsync(on_host, on_device, bytes, cudaMemcpyDeviceToHost,
                                   cuda_context(device)->stream));
    }
    wait_for(device);
}

/* ---- scratch --------------------------------------------------------------------------------- */

size_t cuda_scratch_piece(size_t bytes)
{
    return size_add(bytes, PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;
}

size_t cuda_scratch_mark(const struct device *device)
{
    return cuda_context(device)->scratch_used;
}

void *cuda_scratch_take(struct device *device, size_t bytes)
{
    struct cuda_context *context = cuda_context(device);
    const size_t piece = cuda_scratch_piece(bytes);
    CHECK(piece <= device->scratch_size - context->scratch_used);
    char *at = (char *)device->scratch + context->scratch_used;
    context->scratch_used += piece;
    return at;
}

void cuda_scratch_release(struct device *device, size_t mark)
{
    CHECK(mark <= cuda_context(device)->scratch_used);
    cuda_context(device)->scratch_used = mark;
}

/* An op that is made of products takes its own pieces beside theirs; the others take theirs alone.
 */
size_t cuda_scratch_bytes(const struct device *device, const struct scratch_shape *shape)
{
    (void)device;
    const size_t families[] = {cuda_lora_scratch(shape), cuda_rows_scratch(shape),
                               cuda_attention_scratch(shape), cuda_cross_entropy_scratch(shape),
                               cuda_adamw_scratch()};
    size_t most = 0;
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++) {
        most = families[i] > most ? families[i] : most;
    }
    return size_add(most, cuda_gemm_scratch(shape));
}

enum status cuda_scratch_reserve(struct device *device, const struct scratch_shape *shape,
                                 struct error *error)
{
    const size_t bytes = cuda_scratch_bytes(device, shape);
    CHECK(cuda_context(device)->scratch_used == 0);
    if (bytes <= device->scratch_size) {
        return STATUS_OK;
    }
    void *scratch;
    TRY(cuda_block_alloc(device, bytes, "scratch", &scratch, error));
    if (device->scratch != NULL) {
        cuda_block_free(device, device->scratch, device->scratch_size);
    }
    device->scratch = scratch;
    device->scratch_size = bytes;
    return STATUS_OK;
}
