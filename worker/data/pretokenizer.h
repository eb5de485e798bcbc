/* SPDX-License-Identifier: Apache-2.0
 *
 * pretokenizer: cuts text into the words that merges never cross.
 *
 *     while (length > 0) {
 *         size_t size = pretokenizer_next(PRETOKENIZER_QWEN2, text, length);
 *         …
 *         text += size, length -= size;
 *     }
 *
 * A scanner is a pure function of the text that is left, as the regular expressions look ahead but
 * never back. Every call takes time linear in what it returns, but for one look at a run of blanks.
 * Text must be valid UTF-8.
 */
#ifndef TAILOR_WORKER_DATA_PRETOKENIZER_H
#define TAILOR_WORKER_DATA_PRETOKENIZER_H

#include <stddef.h>

#include "lib/status.h"

/* For error sentences. */
#define PRETOKENIZER_NAMES                                                                         \
    "ByteLevel, Digits then ByteLevel, the patterns of GPT-2, LLaMA-3 and Qwen2, or none"

enum pretokenizer {
    PRETOKENIZER_NONE,        /* all of the text is one word */
    PRETOKENIZER_GPT2,        /* ByteLevel with its own pattern */
    PRETOKENIZER_DIGITS_GPT2, /* Digits(individual_digits), then ByteLevel's pattern */
    PRETOKENIZER_LLAMA3,      /* Split(regex, digits in threes), then ByteLevel without pattern */
    PRETOKENIZER_QWEN2,       /* the same with single digits */
    /* No file asks for this one: where no merge can join anything to a "▁" that follows it, the one
     * word of PRETOKENIZER_NONE falls apart before every run of "▁" with the same tokens. */
    PRETOKENIZER_BLOCKS
};

size_t pretokenizer_next(enum pretokenizer pretokenizer, const char *text, size_t length);

/* The scanner of a Split pattern, by its exact text. An unknown pattern is STATUS_UNSUPPORTED: it
 * is code from a stranger, and is not run. */
enum status pretokenizer_from_pattern(const char *pattern, enum pretokenizer *pretokenizer_out,
                                      struct error *error);

#endif
