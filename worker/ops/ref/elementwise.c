/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise: the gate of the feed-forward layer, picking rows, adding.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

/* h = silu(g)·u, where silu(g) = g·σ(g) and σ(g) = 1 / (1 + exp(−g)) */
void ref_swiglu_forward(struct device *device, real *h, const real *gate_up, int32_t rows,
                        int32_t F)
{
    (void)device;
    for (int32_t i = 0; i < rows; i++) {
        const float *gate = gate_up + (size_t)i * 2 * F;
        const float *up = gate + F;
        float *h_row = h + (size_t)i * F;
        for (int32_t f = 0; f < F; f++) {
            float sigmoid = 1.0f / (1.0f + expf(-gate[f]));
            h_row[f] = gate[f] * sigmoid * up[f];
        }
    }
}

/* dg = dh·u·σ·(1 + g·(1 − σ));  du = dh·silu(g). All is read before anything is written, so that
 * dgate_up may be gate_up. */
void ref_swiglu_backward(struct device *device, real *dgate_up, real *h, const real *dh,
                         const real *gate_up, int32_t rows, int32_t F)
{
    (void)device;
    for (int32_t i = 0; i < rows; i++) {
        const float *gate = gate_up + (size_t)i * 2 * F;
        float *dgate = dgate_up + (size_t)i * 2 * F;
        for (int32_t f = 0; f < F; f++) {
            float g = gate[f];
            float u = gate[F + f];
            float gradient = dh[(size_t)i * F + f];
            float sigmoid = 1.0f / (1.0f + expf(-g));
            if (h) {
                h[(size_t)i * F + f] = g * sigmoid * u;
            }
            dgate[f] = gradient * u * sigmoid * (1.0f + g * (1.0f - sigmoid));
            dgate[F + f] = gradient * g * sigmoid;
        }
    }
}

void ref_gather_rows(struct device *device, real *y, const real *x, const int32_t *index,
                     int32_t rows, int32_t C)
{
    (void)device;
    for (int32_t i = 0; i < rows; i++) {
        CHECK(index[i] >= 0);
        memcpy(y + (size_t)i * C, x + (size_t)index[i] * C, (size_t)C * sizeof(*y));
    }
}

/* The gradient of gather_rows: dx[index[i]] += dy[i], in ascending i. */
void ref_scatter_add_rows(struct device *device, real *dx, const real *dy, const int32_t *index,
                          int32_t rows, int32_t C)
{
    for (int32_t i = 0; i < rows; i++) {
        CHECK(index[i] >= 0);
        ref_add(device, dx + (size_t)index[i] * C, dy + (size_t)i * C, (size_t)C);
    }
}

void ref_add(struct device *device, float *y, const float *x, size_t count)
{
    (void)device;
    for (size_t i = 0; i < count; i++) {
        y[i] += x[i];
    }
}
