/* SPDX-License-Identifier: Apache-2.0
 *
 * The fingerprint is multiply-and-xor in independent lanes: as fast as memory, and each of its
 * steps is a bijection of the lane, so one flipped bit always changes it. It guards against broken
 * memory, not against a forger; SHA-256 would take as long as the step.
 */
#include "worker/trainer/gang.h"

#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "proto/rendezvous.h"
#include "worker/trainer/relay.h"

/* ---- joining --------------------------------------------------------------------------------- */

static enum status read_secret(uint8_t secret[COMM_SECRET_BYTES], struct error *error)
{
    _Static_assert((int)RENDEZVOUS_SECRET_BYTES == COMM_SECRET_BYTES, "one secret, one size");
    _Static_assert((int)RENDEZVOUS_RANKS_MAX == COMM_WORLD_MAX, "as many as can meet");
    const char *hex = getenv(RENDEZVOUS_SECRET_VARIABLE);
    if (hex == NULL || !parse_hex(hex, secret, COMM_SECRET_BYTES)) {
        return error_set(error, STATUS_USAGE, "%s must hold the secret of the term: %d hex digits",
                         RENDEZVOUS_SECRET_VARIABLE, 2 * COMM_SECRET_BYTES);
    }
    return STATUS_OK;
}

/* "a:1,b:2" → world texts. */
static enum status split_endpoints(struct arena *arena, const char *list, int32_t world,
                                   const char *const **endpoints_out, struct error *error)
{
    const char **endpoints = arena_array(arena, const char *, world);
    int32_t count = 0;
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        if (count < world) {
            endpoints[count] = arena_strndup(arena, at, length);
        }
        count++;
        at += length;
        if (*at == '\0') {
            break;
        }
    }
    if (count != world) {
        return error_set(error, STATUS_USAGE, "--rendezvous names %d endpoints for %d ranks", count,
                         world);
    }
    *endpoints_out = endpoints;
    return STATUS_OK;
}

/* The process ends for a call that hangs; this is its last word, from another thread. */
static void tell_ending(const char *text)
{
    relay_failure(STATUS_COMMUNICATION, text);
}

static enum status open_in(struct arena *arena, const struct gang_options *options,
                           struct gang *gang_out, struct error *error)
{
    struct gang gang = {.rank = options->rank, .world = options->world};
    struct comm_options comm = {.rank = options->rank,
                                .world = options->world,
                                .term = options->term,
                                .name = options->rendezvous,
                                .timeout_ms = GANG_TIMEOUT_MS};
    bool tcp = options->comm != NULL && strcmp(options->comm, "tcp") == 0;
    if (!tcp && (options->comm == NULL || strcmp(options->comm, "shm") != 0)) {
        return error_set(error, STATUS_USAGE, "--comm must be shm or tcp");
    }
    if (options->rendezvous == NULL) {
        return error_set(error, STATUS_USAGE, "several ranks need --rendezvous");
    }
    comm.backend = comm.beneath = tcp ? COMM_TCP : COMM_SHM;
    if (options->on_gpu && comm_nccl_is_linked()) {
        comm.backend = COMM_NCCL;
        comm.ending = tell_ending;
    }
    TRY(read_secret(comm.secret, error));
    if (tcp) {
        TRY(split_endpoints(arena, options->rendezvous, comm.world, &comm.endpoints, error));
    }
    TRY(comm_open(&comm, &gang.comm, error));
    *gang_out = gang;
    return STATUS_OK;
}

enum status gang_open(const struct gang_options *options, struct gang *gang_out,
                      struct error *error)
{
    if (options->world < 1 || options->world > COMM_WORLD_MAX || options->rank < 0 ||
        options->rank >= options->world) {
        return error_set(error, STATUS_USAGE, "rank %d of %d: there may be 1 to %d ranks, from 0",
                         options->rank, options->world, COMM_WORLD_MAX);
    }
    if (options->world == 1) {
        *gang_out = (struct gang){.world = 1};
        return STATUS_OK;
    }
    struct arena arena = {0};
    enum status status = open_in(&arena, options, gang_out, error);
    arena_release(&arena);
    return status;
}

void gang_close(struct gang *gang, const struct error *failure)
{
    if (gang->comm != NULL && failure != NULL && failure->status != STATUS_COMMUNICATION) {
        comm_abort(gang->comm, failure->text);
    }
    comm_close(gang->comm);
    gang->comm = NULL;
}

/* ---- who ------------------------------------------------------------------------------------- */

int32_t gang_rank(const struct gang *gang)
{
    return gang != NULL ? gang->rank : 0;
}

int32_t gang_world(const struct gang *gang)
{
    return gang != NULL ? gang->world : 1;
}

bool gang_leads(const struct gang *gang)
{
    return gang_rank(gang) == 0;
}

bool gang_keeps(const struct gang *gang)
{
    return gang == NULL || gang->keeper == gang->rank;
}

static bool alone(const struct gang *gang)
{
    return gang == NULL || gang->comm == NULL;
}

void gang_block(const struct gang *gang, size_t count, size_t *begin, size_t *end)
{
    *begin = 0;
    *end = count;
    if (!alone(gang)) {
        comm_block(gang->comm, count, gang->rank, begin, end);
    }
}

/* ---- small messages -------------------------------------------------------------------------- */

enum status gang_broadcast(const struct gang *gang, void *data, size_t bytes, int32_t root,
                           struct error *error)
{
    return alone(gang) ? STATUS_OK : comm_broadcast(gang->comm, data, bytes, root, error);
}

enum status gang_gather(const struct gang *gang, const void *mine, size_t bytes, void *all,
                        struct error *error)
{
    if (alone(gang)) {
        memcpy(all, mine, bytes);
        return STATUS_OK;
    }
    return comm_all_gather_bytes(gang->comm, mine, bytes, all, error);
}

enum status gang_barrier(const struct gang *gang, struct error *error)
{
    return alone(gang) ? STATUS_OK : comm_barrier(gang->comm, error);
}

/* ---- trust ----------------------------------------------------------------------------------- */

enum { FINGERPRINT_LANES = 8 };
#define FINGERPRINT_PRIME UINT64_C(0x9E3779B97F4A7C15) /* odd: multiplying is a bijection */

static uint64_t mixed(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * FINGERPRINT_PRIME;
    return hash ^ (hash >> 29);
}

/* Whole groups of words, each to its lane; what is left goes to the first. */
static void lanes_take(uint64_t lane[FINGERPRINT_LANES], const float *block, size_t count)
{
    size_t i = 0;
    for (; i + 2 * FINGERPRINT_LANES <= count; i += 2 * FINGERPRINT_LANES) {
        uint64_t word[FINGERPRINT_LANES];
        memcpy(word, block + i, sizeof(word));
        for (int j = 0; j < FINGERPRINT_LANES; j++) {
            lane[j] = mixed(lane[j], word[j]);
        }
    }
    for (; i < count; i++) {
        uint32_t word;
        memcpy(&word, block + i, sizeof(word));
        lane[0] = mixed(lane[0], word);
    }
}

uint64_t gang_fingerprint(struct device *device, const float *block, size_t count)
{
    uint64_t lane[FINGERPRINT_LANES];
    for (int j = 0; j < FINGERPRINT_LANES; j++) {
        lane[j] = (uint64_t)j + 1;
    }
    if (device_shares_memory(device)) {
        lanes_take(lane, block, count);
    } else { /* piece by piece: all but the last are whole groups */
        float *piece = mem_alloc(DEVICE_PIECE_FLOATS * sizeof(*piece));
        for (size_t at = 0; at < count; at += DEVICE_PIECE_FLOATS) {
            const size_t left = count - at;
            const size_t floats = left < DEVICE_PIECE_FLOATS ? left : DEVICE_PIECE_FLOATS;
            device->ops->copy_out(device, piece, block + at, floats * sizeof(*piece));
            lanes_take(lane, piece, floats);
        }
        mem_free(piece);
    }
    uint64_t hash = count;
    for (int j = 0; j < FINGERPRINT_LANES; j++) {
        hash = mixed(hash, lane[j]);
    }
    return hash;
}

/* The fingerprint that most ranks have, of equals that of the lowest rank; how many have it. */
static uint64_t most_common(const uint64_t *all, int32_t world, int32_t *votes_out)
{
    int32_t best = 0, most = 0;
    for (int32_t r = 0; r < world; r++) {
        int32_t votes = 0;
        for (int32_t other = 0; other < world; other++) {
            votes += all[other] == all[r];
        }
        if (votes > most) {
            most = votes;
            best = r;
        }
    }
    *votes_out = most;
    return all[best];
}

enum status gang_compare(const struct gang *gang, struct device *device, const float *weights,
                         size_t count, int64_t step, struct error *error)
{
    if (alone(gang)) {
        return STATUS_OK;
    }
    uint64_t mine = gang_fingerprint(device, weights, count), all[COMM_WORLD_MAX];
    TRY(gang_gather(gang, &mine, sizeof(mine), all, error));
    int32_t votes, other = 0;
    uint64_t common = most_common(all, gang->world, &votes);
    if (votes == gang->world) {
        return STATUS_OK;
    }
    bool majority = 2 * votes > gang->world;
    while (all[other] == (majority ? common : all[0])) {
        other++;
    }
    if (!majority) {
        return error_set(error, STATUS_NUMERIC,
                         "rank 0 and rank %d have different weights after step %lld: a memory or "
                         "processor gives wrong bits; resume elsewhere",
                         other, (long long)step);
    }
    return error_set(error, STATUS_NUMERIC,
                     "rank %d has other weights than most ranks after step %lld: its memory or "
                     "processor gives wrong bits; resume without that host",
                     other, (long long)step);
}
