/* SPDX-License-Identifier: Apache-2.0
 *
 * token: the secret that a person or a program shows: "tlr_" and 256 random bits in hex. It is
 * shown once; the records keep its SHA-256, by which it is looked up, so no comparison here could
 * leak it.
 */
#ifndef TAILOR_COORDINATOR_API_TOKEN_H
#define TAILOR_COORDINATOR_API_TOKEN_H

#include "lib/sha256.h"

enum { TOKEN_SECRET_SIZE = 4 + 64 + 1 };

void token_make(char secret_out[TOKEN_SECRET_SIZE], char digest_out[SHA256_HEX_SIZE]);

#endif
