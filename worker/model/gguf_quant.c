/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_quant: blocks of quantised weights, widened to fp32.
 *
 * A block holds 32 (or, for the K types, 256) weights as small integers with one or two fp16
 * scales; K types scale groups of 16 or 32 inside a block once more. Every product and sum below
 * is rounded to fp32 as written (contraction is off), so an imported file has the same bits
 * everywhere. Which type is known is this table; more are a row and a function.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/model/gguf.h"
#include "worker/model/half.h"

struct gguf_quant {
    const char *name;
    uint32_t type;
    size_t elements, bytes;
    void (*widen)(const uint8_t *block, float *out);
};

static uint16_t load_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | from[1] << 8);
}

static float load_scale(const uint8_t *from)
{
    return half_f16_widen(load_u16(from));
}

static void widen_f32(const uint8_t *block, float *out)
{
    memcpy(out, block, sizeof(*out));
}

static void widen_f16(const uint8_t *block, float *out)
{
    *out = half_f16_widen(load_u16(block));
}

static void widen_bf16(const uint8_t *block, float *out)
{
    *out = half_bf16_widen(load_u16(block));
}

static void widen_q8_0(const uint8_t *block, float *out)
{
    float d = load_scale(block);
    for (int i = 0; i < 32; i++) {
        out[i] = (float)(int8_t)block[2 + i] * d;
    }
}

/* In the 4-bit types, byte i holds weight i in its lower and weight i + 16 in its upper half. */
static void widen_q4_0(const uint8_t *block, float *out)
{
    float d = load_scale(block);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)((block[2 + i] & 15) - 8) * d;
        out[i + 16] = (float)((block[2 + i] >> 4) - 8) * d;
    }
}

static void widen_q4_1(const uint8_t *block, float *out)
{
    float d = load_scale(block), m = load_scale(block + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(block[4 + i] & 15) * d + m;
        out[i + 16] = (float)(block[4 + i] >> 4) * d + m;
    }
}

/* The 5-bit types keep the fifth bit of weight i in bit i of 32. */
static int five_bits(const uint8_t *high, const uint8_t *low, int i)
{
    int nibble = i < 16 ? low[i] & 15 : low[i - 16] >> 4;
    return nibble | (high[i / 8] >> (i % 8) & 1) << 4;
}

static void widen_q5_0(const uint8_t *block, float *out)
{
    float d = load_scale(block);
    for (int i = 0; i < 32; i++) {
        out[i] = (float)(five_bits(block + 2, block + 6, i) - 16) * d;
    }
}

static void widen_q5_1(const uint8_t *block, float *out)
{
    float d = load_scale(block), m = load_scale(block + 2);
    for (int i = 0; i < 32; i++) {
        out[i] = (float)five_bits(block + 4, block + 8, i) * d + m;
    }
}

/* Eight 6-bit scales and eight 6-bit minima in twelve bytes: the first four of each whole in bytes
 * 0-3 and 4-7, the others' lower halves in bytes 8-11 and their upper bits above those. */
static void k_scale_min(const uint8_t *packed, int group, int *scale_out, int *min_out)
{
    if (group < 4) {
        *scale_out = packed[group] & 63;
        *min_out = packed[group + 4] & 63;
    } else {
        *scale_out = (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
        *min_out = packed[group + 4] >> 4 | packed[group] >> 6 << 4;
    }
}

/* Q4_K and Q5_K: eight groups of 32; a pair of groups shares 32 bytes, lower and upper halves. The
 * fifth bits of group g are bits g of 32 bytes (NULL for Q4_K). */
static void widen_k_groups(const uint8_t *block, const uint8_t *high, const uint8_t *low,
                           float *out)
{
    float d = load_scale(block), dmin = load_scale(block + 2);
    for (int group = 0; group < 8; group++) {
        int scale, min;
        k_scale_min(block + 4, group, &scale, &min);
        float group_d = d * (float)scale, group_min = dmin * (float)min;
        const uint8_t *bytes = low + group / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int q = group % 2 == 0 ? bytes[i] & 15 : bytes[i] >> 4;
            if (high != NULL) {
                q |= (high[i] >> group & 1) << 4;
            }
            *out++ = group_d * (float)q - group_min;
        }
    }
}

static void widen_q4_k(const uint8_t *block, float *out)
{
    widen_k_groups(block, NULL, block + 16, out);
}

static void widen_q5_k(const uint8_t *block, float *out)
{
    widen_k_groups(block, block + 16, block + 48, out);
}

/* 128 bytes of lower halves, 64 of upper bit pairs, 16 signed scales, d; in two runs of 128. */
static void widen_q6_k(const uint8_t *block, float *out)
{
    const uint8_t *scales = block + 192;
    float d = load_scale(block + 208);
    for (int i = 0; i < 256; i++) {
        int run = i / 128, quarter = i % 128 / 32, lane = i % 32;
        uint8_t low = block[run * 64 + (quarter % 2) * 32 + lane];
        uint8_t high = block[128 + run * 32 + lane];
        int q = (quarter < 2 ? low & 15 : low >> 4) | (high >> 2 * quarter & 3) << 4;
        float scale = d * (float)(int8_t)scales[i / 16];
        out[i] = scale * (float)(q - 32);
    }
}

static const struct gguf_quant quants[] = {
    {"F32", 0, 1, 4, widen_f32},        {"F16", 1, 1, 2, widen_f16},
    {"Q4_0", 2, 32, 18, widen_q4_0},    {"Q4_1", 3, 32, 20, widen_q4_1},
    {"Q5_0", 6, 32, 22, widen_q5_0},    {"Q5_1", 7, 32, 24, widen_q5_1},
    {"Q8_0", 8, 32, 34, widen_q8_0},    {"Q4_K", 12, 256, 144, widen_q4_k},
    {"Q5_K", 13, 256, 176, widen_q5_k}, {"Q6_K", 14, 256, 210, widen_q6_k},
    {"BF16", 30, 1, 2, widen_bf16},
};

const struct gguf_quant *gguf_quant_find(uint32_t type)
{
    for (size_t i = 0; i < sizeof(quants) / sizeof(*quants); i++) {
        if (quants[i].type == type) {
            return &quants[i];
        }
    }
    return NULL;
}

const char *gguf_quant_list(void)
{
    return "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K";
}

const char *gguf_quant_name(const struct gguf_quant *quant)
{
    return quant->name;
}

size_t gguf_quant_elements(const struct gguf_quant *quant)
{
    return quant->elements;
}

size_t gguf_quant_bytes(const struct gguf_quant *quant)
{
    return quant->bytes;
}

void gguf_quant_widen(const struct gguf_quant *quant, const uint8_t *block, float *out)
{
    quant->widen(block, out);
}

void gguf_read(const struct gguf_tensor *tensor, size_t first, size_t count, float *out)
{
    enum { BLOCK_ELEMENTS_MAX = 256 };
    CHECK(first <= tensor->elements && count <= tensor->elements - first);
    const struct gguf_quant *quant = tensor->quant;
    while (count > 0) {
        float values[BLOCK_ELEMENTS_MAX];
        size_t within = first % quant->elements;
        size_t taken = quant->elements - within;
        taken = taken < count ? taken : count;
        quant->widen(tensor->data + first / quant->elements * quant->bytes, values);
        memcpy(out, values + within, taken * sizeof(*out));
        out += taken;
        first += taken;
        count -= taken;
    }
}
