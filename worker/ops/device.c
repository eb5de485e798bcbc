/* SPDX-License-Identifier: Apache-2.0
 *
 * device: which implementation runs here.
 *
 * The choice is made once, when the device is opened: the fastest whose instructions this machine
 * has, or the one that was asked for by name. A name that cannot run here is an error, never a
 * silent fallback: someone who forces an instruction set wants to know what was measured.
 */
#include "worker/ops/device.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/memory.h"
#include "worker/ops/ops.h"

/* Its address is NULL where worker/ops_cuda is not linked in. */
#pragma weak device_gpu

/* What the processor lacks for an instruction set, by name: " fma avx2"; empty if it can run. The
 * builtin takes string literals only, so this is a list and not a loop. Processors with AVX2 also
 * have F16C, which clang's builtin does not know. */
enum { LACKS_MAX = 96 };

#define LACKS(feature) (__builtin_cpu_supports(feature) ? "" : " " feature)

static void lacks_nothing(char lacks[LACKS_MAX])
{
    lacks[0] = '\0';
}

static void lacks_for_avx2(char lacks[LACKS_MAX])
{
    snprintf(lacks, LACKS_MAX, "%s%s", LACKS("avx2"), LACKS("fma"));
}

static void lacks_for_avx512(char lacks[LACKS_MAX])
{
    snprintf(lacks, LACKS_MAX, "%s%s%s%s%s", LACKS("avx512f"), LACKS("avx512bw"), LACKS("avx512vl"),
             LACKS("avx512dq"), LACKS("fma"));
}

/* Also asks the kernel for the tile registers, which a process has to; threads started later have
 * them too. The builtin of older compilers knows none of these. */
static void lacks_for_amx(char lacks[LACKS_MAX])
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILE_DATA = 18 };
    enum { AVX512_BF16 = 1 << 5, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a = 0, b, c, d = 0, more = 0, unused;
    lacks_for_avx512(lacks);
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    __get_cpuid_count(7, 1, &more, &b, &c, &unused);
    const bool instructions =
        (d & AMX_BF16) != 0 && (d & AMX_TILE) != 0 && (more & AVX512_BF16) != 0;
    const bool granted =
        instructions && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA) == 0;
    const size_t length = strlen(lacks);
    snprintf(lacks + length, LACKS_MAX - length, "%s",
             !instructions ? " amx_bf16"
             : !granted    ? " amx_bf16 (the kernel denies it)"
                           : "");
}

/* Fastest first: "cpu" takes the first that lacks nothing. */
static const struct implementation {
    const struct ops *ops;
    void (*lacks)(char lacks[LACKS_MAX]);
} implementations[] = {
    {&ops_amx, lacks_for_amx},
    {&ops_avx512, lacks_for_avx512},
    {&ops_avx2, lacks_for_avx2},
    {&ops_ref, lacks_nothing},
};

static enum status choose_processor(const char *isa, const struct ops **ops_out,
                                    struct error *error)
{
    const bool automatic = strcmp(isa, "auto") == 0 || strcmp(isa, "cpu") == 0;
    for (size_t i = 0; i < sizeof(implementations) / sizeof(*implementations); i++) {
        const struct implementation *implementation = &implementations[i];
        if (!automatic && strcmp(isa, implementation->ops->name) != 0) {
            continue;
        }
        char lacks[LACKS_MAX];
        implementation->lacks(lacks);
        if (lacks[0] == '\0') {
            *ops_out = implementation->ops;
            return STATUS_OK;
        }
        if (!automatic) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "instruction set \"%s\" cannot run here: this processor lacks%s; "
                             "use \"auto\"",
                             isa, lacks);
        }
    }
    return error_set(
        error, STATUS_USAGE,
        "unknown instruction set \"%s\": use auto, cpu, cuda, amx, avx512, avx2 or ref", isa);
}

bool device_gpu_is_linked(void)
{
    return &device_gpu != NULL;
}

/* A GPU where the executable has one and none of the processor's is asked for by name. */
static enum status choose(const char *isa, const struct ops **ops_out, struct error *error)
{
    const bool named = strcmp(isa, "cuda") == 0;
    if (device_gpu_is_linked() && (named || strcmp(isa, "auto") == 0)) {
        *ops_out = device_gpu.ops;
        return STATUS_OK;
    }
    if (named) {
        return error_set(
            error, STATUS_UNSUPPORTED,
            "this executable cannot use a GPU: run tailor-trainer-cuda, which is built "
            "with -DTAILOR_CUDA=ON");
    }
    return choose_processor(isa, ops_out, error);
}

static bool is_on_gpu(const struct device *device)
{
    return device->context != NULL;
}

enum status device_open(const struct device_options *options, struct device **device_out,
                        struct error *error)
{
    CHECK(options->threads >= 0 && options->threads <= POOL_THREADS_MAX);
    const char *isa = options->isa ? options->isa : getenv("TAILOR_ISA");
    const struct ops *ops;
    TRY(choose(isa && isa[0] != '\0' ? isa : "auto", &ops, error));
    struct device *device = mem_alloc(sizeof(*device));
    device->ops = ops;
    device->pool = pool_create(options->threads > 0 ? options->threads : cpu_count());
    device->dtype = options->dtype;
    const bool gpu = device_gpu_is_linked() && ops == device_gpu.ops;
    const enum status status = gpu ? device_gpu.open(device, error) : STATUS_OK;
    if (status != STATUS_OK) {
        device_close(device);
        return status;
    }
    *device_out = device;
    return STATUS_OK;
}

void device_close(struct device *device)
{
    CHECK(device->packed == NULL); /* the owner of the weights is gone first */
    if (device->scratch) {
        device->ops->block_free(device, device->scratch, device->scratch_size);
    }
    if (is_on_gpu(device)) {
        device_gpu.close(device);
    }
    pool_free(device->pool);
    mem_free(device);
}

/* ---- what it is ------------------------------------------------------------------------------ */

bool device_shares_memory(const struct device *device)
{
    return !is_on_gpu(device);
}

void device_wait(struct device *device)
{
    if (is_on_gpu(device)) {
        device_gpu.wait(device);
    }
}

size_t device_memory_available(const struct device *device)
{
    return is_on_gpu(device) ? device_gpu.memory_available(device) : memory_available("");
}

void device_hardware(const struct device *device, char name_out[DEVICE_NAME_BYTES])
{
    unsigned words[12] = {0};
    if (is_on_gpu(device)) {
        snprintf(name_out, DEVICE_NAME_BYTES, "%s", device_gpu.hardware(device));
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                    &words[4 * i + 3]);
    }
    snprintf(name_out, DEVICE_NAME_BYTES, "%.48s", (const char *)words);
}

bool device_multiplies_bf16(const struct device *device)
{
    return device->dtype == DTYPE_BF16 && (device->ops == &ops_amx || is_on_gpu(device));
}

enum dtype numerics_dtype(const char *numerics)
{
    return strncmp(numerics, "bf16", strlen("bf16")) == 0 ? DTYPE_BF16 : DTYPE_FP32;
}

const char *device_numerics(const struct device *device)
{
    const bool reference = device->ops == &ops_ref;
    if (is_on_gpu(device)) {
        return device->dtype == DTYPE_BF16 ? "bf16-cuda-1" : "fp32-cuda-1";
    }
    if (device_multiplies_bf16(device)) {
        return "bf16-amx-1";
    }
    if (device->dtype == DTYPE_BF16) {
        return reference ? "bf16-emulated-chain-2/ref" : "bf16-emulated-chain-2";
    }
    return reference ? "fp32-chain-2/ref" : "fp32-chain-2";
}
