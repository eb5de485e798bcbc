/* SPDX-License-Identifier: Apache-2.0
 *
 * serving: requests for rewards, from the coordinator to the trainer of a serve job and back.
 *
 *     WAITS    its adapter's files are not beside the trainer yet: fetched, one adapter at a time
 *     WRITTEN  it is on its way into the trainer's standard input, or there
 *
 * An adapter's files (hard links into the cache) lie beside the trainer while a request for it is
 * open: the trainer keeps in memory what it has room for, and opens the rest anew. The cache keeps
 * the bytes, under its own bound.
 *
 * Nothing is kept for long: a request is answered, refused, or forgotten when nobody waits for it.
 */
#ifndef TAILOR_WORKER_AGENT_SERVING_H
#define TAILOR_WORKER_AGENT_SERVING_H

#include <jansson.h>

#include "proto/worker.pb-c.h"
#include "worker/agent/cache.h"
#include "worker/agent/link.h"

struct attempt;
struct serving;
struct transfer;
struct transfer_arrivals;

enum { SERVING_ASKS_MAX = 128, SERVING_ASKS_BYTES_MAX = 64 << 20 };

struct serving *serving_create(const struct cache *cache, struct transfer_arrivals *arrivals);
void serving_free(struct serving *serving); /* NULL is fine */
/* A request: taken, or refused at once. */
void serving_take(struct serving *serving, struct attempt *attempt, const Wire__ScoreAsk *ask);
void serving_turn(struct serving *serving, struct attempt *attempt);
/* A line of the trainer's: {"type": "scores", …} (worker/trainer/serve_request.h). */
void serving_answer(struct serving *serving, struct attempt *attempt, const json_t *line);
/* Its trainer is gone: all that is open is refused. */
void serving_end(struct serving *serving, struct attempt *attempt);
/* Is there something to write for which the pipe had no room? */
bool serving_writes(const struct serving *serving);
struct transfer *serving_transfer(struct serving *serving);
/* For a request that no attempt here can take. It may be sent again. */
void serving_refuse(struct link *link, const Wire__ScoreAsk *ask, const char *why);

#endif
