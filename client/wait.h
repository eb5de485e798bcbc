/* SPDX-License-Identifier: Apache-2.0
 *
 * wait: until a job ends.
 */
#ifndef TAILOR_CLIENT_WAIT_H
#define TAILOR_CLIENT_WAIT_H

#include "client/service.h"

/* STATUS_OK: succeeded; STATUS_FAILED with the cause; STATUS_CANCELLED. `timeout_s` 0: none; else
 * STATUS_FAILED when it runs out. Interrupted (Ctrl-C), it leaves and the job goes on. A
 * coordinator that is away for some minutes is waited for. */
enum status wait_for_job(const struct service *service, const char *id, double timeout_s,
                         bool quiet, struct error *error);

#endif
