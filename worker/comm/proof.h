/* SPDX-License-Identifier: Apache-2.0
 *
 * proof: that somebody knows the term's secret, without showing it.
 */
#ifndef TAILOR_WORKER_COMM_PROOF_H
#define TAILOR_WORKER_COMM_PROOF_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/comm/comm.h"

enum { PROOF_BYTES = 32, NONCE_BYTES = 16 };

/* What a proof is about. Two sides of a connection prove different purposes, so that a proof cannot
 * be sent back to who made it. */
struct proof_claim {
    uint8_t purpose;
    int32_t from, to; /* who proves it to whom; to = −1: to everybody */
    int32_t world;
    uint64_t term;
    uint8_t nonces[2][NONCE_BYTES]; /* one of each side; zero where there is one side only */
};

/* HMAC-SHA256 of the claim under the secret. */
void proof_make(const uint8_t secret[COMM_SECRET_BYTES], const struct proof_claim *claim,
                uint8_t proof_out[PROOF_BYTES]);
bool proof_holds(const uint8_t secret[COMM_SECRET_BYTES], const struct proof_claim *claim,
                 const uint8_t proof[PROOF_BYTES]); /* in constant time */
void nonce_make(uint8_t nonce_out[NONCE_BYTES]);    /* from the kernel */

#endif
