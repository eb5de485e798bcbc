/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_storage: what a dataset owns. Private to dataset.c and dataset_split.c.
 */
#ifndef TAILOR_WORKER_DATA_DATASET_STORAGE_H
#define TAILOR_WORKER_DATA_DATASET_STORAGE_H

#include "lib/file.h"
#include "worker/data/dataset.h"

/* Everything is optional: an opened dataset has an image (a mapping or a block) and names, a part
 * of another one its own groups and rows. */
struct dataset_storage {
    struct file_map map;
    void *block;
    size_t block_size;
    char (*names)[128];
    struct data_group *groups;
    struct data_row *rows;
};

#endif
