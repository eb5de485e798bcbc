/* SPDX-License-Identifier: Apache-2.0
 *
 * rng: Philox2x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with
 * the seed as key and (index, stream) as counter.
 *
 * Invariants: every value is a pure function of its arguments, the same bits on every machine. That
 * is why rng_normal computes its own logarithm and cosine from + - * / sqrt: libm's differ by an
 * ulp between versions and instruction sets. Rejected: splitmix64 over a hashed (seed, stream),
 * whose streams are windows of one sequence and may overlap.
 */
#include "lib/rng.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/map.h"

typedef unsigned __int128 u128;

enum { PHILOX_ROUNDS = 10, FEISTEL_ROUNDS = 8 };

#define PHILOX_MULTIPLIER UINT64_C(0xd2b74407b1ce6e93)
#define GOLDEN            UINT64_C(0x9e3779b97f4a7c15)

struct words {
    uint64_t low, high;
};

static struct words philox(uint64_t seed, uint64_t stream, uint64_t index)
{
    struct words x = {index, stream};
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        u128 product = (u128)PHILOX_MULTIPLIER * x.low;
        x.low = (uint64_t)(product >> 64) ^ seed ^ x.high;
        x.high = (uint64_t)product;
        seed += GOLDEN;
    }
    return x;
}

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    return philox(seed, stream, index).low;
}

static double unit(uint64_t word)
{
    return (double)(word >> 11) * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return unit(rng_u64(seed, stream, index));
}

/* ln x for 2^-53 <= x <= 1, by x = m 2^e and ln m = 2 artanh((m - 1) / (m + 1)). */
static double natural_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent);
    if (m < M_SQRT1_2) {
        m *= 2;
        exponent--;
    }
    double s = (m - 1) / (m + 1); /* |s| <= 0.172: the series below ends under 1e-17 */
    double square = s * s;
    double sum = 0;
    for (int k = 21; k >= 1; k -= 2) {
        sum = sum * square + 1.0 / k;
    }
    return 2 * s * sum + exponent * M_LN2;
}

/* cos(2 pi u) for 0 <= u < 1: Taylor within an eighth turn, then two doublings of the angle. */
static double cos_turn(double u)
{
    double a = M_PI_2 * (u - 0.5); /* a quarter of the angle; the half turn flips the sign */
    double square = a * a;
    double sum = 1;
    for (int k = 16; k >= 2; k -= 2) {
        sum = 1 - sum * square / (k * (k - 1));
    }
    double twice = 2 * sum * sum - 1;
    return -(2 * twice * twice - 1);
}

double rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    struct words x = philox(seed, stream, index);
    return sqrt(-2 * natural_log(unit(x.low) + 0x1p-53)) * cos_turn(unit(x.high));
}

/* floor(r * bound) of a 128-bit fraction r: the bias is below 2^-64, so nothing is redrawn. */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound)
{
    CHECK(bound > 0);
    struct words x = philox(seed, stream, index);
    uint64_t carry = (uint64_t)(((u128)x.high * bound) >> 64);
    return (uint64_t)(((u128)x.low * bound + carry) >> 64);
}

static uint64_t mix(uint64_t x) /* the finalizer of splitmix64 */
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t rng_permute(uint64_t seed, uint64_t stream, uint64_t index, uint64_t count)
{
    CHECK(index < count);
    int half = 1; /* bits of one side: the network permutes [0, 4^half) */
    while (half < 32 && count > UINT64_C(1) << (2 * half)) {
        half++;
    }
    uint64_t mask = (UINT64_C(1) << half) - 1;
    struct words key = philox(seed, stream, count);
    do {
        uint64_t left = index >> half;
        uint64_t right = index & mask;
        uint64_t round_key = key.low;
        for (int round = 0; round < FEISTEL_ROUNDS; round++) {
            uint64_t next = left ^ (mix(right + round_key) >> 32 & mask);
            left = right;
            right = next;
            round_key = mix(round_key + (key.high | 1));
        }
        index = left << half | right;
    } while (index >= count); /* under four walks on average; a cycle always comes back */
    return index;
}

uint64_t rng_stream(const char *name)
{
    return hash_bytes(name, strlen(name), 0);
}
