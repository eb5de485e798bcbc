/* SPDX-License-Identifier: Apache-2.0
 *
 * verify: --verify-packing. On the first groups of a run: rewards packed with shared prefixes
 * equal, bit for bit in fp32, those of each row alone; gradients within 1e-4 of the largest entry.
 */
#ifndef TAILOR_WORKER_TRAINER_VERIFY_H
#define TAILOR_WORKER_TRAINER_VERIFY_H

#include <stdio.h>

#include "lib/status.h"
#include "worker/trainer/session.h"

enum status verify_packing(struct session *session, FILE *out, struct error *error);

/* The comparison itself, for tests: `groups` (count) as one batch, once shared and once each row
 * alone. */
struct packing_difference {
    int64_t rewards, rewards_differing; /* by memcmp */
    double gradient_worst;              /* of the largest entry of its tensor */
};
enum status packing_compare(const struct stepper *stepper, struct batch_group *groups,
                            int32_t count, struct packing_difference *difference_out,
                            struct error *error);

#endif
