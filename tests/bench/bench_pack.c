/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_pack.h"

#include "lib/arena.h"
#include "lib/check.h"

/* On the host, while it is built. */
struct arrays {
    struct segment *segments;
    int32_t *tree_segment, *position, *segment_of, *last;
};

static void add_segment(struct bench_pack *pack, const struct arrays *arrays, int32_t tokens,
                        int32_t length, int32_t parent)
{
    struct layout *layout = &pack->layout;
    length = layout->tokens + length < tokens ? length : tokens - layout->tokens;
    int32_t position0 = parent < 0 ? 0 : arrays->segments[parent].length;
    for (int32_t i = 0; i < length; i++) {
        arrays->position[layout->tokens + i] = position0 + i;
        arrays->segment_of[layout->tokens + i] = layout->segment_count;
        pack->visible += position0 + i + 1;
    }
    arrays->segments[layout->segment_count++] =
        (struct segment){layout->tokens, length, parent, position0};
    layout->tokens += length;
}

static void add_groups(struct bench_pack *pack, const struct arrays *arrays,
                       const struct bench_shape *shape)
{
    struct layout *layout = &pack->layout;
    arrays->tree_segment[0] = 0;
    while (layout->tokens < shape->tokens) {
        int32_t prompt = layout->segment_count;
        add_segment(pack, arrays, shape->tokens, shape->prompt, -1);
        for (int i = 0; i < shape->responses && layout->tokens < shape->tokens; i++) {
            add_segment(pack, arrays, shape->tokens, shape->response, prompt);
            arrays->last[pack->rows++] = layout->tokens - 1;
        }
        arrays->tree_segment[++layout->tree_count] = layout->segment_count;
    }
}

void *bench_block(struct device *device, size_t bytes)
{
    void *block;
    struct error error;
    if (device->ops->block_alloc(device, bytes, "a benchmark", &block, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    return block;
}

static const void *put(struct device *device, const void *host, size_t bytes)
{
    void *block = bench_block(device, bytes);
    device->ops->copy_in(device, block, host, bytes);
    return block;
}

void bench_pack_build(struct bench_pack *pack, struct device *device,
                      const struct bench_shape *shape)
{
    const size_t count = (size_t)shape->tokens + 1, bytes = count * sizeof(int32_t);
    const size_t segments_bytes = count * sizeof(struct segment);
    const struct arrays arrays = {mem_alloc(segments_bytes), mem_alloc(bytes), mem_alloc(bytes),
                                  mem_alloc(bytes), mem_alloc(bytes)};
    *pack = (struct bench_pack){.layout = {.row_tokens_max = shape->prompt + shape->response}};
    add_groups(pack, &arrays, shape);
    pack->layout.segments = put(device, arrays.segments, segments_bytes);
    pack->layout.tree_segment = put(device, arrays.tree_segment, bytes);
    pack->layout.position = put(device, arrays.position, bytes);
    pack->layout.segment_of = put(device, arrays.segment_of, bytes);
    pack->last = put(device, arrays.last, bytes);
    device_wait(device);
    mem_free(arrays.segments);
    mem_free(arrays.tree_segment);
    mem_free(arrays.position);
    mem_free(arrays.segment_of);
    mem_free(arrays.last);
}
