/* SPDX-License-Identifier: Apache-2.0
 *
 * rng: Philox against its published vectors, the distributions, and the permutation.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rng.h"
#include "tests/test.h"

TEST(philox_gives_the_published_values)
{
    /* Random123's kat_vectors, philox2x64 with 10 rounds: counter (index, stream), key seed. */
    EXPECT(rng_u64(0, 0, 0) == UINT64_C(0xca00a0459843d731));
    EXPECT(rng_u64(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_C(0x65b021d60cd8310f));
    EXPECT(rng_u64(UINT64_C(0xa4093822299f31d0), UINT64_C(0x13198a2e03707344),
                   UINT64_C(0x243f6a8885a308d3)) == UINT64_C(0x0a5e742c2997341c));
}

TEST(values_are_pinned_so_that_old_runs_resume)
{
    EXPECT(rng_stream("lora_A") == UINT64_C(0x23ce4b106893a20b));
    EXPECT(rng_stream("lora_A") != rng_stream("lora_B"));
    EXPECT_CLOSE(-0.90066907253020378, rng_normal(1, 2, 3), 0);
    EXPECT_I64(719, (int64_t)rng_permute(1, 2, 3, 1000));
}

TEST(uniform_values_fill_the_unit_interval)
{
    enum { COUNT = 1 << 20, BINS = 64 };
    int bins[BINS] = {0};
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        double value = rng_uniform(7, 3, (uint64_t)i);
        EXPECT(value >= 0 && value < 1);
        sum += value;
        bins[(int)(value * BINS)]++;
    }
    EXPECT_CLOSE(0.5, sum / COUNT, 5 * sqrt(1.0 / 12 / COUNT));
    double chi = 0;
    for (int i = 0; i < BINS; i++) {
        double difference = bins[i] - (double)COUNT / BINS;
        chi += difference * difference / ((double)COUNT / BINS);
    }
    EXPECT(chi > 25 && chi < 125); /* 63 degrees of freedom */
}

TEST(normal_values_have_the_moments_and_tails_of_a_normal)
{
    enum { COUNT = 1 << 20 };
    double moments[5] = {0};
    int over_two = 0;
    double largest = 0;
    for (int i = 0; i < COUNT; i++) {
        double value = rng_normal(11, 5, (uint64_t)i);
        double power = 1;
        for (int k = 1; k <= 4; k++) {
            power *= value;
            moments[k] += power / COUNT;
        }
        over_two += fabs(value) > 2;
        largest = fabs(value) > largest ? fabs(value) : largest;
    }
    EXPECT_CLOSE(0, moments[1], 0.005);
    EXPECT_CLOSE(1, moments[2], 0.01);
    EXPECT_CLOSE(0, moments[3], 0.02);
    EXPECT_CLOSE(3, moments[4], 0.06);
    EXPECT_CLOSE(0.0455, (double)over_two / COUNT, 0.001);
    EXPECT(largest > 4.2 && largest < 7);
}

/* Box and Muller over the same two words, computed apart with another language's libm. */
TEST(normal_values_are_those_of_the_formula)
{
    static const double expected[] = {
        -0.97317912452159216, -0.17781819219259692, -0.32601170399562795, -0.90066907253020312,
        -0.48642458972043545, 0.35151230818932816,  0.69045814616892054,  0.27825813198097582};
    for (uint64_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        EXPECT_CLOSE(expected[i], rng_normal(1, 2, i), 4e-15);
    }
}

TEST(bounded_values_are_uniform_below_the_bound)
{
    enum { COUNT = 700000, BOUND = 7 };
    int bins[BOUND] = {0};
    for (int i = 0; i < COUNT; i++) {
        uint64_t value = rng_below(3, 1, (uint64_t)i, BOUND);
        EXPECT(value < BOUND);
        bins[value]++;
    }
    for (int i = 0; i < BOUND; i++) {
        EXPECT_CLOSE((double)COUNT / BOUND, bins[i], 1600); /* over five deviations */
    }
    for (uint64_t i = 0; i < 100; i++) {
        EXPECT(rng_below(3, 1, i, 1) == 0);
        EXPECT(rng_below(3, 1, i, UINT64_MAX) < UINT64_MAX);
    }
}

TEST(streams_seeds_and_indices_are_not_correlated)
{
    enum { COUNT = 1 << 18 };
    double products[3] = {0};
    for (int i = 0; i < COUNT; i++) {
        uint64_t at = (uint64_t)i;
        double value = rng_uniform(1, 1, at) - 0.5;
        products[0] += value * (rng_uniform(2, 1, at) - 0.5);
        products[1] += value * (rng_uniform(1, 2, at) - 0.5);
        products[2] += value * (rng_uniform(1, 1, at + 1) - 0.5);
    }
    for (int k = 0; k < 3; k++) {
        EXPECT_CLOSE(0, products[k] / COUNT * 12, 5 / sqrt(COUNT));
    }
}

TEST(a_permutation_visits_every_index_once)
{
    static const uint64_t counts[] = {1, 2, 3, 4, 5, 15, 16, 17, 64, 65, 1000, 4096, 4097, 99991};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        uint64_t count = counts[c];
        unsigned char *seen = calloc(1, count);
        REQUIRE(seen != NULL);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t image = rng_permute(42, 1, i, count);
            if (image >= count || seen[image]++ != 0) {
                test_fail(__FILE__, __LINE__, "index %llu of %llu goes to %llu",
                          (unsigned long long)i, (unsigned long long)count,
                          (unsigned long long)image);
                break;
            }
        }
        free(seen);
    }
}

TEST(permutations_work_at_the_largest_counts)
{
    static const uint64_t counts[] = {UINT64_C(1) << 62, (UINT64_C(1) << 62) + 1, UINT64_MAX};
    for (size_t c = 0; c < 3; c++) {
        uint64_t previous = UINT64_MAX;
        for (uint64_t i = 0; i < 1000; i++) {
            uint64_t image = rng_permute(42, 1, counts[c] - 1 - i, counts[c]);
            EXPECT(image < counts[c] && image != previous);
            previous = image;
        }
    }
}

TEST(every_order_of_a_few_is_about_as_likely)
{
    /* All 24 orders of 4, over 24000 seeds: expected 1000 each. */
    int orders[256] = {0};
    for (uint64_t seed = 0; seed < 24000; seed++) {
        int order = 0;
        for (uint64_t i = 0; i < 4; i++) {
            order = order * 4 + (int)rng_permute(seed, 9, i, 4);
        }
        orders[order]++;
    }
    int kinds = 0;
    for (int i = 0; i < 256; i++) {
        if (orders[i] > 0) {
            kinds++;
            EXPECT_CLOSE(1000, orders[i], 200);
        }
    }
    EXPECT_I64(24, kinds);
}

TEST(each_place_of_a_shuffle_takes_every_value)
{
    enum { COUNT = 10, SEEDS = 20000 };
    int hits[COUNT][COUNT] = {{0}};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            hits[i][rng_permute(seed, 9, i, COUNT)]++;
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            EXPECT_CLOSE((double)SEEDS / COUNT, hits[i][j], 250); /* over five deviations */
        }
    }
}

TEST(shuffles_of_two_streams_agree_in_about_one_place)
{
    enum { COUNT = 10000 };
    int same = 0;
    int fixed = 0;
    int followers = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t image = rng_permute(1, 1, i, COUNT);
        same += image == rng_permute(1, 2, i, COUNT);
        fixed += image == i;
        followers += i > 0 && image == rng_permute(1, 1, i - 1, COUNT) + 1;
    }
    EXPECT(same < 8 && fixed < 8 && followers < 8);
}

TEST_MAIN()
