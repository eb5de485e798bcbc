/* SPDX-License-Identifier: Apache-2.0
 *
 * Does the emulation of tests/cuda notice what it is there for? Each fault runs in a process of its
 * own, which must end as it should and say why.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cuda_runtime.h>

#include "lib/check.h"
#include "tests/cuda/self/planted.h"
#include "tests/test.h"

enum { OUTPUT_MAX = 4096, BYTES = PLANTED_THREADS * sizeof(float) };

/* 0, 1, 2 … through the kernel. */
static void through(void (*kernel)(float *x), float out[PLANTED_THREADS])
{
    cudaStream_t stream;
    float *x;
    for (int i = 0; i < PLANTED_THREADS; i++) {
        out[i] = (float)i;
    }
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaMalloc((void **)&x, BYTES) == cudaSuccess);
    cudaMemcpyAsync(x, out, BYTES, cudaMemcpyHostToDevice, stream);
    kernel(x);
    cudaMemcpyAsync(out, x, BYTES, cudaMemcpyDeviceToHost, stream);
    cudaFree(x);
    cudaStreamDestroy(stream);
}

/* What a process says that runs the kernel and dies of it; empty if it lives. */
static void last_words(void (*kernel)(float *x), char said[OUTPUT_MAX])
{
    int ends[2], status;
    float out[PLANTED_THREADS];
    REQUIRE(pipe(ends) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        through(kernel, out);
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], said + length, OUTPUT_MAX - 1 - length)) > 0;) {
        length += (size_t)got;
    }
    said[length] = '\0';
    close(ends[0]);
    REQUIRE(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        said[0] = '\0';
    }
}

static void host_reads(float *x)
{
    printf("%f\n", (double)x[3]);
}

TEST(right_kernels_compute_what_they_should_in_every_order)
{
    static const char *const orders[] = {"0", "1", "2", "3"};
    for (int order = 0; order < 4; order++) {
        float out[PLANTED_THREADS];
        setenv("TAILOR_EMULATE_ORDER", orders[order], 1);
        through(planted_reverse, out);
        for (int i = 0; i < PLANTED_THREADS; i++) {
            EXPECT(out[i] == (float)(PLANTED_THREADS - 1 - i));
        }
        through(planted_warp_sum, out);
        EXPECT(out[0] == 496.0f && out[31] == 496.0f); /* 0 + 1 + … + 31 */
        unsetenv("TAILOR_EMULATE_ORDER");
    }
}

TEST(a_missing_barrier_shows_as_wrong_numbers)
{
    static const char *const orders[] = {"0", "1", "2", "3"};
    int wrong = 0;
    for (int order = 0; order < 4; order++) {
        float out[PLANTED_THREADS];
        setenv("TAILOR_EMULATE_ORDER", orders[order], 1);
        through(planted_reverse_without_barrier, out);
        unsetenv("TAILOR_EMULATE_ORDER");
        for (int i = 0; i < PLANTED_THREADS; i++) {
            wrong += out[i] != (float)(PLANTED_THREADS - 1 - i);
        }
    }
    EXPECT(wrong > 0);
}

TEST(threads_that_wait_for_others_that_never_come_are_named)
{
    char said[OUTPUT_MAX];
    last_words(planted_barrier_of_some, said);
    EXPECT(strstr(said, "barrier_of_some_kernel") && strstr(said, "__syncthreads"));
    last_words(planted_barriers_on_two_lines, said);
    EXPECT(strstr(said, "two_lines_kernel") && strstr(said, "__syncthreads"));
    last_words(planted_shuffle_of_half_a_warp, said);
    EXPECT(strstr(said, "warp_sum_kernel") && strstr(said, "a shuffle"));
    last_words(planted_shuffles_on_two_lines, said);
    EXPECT(strstr(said, "two_shuffles_kernel") && strstr(said, "on other lines"));
}

TEST(shared_memory_that_nobody_wrote_is_nan)
{
    static void (*const kernels[])(float *x) = {planted_unwritten_tile,
                                                planted_unwritten_tile_of_a_template};
    for (int i = 0; i < 4; i++) { /* twice each: the other block runs first */
        float out[PLANTED_THREADS];
        through(kernels[i / 2], out);
        EXPECT(isnan(out[0]));
        EXPECT(out[1] == 1.0f);
    }
}

TEST(blocks_that_race_show_as_launches_that_differ)
{
    float first[PLANTED_THREADS], second[PLANTED_THREADS];
    through(planted_blocks_that_race, first);
    through(planted_blocks_that_race, second);
    EXPECT(first[0] != second[0]);
}

TEST(a_kernel_that_writes_behind_a_block_and_a_host_that_reads_one_die_of_it)
{
    char said[OUTPUT_MAX];
    last_words(planted_write_behind, said);
    EXPECT(strstr(said, "reaches over the end") != NULL);
    last_words(host_reads, said);
    EXPECT(strstr(said, "the host touches the device's memory") != NULL);
}

TEST(a_call_fails_when_it_is_asked_to)
{
    void *block = NULL;
    setenv("TAILOR_EMULATE_FAIL", "cudaMalloc:1", 1);
    EXPECT(cudaMalloc(&block, 64) == cudaErrorMemoryAllocation);
    EXPECT(block == NULL);
    EXPECT(cudaMalloc(&block, 64) == cudaSuccess);
    unsetenv("TAILOR_EMULATE_FAIL");
    cudaFree(block);
}

TEST_MAIN()
