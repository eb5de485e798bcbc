/* SPDX-License-Identifier: Apache-2.0
 *
 * map: byte strings to 64-bit values, open addressing, insertion only.
 *
 * Keys are copied. Iterate with map_count/map_at in insertion order. The hash is seeded per
 * process (hash flooding by hostile keys), so order never depends on it.
 */
#ifndef TAILOR_LIB_MAP_H
#define TAILOR_LIB_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

struct map *map_create(size_t expected);
void map_free(struct map *map);
/* Returns true if the key is new; otherwise leaves the old value and returns false.
 * `value_out`, if not NULL, gets a pointer to the value, valid until the next put. */
bool map_put(struct map *map, const void *key, size_t length, uint64_t value, uint64_t **value_out);
bool map_get(const struct map *map, const void *key, size_t length, uint64_t *value_out);
size_t map_count(const struct map *map);
const char *map_at(const struct map *map, size_t index, size_t *length_out, uint64_t *value_out);

uint64_t hash_bytes(const void *data, size_t length, uint64_t seed); /* not cryptographic */

#endif
