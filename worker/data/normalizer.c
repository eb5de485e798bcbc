/* SPDX-License-Identifier: Apache-2.0
 *
 * normalizer: steps run in order between two buffers.
 *
 * NFC touches only the neighbourhoods of code points from U+0300 on: everything below is a starter,
 * is its own normal form and never joins what stands before it, so a text is cut there safely, and
 * English passes as one copy, or none. Canonical order is restored by counting. Rejected:
 * utf8proc_map, which allocates for every call and orders marks by insertion: a row of 1 MiB of
 * combining marks takes it minutes.
 */
#include "worker/data/normalizer.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"
#include "worker/data/characters.h"

#define NFC_OPTIONS (UTF8PROC_STABLE | UTF8PROC_COMPOSE)

enum {
    FIRST_ACTIVE_LEAD = 0xcc, /* the first byte of U+0300 */
    DECOMPOSED_MAX = 4        /* code points of a canonical decomposition; Unicode promises it */
};

/* The offset of the first code point from U+0300 on, or `length`. */
static size_t active_find(const char *text, size_t length, size_t at)
{
    while (at < length && (unsigned char)text[at] < FIRST_ACTIVE_LEAD) {
        at++;
    }
    return at;
}

/* The offset of the first code point below U+0300, or `length`. */
static size_t quiet_find(const char *text, size_t length, size_t at)
{
    while (at < length && ((unsigned char)text[at] >= FIRST_ACTIVE_LEAD ||
                           ((unsigned char)text[at] & 0xc0) == 0x80)) {
        at++;
    }
    return at;
}

static int combining_class(int32_t point)
{
    return utf8proc_get_property(point)->combining_class;
}

/* Sorts one run of marks by combining class, stably. `spare` has room for `count`. */
static void marks_sort(int32_t *points, size_t count, int32_t *spare)
{
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++) {
        starts[combining_class(points[i]) + 1]++;
    }
    for (int i = 0; i < 256; i++) {
        starts[i + 1] += starts[i];
    }
    for (size_t i = 0; i < count; i++) {
        spare[starts[combining_class(points[i])]++] = points[i];
    }
    memcpy(points, spare, count * sizeof(*points));
}

static void canonical_order(int32_t *points, size_t count, int32_t *spare)
{
    for (size_t i = 0; i < count;) {
        int previous = combining_class(points[i]);
        size_t end = i + 1;
        bool sorted = true;
        while (previous != 0 && end < count) {
            int class = combining_class(points[end]);
            if (class == 0) {
                break;
            }
            sorted = sorted && class >= previous;
            previous = class;
            end++;
        }
        if (!sorted) {
            marks_sort(points + i, end - i, spare);
        }
        i = end;
    }
}

/* Orders, composes and appends points[0 … count), which are decomposed. */
static void points_append(int32_t *points, size_t count, int32_t *spare, struct buf *out)
{
    canonical_order(points, count, spare);
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, NFC_OPTIONS);
    CHECK(composed >= 0 && (size_t)composed <= count);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char bytes[4];
        buf_append(out, bytes, utf8_put((uint32_t)points[i], bytes));
    }
}

/* Appends the normal form of text[0 … length). */
static void span_append(const char *text, size_t length, struct normalizer_scratch *scratch,
                        struct buf *out)
{
    /* All but perhaps the first code point take two bytes or more. Half the room is to sort in. */
    size_t room = size_mul(length / 2 + 1, 2 * DECOMPOSED_MAX);
    if (room > scratch->points_capacity) {
        scratch->points = mem_grow(scratch->points, size_mul(room, sizeof(*scratch->points)));
        scratch->points_capacity = room;
    }
    int32_t *points = scratch->points;
    size_t count = 0;
    for (size_t at = 0; at < length;) {
        size_t start = at;
        uint32_t point = utf8_next(text, length, &at);
        if (character_is_new_mark(point)) {
            points_append(points, count, points + room / 2, out);
            buf_append(out, text + start, at - start);
            count = 0;
            continue;
        }
        int boundclass = 0;
        utf8proc_ssize_t got = utf8proc_decompose_char((utf8proc_int32_t)point, points + count,
                                                       DECOMPOSED_MAX, NFC_OPTIONS, &boundclass);
        CHECK(got > 0 && got <= DECOMPOSED_MAX);
        count += (size_t)got;
    }
    points_append(points, count, points + room / 2, out);
}

static bool nfc(const char *text, size_t length, struct normalizer_scratch *scratch,
                struct buf *out)
{
    size_t done = 0;
    size_t at = active_find(text, length, 0);
    if (at == length) {
        return false;
    }
    while (at < length) {
        size_t start = at;
        if (start > done) { /* the character before may take the marks */
            do {
                start--;
            } while (((unsigned char)text[start] & 0xc0) == 0x80);
        }
        size_t end = quiet_find(text, length, at);
        buf_append(out, text + done, start - done);
        span_append(text + start, end - start, scratch, out);
        done = end;
        at = active_find(text, length, end);
    }
    buf_append(out, text + done, length - done);
    return true;
}

static bool replace(const struct normalizer_step *step, const char *text, size_t length,
                    struct buf *out)
{
    size_t done = 0;
    for (;;) {
        const char *found = memmem(text + done, length - done, step->pattern, step->pattern_length);
        if (!found) {
            break;
        }
        buf_append(out, text + done, (size_t)(found - text) - done);
        buf_append(out, step->content, step->content_length);
        done = (size_t)(found - text) + step->pattern_length;
    }
    if (done == 0) {
        return false;
    }
    buf_append(out, text + done, length - done);
    return true;
}

/* Writes the step's result to `out`, or returns false where it would change nothing. */
static bool step_run(const struct normalizer_step *step, const char *text, size_t length,
                     struct normalizer_scratch *scratch, struct buf *out)
{
    switch (step->kind) {
    case NORMALIZER_NFC:
        return nfc(text, length, scratch, out);
    case NORMALIZER_REPLACE:
        return replace(step, text, length, out);
    case NORMALIZER_PREPEND_MISSING:
        if (length >= step->content_length &&
            memcmp(text, step->content, step->content_length) == 0) {
            return false;
        }
        break;
    case NORMALIZER_PREPEND:
        break;
    }
    buf_append(out, step->content, step->content_length);
    buf_append(out, text, length);
    return true;
}

void normalizer_run(const struct normalizer *normalizer, const char *text, size_t length,
                    struct normalizer_scratch *scratch, const char **text_out, size_t *length_out)
{
    int turn = 0;
    for (int i = 0; i < normalizer->count && length > 0; i++) {
        struct buf *out = &scratch->texts[turn];
        buf_clear(out);
        if (step_run(&normalizer->steps[i], text, length, scratch, out)) {
            text = out->data;
            length = out->length;
            turn = !turn;
        }
    }
    *text_out = text;
    *length_out = length;
}

size_t normalizer_scratch_size(const struct normalizer_scratch *scratch)
{
    return scratch->texts[0].capacity + scratch->texts[1].capacity +
           scratch->points_capacity * sizeof(*scratch->points);
}

void normalizer_scratch_release(struct normalizer_scratch *scratch)
{
    buf_release(&scratch->texts[0]);
    buf_release(&scratch->texts[1]);
    mem_free(scratch->points);
    *scratch = (struct normalizer_scratch){0};
}
