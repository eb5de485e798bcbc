/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/gpus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/text.h"

enum { LOOK_MS = 2000, RETURN_MS = 10000 };

/* More than a driver keeps for itself after a process has ended, less than a model. */
#define LEAK_BYTES (256 * (int64_t)MIB)

/* Xids that a program brings on itself, and that say nothing about the GPU: exceptions of its
 * kernels, wrong addresses, its channel stopped or cleaned up (NVIDIA's list of Xid errors). */
static const unsigned long long XIDS_OF_PROGRAMS[] = {13, 31, 43, 45, 68, 109};

/* ---- which there are ------------------------------------------------------------------------- */

/* Does CUDA_VISIBLE_DEVICES name it? By a UUID's beginning too, as CUDA allows. */
static bool is_visible(unsigned index, const char *uuid)
{
    const char *at = getenv("CUDA_VISIBLE_DEVICES");
    if (at == NULL)
        return true;
    for (size_t length; *at != '\0'; at += length + (at[length] == ',')) {
        char *end;
        length = strcspn(at, ",");
        unsigned long number = strtoul(at, &end, 10);
        bool numbered = length > 0 && end == at + length;
        if (numbered ? number == index : length > 4 && strncmp(at, uuid, length) == 0)
            return true;
    }
    return false;
}

static void quarantine(struct gpu *gpu, bool for_good, const char *fault)
{
    snprintf(gpu->fault, sizeof(gpu->fault), "%s", fault);
    gpu->for_good = for_good;
    log_error("GPU %s (%s) is in quarantine: %s", gpu->uuid, gpu->name, gpu->fault);
}

static void read_figures(const struct nvml *nvml, struct gpu *gpu)
{
    nvmlMemory_t memory;
    nvmlUtilization_t rates;
    unsigned value;
    if (nvml->nvmlDeviceGetMemoryInfo != NULL &&
        nvml->nvmlDeviceGetMemoryInfo(gpu->device, &memory) == NVML_SUCCESS) {
        gpu->memory_bytes = (int64_t)memory.total;
        gpu->used_bytes = (int64_t)memory.used;
    }
    gpu->busy_percent = gpu->celsius = gpu->watts = -1;
    if (nvml->nvmlDeviceGetUtilizationRates != NULL &&
        nvml->nvmlDeviceGetUtilizationRates(gpu->device, &rates) == NVML_SUCCESS)
        gpu->busy_percent = rates.gpu;
    if (nvml->nvmlDeviceGetTemperature != NULL &&
        nvml->nvmlDeviceGetTemperature(gpu->device, NVML_TEMPERATURE_GPU, &value) == NVML_SUCCESS)
        gpu->celsius = value;
    if (nvml->nvmlDeviceGetPowerUsage != NULL &&
        nvml->nvmlDeviceGetPowerUsage(gpu->device, &value) == NVML_SUCCESS)
        gpu->watts = (value + 500) / 1000;
}

static void watch_errors(const struct nvml *nvml, struct gpu *gpu)
{
    unsigned long long errors;
    char fault[GPU_FAULT_BYTES];
    if (gpu->for_good || nvml->nvmlDeviceGetTotalEccErrors == NULL ||
        nvml->nvmlDeviceGetTotalEccErrors(gpu->device, NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                                          NVML_VOLATILE_ECC, &errors) != NVML_SUCCESS ||
        errors == 0)
        return;
    snprintf(fault, sizeof(fault),
             "%llu uncorrected memory errors since its last reset; reset it, then start this "
             "worker again",
             errors);
    quarantine(gpu, true, fault);
}

static void add(struct gpus *gpus, unsigned index)
{
    const struct nvml *nvml = &gpus->nvml;
    struct gpu gpu = {0};
    if (nvml->nvmlDeviceGetHandleByIndex_v2(index, &gpu.device) != NVML_SUCCESS ||
        nvml->nvmlDeviceGetUUID == NULL || nvml->nvmlDeviceGetName == NULL ||
        nvml->nvmlDeviceGetUUID(gpu.device, gpu.uuid, sizeof(gpu.uuid)) != NVML_SUCCESS ||
        nvml->nvmlDeviceGetName(gpu.device, gpu.name, sizeof(gpu.name)) != NVML_SUCCESS) {
        log_warn("GPU %u cannot be asked who it is, and is left out", index);
        return;
    }
    if (!is_visible(index, gpu.uuid))
        return;
    if (gpus->count > 0 && strcmp(gpu.name, gpus->list[0].name) != 0) {
        log_warn("GPU %s is left out: it is a %s, the first a %s", gpu.uuid, gpu.name,
                 gpus->list[0].name);
        return;
    }
    read_figures(nvml, &gpu);
    gpu.idle_bytes = gpu.used_bytes;
    watch_errors(nvml, &gpu);
    if (gpus->events != NULL)
        nvml->nvmlDeviceRegisterEvents(gpu.device, NVML_EVENT_XID, gpus->events);
    gpus->list[gpus->count++] = gpu;
}

void gpus_open(struct gpus *gpus)
{
    unsigned count = 0;
    *gpus = (struct gpus){0};
    if (!nvml_open(&gpus->nvml))
        return;
    const struct nvml *nvml = &gpus->nvml;
    bool tells = nvml->nvmlEventSetCreate != NULL && nvml->nvmlDeviceRegisterEvents != NULL &&
                 nvml->nvmlEventSetWait_v2 != NULL && nvml->nvmlEventSetFree != NULL;
    if (!tells || nvml->nvmlEventSetCreate(&gpus->events) != NVML_SUCCESS)
        gpus->events = NULL;
    if (nvml->nvmlDeviceGetCount_v2(&count) != NVML_SUCCESS)
        count = 0;
    for (unsigned i = 0; i < count && gpus->count < GPUS_MAX; i++)
        add(gpus, i);
}

void gpus_close(struct gpus *gpus)
{
    if (gpus->events != NULL)
        gpus->nvml.nvmlEventSetFree(gpus->events);
    nvml_close(&gpus->nvml);
    *gpus = (struct gpus){0};
}

/* ---- how they do ----------------------------------------------------------------------------- */

static void watch_xids(struct gpus *gpus)
{
    enum { EVENTS_MAX = 64 };
    nvmlEventData_t event;
    for (int i = 0; i < EVENTS_MAX && gpus->events != NULL &&
                    gpus->nvml.nvmlEventSetWait_v2(gpus->events, &event, 0) == NVML_SUCCESS;
         i++) {
        bool of_program = false;
        char fault[GPU_FAULT_BYTES];
        for (size_t k = 0; k < sizeof(XIDS_OF_PROGRAMS) / sizeof(XIDS_OF_PROGRAMS[0]); k++)
            of_program = of_program || event.eventData == XIDS_OF_PROGRAMS[k];
        snprintf(fault, sizeof(fault),
                 "Xid %llu; reset it, then start this worker again (dmesg has the words)",
                 event.eventData);
        for (int g = 0; g < gpus->count && !of_program; g++)
            if (gpus->list[g].device == event.device && !gpus->list[g].for_good)
                quarantine(&gpus->list[g], true, fault);
    }
}

static void watch_memory(struct gpu *gpu, int64_t now_ms)
{
    char fault[GPU_FAULT_BYTES], size[16];
    if (gpu->given_ms == 0 || gpu->for_good) /* 0 also where a rank is */
        return;
    if (gpu->used_bytes <= gpu->idle_bytes + LEAK_BYTES) {
        gpu->given_ms = 0;
        if (gpu->fault[0] != '\0')
            log_info("GPU %s has its memory back, and leaves quarantine", gpu->uuid);
        gpu->fault[0] = '\0';
    } else if (gpu->fault[0] == '\0' && now_ms - gpu->given_ms >= RETURN_MS) {
        format_bytes((double)(gpu->used_bytes - gpu->idle_bytes), size);
        snprintf(fault, sizeof(fault), "%s did not come back from a rank that has ended", size);
        quarantine(gpu, false, fault);
    }
}

bool gpus_turn(struct gpus *gpus, int64_t now_ms)
{
    if (gpus->count == 0 || now_ms - gpus->looked_ms < LOOK_MS)
        return false;
    const int before = gpus_healthy(gpus);
    gpus->looked_ms = now_ms;
    for (int i = 0; i < gpus->count; i++) {
        read_figures(&gpus->nvml, &gpus->list[i]);
        watch_errors(&gpus->nvml, &gpus->list[i]);
        watch_memory(&gpus->list[i], now_ms);
    }
    watch_xids(gpus);
    return gpus_healthy(gpus) != before;
}

int gpus_healthy(const struct gpus *gpus)
{
    int healthy = 0;
    for (int i = 0; i < gpus->count; i++)
        healthy += gpus->list[i].fault[0] == '\0';
    return healthy;
}

/* ---- who has which --------------------------------------------------------------------------- */

int gpus_take(struct gpus *gpus)
{
    int best = -1;
    for (int i = 0; i < gpus->count; i++) {
        const struct gpu *gpu = &gpus->list[i];
        bool may = !gpu->taken && gpu->fault[0] == '\0';
        if (may && (best < 0 || (gpu->given_ms == 0 && gpus->list[best].given_ms != 0)))
            best = i;
    }
    if (best >= 0) {
        gpus->list[best].taken = true;
        gpus->list[best].given_ms = 0;
    }
    return best;
}

void gpus_give(struct gpus *gpus, int gpu, int64_t now_ms)
{
    CHECK(gpu >= 0 && gpu < gpus->count && gpus->list[gpu].taken);
    gpus->list[gpu].taken = false;
    gpus->list[gpu].given_ms = now_ms > 0 ? now_ms : 1;
}
