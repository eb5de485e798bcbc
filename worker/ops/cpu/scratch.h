/* SPDX-License-Identifier: Apache-2.0
 *
 * scratch: how device->scratch is divided.
 *
 * One block, allocated by scratch_reserve for the largest shape a job has. It begins with the
 * table of its areas, so an op needs the device alone to find its own. Areas never overlap: an op
 * may call another (lora calls gemm) without asking who uses what. Every area and every thread's
 * slice is 64-byte aligned, slices are padded so that no two threads share a line.
 *
 *   gemm              packed panels: fixed for a number of threads
 *   rows              du of lora_backward; gathered rows of cross_entropy
 *   stack             the A of a product's parts under each other (lora)
 *   logits            one chunk of cross_entropy
 *   norm              norm_scratch_bytes(shape): block sums of a norm weight's gradient
 *   attention shared  attention_shared_bytes(shape)
 *   attention thread  threads × attention_scratch_bytes(shape)
 */
#ifndef TAILOR_WORKER_OPS_CPU_SCRATCH_H
#define TAILOR_WORKER_OPS_CPU_SCRATCH_H

#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

enum { SCRATCH_ALIGN = 64 };

struct scratch_area {
    size_t offset, size;
};

/* Accessors CHECK that the area was reserved with at least `bytes`. */
void *OPS_FN(scratch_gemm)(const struct device *device);
float *OPS_FN(scratch_rows)(const struct device *device, size_t bytes);
float *OPS_FN(scratch_stack)(const struct device *device, size_t bytes);
float *OPS_FN(scratch_logits)(const struct device *device, size_t bytes);
float *OPS_FN(scratch_norm)(const struct device *device, size_t bytes);
void *OPS_FN(scratch_attention_shared)(const struct device *device, size_t bytes);
void *OPS_FN(scratch_attention)(const struct device *device, int thread, size_t bytes);

/* norm.c gives its needs; attention_plan.c for one thread, and for all together. Pure functions. */
size_t OPS_FN(norm_scratch_bytes)(const struct scratch_shape *shape);
size_t OPS_FN(attention_scratch_bytes)(const struct scratch_shape *shape);
size_t OPS_FN(attention_shared_bytes)(const struct scratch_shape *shape);

#endif
