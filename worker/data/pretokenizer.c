/* SPDX-License-Identifier: Apache-2.0
 *
 * pretokenizer: the published patterns as hand-written scanners.
 *
 * Invariants: each scanner returns what the leftmost match of its pattern at offset 0 would be; it
 * never returns 0 on text that is not empty. All alternatives of the patterns differ in the class
 * of their first or second character, so nothing ever backtracks over more than a run of blanks.
 *
 * Rejected: a regex engine: patterns come from tenants (nested quantifiers hang it), and it is the
 * slowest part of other tokenizers.
 */
#include "worker/data/pretokenizer.h"

#include <stdbool.h>
#include <string.h>

#include "lib/text.h"
#include "worker/data/characters.h"

static const char LLAMA3_PATTERN[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char QWEN2_PATTERN[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char GPT2_PATTERN[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* The class of the character at `at`, which must lie inside; *next: the offset behind it. */
static inline enum character class_at(const char *text, size_t length, size_t at, size_t *next)
{
    unsigned char byte = (unsigned char)text[at];
    if (byte < 0x80) {
        *next = at + 1;
        return character_ascii[byte];
    }
    *next = at;
    return character_of(utf8_next(text, length, next));
}

/* The end of the run of one class that begins at `at`. */
static inline size_t run_end(const char *text, size_t length, size_t at, enum character class)
{
    while (at < length) {
        size_t next;
        if (class_at(text, length, at, &next) != class) {
            break;
        }
        at = next;
    }
    return at;
}

/* 's 't 'm 'd 're 've 'll at the start of the text: its length, or 0. Without case, U+017F (ſ) is
 * an s too. */
static size_t contraction(const char *text, size_t length, bool any_case)
{
    if (length < 2 || text[0] != '\'') {
        return 0;
    }
    char fold = any_case ? 0x20 : 0;
    char first = text[1] | fold;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return 2;
    }
    if (length < 3) {
        return 0;
    }
    char second = text[2] | fold;
    if (((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l')) {
        return 3;
    }
    return any_case && memcmp(text + 1, "\xc5\xbf", 2) == 0 ? 3 : 0;
}

/* \s+(?!\S)|\s+ on text that begins with white space: the whole run where the text (or, with
 * `digits_end`, the piece before a digit) ends with it; otherwise the last blank is left to the
 * word behind it, unless it is the only one. With `newlines`, \s*[\r\n]+ is tried first: up to the
 * last line end of the run. */
static size_t blanks(const char *text, size_t length, bool digits_end, bool newlines)
{
    size_t at = 0;
    size_t last = 0;
    size_t newline_end = 0;
    enum character class = CHARACTER_SPACE;
    while (at < length) {
        size_t next;
        class = class_at(text, length, at, &next);
        if (class != CHARACTER_SPACE) {
            break;
        }
        if (text[at] == '\r' || text[at] == '\n') {
            newline_end = next;
        }
        last = at;
        at = next;
    }
    if (newlines && newline_end > 0) {
        return newline_end;
    }
    bool ends = at == length || (digits_end && class == CHARACTER_NUMBER);
    return ends || last == 0 ? at : last;
}

static size_t gpt2_next(const char *text, size_t length, bool single_digits)
{
    size_t size = contraction(text, length, false);
    if (size > 0) {
        return size;
    }
    size_t start = text[0] == ' ' && length > 1 ? 1 : 0;
    size_t next;
    enum character class = class_at(text, length, start, &next);
    if (class == CHARACTER_NUMBER && single_digits) {
        return start > 0 ? blanks(text, length, true, false) : next;
    }
    if (class == CHARACTER_SPACE) {
        return blanks(text, length, single_digits, false);
    }
    return run_end(text, length, next, class);
}

static size_t llama3_next(const char *text, size_t length, int digits_max)
{
    size_t size = contraction(text, length, true);
    if (size > 0) {
        return size;
    }
    size_t next;
    enum character class = class_at(text, length, 0, &next);
    if (class == CHARACTER_LETTER) {
        return run_end(text, length, next, CHARACTER_LETTER);
    }
    if (class == CHARACTER_NUMBER) {
        size_t behind;
        for (int digits = 1; digits < digits_max && next < length &&
                             class_at(text, length, next, &behind) == CHARACTER_NUMBER;
             digits++) {
            next = behind;
        }
        return next;
    }
    size_t second_end = next;
    enum character second =
        next < length ? class_at(text, length, next, &second_end) : CHARACTER_SPACE;
    if (second == CHARACTER_LETTER && text[0] != '\r' && text[0] != '\n') {
        return run_end(text, length, second_end, CHARACTER_LETTER);
    }
    if (class == CHARACTER_OTHER || (text[0] == ' ' && second == CHARACTER_OTHER)) {
        size_t end = run_end(text, length, next, CHARACTER_OTHER);
        while (end < length && (text[end] == '\r' || text[end] == '\n')) {
            end++;
        }
        return end;
    }
    return blanks(text, length, false, true);
}

static size_t block_next(const char *text, size_t length)
{
    static const char mark[] = "\xe2\x96\x81"; /* ▁ */
    enum { MARK_BYTES = sizeof(mark) - 1 };
    size_t at = 0;
    while (length - at >= MARK_BYTES && memcmp(text + at, mark, MARK_BYTES) == 0) {
        at += MARK_BYTES;
    }
    const char *found = memmem(text + at, length - at, mark, MARK_BYTES);
    return found && found > text + at ? (size_t)(found - text) : length;
}

size_t pretokenizer_next(enum pretokenizer pretokenizer, const char *text, size_t length)
{
    switch (pretokenizer) {
    case PRETOKENIZER_GPT2:
        return gpt2_next(text, length, false);
    case PRETOKENIZER_DIGITS_GPT2:
        return gpt2_next(text, length, true);
    case PRETOKENIZER_LLAMA3:
        return llama3_next(text, length, 3);
    case PRETOKENIZER_QWEN2:
        return llama3_next(text, length, 1);
    case PRETOKENIZER_BLOCKS:
        return block_next(text, length);
    case PRETOKENIZER_NONE:
        break;
    }
    return length;
}

enum status pretokenizer_from_pattern(const char *pattern, enum pretokenizer *pretokenizer_out,
                                      struct error *error)
{
    static const struct {
        const char *pattern;
        enum pretokenizer pretokenizer;
    } known[] = {{GPT2_PATTERN, PRETOKENIZER_GPT2},
                 {LLAMA3_PATTERN, PRETOKENIZER_LLAMA3},
                 {QWEN2_PATTERN, PRETOKENIZER_QWEN2}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(pattern, known[i].pattern) == 0) {
            *pretokenizer_out = known[i].pretokenizer;
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_UNSUPPORTED,
                     "the pattern \"%.120s\" is not one of the known families (" PRETOKENIZER_NAMES
                     "), and patterns from files are not run",
                     pattern);
}
