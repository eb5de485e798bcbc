/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_cache: where images of datasets are kept from run to run. Private to dataset.c.
 *
 * One file, KEY.tokens, per (bytes and options of the sources, tokenizer, text format). Losing the
 * directory costs time only, so nothing here fails: what is wrong is logged and the dataset built.
 */
#ifndef TAILOR_WORKER_DATA_DATASET_CACHE_H
#define TAILOR_WORKER_DATA_DATASET_CACHE_H

#include <stdbool.h>

#include "lib/file.h"
#include "worker/data/dataset.h"

/* The digest of the sources' bytes and options. */
enum status cache_digest(const struct data_source *sources, int count,
                         char digest_out[SHA256_HEX_SIZE], struct error *error);
/* … and with what turns them into tokens. */
void cache_key(const char digest[SHA256_HEX_SIZE], const struct text_format *format,
               const struct tokenizer *tokenizer, char key_out[SHA256_HEX_SIZE]);

/* True and a mapping of a checked image, or false: absent, or not usable and then logged. */
bool cache_load(const char *dir, const char *key, const struct tokenizer *tokenizer,
                struct file_map *map_out);
void cache_store(const char *dir, const char *key, const void *image, size_t size);

#endif
