/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected for the staged sums: comm_reduce_scatter, which would move half as much, but cuts a
 * block by its whole length, of which no more than a piece is ever on the host.
 */
#include "worker/trainer/share.h"

#include "lib/arena.h"

bool share_is_direct(const struct gang *gang, const struct device *device)
{
    return device_shares_memory(device) || comm_on_device(gang->comm);
}

static size_t piece_at(size_t at, size_t end)
{
    return end - at < DEVICE_PIECE_FLOATS ? end - at : DEVICE_PIECE_FLOATS;
}

/* ---- through the host ------------------------------------------------------------------------ */

static enum status sum_staged(const struct gang *gang, struct device *device, float *data,
                              size_t count, float *piece, const struct comm_order *order,
                              struct error *error)
{
    for (size_t at = 0; at < count; at += DEVICE_PIECE_FLOATS) {
        const size_t floats = piece_at(at, count);
        device->ops->copy_out(device, piece, data + at, floats * sizeof(*piece));
        TRY(comm_all_reduce(gang->comm, piece, floats, order, error));
        device->ops->copy_in(device, data + at, piece, floats * sizeof(*piece));
    }
    return STATUS_OK;
}

static enum status blocks_staged(const struct gang *gang, struct device *device, float *data,
                                 size_t count, float *piece, struct error *error)
{
    for (int32_t rank = 0; rank < gang->world; rank++) {
        size_t begin, end;
        comm_block(gang->comm, count, rank, &begin, &end);
        for (size_t at = begin; at < end; at += DEVICE_PIECE_FLOATS) {
            const size_t bytes = piece_at(at, end) * sizeof(*piece);
            if (rank == gang->rank) {
                device->ops->copy_out(device, piece, data + at, bytes);
            }
            TRY(comm_broadcast(gang->comm, piece, bytes, rank, error));
            if (rank != gang->rank) {
                device->ops->copy_in(device, data + at, piece, bytes);
            }
        }
    }
    return STATUS_OK;
}

/* ---- either way ------------------------------------------------------------------------------ */

enum status share_sum(const struct gang *gang, struct device *device, float *data, size_t count,
                      enum comm_sum_to to, const struct comm_order *order, struct error *error)
{
    if (gang_world(gang) == 1) {
        return STATUS_OK;
    }
    if (share_is_direct(gang, device)) {
        const struct comm_span all = {data, count, 0, count};
        device_wait(device);
        return to == COMM_TO_OWNERS ? comm_reduce_scatter(gang->comm, all, order, error)
                                    : comm_all_reduce(gang->comm, data, count, order, error);
    }
    float *piece = mem_alloc(DEVICE_PIECE_FLOATS * sizeof(*piece));
    enum status status = sum_staged(gang, device, data, count, piece, order, error);
    mem_free(piece);
    return status;
}

enum status share_blocks(const struct gang *gang, struct device *device, float *data, size_t count,
                         struct error *error)
{
    if (gang_world(gang) == 1) {
        return STATUS_OK;
    }
    if (share_is_direct(gang, device)) {
        device_wait(device);
        return comm_all_gather(gang->comm, data, count, error);
    }
    float *piece = mem_alloc(DEVICE_PIECE_FLOATS * sizeof(*piece));
    enum status status = blocks_staged(gang, device, data, count, piece, error);
    mem_free(piece);
    return status;
}
