/* SPDX-License-Identifier: Apache-2.0
 *
 * As many rounds as there are places, each begun by the lowest rank that has none yet. The mark's
 * name is the rank's and its process's; it is new, so no cache of a file system says that it is not
 * there, and it is gone again before the next round. A crash in between leaves a file of no bytes.
 */
#include "worker/trainer/place.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"

enum { MARK_BYTES = 64 };

static void mark_name(int32_t rank, char name_out[MARK_BYTES])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name_out, MARK_BYTES, "place-%d-%ld-%lld%09ld", rank, (long)getpid(),
             (long long)now.tv_sec, now.tv_nsec);
}

/* One round: who sees `candidate`'s mark. */
static enum status place_ask(struct gang *gang, const char *dir, int32_t candidate,
                             bool sees_out[COMM_WORLD_MAX], struct error *error)
{
    char name[MARK_BYTES] = "", path[4096];
    enum status status = STATUS_OK;
    bool begins = gang->rank == candidate;
    if (begins) {
        mark_name(candidate, name);
        path_join(path, sizeof(path), dir, name);
        status = file_write_atomic(path, "", 0, error);
    }
    TRY(status);
    status = gang_broadcast(gang, name, sizeof(name), candidate, error);
    if (status == STATUS_OK) {
        path_join(path, sizeof(path), dir, name);
        bool sees = begins || file_exists(path);
        status = gang_gather(gang, &sees, sizeof(sees), sees_out, error);
    }
    if (begins) {
        unlink(path);
    }
    return status;
}

enum status place_find(struct gang *gang, const char *dir, struct error *error)
{
    int32_t keeper[COMM_WORLD_MAX];
    bool sees[COMM_WORLD_MAX];
    for (int32_t r = 0; r < gang->world; r++) {
        keeper[r] = -1;
    }
    for (int32_t candidate = 0; candidate < gang->world; candidate++) {
        if (keeper[candidate] >= 0) {
            continue;
        }
        TRY(place_ask(gang, dir, candidate, sees, error));
        for (int32_t r = 0; r < gang->world; r++) {
            keeper[r] = keeper[r] < 0 && sees[r] ? candidate : keeper[r];
        }
    }
    gang->keeper = keeper[gang->rank];
    CHECK(gang->keeper >= 0);
    return STATUS_OK;
}
