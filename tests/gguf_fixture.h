/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_fixture: GGUF files, byte by byte.
 *
 *     struct gguf_build build = {0};
 *     gguf_build_model(&build);                          // a whole tiny llama with a tokenizer
 *     gguf_build_u32(&build, "llama.expert_count", 4);   // and what the test is about
 *     gguf_build_finish(&build, &file);
 */
#ifndef TAILOR_TESTS_GGUF_FIXTURE_H
#define TAILOR_TESTS_GGUF_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct gguf_build {
    struct buf fields, tensors, data;
    uint64_t field_count, tensor_count;
};

/* The tiny llama: one layer, C 32, H 2, G 1, D 16, F 32; tokens: three specials, the 256 bytes and
 * "Ġt". */
enum { GGUF_TINY_C = 32, GGUF_TINY_D = 16, GGUF_TINY_V = 260, GGUF_TINY_POSITIONS = 256 };
enum { GGUF_TINY_PAD = 0, GGUF_TINY_BOS = 1, GGUF_TINY_EOS = 2, GGUF_TINY_BYTES = 3 };

void gguf_build_u32(struct gguf_build *build, const char *key, uint32_t value);
void gguf_build_f32(struct gguf_build *build, const char *key, float value);
void gguf_build_string(struct gguf_build *build, const char *key, const char *value);
/* Dimensions as GGUF has them: the fastest first. The data follows the last tensor's, aligned. */
void gguf_build_tensor(struct gguf_build *build, const char *name, uint32_t type, uint32_t rank,
                       const uint64_t *dimensions, const void *data, size_t size);

/* The parts of the tiny llama: metadata without the tokenizer, the tokenizer, tensors. */
void gguf_build_sizes(struct gguf_build *build);
void gguf_build_tokenizer(struct gguf_build *build, const char *pre);
void gguf_build_tensors(struct gguf_build *build);
void gguf_build_model(struct gguf_build *build);

/* The whole file; frees the parts. */
void gguf_build_finish(struct gguf_build *build, struct buf *file);

#endif
