/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml: JSON values written as YAML for people: blocks, one field a line. (Reading YAML is the
 * spec parser's alone.)
 *
 * A text that could be read as anything but itself is quoted as in JSON, of which YAML 1.2 is a
 * superset; so every reader gets back what -o json would have given it.
 */
#ifndef TAILOR_LIB_YAML_H
#define TAILOR_LIB_YAML_H

#include "lib/buf.h"
#include "lib/json.h"

/* Appends a value; it ends with a line feed. */
void yaml_append(struct buf *out, const json_t *value);
/* Appends a text, quoted where it must be; no line feed. */
void yaml_append_string(struct buf *out, const char *text);

#endif
