/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "lib/rng.h"
#include "tests/test.h"
#include "worker/ops/cpu/lane_probe.h"

typedef void array_function(float *y, const float *x, int64_t n);

static const struct probe {
    const char *name;
    array_function *exp, *log;
    float (*sum)(const float *x, int64_t n);
    float (*largest)(const float *x, int64_t n);
} probes[] = {
    {"avx2", lane_probe_exp_avx2, lane_probe_log_avx2, lane_probe_sum_avx2,
     lane_probe_largest_avx2},
    {"avx512", lane_probe_exp_avx512, lane_probe_log_avx512, lane_probe_sum_avx512,
     lane_probe_largest_avx512},
};

/* The probes that this processor can run: the first so many. */
static int probe_count(void)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        test_skip("no AVX2 here");
        return 0;
    }
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) {
        test_skip("no AVX-512 here: AVX2 alone");
        return 1;
    }
    return 2;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* |got − expected| in units of the last place of a float near `expected`. */
static double ulps(double expected, float got)
{
    float near = fabsf((float)expected);
    return fabs((double)got - expected) / ((double)nextafterf(near, INFINITY) - (double)near);
}

enum { BATCH = 4096, STEP = 997 };

/* Every STEP-th of all floats, as many at a time as fit x; returns how many, 0 at the end. */
static int64_t next_floats(float x[BATCH], uint64_t *bits)
{
    int64_t n = 0;
    while (n < BATCH && *bits <= UINT32_MAX) {
        x[n++] = from_bits((uint32_t)*bits);
        *bits += STEP;
    }
    return n;
}

static bool exp_is_right(float x, float y)
{
    double expected = exp((double)x);
    if (isnan(x)) {
        return isnan(y);
    }
    if ((float)expected < 1.17549435e-38f) {
        return y >= 0.0f && y <= 1.17549435e-38f;
    }
    return isinf((float)expected) ? y == INFINITY : ulps(expected, y) <= 2.0;
}

static bool log_is_right(float x, float y)
{
    if (isnan(x) || x < 0.0f) {
        return isnan(y);
    }
    if (x == 0.0f || isinf(x)) {
        return y == (x > 0.0f ? INFINITY : -INFINITY);
    }
    return x == 1.0f ? y == 0.0f : ulps(log((double)x), y) <= 2.0;
}

TEST(exp_and_log_are_within_two_ulps_over_all_floats)
{
    int count = probe_count();
    for (int p = 0; p < count; p++) {
        static float x[BATCH], y[BATCH], z[BATCH];
        uint64_t bits = 0;
        for (int64_t n = next_floats(x, &bits); n > 0; n = next_floats(x, &bits)) {
            probes[p].exp(y, x, n);
            probes[p].log(z, x, n);
            for (int64_t i = 0; i < n && !test_failed(); i++) {
                if (!exp_is_right(x[i], y[i])) {
                    test_fail(__FILE__, __LINE__, "%s: exp(%a) = %a", probes[p].name, (double)x[i],
                              (double)y[i]);
                }
                if (!log_is_right(x[i], z[i])) {
                    test_fail(__FILE__, __LINE__, "%s: log(%a) = %a", probes[p].name, (double)x[i],
                              (double)z[i]);
                }
            }
        }
    }
}

TEST(exp_and_log_have_the_right_limits)
{
    static const float x[] = {-INFINITY, INFINITY, 0.0f,        -0.0f,      1.0f,
                              -1e30f,    1e30f,    88.7228317f, 88.722847f, -87.336555f};
    enum { COUNT = sizeof(x) / sizeof(*x) };
    int count = probe_count();
    for (int p = 0; p < count; p++) {
        float y[COUNT], z[COUNT];
        probes[p].exp(y, x, COUNT);
        probes[p].log(z, x, COUNT);
        EXPECT(y[0] == 0.0f && y[1] == INFINITY && y[2] == 1.0f && y[3] == 1.0f);
        EXPECT(y[5] == 0.0f && y[6] == INFINITY && y[7] < INFINITY && y[8] == INFINITY);
        EXPECT(y[9] == 0.0f);
        EXPECT(isnan(z[0]) && z[1] == INFINITY && z[2] == -INFINITY && z[3] == -INFINITY);
        EXPECT(z[4] == 0.0f && isnan(z[5]));
    }
}

TEST(avx2_and_avx512_give_the_same_bits)
{
    if (probe_count() < 2) {
        return;
    }
    static float x[BATCH], y[2][BATCH], z[2][BATCH];
    uint64_t bits = 1;
    for (int64_t n = next_floats(x, &bits); n > 0; n = next_floats(x, &bits)) {
        for (int p = 0; p < 2; p++) {
            probes[p].exp(y[p], x, n);
            probes[p].log(z[p], x, n);
        }
        EXPECT_BYTES(y[0], y[1], (size_t)n * sizeof(float));
        EXPECT_BYTES(z[0], z[1], (size_t)n * sizeof(float));
    }
    for (int64_t n = 0; n < 100; n++) {
        for (int64_t i = 0; i < n; i++) {
            x[i] = (float)rng_normal(1, (uint64_t)n, (uint64_t)i);
        }
        float sum[2] = {probes[0].sum(x, n), probes[1].sum(x, n)};
        float largest[2] = {probes[0].largest(x, n), probes[1].largest(x, n)};
        EXPECT_BYTES(&sum[0], &sum[1], sizeof(float));
        EXPECT_BYTES(&largest[0], &largest[1], sizeof(float));
    }
}

TEST(a_tail_has_the_bits_of_a_whole_vector_and_touches_nothing_else)
{
    int count = probe_count();
    for (int p = 0; p < count; p++) {
        float x[16], whole[16], tail[17];
        for (int i = 0; i < 16; i++) {
            x[i] = (float)rng_normal(2, 0, (uint64_t)i) * 10.0f;
        }
        probes[p].exp(whole, x, 16);
        for (int n = 1; n <= 16; n++) {
            float spoilt[17];
            memcpy(spoilt, x, sizeof(x));
            for (int i = 0; i < 17; i++) {
                spoilt[i] = i < n ? x[i] : NAN;
                tail[i] = -7.0f;
            }
            probes[p].exp(tail, spoilt, n);
            EXPECT_BYTES(whole, tail, (size_t)n * sizeof(float));
            for (int i = n; i < 17; i++) {
                EXPECT(tail[i] == -7.0f);
            }
            EXPECT(!isnan(probes[p].sum(spoilt, n)));
        }
    }
}

/* The contract's order: partial j mod 16, then (0+8 …), (0+4 …), (0+2, …), (0+1). */
static float contract_sum(const float *x, int n)
{
    float partial[16] = {0};
    for (int i = 0; i < n; i++) {
        partial[i % 16] += x[i];
    }
    for (int step = 8; step > 0; step /= 2) {
        for (int i = 0; i < step; i++) {
            partial[i] += partial[i + step];
        }
    }
    return partial[0];
}

TEST(sums_follow_the_contract_and_maxima_are_maxima)
{
    int count = probe_count();
    for (int p = 0; p < count; p++) {
        for (int n = 1; n < 200; n++) {
            float x[200], largest = -INFINITY;
            for (int i = 0; i < n; i++) {
                x[i] = (float)rng_normal(3, (uint64_t)n, (uint64_t)i);
                largest = fmaxf(largest, x[i]);
            }
            float expected = contract_sum(x, n), got = probes[p].sum(x, n);
            EXPECT_BYTES(&expected, &got, sizeof(float));
            got = probes[p].largest(x, n);
            EXPECT_BYTES(&largest, &got, sizeof(float));
        }
    }
}

TEST_MAIN()
