/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_image: a dataset and its report as one block of bytes: what lies in memory is what lies
 * in the token cache. Private to dataset.c.
 */
#ifndef TAILOR_WORKER_DATA_DATASET_IMAGE_H
#define TAILOR_WORKER_DATA_DATASET_IMAGE_H

#include "lib/file.h"
#include "worker/data/dataset_build.h"

/* The block of a finished build, from mem_map. `key` names what it was made from. */
enum status image_create(const struct dataset_build *build, const struct admission *admission,
                         const char key[SHA256_HEX_SIZE], void **image_out, size_t *size_out,
                         struct error *error);

/* NULL if the bytes are the image named `key`, whole and consistent; else what is wrong. */
const char *image_check(const void *image, size_t size, const char key[SHA256_HEX_SIZE],
                        int32_t tokenizer_size);

/* Points the dataset into the image, and reads the report; both were checked or just created. */
void image_attach(const void *image, struct dataset *dataset, struct admission **admission_out);

#endif
