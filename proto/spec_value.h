/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_value: one value of a row, from a node into the struct. Private to proto/.
 */
#ifndef TAILOR_PROTO_SPEC_VALUE_H
#define TAILOR_PROTO_SPEC_VALUE_H

#include "proto/spec_node.h"
#include "proto/spec_table.h"

/* Decodes `node` (not NULL, not a null) into the row's field of `base`, checked against the row.
 * `path` is what messages call the field ("data.train[0].limit"). */
enum status spec_value_decode(struct arena *arena, const struct spec_row *row,
                              const struct spec_node *node, const char *path, void *base,
                              struct error *error);
/* The same from the table's own text, where "" is unset; a bad one is a bug. */
void spec_value_set(struct arena *arena, const struct spec_row *row, const char *text, void *base);

/* Decodes a map of rows: `section` is its place among the rows ("" or "data.enrich"), `prefix` what
 * messages put before it ("" or "data.train[0]."). given[i], if wanted, gets the node of row i. */
enum status spec_map_decode(struct arena *arena, const struct spec_rows *rows,
                            const struct spec_node *map, const char *section, const char *prefix,
                            void *base, const struct spec_node **given, struct error *error);

#endif
