/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: signing the body alone. The timestamp is signed with it, so that a receiver may refuse
 * what somebody has kept and posts again later.
 */
#include "coordinator/api/webhook_message.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lib/check.h"
#include "proto/message_json.h"

#define SECRET_PREFIX    "whsec_"
#define SIGNATURE_PREFIX "v1,"

enum { SECRET_BYTES = 32, SECRET_BYTES_MAX = 64, SIGNATURE_BYTES = 32 };

void webhook_secret_make(char out[WEBHOOK_SECRET_SIZE])
{
    unsigned char bytes[SECRET_BYTES];
    CHECK(getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
    memcpy(out, SECRET_PREFIX, sizeof(SECRET_PREFIX));
    EVP_EncodeBlock((unsigned char *)out + sizeof(SECRET_PREFIX) - 1, bytes, sizeof(bytes));
}

/* How many bytes it has; EVP_DecodeBlock counts the padding as if it were some. */
static int secret_bytes(const char *secret, unsigned char out[SECRET_BYTES_MAX + 2])
{
    const char *text = secret + sizeof(SECRET_PREFIX) - 1;
    size_t length = strlen(text);
    CHECK(strncmp(secret, SECRET_PREFIX, sizeof(SECRET_PREFIX) - 1) == 0);
    CHECK(length > 0 && length / 4 * 3 <= SECRET_BYTES_MAX + 2);
    int count = EVP_DecodeBlock(out, (const unsigned char *)text, (int)length);
    CHECK(count > 0);
    for (size_t i = length; i > 0 && text[i - 1] == '='; i--)
        count--;
    return count;
}

void webhook_message_id(const Api__Webhook *webhook, const Api__Event *event,
                        char out[WEBHOOK_ID_SIZE])
{
    snprintf(out, WEBHOOK_ID_SIZE, "msg_%" PRId64 "_%" PRId64, webhook->id, event->number);
}

void webhook_message_body(const Api__Event *event, int64_t gap_from, int64_t gap_to,
                          struct buf *out)
{
    time_t seconds = (time_t)(event->time_ms / 1000);
    struct tm utc;
    char time_text[32];
    gmtime_r(&seconds, &utc);
    strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &utc);
    buf_append_string(out, "{\"type\":");
    buf_append_json_string(out, event->kind, strlen(event->kind));
    buf_printf(out, ",\"timestamp\":\"%s.%03dZ\",\"data\":", time_text,
               (int)(event->time_ms % 1000));
    message_to_json(&event->base, out);
    if (gap_from <= gap_to)
        buf_printf(out, ",\"gap\":{\"from\":%" PRId64 ",\"to\":%" PRId64 "}", gap_from, gap_to);
    buf_append_char(out, '}');
}

void webhook_message_sign(const char *secret, const char *id, int64_t timestamp_s, const char *body,
                          size_t length, char out[WEBHOOK_SIGNATURE_SIZE])
{
    unsigned char key[SECRET_BYTES_MAX + 2], digest[SIGNATURE_BYTES];
    unsigned int digest_length = 0;
    struct buf signed_text = {0};
    int key_length = secret_bytes(secret, key);
    buf_printf(&signed_text, "%s.%" PRId64 ".", id, timestamp_s);
    buf_append(&signed_text, body, length);
    CHECK(HMAC(EVP_sha256(), key, key_length, (const unsigned char *)signed_text.data,
               signed_text.length, digest, &digest_length) != NULL);
    CHECK(digest_length == SIGNATURE_BYTES);
    buf_release(&signed_text);
    memcpy(out, SIGNATURE_PREFIX, sizeof(SIGNATURE_PREFIX));
    EVP_EncodeBlock((unsigned char *)out + sizeof(SIGNATURE_PREFIX) - 1, digest, SIGNATURE_BYTES);
}
