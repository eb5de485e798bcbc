/* SPDX-License-Identifier: Apache-2.0
 *
 * characters: the few properties of code points that tokenizers ask for.
 */
#ifndef TAILOR_WORKER_DATA_CHARACTERS_H
#define TAILOR_WORKER_DATA_CHARACTERS_H

#include <stdbool.h>
#include <stdint.h>

enum character {
    CHARACTER_OTHER,
    CHARACTER_LETTER, /* \p{L} */
    CHARACTER_NUMBER, /* \p{N} */
    CHARACTER_SPACE   /* \s: Unicode's White_Space */
};

extern const uint8_t character_ascii[128]; /* enum character of the ASCII code points */

enum character character_of(uint32_t point);
bool character_is_space(uint32_t point);
bool character_is_word(uint32_t point); /* \w as in UTS #18: letters, marks, digits, connectors */
/* A mark that Hugging Face's NFC takes for an ordinary character, as it knows Unicode 9: it neither
 * moves nor lets marks pass. Tokens must be those that Transformers makes of the exported model. */
bool character_is_new_mark(uint32_t point);

#endif
