/* SPDX-License-Identifier: Apache-2.0
 *
 * device: one table of ops (ops.h, which includes this) with what its calls share, and what is
 * known of the hardware below.
 */
#ifndef TAILOR_WORKER_OPS_DEVICE_H
#define TAILOR_WORKER_OPS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/pool.h"
#include "lib/status.h"
#include "worker/ops/operands.h"

struct device;
struct ops;

struct device_options {
    /* An implementation's name; "cpu", the fastest for this processor; "auto", the GPU in an
     * executable for GPUs and else as "cpu". NULL: TAILOR_ISA or auto. */
    const char *isa;
    int threads; /* 0: cpu_count() */
    enum dtype dtype;
};

struct device {
    const struct ops *ops;
    struct pool *pool;
    enum dtype dtype;
    void *scratch; /* from block_alloc; what lies where is the implementation's affair */
    size_t scratch_size;
    void *packed;  /* of weights_keep; likewise the implementation's affair */
    void *context; /* a GPU's stream and handles; NULL on a processor */
};

/* STATUS_UNSUPPORTED names the missing instructions when a forced isa is not on this machine, and
 * what CUDA says when there is no GPU to use: another device is never taken instead. */
enum status device_open(const struct device_options *options, struct device **device_out,
                        struct error *error);
void device_close(struct device *device);

/* The implementations, always linked; device_open asks the processor which of them can run. */
extern const struct ops ops_ref;
extern const struct ops ops_avx2;
extern const struct ops ops_avx512;
extern const struct ops ops_amx; /* AVX-512, and bf16 products by matrix instructions */

/* What a GPU is to device_open: its table, and what makes and ends device->context. close is called
 * also when open has failed after making one. */
struct device_gpu {
    const struct ops *ops;
    enum status (*open)(struct device *device, struct error *error);
    void (*close)(struct device *device);
    void (*wait)(struct device *device);
    size_t (*memory_available)(const struct device *device);
    const char *(*hardware)(const struct device *device);
};
/* In executables that link worker/ops_cuda; device_open looks whether it is there. */
extern const struct device_gpu device_gpu;

bool device_gpu_is_linked(void);

/* Returns when what was queued on a GPU has been computed; a processor has nothing queued. */
void device_wait(struct device *device);
/* Where the host needs to see a block of a GPU, it takes pieces of at most so many floats. */
enum { DEVICE_PIECE_FLOATS = 1 << 20 };
/* Whether the host reads and writes the device's memory as its own, as with processors. */
bool device_shares_memory(const struct device *device);
/* Bytes that block_alloc may still get: lib/memory.h, or the GPU's own. 0: unknown. */
size_t device_memory_available(const struct device *device);
/* The processor's or the GPU's name, as it says itself. */
enum { DEVICE_NAME_BYTES = 64 };
void device_hardware(const struct device *device, char name_out[DEVICE_NAME_BYTES]);

/* What the bits of a run depend on: "fp32-chain-2", "bf16-emulated-chain-2", "bf16-amx-1",
 * "fp32-cuda-1" or "bf16-cuda-1". All of ref, AVX2, AVX-512 and (in fp32) AMX share one id for the
 * products; the other ops of ref differ from the vector ones, hence "…/ref". */
const char *device_numerics(const struct device *device);

/* The dtype in a numerics id. */
enum dtype numerics_dtype(const char *numerics);

/* Whether the device's dtype is bf16 and it has instructions for that. */
bool device_multiplies_bf16(const struct device *device);

#endif
