/* SPDX-License-Identifier: Apache-2.0
 *
 * half: the two 16-bit floats of checkpoint files, to and from fp32, rounding to nearest even.
 *
 * Bit arithmetic, not F16C or _Float16: files must come out the same on every machine, and the
 * time goes into memory anyway.
 */
#ifndef TAILOR_WORKER_MODEL_HALF_H
#define TAILOR_WORKER_MODEL_HALF_H

#include <stddef.h>
#include <stdint.h>

float half_f16_widen(uint16_t bits);
float half_bf16_widen(uint16_t bits);
/* Too large becomes infinity, NaN stays NaN: the callers look for both. */
uint16_t half_f16_round(float value);
uint16_t half_bf16_round(float value);

/* How many of values[0 … count) come before the first NaN or infinity. */
size_t finite_prefix(const float *values, size_t count);

#endif
