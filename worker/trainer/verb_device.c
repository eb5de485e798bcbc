/* SPDX-License-Identifier: Apache-2.0
 *
 * device: what this program computes on, in one line, or why it cannot; for tailor doctor.
 */
#include <stdio.h>

#include "lib/text.h"
#include "worker/comm/comm.h"
#include "worker/ops/ops.h"
#include "worker/trainer/verbs.h"

enum status verb_device(const struct arguments *arguments, struct error *error)
{
    const bool gpu = device_gpu_is_linked();
    struct device *device;
    char name[DEVICE_NAME_BYTES], free_bytes[16];
    (void)arguments;
    TRY(device_open(&(struct device_options){.isa = gpu ? "cuda" : "cpu"}, &device, error));
    device_hardware(device, name);
    format_bytes((double)device_memory_available(device), free_bytes);
    printf("device: %s, %s free, numerics %s%s\n", name, free_bytes, device_numerics(device),
           !gpu                    ? ""
           : comm_nccl_is_linked() ? ", with NCCL"
                                   : ", without NCCL: ranks sum through the host");
    device_close(device);
    return STATUS_OK;
}
