/* SPDX-License-Identifier: Apache-2.0
 *
 * join_token: what a person carries from the coordinator to a new worker, in one line.
 *
 *     tj1-<server's public key>-<secret key of one use>-HOST:PORT
 *
 * Keys are 64 hex digits: unlike Z85 they survive every shell. The secret key is good for one
 * thing: to connect once and register the worker's own public key (hello.public_key); its own
 * public half follows from it. Whoever reads the token may join in the worker's place until it is
 * used or expires.
 */
#ifndef TAILOR_PROTO_JOIN_TOKEN_H
#define TAILOR_PROTO_JOIN_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

enum { CURVE_KEY_SIZE = 32, JOIN_ADDRESS_MAX = 120, JOIN_TOKEN_TEXT_MAX = 257 };

struct join_token {
    uint8_t server_key[CURVE_KEY_SIZE];
    uint8_t secret[CURVE_KEY_SIZE];
    char address[JOIN_ADDRESS_MAX]; /* "HOST:PORT" */
};

void join_token_format(const struct join_token *token, char out[JOIN_TOKEN_TEXT_MAX]);
/* STATUS_USAGE says what a token looks like; the text itself is a secret and never repeated. */
enum status join_token_parse(const char *text, struct join_token *token_out, struct error *error);

/* "HOST:PORT" with a port from `port_min` (0: the system may choose) to 65535 and a host of
 * letters, digits, '.', '-', '_' or '*'. */
enum status address_check(const char *address, int port_min, struct error *error);

void hex_format(const uint8_t *bytes, size_t size, char *out); /* 2 · size digits and a NUL */
int hex_parse(const char *text, size_t size, uint8_t *out); /* of exactly 2 · size digits; 1: ok */

#endif
