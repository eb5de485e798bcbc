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

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/memory.h"
#include "lib/pool.h"
#include "worker/ops/ops.h"

/* Its address is NULL where worker/ops_cuda is not linked in. */
#pragma weak device_gpu

/* Fastest first: "cpu" takes the first that lacks nothing. */
static const struct implementation {
    const struct ops *ops;
    void (*lacks)(char lacks[ISA_LACKS_MAX]);
} implementations[] = {
    {&ops_amx, isa_lacks_amx},
    {&ops_avx512, isa_lacks_avx512},
    {&ops_avx2, isa_lacks_avx2},
    {&ops_ref, isa_lacks_nothing},
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
        char lacks[ISA_LACKS_MAX];
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
