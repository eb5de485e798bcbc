/* SPDX-License-Identifier: Apache-2.0
 *
 * join: how a machine becomes a worker: tokens, and the exchange of the token's key for its own.
 *
 * A token is a key pair of one use. Its public half is a file, keys/join-<64 hex>, until it is used
 * or expired; the secret half is in the token alone. Using it removes the file *before* the
 * worker's row is committed: a crash in between costs a token, and never lets two workers join with
 * one.
 */
#ifndef TAILOR_COORDINATOR_JOIN_H
#define TAILOR_COORDINATOR_JOIN_H

#include "coordinator/state.h"
#include "proto/worker.pb-c.h"

struct joins; /* the outstanding tokens */

struct joins *joins_open(struct coordinator *coordinator); /* reads the files */
void joins_close(struct joins *joins);
/* A hello of somebody who came with a token's key. `welcome` gets STATUS_OK and the worker's id
 * behind the commit, or the sentence of a refusal. */
typedef void join_done(struct coordinator *coordinator, struct identity from, int64_t worker,
                       enum status status, const struct error *error);
void joins_hello(struct joins *joins, struct identity from, const Wire__Hello *hello,
                 join_done *done);

#endif
