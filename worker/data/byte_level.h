/* SPDX-License-Identifier: Apache-2.0
 *
 * byte_level: GPT-2's alphabet, in which tokenizer.json writes the bytes of byte-level tokens.
 *
 * Bytes that are printable in Latin-1 stand for themselves; the others take U+0100 and on, in order
 * ("Ġ" is a blank). Encoding works on the bytes themselves: only files are in this alphabet.
 */
#ifndef TAILOR_WORKER_DATA_BYTE_LEVEL_H
#define TAILOR_WORKER_DATA_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t byte_level_char(uint8_t byte); /* its code point */

/* Decodes text of the alphabet into out[0 … length), which must not overlap it; false when some
 * character is not of the alphabet. A code point of the alphabet never takes less than one byte. */
bool byte_level_decode(const char *text, size_t length, char *out, size_t *length_out);

#endif
