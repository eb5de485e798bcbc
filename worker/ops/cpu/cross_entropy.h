/* SPDX-License-Identifier: Apache-2.0
 *
 * cross_entropy: what a chunk needs of scratch. For scratch.c.
 */
#ifndef TAILOR_WORKER_OPS_CPU_CROSS_ENTROPY_H
#define TAILOR_WORKER_OPS_CPU_CROSS_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

#include "worker/ops/cpu/isa.h"

size_t OPS_FN(cross_entropy_rows_bytes)(int32_t C, int32_t V);
size_t OPS_FN(cross_entropy_logits_bytes)(int32_t V);

#endif
