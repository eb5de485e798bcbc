/* SPDX-License-Identifier: Apache-2.0
 *
 * webhook_post: one attempt at one receiver, by libcurl, on a thread of webhooks.c.
 *
 * At most WEBHOOK_DEADLINE_MS, from the name's lookup to the answer's last byte. No redirect is
 * followed, no proxy is asked, and the address that is really connected to is looked at
 * (webhook_address.h): a name that was public when it was added may have moved since.
 */
#ifndef TAILOR_COORDINATOR_API_WEBHOOK_POST_H
#define TAILOR_COORDINATOR_API_WEBHOOK_POST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/api/webhook_message.h"

struct webhook_post {
    const char *url, *id, *signature, *body;
    size_t body_length;
    int64_t timestamp_s;
    bool private;                /* may it be an address that is not public? */
    const char *ca;              /* PEM file: who signs certificates; NULL: the system's */
    const atomic_bool *given_up; /* true: it ends within a second */
    /* What came of it: */
    int64_t code;    /* HTTP's; 0: no answer */
    char cause[256]; /* why it was in vain; "": it was taken, with 2xx */
};

/* Once in the process, before the first post and its threads. */
void webhook_post_start(void);
void webhook_post(struct webhook_post *post);

#endif
