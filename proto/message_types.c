/* SPDX-License-Identifier: Apache-2.0
 *
 * A type is found through the tables that put it on a wire, so none can be forgotten here.
 */
#include "proto/message_types.h"

#include <stdbool.h>
#include <stddef.h>

#include "lib/check.h"
#include "lib/map.h"
#include "proto/route.h"
#include "proto/worker_message.h"

enum { DEPTH_MAX = 4 }; /* a list, its rows, their labels: one to spare */

struct walk {
    struct map *seen;
    message_type_visit *visit;
    void *argument;
};

static void walk_type(struct walk *walk, const ProtobufCMessageDescriptor *type, int depth)
{
    CHECK(depth <= DEPTH_MAX); /* a type that contains itself never ends */
    if (map_put(walk->seen, &type, sizeof(type), 0, NULL))
        walk->visit(type, walk->argument);
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            walk_type(walk, type->fields[i].descriptor, depth + 1);
}

void message_types_each(message_type_visit *visit, void *argument)
{
    struct walk walk = {.seen = map_create(128), .visit = visit, .argument = argument};
    for (int i = 0; i < ROUTE_COUNT; i++) {
        walk_type(&walk, route_at(i)->request, 1);
        walk_type(&walk, route_at(i)->reply, 1);
    }
    for (int i = 0; worker_message_at(i) != NULL; i++)
        walk_type(&walk, worker_message_at(i)->type, 1);
    walk_type(&walk, route_error_type(), 1);
    map_free(walk.seen);
}
