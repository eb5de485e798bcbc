/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_node: YAML or JSON as a small tree that knows its lines. Private to proto/.
 *
 * A scalar keeps the text that the person wrote: what it means is the field's business, so 1e-4 is
 * a number where a number is expected, and `no` a name where a name is. Invariants: keys of a map
 * are unique; texts are valid UTF-8 without NUL; depth and count are within the limits below.
 * Rejected: jansson's tree for YAML too; it has no lines, and a message without one is half a
 * message.
 */
#ifndef TAILOR_PROTO_SPEC_NODE_H
#define TAILOR_PROTO_SPEC_NODE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/arena.h"
#include "lib/status.h"

enum { SPEC_DEPTH_MAX = 16, SPEC_NODES_MAX = 10000, SPEC_KEYS_MAX = 512 };

enum spec_node_kind { SPEC_NODE_NULL, SPEC_NODE_SCALAR, SPEC_NODE_LIST, SPEC_NODE_MAP };

struct spec_node {
    enum spec_node_kind kind;
    const char *origin; /* file name or option, borrowed from the arena */
    int line;           /* 0: unknown */
    const char *text;   /* SCALAR */
    const char **keys;  /* MAP: one for each item */
    struct spec_node **items;
    int count, capacity;
};

/* Reads one document; empty text gives a NULL node. `lines`: the text is a file, whose lines people
 * can look up. */
enum status spec_node_read_yaml(struct arena *arena, const char *origin, bool lines,
                                const char *text, size_t length, struct spec_node **node_out,
                                struct error *error);
enum status spec_node_read_json(struct arena *arena, const char *origin, const char *text,
                                size_t length, struct spec_node **node_out, struct error *error);

struct spec_node *spec_node_new(struct arena *arena, enum spec_node_kind kind, const char *origin,
                                int line);
struct spec_node *spec_node_scalar(struct arena *arena, const char *origin, const char *text);
/* Adds to a list (key NULL) or a map; the key is borrowed. */
void spec_node_add(struct arena *arena, struct spec_node *parent, const char *key,
                   struct spec_node *child);
struct spec_node *spec_node_get(const struct spec_node *map, const char *key); /* NULL: absent */
void spec_node_set(struct arena *arena, struct spec_node *map, const char *key,
                   struct spec_node *child); /* replaces or adds */

/* error_set with "origin:line: " (or "origin: ") in front. Returns STATUS_USAGE. */
enum status spec_node_error(const struct spec_node *node, struct error *error, const char *format,
                            ...) __attribute__((format(printf, 3, 4)));

#endif
