/* SPDX-License-Identifier: Apache-2.0
 *
 * credential: who this worker is: DATA/credential.json, mode 0600.
 *
 *     {"address", "server_key", "public_key", "secret_key", "join_key" | null, "cluster", "worker"}
 *
 * The worker's own key pair is made and saved before it is registered with the token's key: a crash
 * in between leaves a worker that can still find out whether it was taken (link.h tries both keys).
 * Keys are Z85 texts.
 */
#ifndef TAILOR_WORKER_AGENT_CREDENTIAL_H
#define TAILOR_WORKER_AGENT_CREDENTIAL_H

#include <stdint.h>

#include "lib/status.h"
#include "proto/join_token.h"

enum { KEY_TEXT_SIZE = 41, CLUSTER_TEXT_MAX = 65 };

struct credential {
    char address[JOIN_ADDRESS_MAX];
    char server_key[KEY_TEXT_SIZE], public_key[KEY_TEXT_SIZE], secret_key[KEY_TEXT_SIZE];
    char join_key[KEY_TEXT_SIZE]; /* "": joined */
    char cluster[CLUSTER_TEXT_MAX];
    int64_t worker; /* 0: not yet joined */
};

/* From the file; without one from the token (NULL: STATUS_USAGE says that one is needed), and then
 * the file is written. A token beside a file of a worker that has joined is not looked at. */
enum status credential_open(const char *data, const char *token, struct credential *credential_out,
                            struct error *error);
enum status credential_save(const char *data, const struct credential *credential,
                            struct error *error);

#endif
