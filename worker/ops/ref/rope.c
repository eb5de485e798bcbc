/* SPDX-License-Identifier: Apache-2.0
 *
 * rope: rotary position embedding in the "rotate halves" convention of Llama and Qwen.
 *
 * Pair j of a head, (x[j], x[j + D/2]), is turned by the angle position·θ_j. The gradient of a
 * rotation is the rotation back.
 */
#include "lib/check.h"
#include "worker/ops/ref/ref.h"

void ref_rope(struct device *device, real *x, int32_t ldx, const int32_t *position,
              const float *table, int32_t rows, int32_t heads, int32_t D, bool backward)
{
    (void)device;
    CHECK(D % 2 == 0 && ldx >= heads * D);
    for (int32_t i = 0; i < rows; i++) {
        const float *angles = table + (size_t)position[i] * D; /* D/2 pairs of cos, sin */
        for (int32_t h = 0; h < heads; h++) {
            float *head = x + (size_t)i * ldx + (size_t)h * D;
            /* (a, b)  →  (a·c − b·s, b·c + a·s) */
            for (int32_t j = 0; j < D / 2; j++) {
                float c = angles[2 * j];
                float s = backward ? -angles[2 * j + 1] : angles[2 * j + 1];
                float a = head[j];
                float b = head[j + D / 2];
                head[j] = a * c - b * s;
                head[j + D / 2] = b * c + a * s;
            }
        }
    }
}
