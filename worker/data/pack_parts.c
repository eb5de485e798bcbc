/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: cutting the trie itself, so that parts share below the prefix too. Parts would then
 * wait for one another's inner nodes, and a prompt is what nearly all of a group's sharing is.
 */
#include "worker/data/pack_parts.h"

#include "lib/check.h"

/* Whatever the pooling: before_eos reads the last token but one. */
enum { TOKENS_BEHIND_PREFIX = 2 };

static int32_t prefix_length(const struct pack_group *group)
{
    int32_t prefix = INT32_MAX;
    for (int32_t i = 0; i < group->rows; i++) {
        int32_t common = pack_common_length(group, 0, i);
        int32_t room = group->counts[i] - TOKENS_BEHIND_PREFIX;
        prefix = common < prefix ? common : prefix;
        prefix = room < prefix ? room : prefix;
    }
    return prefix > 0 ? prefix : 0;
}

void pack_parts_plan(struct arena *arena, const struct pack_group *group, int32_t capacity,
                     struct pack_parts *parts_out)
{
    CHECK(group->rows >= 1);
    struct pack_parts parts = {.prefix = prefix_length(group),
                               .row0 = arena_array(arena, int32_t, group->rows + 1)};
    int32_t tokens = 0;
    for (int32_t i = 0; i < group->rows; i++) {
        int32_t added = tokens > 0 ? pack_tokens_added(group, parts.row0[parts.count], i) : 0;
        if (tokens == 0 || tokens + added > capacity) {
            parts.count += tokens > 0;
            parts.row0[parts.count] = i;
            tokens = added = group->counts[i];
        } else {
            tokens += added;
        }
        parts.tokens_max = tokens > parts.tokens_max ? tokens : parts.tokens_max;
    }
    parts.row0[++parts.count] = group->rows;
    *parts_out = parts;
}

struct pack_group pack_part(const struct pack_group *group, const struct pack_parts *parts,
                            int32_t part)
{
    CHECK(part >= 0 && part < parts->count);
    int32_t row0 = parts->row0[part];
    return (struct pack_group){.ids = group->ids + row0,
                               .counts = group->counts + row0,
                               .rows = parts->row0[part + 1] - row0};
}

struct pack_group pack_prefix(const struct pack_group *group, const struct pack_parts *parts,
                              int32_t *length)
{
    CHECK(parts->prefix > 0);
    *length = parts->prefix;
    return (struct pack_group){.ids = group->ids, .counts = length, .rows = 1};
}
