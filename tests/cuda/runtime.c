/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime: CUDA's run time on a processor. Everything is done when it is queued; a stream and an
 * event are what they must be for the order of calls to be checked: nothing is used before it was
 * made or after it was destroyed, and no event is waited for that was never recorded.
 */
#include "tests/cuda/runtime.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cuda_runtime.h>

#include "lib/arena.h"
#include "lib/check.h"

enum { REGIONS_MAX = 4096, PAGE = 4096, ALIGN = 256, ALIVE = 0x5afe };

struct emulated_stream {
    int alive;
    int (*advance)(void *argument); /* of what it is busy with; NULL: nothing */
    void *argument;
};

struct emulated_event {
    int alive;
    bool recorded;
};

/* Pages of a block, and one behind them that is never opened. */
static struct region {
    char *pages;
    size_t size;
    void *block;
} regions[REGIONS_MAX];
static int region_count, open_depth;
static cudaError_t last_error;

/* ---- failures on demand ---------------------------------------------------------------------- */

int emulated_failure(const char *call)
{
    static int seen;
    const char *wanted = getenv("TAILOR_EMULATE_FAIL");
    const size_t length = strlen(call);
    if (wanted == NULL || strncmp(wanted, call, length) != 0 || wanted[length] != ':') {
        return 0;
    }
    return ++seen == atoi(wanted + length + 1);
}

static cudaError_t result_of(const char *call)
{
    if (emulated_failure(call)) {
        last_error = strcmp(call, "cudaMalloc") == 0           ? cudaErrorMemoryAllocation
                     : strcmp(call, "cudaGetDeviceCount") == 0 ? cudaErrorNoDevice
                                                               : cudaErrorIllegalAddress;
        return last_error;
    }
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    case cudaErrorNotReady:
        return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
        return "cudaErrorIllegalAddress";
    }
    return "unknown";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "emulated failure";
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A processor with protection keys opens and shuts all pages by one register, of each thread; one
 * without changes the pages, and so does TAILOR_EMULATE_PROTECT=pages. */
enum { KEY_NONE = -2, KEY_UNKNOWN = -1 };

static int key(void)
{
    static int of_regions = KEY_UNKNOWN;
    if (of_regions == KEY_UNKNOWN) {
        const char *way = getenv("TAILOR_EMULATE_PROTECT");
        const bool pages = way != NULL && strcmp(way, "pages") == 0;
        const int got = pages ? -1 : pkey_alloc(0, PKEY_DISABLE_ACCESS);
        of_regions = got >= 0 ? got : KEY_NONE;
    }
    return of_regions;
}

static void protect(int permissions)
{
    if (key() != KEY_NONE) {
        CHECK(pkey_set(key(), permissions == PROT_NONE ? PKEY_DISABLE_ACCESS : 0) == 0);
        return;
    }
    for (int i = 0; i < region_count; i++) {
        if (regions[i].pages != NULL) {
            CHECK(mprotect(regions[i].pages, regions[i].size, permissions) == 0);
        }
    }
}

/* New pages are open to who has opened the device's memory. */
static void pages_open(char *pages, size_t size)
{
    const int permissions = PROT_READ | PROT_WRITE;
    CHECK((key() != KEY_NONE ? pkey_mprotect(pages, size, permissions, key())
                             : mprotect(pages, size, permissions)) == 0);
}

static pthread_mutex_t memory_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void emulated_memory_open(void)
{
    CHECK(pthread_mutex_lock(&memory_lock) == 0);
    if (open_depth++ == 0) {
        protect(PROT_READ | PROT_WRITE);
    }
}

void emulated_memory_shut(void)
{
    CHECK(open_depth > 0);
    if (--open_depth == 0) {
        protect(PROT_NONE);
    }
    CHECK(pthread_mutex_unlock(&memory_lock) == 0);
}

/* Says whose memory was touched, then lets the process die of it. */
static void on_fault(int signal_number, siginfo_t *information, void *context)
{
    const char *at = information->si_addr;
    (void)context;
    for (int i = 0; i < region_count; i++) {
        if (regions[i].pages != NULL && at >= regions[i].pages &&
            at < regions[i].pages + regions[i].size + PAGE) {
            fprintf(stderr, "emulation: %s: byte %zd of a device block\n",
                    open_depth > 0 ? "a kernel reaches over the end"
                                   : "the host touches the device's memory",
                    at - (const char *)regions[i].block);
        }
    }
    signal(signal_number, SIG_DFL);
}

static void watch_faults(void)
{
    static bool watching;
    if (!watching) {
        struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
        watching = sigaction(SIGSEGV, &action, NULL) == 0;
    }
}

cudaError_t cudaMalloc(void **block, size_t bytes)
{
    const size_t rounded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    const size_t size = (rounded + PAGE - 1) / PAGE * PAGE;
    const cudaError_t result = result_of("cudaMalloc");
    int i = 0;
    watch_faults();
    CHECK(bytes > 0);
    if (result != cudaSuccess) {
        return result;
    }
    emulated_memory_open();
    while (i < region_count && regions[i].pages != NULL) {
        i++;
    }
    CHECK(i < REGIONS_MAX);
    char *pages = mmap(NULL, size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        emulated_memory_shut();
        return cudaErrorMemoryAllocation;
    }
    pages_open(pages, size);
    memset(pages, 0xff, size);
    regions[i] = (struct region){pages, size, pages + size - rounded};
    region_count = i == region_count ? i + 1 : region_count;
    *block = regions[i].block;
    emulated_memory_shut();
    return cudaSuccess;
}

cudaError_t cudaFree(void *block)
{
    bool found = block == NULL;
    emulated_memory_open();
    for (int i = 0; !found && i < region_count; i++) {
        if (regions[i].pages != NULL && regions[i].block == block) {
            CHECK(munmap(regions[i].pages, regions[i].size + PAGE) == 0);
            regions[i] = (struct region){0};
            found = true;
        }
    }
    emulated_memory_shut();
    CHECK(found); /* freed twice, or never allocated */
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **block, size_t bytes)
{
    *block = mem_alloc(bytes);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *block)
{
    mem_free(block);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    CHECK(stream->alive == ALIVE);
    CHECK(stream->advance == NULL);
    CHECK(kind >= cudaMemcpyHostToDevice && kind <= cudaMemcpyDeviceToDevice);
    emulated_memory_open();
    memcpy(to, from, bytes);
    emulated_memory_shut();
    return result_of("cudaMemcpyAsync");
}

cudaError_t cudaMemsetAsync(void *block, int value, size_t bytes, cudaStream_t stream)
{
    CHECK(stream->alive == ALIVE);
    emulated_memory_open();
    memset(block, value, bytes);
    emulated_memory_shut();
    return result_of("cudaMemsetAsync");
}

/* ---- streams and events ---------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = mem_alloc(sizeof(**stream));
    (*stream)->alive = ALIVE;
    return result_of("cudaStreamCreateWithFlags");
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    CHECK(stream->alive == ALIVE);
    stream->alive = 0;
    mem_free(stream);
    return cudaSuccess;
}

void emulated_stream_occupy(cudaStream_t stream, int (*advance)(void *argument), void *argument)
{
    CHECK(stream->alive == ALIVE);
    CHECK(advance == NULL || stream->advance == NULL);
    stream->advance = advance;
    stream->argument = argument;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    const cudaError_t result = result_of("cudaStreamQuery");
    CHECK(stream->alive == ALIVE);
    if (result != cudaSuccess || stream->advance == NULL) {
        return result;
    }
    emulated_memory_open();
    const bool done = stream->advance(stream->argument);
    emulated_memory_shut();
    if (done) {
        stream->advance = NULL;
    }
    return done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    CHECK(stream->alive == ALIVE);
    while (stream->advance != NULL && cudaStreamQuery(stream) == cudaErrorNotReady) {
        usleep(100);
    }
    return result_of("cudaStreamSynchronize");
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = mem_alloc(sizeof(**event));
    (*event)->alive = ALIVE;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    CHECK(event->alive == ALIVE);
    event->alive = 0;
    mem_free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    CHECK(event->alive == ALIVE && stream->alive == ALIVE);
    event->recorded = true;
    return cudaSuccess;
}

/* One that was never recorded is nothing to wait for, in CUDA too. */
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    CHECK(event->alive == ALIVE);
    return result_of("cudaEventSynchronize");
}

/* ---- the device ------------------------------------------------------------------------------ */

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return result_of("cudaGetDeviceCount");
}

cudaError_t cudaSetDevice(int device)
{
    CHECK(device == 0);
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    CHECK(device == 0);
    *properties = (struct cudaDeviceProp){
        .name = "an emulated GPU", .major = 9, .minor = 0, .multiProcessorCount = 4};
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = *total_bytes = (size_t)8 << 30;
    return cudaSuccess;
}
