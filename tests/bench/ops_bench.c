/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_bench: how fast each op is on this machine, at the shapes of SmolLM2-135M.
 *
 *     ops_bench [ISA] [THREADS] [WORD]      # auto, all cores, all ops
 *
 * The pack is 2048 tokens of groups of one prompt (60) and five responses (200 each). Memory-bound
 * ops report GB/s of what they must read and write, products GFLOP/s of what the mask lets through.
 * `copy` is the machine's memory, for comparison. Each figure is the best of the runs of a third of
 * a second: the other runs measure the neighbours.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/rng.h"
#include "tests/bench/bench_pack.h"
#include "worker/ops/ops.h"

enum {
    S = 2048,
    C = 576,
    H = 9,
    G = 3,
    D = 64,
    F = 1536,
    V = 49152,
    ROWS = 10,
    LORA_RANK = 16,
    LOSS_ENTRIES = 256,
    PROMPT = 60,
    RESPONSE = 200,
    RESPONSES = 5,
    PARAMETERS = 1 << 23,
    DRAWN = 99991, /* then the same again: drawing takes longer than measuring */
    QKV = (H + 2 * G) * D
};

/* Tensors are slices of a few big buffers: a case takes those whose size suits it. */
struct bench {
    struct device *device;
    struct bench_pack pack;
    int32_t index[S];
    int32_t offset[ROWS + 1], token[S], argmax[ROWS * C];
    float *wide[2];    /* (S, 2F) */
    float *hidden[6];  /* (S, C) */
    float *qkv[2];     /* (S, QKV) */
    float *rows;       /* (S, H): rstd, lse */
    float *weight[2];  /* (2F, C) */
    float *vocabulary; /* (V, C) */
    float *parameter[4];
    float *angles; /* (S, D) */
};

static const struct attention_shape attention = {.H = H, .G = G, .D = D, .scale = 0.125f};

/* One thread is timed by its processor time, so that a busy machine does not count. */
static double now(const struct bench *bench)
{
    struct timespec time;
    bool alone = pool_threads(bench->device->pool) == 1;
    clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static float *random_block(struct device *device, size_t count, float scale)
{
    float *values = bench_block(device, count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        values[i] = i < DRAWN ? scale * (float)(rng_uniform(1, 0, i) - 0.5) : values[i - DRAWN];
    }
    return values;
}

static void open_bench(struct bench *bench, const char *isa, int threads)
{
    struct error error;
    struct device_options options = {.isa = isa, .threads = threads};
    if (device_open(&options, &bench->device, &error) != STATUS_OK) {
        fatal(2, "%s", error.text);
    }
    struct device *device = bench->device;
    bench_pack_build(&bench->pack, device, &(struct bench_shape){S, PROMPT, RESPONSE, RESPONSES});
    CHECK(bench->pack.rows >= ROWS);
    for (int i = 0; i < 2; i++) {
        bench->wide[i] = random_block(device, (size_t)S * 2 * F, 2.0f);
        bench->qkv[i] = random_block(device, (size_t)S * QKV, 2.0f);
        bench->weight[i] = random_block(device, (size_t)2 * F * C, 0.1f);
    }
    for (int i = 0; i < 6; i++) {
        bench->hidden[i] = random_block(device, (size_t)S * C, 2.0f);
    }
    for (int i = 0; i < 4; i++) {
        bench->parameter[i] = random_block(device, PARAMETERS, 0.1f);
    }
    bench->rows = random_block(device, (size_t)S * H, 1.0f);
    bench->vocabulary = random_block(device, (size_t)V * C, 0.1f);
    bench->angles = random_block(device, (size_t)S * D, 1.0f);
    for (int32_t i = 0; i < S; i++) {
        bench->index[i] = (int32_t)rng_below(2, 0, (uint64_t)i, S);
        bench->token[i] = i;
    }
    for (int32_t r = 0; r <= ROWS; r++) {
        bench->offset[r] = r * (S / ROWS);
    }
    struct scratch_shape shape = {S, C, H, G, D, F, V, PROMPT + RESPONSE, LORA_RANK, true, true};
    if (device->ops->scratch_reserve(device, &shape, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
}

/* ---- the cases ------------------------------------------------------------------------------- */

static void copy(struct bench *b)
{
    b->device->ops->copy_in(b->device, b->wide[0], b->wide[1], (size_t)S * 2 * F * sizeof(float));
}

static void zero(struct bench *b)
{
    b->device->ops->zero(b->device, b->wide[0], (size_t)S * 2 * F * sizeof(float));
}

static void add(struct bench *b)
{
    b->device->ops->add(b->device, b->wide[0], b->wide[1], (size_t)S * 2 * F);
}

static void embed_forward(struct bench *b)
{
    b->device->ops->embed_forward(b->device, b->hidden[0], b->index, b->vocabulary, S, C);
}

static void embed_backward(struct bench *b)
{
    b->device->ops->embed_backward(b->device, b->vocabulary, b->hidden[0], b->index, S, C);
}

static void rmsnorm_forward(struct bench *b)
{
    b->device->ops->rmsnorm_forward(b->device, b->hidden[0], b->rows, NULL, b->hidden[1], NULL,
                                    b->weight[0], S, C, 1e-5f);
}

static void rmsnorm_add_forward(struct bench *b)
{
    b->device->ops->rmsnorm_forward(b->device, b->hidden[0], b->rows, b->hidden[1], b->hidden[2],
                                    b->hidden[3], b->weight[0], S, C, 1e-5f);
}

static void rmsnorm_backward(struct bench *b)
{
    b->device->ops->rmsnorm_backward(b->device, b->hidden[0], b->parameter[0], b->hidden[1],
                                     b->hidden[2], b->rows, b->weight[0], S, C, true);
}

static void head_norm_forward(struct bench *b)
{
    b->device->ops->head_norm_forward(b->device, b->hidden[0], C, b->rows, b->hidden[1], C,
                                      b->weight[0], S, H, D, 1e-5f);
}

static void head_norm_backward(struct bench *b)
{
    b->device->ops->head_norm_backward(b->device, b->hidden[0], C, b->parameter[0], b->hidden[1], C,
                                       b->hidden[2], C, b->rows, b->weight[0], S, H, D);
}

static void rope(struct bench *b)
{
    b->device->ops->rope(b->device, b->qkv[0], QKV, b->pack.layout.position, b->angles, S, H + G, D,
                         false);
}

static void attention_forward(struct bench *b)
{
    const float *qkv = b->qkv[1];
    b->device->ops->attention_forward(b->device, b->hidden[0], b->rows, qkv, QKV, qkv + H * D,
                                      qkv + (H + G) * D, QKV, &b->pack.layout, NULL, S, &attention);
}

/* Only the last tokens of rows are read: the last layer of a pooling reward model. */
static void attention_last_forward(struct bench *b)
{
    const float *qkv = b->qkv[1];
    b->device->ops->attention_forward(b->device, b->hidden[0], b->rows, b->hidden[1], C,
                                      qkv + H * D, qkv + (H + G) * D, QKV, &b->pack.layout,
                                      b->pack.last, ROWS, &attention);
}

static void attention_backward(struct bench *b)
{
    const float *qkv = b->qkv[1];
    float *dqkv = b->qkv[0];
    b->device->ops->attention_backward(b->device, dqkv, QKV, dqkv + H * D, dqkv + (H + G) * D, QKV,
                                       b->hidden[1], b->hidden[0], b->rows, qkv, QKV, qkv + H * D,
                                       qkv + (H + G) * D, QKV, &b->pack.layout, NULL, S,
                                       &attention);
}

static void swiglu_forward(struct bench *b)
{
    b->device->ops->swiglu_forward(b->device, b->wide[0], b->wide[1], S, F);
}

static void swiglu_backward(struct bench *b)
{
    b->device->ops->swiglu_backward(b->device, b->wide[0], b->vocabulary, b->vocabulary, b->wide[1],
                                    S, F);
}

static void gather_rows(struct bench *b)
{
    b->device->ops->gather_rows(b->device, b->hidden[0], b->hidden[1], b->index, S, C);
}

static void scatter_add_rows(struct bench *b)
{
    b->device->ops->scatter_add_rows(b->device, b->hidden[0], b->hidden[1], b->index, S, C);
}

static void pool_mean_forward(struct bench *b)
{
    b->device->ops->pool_mean_forward(b->device, b->hidden[0], b->hidden[1], b->offset, b->token,
                                      ROWS, C);
}

static void pool_mean_backward(struct bench *b)
{
    b->device->ops->pool_mean_backward(b->device, b->hidden[0], b->hidden[1], b->offset, b->token,
                                       ROWS, C);
}

static void pool_max_forward(struct bench *b)
{
    b->device->ops->pool_max_forward(b->device, b->hidden[0], b->argmax, b->hidden[1], b->offset,
                                     b->token, ROWS, C);
}

static void sumsq(struct bench *b)
{
    b->rows[0] = (float)b->device->ops->sumsq(b->device, b->parameter[0], PARAMETERS);
}

static void adamw(struct bench *b)
{
    static const struct adamw_step step = {1e-4f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.5f, 0.1f, 1.0f};
    b->device->ops->adamw(b->device, b->parameter[0], b->parameter[1], b->parameter[2],
                          b->parameter[3], PARAMETERS, &step);
}

static void linear_forward(struct bench *b)
{
    b->device->ops->linear_forward(b->device, b->wide[0], 2 * F, b->hidden[0], C, b->weight[0],
                                   NULL, S, 2 * F, C, false);
}

static void linear_backward_input(struct bench *b)
{
    b->device->ops->linear_backward_input(b->device, b->hidden[0], C, b->wide[0], 2 * F,
                                          b->weight[0], S, 2 * F, C, false);
}

static void linear_backward_weight(struct bench *b)
{
    b->device->ops->linear_backward_weight(b->device, b->weight[1], NULL, b->wide[0], 2 * F,
                                           b->hidden[0], C, S, 2 * F, C);
}

static void lora_forward(struct bench *b)
{
    struct lora_factors factors = {b->weight[1], b->weight[1], NULL, NULL, LORA_RANK, 1.0f};
    struct lora_range range = {0, S, 0};
    struct lora_part part = {0, C, &factors};
    struct lora lora = {&part, 1, &range, 1, b->hidden[2], LORA_RANK};
    b->device->ops->lora_forward(b->device, b->hidden[0], C, b->hidden[1], C, b->weight[0], NULL,
                                 &lora, S, C, C);
}

static void cross_entropy(struct bench *b)
{
    b->device->ops->cross_entropy(b->device, b->rows, b->hidden[0], NULL, b->hidden[1],
                                  b->vocabulary, b->index, b->index, b->hidden[2], LOSS_ENTRIES, C,
                                  V);
}

/* ---- measuring ------------------------------------------------------------------------------- */

struct bench_case {
    const char *name;
    void (*run)(struct bench *bench);
    double floats, flops; /* one of them: floats read and written, or operations */
    bool per_visible;     /* flops are per visible key of a token and head */
};

#define PRODUCT (2.0 * S * 2 * F * C)

static const struct bench_case cases[] = {
    {"copy", copy, 4.0 * S *F, 0, false},
    {"zero", zero, 2.0 * S *F, 0, false},
    {"add", add, 6.0 * S *F, 0, false},
    {"embed_forward", embed_forward, 2.0 * S *C, 0, false},
    {"embed_backward", embed_backward, 3.0 * S *C, 0, false},
    {"rmsnorm_forward", rmsnorm_forward, 2.0 * S *C, 0, false},
    {"rmsnorm_forward+delta", rmsnorm_add_forward, 4.0 * S *C, 0, false},
    {"rmsnorm_backward", rmsnorm_backward, 4.0 * S *C, 0, false},
    {"head_norm_forward", head_norm_forward, 2.0 * S *C, 0, false},
    {"head_norm_backward", head_norm_backward, 3.0 * S *C, 0, false},
    {"rope", rope, 2.0 * S *(H + G) * D, 0, false},
    {"swiglu_forward", swiglu_forward, 3.0 * S *F, 0, false},
    {"swiglu_backward", swiglu_backward, 6.0 * S *F, 0, false},
    {"gather_rows", gather_rows, 2.0 * S *C, 0, false},
    {"scatter_add_rows", scatter_add_rows, 3.0 * S *C, 0, false},
    {"pool_mean_forward", pool_mean_forward, 1.0 * S *C, 0, false},
    {"pool_mean_backward", pool_mean_backward, 2.0 * S *C, 0, false},
    {"pool_max_forward", pool_max_forward, 1.0 * S *C, 0, false},
    {"sumsq", sumsq, 1.0 * PARAMETERS, 0, false},
    {"adamw", adamw, 7.0 * PARAMETERS, 0, false},
    {"attention_forward", attention_forward, 0, 4.0 * D, true},
    {"attention_backward", attention_backward, 0, 10.0 * D, true},
    {"attention_last_rows", attention_last_forward, 2.0 * S *G *D, 0, false},
    {"linear_forward", linear_forward, 0, PRODUCT, false},
    {"linear_backward_input", linear_backward_input, 0, PRODUCT, false},
    {"linear_backward_weight", linear_backward_weight, 0, PRODUCT, false},
    {"lora_forward", lora_forward, 0, 2.0 * S *C *(C + 2 * LORA_RANK), false},
    {"cross_entropy", cross_entropy, 0, 4.0 * LOSS_ENTRIES *C *V, false},
};

static void measure(struct bench *bench, const struct bench_case *one)
{
    double best = INFINITY;
    double end = now(bench) + 1.0 / 3.0;
    one->run(bench);
    do {
        double start = now(bench);
        one->run(bench);
        double seconds = now(bench) - start;
        best = seconds < best ? seconds : best;
    } while (now(bench) < end);
    double flops = one->flops * (one->per_visible ? bench->pack.visible * H : 1.0);
    double rate = 1e-9 * (flops > 0 ? flops : one->floats * sizeof(float)) / best;
    printf("%-24s %10.1f us %9.2f %s\n", one->name, 1e6 * best, rate,
           flops > 0 ? "GFLOP/s" : "GB/s");
    fflush(stdout);
}

static void print_machine(const struct device *device)
{
    char model[256] = "unknown processor\n", line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(model, sizeof(model), "%s", strchr(line, ':') + 2);
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    printf("# isa %s, threads %d of %d cores; %s%s%s%s; %s", device->ops->name,
           pool_threads(device->pool), cpu_count(), __builtin_cpu_supports("avx2") ? "avx2 " : "",
           __builtin_cpu_supports("fma") ? "fma " : "",
           __builtin_cpu_supports("avx512f") ? "avx512f " : "",
           __builtin_cpu_supports("avx512vnni") ? "avx512vnni" : "", model);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    open_bench(&bench, argc > 1 ? argv[1] : "auto", argc > 2 ? atoi(argv[2]) : 0);
    print_machine(bench.device);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (argc <= 3 || strstr(cases[i].name, argv[3])) {
            measure(&bench, &cases[i]);
        }
    }
    device_close(bench.device);
    return 0;
}
