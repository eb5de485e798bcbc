/* SPDX-License-Identifier: Apache-2.0
 *
 * ahead: the data of the next step, prepared by a thread while a step computes.
 *
 *     ahead_open(&stepper, &sampler, parts, &ahead, &error)
 *     const struct portion *portion = ahead_take(ahead, step);   valid until the next take
 *     ahead_close(ahead)
 *
 * At most one step ahead: two portions, one being computed and one being built. A portion is a
 * function of its step, so a run that is stopped and resumed needs nothing of what was prepared.
 * Rejected: preparing packs one by one, which bounds memory further (a batch's packs are some
 * 50 bytes a token) and needs a queue.
 */
#ifndef TAILOR_WORKER_TRAINER_AHEAD_H
#define TAILOR_WORKER_TRAINER_AHEAD_H

#include "lib/status.h"
#include "worker/trainer/portion.h"

struct ahead;

/* All are borrowed, and do not change until ahead_close. STATUS_MEMORY: no thread can be started.
 */
enum status ahead_open(const struct stepper *stepper, const struct sampler *sampler,
                       struct dataset *const *parts, struct ahead **ahead_out, struct error *error);
/* Waits for `step`'s data, and has those of the step after it begun. */
const struct portion *ahead_take(struct ahead *ahead, int64_t step);
void ahead_close(struct ahead *ahead); /* waits for what is being built; NULL is allowed */

#endif
