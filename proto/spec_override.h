/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_override: the short forms that people write, and --set, on the tree. Private to proto/.
 */
#ifndef TAILOR_PROTO_SPEC_OVERRIDE_H
#define TAILOR_PROTO_SPEC_OVERRIDE_H

#include "proto/spec_node.h"
#include "proto/spec_table.h"

/* Lists of sources become lists of maps with `dataset`; a source written straight into data.enrich
 * becomes its `sources`. `strict`: both forms at once are an error; otherwise the fields written
 * straight (by --set) go into the sources that are there. */
enum status spec_normalise(struct arena *arena, struct spec_node *root, bool strict,
                           struct error *error);

/* Changes the normalised tree. "data.train[0].limit" names an entry, [count] a new one, and
 * "data.train.limit" all entries. */
enum status spec_override_apply(struct arena *arena, struct spec_node *root,
                                const struct spec_override *override, struct error *error);

#endif
