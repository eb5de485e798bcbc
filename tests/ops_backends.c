/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ops_backends.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "tests/test.h"

static const char *const isas[] = {"ref", "avx2", "avx512", "amx", "cuda"};

enum { ISAS = 5, THREADS_MAX = 3, RUNS_MAX = 1 + (ISAS - 1) * THREADS_MAX };

/* Devices are opened once for all tests of a process. NULL: not on this machine, not in this
 * executable, or neither the reference nor the one that TAILOR_ISA names. */
static struct device *backend(int isa, int threads)
{
    static struct device *devices[ISAS][THREADS_MAX + 1];
    struct device **device = &devices[isa][threads];
    const char *only = getenv("TAILOR_ISA");
    if (strcmp(isas[isa], "cuda") == 0 && !device_gpu_is_linked()) {
        return NULL;
    }
    if (isa > 0 && only != NULL && strcmp(only, isas[isa]) != 0) {
        return NULL;
    }
    if (!*device) {
        struct device_options options = {.isa = isas[isa], .threads = threads};
        struct error error;
        enum status status = device_open(&options, device, &error);
        if (status == STATUS_UNSUPPORTED) {
            test_skip("%s", error.text);
            return NULL;
        }
        CHECK(status == STATUS_OK);
    }
    (*device)->dtype = DTYPE_FP32; /* a trial may have changed it */
    return *device;
}

void backend_reserve(struct device *device, const struct scratch_shape *shape)
{
    struct error error;
    CHECK(device->ops->scratch_reserve(device, shape, &error) == STATUS_OK);
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct run {
    struct device *device;
    struct fixture fixture;
    bool rounds; /* the trial's products were bf16 by instructions: bits of their own */
    bool on_gpu; /* as are all of a GPU */
};

/* Between products of rounded factors and of whole ones, relative to the largest entry; which bits
 * the former have, ops_gemm_test knows. */
static const double BF16_TOLERANCE = 0.03;

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void differ(const struct run *expected, const struct run *got, const struct result *result,
                   int32_t i, int32_t j, const char *how)
{
    size_t at = (size_t)i * result->values.ld + (size_t)j;
    size_t index = (size_t)(result - expected->fixture.results);
    test_fail(__FILE__, __LINE__,
              "seed %llu: %s[%d][%d] of (%d, %d): %.9g with %s and %d threads, %.9g with %s and %d "
              "threads: %s",
              (unsigned long long)got->fixture.seed, result->name, i, j, result->values.rows,
              result->values.width, (double)result->values.at[at], expected->device->ops->name,
              pool_threads(expected->device->pool),
              (double)got->fixture.results[index].values.at[at], got->device->ops->name,
              pool_threads(got->device->pool), how);
}

/* Compares all results of two runs: bit for bit where the agreement is at most `bits_up_to`, within
 * the result's tolerance otherwise. One failure a result is enough. */
static void compare(const struct run *expected, const struct run *got, enum agreement bits_up_to)
{
    CHECK(expected->fixture.result_count == got->fixture.result_count);
    for (int r = 0; r < expected->fixture.result_count; r++) {
        const struct result *result = &expected->fixture.results[r];
        const struct matrix a = result->values;
        const struct matrix b = got->fixture.results[r].values;
        CHECK(a.rows == b.rows && a.width == b.width && a.ld == b.ld);
        const bool rounded = expected->rounds || got->rounds;
        const bool alike = expected->rounds == got->rounds && expected->on_gpu == got->on_gpu;
        const bool bits = result->agreement <= bits_up_to && alike;
        /* Inputs are about 1. Where all terms cancel, what is left of them is rounding. */
        const double scale = fmax(matrix_largest(a), 0.1);
        const double tolerance = rounded ? BF16_TOLERANCE : result->tolerance;
        const double allowed = bits ? 0.0 : tolerance * scale;
        for (int64_t index = 0; index < (int64_t)a.rows * a.width; index++) {
            const int32_t i = (int32_t)(index / a.width);
            const int32_t j = (int32_t)(index % a.width);
            const float x = a.at[(size_t)i * a.ld + j];
            const float y = b.at[(size_t)i * b.ld + j];
            if (!same_bits(x, y) && (bits || !(fabs((double)x - (double)y) <= allowed))) {
                differ(expected, got, result, i, j, bits ? "bits differ" : "too far apart");
                break;
            }
        }
    }
}

static void compare_runs(const struct run *runs, int count)
{
    const struct run *first = NULL; /* of this implementation */
    const struct run *first_vector = NULL;
    for (int i = 1; i < count; i++) {
        if (first && first->device->ops == runs[i].device->ops) {
            compare(first, &runs[i], CLOSE);
            continue;
        }
        first = &runs[i];
        compare(&runs[0], first, SAME_AS_REFERENCE);
        if (first_vector) {
            compare(first_vector, first, SAME_AS_VECTOR);
        }
        first_vector = first;
    }
}

void expect_backends_agree(ops_trial *trial, int trials)
{
    struct device *devices[RUNS_MAX] = {backend(0, 1)};
    int count = 1;
    for (int isa = 1; isa < ISAS; isa++) {
        for (int threads = 1; threads <= THREADS_MAX && backend(isa, threads); threads++) {
            devices[count++] = backend(isa, threads);
        }
    }
    for (int t = 0; t < trials && !test_failed(); t++) {
        struct run runs[RUNS_MAX];
        for (int i = 0; i < count; i++) {
            devices[i]->dtype = DTYPE_FP32;
            runs[i] = (struct run){.device = devices[i], .fixture = {.seed = (uint64_t)t}};
            trial(devices[i], &runs[i].fixture);
            runs[i].rounds = device_multiplies_bf16(devices[i]);
            runs[i].on_gpu = !device_shares_memory(devices[i]);
        }
        compare_runs(runs, count);
        for (int i = 0; i < count; i++) {
            fixture_end(&runs[i].fixture);
        }
    }
}

void for_each_backend(ops_trial *trial, int trials)
{
    for (int isa = 0; isa < ISAS; isa++) {
        struct device *device = backend(isa, 2);
        for (int t = 0; device && t < trials && !test_failed(); t++) {
            struct fixture fixture = {.seed = (uint64_t)t};
            trial(device, &fixture);
            fixture_end(&fixture);
        }
    }
}

void expect_same_rows(const char *what, const struct device *device, const struct fixture *fixture,
                      struct matrix expected, int32_t expected_row, struct matrix got,
                      int32_t got_row, int32_t rows)
{
    CHECK(expected.width == got.width);
    for (int32_t i = 0; i < rows; i++) {
        const float *a = expected.at + (size_t)(expected_row + i) * expected.ld;
        const float *b = got.at + (size_t)(got_row + i) * got.ld;
        for (int32_t j = 0; j < got.width; j++) {
            if (!same_bits(a[j], b[j])) {
                test_fail(__FILE__, __LINE__, "seed %llu: %s, %s: row %d, column %d: %.9g or %.9g",
                          (unsigned long long)fixture->seed, device->ops->name, what,
                          expected_row + i, j, (double)a[j], (double)b[j]);
                return;
            }
        }
    }
}
