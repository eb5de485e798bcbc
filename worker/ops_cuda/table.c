/* SPDX-License-Identifier: Apache-2.0
 *
 * table: the table of the second device.
 */
#include "worker/ops_cuda/cuda.h"

#define CUDA_ENTRY(op) .op = cuda_##op,

const struct ops ops_cuda = {.name = "cuda",
                             OPS_THAT_HOLD(CUDA_ENTRY) OPS_THAT_COMPUTE(CUDA_ENTRY)};
