/* SPDX-License-Identifier: Apache-2.0
 *
 * differences: what differs between two JSON documents, field by field, in the order of the first.
 */
#ifndef TAILOR_CLIENT_DIFFERENCES_H
#define TAILOR_CLIENT_DIFFERENCES_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/arena.h"
#include "proto/spec.h"

struct difference {
    const char *field;        /* "train.seed", "data.train[0].dataset" */
    const char *left, *right; /* as JSON; "" where the field is absent */
};

struct differences {
    struct difference *items;
    int count, capacity;
};

/* Appends the differences; texts go to the arena. */
void json_differences(struct arena *arena, const json_t *left, const json_t *right,
                      struct differences *differences);
bool spec_first_difference(struct arena *arena, const struct spec *left, const struct spec *right,
                           struct difference *difference_out);

#endif
