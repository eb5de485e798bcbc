/* SPDX-License-Identifier: Apache-2.0
 *
 * json: jansson behind limits, plus the getters that every reader of ours needs.
 *
 * Reading refuses duplicate keys, depth over JSON_DEPTH_MAX, numbers that are not finite, and
 * trailing bytes, and names the place: "config.json:12:7: duplicate key \"hidden_size\"".
 * Values are borrowed from their root; free the root with json_decref().
 */
#ifndef TAILOR_LIB_JSON_H
#define TAILOR_LIB_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/status.h"

enum { JSON_DEPTH_MAX = 64 };

/* `name` is the file (or "line 7 of f.jsonl") that error sentences begin with. */
enum status json_read(const char *name, const char *text, size_t length, json_t **root_out,
                      struct error *error);
enum status json_read_file(const char *path, size_t size_max, json_t **root_out,
                           struct error *error);

/* Typed getters on an object. Absent or null: *out is left alone (put the default there first)
 * and STATUS_OK; wrong type or range: STATUS_FORMAT naming the key. Integral reals (2.0) are
 * taken as integers; strings that parse exactly as the number are accepted. */
enum status json_get_i64(const json_t *object, const char *key, int64_t min, int64_t max,
                         int64_t *out, struct error *error);
enum status json_get_f64(const json_t *object, const char *key, double *out, struct error *error);
enum status json_get_bool(const json_t *object, const char *key, bool *out, struct error *error);
enum status json_get_string(const json_t *object, const char *key, const char **out,
                            struct error *error);           /* borrowed */
bool json_is_absent(const json_t *object, const char *key); /* missing or null */

/* Appends the value as compact JSON, keys in insertion order; reals with 17 significant digits
 * reduced to the shortest that restores the same double. */
void json_append(struct buf *buf, const json_t *value);
enum status json_write_file(const char *path, const json_t *value,
                            struct error *error); /* indented, atomic */

#endif
