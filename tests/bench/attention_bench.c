/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_bench: milliseconds of attention over packs of groups, at the head shape of
 * SmolLM2-135M.
 *
 *     attention_bench [ISA [DTYPE]]      # auto, bf16
 *
 * A line of JSON for each pack, which tests/gpu/flash.py reads: it times another implementation on
 * the same rows, each with a prompt of its own. Medians of RUNS runs, each waited for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/check.h"
#include "lib/rng.h"
#include "tests/bench/bench_pack.h"

enum { H = 9, G = 3, D = 64, QKV = (H + 2 * G) * D, RUNS = 15, DRAWN = 99991 };

static const struct attention_shape attention = {.H = H, .G = G, .D = D, .scale = 0.125f};

/* Rows that share nothing; five short answers; five short answers to a long prompt. */
static const struct {
    const char *name;
    int32_t groups, prompt, response, responses;
} packs[] = {
    {"rows", 16, 512, 512, 1}, {"groups", 15, 60, 200, 5}, {"long prompts", 15, 800, 60, 5}};

struct blocks {
    float *out, *lse, *qkv, *dout, *dqkv;
};

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static float *block_random(struct device *device, size_t count)
{
    float values[4096], *block = bench_block(device, count * sizeof(float));
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        values[i] = (float)(2.0 * rng_uniform(1, 0, i) - 1.0);
    for (size_t at = 0; at < count; at += sizeof(values) / sizeof(*values)) {
        const size_t bytes = count - at < sizeof(values) / sizeof(*values)
                                 ? (count - at) * sizeof(float)
                                 : sizeof(values);
        device->ops->copy_in(device, block + at, values, bytes);
    }
    return block;
}

static void forward(struct device *device, const struct bench_pack *pack, const struct blocks *b)
{
    device->ops->attention_forward(device, b->out, b->lse, b->qkv, QKV, b->qkv + H * D,
                                   b->qkv + (H + G) * D, QKV, &pack->layout, NULL,
                                   pack->layout.tokens, &attention);
}

static void backward(struct device *device, const struct bench_pack *pack, const struct blocks *b)
{
    device->ops->attention_backward(device, b->dqkv, QKV, b->dqkv + H * D, b->dqkv + (H + G) * D,
                                    QKV, b->dout, b->out, b->lse, b->qkv, QKV, b->qkv + H * D,
                                    b->qkv + (H + G) * D, QKV, &pack->layout, NULL,
                                    pack->layout.tokens, &attention);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median_ms(struct device *device, const struct bench_pack *pack, const struct blocks *b,
          void (*run)(struct device *, const struct bench_pack *, const struct blocks *))
{
    double seconds[RUNS];
    run(device, pack, b);
    device_wait(device);
    for (int i = 0; i < RUNS; i++) {
        const double begin = now_s();
        run(device, pack, b);
        device_wait(device);
        seconds[i] = now_s() - begin;
    }
    qsort(seconds, RUNS, sizeof(*seconds), by_size);
    return 1e3 * seconds[RUNS / 2];
}

int main(int argc, char **argv)
{
    const bool fp32 = argc > 2 && strcmp(argv[2], "fp32") == 0;
    const struct device_options options = {.isa = argc > 1 ? argv[1] : "auto",
                                           .dtype = fp32 ? DTYPE_FP32 : DTYPE_BF16};
    struct device *device;
    struct error error;
    if (device_open(&options, &device, &error) != STATUS_OK)
        fatal(2, "%s", error.text);
    for (size_t i = 0; i < sizeof(packs) / sizeof(*packs); i++) {
        const int32_t rows_tokens = packs[i].prompt + packs[i].responses * packs[i].response;
        const size_t S = (size_t)packs[i].groups * (size_t)rows_tokens;
        const struct scratch_shape shape = {.S = (int32_t)S,
                                            .C = H * D,
                                            .H = H,
                                            .G = G,
                                            .D = D,
                                            .row_tokens_max = packs[i].prompt + packs[i].response,
                                            .backward = true};
        const struct blocks blocks = {block_random(device, S * H * D), block_random(device, S * H),
                                      block_random(device, S * QKV),
                                      block_random(device, S * H * D),
                                      block_random(device, S * QKV)};
        struct bench_pack pack;
        bench_pack_build(&pack, device,
                         &(struct bench_shape){(int32_t)S, packs[i].prompt, packs[i].response,
                                               packs[i].responses});
        if (device->ops->scratch_reserve(device, &shape, &error) != STATUS_OK)
            fatal(1, "%s", error.text);
        const double forward_ms = median_ms(device, &pack, &blocks, forward);
        printf(
            "{\"name\": \"%s\", \"rows\": %d, \"prompt\": %d, \"response\": %d, \"responses\": %d, "
            "\"H\": %d, \"G\": %d, \"D\": %d, \"forward_ms\": %.4f, \"backward_ms\": %.4f}\n",
            packs[i].name, pack.rows, packs[i].prompt, packs[i].response, packs[i].responses, H, G,
            D, forward_ms, median_ms(device, &pack, &blocks, backward));
        fflush(stdout);
    }
    device_close(device);
    return 0;
}
