/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_bench: linear_* against the sgemm of oneDNN and of OpenBLAS, where those are installed.
 *
 *     gemm_bench [ROWS] [ROUNDS] [THREADS] [fp32|bf16]        TAILOR_ISA=avx2 gemm_bench
 *
 * In bf16 tailor runs alone (gemm_peers.sh puts PyTorch's oneDNN beside it) after the peak of the
 * matrix unit: products of tile registers and nothing else.
 *
 * Rounds are interleaved: in each, every library computes the same product for ROUND_SECONDS, so
 * that whatever else the machine does falls on all of them; one thread is timed by its own clock,
 * which stands still while another process has its core. `packed` is tailor with its weight kept
 * packed (ops.h, weights_keep), as training and scoring use it. Shown are GFLOP/s of the median
 * round and, in brackets, of the best; ratios are of medians, above 1 where tailor is faster. The
 * libraries are opened at run time: nothing links against them.
 */
#include <dlfcn.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/ops/ops.h"

enum { ROUNDS_MAX = 99, THREADS_MAX = 2 };
static const double ROUND_SECONDS = 0.03;
static const useconds_t PAUSE = 3000; /* until the last library's threads have stopped spinning */

enum direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, DIRECTIONS };
static const char *const direction_names[] = {"forward", "dgrad", "wgrad"};

struct product {
    enum direction direction;
    int32_t rows, N, K;
    float *x, *w, *y; /* (rows,K) (N,K) (rows,N) */
};

/* ---- contestants ----------------------------------------------------------------------------- */

enum library { TAILOR, PACKED, ONEDNN, OPENBLAS, LIBRARIES }; /* PACKED: tailor, w kept packed */
static const char *const library_names[] = {"tailor", "packed", "oneDNN", "OpenBLAS"};

typedef int onednn_sgemm(char transa, char transb, int64_t M, int64_t N, int64_t K, float alpha,
                         const float *A, int64_t lda, const float *B, int64_t ldb, float beta,
                         float *C, int64_t ldc);
typedef void cblas_sgemm(int order, int transa, int transb, int M, int N, int K, float alpha,
                         const float *A, int lda, const float *B, int ldb, float beta, float *C,
                         int ldc);
typedef void set_threads(int threads);

static struct {
    onednn_sgemm *onednn;
    cblas_sgemm *openblas;
    set_threads *onednn_threads, *openblas_threads;
    struct device *devices[THREADS_MAX + 1], *keeping[THREADS_MAX + 1];
    enum dtype dtype;
} contestants;

static void *symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return handle ? dlsym(handle, name) : NULL;
}

static void open_libraries(void)
{
    setenv("OPENBLAS_THREAD_TIMEOUT", "18", 0); /* 2^18 cycles of spinning, not 2^26 */
    *(void **)&contestants.onednn = symbol("libdnnl.so.2", "dnnl_sgemm");
    *(void **)&contestants.onednn_threads = symbol("libgomp.so.1", "omp_set_num_threads");
    *(void **)&contestants.openblas = symbol("libopenblas.so.0", "cblas_sgemm");
    *(void **)&contestants.openblas_threads =
        symbol("libopenblas.so.0", "openblas_set_num_threads");
}

static bool present(enum library library, enum direction direction)
{
    const bool fp32 = contestants.dtype == DTYPE_FP32;
    switch (library) {
    case PACKED:
        return direction != BACKWARD_WEIGHT; /* has no weight among its factors */
    case ONEDNN:
        return fp32 && contestants.onednn && contestants.onednn_threads;
    case OPENBLAS:
        return fp32 && contestants.openblas != NULL;
    default:
        return true;
    }
}

/* As row-major C(M,N) = A·B, with A or B stored transposed. */
struct view {
    bool a_transposed, b_transposed;
    int M, N, K, lda, ldb;
    const float *a, *b;
    float *c, beta;
};

static struct view view_of(const struct product *p)
{
    switch (p->direction) {
    case FORWARD:
        return (struct view){false, true, p->rows, p->N, p->K, p->K, p->K, p->x, p->w, p->y, 0.0f};
    case BACKWARD_INPUT:
        return (struct view){false, false, p->rows, p->K, p->N, p->N, p->K, p->y, p->w, p->x, 0.0f};
    default:
        return (struct view){true, false, p->N, p->K, p->rows, p->N, p->K, p->y, p->x, p->w, 1.0f};
    }
}

static void compute_tailor(const struct product *p, struct device *device)
{
    const struct ops *ops = device->ops;
    switch (p->direction) {
    case FORWARD:
        ops->linear_forward(device, p->y, p->N, p->x, p->K, p->w, NULL, p->rows, p->N, p->K, false);
        break;
    case BACKWARD_INPUT:
        ops->linear_backward_input(device, p->x, p->K, p->y, p->N, p->w, p->rows, p->N, p->K,
                                   false);
        break;
    default:
        ops->linear_backward_weight(device, p->w, NULL, p->y, p->N, p->x, p->K, p->rows, p->N,
                                    p->K);
    }
}

static void compute(enum library library, const struct product *p, int threads)
{
    const struct view v = view_of(p);
    if (library == TAILOR || library == PACKED) {
        compute_tailor(p, library == TAILOR ? contestants.devices[threads]
                                            : contestants.keeping[threads]);
    } else if (library == ONEDNN) {
        contestants.onednn(v.a_transposed ? 'T' : 'N', v.b_transposed ? 'T' : 'N', v.M, v.N, v.K,
                           1.0f, v.a, v.lda, v.b, v.ldb, v.beta, v.c, v.N);
    } else {
        enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
        contestants.openblas(ROW_MAJOR, v.a_transposed ? TRANSPOSE : NO_TRANSPOSE,
                             v.b_transposed ? TRANSPOSE : NO_TRANSPOSE, v.M, v.N, v.K, 1.0f, v.a,
                             v.lda, v.b, v.ldb, v.beta, v.c, v.N);
    }
}

/* ---- measuring ------------------------------------------------------------------------------- */

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double gflops_of_round(enum library library, const struct product *p, int threads)
{
    compute(library, p, threads);
    clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double begin = seconds(clock), elapsed;
    int calls = 0;
    do {
        compute(library, p, threads);
        calls++;
        elapsed = seconds(clock) - begin;
    } while (elapsed < ROUND_SECONDS);
    usleep(PAUSE);
    return 2e-9 * p->rows * p->N * p->K * calls / elapsed;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct product *p, int threads, int rounds)
{
    static double gflops[LIBRARIES][ROUNDS_MAX];
    double median[LIBRARIES] = {0};
    if (contestants.onednn_threads) {
        contestants.onednn_threads(threads);
    }
    if (contestants.openblas_threads) {
        contestants.openblas_threads(threads);
    }
    for (int round = 0; round < rounds; round++) {
        for (int library = 0; library < LIBRARIES; library++) {
            if (present(library, p->direction)) {
                gflops[library][round] = gflops_of_round(library, p, threads);
            }
        }
    }
    printf("%-8s %6d %6d %6d %3d", direction_names[p->direction], p->rows, p->N, p->K, threads);
    for (int library = 0; library < LIBRARIES; library++) {
        if (!present(library, p->direction)) {
            printf("        -      ");
            continue;
        }
        qsort(gflops[library], (size_t)rounds, sizeof(double), ascending);
        median[library] = gflops[library][rounds / 2];
        printf("  %6.1f (%5.1f)", median[library], gflops[library][rounds - 1]);
    }
    for (int library = ONEDNN; library < LIBRARIES; library++) {
        printf("  %5.2f", present(library, p->direction) ? median[TAILOR] / median[library] : 0.0);
    }
    printf("\n");
    fflush(stdout);
}

/* ---- the matrix unit ------------------------------------------------------------------------- */

enum { PEAK_PRODUCTS = 400000 };

/* Four sums in turn, so that none waits for itself. */
static __attribute__((target("amx-tile,amx-bf16"))) void peak_task(void *argument, size_t index,
                                                                   int thread)
{
    (void)argument, (void)index, (void)thread;
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1,
                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&config);
    for (int i = 0; i < PEAK_PRODUCTS; i += 4) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

static void measure_peak(int threads, int rounds)
{
    const double flops = 2.0 * 16 * 16 * 32 * PEAK_PRODUCTS * threads;
    struct pool *pool = contestants.devices[threads]->pool;
    clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double best = 0;
    for (int round = 0; round < 4 * rounds; round++) {
        double begin = seconds(clock);
        pool_run(pool, (size_t)threads, peak_task, NULL);
        double rate = 1e-9 * flops / (seconds(clock) - begin);
        best = rate > best ? rate : best;
    }
    printf("peak of the matrix unit, %d threads: %.0f GFLOP/s\n", threads, best);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void print_machine(void)
{
    char line[4096], model[256] = "unknown processor";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "model name : %255[^\n]", model) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    printf("# %s, %d cores, avx2 %d fma %d avx512f %d; tailor uses %s\n", model, cpu_count(),
           !!__builtin_cpu_supports("avx2"), !!__builtin_cpu_supports("fma"),
           !!__builtin_cpu_supports("avx512f"), contestants.devices[1]->ops->name);
}

static void open_devices(void)
{
    const struct scratch_shape shape = {.S = 1, .C = 1, .H = 1, .G = 1, .D = 1, .F = 1, .V = 1};
    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        struct device **both[] = {&contestants.devices[threads], &contestants.keeping[threads]};
        for (int i = 0; i < 2; i++) {
            struct error error;
            struct device **device = both[i];
            if (device_open(
                    &(struct device_options){.threads = threads, .dtype = contestants.dtype},
                    device, &error) ||
                (*device)->ops->scratch_reserve(*device, &shape, &error)) {
                fatal(1, "%s", error.text);
            }
        }
    }
}

static float *matrix(size_t rows, size_t columns)
{
    void *block;
    struct error error;
    size_t count = size_mul(rows, columns);
    if (mem_map(size_mul(count, sizeof(float)), "a matrix", &block, &error)) {
        fatal(1, "%s", error.text);
    }
    float *values = block;
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(i * 7919 % 1000) / 1000.0f - 0.5f;
    }
    return values;
}

static void keep(struct device *device, const struct product *p)
{
    struct error error;
    const struct kept_weight weight = {p->w, p->N, p->K, WEIGHT_FORWARD | WEIGHT_BACKWARD_INPUT};
    if (device->ops->weights_keep(device, &weight, 1, &error)) {
        fatal(1, "%s", error.text);
    }
}

static void measure_shape(int32_t rows, int32_t N, int32_t K, int rounds, int threads_only)
{
    struct product p = {.rows = rows, .N = N, .K = K};
    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        if (threads_only > 0 && threads != threads_only) {
            continue;
        }
        for (int direction = 0; direction < DIRECTIONS; direction++) {
            p.direction = direction;
            p.x = matrix((size_t)rows, (size_t)K);
            p.w = matrix((size_t)N, (size_t)K);
            p.y = matrix((size_t)rows, (size_t)N);
            keep(contestants.keeping[threads], &p);
            measure(&p, threads, rounds);
            contestants.keeping[threads]->ops->weights_forget(contestants.keeping[threads], p.w,
                                                              (size_t)N * (size_t)K);
            mem_unmap(p.x, (size_t)rows * (size_t)K * sizeof(float));
            mem_unmap(p.w, (size_t)N * (size_t)K * sizeof(float));
            mem_unmap(p.y, (size_t)rows * (size_t)N * sizeof(float));
        }
    }
}

int main(int argc, char **argv)
{
    /* SmolLM2-135M: q+k+v, o, gate+up, down, head; then the two sides of a LoRA factor. */
    static const int32_t shapes[][2] = {{960, 576},   {576, 576}, {3072, 576}, {576, 1536},
                                        {49152, 576}, {16, 576},  {960, 16}};
    int32_t rows = argc > 1 ? atoi(argv[1]) : 1024;
    int rounds = argc > 2 ? atoi(argv[2]) : 9;
    int threads = argc > 3 ? atoi(argv[3]) : 0; /* 0: one, then two */
    contestants.dtype = argc > 4 && strcmp(argv[4], "bf16") == 0 ? DTYPE_BF16 : DTYPE_FP32;
    CHECK(rows > 0 && rounds > 0 && rounds <= ROUNDS_MAX && threads >= 0 && threads <= THREADS_MAX);
    open_libraries();
    open_devices();
    print_machine();
    for (int i = 1; i <= THREADS_MAX && device_multiplies_bf16(contestants.devices[i]); i++) {
        if (threads == 0 || threads == i) {
            measure_peak(i, rounds);
        }
    }
    printf("# GFLOP/s: median (best) of %d rounds\n", rounds);
    printf("%-8s %6s %6s %6s %3s  %14s  %14s  %14s  %14s  /oneDNN /OpenBLAS\n", "", "rows", "N",
           "K", "thr", library_names[TAILOR], library_names[PACKED], library_names[ONEDNN],
           library_names[OPENBLAS]);
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++) {
        int32_t shape_rows = shapes[s][0] > 10000 && rows > 256 ? 256 : rows;
        measure_shape(shape_rows, shapes[s][0], shapes[s][1], rounds, threads);
    }
    for (int i = 1; i <= THREADS_MAX; i++) {
        device_close(contestants.devices[i]);
        device_close(contestants.keeping[i]);
    }
    return 0;
}
