/* SPDX-License-Identifier: Apache-2.0
 *
 * A body is searched for "--boundary" at the beginning of a line; what stands before the first one
 * and behind the last is passed over, as the RFC wants. Nothing is copied but names.
 *
 * Rejected: nested parts, transfer encodings and file names in "filename*": no client of an API
 * sends them.
 */
#include "coordinator/api/multipart.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70 };

/* The value of `key` among ";"-separated parameters, without its quotes. False: it is not there or
 * does not fit. */
static bool parameter(const char *text, size_t length, const char *key, char *out, size_t size)
{
    const char *end = text + length;
    size_t key_length = strlen(key);
    for (const char *at = memchr(text, ';', length); at != NULL;
         at = memchr(at, ';', (size_t)(end - at))) {
        do
            at++;
        while (at < end && (*at == ' ' || *at == '\t'));
        if ((size_t)(end - at) <= key_length || strncasecmp(at, key, key_length) != 0 ||
            at[key_length] != '=')
            continue;
        at += key_length + 1;
        bool quoted = at < end && *at == '"';
        at += quoted;
        const char *close = memchr(at, quoted ? '"' : ';', (size_t)(end - at));
        size_t value = (size_t)((close != NULL ? close : end) - at);
        if (value >= size || (quoted && close == NULL))
            return false;
        memcpy(out, at, value);
        out[value] = '\0';
        return true;
    }
    return false;
}

/* The headers of one part; *data_out is what follows their empty line. */
static enum status read_headers(const char *at, const char *end, struct multipart_part *part,
                                const char **data_out, struct error *error)
{
    static const char disposition[] = "Content-Disposition:";
    while (at < end) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (line_end == NULL)
            break;
        size_t length = (size_t)(line_end - at);
        if (length == 0) {
            *data_out = line_end + 2;
            return part->name[0] != '\0'
                       ? STATUS_OK
                       : error_set(error, STATUS_USAGE, "a part of the body has no name");
        }
        if (length >= sizeof(disposition) &&
            strncasecmp(at, disposition, sizeof(disposition) - 1) == 0) {
            if (!parameter(at, length, "name", part->name, sizeof(part->name)))
                return error_set(error, STATUS_USAGE, "a part of the body has no name");
            parameter(at, length, "filename", part->filename, sizeof(part->filename));
        }
        at = line_end + 2;
    }
    return error_set(error, STATUS_USAGE, "a part of the body has no end of its headers");
}

/* Behind the next mark, or NULL. */
static const char *behind(const char *at, const char *end, const char *mark, size_t mark_length)
{
    const char *found = memmem(at, (size_t)(end - at), mark, mark_length);
    return found != NULL ? found + mark_length : NULL;
}

enum status multipart_read(const char *content_type, const char *body, size_t length,
                           struct multipart_part parts[MULTIPART_PARTS_MAX], int *count_out,
                           struct error *error)
{
    static const char type[] = "multipart/form-data";
    char mark[BOUNDARY_MAX + 5] = "\r\n--";
    *count_out = 0;
    if (content_type == NULL || strncasecmp(content_type, type, sizeof(type) - 1) != 0 ||
        !parameter(content_type, strlen(content_type), "boundary", mark + 4, BOUNDARY_MAX + 1) ||
        mark[4] == '\0')
        return error_set(error, STATUS_USAGE,
                         "this takes multipart/form-data, with a boundary of at most %d characters",
                         BOUNDARY_MAX);
    const size_t mark_length = strlen(mark);
    const char *end = body + length;
    /* The first mark may stand at the very beginning, without a line before it. */
    bool first = length >= mark_length - 2 && memcmp(body, mark + 2, mark_length - 2) == 0;
    const char *at = first ? body + mark_length - 2 : behind(body, end, mark, mark_length);
    while (at != NULL && end - at >= 2 && memcmp(at, "--", 2) != 0) {
        if (*count_out == MULTIPART_PARTS_MAX)
            return error_set(error, STATUS_USAGE, "more than %d parts", MULTIPART_PARTS_MAX);
        struct multipart_part *part = &parts[(*count_out)++];
        *part = (struct multipart_part){.name = ""};
        TRY(read_headers(at + 2, end, part, &part->data, error));
        at = behind(part->data, end, mark, mark_length);
        if (at == NULL)
            return error_set(error, STATUS_USAGE,
                             "the body is cut off: its last boundary is missing");
        part->length = (size_t)(at - part->data) - mark_length;
    }
    if (at == NULL || end - at < 2)
        return error_set(error, STATUS_USAGE, "the body has no part with this boundary");
    return STATUS_OK;
}

const struct multipart_part *multipart_find(const struct multipart_part *parts, int count,
                                            const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(parts[i].name, name) == 0)
            return &parts[i];
    return NULL;
}
