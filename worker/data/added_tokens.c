/* SPDX-License-Identifier: Apache-2.0
 *
 * added_tokens: a sorted array is the trie. At each byte of a candidate the range of tokens that
 * still fit is narrowed by bisection; the first byte is a table.
 *
 * What follows a match (single_word discards it, lstrip and rstrip widen it, the search goes on
 * behind the bare token) is Hugging Face's order of events, odd where a stripped match covers the
 * start of the next one, and kept. Rejected: Aho-Corasick, whose leftmost-longest form needs more
 * care than tokens of bounded length are worth.
 */
#include "worker/data/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/text.h"
#include "worker/data/characters.h"

static int compare(const void *left, const void *right)
{
    const struct added_token *a = left;
    const struct added_token *b = right;
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    if (order == 0 && a->length != b->length) {
        order = a->length < b->length ? -1 : 1;
    }
    return order;
}

void added_tokens_sort(struct added_tokens *added)
{
    qsort(added->tokens, added->count, sizeof(*added->tokens), compare);
    size_t at = 0;
    for (int byte = 0; byte < 256; byte++) {
        added->first[byte] = (uint32_t)at;
        while (at < added->count && (unsigned char)added->tokens[at].text[0] == byte) {
            CHECK(added->tokens[at].length > 0);
            at++;
        }
    }
    added->first[256] = (uint32_t)at;
    CHECK(at == added->count);
}

/* The first of the tokens [low, high), sorted by their byte at `depth`, whose byte there is at
 * least `byte`. A token that ends at `depth` comes before all bytes. */
static size_t narrow(const struct added_token *tokens, size_t low, size_t high, size_t depth,
                     int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct added_token *token = &tokens[middle];
        int here = token->length > depth ? (unsigned char)token->text[depth] : -1;
        if (here < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that the text begins with, or NULL. */
static const struct added_token *longest(const struct added_tokens *added, const char *text,
                                         size_t length)
{
    const struct added_token *tokens = added->tokens;
    const struct added_token *best = NULL;
    size_t low = added->first[(unsigned char)text[0]];
    size_t high = added->first[(unsigned char)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (tokens[low].length == depth) {
            best = &tokens[low++];
        }
        if (depth >= length) {
            break;
        }
        int byte = (unsigned char)text[depth];
        low = narrow(tokens, low, high, depth, byte);
        high = narrow(tokens, low, high, depth, byte + 1);
    }
    return best;
}

static uint32_t point_before(const char *text, size_t end, size_t *start_out)
{
    size_t start = end - 1;
    while (((unsigned char)text[start] & 0xc0) == 0x80) {
        start--;
    }
    *start_out = start;
    return utf8_next(text, end, &start);
}

static bool stands_alone(const char *text, size_t length, size_t start, size_t end)
{
    size_t ignored = end;
    return (start == 0 || !character_is_word(point_before(text, start, &ignored))) &&
           (end == length || !character_is_word(utf8_next(text, length, &end)));
}

/* Where the white space that ends at `end` begins, not before `floor`. */
static size_t spaces_start(const char *text, size_t floor, size_t end)
{
    while (end > floor) {
        size_t start;
        if (!character_is_space(point_before(text, end, &start))) {
            break;
        }
        end = start;
    }
    return end < floor ? floor : end;
}

static size_t spaces_end(const char *text, size_t length, size_t at)
{
    while (at < length) {
        size_t next = at;
        if (!character_is_space(utf8_next(text, length, &next))) {
            break;
        }
        at = next;
    }
    return at;
}

bool added_tokens_find(const struct added_tokens *added, const char *text, size_t length,
                       struct added_search *search, struct added_match *match_out)
{
    if (added->count == 0) {
        return false;
    }
    size_t at = search->at;
    while (at < length) {
        unsigned char byte = (unsigned char)text[at];
        if (added->first[byte] == added->first[byte + 1]) {
            at++;
            continue;
        }
        const struct added_token *token = longest(added, text + at, length - at);
        if (!token) {
            at++;
            continue;
        }
        size_t start = at;
        size_t end = at + token->length;
        at = end;
        if (token->single_word && !stands_alone(text, length, start, end)) {
            continue;
        }
        if (token->lstrip) {
            start = spaces_start(text, search->done, start);
        }
        if (token->rstrip) {
            /* Remembered: a token of blanks in a text of blanks must not scan them again and again.
             */
            if (end < search->blanks_start || end > search->blanks_end) {
                search->blanks_start = end;
                search->blanks_end = spaces_end(text, length, end);
            }
            end = search->blanks_end;
        }
        if (start >= end) {
            continue; /* all of it was taken by the rstrip of the token before */
        }
        *match_out = (struct added_match){start, end, token->id};
        search->done = end;
        search->at = at;
        return true;
    }
    search->at = length;
    return false;
}
