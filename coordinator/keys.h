/* SPDX-License-Identifier: Apache-2.0
 *
 * keys: the coordinator's own CURVE key pair, and the names that a worker's key stands for.
 *
 * DIR/keys/server.key holds the secret key, mode 0600, made once. To lose it is to have every
 * worker join again.
 *
 * A public key maps to an *identity*, which the transport then carries with each message: worker
 * "w-17", or the join key of a token, "k-3", which may say hello and nothing else. The table is in
 * memory and is asked at each handshake and again for each message: a key that was taken away means
 * nothing from then on, although its connection lives.
 */
#ifndef TAILOR_COORDINATOR_KEYS_H
#define TAILOR_COORDINATOR_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/status.h"
#include "proto/join_token.h"

struct key_pair {
    uint8_t public[CURVE_KEY_SIZE], secret[CURVE_KEY_SIZE];
};

enum identity_kind { IDENTITY_NONE, IDENTITY_WORKER, IDENTITY_JOIN };

struct identity {
    enum identity_kind kind;
    int64_t id; /* of the worker or of the join key */
};

enum { IDENTITY_TEXT_MAX = 32 };

enum status keys_open(const char *dir, struct key_pair *server_out, struct error *error);
void key_pair_make(struct key_pair *pair_out);
void key_public(const uint8_t secret[CURVE_KEY_SIZE], uint8_t public_out[CURVE_KEY_SIZE]);
void key_z85(const uint8_t key[CURVE_KEY_SIZE], char out[41]); /* as records and JSON show it */
bool key_from_z85(const char *text, uint8_t key_out[CURVE_KEY_SIZE]);

struct keys; /* the table */

struct keys *keys_create(void);
void keys_free(struct keys *keys);
void keys_put(struct keys *keys, const uint8_t key[CURVE_KEY_SIZE], struct identity identity);
void keys_remove(struct keys *keys, struct identity identity);
struct identity keys_find(const struct keys *keys, const uint8_t key[CURVE_KEY_SIZE]);
bool keys_know(const struct keys *keys, struct identity identity);

void identity_format(struct identity identity, char out[IDENTITY_TEXT_MAX]);
struct identity identity_parse(const char *text); /* IDENTITY_NONE: not one of ours */

#endif
