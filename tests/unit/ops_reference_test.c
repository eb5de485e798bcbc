/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference's forward passes and optimizer against numbers worked out by hand. Gradient tests
 * cannot see a forward pass that is wrong in the same way as its backward pass.
 */
#include <math.h>
#include <string.h>

#include "tests/ops_gradient.h"
#include "tests/test.h"
#include "worker/ops/bf16.h"

/* ---- bf16 ------------------------------------------------------------------------------------ */

static uint32_t rounded_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    x = bf16_round(x);
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

TEST(bf16_rounds_to_nearest_and_ties_to_even)
{
    EXPECT_I64(0x3f800000, rounded_bits(0x3f800000)); /* 1 */
    EXPECT_I64(0x3f800000, rounded_bits(0x3f807fff)); /* just below the tie */
    EXPECT_I64(0x3f800000, rounded_bits(0x3f808000)); /* tie: down to even */
    EXPECT_I64(0x3f810000, rounded_bits(0x3f808001)); /* just above */
    EXPECT_I64(0x3f820000, rounded_bits(0x3f818000)); /* tie: up to even */
    EXPECT_I64(0x40000000, rounded_bits(0x3fffffff)); /* carries into the exponent */
    EXPECT_I64(0x80000000, rounded_bits(0x80000000)); /* -0 */
    EXPECT_I64(0x00010000, rounded_bits(0x0000c000)); /* subnormal */
    EXPECT_I64(0x7f800000, rounded_bits(0x7f7fffff)); /* too large: infinity */
    EXPECT_I64(0xff800000, rounded_bits(0xff800000)); /* -infinity */
    EXPECT_I64(0x7fc00000, rounded_bits(0x7f800001)); /* NaN stays NaN */
    EXPECT_I64(0xffff0000, rounded_bits(0xffffffff));
}

static struct matrix rounded(struct fixture *fixture, struct matrix block)
{
    struct matrix copy = copy_matrix(fixture, block);
    for (int32_t i = 0; i < copy.rows * copy.width; i++) {
        copy.at[i] = bf16_round(copy.at[i]);
    }
    return copy;
}

/* Blocks of one random product: all three directions, in the device's dtype. */
struct products {
    int32_t rows, N, K;
    struct matrix x, w, dy, bias, y, dx, dw;
};

static void run_products(const struct products *t, enum dtype dtype)
{
    struct device *device = gradient_device();
    const struct ops *ops = device->ops;
    device->dtype = dtype;
    ops->linear_forward(device, t->y.at, t->N, t->x.at, t->K, t->w.at, t->bias.at, t->rows, t->N,
                        t->K, false);
    ops->linear_backward_input(device, t->dx.at, t->K, t->dy.at, t->N, t->w.at, t->rows, t->N, t->K,
                               false);
    ops->linear_backward_weight(device, t->dw.at, NULL, t->dy.at, t->N, t->x.at, t->K, t->rows,
                                t->N, t->K);
    device->dtype = DTYPE_FP32;
}

/* The factors are rounded; the chain, its beginning and its end are not. */
TEST(a_bf16_device_multiplies_rounded_factors_exactly)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct fixture fixture = {.seed = seed};
        struct products t = {.rows = draw_int(&fixture, 1, 5),
                             .N = draw_int(&fixture, 1, 9),
                             .K = draw_int(&fixture, 1, 40)};
        t.x = draw_block(&fixture, t.rows, t.K);
        t.w = draw_block(&fixture, t.N, t.K);
        t.dy = draw_block(&fixture, t.rows, t.N);
        t.bias = draw_block(&fixture, 1, t.N);
        t.y = blank_block(&fixture, t.rows, t.N);
        t.dx = blank_block(&fixture, t.rows, t.K);
        t.dw = draw_block(&fixture, t.N, t.K);
        struct products exact = t;
        exact.x = rounded(&fixture, t.x);
        exact.w = rounded(&fixture, t.w);
        exact.dy = rounded(&fixture, t.dy);
        exact.y = copy_matrix(&fixture, t.y);
        exact.dx = copy_matrix(&fixture, t.dx);
        exact.dw = copy_matrix(&fixture, t.dw);
        run_products(&t, DTYPE_BF16);
        run_products(&exact, DTYPE_FP32);
        EXPECT_BYTES(exact.y.at, t.y.at, (size_t)t.rows * t.N * sizeof(float));
        EXPECT_BYTES(exact.dx.at, t.dx.at, (size_t)t.rows * t.K * sizeof(float));
        EXPECT_BYTES(exact.dw.at, t.dw.at, (size_t)t.N * t.K * sizeof(float));
        fixture_end(&fixture);
    }
}

/* ---- matrix products ------------------------------------------------------------------------- */

static float product(const float *x, const float *w, float bias, int32_t K)
{
    struct device *device = gradient_device();
    float y = NAN;
    device->ops->linear_forward(device, &y, 1, x, K, w, &bias, 1, 1, K, false);
    return y;
}

TEST(a_product_is_one_chain_of_fused_multiply_adds_in_order)
{
    /* (1 + 2^-12)² = 1 + 2^-11 + 2^-24: unfused, the last bit is lost before the sum. */
    const float a[] = {1.0f + 0x1p-12f};
    EXPECT_CLOSE(0x1p-24, product(a, a, -(1.0f + 0x1p-11f), 1), 0.0);
    /* 2^24 swallows the 1 if it comes first and not if it comes last. */
    const float ones[] = {1.0f, 1.0f, 1.0f};
    const float lost[] = {0x1p24f, 1.0f, -0x1p24f};
    const float kept[] = {0x1p24f, -0x1p24f, 1.0f};
    EXPECT_CLOSE(0.0, product(lost, ones, 0.0f, 3), 0.0);
    EXPECT_CLOSE(1.0, product(kept, ones, 0.0f, 3), 0.0);
}

TEST(linear_forward_is_x_times_w_transposed)
{
    struct device *device = gradient_device();
    const float x[] = {1.0f, 2.0f, 99.0f, 3.0f, 4.0f, 99.0f}; /* two rows of two, stride three */
    const float w[] = {1.0f, 0.0f, 0.0f, 1.0f, 1.0f, -1.0f};  /* three outputs */
    const float bias[] = {10.0f, 20.0f, 30.0f};
    float y[6];
    device->ops->linear_forward(device, y, 3, x, 3, w, bias, 2, 3, 2, false);
    const float expected[] = {11.0f, 22.0f, 29.0f, 13.0f, 24.0f, 29.0f};
    EXPECT_BYTES(expected, y, sizeof(y));
    device->ops->linear_forward(device, y, 3, x, 3, w, NULL, 2, 3, 2, true);
    const float twice[] = {12.0f, 24.0f, 28.0f, 16.0f, 28.0f, 28.0f};
    EXPECT_BYTES(twice, y, sizeof(y));
}

TEST(lora_adds_the_scaled_low_rank_product_to_its_rows_only)
{
    struct device *device = gradient_device();
    const float x[] = {1.0f, 2.0f, 3.0f, 4.0f}; /* two rows */
    const float A[] = {1.0f, 1.0f};
    const float B[] = {1.0f, 10.0f, 100.0f};
    const struct lora_factors adapters[] = {{.A = B, .B = B, .r = 1, .scale = 1.0f},
                                            {.A = A, .B = B, .r = 1, .scale = 2.0f}};
    const struct lora_range range = {.row0 = 1, .rows = 1, .adapter = 1};
    const struct lora_part part = {.N = 3, .adapters = adapters};
    float y[] = {5.0f, 5.0f, 5.0f, 5.0f, 5.0f, 5.0f};
    float u[] = {-1.0f, -1.0f};
    const struct lora lora = {
        .parts = &part, .part_count = 1, .ranges = &range, .range_count = 1, .u = u, .ldu = 1};
    device->ops->lora_forward(device, y, 3, x, 2, NULL, NULL, &lora, 2, 3, 2);
    const float expected[] = {5.0f, 5.0f, 5.0f, 19.0f, 145.0f, 1405.0f};
    EXPECT_BYTES(expected, y, sizeof(y));
    EXPECT_CLOSE(-1.0, u[0], 0.0);
    EXPECT_CLOSE(14.0, u[1], 0.0);
}

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(rmsnorm_divides_by_the_root_of_the_mean_square_of_the_sum)
{
    struct device *device = gradient_device();
    const float x[] = {1.0f, 1.0f};
    const float delta[] = {2.0f, 3.0f};
    const float w[] = {1.0f, 2.0f};
    float y[2], sum[2], rstd;
    device->ops->rmsnorm_forward(device, y, &rstd, sum, x, delta, w, 1, 2, 0.5f);
    EXPECT_CLOSE(1.0 / sqrt(12.5 + 0.5), rstd, 1e-7);
    EXPECT_CLOSE(3.0, sum[0], 0.0);
    EXPECT_CLOSE(4.0, sum[1], 0.0);
    EXPECT_CLOSE(3.0 / sqrt(13.0), y[0], 1e-6);
    EXPECT_CLOSE(8.0 / sqrt(13.0), y[1], 1e-6);
}

TEST(head_norm_normalises_each_head_by_itself)
{
    struct device *device = gradient_device();
    const float x[] = {3.0f, 4.0f, 6.0f, 8.0f}; /* two heads of two */
    const float w[] = {1.0f, 10.0f};
    float y[4], rstd[2];
    device->ops->head_norm_forward(device, y, 4, rstd, x, 4, w, 1, 2, 2, 0.0f);
    EXPECT_CLOSE(1.0 / sqrt(12.5), rstd[0], 1e-7);
    EXPECT_CLOSE(0.5 / sqrt(12.5), rstd[1], 1e-7);
    EXPECT_CLOSE(3.0 / sqrt(12.5), y[0], 1e-6);
    EXPECT_CLOSE(40.0 / sqrt(12.5), y[1], 1e-5);
    EXPECT_CLOSE(y[0], y[2], 1e-6);
    EXPECT_CLOSE(y[1], y[3], 1e-5);
}

TEST(swiglu_gates_the_second_half_with_the_first)
{
    struct device *device = gradient_device();
    const float gate_up[] = {1.0f, -200.0f, 200.0f, 3.0f, 5.0f, 7.0f};
    float h[3];
    device->ops->swiglu_forward(device, h, gate_up, 1, 3);
    EXPECT_CLOSE(3.0 / (1.0 + exp(-1.0)), h[0], 1e-6);
    EXPECT_CLOSE(0.0, h[1], 0.0);
    EXPECT_CLOSE(1400.0, h[2], 0.0);
}

TEST(mean_pooling_and_head_give_the_mean_tokens_reward)
{
    struct device *device = gradient_device();
    const float x[] = {1.0f, 2.0f, 3.0f, 6.0f, 5.0f, 10.0f}; /* three tokens */
    const int32_t offset[] = {0, 2, 3};
    const int32_t token[] = {0, 2, 1};
    const float w[] = {10.0f, 1.0f};
    float pooled[4], reward[2];
    device->ops->pool_mean_forward(device, pooled, x, offset, token, 2, 2);
    const float expected[] = {3.0f, 6.0f, 3.0f, 6.0f};
    EXPECT_BYTES(expected, pooled, sizeof(pooled));
    device->ops->reward_forward(device, reward, pooled, w, 2, 2);
    EXPECT_CLOSE(36.0, reward[0], 0.0);
    EXPECT_CLOSE(36.0, reward[1], 0.0);
}

TEST(cross_entropy_of_known_odds)
{
    struct device *device = gradient_device();
    /* Logits (log 3, 0) and, for a second token, a gap that exp could not bear: (1000, 0). */
    const float x[] = {logf(3.0f), 1000.0f};
    const float w[] = {1.0f, 0.0f};
    const int32_t index[] = {0, 0, 1};
    const int32_t target[] = {0, 1, 1};
    float nll[3];
    device->ops->cross_entropy(device, nll, NULL, NULL, x, w, index, target, NULL, 3, 1, 2);
    EXPECT_CLOSE(log(4.0 / 3.0), nll[0], 1e-6);
    EXPECT_CLOSE(log(4.0), nll[1], 1e-6);
    EXPECT_CLOSE(1000.0, nll[2], 0.0);
}

/* ---- optimizer ------------------------------------------------------------------------------- */

TEST(sumsq_is_the_sum_over_all_blocks)
{
    struct device *device = gradient_device();
    static float x[2 * SUMSQ_BLOCK + 1];
    for (size_t i = 0; i < sizeof(x) / sizeof(*x); i++) {
        x[i] = 2.0f;
    }
    x[2 * SUMSQ_BLOCK] = 3.0f;
    EXPECT_CLOSE(8.0 * SUMSQ_BLOCK + 9.0, device->ops->sumsq(device, x, 2 * SUMSQ_BLOCK + 1), 0.0);
    EXPECT_CLOSE(0.0, device->ops->sumsq(device, x, 0), 0.0);
}

/* Three steps in double, term by term as in the paper. */
TEST(adamw_follows_the_formula)
{
    struct device *device = gradient_device();
    const double rate = 0.1, beta1 = 0.9, beta2 = 0.99, epsilon = 1e-3, decay = 0.5, clip = 0.25;
    const float gradients[] = {4.0f, -1.0f, 2.0f};
    float w = 1.0f, m = 0.0f, v = 0.0f;
    double w_exact = 1.0, m_exact = 0.0, v_exact = 0.0;
    for (int t = 1; t <= 3; t++) {
        const double g = clip * (double)gradients[t - 1];
        const double correction1 = 1.0 - pow(beta1, t);
        const double correction2 = 1.0 - pow(beta2, t);
        m_exact = beta1 * m_exact + (1.0 - beta1) * g;
        v_exact = beta2 * v_exact + (1.0 - beta2) * g * g;
        w_exact -= rate * decay * w_exact;
        w_exact -= rate * (m_exact / correction1) / (sqrt(v_exact / correction2) + epsilon);
        const struct adamw_step step = {.learning_rate = (float)rate,
                                        .beta1 = (float)beta1,
                                        .beta2 = (float)beta2,
                                        .epsilon = (float)epsilon,
                                        .weight_decay = (float)decay,
                                        .correction1 = (float)correction1,
                                        .correction2 = (float)correction2,
                                        .gradient_scale = (float)clip};
        device->ops->adamw(device, &w, &m, &v, &gradients[t - 1], 1, &step);
        EXPECT_CLOSE(m_exact, m, 1e-6);
        EXPECT_CLOSE(v_exact, v, 1e-6);
        EXPECT_CLOSE(w_exact, w, 2e-6);
    }
}

TEST_MAIN()
