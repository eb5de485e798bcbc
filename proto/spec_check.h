/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_check: what no single field can know: what is missing, what contradicts what. Private to
 * proto/.
 */
#ifndef TAILOR_PROTO_SPEC_CHECK_H
#define TAILOR_PROTO_SPEC_CHECK_H

#include "proto/spec_node.h"
#include "proto/spec_table.h"

struct spec_given {
    const char *name;               /* of the file, for what stands nowhere */
    const struct spec_node **nodes; /* by row: where it was given, or NULL */
};

/* The stage is there, and nothing was given that has no meaning in it. Before the defaults. */
enum status spec_check_stage(const struct spec *spec, const struct spec_given *given,
                             struct error *error);
/* All the rest, on the resolved spec. */
enum status spec_check(const struct spec *spec, const struct spec_given *given,
                       struct error *error);

#endif
