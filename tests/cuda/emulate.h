/* SPDX-License-Identifier: Apache-2.0
 *
 * emulate: what a .cu file needs to be compiled for a processor (worker/ops_cuda/launch.h includes
 * this in place of CUDA's own words). emulate.cc runs the threads.
 *
 * A block's threads are fibers; blocks run one after another. A barrier is where a fiber waits for
 * all threads of its block, a warp's operation where it waits for all lanes of its warp; if some
 * cannot come any more, because they have ended or wait elsewhere, the process ends and names the
 * kernel. Between two waits threads run in an order that changes from block to block (ascending,
 * descending, each warp as far as it gets; TAILOR_EMULATE_ORDER=0, 1 or 2 fixes it), so that a
 * missing barrier shows as a wrong result. Shared memory is filled with NaN before each block.
 *
 * Not emulated: what the memory of a GPU does to accesses that are not aligned or not coalesced.
 */
#ifndef TAILOR_TESTS_CUDA_EMULATE_H
#define TAILOR_TESTS_CUDA_EMULATE_H

#include <functional>
#include <math.h>
#include <string.h>

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z)
    {
    }
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}

#define __global__
#define __device__
#define __shared__ static __attribute__((section("emulated_shared")))
#define __launch_bounds__(...)

/* Of the thread that runs. */
extern dim3 emulated_thread, emulated_block, emulated_block_size, emulated_grid_size;
#define threadIdx emulated_thread
#define blockIdx  emulated_block
#define blockDim  emulated_block_size
#define gridDim   emulated_grid_size

/* What a thread waits for the others with, and the line of the kernel's source: all must wait at
 * the same place. An operation that hands values around has two waits: for what is handed, and
 * until all have taken it. */
enum emulated_wait {
    WAIT_BLOCK = 1,
    WAIT_WARP,
    WAIT_SHUFFLE,
    WAIT_SHUFFLE_END,
    WAIT_VOTE,
    WAIT_VOTE_END,
    WAIT_PRODUCT
};
/* What a lane has of a product of the tensor cores. */
struct emulated_fragments {
    float d[4];
    uint32_t a[4], b[2];
};
void emulated_wait_for(enum emulated_wait wait, int line);
/* A place for an emulated_fragments, or less, that thread `lane` of the running thread's warp hands
 * to the others. */
void *emulated_lane(int32_t lane);
int32_t emulated_own_lane(void);
/* shared_bytes: dynamic shared memory, which no kernel has. */
void emulated_launch(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                     const std::function<void()> &thread);

#define LAUNCH(kernel, grid, block, shared_bytes, device, ...)                                     \
    emulated_launch(#kernel, dim3(grid), dim3(block), (shared_bytes),                              \
                    [=]() { kernel(__VA_ARGS__); })

static inline void __syncthreads(int line = __builtin_LINE())
{
    emulated_wait_for(WAIT_BLOCK, line);
}

static inline void __syncwarp(int line = __builtin_LINE())
{
    emulated_wait_for(WAIT_WARP, line);
}

template <typename T>
static inline T __shfl_sync(uint32_t lanes, T value, int32_t from, int line = __builtin_LINE())
{
    (void)lanes;
    memcpy(emulated_lane(emulated_own_lane()), &value, sizeof(value));
    emulated_wait_for(WAIT_SHUFFLE, line);
    memcpy(&value, emulated_lane(from % 32), sizeof(value));
    emulated_wait_for(WAIT_SHUFFLE_END, line);
    return value;
}

template <typename T>
static inline T __shfl_xor_sync(uint32_t lanes, T value, int32_t mask, int line = __builtin_LINE())
{
    return __shfl_sync(lanes, value, emulated_own_lane() ^ mask, line);
}

static inline uint32_t __ballot_sync(uint32_t lanes, int vote, int line = __builtin_LINE())
{
    uint32_t votes = 0;
    (void)lanes;
    memcpy(emulated_lane(emulated_own_lane()), &vote, sizeof(vote));
    emulated_wait_for(WAIT_VOTE, line);
    for (int32_t lane = 0; lane < 32; lane++) {
        int other;
        memcpy(&other, emulated_lane(lane), sizeof(other));
        votes |= (uint32_t)(other != 0) << lane;
    }
    emulated_wait_for(WAIT_VOTE_END, line);
    return votes;
}

static inline int __popc(uint32_t x)
{
    return __builtin_popcount(x);
}

static inline uint32_t __float_as_uint(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float __uint_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

template <typename T> static inline T min(T a, T b)
{
    return a < b ? a : b;
}

template <typename T> static inline T max(T a, T b)
{
    return a > b ? a : b;
}

/* worker/ops_cuda/mma.h: d (16 x 8) += a (16 x 16) · b (16 x 8). emulate.cc computes it for the
 * whole warp when all lanes have come. */
static inline void emulated_product(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    struct emulated_fragments *own =
        (struct emulated_fragments *)emulated_lane(emulated_own_lane());
    memcpy(own->d, d, sizeof(own->d));
    memcpy(own->a, a, sizeof(own->a));
    memcpy(own->b, b, sizeof(own->b));
    emulated_wait_for(WAIT_PRODUCT, 0);
    memcpy(d, own->d, sizeof(own->d));
}

#endif
