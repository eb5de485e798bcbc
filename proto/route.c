/* SPDX-License-Identifier: Apache-2.0
 *
 * A path is compared part by part with each row. A few dozen short rows take a microsecond; a tree
 * would only hide the table. Escapes are decoded after the split, so that no escaped slash can make
 * a part more.
 */
#include "proto/route.h"

#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "proto/api.pb-c.h"

/* The table's NONE: no token is asked for. */
enum { API__ROLE__ROLE_NONE = API__ROLE__ROLE_UNSPECIFIED };

static const struct route ROUTES[ROUTE_COUNT] = {
#define ROUTE(id_, method_, path_, request_, reply_, role_, body_, bytes_max_, help_)              \
    [ROUTE_##id_] = {.id = ROUTE_##id_,                                                            \
                     .name = #id_,                                                                 \
                     .method = ROUTE_##method_,                                                    \
                     .path = path_,                                                                \
                     .request = &api__##request_##__descriptor,                                    \
                     .reply = &api__##reply_##__descriptor,                                        \
                     .role = API__ROLE__ROLE_##role_,                                              \
                     .body = ROUTE_BODY_##body_,                                                   \
                     .bytes_max = bytes_max_,                                                      \
                     .help = help_},
#include "proto/routes.def"
};

static const struct {
    enum route_id id;
    const char *field;
} NEEDS[] = {
#define ROUTE_NEEDS(id, field) {ROUTE_##id, #field},
#include "proto/routes.def"
};

/* The kinds of the table. */
enum { PART_IS_TEXT = false, PART_IS_FILE = true };

static const struct route_part PARTS[] = {
#define ROUTE_PART(id, part, kind) {ROUTE_##id, #part, PART_IS_##kind},
#include "proto/routes.def"
};
enum { PART_COUNT = sizeof(PARTS) / sizeof(PARTS[0]) };

static const struct route_answer ANSWERS[] = {
#define ROUTE_ANSWER(id, code, type) {ROUTE_##id, code, type},
#include "proto/routes.def"
};
enum { ANSWER_COUNT = sizeof(ANSWERS) / sizeof(ANSWERS[0]) };

static const char *const METHODS[] = {
    [ROUTE_GET] = "GET", [ROUTE_POST] = "POST", [ROUTE_PUT] = "PUT", [ROUTE_DELETE] = "DELETE"};
enum { METHOD_COUNT = sizeof(METHODS) / sizeof(METHODS[0]) };

const struct route *route_at(int index)
{
    CHECK(index >= 0 && index < ROUTE_COUNT);
    return &ROUTES[index];
}

const char *route_method_name(enum route_method method)
{
    CHECK((unsigned)method < METHOD_COUNT);
    return METHODS[method];
}

const ProtobufCMessageDescriptor *route_error_type(void)
{
    return &api__error_reply__descriptor;
}

bool route_needs(enum route_id id, const char *field)
{
    for (size_t i = 0; i < sizeof(NEEDS) / sizeof(NEEDS[0]); i++)
        if (NEEDS[i].id == id && strcmp(NEEDS[i].field, field) == 0)
            return true;
    return false;
}

const struct route_part *route_part_at(int index)
{
    return index < PART_COUNT ? &PARTS[index] : NULL;
}

const struct route_answer *route_answer_at(int index)
{
    return index < ANSWER_COUNT ? &ANSWERS[index] : NULL;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    char lower = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    const char *found = lower != '\0' ? strchr(digits, lower) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

enum status route_decode(const char *text, size_t length, bool query, char *out, size_t size,
                         struct error *error)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < length ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return error_set(error, STATUS_USAGE, "a %% without two hex digits");
            c = high * 16 + low;
            if (c == 0 || (c == '/' && !query))
                return error_set(error, STATUS_USAGE, "%%%02x cannot be escaped here", c);
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        } else if (c <= 0x20 || c >= 0x7f) {
            return error_set(error, STATUS_USAGE, "a byte 0x%02x that must be escaped", c);
        }
        if (used + 1 >= size)
            return error_set(error, STATUS_LIMIT, "a value of more than %zu bytes", size - 1);
        out[used++] = (char)c;
    }
    out[used] = '\0';
    if (utf8_valid_prefix(out, used) != used)
        return error_set(error, STATUS_USAGE, "a value that is not UTF-8");
    return STATUS_OK;
}

/* Matches one part of a path with its pattern: a literal, "{field}", or "{field}:verb". */
static bool match_part(const char *pattern, size_t pattern_length, const char *part,
                       size_t part_length, struct route_match *match, struct error *error)
{
    if (pattern[0] != '{')
        return pattern_length == part_length && memcmp(pattern, part, part_length) == 0;
    size_t name_length = strcspn(pattern, "}") - 1;
    const char *verb = pattern + name_length + 2;
    size_t verb_length = pattern_length - name_length - 2;
    if (part_length <= verb_length ||
        memcmp(part + part_length - verb_length, verb, verb_length) != 0)
        return false;
    size_t value_length = part_length - verb_length;
    if (memchr(part, ':', value_length) != NULL) /* another verb's */
        return false;
    CHECK(match->count < ROUTE_PARAMETERS_MAX);
    CHECK(name_length < sizeof(match->parameters[0].field));
    char *field = match->parameters[match->count].field;
    memcpy(field, pattern + 1, name_length);
    field[name_length] = '\0';
    return route_decode(part, value_length, false, match->parameters[match->count++].value,
                        ROUTE_VALUE_MAX, error) == STATUS_OK;
}

/* Both begin with a slash. */
static bool match_path(const char *pattern, const char *path, struct route_match *match,
                       struct error *error)
{
    while (*pattern == '/' && *path == '/') {
        size_t pattern_length = strcspn(pattern + 1, "/");
        size_t part_length = strcspn(path + 1, "/");
        if (!match_part(pattern + 1, pattern_length, path + 1, part_length, match, error))
            return false;
        pattern += 1 + pattern_length;
        path += 1 + part_length;
    }
    return *pattern == '\0' && *path == '\0';
}

static enum status check_path(const char *path, struct error *error)
{
    if (strlen(path) > ROUTE_PATH_BYTES_MAX)
        return error_set(error, STATUS_USAGE, "a path of more than %d bytes", ROUTE_PATH_BYTES_MAX);
    if (path[0] != '/')
        return error_set(error, STATUS_USAGE, "a path begins with /");
    for (const char *part = path; *part == '/';) {
        size_t length = strcspn(part + 1, "/");
        char text[ROUTE_PATH_BYTES_MAX + 1];
        if (length == 0 && path[1] != '\0')
            return error_set(error, STATUS_USAGE, "a path with an empty part");
        TRY(route_decode(part + 1, length, false, text, sizeof(text), error));
        if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
            return error_set(error, STATUS_USAGE, "a path with \"%s\" in it", text);
        part += 1 + length;
    }
    return STATUS_OK;
}

enum status route_find(const char *method, const char *path, struct route_match *match_out,
                       struct error *error)
{
    char allowed[64] = "";
    TRY(check_path(path, error));
    for (int i = 0; i < ROUTE_COUNT; i++) {
        struct route_match match = {.route = &ROUTES[i]};
        if (!match_path(ROUTES[i].path, path, &match, error))
            continue;
        const char *name = METHODS[ROUTES[i].method];
        if (strcmp(name, method) == 0) {
            *match_out = match;
            return STATUS_OK;
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof(allowed) - used, "%s%s", used > 0 ? ", " : "", name);
    }
    if (allowed[0] != '\0')
        return error_set(error, STATUS_UNSUPPORTED, "%.200s knows only %s", path, allowed);
    return error_set(error, STATUS_NOT_FOUND, "nothing is at %.200s", path);
}
