/* SPDX-License-Identifier: Apache-2.0
 *
 * nvml_stub: a libnvidia-ml of which a test says what it tells. TAILOR_NVML_STUB names a file, read
 * anew at each call, with a line for each GPU:
 *
 *     UUID NAME used_mib ecc_errors xid        every GPU has 80 GiB; a NAME of "lost" cannot be
 * asked
 *
 * A xid other than 0 is told once. Calls are checked: nothing before an init or after a shutdown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/agent/nvml.h"

enum { GPUS = 8, ERROR_UNKNOWN = 999, ERROR_TIMEOUT = 10 };

struct nvml_device {
    char uuid[NVML_UUID_BYTES], name[NVML_NAME_BYTES];
    unsigned long long used_mib, errors, xid, xid_told;
    bool watched;
};

static struct nvml_device devices[GPUS];
static unsigned device_count;
static bool alive;

#define NVML_DECLARE(name, arguments) int name arguments;
NVML_FUNCTIONS(NVML_DECLARE)
#undef NVML_DECLARE

static void read_file(void)
{
    if (!alive) {
        fprintf(stderr, "nvml stub: a call before nvmlInit or after nvmlShutdown\n");
        abort();
    }
    const char *path = getenv("TAILOR_NVML_STUB");
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    unsigned i = 0;
    if (file == NULL)
        return;
    while (i < GPUS && fscanf(file, "%95s %95s %llu %llu %llu", devices[i].uuid, devices[i].name,
                              &devices[i].used_mib, &devices[i].errors, &devices[i].xid) == 5)
        i++;
    device_count = i;
    fclose(file);
}

int nvmlInit_v2(void)
{
    const char *path = getenv("TAILOR_NVML_STUB");
    alive = path != NULL; /* as without a driver */
    return alive ? NVML_SUCCESS : ERROR_UNKNOWN;
}

int nvmlShutdown(void)
{
    read_file();
    alive = false;
    return NVML_SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    read_file();
    *count = device_count;
    return NVML_SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    read_file();
    *device = &devices[index];
    return strcmp(devices[index].name, "lost") == 0 ? ERROR_UNKNOWN : NVML_SUCCESS;
}

int nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned size)
{
    read_file();
    snprintf(uuid, size, "%s", device->uuid);
    return NVML_SUCCESS;
}

int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned size)
{
    read_file();
    snprintf(name, size, "%s", device->name);
    return NVML_SUCCESS;
}

int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    read_file();
    memory->total = 80ull << 30;
    memory->used = device->used_mib << 20;
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
    (void)device;
    read_file();
    *rates = (nvmlUtilization_t){87, 40};
    return NVML_SUCCESS;
}

int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *celsius)
{
    (void)device;
    read_file();
    *celsius = 61;
    return sensor == NVML_TEMPERATURE_GPU ? NVML_SUCCESS : ERROR_UNKNOWN;
}

int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *milliwatts)
{
    (void)device, (void)milliwatts;
    read_file();
    return ERROR_UNKNOWN; /* a card that does not say */
}

int nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, int type, int counter,
                                unsigned long long *errors)
{
    read_file();
    *errors = device->errors;
    return type == NVML_MEMORY_ERROR_TYPE_UNCORRECTED && counter == NVML_VOLATILE_ECC
               ? NVML_SUCCESS
               : ERROR_UNKNOWN;
}

int nvmlEventSetCreate(nvmlEventSet_t *events)
{
    read_file();
    *events = (nvmlEventSet_t)devices;
    return NVML_SUCCESS;
}

int nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t events)
{
    (void)events;
    read_file();
    device->watched = types == NVML_EVENT_XID;
    return NVML_SUCCESS;
}

int nvmlEventSetWait_v2(nvmlEventSet_t events, nvmlEventData_t *data, unsigned timeout_ms)
{
    (void)events, (void)timeout_ms;
    read_file();
    for (unsigned i = 0; i < device_count; i++) {
        struct nvml_device *device = &devices[i];
        if (device->watched && device->xid != device->xid_told) {
            device->xid_told = device->xid;
            *data = (nvmlEventData_t){
                .device = device, .eventType = NVML_EVENT_XID, .eventData = device->xid};
            return NVML_SUCCESS;
        }
    }
    return ERROR_TIMEOUT;
}

int nvmlEventSetFree(nvmlEventSet_t events)
{
    (void)events;
    read_file();
    return NVML_SUCCESS;
}
