/* SPDX-License-Identifier: Apache-2.0
 *
 * normalizer: the text changes that happen before words are cut: NFC, Prepend, Replace.
 *
 *     struct normalizer_scratch scratch = {0};
 *     normalizer_run(&normalizer, text, length, &scratch, &text, &length);
 *     normalizer_scratch_release(&scratch);
 *
 * Time is linear in the text. Text must be valid UTF-8; the result is.
 */
#ifndef TAILOR_WORKER_DATA_NORMALIZER_H
#define TAILOR_WORKER_DATA_NORMALIZER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

enum normalizer_kind {
    NORMALIZER_NFC,
    NORMALIZER_PREPEND,         /* `content`, unless the text is empty */
    NORMALIZER_PREPEND_MISSING, /* the same, unless the text begins with it */
    NORMALIZER_REPLACE          /* every `pattern` by `content` */
};

enum {
    NORMALIZER_STEPS_MAX = 8,     /* published files have two */
    NORMALIZER_GROWTH_MAX = 8,    /* how often Replace may multiply a text: " " → "▁" is 3 */
    NORMALIZER_PREPEND_MAX = 1024 /* bytes that Prepend adds */
};

struct normalizer_step {
    enum normalizer_kind kind;
    const char *pattern, *content; /* borrowed; never NULL for the kinds that have them */
    size_t pattern_length, content_length;
};

struct normalizer {
    struct normalizer_step steps[NORMALIZER_STEPS_MAX];
    int count;
};

/* Grows as needed and is kept between calls. Zero-initialise. */
struct normalizer_scratch {
    struct buf texts[2]; /* a step reads one and writes the other */
    int32_t *points;
    size_t points_capacity;
};

/* The result is `text` itself where nothing changes, else lies in the scratch until its next use.
 */
void normalizer_run(const struct normalizer *normalizer, const char *text, size_t length,
                    struct normalizer_scratch *scratch, const char **text_out, size_t *length_out);
size_t normalizer_scratch_size(const struct normalizer_scratch *scratch); /* bytes held */
void normalizer_scratch_release(struct normalizer_scratch *scratch);

#endif
