/* SPDX-License-Identifier: Apache-2.0
 *
 * share: blocks on the device that the ranks of a gang sum and gather.
 *
 * A comm that reads the device's memory gets the block itself; on a processor that is every comm.
 * For one that does not (shm or tcp between GPUs) the block goes through the host's memory piece by
 * piece, at most DEVICE_PIECE_FLOATS at a time: the sums are element by element, so the pieces
 * change no bit. Nothing overlaps with compute then.
 *
 * All functions are collective; alone they do nothing.
 */
#ifndef TAILOR_WORKER_TRAINER_SHARE_H
#define TAILOR_WORKER_TRAINER_SHARE_H

#include "lib/status.h"
#include "worker/ops/ops.h"
#include "worker/trainer/gang.h"

/* Does the gang's comm read the device's memory? Then sums may also be started beside the compute
 * (comm_sum_start), once what they read has been computed (device_wait). */
bool share_is_direct(const struct gang *gang, const struct device *device);

/* data (count) becomes the sum over ranks: all of it, or with COMM_TO_OWNERS this rank's own block
 * (gang_block; the rest is then undefined). */
enum status share_sum(const struct gang *gang, struct device *device, float *data, size_t count,
                      enum comm_sum_to to, const struct comm_order *order, struct error *error);
/* Every rank's own block of data (count), as gang_block cuts it, to all. */
enum status share_blocks(const struct gang *gang, struct device *device, float *data, size_t count,
                         struct error *error);

#endif
