/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_cells: ${column} in the values of a spec, from a row of a table. Private to proto/.
 */
#ifndef TAILOR_PROTO_SPEC_CELLS_H
#define TAILOR_PROTO_SPEC_CELLS_H

#include "proto/spec.h"
#include "proto/spec_node.h"

/* Fills every value of the tree and marks the cells that were used. Names of fields are left alone.
 * STATUS_USAGE with the line names a column that is not there, and the nearest one. */
enum status spec_cells_fill(struct arena *arena, struct spec_node *root, struct spec_cells *cells,
                            struct error *error);

/* Marks the cells that the values name, and changes nothing. */
void spec_cells_mark(const struct spec_node *root, struct spec_cells *cells);

#endif
