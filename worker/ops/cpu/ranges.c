/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges: see ranges.h. A piece touches at least PIECE_FLOATS, and there are at most
 * PIECES_PER_THREAD for each thread: enough to even out, too few to matter.
 */
#include "worker/ops/cpu/ranges.h"

enum { PIECE_FLOATS = 16 * 1024, PIECES_PER_THREAD = 4 };

struct ranges {
    range_body *body;
    const void *op;
    int64_t count, size;
};

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static void run_range(void *argument, size_t index, int thread)
{
    (void)thread;
    const struct ranges *ranges = argument;
    int64_t begin = (int64_t)index * ranges->size;
    int64_t end = begin + ranges->size;
    ranges->body(ranges->op, begin, end < ranges->count ? end : ranges->count);
}

void OPS_FN(for_ranges)(struct device *device, int64_t count, int64_t multiple, int64_t item_floats,
                        range_body *body, const void *op)
{
    if (count <= 0) {
        return;
    }
    int64_t worthwhile = divide_up(PIECE_FLOATS, item_floats > 0 ? item_floats : 1);
    int64_t fair = divide_up(count, (int64_t)pool_threads(device->pool) * PIECES_PER_THREAD);
    int64_t size = divide_up(worthwhile > fair ? worthwhile : fair, multiple) * multiple;
    struct ranges ranges = {body, op, count, size};
    int64_t pieces = divide_up(count, size);
    if (pieces == 1) {
        body(op, 0, count);
    } else {
        pool_run(device->pool, (size_t)pieces, run_range, &ranges);
    }
}
