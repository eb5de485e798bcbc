/* SPDX-License-Identifier: Apache-2.0
 *
 * model_fixture: tiny models, on disk or in memory, made by the test that needs them.
 */
#ifndef TAILOR_TESTS_MODEL_FIXTURE_H
#define TAILOR_TESTS_MODEL_FIXTURE_H

#include <jansson.h>
#include <stddef.h>

#include "worker/model/model.h"

enum { FIXTURE_PATH_MAX = 4096 };

/* A fresh directory, removed when the program ends. */
void fixture_dir(char out[FIXTURE_PATH_MAX]);
/* "dir/name" in one of eight static buffers, so that a call may use several. */
const char *model_fixture_path(const char *dir, const char *name);
void model_fixture_text(const char *dir, const char *name, const char *text);
void fixture_bytes(const char *dir, const char *name, const void *data, size_t size);
json_t *fixture_read(const char *dir, const char *name); /* CHECKs that it is there */

/* The reference device, one for the program. */
struct device *fixture_device(void);

/* What lies in a device's block, for the host; freed with mem_free. */
float *fixture_host(struct device *device, const float *block, size_t count);

/* L 2, C 12, H 4, G 2, D 4 (C is not H·D), F 20, V 24; untied. */
struct model_config fixture_config(enum architecture architecture);
/* config.json and model.safetensors (F32), values from `seed`. */
void fixture_model(const char *dir, const struct model_config *config,
                   const struct params_heads *heads, uint64_t seed);
/* Opens or fails the test; NULL then. */
struct model *model_fixture_open(const char *dir, const struct model_open_options *options);

/* A model in memory alone: weights from a fixed seed, a rope table for `positions`. */
struct model *model_fixture_random(struct device *device, const struct model_config *config,
                                   const struct params_heads *heads, int32_t positions);

/* One safetensors file from its parts: the header as written, `data_size` zero bytes behind. */
size_t fixture_safetensors(const char *header, size_t data_size, unsigned char *out, size_t size);

#endif
