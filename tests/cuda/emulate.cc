/* SPDX-License-Identifier: Apache-2.0
 *
 * emulate: the threads of a block as fibers of one thread (emulate.h).
 *
 * A warp's lanes run in some order, each to where it must wait, and there it switches straight to
 * the next that can go on. When none can, all of them wait at the same place: the warp's operation
 * is done and all go on, or it waits at a barrier, which lets the warps go when it has all. A lane
 * that ends leaves its stack to the next if that has not begun: so a kernel without waits is a loop
 * on one stack.
 *
 * Rejected: a scheduler that fibers come back to and that looks for who can run, and shuffles that
 * wait for all lanes. Together they took nine tenths of the time of attention's tests.
 */
#include <stdio.h>
#include <stdlib.h>

#include "worker/ops_cuda/launch.h"

extern "C" {
#include "tests/cuda/runtime.h"
}

/* COLOUR keeps the tops of stacks out of each other's cache lines. */
#define THREADS_MAX 1024
#define WARPS_MAX   (THREADS_MAX / WARP)
#define STACK_BYTES 65536
#define COLOUR      (9 * 64)

/* Ascending; descending; each warp as far as it gets before the next; lanes in disorder, warps
 * descending. */
enum { ASCENDING, DESCENDING, WARP_BY_WARP, DISORDER };

struct emulated_fiber *emulated_running;
dim3 emulated_block, emulated_block_size, emulated_grid_size;

static struct emulated_fiber fibers[THREADS_MAX];
enum warp_state { RUNS, AT_BARRIER, ENDED };
static struct warp {
    struct emulated_fiber *lanes, *first[EMULATED_ORDERS];
    int lane_count;
    enum warp_state state;
} warps[WARPS_MAX];
static int thread_count, warp_count, order, warp_running;

enum { PLACE_RUNS = 0, PLACE_ENDED = -1 };
static char *stacks, *free_stacks[THREADS_MAX];
static int free_count;
static void *outside;
static const char *kernel_name;
static void (*thread_call)(const void *arguments);
static const void *thread_arguments;
static char *shared, *shared_end; /* of this launch's file, and more */
extern char emulated_shared_begin[], emulated_shared_middle[], emulated_shared_end[];

/* ---- faults ---------------------------------------------------------------------------------- */

static void thread_print(const struct emulated_fiber *fiber)
{
    static const char *const waits[] = {"",          "__syncthreads", "__syncwarp",
                                        "a shuffle", "__ballot_sync", "a product"};
    if (fiber->place == PLACE_ENDED) {
        fprintf(stderr, "thread %d has ended", (int)(fiber - fibers));
    } else {
        fprintf(stderr, "thread %d waits in %s, line %d", (int)(fiber - fibers),
                waits[fiber->place % WAITS], fiber->place / WAITS);
    }
}

static bool same_place(const struct emulated_fiber *a, const struct emulated_fiber *b)
{
    return a->place == b->place && a->handed_count == b->handed_count &&
           a->handed_where == b->handed_where;
}

/* Of the threads from `first` up to `end`, a warp's or a block's, which should all come to one
 * place, some never do. Warps need not have made as many shuffles as others. */
static void stuck(const struct emulated_fiber *first, const struct emulated_fiber *end)
{
    const bool of_block = end - first > WARP;
    const struct emulated_fiber *waiting = first, *other = first;
    while (waiting < end - 1 && waiting->place == PLACE_ENDED) {
        waiting++;
    }
    while (other < end - 1 &&
           (of_block ? other->place == waiting->place : same_place(other, waiting))) {
        other++;
    }
    fprintf(stderr, "emulation: %s, block %u %u %u: ", kernel_name, emulated_block.x,
            emulated_block.y, emulated_block.z);
    thread_print(waiting);
    if (!of_block && other->place == waiting->place && !same_place(other, waiting)) {
        fprintf(stderr, "; thread %d has made %u shuffles and not %u, or on other lines\n",
                (int)(other - fibers), other->handed_count, waiting->handed_count);
    } else {
        fprintf(stderr, ", for threads that never come: ");
        thread_print(other);
        fprintf(stderr, "; its warp has %d lanes\n", warps[warp_running].lane_count);
    }
    abort();
}

/* ---- the tensor cores' product --------------------------------------------------------------- */

static float number_of(uint32_t pair, int upper)
{
    return __uint_as_float(upper ? pair & 0xffff0000u : pair << 16);
}

/* d += a b for a warp, each entry a chain in ascending k; what a lane has of each stands in
 * worker/ops_cuda/mma.h. */
static void warp_product(struct emulated_fiber *lanes)
{
    float a[16][16], b[16][8], d[16][8];
    const uint32_t slot = (lanes->turn - 1) % 2;
    for (int lane = 0; lane < WARP; lane++) {
        const struct emulated_fragments *of = &lanes[lane].slot[slot];
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
            lanes[lane].slot[slot].d[i] = d[lane / 4 + i / 2 * 8][2 * (lane % 4) + i % 2];
        }
    }
}

/* ---- who runs next --------------------------------------------------------------------------- */

static bool can_run(const struct emulated_fiber *fiber)
{
    return fiber->place == PLACE_RUNS ||
           (fiber->source != NULL && fiber->source->handed_count >= fiber->handed_count);
}

/* From `fiber` on, in the order of now. */
static struct emulated_fiber *first_that_can_run(struct emulated_fiber *fiber)
{
    while (fiber != NULL && !can_run(fiber)) {
        fiber = fiber->next[order];
    }
    return fiber;
}

/* No lane of the warp can go on alone. */
static void warp_settle(struct warp *warp)
{
    struct emulated_fiber *lanes = warp->lanes, *end = lanes + warp->lane_count;
    const int place = lanes->place, wait = place == PLACE_ENDED ? 0 : place % WAITS;
    for (const struct emulated_fiber *lane = lanes; lane < end; lane++) {
        if (!same_place(lane, lanes) || lane->source != NULL) {
            stuck(lanes, end);
        }
    }
    warp->state = place == PLACE_ENDED ? ENDED : wait == WAIT_BLOCK ? AT_BARRIER : RUNS;
    if (warp->state != RUNS) {
        return;
    }
    if (warp->lane_count < WARP) {
        stuck(lanes, end);
    }
    if (wait == WAIT_PRODUCT) {
        warp_product(lanes);
    }
    for (struct emulated_fiber *lane = lanes; lane < end; lane++) {
        lane->place = PLACE_RUNS;
    }
}

static struct emulated_fiber *warp_begin(int warp)
{
    warp_running = warp;
    return warps[warp].first[order];
}

static bool goes_down(void)
{
    return order == DESCENDING || order == DISORDER;
}

/* No warp runs: all have ended (NULL), or all are at one barrier. */
static struct emulated_fiber *barrier_release(void)
{
    const int place = fibers->place;
    for (int i = 0; i < thread_count; i++) {
        if (fibers[i].place != place) { /* warps need not have made as many shuffles */
            stuck(fibers, fibers + thread_count);
        }
    }
    if (place == PLACE_ENDED) {
        return NULL;
    }
    for (int i = 0; i < thread_count; i++) {
        fibers[i].place = PLACE_RUNS;
    }
    for (int i = 0; i < warp_count; i++) {
        warps[i].state = RUNS;
    }
    return warp_begin(goes_down() ? warp_count - 1 : 0);
}

static struct emulated_fiber *warp_end(void)
{
    struct warp *warp = &warps[warp_running];
    struct emulated_fiber *fiber = first_that_can_run(warp->first[order]);
    if (fiber != NULL) {
        return fiber;
    }
    warp_settle(warp);
    if (order == WARP_BY_WARP && warp->state == RUNS) {
        return warp_begin(warp_running);
    }
    const int step = goes_down() ? warp_count - 1 : 1;
    for (int i = 1; i <= warp_count; i++) {
        const int next = (warp_running + i * step) % warp_count;
        if (warps[next].state == RUNS) {
            return warp_begin(next);
        }
    }
    return barrier_release();
}

static struct emulated_fiber *following(const struct emulated_fiber *fiber)
{
    struct emulated_fiber *next = first_that_can_run(fiber->next[order]);
    return next != NULL ? next : warp_end();
}

/* ---- fibers ---------------------------------------------------------------------------------- */

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

static void fiber_main(void);

/* As if emulated_switch had been called at the beginning of fiber_main. */
static void fiber_begin(struct emulated_fiber *fiber)
{
    fiber->stack = free_stacks[--free_count];
    void **top = (void **)fiber->stack;
    *--top = NULL; /* so that fiber_main finds its stack aligned */
    *--top = (void *)fiber_main;
    fiber->stack_pointer = top - 6;
}

static void switch_to(void **from, struct emulated_fiber *fiber)
{
    emulated_running = fiber;
    if (fiber != NULL && fiber->stack == NULL) {
        fiber_begin(fiber);
    }
    emulated_switch(from, fiber != NULL ? fiber->stack_pointer : outside);
}

static void fiber_main(void)
{
    for (;;) {
        thread_call(thread_arguments);
        struct emulated_fiber *ended = emulated_running;
        ended->place = PLACE_ENDED;
        emulated_running = following(ended);
        if (emulated_running != NULL && emulated_running->stack == NULL) {
            emulated_running->stack = ended->stack; /* which this loop runs on */
            continue;
        }
        free_stacks[free_count++] = ended->stack;
        switch_to(&ended->stack_pointer, emulated_running);
    }
}

static void wait_at(int place, const struct emulated_fiber *source)
{
    struct emulated_fiber *self = emulated_running;
    self->place = place;
    self->source = source;
    struct emulated_fiber *next = following(self);
    if (next != self) {
        switch_to(&self->stack_pointer, next);
    }
    self->place = PLACE_RUNS;
    self->source = NULL;
}

void emulated_wait_for(enum emulated_wait wait, int line)
{
    wait_at(line * WAITS + wait, NULL);
}

void emulated_wait_to_hand(int line)
{
    wait_at(line * WAITS + WAIT_SHUFFLE, NULL);
    emulated_running->handed_limit += EMULATED_HANDED;
}

void emulated_wait_for_lane(const struct emulated_fiber *source, int line)
{
    wait_at(line * WAITS + WAIT_SHUFFLE, source);
}

/* ---- blocks and launches --------------------------------------------------------------------- */

static int lane_at(int position, int of_order)
{
    return of_order == DESCENDING ? WARP - 1 - position
           : of_order == DISORDER ? (13 * position + 5) % WARP
                                  : position;
}

static void warp_arrange(struct warp *warp)
{
    for (int o = 0; o < EMULATED_ORDERS; o++) {
        struct emulated_fiber **next = &warp->first[o];
        for (int position = 0; position < WARP; position++) {
            const int lane = lane_at(position, o);
            if (lane < warp->lane_count) {
                *next = &warp->lanes[lane];
                next = &warp->lanes[lane].next[o];
            }
        }
        *next = NULL;
    }
}

static void threads_arrange(dim3 block)
{
    const unsigned count = block.x * block.y * block.z;
    CHECK(count > 0 && count <= THREADS_MAX);
    thread_count = (int)count;
    warp_count = (thread_count + WARP - 1) / WARP;
    emulated_block_size = block;
    for (unsigned i = 0; i < count; i++) {
        fibers[i].thread = dim3(i % block.x, i / block.x % block.y, i / block.x / block.y);
        fibers[i].lane = (int32_t)i % WARP;
    }
    for (int w = 0; w < warp_count; w++) {
        const int left = thread_count - w * WARP;
        warps[w].lanes = fibers + w * WARP;
        warps[w].lane_count = left < WARP ? left : WARP;
        warp_arrange(&warps[w]);
    }
}

static void block_run(void)
{
    memset(shared, 0xff, (size_t)(shared_end - shared));
    for (int i = 0; i < thread_count; i++) {
        fibers[i].stack = NULL;
        fibers[i].place = PLACE_RUNS;
        fibers[i].source = NULL;
        fibers[i].turn = fibers[i].handed_count = fibers[i].handed_where = 0;
        /* A warp without all its lanes never comes to where all wait. */
        fibers[i].handed_limit = i / WARP * WARP + WARP <= thread_count ? EMULATED_HANDED : 0;
    }
    for (int w = 0; w < warp_count; w++) {
        warps[w].state = RUNS;
    }
    switch_to(&outside, warp_begin(0));
}

static void stacks_open(void)
{
    stacks = (char *)malloc((size_t)THREADS_MAX * (STACK_BYTES + COLOUR));
    CHECK(stacks != NULL);
    for (free_count = 0; free_count < THREADS_MAX; free_count++) {
        char *top = stacks + (size_t)(THREADS_MAX - free_count) * (STACK_BYTES + COLOUR);
        free_stacks[free_count] = (char *)((uintptr_t)top / 64 * 64);
    }
}

void emulated_launch(const char *kernel, const char *unit, dim3 grid, dim3 block,
                     size_t shared_bytes, void (*call)(const void *arguments),
                     const void *arguments)
{
    static unsigned launches, blocks;
    const char *fixed = getenv("TAILOR_EMULATE_ORDER");
    CHECK(shared_bytes == 0 && grid.x > 0 && grid.y > 0 && grid.z > 0);
    CHECK(grid.y < 65536 && grid.z < 65536); /* CUDA's limits */
    emulated_memory_open();
    if (stacks == NULL) {
        stacks_open();
    }
    threads_arrange(block);
    kernel_name = kernel;
    thread_call = call;
    thread_arguments = arguments;
    emulated_grid_size = grid;
    CHECK(unit >= emulated_shared_begin && unit < emulated_shared_end); /* by shared.ld */
    shared = unit < emulated_shared_middle ? emulated_shared_begin : emulated_shared_middle;
    shared_end = unit < emulated_shared_middle ? emulated_shared_middle : emulated_shared_end;
    const uint64_t count = (uint64_t)grid.x * grid.y * grid.z;
    const bool backwards = launches++ % 2 == 1;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = backwards ? count - 1 - i : i;
        emulated_block = dim3((unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
                              (unsigned)(at / grid.x / grid.y));
        order = (int)((fixed != NULL ? (unsigned)atoi(fixed) : blocks++) % EMULATED_ORDERS);
        block_run();
    }
    emulated_memory_shut();
}
