/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise: one pass over memory, each element by itself.
 *
 * Where the arithmetic is plain IEEE (add), plain loops: the compiler makes the vectors and the
 * bits are those of the reference. Where an exponential is needed (swiglu), lanes.
 */
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane_math.h"
#include "worker/ops/cpu/ranges.h"

struct add {
    float *y;
    const float *x;
};

static void add_range(const void *op, int64_t begin, int64_t end)
{
    const struct add *add = op;
    add_floats(add->y + begin, add->x + begin, end - begin);
}

void OPS_FN(add)(struct device *device, float *y, const float *x, size_t count)
{
    struct add add = {y, x};
    OPS_FN(for_ranges)(device, (int64_t)count, LANES, 3, add_range, &add);
}

/* σ(g) = 1 / (1 + exp(−g)) */
static struct lanes sigmoid(struct lanes g)
{
    const struct lanes one = lanes_set1(1.0f);
    return lanes_div(one, lanes_add(one, lanes_exp(lanes_sub(lanes_zero(), g))));
}

struct swiglu {
    float *h, *dgate_up;
    const float *dh, *gate_up;
    int64_t F;
};

static void swiglu_forward_rows(const void *op, int64_t begin, int64_t end)
{
    const struct swiglu *swiglu = op;
    const int64_t F = swiglu->F;
    for (int64_t i = begin; i < end; i++) {
        const float *gate = swiglu->gate_up + 2 * i * F, *up = gate + F;
        float *h = swiglu->h + i * F;
        for (int64_t f = 0; f < F; f += LANES) {
            struct lanes g = lanes_load_some(gate + f, F - f, 0.0f);
            struct lanes u = lanes_load_some(up + f, F - f, 0.0f);
            lanes_store_some(h + f, F - f, lanes_mul(lanes_mul(g, sigmoid(g)), u));
        }
    }
}

void OPS_FN(swiglu_forward)(struct device *device, real *h, const real *gate_up, int32_t rows,
                            int32_t F)
{
    struct swiglu swiglu = {.h = h, .gate_up = gate_up, .F = F};
    OPS_FN(for_ranges)(device, rows, 1, (int64_t)3 * F, swiglu_forward_rows, &swiglu);
}

/* One vector of a row: dg = dh·u·σ·(1 + g·(1 − σ));  du = dh·g·σ. All is loaded before anything is
 * stored, so dgate may be gate. */
static inline void swiglu_backward_lanes(float *dgate, float *dup, float *h, const float *dh,
                                         const float *gate, const float *up, int64_t n)
{
    const struct lanes one = lanes_set1(1.0f);
    struct lanes g = lanes_load_some(gate, n, 0.0f);
    struct lanes u = lanes_load_some(up, n, 0.0f);
    struct lanes d = lanes_load_some(dh, n, 0.0f);
    struct lanes s = sigmoid(g);
    struct lanes silu = lanes_mul(g, s);
    struct lanes slope = lanes_mul(s, lanes_fma(g, lanes_sub(one, s), one));
    if (h) {
        lanes_store_some(h, n, lanes_mul(silu, u));
    }
    lanes_store_some(dgate, n, lanes_mul(lanes_mul(d, u), slope));
    lanes_store_some(dup, n, lanes_mul(d, silu));
}

static void swiglu_backward_rows(const void *op, int64_t begin, int64_t end)
{
    const struct swiglu *swiglu = op;
    const int64_t F = swiglu->F;
    for (int64_t i = begin; i < end; i++) {
        const float *gate = swiglu->gate_up + 2 * i * F, *dh = swiglu->dh + i * F;
        float *dgate = swiglu->dgate_up + 2 * i * F;
        float *h = swiglu->h ? swiglu->h + i * F : NULL;
        for (int64_t f = 0; f < F; f += LANES) {
            swiglu_backward_lanes(dgate + f, dgate + F + f, h ? h + f : NULL, dh + f, gate + f,
                                  gate + F + f, F - f);
        }
    }
}

void OPS_FN(swiglu_backward)(struct device *device, real *dgate_up, real *h, const real *dh,
                             const real *gate_up, int32_t rows, int32_t F)
{
    struct swiglu swiglu = {h, dgate_up, dh, gate_up, F};
    OPS_FN(for_ranges)(device, rows, 1, (int64_t)6 * F, swiglu_backward_rows, &swiglu);
}
