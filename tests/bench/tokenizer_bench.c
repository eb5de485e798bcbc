/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_bench: how fast a tokenizer opens and encodes, and that nothing is worse than linear.
 *
 *     tokenizer_bench DIR FILE
 *
 * FILE (UTF-8 text) is encoded line by line, as rows are, by one thread: the first pass is what a
 * new process sees, the best of the others what it settles at. Then texts made to hurt, each at
 * doubling sizes: nanoseconds per byte must stay about the same (the heap's logarithm is allowed).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/data/tokenizer.h"

enum { PASSES = 7 };

/* Time of this thread on a core: other work on the machine counts less. */
static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double lines_encode(const struct tokenizer *tokenizer, const struct buf *text,
                           struct ids *ids)
{
    double start = now_s();
    ids->count = 0;
    for (size_t at = 0; at < text->length;) {
        const char *end = memchr(text->data + at, '\n', text->length - at);
        size_t length = end ? (size_t)(end - text->data) - at + 1 : text->length - at;
        tokenizer_encode(tokenizer, text->data + at, length, ids);
        at += length;
    }
    return now_s() - start;
}

static void file_bench(const struct tokenizer *tokenizer, const struct buf *text)
{
    struct ids ids = {0};
    double size_mib = (double)text->length / (double)MIB;
    double best = lines_encode(tokenizer, text, &ids);
    printf("first pass   %8.1f MiB/s\n", size_mib / best);
    for (int pass = 1; pass < PASSES; pass++) {
        double seconds = lines_encode(tokenizer, text, &ids);
        best = seconds < best ? seconds : best;
    }
    printf("best of %d    %8.1f MiB/s  %.1f M tokens/s  %.2f bytes/token\n", PASSES,
           size_mib / best, 1e-6 * (double)ids.count / best,
           (double)text->length / (double)ids.count);
    ids_release(&ids);
}

static void hostile_bench(const struct tokenizer *tokenizer)
{
    static const struct {
        const char *name, *unit;
    } texts[] = {
        {"letter a", "a"},
        {"blanks", " "},
        {"digits", "7"},
        {"line ends", "\n"},
        {"blank, line end", " \n"},
        {"letters ab", "ab"},
        {"marks out of order", "\xcc\x81\xcc\xa3"},
        {"family of emoji", "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d"},
        {"han", "\xe7\x9a\x84"},
        {"quotes", "'"},
        {"added tokens", "<|im_end|>"},
        {"almost added tokens", "<|im_end|"},
    };
    struct buf text = {0};
    struct ids ids = {0};
    printf("\n%-20s", "ns/byte at KiB:");
    for (size_t size = 64 * KIB; size <= MIB; size *= 2) {
        printf("%8zu", size / KIB);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        printf("\n%-20s", texts[i].name);
        buf_clear(&text);
        for (size_t size = 64 * KIB; size <= MIB; size *= 2) {
            while (text.length < size) {
                buf_append_string(&text, texts[i].unit);
            }
            ids.count = 0;
            double start = now_s();
            tokenizer_encode(tokenizer, text.data, text.length, &ids);
            printf("%8.1f", 1e9 * (now_s() - start) / (double)text.length);
        }
    }
    printf("\n");
    buf_release(&text);
    ids_release(&ids);
}

int main(int argc, char **argv)
{
    struct error error;
    struct tokenizer *tokenizer;
    struct buf text = {0};
    if (argc != 3) {
        fatal(2, "usage: tokenizer_bench DIR FILE");
    }
    double start = now_s();
    if (tokenizer_open(argv[1], &tokenizer, &error) != STATUS_OK ||
        file_read(argv[2], GIB, &text, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    if (utf8_valid_prefix(text.data, text.length) != text.length) {
        fatal(1, "%s: is not UTF-8", argv[2]);
    }
    printf("open         %8.1f ms for %d tokens\n", 1e3 * (now_s() - start),
           tokenizer_size(tokenizer));
    file_bench(tokenizer, &text);
    hostile_bench(tokenizer);
    buf_release(&text);
    tokenizer_free(tokenizer);
    return 0;
}
