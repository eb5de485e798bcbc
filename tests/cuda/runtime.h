/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime: the emulated device's memory, which is shut to the host.
 *
 * What cudaMalloc gives has no permissions except while something that runs on the device is
 * emulated: a copy, a product, a kernel. Host code that reads a device pointer ends the process at
 * that instruction, as it would read garbage on a machine with a GPU. New memory is filled with
 * NaN, and behind its end nothing is mapped.
 *
 * One thread at a time has the device: others wait in emulated_memory_open.
 */
#ifndef TAILOR_TESTS_CUDA_RUNTIME_H
#define TAILOR_TESTS_CUDA_RUNTIME_H

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Calls nest. */
void emulated_memory_open(void);
void emulated_memory_shut(void);

/* Something is queued on the stream that takes time: the stream is busy until `advance`, which
 * queries of the stream call, says that it is done. Nothing else is queued behind it: CHECKed. NULL
 * takes it away. */
void emulated_stream_occupy(cudaStream_t stream, int (*advance)(void *argument), void *argument);

/* TAILOR_EMULATE_FAIL=CALL:N makes the N-th such call of the process fail: true then. */
int emulated_failure(const char *call);

#ifdef __cplusplus
}
#endif

#endif
