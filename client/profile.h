/* SPDX-License-Identifier: Apache-2.0
 *
 * profile: which coordinator is meant, and as whom: $XDG_CONFIG_HOME/tailor/profiles.json (else
 * ~/.config), mode 0600, since it holds tokens.
 *
 *     {"default": "local", "profiles": {"local": {"server", "token", "tenant", "ca"}}}
 *
 * A token belongs to its server: with another --server it is never sent.
 */
#ifndef TAILOR_CLIENT_PROFILE_H
#define TAILOR_CLIENT_PROFILE_H

#include "lib/arena.h"
#include "lib/status.h"

struct profile {
    const char *name;
    const char *server; /* "http://127.0.0.1:7700" */
    const char *token;  /* NULL: none */
    const char *ca;     /* the PEM file that its certificate is checked with; NULL: the system's */
    const char *tenant; /* whose things are meant where no tenant is said; NULL: not known */
};

/* Who asks: options first (NULL: not given), then TAILOR_SERVER, TAILOR_TOKEN, TAILOR_CA and
 * TAILOR_PROFILE, then the file, then http://127.0.0.1:7700 without a token. */
enum status profile_open(struct arena *arena, const char *server, const char *name,
                         struct profile *profile_out, struct error *error);
/* Puts it into the file, as the default. */
enum status profile_save(const struct profile *profile, struct error *error);

#endif
