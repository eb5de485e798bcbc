/* SPDX-License-Identifier: Apache-2.0
 *
 * emulate: what a .cu file needs to be compiled for a processor (worker/ops_cuda/launch.h includes
 * this in place of CUDA's own words). emulate.cc runs the threads.
 *
 * A block's threads are fibers; blocks run one after another. A barrier is where a fiber waits for
 * all threads of its block, a warp's operation where it waits for all lanes of its warp, all of
 * them at the same line; if some cannot come any more, because they have ended or wait elsewhere,
 * the process ends and names the kernel. A shuffle waits for the lane alone that it reads of: as on
 * a GPU, it orders nothing but its values. That all lanes take part in all shuffles is looked at
 * where all wait, or end.
 *
 * Between two waits threads run in an order that changes from block to block (emulate.cc has them;
 * TAILOR_EMULATE_ORDER=N fixes one), so that a missing barrier shows as a wrong result; every other
 * launch takes its blocks from the last on. Shared memory is NaN at the beginning of each block.
 *
 * Not emulated: what the memory of a GPU does to accesses that are not aligned or not coalesced.
 */
#ifndef TAILOR_TESTS_CUDA_EMULATE_H
#define TAILOR_TESTS_CUDA_EMULATE_H

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
#define __shared__ static /* to be found by shared.ld: a .cu file has no other .bss */
#define __launch_bounds__(...)

/* What a thread waits for the others with. */
enum emulated_wait { WAIT_BLOCK = 1, WAIT_WARP, WAIT_SHUFFLE, WAIT_VOTE, WAIT_PRODUCT, WAITS };
/* What a lane has of a product of the tensor cores. */
struct emulated_fragments {
    float d[4];
    uint32_t a[4], b[2];
};
enum { EMULATED_ORDERS = 4, EMULATED_HANDED = 64 };
struct emulated_fiber {
    void *stack_pointer;
    char *stack; /* NULL: has not begun */
    dim3 thread;
    int32_t lane;
    int32_t place; /* line · WAITS + what it waits with; 0: runs, or will; −1: has ended */
    /* NULL: it waits for all; else for this one, until that has handed as many values as it has. */
    const struct emulated_fiber *source;
    uint32_t handed_count; /* to shuffles; the last of them others may still read */
    uint32_t
        handed_limit; /* with so many it waits for all, before it overwrites what others read */
    uint32_t handed_where; /* a hash of the lines of all these shuffles */
    uint64_t handed[EMULATED_HANDED];
    /* To votes and products, by turns: who writes one for the next does not disturb who still reads
     * of this one, and before the one after that all have come to the next. */
    uint32_t turn;
    struct emulated_fragments slot[2];
    struct emulated_fiber *next[EMULATED_ORDERS]; /* of its warp; NULL: this is the last */
};

extern struct emulated_fiber *emulated_running;
extern dim3 emulated_block, emulated_block_size, emulated_grid_size;
#define threadIdx emulated_running->thread
#define blockIdx  emulated_block
#define blockDim  emulated_block_size
#define gridDim   emulated_grid_size

void emulated_wait_for(enum emulated_wait wait, int line);
/* For its next shuffle: until all have come to it; or until `source` has handed as much. */
void emulated_wait_to_hand(int line);
void emulated_wait_for_lane(const struct emulated_fiber *source, int line);
/* shared_bytes: dynamic shared memory, which no kernel has. */
void emulated_launch(const char *kernel, const char *unit, dim3 grid, dim3 block,
                     size_t shared_bytes, void (*call)(const void *arguments),
                     const void *arguments);
/* Lies among the shared memory of the file's kernels. */
__attribute__((unused)) static char emulated_unit[1];

/* A kernel with its arguments is a closure. */
template <typename Kernel> static void emulated_call(const void *kernel)
{
    (*(const Kernel *)kernel)();
}

template <typename Kernel>
static void emulated_launch_of(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                               const Kernel &kernel)
{
    emulated_launch(name, emulated_unit, grid, block, shared_bytes, emulated_call<Kernel>, &kernel);
}

#define LAUNCH(kernel, grid, block, shared_bytes, device, ...)                                     \
    emulated_launch_of(#kernel, dim3(grid), dim3(block), (shared_bytes),                           \
                       [=]() { kernel(__VA_ARGS__); })

/* Hands `value` to the other lanes, and waits until all have come. Returns the slot that has it. */
template <typename T>
static inline uint32_t emulated_hand(const T *value, enum emulated_wait wait, int line)
{
    const uint32_t slot = emulated_running->turn++ % 2;
    memcpy(&emulated_running->slot[slot], value, sizeof(*value));
    emulated_wait_for(wait, line);
    return slot;
}

template <typename T> static inline T emulated_handed(uint32_t slot, int32_t lane)
{
    T value;
    memcpy(&value, &emulated_running[lane - emulated_running->lane].slot[slot], sizeof(value));
    return value;
}

static inline void __syncthreads(int line = __builtin_LINE())
{
    emulated_wait_for(WAIT_BLOCK, line);
}

static inline void __syncwarp(int line = __builtin_LINE())
{
    emulated_wait_for(WAIT_WARP, line);
}

/* What lane `from` hands to this shuffle, the running lane's next. */
static inline uint64_t emulated_shuffle(uint64_t value, int32_t from, int line)
{
    struct emulated_fiber *self = emulated_running, *source = self - self->lane + from;
    if (self->handed_count == self->handed_limit) {
        emulated_wait_to_hand(line);
    }
    const uint32_t slot = self->handed_count++ % EMULATED_HANDED;
    self->handed[slot] = value;
    self->handed_where = self->handed_where * 31 + (uint32_t)line;
    if (source->handed_count < self->handed_count) {
        emulated_wait_for_lane(source, line);
    }
    return source->handed[slot];
}

template <typename T>
static inline T __shfl_sync(uint32_t lanes, T value, int32_t from, int line = __builtin_LINE())
{
    uint64_t bits = 0;
    (void)lanes;
    memcpy(&bits, &value, sizeof(value));
    bits = emulated_shuffle(bits, from & 31, line);
    memcpy(&value, &bits, sizeof(value));
    return value;
}

template <typename T>
static inline T __shfl_xor_sync(uint32_t lanes, T value, int32_t mask, int line = __builtin_LINE())
{
    return __shfl_sync(lanes, value, emulated_running->lane ^ mask, line);
}

static inline uint32_t __ballot_sync(uint32_t lanes, int vote, int line = __builtin_LINE())
{
    const uint32_t slot = emulated_hand(&vote, WAIT_VOTE, line);
    uint32_t votes = 0;
    (void)lanes;
    for (int32_t lane = 0; lane < 32; lane++) {
        votes |= (uint32_t)(emulated_handed<int>(slot, lane) != 0) << lane;
    }
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
    struct emulated_fragments own;
    memcpy(own.d, d, sizeof(own.d));
    memcpy(own.a, a, sizeof(own.a));
    memcpy(own.b, b, sizeof(own.b));
    const uint32_t slot = emulated_hand(&own, WAIT_PRODUCT, 0);
    memcpy(d, emulated_running->slot[slot].d, sizeof(own.d));
}

#endif
