/* SPDX-License-Identifier: Apache-2.0
 *
 * local: a world of one. Nobody to exchange with, to tell, or to lose.
 */
#include <stdint.h>

#include "lib/check.h"
#include "worker/comm/backend.h"

static enum status local_open(struct comm *comm, const struct comm_options *options,
                              struct error *error)
{
    (void)error;
    CHECK(options->world == 1);
    comm->to_bytes_max = comm->same_bytes_max = SIZE_MAX / 64 * 64;
    return STATUS_OK;
}

static bool local_exchange(struct comm *comm, struct comm_exchange *exchange,
                           struct comm_failure *failure)
{
    (void)exchange;
    return !comm_aborted(comm) || comm_fail(failure, comm->rank, "%s", comm->abort_reason);
}

static void local_poison(struct comm *comm, struct comm_failure *failure)
{
    (void)comm, (void)failure;
}

static void local_close(struct comm *comm)
{
    (void)comm;
}

const struct comm_ops comm_local_ops = {
    .open = local_open, .exchange = local_exchange, .poison = local_poison, .close = local_close};
