/* SPDX-License-Identifier: Apache-2.0
 *
 * ident: how things are called: ids, names, and references.
 *
 * An id is a positive 64-bit number that is never used twice; people see "j-17": the kind's prefix,
 * a dash, and the number in decimal. It is short to type, and the greater one is the younger. It
 * tells how many came before it in the whole cluster, and nothing else; a foreign id is answered
 * like an unknown one.
 * A name matches [a-z0-9][a-z0-9._-]{0,62}. A reference is "tenant/name@version": without the
 * tenant, the asking one's is meant; the version is a number ("12" or "v12") or an alias ("prod"),
 * a name that could not be read as a number.
 * Rejected: random ids (nobody can read them aloud), and ids with a checksum (nobody computes it).
 */
#ifndef TAILOR_PROTO_IDENT_H
#define TAILOR_PROTO_IDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

enum { NAME_BYTES_MAX = 63, IDENT_TEXT_MAX = 32, REFERENCE_TEXT_MAX = 224 };

enum ident_kind {
    IDENT_JOB,
    IDENT_BATCH,
    IDENT_WORKER,
    IDENT_TOKEN,
    IDENT_WEBHOOK,
    IDENT_TENANT,
    IDENT_BASE,
    IDENT_DATASET,
    IDENT_MODEL,
    IDENT_MODEL_VERSION,
    IDENT_KIND_COUNT
};

void ident_format(enum ident_kind kind, int64_t id, char out[IDENT_TEXT_MAX]);
/* Takes "j-17" and, as people will type it, "17". STATUS_USAGE with the form that was expected. */
enum status ident_parse(enum ident_kind kind, const char *text, int64_t *id_out,
                        struct error *error);

bool name_is_valid(const char *text, size_t length);
/* STATUS_USAGE in words; `what` is "tenant", "dataset", … */
enum status name_check(const char *what, const char *text, struct error *error);
/* A name that is not a version number. */
enum status alias_check(const char *text, struct error *error);

struct reference {
    char tenant[NAME_BYTES_MAX + 1]; /* "" when it was not given */
    char name[NAME_BYTES_MAX + 1];
    char alias[NAME_BYTES_MAX + 1]; /* "" when there is none */
    int64_t version;                /* 0 when there is none; never together with an alias */
};

enum status reference_parse(const char *text, struct reference *reference_out, struct error *error);
void reference_format(const struct reference *reference, char out[REFERENCE_TEXT_MAX]);
/* "12", "v12" or an alias, as it stands behind the @. */
enum status version_parse(const char *text, struct reference *reference_out, struct error *error);

/* Any text as a label (letters, digits, "-", "_" and ".", a letter or a digit first, NAME_BYTES_MAX
 * at most): what does not fit becomes "-". */
void label_make(const char *text, char out[NAME_BYTES_MAX + 1]);

#endif
