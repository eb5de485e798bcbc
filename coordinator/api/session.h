/* SPDX-License-Identifier: Apache-2.0
 *
 * session: who asks, by what a program or a browser shows, and what no browser may be made to do.
 *
 *   program   Authorization: Bearer TOKEN
 *   browser   Cookie: tailor_session=TOKEN, and X-Tailor-CSRF for all but GET and HEAD
 *
 * A session is a token like others: in the records, so a restart does not end it; it expires, can
 * be listed and revoked. Its secret lies in a cookie that no script reads (HttpOnly) and no other
 * site sends (SameSite=Strict); the CSRF text is a digest of the secret, so nothing more is kept.
 *
 * Against a page of another site in the same browser, for requests without a bearer token:
 *   Host     must be a name of this server: else a name that its owner points at us (DNS rebinding)
 *            would make that page one of ours. 421.
 *   Origin   of all but GET and HEAD, where it is sent, must be this server. 403.
 * Known are addresses (nobody can point those elsewhere), localhost, the name in --http, this
 * machine's name, those of the certificate, and each --host.
 */
#ifndef TAILOR_COORDINATOR_API_SESSION_H
#define TAILOR_COORDINATOR_API_SESSION_H

#include "coordinator/api/exchange.h"
#include "lib/option.h"
#include "lib/sha256.h"

/* Fills exchange->token_digest and csrf where the route asks for a token. STATUS_DENIED with
 * exchange->code 401, 403 or 421 and a hint. Loop thread. */
enum status session_admit(struct exchange *exchange, struct error *error);
/* Has the answer set the cookie, for so long; secret NULL: take it away. Loop thread. */
void session_cookie(const struct exchange *exchange, const char *secret, int64_t ms);
void session_csrf(const char *secret, char csrf_out[SHA256_HEX_SIZE]);

#endif
