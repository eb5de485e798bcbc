/* SPDX-License-Identifier: Apache-2.0
 *
 * proof: the claim as bytes without padding, then libcrypto's HMAC.
 *
 * Numbers are little-endian whatever the host, so a claim has one spelling. Rejected: TLS between
 * ranks; certificates for processes that live one attempt, and a cipher on the path of every step.
 */
#include "worker/comm/proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#include "lib/check.h"

static uint8_t *put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *out++ = (uint8_t)(value >> (8 * i));
    }
    return out;
}

void proof_make(const uint8_t secret[COMM_SECRET_BYTES], const struct proof_claim *claim,
                uint8_t proof_out[PROOF_BYTES])
{
    static const char context[16] = "tailor comm 1";
    uint8_t text[sizeof(context) + 1 + 4 + 4 + 4 + 8 + sizeof(claim->nonces)];
    uint8_t *out = text;
    memcpy(out, context, sizeof(context));
    out = put(out + sizeof(context), claim->purpose, 1);
    out = put(out, (uint32_t)claim->from, 4);
    out = put(out, (uint32_t)claim->to, 4);
    out = put(out, (uint32_t)claim->world, 4);
    out = put(out, claim->term, 8);
    memcpy(out, claim->nonces, sizeof(claim->nonces));
    CHECK(out + sizeof(claim->nonces) == text + sizeof(text));
    unsigned size = 0;
    CHECK(HMAC(EVP_sha256(), secret, COMM_SECRET_BYTES, text, sizeof(text), proof_out, &size));
    CHECK(size == PROOF_BYTES);
}

bool proof_holds(const uint8_t secret[COMM_SECRET_BYTES], const struct proof_claim *claim,
                 const uint8_t proof[PROOF_BYTES])
{
    uint8_t expected[PROOF_BYTES];
    proof_make(secret, claim, expected);
    return CRYPTO_memcmp(expected, proof, PROOF_BYTES) == 0;
}

void nonce_make(uint8_t nonce_out[NONCE_BYTES])
{
    CHECK(getrandom(nonce_out, NONCE_BYTES, 0) == NONCE_BYTES);
}
