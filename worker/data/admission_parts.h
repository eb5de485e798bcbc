/* SPDX-License-Identifier: Apache-2.0
 *
 * admission_parts: what a report is made of. Private to admission*.c.
 *
 * A part is copied as it is into the token cache: no addresses that matter, and a change here asks
 * for a new IMAGE_VERSION (dataset_image.c).
 */
#ifndef TAILOR_WORKER_DATA_ADMISSION_PARTS_H
#define TAILOR_WORKER_DATA_ADMISSION_PARTS_H

#include "worker/data/admission.h"

enum { COLUMNS_MAX = 32, COLUMN_NAME_MAX = 64 };

struct finding_list {
    int64_t *lines;
    int64_t count, capacity;
};

struct admission_part {
    struct admission_source source;
    struct finding_list lists[FINDING_COUNT];
    char columns[COLUMNS_MAX][COLUMN_NAME_MAX]; /* names of unknown columns */
    int32_t column_count;
};

struct admission {
    int count;
    struct admission_part *parts;
};

#endif
