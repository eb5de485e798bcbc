/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/token.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/check.h"
#include "proto/join_token.h"

void token_make(char secret_out[TOKEN_SECRET_SIZE], char digest_out[SHA256_HEX_SIZE])
{
    uint8_t bytes[32];
    char digits[65];
    CHECK(getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
    hex_format(bytes, sizeof(bytes), digits);
    snprintf(secret_out, TOKEN_SECRET_SIZE, "tlr_%s", digits);
    sha256_hex(secret_out, strlen(secret_out), digest_out);
}
