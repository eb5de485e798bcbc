/* SPDX-License-Identifier: Apache-2.0
 *
 * nvml: NVIDIA's library of what a GPU is and how it does, loaded when the program runs: a host
 * without it has no GPUs, which is no failure. Names, types and numbers are those of nvml.h, whose
 * ABI is stable; a function that a driver does not have is NULL but for the first four.
 */
#ifndef TAILOR_WORKER_AGENT_NVML_H
#define TAILOR_WORKER_AGENT_NVML_H

#include <stdbool.h>

typedef struct nvml_device *nvmlDevice_t;
typedef struct nvml_events *nvmlEventSet_t;

enum { NVML_SUCCESS = 0, NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1, NVML_VOLATILE_ECC = 0 };
enum { NVML_TEMPERATURE_GPU = 0, NVML_UUID_BYTES = 96, NVML_NAME_BYTES = 96 };
#define NVML_EVENT_XID 8ull /* nvmlEventTypeXidCriticalError */

typedef struct {
    unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
    unsigned gpu, memory; /* percent */
} nvmlUtilization_t;

typedef struct {
    nvmlDevice_t device;
    unsigned long long eventType, eventData;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlEventData_t;

#define NVML_FUNCTIONS(X)                                                                          \
    X(nvmlInit_v2, (void))                                                                         \
    X(nvmlShutdown, (void))                                                                        \
    X(nvmlDeviceGetCount_v2, (unsigned *count))                                                    \
    X(nvmlDeviceGetHandleByIndex_v2, (unsigned index, nvmlDevice_t *device))                       \
    X(nvmlDeviceGetUUID, (nvmlDevice_t device, char *uuid, unsigned size))                         \
    X(nvmlDeviceGetName, (nvmlDevice_t device, char *name, unsigned size))                         \
    X(nvmlDeviceGetMemoryInfo, (nvmlDevice_t device, nvmlMemory_t * memory))                       \
    X(nvmlDeviceGetUtilizationRates, (nvmlDevice_t device, nvmlUtilization_t * rates))             \
    X(nvmlDeviceGetTemperature, (nvmlDevice_t device, int sensor, unsigned *celsius))              \
    X(nvmlDeviceGetPowerUsage, (nvmlDevice_t device, unsigned *milliwatts))                        \
    X(nvmlDeviceGetTotalEccErrors,                                                                 \
      (nvmlDevice_t device, int type, int counter, unsigned long long *errors))                    \
    X(nvmlEventSetCreate, (nvmlEventSet_t * events))                                               \
    X(nvmlDeviceRegisterEvents,                                                                    \
      (nvmlDevice_t device, unsigned long long types, nvmlEventSet_t events))                      \
    X(nvmlEventSetWait_v2, (nvmlEventSet_t events, nvmlEventData_t * data, unsigned timeout_ms))   \
    X(nvmlEventSetFree, (nvmlEventSet_t events))
enum { NVML_NEEDED = 4 };

struct nvml {
    void *library;
#define NVML_MEMBER(name, arguments) int(*name) arguments;
    NVML_FUNCTIONS(NVML_MEMBER)
#undef NVML_MEMBER
};

/* False, quietly: there is no library, or it has no driver to talk to. TAILOR_NVML names another
 * library, for tests. */
bool nvml_open(struct nvml *nvml);
void nvml_close(struct nvml *nvml);

#endif
