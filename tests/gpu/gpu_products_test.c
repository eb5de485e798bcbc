/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products on a GPU, in shapes of real models, in both dtypes: a row's product has the same
 * bits among any number of rows; the sum is fp32's, not TF32's; two runs agree; kept weights change
 * nothing.
 *
 *     TAILOR_ROWS=8192 gpu_products_test      more rows than the 520 of everyday
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/rng.h"
#include "lib/text.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/ops/bf16.h"
#include "worker/ops/ops.h"

enum { ROWS_MAX = 65536, ROWS_EVERYDAY = 520, WIDTH_MAX = 3072, RANK = 8 };

/* Of SmolLM2-135M (q k v; o; gate and up; down), then what has no row of 16 bytes. */
static const struct shape {
    int32_t N, K;
} SHAPES[] = {{960, 576}, {576, 576}, {3072, 576}, {576, 1536}, {31, 77}};
static const int32_t COUNTS[] = {1, 2, 7, 8, 33, 64, 100, 257};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int32_t rows_wanted(void)
{
    int64_t rows = ROWS_EVERYDAY;
    const char *wanted = getenv("TAILOR_ROWS");
    CHECK(wanted == NULL || (parse_i64(wanted, &rows) && rows > 257 && rows <= ROWS_MAX));
    return (int32_t)rows;
}

/* ---- a device, and blocks on it -------------------------------------------------------------- */

/* NULL: there is no GPU. */
static struct device *gpu_open(enum dtype dtype, int32_t rows)
{
    struct device *device;
    struct error error;
    const struct device_options options = {.isa = "cuda", .threads = 1, .dtype = dtype};
    const struct scratch_shape shape = {.S = rows,
                                        .C = WIDTH_MAX,
                                        .F = WIDTH_MAX,
                                        .row_tokens_max = 1,
                                        .lora_rank = RANK,
                                        .backward = true};
    if (device_open(&options, &device, &error) != STATUS_OK) {
        test_skip("%s", error.text);
        return NULL;
    }
    CHECK(device->ops->scratch_reserve(device, &shape, &error) == STATUS_OK);
    return device;
}

struct block {
    float *on_device, *on_host; /* the host has what was drawn */
    size_t count;
};

static struct block block_draw(struct device *device, uint64_t stream, size_t count)
{
    void *on_device;
    struct error error;
    struct block block = {.on_host = mem_alloc(count * sizeof(float)), .count = count};
    const size_t bytes = count * sizeof(float);
    CHECK(device->ops->block_alloc(device, bytes, "test", &on_device, &error) == STATUS_OK);
    block.on_device = on_device;
    for (size_t i = 0; i < count; i++) {
        block.on_host[i] = (float)rng_normal(1, stream, i);
    }
    device->ops->copy_in(device, block.on_device, block.on_host, bytes);
    return block;
}

static void block_end(struct device *device, struct block *block)
{
    device->ops->block_free(device, block->on_device, block->count * sizeof(float));
    mem_free(block->on_host);
}

static void expect_rows(struct device *device, const char *what, const struct shape *shape,
                        const float *all, int32_t first, const float *got, int32_t count,
                        int32_t width)
{
    float *bits = fixture_host(device, got, (size_t)count * (size_t)width);
    const float *expected = all + (size_t)first * (size_t)width;
    if (memcmp(expected, bits, sizeof(float) * (size_t)count * (size_t)width) != 0) {
        size_t at = 0;
        while (memcmp(&expected[at], &bits[at], sizeof(float)) == 0) {
            at++;
        }
        test_fail(__FILE__, __LINE__,
                  "%s, %s, N %d, K %d: rows %d to %d alone: expected %.9g, got %.9g", what,
                  device_numerics(device), shape->N, shape->K, first, first + count - 1,
                  (double)expected[at], (double)bits[at]);
    }
    mem_free(bits);
}

/* ---- batch invariance ------------------------------------------------------------------------ */

struct operands {
    struct block x, w, dy, y, dx, A, B, u;
};

/* All products of rows [first, first + count); results begin at row 0. */
static void multiply(struct device *device, const struct operands *o, const struct shape *shape,
                     int32_t first, int32_t count)
{
    const int32_t N = shape->N, K = shape->K;
    const struct lora_factors factors = {
        .A = o->A.on_device, .B = o->B.on_device, .r = RANK, .scale = 2.0f};
    const struct lora_part part = {.N = N, .adapters = &factors};
    const struct lora_range range = {.rows = count};
    const struct lora lora = {.parts = &part,
                              .part_count = 1,
                              .ranges = &range,
                              .range_count = 1,
                              .u = o->u.on_device,
                              .ldu = RANK};
    device->ops->lora_forward(device, o->y.on_device, N, o->x.on_device + (size_t)first * (size_t)K,
                              K, o->w.on_device, NULL, &lora, count, N, K);
    device->ops->linear_backward_input(device, o->dx.on_device, K,
                                       o->dy.on_device + (size_t)first * (size_t)N, N,
                                       o->w.on_device, count, N, K, false);
}

static void rows_among_others(struct device *device, const struct shape *shape, int32_t rows)
{
    const size_t N = (size_t)shape->N, K = (size_t)shape->K, S = (size_t)rows;
    struct operands o = {.x = block_draw(device, 1, S * K),
                         .w = block_draw(device, 2, N * K),
                         .dy = block_draw(device, 3, S * N),
                         .y = block_draw(device, 4, S * N),
                         .dx = block_draw(device, 5, S * K),
                         .A = block_draw(device, 6, RANK * K),
                         .B = block_draw(device, 7, N * RANK),
                         .u = block_draw(device, 8, S * RANK)};
    multiply(device, &o, shape, 0, rows);
    float *y = fixture_host(device, o.y.on_device, S * N);
    float *dx = fixture_host(device, o.dx.on_device, S * K);
    for (size_t i = 0; i < COUNT(COUNTS); i++) {
        const int32_t count = COUNTS[i];
        const int32_t first = (int32_t)rng_below(2, N, i, S - (size_t)count + 1);
        multiply(device, &o, shape, first, count);
        expect_rows(device, "forward", shape, y, first, o.y.on_device, count, shape->N);
        expect_rows(device, "input gradient", shape, dx, first, o.dx.on_device, count, shape->K);
    }
    mem_free(y);
    mem_free(dx);
    struct block *blocks[] = {&o.x, &o.w, &o.dy, &o.y, &o.dx, &o.A, &o.B, &o.u};
    for (size_t i = 0; i < COUNT(blocks); i++) {
        block_end(device, blocks[i]);
    }
}

static void for_each_shape(void (*check)(struct device *device, const struct shape *shape,
                                         int32_t rows))
{
    const int32_t rows = rows_wanted();
    for (enum dtype dtype = DTYPE_FP32; dtype <= DTYPE_BF16; dtype++) {
        struct device *device = gpu_open(dtype, rows);
        for (size_t i = 0; device != NULL && i < COUNT(SHAPES); i++) {
            check(device, &SHAPES[i], rows);
        }
        if (device != NULL) {
            device_close(device);
        }
    }
}

TEST(a_row_has_the_same_product_among_any_number_of_rows)
{
    for_each_shape(rows_among_others);
}

/* ---- precision ------------------------------------------------------------------------------- */

/* Against double sums of the factors as they are multiplied: a chain of K floats is off by some
 * 1e-7 of Σ |x·w|, TF32 by 1e-4. */
static void sums_are_fp32(struct device *device, const struct shape *shape, int32_t rows)
{
    const size_t N = (size_t)shape->N, K = (size_t)shape->K, S = (size_t)rows;
    const bool bf16 = device->dtype == DTYPE_BF16;
    struct block x = block_draw(device, 1, S * K), w = block_draw(device, 2, N * K);
    struct block y = block_draw(device, 3, S * N), dw = block_draw(device, 4, N * K);
    device->ops->linear_forward(device, y.on_device, shape->N, x.on_device, shape->K, w.on_device,
                                NULL, rows, shape->N, shape->K, false);
    float *got = fixture_host(device, y.on_device, S * N);
    for (uint64_t draw = 0; draw < 300 && !test_failed(); draw++) {
        const size_t i = rng_below(3, draw, 0, S), n = rng_below(3, draw, 1, N);
        double sum = 0, size = 0;
        for (size_t k = 0; k < K; k++) {
            const float a = x.on_host[i * K + k], b = w.on_host[n * K + k];
            const double product = bf16 ? (double)bf16_round(a) * bf16_round(b) : (double)a * b;
            sum += product;
            size += fabs(product);
        }
        EXPECT_CLOSE(sum, got[i * N + n], 2e-6 * size);
    }
    mem_free(got);
    /* Two times the same weight gradient, on top of the same. */
    float *sums[2];
    for (int run = 0; run < 2; run++) {
        device->ops->copy_in(device, dw.on_device, dw.on_host, N * K * sizeof(float));
        device->ops->linear_backward_weight(device, dw.on_device, NULL, y.on_device, shape->N,
                                            x.on_device, shape->K, rows, shape->N, shape->K);
        sums[run] = fixture_host(device, dw.on_device, N * K);
    }
    EXPECT_BYTES(sums[0], sums[1], N * K * sizeof(float));
    EXPECT(memcmp(sums[0], dw.on_host, N * K * sizeof(float)) != 0);
    mem_free(sums[0]);
    mem_free(sums[1]);
    block_end(device, &x);
    block_end(device, &w);
    block_end(device, &y);
    block_end(device, &dw);
}

TEST(sums_are_of_fp32_and_the_same_twice)
{
    for_each_shape(sums_are_fp32);
}

/* ---- kept weights ---------------------------------------------------------------------------- */

static void forward_into(struct device *device, const struct block *y, const struct block *x,
                         const struct block *w, const struct shape *shape, int32_t rows, float *out)
{
    device->ops->linear_forward(device, y->on_device, shape->N, x->on_device, shape->K,
                                w->on_device, NULL, rows, shape->N, shape->K, false);
    device->ops->copy_out(device, out, y->on_device, y->count * sizeof(float));
}

static void kept_is_the_same(struct device *device, const struct shape *shape, int32_t rows)
{
    const size_t N = (size_t)shape->N, K = (size_t)shape->K, S = (size_t)rows;
    struct block x = block_draw(device, 1, S * K), w = block_draw(device, 2, N * K);
    struct block y = block_draw(device, 3, S * N);
    float *rounded = mem_alloc(S * N * sizeof(float)), *kept = mem_alloc(S * N * sizeof(float));
    const struct kept_weight weight = {w.on_device, shape->N, shape->K, WEIGHT_FORWARD};
    struct error error;
    forward_into(device, &y, &x, &w, shape, rows, rounded);
    CHECK(device->ops->weights_keep(device, &weight, 1, &error) == STATUS_OK);
    forward_into(device, &y, &x, &w, shape, rows, kept);
    EXPECT_BYTES(rounded, kept, S * N * sizeof(float));
    /* Changed: said so, and seen. */
    device->ops->copy_in(device, w.on_device, x.on_host, (S < N ? S : N) * K * sizeof(float));
    device->ops->weights_changed(device, w.on_device, N * K);
    forward_into(device, &y, &x, &w, shape, rows, kept);
    device->ops->weights_forget(device, w.on_device, N * K);
    forward_into(device, &y, &x, &w, shape, rows, rounded);
    EXPECT_BYTES(rounded, kept, S * N * sizeof(float));
    mem_free(rounded);
    mem_free(kept);
    block_end(device, &x);
    block_end(device, &w);
    block_end(device, &y);
}

TEST(a_kept_weight_changes_no_bit_and_follows_its_weight)
{
    for_each_shape(kept_is_the_same);
}

TEST_MAIN()
