/* SPDX-License-Identifier: Apache-2.0
 *
 * gpus: the GPUs of this host: which there are, which a rank may have, and how they do.
 *
 *     gpus_open(&gpus);                          // none is no failure
 *     int gpu = gpus_take(&gpus);  …a rank runs there…  gpus_give(&gpus, gpu, now_ms);
 *     if (gpus_turn(&gpus, now_ms)) offer gpus_healthy(&gpus) slots;
 *
 * A slot is not a certain GPU: a rank gets one that is healthy and free when it starts. So a GPU in
 * QUARANTINE is one slot less, whichever. It gets there
 *   - by an uncorrected memory error since it was reset last, or an Xid that is not a program's own
 *     fault: until this worker is started again, after the GPU was reset;
 *   - by memory that has not come back a while after its rank ended: until it comes back.
 * A rank that runs there goes on; it will find out by itself.
 *
 * GPUs of another name than the first are left out: the ranks of a gang must compute alike. Of the
 * host's GPUs those count that CUDA_VISIBLE_DEVICES names, by number or by UUID; without it all.
 */
#ifndef TAILOR_WORKER_AGENT_GPUS_H
#define TAILOR_WORKER_AGENT_GPUS_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/agent/nvml.h"

enum { GPUS_MAX = 64, GPU_FAULT_BYTES = 128 };

struct gpu {
    nvmlDevice_t device;
    char uuid[NVML_UUID_BYTES], name[NVML_NAME_BYTES];
    int64_t memory_bytes, used_bytes,
        idle_bytes;                       /* idle: used when no rank of ours had been there */
    int64_t busy_percent, celsius, watts; /* −1: not known */
    bool taken;
    int64_t given_ms; /* when a rank ended there whose memory is still awaited; 0: none */
    char fault[GPU_FAULT_BYTES]; /* why it is in quarantine; "": it is not */
    bool for_good;               /* the fault stays until this worker ends */
};

struct gpus {
    struct nvml nvml;
    nvmlEventSet_t events; /* of Xids; NULL: the driver tells none */
    struct gpu list[GPUS_MAX];
    int count;
    int64_t looked_ms;
};

void gpus_open(struct gpus *gpus);
void gpus_close(struct gpus *gpus);
/* Looks every few seconds. True: another number of them is healthy. */
bool gpus_turn(struct gpus *gpus, int64_t now_ms);
int gpus_healthy(const struct gpus *gpus);
/* Rather one whose memory has come back; −1: none is free. */
int gpus_take(struct gpus *gpus);
void gpus_give(struct gpus *gpus, int gpu, int64_t now_ms);

#endif
