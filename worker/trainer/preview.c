/* SPDX-License-Identifier: Apache-2.0
 *
 * The text shown is decoded from the tokens, not copied from the file: what was lost by a template
 * or by truncation is seen to be lost. Control characters are made visible.
 */
#include "worker/trainer/preview.h"

#include <ctype.h>

static void print_visible(const char *text, size_t length, FILE *out)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            fputs("\n  │ ", out);
        } else if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
            fputc(c, out);
        } else {
            fprintf(out, "\\x%02x", c);
        }
    }
}

static void print_pooled(const struct tokenizer *tokenizer, const struct text_format *format,
                         const int32_t *ids, int32_t count, FILE *out)
{
    int32_t at = row_pooled_token(format->pooling, ids, count, tokenizer_eos(tokenizer));
    if (at < 0) {
        fprintf(out, "  scored: the %s over all %d tokens\n", pooling_name(format->pooling), count);
        return;
    }
    size_t length;
    const char *text = tokenizer_text(tokenizer, ids[at], &length);
    fprintf(out, "  scored: token %d of %d, id %d, \"", at + 1, count, ids[at]);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            fputs("\\n", out);
        } else if (isprint(c) || c >= 0x80) {
            fputc(c, out);
        } else {
            fprintf(out, "\\x%02x", c);
        }
    }
    fprintf(out, "\" (%s)\n", pooling_name(format->pooling));
}

void preview_row(const struct tokenizer *tokenizer, const struct text_format *format,
                 const struct dataset *dataset, int64_t row, bool with_ids, FILE *out)
{
    const struct data_row *r = &dataset->rows[row];
    const int32_t *ids = dataset->tokens + r->token0;
    fprintf(out, "  template %s, %d tokens, score %g\n  │ ", template_name(format->template_kind),
            r->tokens, (double)r->score);
    for (int32_t i = 0; i < r->tokens; i++) {
        size_t length;
        const char *text = tokenizer_text(tokenizer, ids[i], &length);
        print_visible(text, length, out);
    }
    fputc('\n', out);
    if (with_ids) {
        fputs("  ids:", out);
        for (int32_t i = 0; i < r->tokens; i++) {
            fprintf(out, " %d", ids[i]);
        }
        fputc('\n', out);
    }
    print_pooled(tokenizer, format, ids, r->tokens, out);
}
