/* SPDX-License-Identifier: Apache-2.0
 *
 * lora: a frozen linear layer with low-rank updates, each range of rows with its own adapter.
 *
 * The update's wide product (u Bᵀ forward, du A backward) is not one of its own, which would read
 * and write all of y again: it is the tail of the layer's product (gemm.h), r more steps of chains
 * whose tile is still in the first-level cache. Where there is no such product it is computed
 * apart; the chains are the same. The narrow products (x Aᵀ, dy B, and the factors' gradients) have
 * one side of r numbers; the A of all parts are stacked, so that x is read once.
 *
 * The factors are fp32 unless the device multiplies bf16 by instructions of its own: rounding gains
 * nothing where the product is fp32 anyway. Ranges are done one
 * after the other, so that an adapter that serves several keeps one chain in its gradients.
 */
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/linear.h"
#include "worker/ops/cpu/ranges.h"
#include "worker/ops/cpu/scratch.h"

static void product(struct device *device, struct gemm gemm)
{
    gemm.bf16 = device_multiplies_bf16(device);
    OPS_FN(gemm)(device->pool, &gemm, OPS_FN(scratch_gemm)(device));
}

/* One range of rows with what its adapter is in each part. */
struct range_view {
    int64_t row0, rows, r;
    float scale;
    const struct lora_factors *factors[LORA_PARTS_MAX];
};

static struct range_view view_of(const struct lora *lora, int32_t t, int32_t rows, int32_t N)
{
    const struct lora_range *range = &lora->ranges[t];
    struct range_view view = {.row0 = range->row0, .rows = range->rows};
    CHECK(lora->part_count >= 1 && lora->part_count <= LORA_PARTS_MAX);
    CHECK(range->row0 >= 0 && range->row0 + range->rows <= rows);
    for (int32_t p = 0; p < lora->part_count; p++) {
        view.factors[p] = &lora->parts[p].adapters[range->adapter];
        CHECK(lora->parts[p].column + lora->parts[p].N <= N);
        CHECK(view.factors[p]->r == view.factors[0]->r);
        CHECK(view.factors[p]->scale == view.factors[0]->scale);
    }
    view.r = view.factors[0]->r;
    view.scale = view.factors[0]->scale;
    CHECK(lora->ldu >= lora->part_count * view.r);
    return view;
}

struct scaling {
    float *u;
    int64_t ldu, columns;
    float scale;
};

static void scale_range(const void *op, int64_t begin, int64_t end)
{
    const struct scaling *scaling = op;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t j = 0; j < scaling->columns; j++) {
            scaling->u[i * scaling->ldu + j] *= scaling->scale;
        }
    }
}

static void scale_rows(struct device *device, float *u, int64_t ldu, int64_t rows, int64_t columns,
                       float scale)
{
    const struct scaling scaling = {.u = u, .ldu = ldu, .columns = columns, .scale = scale};
    OPS_FN(for_ranges)(device, rows, 1, 2 * columns, scale_range, &scaling);
}

/* The parts' A (r, K) under each other, (part_count · r, K). */
static const float *stack_a(struct device *device, const struct lora *lora,
                            const struct range_view *view, int64_t K)
{
    if (lora->part_count == 1) {
        return view->factors[0]->A;
    }
    const size_t floats = (size_t)(view->r * K), bytes = size_mul(floats, sizeof(float));
    float *stack = OPS_FN(scratch_stack)(device, size_mul(bytes, (size_t)lora->part_count));
    for (int32_t p = 0; p < lora->part_count; p++) {
        memcpy(stack + (size_t)p * floats, view->factors[p]->A, bytes);
    }
    return stack;
}

/* The deepest tail that the ranges' adapters make of `parts` parts. */
static int64_t tail_depth(const struct lora *lora, int64_t parts)
{
    int64_t depth = 0;
    for (int32_t t = 0; t < lora->range_count; t++) {
        const int64_t r = lora->parts[0].adapters[lora->ranges[t].adapter].r;
        depth = parts * r > depth ? parts * r : depth;
    }
    return depth;
}

/* C = A·B and its tails; without B, C is there already. */
static void product_with_tails(struct device *device, struct gemm base,
                               const struct gemm_tail *tails, int64_t count, int64_t depth)
{
    base.tails = tails;
    base.tail_count = count;
    base.tail_depth = depth;
    if (base.b) {
        OPS_FN(gemm)(device->pool, &base, OPS_FN(scratch_gemm)(device));
    } else {
        OPS_FN(gemm_tails)(device->pool, &base, OPS_FN(scratch_gemm)(device));
    }
}

/* ---- forward --------------------------------------------------------------------------------- */

void OPS_FN(lora_forward)(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                          const real *w, const real *bias, const struct lora *lora, int32_t rows,
                          int32_t N, int32_t K)
{
    CHECK((!y || ldy >= N) && ldx >= K);
    const int32_t parts = lora->part_count;
    struct gemm_tail *tails = mem_alloc(sizeof(*tails) * (size_t)(lora->range_count * parts + 1));
    for (int32_t t = 0; t < lora->range_count; t++) {
        const struct range_view view = view_of(lora, t, rows, N);
        float *u = lora->u + view.row0 * lora->ldu;
        product(device, (struct gemm){
                            .c = u,
                            .ldc = lora->ldu,
                            .a = x + view.row0 * ldx,
                            .a_row = ldx,
                            .a_k = 1,
                            .b = stack_a(device, lora, &view, K),
                            .b_k = 1,
                            .b_n = K,
                            .M = view.rows,
                            .N = parts * view.r,
                            .K = K,
                        });
        scale_rows(device, u, lora->ldu, view.rows, parts * view.r, view.scale);
        for (int32_t p = 0; p < parts; p++) {
            tails[t * parts + p] = (struct gemm_tail){.row0 = view.row0,
                                                      .rows = view.rows,
                                                      .column0 = lora->parts[p].column,
                                                      .columns = lora->parts[p].N,
                                                      .K = view.r,
                                                      .a = u + p * view.r,
                                                      .a_row = lora->ldu,
                                                      .b = view.factors[p]->B,
                                                      .b_k = 1,
                                                      .b_n = view.r};
        }
    }
    if (y) {
        struct gemm base = OPS_FN(linear_product_forward)(device, y, ldy, x, ldx, w, rows, N, K);
        base.bias = bias;
        product_with_tails(device, base, tails, (int64_t)lora->range_count * parts,
                           tail_depth(lora, 1));
    }
    mem_free(tails);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* dB += dyᵀ u;  dA += duᵀ x */
static void factor_gradients(struct device *device, const struct lora_factors *adapter,
                             const float *dy, int64_t lddy, const float *u, int64_t ldu,
                             const float *du, int64_t lddu, const float *x, int64_t ldx,
                             int64_t rows, int64_t N, int64_t K)
{
    const int64_t r = adapter->r;
    if (adapter->dB) {
        product(device, (struct gemm){
                            .c = adapter->dB,
                            .ldc = r,
                            .a = dy,
                            .a_row = 1,
                            .a_k = lddy,
                            .b = u,
                            .b_k = ldu,
                            .b_n = 1,
                            .M = N,
                            .N = r,
                            .K = rows,
                            .accumulate = true,
                        });
    }
    if (adapter->dA) {
        product(device, (struct gemm){
                            .c = adapter->dA,
                            .ldc = K,
                            .a = du,
                            .a_row = 1,
                            .a_k = lddu,
                            .b = x,
                            .b_k = ldx,
                            .b_n = 1,
                            .M = r,
                            .N = K,
                            .K = rows,
                            .accumulate = true,
                        });
    }
}

void OPS_FN(lora_backward)(struct device *device, real *dx, int32_t lddx, const real *dy,
                           int32_t lddy, const real *x, int32_t ldx, const real *w,
                           const struct lora *lora, int32_t rows, int32_t N, int32_t K)
{
    CHECK((!dx || lddx >= K) && lddy >= N && ldx >= K);
    const int32_t parts = lora->part_count;
    const int64_t depth = tail_depth(lora, parts);
    struct gemm_tail *tails = mem_alloc(sizeof(*tails) * (size_t)(lora->range_count * parts + 1));
    float *du_all = OPS_FN(scratch_rows)(device, size_mul((size_t)(rows * depth), sizeof(float)));
    for (int32_t t = 0; t < lora->range_count; t++) {
        const struct range_view view = view_of(lora, t, rows, N);
        float *du_rows = du_all + view.row0 * depth;
        const float *dy_rows = dy + view.row0 * lddy;
        for (int32_t p = 0; p < parts; p++) {
            const struct lora_part *part = &lora->parts[p];
            float *du = du_rows + p * view.r;
            product(device, (struct gemm){
                                .c = du,
                                .ldc = depth,
                                .a = dy_rows + part->column,
                                .a_row = lddy,
                                .a_k = 1,
                                .b = view.factors[p]->B,
                                .b_k = view.r,
                                .b_n = 1,
                                .M = view.rows,
                                .N = view.r,
                                .K = part->N,
                            });
            scale_rows(device, du, depth, view.rows, view.r, view.scale);
            factor_gradients(device, view.factors[p], dy_rows + part->column, lddy,
                             lora->u + view.row0 * lora->ldu + p * view.r, lora->ldu, du, depth,
                             x + view.row0 * ldx, ldx, view.rows, part->N, K);
            tails[t * parts + p] = (struct gemm_tail){.row0 = view.row0,
                                                      .rows = view.rows,
                                                      .columns = K,
                                                      .K = view.r,
                                                      .a = du,
                                                      .a_row = depth,
                                                      .b = view.factors[p]->A,
                                                      .b_k = K,
                                                      .b_n = 1,
                                                      .depth = p * view.r};
        }
    }
    if (dx) {
        const struct gemm base =
            OPS_FN(linear_product_backward_input)(device, dx, lddx, dy, lddy, w, rows, N, K);
        product_with_tails(device, base, tails, (int64_t)lora->range_count * parts, depth);
    }
    mem_free(tails);
}
