/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_fixture: see gguf_fixture.h.
 *
 * Values are chosen so that a test can say what each must become: element i of the query matrix is
 * i, that of the key matrix -i; quantised matrices have scale 1 and minimum 0.
 */
#include "tests/gguf_fixture.h"

#include <stdbool.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"

enum { F32 = 0, Q4_1 = 3, U32 = 4, I32 = 5, FLOAT32 = 6, STRING = 8, ARRAY = 9, ALIGNMENT = 32 };

static void put(struct buf *buf, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        buf_append_char(buf, (char)(value >> 8 * i));
    }
}

static void put_string(struct buf *buf, const char *text)
{
    put(buf, strlen(text), 8);
    buf_append(buf, text, strlen(text));
}

static void put_key(struct gguf_build *build, const char *key, uint32_t type)
{
    build->field_count++;
    put_string(&build->fields, key);
    put(&build->fields, type, 4);
}

void gguf_build_u32(struct gguf_build *build, const char *key, uint32_t value)
{
    put_key(build, key, U32);
    put(&build->fields, value, 4);
}

void gguf_build_f32(struct gguf_build *build, const char *key, float value)
{
    put_key(build, key, FLOAT32);
    buf_append(&build->fields, &value, sizeof(value));
}

void gguf_build_string(struct gguf_build *build, const char *key, const char *value)
{
    put_key(build, key, STRING);
    put_string(&build->fields, value);
}

void gguf_build_tensor(struct gguf_build *build, const char *name, uint32_t type, uint32_t rank,
                       const uint64_t *dimensions, const void *data, size_t size)
{
    while (build->data.length % ALIGNMENT != 0) {
        buf_append_char(&build->data, 0);
    }
    build->tensor_count++;
    put_string(&build->tensors, name);
    put(&build->tensors, rank, 4);
    for (uint32_t i = 0; i < rank; i++) {
        put(&build->tensors, dimensions[i], 8);
    }
    put(&build->tensors, type, 4);
    put(&build->tensors, build->data.length, 8);
    buf_append(&build->data, data, size);
}

void gguf_build_sizes(struct gguf_build *build)
{
    gguf_build_string(build, "general.architecture", "llama");
    gguf_build_u32(build, "llama.block_count", 1);
    gguf_build_u32(build, "llama.context_length", GGUF_TINY_POSITIONS);
    gguf_build_u32(build, "llama.embedding_length", GGUF_TINY_C);
    gguf_build_u32(build, "llama.feed_forward_length", 32);
    gguf_build_u32(build, "llama.attention.head_count", 2);
    gguf_build_u32(build, "llama.attention.head_count_kv", 1);
    gguf_build_f32(build, "llama.rope.freq_base", 10000);
    gguf_build_f32(build, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
}

/* The character that stands for a byte in byte-level vocabularies. */
static uint32_t byte_character(int byte)
{
    uint32_t moved = 256;
    for (int i = 0; i < 256; i++) {
        bool plain = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        if (i == byte) {
            return plain ? (uint32_t)i : moved;
        }
        moved += plain ? 0 : 1;
    }
    return 0;
}

void gguf_build_tokenizer(struct gguf_build *build, const char *pre)
{
    static const char *const specials[3] = {"<|endoftext|>", "<s>", "</s>"};
    gguf_build_string(build, "tokenizer.ggml.model", "gpt2");
    gguf_build_string(build, "tokenizer.ggml.pre", pre);
    gguf_build_u32(build, "tokenizer.ggml.bos_token_id", GGUF_TINY_BOS);
    gguf_build_u32(build, "tokenizer.ggml.eos_token_id", GGUF_TINY_EOS);
    gguf_build_u32(build, "tokenizer.ggml.padding_token_id", GGUF_TINY_EOS);
    put_key(build, "tokenizer.ggml.tokens", ARRAY);
    put(&build->fields, STRING, 4);
    put(&build->fields, GGUF_TINY_V, 8);
    for (int i = 0; i < 3; i++) {
        put_string(&build->fields, specials[i]);
    }
    for (int byte = 0; byte < 256; byte++) {
        char text[5] = {0};
        utf8_put(byte_character(byte), text);
        put_string(&build->fields, text);
    }
    put_string(&build->fields, "Ġt");
    put_key(build, "tokenizer.ggml.token_type", ARRAY);
    put(&build->fields, I32, 4);
    put(&build->fields, GGUF_TINY_V, 8);
    for (int i = 0; i < GGUF_TINY_V; i++) {
        put(&build->fields, i < 3 ? 3 : 1, 4);
    }
    put_key(build, "tokenizer.ggml.merges", ARRAY);
    put(&build->fields, STRING, 4);
    put(&build->fields, 1, 8);
    put_string(&build->fields, "Ġ t");
}

static void ramp_add(struct gguf_build *build, const char *name, uint64_t columns, uint64_t rows,
                     float step)
{
    size_t count = (size_t)(columns * (rows ? rows : 1));
    float *values = mem_alloc(count * sizeof(*values));
    for (size_t i = 0; i < count; i++) {
        values[i] = rows ? step * (float)i : 1;
    }
    gguf_build_tensor(build, name, F32, rows ? 2 : 1, (const uint64_t[]){columns, rows}, values,
                      count * sizeof(*values));
    mem_free(values);
}

/* Every block: scale 1, minimum 0, then 0x10, 0x32, … so that low halves are even, high ones odd.
 */
static void quantised_add(struct gguf_build *build, const char *name, uint64_t columns,
                          uint64_t rows)
{
    struct buf data = {0};
    for (uint64_t block = 0; block < columns * rows / 32; block++) {
        put(&data, 0x3c00, 2);
        put(&data, 0, 2);
        for (int i = 0; i < 16; i++) {
            put(&data, (uint64_t)((2 * i & 15) | (2 * i + 1) % 16 << 4), 1);
        }
    }
    gguf_build_tensor(build, name, Q4_1, 2, (const uint64_t[]){columns, rows}, data.data,
                      data.length);
    buf_release(&data);
}

void gguf_build_tensors(struct gguf_build *build)
{
    ramp_add(build, "token_embd.weight", 32, GGUF_TINY_V, 0x1p-10f);
    ramp_add(build, "output_norm.weight", 32, 0, 0);
    ramp_add(build, "blk.0.attn_norm.weight", 32, 0, 0);
    ramp_add(build, "blk.0.ffn_norm.weight", 32, 0, 0);
    ramp_add(build, "blk.0.attn_q.weight", 32, 32, 1);
    ramp_add(build, "blk.0.attn_k.weight", 32, 16, -1);
    quantised_add(build, "blk.0.attn_v.weight", 32, 16);
    quantised_add(build, "blk.0.attn_output.weight", 32, 32);
    quantised_add(build, "blk.0.ffn_gate.weight", 32, 32);
    quantised_add(build, "blk.0.ffn_up.weight", 32, 32);
    quantised_add(build, "blk.0.ffn_down.weight", 32, 32);
}

void gguf_build_model(struct gguf_build *build)
{
    gguf_build_sizes(build);
    gguf_build_tokenizer(build, "smollm");
    gguf_build_tensors(build);
}

void gguf_build_finish(struct gguf_build *build, struct buf *file)
{
    buf_clear(file);
    buf_append_string(file, "GGUF");
    put(file, 3, 4);
    put(file, build->tensor_count, 8);
    put(file, build->field_count, 8);
    buf_append(file, build->fields.data, build->fields.length);
    buf_append(file, build->tensors.data, build->tensors.length);
    while (file->length % ALIGNMENT != 0) {
        buf_append_char(file, 0);
    }
    buf_append(file, build->data.data, build->data.length);
    buf_release(&build->fields);
    buf_release(&build->tensors);
    buf_release(&build->data);
    *build = (struct gguf_build){0};
}
