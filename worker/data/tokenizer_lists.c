/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_lists: jansson makes three objects of every merge and one of every token, which is most
 * of the time that opening takes (a file of 151 k tokens: 410 ms, and 165 ms without) and many
 * times the file's size. These lists have one shape, so they are cut out and read in place;
 * everything else of the file goes through lib/json.
 *
 * Invariants: lists_cut only finds brackets (it never judges: what it does not understand it leaves
 * for jansson's sentence); the readers take exactly JSON (strings with escapes and without control
 * characters, integers without sign or fraction) and stop for good at the first thing that is not.
 * Rejected: cutting by searching for "\"merges\"", which any token may contain.
 */
#include "worker/data/tokenizer_lists.h"

#include <string.h>

#include "lib/text.h"

static const char *blanks_skip(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

/* `at` is a string's opening quote: the place of its closing one, or `end`. */
static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        at += *at == '\\';
    }
    return at < end ? at : end;
}

/* Behind the value that begins at `at`: brackets are matched, and what they hold is not judged. */
static const char *value_skip(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            at = string_end(at, end);
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            depth--;
        }
        at += at < end;
        if (depth <= 0 && (at == end || strchr(",]} \n\r\t", *at))) {
            break;
        }
    }
    return at;
}

/* `at` is an object's opening brace: the value of a key, or NULL. */
static const char *value_find(const char *at, const char *end, const char *key)
{
    size_t length = strlen(key);
    while (at < end && (*at == '{' || *at == ',')) {
        at = blanks_skip(at + 1, end);
        if (at == end || *at != '"') {
            return NULL;
        }
        const char *name = at + 1;
        const char *name_end = string_end(at, end);
        at = blanks_skip(name_end + (name_end < end), end);
        if (at == end || *at != ':') {
            return NULL;
        }
        at = blanks_skip(at + 1, end);
        if ((size_t)(name_end - name) == length && memcmp(name, key, length) == 0) {
            return at < end ? at : NULL;
        }
        at = blanks_skip(value_skip(at, end), end);
    }
    return NULL;
}

static struct list_span span_find(const char *model, const char *end, const char *key, char bracket)
{
    const char *start = model && *model == '{' ? value_find(model, end, key) : NULL;
    return start && *start == bracket ? (struct list_span){start, value_skip(start, end)}
                                      : (struct list_span){NULL, NULL};
}

/* An empty list in place of a long one, with its line ends, so that lines keep their numbers. */
static void span_blank(const struct list_span *span, struct buf *rest)
{
    buf_append(rest, span->start, 1);
    for (const char *at = span->start; (at = memchr(at, '\n', (size_t)(span->end - at))); at++) {
        buf_append_char(rest, '\n');
    }
    buf_append_char(rest, *span->start == '{' ? '}' : ']');
}

void lists_cut(const char *text, size_t length, struct lists *lists_out, struct buf *rest)
{
    const char *end = text + length;
    const char *root = blanks_skip(text, end);
    const char *model = root < end && *root == '{' ? value_find(root, end, "model") : NULL;
    struct lists lists = {span_find(model, end, "vocab", '{'),
                          span_find(model, end, "merges", '[')};
    const struct list_span *order[2] = {&lists.vocabulary, &lists.merges};
    if (lists.vocabulary.start && lists.merges.start &&
        lists.merges.start < lists.vocabulary.start) {
        order[0] = &lists.merges;
        order[1] = &lists.vocabulary;
    }
    const char *done = text;
    for (int i = 0; i < 2; i++) {
        if (order[i]->start) {
            buf_append(rest, done, (size_t)(order[i]->start - done));
            span_blank(order[i], rest);
            done = order[i]->end;
        }
    }
    buf_append(rest, done, (size_t)(end - done));
    *lists_out = lists;
}

struct list_reader list_reader(const struct list_span *span)
{
    return (struct list_reader){.at = span->start, .end = span->end};
}

void list_reader_release(struct list_reader *reader)
{
    buf_release(&reader->decoded[0]);
    buf_release(&reader->decoded[1]);
    *reader = (struct list_reader){0};
}

/* Takes one character, with blanks around it. */
static bool take(struct list_reader *reader, char c)
{
    reader->at = blanks_skip(reader->at, reader->end);
    if (reader->at == reader->end || *reader->at != c) {
        return false;
    }
    reader->at = blanks_skip(reader->at + 1, reader->end);
    return true;
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *found = at + i < end && at[i] ? strchr(digits, at[i]) : NULL;
        if (!found) {
            return -1;
        }
        value = value * 16 + (int32_t)((found - digits) % 16);
    }
    return value;
}

/* The escape behind a backslash at `at`: appends its character and returns the place behind it, or
 * NULL. U+0000 is refused, as in every file that is read here. */
static const char *escape_decode(const char *at, const char *end, struct buf *out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter = at < end && *at ? strchr(letters, *at) : NULL;
    if (letter) {
        buf_append_char(out, meanings[letter - letters]);
        return at + 1;
    }
    if (at == end || *at != 'u') {
        return NULL;
    }
    int32_t point = hex4(at + 1, end);
    at += 5;
    if (point >= 0xd800 && point < 0xdc00) {
        int32_t low = end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            return NULL;
        }
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    if (point <= 0 || (point >= 0xdc00 && point <= 0xdfff)) {
        return NULL;
    }
    char bytes[4];
    buf_append(out, bytes, utf8_put((uint32_t)point, bytes));
    return at;
}

/* Takes a string; it lies in the text itself unless it holds escapes. */
static bool take_string(struct list_reader *reader, struct buf *decoded, struct list_string *out)
{
    const char *at = reader->at;
    const char *end = reader->end;
    if (at == end || *at != '"') {
        return false;
    }
    const char *start = ++at;
    const char *copied = start;
    buf_clear(decoded);
    while (at < end && *at != '"') {
        if ((unsigned char)*at < 0x20) {
            return false;
        }
        if (*at++ == '\\') {
            buf_append(decoded, copied, (size_t)(at - 1 - copied));
            at = escape_decode(at, end, decoded);
            if (!at) {
                return false;
            }
            copied = at;
        }
    }
    if (at == end) {
        return false;
    }
    if (copied == start) {
        *out = (struct list_string){start, (size_t)(at - start)};
    } else {
        buf_append(decoded, copied, (size_t)(at - copied));
        *out = (struct list_string){decoded->data, decoded->length};
    }
    reader->at = blanks_skip(at + 1, end);
    return true;
}

static bool take_integer(struct list_reader *reader, int64_t *out)
{
    enum { DIGITS_MAX = 15 };
    const char *start = reader->at;
    int64_t value = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        value = reader->at - start < DIGITS_MAX ? value * 10 + (*reader->at - '0') : INT64_MAX;
        reader->at++;
    }
    bool leading_zero = reader->at - start > 1 && *start == '0';
    reader->at = blanks_skip(reader->at, reader->end);
    *out = value;
    return reader->at > start && !leading_zero;
}

/* Before an entry: the opening bracket, a comma, or the end of the list. */
static bool entry_begin(struct list_reader *reader, char open, char close)
{
    bool first = reader->count == 0;
    if (reader->ended || (first && !take(reader, open))) {
        return false;
    }
    if (take(reader, close)) {
        reader->ended = true;
        return false;
    }
    return first || take(reader, ',');
}

bool vocabulary_next(struct list_reader *reader, struct vocabulary_entry *entry_out)
{
    if (!entry_begin(reader, '{', '}') ||
        !take_string(reader, &reader->decoded[0], &entry_out->token) || !take(reader, ':') ||
        !take_integer(reader, &entry_out->id)) {
        return false;
    }
    reader->count++;
    return true;
}

/* "a b", as files of Transformers before 4.45 have it. */
static bool merge_split(const struct list_string *both, struct merge_entry *entry_out)
{
    const char *end = both->text + both->length;
    const char *blank = memchr(both->text, ' ', both->length);
    if (!blank || memchr(blank + 1, ' ', (size_t)(end - blank) - 1)) {
        return false;
    }
    entry_out->parts[0] = (struct list_string){both->text, (size_t)(blank - both->text)};
    entry_out->parts[1] = (struct list_string){blank + 1, (size_t)(end - blank) - 1};
    return true;
}

bool merge_next(struct list_reader *reader, struct merge_entry *entry_out)
{
    struct list_string both;
    if (!entry_begin(reader, '[', ']')) {
        return false;
    }
    if (take_string(reader, &reader->decoded[0], &both)) {
        if (!merge_split(&both, entry_out)) {
            return false;
        }
    } else if (!take(reader, '[') ||
               !take_string(reader, &reader->decoded[0], &entry_out->parts[0]) ||
               !take(reader, ',') ||
               !take_string(reader, &reader->decoded[1], &entry_out->parts[1]) ||
               !take(reader, ']')) {
        return false;
    }
    if (entry_out->parts[0].length == 0 || entry_out->parts[1].length == 0) {
        return false;
    }
    reader->count++;
    return true;
}
