/* SPDX-License-Identifier: Apache-2.0
 *
 * scores: requests for rewards on their way to a serve job and back. Private to this folder; the
 * loop thread's.
 *
 * Nothing of a request is recorded, and nothing is sent twice. It is forgotten with its answer,
 * when its attempt is no longer the live one, or after its time: whoever asked is told each of it.
 * Texts are handed on and not kept: a request here is a number, a place to answer to and a time.
 */
#ifndef TAILOR_COORDINATOR_SCORES_H
#define TAILOR_COORDINATOR_SCORES_H

#include "coordinator/coordinator.h"
#include "proto/worker.pb-c.h"

struct scores;

struct scores *scores_open(struct coordinator *coordinator);
/* Every request that is out is done: STATUS_CANCELLED. */
void scores_close(struct scores *scores);
/* Of the worker `worker`. */
void scores_answered(struct scores *scores, int64_t worker, const Wire__ScoreAnswer *answer);

#endif
