/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl_stub: NCCL between processes of one host, by shared memory. Everything is nonblocking, as
 * worker/comm asks for it: making a communicator and launching a group are in progress for a few
 * looks, transfers go on only while their stream is asked.
 *
 * It is stricter than the library: an id serves once; sends and receives stand in a group, of a
 * communicator that is ready; sizes of a send and its receive agree; nothing is called while
 * something is in progress but ncclCommGetAsyncError and an abort, and no abort within a group; a
 * process that ends in order has aborted what it made. A breach ends the process and is named.
 *
 * TAILOR_STUB_FAULT=CALL:N:KIND has the N-th call of CALL (by its full name) go wrong:
 *     error    it returns ncclSystemError
 *     hang     it never returns
 *     stall    it returns, and what it began never ends
 *     later    it returns, and the communicator then fails with ncclRemoteError
 *
 * TAILOR_STUB_LATE_MS: so long behind its last byte each group of transfers ends in this process.
 * TAILOR_STUB_VERSION: what ncclGetVersion says.
 */
#include <nccl.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "tests/cuda/runtime.h"

enum { WORLD_MAX = 16, PIPE_BYTES = 1 << 16, OPERATIONS_MAX = 4 * WORLD_MAX, LOOKS = 3 };

/* From one rank to another. */
struct pipe {
    _Atomic uint64_t written, read;
    char bytes[PIPE_BYTES];
};

struct meeting {
    atomic_int came[WORLD_MAX];
    struct pipe pipes[WORLD_MAX][WORLD_MAX]; /* [from][to] */
};

/* A send or a receive: a head with its size, then its bytes. */
struct operation {
    bool sends;
    int peer;
    char *data;
    uint64_t head, bytes, done;
};

enum { HEAD_BYTES = sizeof(uint64_t) };

struct stub_group {
    struct meeting *meeting;
    ncclUniqueId id;
    int world, rank;
    int looks; /* until what is in progress is under way */
    bool ready, stalled;
    ncclResult_t failure;
    cudaStream_t stream; /* of the transfers that go on; NULL: none */
    struct operation operations[OPERATIONS_MAX];
    int count;
    int64_t end_ms; /* of those that are late; 0: none is */
    bool lost;      /* the transfers that go on never end */
};

static struct stub_group *made; /* by this process, and not aborted */
static bool in_group;

static _Noreturn void breach(const char *what)
{
    fprintf(stderr, "nccl stub: %s\n", what);
    abort();
}

#define MUST(condition, what)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            breach(what);                                                                          \
        }                                                                                          \
    } while (0)

/* ---- faults ------------------------------------------------------------------------------------
 */

enum fault { FAULT_NO, FAULT_ERROR, FAULT_STALL, FAULT_LATER };

/* A hang does not return. */
static enum fault fault_of(const char *call)
{
    static int seen;
    const char *wanted = getenv("TAILOR_STUB_FAULT");
    const size_t length = strlen(call);
    if (wanted == NULL || strncmp(wanted, call, length) != 0 || wanted[length] != ':') {
        return FAULT_NO;
    }
    char *kind;
    if (++seen != strtol(wanted + length + 1, &kind, 10)) {
        return FAULT_NO;
    }
    if (strcmp(kind, ":hang") == 0) {
        for (;;) {
            pause();
        }
    }
    return strcmp(kind, ":error") == 0   ? FAULT_ERROR
           : strcmp(kind, ":stall") == 0 ? FAULT_STALL
                                         : FAULT_LATER;
}

static ncclResult_t begun(struct stub_group *group, enum fault fault)
{
    group->looks = LOOKS;
    group->stalled = fault == FAULT_STALL;
    group->failure = fault == FAULT_LATER ? ncclRemoteError : group->failure;
    return ncclInProgress;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void on_exit_in_order(void)
{
    if (made != NULL) {
        fprintf(stderr, "nccl stub: the process ends with a communicator that was not aborted\n");
        _exit(70);
    }
}

ncclResult_t ncclGetVersion(int *version)
{
    const char *other = getenv("TAILOR_STUB_VERSION");
    *version = other != NULL ? atoi(other) : NCCL_VERSION_CODE;
    return fault_of("ncclGetVersion") == FAULT_ERROR ? ncclSystemError : ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    uint64_t number;
    if (fault_of("ncclGetUniqueId") == FAULT_ERROR) {
        return ncclSystemError;
    }
    CHECK(getrandom(&number, sizeof(number), 0) == sizeof(number));
    snprintf(id->internal, sizeof(id->internal), "/tailor-stub-%016llx",
             (unsigned long long)number);
    int fd = shm_open(id->internal, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && ftruncate(fd, sizeof(struct meeting)) == 0);
    close(fd);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *group_out, int world, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    const ncclConfig_t initial = NCCL_CONFIG_INITIALIZER;
    const enum fault fault = fault_of("ncclCommInitRankConfig");
    MUST(config->magic == initial.magic && config->blocking == 0, "a communicator that blocks");
    MUST(world <= WORLD_MAX && rank >= 0 && rank < world, "a rank that is none");
    MUST(made == NULL && !in_group, "a second communicator, or one within a group");
    int fd = shm_open(id.internal, O_RDWR, 0);
    if (fault == FAULT_ERROR || fd < 0) {
        return ncclSystemError;
    }
    struct stub_group *group = mem_alloc(sizeof(*group));
    group->meeting = mmap(NULL, sizeof(*group->meeting), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(group->meeting != MAP_FAILED);
    close(fd);
    group->world = world;
    group->rank = rank;
    MUST(atomic_fetch_add(&group->meeting->came[rank], fault != FAULT_STALL) == 0,
         "an id that is used twice");
    CHECK(atexit(on_exit_in_order) == 0);
    group->id = id;
    made = *group_out = group;
    return begun(group, fault);
}

static bool all_came(const struct stub_group *group)
{
    for (int r = 0; r < group->world; r++) {
        if (atomic_load(&group->meeting->came[r]) == 0) {
            return false;
        }
    }
    return true;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t group, ncclResult_t *state)
{
    MUST(group == made && group != NULL, "a communicator that is not, or not any more");
    if (fault_of("ncclCommGetAsyncError") == FAULT_ERROR) {
        return ncclSystemError;
    }
    if (group->failure != ncclSuccess) {
        *state = group->failure;
        return ncclSuccess;
    }
    group->looks -= group->looks > 0;
    *state = group->looks > 0 || group->stalled || !all_came(group) ? ncclInProgress : ncclSuccess;
    if (*state == ncclSuccess && !group->ready) {
        group->ready = true;
        shm_unlink(group->id.internal); /* by the first, for all */
    }
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t group)
{
    const enum fault fault = fault_of("ncclCommAbort");
    MUST(group == made && group != NULL, "an abort of what is no communicator");
    MUST(!in_group, "an abort within a group, which would wait for the group's end");
    made = NULL;
    if (!group->ready) {
        shm_unlink(group->id.internal);
    }
    if (fault == FAULT_STALL) { /* what is under way goes on, and never ends */
        group->lost = true;
        return ncclInProgress;
    }
    if (group->stream != NULL) {
        emulated_stream_occupy(group->stream, NULL, NULL);
    }
    CHECK(munmap(group->meeting, sizeof(*group->meeting)) == 0);
    mem_free(group);
    return fault == FAULT_ERROR ? ncclSystemError : ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const texts[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network error",
                                        "NCCL operation in progress"};
    return texts[result];
}

const char *ncclGetLastError(ncclComm_t group)
{
    (void)group;
    return "as the test wishes";
}

/* ---- transfers ---------------------------------------------------------------------------------
 */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* `count` bytes into, or out of, the ring from position `at` on. */
static void pipe_copy(struct pipe *pipe, uint64_t at, char *data, uint64_t count, bool sends)
{
    while (count > 0) {
        char *place = pipe->bytes + at % PIPE_BYTES;
        const uint64_t run = least(count, PIPE_BYTES - at % PIPE_BYTES);
        memcpy(sends ? place : data, sends ? data : place, run);
        at += run;
        data += run;
        count -= run;
    }
}

/* So far as the ring lets it. */
static void operation_advance(struct stub_group *group, struct operation *it)
{
    const int from = it->sends ? group->rank : it->peer, to = it->sends ? it->peer : group->rank;
    struct pipe *pipe = &group->meeting->pipes[from][to];
    for (;;) {
        const bool head = it->done < HEAD_BYTES;
        const uint64_t offset = head ? it->done : it->done - HEAD_BYTES;
        const uint64_t left = head ? HEAD_BYTES - it->done : it->bytes - offset;
        const uint64_t written = atomic_load(&pipe->written), read = atomic_load(&pipe->read);
        const uint64_t room = it->sends ? PIPE_BYTES - (written - read) : written - read;
        const uint64_t count = least(left, room);
        if (count == 0) {
            return;
        }
        pipe_copy(pipe, it->sends ? written : read, (head ? (char *)&it->head : it->data) + offset,
                  count, it->sends);
        atomic_fetch_add(it->sends ? &pipe->written : &pipe->read, count);
        it->done += count;
        MUST(it->done != HEAD_BYTES || it->head == it->bytes,
             "a receive of another size than its send");
    }
}

static bool is_time(struct stub_group *group)
{
    const char *late_ms = getenv("TAILOR_STUB_LATE_MS");
    if (late_ms == NULL) {
        return true;
    }
    group->end_ms = group->end_ms != 0 ? group->end_ms : monotonic_ms() + atoi(late_ms);
    if (monotonic_ms() < group->end_ms) {
        return false;
    }
    group->end_ms = 0;
    return true;
}

/* Sends to one peer, and receives from it, one behind the other; all else at once. */
static int transfers_advance(void *argument)
{
    struct stub_group *group = argument;
    bool all = !group->lost;
    for (int i = 0; i < group->count; i++) {
        struct operation *it = &group->operations[i];
        bool waits = false;
        for (int j = 0; j < i; j++) {
            const struct operation *before = &group->operations[j];
            waits = waits || (before->sends == it->sends && before->peer == it->peer &&
                              before->done < HEAD_BYTES + before->bytes);
        }
        if (!waits && !(group->lost && i == 0)) {
            operation_advance(group, it);
        }
        all = all && it->done == HEAD_BYTES + it->bytes;
    }
    if (!all || !is_time(group)) {
        return 0;
    }
    group->stream = NULL;
    group->count = 0;
    return 1;
}

ncclResult_t ncclGroupStart(void)
{
    MUST(!in_group, "a group within a group");
    if (fault_of("ncclGroupStart") == FAULT_ERROR) {
        return ncclSystemError;
    }
    in_group = true;
    return ncclSuccess;
}

static ncclResult_t queue(const char *call, bool sends, char *data, size_t count, int peer,
                          ncclComm_t group, cudaStream_t stream)
{
    const enum fault fault = fault_of(call);
    MUST(in_group, "a send or a receive outside of a group");
    MUST(group == made && group != NULL && group->ready && group->looks == 0,
         "a send or a receive by a communicator that is not ready");
    MUST(peer >= 0 && peer < group->world && peer != group->rank, "a peer that is none");
    MUST(group->stream == stream || group->count == 0, "a group on two streams");
    MUST(group->count < OPERATIONS_MAX, "more sends and receives than the stub takes");
    if (fault == FAULT_ERROR) {
        return ncclSystemError;
    }
    const uint64_t bytes = count * sizeof(float);
    group->stream = stream;
    group->lost = group->lost || fault == FAULT_STALL;
    group->failure = fault == FAULT_LATER ? ncclRemoteError : group->failure;
    group->operations[group->count++] = (struct operation){
        .sends = sends, .peer = peer, .data = data, .head = sends ? bytes : 0, .bytes = bytes};
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t group, cudaStream_t stream)
{
    CHECK(type == ncclFloat32);
    return queue("ncclSend", true, (char *)data, count, peer, group, stream);
}

ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t type, int peer, ncclComm_t group,
                      cudaStream_t stream)
{
    CHECK(type == ncclFloat32);
    return queue("ncclRecv", false, data, count, peer, group, stream);
}

ncclResult_t ncclGroupEnd(void)
{
    const enum fault fault = fault_of("ncclGroupEnd");
    MUST(in_group, "the end of a group that was not begun");
    in_group = false;
    if (fault == FAULT_ERROR) {
        return ncclSystemError;
    }
    if (made == NULL || made->count == 0) {
        return ncclSuccess;
    }
    emulated_stream_occupy(made->stream, transfers_advance, made);
    return begun(made, fault);
}
