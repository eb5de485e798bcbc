/* SPDX-License-Identifier: Apache-2.0
 *
 * webhook_message: an event as it is posted, and the signature by which its receiver knows it, as
 * standardwebhooks.com has them: any of its libraries verifies ours.
 *
 *     webhook-id: msg_4_1723                 of webhook h-4 and event 1723: the same when repeated
 *     webhook-timestamp: 1795747200          of the attempt, seconds since 1970
 *     webhook-signature: v1,BASE64           HMAC-SHA256 of "id.timestamp.body" by the secret's
 * bytes
 *     {"type": "job_state", "timestamp": "2026-11-27T…Z", "data": {…the event as /v1/events has
 * it}}
 *
 * With "gap": {"from": 12, "to": 40} retention may have removed events of those numbers before they
 * could be told: to a receiver that was stopped for longer than events are kept.
 */
#ifndef TAILOR_COORDINATOR_API_WEBHOOK_MESSAGE_H
#define TAILOR_COORDINATOR_API_WEBHOOK_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "proto/api.pb-c.h"

/* "whsec_" and 32 random bytes in base64; "v1," and 32 bytes in base64. */
enum {
    WEBHOOK_SECRET_SIZE = 6 + 44 + 1,
    WEBHOOK_SIGNATURE_SIZE = 3 + 44 + 1,
    WEBHOOK_ID_SIZE = 64
};

void webhook_secret_make(char out[WEBHOOK_SECRET_SIZE]);
void webhook_message_id(const Api__Webhook *webhook, const Api__Event *event,
                        char out[WEBHOOK_ID_SIZE]);
/* Gap: from `gap_from` to `gap_to`; none when that is less. */
void webhook_message_body(const Api__Event *event, int64_t gap_from, int64_t gap_to,
                          struct buf *out);
/* `secret` in the form of webhook_secret_make(), of any length up to 64 bytes. */
void webhook_message_sign(const char *secret, const char *id, int64_t timestamp_s, const char *body,
                          size_t length, char out[WEBHOOK_SIGNATURE_SIZE]);

#endif
