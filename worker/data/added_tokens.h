/* SPDX-License-Identifier: Apache-2.0
 *
 * added_tokens: tokens that are found inside the text before anything else happens to it.
 *
 *     struct added_search search = {0};
 *     struct added_match match;
 *     while (added_tokens_find(&tokens, text, length, &search, &match)) {
 *         … text[search.done before the call … match.start) is plain, then comes match.id
 *     }
 *     … text[search.done … length) is plain
 *
 * Matches are leftmost, then longest. Time is linear in the text, times the longest token where the
 * text is made of its beginnings.
 */
#ifndef TAILOR_WORKER_DATA_ADDED_TOKENS_H
#define TAILOR_WORKER_DATA_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ADDED_TOKEN_BYTES_MAX = 256 }; /* published ones have up to 40 */

struct added_token {
    const char *text; /* borrowed; what to look for */
    size_t length;
    int32_t id;
    bool single_word;    /* only where no word character stands beside it */
    bool lstrip, rstrip; /* takes the white space on that side with it */
};

/* Fill `tokens` and `count` with different texts, then call sort. */
struct added_tokens {
    struct added_token *tokens; /* borrowed */
    size_t count;
    uint32_t first[257]; /* tokens that begin with byte b: first[b] … first[b + 1] */
};

struct added_search {
    size_t done;                     /* what lies before is settled */
    size_t at;                       /* where to look next */
    size_t blanks_start, blanks_end; /* the run of white space that rstrip saw last */
};

struct added_match {
    size_t start, end; /* with the white space it takes; start may lie before done, by rstrip */
    int32_t id;
};

void added_tokens_sort(struct added_tokens *added);
bool added_tokens_find(const struct added_tokens *added, const char *text, size_t length,
                       struct added_search *search, struct added_match *match_out);

#endif
