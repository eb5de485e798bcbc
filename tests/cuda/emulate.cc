/* SPDX-License-Identifier: Apache-2.0
 *
 * emulate: the threads of a block as fibers of one thread (emulate.h). A fiber that has nothing to
 * wait for runs to its end when it is first switched to, so a kernel without barriers costs little
 * more than a loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "worker/ops_cuda/launch.h"

extern "C" {
#include "tests/cuda/runtime.h"
}

#define THREADS_MAX 1024
#define STACK_BYTES 65536

dim3 emulated_thread, emulated_block, emulated_block_size, emulated_grid_size;

enum { RUNNABLE = 0, ENDED = -1 }; /* else the enum emulated_wait that it waits with */

static struct fiber {
    void *stack_pointer;
    int state, line;
    struct emulated_fragments lane;
} fibers[THREADS_MAX];
static char *stacks;
static void *scheduler;
static int running, thread_count;
static const char *kernel_name;
static const std::function<void()> *thread_body;
extern char __start_emulated_shared[], __stop_emulated_shared[]; /* made by the linker */

/* Saves the callee's registers, keeps the stack pointer in *from, and goes on where `to` was. */
extern "C" void emulated_switch(void **from, void *to);
__asm__(".text\n"
        ".globl emulated_switch\n"
        "emulated_switch:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n");

static void fiber_main(void)
{
    (*thread_body)();
    fibers[running].state = ENDED;
    emulated_switch(&fibers[running].stack_pointer, scheduler);
}

/* As if emulated_switch had been called at the beginning of fiber_main. */
static void fiber_begin(int thread)
{
    void **top = (void **)(stacks + (size_t)(thread + 1) * STACK_BYTES);
    *--top = NULL; /* so that fiber_main finds its stack aligned */
    *--top = (void *)fiber_main;
    top -= 6;
    fibers[thread].stack_pointer = top;
    fibers[thread].state = RUNNABLE;
}

static void fiber_run(int thread)
{
    const unsigned at = (unsigned)thread, width = emulated_block_size.x;
    running = thread;
    emulated_thread =
        dim3(at % width, at / width % emulated_block_size.y, at / width / emulated_block_size.y);
    emulated_switch(&scheduler, fibers[thread].stack_pointer);
}

void emulated_wait_for(enum emulated_wait wait, int line)
{
    fibers[running].line = line;
    fibers[running].state = wait;
    emulated_switch(&fibers[running].stack_pointer, scheduler);
}

void *emulated_lane(int32_t lane)
{
    return &fibers[running / WARP * WARP + lane].lane;
}

int32_t emulated_own_lane(void)
{
    return running % WARP;
}

static float number_of(uint32_t pair, int upper)
{
    return __uint_as_float(upper ? pair & 0xffff0000u : pair << 16);
}

/* d += a b for the warp of fragments[0 … 31], each entry a chain in ascending k; what a lane has of
 * each stands in worker/ops_cuda/mma.h. */
static void warp_product(struct fiber *warp)
{
    float a[16][16], b[16][8], d[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const struct emulated_fragments *of = &warp[lane].lane;
        const int g = lane / 4, q = lane % 4;
        for (int i = 0; i < 2; i++) {
            d[g][2 * q + i] = of->d[i];
            d[g + 8][2 * q + i] = of->d[2 + i];
            for (int half = 0; half < 2; half++) {
                a[g][2 * q + 8 * half + i] = number_of(of->a[2 * half], i);
                a[g + 8][2 * q + 8 * half + i] = number_of(of->a[2 * half + 1], i);
                b[2 * q + 8 * half + i][g] = number_of(of->b[half], i);
            }
        }
    }
    for (int row = 0; row < 16; row++) {
        for (int k = 0; k < 16; k++) {
            for (int column = 0; column < 8; column++) {
                d[row][column] = __builtin_fmaf(a[row][k], b[k][column], d[row][column]);
            }
        }
    }
    for (int lane = 0; lane < WARP; lane++) {
        for (int i = 0; i < 4; i++) {
            warp[lane].lane.d[i] = d[lane / 4 + i / 2 * 8][2 * (lane % 4) + i % 2];
        }
    }
}

/* Lets threads [first, end) go on if all of them wait with the same; block tells which kind. */
static bool released(int first, int end, bool block)
{
    const int state = fibers[first].state;
    if (state <= RUNNABLE || (state == WAIT_BLOCK) != block || (!block && end - first < WARP)) {
        return false;
    }
    for (int i = first; i < end; i++) {
        if (fibers[i].state != state || fibers[i].line != fibers[first].line) {
            return false;
        }
    }
    if (state == WAIT_PRODUCT) {
        warp_product(fibers + first);
    }
    for (int i = first; i < end; i++) {
        fibers[i].state = RUNNABLE;
    }
    return true;
}

static bool warp_runs(int first, int end, bool descending)
{
    bool ran = false;
    for (int i = 0; i < end - first; i++) {
        const int thread = descending ? end - 1 - i : first + i;
        if (fibers[thread].state == RUNNABLE) {
            fiber_run(thread);
            ran = true;
        }
    }
    return ran;
}

static void stuck(void)
{
    static const char *const waits[] = {"",          "__syncthreads", "__syncwarp",
                                        "a shuffle", "__ballot_sync", "a product"};
    for (int i = 0; i < thread_count; i++) {
        if (fibers[i].state != ENDED) {
            fprintf(
                stderr,
                "emulation: %s, block %u %u %u: thread %d waits in %s, line %d, for threads that "
                "never come\n",
                kernel_name, emulated_block.x, emulated_block.y, emulated_block.z, i,
                waits[fibers[i].state], fibers[i].line);
            abort();
        }
    }
}

/* `order`: 0 ascending, 1 descending, 2 each warp as far as it gets before the next. */
static void block_run(int order)
{
    bool going = true;
    memset(__start_emulated_shared, 0xff,
           (size_t)(__stop_emulated_shared - __start_emulated_shared));
    for (int i = 0; i < thread_count; i++) {
        fiber_begin(i);
    }
    while (going) {
        going = false;
        for (int first = 0; first < thread_count; first += WARP) {
            const int warp = order == 1 ? (thread_count - 1) / WARP * WARP - first : first;
            const int end = warp + WARP < thread_count ? warp + WARP : thread_count;
            bool ran;
            do {
                ran = warp_runs(warp, end, order == 1);
                going = ran || going;
            } while (released(warp, end, false) && (going = true) && order == 2);
        }
        going = released(0, thread_count, true) || going;
    }
    stuck(); /* unless all have ended */
}

void emulated_launch(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                     const std::function<void()> &thread)
{
    static int blocks;
    const char *fixed = getenv("TAILOR_EMULATE_ORDER");
    CHECK(shared_bytes == 0 && grid.x > 0 && grid.y > 0 && grid.z > 0);
    CHECK(grid.y < 65536 && grid.z < 65536); /* CUDA's limits */
    emulated_memory_open();
    thread_count = (int)(block.x * block.y * block.z);
    CHECK(thread_count > 0 && thread_count <= THREADS_MAX);
    if (stacks == NULL) {
        stacks = (char *)malloc((size_t)THREADS_MAX * STACK_BYTES);
        CHECK(stacks != NULL);
    }
    kernel_name = kernel;
    thread_body = &thread;
    emulated_block_size = block;
    emulated_grid_size = grid;
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                emulated_block = dim3(x, y, z);
                block_run((fixed != NULL ? atoi(fixed) : blocks++) % 3);
            }
        }
    }
    emulated_memory_shut();
}
