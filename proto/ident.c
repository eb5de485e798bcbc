/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything here is checked byte by byte against a closed alphabet: names become parts of paths,
 * of SQL parameters, of metrics' labels and of HTML, and no other place has to look at them again.
 */
#include "proto/ident.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

static const struct {
    const char *prefix, *noun;
} KINDS[IDENT_KIND_COUNT] = {
    [IDENT_JOB] = {"j", "job"},         [IDENT_BATCH] = {"b", "batch"},
    [IDENT_WORKER] = {"w", "worker"},   [IDENT_TOKEN] = {"t", "token"},
    [IDENT_WEBHOOK] = {"h", "webhook"}, [IDENT_TENANT] = {"tenant", "tenant"},
    [IDENT_BASE] = {"base", "base"},    [IDENT_DATASET] = {"d", "dataset"},
    [IDENT_MODEL] = {"m", "model"},     [IDENT_MODEL_VERSION] = {"mv", "model version"},
};

void ident_format(enum ident_kind kind, int64_t id, char out[IDENT_TEXT_MAX])
{
    CHECK((unsigned)kind < IDENT_KIND_COUNT);
    CHECK(id > 0);
    snprintf(out, IDENT_TEXT_MAX, "%s-%" PRId64, KINDS[kind].prefix, id);
}

/* Digits only, no leading zero: one id has one text. */
static bool parse_number(const char *text, int64_t *out)
{
    return text[0] >= '1' && text[0] <= '9' && parse_i64(text, out);
}

enum status ident_parse(enum ident_kind kind, const char *text, int64_t *id_out,
                        struct error *error)
{
    CHECK((unsigned)kind < IDENT_KIND_COUNT);
    size_t length = strlen(KINDS[kind].prefix);
    const char *digits = text;
    if (strncmp(text, KINDS[kind].prefix, length) == 0 && text[length] == '-')
        digits = text + length + 1;
    int64_t id;
    if (!parse_number(digits, &id))
        return error_set(error, STATUS_USAGE, "\"%.40s\" is no id of a %s; one looks like %s-17",
                         text, KINDS[kind].noun, KINDS[kind].prefix);
    *id_out = id;
    return STATUS_OK;
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_is_valid(const char *text, size_t length)
{
    if (length == 0 || length > NAME_BYTES_MAX || !is_name_start(text[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!is_name_start(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-')
            return false;
    return true;
}

static enum status name_error(const char *what, const char *text, struct error *error)
{
    return error_set(error, STATUS_USAGE,
                     "\"%.80s\" is no name of a %s: 1 to %d of a-z, 0-9, \".\", \"_\" and \"-\", a "
                     "letter or a digit first",
                     text, what, NAME_BYTES_MAX);
}

enum status name_check(const char *what, const char *text, struct error *error)
{
    return name_is_valid(text, strlen(text)) ? STATUS_OK : name_error(what, text, error);
}

static bool is_version(const char *text, int64_t *version_out)
{
    return parse_number(text[0] == 'v' ? text + 1 : text, version_out);
}

/* Would a person read it as a version? "v0" and "007" are neither versions nor aliases. */
static bool looks_like_version(const char *text)
{
    const char *digits = text[0] == 'v' ? text + 1 : text;
    return digits[0] != '\0' && digits[strspn(digits, "0123456789")] == '\0';
}

enum status alias_check(const char *text, struct error *error)
{
    TRY(name_check("alias", text, error));
    if (looks_like_version(text))
        return error_set(error, STATUS_USAGE,
                         "\"%.80s\" cannot be an alias: it reads like a version number", text);
    return STATUS_OK;
}

enum status version_parse(const char *text, struct reference *reference_out, struct error *error)
{
    int64_t version;
    if (is_version(text, &version)) {
        reference_out->version = version;
        reference_out->alias[0] = '\0';
        return STATUS_OK;
    }
    TRY(alias_check(text, error));
    reference_out->version = 0;
    snprintf(reference_out->alias, sizeof(reference_out->alias), "%s", text);
    return STATUS_OK;
}

/* Copies [text, text + length) if it is a name. */
static enum status take_name(const char *what, const char *text, size_t length,
                             char out[NAME_BYTES_MAX + 1], struct error *error)
{
    if (!name_is_valid(text, length)) {
        char shown[REFERENCE_TEXT_MAX];
        snprintf(shown, sizeof(shown), "%.*s", (int)(length < 100 ? length : 100), text);
        return name_error(what, shown, error);
    }
    memcpy(out, text, length);
    out[length] = '\0';
    return STATUS_OK;
}

enum status reference_parse(const char *text, struct reference *reference_out, struct error *error)
{
    struct reference reference = {.version = 0};
    const char *name = text;
    const char *slash = strchr(text, '/');
    if (slash != NULL) {
        TRY(take_name("tenant", text, (size_t)(slash - text), reference.tenant, error));
        name = slash + 1;
    }
    const char *at = strchr(name, '@');
    size_t length = at != NULL ? (size_t)(at - name) : strlen(name);
    TRY(take_name("model or dataset", name, length, reference.name, error));
    if (at != NULL)
        TRY(version_parse(at + 1, &reference, error));
    *reference_out = reference;
    return STATUS_OK;
}

void reference_format(const struct reference *reference, char out[REFERENCE_TEXT_MAX])
{
    char version[NAME_BYTES_MAX + 2] = "";
    if (reference->alias[0] != '\0')
        snprintf(version, sizeof(version), "@%s", reference->alias);
    else if (reference->version > 0)
        snprintf(version, sizeof(version), "@%" PRId64, reference->version);
    snprintf(out, REFERENCE_TEXT_MAX, "%s%s%s%s", reference->tenant,
             reference->tenant[0] != '\0' ? "/" : "", reference->name, version);
}

void label_make(const char *text, char out[NAME_BYTES_MAX + 1])
{
    size_t length = 0;
    for (; text[length] != '\0' && length < NAME_BYTES_MAX; length++) {
        char c = text[length];
        bool capital = c >= 'A' && c <= 'Z';
        bool inner = length > 0 && (c == '.' || c == '_' || c == '-');
        out[length] = is_name_start(c) || capital || inner ? c : length > 0 ? '-' : 'x';
    }
    if (length == 0)
        out[length++] = 'x';
    out[length] = '\0';
}
