/* SPDX-License-Identifier: Apache-2.0
 *
 * batch: what the batch commands share: cmd_batch.c, cmd_batch_submit.c.
 */
#ifndef TAILOR_CLIENT_BATCH_H
#define TAILOR_CLIENT_BATCH_H

#include "client/remote.h"

struct batch_options {
    struct remote_options remote;
    const char *each, *name, *max_running, *from_models, *failed;
};

#define BATCH_ROW(name, letter, type, member, placeholder, help)                                   \
    {                                                                                              \
        name, letter, type, offsetof(struct batch_options, member), placeholder, help              \
    }

/* A reply with a batch and rows: whole as JSON, else its rows by the columns. */
enum status batch_print(const struct call *call, const json_t *reply, struct error *error);

#endif
