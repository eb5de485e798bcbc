/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/nvml.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What lies where in struct nvml. */
static const struct {
    const char *name;
    size_t offset;
} FUNCTIONS[] = {
#define NVML_ROW(name, arguments) {#name, offsetof(struct nvml, name)},
    NVML_FUNCTIONS(NVML_ROW)
#undef NVML_ROW
};
enum { FUNCTION_COUNT = sizeof(FUNCTIONS) / sizeof(FUNCTIONS[0]) };

bool nvml_open(struct nvml *nvml)
{
    const char *name = getenv("TAILOR_NVML");
    *nvml = (struct nvml){
        .library = dlopen(name != NULL ? name : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)};
    if (nvml->library == NULL)
        return false;
    bool complete = true;
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        void *address = dlsym(nvml->library, FUNCTIONS[i].name);
        memcpy((char *)nvml + FUNCTIONS[i].offset, &address,
               sizeof(address)); /* ISO C has no cast */
        complete = complete && (address != NULL || i >= NVML_NEEDED);
    }
    if (complete && nvml->nvmlInit_v2() == NVML_SUCCESS)
        return true;
    dlclose(nvml->library);
    *nvml = (struct nvml){0};
    return false;
}

void nvml_close(struct nvml *nvml)
{
    if (nvml->library == NULL)
        return;
    nvml->nvmlShutdown();
    dlclose(nvml->library);
    *nvml = (struct nvml){0};
}
