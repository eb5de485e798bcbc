/* SPDX-License-Identifier: Apache-2.0
 *
 * differences: both documents as lists of (dotted name, value), then one against the other.
 *
 * Rejected: comparing text lines, which shows moved lines and no names.
 */
#include "client/differences.h"

#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/map.h"

struct leaves {
    struct arena *arena;
    struct difference *items; /* field and left */
    int count, capacity;
    struct map *places; /* field → its index in items */
};

static struct difference *grown(struct arena *arena, struct difference *items, int count,
                                int *capacity)
{
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    struct difference *bigger = arena_array(arena, struct difference, *capacity);
    if (count > 0) {
        memcpy(bigger, items, sizeof(*items) * (size_t)count);
    }
    return bigger;
}

static void flatten(struct leaves *leaves, const char *name, const json_t *value)
{
    const char *key;
    json_t *inner;
    size_t index;
    if (json_is_object(value) && json_object_size(value) > 0) {
        json_object_foreach((json_t *)value, key, inner)
        {
            flatten(leaves, arena_printf(leaves->arena, "%s%s%s", name, name[0] ? "." : "", key),
                    inner);
        }
        return;
    }
    if (json_is_array(value) && json_array_size(value) > 0) {
        json_array_foreach(value, index, inner)
        {
            flatten(leaves, arena_printf(leaves->arena, "%s[%zu]", name, index), inner);
        }
        return;
    }
    struct buf text = {0};
    json_append(&text, value);
    leaves->items = grown(leaves->arena, leaves->items, leaves->count, &leaves->capacity);
    map_put(leaves->places, name, strlen(name), (uint64_t)leaves->count, NULL);
    leaves->items[leaves->count++] = (struct difference){
        .field = name, .left = arena_strndup(leaves->arena, text.data, text.length)};
    buf_release(&text);
}

static const char *value_of(const struct leaves *leaves, const char *field)
{
    uint64_t index;
    return map_get(leaves->places, field, strlen(field), &index) ? leaves->items[index].left : "";
}

static void add(struct arena *arena, struct differences *differences, const char *field,
                const char *left, const char *right)
{
    differences->items =
        grown(arena, differences->items, differences->count, &differences->capacity);
    differences->items[differences->count++] = (struct difference){field, left, right};
}

void json_differences(struct arena *arena, const json_t *left, const json_t *right,
                      struct differences *differences)
{
    struct leaves sides[2] = {{.arena = arena, .places = map_create(256)},
                              {.arena = arena, .places = map_create(256)}};
    flatten(&sides[0], "", left);
    flatten(&sides[1], "", right);
    for (int i = 0; i < sides[0].count; i++) {
        const struct difference *leaf = &sides[0].items[i];
        const char *other = value_of(&sides[1], leaf->field);
        if (strcmp(leaf->left, other) != 0) {
            add(arena, differences, leaf->field, leaf->left, other);
        }
    }
    for (int i = 0; i < sides[1].count; i++) {
        const struct difference *leaf = &sides[1].items[i];
        if (value_of(&sides[0], leaf->field)[0] == '\0') {
            add(arena, differences, leaf->field, "", leaf->left);
        }
    }
    map_free(sides[0].places);
    map_free(sides[1].places);
}

static json_t *spec_tree(const struct spec *spec)
{
    struct buf text = {0};
    json_t *root;
    spec_json(spec, &text);
    CHECK(json_read("spec", text.data, text.length, &root, NULL) == STATUS_OK);
    buf_release(&text);
    return root;
}

bool spec_first_difference(struct arena *arena, const struct spec *left, const struct spec *right,
                           struct difference *difference_out)
{
    json_t *roots[2] = {spec_tree(left), spec_tree(right)};
    struct differences differences = {0};
    json_differences(arena, roots[0], roots[1], &differences);
    json_decref(roots[0]);
    json_decref(roots[1]);
    if (differences.count > 0) {
        *difference_out = differences.items[0];
    }
    return differences.count > 0;
}
