/* SPDX-License-Identifier: Apache-2.0
 *
 * `sizes` is the stack of finished subtrees, in slices; the block of stack entry i is block i.
 * Entries shrink by at least half from bottom to top, which bounds the depth.
 */
#include "worker/trainer/slice_tree.h"

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/limits.h"

enum { SLICE_TREE_DEPTH_MAX = 8 }; /* log2(SLICES_MAX) + 2 */

struct slice_tree {
    struct device *device;
    size_t elements;
    int32_t slices, blocks, depth;
    size_t finished; /* elements of the last slice that slice_tree_finish has merged */
    int32_t sizes[SLICE_TREE_DEPTH_MAX];
    float *block[SLICE_TREE_DEPTH_MAX];
};

int32_t slice_tree_blocks(int32_t slices)
{
    CHECK(slices >= 1 && slices <= SLICES_MAX);
    int32_t blocks = 1;
    while (slices >> blocks) {
        blocks++;
    }
    return blocks;
}

enum status slice_tree_create(struct device *device, size_t elements, int32_t slices,
                              struct slice_tree **tree_out, struct error *error)
{
    struct slice_tree *tree = mem_alloc(sizeof(*tree));
    *tree = (struct slice_tree){.device = device,
                                .elements = elements,
                                .slices = slices,
                                .blocks = slice_tree_blocks(slices)};
    for (int32_t i = 0; i < tree->blocks; i++) {
        void *block;
        enum status status = device->ops->block_alloc(device, size_mul(elements, sizeof(float)),
                                                      "gradients", &block, error);
        if (status != STATUS_OK) {
            slice_tree_free(tree);
            return status;
        }
        tree->block[i] = block;
    }
    *tree_out = tree;
    return STATUS_OK;
}

void slice_tree_free(struct slice_tree *tree)
{
    if (tree == NULL) {
        return;
    }
    for (int32_t i = 0; i < tree->blocks && tree->block[i] != NULL; i++) {
        tree->device->ops->block_free(tree->device, tree->block[i], tree->elements * sizeof(float));
    }
    mem_free(tree);
}

void slice_tree_clear(struct slice_tree *tree)
{
    tree->depth = 0;
    tree->finished = 0;
}

float *slice_tree_begin(struct slice_tree *tree)
{
    CHECK(tree->depth < tree->blocks);
    float *block = tree->block[tree->depth];
    tree->device->ops->zero(tree->device, block, tree->elements * sizeof(float));
    return block;
}

static void merge_top(struct slice_tree *tree)
{
    int32_t top = --tree->depth;
    tree->device->ops->add(tree->device, tree->block[top - 1], tree->block[top], tree->elements);
    tree->sizes[top - 1] += tree->sizes[top];
}

void slice_tree_end(struct slice_tree *tree)
{
    tree->sizes[tree->depth++] = 1;
    while (tree->depth > 1 && tree->sizes[tree->depth - 1] == tree->sizes[tree->depth - 2]) {
        merge_top(tree);
    }
}

/* slice_tree_end and slice_tree_sum merge the top of the stack into the entry below until one is
 * left, whatever the sizes. */
float *slice_tree_finish(struct slice_tree *tree, size_t begin, size_t end)
{
    CHECK(begin <= end && end - begin <= tree->elements - tree->finished);
    for (int32_t top = tree->depth; top > 0; top--) {
        tree->device->ops->add(tree->device, tree->block[top - 1] + begin, tree->block[top] + begin,
                               end - begin);
    }
    tree->finished += end - begin;
    if (tree->finished == tree->elements) {
        tree->depth = 1;
        tree->sizes[0] = tree->slices;
    }
    return tree->block[0];
}

float *slice_tree_sum(struct slice_tree *tree)
{
    CHECK(tree->depth >= 1);
    while (tree->depth > 1) {
        merge_top(tree);
    }
    CHECK(tree->sizes[0] == tree->slices);
    return tree->block[0];
}
