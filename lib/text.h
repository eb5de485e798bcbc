/* SPDX-License-Identifier: Apache-2.0
 *
 * text: UTF-8 checks, exact number parsing, and "did you mean".
 */
#ifndef TAILOR_LIB_TEXT_H
#define TAILOR_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offset of the first byte that is not valid UTF-8 (surrogates and overlong forms are invalid),
 * or `length` when all is well. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* Decodes one code point of valid UTF-8 at *offset and advances it. */
uint32_t utf8_next(const char *text, size_t length, size_t *offset);
size_t utf8_put(uint32_t code_point, char out[4]); /* bytes written */

/* Copies text into out[size] as one line for people: cut between code points, newlines and tabs as
 * blanks, other control characters and bytes that are not UTF-8 as '?'. Returns the length. */
size_t text_clean(const char *text, char *out, size_t size);

/* Where two texts begin to differ, at the start of a word. */
size_t text_common_start(const char *a, const char *b);

/* Whole-string parses: no leading or trailing bytes, range checked, finite. */
bool parse_i64(const char *text, int64_t *out);
bool parse_f64(const char *text, double *out);
/* Exactly 2 · count lower-case digits. */
bool parse_hex(const char *text, uint8_t *bytes_out, size_t count);
bool parse_duration_s(const char *text, double *seconds_out); /* "90", "10m", "2h", "1h30m" */

/* The candidate with the smallest edit distance to `name`, or NULL if none is near (more than a
 * third of its length away). */
const char *nearest_name(const char *name, const char *const *candidates, size_t count);

void format_bytes(double bytes, char out[16]);      /* "1.4 GiB" */
void format_count(double count, char out[16]);      /* "12.3 k" */
void format_duration(double seconds, char out[16]); /* "2m 05s" */

#endif
