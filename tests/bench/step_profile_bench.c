/* SPDX-License-Identifier: Apache-2.0
 *
 * step_profile_bench: where the time of a training step goes, op by op, and what limits each.
 *
 *     step_profile_bench RUN/spec.json [STEPS] [GFLOPS] [THREADS]
 *
 * The spec is one that `tailor run` wrote. The device's table of ops is replaced by one whose
 * entries call the real ones, watch the clock and count what must move and be multiplied: bytes
 * are those of the arguments, each read or written once; FLOPs those of products, of what the mask
 * lets through. The first step warms up.
 *
 * An op's bound is the longer of its FLOPs at the best rate of products and its bytes at the rate
 * of memory; `of bound` is that over its time (above 100 %: its data lay in the cache). On a GPU
 * every op is waited for, which a step does not do: the sum of their times is more than a step's.
 * GFLOPS is
 * the best rate measured on this machine (gemm_peers.sh); without it, that of our own product.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"
#include "worker/trainer/session.h"

/* ---- the ledger of calls --------------------------------------------------------------------- */

#define OP_NUMBER(op) OP_##op,
#define OP_NAME(op)   #op,
enum op { OPS_THAT_COMPUTE(OP_NUMBER) OP_COUNT };
static const char *const op_names[] = {OPS_THAT_COMPUTE(OP_NAME)};

static struct {
    int64_t calls;
    double seconds, bytes, flops;
} ledger[OP_COUNT];

static const struct ops *inner; /* whose calls are timed */

static clockid_t clock_id = CLOCK_MONOTONIC; /* one thread goes by its own: neighbours count less */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(clock_id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void book(enum op op, double begin, double floats, double flops)
{
    ledger[op].calls++;
    ledger[op].seconds += now_s() - begin;
    ledger[op].bytes += floats * sizeof(float);
    ledger[op].flops += flops;
}

/* The number `at` on the device. */
static int32_t number_at(struct device *device, const int32_t *at)
{
    int32_t number;
    inner->copy_out(device, &number, at, sizeof(number));
    return number;
}

/* Keys that the queries see: a token sees those of its row up to itself. */
static double visible_keys(struct device *device, const struct layout *layout,
                           const int32_t *queries, int32_t count)
{
    double keys = 0;
    const size_t tokens = (size_t)layout->tokens;
    int32_t *position = mem_alloc(tokens * sizeof(*position));
    int32_t *queried = mem_alloc(tokens * sizeof(*queried));
    inner->copy_out(device, position, layout->position, tokens * sizeof(*position));
    if (queries) {
        inner->copy_out(device, queried, queries, (size_t)count * sizeof(*queried));
    }
    for (int32_t i = 0; i < count; i++) {
        keys += position[queries ? queried[i] : i] + 1;
    }
    mem_free(position);
    mem_free(queried);
    return keys;
}

static double model_flops; /* of the model's own products, without adapters */

static double product_flops(double rows, double N, double K)
{
    model_flops += 2 * rows * N * K;
    return 2 * rows * N * K;
}

/* Of the factors and u. */
static double lora_floats(const struct lora *lora, int32_t rows, int32_t K)
{
    double floats = 0;
    for (int32_t p = 0; p < lora->part_count; p++) {
        const struct lora_part *part = &lora->parts[p];
        floats += (double)part->adapters->r * (rows + part->N + K);
    }
    return floats;
}

/* `of_K` for each row, column of x and column of u, `of_N` likewise of y. */
static double lora_flops(const struct lora *lora, int32_t K, double of_K, double of_N)
{
    double rows = 0, flops = 0;
    for (int32_t i = 0; i < lora->range_count; i++) {
        rows += lora->ranges[i].rows;
    }
    for (int32_t p = 0; p < lora->part_count; p++) {
        const struct lora_part *part = &lora->parts[p];
        flops += rows * part->adapters->r * (of_K * K + of_N * part->N);
    }
    return flops;
}

/* ---- the ops, timed -------------------------------------------------------------------------- */

/* One entry: its parameters, the call's arguments, floats that move, FLOPs of products. */
#define TIMED(op, parameters, arguments, floats, flops)                                            \
    static void timed_##op parameters                                                              \
    {                                                                                              \
        double begin = now_s();                                                                    \
        inner->op arguments;                                                                       \
        device_wait(d);                                                                            \
        book(OP_##op, begin, floats, flops);                                                       \
    }

/* clang-format off */
TIMED(copy_in, (struct device *d, void *to, const void *from, size_t bytes),
      (d, to, from, bytes), 0.5 * (double)bytes, 0)
TIMED(copy_out, (struct device *d, void *to, const void *from, size_t bytes),
      (d, to, from, bytes), 0.5 * (double)bytes, 0)
TIMED(zero, (struct device *d, void *block, size_t bytes),
      (d, block, bytes), 0.25 * (double)bytes, 0)
TIMED(embed_forward, (struct device *d, real *x, const int32_t *ids, const real *table, int32_t S, int32_t C),
      (d, x, ids, table, S, C), 2.0 * S * C, 0)
TIMED(embed_backward, (struct device *d, float *dtable, const real *dx, const int32_t *ids, int32_t S, int32_t C),
      (d, dtable, dx, ids, S, C), 3.0 * S * C, 0)
TIMED(rmsnorm_forward, (struct device *d, real *y, float *rstd, real *x_out, const real *x, const real *delta,
                        const real *w, int32_t rows, int32_t C, float eps),
      (d, y, rstd, x_out, x, delta, w, rows, C, eps), (delta ? 4.0 : 2.0) * rows * C, 0)
TIMED(rmsnorm_backward, (struct device *d, real *dx, float *dw, const real *dy, const real *x, const float *rstd,
                         const real *w, int32_t rows, int32_t C, bool accumulate),
      (d, dx, dw, dy, x, rstd, w, rows, C, accumulate), (accumulate ? 4.0 : 3.0) * rows * C, 0)
TIMED(head_norm_forward, (struct device *d, real *y, int32_t ldy, float *rstd, const real *x, int32_t ldx,
                          const real *w, int32_t rows, int32_t heads, int32_t D, float eps),
      (d, y, ldy, rstd, x, ldx, w, rows, heads, D, eps), 2.0 * rows * heads * D, 0)
TIMED(head_norm_backward, (struct device *d, real *dx, int32_t lddx, float *dw, const real *dy, int32_t lddy,
                           const real *x, int32_t ldx, const float *rstd, const real *w, int32_t rows, int32_t heads,
                           int32_t D),
      (d, dx, lddx, dw, dy, lddy, x, ldx, rstd, w, rows, heads, D), 3.0 * rows * heads * D, 0)
TIMED(linear_forward, (struct device *d, real *y, int32_t ldy, const real *x, int32_t ldx, const real *w,
                       const real *bias, int32_t rows, int32_t N, int32_t K, bool accumulate),
      (d, y, ldy, x, ldx, w, bias, rows, N, K, accumulate),
      1.0 * rows * K + 1.0 * N * K + (accumulate ? 2.0 : 1.0) * rows * N, product_flops(rows, N, K))
TIMED(linear_backward_input, (struct device *d, real *dx, int32_t lddx, const real *dy, int32_t lddy, const real *w,
                              int32_t rows, int32_t N, int32_t K, bool accumulate),
      (d, dx, lddx, dy, lddy, w, rows, N, K, accumulate),
      1.0 * rows * N + 1.0 * N * K + (accumulate ? 2.0 : 1.0) * rows * K, product_flops(rows, N, K))
TIMED(linear_backward_weight, (struct device *d, float *dw, float *dbias, const real *dy, int32_t lddy, const real *x,
                               int32_t ldx, int32_t rows, int32_t N, int32_t K),
      (d, dw, dbias, dy, lddy, x, ldx, rows, N, K), 1.0 * rows * (N + K) + 2.0 * N * K, product_flops(rows, N, K))
TIMED(lora_forward, (struct device *d, real *y, int32_t ldy, const real *x, int32_t ldx, const real *w,
                     const real *bias, const struct lora *lora, int32_t rows, int32_t N, int32_t K),
      (d, y, ldy, x, ldx, w, bias, lora, rows, N, K),
      1.0 * rows * K + (y && w ? 1.0 * N * K : 0) + (y ? (w ? 1.0 : 2.0) * rows * N : 0) + lora_floats(lora, rows, K),
      (y && w ? product_flops(rows, N, K) : 0) + lora_flops(lora, K, 2.0, y ? 2.0 : 0))
TIMED(lora_backward, (struct device *d, real *dx, int32_t lddx, const real *dy, int32_t lddy, const real *x,
                      int32_t ldx, const real *w, const struct lora *lora, int32_t rows, int32_t N, int32_t K),
      (d, dx, lddx, dy, lddy, x, ldx, w, lora, rows, N, K),
      1.0 * rows * (N + K) + (dx && w ? 1.0 * N * K : 0) + (dx ? (w ? 1.0 : 2.0) * rows * K : 0) +
          2.0 * lora_floats(lora, rows, K),
      (dx && w ? product_flops(rows, N, K) : 0) + lora_flops(lora, K, dx ? 4.0 : 2.0, 4.0))
TIMED(rope, (struct device *d, real *x, int32_t ldx, const int32_t *position, const float *table, int32_t rows,
             int32_t heads, int32_t D, bool backward),
      (d, x, ldx, position, table, rows, heads, D, backward), 2.0 * rows * heads * D, 0)
TIMED(attention_forward, (struct device *d, real *o, float *lse, const real *q, int32_t ldq, const real *k,
                          const real *v, int32_t ldkv, const struct layout *layout, const int32_t *queries,
                          int32_t count, const struct attention_shape *s),
      (d, o, lse, q, ldq, k, v, ldkv, layout, queries, count, s),
      2.0 * count * s->H * s->D + 2.0 * layout->tokens * s->G * s->D,
      4.0 * visible_keys(d, layout, queries, count) * s->H * s->D)
TIMED(attention_backward, (struct device *d, real *dq, int32_t lddq, real *dk, real *dv, int32_t lddkv,
                           const real *d_o, const real *o, const float *lse, const real *q, int32_t ldq,
                           const real *k, const real *v, int32_t ldkv, const struct layout *layout,
                           const int32_t *queries, int32_t count, const struct attention_shape *s),
      (d, dq, lddq, dk, dv, lddkv, d_o, o, lse, q, ldq, k, v, ldkv, layout, queries, count, s),
      4.0 * count * s->H * s->D + 4.0 * layout->tokens * s->G * s->D,
      10.0 * visible_keys(d, layout, queries, count) * s->H * s->D)
TIMED(swiglu_forward, (struct device *d, real *h, const real *gate_up, int32_t rows, int32_t F),
      (d, h, gate_up, rows, F), 3.0 * rows * F, 0)
TIMED(swiglu_backward, (struct device *d, real *dgate_up, real *h, const real *dh, const real *gate_up, int32_t rows,
                        int32_t F),
      (d, dgate_up, h, dh, gate_up, rows, F), (h ? 6.0 : 5.0) * rows * F, 0)
TIMED(gather_rows, (struct device *d, real *y, const real *x, const int32_t *index, int32_t rows, int32_t C),
      (d, y, x, index, rows, C), 2.0 * rows * C, 0)
TIMED(scatter_add_rows, (struct device *d, real *dx, const real *dy, const int32_t *index, int32_t rows, int32_t C),
      (d, dx, dy, index, rows, C), 3.0 * rows * C, 0)
TIMED(add, (struct device *d, float *y, const float *x, size_t count),
      (d, y, x, count), 3.0 * (double)count, 0)
TIMED(cross_entropy, (struct device *d, float *nll, real *dx, float *dw, const real *x, const real *w,
                      const int32_t *index, const int32_t *target, const float *weight, int32_t count, int32_t C,
                      int32_t V),
      (d, nll, dx, dw, x, w, index, target, weight, count, C, V),
      (dw ? 3.0 : 1.0) * V * C + (dx ? 3.0 : 1.0) * count * C,
      (2.0 + (dx ? 2.0 : 0.0) + (dw ? 2.0 : 0.0)) * count * C * V)
TIMED(pool_mean_forward, (struct device *d, real *pooled, const real *x, const int32_t *offset, const int32_t *token,
                          int32_t R, int32_t C),
      (d, pooled, x, offset, token, R, C), 1.0 * (number_at(d, offset + R) + R) * C, 0)
TIMED(pool_mean_backward, (struct device *d, real *dx, const real *dpooled, const int32_t *offset,
                           const int32_t *token, int32_t R, int32_t C),
      (d, dx, dpooled, offset, token, R, C), (2.0 * number_at(d, offset + R) + R) * C, 0)
TIMED(pool_max_forward, (struct device *d, real *pooled, int32_t *argmax, const real *x, const int32_t *offset,
                         const int32_t *token, int32_t R, int32_t C),
      (d, pooled, argmax, x, offset, token, R, C), (number_at(d, offset + R) + 2.0 * R) * C, 0)
TIMED(pool_max_backward, (struct device *d, real *dx, const real *dpooled, const int32_t *argmax, int32_t R,
                          int32_t C),
      (d, dx, dpooled, argmax, R, C), 4.0 * R * C, 0)
TIMED(reward_forward, (struct device *d, float *reward, const real *pooled, const float *w, int32_t R, int32_t C),
      (d, reward, pooled, w, R, C), 1.0 * R * C, 0)
TIMED(reward_backward, (struct device *d, real *dpooled, float *dw, const float *dreward, const real *pooled,
                        const float *w, int32_t R, int32_t C),
      (d, dpooled, dw, dreward, pooled, w, R, C), 2.0 * R * C, 0)
TIMED(adamw, (struct device *d, float *w, float *m, float *v, const float *g, size_t count,
              const struct adamw_step *step),
      (d, w, m, v, g, count, step), 7.0 * (double)count, 0)
/* clang-format on */

static double timed_sumsq(struct device *device, const float *x, size_t count)
{
    double begin = now_s();
    double sum = inner->sumsq(device, x, count);
    book(OP_sumsq, begin, (double)count, 0);
    return sum;
}

/* Replaces the device's table; ops that hold memory stay the real ones, untimed. */
static void device_time(struct device *device, struct ops *timed)
{
#define OP_TIMED(op) timed->op = timed_##op;
    inner = device->ops;
    *timed = *inner;
    OPS_THAT_COMPUTE(OP_TIMED)
    device->ops = timed;
}

/* ---- the machine's limits -------------------------------------------------------------------- */

static float *floats_alloc(struct device *device, size_t count)
{
    void *block;
    struct error error;
    if (device->ops->block_alloc(device, count * sizeof(float), "measuring", &block, &error) !=
        STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    return block;
}

/* Bytes per second of y += x over blocks larger than most caches. */
static double memory_rate(struct device *device)
{
    enum { COUNT = 48 << 20, ROUNDS = 7 };
    float *x = floats_alloc(device, COUNT), *y = floats_alloc(device, COUNT);
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = now_s();
        device->ops->add(device, y, x, COUNT);
        device_wait(device);
        double rate = 3.0 * sizeof(float) * COUNT / (now_s() - begin);
        best = rate > best ? rate : best;
    }
    device->ops->block_free(device, x, COUNT * sizeof(float));
    device->ops->block_free(device, y, COUNT * sizeof(float));
    return best;
}

/* FLOP per second of our own product, gate and up of SmolLM2-135M. */
static double product_rate(struct device *device)
{
    enum { ROWS = 2048, N = 3072, K = 576, ROUNDS = 15 };
    float *x = floats_alloc(device, ROWS * K), *w = floats_alloc(device, N * K);
    float *y = floats_alloc(device, ROWS * N);
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = now_s();
        device->ops->linear_forward(device, y, N, x, K, w, NULL, ROWS, N, K, false);
        device_wait(device);
        double rate = 2.0 * ROWS * N * K / (now_s() - begin);
        best = rate > best ? rate : best;
    }
    device->ops->block_free(device, x, ROWS * K * sizeof(float));
    device->ops->block_free(device, w, N * K * sizeof(float));
    device->ops->block_free(device, y, ROWS * N * sizeof(float));
    return best;
}

/* ---- the program ----------------------------------------------------------------------------- */

static void take_step(struct session *s, struct arena *arena, int64_t step)
{
    struct arena_mark mark = arena_mark(arena);
    struct step_result result;
    int32_t count;
    struct batch_group *groups = batch_groups_of(arena, &s->sampler, s->part, step, &count, NULL);
    struct error error;
    if (stepper_step(&s->stepper, step, groups, count, &result, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    arena_reset(arena, mark);
}

static void print_ledger(double seconds, int64_t steps, double flops_rate, double bytes_rate)
{
    double inside = 0;
    int order[OP_COUNT];
    for (int op = 0; op < OP_COUNT; op++) { /* longest first, by insertion */
        int at = op;
        for (; at > 0 && ledger[order[at - 1]].seconds < ledger[op].seconds; at--) {
            order[at] = order[at - 1];
        }
        order[at] = op;
        inside += ledger[op].seconds;
    }
    printf("%-24s %7s %10s %7s %10s %10s %8s %9s  %-8s %8s\n", "op", "calls", "ms/step", "share",
           "MB/step", "GFLOP/step", "GB/s", "GFLOP/s", "limit", "of bound");
    for (int i = 0; i < OP_COUNT && ledger[order[i]].calls > 0; i++) {
        double time = ledger[order[i]].seconds, bytes = ledger[order[i]].bytes;
        double flops = ledger[order[i]].flops;
        bool products = flops / flops_rate > bytes / bytes_rate;
        double bound = products ? flops / flops_rate : bytes / bytes_rate;
        printf("%-24s %7lld %10.2f %5.1f %% %10.1f %10.2f %8.1f %9.1f  %-8s %6.0f %%\n",
               op_names[order[i]], (long long)(ledger[order[i]].calls / steps),
               1e3 * time / (double)steps, 100 * time / seconds, 1e-6 * bytes / (double)steps,
               1e-9 * flops / (double)steps, 1e-9 * bytes / time, 1e-9 * flops / time,
               products ? "products" : "memory", 100 * bound / time);
    }
    printf("%-24s %7s %10.2f %5.1f %%\n", "outside of these", "",
           1e3 * (seconds - inside) / (double)steps, 100 * (seconds - inside) / seconds);
    printf("the model's products over the whole step's time: %.0f GFLOP/s, %.0f %% of %.0f\n",
           1e-9 * model_flops / seconds, 100 * model_flops / seconds / flops_rate,
           1e-9 * flops_rate);
}

int main(int argc, char **argv)
{
    struct arena arena = {0};
    struct error error;
    struct spec *spec;
    struct session *session;
    struct ops timed;
    int64_t steps = 3, threads = 0; /* 0: all cores */
    double gflops = 0;
    if (argc < 2 || argc > 5 || (argc > 2 && (!parse_i64(argv[2], &steps) || steps < 1)) ||
        (argc > 3 && !parse_f64(argv[3], &gflops)) || (argc > 4 && !parse_i64(argv[4], &threads))) {
        fatal(2, "usage: step_profile_bench RUN/spec.json [STEPS] [GFLOPS] [THREADS]");
    }
    if (spec_read(&arena, argv[1], NULL, 0, &spec, &error) != STATUS_OK ||
        session_open(spec, ".", NULL, (int)threads, NULL, &session, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    const bool ours = threads == 1 && device_shares_memory(session->device);
    clock_id = ours ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    session_plan(session);
    if (session_allocate(session, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    double bytes_rate = memory_rate(session->device);
    double flops_rate = gflops > 0 ? 1e9 * gflops : product_rate(session->device);
    device_time(session->device, &timed);
    take_step(session, &arena, 0);
    memset(ledger, 0, sizeof(ledger));
    model_flops = 0;
    double begin = now_s();
    for (int64_t step = 1; step <= steps; step++) {
        take_step(session, &arena, step);
    }
    double seconds = now_s() - begin;
    printf("# %s, %d threads; %lld steps of %.1f ms; memory %.1f GB/s, products %.0f GFLOP/s\n",
           inner->name, pool_threads(session->device->pool), (long long)steps,
           1e3 * seconds / (double)steps, 1e-9 * bytes_rate, 1e-9 * flops_rate);
    print_ledger(seconds, steps, flops_rate, bytes_rate);
    session->device->ops = inner;
    session_close(session);
    arena_release(&arena);
    return 0;
}
